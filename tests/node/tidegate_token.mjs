// A stream by @tidegate/client whose token has expired when it begins: `node tidegate_token.mjs ADDRESS TRANSPORT`.
//
// Prints what the token was asked for, and how many replies there were.

import { SERVICE } from './calls.mjs';
import { TidegateClient } from '../../web/client/dist/index.js';

const [address, transport] = process.argv.slice(2);

/** A JSON Web Token that ends so many seconds from now, signed by nobody. */
function jwt(seconds) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  return `${part({ alg: 'none' })}.${part({ exp: Math.floor(Date.now() / 1000) + seconds })}.x`;
}

const asked = [];
const client = new TidegateClient(address, {
  transports: [transport],
  token: (reason) => {
    asked.push(reason);
    return jwt(asked.length === 1 ? -60 : 600);
  },
});
let heard = 0;
const replies = client.serverStream(`${SERVICE}/Down`, { count: 3 }, { resume: { reply: 'n', absent: 0, request: 'after' } });
for await (const { n = 0 } of replies) {
  if (n !== heard) throw new Error(`${n} came in the place of ${heard}`);
  heard += 1;
}
client.close();
console.log(`asked ${asked}, heard ${heard}`);
process.exit(0);
