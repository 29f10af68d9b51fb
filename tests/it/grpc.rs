//! gRPC whole: what passes through untouched, with a schema and without one, and what is refused as gRPC's own servers
//! refuse it.

use bytes::Bytes;
use http::Response;
use serde_json::json;
use tidegate::coding::{Coding, Levels};

use crate::{
    backend::{Backend, RawBackend, framed},
    harness::{Config, Dialect, Gateway, How, Kind, Opening, Via, Whole, http::Headers},
};

const GRPC: Headers<'_> = &[("content-type", "application/grpc"), ("te", "trailers")];
const SAY: &str = "/tidegate.test.v1.Echo/Say";
const CHAT: &str = "/tidegate.test.v1.Echo/Chat";
/// A service that no schema knows goes to the first upstream.
const PREFIX: &str = "routes:\n  - match: { service: other. }\n    upstream: test";

async fn start() -> (RawBackend, Gateway) {
    let backend = RawBackend::start().await;
    let gateway = Gateway::start(Config::to(backend.address).section(PREFIX)).await;
    (backend, gateway)
}

/// `grpc-status` and `grpc-message`, and where they stood.
fn status(answer: &Whole) -> (&str, &str, &str) {
    let (trailers, place) = match answer.trailers.contains_key("grpc-status") {
        true => (&answer.trailers, "trailers"),
        false => (&answer.headers, "headers"),
    };
    let text = |name: &str| trailers.get(name).map_or("", |value| value.to_str().unwrap());
    (text("grpc-status"), text("grpc-message"), place)
}

fn ok_head() -> http::response::Builder {
    Response::builder().header("content-type", "application/grpc")
}

#[tokio::test]
async fn a_service_without_a_schema_passes_untouched() {
    let (mut backend, gateway) = start().await;
    let up = [framed(b"any"), framed(b""), framed(b"bytes")].concat();
    let down = [framed(b"\xff\xff"), framed(b"one")].concat();
    for via in [Via::H2c, Via::H2Tls] {
        for kind in ["application/grpc", "application/grpc+proto", "application/grpc+json", "application/grpc+thrift"] {
            let headers = [
                ("content-type", kind),
                ("te", "trailers"),
                ("x-text", "a"),
                ("x-text", "b"),
                ("x-raw-bin", "AP8="),
                ("grpc-timeout", "1H"),
            ];
            let mut conn = gateway.connect(via).await;
            let exchange = conn.whole("POST", "/other.Service/Method", &headers, Some(up.clone().into()));
            let serve = async {
                let mut call = backend.call().await;
                assert_eq!(call.path(), "/other.Service/Method");
                assert_eq!(call.requests().await, [&b"any"[..], b"", b"bytes"]);
                let seen = |name: &str| -> Vec<_> { call.headers().get_all(name).iter().cloned().collect() };
                assert_eq!(seen("content-type"), [kind]);
                assert_eq!(seen("x-text"), ["a", "b"]);
                assert_eq!(seen("x-raw-bin"), ["AP8="]);
                assert!(seen("grpc-timeout").len() == 1 && seen("te") == ["trailers"]);
                let head = ok_head().header("x-initial", "1").header("x-initial", "2").header("x-initial-bin", "AQ");
                call.answer(head.body(()).unwrap(), false);
                call.data(down.clone());
                call.trailers(&[("grpc-status", "0"), ("x-trailer", "3"), ("x-trailer", "4"), ("x-trailer-bin", "_w")]);
            };
            let (answer, ()) = tokio::join!(exchange, serve);
            assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, kind), "{answer:?}");
            assert_eq!(answer.body, down, "{via:?} {kind}");
            let all = |map: &http::HeaderMap, name: &str| -> Vec<_> { map.get_all(name).iter().cloned().collect() };
            assert_eq!(all(&answer.headers, "x-initial"), ["1", "2"]);
            assert_eq!(all(&answer.headers, "x-initial-bin"), ["AQ"]);
            assert_eq!(status(&answer), ("0", "", "trailers"));
            assert_eq!(all(&answer.trailers, "x-trailer"), ["3", "4"]);
            assert_eq!(all(&answer.trailers, "x-trailer-bin"), ["_w"]);
        }
    }
}

#[tokio::test]
async fn a_whole_request_goes_up_in_one_frame() {
    let (mut backend, gateway) = start().await;
    for path in [SAY, "/other.Service/Method"] {
        let mut conn = gateway.connect(Via::H2Tls).await;
        let exchange = conn.whole("POST", path, GRPC, Some(framed(b"")));
        let serve = async {
            let mut call = backend.call().await;
            assert_eq!(call.frames().await, [framed(b"")], "an empty frame would be counted against the connection");
            call.answer(ok_head().header("grpc-status", "0").body(()).unwrap(), true);
        };
        let (answer, ()) = tokio::join!(exchange, serve);
        assert_eq!(status(&answer).0, "0", "{answer:?}");
    }
}

#[tokio::test]
async fn an_answer_of_trailers_only_passes_with_its_metadata() {
    let (mut backend, gateway) = start().await;
    let mut conn = gateway.connect(Via::H2Tls).await;
    for (code, message) in [("0", ""), ("5", "not%20there"), ("99", "what is this")] {
        for path in ["/other.Service/Method", SAY] {
            let exchange = conn.whole("POST", path, GRPC, Some(framed(b"")));
            let serve = async {
                let mut call = backend.call().await;
                let head = ok_head().header("grpc-status", code).header("grpc-message", message);
                call.answer(head.header("x-trailer", "3").header("x-raw-bin", "AQ").body(()).unwrap(), true);
            };
            let (answer, ()) = tokio::join!(exchange, serve);
            let expected = if code == "99" { "2" } else { code };
            assert_eq!(status(&answer).0, expected, "{answer:?}");
            let trailers = if code == "0" { &answer.trailers } else { &answer.headers };
            assert_eq!((trailers["x-trailer"].as_bytes(), trailers["x-raw-bin"].as_bytes()), (&b"3"[..], &b"AQ"[..]));
            assert!(answer.body.is_empty());
        }
    }
}

#[tokio::test]
async fn an_answer_before_the_requests_end_reaches_the_client_and_stops_the_rest() {
    let (mut backend, gateway) = start().await;
    for path in [CHAT, "/other.Service/Method"] {
        for code in ["0", "8"] {
            let mut conn = gateway.connect(Via::H2Tls).await;
            let (mut upload, download) = conn.stream("POST", path, GRPC).await;
            assert!(upload.send(framed(b"\x0a\x01a")).await);
            let mut call = backend.call().await;
            call.head();
            call.data(framed(b"\x0a\x01b"));
            call.trailers(&[("grpc-status", code)]);
            // Nobody half-closed.
            let answer = download.whole().await;
            assert_eq!((status(&answer).0, &answer.body[..]), (code, &b"\0\0\0\0\x03\x0a\x01b"[..]), "{answer:?}");
            call.cancelled().await;
            assert_eq!(conn.get("/nothing").await.status, 404, "the connection outlives the call");
        }
    }
}

#[tokio::test]
async fn a_call_without_te_is_a_call_all_the_same() {
    let backend = Backend::start().await;
    let gateway = Gateway::start(Config::to(backend.address)).await;
    let mut conn = gateway.connect(Via::H2c).await;
    // As grpc-go and tonic have it: what a proxy on the way has stripped is no reason to refuse a call.
    let answer = conn.whole("POST", SAY, &GRPC[..1], Some(framed(b"\x0a\x01a"))).await;
    assert_eq!((status(&answer).0, &answer.body[..]), ("0", &b"\0\0\0\0\x03\x0a\x01a"[..]), "{answer:?}");
}

#[tokio::test]
async fn what_is_no_grpc_request_is_told_so_in_http_and_in_grpc() {
    let mut backend = Backend::start().await;
    let gateway = Gateway::start(Config::to(backend.address)).await;
    let thrift = [("content-type", "application/grpc+thrift"), ("te", "trailers")];
    for (via, method, headers, http, code) in [
        (Via::H1, "POST", GRPC, 505, "13"),
        (Via::H1Tls, "POST", GRPC, 505, "13"),
        (Via::H2Tls, "GET", GRPC, 405, "13"),
        (Via::H2c, "PUT", GRPC, 405, "13"),
        (Via::H2Tls, "POST", &thrift, 415, "3"),
    ] {
        let mut conn = gateway.connect(via).await;
        let answer = conn.whole(method, SAY, headers, Some(framed(b""))).await;
        assert_eq!(answer.status, http, "{method} {via:?}: {answer:?}");
        assert_eq!((status(&answer).0, status(&answer).2), (code, "headers"), "{method} {via:?}: {answer:?}");
        assert_eq!(answer.header("content-type"), headers[0].1);
        assert_eq!(answer.header("allow"), if http == 405 { "POST" } else { "" });
        assert!(answer.body.is_empty());
    }
    backend.assert_not_called();
}

#[tokio::test]
async fn flags_that_nothing_was_said_of_end_the_call() {
    let (mut backend, gateway) = start().await;
    let mut conn = gateway.connect(Via::H2Tls).await;
    let flagged = |flags: u8| Bytes::from([&[flags, 0, 0, 0, 3][..], b"abc"].concat());
    let encodings = [None, Some("identity"), Some("gzip"), Some("unheard-of")];
    for path in [SAY, "/other.Service/Method"] {
        for (flags, encoding) in [0, 1, 2, 3, 0x80].into_iter().flat_map(|flags| encodings.map(|name| (flags, name))) {
            let passes = flags == 0 || flags == 1 && encoding.is_some_and(|name| name != "identity");
            // From the client.
            let mut headers = GRPC.to_vec();
            headers.extend(encoding.map(|name| ("grpc-encoding", name)));
            let exchange = conn.whole("POST", path, &headers, Some(flagged(flags)));
            let serve = async {
                if !passes && path == SAY {
                    return; // a message that stands alone is looked at before the upstream hears of it
                }
                let mut call = backend.call().await;
                if passes {
                    assert_eq!(call.headers().get("grpc-encoding").map(|name| name.to_str().unwrap()), encoding);
                    assert_eq!(call.requests().await, [&b"abc"[..]]);
                    call.head();
                    call.trailers(&[("grpc-status", "0")]);
                }
            };
            let (answer, ()) = tokio::join!(exchange, serve);
            assert_eq!(status(&answer).0, if passes { "0" } else { "13" }, "{flags} {encoding:?} {path}: {answer:?}");

            // From the upstream.
            let exchange = conn.whole("POST", path, GRPC, Some(framed(b"")));
            let serve = async {
                let mut call = backend.call().await;
                let head = encoding.into_iter().fold(ok_head(), |head, name| head.header("grpc-encoding", name));
                call.answer(head.body(()).unwrap(), false);
                call.data([framed(b"first"), flagged(flags)].concat());
                if passes {
                    call.trailers(&[("grpc-status", "0")]);
                } else {
                    call.cancelled().await;
                }
            };
            let (answer, ()) = tokio::join!(exchange, serve);
            assert_eq!(status(&answer).0, if passes { "0" } else { "13" }, "{flags} {encoding:?} {path}: {answer:?}");
            let expected = if passes { [framed(b"first"), flagged(flags)].concat() } else { framed(b"first").to_vec() };
            assert_eq!(answer.body, expected, "what stood before it passes");
        }
    }
}

#[tokio::test]
async fn metadata_of_other_bytes_than_ascii_is_refused() {
    let mut backend = Backend::start().await;
    let gateway = Gateway::start(Config::to(backend.address)).await;
    let mut conn = gateway.connect(Via::H2c).await;
    for content_type in ["application/grpc", "application/grpc-web"] {
        let headers = [("content-type", content_type), ("te", "trailers"), ("x-name", "caf\u{e9}")];
        let answer = conn.whole("POST", SAY, &headers, Some(framed(b""))).await;
        assert_eq!((status(&answer).0, status(&answer).2), ("3", "headers"), "{answer:?}");
        assert!(status(&answer).1.contains("x-name"), "{answer:?}");
    }
    backend.assert_not_called();
}

#[tokio::test]
async fn a_stream_may_be_longer_than_a_message_and_passes_as_it_was_cut() {
    let backend = Backend::start().await;
    let gateway = Gateway::start(Config::to(backend.address).small_messages()).await;
    let mut call = Opening::new(Dialect::Grpc, Kind::Bidi, Via::H2Tls).open(&gateway).await;
    let data = base64_simd::STANDARD.encode_to_string(vec![7u8; 60_000]);
    for index in 1..20 {
        let message = json!({"text": "large", "n": 1, "data": data});
        assert!(call.send(&message).await, "{index}");
        assert_eq!(call.message().await, message, "{index}");
    }
    call.half_close().await;
    let (rest, end) = call.rest().await;
    assert_eq!((rest.len(), end.how, end.code), (0, How::Trailers, Some(0)));
}

#[tokio::test]
async fn json_that_is_none_is_refused_in_grpc() {
    let mut backend = Backend::start().await;
    let gateway = Gateway::start(Config::to(backend.address)).await;
    let mut conn = gateway.connect(Via::H2Tls).await;
    let headers = [("content-type", "application/grpc+json"), ("te", "trailers")];
    for (message, code, place) in [
        (&b"{"[..], "3", "byte"),
        (b"", "3", ""),
        (b"{\"nope\":1}", "3", "nope"),
        (b"{\"n\":\"x\"}", "3", "n"),
        (b"\xff", "3", ""),
    ] {
        let answer = conn.whole("POST", SAY, &headers, Some(framed(message))).await;
        assert_eq!((answer.status.as_u16(), status(&answer).0), (200, code), "{message:?}: {answer:?}");
        assert!(status(&answer).1.contains(place), "{message:?}: {answer:?}");
    }
    for body in [&b"\x01\0\0\0\x02{}"[..], b"\0\0\0\0\x03{}", b"\0\0"] {
        let answer = conn.whole("POST", SAY, &headers, Some(body.into())).await;
        assert_eq!(status(&answer).0, "13", "{body:?}: {answer:?}");
    }
    backend.assert_not_called();
}

#[tokio::test]
async fn json_may_be_compressed_and_goes_up_as_protobuf() {
    let (mut backend, gateway) = start().await;
    let mut conn = gateway.connect(Via::H2Tls).await;
    let coded = |coding, plain: &[u8]| {
        let coded = tidegate::coding::deflate(coding, Levels::default(), plain).unwrap();
        let len = u32::try_from(coded.len()).unwrap().to_be_bytes();
        Bytes::from([&[1][..], &len, &coded].concat())
    };
    for content_type in ["application/grpc+json", "application/grpc-web+json"] {
        for coding in [Coding::Gzip, Coding::Zstd] {
            let headers = [
                ("content-type", content_type),
                ("te", "trailers"),
                ("grpc-encoding", coding.name()),
                ("grpc-accept-encoding", "gzip"),
            ];
            let exchange = conn.whole("POST", SAY, &headers, Some(coded(coding, b"{\"text\":\"a\"}")));
            let serve = async {
                let mut call = backend.call().await;
                let said = ["grpc-encoding", "grpc-accept-encoding"].map(|name| call.headers().contains_key(name));
                assert_eq!((call.headers()["content-type"].as_bytes(), said), (&b"application/grpc"[..], [false; 2]));
                assert_eq!(call.requests().await, [&b"\x0a\x01a"[..]]);
                call.answer(ok_head().header("grpc-encoding", coding.name()).body(()).unwrap(), false);
                call.data(coded(coding, b"\x0a\x01b"));
                call.trailers(&[("grpc-status", "0")]);
            };
            let (answer, ()) = tokio::join!(exchange, serve);
            assert!(answer.body.starts_with(&framed(b"{\"text\":\"b\"}")), "{answer:?}");
            assert!(!answer.headers.contains_key("grpc-encoding"), "{answer:?}");
        }
    }
    for (encoding, code, accepted) in [("br", "12", "zstd,gzip,identity"), ("gzip", "13", "")] {
        let headers = [("content-type", "application/grpc+json"), ("te", "trailers"), ("grpc-encoding", encoding)];
        let answer = conn.whole("POST", SAY, &headers, Some(Bytes::from_static(b"\x01\0\0\0\x02{}"))).await;
        assert_eq!((status(&answer).0, answer.header("grpc-accept-encoding")), (code, accepted), "{answer:?}");
    }
}
