//! gRPC over HTTP/2: passed through, so only heads and ends are told here
//! (github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md).

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, Version, header, request::Parts};

use crate::{
    status::{Code, Reason, Status},
    wire::metadata,
};

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const GRPC_STATUS_DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");
const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/grpc");

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
    let wrong = |text| Err(Status::client(Code::Internal, text).with_reason(Reason::InvalidHeader));
    if head.version != Version::HTTP_2 {
        return wrong("gRPC needs HTTP/2");
    }
    if head.method != Method::POST {
        return wrong("a gRPC request is a POST");
    }
    Ok(())
}

/// A trailers-only answer.
pub fn refuse(status: &Status) -> Response<Bytes> {
    let mut response = Response::new(Bytes::new());
    *response.status_mut() = StatusCode::OK;
    *response.headers_mut() = trailers(Err(status), status.trailers().clone());
    response.headers_mut().insert(header::CONTENT_TYPE, CONTENT_TYPE);
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
        let response = refuse(&status);
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["grpc-status"], "5");
        assert_eq!(response.headers()["grpc-message"], "no such caf%C3%A9");
        assert!(response.headers().contains_key("grpc-status-details-bin"));
    }
}
