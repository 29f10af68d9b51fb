// Messages that came and are not taken yet, in order, and the end behind them. What bounds it is the credit of the sender.

export class Inbox<T> {
  readonly #taken: (item: T) => void;
  #items: T[] = [];
  #end: { error?: unknown } | undefined;
  readonly #takers: { resolve(result: IteratorResult<T, undefined>): void; reject(error: unknown): void }[] = [];
  #tellEmpty: (() => void)[] = [];

  /** `taken` is told of each item as it is taken, before anybody else can know. */
  constructor(taken: (item: T) => void) {
    this.#taken = taken;
  }

  push(item: T): void {
    if (this.#end) return;
    this.#items.push(item);
    this.#move();
  }

  /** Nothing comes any more; an error is told behind what came before. */
  end(error?: unknown): void {
    this.#end ??= error === undefined ? {} : { error };
    this.#move();
  }

  /** The same, and what is not taken yet is forgotten. */
  fail(error: unknown): void {
    this.#items = [];
    this.end(error);
  }

  /** The next item, or the end; an error is told once. */
  next(): Promise<IteratorResult<T, undefined>> {
    return new Promise((resolve, reject) => {
      this.#takers.push({ resolve, reject });
      this.#move();
    });
  }

  /** Waits until everything is taken. */
  emptied(): Promise<void> {
    return new Promise((resolve) => {
      this.#tellEmpty.push(resolve);
      this.#move();
    });
  }

  #move(): void {
    while (this.#takers.length > 0 && (this.#items.length > 0 || this.#end)) {
      const taker = this.#takers.shift();
      const value = this.#items.shift();
      if (value !== undefined) {
        this.#taken(value);
        taker?.resolve({ done: false, value });
      } else if (this.#end && "error" in this.#end) {
        taker?.reject(this.#end.error);
        this.#end = {};
      } else taker?.resolve({ done: true, value: undefined });
    }
    if (this.#items.length > 0) return;
    for (const tell of this.#tellEmpty.splice(0)) tell();
  }
}
