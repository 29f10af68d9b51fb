// Connections that are lost, refused, told to go away, or fall silent; what becomes of calls then; tokens.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Code } from '../dist/index.js';
import { counted, fakeClient, lost, openSocket, settle, stateOf, status } from './kit.mjs';

const M = 'pkg.Service/Method';

const expired = { details: [{ '@type': 'type.googleapis.com/google.rpc.ErrorInfo', reason: 'TOKEN_EXPIRED', domain: 'tidegate' }] };
const draining = { details: [{ '@type': 'type.googleapis.com/google.rpc.ErrorInfo', reason: 'DRAINING', domain: 'tidegate' }] };

/** The socket that is opened next, after whatever pause. */
async function nextSocket({ sockets, clock }, count) {
  await settle();
  for (let pauses = 0; sockets.length < count && pauses < 3; pauses += 1) await clock.pass(clock.next);
  assert.equal(sockets.length, count, 'one more socket');
  return sockets[count - 1];
}

test('nothing is opened before there is a call', async () => {
  const fake = fakeClient();
  await settle();
  assert.equal(fake.sockets.length, 0);
  fake.client.unary(M, {});
  await openSocket(fake);
  assert.deepEqual(fake.states.map(({ state, transport }) => [state, transport]), [['connecting', undefined], ['open', 'websocket']]);
});

test('of calls whose connection is lost those are made again that may be', async () => {
  const fake = fakeClient();
  const once = fake.client.unary(M, { n: 1 });
  const twice = fake.client.unary(M, { n: 2 }, { idempotent: true });
  const replied = fake.client.serverStream(M, { n: 3 }, { idempotent: true });
  const sending = fake.client.clientStream(M, [{ n: 4 }], { idempotent: true });
  const socket = await openSocket(fake);
  await socket.receive({ id: 3, message: {} });
  await replied.next();
  await socket.drop();
  await assert.rejects(once, lost);
  await assert.rejects(replied.next(), lost);
  await assert.rejects(sending, lost);
  const again = await nextSocket(fake, 2);
  await again.open();
  assert.deepEqual(again.take(), [{ id: 1, open: { method: M, metadata: {} }, half_close: true, message: { n: 2 } }]);
  await again.receive({ id: 1, message: { ok: true } }, status(1));
  assert.deepEqual(await twice, { ok: true });
});

test('a call that may be made again is not made for ever', async () => {
  const fake = fakeClient();
  const call = fake.client.unary(M, {}, { idempotent: true });
  for (let tries = 1; tries <= 5; tries += 1) {
    const socket = await nextSocket(fake, tries);
    await socket.open();
    if (tries > 1) await fake.clock.pass(0);
    while (socket.sent.length === 0) await fake.clock.pass(fake.clock.next);
    await socket.drop();
  }
  await assert.rejects(call, lost);
});

test('pauses before connections are random below a bound that doubles up to its end', async () => {
  for (const [random, expected] of [
    [1, [500, 1000, 2000, 4000, 4000]],
    [0.5, [250, 500, 1000, 2000, 2000]],
  ]) {
    const fake = fakeClient({ pauseMaxMs: 4000, patienceMs: 1e9 });
    fake.clock.random = () => random;
    fake.client.unary(M, {});
    await settle();
    const pauses = [];
    for (let tries = 1; tries <= expected.length; tries += 1) {
      await fake.sockets.at(-1).drop();
      pauses.push(fake.clock.next);
      await nextSocket(fake, tries + 1);
    }
    assert.deepEqual(pauses, expected);
  }
});

test('the pauses begin anew once a connection has proved its worth, and not by being open alone', async () => {
  const fake = fakeClient();
  const replies = fake.client.serverStream(M, {}, { resume: (last, request) => request });
  const pauses = [];
  let before = 0;
  for (const [count, proves] of [[1, false], [2, false], [3, true], [4, false]]) {
    const socket = await nextSocket(fake, count);
    pauses.push(fake.clock.now() - before);
    await socket.open();
    while (socket.sent.length === 0) await fake.clock.pass(fake.clock.next);
    if (proves) {
      await socket.receive({ id: 1, message: {} });
      await replies.next();
    }
    before = fake.clock.now();
    await socket.drop();
  }
  assert.deepEqual(pauses, [0, 500, 1000, 500]);
});

test('where there is no connection a call loses its patience, and one that goes on does not', async () => {
  const fake = fakeClient();
  const call = fake.client.unary(M, {});
  const replies = fake.client.serverStream(M, {}, { resume: (last, request) => request });
  const next = replies.next();
  let tries = 0;
  while (fake.clock.now() < 30_000) {
    await settle();
    if (tries < fake.sockets.length) await fake.sockets[tries++].drop();
    await fake.clock.pass(Math.min(fake.clock.next, 30_000 - fake.clock.now()));
  }
  const { error } = await stateOf(call);
  assert.deepEqual([error.code, error.message], [14, 'no connection within 30000 ms: the WebSocket could not be opened']);
  assert.deepEqual(await stateOf(next), {});
});

test('after go_away what is open ends where it is, and what is new begins elsewhere', async () => {
  const fake = fakeClient();
  const old = fake.client.unary(M, { n: 1 });
  const socket = await openSocket(fake);
  await socket.receive({ go_away: { reason: 'the gateway restarts' } });
  const call = fake.client.unary(M, { n: 2 });
  const second = await nextSocket(fake, 2);
  await second.open();
  assert.equal(second.take()[0].message.n, 2);
  assert.ok(!socket.closed);
  await socket.receive({ id: 1, message: { n: 1 } }, status(1));
  assert.deepEqual(await old, { n: 1 });
  assert.ok(socket.closed, 'with its last call');
  await second.receive({ id: 1, message: { n: 2 } }, status(1));
  assert.deepEqual(await call, { n: 2 });
});

test('a call that came too late for a gateway that goes away is made again, whatever it is', async () => {
  const fake = fakeClient();
  const call = fake.client.unary(M, {});
  const other = fake.client.unary(M, {});
  const socket = await openSocket(fake);
  await socket.receive({ go_away: {} }, status(1, 14, 'the gateway restarts', draining), status(2, 14, 'the backend is away'));
  await assert.rejects(other, { message: 'the backend is away' });
  const second = await nextSocket(fake, 2);
  await second.open();
  await second.receive({ id: 1, message: { ok: true } }, status(1));
  assert.deepEqual(await call, { ok: true });
});

test('a silent gateway is asked for a sign of life, and given up when there is none', async () => {
  const fake = fakeClient();
  const call = fake.client.unary(M, {});
  const socket = await openSocket(fake);
  socket.take();
  await fake.clock.pass(15_000);
  assert.deepEqual(socket.take(), []);
  await fake.clock.pass(15_000);
  assert.deepEqual(socket.take(), [{ ping: 2 }]);
  await socket.receive({ pong: 2 });
  await fake.clock.pass(45_000);
  assert.deepEqual(socket.take(), [{ ping: 2 }, { ping: 3 }]);
  assert.deepEqual(await stateOf(call), {});
  await fake.clock.pass(15_000);
  await assert.rejects(call, { message: 'the gateway has fallen silent' });
  assert.ok(socket.closed);
});

test('a socket that does not open in time is given up', async () => {
  const fake = fakeClient({ patienceMs: 10_100 });
  const call = fake.client.unary(M, {});
  await fake.clock.pass(10_000);
  assert.ok(fake.sockets[0].closed);
  await fake.clock.pass(100);
  await assert.rejects(call, { message: 'no connection within 10100 ms: the gateway does not answer' });
});

test('a stream of replies goes on behind the last one that was taken', async () => {
  const fake = fakeClient();
  const replies = fake.client.serverStream(M, { of: 'x' }, { resume: ({ n }, request) => ({ ...request, after: n }) });
  const socket = await openSocket(fake);
  await socket.receive({ id: 1, message: { n: 1 } }, { id: 1, message: { n: 2 } });
  assert.equal((await replies.next()).value.n, 1);
  await socket.drop();
  await fake.clock.pass(5000);
  assert.equal(fake.sockets.length, 1, 'what came is taken first');
  assert.equal((await replies.next()).value.n, 2);
  const again = await nextSocket(fake, 2);
  await again.open();
  assert.deepEqual(again.take()[0].message, { of: 'x', after: 2 });
  await again.receive({ id: 1, message: { n: 3 } }, status(1));
  assert.equal((await replies.next()).value.n, 3);
  assert.equal((await replies.next()).done, true);
});

test('the fields of a table say where a stream goes on', async () => {
  const by = { reply: 'at.seq', request: 'from.after' };
  for (const [name, resume, taken, message] of [
    ['the last id', by, [{ at: { seq: '1' } }, { at: { seq: '2' } }], { from: { after: '2', of: 'x' } }],
    ['what has no id says nothing', by, [{ at: { seq: '1' } }, { at: {} }, {}], { from: { after: '1', of: 'x' } }],
    ['no id at all', by, [{}], { from: { of: 'x' } }],
    ['a value that is left out', { ...by, absent: '0' }, [{ at: { seq: '1' } }, { at: {} }, {}], { from: { after: '0', of: 'x' } }],
    ['a number', by, [{ at: { seq: 7 } }], { from: { after: '7', of: 'x' } }],
    ['an empty text', by, [{ at: { seq: '7' } }, { at: { seq: '' } }], { from: { after: '7', of: 'x' } }],
    ['another place', { reply: 'id', request: 'last' }, [{ id: 'q' }], { from: { of: 'x' }, last: 'q' }],
  ]) {
    const fake = fakeClient();
    const replies = fake.client.serverStream(M, { from: { of: 'x' } }, { resume });
    const socket = await openSocket(fake);
    for (const reply of taken) {
      await socket.receive({ id: 1, message: reply });
      await replies.next();
    }
    await socket.drop();
    const again = await nextSocket(fake, 2);
    await again.open();
    assert.deepEqual(again.take()[0].message, message, name);
  }
});

test('a conversation goes on with what its caller says, and behind it what did not go out yet', async () => {
  const fake = fakeClient();
  const messages = [1, 2, 3].map((n) => ({ n }));
  const asked = [];
  // The fourth comes when the connection is gone, and is asked for once.
  let give;
  const source = { next: () => {
    asked.push(asked.length);
    const value = messages[asked.length - 1];
    return value ? Promise.resolve({ done: false, value }) : new Promise((resolve) => (give = resolve));
  } };
  const replies = fake.client.duplex(M, { [Symbol.asyncIterator]: () => source }, {
    resume: (last, sent) => [{ hello: true }, ...messages.slice(last.n, sent)],
  });
  const socket = await openSocket(fake);
  await socket.receive({ id: 1, message: { n: 1 } });
  assert.equal((await replies.next()).value.n, 1);
  await socket.drop();
  messages.push({ n: 4 });
  give({ done: false, value: messages[3] });
  const again = await nextSocket(fake, 2);
  await again.open();
  assert.deepEqual(again.take().filter(({ message }) => message).map(({ message }) => message), [{ hello: true }, { n: 2 }, { n: 3 }, { n: 4 }]);
  assert.equal(asked.length, 5);
});

test('a conversation that cannot go on ends with its connection', async () => {
  const fake = fakeClient();
  const source = counted([{ n: 1 }]);
  const replies = fake.client.duplex(M, source);
  const socket = await openSocket(fake);
  await socket.drop();
  await assert.rejects(replies.next(), lost);
  assert.ok(source.returned);
});

test('a stream that may go on does so as well when the gateway says that its backend is away, and not for other ends', async () => {
  const fake = fakeClient();
  const replies = fake.client.serverStream(M, {}, { resume: (last, request) => request });
  const next = replies.next();
  const socket = await openSocket(fake);
  await socket.receive(status(1, 14, 'the backend is away'));
  await fake.clock.pass(500);
  assert.equal(socket.take().at(-1).id, 2);
  await socket.receive(status(2, 5, 'gone'));
  await assert.rejects(next, { codeName: 'NOT_FOUND' });
});

test('what a resumption throws ends the call', async () => {
  const fake = fakeClient();
  const replies = fake.client.serverStream(M, {}, { resume: () => { throw new RangeError('no'); } });
  const socket = await openSocket(fake);
  await socket.receive({ id: 1, message: {} });
  await replies.next();
  await socket.drop();
  await fake.clock.pass(500);
  await assert.rejects(replies.next(), RangeError);
});

test('a deadline holds over connections', async () => {
  const fake = fakeClient();
  const replies = fake.client.serverStream(M, {}, { timeoutMs: 2000, resume: (last, request) => request });
  const next = replies.next();
  const socket = await openSocket(fake);
  await socket.drop();
  const again = await nextSocket(fake, 2);
  await again.open();
  assert.equal(again.take()[0].open.timeout, '1.500s');
  await again.drop();
  await fake.clock.pass(1500);
  await assert.rejects(next, { code: Code.DEADLINE_EXCEEDED });
});

test('the call whose message was too large is told so, and the others that they are lost', async () => {
  const fake = fakeClient();
  const small = fake.client.unary(M, {}, { idempotent: true });
  const large = fake.client.unary(M, { text: 'x'.repeat(100) }, { idempotent: true });
  const other = fake.client.unary(M, {});
  await (await openSocket(fake)).drop(1009, 'too large');
  await assert.rejects(large, { codeName: 'RESOURCE_EXHAUSTED', message: 'too large' });
  await assert.rejects(other, lost);
  const again = await nextSocket(fake, 2);
  await again.open();
  await again.receive({ id: 1, message: {} }, status(1));
  assert.deepEqual(await small, {});
});

test('each connection has the token of its time', async () => {
  const fake = fakeClient({ token: (reason) => `${reason}-ä` });
  fake.client.unary(M, {});
  const socket = await openSocket(fake);
  assert.deepEqual(socket.protocols, ['tidegate.mux', `bearer.${Buffer.from('connect-ä').toString('base64url')}`]);
  assert.deepEqual(socket.take()[0].open.metadata, {}, 'the socket says it');
});

test('a gateway that asks for a newer token is told it, for the socket or for the call that it names', async () => {
  let version = 0;
  const asked = [];
  const fake = fakeClient({ token: async (reason) => (asked.push(reason), `t${version++}`) });
  fake.client.serverStream(M, {});
  const socket = await openSocket(fake);
  socket.take();
  await socket.receive({ renew: { expires_in: '30s' } });
  assert.deepEqual(socket.take(), [{ token: 't1' }]);
  await socket.receive({ id: 1, renew: { expires_in: '30s' } });
  assert.deepEqual(socket.take(), [{ id: 1, token: 't2' }]);
  assert.deepEqual(asked, ['connect', 'renew', 'renew']);
  fake.client.unary(M, {});
  await settle();
  assert.deepEqual(socket.take()[0].open.metadata, { authorization: 'Bearer t2' }, 'the socket does not know it');
  await fake.client.refreshToken();
  assert.deepEqual(socket.take(), [{ token: 't3' }]);
});

test('a source of tokens that fails leaves the connection as it is', async () => {
  let fails = false;
  const fake = fakeClient({ token: async () => { if (fails) throw new Error('no'); return 't'; } });
  fake.client.serverStream(M, {});
  const socket = await openSocket(fake);
  socket.take();
  fails = true;
  await socket.receive({ renew: {} });
  assert.deepEqual(socket.take(), []);
  await assert.rejects(fake.client.refreshToken(), { message: 'no' });
});

test('a stream whose token has expired goes on with a newer one', async () => {
  let version = 0;
  const fake = fakeClient({ token: () => `t${version++}` });
  const goesOn = fake.client.serverStream(M, {}, { resume: (last, request) => request });
  const other = fake.client.serverStream(M, {});
  const next = goesOn.next();
  const socket = await openSocket(fake);
  socket.take();
  await socket.receive(status(1, 16, 'expired', expired), status(2, 16, 'expired', expired));
  await assert.rejects(other.next(), { codeName: 'UNAUTHENTICATED' });
  await fake.clock.pass(500);
  assert.deepEqual(socket.take(), [
    { token: 't1' },
    { id: 3, open: { method: M, metadata: { authorization: 'Bearer t1' } }, half_close: true, message: {} },
  ]);
  await socket.receive(status(3, 16, 'who are you?'));
  await assert.rejects(next, { message: 'who are you?' });
});

test('a token that is refused is asked for once more, and then not again', async () => {
  const asked = [];
  const fake = fakeClient({ token: (reason) => (asked.push(reason), 't') });
  const call = fake.client.unary(M, {}, { idempotent: true });
  await (await openSocket(fake)).drop(4016, 'UNAUTHENTICATED: no');
  await settle();
  assert.equal(fake.sockets.length, 2, 'at once');
  await fake.sockets[1].open();
  await fake.clock.pass(fake.clock.next);
  await fake.sockets[1].drop(4016, 'UNAUTHENTICATED: no');
  const later = fake.client.unary(M, {});
  await assert.rejects(later, { codeName: 'UNAUTHENTICATED', message: 'no' });
  assert.deepEqual(asked, ['connect', 'refused']);
  fake.client.close();
  await assert.rejects(call, (error) => ['CANCELLED', 'UNAUTHENTICATED'].includes(error.codeName));
});
