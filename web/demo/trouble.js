// Calls that fail on purpose, and how each transport tells it.

import { CallError, viaFetch, viaXhr } from './calls.js';
import { closeError, openSocket, roomUrl } from './chat.js';
import { byId, setText } from './dom.js';
import { token } from './visitor.js';

const TROUBLES = {
  fetch: (wire) => viaFetch(wire, 'GET', '/v1/posts/atlantis'),
  xhr: (wire) => viaXhr(wire, 'POST', '/v1/posts/1:like', { body: { liker: 7 } }),
  websocket: (wire) => new Promise((_, reject) => {
    const socket = openSocket(wire, roomUrl(`trouble-${token()}`));
    socket.onopen = () => {
      socket.send(JSON.stringify({ author: 'nobody' }));
      socket.send(JSON.stringify({ text: ' ' }));
    };
    socket.onclose = (closed) => reject(Object.assign(closeError(closed), { as: `close frame ${closed.code}` }));
  }),
  sse: (wire) => new Promise((_, reject) => {
    const call = wire.open('sse', 'GET', '/v1/posts/atlantis');
    const source = new EventSource('/v1/posts/atlantis');
    const fail = (failure, as) => {
      source.close();
      call.end(failure.codeName ?? 'refused', true);
      reject(Object.assign(failure, { as }));
    };
    source.addEventListener('status', ({ data }) => {
      call.received(data);
      fail(new CallError(JSON.parse(data)), 'event “status”');
    });
    source.onerror = () => fail(new Error('EventSource shows a page neither the status of a refusal nor its body'), 'error event');
  }),
};

export function showTroubles(wire) {
  for (const button of document.querySelectorAll('[data-trouble]')) {
    button.addEventListener('click', async () => {
      const shown = byId('trouble');
      try {
        await TROUBLES[button.dataset.trouble](wire);
        setText(shown, 'It did not fail.');
      } catch (failure) {
        const how = failure.as ?? (failure.http ? `HTTP ${failure.http}` : 'no answer');
        const head = failure.codeName ? `${how} · ${failure.codeName}` : how;
        setText(shown, `${head}\n${failure instanceof CallError ? JSON.stringify(failure, null, 2) : failure.message}`);
      }
    });
  }
}
