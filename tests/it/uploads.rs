//! Files up and down as raw bytes: every place that `google.api.HttpBody` can have, what breaks on the way, and memory
//! that stays flat however large they are.

use http::StatusCode;
use serde_json::{Value, json};

use crate::{
    backend::{Backend, Event},
    harness::{Config, Conn, Gateway, Via, Whole, http::Broken, raw::RawConn},
};

async fn start() -> (Backend, Gateway) {
    let backend = Backend::start().await;
    let gateway = Gateway::start(Config::to(backend.address)).await;
    (backend, gateway)
}

async fn post(conn: &mut Conn, target: &str, kind: &str, body: &'static [u8]) -> Whole {
    conn.whole("POST", target, &[("content-type", kind)], Some(body.into())).await
}

/// The request messages that the backend saw.
#[track_caller]
fn seen(answer: &Whole) -> Value {
    assert_eq!(answer.status, 200, "{answer:?}");
    serde_json::from_str(answer.json()["requestJson"].as_str().expect("a text")).expect("JSON")
}

// ---- the places of an HttpBody

#[tokio::test]
async fn raw_bytes_go_up_in_every_place_with_their_type_once() {
    let (_backend, gateway) = start().await;
    for via in Via::BOTH {
        let mut conn = gateway.connect(via).await;
        for (target, body, wanted) in [
            ("/files/raw", &b"hi"[..], json!({"contentType": "a/b", "data": "aGk="})),
            ("/files/raw", b"", json!({"contentType": "a/b"})),
            ("/files/x/image?title=t", b"hi", {
                json!({"album": "x", "title": "t", "image": {"contentType": "a/b", "data": "aGk="}})
            }),
            ("/files/raws", b"hi", json!([{"contentType": "a/b", "data": "aGk="}])),
            ("/files/raws", b"", json!([{"contentType": "a/b"}])),
            ("/files/x/images", b"", json!([{"album": "x", "image": {"contentType": "a/b"}}])),
        ] {
            assert_eq!(seen(&post(&mut conn, target, "a/b", body).await), wanted, "{target} {body:?} {via:?}");
        }
        // A form without files is raw bytes like any other; so is JSON.
        for kind in ["application/x-www-form-urlencoded", "application/json"] {
            let answer = post(&mut conn, "/files/raws", kind, b"a=1").await;
            assert_eq!(seen(&answer), json!([{"contentType": kind, "data": "YT0x"}]), "{via:?}");
        }
        let headers = [("content-type", "a/b")];
        let (mut upload, download) = conn.stream("POST", "/files/x/images?title=t", &headers).await;
        for piece in ["one", "two"] {
            upload.send(piece).await;
        }
        upload.finish();
        let messages = seen(&download.whole().await);
        for (place, message) in messages.as_array().expect("an array").iter().enumerate() {
            assert_eq!((&message["album"], &message["title"]), (&json!("x"), &json!("t")), "{via:?}: {messages}");
            assert_eq!(message["image"].get("contentType").is_some(), place == 0, "{via:?}: {messages}");
        }
    }
}

#[tokio::test]
async fn raw_bytes_come_down_from_every_place_with_nothing_added() {
    let (_backend, gateway) = start().await;
    let image =
        |kind: &str, data: &str| json!({"title": "t", "image": {"contentType": kind, "data": data}}).to_string();
    for via in Via::BOTH {
        let mut conn = gateway.connect(via).await;
        let down = async |conn: &mut Conn, target: &str, kind: &str, body: String| {
            let answer = conn.whole("POST", target, &[("content-type", kind)], Some(body.into())).await;
            assert_eq!((answer.status, &answer.broken), (StatusCode::OK, &None), "{answer:?}");
            (answer.header("content-type").to_owned(), answer.text())
        };
        let (one, lines) = ("application/json", "application/x-ndjson");
        for (target, kind, body, wanted) in [
            ("/files/get", one, image("a/b", "aGk="), ("a/b", "hi")),
            ("/files/get", one, json!({}).to_string(), ("application/octet-stream", "")),
            ("/files/get", one, image("not\na type", "aGk="), ("application/octet-stream", "hi")),
            ("/files/gets", lines, [image("a/b", "aGk="), image("", "aG8=")].join("\n"), ("a/b", "hiho")),
            // The head has gone when another type is told.
            ("/files/gets", lines, [image("a/b", "aGk="), image("c/d", "aG8=")].join("\n"), ("a/b", "hiho")),
            ("/files/gets", lines, [image("a/b", ""), image("", "aG8=")].join("\n"), ("a/b", "ho")),
            ("/files/gets", lines, image("", "aG8="), ("application/octet-stream", "ho")),
            ("/files/gets", lines, String::new(), ("application/octet-stream", "")),
        ] {
            let (content_type, text) = down(&mut conn, target, kind, body.clone()).await;
            assert_eq!((content_type.as_str(), text.as_str()), wanted, "{target} {body} {via:?}");
        }
        let extended = json!({"contentType": "a/b", "data": "aGk=", "extensions": [{"@type": "type.googleapis.com/google.protobuf.Empty", "value": {}}]});
        let answer = down(&mut conn, "/r5", one, json!({"raw": extended}).to_string()).await;
        assert_eq!(answer, ("a/b".to_owned(), "hi".to_owned()), "{via:?}");

        let answer = conn.get("/echo/download-stream?count=3").await;
        assert_eq!((answer.text().as_str(), answer.header("content-type")), ("chunk0\nchunk1\nchunk2\n", "text/plain"));
        assert_eq!((answer.header("content-length"), answer.header("cache-control")), ("", "no-store"));
        let answer = conn.get("/echo/download?text=hey").await;
        assert_eq!(
            (answer.header("content-length"), answer.header("content-type")),
            ("3", "text/plain; charset=utf-8")
        );
    }
}

#[tokio::test]
async fn head_tells_of_a_download_and_fetches_nothing() {
    let (mut backend, gateway) = start().await;
    for via in Via::BOTH {
        let mut conn = gateway.connect(via).await;
        let answer = conn.whole("HEAD", "/echo/download?text=hey", &[], None).await;
        assert_eq!((answer.status.as_u16(), answer.header("content-length"), answer.body.len()), (200, "3", 0));
        let target = "/echo/download-stream?count=1000&size=1000000";
        let answer = conn.whole("HEAD", target, &[("x-request-id", "head")], None).await;
        assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, "text/plain"), "{via:?}");
        assert_eq!((answer.header("content-length"), answer.body.len()), ("", 0), "{via:?}");
        backend.call_of("head").await.cancelled().await;
        assert_eq!(conn.get("/echo/say/x").await.status, 200, "{via:?}: the connection goes on");
    }
}

// ---- what breaks

#[tokio::test]
async fn a_download_that_breaks_is_never_a_whole_one() {
    let (_backend, gateway) = start().await;
    for (script, whole) in [("fail@2=13", "chunk0\nchunk1\n"), ("fail@1=1", "chunk0\n")] {
        let headers = [("grpc-metadata-x-behave", script)];
        let answer =
            gateway.connect(Via::H2Tls).await.whole("GET", "/echo/download-stream?count=5", &headers, None).await;
        let reset = matches!(answer.broken, Some(Broken::Reset(_)));
        assert_eq!((answer.text().as_str(), reset), (whole, true), "{script}: {answer:?}");
        let mut raw = RawConn::open(&gateway, Via::H1).await;
        let head = format!(
            "GET /echo/download-stream?count=5 HTTP/1.1\r\nhost: a\r\ngrpc-metadata-x-behave: {script}\r\n\r\n"
        );
        raw.write(head).await;
        let answer = raw.answer(false).await.expect("a head");
        assert!(answer.broken.is_some() && answer.text() == whole, "{script}: no last chunk: {answer:?}");
        assert!(raw.is_closed().await);
    }
    let headers = [("grpc-metadata-x-behave", "fail@0=5")];
    let answer = gateway.connect(Via::H1).await.whole("GET", "/echo/download-stream", &headers, None).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (404, &json!(5)), "nothing was sent yet: {answer:?}");
}

#[tokio::test]
async fn a_download_whose_backend_goes_away_is_never_a_whole_one() {
    for via in Via::BOTH {
        let (mut backend, gateway) = start().await;
        let mut conn = gateway.connect(via).await;
        let headers = [("grpc-metadata-x-behave", "hang@1")];
        let mut download = conn.begin("GET", "/echo/download-stream", &headers, None).await;
        assert_eq!(download.head().await.expect("a head").status(), 200);
        assert_eq!(download.piece().await, Some(Ok("chunk0\n".into())), "{via:?}");
        backend.kill();
        assert!(matches!(download.piece().await, Some(Err(_))), "{via:?}");
    }
}

#[tokio::test]
async fn an_upload_that_breaks_off_is_never_a_whole_one() {
    let (mut backend, gateway) = start().await;
    let begun = "--b\r\nContent-Disposition: form-data; name=\"f\"; filename=\"x\"\r\nContent-Type: a/b\r\n\r\nhi";
    for (kind, piece) in [("a/b", "hi"), ("multipart/form-data; boundary=b", begun)] {
        for via in Via::BOTH {
            let mut conn = gateway.connect(via).await;
            let headers = [("content-type", kind), ("x-request-id", "broken")];
            let (mut upload, download) = conn.stream("POST", "/echo/upload-stream", &headers).await;
            upload.send(piece).await;
            let mut call = backend.call_of("broken").await;
            assert_eq!(call.next().await, Event::Message("a/b".to_owned()), "{via:?}");
            drop((upload, download, conn));
            let event = call.next().await;
            let broken = matches!(event, Event::RequestsLost | Event::Cancelled);
            assert!(broken, "{kind} {via:?}: half an upload is no whole one: {event:?}");
        }
    }
}

#[tokio::test]
async fn an_upload_that_is_answered_before_its_end_gets_its_answer() {
    let (_backend, gateway) = start().await;
    for (script, status) in [("fail@1=7", 403), ("answer@1", 200)] {
        // Over HTTP/1.1 the rest is taken and thrown away, and the connection goes on.
        let mut raw = RawConn::open(&gateway, Via::H1).await;
        let head = "POST /echo/upload-stream HTTP/1.1\r\nhost: a\r\ncontent-type: a/b\r\ncontent-length: 16000000\r\n";
        raw.write(format!("{head}grpc-metadata-x-behave: {script}\r\n\r\n")).await;
        raw.write(vec![b'x'; 1_000_000]).await;
        let answer = raw.answer(false).await.expect("an answer while the client is still sending");
        assert_eq!(answer.status, status, "{script}: {answer:?}");
        raw.write(vec![b'x'; 15_000_000]).await;
        assert_eq!(raw.request("GET /echo/say/x").await.status, 200, "{script}");

        let mut conn = gateway.connect(Via::H2Tls).await;
        let headers = [("content-type", "a/b"), ("grpc-metadata-x-behave", script)];
        let (mut upload, download) = conn.stream("POST", "/echo/upload-stream", &headers).await;
        upload.send(vec![b'x'; 60_000]).await;
        let answer = download.whole().await;
        assert_eq!((answer.status.as_u16(), &answer.broken), (status, &None), "{script}: {answer:?}");
        assert_eq!(conn.get("/echo/say/x").await.status, 200, "{script}");
    }
    gateway.assert_nothing_internal();
}

// ---- Expect: 100-continue (RFC 9110 §10.1.1)

#[tokio::test]
async fn a_client_that_asks_first_is_told_to_go_on() {
    let (_backend, gateway) = start().await;
    for (target, wanted) in [("/files/raw", "aGk="), ("/files/raws", "aGk=")] {
        for via in [Via::H1, Via::H1Tls] {
            let mut raw = RawConn::open(&gateway, via).await;
            let head = format!("POST {target} HTTP/1.1\r\nhost: a\r\ncontent-type: a/b\r\ncontent-length: 2\r\n");
            raw.write(format!("{head}expect: 100-continue\r\n\r\n")).await;
            let told = raw.answer(false).await.expect("a word before the body");
            assert_eq!(told.status, StatusCode::CONTINUE, "{target}: {told:?}");
            raw.write("hi").await;
            let answer = raw.answer(false).await.expect("an answer");
            assert!(answer.status == 200 && answer.text().contains(wanted), "{target}: {answer:?}");
        }
    }
}

#[tokio::test]
async fn a_client_that_asks_first_is_refused_before_it_sends() {
    let (mut backend, gateway) = start().await;
    let multipart = "content-type: multipart/form-data; boundary=b";
    for (what, line, headers, status) in [
        ("nothing there", "POST /nothing", "content-type: a/b", 404),
        ("wrong verb", "PUT /files/raw", "content-type: a/b", 405),
        ("wrong type", "POST /b1", "content-type: a/b", 415),
        ("in a coding that nobody knows", "POST /files/raws", "content-type: a/b\r\ncontent-encoding: compress", 415),
        ("no boundary", "POST /files/raws", "content-type: multipart/form-data", 400),
        ("wrong query", "POST /files/x/images?nope=1", "content-type: a/b", 400),
        ("another site", "POST /files/raws", &format!("{multipart}\r\norigin: https://evil.example"), 403),
        ("no deadline", "POST /files/raws", "content-type: a/b\r\nx-request-timeout: x", 400),
        ("a body where none belongs", "POST /b6", "content-type: a/b", 400),
        ("too large", "POST /files/raw", "content-type: a/b\r\nx-large: yes", 413),
    ] {
        let mut raw = RawConn::open(&gateway, Via::H1).await;
        let length = if what == "too large" { 5 << 20 } else { 10 };
        let head = format!("{line} HTTP/1.1\r\nhost: a\r\n{headers}\r\ncontent-length: {length}\r\n");
        raw.write(format!("{head}expect: 100-continue\r\n\r\n")).await;
        let answer = raw.answer(false).await.expect("an answer instead of a body");
        assert_eq!(answer.status.as_u16(), status, "{what}: {answer:?}");
        // What was asked for after all is thrown away, and no late word stands before the next answer.
        raw.write(vec![b'x'; length]).await;
        assert_eq!(raw.request("GET /echo/say/x").await.status, 200, "{what}");
        let call = backend.try_call().expect("it was called");
        assert!(call.path.ends_with("/Say"), "{what}: the refused call never reached the backend: {call:?}");
    }
    backend.kill();
    let mut raw = RawConn::open(&gateway, Via::H1).await;
    let head = "POST /files/raws HTTP/1.1\r\nhost: a\r\ncontent-type: a/b\r\ncontent-length: 10\r\n";
    raw.write(format!("{head}expect: 100-continue\r\n\r\n")).await;
    assert_eq!(raw.answer(false).await.expect("an answer").status, 503, "nobody is there to take it");
}
