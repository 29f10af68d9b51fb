//! What Connect has of its own, beside the outcomes that `matrix` has for all (connectrpc.com/docs/protocol).

use bytes::Bytes;
use http::Response;
use serde_json::{Value, json};
use tidegate::coding::{Coding, Levels, deflate, inflate};

use crate::{
    backend::{Backend, RawBackend, framed},
    harness::{Config, Conn, Gateway, Via, Whole, binary, raw::RawConn},
};

const ECHO: &str = "/tidegate.test.v1.Echo";
const JSON: (&str, &str) = ("content-type", "application/json");
const PROTO: (&str, &str) = ("content-type", "application/proto");
const STREAM_JSON: (&str, &str) = ("content-type", "application/connect+json");
const STREAM_PROTO: (&str, &str) = ("content-type", "application/connect+proto");
const VERSION: (&str, &str) = ("connect-protocol-version", "1");

async fn start() -> (Backend, Gateway) {
    let backend = Backend::start().await;
    let gateway = Gateway::start(Config::to(backend.address).small_messages()).await;
    (backend, gateway)
}

async fn post(conn: &mut Conn, method: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Whole {
    conn.whole("POST", &format!("{ECHO}/{method}"), headers, Some(body.into())).await
}

/// The envelopes of a stream, the last of which is its end.
fn envelopes(answer: &Whole) -> (Vec<(u8, Vec<u8>)>, Value) {
    assert_eq!(answer.status, 200, "{answer:?}");
    let (mut rest, mut found) = (&*answer.body, Vec::new());
    while let Some((prefix, after)) = rest.split_at_checked(5) {
        let len = u32::from_be_bytes(prefix[1..].try_into().unwrap()) as usize;
        found.push((prefix[0], after[..len].to_vec()));
        rest = &after[len..];
    }
    assert!(rest.is_empty() && answer.broken.is_none(), "{answer:?}");
    let (flags, end) = found.pop().expect("an end");
    assert_eq!(flags, 2, "{answer:?}");
    (found, serde_json::from_slice(&end).expect("the end is JSON"))
}

#[tokio::test]
async fn the_head_alone_tells_whose_tongue_it_is() {
    let (_backend, gateway) = start().await;
    for via in Via::BOTH {
        let mut conn = gateway.connect(via).await;
        // What is no JSON is refused in the caller's own shape: a name for Connect, a number for everybody else.
        for (method, headers, expected) in [
            ("Bare", &[JSON][..], json!("invalid_argument")),
            ("Bare", &[JSON, ("accept", "*/*")], json!("invalid_argument")),
            ("Bare", &[("content-type", "Application/JSON; charset=utf-8")], json!("invalid_argument")),
            ("Bare", &[JSON, VERSION, ("accept", "text/event-stream")], json!("invalid_argument")),
            ("Bare", &[JSON, ("accept", "application/problem+json")], json!("INVALID_ARGUMENT")),
            ("Bare", &[("accept", "application/json")], json!(3)),
            ("Down", &[JSON], json!(3)),
            ("Up", &[JSON], json!(3)),
        ] {
            let answer = post(&mut conn, method, headers, "{").await;
            assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (400, &expected), "{headers:?}: {answer:?}");
        }
        let answer = conn.whole("POST", "/echo/say", &[JSON], Some("{".into())).await;
        assert_eq!(answer.json()["code"], 3, "a rule's path is REST's");
        let answer = post(&mut conn, "Bare", &[JSON, ("accept", "application/x-ndjson")], "{\"text\":\"a\"}").await;
        assert_eq!(answer.text(), "{\"result\":{\"text\":\"a\"}}\n");
        assert_eq!(
            post(&mut conn, "Down", &[JSON], "{\"text\":\"a\",\"count\":1}").await.json(),
            json!([{"text": "a"}])
        );
    }
}

#[tokio::test]
async fn what_is_no_request_of_the_method_is_refused_as_the_protocol_says() {
    let (mut backend, gateway) = start().await;
    let timeout = |value: &'static str| ("connect-timeout-ms", value);
    for via in Via::BOTH {
        let mut conn = gateway.connect(via).await;
        for (method, headers, status, code, told) in [
            ("Bare", &[JSON, ("connect-protocol-version", "2")][..], 400, "invalid_argument", ""),
            ("Bare", &[VERSION, ("content-type", "application/xml")], 415, "invalid_argument", UNARY),
            ("Bare", &[VERSION, ("content-type", "application/json; charset=latin1")], 415, "invalid_argument", UNARY),
            ("Bare", &[VERSION], 415, "invalid_argument", UNARY),
            ("Down", &[JSON, VERSION], 415, "invalid_argument", STREAMS),
            ("Down", &[PROTO], 415, "invalid_argument", STREAMS),
            ("Nope", &[PROTO], 404, "unimplemented", ""),
            ("Nope", &[JSON, VERSION], 404, "unimplemented", ""),
            ("Bare", &[JSON, timeout("12345678901")], 400, "invalid_argument", ""),
            ("Bare", &[JSON, timeout("1s")], 400, "invalid_argument", ""),
            ("Bare", &[JSON, timeout("1"), timeout("1")], 400, "invalid_argument", ""),
            ("Bare", &[JSON, ("content-encoding", "deflate")], 501, "unimplemented", ""),
            ("Bare", &[JSON, ("x-own-bin", "*")], 400, "invalid_argument", ""),
        ] {
            let answer = post(&mut conn, method, headers, "{}").await;
            assert_eq!(
                (answer.status.as_u16(), &answer.json()["code"]),
                (status, &json!(code)),
                "{headers:?}: {answer:?}"
            );
            assert_eq!(answer.header("content-type"), "application/json");
            assert_eq!(answer.json()["details"][0]["type"], "google.rpc.ErrorInfo", "{answer:?}");
            assert_eq!(answer.header("accept-post"), told, "{answer:?}");
        }
        let unknown = post(&mut conn, "Bare", &[JSON, ("content-encoding", "deflate")], "{}").await;
        assert_eq!(unknown.header("accept-encoding"), "zstd, br, gzip");
        assert!(unknown.json()["message"].as_str().unwrap().contains("gzip"), "{unknown:?}");
        for (verb, target, allow) in [
            ("PUT", "Bare", "POST"),
            ("GET", "Bare?connect=v1&encoding=json&message={}", "POST"),
            ("GET", "Down?connect=v1&encoding=json&message={}", "POST"),
            ("PUT", "Say", "GET, HEAD, POST"),
        ] {
            let answer = conn.whole(verb, &format!("{ECHO}/{target}"), &[VERSION], None).await;
            assert_eq!((answer.status.as_u16(), answer.header("allow")), (405, allow), "{verb} {target}: {answer:?}");
            assert_eq!(answer.json()["code"], "unimplemented");
        }
        let twice = post(&mut conn, "Bare", &[JSON, VERSION, VERSION], "{}").await;
        assert_eq!(twice.json()["message"], "header connect-protocol-version: must be there once");
    }
    backend.assert_not_called();
    gateway.assert_nothing_internal();
}

const UNARY: &str = "application/json, application/proto";
const STREAMS: &str = "application/connect+json, application/connect+proto";

#[tokio::test]
async fn bodies_are_read_as_strictly_as_everywhere_and_protobuf_not_at_all() {
    let (_backend, gateway) = start().await;
    for via in Via::BOTH {
        let mut conn = gateway.connect(via).await;
        for (body, place) in
            [("", "byte 1"), ("{\"text\":1}", "text"), ("{\"nope\":1}", "nope"), ("{\"text\":\"a\"} x", "byte 13")]
        {
            let answer = post(&mut conn, "Bare", &[JSON], body).await;
            assert_eq!(
                (answer.status.as_u16(), &answer.json()["code"]),
                (400, &json!("invalid_argument")),
                "{answer:?}"
            );
            assert!(answer.json()["message"].as_str().unwrap().contains(place), "{body}: {answer:?}");
        }
        let empty = post(&mut conn, "Bare", &[PROTO], "").await;
        assert_eq!((empty.status.as_u16(), empty.header("content-type"), empty.body.len()), (200, PROTO.1, 0));
        let answer = post(&mut conn, "Bare", &[PROTO], binary::encode("Msg", &json!({"text": "a"}))).await;
        assert_eq!(binary::decode("Msg", &answer.body), json!({"text": "a"}));
        // The backend judges it.
        let unsound = post(&mut conn, "Bare", &[PROTO], &b"\xff"[..]).await;
        assert_eq!(unsound.json()["code"], "internal", "{unsound:?}");
        let query = conn.whole("POST", &format!("{ECHO}/Bare?text=a"), &[JSON], Some("{}".into())).await;
        assert_eq!(query.status, 400, "{query:?}");
        // A message that REST gives as raw bytes is a message like others here.
        let upload = json!({"contentType": "text/plain", "data": "AAE="}).to_string();
        let answer = post(&mut conn, "Upload", &[JSON, VERSION], upload).await;
        assert_eq!(answer.json()["bytes"], "2", "{answer:?}");
        let answer = post(&mut conn, "Download", &[JSON, VERSION], "{\"text\":\"hey\",\"size\":3}").await;
        assert!(answer.json()["contentType"].is_string() && answer.json()["data"].is_string(), "{answer:?}");
    }
}

#[tokio::test]
async fn an_error_is_told_by_its_name_with_details_and_trailers() {
    let (_backend, gateway) = start().await;
    let script = ("x-behave", "fail@0=9");
    for via in Via::BOTH {
        let mut conn = gateway.connect(via).await;
        for (headers, body) in [(&[JSON, script], "{}"), (&[PROTO, script], "")] {
            let answer = post(&mut conn, "Say", headers, body).await;
            assert_eq!(
                (answer.status.as_u16(), answer.header("content-type")),
                (400, "application/json"),
                "{answer:?}"
            );
            assert_eq!(answer.header("trailer-x-fail"), "yes", "{answer:?}");
            let error = answer.json();
            assert_eq!((&error["code"], &error["message"]), (&json!("failed_precondition"), &json!("asked to fail")));
            let detail = &error["details"][0];
            assert_eq!(detail["type"], "google.rpc.ErrorInfo");
            assert_eq!(detail["debug"]["reason"], "ASKED");
            let value = detail["value"].as_str().unwrap();
            let value = base64_simd::STANDARD_NO_PAD.decode_to_vec(value).expect("unpadded base64");
            assert!(value.starts_with(b"\x0a\x05ASKED"), "{error}");
        }
        let answer = post(&mut conn, "Down", &[STREAM_PROTO, script], framed(b"")).await;
        assert_eq!(answer.header("content-type"), STREAM_PROTO.1, "{answer:?}");
        let (messages, end) = envelopes(&answer);
        assert!(messages.is_empty());
        assert_eq!(end["error"]["code"], "failed_precondition");
        assert_eq!(end["error"]["details"][0]["debug"]["domain"], "tidegate.test");
        assert_eq!(end["metadata"]["x-fail"], json!(["yes"]), "{end}");
    }
}

#[tokio::test]
async fn metadata_passes_both_ways_but_for_what_is_of_http() {
    let mut backend = RawBackend::start().await;
    let gateway = Gateway::start(Config::to(backend.address)).await;
    let sent = [
        ("x-own", "1"),
        ("x-own-bin", "AAE="),
        ("authorization", "Bearer t"),
        ("cookie", "a=b"),
        ("user-agent", "browser"),
        ("referer", "https://a.test/"),
        ("sec-fetch-mode", "cors"),
        ("accept-encoding", "identity"),
        ("connect-own", "no"),
        ("grpc-own", "no"),
        ("x-forwarded-for", "6.6.6.6"),
        VERSION,
        ("connect-timeout-ms", "5000"),
    ];
    for via in Via::BOTH {
        for kind in [PROTO, STREAM_PROTO] {
            let (method, body) = if kind == PROTO { ("Bare", Bytes::new()) } else { ("Down", framed(b"")) };
            let mut conn = gateway.connect(via).await;
            let headers = [&sent[..], &[kind]].concat();
            let exchange = post(&mut conn, method, &headers, body);
            let serve = async {
                let mut call = backend.call().await;
                let seen = call.headers().clone();
                let head = Response::builder().header("content-type", "application/grpc").header("x-lead", "1");
                let head = head.header("x-lead", "2").header("x-lead-bin", "AAE").header("trailer-x-made", "up");
                let head = head.header("access-control-allow-origin", "*").header("connect-own", "no");
                call.answer(head.body(()).unwrap(), false);
                call.data(framed(b""));
                call.trailers(&[("grpc-status", "0"), ("x-trail", "1"), ("x-trail", "2"), ("x-trail-bin", "AQ")]);
                seen
            };
            let (answer, seen) = tokio::join!(exchange, serve);
            let told = |name: &str| seen.get(name).map_or("", |value| value.to_str().unwrap());
            for (name, value) in [
                ("x-own", "1"),
                ("x-own-bin", "AAE"),
                ("authorization", "Bearer t"),
                ("cookie", "a=b"),
                ("content-type", "application/grpc"),
                ("x-forwarded-for", "127.0.0.1"),
            ] {
                assert_eq!(told(name), value, "{name}: {seen:?}");
            }
            assert!(told("grpc-timeout").len() > 1, "{seen:?}");
            for absent in [
                "referer",
                "sec-fetch-mode",
                "accept-encoding",
                "connect-own",
                "grpc-own",
                "connect-protocol-version",
                "connect-timeout-ms",
            ] {
                assert!(!seen.contains_key(absent), "{absent}: {seen:?}");
            }
            let values = |name: &str| -> Vec<_> { answer.headers.get_all(name).iter().cloned().collect() };
            assert_eq!(values("x-lead"), ["1", "2"], "{answer:?}");
            assert_eq!(answer.header("x-lead-bin"), "AAE");
            for absent in ["trailer-x-made", "access-control-allow-origin", "connect-own", "x-trail", "grpc-status"] {
                assert!(!answer.headers.contains_key(absent), "{absent}: {answer:?}");
            }
            if kind == PROTO {
                assert_eq!(values("trailer-x-trail"), ["1", "2"], "{answer:?}");
                assert_eq!(answer.header("trailer-x-trail-bin"), "AQ");
            } else {
                let (_, end) = envelopes(&answer);
                assert_eq!(end, json!({"metadata": {"x-trail": ["1", "2"], "x-trail-bin": ["AQ"]}}));
                assert_eq!(answer.header("x-accel-buffering"), "no", "{answer:?}");
            }
        }
    }
}

#[tokio::test]
async fn initial_metadata_come_back_with_an_error_too() {
    let mut backend = RawBackend::start().await;
    let gateway = Gateway::start(Config::to(backend.address)).await;
    let mut conn = gateway.connect(Via::H1).await;
    let connect = [("x-lead", &["1"][..]), ("set-cookie", &["a=b"]), ("trailer-x-trail", &["2"])];
    let rest = [("x-lead", &[][..]), ("set-cookie", &["a=b", "c=d"]), ("trailer-x-trail", &[])];
    for (target, expected) in [("/tidegate.test.v1.Echo/Bare", connect), ("/echo/say", rest)] {
        let exchange = conn.whole("POST", target, &[JSON], Some("{}".into()));
        let serve = async {
            let mut call = backend.call().await;
            let head = Response::builder().header("content-type", "application/grpc").header("x-lead", "1");
            call.answer(head.header("set-cookie", "a=b").body(()).unwrap(), false);
            call.trailers(&[("grpc-status", "5"), ("x-trail", "2"), ("set-cookie", "c=d")]);
        };
        let (answer, ()) = tokio::join!(exchange, serve);
        assert_eq!(answer.status, 404, "{answer:?}");
        for (name, values) in expected {
            assert_eq!(answer.headers.get_all(name).iter().collect::<Vec<_>>(), values, "{name}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn a_get_gives_its_message_in_the_query_and_may_be_kept() {
    let backend = Backend::start().await;
    let keep = "routes:\n  - match: { method: tidegate.test.v1.Echo/Say }\n    cache_control: max-age=60";
    let gateway = Gateway::start(Config::to(backend.address).section(keep)).await;
    let wire = binary::encode("Msg", &json!({"text": "a?", "data": "+/+/"}));
    let url_safe = base64_simd::URL_SAFE.encode_to_string(&wire);
    let coded = deflate(Coding::Gzip, Levels::default(), &wire).unwrap();
    let coded = base64_simd::URL_SAFE_NO_PAD.encode_to_string(coded);
    for via in Via::ALL {
        let mut conn = gateway.connect(via).await;
        for (query, kind) in [
            ("message=%7B%22text%22:%22a?%22,%22data%22:%22%2B/%2B/%22%7D&encoding=json&connect=v1".to_owned(), JSON),
            (format!("connect=v1&base64=1&encoding=proto&message={url_safe}"), PROTO),
            (format!("message={}&base64=1&encoding=proto&connect=v1", url_safe.trim_end_matches('=')), PROTO),
            (format!("compression=gzip&connect=v1&message={coded}&encoding=proto&base64=1"), PROTO),
        ] {
            let target = format!("{ECHO}/Say?{query}");
            let answer = conn.get(&target).await;
            assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, kind.1), "{query}: {answer:?}");
            let message = if kind == PROTO { binary::decode("Msg", &answer.body) } else { answer.json() };
            assert_eq!(message, json!({"text": "a?", "data": "+/+/"}), "{query}");
            assert_eq!(answer.header("cache-control"), "max-age=60", "{answer:?}");
            let known = [("if-none-match", answer.header("etag"))];
            assert_eq!(conn.whole("GET", &target, &known, None).await.status, 304, "{query}");
            let head = conn.whole("HEAD", &target, &[], None).await;
            assert_eq!(head.header("content-length"), answer.body.len().to_string(), "{head:?}");
        }
        for (query, status, code) in [
            ("connect=v1&encoding=json", 400, "invalid_argument"),
            ("connect=v1&message={}", 400, "invalid_argument"),
            ("connect=v1&encoding=json&message=", 400, "invalid_argument"),
            ("connect=v1&encoding=yaml&message={}", 415, "invalid_argument"),
            ("connect=v1&encoding=json&message={}&message={}", 400, "invalid_argument"),
            ("connect=v1&encoding=proto&base64=1&message=*", 400, "invalid_argument"),
            ("connect=v1&encoding=json&message={}&text=a", 400, "invalid_argument"),
            ("connect=v1&encoding=json&message={}&compression=deflate", 501, "unimplemented"),
            ("connect=v1&encoding=json&message={}&compression=br", 400, "invalid_argument"),
        ] {
            let answer = conn.get(&format!("{ECHO}/Say?{query}")).await;
            assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (status, &json!(code)), "{query}: {answer:?}");
        }
        // A link on another site makes no call.
        let headers = [("sec-fetch-site", "cross-site")];
        let target = format!("{ECHO}/Say?connect=v1&encoding=json&message={{}}");
        let answer = conn.whole("GET", &target, &headers, None).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (403, &json!("permission_denied")), "{answer:?}");
        // Without the version it is a GET as others are.
        let answer = conn.get(&format!("{ECHO}/Say?message=%7B%7D")).await;
        assert_eq!((answer.status.as_u16(), answer.json()), (200, json!({})), "{answer:?}");
    }
}

#[tokio::test]
async fn unary_messages_are_compressed_as_http_bodies_are() {
    let (_backend, gateway) = start().await;
    let text = "a".repeat(5000);
    let (message, wire) = (json!({ "text": text }), binary::encode("Msg", &json!({ "text": text })));
    for via in Via::BOTH {
        let mut conn = gateway.connect(via).await;
        for coding in Coding::ALL {
            let named = ("content-encoding", coding.name());
            let accepted = ("accept-encoding", coding.name());
            for (kind, plain) in [(JSON, message.to_string().into_bytes()), (PROTO, wire.clone())] {
                let body = deflate(coding, Levels::default(), &plain).unwrap();
                let answer = post(&mut conn, "Bare", &[kind, VERSION, named, accepted], body).await;
                assert_eq!(
                    (answer.status.as_u16(), answer.header("content-encoding")),
                    (200, coding.name()),
                    "{answer:?}"
                );
                let plain = inflate(coding, &answer.body, 100_000).unwrap();
                let read =
                    if kind == PROTO { binary::decode("Msg", &plain) } else { serde_json::from_slice(&plain).unwrap() };
                assert_eq!(read, message, "{coding:?} {kind:?}");
            }
            let bomb = deflate(coding, Levels::default(), &vec![b' '; 10 << 20]).unwrap();
            let answer = post(&mut conn, "Bare", &[JSON, VERSION, named], bomb).await;
            assert_eq!(
                (answer.status.as_u16(), &answer.json()["code"]),
                (413, &json!("resource_exhausted")),
                "{answer:?}"
            );
            let broken = post(&mut conn, "Bare", &[JSON, VERSION, named], "{}").await;
            assert_eq!(
                (broken.status.as_u16(), &broken.json()["code"]),
                (400, &json!("invalid_argument")),
                "{broken:?}"
            );
            // Nothing is nothing, whatever it is said to be compressed with.
            assert_eq!(post(&mut conn, "Bare", &[PROTO, named], "").await.status, 200);
        }
    }
}

/// A message in an envelope with flags.
fn flagged(flags: u8, message: &[u8]) -> Vec<u8> {
    let mut envelope = framed(message).to_vec();
    envelope[0] = flags;
    envelope
}

#[tokio::test]
async fn a_streams_messages_are_compressed_each_by_itself() {
    let (_backend, gateway) = start().await;
    let mut conn = gateway.connect(Via::H2Tls).await;
    let text = "a".repeat(1000);
    let message = json!({ "text": text });
    let coded = deflate(Coding::Gzip, Levels::default(), message.to_string().as_bytes()).unwrap();
    let named = ("connect-content-encoding", "gzip");
    let body = [flagged(1, &coded), flagged(0, b"{\"text\":\"b\"}")].concat();
    let answer = post(&mut conn, "Up", &[STREAM_JSON, named], body).await;
    let (messages, end) = envelopes(&answer);
    assert!(end.get("error").is_none(), "{end}");
    assert_eq!(serde_json::from_slice::<Value>(&messages[0].1).unwrap()["joined"], format!("{text},b"));
    for (headers, body, code) in [
        (&[STREAM_JSON, ("connect-content-encoding", "br")][..], flagged(1, &coded), "unimplemented"),
        (&[STREAM_JSON], flagged(1, &coded), "internal"),
        (&[STREAM_PROTO], flagged(1, &coded), "internal"),
        (&[STREAM_JSON, named], flagged(1, b"{}"), "internal"),
        (
            &[STREAM_JSON, named],
            flagged(1, &deflate(Coding::Gzip, Levels::default(), &vec![b' '; 1 << 20]).unwrap()),
            "resource_exhausted",
        ),
    ] {
        let (messages, end) = envelopes(&post(&mut conn, "Up", headers, body).await);
        assert!(messages.is_empty());
        assert_eq!(end["error"]["code"], code, "{headers:?}: {end}");
    }
}

#[tokio::test]
async fn what_client_and_upstream_agree_on_passes_untouched_by_its_other_name() {
    let mut backend = RawBackend::start().await;
    let gateway = Gateway::start(Config::to(backend.address)).await;
    let mut conn = gateway.connect(Via::H1Tls).await;
    let headers = [STREAM_PROTO, ("connect-content-encoding", "lzma"), ("connect-accept-encoding", "lzma, gzip")];
    let exchange = post(&mut conn, "Down", &headers, flagged(1, b"coded request"));
    let serve = async {
        let mut call = backend.call().await;
        let names = ["grpc-encoding", "grpc-accept-encoding"].map(|name| call.headers()[name].clone());
        let head = Response::builder().header("content-type", "application/grpc").header("grpc-encoding", "lzma");
        call.answer(head.header("grpc-accept-encoding", "lzma").body(()).unwrap(), false);
        let requests = call.requests().await;
        call.data(flagged(1, b"coded reply"));
        call.trailers(&[("grpc-status", "0")]);
        (names, requests)
    };
    let (answer, (names, requests)) = tokio::join!(exchange, serve);
    assert_eq!(names, ["lzma", "lzma, gzip"]);
    assert_eq!(requests, ["coded request"]);
    assert_eq!(answer.header("connect-content-encoding"), "lzma", "{answer:?}");
    assert_eq!(answer.header("connect-accept-encoding"), "lzma", "{answer:?}");
    assert_eq!(envelopes(&answer), (vec![(1, b"coded reply".to_vec())], json!({})));
}

#[tokio::test]
async fn a_stream_that_is_none_ends_alone_and_is_told_why() {
    let (_backend, gateway) = start().await;
    for via in Via::BOTH {
        let mut conn = gateway.connect(via).await;
        for (headers, body, code) in [
            (&[STREAM_JSON][..], flagged(2, b"{}"), "internal"),
            (&[STREAM_PROTO], flagged(2, b""), "internal"),
            (&[STREAM_PROTO], flagged(0x80, b""), "internal"),
            (&[STREAM_JSON], b"\0\0\0\0\x05{}".to_vec(), "internal"),
            (&[STREAM_PROTO], b"\0\0".to_vec(), "internal"),
            (&[STREAM_PROTO], b"\0\xff\xff\xff\xff".to_vec(), "resource_exhausted"),
            (&[STREAM_JSON], flagged(0, b""), "invalid_argument"),
            (&[STREAM_JSON], flagged(0, b"{\"nope\":1}"), "invalid_argument"),
            (&[STREAM_JSON, ("connect-timeout-ms", "x")], flagged(0, b"{}"), "invalid_argument"),
            (&[STREAM_JSON, ("connect-protocol-version", "2")], flagged(0, b"{}"), "invalid_argument"),
        ] {
            for method in ["Up", "Down"] {
                let answer = post(&mut conn, method, headers, body.clone()).await;
                assert_eq!(answer.header("content-type"), headers[0].1, "{answer:?}");
                let (messages, end) = envelopes(&answer);
                assert!(messages.is_empty(), "{method} {headers:?} {body:?}");
                assert_eq!(end["error"]["code"], code, "{method} {headers:?} {body:?}: {end}");
            }
        }
        let unknown = post(&mut conn, "Nope", &[STREAM_JSON], "").await;
        assert_eq!(envelopes(&unknown).1["error"]["code"], "unimplemented", "{unknown:?}");
        // What the protocol itself refuses is no stream, so that nobody takes it for success.
        for (verb, method, kind, status, header) in [
            ("POST", "Bare", STREAM_JSON, 415, ("accept-post", UNARY)),
            ("POST", "Down", ("content-type", "application/connect+xml"), 415, ("accept-post", STREAMS)),
            ("PUT", "Down", STREAM_JSON, 405, ("allow", "POST")),
        ] {
            let answer = conn.whole(verb, &format!("{ECHO}/{method}"), &[kind], Some("".into())).await;
            assert_eq!((answer.status.as_u16(), answer.body.len()), (status, 0), "{verb} {method}: {answer:?}");
            assert_eq!(answer.header(header.0), header.1, "{answer:?}");
        }
    }
}

#[tokio::test]
async fn a_dialogue_over_http_1_is_refused_and_its_connection_closed() {
    let (mut backend, gateway) = start().await;
    let mut conn = RawConn::open(&gateway, Via::H1).await;
    let head = "host: a\r\ncontent-type: application/connect+json\r\ntransfer-encoding: chunked";
    conn.write(format!("POST {ECHO}/Chat HTTP/1.1\r\n{head}\r\n\r\n")).await;
    let answer = conn.answer(false).await.expect("an answer");
    assert_eq!((answer.status.as_u16(), answer.header("connection")), (505, "close"), "{answer:?}");
    assert!(conn.is_closed().await);
    backend.assert_not_called();
}
