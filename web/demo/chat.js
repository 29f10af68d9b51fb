// The lobby: one WebSocket, which is one bidirectional gRPC call, and what it looks like.

import { byId, clock, element, notify, plural, setText } from './dom.js';
import { CallError } from './calls.js';
import { visitor } from './visitor.js';

const LINES_MAX = 200;
const WAIT_FIRST = 500; // milliseconds
const WAIT_MAX = 8000;

/** The address of a room's call. */
export function roomUrl(room) {
  const url = new URL(`/v1/rooms/${encodeURIComponent(room)}:chat`, location.href);
  url.protocol = url.protocol.replace('http', 'ws');
  return url.href;
}

/** What a close frame says: close codes from 4000 on are gRPC codes, the reason is `CODE_NAME: message`. */
export function closeError({ code, reason }) {
  if (code > 4000 && code < 4017) {
    return new CallError({ code: code - 4000, message: reason.replace(/^[A-Z_]+: /, '') });
  }
  const message = code === 1012 ? 'the gateway restarts' : reason || `closed with code ${code}`;
  return new CallError({ code: 14, message });
}

/** A WebSocket whose frames the recorder sees. */
export function openSocket(wire, url) {
  const socket = new WebSocket(url);
  const call = wire.open('websocket', 'GET', new URL(url).pathname);
  const send = socket.send.bind(socket);
  socket.binaryType = 'arraybuffer';
  socket.send = (payload) => {
    call.sent(payload);
    send(payload);
  };
  socket.addEventListener('message', ({ data }) => call.received(data));
  socket.addEventListener('close', ({ code }) => call.end(`close ${code}`, code !== 1000));
  return socket;
}

export class Chat extends EventTarget {
  #wire;
  #room;
  #socket;
  #wait = WAIT_FIRST;

  state = 'connecting';

  constructor(wire, room) {
    super();
    this.#wire = wire;
    this.#room = room;
    byId('chat-form').addEventListener('submit', (event) => {
      event.preventDefault();
      this.#say(byId('chat-text'));
    });
  }

  start() {
    const socket = openSocket(this.#wire, roomUrl(this.#room));
    this.#socket = socket;
    let joined = false;
    socket.addEventListener('open', () => {
      byId('chat-log').replaceChildren(); // what was said before comes again
      socket.send(JSON.stringify({ author: visitor.name }));
    });
    socket.addEventListener('message', ({ data }) => {
      joined = true;
      this.#wait = WAIT_FIRST;
      this.#become('live');
      const event = JSON.parse(data);
      this.#show(event);
      this.dispatchEvent(new CustomEvent('event', { detail: { event, socket } }));
    });
    socket.addEventListener('close', (closed) => {
      this.#become('reconnecting');
      setText(byId('members'), 'nobody can hear you now');
      if (joined && closed.code > 4000) notify(closeError(closed));
      const wait = this.#wait * (0.75 + Math.random() / 2);
      this.#wait = Math.min(this.#wait * 2, WAIT_MAX);
      setTimeout(() => this.start(), wait);
    });
  }

  #say(input) {
    const text = input.value.trim();
    if (text === '') return;
    if (this.state !== 'live' || this.#socket.readyState !== WebSocket.OPEN) {
      notify(new CallError({ code: 14, message: 'the chat is not connected now; what you wrote is kept' }));
      return;
    }
    this.#socket.send(JSON.stringify({ text }));
    input.value = '';
  }

  #show({ kind, author = '', text = '', members, sentAt }) {
    if (members) setText(byId('members'), members === 1 ? 'only you are here' : `${plural(members, 'person', 'people')} here`);
    const log = byId('chat-log');
    const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    log.append(line(kind, author, text, sentAt));
    while (log.children.length > LINES_MAX) log.firstChild.remove();
    if (atEnd) log.scrollTop = log.scrollHeight;
  }

  #become(state) {
    if (this.state === state) return;
    this.state = state;
    this.dispatchEvent(new CustomEvent('state', { detail: { state } }));
  }
}

function line(kind, author, text, sentAt) {
  const mine = author === visitor.name;
  if (kind === 'JOINED' || kind === 'LEFT') {
    const what = kind === 'JOINED' ? 'came in' : 'left';
    return element('p', { class: 'coming', 'data-kind': kind }, `${mine ? 'You' : author} ${what}`);
  }
  const at = sentAt ? new Date(sentAt) : new Date();
  return element('div', { class: mine ? 'said mine' : 'said', 'data-kind': kind },
    element('p', { class: 'who' }, mine ? 'You' : author, ' ', element('time', { datetime: at.toISOString() }, clock(at).slice(0, 5))),
    element('p', { class: 'text' }, text));
}
