//! How a failure looks before anything of the reply was sent, in every tongue (PROTOCOLS §3).

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};

use super::{Dialect, accept, grpc};
use crate::{
    codec::Codec,
    status::{Status, decode_details},
};

/// Which error body a client of the HTTP dialects gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ErrorFormat {
    /// `google.rpc.Status` as JSON.
    #[default]
    RpcStatus,
    /// `application/problem+json` (RFC 9457).
    Problem,
}

impl ErrorFormat {
    pub fn of(headers: &HeaderMap) -> Self {
        if accept::wants_problem(headers) { Self::Problem } else { Self::RpcStatus }
    }
}

/// The whole answer to a call that failed before its reply began.
pub fn refuse(dialect: Dialect, format: ErrorFormat, status: &Status, codec: &Codec) -> Response<Bytes> {
    match dialect {
        Dialect::Grpc => grpc::refuse(status),
        Dialect::Json | Dialect::Ndjson | Dialect::Sse | Dialect::WebSocket => http_error(format, status, codec),
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
    };
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = status.http_status();
    let headers = response.headers_mut();
    headers.extend(status.headers().clone());
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::VARY, HeaderValue::from_static("accept"));
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
    details(status, codec, out);
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
    details(status, codec, out);
    out.push(b'}');
}

fn details(status: &Status, codec: &Codec, out: &mut Vec<u8>) {
    out.push(b'[');
    let details = status.details_bin().and_then(|bytes| decode_details(&bytes)).unwrap_or_default();
    for (index, any) in details.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        codec.any_to_json(&any.type_url, &any.value, out);
    }
    if let Some(seconds) = retry_after(status).filter(|_| !details.iter().any(|any| any.type_url.ends_with(RETRY_INFO)))
    {
        out.extend_from_slice(if details.is_empty() { b"" } else { b"," });
        out.extend_from_slice(b"{\"@type\":\"type.googleapis.com/google.rpc.RetryInfo\",\"retryDelay\":\"");
        out.extend_from_slice(itoa::Buffer::new().format(seconds).as_bytes());
        out.extend_from_slice(b"s\"}");
    }
    out.push(b']');
}

const RETRY_INFO: &str = "/google.rpc.RetryInfo";

fn string(text: &str, out: &mut Vec<u8>) {
    // Writing a string to a Vec cannot fail.
    let _ = serde_json::to_writer(out, text);
}
