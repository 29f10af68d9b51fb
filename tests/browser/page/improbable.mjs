// Calls by a client of @improbable-eng/grpc-web, by fetch or by XMLHttpRequest.

import { Outcome, codecOf } from './calls.mjs';

const { grpc } = globalThis; // the package is a script, no module
const transports = {
  fetch: grpc.FetchReadableStreamTransport({}),
  xhr: grpc.XhrTransport({}),
};

/** A function that makes calls. */
export function improbableCaller(service, base, transport) {
  return (call, allowed) => make(base, transports[transport], codecOf(service, call.method), call, allowed);
}

function make(host, transport, { path, encode, decode }, call, allowed) {
  const outcome = new Outcome();
  const { said } = outcome;
  const [, serviceName, methodName] = path.split('/');
  const method = {
    methodName,
    service: { serviceName },
    requestStream: false,
    responseStream: call.method === 'Down',
    requestType: Object,
    responseType: { deserializeBinary: (bytes) => ({ toObject: () => decode(bytes) }) },
  };
  const request = { serializeBinary: () => encode(call.requests[0]) };
  // This client has no deadlines of its own.
  const timeout = call.timeoutMs === undefined ? {} : { 'grpc-timeout': `${call.timeoutMs}m` };
  return new Promise((resolve) => {
    const running = grpc.invoke(method, {
      host,
      transport,
      request,
      metadata: { ...call.headers, ...timeout },
      onHeaders: (headers) => { said.headers = plain(headers); },
      onMessage: (message) => outcome.message(message.toObject()),
      onEnd: (code, message, trailers) => resolve(Object.assign(said, { code, message, trailers: plain(trailers) })),
    });
    outcome.cancels(call, allowed, () => {
      running.close(); // which it tells nobody
      resolve(said);
    });
  });
}

function plain(metadata) {
  const headers = {};
  metadata.forEach((name, values) => { headers[name] = values.join(', '); });
  return headers;
}
