// Calls by @tidegate/client.

import { Outcome, SERVICE } from './calls.mjs';
import { TidegateClient, TidegateError } from '../../web/client/dist/index.js';

const KINDS = { Say: 'unary', Down: 'serverStream', Up: 'clientStream', Chat: 'duplex' };

/** A function that makes calls by one way, `websocket` or `http`, over one connection. */
export function tidegateCaller(address, transport) {
  const client = new TidegateClient(address, { transports: [transport] });
  return (call, allowed) => make(client, call, allowed);
}

async function make(client, call, allowed) {
  const outcome = new Outcome();
  const { said } = outcome;
  const controller = new AbortController();
  const options = {
    metadata: call.headers,
    signal: controller.signal,
    ...(call.timeoutMs && { timeoutMs: call.timeoutMs }),
    onHead: (metadata) => { said.headers = metadata; },
    onTrailers: (metadata) => { said.trailers = metadata; },
  };
  outcome.cancels(call, allowed, () => controller.abort());
  const kind = KINDS[call.method];
  const requests = kind === 'clientStream' || kind === 'duplex' ? outcome.requests(call) : call.requests[0];
  try {
    const reply = client[kind](`${SERVICE}/${call.method}`, requests, options);
    if (kind === 'unary' || kind === 'clientStream') outcome.message(await reply);
    else for await (const message of reply) outcome.message(message);
    said.code = 0;
  } catch (error) {
    if (!(error instanceof TidegateError)) throw error;
    Object.assign(said, { code: error.code, message: error.message, trailers: error.metadata });
    said.details = error.details.map((detail) => detail['@type'].replace(/^.*\//, ''));
  }
  return said;
}
