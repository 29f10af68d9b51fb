//! The Connect protocol (connectrpc.com/docs/protocol): which of its forms a request has, and what its heads say. Knows
//! nothing of how messages are carried.

mod end;
mod get;
mod metadata;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Response, StatusCode, Version, header, request::Parts};

pub use end::{end_stream, write_end};
pub use get::{Get, GetError};
pub(super) use metadata::is_own;
pub use metadata::{encodings, lead, stream_head, trail};

use super::{BodyKind, Dialect, accept, decode::is_utf8, is_safe, media_type};
use crate::{
    codec::Codec,
    status::{Code, Reason, Status},
};

const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("connect-protocol-version");
const ACCEPT_POST: HeaderName = HeaderName::from_static("accept-post");

/// How messages are written ("Message-Codec").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageCodec {
    Json,
    Proto,
}

/// What a request's head says of the messages that follow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One bare message there and one back.
    Unary(MessageCodec),
    /// Enveloped messages ("Streaming-Request").
    Stream(MessageCodec),
}

/// What a path names in the schema: Connect's plain forms go by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MethodKind {
    Unary,
    Streaming,
}

impl MessageCodec {
    /// What a bare message is.
    pub fn body(self) -> BodyKind {
        match self {
            Self::Json => BodyKind::Json,
            Self::Proto => BodyKind::Uncut,
        }
    }
}

impl Form {
    /// None for a codec that there is none of.
    pub fn of(head: &Parts) -> Option<Self> {
        if is_safe(&head.method) {
            return get::codec_of(head.uri.query().unwrap_or_default()).map(Self::Unary);
        }
        let sent = head.headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
        Some(match &*media_type(&head.headers, &header::CONTENT_TYPE)?.to_ascii_lowercase() {
            "application/json" if is_utf8(sent) => Self::Unary(MessageCodec::Json),
            "application/proto" => Self::Unary(MessageCodec::Proto),
            "application/connect+json" if is_utf8(sent) => Self::Stream(MessageCodec::Json),
            "application/connect+proto" => Self::Stream(MessageCodec::Proto),
            _ => return None,
        })
    }

    pub fn codec(self) -> MessageCodec {
        match self {
            Self::Unary(codec) | Self::Stream(codec) => codec,
        }
    }

    pub fn content_type(self) -> &'static str {
        match self {
            Self::Unary(MessageCodec::Json) => "application/json",
            Self::Unary(MessageCodec::Proto) => "application/proto",
            Self::Stream(MessageCodec::Json) => "application/connect+json",
            Self::Stream(MessageCodec::Proto) => "application/connect+proto",
        }
    }
}

/// Whether a request is Connect's; `kind_of` knows the methods' own paths.
pub(super) fn is_spoken(head: &Parts, kind_of: impl FnOnce(&str) -> Option<MethodKind>) -> bool {
    if head.headers.contains_key(PROTOCOL_VERSION) {
        return true;
    }
    let kind = media_type(&head.headers, &header::CONTENT_TYPE).unwrap_or_default();
    if is_streaming(kind) || kind.eq_ignore_ascii_case("application/proto") {
        return true;
    }
    match head.method {
        // Elsewhere a rule may have a parameter of that name.
        Method::GET | Method::HEAD => {
            head.uri.query().is_some_and(get::names_version) && kind_of(head.uri.path()).is_some()
        }
        Method::POST => {
            kind.eq_ignore_ascii_case("application/json")
                && accept::dialect(&head.headers) == Dialect::Json
                && !accept::wants_problem(&head.headers)
                && kind_of(head.uri.path()) == Some(MethodKind::Unary)
        }
        _ => false,
    }
}

/// Refuses what cannot be a request to a method of this kind, in the order in which other servers look.
///
/// # Errors
/// 505 for a bidirectional stream over HTTP/1.1; 415 for another content type than the method's; 400 for another version
/// of the protocol.
pub fn check(head: &Parts, client_streaming: bool, server_streaming: bool) -> Result<(), Status> {
    if client_streaming && server_streaming && head.version < Version::HTTP_2 {
        // Who expects to read while it still writes would wait for ever.
        let text = "a bidirectional stream needs HTTP/2";
        return Err(Status::client(Code::Unimplemented, text)
            .with_http(StatusCode::HTTP_VERSION_NOT_SUPPORTED)
            .with_reason(Reason::UnsupportedByDialect)
            .with_header(header::CONNECTION, HeaderValue::from_static("close")));
    }
    match (Form::of(head), client_streaming || server_streaming) {
        (Some(Form::Unary(_)), false) | (Some(Form::Stream(_)), true) => {}
        // Told by the parameter.
        (None, _) if is_safe(&head.method) => {}
        (_, streaming) => return Err(unsupported(streaming)),
    }
    match head.headers.get(PROTOCOL_VERSION) {
        Some(version) if version != "1" => {
            let what = "must be 1";
            Err(Status::client(Code::InvalidArgument, format!("header {PROTOCOL_VERSION}: {what}"))
                .with_reason(Reason::InvalidHeader)
                .with_violation(PROTOCOL_VERSION.as_str(), what))
        }
        _ => Ok(()),
    }
}

/// A method that no upstream has: who gets the status alone takes it for the same code.
pub fn unknown_method(path: &str) -> Status {
    Status::client(Code::Unimplemented, format!("no upstream has the method {path}"))
        .with_http(StatusCode::NOT_FOUND)
        .with_reason(Reason::RouteNotFound)
}

/// The whole answer to a call that failed before its reply began.
pub(super) fn refuse(head: &Parts, status: &Status, codec: &Codec) -> Response<Bytes> {
    let kind = media_type(&head.headers, &header::CONTENT_TYPE).unwrap_or_default();
    if is_safe(&head.method) || !is_streaming(kind) {
        return refuse_unary(status, codec);
    }
    let http = status.http_status();
    let is_protocol = matches!(
        http,
        StatusCode::METHOD_NOT_ALLOWED | StatusCode::UNSUPPORTED_MEDIA_TYPE | StatusCode::HTTP_VERSION_NOT_SUPPORTED
    );
    let mut response = Response::new(Bytes::new());
    let headers = response.headers_mut();
    headers.extend(status.headers().clone());
    match Form::of(head) {
        Some(form) if !is_protocol => {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(form.content_type()));
            *response.body_mut() = end_stream(Err(status), status.trailers(), codec);
        }
        // A status of 200 would be taken for success by who does not know the protocol.
        _ => *response.status_mut() = http,
    }
    response
}

fn refuse_unary(status: &Status, codec: &Codec) -> Response<Bytes> {
    let mut body = Vec::with_capacity(256);
    end::write_error(status, codec, &mut body);
    let mut response = super::refusal::http_answer(status, "application/json", body);
    lead(status.lead(), response.headers_mut());
    trail(status.trailers(), response.headers_mut());
    response
}

fn unsupported(streaming: bool) -> Status {
    let takes = match streaming {
        true => "application/connect+json, application/connect+proto",
        false => "application/json, application/proto",
    };
    Status::client(Code::InvalidArgument, format!("this method takes {takes}"))
        .with_http(StatusCode::UNSUPPORTED_MEDIA_TYPE)
        .with_reason(Reason::UnsupportedMediaType)
        .with_header(ACCEPT_POST, HeaderValue::from_static(takes))
}

fn is_streaming(media_type: &str) -> bool {
    const PREFIX: &str = "application/connect+";
    media_type.get(..PREFIX.len()).is_some_and(|prefix| prefix.eq_ignore_ascii_case(PREFIX))
}
