// Frames over plain HTTP, and when they go that way.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fakeClient, fakeFetch, lost, settle, stateOf, status, stream } from './kit.mjs';

const M = 'pkg.Service/Method';
const session = { session: 'S1' };

const overHttp = (options = {}) => {
  const http = fakeFetch();
  return { ...fakeClient({ transports: ['http'], fetch: http.fetch, ...options }), http };
};

/** The frames that a POST bears. */
const frames = ({ body }) => body.split('\n').map((line) => JSON.parse(line));
const taken = (request) => request.answer(new Response(null, { status: 204 }));
const refused = (request, code, httpStatus, message = 'no') =>
  request.answer(new Response(JSON.stringify({ code, message, details: [] }), { status: httpStatus }));

/** A session that is open, with the call that opened it. */
async function opened(options) {
  const fake = overHttp(options);
  const call = fake.client.unary(M, { n: 1 });
  const down = await stream(await fake.http.next('GET'), session);
  return { ...fake, call, down };
}

test('frames come down as events and go up as lines', async () => {
  const { client, http, call, down } = await opened({ token: 't' });
  const post = await http.next('POST');
  assert.equal(post.url, 'https://gateway.example/-/mux');
  assert.deepEqual(post.headers, { 'content-type': 'application/x-ndjson', 'tidegate-session': 'S1', 'tidegate-sequence': '1' });
  assert.deepEqual(frames(post), [{ id: 1, open: { method: M, metadata: {} }, half_close: true, message: { n: 1 } }]);
  await down.send({ id: 1, message: { ok: true } }, status(1));
  assert.deepEqual(await call, { ok: true });
  client.close();
  assert.ok(post.aborted);
});

test('the session is opened with the token', async () => {
  const { client, http } = overHttp({ token: 't' });
  client.unary(M, {});
  const { headers } = await http.next('GET');
  assert.deepEqual(headers, { accept: 'text/event-stream', authorization: 'Bearer t' });
});

test('what is said while a POST is under way goes up in the next one, in its order', async () => {
  const { client, http } = await opened();
  const first = await http.next('POST');
  client.unary(M, { n: 2 });
  client.unary(M, { n: 3 });
  await settle();
  assert.equal(http.requests.length, 0, 'one at a time');
  taken(first);
  const second = await http.next('POST');
  assert.equal(second.headers['tidegate-sequence'], '2');
  assert.deepEqual(frames(second).map(({ id, message }) => [id, message.n]), [[2, 2], [3, 3]]);
});

test('much is cut into POSTs of some size', async () => {
  const { client, http } = await opened();
  const first = await http.next('POST');
  const text = 'x'.repeat(100_000);
  for (let n = 0; n < 3; n += 1) client.unary(M, { text });
  client.unary(M, { text: text.repeat(4) });
  taken(first);
  const counts = [];
  for (let n = 0; n < 3; n += 1) {
    const post = await http.next('POST');
    counts.push(frames(post).length);
    taken(post);
  }
  assert.deepEqual(counts, [2, 1, 1]);
});

test('a POST whose answer is lost comes again under its number', async () => {
  const { clock, http } = await opened();
  const first = await http.next('POST');
  first.fail();
  await clock.pass(200);
  const again = await http.next('POST');
  assert.deepEqual([again.headers, again.body], [first.headers, first.body]);
  refused(again, 14, 503);
  await clock.pass(400);
  // The first one is under way still.
  refused(await http.next('POST'), 10, 409);
  await clock.pass(800);
  taken(await http.next('POST'));
  await settle();
  assert.equal(http.requests.length, 0);
});

test('a POST that is never taken is the end of the session', async () => {
  for (const [name, answer, error] of [
    ['an unknown session', (post) => refused(post, 5, 404), lost],
    ['out of order', (post) => refused(post, 10, 409), { codeName: 'INTERNAL' }],
    ['a message that is too large', (post) => refused(post, 8, 413), { codeName: 'RESOURCE_EXHAUSTED' }],
    ['a frame that is none', (post) => refused(post, 3, 400), { codeName: 'INTERNAL' }],
  ]) {
    const { http, call } = await opened();
    answer(await http.next('POST'));
    await assert.rejects(call, error, name);
  }
  const { http, call, clock } = await opened();
  for (let tries = 0; tries < 5; tries += 1) {
    if (tries > 0) await clock.pass(3000);
    (await http.next('POST')).fail();
  }
  await assert.rejects(call, { message: 'frames cannot be sent' });
});

test('the stream of frames ends with a reason, or was cut', async () => {
  for (const [name, end, error] of [
    ['cut', (down) => down.cut(), lost],
    ['ended without a word', (down) => down.end(), { message: 'the stream of frames was cut off' }],
    ['closed', (down) => down.send({ close: { code: 4016, reason: 'UNAUTHENTICATED: who?' } }), { codeName: 'UNAUTHENTICATED', message: 'who?' }],
    ['a frame that is none', (down) => down.write('data: {\n\n'), { codeName: 'INTERNAL' }],
  ]) {
    const { call, down, http } = await opened();
    taken(await http.next('POST'));
    await end(down);
    await assert.rejects(call, error, name);
  }
});

test('frames are read wherever the stream is cut, between comments and other fields', async () => {
  const { call, down } = await opened();
  const text = 'retry: 2000\n\n:\n\nid: 7\ndata: {"id":1,"message":{"text":"ä€😀"}}\n\n:\n\ndata:{"id":1,"status":{"code":0}}\n\n';
  const bytes = new TextEncoder().encode(text);
  for (const byte of bytes) await down.bytes(new Uint8Array([byte]));
  assert.deepEqual(await call, { text: 'ä€😀' });
});

test('a comment is a sign of life', async () => {
  const { call, clock, down, http } = await opened();
  taken(await http.next('POST'));
  for (let n = 0; n < 10; n += 1) {
    await clock.pass(15_000);
    await down.write(':\n\n');
  }
  assert.equal(http.requests.length, 0, 'no need to ask');
  assert.deepEqual(await stateOf(call), {});
  await clock.pass(30_000);
  assert.deepEqual(frames(await http.next('POST')), [{ ping: 2 }]);
  await clock.pass(30_000);
  await assert.rejects(call, { message: 'the gateway has fallen silent' });
});

test('where no WebSocket passes, HTTP does, at once; later calls do not try again before some time is over', async () => {
  const http = fakeFetch();
  const fake = fakeClient({ transports: ['websocket', 'http'], fetch: http.fetch, fallbackMs: 60_000 });
  fake.client.unary(M, {});
  await settle();
  await fake.sockets[0].drop();
  const down = await stream(await http.next('GET'), session);
  assert.deepEqual(fake.states.at(-1), { state: 'open', transport: 'http' });
  taken(await http.next('POST'));
  await down.cut();
  fake.client.unary(M, {});
  await fake.clock.pass(500);
  await stream(await http.next('GET'), session).then((again) => again.cut());
  assert.equal(fake.sockets.length, 1);
  await fake.clock.pass(60_000);
  fake.client.unary(M, {});
  await fake.clock.pass(1000);
  assert.equal(fake.sockets.length, 2, 'WebSockets may pass by now');
});

test('a WebSocket that opens and lets nothing pass is none', async () => {
  for (const fails of [
    ({ sockets }) => sockets[0].drop(),
    ({ clock }) => clock.pass(60_000),
  ]) {
    const http = fakeFetch();
    const fake = fakeClient({ transports: ['websocket', 'http'], fetch: http.fetch });
    const call = fake.client.unary(M, {}, { idempotent: true });
    await settle();
    await fake.sockets[0].open();
    await fails(fake);
    const down = await stream(await http.next('GET'), session);
    assert.equal(frames(await http.next('POST'))[0].open.method, M);
    await down.send({ id: 1, message: { ok: true } }, status(1));
    assert.deepEqual(await call, { ok: true });
  }
});

test('a WebSocket that has worked is tried twice before HTTP', async () => {
  const http = fakeFetch();
  const fake = fakeClient({ transports: ['websocket', 'http'], fetch: http.fetch });
  const replies = fake.client.serverStream(M, {}, { resume: (last, request) => request });
  await settle();
  await fake.sockets[0].open();
  await fake.sockets[0].receive({ ping: 1 });
  await fake.sockets[0].drop();
  await fake.clock.pass(500);
  await fake.sockets[1].drop();
  assert.equal(http.requests.length, 0);
  await fake.clock.pass(1000);
  await fake.sockets[2].drop();
  await http.next('GET');
  await replies.return();
});

test('who is refused by the gateway is told so at once, by its own words', async () => {
  for (const [httpStatus, body, error] of [
    [403, '{"code":7,"message":"not this page"}', { codeName: 'PERMISSION_DENIED', message: 'not this page' }],
    [404, 'nothing here', { codeName: 'NOT_FOUND', message: 'the gateway answered with status 404' }],
    [401, '', { codeName: 'UNAUTHENTICATED' }],
  ]) {
    const http = fakeFetch();
    const fake = fakeClient({ transports: ['websocket', 'http'], fetch: http.fetch });
    const call = fake.client.unary(M, {});
    await settle();
    await fake.sockets[0].drop();
    (await http.next('GET')).answer(new Response(body, { status: httpStatus }));
    await assert.rejects(call, error);
  }
});

test('an overloaded gateway is left alone for as long as it says', async () => {
  const { client, clock, http } = overHttp();
  client.unary(M, {});
  const details = [{ '@type': 'type.googleapis.com/google.rpc.RetryInfo', retryDelay: '7s' }];
  (await http.next('GET')).answer(new Response(JSON.stringify({ code: 14, message: 'full', details }), { status: 503 }));
  await settle();
  assert.equal(clock.next, 7000);
});
