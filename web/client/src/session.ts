// The connection that calls are made on: opened when one is needed, given up for another when the gateway goes away, with
// pauses that grow while it cannot be reached. Knows nothing of what calls are.

import { Choice } from "./choice.js";
import { Backoff, type Clock } from "./clock.js";
import { Connection, type Watch } from "./connection.js";
import { Code, TidegateError } from "./errors.js";
import type { Closed, Transport } from "./link.js";

/** What a token is asked for: a connection, one after the last was refused, or one that lasts while it runs out. */
export type TokenReason = "connect" | "refused" | "renew";

/** A bearer token, or where to get one. */
export type TokenSource = string | ((reason: TokenReason) => string | undefined | Promise<string | undefined>);

/** What a client is doing about its connection. */
export interface ClientState {
  readonly state: "idle" | "connecting" | "open" | "waiting" | "closed";
  /** What it is open over. */
  readonly transport?: Transport["name"];
  /** What went wrong last, where it waits before it tries again. */
  readonly error?: TidegateError;
}

export interface SessionOptions {
  transports: readonly Transport[];
  clock: Clock;
  token: TokenSource | undefined;
  watch: Watch;
  /** Bounds of the pauses between connections, in milliseconds. */
  pauseFirstMs: number;
  pauseMaxMs: number;
  /** How long it is remembered that the preferred transport did not pass. */
  fallbackMs: number;
  onState: ((state: ClientState) => void) | undefined;
}

/** Who needs a connection. One of both is called, once. */
export interface Waiter {
  ready(connection: Connection): void;
  failed(error: TidegateError): void;
}

export class Session {
  readonly #options: SessionOptions;
  readonly #choice: Choice<Transport>;
  readonly #backoff: Backoff;
  readonly #waiters = new Set<Waiter>();
  /** Those that calls may still be open on. */
  readonly #connections = new Set<Connection>();
  /** The one for new calls. */
  #connection: Connection | undefined;
  #isConnecting = false;
  #state: ClientState["state"] = "idle";
  /** No connection is tried before. */
  #notBefore = 0;
  #stopPause = (): void => undefined;
  /** What the last connection was refused for. */
  #refusal: TidegateError | undefined;
  /** What went wrong last. */
  #trouble: TidegateError | undefined;
  #tokenWasRefused = false;
  #token: string | undefined;
  #renewing: Promise<string | undefined> | undefined;

  constructor(options: SessionOptions) {
    this.#options = options;
    this.#choice = new Choice(options.transports, options.fallbackMs);
    this.#backoff = new Backoff(options.clock, options.pauseFirstMs, options.pauseMaxMs);
  }

  /** Gives a connection, now or later; what is returned ends the waiting. */
  acquire(waiter: Waiter): () => void {
    if (this.#state === "closed") waiter.failed(closedError());
    else if (this.#connection?.isOpen) waiter.ready(this.#connection);
    else if (this.#refusal && this.#now < this.#notBefore) waiter.failed(this.#refusal);
    else {
      this.#waiters.add(waiter);
      this.#start();
    }
    return () => void this.#waiters.delete(waiter);
  }

  /** Why there is no connection, where that is known. */
  get trouble(): TidegateError | undefined {
    return this.#trouble;
  }

  /** The token that is known last. */
  get token(): string | undefined {
    return this.#token;
  }

  /** Whether there can be another token than the one that was refused. */
  get canRenew(): boolean {
    return typeof this.#options.token === "function";
  }

  /** The token, where the connection does not know it. */
  newerToken(connection: Connection): string | undefined {
    return this.#token === connection.token ? undefined : this.#token;
  }

  /** Sees to it that there is a newer token than one that has expired, if one is to be had. */
  async replace(expired: string | undefined): Promise<void> {
    if (this.#token === expired) await this.refresh().catch(() => undefined);
  }

  /** Asks for a newer token and tells it on what is open. */
  async refresh(): Promise<void> {
    const token = await this.#newToken();
    // Whether the gateway takes it is not known: calls bring it along too.
    if (token !== undefined) for (const connection of this.#connections) connection.send({ token });
  }

  close(): void {
    if (this.#state === "closed") return;
    this.#become("closed");
    this.#stopPause();
    for (const connection of [...this.#connections]) connection.close(closedError());
    this.#failAll(closedError());
  }

  get #now(): number {
    return this.#options.clock.now();
  }

  /** Begins what leads to a connection, where somebody waits for one and it is not under way. */
  #start(): void {
    if (this.#connection || this.#isConnecting || this.#state === "closed") return;
    this.#stopPause();
    if (this.#waiters.size === 0) return this.#become("idle");
    const pause = this.#notBefore - this.#now;
    if (pause <= 0) return void this.#connect();
    this.#become("waiting");
    this.#stopPause = this.#options.clock.after(pause, () => this.#start());
  }

  async #connect(): Promise<void> {
    this.#isConnecting = true;
    this.#become("connecting");
    this.#refusal = undefined;
    try {
      const { token } = this.#options;
      this.#token = typeof token === "function" ? await token(this.#tokenWasRefused ? "refused" : "connect") : token;
    } catch (error) {
      return this.#pause(new TidegateError(Code.UNAVAILABLE, "there is no token for the connection", { cause: error }));
    }
    if (this.#state === "closed") return;
    const { clock, watch } = this.#options;
    let [opened, passes] = [false, false];
    const connection: Connection = new Connection(this.#choice.pick(this.#now), this.#token, clock, watch, {
      opened: () => {
        opened = true;
        this.#opened(connection);
      },
      heard: () => {
        passes = true;
        this.#choice.passed(this.#now);
      },
      proven: () => {
        this.#backoff.reset();
        this.#tokenWasRefused = false;
      },
      leaving: () => this.#leave(connection),
      renew: (id) => void this.#renew(connection, id),
      closed: (why) => this.#closed(connection, why, opened, passes),
    });
    this.#connections.add(connection);
  }

  #opened(connection: Connection): void {
    this.#isConnecting = false;
    this.#connection = connection;
    this.#trouble = undefined;
    this.#become("open");
    for (const waiter of this.#takeWaiters()) waiter.ready(connection);
  }

  /** New calls need another connection from now on. */
  #leave(connection: Connection): void {
    if (this.#connection !== connection) return;
    this.#connection = undefined;
    this.#start();
  }

  #closed(connection: Connection, why: Closed, opened: boolean, passes: boolean): void {
    this.#connections.delete(connection);
    if (this.#state === "closed") return;
    if (opened && this.#connection !== connection) return;
    this.#connection = undefined;
    if (why.refused) return this.#refused(why.error, opened);
    // Some proxies open WebSockets and let nothing pass.
    const isNext = !passes && !why.orderly && this.#choice.failed();
    this.#pause(why.orderly ? undefined : why.error, isNext ? 0 : undefined);
  }

  /** What was refused is not asked for again and again. */
  #refused(error: TidegateError, opened: boolean): void {
    const isToken = error.code === Code.UNAUTHENTICATED;
    if (!opened) {
      // A later transport that is missing says nothing of an earlier one that has worked.
      if (this.#choice.hasProven && !isToken && error.code !== Code.PERMISSION_DENIED) {
        this.#choice.failed();
        return this.#pause(error);
      }
      // Whoever refuses is the gateway; an earlier transport failed because it was refused too.
      this.#choice.reset();
    }
    if (isToken && this.canRenew && !this.#tokenWasRefused) {
      this.#tokenWasRefused = true;
      return this.#pause(error, 0);
    }
    this.#tokenWasRefused = false;
    this.#refusal = error;
    this.#failAll(error);
    this.#pause(error);
  }

  /** Waits before the next connection; as long as it takes by now, unless it is said. */
  #pause(error: TidegateError | undefined, milliseconds?: number): void {
    this.#isConnecting = false;
    this.#trouble = error;
    this.#notBefore = this.#now + (milliseconds ?? Math.max(this.#backoff.next(), error?.retryAfterMs ?? 0));
    this.#start();
  }

  /** Answers the gateway's question for a newer token. */
  async #renew(connection: Connection, id: number | undefined): Promise<void> {
    const token = await this.#newToken().catch(() => undefined);
    // Without one, the gateway ends what needs it.
    if (token === undefined) return;
    connection.send(id === undefined ? { token } : { id, token });
    // Who asks, takes it.
    if (id === undefined) connection.token = token;
  }

  /** One question at a time, whoever wants to know. */
  #newToken(): Promise<string | undefined> {
    const { token } = this.#options;
    if (typeof token !== "function") return Promise.resolve(token);
    this.#renewing ??= Promise.resolve(token("renew"))
      .then((newer) => (this.#token = newer))
      .finally(() => (this.#renewing = undefined));
    return this.#renewing;
  }

  #takeWaiters(): Waiter[] {
    const waiters = [...this.#waiters];
    this.#waiters.clear();
    return waiters;
  }

  #failAll(error: TidegateError): void {
    for (const waiter of this.#takeWaiters()) waiter.failed(error);
  }

  #become(state: ClientState["state"]): void {
    if (this.#state === state) return;
    this.#state = state;
    const transport = state === "open" ? this.#connection?.transport.name : undefined;
    const error = state === "waiting" ? this.#trouble : undefined;
    const { onState } = this.#options;
    // Apart from what happens here: whatever it throws is not the session's.
    if (onState) queueMicrotask(() => onState({ state, ...(transport && { transport }), ...(error && { error }) }));
  }
}

/** What calls of a client end with that is closed. */
export function closedError(): TidegateError {
  return new TidegateError(Code.CANCELLED, "the client is closed");
}
