// Tries what each transport can do, against this gateway, and reports what was really seen.
//
// A proof never claims more than it saw: a stream counts as one only when it was read before its end.

import { CallError, Lines, resultOf, viaFetch, viaXhr } from './calls.js';
import { closeError, openSocket, roomUrl } from './chat.js';
import { bytes, clock, plural } from './dom.js';
import { decodeEvent, encodeMessage } from './message.js';
import { token } from './visitor.js';

const PATIENCE = 6000; // milliseconds
const NDJSON = 'application/x-ndjson';
const PICTURE = '/v1/posts/1/picture?format=PNG';
const PNG_START = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]; // no UTF-8 begins so

// ---- what several proofs need

function within(promise, what) {
  return new Promise((resolve, reject) => {
    setTimeout(() => reject(new Error(`${what} did not come within ${PATIENCE / 1000} s`)), PATIENCE);
    promise.then(resolve, reject);
  });
}

const seen = []; // resource timings, the latest last
const SEEN_MAX = 100;
new PerformanceObserver((list) => {
  seen.push(...list.getEntries());
  seen.splice(0, seen.length - SEEN_MAX);
}).observe({ type: 'resource', buffered: true });

/** The timing of the request with exactly this path, which therefore must be unlike any other. */
async function timing(path) {
  const url = new URL(path, location.href).href;
  for (let waited = 0; waited < PATIENCE; waited += 50) {
    const found = seen.findLast(({ name }) => name === url);
    if (found) return found;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error('the browser kept no timing of the request');
}

const PROTOCOLS = { 'http/1.1': 'HTTP/1.1', h2: 'HTTP/2', h3: 'HTTP/3' };

/** Proves by which protocol a request went, and whether its answer was compressed. */
async function proveTiming(matrix, transport, path, encoding) {
  const entry = await timing(path);
  const protocol = entry.nextHopProtocol;
  if (protocol) matrix.prove(`${transport}.transport`, `${PROTOCOLS[protocol] ?? protocol}, says its timing`);
  else matrix.unproven(`${transport}.transport`, 'the browser does not tell');
  const shrunk = entry.encodedBodySize > 0 && entry.encodedBodySize < entry.decodedBodySize;
  if (encoding || shrunk) {
    matrix.prove(`${transport}.compression`, `${encoding ?? 'encoded'}: ${bytes(entry.encodedBodySize)} for ${bytes(entry.decodedBodySize)}`);
  } else {
    matrix.unproven(`${transport}.compression`, 'the answer came uncompressed');
  }
}

function checkPicture(data) {
  const start = new Uint8Array(data, 0, Math.min(data.byteLength, PNG_START.length));
  if (PNG_START.some((byte, index) => start[index] !== byte)) throw new Error('the picture is not the PNG that was asked for');
  return `a PNG of ${bytes(data.byteLength)}, byte for byte`;
}

const listPath = () => `/v1/posts?liker=proof-${token()}`;

// ---- XMLHttpRequest

async function xhrUnary({ wire, matrix }) {
  const path = listPath();
  const { encoding } = await viaXhr(wire, 'GET', path);
  await proveTiming(matrix, 'xhr', path, encoding);
}

async function xhrBinary({ wire, matrix }) {
  const { data } = await viaXhr(wire, 'GET', PICTURE, { binary: true });
  matrix.prove('xhr.binary', checkPicture(data));
}

function xhrStream({ wire, matrix }) {
  const call = wire.open('xhr', 'GET', '/v1/posts:watch');
  const request = new XMLHttpRequest();
  const lines = new Lines();
  let read = 0;
  request.open('GET', '/v1/posts:watch');
  request.setRequestHeader('accept', NDJSON);
  return within(new Promise((resolve, reject) => {
    request.onprogress = () => {
      const piece = request.responseText.slice(read);
      read += piece.length;
      call.received(piece);
      try {
        const posts = lines.take(piece).map(resultOf);
        if (posts.length === 0 || request.readyState !== XMLHttpRequest.LOADING) return;
        matrix.prove('xhr.response', `${plural(posts.length, 'message')} read, the call still open`);
        matrix.prove('xhr.framing', `${plural(posts.length, 'line')} cut apart here`);
        resolve();
      } catch (failure) {
        reject(failure);
      }
    };
    request.onload = () => reject(CallError.fromBody(request.responseText, request.status));
    request.onerror = () => reject(CallError.unreachable('network error'));
    request.send();
  }), 'a line of the stream').finally(() => {
    request.abort();
    call.end('aborted here');
  });
}

// ---- fetch

async function fetchUnary({ wire, matrix }) {
  const path = listPath();
  const { encoding } = await viaFetch(wire, 'GET', path);
  await proveTiming(matrix, 'fetch', path, encoding);
}

async function fetchBinary({ wire, matrix }) {
  const { data } = await viaFetch(wire, 'GET', PICTURE, { binary: true });
  matrix.prove('fetch.binary', checkPicture(data));
}

async function fetchStream({ wire, matrix }) {
  const call = wire.open('fetch', 'GET', '/v1/posts:watch');
  const abort = new AbortController();
  const read = async () => {
    const response = await fetch('/v1/posts:watch', { headers: { accept: NDJSON }, signal: abort.signal });
    if (!response.ok) throw CallError.fromBody(await response.text(), response.status);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    const lines = new Lines();
    for (;;) {
      const { value, done } = await reader.read();
      if (done) throw new Error('the stream ended before anything came');
      call.received(value);
      const messages = lines.take(value).map(resultOf);
      if (messages.length > 0) return messages.length;
    }
  };
  try {
    const count = await within(read(), 'a line of the stream');
    matrix.prove('fetch.response', `${plural(count, 'message')} read, the call still open`);
    matrix.prove('fetch.framing', `${plural(count, 'line')} cut apart here`);
  } finally {
    abort.abort();
    call.end('aborted here');
  }
}

/** Whether this browser sends a stream as a body at all (it does not read `duplex` if not). */
function streamsRequests() {
  let asked = false;
  const request = new Request('/', {
    method: 'POST',
    body: new ReadableStream(),
    get duplex() {
      asked = true;
      return 'half';
    },
  });
  return asked && !request.headers.has('content-type');
}

/**
 * Publishes posts in one request, line by line. `pause` comes before the next line, with the title before; where the
 * browser cannot stream a body, all lines go at once.
 */
export async function importPosts(wire, posts, pause) {
  const streams = streamsRequests();
  const call = wire.open('fetch', 'POST', '/v1/posts:import');
  const line = (post) => new TextEncoder().encode(`${JSON.stringify(post)}\n`);
  const left = [...posts];
  let before;
  const body = new ReadableStream({
    async pull(controller) {
      const post = left.shift();
      if (before) await pause(before);
      before = post;
      if (!post) return controller.close();
      const piece = line(post);
      call.sent(piece);
      return controller.enqueue(piece);
    },
  }, { highWaterMark: 0 });
  const whole = () => {
    const text = new Blob(posts.map(line));
    call.sent(text);
    return text;
  };
  try {
    const response = await fetch('/v1/posts:import', {
      method: 'POST', headers: { 'content-type': NDJSON }, body: streams ? body : whole(), duplex: 'half',
    });
    const text = await response.text();
    call.received(text);
    if (!response.ok) throw CallError.fromBody(text, response.status);
    call.end(String(response.status));
    return { streamed: streams, ...JSON.parse(text) };
  } catch (cause) {
    const failure = cause instanceof CallError ? cause : CallError.unreachable(cause.message);
    call.end(failure.codeName, true);
    throw failure;
  }
}

async function fetchUpload({ wire, matrix, live }) {
  if (!streamsRequests()) throw new Error('this browser sends a body only whole');
  const title = `Sent in pieces at ${clock(new Date())}`;
  let came = false;
  const published = new Promise((resolve) => {
    const listen = ({ detail }) => {
      if (detail.kind !== 'PUBLISHED' || detail.post.title !== title) return;
      live.removeEventListener('change', listen);
      resolve();
    };
    live.addEventListener('change', listen);
  });
  // The body is closed only after the post has come back, so the request was still being sent when it did.
  await importPosts(wire, [{ title, author: 'the table below' }], async () => {
    await within(published, 'the post');
    came = true;
  });
  if (!came) throw new Error('the post came back only after the request');
  matrix.prove('fetch.request', 'its first line came back before it ended');
}

// ---- EventSource

/** A short stream: one post and the end, after which the browser's reconnect is told to stop. */
async function sseWhole({ wire, matrix }) {
  const path = `/v1/posts/1?liker=proof-${token()}`;
  const call = wire.open('sse', 'GET', path);
  const source = new EventSource(path);
  const types = [];
  try {
    await within(new Promise((resolve, reject) => {
      const take = ({ type, data }) => {
        call.received(data);
        JSON.parse(data);
        types.push(type);
      };
      source.onmessage = take;
      source.addEventListener('status', take);
      source.onerror = () => (types.includes('status') ? resolve() : reject(new Error('the stream broke off')));
    }), 'the end of the stream');
    matrix.prove('sse.framing', `${types.map((type) => `“${type}”`).join(' and ')}, told apart`);
  } finally {
    source.close();
    call.end('closed here');
  }
  await proveTiming(matrix, 'sse', path);
}

// ---- WebSocket

/** A private room: sends `frames` one by one, each after the echo of the last; `decode` reads what comes. */
function converse(wire, frames, decode) {
  const socket = openSocket(wire, roomUrl(`proof-${token()}`));
  const heard = [];
  let sent = 0;
  return within(new Promise((resolve, reject) => {
    socket.onopen = () => socket.send(frames[sent++]);
    socket.onclose = (closed) => reject(closeError(closed));
    socket.onmessage = ({ data }) => {
      const event = decode(data);
      heard.push({ ...event, size: data.byteLength ?? data.length });
      if (event.kind !== 'SAID') return;
      if (sent < frames.length) socket.send(frames[sent++]);
      else resolve({ heard, socket });
    };
  }), 'an answer').finally(() => socket.close(1000));
}

async function webSocketText({ wire, matrix }) {
  const frames = [JSON.stringify({ author: 'proof', text: 'ebb' }), JSON.stringify({ text: 'flow' })];
  const { heard, socket } = await converse(wire, frames, (data) => JSON.parse(data));
  matrix.prove('websocket.request', 'the 2nd message went after the 1st answer');
  matrix.prove('websocket.response', `${heard.length} messages, the call still open`);
  matrix.prove('websocket.framing', `${heard.length} messages, each whole`);
  matrix.prove('websocket.transport', `open over ${new URL(socket.url).protocol} by which of the two, no page is told`);
  if (socket.extensions) matrix.prove('websocket.compression', socket.extensions.split(';')[0]);
  else matrix.unproven('websocket.compression', 'offered, and not taken up');
}

async function webSocketBinary({ wire, matrix }) {
  const text = 'protobuf ≋';
  const frame = encodeMessage({ author: 'proof', text });
  const { heard } = await converse(wire, [frame], (data) => {
    if (!(data instanceof ArrayBuffer)) throw new Error('the answer came as text');
    return decodeEvent(data);
  });
  const answer = heard.at(-1);
  if (answer.text !== text) throw new Error('the text came back changed');
  matrix.prove('websocket.binary', `${frame.length} B of protobuf there, ${answer.size} B back`);
}

/** Each proof, with the cells that stay unproven where it fails. */
const PROOFS = [
  [xhrUnary, ['xhr.transport', 'xhr.compression']],
  [xhrBinary, ['xhr.binary']],
  [xhrStream, ['xhr.response', 'xhr.framing']],
  [fetchUnary, ['fetch.transport', 'fetch.compression']],
  [fetchBinary, ['fetch.binary']],
  [fetchStream, ['fetch.response', 'fetch.framing']],
  [fetchUpload, ['fetch.request']],
  [sseWhole, ['sse.framing', 'sse.transport', 'sse.compression']],
  [webSocketText, ['websocket.request', 'websocket.response', 'websocket.framing', 'websocket.transport', 'websocket.compression']],
  [webSocketBinary, ['websocket.binary']],
];

/** Tries everything, one after the other. */
export async function proveAll(context) {
  for (const [proof, cells] of PROOFS) {
    try {
      await proof(context);
    } catch (failure) {
      const why = failure.codeName ? `${failure.codeName}: ${failure.message}` : failure.message;
      for (const cell of cells) context.matrix.unproven(cell, why);
    }
  }
}
