// What callers use: calls of each kind by the method's name, or as the functions of a service.

import { Call, type CallContext, type CallOptions, type Requests } from "./call.js";
import { systemClock, type Clock } from "./clock.js";
import { httpLinks, type Fetch } from "./http.js";
import type { Transport } from "./link.js";
import { afterEvent, afterLast, type EventId, type Resume } from "./resume.js";
import { callersOf, type Service, type ServiceClient } from "./service.js";
import { Session, closedError, type ClientState, type TokenSource } from "./session.js";
import { Replies } from "./streams.js";
import { webSockets, type WebSocketConstructor } from "./websocket.js";

/** How a client behaves. Times are in milliseconds. */
export interface ClientOptions {
  /** A bearer token, or a function that gives one: asked before each connection, and when the gateway says that one runs out. */
  token?: TokenSource;
  /** What is tried to connect by, in this order. Both by default. */
  transports?: readonly Transport["name"][];
  /** Where the gateway has its mux. `/-/mux` by default. */
  path?: string;
  /** The `fetch` to use, instead of the global one: to set headers or `credentials` of one's own. */
  fetch?: Fetch;
  /** The constructor of WebSockets, where there is no global one. */
  WebSocket?: WebSocketConstructor;
  /** How long to wait for a connection to open, before the next transport is tried. 10 s by default. */
  openMs?: number;
  /** How long the gateway may be silent before it is asked for a sign of life; after four times that the connection counts as lost. 15 s by default. */
  heartbeatMs?: number;
  /** How long a call that cannot be resumed waits for a connection. 30 s by default. */
  patienceMs?: number;
  /** Pauses before connecting again are random, at most so long the first time, then twice that. 500 ms by default. */
  pauseFirstMs?: number;
  /** And never longer than this. 30 s by default. */
  pauseMaxMs?: number;
  /** How long it is remembered that WebSockets do not pass. 10 minutes by default. */
  fallbackMs?: number;
  /** Told of each change of the connection. */
  onState?: (state: ClientState) => void;
  /** For tests. */
  clock?: Clock;
}

/** Messages to send, in order; the next one is asked for when there is room for it. */
export type Messages<Message> = Iterable<Message> | AsyncIterable<Message>;

export interface ServerStreamOptions<Request, Reply> extends CallOptions {
  /**
   * Opens the stream again when it breaks off (UNAVAILABLE, whoever says so): the request that goes on behind `last`, which is
   * the reply that was taken last. Where none was, the same request is made again. Or by fields, as `tidegate typescript` writes
   * them where the gateway's configuration knows of them; `false` where the call is to end all the same.
   */
  resume?: EventId | ((last: Reply, request: Request) => Request) | false;
}

export interface DuplexOptions<Request, Reply> extends CallOptions {
  /**
   * Opens the call again when it breaks off (UNAVAILABLE, whoever says so). Gives the messages that the new call begins with;
   * behind them come those of the iterable that did not go out yet. `last` is the reply that was taken last, if any, and `sent`
   * is how many messages of the iterable went out. Which of those the server has taken, nobody knows but whoever understands its
   * replies: the others have to be given again here.
   */
  resume?: (last: Reply | undefined, sent: number) => Iterable<Request>;
}

/** Calls through one gateway, all on one connection. */
export class TidegateClient {
  readonly #context: CallContext;

  /** `address` is the gateway's, as `https://host:8443`; in a page it may be relative to the page. */
  constructor(address: string | URL, options: ClientOptions = {}) {
    const { clock = systemClock, pauseFirstMs = 500, pauseMaxMs = 30_000, patienceMs = 30_000, fallbackMs = 600_000 } = options;
    const { openMs = 10_000, heartbeatMs = 15_000 } = options;
    const url = new URL(options.path ?? "/-/mux", new URL(address, globalThis.location?.href));
    const transports = transportsOf(url, options, clock);
    const watch = { openMs, heartbeatMs };
    const { token, onState } = options;
    const session = new Session({ transports, clock, token, watch, pauseFirstMs, pauseMaxMs, fallbackMs, onState });
    this.#context = { session, calls: new Set(), clock, patienceMs, pauseFirstMs, pauseMaxMs };
  }

  /** One message there, one back. `method` is `pkg.Service/Method`. */
  async unary<Reply = unknown>(method: string, request: object, options: CallOptions = {}): Promise<Reply> {
    return (await this.#call(method, { only: request }, options).single()) as Reply;
  }

  /** One message there, many back. The call begins at once. */
  serverStream<Reply = unknown, Request extends object = object>(
    method: string,
    request: Request,
    options: ServerStreamOptions<Request, Reply> = {},
  ): Replies<Reply> {
    const { resume } = options;
    const again = resume && resumeStream(resume, request);
    return new Replies<Reply>(this.#call(method, { only: request }, options, again || undefined));
  }

  /** Many messages there, one back. */
  async clientStream<Reply = unknown, Request extends object = object>(
    method: string,
    requests: Messages<Request>,
    options: CallOptions = {},
  ): Promise<Reply> {
    return (await this.#call(method, { each: iterate(requests) }, options).single()) as Reply;
  }

  /** Many messages there, many back, at the same time. The call begins at once. */
  duplex<Reply = unknown, Request extends object = object>(
    method: string,
    requests: Messages<Request>,
    options: DuplexOptions<Request, Reply> = {},
  ): Replies<Reply> {
    const { resume } = options;
    const again = resume && afterLast((last, sent) => ({ first: resume(last?.reply as Reply | undefined, sent) }));
    return new Replies<Reply>(this.#call(method, { each: iterate(requests) }, options, again));
  }

  /** The methods of a service as functions, typed from end to end; `tidegate typescript` writes the table. */
  service<S extends Service<any>>(service: S): ServiceClient<S> {
    return callersOf(this, service);
  }

  /** Asks for a newer token now, and tells the gateway. */
  refreshToken(): Promise<void> {
    return this.#context.session.refresh();
  }

  /** Ends everything: what is open is cancelled, and no more calls can be made. */
  close(): void {
    const { session, calls } = this.#context;
    for (const call of [...calls]) call.fail(closedError());
    session.close();
  }

  #call(method: string, requests: Requests, options: CallOptions, resume?: Resume): Call {
    return new Call(this.#context, method, requests, options, resume);
  }
}

function resumeStream<Request extends object, Reply>(
  resume: EventId | ((last: Reply, request: Request) => Request),
  request: Request,
): Resume {
  if (typeof resume !== "function") return afterEvent(resume, request);
  return afterLast((last) => ({ only: last ? resume(last.reply as Reply, request) : request }));
}

function iterate<Message>(messages: Messages<Message>): Iterator<Message> | AsyncIterator<Message> {
  return Symbol.asyncIterator in messages ? messages[Symbol.asyncIterator]() : messages[Symbol.iterator]();
}

function transportsOf(url: URL, options: ClientOptions, clock: Clock): Transport[] {
  const Socket = options.WebSocket ?? (globalThis.WebSocket as WebSocketConstructor | undefined);
  const fetch = options.fetch ?? (globalThis.fetch ? (input: string, init: RequestInit) => globalThis.fetch(input, init) : undefined);
  const found = (options.transports ?? ["websocket", "http"]).map((name) => {
    if (name === "websocket") return Socket && webSockets(url, Socket);
    return fetch && httpLinks(url, fetch, clock);
  });
  const usable = found.filter((transport) => transport !== undefined);
  if (usable.length === 0) throw new TypeError("there is no transport: pass the option `WebSocket` or `fetch`");
  return usable;
}
