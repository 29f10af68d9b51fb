// @tidegate/client: calls of every kind to gRPC services behind a Tidegate, over one WebSocket or plain HTTP.

export type { CallOptions } from "./call.js";
export {
  TidegateClient, type ClientOptions, type DuplexOptions, type Messages, type ServerStreamOptions,
} from "./client.js";
export type { Clock } from "./clock.js";
export { Code, TidegateError, type CodeName, type ErrorDetail, type Metadata } from "./errors.js";
export type { Fetch } from "./http.js";
export type { Any, Float, JsonValue, OneOf } from "./json.js";
export type { EventId } from "./resume.js";
export type { ClientStream, Duplex, ServerStream, Service, ServiceClient, Unary } from "./service.js";
export type { ClientState, TokenReason, TokenSource } from "./session.js";
export { Writer, type Replies } from "./streams.js";
export type { WebSocketConstructor, WebSocketLike } from "./websocket.js";
