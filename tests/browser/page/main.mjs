// The page: makes the calls that it is told by its driver (../clients.mjs).

import { createConnectTransport, createGrpcWebTransport } from '@connectrpc/connect-web';
import { serviceOf } from './calls.mjs';
import { connectCaller } from './connect.mjs';
import { grpcWebCaller } from './grpc_web.mjs';
import { improbableCaller } from './improbable.mjs';

const service = serviceOf(new Uint8Array(await (await fetch('descriptors')).arrayBuffer()));

/** By a name as `connect-web connect same json get`, where `cross` is another origin of the same gateway. */
function caller(name) {
  const [library, protocol, where, ...variant] = name.split(' ');
  const base = where === 'cross' ? location.origin.replace('127.0.0.1', 'localhost') : location.origin;
  if (library === 'grpc-web') return grpcWebCaller(service, base, protocol);
  if (library === 'improbable') return improbableCaller(service, base, protocol);
  const create = protocol === 'connect' ? createConnectTransport : createGrpcWebTransport;
  const useBinaryFormat = !variant.includes('json');
  return connectCaller(service, create({ baseUrl: base, useBinaryFormat, useHttpGet: variant.includes('get') }));
}

globalThis.make = (call) => caller(call.client)(call, new Promise((resolve) => { globalThis.allow = resolve; }));
