//! Encodings that requests and replies choose apart from each other: JSON, protobuf, JSON text sequences, and the options
//! of JSON (PROTOCOLS §1, §2).

use prost::Message;
use serde_json::{Value, json};

use crate::{
    backend::Backend,
    harness::{
        Config, Conn, Gateway, Via, Whole,
        binary::{decode, delimited, encode},
        grpc_call::RpcStatus,
        ws::{Frame, WebSocket},
    },
};

const JSON: &str = "application/json";
const NDJSON: &str = "application/x-ndjson";
const JSON_SEQ: &str = "application/json-seq";
const PROTOBUF: &str = "application/x-protobuf";

async fn start() -> (Backend, Gateway) {
    let backend = Backend::start().await;
    let gateway = Gateway::start(Config::to(backend.address).small_messages()).await;
    (backend, gateway)
}

async fn post(conn: &mut Conn, target: &str, sent: &str, accept: &str, body: impl Into<Vec<u8>>) -> Whole {
    let headers = [("content-type", sent), ("accept", accept)];
    let headers: Vec<_> = headers.into_iter().filter(|(_, value)| !value.is_empty()).collect();
    conn.whole("POST", target, &headers, Some(body.into().into())).await
}

/// A message in an encoding.
fn written(kind: &str, name: &str, message: &Value) -> Vec<u8> {
    if kind.contains("protobuf") { encode(name, message) } else { message.to_string().into_bytes() }
}

fn read(answer: &Whole, name: &str) -> Value {
    if answer.header("content-type").contains("protobuf") { decode(name, &answer.body) } else { answer.json() }
}

#[track_caller]
fn assert_refused(answer: &Whole, status: u16, code: u32, place: &str) {
    assert_eq!(answer.status.as_u16(), status, "{answer:?}");
    let (told, text) = if answer.header("content-type").contains("protobuf") {
        let status = RpcStatus::decode(&*answer.body).expect("a google.rpc.Status");
        assert!(status.details[0].type_url.ends_with("/google.rpc.ErrorInfo"), "{status:?}");
        (u32::try_from(status.code).unwrap(), status.message)
    } else {
        (u32::try_from(answer.json()["code"].as_u64().unwrap()).unwrap(), answer.json()["message"].to_string())
    };
    assert_eq!(told, code, "{answer:?}");
    assert!(text.contains(place), "{place:?} is not named: {text}");
}

#[tokio::test]
async fn a_request_in_one_encoding_is_answered_in_any_other() {
    let (_backend, gateway) = start().await;
    let message = json!({"s": "a", "i64": "7", "n": {"s": "b"}, "rs": ["c", "d"], "by": "AP8="});
    for via in Via::BOTH {
        let mut conn = gateway.connect(via).await;
        for target in ["/echo/all", "/tidegate.test.v1.Echo/All"] {
            for sent in [JSON, PROTOBUF, "application/protobuf"] {
                for (accept, answered) in [
                    (JSON, JSON),
                    (PROTOBUF, PROTOBUF),
                    ("application/protobuf;q=0.9, application/json;q=0.5", "application/protobuf"),
                    ("text/html, */*;q=0.1", sent),
                    ("", sent),
                ] {
                    let answer = post(&mut conn, target, sent, accept, written(sent, "All", &message)).await;
                    assert_eq!(answer.header("content-type"), answered, "{via:?} {target} {sent} {accept}: {answer:?}");
                    assert_eq!(answer.header("vary"), "accept, content-type", "{answer:?}");
                    assert_eq!(read(&answer, "All"), message, "{via:?} {target} {sent} {accept}");
                }
            }
        }
        let answer = conn.whole("GET", "/echo/say/x?n=7", &[("accept", PROTOBUF)], None).await;
        assert_eq!(read(&answer, "Msg"), json!({"text": "x", "n": 7}), "{answer:?}");
        assert_eq!(answer.header("content-type"), PROTOBUF, "{answer:?}");
        // The empty message is no bytes at all.
        let answer = post(&mut conn, "/echo/all", PROTOBUF, "", "").await;
        assert_eq!((answer.status.as_u16(), answer.body.len()), (200, 0), "{answer:?}");
    }
    gateway.assert_nothing_internal();
}

#[tokio::test]
async fn a_body_in_protobuf_is_the_field_that_the_rule_says_and_never_says_otherwise_than_the_path() {
    let (_backend, gateway) = start().await;
    let mut conn = gateway.connect(Via::H2Tls).await;
    for (target, body, expected) in [
        ("/b2", json!({"s": "a"}), json!({"n": {"s": "a"}})),
        ("/b2?s=q", json!({}), json!({"s": "q", "n": {}})),
        ("/b15", json!("1970-01-01T00:00:01Z"), json!({"ts": "1970-01-01T00:00:01Z"})),
    ] {
        let name = if target == "/b15" { "google.protobuf.Timestamp" } else { "tidegate.test.v1.Nested" };
        let answer = post(&mut conn, target, PROTOBUF, JSON, written_as(name, &body)).await;
        let seen: Value = serde_json::from_str(answer.json()["requestJson"].as_str().unwrap()).unwrap();
        assert_eq!(seen, expected, "{target}");
    }
    for (target, same, other, field) in [
        ("/b3/x", json!({"s": "x", "i32": 1}), json!({"s": "y"}), "s"),
        ("/p10/x:cancel", json!({"s": "x"}), json!({"s": "y"}), "s"),
    ] {
        assert_eq!(post(&mut conn, target, PROTOBUF, JSON, encode("All", &same)).await.status, 200);
        let answer = post(&mut conn, target, PROTOBUF, JSON, encode("All", &other)).await;
        assert_refused(&answer, 400, 3, &format!("message: {field}: the body gives another value than the path"));
    }
    for (body, status, place) in [(json!({"i": 5, "s": "a"}), 200, ""), (json!({"i": 6}), 400, "n.i")] {
        let headers = [("content-type", PROTOBUF), ("accept", JSON)];
        let answer = conn.whole("PUT", "/b7/x/5", &headers, Some(encode("Nested", &body).into())).await;
        assert_eq!(answer.status, status, "{answer:?}");
        assert!(answer.text().contains(place), "{answer:?}");
    }
}

fn written_as(name: &str, message: &Value) -> Vec<u8> {
    let descriptor = crate::proto::POOL.get_message_by_name(name).expect("a message");
    prost_reflect::DynamicMessage::deserialize(descriptor, message).expect("its JSON").encode_to_vec()
}

#[tokio::test]
async fn streams_change_their_encoding_on_the_way() {
    let (_backend, gateway) = start().await;
    let messages = [json!({"text": "a"}), json!({"text": "b"})];
    for via in Via::BOTH {
        let mut conn = gateway.connect(via).await;
        for sent in [JSON, NDJSON, JSON_SEQ, PROTOBUF] {
            let body = match sent {
                JSON => json!(messages).to_string().into_bytes(),
                PROTOBUF => messages.iter().flat_map(|message| delimited(&encode("Msg", message))).collect(),
                NDJSON => messages.iter().flat_map(|message| format!("{message}\n").into_bytes()).collect(),
                _ => messages.iter().flat_map(|message| format!("\x1e{message:#}\n").into_bytes()).collect::<Vec<u8>>(),
            };
            for (accept, expected) in [
                (JSON, "[{\"text\":\"a\"},{\"text\":\"b\"}]"),
                (NDJSON, "{\"result\":{\"text\":\"a\"}}\n{\"result\":{\"text\":\"b\"}}\n"),
                (JSON_SEQ, "\x1e{\"result\":{\"text\":\"a\"}}\n\x1e{\"result\":{\"text\":\"b\"}}\n"),
                (PROTOBUF, "\x03\x0a\x01a\x03\x0a\x01b"),
            ] {
                let answer = post(&mut conn, "/echo/chat", sent, accept, body.clone()).await;
                assert_eq!(answer.text(), expected, "{via:?} {sent} {accept}: {answer:?}");
                assert_eq!(answer.header("content-type"), accept, "{via:?} {sent}");
                assert_eq!(answer.header("cache-control"), "no-store", "{via:?} {sent} {accept}");
            }
            for size in [1, 3, 100] {
                let (mut upload, download) =
                    conn.stream("POST", "/echo/up", &[("content-type", sent), ("accept", JSON)]).await;
                for piece in body.chunks(size) {
                    upload.send(piece.to_vec()).await;
                }
                upload.finish();
                let answer = download.whole().await;
                assert_eq!(answer.json(), json!({"count": 2, "joined": "a,b"}), "{sent} by {size}: {answer:?}");
            }
        }
    }
    gateway.assert_nothing_internal();
}

#[tokio::test]
async fn a_stream_of_requests_that_is_wrong_is_refused_with_its_place() {
    let (_backend, gateway) = start().await;
    let mut conn = gateway.connect(Via::H1).await;
    for (sent, body, status, code, place) in [
        (PROTOBUF, &b"\x03\x0a\x01a\x03\x0a\x01"[..], 400, 3, "body (byte 4): the body ends within a message"),
        (PROTOBUF, b"\x03\x0a\x01a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", 400, 3, "body (byte 4): the length"),
        (PROTOBUF, b"\x03\x0a\x01\xff", 400, 3, "text: a string that is not UTF-8"),
        (PROTOBUF, b"\x02\x0a\x05", 400, 3, "a length beyond the end"),
        (PROTOBUF, b"\xff\xff\x7f", 413, 8, "65536"),
        (JSON_SEQ, b"{\"text\":\"a\"}\n", 400, 3, "body (byte 0): expected a record separator"),
        (JSON_SEQ, b"\x1e{\"text\":\"a\x1e{}\n", 400, 3, "body (byte 1): the value is cut short"),
        (JSON_SEQ, b"\x1e{\"text\":", 400, 3, "body (byte 1): the body ends within a value"),
        (JSON_SEQ, b"\x1e{}\n\x1e{\"nope\":1}\n", 400, 3, "nope (byte"),
    ] {
        let answer = post(&mut conn, "/echo/up", sent, JSON, body).await;
        assert_refused(&answer, status, code, place);
        let answer = post(&mut conn, "/echo/up", sent, PROTOBUF, body).await;
        assert_eq!(answer.header("content-type"), PROTOBUF, "{answer:?}");
        assert_refused(&answer, status, code, place);
    }
    for (what, body, place) in [
        ("not UTF-8", &b"\x72\x02a\xff"[..], "s: a string that is not UTF-8"),
        ("cut short", b"\x8a\x01\x05", "a length beyond the end"),
        ("a group that never ends", b"\x0b\x0b", ""),
        ("field number 0", b"\x00\x01", "field number"),
    ] {
        assert_refused(&post(&mut conn, "/echo/all", PROTOBUF, JSON, body).await, 400, 3, place);
        assert_eq!(conn.get("/echo/say/x").await.status, 200, "{what}: the connection goes on");
    }
    assert_refused(&post(&mut conn, "/echo/all", PROTOBUF, PROTOBUF, vec![0x7a; 70_000]).await, 413, 8, "65536");
    gateway.assert_nothing_internal();
}

#[tokio::test]
async fn what_is_no_message_is_not_told_in_protobuf() {
    let (mut backend, gateway) = start().await;
    let mut conn = gateway.connect(Via::H2Tls).await;
    for target in ["/r2", "/r3", "/r4", "/r8"] {
        let answer = post(&mut conn, target, JSON, PROTOBUF, "{}").await;
        assert_eq!(answer.header("content-type"), PROTOBUF, "{answer:?}");
        assert_refused(&answer, 406, 12, "the reply is a field that is no message");
    }
    for target in ["/b4", "/b5", "/b12", "/b17"] {
        assert_refused(
            &post(&mut conn, target, PROTOBUF, JSON, "").await,
            415,
            3,
            "the body is a field that is no message",
        );
    }
    backend.assert_not_called();
    // A message is told alone: the one that is there, or the empty one.
    for (request, expected) in [(json!({"s": "a", "n": {"i": 5}}), &b"\x10\x05"[..]), (json!({"s": "a"}), b"")] {
        let answer = post(&mut conn, "/r1", JSON, PROTOBUF, request.to_string()).await;
        assert_eq!((answer.status.as_u16(), &*answer.body), (200, expected), "{answer:?}");
    }
    // Bytes of a type of their own stay what they are, both ways.
    let answer = conn.whole("GET", "/echo/download?text=hey", &[("accept", PROTOBUF)], None).await;
    assert_eq!((answer.text().as_str(), answer.header("content-type")), ("hey", "text/plain; charset=utf-8"));
    let answer = conn.whole("GET", "/echo/download-stream?count=1", &[("accept", PROTOBUF)], None).await;
    assert_eq!((answer.text().as_str(), answer.header("content-type")), ("chunk0\n", "text/plain"));
    let answer = post(&mut conn, "/echo/upload", PROTOBUF, JSON, "no message").await;
    assert_eq!(answer.json(), json!({"count": 1, "bytes": "10", "joined": PROTOBUF}));
}

#[tokio::test]
async fn who_takes_protobuf_is_refused_in_protobuf() {
    let (_backend, gateway) = start().await;
    for via in Via::ALL {
        let mut conn = gateway.connect(via).await;
        for (method, target, status, code, message) in [
            ("GET", "/nothing", 404, 5, "nothing is served at /nothing"),
            ("DELETE", "/echo/say", 405, 12, "this path answers POST only"),
            ("GET", "/q?i32=x", 400, 3, "query parameter i32"),
            ("GET", "/echo/fail/9?details=true&message=n%C3%A4h", 400, 9, "näh"),
        ] {
            let answer = conn.whole(method, target, &[("accept", "application/protobuf")], None).await;
            assert_eq!(answer.header("content-type"), "application/protobuf", "{via:?} {target}: {answer:?}");
            assert_eq!(answer.header("vary"), "accept, content-type", "{via:?} {target}: {answer:?}");
            assert_refused(&answer, status, code, message);
        }
        let headers = [("accept", "application/x-protobuf, application/problem+json")];
        let answer = conn.whole("GET", "/nothing", &headers, None).await;
        assert_eq!(answer.header("content-type"), "application/problem+json", "{via:?}: {answer:?}");
    }
}

#[tokio::test]
async fn every_option_of_json_is_for_every_dialect_of_json() {
    let (_backend, gateway) = start().await;
    let mut conn = gateway.connect(Via::H1).await;
    let request = json!({"i64": "7", "c": "RED", "snakeCaseField": "x"});
    for (option, expected) in [
        ("enums=number", r#"{"i64":"7","c":1,"snakeCaseField":"x"}"#),
        ("names=proto", r#"{"i64":"7","c":"RED","snake_case_field":"x"}"#),
        ("int64=number", r#"{"i64":7,"c":"RED","snakeCaseField":"x"}"#),
        ("defaults=true", r#""si64":"0""#),
        // Where a line or an event is a message, it stays a line.
        ("pretty=true", r#"{"i64":"7","c":"RED","snakeCaseField":"x"}"#),
        ("Names=\"proto\"; q=0.5; enums=number", r#"{"i64":"7","c":1,"snake_case_field":"x"}"#),
    ] {
        for kind in [JSON, NDJSON, JSON_SEQ, "text/event-stream"] {
            let accept = format!("{kind}; {option}");
            let whole = post(&mut conn, "/echo/all", JSON, &accept, request.to_string()).await;
            assert_eq!(whole.header("content-type"), kind, "{accept}: {whole:?}");
            let stream = post(&mut conn, "/sdown", JSON, &accept, request.to_string()).await;
            assert_eq!(stream.header("content-type"), kind, "{accept}: {stream:?}");
            if kind != JSON || option != "pretty=true" {
                assert!(whole.text().contains(expected), "{accept}: {whole:?}");
            }
            assert!(stream.text().contains(expected), "{accept}: {stream:?}");
        }
        let accept = format!("{JSON}; {option}");
        let mut socket =
            WebSocket::open(&gateway, Via::H1, "/sbidi", &[("accept", &accept)]).await.expect("an upgrade");
        socket.text(request.to_string()).await;
        socket.text("").await;
        let Frame::Text(text) = socket.next().await else { panic!("a reply") };
        assert!(text.contains(expected), "{accept}: {text}");
    }
    let pretty = post(&mut conn, "/echo/all", JSON, "application/json; pretty=true", request.to_string()).await;
    assert_eq!(pretty.text(), "{\n  \"i64\": \"7\",\n  \"c\": \"RED\",\n  \"snakeCaseField\": \"x\"\n}");
    // Protobuf has no such options, and an error is written as errors are.
    let answer = post(&mut conn, "/echo/all", JSON, "application/x-protobuf; names=proto", request.to_string()).await;
    assert_eq!(decode("All", &answer.body), request);
}
