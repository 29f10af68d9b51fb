// Many calls over connections that break off, go away and are refused, by chance that can be repeated: whatever happens, each
// message is heard once and in its order, no side sends without credit, and nothing is left behind.
//
//     SEED=17 node --test test/simulation.test.mjs

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FakeClock, fakeClient, status } from './kit.mjs';

const SEEDS = process.env.SEED ? [Number(process.env.SEED)] : Array.from({ length: 6 }, (_, place) => place + 1);
const CHATS = 20;
const STREAMS = 4;
const MESSAGES = 20;
const CREDIT_FIRST = 65_536;
/** In milliseconds of its clock: how long a run meets trouble, and when it has to be over. */
const TROUBLE = 10_000;
const END = 200_000;

/** Numbers from 0 up to 1, the same for the same seed (SplitMix32). */
function chance(seed) {
  let state = seed;
  return () => {
    state = (state + 0x9e3779b9) | 0;
    let mixed = Math.imul(state ^ (state >>> 16), 0x21f0aaad);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
    return ((mixed ^ (mixed >>> 15)) >>> 0) / 2 ** 32;
  };
}

const bytesOf = (message) => JSON.stringify(message).length;

/** The other side of a socket: a gateway in front of a backend that echoes (`Chat`) or counts (`Down`). */
class Gateway {
  calls = new Map();
  isLeaving = false;
  /** Frames on their way to the client. */
  #under = [];

  constructor(socket, below, counts) {
    Object.assign(this, { socket, below, counts });
  }

  get isOver() {
    return this.socket.closed;
  }

  /** One of the things that may happen now. */
  step(hasTrouble) {
    const { socket, below, counts } = this;
    if (socket.protocol === '') return this.#answer(hasTrouble);
    const trouble = hasTrouble ? below(90) : Infinity;
    if (trouble < 2) {
      counts.broken += 1;
      return void socket.drop(trouble === 0 ? 1006 : 1012);
    }
    if (trouble === 2 && !this.isLeaving) {
      counts.left += 1;
      this.isLeaving = true;
      this.#under.push({ go_away: { reason: 'by chance' } });
    }
    for (const frame of socket.take()) this.#hear(frame);
    for (const [id, call] of this.calls) if (below(2)) this.#work(id, call);
    if (this.isLeaving && this.calls.size === 0 && this.#under.length === 0) return void socket.drop(1012);
    if (below(2)) void socket.receive(...this.#under.splice(0, 1 + below(4)));
  }

  #answer(hasTrouble) {
    if (this.below(3) > 0) return;
    if (!hasTrouble || this.below(3) > 0) return void this.socket.open();
    this.counts.refused += 1;
    void this.socket.drop();
  }

  #hear({ id, open, message, half_close, credit, cancel }) {
    if (open && this.isLeaving) return this.#end(id, 14, 'DRAINING');
    if (open) this.calls.set(id, { kind: open.method.split('/')[1], waiting: [], room: CREDIT_FIRST, credit: CREDIT_FIRST });
    const call = this.calls.get(id);
    if (!call) return;
    if (message) {
      assert.ok(call.room > 0, 'the client sends only with credit');
      call.room -= bytesOf(message);
      if (call.kind === 'Down') call.next = message.after === undefined ? 0 : Number(message.after) + 1;
      else call.waiting.push(message);
    }
    if (half_close) call.isHalfClosed = true;
    if (credit) call.credit += credit;
    assert.ok(call.credit <= CREDIT_FIRST, 'the client gives back what it took and no more');
    if (cancel) this.#end(id, 1);
  }

  #work(id, call) {
    if (this.isLeaving && this.below(30) === 0) return this.#end(id, 14, 'DRAINING');
    if (call.credit <= 0) return;
    if (call.kind === 'Down') {
      if (call.next === MESSAGES) return this.#end(id);
      this.#reply(id, call, { n: call.next, pad: 'x'.repeat(this.below(20_000)) });
      call.next += 1;
    } else if (call.waiting.length > 0) {
      const message = call.waiting.shift();
      call.room += bytesOf(message);
      this.#under.push({ id, credit: bytesOf(message) });
      this.#reply(id, call, message);
    } else if (call.isHalfClosed) this.#end(id);
  }

  #reply(id, call, message) {
    call.credit -= bytesOf(message);
    this.#under.push({ id, message });
  }

  #end(id, code, reason) {
    this.calls.delete(id);
    const details = reason ? [{ '@type': 'type.googleapis.com/google.rpc.ErrorInfo', reason, domain: 'tidegate' }] : [];
    this.#under.push(status(id, code, '', { details }));
  }
}

async function run(seed) {
  const random = chance(seed);
  const below = (bound) => Math.floor(random() * bound);
  const clock = new FakeClock();
  clock.random = random;
  const { client, sockets } = fakeClient({ clock, pauseFirstMs: 50, pauseMaxMs: 500, heartbeatMs: END });
  const dawdle = async () => {
    for (let turns = below(100); turns > 0; turns -= 1) await new Promise(setImmediate);
  };

  const chat = async () => {
    const messages = Array.from({ length: MESSAGES }, (_, n) => ({ n, pad: 'x'.repeat(below(below(6) === 0 ? 40_000 : 2_000)) }));
    async function* requests() {
      for (const message of messages) {
        await dawdle();
        yield message;
      }
    }
    const heard = [];
    const resume = (last, sent) => messages.slice(last ? last.n + 1 : 0, sent);
    for await (const { n } of client.duplex('s/Chat', requests(), { resume })) {
      heard.push(n);
      await dawdle();
    }
    return heard;
  };
  const count = async () => {
    const heard = [];
    for await (const { n } of client.serverStream('s/Down', {}, { resume: { reply: 'n', request: 'after' } })) {
      heard.push(n);
      await dawdle();
    }
    return heard;
  };

  const calls = [...Array.from({ length: CHATS }, chat), ...Array.from({ length: STREAMS }, count)];
  let isOver = false;
  const all = Promise.all(calls).finally(() => { isOver = true; });
  const counts = { broken: 0, left: 0, refused: 0 };
  const gateways = [];
  for (let now = 0; !isOver; now += 5) {
    assert.ok(now < END, `something hangs: ${JSON.stringify(counts)}`);
    for (const socket of sockets.slice(gateways.length)) gateways.push(new Gateway(socket, below, counts));
    for (const gateway of gateways) if (!gateway.isOver) gateway.step(now < TROUBLE);
    await clock.pass(5);
  }
  const expected = Array.from({ length: MESSAGES }, (_, n) => n);
  for (const heard of await all) assert.deepEqual(heard, expected);
  client.close();
  assert.equal(clock.timers, 0, 'no timer is left');
  assert.ok(sockets.every(({ closed }) => closed), 'no socket is left');
  assert.ok(Object.values(counts).every((count) => count > 0), `trouble of each kind: ${JSON.stringify(counts)}`);
}

for (const seed of SEEDS) test(`calls survive whatever happens to their connections: SEED=${seed}`, () => run(seed));
