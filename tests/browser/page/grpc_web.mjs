// Calls by a client of grpc-web, the protocol's own: `text` streams, `binary` does not.

import { GrpcWebClientBase, MethodDescriptor, MethodType } from 'grpc-web';
import { Outcome, codecOf } from './calls.mjs';

/** A function that makes calls. */
export function grpcWebCaller(service, base, format) {
  const client = new GrpcWebClientBase({ format });
  return (call, allowed) => make(client, base, codecOf(service, call.method), call, allowed);
}

function make(client, base, { path, encode, decode }, call, allowed) {
  const outcome = new Outcome();
  const { said } = outcome;
  const deadline = call.timeoutMs === undefined ? {} : { deadline: String(Date.now() + call.timeoutMs) };
  const metadata = { ...call.headers, ...deadline };
  const streams = call.method === 'Down';
  const type = streams ? MethodType.SERVER_STREAMING : MethodType.UNARY;
  const descriptor = new MethodDescriptor(path, type, Object, Object, encode, decode);
  return new Promise((resolve) => {
    const stream = streams
      ? client.serverStreaming(base + path, call.requests[0], metadata, descriptor)
      : client.rpcCall(base + path, call.requests[0], metadata, descriptor, (error, message) => {
        if (error) fail(error);
        else outcome.message(message);
      });
    const fail = ({ code, message, metadata: trailers }) => resolve(Object.assign(said, { code, message, trailers }));
    stream.on('metadata', (headers) => { said.headers = headers; });
    if (streams) stream.on('data', (message) => outcome.message(message));
    stream.on('status', ({ code, metadata: trailers }) => Object.assign(said, { code, trailers }));
    stream.on('error', fail);
    stream.on('end', () => resolve(said));
    outcome.cancels(call, allowed, () => {
      stream.cancel(); // which it tells nobody
      resolve(said);
    });
  });
}
