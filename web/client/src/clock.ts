// Time and chance, which tests take into their own hands.

/** Where waiting times and random numbers come from. */
export interface Clock {
  /** Milliseconds since some moment. */
  now(): number;
  /** Calls back later, unless it is cancelled by what is returned. */
  after(milliseconds: number, call: () => void): () => void;
  /** At least 0 and less than 1. */
  random(): number;
}

/** The longest that a timer can be set for; more than three weeks. */
const TIMER_MAX = 2 ** 31 - 1;

export const systemClock: Clock = {
  now: () => performance.now(),
  after(milliseconds, call) {
    if (milliseconds > TIMER_MAX) return () => undefined;
    const timer = setTimeout(call, milliseconds);
    return () => clearTimeout(timer);
  },
  random: () => Math.random(),
};

/** Growing pauses with full jitter: each is anything between none and a bound that doubles. */
export class Backoff {
  readonly #clock: Clock;
  readonly #first: number;
  readonly #most: number;
  #bound: number;

  /** The first bound and the greatest, in milliseconds. */
  constructor(clock: Clock, first: number, most: number) {
    this.#clock = clock;
    this.#first = first;
    this.#most = most;
    this.#bound = first;
  }

  /** The next pause. */
  next(): number {
    const pause = this.#clock.random() * this.#bound;
    this.#bound = Math.min(this.#bound * 2, this.#most);
    return pause;
  }

  reset(): void {
    this.#bound = this.#first;
  }
}
