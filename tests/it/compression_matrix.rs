//! Dialect × codec × compression, for the dialects whose messages or bodies say how they are compressed: what goes up in a
//! coding is understood, and what comes down in one names it.

use std::io::{Read, Write};

use bytes::Bytes;
use http::HeaderMap;
use serde_json::{Value, json};

use crate::{
    backend::{Backend, Options},
    harness::{
        Config, Conn, Gateway, Via, Whole,
        binary::{decode, encode},
    },
};

/// How a dialect names its codings.
type Names = (&'static str, &'static str);
const GRPC: Names = ("grpc-encoding", "grpc-accept-encoding");
const CONNECT: Names = ("connect-content-encoding", "connect-accept-encoding");
const HTTP: Names = ("content-encoding", "accept-encoding");

/// Messages in envelopes, each compressed by itself; whether replies come as the backend compressed them.
const STREAMS: [(&str, Names, bool); 7] = [
    ("application/grpc", GRPC, true),
    ("application/grpc+json", GRPC, false),
    ("application/grpc-web+proto", GRPC, true),
    ("application/grpc-web+json", GRPC, false),
    ("application/grpc-web-text", GRPC, true),
    ("application/connect+proto", CONNECT, true),
    ("application/connect+json", CONNECT, false),
];

/// One body, compressed as a whole.
const UNARY: [&str; 2] = ["application/proto", "application/json"];

async fn start() -> (Backend, Gateway) {
    let backend = Backend::with(Options { compresses: true, ..Options::default() }).await;
    let gateway = Gateway::start(Config::to(backend.address)).await;
    (backend, gateway)
}

fn deflated(coding: &str, bytes: &[u8]) -> Vec<u8> {
    match coding {
        "gzip" => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(bytes).expect("memory takes it");
            encoder.finish().expect("memory takes it")
        }
        "zstd" => zstd::encode_all(bytes, 1).expect("memory takes it"),
        "br" => {
            let mut out = Vec::new();
            let parameters = brotli::enc::BrotliEncoderParams { quality: 1, ..Default::default() };
            brotli::BrotliCompress(&mut &*bytes, &mut out, &parameters).expect("memory takes it");
            out
        }
        _ => bytes.to_vec(),
    }
}

fn inflated(coding: &str, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    match coding {
        "gzip" => drop(flate2::read::GzDecoder::new(bytes).read_to_end(&mut out).expect("gzip")),
        "zstd" => out = zstd::decode_all(bytes).expect("zstd"),
        "br" => brotli::BrotliDecompress(&mut &*bytes, &mut out).expect("brotli"),
        _ => out = bytes.to_vec(),
    }
    out
}

fn is_json(kind: &str) -> bool {
    kind.ends_with("json")
}

fn written(kind: &str, name: &str, message: &Value) -> Vec<u8> {
    if is_json(kind) { message.to_string().into_bytes() } else { encode(name, message) }
}

fn read(kind: &str, name: &str, message: &[u8]) -> Value {
    if is_json(kind) { serde_json::from_slice(message).expect("JSON") } else { decode(name, message) }
}

async fn post(conn: &mut Conn, method: &str, kind: &str, coding: &str, names: Names, body: Vec<u8>) -> Whole {
    let path = format!("/tidegate.test.v1.Echo/{method}");
    let mut headers = vec![("content-type", kind), ("te", "trailers"), (names.1, coding)];
    if coding != "identity" {
        headers.push((names.0, coding));
    }
    let body = if kind.ends_with("text") { base64_simd::STANDARD.encode_to_string(body).into() } else { body };
    conn.whole("POST", &path, &headers, Some(Bytes::from(body))).await
}

/// The messages of a reply, whether all of them were compressed, and the end where it stands in the body.
fn messages(kind: &str, answer: &Whole, encoding: &str) -> (Vec<Value>, bool, String) {
    let text = kind.ends_with("text");
    // Each padded chunk stands for itself.
    let quantum = |four: &[u8]| base64_simd::STANDARD.decode_to_vec(four).expect("base64");
    let body: Vec<u8> = if text { answer.body.chunks(4).flat_map(quantum).collect() } else { answer.body.to_vec() };
    let coding = answer.headers.get(encoding).map_or("identity", |value| value.to_str().expect("ASCII"));
    let (mut rest, mut found, mut compressed, mut end) = (&body[..], Vec::new(), true, String::new());
    while let Some((head, after)) = rest.split_at_checked(5) {
        let (payload, next) = after.split_at(u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize);
        let payload = if head[0] & 1 == 1 { inflated(coding, payload) } else { payload.to_vec() };
        if head[0] & !1 == 0 {
            compressed &= head[0] == 1;
            found.push(read(kind, "Msg", &payload));
        } else {
            end = String::from_utf8(payload).expect("text");
        }
        rest = next;
    }
    (found, compressed, end)
}

fn is_ok(end: &str, trailers: &HeaderMap) -> bool {
    trailers.get("grpc-status").is_some_and(|status| status == "0")
        || end.contains("grpc-status: 0")
        || end.starts_with('{') && !end.contains("error")
}

#[tokio::test]
async fn enveloped_messages_are_compressed_each_as_its_caller_says() {
    let (mut backend, gateway) = start().await;
    let data = base64_simd::STANDARD.encode_to_string([b'x'; 3000]);
    let expected = [json!({"text": "tick", "data": data}), json!({"text": "tick", "n": 1, "data": data})];
    for via in [Via::H2c, Via::H2Tls] {
        let mut conn = gateway.connect(via).await;
        for (kind, names, passes) in STREAMS {
            for coding in ["identity", "gzip", "zstd"] {
                let case = format!("{kind} {coding} {via:?}");
                let request = written(kind, "StreamReq", &json!({"text": "tick", "count": 2, "size": 3000}));
                let request = deflated(coding, &request);
                let length = u32::try_from(request.len()).expect("small").to_be_bytes();
                let body = [&[u8::from(coding != "identity")], &length[..], &request].concat();
                let answer = post(&mut conn, "Down", kind, coding, names, body).await;
                let (found, compressed, end) = messages(kind, &answer, names.0);
                assert_eq!(found, expected, "{case}: {answer:?}");
                assert!(is_ok(&end, &answer.trailers), "{case}: {end:?} {answer:?}");
                let seen = backend.call("Down").await;
                if passes && coding != "identity" {
                    assert!(compressed && answer.header(names.0) == coding, "{case}: {answer:?}");
                    assert_eq!(seen.header("grpc-encoding"), coding, "{case}");
                }
            }
        }
    }
    gateway.assert_nothing_internal();
}

#[tokio::test]
async fn unary_bodies_of_connect_are_compressed_whole() {
    let (_backend, gateway) = start().await;
    let message = json!({"text": "x".repeat(5000)});
    for via in Via::BOTH {
        let mut conn = gateway.connect(via).await;
        for kind in UNARY {
            for coding in ["identity", "gzip", "zstd", "br"] {
                let body = deflated(coding, &written(kind, "Msg", &message));
                let answer = post(&mut conn, "Say", kind, coding, HTTP, body).await;
                let case = format!("{kind} {coding} {via:?}: {answer:?}");
                let named = if coding == "identity" { "" } else { coding };
                assert_eq!((answer.status.as_u16(), answer.header("content-encoding")), (200, named), "{case}");
                assert_eq!(read(kind, "Msg", &inflated(coding, &answer.body)), message, "{case}");
            }
        }
    }
    gateway.assert_nothing_internal();
}
