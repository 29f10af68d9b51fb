//! The configuration file as it is written: every key once, with what it means.
//!
//! The parser, the JSON Schema, docs/config.md and the output of `tidegate check` all come from these types, whose
//! comments are written for users. Knows nothing of how keys depend on each other.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    named::Named,
    names::{FieldPath, FieldValue, HeaderField, MethodName, PageOrigin, PlacePath, ServicePrefix, UrlPath},
    redis::RawRedis,
    settings::{Cidr, Compression, EndpointUrl, HostPattern, Mux, Services, Share, Tickets, Timeout, ValuePattern},
    text::{Count, Percent, Period, Size, Span, Text, Weight},
};
use crate::limits::Limits;

/// The configuration of one Tidegate process.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "tidegate.yaml")]
pub(super) struct RawConfig {
    /// Addresses on which clients are served.
    #[schemars(length(min = 1))]
    pub(super) listeners: Vec<RawListener>,
    /// The admin server: health, readiness and metrics. Without it there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) admin: Option<RawAdmin>,
    /// Worker threads, each with a runtime and connections of its own. Without it: one for each CPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) workers: Option<Text<Count>>,
    /// Backends, by a name of your choice. Every upstream serves the services that its schema names.
    pub(super) upstreams: Named<RawUpstream>,
    /// What holds for which calls: the first that matches a call is its policy, and the first that matches and names
    /// upstreams says where it goes. See docs/routing.md.
    #[serde(default)]
    pub(super) routes: Vec<RawRoute>,
    /// Which web pages may call.
    #[serde(default)]
    pub(super) cors: RawCors,
    /// Files served as they are.
    #[serde(default, rename = "static")]
    pub(super) assets: Vec<RawStatic>,
    /// The Redis in which several gateways keep the streams that calls share (`routes[].share`), so that one of them holds each
    /// upstream stream. Without it, each gateway has its own. See docs/fleet.md.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) redis: Option<RawRedis>,
    /// Sizes, counts and times that bound everything.
    #[serde(default)]
    pub(super) limits: RawLimits,
    /// How replies are compressed for clients that accept it. Requests may be compressed whatever stands here, but for
    /// those on WebSockets.
    #[serde(default)]
    pub(super) compression: RawCompression,
    /// Serve the OpenAPI description of all methods at `/-/openapi.json`, to whoever may connect.
    #[serde(default = "yes")]
    pub(super) openapi: bool,
    /// Many calls on one WebSocket, or in one session over plain HTTP (docs/protocols.md).
    #[serde(default)]
    pub(super) mux: RawMux,
    /// Tickets for browsers, which can put no token into a header of an EventSource or WebSocket (docs/protocols.md).
    #[serde(default)]
    pub(super) tickets: RawTickets,
    /// The gRPC services of the gateway's own, which take the place of the upstreams' services of the same names.
    #[serde(default)]
    pub(super) services: RawServices,
    /// One JSON line on standard error for every call. `false` leaves the faults of the gateway and of the upstreams.
    #[serde(default = "yes")]
    pub(super) access_log: bool,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawListener {
    /// Address and port; port 0 lets the system choose.
    pub(super) address: Text<SocketAddr>,
    /// TLS, with HTTP/2 and HTTP/1.1 chosen by ALPN. Without it: HTTP/1.1, and HTTP/2 with prior knowledge.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) tls: Option<RawServerTls>,
    /// Networks of the proxies in front, whose `x-forwarded-*` headers are believed.
    #[serde(default)]
    pub(super) trusted_proxies: Vec<Text<Cidr>>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum RawServerTls {
    /// A certificate made at start for `localhost`, `127.0.0.1` and `::1`, that nobody else trusts.
    Development,
    /// Certificates with their keys, chosen by the name that the client asks for (SNI); the first where none fits.
    Certificates(#[schemars(length(min = 1))] Vec<RawCertificate>),
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawCertificate {
    /// PEM file: the leaf first, then its chain.
    pub(super) cert: Text<PathBuf>,
    /// PEM file: PKCS#8, PKCS#1 or SEC1.
    pub(super) key: Text<PathBuf>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawAdmin {
    /// Address and port. Whoever reaches it may use it: keep it on a private address.
    pub(super) address: Text<SocketAddr>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawUpstream {
    /// Servers of the same services: `http://host:port` (HTTP/2 with prior knowledge), `https://host:port`, `unix:/path`.
    #[schemars(length(min = 1))]
    pub(super) endpoints: Vec<Text<EndpointUrl>>,
    /// Where the descriptors of its services come from. Without it: reflection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) schema: Option<RawSchema>,
    /// Short for `schema: { descriptor_set: … }`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) descriptor_set: Option<Text<PathBuf>>,
    /// Short for `schema: { protos: … }`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) protos: Option<RawProtos>,
    /// Files with HTTP rules beside those of the schema: the `http` of a gRPC service configuration
    /// (`google.api.Service` in YAML). A rule there takes the place of the annotation of its method.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) service_config: Vec<Text<PathBuf>>,
    /// Time between two looks at whether the schema that reflection tells is still the same. Files are looked at every
    /// second.
    #[serde(default = "schema_poll")]
    pub(super) schema_poll: Text<Period>,
    /// How calls are spread over endpoints.
    #[serde(default)]
    pub(super) balance: RawBalance,
    /// How the servers behind `https://` are verified.
    #[serde(default, skip_serializing_if = "RawUpstreamTls::is_default")]
    pub(super) tls: RawUpstreamTls,
    /// Longest time for a connection (TCP, TLS, HTTP/2) to open.
    #[serde(default = "connect_timeout")]
    pub(super) connect_timeout: Text<Period>,
    /// Time between PINGs on a connection with calls in flight. Many gRPC servers close a connection that sends more
    /// than one in five minutes: go lower only where the server allows it.
    #[serde(default = "keepalive")]
    pub(super) keepalive: Text<Period>,
    /// Longest wait for the answer to a PING before the connection is given up.
    #[serde(default = "keepalive_timeout")]
    pub(super) keepalive_timeout: Text<Period>,
    /// Most connections that one worker opens to one endpoint.
    #[serde(default = "connections_max")]
    pub(super) connections_max: Text<Count>,
    /// How messages to it are compressed, from `compression.min_size` on. It is then told that its replies may be
    /// compressed too. What gRPC clients send passes as it is.
    #[serde(default)]
    pub(super) compression: RawMessageCompression,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum RawSchema {
    /// Asked of the server by gRPC reflection.
    Reflection,
    /// No schema: gRPC passes through to it where a route names it.
    None,
    /// Compiled into the program.
    #[serde(skip_deserializing)]
    #[schemars(skip)]
    Embedded,
    /// A file with a serialized `google.protobuf.FileDescriptorSet` (`protoc --include_imports -o`, `buf build -o`).
    DescriptorSet(Text<PathBuf>),
    /// `.proto` sources.
    Protos(RawProtos),
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawProtos {
    /// Files to compile, each below one of `includes`.
    #[schemars(length(min = 1))]
    pub(super) files: Vec<Text<PathBuf>>,
    /// Directories in which imports are looked for.
    #[schemars(length(min = 1))]
    pub(super) includes: Vec<Text<PathBuf>>,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum RawBalance {
    /// Each in turn.
    RoundRobin,
    /// The one with fewer calls in flight, of two chosen at random.
    #[default]
    LeastRequest,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum RawMessageCompression {
    /// Not at all.
    #[default]
    None,
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
}

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawUpstreamTls {
    /// PEM file of trusted roots. Without it: the system's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ca: Option<Text<PathBuf>>,
    /// Name to verify. Without it: the host of the URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) server_name: Option<String>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawRoute {
    /// The calls that this is for: all that is given must be so.
    #[serde(rename = "match")]
    pub(super) matches: RawMatch,
    /// Where the calls go. Without it: to the upstream whose schema has the method. Services that no schema knows pass
    /// through, as gRPC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) upstream: Option<String>,
    /// The same for several upstreams, each with its weight: `{ liker: 90, liker-canary: 10 }`. One with the weight 0
    /// gets only the calls that name it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) upstreams: Option<Named<Text<Weight>>>,
    /// The request header by which a call may name one of `upstreams`. It goes no further, unless `request_headers` lists
    /// it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) upstream_header: Option<Text<HeaderField>>,
    /// Who gets copies of the calls; its answers are dropped.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) mirror: Option<RawMirror>,
    /// The longest that a call may last, whatever the client asks for. Without it: `limits.unary_timeout` for unary
    /// calls, `none` for streams.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) timeout: Option<Text<Timeout>>,
    /// Request headers that pass to the upstream, beside the usual ones.
    #[serde(default)]
    pub(super) request_headers: Vec<Text<HeaderField>>,
    /// Response metadata that passes to the client as headers, beside the usual ones.
    #[serde(default)]
    pub(super) response_headers: Vec<Text<HeaderField>>,
    /// How replies are written as JSON, unless the request says otherwise.
    #[serde(default)]
    pub(super) output: RawOutput,
    /// What becomes of JSON fields, query parameters and names of enum values that the request message does not have.
    #[serde(default)]
    pub(super) unknown_fields: RawUnknownFields,
    /// `Cache-Control` of unary replies to GET for which the upstream sets none, such as `private, max-age=60`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cache_control: Option<Text<FieldValue>>,
    /// Accept `?access_token=` as a bearer token, for EventSource and WebSocket in browsers. It is never logged.
    #[serde(default)]
    pub(super) query_token: bool,
    /// What becomes of a stream when the bearer token that it was opened with expires.
    #[serde(default)]
    pub(super) token_expiry: RawTokenExpiry,
    /// Compress streams too, each piece so that the client can read it at once. A compressor holds up to
    /// 300 KiB for as long as its stream lasts, and works at zstd's level 1 and brotli's quality 3 at most.
    #[serde(default)]
    pub(super) compress_streams: bool,
    /// What Server-Sent Events bear beside their data, for the methods that stream replies to one request.
    #[serde(default)]
    pub(super) sse: RawEventStream,
    /// Identical calls share one upstream stream, for the methods that stream replies to one request. Without it, each call
    /// has its own. See docs/protocols.md.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) share: Option<RawShare>,
    /// What becomes of a client that takes the replies of a stream more slowly than the upstream sends them. Without it:
    /// `block`, and `disconnect` where the stream is shared. See docs/protocols.md.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) slow_reader: Option<RawSlowReader>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum RawSlowReader {
    /// The upstream waits for it: nothing is kept, and nothing is lost. Not for streams that are shared.
    Block,
    /// The upstream is read on. What the client has not taken is kept within `limits.stream_buffer_*`; beyond them, the oldest
    /// messages are dropped.
    DropOldest,
    /// The upstream is read on, and of what the client has not taken only the newest message is kept.
    Latest,
    /// As with `drop_oldest`, but instead of losing messages the call is ended with RESOURCE_EXHAUSTED, and with UNAVAILABLE
    /// where the stream is shared, which waits for the fastest of its clients.
    Disconnect,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawShare {
    /// Most messages that a client that comes back with a `Last-Event-ID` is given again.
    pub(super) replay: Text<Count>,
    /// How long the upstream stream goes on when the last client has left.
    pub(super) linger: Text<Span>,
    /// Request headers that must be the same, beside method, request message, `authorization` and `cookie`. They pass to the
    /// upstream; no others do but `x-request-id`, which is that of the first call.
    pub(super) key: Vec<Text<HeaderField>>,
    /// The stream is the same for everybody: clients with different `authorization` and `cookie` share it too, and the
    /// upstream gets neither. Whatever the upstream would only tell some of them must not be there.
    pub(super) public: bool,
    /// Whether the stream is shared with the other gateways, where there is a `redis`.
    pub(super) fleet: bool,
}

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawEventStream {
    /// How a stream goes on where it was broken off. Without it, the `Last-Event-ID` of a browser that comes back goes to
    /// the upstream as metadata `last-event-id`, and events have no ids.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) resume: Option<RawResume>,
    /// The field of the reply whose value is the event's type, or the oneof whose member that is set names it. The field
    /// is a string, an enum, an integer or bytes. Without it, or where it is empty, events are of the type `message`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) event: Option<Text<FieldPath>>,
    /// Accept `?lastEventId=` in place of the header, for polyfills that cannot set it.
    pub(super) query_event_id: bool,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawResume {
    /// The field of the reply whose value is the event's id: an integer, a string, bytes or an enum.
    pub(super) event_id: Text<FieldPath>,
    /// The field of the request that takes the id of the last event seen, whatever else the request says of it.
    pub(super) request: Text<FieldPath>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawMatch {
    /// One method, `pkg.Service/Method`, or all of a service, `pkg.Service/*`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) method: Option<Text<MethodName>>,
    /// All services whose full name begins so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) service: Option<Text<ServicePrefix>>,
    /// Hosts, one of which the request asks for, on any port: `api.example.com`, or `*.example.com` for every name that
    /// ends so.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1))]
    pub(super) hosts: Option<Vec<Text<HostPattern>>>,
    /// Request headers and their values: `{ x-tenant: acme }`. A value that ends in `*` is the beginning of one; `*` alone
    /// is any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) headers: Option<Named<Text<ValuePattern>>>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawMirror {
    /// The upstream. It sees the copies alone, marked by the header `x-tidegate-mirror`, unless a route leads to it too.
    pub(super) upstream: String,
    /// How many of a hundred calls are copied.
    #[serde(default = "every_call")]
    pub(super) percent: Text<Percent>,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum RawTokenExpiry {
    /// It ends with UNAUTHENTICATED at the time that the claim `exp` of a JSON Web Token says. Other tokens say none.
    #[default]
    End,
    /// It goes on.
    Ignore,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum RawUnknownFields {
    /// The request is refused, and told where the field is.
    #[default]
    Reject,
    /// They are left out; the reply says so in a `warning` header, the access record names them, a metric counts them.
    Observe,
    /// They are left out.
    Ignore,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawOutput {
    /// Write fields without presence even where they have their default value.
    pub(super) defaults: bool,
    /// Enum values as numbers.
    pub(super) enum_numbers: bool,
    /// Field names as in the `.proto` file.
    pub(super) proto_names: bool,
    /// 64-bit integers as JSON numbers where a double holds them exactly.
    pub(super) int64_numbers: bool,
    /// Lines and indentation.
    pub(super) pretty: bool,
}

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawCors {
    /// Origins of pages that may call, such as `https://app.example.com`; `*` for any, then without credentials.
    pub(super) origins: Vec<Text<PageOrigin>>,
    /// Let pages send cookies and authorization.
    pub(super) credentials: bool,
    /// How long a browser may remember the answer to a preflight. Without it: as long as the browser likes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) max_age: Option<Text<Span>>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawMux {
    /// Whether there is such a thing.
    pub(super) enabled: bool,
    /// Where WebSockets and sessions are opened.
    pub(super) path: Text<PlacePath>,
    /// What sessions are told is compressed for clients that accept it, as the routes' streams may be.
    pub(super) compress_streams: bool,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawTickets {
    /// Whether there are any.
    pub(super) enabled: bool,
    /// Where they are given out.
    pub(super) path: Text<PlacePath>,
    /// How long one is good.
    pub(super) lifetime: Text<Period>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawServices {
    /// `grpc.health.v1.Health`: whether the gateway and its upstreams are well.
    pub(super) health: bool,
    /// `grpc.reflection.v1.ServerReflection` and `v1alpha`: the schema of all upstreams, to whoever may connect.
    pub(super) reflection: bool,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RawStatic {
    /// The URL path below which the files are served.
    pub(super) path: Text<UrlPath>,
    /// The directory; read once when the configuration is loaded.
    pub(super) dir: Text<PathBuf>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(super) struct RawCompression {
    /// What is offered, the preferred one first, which decides where a client has no preference. `[]`: replies are not
    /// compressed.
    pub(super) algorithms: Vec<RawCoding>,
    /// Smallest body, and smallest message to an upstream or on a WebSocket, that is compressed.
    pub(super) min_size: Text<Size>,
    /// 1 (fast) to 9 (small); for WebSockets too.
    pub(super) gzip_level: Text<Count>,
    /// 1 (fast) to 11 (small, and far too slow for answers).
    pub(super) brotli_quality: Text<Count>,
    /// 1 (fast) to 19 (small).
    pub(super) zstd_level: Text<Count>,
    /// Whether permessage-deflate (RFC 7692) is agreed on with WebSocket clients that offer it, whatever `algorithms` says.
    pub(super) websocket: RawWebSocketCompression,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum RawWebSocketCompression {
    /// It is not.
    None,
    /// Each message is compressed by itself: an idle connection holds no memory for it.
    Message,
    /// Messages refer to earlier ones of the connection, which makes those smaller that resemble each other. It holds up
    /// to 371 KiB for that from the first compressed reply on, and 32 KiB of what the client sent.
    Connection,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum RawCoding {
    /// Zstandard.
    Zstd,
    /// Brotli.
    Br,
    /// gzip.
    Gzip,
}

impl Default for RawCompression {
    fn default() -> Self {
        (&Compression::default()).into()
    }
}

/// The keys of `limits` are the fields of [`Limits`]; the compiler sees to it that none is missing.
macro_rules! limits {
    ($($(#[$doc:meta])* $field:ident: $scalar:ident,)*) => {
        #[derive(Debug, Serialize, Deserialize, JsonSchema)]
        #[serde(default, deny_unknown_fields)]
        pub(super) struct RawLimits {
            $($(#[$doc])* $field: Text<$scalar>,)*
        }

        impl From<&Limits> for RawLimits {
            fn from(limits: &Limits) -> Self {
                Self { $($field: Text($scalar(limits.$field)),)* }
            }
        }

        impl From<RawLimits> for Limits {
            fn from(raw: RawLimits) -> Self {
                Self { $($field: raw.$field.0.0,)* }
            }
        }
    };
}

limits! {
    /// Largest request message, and the largest request body of a unary call.
    request_message_bytes_max: Size,
    /// Largest reply message from an upstream.
    reply_message_bytes_max: Size,
    /// Most calls open at a time on one `tidegate.mux` socket or session; beyond it a call is refused with RESOURCE_EXHAUSTED.
    mux_calls_max: Count,
    /// Most bytes of requests that wait for their upstreams on one such socket; a call that sends more then is ended with
    /// RESOURCE_EXHAUSTED.
    mux_waiting_bytes_max: Size,
    /// Most `tidegate.mux` sessions over plain HTTP in the process; beyond it another one is refused with UNAVAILABLE.
    mux_sessions_max: Count,
    /// Most memory for tickets that are not too old yet, in the process; beyond it none is given out (503). A ticket takes 128
    /// bytes and its token.
    ticket_bytes_max: Size,
    /// Largest sum of a request's header names and values; 431 beyond it.
    header_bytes_max: Size,
    /// Most calls in flight on one worker; beyond it a call is refused with UNAVAILABLE.
    calls_per_worker_max: Count,
    /// Most client connections on one worker; beyond it a new one is closed.
    connections_per_worker_max: Count,
    /// Longest time from accepting a connection to the end of its TLS handshake.
    handshake_timeout: Period,
    /// Longest time for the head of an HTTP/1.1 request to arrive.
    header_timeout: Period,
    /// Longest silence of a unary request's body.
    body_timeout: Period,
    /// The longest that a unary call may last for which the route says nothing, whatever the client asks for.
    unary_timeout: Period,
    /// How long the HTTP status of a stream waits for the first sign of the upstream.
    stream_head_grace: Span,
    /// Silence after which an SSE stream carries a comment line, and a `tidegate.mux` session a ping.
    sse_heartbeat: Period,
    /// The reconnect delay that an SSE stream tells its client, before jitter.
    sse_retry: Period,
    /// Time between WebSocket pings.
    ws_ping: Period,
    /// Longest wait for the pong of a ping, or for the peer's half of the close handshake.
    ws_pong_timeout: Period,
    /// Most streams in the process that calls share; beyond it a call that would open one more is refused with UNAVAILABLE.
    share_topics_max: Count,
    /// Most messages that a client may lag behind a stream whose upstream does not wait for it: one that is shared, or that a
    /// `slow_reader` makes so.
    stream_buffer_messages_max: Count,
    /// Most memory in which one such stream keeps messages, those for replay included. The newest one stays however large it is.
    stream_buffer_bytes_max: Size,
    /// The same of all calls of one client connection together; those that keep most give way.
    stream_buffer_connection_bytes_max: Size,
    /// The same of the whole process; those that keep most give way.
    stream_buffer_total_bytes_max: Size,
    /// Longest time that a client may take nothing of what waits to be written to it. Its call is ended then, or its
    /// connection where that is what stands still.
    write_stall_timeout: Period,
    /// How long a stop tells balancers (`/readyz`, `grpc.health.v1`) to send nobody new before it begins.
    drain_delay: Span,
    /// Longest time over which connections are told to leave, a few at a time, at a stop or by `tidegate drain --share`. Those
    /// that are few need less: 10 ms each.
    drain_window: Span,
    /// How long a graceful stop waits for calls in flight.
    drain_timeout: Period,
}

impl Default for RawShare {
    fn default() -> Self {
        (&Share::default()).into()
    }
}

impl Default for RawLimits {
    fn default() -> Self {
        (&Limits::default()).into()
    }
}

impl Default for RawServices {
    fn default() -> Self {
        Services::default().into()
    }
}

impl Default for RawMux {
    fn default() -> Self {
        Some(&Mux::default()).into()
    }
}

impl Default for RawTickets {
    fn default() -> Self {
        Some(&Tickets::default()).into()
    }
}

impl RawUpstreamTls {
    pub(super) fn is_default(&self) -> bool {
        self.ca.is_none() && self.server_name.is_none()
    }
}

fn yes() -> bool {
    true
}

fn every_call() -> Text<Percent> {
    Text(Percent::ALL)
}

pub(super) fn connect_timeout() -> Text<Period> {
    Text(Period(Duration::from_secs(5)))
}

/// Above the five minutes that grpc-go and the gRPC core allow by default
/// (github.com/grpc/proposal, A8 and A9: more PINGs end in GOAWAY `too_many_pings`).
pub(super) fn keepalive() -> Text<Period> {
    Text(Period(Duration::from_secs(330)))
}

pub(super) fn keepalive_timeout() -> Text<Period> {
    Text(Period(Duration::from_secs(20)))
}

pub(super) fn schema_poll() -> Text<Period> {
    Text(Period(Duration::from_secs(30)))
}

pub(super) fn connections_max() -> Text<Count> {
    Text(Count(8))
}
