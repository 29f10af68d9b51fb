//! Forms, as browsers send them: fields bound as a query's, files into messages; and never on behalf of another site.

use serde_json::{Value, json};

use crate::{
    backend::{Backend, Event},
    harness::{
        Config, Conn, Gateway, Via, Whole,
        tools::{finish, node},
    },
};

const URLENCODED: &str = "application/x-www-form-urlencoded";
const MULTIPART: &str = "multipart/form-data; boundary=b";

async fn start() -> (Backend, Gateway) {
    let backend = Backend::start().await;
    let gateway = Gateway::start(Config::to(backend.address)).await;
    (backend, gateway)
}

async fn post(conn: &mut Conn, target: &str, kind: &str, body: impl Into<bytes::Bytes>) -> Whole {
    conn.whole("POST", target, &[("content-type", kind)], Some(body.into())).await
}

/// The request messages that the backend saw.
#[track_caller]
fn seen(answer: &Whole) -> Value {
    assert_eq!(answer.status, 200, "{answer:?}");
    serde_json::from_str(answer.json()["requestJson"].as_str().expect("a text")).expect("JSON")
}

#[track_caller]
fn assert_refused(what: &str, answer: &Whole, status: u16, reason: &str, text: &str) {
    assert_eq!(answer.status.as_u16(), status, "{what}: {answer:?}");
    let body = answer.json();
    assert_eq!(body["details"][0]["reason"], reason, "{what}: {body}");
    assert!(body["message"].as_str().expect("a text").contains(text), "{what}: {body}");
}

/// A part of a form; `parameters` follow its name.
fn part(name: &str, parameters: &str, kind: &str, content: &str) -> String {
    let kind = if kind.is_empty() { String::new() } else { format!("Content-Type: {kind}\r\n") };
    format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"{parameters}\r\n{kind}\r\n{content}\r\n")
}

fn form(parts: &[String]) -> String {
    parts.concat() + "--b--\r\n"
}

fn file(content_type: &str, name: &str, filename: &str, base64: &str) -> Value {
    let names =
        json!({"@type": "type.googleapis.com/google.protobuf.Struct", "value": {"name": name, "filename": filename}});
    json!({"contentType": content_type, "data": base64, "extensions": [names]})
}

#[tokio::test]
async fn fields_alone_become_a_message() {
    let (_backend, gateway) = start().await;
    for via in Via::BOTH {
        let mut conn = gateway.connect(via).await;
        for (target, body, wanted) in [
            ("/b1", "s=a+b&i32=7&n.child.s=%C3%A4&rs=1&rs=2&ms[k]=v&c=RED", {
                json!({"s": "a b", "i32": 7, "n": {"child": {"s": "ä"}}, "rs": ["1", "2"], "ms": {"k": "v"}, "c": "RED"})
            }),
            ("/b1", "", json!({})),
            ("/b2?i32=1", "s=x", json!({"i32": 1, "n": {"s": "x"}})),
            ("/b3/x", "i32=1", json!({"s": "x", "i32": 1})),
        ] {
            assert_eq!(seen(&post(&mut conn, target, URLENCODED, body).await), wanted, "{target} {body}");
        }
        let answer = conn.whole("PATCH", "/b8/things/1", &[("content-type", URLENCODED)], Some("title=t".into())).await;
        assert_eq!(seen(&answer), json!({"thing": {"name": "things/1", "title": "t"}, "updateMask": "title"}));
        let sse = [("content-type", URLENCODED), ("accept", "text/event-stream")];
        let answer = conn.whole("POST", "/sdown", &sse, Some("s=x".into())).await;
        assert!(answer.text().contains("data: {\"s\":\"x\"}\n"), "{answer:?}");
    }
}

#[tokio::test]
async fn fields_that_do_not_fit_are_refused_with_their_place() {
    let (mut backend, gateway) = start().await;
    let mut conn = gateway.connect(Via::H2Tls).await;
    for (target, body, reason, text) in [
        ("/b1", "s=a&nope=1", "INVALID_FORM", "form field nope (byte 4): "),
        ("/b1", "s=a&s=b", "INVALID_FORM", "form field s (byte 4): given twice"),
        ("/b1", "s=%f", "INVALID_FORM", "form field s (byte 0): not percent-encoded UTF-8"),
        ("/b1?i32=1", "s=a", "INVALID_QUERY", "i32"),
        ("/b3/x", "s=y", "INVALID_MESSAGE", "message: s: the body gives another value than the path"),
        ("/b2?i32=1", "i32=2", "INVALID_FORM", "form field i32 (byte 0): "),
    ] {
        assert_refused(body, &post(&mut conn, target, URLENCODED, body).await, 400, reason, text);
    }
    for (target, kind) in [
        ("/sup", URLENCODED),
        ("/b5", URLENCODED),
        ("/b12", URLENCODED),
        ("/b5", MULTIPART),
        ("/b1", "application/x-www-form-urlencoded; charset=latin1"),
    ] {
        assert_refused(
            target,
            &post(&mut conn, target, kind, "s=a").await,
            415,
            "UNSUPPORTED_MEDIA_TYPE",
            "content-type",
        );
    }
    for kind in ["multipart/form-data", "multipart/form-data; boundary=a; boundary=b"] {
        assert_refused(
            kind,
            &post(&mut conn, "/b1", kind, "--b--").await,
            400,
            "INVALID_HEADER",
            "content-type: names ",
        );
        assert_refused(
            kind,
            &post(&mut conn, "/sup", kind, "--b--").await,
            400,
            "INVALID_HEADER",
            "content-type: names ",
        );
    }
    backend.assert_not_called();
    gateway.assert_nothing_internal();
}

#[tokio::test]
async fn fields_and_files_become_one_message_of_a_unary_method() {
    let (_backend, gateway) = start().await;
    let image = || part("image", "; filename=\"x.png\"", "image/png", "hi");
    for via in Via::BOTH {
        let mut conn = gateway.connect(via).await;
        for (target, parts, wanted) in [
            (
                "/files/a/image",
                vec![part("title", "", "", "t"), image(), part("tags", "", "text/plain;charset=UTF-8", "1")],
                json!({"album": "a", "title": "t", "tags": ["1"], "filename": "x.png",
                    "image": file("image/png", "image", "x.png", "aGk=")}),
            ),
            (
                "/files/a/whole",
                vec![
                    part("detail", "; filename=\"blob\"", "application/json", r#"{"child":{"i":1}}"#),
                    part("tags", "", "application/json", r#"["1","2"]"#),
                    part("more", "; filename=\"/tmp/1\"", "", "1"),
                    part("more", "; filename=\"\"", "application/octet-stream", ""),
                    part("more", "; filename=\"2\"", "text/plain", ""),
                ],
                json!({"album": "a", "detail": {"child": {"i": 1}}, "tags": ["1", "2"], "filename": "2",
                "more": [
                    file("application/octet-stream", "more", "1", "MQ=="),
                    {"contentType": "text/plain", "extensions": file("", "more", "2", "")["extensions"]},
                ]}),
            ),
            ("/files/raw", vec![image()], file("image/png", "image", "x.png", "aGk=")),
            ("/files/a/image", vec![], json!({"album": "a"})),
        ] {
            let answer = post(&mut conn, target, MULTIPART, form(&parts)).await;
            assert_eq!(seen(&answer), wanted, "{target} {via:?}");
        }
    }
}

#[tokio::test]
async fn a_form_with_files_becomes_a_stream_of_its_fields_and_then_each_file() {
    let (_backend, gateway) = start().await;
    let parts = [
        part("title", "", "", "t"),
        part("tags", "", "", "1"),
        part("tags", "", "", "2"),
        part("image", "; filename=\"1.png\"", "image/png", "hi"),
        part("image", "; filename=\"empty\"", "", ""),
        part("image", "; filename=\"\"", "application/octet-stream", ""),
    ];
    let fields = json!({"album": "a", "title": "t", "tags": ["1", "2"]});
    let first = json!({"album": "a", "filename": "1.png", "image": file("image/png", "image", "1.png", "aGk=")});
    let empty = json!({"album": "a", "filename": "empty", "image":
        {"contentType": "application/octet-stream", "extensions": file("", "image", "empty", "")["extensions"]}});
    for via in Via::BOTH {
        let mut conn = gateway.connect(via).await;
        let answer = post(&mut conn, "/files/a/images", MULTIPART, form(&parts)).await;
        assert_eq!(seen(&answer), json!([fields, first, empty]), "{via:?}");
        let answer = post(&mut conn, "/files/a/images", MULTIPART, form(&parts[3..4])).await;
        assert_eq!(seen(&answer), json!([first]), "{via:?}");
        let answer = post(&mut conn, "/files/a/images", MULTIPART, form(&parts[..3])).await;
        assert_eq!(seen(&answer), json!([fields]), "{via:?}");
        let answer = post(&mut conn, "/files/a/images?title=q", MULTIPART, form(&[])).await;
        assert_eq!(seen(&answer), json!([{"album": "a", "title": "q"}]), "{via:?}");

        // The usual shape of a stream of chunks.
        let parts = [part("info.s", "", "", "x"), part("data", "; filename=\"f\"", "", "hi")];
        let answer = post(&mut conn, "/files/chunks", MULTIPART, form(&parts)).await;
        assert_eq!(seen(&answer), json!([{"info": {"s": "x"}}, {"data": "aGk="}]), "{via:?}");
        // The path has the last word over a file's name.
        let parts = [part("data", "; filename=\"f\"", "a/b", "hi")];
        let answer = post(&mut conn, "/files/blobs/mine", MULTIPART, form(&parts)).await;
        assert_eq!(seen(&answer), json!([{"filename": "mine", "contentType": "a/b", "data": "aGk="}]), "{via:?}");
    }
}

#[tokio::test]
async fn files_are_cut_into_messages_that_are_never_too_large() {
    let (_backend, gateway) = start().await;
    let content = "x".repeat(2_500_000);
    let body = form(&[part("f", "; filename=\"f\"", "a/b", &content), part("g", "; filename=\"g\"", "c/d", "end")]);
    for via in Via::BOTH {
        for size in [body.len(), 70_001] {
            let mut conn = gateway.connect(via).await;
            let (mut upload, download) = conn.stream("POST", "/files/raws", &[("content-type", MULTIPART)]).await;
            for piece in body.as_bytes().chunks(size) {
                upload.send(piece.to_vec()).await;
            }
            upload.finish();
            let messages = seen(&download.whole().await);
            let messages = messages.as_array().expect("an array");
            let mut bytes = 0;
            for (place, message) in messages.iter().enumerate() {
                let len = message["data"].as_str().map_or(0, |data| data.len() / 4 * 3);
                assert!(len <= (1 << 20) + 2, "{len}");
                bytes += len;
                let begins = place == 0 || place == messages.len() - 1;
                assert_eq!(message.get("contentType").is_some(), begins, "the first of a file alone: {place}");
                assert_eq!(message.get("extensions").is_some(), begins, "the first of a file alone: {place}");
            }
            assert!((2_500_003..2_500_003 + 3 * messages.len()).contains(&bytes), "{bytes}");
        }
    }
}

#[tokio::test]
async fn forms_that_do_not_fit_are_refused_and_their_call_is_cancelled() {
    let (mut backend, gateway) = start().await;
    let image = part("image", "; filename=\"x\"", "", "hi");
    for (target, body, reason, text) in [
        (
            "/files/a/images",
            form(&[image.clone(), part("title", "", "", "t")]),
            "INVALID_FORM",
            "title (byte 124): a field must stand before",
        ),
        ("/files/a/images", form(&[part("nope", "", "", "t")]), "INVALID_FORM", "form field nope (byte 52): "),
        (
            "/files/a/images",
            form(&[part("title", "", "", "t"), part("title", "", "", "t")]),
            "INVALID_FORM",
            "given twice",
        ),
        ("/files/a/images", form(&[part("album", "", "", "b")]), "INVALID_MESSAGE", "another value than the path"),
        ("/files/a/images", form(&[part("image", "", "", "t")]), "INVALID_FORM", "a file belongs here"),
        ("/files/a/images", form(&[part("title", "", "image/png", "t")]), "INVALID_FORM", "a field is text or JSON"),
        ("/files/a/images", form(&[part("title", "", "text/plain; charset=latin1", "t")]), "INVALID_FORM", "in UTF-8"),
        (
            "/files/chunks",
            form(&[part("nope", "; filename=\"x\"", "", "t")]),
            "INVALID_FORM",
            "form field nope (byte 66): no field of this name takes a file",
        ),
        (
            "/files/chunks",
            form(&[part("info", "; filename=\"x\"", "", "t")]),
            "INVALID_FORM",
            "no field of this name takes a file",
        ),
        ("/files/chunks", form(&[part("data", "; filename*=UTF-8''x", "", "t")]), "INVALID_FORM", "extended parameter"),
        ("/files/a/images", image.clone(), "INVALID_FORM", "breaks off"),
        ("/files/a/images", format!("{image}--b"), "INVALID_FORM", "breaks off"),
        ("/files/a/images", String::new(), "INVALID_FORM", "form (byte 0): the form breaks off"),
        ("/files/a/image", image.clone(), "INVALID_FORM", "breaks off"),
        ("/files/a/image", form(&[image.clone(), image.clone()]), "INVALID_FORM", "form field image"),
        ("/files/raw", form(&[part("content_type", "", "", "a/b")]), "INVALID_FORM", "a file belongs here"),
    ] {
        for via in Via::BOTH {
            let mut conn = gateway.connect(via).await;
            let answer = post(&mut conn, target, MULTIPART, body.clone()).await;
            assert_refused(&body, &answer, 400, reason, text);
            if target.ends_with('s') {
                let method = if target.ends_with("chunks") { "Chunks" } else { "Images" };
                let event = backend.call(method).await.next().await;
                let broken = matches!(event, Event::RequestsLost | Event::Cancelled);
                assert!(broken, "{body:?}: half an upload is no whole one: {event:?}");
            }
        }
    }
    backend.assert_not_called();
    gateway.assert_nothing_internal();
}

#[tokio::test]
async fn a_page_of_another_site_cannot_send_a_form() {
    let backend = Backend::start().await;
    let config = Config::to(backend.address).section("cors: { origins: [ \"https://app.example.com\" ] }");
    let (mut backend, gateway) = (backend, Gateway::start(config).await);
    let own = format!("https://{}", gateway.tls);
    let upload = form(&[part("image", "; filename=\"x\"", "", "hi")]);
    for (target, kind, body) in [
        ("/b1", URLENCODED, "s=a"),
        ("/b1", "Application/X-WWW-Form-Urlencoded ;charset=utf-8", "s=a"),
        ("/files/a/image", MULTIPART, upload.as_str()),
        ("/files/a/images", MULTIPART, upload.as_str()),
        ("/files/raws", "Multipart/Form-Data;boundary=b", upload.as_str()),
        ("/files/raws", "text/plain", "hi"),
    ] {
        let mut conn = gateway.connect(Via::H2Tls).await;
        for origin in ["https://evil.example", "null", &own.replace("https", "http")] {
            let headers = [("content-type", kind), ("origin", origin)];
            let answer = conn.whole("POST", target, &headers, Some(body.to_owned().into())).await;
            assert_refused(target, &answer, 403, "ORIGIN_FORBIDDEN", "origin");
        }
        backend.assert_not_called();
        for origin in ["https://app.example.com", &own] {
            let headers = [("content-type", kind), ("origin", origin)];
            let answer = conn.whole("POST", target, &headers, Some(body.to_owned().into())).await;
            assert_eq!(answer.status, 200, "{target} {kind} {origin}: {answer:?}");
        }
        while backend.try_call().is_some() {}
    }
}

#[tokio::test]
async fn form_data_of_a_browser_arrives() {
    let (_backend, gateway) = start().await;
    let lines = finish(node("form_client.mjs", &[&format!("http://{}", gateway.plain)])).await;
    let answers: Vec<Value> = lines.iter().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let messages = |answer: &Value| -> Value {
        serde_json::from_str(answer["requestJson"].as_str().expect("a text")).expect("JSON")
    };
    assert_eq!(messages(&answers[0]), json!({"s": "a b&ä", "rs": ["1", "2"]}));
    assert_eq!(
        messages(&answers[1]),
        json!([
            {"album": "a", "title": "Ein \"Titel\"\r\nü", "detail": {"i": 3}},
            {"album": "a", "filename": "ä%22.png", "image": file("image/png", "image", "ä%22.png", "aGk=")},
            {"album": "a", "filename": "2.txt", "image": file("text/plain", "image", "2.txt", "aG8=")},
        ])
    );
}
