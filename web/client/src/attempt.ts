// A call on one connection: its credit in both directions, and what it has come to. Knows nothing of a next attempt.

import type { Connection } from "./connection.js";
import { Code, TidegateError, isObject, type Metadata } from "./errors.js";
import {
  CREDIT_BACK, CREDIT_FIRST, messageBytes, readMetadata, utf8Bytes, type Open, type ServerFrame,
} from "./frames.js";

/** What an attempt tells. */
export interface AttemptEvents {
  head(metadata: Metadata): void;
  message(message: unknown, bytes: number): void;
}

/** How an attempt ended. */
export interface End {
  /** None: well. */
  error: TidegateError | undefined;
  trailers: Metadata;
  /** By the connection's end; otherwise the gateway told it. */
  lost: boolean;
  /** The gateway is known not to have begun with it. */
  untouched: boolean;
}

export class Attempt {
  /** Bytes of its largest request. */
  heaviest = 0;
  readonly ended: Promise<End>;
  readonly #connection: Connection;
  readonly #events: AttemptEvents;
  readonly #id: number;
  #settle!: (end: End) => void;
  /** What may still be sent; below zero where the last message was larger. */
  #sendCredit = CREDIT_FIRST;
  /** What may still come. */
  #receiveCredit = CREDIT_FIRST;
  /** What was taken and not yet given back. */
  #owed = 0;
  #told = false;
  #isOver = false;
  #wakeSender: (() => void) | undefined;

  /** With the only request, where there is one and no more. */
  constructor(connection: Connection, open: Open, only: { message: unknown } | undefined, events: AttemptEvents) {
    this.#connection = connection;
    this.#events = events;
    this.ended = new Promise((settle) => (this.#settle = settle));
    this.#id = only
      ? connection.begin(this, { open, half_close: true }, this.#spend(only.message))
      : connection.begin(this, { open });
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** Waits for credit. False where the attempt is over. */
  async maySend(): Promise<boolean> {
    while (!this.#isOver && this.#sendCredit <= 0) await new Promise<void>((wake) => (this.#wakeSender = wake));
    return !this.#isOver;
  }

  /** Sends a message, for which there has to be credit. */
  send(message: unknown): void {
    this.#connection.send({ id: this.#id }, this.#spend(message));
  }

  halfClose(): void {
    if (!this.#isOver) this.#connection.send({ id: this.#id, half_close: true });
  }

  /** The consumer has taken so many bytes of messages: there is room for more. */
  took(bytes: number): void {
    this.#owed += bytes;
    if (this.#isOver || this.#owed < CREDIT_BACK) return;
    this.#receiveCredit += this.#owed;
    this.#connection.send({ id: this.#id, credit: this.#owed });
    this.#owed = 0;
  }

  /** Ends it: nothing more comes. */
  cancel(): void {
    if (this.#isOver) return;
    this.#connection.send({ id: this.#id, cancel: true });
    this.#end({ error: new TidegateError(Code.CANCELLED, "cancelled"), lost: false });
  }

  /** A frame of this call. */
  take(text: string, frame: ServerFrame): void {
    const { head, message, status, credit } = frame;
    if (typeof credit === "number" && credit > 0) {
      this.#told = true;
      this.#sendCredit += credit;
      this.#wake();
    }
    if (isObject(head)) {
      this.#told = true;
      this.#events.head(readMetadata(head["metadata"]));
    }
    if (message !== undefined) this.#message(message, messageBytes(text, frame));
    if (isObject(status) && !this.#isOver) this.#status(status);
  }

  /** The connection is gone. */
  lose(error: TidegateError): void {
    this.#end({ error, lost: true });
  }

  #message(message: unknown, bytes: number): void {
    this.#told = true;
    if (this.#receiveCredit <= 0) {
      this.#connection.send({ id: this.#id, cancel: true });
      return this.#end({ error: new TidegateError(Code.INTERNAL, "a message came without credit for it"), lost: false });
    }
    this.#receiveCredit -= bytes;
    this.#events.message(message, bytes);
  }

  #status(status: Record<string, unknown>): void {
    const trailers = readMetadata(status["trailers"]);
    const error = status["code"] === 0 ? undefined : TidegateError.from(status, trailers);
    this.#end({ error, trailers, lost: false });
  }

  #end({ error, lost, trailers = {} }: Pick<End, "error" | "lost"> & { trailers?: Metadata }): void {
    if (this.#isOver) return;
    this.#isOver = true;
    // Told to go away, the gateway begins nothing new: what was on its way just then has come too late.
    const untouched = !lost && !this.#told && this.#connection.isLeaving && error?.reason === "DRAINING";
    this.#connection.forget(this.#id);
    this.#wake();
    this.#settle({ error, trailers, lost, untouched });
  }

  /** A message in JSON, and taken from the credit. */
  #spend(message: unknown): string {
    const json = JSON.stringify(message);
    const bytes = utf8Bytes(json);
    this.heaviest = Math.max(this.heaviest, bytes);
    this.#sendCredit -= bytes;
    return json;
  }

  #wake(): void {
    this.#wakeSender?.();
    this.#wakeSender = undefined;
  }
}
