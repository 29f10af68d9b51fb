// Clients in Node that make the calls they are told: grpc-js, connect-node with each of its protocols, and @tidegate/client.
//
//     node clients.mjs HTTPS_PORT HTTP_PORT CA DESCRIPTOR_SET
//
// Each line of standard input is a call (see calls.mjs; `client` names who makes it), and what became of it is printed
// on a line. A call that is to be cancelled takes one more line, which allows it.

import { readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { compressionGzip, createConnectTransport, createGrpcTransport, createGrpcWebTransport } from '@connectrpc/connect-node';
import { serviceOf } from './calls.mjs';
import { connectCaller } from './connect.mjs';
import { grpcJsCaller } from './grpc_js.mjs';
import { tidegateCaller } from './tidegate.mjs';

const [httpsPort, httpPort, caFile, descriptorSet] = process.argv.slice(2);
const ca = readFileSync(caFile);
const service = serviceOf(readFileSync(descriptorSet));

const transports = { connect: createConnectTransport, grpc: createGrpcTransport, 'grpc-web': createGrpcWebTransport };
const variants = {
  json: { useBinaryFormat: false },
  get: { useHttpGet: true },
  'json get': { useBinaryFormat: false, useHttpGet: true },
  'json gzip': { useBinaryFormat: false, sendCompression: compressionGzip, compressMinBytes: 0 },
  gzip: { sendCompression: compressionGzip, compressMinBytes: 0 },
};

/** By a name as `grpc-js tls` or `connect-node grpc-web 1.1 gzip`. */
function caller(name) {
  const [library, protocol, httpVersion, ...variant] = name.split(' ');
  if (library === 'grpc-js') {
    const tls = protocol === 'tls';
    return grpcJsCaller(service, `localhost:${tls ? httpsPort : httpPort}`, tls && ca, variant[0]);
  }
  if (library === 'tidegate') return tidegateCaller(`http://localhost:${httpPort}`, protocol);
  const options = { baseUrl: `https://localhost:${httpsPort}`, httpVersion, nodeOptions: { ca } };
  return connectCaller(service, transports[protocol]({ ...options, ...variants[variant.join(' ')] }));
}

const callers = new Map();
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
for (let line = await lines.next(); !line.done; line = await lines.next()) {
  const call = JSON.parse(line.value);
  if (!callers.has(call.client)) callers.set(call.client, caller(call.client));
  const allowed = call.cancelAfter === undefined ? undefined : lines.next();
  const said = await callers.get(call.client)(call, allowed);
  console.log(JSON.stringify({ id: call.id, ...said }));
  await allowed;
}
process.exit(0);
