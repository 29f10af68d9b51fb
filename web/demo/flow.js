// The picture at the top: a pulse runs where something has just crossed the wire.

import { byId } from './dom.js';

const PULSE = 900; // milliseconds, as in the style sheet

export function showFlow(wire) {
  wire.listen((call, direction) => {
    if (!direction) return;
    const service = call.path.startsWith('/v1/rooms/') ? 'chat' : 'liker';
    const legs = [byId(`flow-${call.transport}`), byId(`flow-${service}`)];
    // Up: first to the gateway, then to the service. Down: the other way round.
    (direction === 'sent' ? legs : legs.reverse()).forEach((leg, step) => setTimeout(() => pulse(leg, direction), step * PULSE * 0.4));
  });
}

function pulse(leg, direction) {
  if (leg.classList.contains(direction)) return; // one is on its way
  leg.classList.remove('sent', 'received');
  leg.classList.add(direction);
  setTimeout(() => leg.classList.remove(direction), PULSE);
}
