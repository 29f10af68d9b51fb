//! What the gateway says to requests that are wrong: the right status, a text that names the place, and no more harm.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::{
    backend::{Backend, framed},
    harness::{
        Config, Conn, Gateway, Via, Whole,
        raw::RawConn,
        ws::{Frame, WebSocket},
    },
};

async fn start() -> (Backend, Gateway) {
    let backend = Backend::start().await;
    let gateway = Gateway::start(Config::to(backend.address).small_messages().limit("header_bytes_max", "8KiB")).await;
    (backend, gateway)
}

/// The answer is `google.rpc.Status` with this HTTP status and code, its text and details name every one of `places`.
#[track_caller]
pub fn assert_refused(what: &str, answer: &Whole, status: u16, code: u32, places: &[&str]) {
    assert_eq!(answer.status.as_u16(), status, "{what}: {answer:?}");
    assert_eq!(answer.header("content-type").split(';').next(), Some("application/json"), "{what}: {answer:?}");
    let body = answer.json();
    let keys: BTreeSet<_> = body.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(keys, BTreeSet::from(["code", "details", "message"]), "{what}");
    assert_eq!(body["code"], code, "{what}: {body}");
    assert!(body["message"].as_str().is_some_and(|text| !text.is_empty()), "{what}: {body}");
    let reason = &body["details"][0];
    assert_eq!(reason["@type"], "type.googleapis.com/google.rpc.ErrorInfo", "{what}: {body}");
    assert_eq!(reason["domain"], "tidegate", "{what}: {body}");
    for place in places {
        assert!(body.to_string().contains(place), "{what}: the place {place:?} is not named: {body}");
    }
}

/// Bodies of `POST /echo/all`, a text that says where it is wrong, each with code 3.
const BODIES: &[(&str, &str, &[&str])] = &[
    // not JSON
    ("cut short", r#"{"s":"a""#, &["8"]),
    ("no value", r#"{"s":}"#, &["5"]),
    ("trailing comma", r#"{"s":"a",}"#, &["9"]),
    ("comment", "{/* */}", &["1"]),
    ("single quotes", "{'s':'a'}", &["1"]),
    ("two documents", r#"{"s":"a"}{"s":"b"}"#, &["9"]),
    ("byte order mark", "\u{feff}{}", &["0"]),
    ("leading zero", r#"{"i32":01}"#, &["i32"]),
    ("bare word", r#"{"d":nan}"#, &["d"]),
    ("raw control character", "{\"s\":\"a\nb\"}", &["s"]),
    ("lone surrogate", r#"{"s":"\ud800"}"#, &["s"]),
    ("bad escape", r#"{"s":"\x41"}"#, &["s"]),
    ("not an object", "[1]", &["0"]),
    ("a scalar", "7", &["0"]),
    // not this message
    ("unknown field", r#"{"nope":1}"#, &["nope"]),
    ("unknown nested field", r#"{"n":{"child":{"nope":1}}}"#, &["n.child.nope"]),
    ("unknown field in a list", r#"{"rn":[{"s":"a"},{"nope":1}]}"#, &["rn[1].nope"]),
    ("duplicate field", r#"{"s":"a","s":"b"}"#, &["s"]),
    ("a field by both its names", r#"{"snakeCaseField":"a","snake_case_field":"b"}"#, &["snakeCaseField"]),
    ("two of a oneof", r#"{"os":"a","oi":1}"#, &["choice"]),
    ("string for a number", r#"{"i32":"x"}"#, &["i32"]),
    ("object for a string", r#"{"s":{}}"#, &["s"]),
    ("number for a string", r#"{"s":1}"#, &["s"]),
    ("string for a bool", r#"{"b":"true"}"#, &["b"]),
    ("object for a list", r#"{"rs":{}}"#, &["rs"]),
    ("null in a list", r#"{"rs":[null]}"#, &["rs[0]"]),
    ("list for a map", r#"{"ms":[]}"#, &["ms"]),
    ("no key of the map", r#"{"mi":{"x":{}}}"#, &["mi"]),
    ("duplicate map key", r#"{"ms":{"a":"1","a":"2"}}"#, &["ms"]),
    ("unknown enum value", r#"{"c":"PURPLE"}"#, &["c", "PURPLE"]),
    ("not base64", r#"{"by":"*"}"#, &["by"]),
    // out of range
    ("int32 too large", r#"{"i32":2147483648}"#, &["i32"]),
    ("int32 with a fraction", r#"{"i32":1.5}"#, &["i32"]),
    ("uint32 negative", r#"{"u32":-1}"#, &["u32"]),
    ("int64 too large", r#"{"i64":"9223372036854775808"}"#, &["i64"]),
    ("uint64 too large", r#"{"u64":18446744073709551616}"#, &["u64"]),
    ("float too large", r#"{"f":1e39}"#, &["f"]),
    ("double too large", r#"{"d":1e400}"#, &["d"]),
    // well-known types
    ("timestamp that is none", r#"{"ts":"yesterday"}"#, &["ts"]),
    ("timestamp out of range", r#"{"ts":"0000-01-01T00:00:00Z"}"#, &["ts"]),
    ("duration without its unit", r#"{"dur":"1"}"#, &["dur"]),
    ("duration out of range", r#"{"dur":"315576000001s"}"#, &["dur"]),
    ("field mask that is no list of names", r#"{"mask":"a_b"}"#, &["mask"]),
    ("Any without a type", r#"{"any":{"value":1}}"#, &["any"]),
    ("Any of an unknown type", r#"{"any":{"@type":"type.googleapis.com/no.Such"}}"#, &["any", "no.Such"]),
];

#[tokio::test]
async fn a_body_that_is_wrong_is_refused_with_its_place() {
    let (mut backend, gateway) = start().await;
    for via in Via::BOTH {
        let mut conn = gateway.connect(via).await;
        for (what, body, places) in BODIES {
            let headers = [("content-type", "application/json")];
            let answer = conn.whole("POST", "/echo/all", &headers, Some((*body).into())).await;
            assert_refused(what, &answer, 400, 3, places);
        }
        let not_utf8: &[(&str, &'static [u8])] = &[
            ("a bare byte", b"{\"s\":\"\xff\"}"),
            ("overlong", b"{\"s\":\"\xc0\x80\"}"),
            ("surrogate", b"{\"s\":\"\xed\xa0\x80\"}"),
        ];
        for (what, body) in not_utf8 {
            let answer =
                conn.whole("POST", "/echo/all", &[("content-type", "application/json")], Some((*body).into())).await;
            assert_refused(what, &answer, 400, 3, &["UTF-8"]);
        }
        assert_eq!(conn.post("/echo/all", &json!({"s": "still here"})).await.json(), json!({"s": "still here"}));
        backend.call("All").await;
    }
    backend.assert_not_called();
    gateway.assert_nothing_internal();
}

#[tokio::test]
async fn depth_bombs_are_refused_and_depth_itself_is_not() {
    let (_backend, gateway) = start().await;
    let mut conn = gateway.connect(Via::H2Tls).await;
    let nested = |depth: usize| format!("{{\"n\":{}{{}}{}}}", "{\"child\":".repeat(depth), "}".repeat(depth));
    let lists = |depth: usize| format!("{{\"val\":{}{}}}", "[".repeat(depth), "]".repeat(depth));
    for (what, body, refused) in [
        ("nested messages", nested(50), false),
        ("nested messages beyond the depth", nested(200), true),
        ("a bomb of messages", nested(5_000), true),
        ("nested lists", lists(40), false),
        ("a bomb of lists", lists(30_000), true),
        ("a bomb that never closes", format!("{{\"val\":{}", "[".repeat(60_000)), true),
        ("a bomb of objects", format!("{{\"st\":{}", "{\"a\":".repeat(10_000)), true),
    ] {
        let answer = conn.whole("POST", "/echo/all", &[("content-type", "application/json")], Some(body.into())).await;
        if refused {
            assert_refused(what, &answer, 400, 3, &[]);
        } else {
            assert_eq!(answer.status, 200, "{what}: {answer:?}");
        }
    }
    gateway.assert_nothing_internal();
}

/// Targets as they go onto the wire, with status and code, and what the text names.
const TARGETS: &[(&str, u16, u32, &[&str])] = &[
    // query parameters of All
    ("GET /q?nope=1", 400, 3, &["nope"]),
    ("GET /q?n.nope=1", 400, 3, &["n.nope"]),
    ("GET /q?i32=x", 400, 3, &["i32"]),
    ("GET /q?i32=2147483648", 400, 3, &["i32"]),
    ("GET /q?i32=1&i32=2", 400, 3, &["i32"]),
    ("GET /q?c=PURPLE", 400, 3, &["c"]),
    ("GET /q?n=1", 400, 3, &["n"]),
    ("GET /q?s=%", 400, 3, &["s"]),
    ("GET /q?s=%4", 400, 3, &["s"]),
    ("GET /q?s=%zz", 400, 3, &["s"]),
    ("GET /q?s=%ff", 400, 3, &["s"]),
    ("GET /q?ts=yesterday", 400, 3, &["ts"]),
    ("GET /p1/x?s=y", 400, 3, &["s"]),
    // `body: "*"` leaves no parameters
    ("POST /b1?s=x", 400, 3, &["s"]),
    // path variables
    ("GET /p1/%", 400, 3, &[]),
    ("GET /p1/%zz", 400, 3, &[]),
    ("GET /p1/%ff", 400, 3, &["s"]),
    ("GET /p6/a/x/notanumber", 400, 3, &["i32"]),
    // non-canonical paths
    ("GET //p1/x", 400, 3, &[]),
    ("GET /p1//x", 400, 3, &[]),
    ("GET /p1/./x", 400, 3, &[]),
    ("GET /p1/../q", 400, 3, &[]),
    ("GET /p1/%2e%2e/q", 400, 3, &[]),
    ("GET /p1/%2E", 400, 3, &[]),
    ("GET /p1\\x", 400, 3, &[]),
    ("GET /p3/things/a/../../q", 400, 3, &[]),
    // no such thing
    ("GET /nothing/here", 404, 5, &[]),
    ("GET /p1/a/b/c", 404, 5, &[]),
    ("DELETE /echo/say", 405, 12, &[]),
    ("POST /tidegate.test.v1.Echo/Nope", 404, 5, &[]),
];

#[tokio::test]
async fn a_target_that_is_wrong_is_refused_with_its_place() {
    let (mut backend, gateway) = start().await;
    let mut alive = 0;
    for via in [Via::H1, Via::H1Tls] {
        for (line, status, code, places) in TARGETS {
            let mut conn = RawConn::open(&gateway, via).await;
            conn.write(format!("{line} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 0\r\n\r\n")).await;
            let answer = conn.answer(false).await.unwrap_or_else(|| panic!("{line}: closed without an answer"));
            if answer.body.is_empty() && *status == 400 {
                // Refused by the HTTP parser itself (RFC 9112 §3): a status, and the end of the connection.
                assert_eq!(answer.status.as_u16(), 400, "{line}");
                assert!(conn.is_closed().await, "{line}");
                assert!(line.contains('\\'), "{line}: only what is no URI at all may be refused without a text");
                continue;
            }
            assert_refused(line, &answer, *status, *code, places);
            assert_eq!(conn.request("GET /echo/say/still").await.status, 200, "{line}: the connection survives");
            alive += 1;
        }
    }
    for _ in 0..alive {
        backend.call("Say").await;
    }
    backend.assert_not_called();
    gateway.assert_nothing_internal();
}

#[tokio::test]
async fn a_target_without_a_slash_is_refused() {
    let (_backend, gateway) = start().await;
    for line in ["GET echo/say/x", "GET ?x=1", "GET  /echo/say/x", "OPTIONS nothing", "GET \u{e9}"] {
        let mut conn = RawConn::open(&gateway, Via::H1).await;
        conn.write(format!("{line} HTTP/1.1\r\nhost: localhost\r\n\r\n")).await;
        let answer = conn.answer(false).await.unwrap_or_else(|| panic!("{line}: closed without an answer"));
        assert_eq!(answer.status, 400, "{line}: {answer:?}");
    }
    gateway.assert_nothing_internal();
}

#[tokio::test]
async fn a_wrong_method_is_told_the_right_ones() {
    let (_backend, gateway) = start().await;
    for via in Via::ALL {
        let mut conn = gateway.connect(via).await;
        for (method, target, allowed) in [
            ("DELETE", "/echo/say", vec!["POST"]),
            ("PUT", "/echo/down", vec!["GET", "HEAD", "POST"]),
            ("POST", "/q", vec!["GET", "HEAD"]),
        ] {
            let answer = conn.whole(method, target, &[], None).await;
            assert_refused(target, &answer, 405, 12, &["METHOD_NOT_ALLOWED"]);
            let mut allow: Vec<_> = answer.header("allow").split(',').map(str::trim).collect();
            allow.retain(|verb| *verb != "OPTIONS");
            allow.sort_unstable();
            assert_eq!(allow, allowed, "{method} {target}");
        }
    }
}

#[tokio::test]
async fn oversize_bodies_and_headers_are_refused_and_the_next_request_is_not() {
    let (mut backend, gateway) = start().await;
    let large = json!({"text": "x".repeat(100_000)});
    let long = "x".repeat(20_000);
    for via in Via::ALL {
        let answer = gateway.connect(via).await.post("/echo/say", &large).await;
        assert_refused("a body", &answer, 413, 8, &["MESSAGE_TOO_LARGE", "65536"]);

        let answer = gateway.connect(via).await.whole("GET", "/echo/say/x", &[("x-long", &long)], None).await;
        assert_eq!(answer.status, 431, "{via:?}: a header: {answer:?}");

        let mut conn = gateway.connect(via).await;
        if via.is_h2() {
            assert_eq!(conn.post("/echo/say", &large).await.status, 413);
            assert_eq!(conn.whole("GET", "/echo/say/x", &[("x-long", &long)], None).await.status, 431);
        }
        assert_eq!(conn.get("/echo/say/after").await.status, 200, "{via:?}");
        backend.call("Say").await;
    }
    backend.assert_not_called();
    gateway.assert_nothing_internal();
}

#[tokio::test]
async fn a_body_that_claims_to_be_too_large_is_refused_before_it_is_sent() {
    let (_backend, gateway) = start().await;
    let mut conn = RawConn::open(&gateway, Via::H1).await;
    conn.write("POST /echo/say HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 9999999\r\n\r\n").await;
    let answer = conn.answer(false).await.expect("an answer");
    assert_refused("content-length", &answer, 413, 8, &["MESSAGE_TOO_LARGE"]);
}

#[tokio::test]
async fn a_media_type_that_nobody_speaks_is_refused() {
    let (_backend, gateway) = start().await;
    let mut conn = gateway.connect(Via::H2Tls).await;
    for (what, headers, status) in [
        ("a form that is JSON", vec![("content-type", "application/x-www-form-urlencoded")], 400),
        ("text", vec![("content-type", "text/plain")], 415),
        ("not what it says", vec![("content-type", "application/json"), ("content-encoding", "br")], 400),
    ] {
        let answer = conn.whole("POST", "/echo/say", &headers, Some(r#"{"text":"a"}"#.into())).await;
        assert_refused(what, &answer, status, 3, &[]);
    }
    gateway.assert_nothing_internal();
}

#[tokio::test]
async fn a_timeout_that_is_none_is_refused() {
    let (mut backend, gateway) = start().await;
    let mut conn = gateway.connect(Via::H1).await;
    for value in ["x", "-1", "1e9999", "nan", "", "1s"] {
        let answer = conn.whole("GET", "/echo/say/x", &[("x-request-timeout", value)], None).await;
        assert_refused(value, &answer, 400, 3, &["x-request-timeout"]);
    }
    let mut conn = gateway.connect(Via::H2Tls).await;
    for value in ["x", "1", "-1S", "123456789S", "1 S", ""] {
        let headers = [("content-type", "application/grpc"), ("te", "trailers"), ("grpc-timeout", value)];
        let answer = conn.whole("POST", "/tidegate.test.v1.Echo/Say", &headers, Some(framed(b""))).await;
        let status = grpc_status(&answer);
        assert_eq!((answer.status.as_u16(), status.0), (200, 3), "{value:?}: {answer:?}");
        assert!(status.1.contains("grpc-timeout"), "{value:?}: {status:?}");
    }
    backend.assert_not_called();
    gateway.assert_nothing_internal();
}

#[tokio::test]
async fn a_body_that_is_still_arriving_at_the_deadline_is_refused() {
    let (mut backend, gateway) = start().await;
    for via in [Via::H1, Via::H2Tls] {
        let mut conn = gateway.connect(via).await;
        let headers = [("content-type", "application/json"), ("x-request-timeout", "0.2")];
        let (mut upload, download) = conn.stream("POST", "/echo/say", &headers).await;
        assert!(upload.send(" ").await, "{via:?}");
        let answer = download.whole().await;
        assert_refused("late body", &answer, 504, 4, &["DEADLINE_EXCEEDED", "request"]);
    }
    let mut conn = gateway.connect(Via::H2Tls).await;
    let headers = [("content-type", "application/grpc"), ("te", "trailers"), ("grpc-timeout", "200m")];
    let (_upload, download) = conn.stream("POST", "/tidegate.test.v1.Echo/Say", &headers).await;
    let (code, text) = grpc_status(&download.whole().await);
    assert_eq!(code, 4, "{text}");
    assert!(text.contains("request"), "{text}");
    backend.assert_not_called();
    gateway.assert_nothing_internal();
}

#[tokio::test]
async fn a_grpc_call_whose_message_never_comes_is_given_up() {
    let mut backend = Backend::start().await;
    let config = Config::to(backend.address).limit("body_timeout", "200ms");
    let gateway = Gateway::start(config).await;
    let mut conn = gateway.connect(Via::H2Tls).await;
    let headers = [("content-type", "application/grpc"), ("te", "trailers")];
    for method in ["Say", "Down"] {
        let path = format!("/tidegate.test.v1.Echo/{method}");
        let (_upload, download) = conn.stream("POST", &path, &headers).await;
        let (code, text) = grpc_status(&download.whole().await);
        assert_eq!((code, text.as_str()), (4, "the request's body did not arrive in time"), "{method}");
    }
    backend.assert_not_called();
}

#[tokio::test]
async fn requests_that_can_be_read_in_two_ways_are_refused() {
    let (mut backend, gateway) = start().await;
    let post = "POST /echo/say HTTP/1.1\r\ncontent-type: application/json\r\n";
    for (what, request, status, code, place) in [
        ("no host", "GET /echo/say/x HTTP/1.1\r\n\r\n".to_owned(), 400, 3, "host"),
        ("two hosts", "GET /echo/say/x HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n".to_owned(), 400, 3, "host"),
        (
            "a coding that nobody undoes",
            format!("{post}host: a\r\ntransfer-encoding: gzip, chunked\r\n\r\n2\r\n{{}}\r\n0\r\n\r\n"),
            501,
            12,
            "transfer-encoding",
        ),
        (
            "a chunk without a size",
            format!("{post}host: a\r\ntransfer-encoding: chunked\r\n\r\nx\r\n{{}}\r\n0\r\n\r\n"),
            400,
            3,
            "framed",
        ),
    ] {
        let mut conn = RawConn::open(&gateway, Via::H1).await;
        conn.write(request).await;
        let answer = conn.answer(false).await.unwrap_or_else(|| panic!("{what}: no answer"));
        assert_refused(what, &answer, status, code, &[place]);
    }
    backend.assert_not_called();
    gateway.assert_nothing_internal();
}

#[tokio::test]
async fn grpc_framing_that_is_wrong_is_refused_in_grpc() {
    let (_backend, gateway) = start().await;
    let mut conn = gateway.connect(Via::H2Tls).await;
    let method = "/tidegate.test.v1.Echo/Say";
    let two = [framed(b"\x0a\x01a"), framed(b"\x0a\x01b")].concat();
    for (what, path, body, codes) in [
        ("cut within a message", method, b"\0\0\0\0\x09abc".to_vec(), vec![3, 13]),
        ("cut within a prefix", method, b"\0\0".to_vec(), vec![3, 13]),
        ("compressed without a word of it", method, b"\x01\0\0\0\0".to_vec(), vec![3, 12, 13]),
        ("too large", method, b"\0\0\x7f\xff\xff".to_vec(), vec![8]),
        // What a backend makes of it passes through: tonic reads no further than the first.
        ("two messages for one", method, two, vec![0, 3, 12, 13]),
        ("no message", method, Vec::new(), vec![3, 12, 13]),
        ("no such method", "/tidegate.test.v1.Echo/Nope", framed(b"").to_vec(), vec![12]),
        ("no such service", "/no.Such/Nope", framed(b"").to_vec(), vec![12]),
        ("no method's path", "/tidegate.test.v1.Echo", framed(b"").to_vec(), vec![12]),
        ("a query, which is no part of the path", "/tidegate.test.v1.Echo/Say?a=b", framed(b"").to_vec(), vec![0]),
    ] {
        let headers = [("content-type", "application/grpc"), ("te", "trailers")];
        let answer = conn.whole("POST", path, &headers, Some(body.into())).await;
        assert_eq!(answer.status, 200, "{what}: {answer:?}");
        assert_eq!(answer.header("content-type"), "application/grpc", "{what}: {answer:?}");
        let (code, text) = grpc_status(&answer);
        assert!(codes.contains(&code), "{what}: {code} {text:?}");
        assert!(code == 0 || !text.is_empty(), "{what}");
    }
    assert_eq!(conn.get("/echo/say/after").await.status, 200);
}

/// Status and message of a gRPC answer, wherever they stand.
fn grpc_status(answer: &Whole) -> (u32, String) {
    let trailers = if answer.trailers.is_empty() { &answer.headers } else { &answer.trailers };
    let code = trailers.get("grpc-status").unwrap_or_else(|| panic!("no grpc-status: {answer:?}"));
    let text = trailers
        .get("grpc-message")
        .map_or_else(String::new, |value| tidegate::wire::metadata::decode_message(value.as_bytes()));
    (code.to_str().unwrap().parse().unwrap(), text)
}

#[tokio::test]
async fn a_websocket_that_speaks_wrongly_is_closed_with_the_reason() {
    let (_backend, gateway) = start().await;
    let text = |text: &str| Frame::Text(text.to_owned());
    for (what, frame, codes, places) in [
        ("not JSON", text("{"), vec![1007], vec![]),
        ("an unknown field", text(r#"{"nope":1}"#), vec![1007, 4003], vec!["nope"]),
        ("a wrong type", text(r#"{"n":"x"}"#), vec![1007, 4003], vec!["n"]),
        ("not protobuf", Frame::Binary(vec![0xff; 8]), vec![1007], vec![]),
        ("too large", text(&json!({"text": "x".repeat(100_000)}).to_string()), vec![1009], vec![]),
    ] {
        let mut socket = WebSocket::open(&gateway, Via::H1Tls, "/echo/chat", &[]).await.expect("an upgrade");
        match frame {
            Frame::Text(text) => socket.text(text).await,
            Frame::Binary(bytes) => socket.binary(bytes).await,
            _ => unreachable!("a message"),
        };
        let Frame::Close(Some((code, reason))) = socket.next().await else { panic!("{what}: no close frame") };
        assert!(codes.contains(&code), "{what}: {code} {reason:?}");
        assert!(!reason.is_empty() && places.iter().all(|place| reason.contains(place)), "{what}: {code} {reason:?}");
    }
    gateway.assert_nothing_internal();
}

#[tokio::test]
async fn a_websocket_that_mixes_text_and_binary_is_closed_with_1003() {
    let (_backend, gateway) = start().await;
    let headers = [("sec-websocket-protocol", "tidegate.proto")];
    let mut socket = WebSocket::open(&gateway, Via::H1Tls, "/echo/chat", &headers).await.expect("an upgrade");
    assert_eq!(socket.headers["sec-websocket-protocol"], "tidegate.proto");
    socket.binary(b"\x0a\x01a".to_vec()).await;
    assert_eq!(socket.next().await, Frame::Binary(b"\x0a\x01a".to_vec()));
    gateway.assert_nothing_internal();
}

#[tokio::test]
async fn an_upgrade_that_is_none_is_refused() {
    let (mut backend, gateway) = start().await;
    let key = "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let base = "connection: upgrade\r\nupgrade: websocket\r\n";
    for (what, target, head, status) in [
        ("no key", "/echo/chat", format!("{base}sec-websocket-version: 13\r\n"), 400),
        ("a short key", "/echo/chat", format!("{base}sec-websocket-version: 13\r\nsec-websocket-key: YQ==\r\n"), 400),
        ("an old version", "/echo/chat", format!("{base}{key}sec-websocket-version: 8\r\n"), 426),
        ("no such path", "/nothing", format!("{base}{key}sec-websocket-version: 13\r\n"), 404),
        (
            "another site",
            "/echo/chat",
            format!("{base}{key}sec-websocket-version: 13\r\norigin: https://evil.test\r\n"),
            403,
        ),
    ] {
        let mut conn = RawConn::open(&gateway, Via::H1).await;
        conn.write(format!("GET {target} HTTP/1.1\r\nhost: localhost\r\n{head}\r\n")).await;
        let answer = conn.answer(false).await.unwrap_or_else(|| panic!("{what}: closed without an answer"));
        assert_eq!(answer.status.as_u16(), status, "{what}: {answer:?}");
        assert!(!answer.body.is_empty(), "{what}: a text says why: {answer:?}");
    }
    backend.assert_not_called();
    gateway.assert_nothing_internal();
}

#[tokio::test]
async fn cross_site_pages_cannot_call_by_get() {
    let (mut backend, gateway) = start().await;
    let mut conn = gateway.connect(Via::H1).await;
    // Bare and unary: Say is NO_SIDE_EFFECTS, Bare is not.
    let path = "/tidegate.test.v1.Echo/Bare?message=%7B%7D";
    let headers = [("accept", "text/event-stream")];
    let answer = conn.whole("GET", path, &headers, None).await;
    assert_eq!(answer.status, 405, "{answer:?}");
    let path = "/tidegate.test.v1.Echo/Down";
    for headers in [
        vec![("accept", "text/event-stream"), ("origin", "https://evil.test")],
        vec![("accept", "text/event-stream"), ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors")],
    ] {
        let answer = conn.whole("GET", path, &headers, None).await;
        assert_eq!(answer.status, 403, "{headers:?}: {answer:?}");
    }
    backend.assert_not_called();
    gateway.assert_nothing_internal();
}

#[tokio::test]
async fn clients_faults_are_recorded_as_theirs() {
    let (_backend, gateway) = start().await;
    let mut conn = gateway.connect(Via::H1).await;
    for (id, method, target, body, code) in [
        ("fault-json", "POST", "/echo/say", Some("{"), "INVALID_ARGUMENT"),
        ("fault-query", "GET", "/q?nope=1", None, "INVALID_ARGUMENT"),
        ("fault-path", "GET", "/nothing", None, "NOT_FOUND"),
        ("fault-verb", "DELETE", "/echo/say", None, "UNIMPLEMENTED"),
    ] {
        let headers = [("x-request-id", id), ("content-type", "application/json")];
        let answer = conn.whole(method, target, &headers, body.map(Into::into)).await;
        assert_eq!(answer.header("x-request-id"), id, "{answer:?}");
        let record = gateway.access_of(id).await;
        assert_eq!(record["code"], code, "{record}");
        assert_eq!(record["origin"], "client", "{record}");
    }
    let metrics = gateway.admin_get("/metrics").await.text();
    let internal = metrics.lines().find(|line| line.contains("code=\"INTERNAL\"") && !line.ends_with(" 0"));
    assert_eq!(internal, None);
}

#[tokio::test]
async fn http2_paths_that_are_not_canonical_are_refused_too() {
    let (_backend, gateway) = start().await;
    let mut conn: Conn = gateway.connect(Via::H2Tls).await;
    for target in ["//p1/x", "/p1//x", "/p1/./x", "/p1/../q", "/p1/%2e%2e/q", "/p1/%zz"] {
        let answer = conn.get(target).await;
        assert_refused(target, &answer, 400, 3, &[]);
    }
    let answer: Value = conn.get("/p1/fine").await.json();
    assert_eq!(answer["requestJson"], r#"{"s":"fine"}"#);
}
