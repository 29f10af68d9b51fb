// What the tests make the library meet: a clock that stands still, sockets and requests whose other side is the test.

import assert from 'node:assert/strict';
import { TidegateClient } from '../dist/index.js';

/** Lets everything happen that waits for nothing but its turn. */
export async function settle() {
  for (let turn = 0; turn < 5; turn += 1) await new Promise(setImmediate);
}

/** Time that passes when the test says so. Chance is what `random` is set to. */
export class FakeClock {
  random = () => 1;
  #now = 0;
  #timers = new Set();

  now = () => this.#now;

  after = (milliseconds, call) => {
    const timer = { at: this.#now + milliseconds, call };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  };

  async pass(milliseconds) {
    const until = this.#now + milliseconds;
    for (;;) {
      await settle();
      const due = [...this.#timers].filter(({ at }) => at <= until).sort((one, other) => one.at - other.at)[0];
      if (!due) break;
      this.#now = Math.max(this.#now, due.at);
      this.#timers.delete(due);
      due.call();
    }
    this.#now = until;
  }

  /** When the next timer is due, from now. */
  get next() {
    return Math.min(...[...this.#timers].map(({ at }) => at)) - this.#now;
  }

  get timers() {
    return this.#timers.size;
  }
}

/** A WebSocket whose other side is the test. */
class FakeSocket {
  protocol = '';
  sent = [];
  closed = false;

  constructor(url, protocols) {
    Object.assign(this, { url, protocols });
  }

  send(text) {
    assert.ok(!this.closed, 'nothing is sent on a socket that is closed');
    this.sent.push(JSON.parse(text));
  }

  close() {
    this.closed = true;
  }

  /** Answers the handshake. */
  async open(protocol = 'tidegate.mux') {
    this.protocol = protocol;
    this.onopen?.({});
    await settle();
  }

  async receive(...frames) {
    for (const frame of frames) this.onmessage?.({ data: typeof frame === 'string' ? frame : JSON.stringify(frame) });
    await settle();
  }

  /** Ends, as `1006` where nobody said goodbye. */
  async drop(code = 1006, reason = '') {
    this.closed = true;
    // Those of Node 20 say no more where they never opened.
    const isOpen = this.protocol !== '';
    this.onerror?.({});
    if (isOpen) this.onclose?.({ code, reason });
    await settle();
  }

  /** The frames since the last look. */
  take() {
    return this.sent.splice(0);
  }
}

/** Calls that fail before the test looks at them are nobody's fault. */
function quiet(client) {
  for (const kind of ['unary', 'clientStream']) {
    const call = client[kind].bind(client);
    client[kind] = (...args) => {
      const outcome = call(...args);
      outcome.catch(() => undefined);
      return outcome;
    };
  }
  for (const kind of ['serverStream', 'duplex']) {
    const call = client[kind].bind(client);
    client[kind] = (...args) => {
      const replies = call(...args);
      const next = replies.next.bind(replies);
      replies.next = () => {
        const outcome = next();
        outcome.catch(() => undefined);
        return outcome;
      };
      return replies;
    };
  }
  return client;
}

/** A client of WebSockets with the sockets that it has opened. */
export function fakeClient(options = {}) {
  const clock = new FakeClock();
  const sockets = [];
  class Socket extends FakeSocket {
    constructor(...args) {
      super(...args);
      sockets.push(this);
    }
  }
  const states = [];
  const onState = (state) => states.push(state);
  const client = quiet(new TidegateClient('https://gateway.example', { WebSocket: Socket, transports: ['websocket'], clock, onState, ...options }));
  return { client, clock, sockets, states };
}

/** The same with a first socket that is open, once a call has asked for one. */
export async function openSocket({ sockets }) {
  await settle();
  assert.equal(sockets.length, 1, 'a call opens one socket');
  await sockets[0].open();
  return sockets[0];
}

/** What a promise has come to by now. */
export async function stateOf(promise) {
  const outcome = promise.then((value) => ({ value }), (error) => ({ error }));
  await settle();
  return Promise.race([outcome, settle().then(() => ({}))]);
}

export const status = (id, code = 0, message = '', more = {}) => ({ id, status: { code, message, details: [], trailers: {}, ...more } });

export const lost = { code: 14, codeName: 'UNAVAILABLE' };

/** A stream of requests that tells how many were asked for. */
export function counted(messages) {
  const source = { asked: 0, returned: false };
  source[Symbol.asyncIterator] = () => ({
    next: async () => {
      const value = messages[source.asked];
      source.asked += 1;
      return value === undefined ? { done: true, value } : { done: false, value };
    },
    return: async () => {
      source.returned = true;
      return { done: true, value: undefined };
    },
  });
  return source;
}

/** Requests to `fetch` that the test answers. */
export function fakeFetch() {
  const requests = [];
  const fetch = (url, init) =>
    new Promise((resolve, reject) => {
      const request = { url, ...init, answer: resolve, fail: () => reject(new TypeError('fetch failed')), aborted: false };
      init.signal.addEventListener('abort', () => {
        request.aborted = true;
        reject(init.signal.reason);
      });
      requests.push(request);
    });
  /** The next request, which must be there by now. */
  const next = async (method = 'GET') => {
    await settle();
    const request = requests.shift();
    assert.equal(request?.method ?? 'GET', method);
    return request;
  };
  return { fetch, requests, next };
}

/** Answers a GET with a stream of frames. */
export async function stream(request, ...first) {
  let controller;
  const body = new ReadableStream({ start: (own) => (controller = own) });
  const encoder = new TextEncoder();
  const bytes = async (piece) => {
    controller.enqueue(piece);
    await settle();
  };
  const write = (text) => bytes(encoder.encode(text));
  const send = (...frames) => write(frames.map((frame) => `data: ${JSON.stringify(frame)}\n\n`).join(''));
  request.answer(new Response(body, { status: 200, headers: { 'content-type': 'text/event-stream' } }));
  await send(...first);
  return { send, write, bytes, end: async () => (controller.close(), settle()), cut: async () => (controller.error(new TypeError('terminated')), settle()) };
}
