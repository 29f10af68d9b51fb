// Records what each transport carries: calls, frames, payload bytes and time. Knows no transport.

export const TRANSPORTS = [
  { id: 'xhr', name: 'XMLHttpRequest', short: 'XHR' },
  { id: 'fetch', name: 'fetch', short: 'fetch' },
  { id: 'sse', name: 'EventSource', short: 'SSE' },
  { id: 'websocket', name: 'WebSocket', short: 'WebSocket' },
];

const CALLS_MAX = 80;

/** One call, while it lasts and afterwards. */
class Call {
  constructor(transport, method, path, changed) {
    Object.assign(this, { transport, method, path, changed });
    this.id = ++Call.last;
    this.startedAt = new Date();
    this.start = performance.now();
    this.frames = { sent: 0, received: 0 };
    this.bytes = { sent: 0, received: 0 };
    this.ended = undefined;
    this.failed = false;
  }

  static last = 0;

  sent(payload) {
    this.count('sent', payload);
  }

  received(payload) {
    this.count('received', payload);
  }

  /** How it ended, in a word or two; only the first word counts. */
  end(how, failed = false) {
    if (this.ended !== undefined) return;
    this.ended = how;
    this.failed = failed;
    this.time = performance.now() - this.start;
    this.changed(this);
  }

  get elapsed() {
    return this.time ?? performance.now() - this.start;
  }

  count(direction, payload) {
    const size = payloadBytes(payload);
    this.frames[direction] += 1;
    this.bytes[direction] += size;
    this.changed(this, direction, size);
  }
}

export class Wire {
  calls = [];
  totals = Object.fromEntries(TRANSPORTS.map(({ id }) => [id, {
    calls: 0, open: 0, lastTime: undefined, frames: { sent: 0, received: 0 }, bytes: { sent: 0, received: 0 },
  }]));
  #listeners = [];

  /** Begins a call. */
  open(transport, method, path) {
    const call = new Call(transport, method, path, (...change) => this.#change(...change));
    this.calls.unshift(call);
    this.#forget();
    this.totals[transport].calls += 1;
    this.totals[transport].open += 1;
    this.#tell(call);
    return call;
  }

  /** Has `listener` told of each call that changes, and of `sent` or `received` where a frame changed it. */
  listen(listener) {
    this.#listeners.push(listener);
  }

  #change(call, direction, size) {
    const totals = this.totals[call.transport];
    if (direction) {
      totals.frames[direction] += 1;
      totals.bytes[direction] += size;
    } else {
      totals.open -= 1;
      totals.lastTime = call.time;
    }
    this.#tell(call, direction);
  }

  /** Keeps the list short; what is still open stays. */
  #forget() {
    for (let index = this.calls.length - 1; this.calls.length > CALLS_MAX && index >= 0; index -= 1) {
      if (this.calls[index].ended !== undefined) this.calls.splice(index, 1);
    }
  }

  #tell(call, direction) {
    for (const listener of this.#listeners) listener(call, direction);
  }
}

const utf8 = new TextEncoder();

function payloadBytes(payload) {
  if (payload === undefined || payload === null) return 0;
  if (typeof payload === 'number') return payload;
  if (typeof payload === 'string') return utf8.encode(payload).length;
  return payload.byteLength ?? payload.size ?? 0;
}
