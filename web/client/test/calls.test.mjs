// Calls on a connection that holds: each kind, credit both ways, deadlines, aborts, errors.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Code, TidegateError, Writer } from '../dist/index.js';
import { messageBytes } from '../dist/frames.js';
import { counted, fakeClient, openSocket, settle, stateOf, status } from './kit.mjs';

const M = 'pkg.Service/Method';

test('a unary call is one frame there, and its reply counts once its status is there', async () => {
  const fake = fakeClient();
  const heads = [];
  const call = fake.client.unary(M, { a: 1 }, { metadata: { 'X-Own': 'v' }, onHead: (head) => heads.push(head), onTrailers: (trailers) => heads.push(trailers) });
  const socket = await openSocket(fake);
  assert.equal(socket.url, 'wss://gateway.example/-/mux');
  assert.deepEqual(socket.protocols, ['tidegate.mux']);
  assert.deepEqual(socket.take(), [{ id: 1, open: { method: M, metadata: { 'x-own': 'v' } }, half_close: true, message: { a: 1 } }]);
  await socket.receive({ id: 1, head: { metadata: { h: '1' } } }, { id: 1, message: { b: 2 } });
  assert.deepEqual(await stateOf(call), {});
  await socket.receive(status(1, 0, '', { trailers: { t: '2' } }));
  assert.deepEqual(await call, { b: 2 });
  assert.deepEqual(heads, [{ h: '1' }, { t: '2' }]);
});

test('calls share a socket, and their frames find them in any order', async () => {
  const fake = fakeClient();
  const calls = ['a', 'b', 'c'].map((name) => fake.client.unary(M, { name }));
  const socket = await openSocket(fake);
  assert.deepEqual(socket.take().map(({ id, message }) => [id, message.name]), [[1, 'a'], [2, 'b'], [3, 'c']]);
  for (const id of [3, 1, 2]) await socket.receive({ id, message: { id } }, status(id));
  assert.deepEqual(await Promise.all(calls), [{ id: 1 }, { id: 2 }, { id: 3 }]);
  assert.equal(fake.sockets.length, 1);
});

test('replies of a server stream come in order, and behind them its end', async () => {
  const fake = fakeClient();
  const replies = fake.client.serverStream(M, {});
  const socket = await openSocket(fake);
  await socket.receive({ id: 1, message: { n: 1 } }, { id: 1, message: { n: 2 } }, status(1, 5, 'gone'));
  const seen = [];
  await assert.rejects(async () => {
    for await (const { n } of replies) seen.push(n);
  }, { code: Code.NOT_FOUND, message: 'gone', retryable: false });
  assert.deepEqual(seen, [1, 2]);
  assert.deepEqual(await replies.next(), { done: true, value: undefined });
});

test('a client stream sends each message and then its half-close', async () => {
  const fake = fakeClient();
  const call = fake.client.clientStream(M, [{ n: 1 }, { n: 2 }]);
  const socket = await openSocket(fake);
  await settle();
  assert.deepEqual(socket.take(), [
    { id: 1, open: { method: M, metadata: {} } },
    { id: 1, message: { n: 1 } },
    { id: 1, message: { n: 2 } },
    { id: 1, half_close: true },
  ]);
  await socket.receive({ id: 1, message: { count: 2 } }, status(1));
  assert.deepEqual(await call, { count: 2 });
});

test('a writer says when a message went out, and that it will not', async () => {
  const fake = fakeClient();
  const writer = new Writer();
  const replies = fake.client.duplex(M, writer);
  const socket = await openSocket(fake);
  assert.equal(await writer.send({ n: 1 }), true);
  await settle();
  assert.deepEqual(socket.take().at(-1), { id: 1, message: { n: 1 } });
  await socket.receive({ id: 1, message: { n: 2 } });
  assert.deepEqual(await replies.next(), { done: false, value: { n: 2 } });
  const big = { text: 'x'.repeat(70_000) };
  assert.equal(await writer.send(big), true);
  const waits = writer.send({ n: 3 });
  assert.deepEqual(await stateOf(waits), {});
  await socket.receive(status(1));
  assert.equal(await waits, false);
  assert.equal(await writer.send({ n: 4 }), false);
  assert.deepEqual(await replies.next(), { done: true, value: undefined });
});

test('a sender asks for its next message only when there is credit for it', async () => {
  const fake = fakeClient();
  // Each is 30,000 bytes of JSON: the third overdraws the credit of 65,536.
  const message = { text: 'ä'.repeat(14_994) };
  assert.equal(Buffer.byteLength(JSON.stringify(message)), 30_000 - 1);
  const source = counted(Array.from({ length: 9 }, () => message));
  fake.client.duplex(M, source);
  const socket = await openSocket(fake);
  await settle();
  assert.equal(source.asked, 3);
  await socket.receive({ id: 1, credit: 3 * 29_999 - 65_536 });
  assert.equal(source.asked, 3, 'credit has to be above zero');
  await socket.receive({ id: 1, credit: 1 });
  assert.equal(source.asked, 4);
});

test('room for replies is given back as they are taken, and not before', async () => {
  const fake = fakeClient();
  const replies = fake.client.serverStream(M, {});
  const socket = await openSocket(fake);
  socket.take();
  const message = { text: 'x'.repeat(20_000 - 11) };
  for (let n = 0; n < 4; n += 1) await socket.receive({ id: 1, message });
  assert.deepEqual(socket.take(), []);
  await replies.next();
  await settle();
  assert.deepEqual(socket.take(), [], 'little enough to be owed');
  await replies.next();
  assert.deepEqual(socket.take(), [{ id: 1, credit: 40_000 }]);
  await replies.next();
  await replies.next();
  assert.deepEqual(socket.take(), [{ id: 1, credit: 40_000 }]);
});

test('a server that sends without credit has its call ended', async () => {
  const fake = fakeClient();
  const replies = fake.client.serverStream(M, {});
  const socket = await openSocket(fake);
  socket.take();
  await socket.receive({ id: 1, message: { text: 'x'.repeat(65_536) } }, { id: 1, message: {} });
  assert.deepEqual(socket.take(), [{ id: 1, cancel: true }]);
  await replies.next();
  await assert.rejects(replies.next(), { code: Code.INTERNAL });
});

test('what a message weighs is counted as it came', () => {
  for (const [text, bytes] of [
    ['{"id":1,"message":{}}', 2],
    ['{"id":12,"message":{"a":"ä"}}', 10],
    ['{"id":1,"message":{"a":1.0}}', 9], // as it came, not as it would be written again
    ['{"message":{"a":1},"id":1}', 7],
    ['{"id":1,"message":{"a":1},"credit":5}', 7],
    ['{ "id":1,"message":{"a":1}}', 7],
  ]) {
    assert.equal(messageBytes(text, JSON.parse(text)), bytes, text);
  }
});

test('leaving the loop cancels the call and lets go of the requests', async () => {
  const fake = fakeClient();
  const source = counted([]);
  source[Symbol.asyncIterator] = ((make) => () => ({ ...make(), next: () => new Promise(() => undefined) }))(source[Symbol.asyncIterator]);
  const replies = fake.client.duplex(M, source);
  const socket = await openSocket(fake);
  await socket.receive({ id: 1, message: { n: 1 } });
  socket.take();
  for await (const { n } of replies) {
    assert.equal(n, 1);
    break;
  }
  await settle();
  assert.deepEqual(socket.take(), [{ id: 1, cancel: true }]);
  assert.ok(source.returned);
  await socket.receive({ id: 1, message: { n: 2 } }, status(1));
  assert.deepEqual(await replies.next(), { done: true, value: undefined });
});

test('an abort cancels the call, whatever it waits for', async () => {
  for (const [name, prepare] of [
    ['for a connection', async () => undefined],
    ['for a reply', async (fake) => void (await openSocket(fake))],
  ]) {
    const fake = fakeClient();
    const abort = new AbortController();
    const call = fake.client.unary(M, {}, { signal: abort.signal });
    await prepare(fake);
    abort.abort(new Error('enough'));
    const { error } = await stateOf(call);
    assert.deepEqual([error.code, error.cause.message], [Code.CANCELLED, 'enough'], name);
    const cancels = fake.sockets[0].take().filter(({ cancel }) => cancel);
    assert.equal(cancels.length, name === 'for a reply' ? 1 : 0);
  }
  const fake = fakeClient();
  await assert.rejects(fake.client.unary(M, {}, { signal: AbortSignal.abort() }), { code: Code.CANCELLED });
  assert.equal(fake.sockets.length, 0, 'nothing is begun for it');
});

test('a deadline holds from the beginning, and the gateway is told what is left', async () => {
  const fake = fakeClient();
  const call = fake.client.unary(M, {}, { timeoutMs: 5000 });
  await fake.clock.pass(1500);
  const socket = await openSocket(fake);
  assert.equal(socket.take()[0].open.timeout, '3.500s');
  await fake.clock.pass(3499);
  assert.deepEqual(await stateOf(call), {});
  await fake.clock.pass(1);
  await assert.rejects(call, { code: Code.DEADLINE_EXCEEDED });
  assert.deepEqual(socket.take(), [{ id: 1, cancel: true }]);
});

test('a call that is over leaves no timer and no listener behind', async () => {
  const fake = fakeClient();
  const { signal } = new AbortController();
  let listeners = 0;
  for (const [name, by] of [['addEventListener', 1], ['removeEventListener', -1]]) {
    signal[name] = () => void (listeners += by);
  }
  const call = fake.client.unary(M, {}, { timeoutMs: 5000, signal });
  const socket = await openSocket(fake);
  assert.deepEqual([fake.clock.timers, listeners], [2, 1], 'the deadline and the heartbeat');
  await socket.receive({ id: 1, message: {} }, status(1));
  await call;
  assert.deepEqual([fake.clock.timers, listeners], [1, 0]);
});

test('an error bears everything that the server said', async () => {
  const fake = fakeClient();
  const call = fake.client.unary(M, {});
  const socket = await openSocket(fake);
  const details = [
    { '@type': 'type.googleapis.com/google.rpc.ErrorInfo', reason: 'ASKED', domain: 'd' },
    { '@type': 'type.googleapis.com/google.rpc.RetryInfo', retryDelay: '1.5s' },
  ];
  await socket.receive(status(1, 8, 'too much', { details, trailers: { 'x-fail': 'yes' } }));
  const { error } = await stateOf(call);
  assert.ok(error instanceof TidegateError);
  assert.deepEqual(
    [error.code, error.codeName, error.message, error.reason, error.metadata, error.retryable, error.retryAfterMs, error.details],
    [8, 'RESOURCE_EXHAUSTED', 'too much', 'ASKED', { 'x-fail': 'yes' }, true, 1500, details],
  );
});

test('a method that should give one reply and gives none or two has failed', async () => {
  for (const frames of [[status(1)], [{ id: 1, message: {} }, { id: 1, message: {} }]]) {
    const fake = fakeClient();
    const call = fake.client.unary(M, {});
    await (await openSocket(fake)).receive(...frames);
    await assert.rejects(call, { code: Code.INTERNAL });
  }
});

test('what a source of requests throws ends the call and is thrown to the caller', async () => {
  const fake = fakeClient();
  const call = fake.client.clientStream(M, (async function* () {
    yield {};
    throw new RangeError('out of paper');
  })());
  const socket = await openSocket(fake);
  await assert.rejects(call, RangeError);
  assert.deepEqual(socket.take().at(-1), { id: 1, cancel: true });
  await assert.rejects(fakeClient().client.unary(M, {}, { metadata: null, timeoutMs: 'x', signal: AbortSignal.abort() }), TidegateError);
});

test('what a listener throws ends its own call alone', async () => {
  const fake = fakeClient();
  const bad = fake.client.unary(M, {}, { onHead: () => { throw new RangeError('no'); } });
  const good = fake.client.unary(M, {});
  const socket = await openSocket(fake);
  await socket.receive({ id: 1, head: { metadata: {} } }, { id: 2, message: {} }, status(2));
  await assert.rejects(bad, RangeError);
  assert.deepEqual(await good, {});
});

test('a closed client has cancelled what was open and takes no more', async () => {
  const fake = fakeClient();
  const call = fake.client.unary(M, {});
  const socket = await openSocket(fake);
  fake.client.close();
  await assert.rejects(call, { code: Code.CANCELLED });
  await assert.rejects(fake.client.unary(M, {}), { code: Code.CANCELLED });
  assert.ok(socket.closed);
  assert.equal(fake.clock.timers, 0);
});

test('frames that are unknown, late or not meant for a call do no harm', async () => {
  const fake = fakeClient();
  const call = fake.client.unary(M, {});
  const socket = await openSocket(fake);
  await socket.receive({ later: 1 }, { id: 7, message: {} }, { id: 'x', status: {} }, { id: 1, credit: -5 }, { ping: 3 });
  assert.deepEqual(socket.take().at(-1), { pong: 3 });
  await socket.receive({ id: 1, message: {} }, status(1), status(1, 13));
  assert.deepEqual(await call, {});
});
