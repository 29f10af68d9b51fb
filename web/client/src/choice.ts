// Which transport is tried next. Knows nothing of what they are; time is passed in.

/** Failures in a row before another transport is tried than one that has worked already. */
const FAILURES_OF_PROVEN = 2;

/** Goes through transports in order of preference, and remembers for a while which of the later ones worked. */
export class Choice<T> {
  readonly #all: readonly T[];
  readonly #memoryMs: number;
  readonly #proven = new Set<number>();
  #place = 0;
  #failures = 0;
  #forgetAt = Infinity;

  constructor(all: readonly T[], memoryMs: number) {
    this.#all = all;
    this.#memoryMs = memoryMs;
  }

  /** What to try now. */
  pick(now: number): T {
    if (now >= this.#forgetAt) this.reset();
    return this.#all[this.#place] as T;
  }

  /** Something came by it. */
  passed(now: number): void {
    this.#proven.add(this.#place);
    this.#failures = 0;
    if (this.#place > 0 && this.#forgetAt === Infinity) this.#forgetAt = now + this.#memoryMs;
  }

  /** It did not open, or nothing came by it. True where there is another that was not tried since: no need to wait. */
  failed(): boolean {
    this.#failures += 1;
    // What has worked fails because the gateway is away, more likely than because it does not pass any more.
    if (this.#proven.has(this.#place) && this.#failures < FAILURES_OF_PROVEN) return false;
    const next = this.#place + 1;
    this.reset();
    this.#place = next % this.#all.length;
    return this.#place > 0;
  }

  /** Back to the one that is preferred. */
  reset(): void {
    this.#place = 0;
    this.#failures = 0;
    this.#forgetAt = Infinity;
  }

  /** One that something came by at some time. */
  get hasProven(): boolean {
    return this.#proven.size > 0;
  }
}
