// The frames of `tidegate.mux` in JSON (docs/protocols.md §10): types, reading, and what messages weigh.

import { isObject, type Metadata } from "./errors.js";

/** How a call begins. */
export interface Open {
  /** `pkg.Service/Method`. */
  method: string;
  metadata: Metadata;
  /** Seconds, as `1.5s`. */
  timeout?: string;
}

/** What a client tells; the message comes apart, written already. */
export interface ClientFrame {
  id?: number;
  open?: Open;
  half_close?: true;
  credit?: number;
  cancel?: true;
  ping?: number;
  pong?: unknown;
  token?: string;
}

/** What a server tells, as far as it is known here; each member is checked where it is used. */
export interface ServerFrame {
  id?: unknown;
  head?: unknown;
  message?: unknown;
  status?: unknown;
  credit?: unknown;
  ping?: unknown;
  go_away?: unknown;
  renew?: unknown;
  session?: unknown;
  close?: unknown;
}

/** Credit that both sides of a call begin with, in bytes of messages. */
export const CREDIT_FIRST = 65_536;

/** Credit is given back when this much was taken. */
export const CREDIT_BACK = CREDIT_FIRST / 2;

/** The greatest id of a call. */
export const ID_MAX = 2 ** 32 - 1;

/** Writes a frame, with a message in JSON where it has one. */
export function writeFrame(frame: ClientFrame, message?: string): string {
  const text = JSON.stringify(frame);
  return message === undefined ? text : `${text.slice(0, -1)},"message":${message}}`;
}

/** Reads a frame; nothing where the text is none. */
export function readFrame(text: string): ServerFrame | undefined {
  try {
    const frame: unknown = JSON.parse(text);
    return isObject(frame) ? frame : undefined;
  } catch {
    return undefined;
  }
}

/** Metadata of a head or of trailers. */
export function readMetadata(told: unknown): Metadata {
  const entries = isObject(told) ? Object.entries(told) : [];
  return Object.fromEntries(entries.filter((entry): entry is [string, string] => typeof entry[1] === "string"));
}

/** What the message of a frame weighs against credit: the bytes of its JSON as it came. */
export function messageBytes(text: string, frame: ServerFrame): number {
  const before = `{"id":${String(frame.id)},"message":`;
  // As the gateway writes it. Another writer's spaces are not known once they are read.
  const plain = text.startsWith(before) && Object.keys(frame).length === 2;
  return plain ? utf8Bytes(text) - before.length - 1 : utf8Bytes(JSON.stringify(frame.message));
}

const encoder = new TextEncoder();

/** The length of a text in UTF-8. */
export function utf8Bytes(text: string): number {
  return encoder.encode(text).length;
}
