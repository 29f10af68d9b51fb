//! What a configuration means once it is resolved: the plain types that the rest of the gateway is built from.

use std::{collections::BTreeMap, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use http::HeaderValue;

use crate::{
    coding::{Coding, Levels},
    limits::Limits,
};

/// Everything one gateway process is told. `PartialEq` so that a reload can tell what changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub listeners: Vec<Listener>,
    /// Address of the admin server; none: there is none.
    pub admin: Option<SocketAddr>,
    /// Worker threads, each with a runtime of its own; at least 1.
    pub workers: usize,
    pub upstreams: Vec<Upstream>,
    /// In order: the first that matches a method is its policy.
    pub routes: Vec<RouteRule>,
    pub cors: Cors,
    pub assets: Vec<StaticDir>,
    /// Where the gateways of a fleet keep what they share; none: there is no fleet.
    pub redis: Option<Redis>,
    pub limits: Limits,
    pub compression: Compression,
    /// `/-/openapi.json` is served.
    pub openapi: bool,
    /// Where many calls are made on one WebSocket or in one session; none: nowhere.
    pub mux: Option<Mux>,
    /// None: no tickets are given out, and none are taken.
    pub tickets: Option<Tickets>,
    pub services: Services,
    /// A record of every call; false: only of the faults of the gateway and of upstreams.
    pub access_log: bool,
}

/// Many calls on one WebSocket, or in one session over plain HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mux {
    pub path: String,
    /// What sessions are told is compressed, with a flush after each piece.
    pub compress_streams: bool,
}

impl Default for Mux {
    fn default() -> Self {
        Self { path: "/-/mux".to_owned(), compress_streams: false }
    }
}

/// Tickets that take the place of a token for one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tickets {
    /// Where they are given out.
    pub path: String,
    pub lifetime: Duration,
}

impl Default for Tickets {
    fn default() -> Self {
        Self { path: "/-/ticket".to_owned(), lifetime: Duration::from_secs(30) }
    }
}

/// One address on which clients are served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Port 0 lets the system choose.
    pub address: SocketAddr,
    /// None: HTTP/1.1 and h2c with prior knowledge.
    pub tls: Option<ServerTls>,
    /// Networks whose `x-forwarded-*` headers are believed.
    pub trusted_proxies: Vec<Cidr>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerTls {
    /// A certificate made at start for `localhost`, `127.0.0.1` and `::1`.
    Development,
    /// PEM files; the certificate is chosen by SNI, the first one where none fits.
    Files(Vec<CertificateFiles>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// PEM: the leaf first, then its chain.
    pub cert: PathBuf,
    /// PEM: PKCS#8, PKCS#1 or SEC1.
    pub key: PathBuf,
}

/// A set of endpoints that serve the same gRPC services.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    pub name: String,
    /// At least one.
    pub endpoints: Vec<EndpointUrl>,
    pub schema: SchemaSource,
    /// Files with HTTP rules (`google.api.Service` in YAML) that take the place of annotations.
    pub service_config: Vec<PathBuf>,
    /// Time between two looks at the schema that reflection tells.
    pub schema_poll: Duration,
    pub balance: Balance,
    pub tls: UpstreamTls,
    /// Longest time for a connection (TCP, TLS and the HTTP/2 preface) to open.
    pub connect_timeout: Duration,
    /// Time between keepalive PINGs on a connection with calls in flight.
    pub keepalive: Duration,
    /// Longest wait for a PING's answer before the connection is given up.
    pub keepalive_timeout: Duration,
    /// Most connections that one worker opens to one endpoint.
    pub connections_max: usize,
    /// Of messages to it; none: they are not compressed.
    pub compression: Option<Coding>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndpointUrl {
    /// `http://host:port`: HTTP/2 with prior knowledge. An IPv6 host stands without its brackets.
    Http { host: String, port: u16 },
    /// `https://host:port`: HTTP/2 over TLS, chosen by ALPN.
    Https { host: String, port: u16 },
    /// `unix:/path`: HTTP/2 with prior knowledge.
    Unix(PathBuf),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SchemaSource {
    /// Server reflection, v1 and then v1alpha.
    Reflection,
    /// A serialized `google.protobuf.FileDescriptorSet`.
    DescriptorSet(PathBuf),
    Protos {
        files: Vec<PathBuf>,
        includes: Vec<PathBuf>,
    },
    /// Serialized `FileDescriptorSet` compiled into the program (the demo's).
    Embedded(&'static [u8]),
    /// No schema: gRPC pass-through of the services named by prefix in `routes`.
    None,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    RoundRobin,
    #[default]
    LeastRequest,
}

/// How the server behind `https://` is verified.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpstreamTls {
    /// PEM file of trusted roots; none: the platform's.
    pub ca: Option<PathBuf>,
    /// Name to verify instead of the URL's host.
    pub server_name: Option<String>,
}

/// The policy of the methods that it matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteRule {
    pub matches: RouteMatch,
    pub policy: RoutePolicy,
}

/// All of it must be so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteMatch {
    /// None: every method.
    pub methods: Option<MethodMatch>,
    /// One of them is what the request asks for; none: any host.
    pub hosts: Vec<HostPattern>,
    /// Names in lower case, each with what one of its values must be.
    pub headers: Vec<(String, ValuePattern)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MethodMatch {
    /// `pkg.Service/Method`, or `pkg.Service/*`.
    Method(String),
    /// Every method whose `pkg.Service` begins so.
    ServicePrefix(String),
}

/// Hosts by name, in lower case and without a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostPattern {
    Exact(String),
    /// All names that end so, such as `.example.com`.
    Below(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValuePattern {
    Exact(String),
    /// Empty: any value.
    Prefix(String),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoutePolicy {
    /// Where the calls go, and in which proportion; none: to the upstream that has the method.
    pub upstreams: Vec<(String, u32)>,
    /// The request header, in lower case, that may name one of the upstreams.
    pub upstream_header: Option<String>,
    pub mirror: Option<Mirror>,
    pub timeout: Timeout,
    /// Request headers that pass beside PROTOCOLS §3's own, lower case.
    pub request_headers: Vec<String>,
    /// Response metadata that passes beside PROTOCOLS §3's own, lower case.
    pub response_headers: Vec<String>,
    pub output: OutputSettings,
    pub unknown_fields: UnknownFields,
    /// Of unary replies to GET for which the upstream sets none.
    pub cache_control: Option<HeaderValue>,
    /// `?access_token=` is accepted as a bearer token and never logged.
    pub query_token: bool,
    pub token_expiry: TokenExpiry,
    /// Streams are compressed too, with a flush after each piece.
    pub compress_streams: bool,
    pub sse: EventStream,
    /// Identical calls share a stream; none: each has its own.
    pub share: Option<Arc<Share>>,
    /// None: what is usual, which depends on whether the stream is shared.
    pub slow_reader: Option<SlowReader>,
}

/// What becomes of a client that takes the replies of a stream more slowly than they come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SlowReader {
    /// The upstream waits for it.
    Block,
    /// Beyond the bounds it loses what is oldest.
    DropOldest,
    /// It gets the newest message, whenever it takes one.
    Latest,
    /// Beyond the bounds it is cut off.
    Disconnect,
}

impl SlowReader {
    /// As the configuration has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Block => "block",
            Self::DropOldest => "drop_oldest",
            Self::Latest => "latest",
            Self::Disconnect => "disconnect",
        }
    }
}

/// What becomes of a stream when the bearer token that it was opened with expires.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum TokenExpiry {
    #[default]
    End,
    Ignore,
}

/// Which calls share an upstream stream, and what is kept of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Share {
    /// Most messages that a client that comes back is given again; at least 1.
    pub replay: usize,
    /// How long the stream goes on when nobody listens.
    pub linger: Duration,
    /// Request headers that must be the same, in lower case.
    pub key: Vec<String>,
    /// Credentials make no difference, and the upstream gets none.
    pub public: bool,
    /// With other gateways too, where there is a Redis.
    pub fleet: bool,
}

impl Default for Share {
    fn default() -> Self {
        Self { replay: 256, linger: Duration::from_secs(10), key: Vec::new(), public: false, fleet: true }
    }
}

/// The Redis of a fleet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redis {
    pub url: RedisUrl,
    /// Read for every connection.
    pub password_file: Option<PathBuf>,
    pub tls: UpstreamTls,
    /// Of all keys and channels.
    pub prefix: String,
    /// How long a gateway holds a stream of which it says nothing.
    pub lease: Duration,
    /// Of a connection's opening, and of each command.
    pub timeout: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RedisUrl {
    pub place: RedisPlace,
    pub user: Option<String>,
    pub database: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedisPlace {
    /// `redis://host:port`. An IPv6 host stands without its brackets.
    Tcp { host: String, port: u16 },
    /// `rediss://host:port`
    Tls { host: String, port: u16 },
    /// `unix:/path`
    Unix(PathBuf),
}

/// What Server-Sent Events bear beside their data, and how a stream of them goes on where it was broken off.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventStream {
    pub resume: Option<Resume>,
    /// The reply's field, or oneof, that names events.
    pub event: Option<String>,
    /// `?lastEventId=` is accepted in place of the header.
    pub query_event_id: bool,
}

/// Two fields by their paths: what the one told last, the other takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resume {
    /// Of the reply.
    pub event_id: String,
    /// Of the request.
    pub request: String,
}

/// Who gets copies of calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    pub upstream: String,
    /// How many of a million calls are copied; at least 1.
    pub per_million: u32,
}

impl Mirror {
    pub fn percent(&self) -> f64 {
        f64::from(self.per_million) / 10_000.0
    }
}

/// The longest that a call may last, whatever the client asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Timeout {
    /// `limits.unary_timeout` for unary calls, none for streams.
    #[default]
    Default,
    None,
    After(Duration),
}

/// What becomes of JSON fields, query parameters and names of enum values that the request message does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownFields {
    /// The request is refused.
    #[default]
    Reject,
    /// Left out, and told: in the reply, the access record and a metric.
    Observe,
    /// Left out.
    Ignore,
}

/// How replies are written as JSON, unless the request says otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputSettings {
    /// Write fields without presence that have their default value.
    pub defaults: bool,
    /// Enum values as numbers.
    pub enum_numbers: bool,
    /// Field names as in the proto file.
    pub proto_names: bool,
    /// 64-bit integers as JSON numbers where a double holds them exactly.
    pub int64_numbers: bool,
    pub pretty: bool,
}

/// Which origins' pages may call (WHATWG Fetch, CORS protocol; RFC 6455 §10.2 for WebSocket).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cors {
    /// `https://app.example.com`, or `*` for any (then without credentials).
    pub origins: Vec<String>,
    pub credentials: bool,
    pub max_age: Option<Duration>,
}

/// Which gRPC services the gateway has of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Services {
    /// `grpc.health.v1.Health`.
    pub health: bool,
    /// `grpc.reflection.v1.ServerReflection`, and the same of v1alpha.
    pub reflection: bool,
}

impl Default for Services {
    fn default() -> Self {
        Self { health: true, reflection: true }
    }
}

/// Files served as they are below a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticDir {
    /// URL path, beginning and ending in `/`.
    pub path: String,
    pub files: StaticFiles,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StaticFiles {
    /// Read once when the configuration is loaded.
    Dir(PathBuf),
    /// Relative path to contents, compiled into the program.
    Embedded(BTreeMap<&'static str, &'static [u8]>),
}

/// How replies are compressed for clients that accept it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compression {
    /// The preferred one first; none: replies are not compressed.
    pub algorithms: Vec<Coding>,
    /// Smallest body, and smallest message to an upstream or on a WebSocket, that is compressed.
    pub bytes_min: usize,
    pub levels: Levels,
    pub websocket: WebSocketCompression,
}

/// Whether messages on a WebSocket are compressed, both ways (RFC 7692), and what is kept for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WebSocketCompression {
    None,
    /// Each message by itself: a connection holds no compressor.
    #[default]
    Message,
    /// With what earlier messages said, which both sides keep.
    Connection,
}

impl Default for Compression {
    fn default() -> Self {
        Self {
            algorithms: vec![Coding::Zstd, Coding::Gzip, Coding::Brotli],
            bytes_min: 1 << 10,
            levels: Levels::default(),
            websocket: WebSocketCompression::default(),
        }
    }
}

/// A network in CIDR notation (RFC 4632 §3.1, RFC 4291 §2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    pub address: std::net::IpAddr,
    /// Bits of the prefix, at most 32 or 128.
    pub prefix: u8,
}
