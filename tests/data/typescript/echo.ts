// Services and their messages in JSON. Written by `tidegate typescript`; changes here are lost.

import type * as tidegate from "@tidegate/client";

export const Echo: tidegate.Service<{
  say: tidegate.Unary<Msg, Msg>;
  all: tidegate.Unary<All, All>;
  down: tidegate.ServerStream<StreamReq, Msg>;
  up: tidegate.ClientStream<Msg, Sum>;
  chat: tidegate.Duplex<Msg, Msg>;
  /** Fails with the given code (and trailing metadata x-fail: yes). */
  fail: tidegate.Unary<FailReq, Msg>;
  /** Sleeps delay_ms, then answers; reports deadline and cancellation. */
  slow: tidegate.Unary<FailReq, Seen>;
  /** Answers with the metadata it saw. */
  meta: tidegate.Unary<Msg, Seen>;
  download: tidegate.Unary<StreamReq, HttpBody>;
  downloadStream: tidegate.ServerStream<StreamReq, HttpBody>;
  upload: tidegate.Unary<HttpBody, Sum>;
  uploadStream: tidegate.ClientStream<HttpBody, Sum>;
  /** Each chunk comes back as it is, with its content type. */
  mirror: tidegate.Duplex<HttpBody, HttpBody>;
  /** No annotation at all. */
  bare: tidegate.Unary<Msg, Msg>;
}> = {
  name: "tidegate.test.v1.Echo",
  methods: {
    say: { name: "Say", kind: "unary", idempotent: true },
    all: { name: "All", kind: "unary" },
    down: { name: "Down", kind: "server_stream", resume: { reply: "n", absent: 0, request: "after" } },
    up: { name: "Up", kind: "client_stream" },
    chat: { name: "Chat", kind: "duplex" },
    fail: { name: "Fail", kind: "unary" },
    slow: { name: "Slow", kind: "unary" },
    meta: { name: "Meta", kind: "unary" },
    download: { name: "Download", kind: "unary" },
    downloadStream: { name: "DownloadStream", kind: "server_stream" },
    upload: { name: "Upload", kind: "unary" },
    uploadStream: { name: "UploadStream", kind: "client_stream" },
    mirror: { name: "Mirror", kind: "duplex" },
    bare: { name: "Bare", kind: "unary" },
  },
};

/**
 * Message that represents an arbitrary HTTP body. It should only be used for
 * payload formats that can't be represented as JSON, such as raw binary or
 * an HTML page.
 *
 *
 * This message can be used both in streaming and non-streaming API methods in
 * the request as well as the response.
 *
 * It can be used as a top-level request field, which is convenient if one
 * wants to extract parameters from either the URL or HTTP template into the
 * request fields and also want access to the raw HTTP body.
 *
 * Example:
 *
 *     message GetResourceRequest {
 *       // A unique request id.
 *       string request_id = 1;
 *
 *       // The raw HTTP body is bound to this field.
 *       google.api.HttpBody http_body = 2;
 *
 *     }
 *
 *     service ResourceService {
 *       rpc GetResource(GetResourceRequest)
 *         returns (google.api.HttpBody);
 *       rpc UpdateResource(google.api.HttpBody)
 *         returns (google.protobuf.Empty);
 *
 *     }
 *
 * Example with streaming methods:
 *
 *     service CaldavService {
 *       rpc GetCalendar(stream google.api.HttpBody)
 *         returns (stream google.api.HttpBody);
 *       rpc UpdateCalendar(stream google.api.HttpBody)
 *         returns (stream google.api.HttpBody);
 *
 *     }
 *
 * Use of this type only changes how the request and response bodies are
 * handled, all other features will continue to work unchanged.
 */
export interface HttpBody {
  /** The HTTP Content-Type header value specifying the content type of the body. */
  contentType?: string;
  /** The HTTP request/response body as raw binary. */
  data?: string;
  /**
   * Application specific response metadata. Must be set in the first response
   * for streaming APIs.
   */
  extensions?: tidegate.Any[];
}

export type Empty = { [member: string]: never };

export type All = {
  d?: tidegate.Float;
  f?: tidegate.Float;
  i32?: number;
  i64?: string;
  u32?: number;
  u64?: string;
  si32?: number;
  si64?: string;
  fx32?: number;
  fx64?: string;
  sfx32?: number;
  sfx64?: string;
  b?: boolean;
  s?: string;
  by?: string;
  c?: Color;
  n?: Nested;
  rs?: string[];
  ri?: number[];
  rc?: Color[];
  rn?: Nested[];
  rb?: boolean[];
  rby?: string[];
  rd?: tidegate.Float[];
  ri64?: string[];
  ms?: { [key: string]: string };
  mi?: { [key: string]: Nested };
  mb?: { [key: string]: string };
  ts?: string;
  dur?: string;
  mask?: string;
  st?: { [member: string]: tidegate.JsonValue };
  val?: tidegate.JsonValue;
  lv?: tidegate.JsonValue[];
  any?: tidegate.Any;
  empty?: Empty;
  wS?: string;
  wI32?: number;
  wI64?: string;
  wU32?: number;
  wU64?: string;
  wB?: boolean;
  wD?: tidegate.Float;
  wF?: tidegate.Float;
  wBy?: string;
  rts?: string[];
  rwS?: string[];
  optS?: string;
  optI?: number;
  optB?: boolean;
  snakeCaseField?: string;
  customName?: string;
  raw?: HttpBody;
} & tidegate.OneOf<{
  os: string;
  oi: number;
  on: Nested;
  onull: null;
}>;

export type Color =
  | "COLOR_UNSPECIFIED"
  | "RED"
  | "GREEN"
  | "NEG"
  | number;

export interface FailReq {
  code?: number;
  message?: string;
  /** add google.rpc.ErrorInfo + BadRequest details */
  details?: boolean;
  delayMs?: number;
  after?: number;
}

export interface Msg {
  text?: string;
  n?: number;
  data?: string;
}

export interface Nested {
  s?: string;
  i?: number;
  child?: Nested;
  r?: string[];
  color?: Color;
  big?: string;
  flag?: boolean;
  twoWords?: string;
}

/** What the backend saw: its request, as canonical ProtoJSON text, and metadata. */
export interface Seen {
  method?: string;
  /** one element, or a JSON array for client streams */
  requestJson?: string;
  /** how many messages came */
  requests?: number;
  metadata?: { [key: string]: string };
  /** "" = none */
  deadlineMs?: string;
}

export interface StreamReq {
  text?: string;
  /** messages to send */
  count?: number;
  /** wait before each */
  delayMs?: number;
  /** bytes of data in each */
  size?: number;
  /** >0: fail with fail_code after that many messages */
  failAfter?: number;
  failCode?: number;
  failMessage?: string;
  /** begin behind this number */
  after?: number;
}

export interface Sum {
  count?: number;
  bytes?: string;
  joined?: string;
}
