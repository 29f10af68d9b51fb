// demo.chat.v1's messages in protobuf's wire format, as far as the page sends and reads them as binary frames.

const LENGTH_DELIMITED = 2;
const MESSAGE_FIELDS = ['room', 'author', 'text']; // ChatMessage, numbers 1 to 3
const EVENT_FIELDS = { 1: 'room', 2: 'kind', 3: 'author', 4: 'text', 5: 'members' }; // ChatEvent
const EVENT_KINDS = ['KIND_UNSPECIFIED', 'JOINED', 'LEFT', 'SAID', 'EARLIER'];

/** ChatMessage to bytes. */
export function encodeMessage(message) {
  const out = [];
  MESSAGE_FIELDS.forEach((name, index) => {
    if (!message[name]) return;
    const text = new TextEncoder().encode(message[name]);
    out.push(((index + 1) << 3) | LENGTH_DELIMITED, ...varint(text.length), ...text);
  });
  return new Uint8Array(out);
}

/** Bytes to ChatEvent; fields that the page does not know are skipped. */
export function decodeEvent(buffer) {
  const bytes = new Uint8Array(buffer);
  const event = { kind: EVENT_KINDS[0] };
  let at = 0;
  const number = () => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      if (at >= bytes.length) throw new RangeError('the message ends within a number');
      value += (bytes[at] & 0x7f) * 2 ** shift;
      if (bytes[at++] < 0x80) return value;
    }
  };
  while (at < bytes.length) {
    const tag = number();
    const name = EVENT_FIELDS[tag >>> 3];
    const value = number(); // of a length-delimited field: its length
    if ((tag & 7) !== LENGTH_DELIMITED) {
      if (name) event[name] = name === 'kind' ? EVENT_KINDS[value] ?? value : value;
      continue;
    }
    if (name) event[name] = new TextDecoder().decode(bytes.subarray(at, at + value));
    at += value;
  }
  return event;
}

function varint(value) {
  const out = [];
  for (let rest = value; ; rest >>>= 7) {
    if (rest < 0x80) return [...out, rest];
    out.push((rest & 0x7f) | 0x80);
  }
}
