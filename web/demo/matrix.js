// The table of transports: what each can do, and a tick for what this tab has just seen.

import { animate, byId, clock, element, setText } from './dom.js';
import { TRANSPORTS } from './wire.js';

const COLUMNS = [
  ['request', 'Request streaming'],
  ['response', 'Response streaming'],
  ['framing', 'Framing'],
  ['binary', 'Binary'],
  ['compression', 'Compression'],
  ['transport', 'Transport'],
];

/** What a transport can do, in words; `cannot` where the browser's interface has no way to. */
const CELLS = {
  xhr: {
    request: { cannot: 'The body leaves whole' },
    response: { can: 'Text that grows; never let go before the end' },
    framing: { can: 'None of its own: NDJSON lines' },
    binary: { can: 'ArrayBuffer' },
    compression: { can: 'Content-Encoding' },
    transport: { can: 'Whatever the page came by' },
  },
  fetch: {
    request: { can: 'ReadableStream; HTTP/2, half duplex' },
    response: { can: 'ReadableStream, with backpressure' },
    framing: { can: 'None of its own: NDJSON lines' },
    binary: { can: 'ArrayBuffer' },
    compression: { can: 'Content-Encoding' },
    transport: { can: 'Whatever the page came by' },
  },
  sse: {
    request: { cannot: 'A GET without a body' },
    response: { can: 'Events; comes back by itself' },
    framing: { can: 'Events with a type and an id' },
    binary: { cannot: 'UTF-8 text only' },
    compression: { can: 'Content-Encoding' },
    transport: { can: 'Whatever the page came by' },
  },
  websocket: {
    request: { can: 'Messages at any time, both ways' },
    response: { can: 'Messages; no backpressure' },
    framing: { can: 'Messages, text or binary' },
    binary: { can: 'Binary messages' },
    compression: { can: 'permessage-deflate' },
    transport: { can: 'HTTP/1.1 Upgrade, or HTTP/2 CONNECT' },
  },
};

const WORDS = { open: 'not proven yet', proven: 'proven', unproven: 'not proven', cannot: 'cannot' };

export class Matrix {
  #cells = new Map();

  constructor() {
    const head = COLUMNS.map(([, title]) => element('th', { scope: 'col', role: 'columnheader' }, title));
    // Roles are said again, because narrow screens lay the table out as blocks, which takes its meaning away.
    byId('matrix').setAttribute('role', 'table');
    byId('matrix').setAttribute('aria-labelledby', 'matrix-title');
    byId('matrix').append(
      element('thead', { role: 'rowgroup' }, element('tr', { role: 'row' }, element('td', { role: 'cell' }), ...head)),
      element('tbody', { role: 'rowgroup' }, ...TRANSPORTS.map((transport) => this.#row(transport))));
  }

  #row({ id, name }) {
    const cells = COLUMNS.map(([column, title]) => this.#cell(id, column, title));
    const heading = element('th', { scope: 'row', role: 'rowheader' }, element('span', { class: 'dot' }), name);
    return element('tr', { role: 'row', 'data-transport': id }, heading, ...cells);
  }

  #cell(transport, column, title) {
    const { can, cannot } = CELLS[transport][column];
    const mark = element('span', { class: 'mark', 'aria-hidden': 'true' });
    const word = element('span', { class: 'hidden' });
    const evidence = element('span', { class: 'evidence' });
    const root = element('td', { role: 'cell', 'data-cell': `${transport}.${column}`, 'data-title': title },
      mark, element('span', { class: 'claim' }, word, can ?? cannot), evidence);
    this.#cells.set(`${transport}.${column}`, { root, word, evidence });
    this.#set(`${transport}.${column}`, cannot ? 'cannot' : 'open', '');
    return root;
  }

  /** This tab has just seen it; `evidence` says what. */
  prove(cell, evidence) {
    const fresh = this.#set(cell, 'proven', `${evidence} · ${clock(new Date())}`);
    if (fresh) animate(this.#cells.get(cell).root, 'just-proven');
  }

  /** It was tried and not seen; what was proven before stays so. */
  unproven(cell, why) {
    if (this.#cells.get(cell).root.dataset.state !== 'proven') this.#set(cell, 'unproven', why);
  }

  get proven() {
    return [...this.#cells.values()].filter(({ root }) => root.dataset.state === 'proven').length;
  }

  #set(cell, state, evidence) {
    const { root, word, evidence: shown } = this.#cells.get(cell);
    const fresh = root.dataset.state !== state;
    root.dataset.state = state;
    setText(word, `${WORDS[state]}: `);
    setText(shown, evidence);
    return fresh;
  }
}
