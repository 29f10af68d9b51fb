// A WebSocket with the subprotocol `tidegate.mux` as a link.

import { broken, closedWith, type Closed, type Link, type LinkEvents, type Transport } from "./link.js";

/** As far as a WebSocket is used here; the constructor of browsers, of Node and of the package `ws` are all such. */
export interface WebSocketLike {
  readonly protocol: string;
  onopen: ((event: any) => void) | null;
  onmessage: ((event: any) => void) | null;
  onclose: ((event: any) => void) | null;
  onerror: ((event: any) => void) | null;
  send(text: string): void;
  close(code?: number, reason?: string): void;
}
export type WebSocketConstructor = new (url: string, protocols: string[]) => WebSocketLike;

const SUBPROTOCOL = "tidegate.mux";

/** WebSockets to an address. */
export function webSockets(url: URL, Socket: WebSocketConstructor): Transport {
  const address = new URL(url);
  address.protocol = address.protocol.replace("http", "ws");
  return { name: "websocket", open: (token, events) => open(address.href, Socket, token, events) };
}

function open(url: string, Socket: WebSocketConstructor, token: string | undefined, events: LinkEvents): Link {
  const bearer = token === undefined ? [] : [`bearer.${base64url(token)}`];
  let socket: WebSocketLike;
  try {
    socket = new Socket(url, [SUBPROTOCOL, ...bearer]);
  } catch (error) {
    // A page's content security policy, or an address that is none.
    queueMicrotask(() => events.closed(broken("a WebSocket cannot be opened here", error)));
    return { send: () => undefined, close: () => undefined };
  }
  let opened = false;
  const silence = () => {
    socket.onopen = socket.onmessage = socket.onclose = null;
    // An error that nobody listens to is thrown by some implementations.
    socket.onerror = () => undefined;
  };
  const close = () => {
    silence();
    socket.close();
  };
  socket.onopen = () => {
    if (socket.protocol !== SUBPROTOCOL) {
      close();
      return events.closed(broken("what answered the WebSocket does not speak tidegate.mux"));
    }
    opened = true;
    events.opened();
  };
  socket.onmessage = ({ data }: { data: unknown }) => {
    events.alive();
    if (typeof data === "string") events.frame(data);
  };
  const closed = (why: Closed) => {
    silence();
    events.closed(why);
  };
  // Before it is open, nobody is told why: it may have been the gateway or whoever stands between.
  const notOpened = () => closed(broken("the WebSocket could not be opened"));
  socket.onclose = ({ code, reason }: { code: number; reason: string }) =>
    opened ? closed(closedWith(code, reason)) : notOpened();
  // Once it is open, `close` follows and knows more; before that, it does not in Node 20.
  socket.onerror = () => {
    if (!opened) notOpened();
  };
  return { send: (text) => socket.send(text), close };
}

function base64url(text: string): string {
  const bytes = String.fromCharCode(...new TextEncoder().encode(text));
  return btoa(bytes).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
