// One call, over as many connections as it takes: deadline, abort, retries, and resuming where it broke off.

import { Attempt, type End } from "./attempt.js";
import { Backoff, type Clock } from "./clock.js";
import type { Connection } from "./connection.js";
import { Code, TidegateError, type Metadata } from "./errors.js";
import type { Open } from "./frames.js";
import { Inbox } from "./inbox.js";
import type { Resume } from "./resume.js";
import type { Session } from "./session.js";

/** What holds for calls of every kind. */
export interface CallOptions {
  metadata?: Metadata;
  /** The longest that the call may last, over all connections, in milliseconds. */
  timeoutMs?: number;
  signal?: AbortSignal;
  /** It does no harm when the call is made twice: it is made again where its connection is lost before anything came back. */
  idempotent?: boolean;
  /** The backend's initial metadata; again for each connection that the call is opened on. */
  onHead?: (metadata: Metadata) => void;
  /** The trailers of a call that ended well; of one that failed, the error has them. */
  onTrailers?: (metadata: Metadata) => void;
}

/** What a call sends: one message, or as many as come. */
export type Requests = { only: unknown } | { each: Iterator<unknown> | AsyncIterator<unknown> };

/** What calls have in common. */
export interface CallContext {
  session: Session;
  /** Those that are not over. */
  calls: Set<Call>;
  clock: Clock;
  /** How long a call waits for a connection, in milliseconds; one that can be resumed waits on. */
  patienceMs: number;
  pauseFirstMs: number;
  pauseMaxMs: number;
}

interface Received {
  message: unknown;
  bytes: number;
  attempt: Attempt;
}

/** How often a call without progress is made. */
const TRIES_MAX = 5;

export class Call {
  readonly #context: CallContext;
  readonly #method: string;
  readonly #requests: Requests;
  readonly #options: CallOptions;
  readonly #resume: Resume | undefined;
  readonly #inbox = new Inbox<Received>((received) => this.#taken(received));
  readonly #backoff: Backoff;
  readonly #deadline: number;
  /** What has to be undone when the call is over. */
  readonly #atEnd: (() => void)[] = [];
  #attempt: Attempt | undefined;
  #isOver = false;
  #stopWaiting: (() => void) | undefined;
  #hasReplied = false;
  /** Messages of `each` that went out. */
  #sent = 0;
  /** Attempts since the last message. */
  #tries = 0;
  /** The next message of `each`, asked for and not sent yet. */
  #pulled: Promise<IteratorResult<unknown>> | undefined;

  constructor(context: CallContext, method: string, requests: Requests, options: CallOptions, resume?: Resume) {
    this.#context = context;
    this.#method = method;
    this.#requests = requests;
    this.#options = options;
    this.#resume = resume;
    this.#backoff = new Backoff(context.clock, context.pauseFirstMs, context.pauseMaxMs);
    this.#deadline = context.clock.now() + (options.timeoutMs ?? Infinity);
    context.calls.add(this);
    this.#watch();
    if (!this.#isOver) this.#drive().catch((error: unknown) => this.#stop(error));
  }

  /** The next reply. */
  async next(): Promise<IteratorResult<unknown, undefined>> {
    const taken = await this.#inbox.next();
    return taken.done ? taken : { done: false, value: taken.value.message };
  }

  /** The reply of a method that gives one. */
  async single(): Promise<unknown> {
    const first = await this.next();
    if (first.done) throw new TidegateError(Code.INTERNAL, "the call ended well without a reply");
    // The status decides whether it counts.
    const second = await this.next();
    if (second.done) return first.value;
    this.cancel();
    throw new TidegateError(Code.INTERNAL, "there was more than one reply");
  }

  /** Ends the call with an error. */
  fail(error: TidegateError): void {
    this.#stop(error);
  }

  /** Ends the call; whoever waits for a reply is told that there are no more. */
  cancel(): void {
    if (this.#isOver) return;
    this.#attempt?.cancel();
    this.#finish();
    this.#inbox.fail(undefined);
  }

  #taken({ message, bytes, attempt }: Received): void {
    attempt.took(bytes);
    this.#hasReplied = true;
    this.#resume?.taken(message);
  }

  /** Keeps an eye on the deadline and the signal. */
  #watch(): void {
    const { signal, timeoutMs } = this.#options;
    const aborted = () => this.#stop(new TidegateError(Code.CANCELLED, "the call was aborted", { cause: signal?.reason }));
    if (signal?.aborted) return aborted();
    signal?.addEventListener("abort", aborted);
    this.#atEnd.push(() => signal?.removeEventListener("abort", aborted));
    if (timeoutMs === undefined) return;
    const text = `the call took longer than ${timeoutMs} ms`;
    this.#atEnd.push(this.#context.clock.after(timeoutMs, () => this.#stop(new TidegateError(Code.DEADLINE_EXCEEDED, text))));
  }

  async #drive(): Promise<void> {
    let again: ReturnType<Resume["again"]> | undefined;
    for (;;) {
      const connection = await this.#connection();
      if (this.#isOver) return;
      // It may have gone while this was on its way here.
      if (!connection.isOpen) continue;
      const { token } = this.#context.session;
      const end = await this.#begin(connection, again);
      if (end.error === undefined) {
        this.#options.onTrailers?.(end.trailers);
        this.#finish();
        return this.#inbox.end();
      }
      // What came before is taken first: then it is known where to go on.
      await this.#inbox.emptied();
      if (this.#isOver) return;
      if (!this.#mayGoOn(end, end.error)) {
        this.#finish();
        return this.#inbox.end(end.error);
      }
      if (hasExpired(end.error)) await this.#context.session.replace(token);
      // Before a connection the session waits; before what fails on it again nobody else does.
      if (!end.untouched && (!end.lost || this.#tries > 1)) await this.#pause(Math.max(this.#backoff.next(), end.error.retryAfterMs));
      if (this.#isOver) return;
      again = this.#resume?.again(this.#sent);
    }
  }

  /** Waits for a connection. */
  #connection(): Promise<Connection> {
    const { session, clock, patienceMs } = this.#context;
    return new Promise((resolve, reject) => {
      const settle = <T>(then: (value: T) => void) => (value: T) => {
        this.#stopWaiting?.();
        then(value);
      };
      const outOfPatience = () => {
        const { trouble } = session;
        const text = `no connection within ${patienceMs} ms${trouble ? `: ${trouble.message}` : ""}`;
        settle(reject)(new TidegateError(Code.UNAVAILABLE, text, { cause: trouble }));
      };
      const stopTimer = this.#resume ? undefined : clock.after(patienceMs, outOfPatience);
      this.#stopWaiting = stopTimer;
      const leave = session.acquire({ ready: settle(resolve), failed: settle(reject) });
      this.#stopWaiting = () => {
        stopTimer?.();
        leave();
      };
    });
  }

  /** Makes the call on a connection, and waits for its end. */
  #begin(connection: Connection, again: ReturnType<Resume["again"]> | undefined): Promise<End> {
    this.#tries += 1;
    const requests = again && "only" in again ? again : this.#requests;
    const only = "only" in requests ? { message: requests.only } : undefined;
    const attempt: Attempt = new Attempt(connection, this.#open(connection), only, {
      head: (metadata) => this.#head(metadata),
      message: (message, bytes) => {
        this.#tries = 0;
        this.#backoff.reset();
        this.#inbox.push({ message, bytes, attempt });
      },
    });
    this.#attempt = attempt;
    if ("each" in requests) {
      const first = again && "first" in again ? again.first : [];
      this.#upload(attempt, first, requests.each).catch((error: unknown) => this.#stop(error));
    }
    return attempt.ended;
  }

  #open(connection: Connection): Open {
    const own = Object.entries(this.#options.metadata ?? {});
    const metadata = Object.fromEntries(own.map(([name, value]) => [name.toLowerCase(), value]));
    const token = this.#context.session.newerToken(connection);
    if (token !== undefined) metadata["authorization"] ??= `Bearer ${token}`;
    const left = this.#deadline - this.#context.clock.now();
    return { method: this.#method, metadata, ...(left < Infinity && { timeout: `${(Math.max(left, 1) / 1000).toFixed(3)}s` }) };
  }

  #head(metadata: Metadata): void {
    try {
      this.#options.onHead?.(metadata);
    } catch (error) {
      this.#stop(error);
    }
  }

  /** Sends messages as there is credit for them; none is asked for before. */
  async #upload(attempt: Attempt, first: Iterable<unknown>, each: Iterator<unknown> | AsyncIterator<unknown>): Promise<void> {
    for (const message of first) {
      if (!(await attempt.maySend())) return;
      attempt.send(message);
    }
    while (await attempt.maySend()) {
      // What is asked for while the connection is lost goes out on the next one.
      const { done, value } = await (this.#pulled ??= Promise.resolve(each.next()));
      if (attempt.isOver) return;
      if (done) return attempt.halfClose();
      attempt.send(value);
      this.#sent += 1;
      this.#pulled = undefined;
    }
  }

  #mayGoOn({ lost, untouched }: End, error: TidegateError): boolean {
    const isOfToken = error.code === Code.UNAUTHENTICATED && (lost || hasExpired(error));
    const passes = error.code === Code.UNAVAILABLE || (isOfToken && this.#context.session.canRenew);
    if (!passes) return false;
    if (this.#resume) return true;
    const isWhole = "only" in this.#requests || this.#sent === 0;
    return (untouched || this.#options.idempotent === true) && isWhole && !this.#hasReplied && this.#tries < TRIES_MAX;
  }

  #pause(milliseconds: number): Promise<void> {
    return new Promise((resolve) => {
      const stop = this.#context.clock.after(milliseconds, resolve);
      this.#stopWaiting = () => {
        stop();
        resolve();
      };
    });
  }

  /** Ends the call in the middle, and tells why. */
  #stop(error: unknown): void {
    if (this.#isOver) return;
    this.#attempt?.cancel();
    this.#finish();
    this.#inbox.fail(error);
  }

  #finish(): void {
    this.#isOver = true;
    this.#context.calls.delete(this);
    this.#stopWaiting?.();
    for (const undo of this.#atEnd.splice(0)) undo();
    // Nobody wants the rest.
    if ("each" in this.#requests) void Promise.resolve(this.#requests.each.return?.()).catch(() => undefined);
  }
}

/** The gateway ended the call because its token ran out. */
function hasExpired(error: TidegateError): boolean {
  return error.reason === "TOKEN_EXPIRED";
}
