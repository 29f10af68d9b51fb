//! What a failed call looks like: HTTP/2 errors and gRPC trailers → one [`Status`]. Pure functions.

use h2::Reason as Reset;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::{
    coding::InflateError,
    status::{Code, Reason, Status},
    wire::{
        EnvelopeError, MessageError,
        metadata::{decode_binary, decode_message, is_encoding, is_reserved},
    },
};

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const GRPC_DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");

pub(super) fn deadline_exceeded() -> Status {
    Status::gateway(Code::DeadlineExceeded, "the call's deadline passed before the upstream ended it")
        .with_reason(Reason::DeadlineExceeded)
}

/// The upstream breaks gRPC or HTTP/2; the text says how.
pub(super) fn protocol(code: Code, text: impl Into<std::borrow::Cow<'static, str>>) -> Status {
    Status::upstream(code, text).with_reason(Reason::UpstreamProtocol)
}

/// The upstream's messages are not what they should be.
pub fn bad_message(error: MessageError) -> Status {
    let too_large =
        |text: String| Status::upstream(Code::ResourceExhausted, text).with_reason(Reason::UpstreamMessageTooLarge);
    match error {
        MessageError::Envelope(EnvelopeError::TooLarge { len, max }) => {
            too_large(format!("the upstream's message of {len} bytes is larger than the limit of {max} bytes"))
        }
        MessageError::Inflate(InflateError::TooLarge { max }) => {
            too_large(format!("the upstream's message inflates to more than the limit of {max} bytes"))
        }
        MessageError::Envelope(EnvelopeError::Flags(flags)) => {
            let text = format!("the upstream's message has the flags {flags:#04x}, but no compression was agreed on");
            protocol(Code::Internal, text)
        }
        MessageError::Envelope(EnvelopeError::Truncated) => {
            protocol(Code::Internal, "the upstream's reply ends within a message")
        }
        MessageError::Encoding(name) => {
            protocol(Code::Internal, format!("the upstream's message is compressed in an unknown encoding: {name:?}"))
        }
        MessageError::Inflate(error) => {
            protocol(Code::Internal, "the upstream's message is not compressed as it says").with_cause(error)
        }
    }
}

/// True where the peer says that it never processed the stream, so that the call may be sent again
/// (RFC 9113 §8.7; gRPC retry design, "Transparent Retries").
pub(super) fn is_unprocessed(error: &h2::Error) -> bool {
    error.is_remote() && (error.is_go_away() || error.reason() == Some(Reset::REFUSED_STREAM))
}

/// The failure of a stream (gRPC over HTTP/2, "Errors").
pub(super) fn stream(error: h2::Error) -> Status {
    let status = match error.reason() {
        Some(reason) if error.is_reset() && error.is_remote() => reset(reason),
        _ if error.is_reset() => protocol(Code::Internal, "the upstream's answer breaks HTTP/2"),
        _ if error.is_go_away() || error.is_io() => {
            Status::upstream(Code::Unavailable, "the connection to the upstream was lost")
                .with_reason(Reason::UpstreamUnavailable)
        }
        _ => Status::gateway(Code::Internal, "the call could not be carried over HTTP/2").with_reason(Reason::Internal),
    };
    status.with_cause(error)
}

fn reset(reason: Reset) -> Status {
    let text = format!("the upstream reset the stream ({reason:?})");
    match reason {
        Reset::REFUSED_STREAM => Status::upstream(Code::Unavailable, text).with_reason(Reason::UpstreamUnavailable),
        Reset::CANCEL => Status::upstream(Code::Cancelled, text),
        Reset::ENHANCE_YOUR_CALM => Status::upstream(Code::ResourceExhausted, text),
        Reset::INADEQUATE_SECURITY => Status::upstream(Code::PermissionDenied, text),
        _ => protocol(Code::Internal, text),
    }
}

/// The end that a response's head already tells: an answer that is not gRPC, or one of trailers only. None: the body
/// follows.
pub(super) fn early_end(status: StatusCode, headers: &mut HeaderMap, ended: bool) -> Option<Result<HeaderMap, Status>> {
    let grpc = headers.get(http::header::CONTENT_TYPE).is_some_and(is_grpc);
    let has_status = headers.contains_key(GRPC_STATUS);
    if has_status && (ended || headers.get(GRPC_STATUS).is_some_and(|value| value != "0")) {
        return Some(end(std::mem::take(headers)));
    }
    if status != StatusCode::OK {
        return Some(Err(not_grpc(status)));
    }
    if !grpc {
        let text = "the upstream answered with a content-type that is not gRPC's";
        return Some(Err(protocol(Code::from_http(status), text)));
    }
    ended.then(|| Err(protocol(Code::Internal, "the upstream ended the call without a grpc-status")))
}

fn not_grpc(status: StatusCode) -> Status {
    let text = format!("the upstream answered HTTP {} instead of gRPC", status.as_u16());
    match Code::from_http(status) {
        Code::Unavailable => Status::upstream(Code::Unavailable, text).with_reason(Reason::UpstreamUnavailable),
        code => protocol(code, text),
    }
}

/// `application/grpc`, with a subtype or parameters (gRPC over HTTP/2, "Content-Type"); not `application/grpc-web`.
fn is_grpc(value: &HeaderValue) -> bool {
    let rest = value.as_bytes().strip_prefix(b"application/grpc");
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';' | b' ')))
}

/// The end of a call from its trailers.
pub(super) fn end(mut trailers: HeaderMap) -> Result<HeaderMap, Status> {
    let code = trailers.remove(GRPC_STATUS);
    if code.as_ref().is_some_and(|value| value == "0") {
        strip_reserved(&mut trailers);
        return Ok(trailers);
    }
    let message = trailers.remove(GRPC_MESSAGE);
    let details = trailers.remove(GRPC_DETAILS).and_then(|value| decode_binary(value.as_bytes()));
    strip_reserved(&mut trailers);
    let status = match code.as_ref().map(parse_code) {
        Some(Some(Code::Ok)) => return Ok(trailers),
        Some(Some(code)) => {
            Status::upstream(code, message.map(|value| decode_message(value.as_bytes())).unwrap_or_default())
        }
        Some(None) => protocol(Code::Unknown, "the upstream ended the call with a grpc-status that is no number"),
        None => protocol(Code::Unknown, "the upstream ended the call without a grpc-status"),
    };
    Err(status.with_trailers(trailers, details))
}

fn parse_code(value: &HeaderValue) -> Option<Code> {
    let digits = value.to_str().ok().filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits.parse().ok().map(Code::from_number)
}

/// Leaves only what is metadata, and what says how messages are compressed: a gRPC client gets them as they are.
pub(super) fn strip_reserved(headers: &mut HeaderMap) {
    while let Some(name) = headers.keys().find(|name| is_reserved(name) && !is_encoding(name)).cloned() {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn resets_have_the_codes_of_the_grpc_table() {
        for (reason, code) in [
            (Reset::NO_ERROR, Code::Internal),
            (Reset::PROTOCOL_ERROR, Code::Internal),
            (Reset::INTERNAL_ERROR, Code::Internal),
            (Reset::FLOW_CONTROL_ERROR, Code::Internal),
            (Reset::SETTINGS_TIMEOUT, Code::Internal),
            (Reset::STREAM_CLOSED, Code::Internal),
            (Reset::FRAME_SIZE_ERROR, Code::Internal),
            (Reset::REFUSED_STREAM, Code::Unavailable),
            (Reset::CANCEL, Code::Cancelled),
            (Reset::COMPRESSION_ERROR, Code::Internal),
            (Reset::CONNECT_ERROR, Code::Internal),
            (Reset::ENHANCE_YOUR_CALM, Code::ResourceExhausted),
            (Reset::INADEQUATE_SECURITY, Code::PermissionDenied),
            (Reset::HTTP_1_1_REQUIRED, Code::Internal),
        ] {
            assert_eq!(reset(reason).code(), code, "{reason:?}");
        }
    }

    #[test]
    fn a_status_is_read_from_trailers() {
        for (value, code) in [("5", Code::NotFound), ("16", Code::Unauthenticated), ("99", Code::Unknown)] {
            let trailers = map(&[("grpc-status", value), ("grpc-message", "a%20b"), ("x-kept", "1"), ("grpc-x", "2")]);
            let status = end(trailers).unwrap_err();
            assert_eq!((status.code(), status.message(), status.reason()), (code, "a b", None));
            assert_eq!(status.trailers(), &map(&[("x-kept", "1")]));
        }
        assert_eq!(end(map(&[("grpc-status", "0"), ("x-kept", "1")])).unwrap(), map(&[("x-kept", "1")]));
        assert_eq!(end(map(&[("grpc-status", "00")])).unwrap(), HeaderMap::new());
    }

    #[test]
    fn a_status_that_is_none_is_the_upstreams_fault() {
        for value in ["", "-1", "OK", "+5", "99999999999"] {
            let status = end(map(&[("grpc-status", value)])).unwrap_err();
            assert_eq!((status.code(), status.reason()), (Code::Unknown, Some(Reason::UpstreamProtocol)), "{value:?}");
        }
        assert_eq!(end(HeaderMap::new()).unwrap_err().reason(), Some(Reason::UpstreamProtocol));
    }

    #[test]
    fn content_types_of_grpc_are_known() {
        for (value, expected) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc;charset=utf-8", true),
            ("application/grpc-web", false),
            ("application/grpcx", false),
            ("text/html", false),
        ] {
            assert_eq!(is_grpc(&HeaderValue::from_static(value)), expected, "{value}");
        }
    }
}
