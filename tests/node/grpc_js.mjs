// Calls by a client of grpc-js.

import grpc from '@grpc/grpc-js';
import { Outcome, codecOf } from './calls.mjs';

const START = {
  Down: 'makeServerStreamRequest',
  Up: 'makeClientStreamRequest',
  Chat: 'makeBidiStreamRequest',
};

/** A function that makes calls; with a certificate authority, over TLS. */
export function grpcJsCaller(service, target, ca, compression) {
  const credentials = ca ? grpc.credentials.createSsl(ca) : grpc.credentials.createInsecure();
  const gzip = { 'grpc.default_compression_algorithm': grpc.compressionAlgorithms.gzip };
  const client = new grpc.Client(target, credentials, compression === 'gzip' ? gzip : {});
  return (call, allowed) => make(client, codecOf(service, call.method), call, allowed);
}

async function make(client, { path, encode, decode }, call, allowed) {
  const outcome = new Outcome();
  const metadata = new grpc.Metadata();
  for (const [name, value] of Object.entries(call.headers)) {
    metadata.set(name, name.endsWith('-bin') ? Buffer.from(value, 'base64') : value);
  }
  const options = call.timeoutMs === undefined ? {} : { deadline: Date.now() + call.timeoutMs };
  const sendsOne = call.method !== 'Up' && call.method !== 'Chat';
  const stream = client[START[call.method] ?? 'makeUnaryRequest'](
    path, (json) => Buffer.from(encode(json)), decode,
    ...(sendsOne ? call.requests : []), metadata, options,
    // The callback of a call with one reply.
    (error, message) => error || outcome.message(message),
  );
  stream.on('metadata', (head) => { outcome.said.headers = plain(head); });
  stream.on('data', (message) => outcome.message(message));
  stream.on('error', () => {}); // its status says the same
  outcome.cancels(call, allowed, () => stream.cancel());
  if (!sendsOne) send(stream, outcome.requests(call));
  const streams = call.method === 'Down' || call.method === 'Chat';
  const read = new Promise((resolve) => stream.on('end', resolve));
  const status = await new Promise((resolve) => stream.on('status', resolve));
  // The callback comes after the status, and so do messages that were not read yet.
  await (streams ? read : new Promise(setImmediate));
  return Object.assign(outcome.said, { code: status.code, message: status.details, trailers: plain(status.metadata) });
}

async function send(stream, requests) {
  for await (const request of requests) stream.write(request);
  stream.end();
}

const plain = (metadata) =>
  Object.fromEntries(Object.entries(metadata.toHttp2Headers()).map(([name, value]) => [name, String(value)]));
