// Services as types: a table of methods that `tidegate typescript` writes becomes an object with a function for each.

import type { CallOptions } from "./call.js";
import type { DuplexOptions, Messages, ServerStreamOptions, TidegateClient } from "./client.js";
import type { EventId } from "./resume.js";
import type { Replies } from "./streams.js";

/** A method of a table; the messages are there for the compiler alone. */
export interface Method<Kind extends string, Request, Reply> {
  readonly name: string;
  readonly kind: Kind;
  /** Calls may be made again where it is not known what became of them. */
  readonly idempotent?: boolean;
  /** How it goes on where it broke off: of those with many replies to one request. */
  readonly resume?: EventId;
  readonly request?: Request;
  readonly reply?: Reply;
}
export type Unary<Request, Reply> = Method<"unary", Request, Reply>;
export type ServerStream<Request, Reply> = Method<"server_stream", Request, Reply>;
export type ClientStream<Request, Reply> = Method<"client_stream", Request, Reply>;
export type Duplex<Request, Reply> = Method<"duplex", Request, Reply>;
type AnyMethod = Method<"unary" | "server_stream" | "client_stream" | "duplex", any, any>;

/** A service of a schema. */
export interface Service<Methods extends Record<string, AnyMethod>> {
  /** As `pkg.Service`. */
  readonly name: string;
  readonly methods: Methods;
}

/** What a method is as a function. */
export type Caller<M> =
  M extends Unary<infer Request, infer Reply> ? (request: Request, options?: CallOptions) => Promise<Reply>
  : M extends ServerStream<infer Request, infer Reply>
    ? (request: Request, options?: ServerStreamOptions<Request, Reply>) => Replies<Reply>
  : M extends ClientStream<infer Request, infer Reply>
    ? (requests: Messages<Request>, options?: CallOptions) => Promise<Reply>
  : M extends Duplex<infer Request, infer Reply>
    ? (requests: Messages<Request>, options?: DuplexOptions<Request, Reply>) => Replies<Reply>
  : never;

/** A service as functions. */
export type ServiceClient<S> = S extends Service<infer Methods> ? { readonly [Name in keyof Methods]: Caller<Methods[Name]> } : never;

/** Makes the functions of a service. */
export function callersOf<S extends Service<Record<string, AnyMethod>>>(client: TidegateClient, service: S): ServiceClient<S> {
  const callers = Object.entries(service.methods).map(([name, method]) => [name, caller(client, service.name, method)]);
  return Object.fromEntries(callers) as ServiceClient<S>;
}

function caller(client: TidegateClient, service: string, { name, kind, idempotent = false, resume }: AnyMethod): unknown {
  const path = `${service}/${name}`;
  switch (kind) {
    case "unary":
      return (request: object, options?: CallOptions) => client.unary(path, request, { idempotent, ...options });
    case "server_stream":
      return (request: object, options?: ServerStreamOptions<object, unknown>) =>
        client.serverStream(path, request, { idempotent, ...(resume && { resume }), ...options });
    case "client_stream":
      return (requests: Messages<object>, options?: CallOptions) => client.clientStream(path, requests, { idempotent, ...options });
    case "duplex":
      return (requests: Messages<object>, options?: DuplexOptions<object, unknown>) =>
        client.duplex(path, requests, { idempotent, ...options });
  }
}
