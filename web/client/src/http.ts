// Plain HTTP as a link, where WebSockets do not pass (docs/protocols.md §10): a GET that streams frames down as events, and
// POSTs, one at a time, that carry up whatever waits.

import { Backoff, type Clock } from "./clock.js";
import { Code, TidegateError, isObject } from "./errors.js";
import { readFrame } from "./frames.js";
import { broken, closedWith, isRefusal, type Closed, type Link, type LinkEvents, type Transport } from "./link.js";

export type Fetch = (url: string, init: RequestInit) => Promise<Response>;

/** How much goes up in one POST, in characters, unless a single frame is larger. */
const BATCH_MAX = 256 * 1024;

/** How often a POST is tried whose answer is lost, and the pauses between, in milliseconds. */
const TRIES_MAX = 5;
const PAUSE_FIRST = 200;
const PAUSE_MAX = 3_000;

/** Links over `fetch`. */
export function httpLinks(url: URL, fetch: Fetch, clock: Clock): Transport {
  return {
    name: "http",
    open: (token, events) => {
      const link = new HttpLink(url.href, fetch, clock, events);
      void link.download(token);
      return link;
    },
  };
}

class HttpLink implements Link {
  readonly #url: string;
  readonly #fetch: Fetch;
  readonly #clock: Clock;
  readonly #events: LinkEvents;
  readonly #abort = new AbortController();
  #session: string | undefined;
  #waiting: string[] = [];
  #uploading = false;
  #sequence = 0;

  constructor(url: string, fetch: Fetch, clock: Clock, events: LinkEvents) {
    this.#url = url;
    this.#fetch = fetch;
    this.#clock = clock;
    this.#events = events;
  }

  send(text: string): void {
    this.#waiting.push(text);
    if (!this.#uploading) void this.#upload();
  }

  close(): void {
    this.#waiting = [];
    this.#abort.abort();
  }

  /** Follows the stream of frames to its end. */
  async download(token: string | undefined): Promise<void> {
    try {
      const headers: Record<string, string> = { accept: "text/event-stream" };
      if (token !== undefined) headers["authorization"] = `Bearer ${token}`;
      const response = await this.#request({ headers });
      if (response.status !== 200 || !response.body) return this.#end(await refusal(response));
      await this.#read(response.body.getReader());
      this.#end(broken("the stream of frames was cut off"));
    } catch (error) {
      this.#end(broken("the gateway cannot be reached", error));
    }
  }

  async #read(body: ReadableStreamDefaultReader<Uint8Array>): Promise<void> {
    const decoder = new TextDecoder();
    let rest = "";
    for (;;) {
      const { done, value } = await body.read();
      if (done || this.#isOver) return;
      const lines = (rest + decoder.decode(value, { stream: true })).split("\n");
      rest = lines.pop() ?? "";
      // A frame is an event, and an event's data is on one line.
      for (const line of lines) if (line.startsWith("data:")) this.#frame(line.slice("data:".length));
      if (this.#isOver) return;
      this.#events.alive();
    }
  }

  #frame(text: string): void {
    if (this.#isOver) return;
    const trimmed = text.trim();
    const { session, close } = controls(trimmed);
    if (close !== undefined) return this.#end(closedWith(Number(close["code"]), String(close["reason"] ?? "")));
    if (session === undefined) return this.#events.frame(trimmed);
    const isFirst = this.#session === undefined;
    this.#session = session;
    if (isFirst) this.#events.opened();
  }

  async #upload(): Promise<void> {
    this.#uploading = true;
    while (this.#waiting.length > 0 && !this.#isOver) {
      const batch = this.#batch();
      this.#sequence += 1;
      const failed = await this.#post(batch);
      if (failed) this.#end(failed);
    }
    this.#uploading = false;
  }

  #batch(): string {
    let [count, size] = [0, 0];
    for (const text of this.#waiting) {
      size += text.length;
      if (count > 0 && size > BATCH_MAX) break;
      count += 1;
    }
    return this.#waiting.splice(0, count).join("\n");
  }

  /** Sends one body until it is known to be taken; why it never will be. */
  async #post(body: string): Promise<Closed | undefined> {
    const headers = {
      "content-type": "application/x-ndjson",
      "tidegate-session": this.#session ?? "",
      "tidegate-sequence": String(this.#sequence),
    };
    const backoff = new Backoff(this.#clock, PAUSE_FIRST, PAUSE_MAX);
    for (let tries = 1; ; tries += 1) {
      let cause: unknown;
      try {
        const { ok, status } = await this.#request({ method: "POST", headers, body });
        if (ok) return undefined;
        cause = `status ${status}`;
        // The session is one of another process, or is over.
        if (status === 404) return broken("the gateway does not know the session any more");
        if (status === 413) return closedWith(1009, "a message is too large");
        // 409: the request before this one may still be under way, though its answer is lost.
        const again = status >= 500 || status === 408 || status === 429 || (status === 409 && tries > 1);
        if (!again) return closedWith(1007, `frames were refused with status ${status}`);
      } catch (error) {
        cause = error;
      }
      if (tries === TRIES_MAX || this.#isOver) return broken("frames cannot be sent", cause);
      await new Promise<void>((done) => this.#clock.after(backoff.next(), done));
    }
  }

  #request(init: RequestInit): Promise<Response> {
    return this.#fetch(this.#url, { ...init, cache: "no-store", redirect: "error", signal: this.#abort.signal });
  }

  get #isOver(): boolean {
    return this.#abort.signal.aborted;
  }

  #end(why: Closed): void {
    if (this.#isOver) return;
    this.close();
    this.#events.closed(why);
  }
}

/** What a frame says of the link itself. */
function controls(text: string): { session?: string; close?: Record<string, unknown> } {
  // Most frames are of calls, and are read where they belong.
  if (!text.startsWith('{"session"') && !text.startsWith('{"close"')) return {};
  const { session, close } = readFrame(text) ?? {};
  if (isObject(close)) return { close };
  return typeof session === "string" ? { session } : {};
}

/** Why the stream was not opened: the gateway's own words, or those of whoever stands between. */
async function refusal(response: Response): Promise<Closed> {
  const told: unknown = await response.json().catch(() => undefined);
  const own = TidegateError.from(told);
  const code = isObject(told) && typeof told["code"] === "number" ? own.code : (STATUSES[response.status] ?? Code.UNAVAILABLE);
  const error = new TidegateError(code, own.message || `the gateway answered with status ${response.status}`, own);
  return { error, orderly: false, refused: isRefusal(code) };
}

const STATUSES: Record<number, Code> = {
  400: Code.INVALID_ARGUMENT,
  401: Code.UNAUTHENTICATED,
  403: Code.PERMISSION_DENIED,
  404: Code.NOT_FOUND,
  405: Code.UNIMPLEMENTED,
  406: Code.UNIMPLEMENTED,
};
