// A reader by @tidegate/client that stops reading: `node tidegate_slow.mjs ADDRESS TRANSPORT COUNT SIZE`.
//
// Takes one reply of a long stream, then none until standard input has a line; prints how many there were. A call beside it
// must go on all the while.

import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { SERVICE } from './calls.mjs';
import { TidegateClient } from '../../web/client/dist/index.js';

const [address, transport, ...numbers] = process.argv.slice(2);
const [count, size] = numbers.map(Number);
const client = new TidegateClient(address, { transports: [transport] });
const replies = client.serverStream(`${SERVICE}/Down`, { count, size }, { metadata: { 'x-request-id': 'slow' } });
await replies.next();
console.log('stopped');
const told = once(createInterface({ input: process.stdin }), 'line');
for (let n = 0; n < 50; n += 1) await client.unary(`${SERVICE}/Say`, { n });
console.log('neighbour served');
await told;
let heard = 1;
for await (const { n } of replies) {
  if (n !== heard) throw new Error(`${n} came in the place of ${heard}`);
  heard += 1;
}
client.close();
console.log(`heard ${heard}`);
process.exit(0);
