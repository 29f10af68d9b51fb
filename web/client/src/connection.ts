// One live mux: gives calls their ids, frames to the calls that they are of, and notices when the other side is gone. Knows
// nothing of other connections.

import type { Attempt } from "./attempt.js";
import type { Clock } from "./clock.js";
import { Code, TidegateError } from "./errors.js";
import { ID_MAX, readFrame, writeFrame, type ClientFrame } from "./frames.js";
import { broken, closedWith, type Closed, type Link, type Transport } from "./link.js";

/** What a connection tells whoever opened it. */
export interface ConnectionEvents {
  /** Calls may be made. */
  opened(): void;
  /** For the first time since it is open, something came: this way passes. */
  heard(): void;
  /** Something of a call came: it works. */
  proven(): void;
  /** No new calls are to be made on it. */
  leaving(): void;
  /** Credentials run out: those of the connection, or of the call that is named. */
  renew(id: number | undefined): void;
  closed(why: Closed): void;
}

/** How connections are watched. */
export interface Watch {
  /** Longest time until one is open, in milliseconds. */
  openMs: number;
  /** How long the silence is after which a sign of life is asked for; four times that is the end. */
  heartbeatMs: number;
}

const SILENT_BEATS_MAX = 3;

export class Connection {
  readonly transport: Transport;
  /** The token that the other side knows of. */
  token: string | undefined;
  readonly #clock: Clock;
  readonly #watch: Watch;
  readonly #events: ConnectionEvents;
  readonly #link: Link;
  readonly #attempts = new Map<number, Attempt>();
  #lastId = 0;
  #hasHeard = false;
  #state: "opening" | "open" | "leaving" | "closed" = "opening";
  #silentBeats = 0;
  #stopTimer: () => void;

  constructor(transport: Transport, token: string | undefined, clock: Clock, watch: Watch, events: ConnectionEvents) {
    this.transport = transport;
    this.token = token;
    this.#clock = clock;
    this.#watch = watch;
    this.#events = events;
    this.#stopTimer = clock.after(watch.openMs, () => this.#fail(broken("the gateway does not answer")));
    this.#link = transport.open(token, {
      opened: () => this.#opened(),
      frame: (text) => this.#frame(text),
      alive: () => this.#alive(),
      closed: (why) => this.#closed(why),
    });
  }

  /** Whether calls may be begun. */
  get isOpen(): boolean {
    return this.#state === "open";
  }

  /** The other side takes no more calls. */
  get isLeaving(): boolean {
    return this.#state === "leaving";
  }

  /** Begins a call, with its first message where that is there already. */
  begin(attempt: Attempt, first: ClientFrame, message?: string): number {
    this.#lastId += 1;
    this.#attempts.set(this.#lastId, attempt);
    this.send({ id: this.#lastId, ...first }, message);
    if (this.#lastId === ID_MAX) this.#leave();
    return this.#lastId;
  }

  /** Sends a frame, with a message in JSON where it has one. */
  send(frame: ClientFrame, message?: string): void {
    if (this.#state === "open" || this.#state === "leaving") this.#link.send(writeFrame(frame, message));
  }

  /** Nothing is told of the call any more. */
  forget(id: number): void {
    if (this.#attempts.delete(id)) this.#leaveWhenEmpty();
  }

  close(error: TidegateError): void {
    this.#fail({ error, orderly: true, refused: false });
  }

  #opened(): void {
    this.#state = "open";
    this.#stopTimer();
    this.#beat();
    this.#events.opened();
  }

  #alive(): void {
    this.#silentBeats = 0;
    if (this.#hasHeard || this.#state === "opening") return;
    this.#hasHeard = true;
    this.#events.heard();
  }

  /** Counts the silence in beats, not in time: a machine that slept has not been deaf. */
  #beat(): void {
    this.#stopTimer = this.#clock.after(this.#watch.heartbeatMs, () => {
      this.#silentBeats += 1;
      if (this.#silentBeats > SILENT_BEATS_MAX) return this.#fail(broken("the gateway has fallen silent"));
      // The first one may have begun just before something came.
      if (this.#silentBeats > 1) this.send({ ping: this.#silentBeats });
      this.#beat();
    });
  }

  #frame(text: string): void {
    const frame = readFrame(text);
    if (!frame) return this.#fail(closedWith(1002, "the gateway sent something that is no frame"));
    const id = typeof frame.id === "number" ? frame.id : undefined;
    if (frame.ping !== undefined) this.send({ pong: frame.ping });
    if (frame.renew !== undefined) this.#events.renew(id);
    if (frame.go_away !== undefined) this.#leave();
    if (id === undefined) return;
    this.#events.proven();
    this.#attempts.get(id)?.take(text, frame);
  }

  #leave(): void {
    if (this.#state !== "open") return;
    this.#state = "leaving";
    this.#events.leaving();
    this.#leaveWhenEmpty();
  }

  #leaveWhenEmpty(): void {
    if (this.#state === "leaving" && this.#attempts.size === 0) {
      this.close(new TidegateError(Code.UNAVAILABLE, "the connection is not used any more"));
    }
  }

  #fail(why: Closed): void {
    if (this.#state === "closed") return;
    this.#link.close();
    this.#closed(why);
  }

  #closed(why: Closed): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.#stopTimer();
    const attempts = [...this.#attempts.values()];
    this.#attempts.clear();
    const culprit = why.error.code === Code.RESOURCE_EXHAUSTED ? heaviest(attempts) : undefined;
    for (const attempt of attempts) attempt.lose(culprit && culprit !== attempt ? innocent(why.error) : why.error);
    this.#events.closed(why);
  }
}

/** The call that sent the largest message: what made a connection close because of one. */
function heaviest(attempts: Attempt[]): Attempt | undefined {
  return attempts.reduce<Attempt | undefined>((most, one) => (one.heaviest > (most?.heaviest ?? -1) ? one : most), undefined);
}

function innocent(cause: TidegateError): TidegateError {
  return new TidegateError(Code.UNAVAILABLE, "another call's message made the gateway close the connection", { cause });
}
