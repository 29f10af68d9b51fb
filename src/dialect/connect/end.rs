//! How a call ends in Connect: an `Error`, and the `EndStreamResponse` that is the last envelope of every stream. Both are
//! JSON, whatever the messages are.

use bytes::Bytes;
use http::{HeaderMap, HeaderName};

use super::metadata::is_own;
use crate::{
    codec::Codec,
    config::OutputSettings,
    dialect::refusal::{details, string},
    status::Status,
    wire::{close_envelope, open_envelope},
};

/// The flag of an envelope that is no message but the stream's end.
const END_STREAM: u8 = 0x02;

/// `{"code":"not_found","message":"…","details":[{"type":…,"value":…,"debug":…}]}`.
pub(super) fn write_error(status: &Status, codec: &Codec, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"code\":");
    string(status.code().connect_name(), out);
    if !status.message().is_empty() {
        out.extend_from_slice(b",\"message\":");
        string(status.message(), out);
    }
    let mut mark: &[u8] = b",\"details\":[";
    for any in details(status) {
        out.extend_from_slice(mark);
        write_detail(&any, codec, out);
        mark = b",";
    }
    if mark == b"," {
        out.push(b']');
    }
    out.push(b'}');
}

fn write_detail(any: &prost_types::Any, codec: &Codec, out: &mut Vec<u8>) {
    let name = any.type_url.rsplit('/').next().unwrap_or_default();
    out.extend_from_slice(b"{\"type\":");
    string(name, out);
    out.extend_from_slice(b",\"value\":");
    string(&base64_simd::STANDARD_NO_PAD.encode_to_string(&any.value), out);
    // For people who read it; no client may depend on it.
    let before = out.len();
    out.extend_from_slice(b",\"debug\":");
    let plan = codec.plan_by_name(name);
    let written = plan.is_some_and(|plan| codec.wire_to_json(plan, &any.value, OutputSettings::default(), out).is_ok());
    if !written {
        out.truncate(before);
    }
    out.push(b'}');
}

/// The last envelope of a stream.
pub fn end_stream(outcome: Result<(), &Status>, trailers: &HeaderMap, codec: &Codec) -> Bytes {
    let mut out = Vec::with_capacity(256);
    let start = open_envelope(&mut out);
    write_end(outcome, trailers, codec, &mut out);
    // Never fails: an error and a block of trailers are no 4 GiB.
    let _ = close_envelope(&mut out, start);
    if let Some(flags) = out.first_mut() {
        *flags = END_STREAM;
    }
    out.into()
}

/// `{"error":…,"metadata":{"name":["value"]}}`, each of them where there is one.
pub fn write_end(outcome: Result<(), &Status>, trailers: &HeaderMap, codec: &Codec, out: &mut Vec<u8>) {
    out.push(b'{');
    if let Err(status) = outcome {
        out.extend_from_slice(b"\"error\":");
        write_error(status, codec, out);
    }
    let mut names = trailers.keys().filter(|name| !is_own(name)).peekable();
    if names.peek().is_some() {
        out.extend_from_slice(if outcome.is_err() { b",\"metadata\":" } else { b"\"metadata\":" });
        let mut mark = b'{';
        for name in names {
            out.push(mark);
            write_values(name, trailers, out);
            mark = b',';
        }
        out.push(b'}');
    }
    out.push(b'}');
}

fn write_values(name: &HeaderName, trailers: &HeaderMap, out: &mut Vec<u8>) {
    string(name.as_str(), out);
    let mut mark: &[u8] = b":[";
    for value in trailers.get_all(name) {
        out.extend_from_slice(mark);
        // Values are ASCII; what a peer sends beyond it cannot be told in JSON as it is.
        string(&String::from_utf8_lossy(value.as_bytes()), out);
        mark = b",";
    }
    out.push(b']');
}

#[cfg(test)]
mod tests {
    use buffa_descriptor::DescriptorPool;
    use http::HeaderValue;
    use serde_json::{Value, json};

    use super::*;
    use crate::status::{Code, encode_status};

    fn codec() -> Codec {
        let set: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/test.binpb"));
        Codec::compile(&DescriptorPool::decode(set).unwrap())
    }

    fn end(outcome: Result<(), &Status>, trailers: &[(&'static str, &'static str)]) -> Value {
        let mut headers = HeaderMap::new();
        for (name, value) in trailers {
            headers.append(*name, HeaderValue::from_static(value));
        }
        let mut out = Vec::new();
        write_end(outcome, &headers, &codec(), &mut out);
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn an_end_tells_the_error_and_the_trailers() {
        let bare = Status::upstream(Code::Cancelled, "");
        let gone = Status::upstream(Code::NotFound, "no \"such\"");
        for (outcome, trailers, expected) in [
            (Ok(()), &[][..], json!({})),
            (Err(&bare), &[], json!({ "error": { "code": "canceled" } })),
            (Err(&gone), &[], json!({ "error": { "code": "not_found", "message": "no \"such\"" } })),
            (
                Ok(()),
                &[("a", "1"), ("b-bin", "AAE"), ("a", "2")],
                json!({ "metadata": { "a": ["1", "2"], "b-bin": ["AAE"] } }),
            ),
            (Ok(()), &[("connect-x", "1")], json!({})),
            (Err(&bare), &[("a", "1")], json!({ "error": { "code": "canceled" }, "metadata": { "a": ["1"] } })),
        ] {
            assert_eq!(end(outcome, trailers), expected);
        }
    }

    #[test]
    fn a_detail_is_told_in_base64_and_for_people_where_its_type_is_known() {
        let any =
            |type_url: &str, value: &[u8]| prost_types::Any { type_url: type_url.to_owned(), value: value.to_vec() };
        let details = [
            any("type.googleapis.com/google.protobuf.Duration", b"\x08\x05"),
            any("x.example/no.Such", b"\xfb"),
            any("type.googleapis.com/google.protobuf.Duration", b"\xff"),
        ];
        let details = encode_status(Code::Internal, "", details.into());
        let status = Status::upstream(Code::Internal, "").with_trailers(HeaderMap::new(), Some(details));
        let expected = json!([
            { "type": "google.protobuf.Duration", "value": "CAU", "debug": "5s" },
            { "type": "no.Such", "value": "+w" },
            { "type": "google.protobuf.Duration", "value": "/w" },
        ]);
        assert_eq!(end(Err(&status), &[])["error"]["details"], expected);
    }
}
