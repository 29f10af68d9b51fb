//! gRPC over HTTP/2: passed through, so only heads and ends are told here
//! (github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md).

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version, header, request::Parts};

use super::Framing;
use crate::{
    status::{Code, Reason, Status},
    wire::metadata,
};

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const GRPC_STATUS_DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");

/// `application/grpc` and its suffixes, but not gRPC-Web.
pub fn is_content_type(media_type: &str) -> bool {
    const NAME: &str = "application/grpc";
    let (Some(name), Some(rest)) = (media_type.get(..NAME.len()), media_type.get(NAME.len()..)) else { return false };
    name.eq_ignore_ascii_case(NAME) && (rest.is_empty() || rest.starts_with('+'))
}

/// Refuses what cannot be a gRPC request.
///
/// # Errors
/// Anything but POST over HTTP/2.
pub fn check(head: &Parts) -> Result<(), Status> {
    if head.version != Version::HTTP_2 {
        return Err(Status::client(Code::Internal, "gRPC needs HTTP/2")
            .with_http(StatusCode::HTTP_VERSION_NOT_SUPPORTED)
            .with_reason(Reason::InvalidHeader));
    }
    if head.method == Method::POST { Ok(()) } else { Err(no_post()) }
}

pub(super) fn no_post() -> Status {
    Status::client(Code::Internal, "a gRPC request is a POST")
        .with_http(StatusCode::METHOD_NOT_ALLOWED)
        .with_header(header::ALLOW, HeaderValue::from_static("POST"))
        .with_reason(Reason::MethodNotAllowed)
}

/// A trailers-only answer. What is no gRPC request at all gets the HTTP status that gRPC's own servers have for it, so
/// that whoever sent it by mistake sees it too; to a gRPC client `grpc-status` comes first.
pub(super) fn refuse(status: &Status, framing: Framing, request: &HeaderMap) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.headers_mut() = trailers(Err(status), framing.reply_head(status.trailers().clone()));
    response.headers_mut().insert(header::CONTENT_TYPE, framing.reply_type(request));
    let is_no_grpc = |http: &StatusCode| {
        matches!(
            *http,
            StatusCode::METHOD_NOT_ALLOWED
                | StatusCode::UNSUPPORTED_MEDIA_TYPE
                | StatusCode::HTTP_VERSION_NOT_SUPPORTED
        )
    };
    if let Some(http) = Some(status.http_status()).filter(is_no_grpc) {
        *response.status_mut() = http;
        response.headers_mut().extend(status.headers().clone());
    }
    response
}

/// The trailers that end a call: its status on top of the upstream's metadata.
pub fn trailers(outcome: Result<(), &Status>, mut metadata: HeaderMap) -> HeaderMap {
    let Err(status) = outcome else {
        metadata.insert(GRPC_STATUS, HeaderValue::from_static("0"));
        return metadata;
    };
    metadata.insert(GRPC_STATUS, HeaderValue::from(u16::from(status.code().number())));
    if !status.message().is_empty() {
        metadata.insert(GRPC_MESSAGE, metadata::encode_message(status.message()));
    }
    if let Some(details) = status.details_bin() {
        metadata.insert(GRPC_STATUS_DETAILS, metadata::encode_binary(&details));
    }
    metadata
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grpc_content_types_are_told_from_grpc_web() {
        for (kind, expected) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("Application/gRPC+json", true),
            ("application/grpc-web", false),
            ("application/grpc-web+proto", false),
            ("application/json", false),
            ("", false),
        ] {
            assert_eq!(is_content_type(kind), expected, "{kind}");
        }
    }

    #[test]
    fn a_refusal_is_trailers_only() {
        let status = Status::client(Code::NotFound, "no such café").with_reason(Reason::RouteNotFound);
        let request = [(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc+proto"))];
        let response = refuse(&status, Framing::Grpc, &HeaderMap::from_iter(request));
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "application/grpc+proto");
        assert_eq!(response.headers()["grpc-status"], "5");
        assert_eq!(response.headers()["grpc-message"], "no such caf%C3%A9");
        assert!(response.headers().contains_key("grpc-status-details-bin"));
    }
}
