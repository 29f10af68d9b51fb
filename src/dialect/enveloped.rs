//! What the dialects of gRPC's envelopes differ in: how a reply ends, whether it is text, and what the messages are in.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};

use super::{
    connect::{self, Form, MessageCodec},
    grpc, grpc_web, media_type,
};
use crate::{
    codec::Codec,
    status::{Code, Reason, Status},
};

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");

/// What stands round a caller's envelopes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// gRPC: HTTP trailers.
    Grpc,
    /// gRPC-Web: the trailers in an envelope; base64 each way where that was asked for.
    Web { sends_text: bool, takes_text: bool },
    /// Connect: the trailers in an envelope, as JSON.
    Connect(MessageCodec),
}

/// What a caller's messages are in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload {
    /// What the upstream takes: passes uncut.
    Own,
    Json,
}

/// What ends a reply.
#[derive(Debug)]
pub enum Ending {
    /// HTTP trailers.
    Trailers(HeaderMap),
    /// The last envelope of the body.
    Envelope(Bytes),
}

impl Framing {
    /// gRPC-Web, as the request's head says.
    pub fn web(headers: &HeaderMap) -> Self {
        Self::Web { sends_text: grpc_web::sends_text(headers), takes_text: grpc_web::takes_text(headers) }
    }

    /// Whether the caller sends base64.
    pub fn sends_text(self) -> bool {
        matches!(self, Self::Web { sends_text: true, .. })
    }

    /// Whether the caller takes base64.
    pub fn takes_text(self) -> bool {
        matches!(self, Self::Web { takes_text: true, .. })
    }

    /// Whether a stream of requests can be told.
    pub fn carries_requests(self) -> bool {
        match self {
            Self::Grpc | Self::Connect(_) => true,
            Self::Web { .. } => false,
        }
    }

    /// The reply's content type.
    pub fn reply_type(self, request: &HeaderMap) -> HeaderValue {
        match self {
            Self::Grpc => request.get(header::CONTENT_TYPE).cloned().unwrap_or(GRPC),
            Self::Web { takes_text, .. } => grpc_web::reply_type(takes_text, suffix(request)),
            Self::Connect(codec) => HeaderValue::from_static(Form::Stream(codec).content_type()),
        }
    }

    /// The reply's head, but for its content type: the upstream's metadata.
    pub fn reply_head(self, metadata: HeaderMap) -> HeaderMap {
        match self {
            Self::Grpc => metadata,
            Self::Web { .. } => grpc_web::reply_head(&metadata),
            Self::Connect(_) => connect::stream_head(&metadata),
        }
    }

    /// Whether the reply's end stands in its body, where it can be told only between two messages.
    pub fn ends_within(self) -> bool {
        match self {
            Self::Grpc => false,
            Self::Web { .. } | Self::Connect(_) => true,
        }
    }

    /// Ends a reply whose head is out: with the upstream's trailers, or the failure.
    pub fn end(self, outcome: Result<HeaderMap, Status>, codec: &Codec) -> Ending {
        if let Self::Connect(_) = self {
            return Ending::Envelope(match &outcome {
                Ok(trailers) => connect::end_stream(Ok(()), trailers, codec),
                Err(status) => connect::end_stream(Err(status), status.trailers(), codec),
            });
        }
        let trailers = match outcome {
            Ok(trailers) => grpc::trailers(Ok(()), trailers),
            Err(status) => grpc::trailers(Err(&status), status.trailers().clone()),
        };
        match self {
            Self::Web { .. } => Ending::Envelope(grpc_web::trailers(&trailers)),
            Self::Grpc | Self::Connect(_) => Ending::Trailers(trailers),
        }
    }
}

impl Payload {
    /// By the suffix of the content type. Where nothing is known of the messages, they are the upstream's concern.
    ///
    /// # Errors
    /// 415 for what is neither protobuf nor JSON.
    pub fn of(request: &HeaderMap, has_schema: bool) -> Result<Self, Status> {
        let suffix = suffix(request);
        match suffix {
            _ if !has_schema => Ok(Self::Own),
            "" => Ok(Self::Own),
            suffix if suffix.eq_ignore_ascii_case("+proto") => Ok(Self::Own),
            suffix if suffix.eq_ignore_ascii_case("+json") => Ok(Self::Json),
            suffix => Err(unsupported(suffix)),
        }
    }

    /// The content type of the upstream's request.
    pub fn upstream_type(self, framing: Framing, request: &HeaderMap) -> HeaderValue {
        match (self, framing) {
            (Self::Json, _) | (Self::Own, Framing::Connect(_)) => GRPC,
            (Self::Own, Framing::Grpc) => request.get(header::CONTENT_TYPE).cloned().unwrap_or(GRPC),
            (Self::Own, Framing::Web { .. }) => match suffix(request) {
                "" => GRPC,
                suffix => HeaderValue::from_str(&format!("application/grpc{suffix}")).unwrap_or(GRPC),
            },
        }
    }
}

/// `+json` of `application/grpc+json`.
fn suffix(headers: &HeaderMap) -> &str {
    let kind = media_type(headers, &header::CONTENT_TYPE).unwrap_or_default();
    kind.find('+').map_or("", |plus| &kind[plus..])
}

/// What gRPC's own servers answer to a content type that they do not take.
fn unsupported(suffix: &str) -> Status {
    Status::client(Code::InvalidArgument, format!("content-type: messages in {suffix} are not understood here"))
        .with_http(StatusCode::UNSUPPORTED_MEDIA_TYPE)
        .with_reason(Reason::UnsupportedMediaType)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEB: Framing = Framing::Web { sends_text: false, takes_text: false };

    fn head(content_type: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_str(content_type).unwrap())])
    }

    #[test]
    fn messages_are_known_by_their_suffix() {
        for (content_type, framing, payload, upstream) in [
            ("application/grpc", Framing::Grpc, Payload::Own, "application/grpc"),
            ("application/grpc+proto", Framing::Grpc, Payload::Own, "application/grpc+proto"),
            ("application/grpc+JSON;charset=utf-8", Framing::Grpc, Payload::Json, "application/grpc"),
            ("application/grpc-web", WEB, Payload::Own, "application/grpc"),
            ("application/grpc-web-text", WEB, Payload::Own, "application/grpc"),
            ("application/grpc-web-text+proto; a=b", WEB, Payload::Own, "application/grpc+proto"),
            ("application/grpc-web+json", WEB, Payload::Json, "application/grpc"),
        ] {
            let request = head(content_type);
            let of = Payload::of(&request, true).unwrap();
            assert_eq!((of, of.upstream_type(framing, &request)), (payload, HeaderValue::from_static(upstream)));
        }
    }

    #[test]
    fn unknown_messages_are_the_upstreams_concern_where_nothing_is_known_of_them() {
        for (content_type, framing, upstream) in [
            ("application/grpc+thrift", Framing::Grpc, "application/grpc+thrift"),
            ("application/grpc-web+thrift", WEB, "application/grpc+thrift"),
            ("application/grpc-web+json", WEB, "application/grpc+json"),
        ] {
            let request = head(content_type);
            assert_eq!(Payload::of(&request, false).unwrap(), Payload::Own);
            assert_eq!(Payload::Own.upstream_type(framing, &request), upstream);
        }
        let refused = Payload::of(&head("application/grpc+thrift"), true).unwrap_err();
        assert_eq!((refused.code(), refused.http_status().as_u16()), (Code::InvalidArgument, 415));
    }
}
