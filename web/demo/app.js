// Puts the page together.

import { Chat } from './chat.js';
import { animate, byId, notify, plural, setText } from './dom.js';
import { showFlow } from './flow.js';
import { Live } from './live.js';
import { Matrix } from './matrix.js';
import { showWire } from './panel.js';
import { Posts } from './posts.js';
import { importPosts, proveAll } from './proofs.js';
import { showTroubles } from './trouble.js';
import { visitor } from './visitor.js';
import { Wire } from './wire.js';

const IMPORT_PAUSE = 900; // milliseconds between the lines of an import, so that the eye can follow
const TITLES = ['Salt on the window', 'A letter from the pilot', 'Gulls over the fish market', 'The ferry that waited',
  'Where the river gives in', 'Kelp after the storm', 'Seven steps below the mark', 'The keeper’s other lamp',
  'Driftwood, sorted by colour', 'An hour of slack water', 'Bells under the pier', 'The last dry field'];

const wire = new Wire();
const matrix = new Matrix();
const live = new Live(wire, '/v1/posts:watch');
const posts = new Posts(wire, live);
const chat = new Chat(wire, 'lobby');

setText(byId('visitor'), visitor.name);
showWire(wire);
showFlow(wire);
showTroubles(wire);
showState(live, 'live');
showState(chat, 'socket');
proveByUse();
byId('import').addEventListener('click', publishThree);
byId('prove').addEventListener('click', prove);
live.start();
chat.start();

/** A connection's state, as a pill at the top. */
function showState(connection, id) {
  connection.addEventListener('state', ({ detail: { state, why } }) => {
    byId(id).dataset.state = state;
    setText(byId(`${id}-text`), why ? `${state}: ${why}` : state);
    animate(byId(id), 'turned');
  });
}

/** Some cells prove themselves while the page is used. */
function proveByUse() {
  let events = 0;
  live.addEventListener('change', () => {
    events += 1;
    if (live.state === 'live') matrix.prove('sse.response', `${plural(events, 'event')}, the call still open`);
  });
  let heard = 0;
  chat.addEventListener('event', ({ detail: { event, socket } }) => {
    heard += 1;
    matrix.prove('websocket.response', `${plural(heard, 'message')}, the call still open`);
    matrix.prove('websocket.framing', `${plural(heard, 'message')}, each whole`);
    matrix.prove('websocket.transport', `open over ${new URL(socket.url).protocol} by which of the two, no page is told`);
    if (event.kind === 'SAID' && event.author === visitor.name) {
      matrix.prove('websocket.request', 'said in a call that was already answering');
    }
  });
}

/** Shows a request body that streams: one request, three posts, some time between them. */
async function publishThree({ currentTarget: button }) {
  button.disabled = true;
  const start = Math.floor(Math.random() * TITLES.length);
  const three = [0, 1, 2].map((step) => ({ title: TITLES[(start + step) % TITLES.length], author: visitor.name }));
  setText(byId('import-note'), 'One POST is being sent, a line at a time …');
  try {
    const { imported, streamed } = await importPosts(wire, three, () => new Promise((resolve) => setTimeout(resolve, IMPORT_PAUSE)));
    const how = streamed ? 'in one request that streamed' : 'in one request; this browser sends a body only whole';
    setText(byId('import-note'), `${plural(imported, 'post')} published ${how}.`);
  } catch (failure) {
    setText(byId('import-note'), `${failure.codeName}: ${failure.message}`);
    notify(failure);
  } finally {
    button.disabled = false;
  }
}

async function prove({ currentTarget: button }) {
  button.disabled = true;
  setText(button, 'Proving …');
  await proveAll({ wire, matrix, live });
  setText(byId('prove-note'), `${plural(matrix.proven, 'cell')} proven.`);
  setText(button, 'Prove it again');
  button.disabled = false;
}
