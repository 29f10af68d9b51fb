// Who this tab is: a name to be called by, and an id by which its likes count once.

const COLOURS = ['Amber', 'Cobalt', 'Coral', 'Copper', 'Indigo', 'Ivory', 'Jade', 'Ochre', 'Pearl', 'Russet', 'Silver', 'Teal'];
const CREATURES = ['Cormorant', 'Curlew', 'Dolphin', 'Gannet', 'Heron', 'Limpet', 'Osprey', 'Otter', 'Petrel', 'Plover', 'Puffin', 'Seal'];

function pick(list) {
  return list[crypto.getRandomValues(new Uint32Array(1))[0] % list.length];
}

function remembered(key, make) {
  try {
    const value = sessionStorage.getItem(key) ?? make();
    sessionStorage.setItem(key, value);
    return value;
  } catch {
    return make(); // storage is off; the tab is somebody new after a reload
  }
}

/** Letters and digits that nobody else has. */
export function token() {
  return Array.from(crypto.getRandomValues(new Uint8Array(8)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

export const visitor = {
  name: remembered('tidegate-demo-name', () => `${pick(COLOURS)} ${pick(CREATURES)}`),
  id: remembered('tidegate-demo-id', token),
};
