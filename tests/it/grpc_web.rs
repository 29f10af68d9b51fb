//! gRPC-Web beside what `matrix` has of it: its forms, how its bytes may be cut, where its end stands, what a page may read,
//! and what is refused.

use bytes::Bytes;
use http::Response;
use serde_json::json;

use crate::{
    backend::{Backend, Event, RawBackend, framed},
    harness::{
        Config, Dialect, Gateway, How, Step, Via, Whole,
        envelopes::{Form, Reader},
        http::{Broken, Headers},
    },
};

const WEB: Headers<'_> = &[("content-type", "application/grpc-web+proto"), ("x-grpc-web", "1")];
const TEXT: Headers<'_> = &[("content-type", "application/grpc-web-text"), ("accept", "application/grpc-web-text")];
const SAY: &str = "/tidegate.test.v1.Echo/Say";
const DOWN: &str = "/tidegate.test.v1.Echo/Down";
const UP: &str = "/tidegate.test.v1.Echo/Up";

async fn start() -> (Backend, Gateway) {
    let backend = Backend::start().await;
    let gateway = Gateway::start(Config::to(backend.address)).await;
    (backend, gateway)
}

fn text(bytes: &[u8]) -> String {
    base64_simd::STANDARD.encode_to_string(bytes)
}

/// The bytes of a text in independently padded chunks.
fn bytes(text: &[u8]) -> Vec<u8> {
    text.chunks(4).flat_map(|four| base64_simd::STANDARD.decode_to_vec(four).expect("base64")).collect()
}

/// The envelope of trailers.
fn trailers(lines: &str) -> Vec<u8> {
    [&[0x80, 0, 0, 0, u8::try_from(lines.len()).unwrap()][..], lines.as_bytes()].concat()
}

fn ok_head() -> http::response::Builder {
    Response::builder().header("content-type", "application/grpc")
}

/// `grpc-status` in the head of an answer without a body.
#[track_caller]
fn refused(answer: &Whole) -> (&str, &str) {
    assert!(answer.status == 200 && answer.body.is_empty(), "{answer:?}");
    (answer.header("grpc-status"), answer.header("grpc-message"))
}

#[tokio::test]
async fn a_reply_comes_in_the_form_that_was_asked_for() {
    let (_backend, gateway) = start().await;
    let message = framed(b"\x0a\x01a");
    for via in Via::ALL {
        let mut conn = gateway.connect(via).await;
        for (content_type, accept, answered) in [
            ("application/grpc-web", "", "application/grpc-web"),
            ("application/grpc-web+proto", "*/*", "application/grpc-web+proto"),
            ("application/grpc-web+proto", "application/grpc-web-text", "application/grpc-web-text+proto"),
            ("application/grpc-web-text", "application/grpc-web-text", "application/grpc-web-text"),
            ("application/grpc-web-text+proto", "", "application/grpc-web-text+proto"),
            ("application/grpc-web-text", "application/grpc-web", "application/grpc-web"),
        ] {
            let mut headers = vec![("content-type", content_type), ("x-grpc-web", "1"), ("x-user-agent", "grpc-web/1")];
            headers.extend((!accept.is_empty()).then_some(("accept", accept)));
            let sent = if content_type.contains("-text") { text(&message).into() } else { message.clone() };
            let answer = conn.whole("POST", SAY, &headers, Some(sent)).await;
            assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, answered), "{answer:?}");
            let body = if answered.contains("-text") { bytes(&answer.body) } else { answer.body.to_vec() };
            let end = body.strip_prefix(&message[..]).unwrap_or_else(|| panic!("{via:?} {content_type}: {answer:?}"));
            assert!(end[0] == 0x80 && end.ends_with(b"grpc-status: 0\r\n"), "{via:?} {content_type}: {answer:?}");
            assert!(answer.trailers.is_empty(), "trailers are in the body");
            assert_eq!(answer.header("x-backend"), "echo", "initial metadata are headers");
        }
    }
}

#[tokio::test]
async fn text_may_be_padded_anywhere_and_cut_anywhere() {
    let (mut backend, gateway) = start().await;
    let message = framed(b"\x0a\x05abcde");
    for chunk in [1, 2, 3, 4, 5, 7, 100] {
        let sent: String = message.chunks(chunk).map(text).collect();
        for cut in [1, 3, 4, 1000] {
            let mut conn = gateway.connect(Via::H2Tls).await;
            let (mut upload, download) = conn.stream("POST", SAY, TEXT).await;
            for piece in sent.as_bytes().chunks(cut) {
                assert!(upload.send(piece.to_vec()).await);
            }
            upload.finish();
            let answer = download.whole().await;
            assert!(bytes(&answer.body).starts_with(&message), "{chunk} {cut}: {answer:?}");
            let events = backend.call("Say").await.until(Event::Answered).await;
            assert!(events.contains(&Event::Message("abcde".to_owned())), "{events:?}");
        }
    }
}

#[tokio::test]
async fn each_flush_of_text_is_padded_by_itself() {
    let mut backend = RawBackend::start().await;
    let gateway = Gateway::start(Config::to(backend.address)).await;
    let mut conn = gateway.connect(Via::H1).await;
    let mut download = conn.begin("POST", DOWN, TEXT, Some(text(&framed(b"")).into())).await;
    let mut call = backend.call().await;
    call.head();
    let head = download.head().await.expect("a head");
    assert_eq!((head.status().as_u16(), &head.headers()["x-accel-buffering"]), (200, &"no".parse().unwrap()));
    for piece in [&b"\0\0\0\0\x07one"[..], b"two", b"!"] {
        call.data(piece);
        // Nothing of it waits for what comes next.
        assert_eq!(download.piece().await.unwrap().unwrap(), text(piece));
    }
    call.trailers(&[("grpc-status", "0"), ("x-trailer", "bye")]);
    let mut rest = Vec::new();
    while let Some(piece) = download.piece().await {
        rest.extend_from_slice(&piece.unwrap());
    }
    assert_eq!(bytes(&rest), trailers("x-trailer: bye\r\ngrpc-status: 0\r\n"));
}

#[tokio::test]
async fn a_refusal_stands_in_the_head_where_a_page_may_read_it() {
    let mut backend = RawBackend::start().await;
    let cors = "cors: { origins: [ \"https://app.test\" ], credentials: true }";
    let gateway = Gateway::start(Config::to(backend.address).section(cors)).await;
    for via in Via::BOTH {
        for headers in [WEB, TEXT] {
            let mut conn = gateway.connect(via).await;
            let is_text = headers == TEXT;
            let headers = [headers, &[("origin", "https://app.test")]].concat();
            let sent = if is_text { text(&framed(b"")).into() } else { framed(b"") };
            let exchange = conn.whole("POST", SAY, &headers, Some(sent));
            let serve = async {
                let mut call = backend.call().await;
                let head = ok_head().header("grpc-status", "9").header("grpc-message", "no%20way");
                let head = head.header("grpc-status-details-bin", "CAk").header("x-own", "1").header("x-own-bin", "AQ");
                // Whose pages may read is not the backend's to say.
                let head = head.header("access-control-allow-origin", "*");
                call.answer(head.body(()).unwrap(), true);
            };
            let (answer, ()) = tokio::join!(exchange, serve);
            assert_eq!(refused(&answer), ("9", "no way"), "{answer:?}");
            assert_eq!(answer.header("content-type"), headers[0].1);
            assert_eq!(answer.header("grpc-status-details-bin"), "CAk", "{answer:?}");
            assert_eq!((answer.header("x-own"), answer.header("x-own-bin")), ("1", "AQ"), "{answer:?}");
            let origins: Vec<_> = answer.headers.get_all("access-control-allow-origin").iter().collect();
            assert_eq!(origins, ["https://app.test"]);
            assert_eq!(answer.header("access-control-allow-credentials"), "true");
            let exposed: Vec<_> = answer.header("access-control-expose-headers").split(", ").collect();
            for name in ["grpc-status", "grpc-message", "grpc-status-details-bin", "x-own", "x-own-bin"] {
                assert!(exposed.contains(&name), "{name}: {exposed:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_page_may_ask_whether_it_may_call() {
    let backend = Backend::start().await;
    let cors = "cors: { origins: [ \"https://app.test\" ] }";
    let gateway = Gateway::start(Config::to(backend.address).section(cors)).await;
    let names = "content-type,grpc-timeout,x-grpc-web,x-own-bin,x-user-agent";
    for (origin, allowed) in [("https://app.test", names), ("https://evil.test", "")] {
        let headers =
            [("origin", origin), ("access-control-request-method", "POST"), ("access-control-request-headers", names)];
        for via in Via::BOTH {
            let answer = gateway.connect(via).await.whole("OPTIONS", SAY, &headers, None).await;
            assert_eq!(answer.status, 204, "{answer:?}");
            assert_eq!(answer.header("access-control-allow-headers"), allowed, "{answer:?}");
        }
    }
}

#[tokio::test]
async fn a_stream_of_requests_may_be_one_message_and_a_dialogue_is_refused() {
    let (mut backend, gateway) = start().await;
    for via in Via::BOTH {
        for (dialect, headers) in [(Dialect::GrpcWeb, WEB), (Dialect::GrpcWebText, TEXT)] {
            let form = Form::of(dialect).unwrap();
            let message = |text: &str| form.envelope("Msg", &json!({ "text": text }));
            let mut conn = gateway.connect(via).await;
            let download = conn.begin("POST", UP, headers, Some(message("a"))).await;
            let mut reader = Reader::new(download, form, "Sum");
            assert_eq!(reader.next().await, Step::Message(json!({"count": 1, "joined": "a"})));
            let Step::End(end) = reader.next().await else { panic!("the end") };
            assert_eq!((end.how, end.code), (How::Trailers, Some(0)));
            drop(backend.call("Up").await);

            for (path, body) in [
                (UP, [message("a"), message("b")].concat()),
                (SAY, [message("a"), message("b")].concat()),
                ("/tidegate.test.v1.Echo/Chat", message("a").to_vec()),
            ] {
                let answer = conn.whole("POST", path, headers, Some(body.into())).await;
                assert_eq!(refused(&answer).0, "12", "{path}: {answer:?}");
                assert_eq!(answer.header("content-type"), headers[0].1);
            }
        }
    }
    backend.assert_not_called();
}

#[tokio::test]
async fn what_is_framed_wrongly_ends_that_call_alone() {
    let (mut backend, gateway) = start().await;
    let message = framed(b"\x0a\x01a");
    let after = |more: &[u8]| [&message[..], more].concat();
    let cases: [(&str, Headers<'_>, Vec<u8>, &str); 12] = [
        ("trailers", WEB, trailers("a: b\r\n"), "13"),
        ("trailers behind the message", WEB, after(&trailers("a: b\r\n")), "13"),
        ("a reserved flag", WEB, b"\x02\0\0\0\0".to_vec(), "13"),
        ("compressed without a word of it", WEB, b"\x01\0\0\0\0".to_vec(), "13"),
        ("too large", WEB, b"\0\x7f\xff\xff\xff".to_vec(), "8"),
        ("trailers as text", TEXT, text(&trailers("a: b\r\n")).into(), "13"),
        ("bytes for text", TEXT, message.to_vec(), "13"),
        ("no base64", TEXT, b"AAAA*AAA".to_vec(), "13"),
        ("another alphabet", TEXT, b"AAAAAAMK-_==".to_vec(), "13"),
        ("padding within", TEXT, b"AAAA=AAA".to_vec(), "13"),
        ("no padding", TEXT, b"AA".to_vec(), "13"),
        ("white space", TEXT, b" AAA AAA".to_vec(), "13"),
    ];
    for via in Via::BOTH {
        for (what, headers, body, code) in &cases {
            let mut conn = gateway.connect(via).await;
            let answer = conn.whole("POST", SAY, headers, Some(body.clone().into())).await;
            assert_eq!(refused(&answer).0, *code, "{what} {via:?}: {answer:?}");
            assert!(!refused(&answer).1.is_empty(), "{what}");
            assert_eq!(conn.get("/nothing").await.status, 404, "{what}: the connection goes on");
        }
        let mut conn = gateway.connect(via).await;
        let answer = conn.whole("GET", SAY, WEB, None).await;
        assert_eq!((answer.status.as_u16(), answer.header("grpc-status")), (405, "13"), "{answer:?}");
        let headers = [("content-type", "application/grpc-web+thrift")];
        let answer = conn.whole("POST", SAY, &headers, Some(message.clone())).await;
        assert_eq!((answer.status.as_u16(), answer.header("grpc-status")), (415, "3"), "{answer:?}");
    }
    backend.assert_not_called();
    // What is known only after the message went up ends the call too.
    let cut = [
        ("cut within the prefix", WEB, b"\0\0".to_vec()),
        ("cut within a message", WEB, b"\0\0\0\0\x09abc".to_vec()),
        ("cut within four characters", TEXT, b"AAAAAAMKAWEA".to_vec()),
    ];
    for (what, headers, body) in cut {
        let mut conn = gateway.connect(Via::H1).await;
        let answer = conn.whole("POST", SAY, headers, Some(body.into())).await;
        assert_eq!(refused(&answer).0, "13", "{what}: {answer:?}");
    }
}

#[tokio::test]
async fn compressed_messages_pass_both_ways() {
    let mut backend = RawBackend::start().await;
    let gateway = Gateway::start(Config::to(backend.address)).await;
    let message = Bytes::from_static(b"\x01\0\0\0\x03abc");
    for headers in [WEB, TEXT] {
        let is_text = headers == TEXT;
        let mut conn = gateway.connect(Via::H1Tls).await;
        let headers = [headers, &[("grpc-encoding", "gzip"), ("grpc-accept-encoding", "gzip,br")]].concat();
        let sent = if is_text { text(&message).into() } else { message.clone() };
        let exchange = conn.whole("POST", SAY, &headers, Some(sent));
        let serve = async {
            let mut call = backend.call().await;
            assert_eq!(call.headers()["grpc-encoding"], "gzip");
            assert_eq!(call.headers()["grpc-accept-encoding"], "gzip,br");
            assert_eq!(call.requests().await, [&b"abc"[..]]);
            call.answer(ok_head().header("grpc-encoding", "br").body(()).unwrap(), false);
            call.data(message.clone());
            call.trailers(&[("grpc-status", "0")]);
        };
        let (answer, ()) = tokio::join!(exchange, serve);
        assert_eq!(answer.header("grpc-encoding"), "br", "{answer:?}");
        let body = if is_text { bytes(&answer.body) } else { answer.body.to_vec() };
        assert!(body.starts_with(&message), "{answer:?}");
    }
}

#[tokio::test]
async fn an_end_that_could_be_read_as_a_message_is_never_written() {
    let mut backend = RawBackend::start().await;
    let gateway = Gateway::start(Config::to(backend.address)).await;
    for via in Via::BOTH {
        for headers in [WEB, TEXT] {
            let mut conn = gateway.connect(via).await;
            let sent = if headers == TEXT { text(&framed(b"")).into() } else { framed(b"") };
            let mut download = conn.begin("POST", DOWN, headers, Some(sent)).await;
            let mut call = backend.call().await;
            call.head();
            download.head().await.expect("a head");
            call.data(&b"\0\0\0\0\x05half"[..]);
            let piece = download.piece().await.unwrap().unwrap();
            let piece = if headers == TEXT { bytes(&piece) } else { piece.to_vec() };
            assert_eq!(piece, b"\0\0\0\0\x05half");
            call.trailers(&[("grpc-status", "0")]);
            let broken = download.piece().await;
            assert!(
                matches!(broken, Some(Err(Broken::Reset(_) | Broken::Connection(_)))),
                "{via:?}: half a message is no end: {broken:?}"
            );
        }
    }
}

#[tokio::test]
async fn an_upstream_cannot_write_the_trailers() {
    let mut backend = RawBackend::start().await;
    let gateway = Gateway::start(Config::to(backend.address)).await;
    let mut conn = gateway.connect(Via::H2c).await;
    let exchange = conn.whole("POST", DOWN, WEB, Some(framed(b"")));
    let serve = async {
        let mut call = backend.call().await;
        call.head();
        call.data([framed(b"ok"), trailers("grpc-status: 0\r\n").into()].concat());
        call.cancelled().await;
    };
    let (answer, ()) = tokio::join!(exchange, serve);
    let rest = answer.body.strip_prefix(&framed(b"ok")[..]).expect("what stood before it");
    assert_eq!(rest[0], 0x80, "{answer:?}");
    assert!(String::from_utf8_lossy(rest).contains("grpc-status: 13\r\n"), "{answer:?}");
}

#[tokio::test]
async fn metadata_passes_both_ways_but_for_what_is_of_http() {
    let mut backend = RawBackend::start().await;
    let gateway = Gateway::start(Config::to(backend.address)).await;
    let mut conn = gateway.connect(Via::H2Tls).await;
    let own = [("x-own", "1"), ("x-own-bin", "AQ=="), ("authorization", "Bearer t"), ("accept-language", "de")];
    let of_http = [
        ("origin", "https://app.test"),
        ("referer", "https://app.test/"),
        ("sec-fetch-mode", "cors"),
        ("accept", "application/grpc-web"),
        ("accept-encoding", "gzip"),
        ("content-language", "de"),
        ("user-agent", "browser"),
        ("x-user-agent", "grpc-web-javascript/0.1"),
        ("x-grpc-web", "1"),
        ("x-forwarded-for", "6.6.6.6"),
        ("grpc-internal", "1"),
    ];
    let headers = [&[("content-type", "application/grpc-web")], &own[..], &of_http[..]].concat();
    let exchange = conn.whole("POST", SAY, &headers, Some(framed(b"")));
    let serve = async {
        let mut call = backend.call().await;
        let seen = call.headers();
        for (name, value) in
            [("x-own", "1"), ("x-own-bin", "AQ"), ("authorization", "Bearer t"), ("accept-language", "de")]
        {
            assert_eq!(seen[name], value);
        }
        assert_eq!(
            (&seen["content-type"], &seen["te"]),
            (&"application/grpc".parse().unwrap(), &"trailers".parse().unwrap())
        );
        assert!(seen["x-forwarded-for"] == "127.0.0.1" && seen["user-agent"].to_str().unwrap().starts_with("tidegate"));
        for (name, _) in of_http.iter().filter(|(name, _)| !matches!(*name, "user-agent" | "x-forwarded-for")) {
            assert!(!seen.contains_key(*name), "{name}: {seen:?}");
        }
        let head = ok_head().header("x-initial", "1").header("x-initial", "2").header("x-initial-bin", "AQ");
        call.answer(
            head.header("content-encoding", "gzip").header("access-control-max-age", "9").body(()).unwrap(),
            false,
        );
        call.data(framed(b""));
        call.trailers(&[("grpc-status", "0"), ("x-trailer", "3"), ("x-trailer", "4"), ("x-trailer-bin", "_w")]);
    };
    let (answer, ()) = tokio::join!(exchange, serve);
    let initial: Vec<_> = answer.headers.get_all("x-initial").iter().collect();
    assert_eq!(initial, ["1", "2"], "{answer:?}");
    assert_eq!(answer.header("x-initial-bin"), "AQ", "{answer:?}");
    assert!(["content-encoding", "access-control-max-age"].iter().all(|name| !answer.headers.contains_key(*name)));
    let block = answer.body.strip_prefix(&framed(b"")[..]).and_then(|rest| rest.strip_prefix(&[0x80, 0, 0, 0, 63]));
    let mut lines: Vec<_> = std::str::from_utf8(block.expect("trailers")).unwrap().lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["grpc-status: 0", "x-trailer-bin: _w", "x-trailer: 3", "x-trailer: 4"]);
}

#[tokio::test]
async fn a_service_without_a_schema_is_reached_in_grpc_web_too() {
    let mut backend = RawBackend::start().await;
    let prefix = "routes:\n  - match: { service: other. }\n    upstream: test";
    let gateway = Gateway::start(Config::to(backend.address).section(prefix)).await;
    for (content_type, upstream) in [
        ("application/grpc-web", "application/grpc"),
        ("application/grpc-web+thrift", "application/grpc+thrift"),
        ("application/grpc-web-text+json", "application/grpc+json"),
    ] {
        let is_text = content_type.contains("-text");
        let mut conn = gateway.connect(Via::H1).await;
        let sent = if is_text { text(&framed(b"any")).into() } else { framed(b"any") };
        let headers = [("content-type", content_type)];
        let exchange = conn.whole("POST", "/other.Service/Method", &headers, Some(sent));
        let serve = async {
            let mut call = backend.call().await;
            assert_eq!(call.headers()["content-type"], upstream);
            assert_eq!(call.requests().await, [&b"any"[..]]);
            call.head();
            call.data([framed(b"1"), framed(b"2")].concat());
            call.trailers(&[("grpc-status", "0")]);
        };
        let (answer, ()) = tokio::join!(exchange, serve);
        assert_eq!(answer.header("content-type"), content_type);
        let body = if is_text { bytes(&answer.body) } else { answer.body.to_vec() };
        assert_eq!(body, [&framed(b"1")[..], &framed(b"2"), &trailers("grpc-status: 0\r\n")].concat());
    }
}
