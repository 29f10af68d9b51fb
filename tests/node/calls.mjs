// What all clients of this folder share, in Node and in a page: messages by a descriptor set, and what became of a call.
//
// A call to make, as the judge writes it: `method` is one of `Echo`, `requests` its messages in JSON; with
// `cancelAfter`, the call is cancelled after so many replies, once the judge allows it.

import { createFileRegistry, fromBinary, fromJson, toBinary, toJson } from '@bufbuild/protobuf';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';

export const SERVICE = 'tidegate.test.v1.Echo';

/** The service's descriptor, as generated code would have it. */
export const serviceOf = (descriptorSet) =>
  createFileRegistry(fromBinary(FileDescriptorSetSchema, descriptorSet)).getService(SERVICE);

/** A method with what clients need that know nothing of descriptors. */
export function codecOf(service, name) {
  const { input, output } = service.methods.find((method) => method.name === name);
  return {
    path: `/${SERVICE}/${name}`,
    encode: (json) => toBinary(input, fromJson(input, json)),
    decode: (bytes) => toJson(output, fromBinary(output, bytes)),
  };
}

/** Collects what a call says, and tells when so many replies are there. */
export class Outcome {
  constructor() {
    this.said = { messages: [], headers: {}, trailers: {}, code: null, message: '' };
    this.waiting = [];
  }

  message(json) {
    const count = this.said.messages.push(json);
    this.waiting = this.waiting.filter(({ wanted, tell }) => count < wanted || tell());
  }

  /** Settles when the call has said `wanted` messages. */
  replies(wanted) {
    if (this.said.messages.length >= wanted) return Promise.resolve();
    return new Promise((resolve) => this.waiting.push({ wanted, tell: () => void resolve() }));
  }

  /** The request messages, each after the reply to the one before where replies come at all. */
  async *requests(call) {
    for (const [index, request] of call.requests.entries()) {
      if (call.turns) await this.replies(index);
      yield request;
    }
  }

  /** Cancels by `abort` when the call is to be cancelled. */
  async cancels(call, allowed, abort) {
    if (call.cancelAfter === undefined) return;
    await Promise.all([this.replies(call.cancelAfter), allowed]);
    abort();
  }
}
