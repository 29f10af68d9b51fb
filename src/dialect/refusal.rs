//! How a failure looks before anything of the reply was sent, in every tongue (PROTOCOLS §3).

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header, request::Parts};
use prost_types::Any;

use super::{Dialect, Framing, accept, connect, grpc};
use crate::{
    codec::Codec,
    status::{Detail, Status, decode_details, encode_status},
};

/// Which error body a client of the HTTP dialects gets, whose form is free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum ErrorFormat {
    /// `google.rpc.Status` as JSON.
    #[default]
    RpcStatus,
    /// `application/problem+json` (RFC 9457).
    Problem,
    /// `google.rpc.Status` in protobuf, by this name.
    Protobuf(&'static str),
}

impl ErrorFormat {
    fn of(dialect: Dialect, head: &Parts) -> Self {
        match dialect {
            _ if accept::wants_problem(&head.headers) => Self::Problem,
            Dialect::Protobuf => Self::Protobuf(accept::media_type_of(dialect, &head.headers)),
            _ => Self::RpcStatus,
        }
    }
}

/// The whole answer to a call that failed before its reply began.
pub fn refuse(dialect: Dialect, head: &Parts, status: &Status, codec: &Codec) -> Response<Bytes> {
    match dialect {
        Dialect::Grpc => grpc::refuse(status, Framing::Grpc, &head.headers),
        Dialect::GrpcWeb => grpc::refuse(status, Framing::web(&head.headers), &head.headers),
        Dialect::Connect => connect::refuse(head, status, codec),
        Dialect::Json
        | Dialect::Ndjson
        | Dialect::JsonSeq
        | Dialect::Protobuf
        | Dialect::Sse
        | Dialect::WebSocket
        | Dialect::Mux => http_error(ErrorFormat::of(dialect, head), status, codec),
    }
}

fn http_error(format: ErrorFormat, status: &Status, codec: &Codec) -> Response<Bytes> {
    let mut body = Vec::with_capacity(256);
    let content_type = match format {
        ErrorFormat::RpcStatus => {
            error_json(status, codec, &mut body);
            "application/json"
        }
        ErrorFormat::Problem => {
            problem_json(status, codec, &mut body);
            "application/problem+json"
        }
        ErrorFormat::Protobuf(name) => {
            body.extend_from_slice(&encode_status(status.code(), status.message(), details(status)));
            name
        }
    };
    http_answer(status, content_type, body)
}

/// The answer that a failure's HTTP status asks for.
pub(super) fn http_answer(status: &Status, content_type: &'static str, body: Vec<u8>) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status.http_status();
    let headers = response.headers_mut();
    headers.extend(status.headers().clone());
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::VARY, accept::VARY);
    if let Some(delay) = retry_after(status) {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(delay));
    }
    if status.http_status() == StatusCode::UNAUTHORIZED && !headers.contains_key(header::WWW_AUTHENTICATE) {
        // RFC 9110 §15.5.2: a 401 names a challenge.
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// Seconds for `Retry-After`, rounded up: always with 429 and 503.
fn retry_after(status: &Status) -> Option<u64> {
    const DEFAULT_SECONDS: u64 = 1;
    let told = status.retry_after().map(|delay| delay.as_secs() + u64::from(delay.subsec_nanos() > 0));
    let expected = matches!(status.http_status(), StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
    told.or(expected.then_some(DEFAULT_SECONDS))
}

/// `{"code":5,"message":"…","details":[…]}`.
pub fn error_json(status: &Status, codec: &Codec, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"code\":");
    out.extend_from_slice(itoa::Buffer::new().format(status.code().number()).as_bytes());
    out.extend_from_slice(b",\"message\":");
    string(status.message(), out);
    out.extend_from_slice(b",\"details\":");
    details_json(status, codec, out);
    out.push(b'}');
}

fn problem_json(status: &Status, codec: &Codec, out: &mut Vec<u8>) {
    let http = status.http_status();
    out.extend_from_slice(b"{\"type\":\"about:blank\",\"title\":");
    string(http.canonical_reason().unwrap_or(status.code().name()), out);
    out.extend_from_slice(b",\"status\":");
    out.extend_from_slice(itoa::Buffer::new().format(http.as_u16()).as_bytes());
    out.extend_from_slice(b",\"detail\":");
    string(status.message(), out);
    out.extend_from_slice(b",\"code\":");
    string(status.code().name(), out);
    out.extend_from_slice(b",\"details\":");
    details_json(status, codec, out);
    out.push(b'}');
}

/// What is told of a failure beside its code and text: with `Retry-After` always `google.rpc.RetryInfo`.
pub(super) fn details(status: &Status) -> Vec<Any> {
    let mut details = status.details_bin().and_then(|bytes| decode_details(&bytes)).unwrap_or_default();
    if let Some(seconds) = retry_after(status).filter(|_| !details.iter().any(|any| any.type_url.ends_with(RETRY_INFO)))
    {
        details.push(Detail::RetryInfo(Duration::from_secs(seconds)).to_any());
    }
    details
}

fn details_json(status: &Status, codec: &Codec, out: &mut Vec<u8>) {
    out.push(b'[');
    for (index, any) in details(status).iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        codec.any_to_json(&any.type_url, &any.value, out);
    }
    out.push(b']');
}

const RETRY_INFO: &str = "/google.rpc.RetryInfo";

pub(super) fn string(text: &str, out: &mut Vec<u8>) {
    // Writing a string to a Vec cannot fail.
    let _ = serde_json::to_writer(out, text);
}

#[cfg(test)]
mod tests {
    use buffa_descriptor::DescriptorPool;

    use super::*;
    use crate::status::{Code, Reason};

    fn refused(dialect: Dialect, accept: &'static str, status: &Status) -> Response<Bytes> {
        let set: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/test.binpb"));
        let codec = Codec::compile(&DescriptorPool::decode(set).unwrap());
        let request = http::Request::builder().header(header::ACCEPT, accept).body(()).unwrap();
        refuse(dialect, &request.into_parts().0, status, &codec)
    }

    #[test]
    fn who_takes_protobuf_is_refused_in_protobuf() {
        let status = Status::gateway(Code::Unavailable, "busy").with_reason(Reason::Overloaded);
        let answer = refused(Dialect::Protobuf, "application/protobuf", &status);
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(answer.headers()[header::CONTENT_TYPE], "application/protobuf");
        assert_eq!(answer.headers()[header::RETRY_AFTER], "1");
        assert!(answer.body().starts_with(b"\x08\x0e\x12\x04busy"), "{answer:?}");
        let details = decode_details(answer.body()).unwrap();
        let types: Vec<_> = details.iter().map(|any| any.type_url.rsplit('/').next().unwrap()).collect();
        assert_eq!(types, ["google.rpc.ErrorInfo", "google.rpc.RetryInfo"]);
    }

    #[test]
    fn an_error_comes_in_the_tongue_of_the_call_unless_a_problem_is_asked_for() {
        let status = Status::client(Code::NotFound, "no");
        for (dialect, accept, expected) in [
            (Dialect::Protobuf, "application/x-protobuf", "application/x-protobuf"),
            (Dialect::Protobuf, "application/x-protobuf, application/problem+json", "application/problem+json"),
            (Dialect::Protobuf, "application/x-protobuf, application/json", "application/x-protobuf"),
            (Dialect::JsonSeq, "application/json-seq", "application/json"),
            (Dialect::Json, "application/problem+json", "application/problem+json"),
        ] {
            assert_eq!(refused(dialect, accept, &status).headers()[header::CONTENT_TYPE], expected, "{accept}");
        }
    }
}
