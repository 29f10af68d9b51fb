// One open way to the gateway, whatever it is made of. Knows nothing of what the frames say.

import { Code, TidegateError, asCode } from "./errors.js";

/** Why a link is closed, or was never open. */
export interface Closed {
  error: TidegateError;
  /** It was meant to be: the gateway restarts, or sends its clients elsewhere. */
  orderly: boolean;
  /** It was refused for a reason that does not pass by itself: credentials, or nothing is there. */
  refused: boolean;
}

/** What a link tells. Nothing comes after `closed`, which always comes. */
export interface LinkEvents {
  opened(): void;
  /** One frame. */
  frame(text: string): void;
  /** Something came, if only a sign of life. */
  alive(): void;
  closed(why: Closed): void;
}

/** Carries frames in order, once it is open. */
export interface Link {
  send(text: string): void;
  /** Tells nothing any more. */
  close(): void;
}

/** A way to open links. */
export interface Transport {
  readonly name: "websocket" | "http";
  /** With a bearer token, if there is one. */
  open(token: string | undefined, events: LinkEvents): Link;
}

/** A link that broke off. */
export function broken(message: string, cause?: unknown): Closed {
  return { error: new TidegateError(Code.UNAVAILABLE, message, { cause }), orderly: false, refused: false };
}

/** What a WebSocket's close code means, and that of a `close` frame: 4000 and the gRPC code, or one of RFC 6455 §7.4.1. */
export function closedWith(code: number, reason: string): Closed {
  const text = reason.replace(/^[A-Z_]+: /, "") || `the gateway closed the connection with ${code}`;
  const status = code > 4000 && code <= 4016 ? asCode(code - 4000) : (STATUSES[code] ?? Code.UNAVAILABLE);
  return { error: new TidegateError(status, text), orderly: code === 1012, refused: isRefusal(status) };
}

/** Codes of a connection that say that another would fare no better. */
export function isRefusal(code: Code): boolean {
  return REFUSALS.includes(code);
}

const STATUSES: Record<number, Code> = {
  1002: Code.INTERNAL, // the protocol was broken
  1003: Code.INTERNAL,
  1007: Code.INTERNAL,
  1009: Code.RESOURCE_EXHAUSTED, // a message was too large
};

const REFUSALS: Code[] = [
  Code.INVALID_ARGUMENT, Code.NOT_FOUND, Code.PERMISSION_DENIED, Code.FAILED_PRECONDITION, Code.UNIMPLEMENTED, Code.UNAUTHENTICATED,
];
