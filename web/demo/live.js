// Everything that happens to the posts, through one EventSource that always comes back.
//
// A stream that breaks is opened again by the browser itself. An answer that is not 200 (a gateway that cannot reach
// its backend says 503) ends an EventSource for good, by the WHATWG HTML standard: then a new one is made here, later
// each time.

import { codeName } from './calls.js';

const UNAVAILABLE = 14;
const WAIT_FIRST = 500; // milliseconds
const WAIT_MAX = 8000;

export class Live extends EventTarget {
  #wire;
  #path;
  #source;
  #wait = WAIT_FIRST;
  #last; // the status that ended the last stream

  /** connecting, live, reconnecting or ended */
  state = 'connecting';

  constructor(wire, path) {
    super();
    this.#wire = wire;
    this.#path = path;
  }

  start() {
    this.#last = undefined;
    const source = new EventSource(this.#path);
    this.#source = source;
    let call = this.#wire.open('sse', 'GET', this.#path);
    source.onopen = () => {
      // The browser's own reconnect is a call of its own.
      if (call.ended !== undefined) call = this.#wire.open('sse', 'GET', this.#path);
      this.#wait = WAIT_FIRST;
      this.#last = undefined;
      this.#become('live');
    };
    source.onmessage = (event) => {
      call.received(event.data);
      this.dispatchEvent(new CustomEvent('change', { detail: JSON.parse(event.data) }));
    };
    source.addEventListener('status', (event) => {
      call.received(event.data);
      this.#last = JSON.parse(event.data);
      call.end(`status ${codeName(this.#last.code)}`, this.#last.code !== 0);
    });
    source.onerror = () => {
      call.end(source.readyState === EventSource.CLOSED ? 'refused' : 'broken off', true);
      this.#failed(source);
    };
  }

  #failed(source) {
    if (source.readyState !== EventSource.CLOSED) return this.#become('reconnecting');
    if (this.#last && this.#last.code !== UNAVAILABLE) return this.#become('ended', codeName(this.#last.code));
    this.#become('reconnecting');
    const wait = this.#wait * (0.75 + Math.random() / 2);
    this.#wait = Math.min(this.#wait * 2, WAIT_MAX);
    setTimeout(() => {
      if (this.#source === source) this.start();
    }, wait);
  }

  #become(state, why) {
    if (this.state === state) return;
    this.state = state;
    this.dispatchEvent(new CustomEvent('state', { detail: { state, why } }));
  }
}
