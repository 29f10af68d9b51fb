// Shows what the wire recorder saw: a meter for each transport, and the calls.

import { byId, bytes, clock, duration, element, plural, setText } from './dom.js';
import { TRANSPORTS } from './wire.js';

const arrows = ({ sent, received }) => `${sent} ↑ ${received} ↓`;

export function showWire(wire) {
  const meters = new Map(TRANSPORTS.map((transport) => [transport.id, meter(transport)]));
  byId('meters').append(...[...meters.values()].map(({ root }) => root));
  const rows = new Map();
  const changed = new Set(wire.calls);
  let asked = false;

  const draw = () => {
    asked = false;
    const now = performance.now();
    for (const [id, shown] of meters) shown.update(wire.totals[id]);
    for (const call of changed) {
      meters.get(call.transport).stir(now);
      if (!rows.has(call.id)) {
        rows.set(call.id, row(call));
        byId('calls').prepend(rows.get(call.id).root);
      }
      rows.get(call.id).update();
    }
    changed.clear();
    const kept = new Set(wire.calls.map(({ id }) => id));
    for (const [id, shown] of rows) {
      if (kept.has(id)) continue;
      shown.root.remove();
      rows.delete(id);
    }
  };

  wire.listen((call) => {
    changed.add(call);
    if (!asked) requestAnimationFrame(draw);
    asked = true;
  });
  // Calls that are still open grow older.
  setInterval(() => wire.calls.filter((call) => call.ended === undefined).forEach((call) => rows.get(call.id)?.update()), 1000);
  draw();
}

function meter({ id, name }) {
  const numbers = Object.fromEntries(['frames', 'bytes', 'time'].map((key) => [key, element('dd')]));
  const calls = element('span', { class: 'quiet' });
  const root = element('li', { class: 'meter card', 'data-transport': id },
    element('h3', {}, element('span', { class: 'dot' }), name, calls),
    element('dl', {},
      element('div', {}, element('dt', {}, 'Frames'), numbers.frames),
      element('div', {}, element('dt', {}, 'Bytes'), numbers.bytes),
      element('div', {}, element('dt', {}, 'Last call'), numbers.time)));
  return {
    root,
    update(totals) {
      setText(calls, totals.calls === 0 ? 'no call yet' : plural(totals.calls, 'call') + (totals.open ? `, ${totals.open} open` : ''));
      setText(numbers.frames, arrows(totals.frames));
      setText(numbers.bytes, `${bytes(totals.bytes.sent)} ↑ ${bytes(totals.bytes.received)} ↓`);
      setText(numbers.time, totals.lastTime === undefined ? (totals.open ? 'open' : '–') : duration(totals.lastTime));
    },
    stir() {
      root.classList.add('stirred');
      clearTimeout(root.calm);
      root.calm = setTimeout(() => root.classList.remove('stirred'), 400);
    },
  };
}

function row(call) {
  const cell = (properties) => element('td', properties);
  const cells = { frames: cell({ class: 'number' }), sent: cell({ class: 'number' }), received: cell({ class: 'number' }), time: cell({ class: 'number' }), ended: cell() };
  const { short } = TRANSPORTS.find(({ id }) => id === call.transport);
  const root = element('tr', { 'data-transport': call.transport },
    element('td', {}, clock(call.startedAt)),
    element('td', {}, element('span', { class: 'badge' }, short)),
    element('td', { class: 'call' }, element('b', {}, call.method), ' ', call.path),
    ...Object.values(cells));
  return {
    root,
    update() {
      setText(cells.frames, arrows(call.frames));
      setText(cells.sent, bytes(call.bytes.sent));
      setText(cells.received, bytes(call.bytes.received));
      setText(cells.time, duration(call.elapsed));
      setText(cells.ended, call.ended ?? 'open');
      root.dataset.end = call.ended === undefined ? 'open' : call.failed ? 'failed' : 'ok';
    },
  };
}
