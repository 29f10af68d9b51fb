//! Content codings of HTTP: bodies that come compressed, in every form that a body has, and answers for who takes them.

use bytes::Bytes;
use http::HeaderMap;
use serde_json::{Value, json};
use tidegate::coding::{Coding, Deflater, Inflater, Levels, deflate, inflate};

use crate::{
    backend::{Backend, Event},
    harness::{Config, Conn, Gateway, Via, Whole, binary, http::Download, raw::RawConn, temp::TempDir},
};

async fn start() -> (Backend, Gateway) {
    let backend = Backend::start().await;
    let gateway = Gateway::start(Config::to(backend.address)).await;
    (backend, gateway)
}

pub fn coded(coding: Coding, plain: &[u8]) -> Vec<u8> {
    deflate(coding, Levels::default(), plain).unwrap()
}

// ---- requests

/// Every form that a request's body has: target, content type, body.
fn forms() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let two = [json!({"text": "a"}), json!({"text": "b"})];
    let lines = two.iter().map(|line| format!("{line}\n")).collect::<String>();
    let array = Value::from(two.to_vec()).to_string();
    let messages: Vec<u8> = two.iter().flat_map(|message| binary::delimited(&binary::encode("Msg", message))).collect();
    let part = "--b\r\nContent-Disposition: form-data; name=\"title\"\r\n\r\nt\r\n--b--\r\n";
    vec![
        ("/echo/say", "application/json", br#"{"text":"a","n":7}"#.to_vec()),
        ("/echo/say", "application/x-protobuf", binary::encode("Msg", &two[0])),
        ("/tidegate.test.v1.Echo/Bare", "application/json; charset=utf-8", br#"{"text":"a","n":7}"#.to_vec()),
        ("/echo/up", "application/x-ndjson", lines.clone().into()),
        ("/echo/up", "application/json", array.into()),
        ("/echo/up", "application/x-protobuf", messages),
        ("/echo/chat", "application/x-ndjson", lines.into()),
        ("/b1", "application/x-www-form-urlencoded", b"s=t".to_vec()),
        ("/files/a/image", "multipart/form-data; boundary=b", part.into()),
        ("/files/raw", "a/b", b"raw bytes".to_vec()),
    ]
}

async fn post(conn: &mut Conn, target: &str, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Whole {
    conn.whole("POST", target, headers, Some(body.into())).await
}

#[tokio::test]
async fn a_body_in_any_coding_is_the_body_that_it_stands_for() {
    let (_backend, gateway) = start().await;
    for via in Via::BOTH {
        let mut conn = gateway.connect(via).await;
        for (target, kind, body) in forms() {
            let wanted = post(&mut conn, target, &[("content-type", kind)], body.clone()).await;
            for coding in Coding::ALL {
                let headers = [("content-type", kind), ("content-encoding", coding.name())];
                let answer = post(&mut conn, target, &headers, coded(coding, &body)).await;
                assert_eq!((answer.status, &answer.body), (wanted.status, &wanted.body), "{via:?} {coding:?} {target}");
                let (mut upload, download) = conn.stream("POST", target, &headers).await;
                for piece in coded(coding, &body).chunks(7) {
                    upload.send(piece.to_vec()).await;
                }
                upload.finish();
                let answer = download.whole().await;
                assert_eq!((answer.status, &answer.body), (wanted.status, &wanted.body), "{via:?} {coding:?} {target}");
            }
        }
        for coding in Coding::ALL {
            let headers = [("content-type", "a/b"), ("content-encoding", coding.name())];
            let answer = post(&mut conn, "/echo/upload-stream", &headers, coded(coding, &[b'x'; 100_000])).await;
            assert_eq!(answer.json()["bytes"], "100000", "{via:?} {coding:?}: {answer:?}");
        }
    }
    gateway.assert_nothing_internal();
}

#[tokio::test]
async fn messages_go_up_as_they_are_flushed() {
    let (mut backend, gateway) = start().await;
    for coding in Coding::ALL {
        let mut conn = gateway.connect(Via::H2Tls).await;
        let headers = [("content-type", "application/x-ndjson"), ("content-encoding", coding.name())];
        let (mut upload, download) = conn.stream("POST", "/echo/up", &headers).await;
        let mut deflater = Deflater::stream(coding, Levels::default()).unwrap();
        let mut call = None;
        for text in ["a", "b"] {
            let mut coded = Vec::new();
            deflater.push(format!("{{\"text\":\"{text}\"}}\n").as_bytes(), &mut coded).unwrap();
            deflater.flush(&mut coded).unwrap();
            upload.send(coded).await;
            if call.is_none() {
                call = Some(backend.call("Up").await);
            }
            let seen = call.as_mut().unwrap().next().await;
            assert_eq!(seen, Event::Message(text.to_owned()), "{coding:?}");
        }
        let mut end = Vec::new();
        deflater.finish(&mut end).unwrap();
        upload.send(end).await;
        upload.finish();
        assert_eq!(download.whole().await.json()["joined"], "a,b", "{coding:?}");
    }
}

#[tokio::test]
async fn what_is_not_sound_or_not_known_is_refused_in_the_callers_tongue() {
    let (mut backend, gateway) = start().await;
    let body = br#"{"text":"a","n":7}"#;
    let gzip = coded(Coding::Gzip, body);
    let (cut, trailing) = (gzip[..gzip.len() - 1].to_vec(), [&gzip[..], b"x"].concat());
    let mut spoiled = gzip.clone();
    *spoiled.last_mut().unwrap() ^= 1;
    for via in Via::BOTH {
        for (coding, body, status, reason, text) in [
            ("deflate", &gzip, 415, "UNSUPPORTED_MEDIA_TYPE", "must be one that is understood: zstd, br, gzip"),
            ("gzip, br", &gzip, 415, "UNSUPPORTED_MEDIA_TYPE", "must be one alone"),
            ("gzip", &cut, 400, "INVALID_MESSAGE", "its gzip ends early"),
            ("gzip", &trailing, 400, "INVALID_MESSAGE", "its gzip ends early"),
            ("gzip", &spoiled, 400, "INVALID_MESSAGE", "it is not sound gzip"),
            ("br", &gzip, 400, "INVALID_MESSAGE", "it is no br"),
            ("zstd", &gzip, 400, "INVALID_MESSAGE", "it is not sound zstd"),
        ] {
            for target in ["/echo/say", "/echo/up"] {
                let mut conn = gateway.connect(via).await;
                let headers = [("content-type", "application/json"), ("content-encoding", coding)];
                let answer = post(&mut conn, target, &headers, body.clone()).await;
                let told = answer.json();
                assert_eq!(answer.status.as_u16(), status, "{via:?} {coding} {target}: {answer:?}");
                assert_eq!(told["details"][0]["reason"], reason, "{via:?} {coding} {target}: {told}");
                assert!(told["message"].as_str().unwrap().contains(text), "{via:?} {coding} {target}: {told}");
                assert_eq!(answer.header("accept-encoding"), if status == 415 { "zstd, br, gzip" } else { "" });
            }
        }
        let mut conn = gateway.connect(via).await;
        let headers = [("content-type", "application/x-protobuf"), ("content-encoding", "compress")];
        let answer = post(&mut conn, "/echo/say", &headers, body.to_vec()).await;
        assert_eq!((answer.status.as_u16(), answer.header("content-type")), (415, "application/x-protobuf"));
        let headers = [("content-type", "application/json"), ("content-encoding", "gzip")];
        let answer = post(&mut conn, "/echo/say", &headers, Bytes::new()).await;
        assert_eq!(answer.status, 200, "{via:?}: no body is in no coding: {answer:?}");
    }
    while let Some(call) = backend.try_call() {
        assert!(call.path.ends_with("/Up") || call.path.ends_with("/Say"), "{}", call.path);
    }
    gateway.assert_nothing_internal();
}

/// A gibibyte of spaces in far less than a mebibyte and a bit.
pub fn bomb(coding: Coding) -> Vec<u8> {
    let spaces = vec![b' '; 1 << 20];
    if coding != Coding::Brotli {
        // Members and frames one after another are one stream.
        return coded(coding, &spaces).repeat(1024);
    }
    let mut deflater = Deflater::stream(coding, Levels::default()).unwrap();
    let mut pieces = Vec::new();
    for _ in 0..3 {
        let mut piece = Vec::new();
        deflater.push(&spaces, &mut piece).unwrap();
        deflater.flush(&mut piece).unwrap();
        pieces.push(piece);
    }
    // A flush ends at a byte, and what follows looks the same each time.
    assert_eq!(pieces[1], pieces[2]);
    let mut end = Vec::new();
    deflater.finish(&mut end).unwrap();
    [pieces[0].clone(), pieces[1].repeat(1023), end].concat()
}

#[tokio::test]
async fn a_bomb_is_refused_while_it_is_inflated_and_takes_no_memory() {
    let (mut backend, gateway) = start().await;
    gateway.connect(Via::H1).await.post("/echo/say", &json!({})).await;
    let before = gateway.process.rss_bytes();
    for coding in Coding::ALL {
        let bomb = bomb(coding);
        assert!(bomb.len() < 3 << 20, "{coding:?}: {} bytes", bomb.len());
        for via in Via::BOTH {
            for (target, kind, status) in [
                ("/echo/say", "application/json", 413),
                ("/echo/say", "application/x-protobuf", 413),
                ("/files/a/image", "multipart/form-data; boundary=b", 413),
                ("/files/raw", "a/b", 413),
            ] {
                let mut conn = gateway.connect(via).await;
                let headers = [("content-type", kind), ("content-encoding", coding.name()), ("x-request-id", "bomb")];
                let answer = post(&mut conn, target, &headers, bomb.clone()).await;
                assert_eq!(answer.status.as_u16(), status, "{via:?} {coding:?} {target}: {answer:?}");
            }
        }
        // A line has the limit of a message.
        let line = [coded(coding, b"{\"text\":\""), bomb].concat();
        if coding != Coding::Brotli {
            let headers = [("content-type", "application/x-ndjson"), ("content-encoding", coding.name())];
            let answer = post(&mut gateway.connect(Via::H2Tls).await, "/echo/up", &headers, line).await;
            assert_eq!(answer.status, 413, "{coding:?}: {answer:?}");
        }
    }
    let grown = gateway.process.rss_bytes().saturating_sub(before);
    assert!(grown < 64 << 20, "{} MiB", grown >> 20);
    backend.assert_no_call_of("bomb");
    gateway.assert_nothing_internal();
}

#[tokio::test]
async fn a_stream_that_inflates_to_very_much_waits_for_who_takes_it() {
    const BYTES: usize = 256 << 20;
    let (mut backend, gateway) = start().await;
    let before = gateway.process.rss_bytes();
    let body = coded(Coding::Zstd, &vec![0; 1 << 20]).repeat(BYTES >> 20);
    let mut conn = gateway.connect(Via::H2Tls).await;
    let headers = [("content-type", "a/b"), ("content-encoding", "zstd"), ("x-behave", "hang@2")];
    let download = conn.begin("POST", "/echo/upload-stream", &headers, Some(body.into())).await;
    let mut call = backend.call("UploadStream").await;
    assert_eq!(call.next().await, Event::Message("a/b".to_owned()));
    // Its neighbours are served meanwhile, and it is held back.
    for _ in 0..20 {
        assert_eq!(gateway.connect(Via::H1).await.post("/echo/say", &json!({})).await.status, 200);
    }
    let grown = gateway.process.rss_bytes().saturating_sub(before);
    assert!(grown < 48 << 20, "{} MiB", grown >> 20);
    drop(download);
}

// ---- replies

const STREAMS: &str = "routes:\n  - match: { service: tidegate.test.v1 }\n    compress_streams: true";

fn plain_of(answer: &Whole) -> Vec<u8> {
    match Coding::parse(answer.header("content-encoding")) {
        Some(coding) => inflate(coding, &answer.body, 64 << 20).unwrap(),
        None => answer.body.to_vec(),
    }
}

fn varies_by_coding(headers: &HeaderMap) -> bool {
    headers.get_all("vary").iter().any(|value| value == "accept-encoding")
}

async fn get(conn: &mut Conn, target: &str, headers: &[(&str, &str)]) -> Whole {
    conn.whole("GET", target, headers, None).await
}

#[tokio::test]
async fn an_answer_comes_in_the_coding_that_the_client_prefers() {
    let (_backend, gateway) = start().await;
    let large = format!("/echo/say/{}", "ab".repeat(2000));
    for via in Via::BOTH {
        let mut conn = gateway.connect(via).await;
        for (target, accept, wanted, asked) in [
            (&*large, "", "", true),
            (&large, "gzip, deflate, br, zstd", "zstd", true),
            (&large, "gzip, deflate, br", "gzip", true),
            (&large, "gzip;q=0.9, br", "br", true),
            (&large, "gzip", "gzip", true),
            (&large, "gzip;q=0.5, br;q=0.4", "gzip", true),
            (&large, "gzip;q=0, identity", "", true),
            (&large, "deflate", "", true),
            (&large, "identity;q=0", "", true),
            (&large, "*", "zstd", true),
            ("/echo/say/small", "gzip", "", false),
            ("/echo/say/small", "gzip, identity;q=0", "gzip", true),
            ("/echo/download?size=5000", "gzip", "gzip", true),
            ("/echo/download?size=300000", "br", "br", true),
            ("/-/openapi.json", "gzip", "gzip", true),
            ("/echo/fail/5?message=small", "gzip", "", false),
            (&format!("/echo/fail/5?message={}", "m".repeat(3000)), "gzip", "gzip", true),
        ] {
            let plain = get(&mut conn, target, &[("accept-encoding", "identity")]).await;
            let answer = get(&mut conn, target, &[("accept-encoding", accept)]).await;
            assert_eq!(
                (answer.status, answer.header("content-encoding")),
                (plain.status, wanted),
                "{via:?} {target} {accept}"
            );
            assert!(plain_of(&answer) == plain.body, "{via:?} {target} {accept}");
            assert_eq!(varies_by_coding(&answer.headers), asked, "{via:?} {target} {accept}: {:?}", answer.headers);
            let length = answer.header("content-length");
            assert!(
                length.is_empty() || length == answer.body.len().to_string(),
                "{via:?} {target} {accept}: {answer:?}"
            );
        }
    }
    gateway.assert_nothing_internal();
}

#[tokio::test]
async fn what_is_compressed_already_or_must_not_change_is_left() {
    let backend = Backend::start().await;
    let routes = "routes:\n  - match: { service: tidegate.test.v1 }\n    cache_control: no-transform";
    let untouched = Gateway::start(Config::to(backend.address).section(routes)).await;
    let off = Gateway::start(Config::to(backend.address).section("compression: { algorithms: [] }")).await;
    let later = Gateway::start(Config::to(backend.address).section("compression: { min_size: 10KiB }")).await;
    for (gateway, target, wanted) in [
        (&untouched, "/echo/download?size=5000", ""),
        (&off, "/echo/download?size=5000", ""),
        (&later, "/echo/download?size=5000", ""),
        (&later, "/echo/download?size=20000", "gzip"),
    ] {
        let answer = get(&mut gateway.connect(Via::H1).await, target, &[("accept-encoding", "gzip")]).await;
        assert_eq!(answer.header("content-encoding"), wanted, "{target}");
        assert_eq!(varies_by_coding(&answer.headers), !wanted.is_empty(), "{target}");
    }
    let image = json!({"image": {"contentType": "image/png", "data": "AAAA".repeat(1000)}}).to_string();
    let headers = [("content-type", "application/json"), ("accept-encoding", "gzip")];
    let answer = post(&mut off.connect(Via::H1).await, "/files/get", &headers, image.clone()).await;
    let same = post(&mut later.connect(Via::H1).await, "/files/get", &headers, image).await;
    assert_eq!((same.header("content-encoding"), &same.body), ("", &answer.body));
}

#[tokio::test]
async fn a_tag_is_weak_where_there_is_a_choice_and_known_in_every_coding() {
    let (_backend, gateway) = start().await;
    let target = format!("/echo/say/{}", "ab".repeat(2000));
    for via in Via::BOTH {
        let mut conn = gateway.connect(via).await;
        for target in [&*target, "/-/openapi.json"] {
            let plain = get(&mut conn, target, &[]).await;
            let tag = plain.header("etag");
            assert!(tag.starts_with('"'), "{target}: {tag}");
            for coding in Coding::ALL {
                let accept = [("accept-encoding", coding.name())];
                let answer = get(&mut conn, target, &accept).await;
                assert_eq!(answer.header("etag"), format!("W/{tag}"), "{via:?} {target} {coding:?}");
                let head = conn.whole("HEAD", target, &accept, None).await;
                let lasting = |mut headers: HeaderMap| {
                    headers.remove("date");
                    headers.remove("x-request-id");
                    headers
                };
                assert_eq!(lasting(head.headers), lasting(answer.headers.clone()), "{via:?} {target} {coding:?}");
                for known in [tag, answer.header("etag")] {
                    let headers = [accept[0], ("if-none-match", known)];
                    let same = get(&mut conn, target, &headers).await;
                    assert_eq!((same.status.as_u16(), same.body.len()), (304, 0), "{via:?} {target} {coding:?}");
                    assert_eq!(same.header("etag"), answer.header("etag"), "{via:?} {target} {coding:?}");
                    assert!(varies_by_coding(&same.headers), "{via:?} {target} {coding:?}: {:?}", same.headers);
                    assert_eq!(same.header("content-encoding"), "");
                }
            }
            let same = get(&mut conn, target, &[("if-none-match", tag)]).await;
            assert_eq!((same.status.as_u16(), same.header("etag")), (304, tag), "{via:?} {target}");
        }
    }
}

#[tokio::test]
async fn files_are_compressed_once_and_served_in_each_coding() {
    let dir = TempDir::new();
    dir.write("app.js", "let a = 1;\n".repeat(20_000));
    dir.write("dot.png", vec![0; 5000]);
    let backend = Backend::start().await;
    let section = format!("static: [ {{ path: /, dir: {:?} }} ]", dir.path());
    let gateway = Gateway::start(Config::to(backend.address).section(&section)).await;
    for via in Via::BOTH {
        let mut conn = gateway.connect(via).await;
        for coding in Coding::ALL {
            let accept = [("accept-encoding", coding.name())];
            let answers = [get(&mut conn, "/app.js", &accept).await, get(&mut conn, "/app.js", &accept).await];
            for answer in &answers {
                assert_eq!(answer.header("content-encoding"), coding.name(), "{via:?} {answer:?}");
                assert_eq!(plain_of(answer), "let a = 1;\n".repeat(20_000).as_bytes());
            }
            assert_eq!(answers[0].body, answers[1].body);
            assert_eq!(get(&mut conn, "/dot.png", &accept).await.header("content-encoding"), "", "{via:?}");
        }
    }
}

/// What has come of a compressed stream.
struct Reading {
    download: Download,
    inflater: Inflater,
}

impl Reading {
    async fn text(&mut self) -> Option<String> {
        let piece = self.download.piece().await?.unwrap();
        let mut plain = Vec::new();
        self.inflater.inflate(&mut &piece[..], 1 << 20, &mut plain).unwrap();
        Some(String::from_utf8_lossy(&plain).into_owned())
    }
}

#[tokio::test]
async fn each_message_of_a_stream_can_be_read_when_it_comes() {
    let backend = Backend::start().await;
    let gateway = Gateway::start(Config::to(backend.address).section(STREAMS)).await;
    for via in Via::BOTH {
        for coding in Coding::ALL {
            for accept in ["application/json", "application/x-ndjson", "application/json-seq", "text/event-stream"] {
                let mut conn = gateway.connect(via).await;
                let headers = [("accept", accept), ("accept-encoding", coding.name()), ("x-behave", "hang@2")];
                let mut download = conn.begin("GET", "/echo/down?text=tick&count=5", &headers, None).await;
                let head = download.head().await.unwrap();
                assert_eq!(head.headers()["content-encoding"], coding.name(), "{via:?} {accept}");
                assert!(varies_by_coding(head.headers()), "{via:?} {accept}");
                let mut reading = Reading { download, inflater: Inflater::new(coding, usize::MAX) };
                let mut text = String::new();
                // The second message has come whole, and nothing ends the stream.
                while text.matches("tick").count() < 2 {
                    text.push_str(&reading.text().await.expect("the stream goes on"));
                }
                assert!(reading.inflater.finish().is_err());
            }
        }
    }
}

#[tokio::test]
async fn a_stream_is_compressed_where_its_route_says_so_and_ends_as_it_would() {
    let backend = Backend::start().await;
    let plain = Gateway::start(Config::to(backend.address)).await;
    let gateway = Gateway::start(Config::to(backend.address).section(STREAMS)).await;
    for via in Via::BOTH {
        for accept in ["application/json", "application/x-ndjson", "application/x-protobuf", "*/*"] {
            for target in ["/echo/down?count=3&text=t&size=3000", "/echo/download-stream?count=3&size=3000"] {
                let headers = [("accept", accept), ("accept-encoding", "br")];
                let wanted = get(&mut plain.connect(via).await, target, &headers).await;
                assert_eq!(wanted.header("content-encoding"), "", "{via:?} {accept} {target}");
                let answer = get(&mut gateway.connect(via).await, target, &headers).await;
                assert_eq!(answer.header("content-encoding"), "br", "{via:?} {accept} {target}");
                assert_eq!((plain_of(&answer), &answer.broken), (wanted.body.to_vec(), &None), "{via:?} {accept}");
                let head = gateway.connect(via).await.whole("HEAD", target, &headers, None).await;
                assert_eq!(head.header("content-encoding"), "br", "{via:?} {accept} {target}");
            }
        }
        // What breaks off is never ended well.
        let headers = [("accept", "application/json"), ("accept-encoding", "gzip")];
        let broken =
            get(&mut gateway.connect(via).await, "/echo/down?count=3&fail_after=1&fail_code=8", &headers).await;
        assert!(broken.broken.is_some(), "{via:?}: {broken:?}");
        assert!(inflate(Coding::Gzip, &broken.body, 1 << 20).is_err(), "{via:?}");
    }
    gateway.assert_nothing_internal();
}

/// As curl sends it: no client library between the bytes and the test.
#[tokio::test]
async fn bytes_by_hand() {
    let (_backend, gateway) = start().await;
    let mut conn = RawConn::open(&gateway, Via::H1).await;
    let body = coded(Coding::Gzip, br#"{"text":"by hand"}"#);
    let head = format!(
        "POST /echo/say HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-encoding: x-gzip\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    conn.write([head.as_bytes(), &body].concat()).await;
    let answer = conn.answer(false).await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.json()["text"].as_str()), (200, Some("by hand")));
}
