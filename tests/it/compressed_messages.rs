//! Messages that upstreams compress, and messages that the gateway compresses for them (gRPC "Compression").

use bytes::Bytes;
use prost::Message;
use serde_json::json;
use tidegate::coding::{Coding, Levels, deflate, inflate};

use crate::{
    backend::RawBackend,
    harness::{
        Config, Dialect, Gateway, Kind, Opening, Via, expect,
        tools::PythonBackend,
        ws::{Frame, WebSocket},
    },
    proto::{DESCRIPTOR_SET, Msg},
};

const DIALECTS: [Dialect; 6] =
    [Dialect::Json, Dialect::Ndjson, Dialect::JsonSeq, Dialect::Protobuf, Dialect::Sse, Dialect::WebSocket];

/// grpcio compresses what it answers, and reads what comes compressed.
#[tokio::test]
async fn every_dialect_and_kind_before_a_server_that_compresses() {
    let backend = PythonBackend::with(&["--compression"]).await;
    let lines = format!("schema: {{ descriptor_set: {DESCRIPTOR_SET:?} }}\ncompression: gzip");
    let config = Config::new().upstream("python", backend.address, &lines);
    let gateway = Gateway::start(config.section("compression: { min_size: 1 }")).await;
    for dialect in DIALECTS {
        expect::every_kind(&gateway, dialect).await;
    }
    let long = "ab".repeat(50_000);
    let answer = gateway.connect(Via::H2Tls).await.post("/echo/say", &json!({"text": long})).await;
    assert_eq!(answer.json()["text"], long);
    gateway.assert_nothing_internal();
}

fn envelope(flags: u8, payload: &[u8]) -> Bytes {
    [&[flags], &u32::try_from(payload.len()).unwrap().to_be_bytes()[..], payload].concat().into()
}

fn reply(coding: Coding, text: &str) -> Bytes {
    let message = Msg { text: text.to_owned(), ..Msg::default() }.encode_to_vec();
    envelope(1, &deflate(coding, Levels::default(), &message).unwrap())
}

async fn before(backend: &RawBackend, compression: &str) -> Gateway {
    let lines = format!("schema: {{ descriptor_set: {DESCRIPTOR_SET:?} }}\ncompression: {compression}");
    Gateway::start(Config::new().upstream("raw", backend.address, &lines).small_messages()).await
}

#[tokio::test]
async fn an_upstream_is_told_what_is_read_and_gets_large_messages_compressed() {
    for (compression, encoding) in [("none", None), ("gzip", Some(Coding::Gzip)), ("zstd", Some(Coding::Zstd))] {
        let mut backend = RawBackend::start().await;
        let gateway = before(&backend, compression).await;
        for (text, is_large) in [("a".repeat(5000), true), ("a".to_owned(), false)] {
            let mut conn = gateway.connect(Via::H1).await;
            let body = json!({"text": text}).to_string();
            let asked =
                conn.begin("POST", "/echo/say", &[("content-type", "application/json")], Some(body.into())).await;
            let ask = tokio::spawn(asked.whole());
            let mut call = backend.call().await;
            let header = |name: &str| call.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
            assert_eq!(header("grpc-encoding"), encoding.map(|coding| coding.name().to_owned()));
            assert_eq!(header("grpc-accept-encoding"), encoding.map(|_| "zstd,gzip,identity".to_owned()));
            let sent = call.requests().await.remove(0);
            let message = match encoding.filter(|_| is_large) {
                Some(coding) => inflate(coding, &sent, 10_000).unwrap(),
                None => sent.to_vec(),
            };
            assert_eq!(Msg::decode(&*message).unwrap().text, text, "{compression}");
            let with = encoding.unwrap_or(Coding::Gzip);
            call.answer(grpc_head(with.name()), false);
            call.data(reply(with, &text));
            call.trailers(&[("grpc-status", "0")]);
            assert_eq!(ask.await.unwrap().json()["text"], text, "{compression}");
        }
        gateway.assert_nothing_internal();
    }
}

/// What is told in protobuf, alone and whole, is the upstream's message: where the client takes the coding that it came in,
/// it is not compressed again.
#[tokio::test]
async fn a_reply_that_came_compressed_goes_on_as_it_came_where_the_client_takes_it() {
    const CONNECT: &[(&str, &str)] = &[("content-type", "application/proto")];
    const REST: &[(&str, &str)] = &[("content-type", "application/x-protobuf"), ("accept", "application/x-protobuf")];
    const JSON: &[(&str, &str)] = &[("content-type", "application/json")];
    let text = (0..2000).map(|number| format!("{} ", number * number)).collect();
    let message = Msg { text, ..Msg::default() }.encode_to_vec();
    let levels = Levels { gzip: 1, zstd: 19, ..Levels::default() };
    for coding in [Coding::Gzip, Coding::Zstd] {
        let mut backend = RawBackend::start().await;
        let gateway = before(&backend, coding.name()).await;
        let coded = deflate(coding, levels, &message).unwrap();
        assert_ne!(coded, deflate(coding, Levels::default(), &message).unwrap());
        for (path, headers, accepted, expected, is_reused) in [
            ("/tidegate.test.v1.Echo/Say", CONNECT, coding.name(), coding.name(), true),
            ("/tidegate.test.v1.Echo/Say", CONNECT, "br, gzip, zstd", coding.name(), true),
            ("/tidegate.test.v1.Echo/Say", CONNECT, "br", "br", false),
            ("/tidegate.test.v1.Echo/Say", CONNECT, "br, gzip;q=0.5, zstd;q=0.5", "br", false),
            ("/tidegate.test.v1.Echo/Say", CONNECT, "", "", false),
            ("/echo/say", REST, coding.name(), coding.name(), true),
            ("/echo/say", JSON, coding.name(), coding.name(), false),
        ] {
            let body = if headers == JSON { Bytes::from_static(b"{}") } else { Bytes::new() };
            let headers = [headers, &[("accept-encoding", accepted)]].concat();
            let mut conn = gateway.connect(Via::H2Tls).await;
            let asked = conn.begin("POST", path, &headers, Some(body)).await;
            let ask = tokio::spawn(asked.whole());
            let mut call = backend.call().await;
            call.answer(grpc_head(coding.name()), false);
            call.data(envelope(1, &coded));
            call.trailers(&[("grpc-status", "0")]);
            let answer = ask.await.unwrap();
            let told = answer.headers.get("content-encoding").map_or("", |value| value.to_str().unwrap());
            assert_eq!((answer.status.as_u16(), told), (200, expected), "{path} {accepted}: {answer:?}");
            assert_eq!(answer.body == coded, is_reused, "{path} {accepted}");
            assert_eq!(answer.body == message, expected.is_empty(), "{path} {accepted}");
            let vary: Vec<_> = answer.headers.get_all("vary").iter().collect();
            assert!(vary.iter().any(|value| *value == "accept-encoding"), "{vary:?}");
        }
        gateway.assert_nothing_internal();
    }
}

fn grpc_head(encoding: &str) -> http::Response<()> {
    let head = http::Response::builder().header("content-type", "application/grpc");
    let head = if encoding.is_empty() { head } else { head.header("grpc-encoding", encoding) };
    head.body(()).unwrap()
}

/// All at once they would be 64 MiB and more.
#[tokio::test]
async fn a_few_bytes_that_stand_for_very_many_are_written_as_they_are_taken() {
    const MESSAGES: usize = 64;
    const GROWTH_BYTES_MAX: u64 = 48 << 20;
    let mut backend = RawBackend::start().await;
    let lines = format!("schema: {{ descriptor_set: {DESCRIPTOR_SET:?} }}");
    let gateway = Gateway::start(Config::new().upstream("raw", backend.address, &lines)).await;
    let many = Bytes::from(reply(Coding::Zstd, &"a".repeat(1 << 20)).repeat(MESSAGES));
    assert!(many.len() < 16 << 10, "one frame");
    let before = gateway.process.rss_bytes();
    for (dialect, via) in [(Dialect::Ndjson, Via::H1), (Dialect::GrpcJson, Via::H2c), (Dialect::WebSocket, Via::H1)] {
        let mut call = Opening::new(dialect, Kind::ServerStream, via).open(&gateway).await;
        let mut upstream = backend.call().await;
        upstream.answer(grpc_head("zstd"), false);
        upstream.data(many.clone());
        upstream.trailers(&[("grpc-status", "0")]);
        assert_eq!(call.message().await["text"].as_str().map(str::len), Some(1 << 20), "{dialect:?}");
        let growth = gateway.process.rss_bytes().saturating_sub(before);
        assert!(growth < GROWTH_BYTES_MAX, "{dialect:?}: {growth} bytes");
        let (rest, end) = call.rest().await;
        assert_eq!((rest.len(), end.code), (MESSAGES - 1, Some(0)), "{dialect:?}");
    }
    gateway.assert_nothing_internal();
}

#[tokio::test]
async fn what_an_upstream_compresses_wrongly_ends_that_call_alone() {
    let mut backend = RawBackend::start().await;
    let gateway = before(&backend, "none").await;
    let bomb = envelope(1, &deflate(Coding::Gzip, Levels::default(), &vec![0; 8 << 20]).unwrap());
    let sound = reply(Coding::Gzip, "x");
    for (encoding, data, status, text) in [
        ("", sound.clone(), 500, "flags 0x01"),
        ("identity", sound.clone(), 500, "flags 0x01"),
        ("snappy", sound.clone(), 500, "unknown encoding: \\\"snappy"),
        ("br", sound.clone(), 500, "unknown encoding: \\\"br"),
        ("zstd", sound.clone(), 500, "not compressed as it says"),
        ("gzip", envelope(1, b""), 500, "not compressed as it says"),
        ("gzip", envelope(3, &sound[5..]), 500, "flags 0x03"),
        ("gzip", bomb, 429, "inflates to more than the limit of 65536 bytes"),
    ] {
        for target in ["/echo/say", "/echo/down", "/echo/up"] {
            let mut conn = gateway.connect(Via::H2Tls).await;
            let headers = [("content-type", "application/json")];
            let asked = conn.begin("POST", target, &headers, Some(Bytes::from_static(b"{}"))).await;
            let ask = tokio::spawn(asked.whole());
            let mut call = backend.call().await;
            call.answer(grpc_head(encoding), false);
            call.data(data.clone());
            call.trailers(&[("grpc-status", "0")]);
            let answer = ask.await.unwrap();
            if target == "/echo/down" {
                // Its head has gone.
                assert!(answer.broken.is_some(), "{encoding} {target}: {answer:?}");
                continue;
            }
            assert_eq!(answer.status.as_u16(), status, "{encoding} {target}: {answer:?}");
            assert!(answer.text().contains(text), "{encoding} {target}: {answer:?}");
        }
        let mut socket = WebSocket::open(&gateway, Via::H1, "/echo/say", &[]).await.unwrap();
        socket.text("{}").await;
        let mut call = backend.call().await;
        call.answer(grpc_head(encoding), false);
        call.data(data.clone());
        call.trailers(&[("grpc-status", "0")]);
        let Frame::Close(Some((code, reason))) = socket.next().await else { panic!("{encoding}: no close") };
        assert_eq!(code, if status == 429 { 4008 } else { 4013 }, "{encoding}: {reason}");
    }
}
