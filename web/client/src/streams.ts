// Streams as callers hold them: replies to iterate over, and requests to be written one by one.

import type { Call } from "./call.js";

/**
 * The replies of a call, to be taken once. Room for more is given back to the server as they are taken. Leaving the loop
 * (`break`, `return`, an exception) cancels the call.
 */
export class Replies<Reply> implements AsyncIterableIterator<Reply, undefined> {
  readonly #call: Call;

  constructor(call: Call) {
    this.#call = call;
  }

  next(): Promise<IteratorResult<Reply, undefined>> {
    return this.#call.next() as Promise<IteratorResult<Reply, undefined>>;
  }

  /** Cancels the call. */
  return(): Promise<IteratorResult<Reply, undefined>> {
    this.#call.cancel();
    return Promise.resolve({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}

interface Written<Request> {
  message: Request;
  settle(isSent: boolean): void;
}

/** Requests that are written one by one, where a call takes an iterable. For one call. */
export class Writer<Request> implements AsyncIterableIterator<Request, undefined> {
  readonly #written: Written<Request>[] = [];
  #taker: ((result: IteratorResult<Request, undefined>) => void) | undefined;
  #ended = false;

  /** Resolves when the message goes out, which waits for the server's credit. False where the call or the writer has ended. */
  send(message: Request): Promise<boolean> {
    if (this.#ended) return Promise.resolve(false);
    return new Promise((settle) => {
      this.#written.push({ message, settle });
      this.#move();
    });
  }

  /** There are no more requests. */
  end(): void {
    this.#ended = true;
    this.#move();
  }

  next(): Promise<IteratorResult<Request, undefined>> {
    return new Promise((resolve) => {
      this.#taker = resolve;
      this.#move();
    });
  }

  /** The call is over. */
  return(): Promise<IteratorResult<Request, undefined>> {
    this.#ended = true;
    for (const { settle } of this.#written.splice(0)) settle(false);
    return Promise.resolve({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  #move(): void {
    const taker = this.#taker;
    if (!taker || (this.#written.length === 0 && !this.#ended)) return;
    this.#taker = undefined;
    const next = this.#written.shift();
    if (!next) return taker({ done: true, value: undefined });
    next.settle(true);
    taker({ done: false, value: next.message });
  }
}
