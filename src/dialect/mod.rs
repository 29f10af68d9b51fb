//! One file per tongue: bytes ↔ messages, head ↔ HTTP; pure. Knows nothing of upstreams, sockets, clocks and TLS.

mod accept;
pub mod connect;
mod decode;
mod encode;
mod enveloped;
mod form;
pub mod grpc;
pub mod grpc_web;
mod json;
pub mod multipart;
pub mod mux;
mod ndjson;
mod refusal;
pub mod sse;
pub mod websocket;

use http::{HeaderMap, Method, header, request::Parts};

pub use accept::{VARY, output_settings, sends_protobuf};
pub use connect::MethodKind;
pub use decode::{BodyKind, DecodeError, Piece, RequestDecoder};
pub use encode::{End, ReplyEncoder};
pub use enveloped::{Ending, Framing, Payload};
pub use form::{FormError, FormReader};
pub use refusal::{error_json, refuse};
pub use sse::Retry;

/// The language that a caller speaks. Closed: a new one is matched everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// REST transcoding: JSON there and back.
    Json,
    /// One JSON object a line.
    Ndjson,
    /// The same in the framing of RFC 7464.
    JsonSeq,
    /// Protobuf on the paths of REST.
    Protobuf,
    /// Server-Sent Events (WHATWG HTML §9.2).
    Sse,
    /// One call per WebSocket (RFC 6455).
    WebSocket,
    /// Many calls on one WebSocket or in one session over plain HTTP, and each of them.
    Mux,
    /// The Connect protocol: unary calls, GET, and enveloped streams.
    Connect,
    /// gRPC over HTTP/2, passed through.
    Grpc,
    /// gRPC's envelopes over any HTTP.
    GrpcWeb,
}

impl Dialect {
    pub const ALL: [Self; 10] = [
        Self::Json,
        Self::Ndjson,
        Self::JsonSeq,
        Self::Protobuf,
        Self::Sse,
        Self::WebSocket,
        Self::Mux,
        Self::Connect,
        Self::Grpc,
        Self::GrpcWeb,
    ];

    /// Decides from the request's head alone, before anything else can fail, so that every refusal is told in the
    /// caller's own tongue. `kind_of` knows the methods' own paths, by which plain JSON is told from Connect's.
    pub fn classify(head: &Parts, kind_of: impl FnOnce(&str) -> Option<MethodKind>) -> Self {
        if websocket::is_asked_for(head) {
            return Self::WebSocket;
        }
        match media_type(&head.headers, &header::CONTENT_TYPE) {
            Some(kind) if grpc::is_content_type(kind) => Self::Grpc,
            Some(kind) if grpc_web::is_content_type(kind) => Self::GrpcWeb,
            _ if connect::is_spoken(head, kind_of) => Self::Connect,
            _ => accept::dialect(&head.headers),
        }
    }

    /// Whether it is gRPC, over whatever HTTP.
    pub fn is_grpc(self) -> bool {
        matches!(self, Self::Grpc | Self::GrpcWeb)
    }

    /// Whether it is the tongue of generated clients, in which all metadata is told.
    pub fn is_rpc(self) -> bool {
        self.is_grpc() || self == Self::Connect
    }

    /// Whether it is told by `Accept` and `Content-Type` alone.
    pub fn is_plain(self) -> bool {
        match self {
            Self::Json | Self::Ndjson | Self::JsonSeq | Self::Protobuf | Self::Sse => true,
            Self::WebSocket | Self::Mux | Self::Connect | Self::Grpc | Self::GrpcWeb => false,
        }
    }

    /// Whether its bodies may be in a content coding of HTTP (RFC 9110 §8.4); the others compress messages, if anything.
    pub fn codes_bodies(self) -> bool {
        match self {
            Self::Json | Self::Ndjson | Self::JsonSeq | Self::Protobuf | Self::Sse | Self::Mux | Self::Connect => true,
            Self::WebSocket | Self::Grpc | Self::GrpcWeb => false,
        }
    }

    /// As metrics and access records name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Ndjson => "ndjson",
            Self::JsonSeq => "json-seq",
            Self::Protobuf => "protobuf",
            Self::Sse => "sse",
            Self::WebSocket => "websocket",
            Self::Mux => "mux",
            Self::Connect => "connect",
            Self::Grpc => "grpc",
            Self::GrpcWeb => "grpc-web",
        }
    }

    /// Whether a method of this kind can be told in it at all (PROTOCOLS §1).
    pub fn carries(self, client_streaming: bool, server_streaming: bool) -> bool {
        match self {
            // EventSource sends one request and no body.
            Self::Sse => !client_streaming,
            // What streams up alone may be one message; a dialogue is none.
            Self::GrpcWeb => !(client_streaming && server_streaming),
            Self::Json
            | Self::Ndjson
            | Self::JsonSeq
            | Self::Protobuf
            | Self::WebSocket
            | Self::Mux
            | Self::Connect
            | Self::Grpc => true,
        }
    }
}

/// The media type of a header, without its parameters, as it stands; none where it is absent or not ASCII.
pub fn media_type<'h>(headers: &'h HeaderMap, name: &header::HeaderName) -> Option<&'h str> {
    let value = headers.get(name)?.to_str().ok()?;
    Some(value.find(';').map_or(value, |end| &value[..end]).trim_ascii())
}

/// Whether a request of this method may have come about by following a link or showing a picture.
pub fn is_safe(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}
