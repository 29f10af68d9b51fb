// Calls by a client of connect-es, whatever its transport: in Node and in a page.

import { ConnectError, createClient } from '@connectrpc/connect';
import { fromJson, toJson } from '@bufbuild/protobuf';
import { Outcome } from './calls.mjs';

/** A function that makes calls. */
export function connectCaller(service, transport) {
  const client = createClient(service, transport);
  return (call, allowed) => make(client, service.method, call, allowed);
}

async function make(client, methods, call, allowed) {
  const name = call.method[0].toLowerCase() + call.method.slice(1);
  const { input, output, methodKind } = methods[name];
  const outcome = new Outcome();
  const { said } = outcome;
  const controller = new AbortController();
  const options = {
    headers: call.headers,
    timeoutMs: call.timeoutMs,
    signal: controller.signal,
    onHeader: (headers) => { said.headers = Object.fromEntries(headers); },
    onTrailer: (trailers) => { said.trailers = Object.fromEntries(trailers); },
  };
  outcome.cancels(call, allowed, () => controller.abort());
  const read = (json) => fromJson(input, json);
  async function* requests() {
    for await (const request of outcome.requests(call)) yield read(request);
  }
  try {
    const request = methodKind.startsWith('client') || methodKind.startsWith('bidi') ? requests() : read(call.requests[0]);
    const reply = client[name](request, options);
    if (methodKind === 'unary' || methodKind === 'client_streaming') outcome.message(toJson(output, await reply));
    else for await (const message of reply) outcome.message(toJson(output, message));
    said.code = 0;
  } catch (thrown) {
    const error = ConnectError.from(thrown);
    Object.assign(said, { code: error.code, message: error.rawMessage, details: error.details.map(({ type }) => type) });
    said.trailers = Object.fromEntries(error.metadata);
  }
  return said;
}
