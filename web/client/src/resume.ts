// How a call goes on that broke off. Knows nothing of connections.

import { isObject } from "./errors.js";
import type { JsonValue } from "./json.js";

/** Where a stream's replies say how far it has come, and where a request says from where on it is wanted. */
export interface EventId {
  /** The field of the reply, in JSON; fields of fields with dots between. A reply without it says nothing. */
  readonly reply: string;
  /** What the field is where it is not there, if that is a value too. */
  readonly absent?: JsonValue;
  /** The field of the request. */
  readonly request: string;
}

/** Where a call goes on, by what it has come to. Told of every reply that is taken, and asked for what the new call sends. */
export interface Resume {
  taken(reply: unknown): void;
  /** The request; or, where many are sent, what goes before those that are still to come. `sent`: how many of them went out. */
  again(sent: number): { only: unknown } | { first: Iterable<unknown> };
}

/** After the last reply, by whatever the caller makes of it. */
export function afterLast(again: (last: { reply: unknown } | undefined, sent: number) => ReturnType<Resume["again"]>): Resume {
  let last: { reply: unknown } | undefined;
  return { taken: (reply) => void (last = { reply }), again: (sent) => again(last, sent) };
}

/** After the last event that has an id. */
export function afterEvent({ reply, absent, request }: EventId, original: object): Resume {
  const [path, target] = [reply.split("."), request.split(".")];
  let id: unknown;
  return {
    taken(message) {
      const value = valueAt(message, path, absent);
      if (value !== undefined && value !== "") id = value;
    },
    // As text, as it is where an EventSource brings it back; ProtoJSON takes numbers so too.
    again: () => ({ only: id === undefined ? original : withValue(original, target, String(id)) }),
  };
}

function valueAt(message: unknown, [name, ...rest]: string[], absent: unknown): unknown {
  if (!isObject(message) || name === undefined) return undefined;
  return rest.length > 0 ? valueAt(message[name], rest, absent) : (message[name] ?? absent);
}

function withValue(message: unknown, [name, ...rest]: string[], value: unknown): unknown {
  if (name === undefined) return value;
  const members = isObject(message) ? message : {};
  return { ...members, [name]: withValue(members[name], rest, value) };
}
