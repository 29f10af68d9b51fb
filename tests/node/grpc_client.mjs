// An ordinary grpc-js client: every kind of call, errors, metadata, deadlines and cancellation.
//
//     node grpc_client.mjs TARGET DESCRIPTOR_SET [CA]
//
// Prints `ok NAME` for each check; the first that fails ends it with exit code 1.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import grpc from '@grpc/grpc-js';
import loader from '@grpc/proto-loader';

const [target, descriptorSet, ca] = process.argv.slice(2);
const { Echo } = grpc.loadPackageDefinition(
  loader.loadFileDescriptorSetFromBuffer(readFileSync(descriptorSet), { keepCase: true, longs: String, defaults: true }),
).tidegate.test.v1;
const credentials = ca ? grpc.credentials.createSsl(readFileSync(ca)) : grpc.credentials.createInsecure();
const client = new Echo(target, credentials);

const unary = (method, request, ...rest) =>
  new Promise((resolve, reject) =>
    client[method](request, ...rest, (error, reply) => (error ? reject(error) : resolve(reply))));

const collect = async (stream) => {
  const messages = [];
  for await (const message of stream) messages.push(message);
  return messages;
};

const ended = (stream) =>
  new Promise((resolve) => {
    stream.on('error', resolve);
    stream.on('end', () => resolve(null));
  });

const checks = {
  async unary() {
    assert.equal((await unary('Say', { text: 'é', n: -1 })).text, 'é');
  },
  async serverStream() {
    const replies = await collect(client.Down({ text: 't', count: 5 }));
    assert.deepEqual(replies.map((reply) => reply.n), [0, 1, 2, 3, 4]);
  },
  async clientStream() {
    const reply = await new Promise((resolve, reject) => {
      const call = client.Up((error, sum) => (error ? reject(error) : resolve(sum)));
      call.write({ text: 'a', data: Buffer.from('123') });
      call.write({ text: 'b' });
      call.end();
    });
    assert.deepEqual([reply.count, reply.bytes, reply.joined], [2, '3', 'a,b']);
  },
  async bidiTurnByTurn() {
    const call = client.Chat();
    for (const text of ['one', 'two', 'three']) {
      const reply = new Promise((resolve) => call.once('data', resolve));
      call.write({ text });
      assert.equal((await reply).text, text);
    }
    call.end();
    assert.equal(await ended(call), null);
  },
  async largeMessage() {
    const text = 'x'.repeat(3_000_000);
    assert.equal((await unary('Say', { text })).text, text);
  },
  async manyMessages() {
    assert.equal((await collect(client.Down({ count: 20_000, size: 20 }))).length, 20_000);
  },
  async errorWithDetails() {
    const error = await unary('Fail', { code: 9, message: 'näh', details: true }).catch((failed) => failed);
    assert.equal(error.code, grpc.status.FAILED_PRECONDITION);
    assert.equal(error.details, 'näh');
    assert.deepEqual(error.metadata.get('x-fail'), ['yes']);
    const [details] = error.metadata.get('grpc-status-details-bin');
    assert.ok(details.includes('ASKED') && details.includes('google.rpc.BadRequest'));
  },
  async errorAfterMessages() {
    const call = client.Down({ count: 9, fail_after: 2, fail_code: 8, fail_message: 'enough' });
    let count = 0;
    call.on('data', () => { count += 1; });
    const error = await ended(call);
    assert.deepEqual([count, error.code, error.details], [2, grpc.status.RESOURCE_EXHAUSTED, 'enough']);
  },
  async metadata() {
    const metadata = new grpc.Metadata();
    metadata.set('x-echo', 'hello');
    metadata.set('x-raw-bin', Buffer.from([0, 255]));
    let initial;
    let trailing;
    const reply = await new Promise((resolve, reject) => {
      const call = client.Meta({}, metadata, (error, seen) => (error ? reject(error) : resolve(seen)));
      call.on('metadata', (head) => { initial = head; });
      call.on('status', (status) => { trailing = status.metadata; });
    });
    // From a descriptor set, proto-loader gives a map as its entries.
    assert.equal(reply.metadata.find((entry) => entry.key === 'x-raw-bin').value, 'AP8=');
    assert.deepEqual(initial.get('x-echo'), ['hello']);
    assert.deepEqual(initial.get('x-bin-bin'), [Buffer.from([0, 1, 255])]);
    // grpc-js tells the status after the callback.
    await new Promise(setImmediate);
    assert.deepEqual(trailing.get('x-trailer'), ['bye']);
  },
  async deadlineExpires() {
    const error = await unary('Slow', { delay_ms: 60_000 }, { deadline: Date.now() + 300 }).catch((failed) => failed);
    assert.equal(error.code, grpc.status.DEADLINE_EXCEEDED);
  },
  async cancellation() {
    const call = client.Down({ count: 3, delay_ms: 60_000 });
    await new Promise((resolve) => call.on('metadata', resolve));
    call.cancel();
    assert.equal((await ended(call)).code, grpc.status.CANCELLED);
  },
};

for (const [name, check] of Object.entries(checks)) {
  try {
    await check();
  } catch (error) {
    console.error(`${name}:`, error);
    process.exit(1);
  }
  console.log(`ok ${name}`);
}
client.close();
