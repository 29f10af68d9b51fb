//! What HTTP/1.1 asks of a request's head and the HTTP library lets pass. Where we and a proxy in front could read a
//! request differently, neither reading is taken.

use h2::ext::Protocol;
use http::{HeaderName, HeaderValue, StatusCode, Version, header, request::Parts};

use crate::status::{Code, Reason, Status};

/// One host, one type of body, one deadline, no transfer coding but `chunked`, and no protocol within but WebSocket.
///
/// # Errors
/// 400 for the host (RFC 9112 §3.2) and for what must not be there twice (RFC 9110 §5.3), 501 for the coding
/// (RFC 9112 §6.1) and for the protocol.
pub fn check_head(head: &Parts) -> Result<(), Status> {
    if head.version == Version::HTTP_11 && !head.headers.contains_key(header::HOST) {
        return Err(invalid(&header::HOST, "must be there"));
    }
    // Where there are as many names as lines, none is there twice.
    if head.headers.len() > head.headers.keys_len() {
        for name in &ONCE {
            if head.headers.get_all(name).iter().nth(1).is_some() {
                return Err(invalid(name, "must be there once"));
            }
        }
    }
    // In HTTP/2 there are none (RFC 9113 §8.2.2).
    if head.version < Version::HTTP_2 { check_coding(head) } else { check_protocol(head) }
}

/// Extended CONNECT asks for a protocol by name (RFC 8441 §4); one that is not known is 501 (RFC 9220 §3).
fn check_protocol(head: &Parts) -> Result<(), Status> {
    if head.extensions.get().is_none_or(|protocol: &Protocol| protocol.as_str() == "websocket") {
        return Ok(());
    }
    let what = "only `websocket` is known";
    Err(Status::client(Code::Unimplemented, format!("header :protocol: {what}"))
        .with_http(StatusCode::NOT_IMPLEMENTED)
        .with_reason(Reason::InvalidHeader)
        .with_violation(":protocol", what))
}

const ONCE: [HeaderName; 6] = [
    header::HOST,
    header::CONTENT_TYPE,
    HeaderName::from_static("grpc-timeout"),
    HeaderName::from_static("x-request-timeout"),
    HeaderName::from_static("connect-timeout-ms"),
    HeaderName::from_static("connect-protocol-version"),
];

fn invalid(name: &HeaderName, what: &'static str) -> Status {
    Status::client(Code::InvalidArgument, format!("header {name}: {what}"))
        .with_reason(Reason::InvalidHeader)
        .with_violation(name.as_str(), what)
}

fn check_coding(head: &Parts) -> Result<(), Status> {
    let mut codings = head.headers.get_all(header::TRANSFER_ENCODING).iter().map(HeaderValue::as_bytes);
    if codings.all(|coding| coding.trim_ascii().eq_ignore_ascii_case(b"chunked")) {
        return Ok(());
    }
    let what = "only `chunked` is understood";
    Err(Status::client(Code::Unimplemented, format!("header transfer-encoding: {what}"))
        .with_http(StatusCode::NOT_IMPLEMENTED)
        .with_reason(Reason::InvalidHeader)
        .with_violation("transfer-encoding", what))
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    #[test]
    fn heads_that_can_be_read_in_two_ways_are_refused() {
        for (version, headers, expected) in [
            (Version::HTTP_11, &[("host", "a")][..], None),
            (Version::HTTP_11, &[], Some("header host: must be there")),
            (Version::HTTP_11, &[("host", "a"), ("host", "b")], Some("header host: must be there once")),
            (
                Version::HTTP_2,
                &[("content-type", "text/plain"), ("content-type", "application/json")],
                Some("header content-type: must be there once"),
            ),
            (
                Version::HTTP_2,
                &[("grpc-timeout", "1S"), ("grpc-timeout", "9S")],
                Some("header grpc-timeout: must be there once"),
            ),
            (Version::HTTP_10, &[], None),
            (Version::HTTP_2, &[], None),
            (Version::HTTP_11, &[("host", "a"), ("transfer-encoding", "Chunked")], None),
            (
                Version::HTTP_11,
                &[("host", "a"), ("transfer-encoding", "gzip, chunked")],
                Some("header transfer-encoding: only `chunked` is understood"),
            ),
            (
                Version::HTTP_11,
                &[("host", "a"), ("transfer-encoding", "gzip"), ("transfer-encoding", "chunked")],
                Some("header transfer-encoding: only `chunked` is understood"),
            ),
        ] {
            let mut request = Request::builder().version(version);
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let (head, ()) = request.body(()).unwrap().into_parts();
            let refused = check_head(&head).err();
            assert_eq!(refused.as_ref().map(Status::message), expected, "{version:?} {headers:?}");
        }
    }
}
