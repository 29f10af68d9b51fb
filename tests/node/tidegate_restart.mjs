// Conversations by @tidegate/client that last longer than the gateway does.
//
//     node tidegate_restart.mjs ADDRESS TRANSPORT CALLS MESSAGES [wait]
//
// With the transport `fallback`, WebSockets are tried first and refused.
// Each call sends its messages in order and hears each of them back. `half` is printed when every call has heard half of
// them; with `wait`, none sends much more before standard input has a line. A long reply to one request is not read to its
// end before that either. A reply that is not the next one ends it all.

import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { SERVICE } from './calls.mjs';
import { TidegateClient } from '../../web/client/dist/index.js';

const [address, transport, ...numbers] = process.argv.slice(2);
const [calls, messages] = numbers.slice(0, 2).map(Number);
const half = Math.floor(messages / 2);
const input = createInterface({ input: process.stdin });
const told = once(input, 'line');

/** What becomes of WebSockets where somebody on the way does not let them pass. */
class Refused extends WebSocket {
  constructor(url, protocols) {
    super(`${url}/not-here`, protocols);
  }
}

const ways = new Set();
let opened = 0;
let halves = 0;
const client = new TidegateClient(address, {
  ...(transport === 'fallback' ? { WebSocket: Refused } : { transports: [transport] }),
  pauseMaxMs: 500,
  onState: ({ state, transport: way }) => {
    if (state !== 'open') return;
    opened += 1;
    ways.add(way);
  },
});

async function converse(name) {
  const message = (n) => ({ text: `${name}/${n}`, data: 'x'.repeat(400) });
  async function* requests() {
    for (let n = 0; n < messages; n += 1) {
      if (n === half + 10 && numbers[2] === 'wait') await told;
      yield message(n);
    }
  }
  const numbered = (from, to) => Array.from({ length: to - from }, (_, place) => message(from + place));
  let heard = 0;
  const replies = client.duplex(`${SERVICE}/Chat`, requests(), {
    // A reply says what was taken; what went out behind it is said again.
    resume: (last, sent) => numbered(last ? Number(last.text.split('/')[1]) + 1 : 0, sent),
  });
  for await (const { text } of replies) {
    if (text !== `${name}/${heard}`) throw new Error(`${text} came in the place of ${name}/${heard}`);
    heard += 1;
    if (heard === half) {
      halves += 1;
      if (halves === calls) console.log('half');
    }
  }
  return heard;
}

async function count() {
  let heard = 0;
  const replies = client.serverStream(`${SERVICE}/Down`, { count: messages, size: 1000 }, {
    resume: { reply: 'n', absent: 0, request: 'after' },
  });
  for await (const { n = 0 } of replies) {
    if (n === half) await told;
    if (n !== heard) throw new Error(`${n} came in the place of ${heard}`);
    heard += 1;
  }
  return heard;
}

const conversations = Array.from({ length: calls }, (_, name) => converse(name));
const heard = await Promise.all([...conversations, count()]);
client.close();
console.log(`${heard.length} calls, ${heard.reduce((sum, one) => sum + one, 0)} replies, ${opened} connections by ${[...ways]}`);
process.exit(0);
