//! What each dialect has of its own (PROTOCOLS §2, §4 to §6), beside the outcomes that `matrix` has for all.

use std::time::Duration;

use prost::Message;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, frame::coding::CloseCode};

use crate::{
    backend::{Backend, Event},
    harness::{
        Config, Dialect, Gateway, How, Kind, Opening, PATIENCE, Step, Via,
        http::dial,
        sse, within,
        ws::{self, Frame, WebSocket},
    },
    proto::Sum,
};

async fn start() -> (Backend, Gateway) {
    let backend = Backend::start().await;
    let gateway = Gateway::start(Config::to(backend.address)).await;
    (backend, gateway)
}

// ---- plain HTTP

#[tokio::test]
async fn an_idle_subscription_opens_promptly() {
    let (_backend, gateway) = start().await;
    for accept in ["application/json", "application/x-ndjson", "text/event-stream"] {
        for via in Via::BOTH {
            let mut conn = gateway.connect(via).await;
            let headers = [("accept", accept), ("grpc-metadata-x-behave", "hang@0")];
            let began = std::time::Instant::now();
            let mut download = conn.begin("GET", "/echo/down", &headers, None).await;
            assert_eq!(download.head().await.expect("a head").status(), 200, "{accept} {via:?}");
            assert!(began.elapsed() < Duration::from_secs(5), "{accept} {via:?}: {:?}", began.elapsed());
        }
    }
}

#[tokio::test]
async fn every_method_is_reachable_by_its_full_name_too() {
    let (_backend, gateway) = start().await;
    let mut conn = gateway.connect(Via::H2Tls).await;
    let base = "/tidegate.test.v1.Echo";
    let ticks = json!([{"text": "t"}, {"text": "t", "n": 1}]);
    let message = "?message=%7B%22text%22%3A%22t%22%2C%22count%22%3A2%7D";
    let request = json!({"text": "t", "count": 2});

    assert_eq!(conn.post(&format!("{base}/Bare"), &json!({"text": "a"})).await.json(), json!({"text": "a"}));
    assert_eq!(conn.post(&format!("{base}/Down"), &request).await.json(), ticks);
    for (accept, method, target, body) in [
        ("application/x-ndjson", "GET", format!("{base}/Down{message}"), None),
        ("application/x-ndjson", "POST", format!("{base}/Down"), Some(request.to_string().into())),
    ] {
        let headers = [("accept", accept), ("content-type", "application/json")];
        let answer = conn.whole(method, &target, &headers, body).await;
        let lines: Vec<Value> = answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines, [json!({"result": ticks[0]}), json!({"result": ticks[1]})], "{method}: {answer:?}");
    }
    let headers = [("accept", "text/event-stream")];
    // NO_SIDE_EFFECTS lets a unary method be asked by GET; without a message it is the empty one.
    let answer = conn.whole("GET", &format!("{base}/Say"), &headers, None).await;
    assert!(answer.text().contains("data: {}\n") || answer.text().contains("data:{}\n"), "{answer:?}");
    let mut socket =
        WebSocket::open(&gateway, Via::H1Tls, &format!("{base}/Down{message}"), &[]).await.expect("an upgrade");
    assert_eq!(socket.next().await, Frame::Text(ticks[0].to_string()));
}

#[tokio::test]
async fn output_is_written_as_the_route_says() {
    let backend = Backend::start().await;
    let request = json!({"i64": "7", "c": "RED", "snakeCaseField": "x"});
    for (option, expected) in [
        ("enum_numbers", json!({"i64": "7", "c": 1, "snakeCaseField": "x"})),
        ("proto_names", json!({"i64": "7", "c": "RED", "snake_case_field": "x"})),
        ("int64_numbers", json!({"i64": 7, "c": "RED", "snakeCaseField": "x"})),
    ] {
        let route =
            format!("routes:\n  - match: {{ method: tidegate.test.v1.Echo/All }}\n    output: {{ {option}: true }}");
        let gateway = Gateway::start(Config::to(backend.address).section(&route)).await;
        let answer = gateway.connect(Via::H2Tls).await.post("/echo/all", &request).await;
        assert_eq!(answer.json(), expected, "{option}");
    }
}

#[tokio::test]
async fn output_is_written_as_accept_asks() {
    let (_backend, gateway) = start().await;
    let mut conn = gateway.connect(Via::H1).await;
    let request = json!({"i64": "7", "c": "RED", "snakeCaseField": "x"});
    for (parameters, expected) in [
        ("", json!({"i64": "7", "c": "RED", "snakeCaseField": "x"})),
        ("; enums=number", json!({"i64": "7", "c": 1, "snakeCaseField": "x"})),
        ("; names=proto", json!({"i64": "7", "c": "RED", "snake_case_field": "x"})),
        ("; int64=number", json!({"i64": 7, "c": "RED", "snakeCaseField": "x"})),
    ] {
        let accept = format!("application/json{parameters}");
        let headers = [("accept", accept.as_str()), ("content-type", "application/json")];
        let answer = conn.whole("POST", "/echo/all", &headers, Some(request.to_string().into())).await;
        assert_eq!(answer.json(), expected, "{parameters}");
        assert!(answer.header("vary").to_lowercase().contains("accept"), "{answer:?}");
    }
    let headers = [("accept", "application/json; defaults=true; pretty=true"), ("content-type", "application/json")];
    let answer = conn.whole("POST", "/echo/all", &headers, Some("{}".into())).await;
    assert_eq!((&answer.json()["i32"], &answer.json()["rs"]), (&json!(0), &json!([])), "{answer:?}");
    assert!(answer.text().contains("\n  \"i32\": 0") || answer.text().contains("\n \"i32\": 0"), "{answer:?}");
}

#[tokio::test]
async fn a_problem_is_told_as_rfc_9457_where_that_is_asked_for() {
    let (_backend, gateway) = start().await;
    let mut conn = gateway.connect(Via::H2Tls).await;
    for target in ["/echo/fail/5", "/nothing"] {
        let answer = conn.whole("GET", target, &[("accept", "application/problem+json")], None).await;
        assert_eq!((answer.status.as_u16(), answer.header("content-type")), (404, "application/problem+json"));
        let problem = answer.json();
        assert_eq!(problem["status"], 404, "{problem}");
        assert!(["title", "detail"].iter().all(|key| problem[key].is_string()), "{problem}");
    }
}

#[tokio::test]
async fn get_rules_answer_head() {
    let (_backend, gateway) = start().await;
    for via in Via::ALL {
        let mut conn = gateway.connect(via).await;
        let whole = conn.get("/echo/say/x").await;
        let head = conn.whole("HEAD", "/echo/say/x", &[], None).await;
        assert_eq!((head.status.as_u16(), head.body.len()), (200, 0), "{via:?}: {head:?}");
        assert_eq!(head.header("content-type"), whole.header("content-type"), "{via:?}");
        assert_eq!(conn.get("/echo/say/x").await.status, 200, "{via:?}: the connection goes on");
    }
}

#[tokio::test]
async fn raw_bodies_pass_both_ways_and_a_broken_one_is_no_whole_one() {
    let (_backend, gateway) = start().await;
    for via in Via::BOTH {
        let mut conn = gateway.connect(via).await;
        let answer = conn.get("/echo/download?text=hey&size=100000").await;
        assert_eq!((answer.body.len(), answer.header("content-type")), (100_003, "text/plain; charset=utf-8"));
        let answer = conn.get("/echo/download-stream?count=3").await;
        assert_eq!((answer.text().as_str(), answer.header("content-type")), ("chunk0\nchunk1\nchunk2\n", "text/plain"));

        let image = vec![7u8; 3_000_000];
        let answer =
            conn.whole("POST", "/echo/upload", &[("content-type", "image/png")], Some(image.clone().into())).await;
        assert_eq!(answer.json(), json!({"count": 1, "bytes": "3000000", "joined": "image/png"}), "{via:?}");
        let answer =
            conn.whole("POST", "/echo/upload-stream", &[("content-type", "image/png")], Some(image.into())).await;
        let sum = answer.json();
        assert_eq!((&sum["bytes"], &sum["joined"]), (&json!("3000000"), &json!("image/png")), "{via:?}: {answer:?}");
        assert!(sum["count"].as_u64().is_some_and(|count| count >= 3), "at most 1 MiB each: {sum}");

        let headers = [("grpc-metadata-x-behave", "fail@2=13")];
        let answer = conn.whole("GET", "/echo/download-stream?count=5", &headers, None).await;
        assert_eq!(answer.text(), "chunk0\nchunk1\n", "{via:?}");
        assert!(answer.broken.is_some(), "{via:?}: a download that broke ended well: {answer:?}");
    }
}

#[tokio::test]
async fn an_aborted_upload_cancels_the_call() {
    let (mut backend, gateway) = start().await;
    for via in Via::BOTH {
        let mut conn = gateway.connect(via).await;
        let headers = [("content-type", "application/x-ndjson"), ("x-request-id", "aborted")];
        let (mut upload, download) = conn.stream("POST", "/echo/up", &headers).await;
        upload.send("{\"text\":\"a\"}\n").await;
        let mut seen = backend.call_of("aborted").await;
        assert_eq!(seen.next().await, Event::Message("a".to_owned()), "{via:?}");
        drop((upload, download, conn));
        let event = seen.next().await;
        let broken = matches!(event, Event::RequestsLost | Event::Cancelled);
        assert!(broken, "{via:?}: half a request stream is no whole one: {event:?}");
    }
}

#[tokio::test]
async fn full_duplex_on_http2_answers_before_the_request_ends() {
    let (_backend, gateway) = start().await;
    for dialect in [Dialect::Json, Dialect::Ndjson] {
        let mut call = Opening::new(dialect, Kind::Bidi, Via::H2Tls).open(&gateway).await;
        for index in 0..50 {
            let message = json!({"text": format!("m{index}")});
            call.send(&message).await;
            assert_eq!(call.next().await, Step::Message(message));
        }
        call.half_close().await;
        assert_eq!(call.rest().await.1.code, Some(0));
    }
}

#[tokio::test]
async fn request_streams_are_read_as_ndjson_and_as_an_array_however_they_are_cut() {
    let (_backend, gateway) = start().await;
    let mut conn = gateway.connect(Via::H1).await;
    for (kind, body) in [
        ("application/x-ndjson", "{\"text\":\"a\"}\n{\"text\":\"b\"}\n"),
        ("application/x-ndjson", "{\"text\":\"a\"}\r\n\r\n  {\"text\":\"b\"}"),
        ("application/jsonl", "{\"text\":\"a\"}\n{\"text\":\"b\"}"),
        ("application/json", " [ {\"text\":\"a\"} , {\"text\":\"b\"} ] "),
        ("application/json", "[{\"text\":\"a\"},{\"text\":\"b\"}]"),
    ] {
        for size in [1, 7, 100] {
            let (mut upload, download) = conn.stream("POST", "/echo/up", &[("content-type", kind)]).await;
            for piece in body.as_bytes().chunks(size) {
                upload.send(piece.to_vec()).await;
            }
            upload.finish();
            let answer = download.whole().await;
            assert_eq!(answer.text(), r#"{"count":2,"joined":"a,b"}"#, "{kind} {body:?} by {size}");
        }
    }
    for (kind, body, place) in [
        ("application/x-ndjson", "{\"text\":\"a\"}\n{\"text\":\"b\"", ""),
        ("application/x-ndjson", "{\"text\":\"a\"}\n{\"nope\":1}\n", "nope"),
        ("application/x-ndjson", "[{}]\n", ""),
        ("application/json", "[{\"text\":\"a\"}", ""),
        ("application/json", "[{\"text\":\"a\"},]", ""),
        ("application/json", "[{\"text\":\"a\"}]x", ""),
        ("application/json", "[{\"text\":\"a\"},{\"nope\":1}]", "nope"),
        ("application/json", "[{\"text\":\"a\"} {}]", ""),
    ] {
        let answer = conn.whole("POST", "/echo/up", &[("content-type", kind)], Some(body.into())).await;
        assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (400, &json!(3)), "{body:?}: {answer:?}");
        assert!(answer.text().contains(place), "{body:?}: {answer:?}");
    }
}

// ---- Server-Sent Events

#[tokio::test]
async fn silence_on_an_event_stream_is_broken_by_comments() {
    let backend = Backend::start().await;
    let gateway = Gateway::start(Config::to(backend.address).limit("sse_heartbeat", "50ms")).await;
    for via in Via::BOTH {
        let mut conn = gateway.connect(via).await;
        let headers = [("accept", "text/event-stream"), ("grpc-metadata-x-behave", "hang@1")];
        let mut download = conn.begin("GET", "/echo/down?text=t", &headers, None).await;
        let head = download.head().await.expect("a head");
        assert_eq!(head.headers()["content-type"], "text/event-stream", "{via:?}");
        let mut reader = sse::Reader::new(download);
        let first = reader.next().await.unwrap().unwrap();
        // Two seconds by default, and its jitter.
        assert!(first.retry.is_some_and(|retry| (500..=6000).contains(&retry)), "{via:?}: {first:?}");
        assert!(reader.next().await.unwrap().unwrap().data.is_some(), "{via:?}");
        for _ in 0..3 {
            let event = reader.next().await.unwrap().unwrap();
            assert!(event.comment.is_some() && event.data.is_none(), "{via:?}: {event:?}");
        }
    }
}

#[tokio::test]
async fn an_event_source_that_reached_the_end_is_told_to_stay_away() {
    let (mut backend, gateway) = start().await;
    for via in Via::BOTH {
        let mut conn = gateway.connect(via).await;
        let headers = [("accept", "text/event-stream"), ("last-event-id", "~end")];
        let answer = conn.whole("GET", "/echo/down", &headers, None).await;
        assert_eq!((answer.status.as_u16(), answer.body.len()), (204, 0), "{via:?}: {answer:?}");
        backend.assert_not_called();
        let headers = [("accept", "text/event-stream"), ("last-event-id", "41")];
        assert_eq!(conn.whole("GET", "/echo/down", &headers, None).await.status, 200);
        assert_eq!(backend.call("Down").await.header("last-event-id"), "41", "it travels as metadata");
    }
}

#[tokio::test]
async fn an_upstream_that_is_lost_lets_the_event_source_come_back() {
    let mut backend = Backend::start().await;
    let gateway = Gateway::start(Config::to(backend.address)).await;
    let mut call = Opening::new(Dialect::Sse, Kind::ServerStream, Via::H2Tls).behave("hang@1").open(&gateway).await;
    call.message().await;
    backend.kill();
    let (_, end) = call.rest().await;
    assert_eq!((end.code, &end.how), (Some(14), &How::Event(None)), "{end:?}");
}

// ---- WebSocket

#[tokio::test]
async fn replies_come_in_the_kind_of_the_first_frame_or_of_the_subprotocol() {
    let (_backend, gateway) = start().await;
    let binary = b"\x0a\x01a".to_vec();
    let text = r#"{"text":"a"}"#.to_owned();
    for (protocol, first, reply) in [
        (None, Frame::Text(text.clone()), Frame::Text(text.clone())),
        (None, Frame::Binary(binary.clone()), Frame::Binary(binary.clone())),
        (Some("tidegate.json"), Frame::Text(text.clone()), Frame::Text(text.clone())),
        (Some("tidegate.proto"), Frame::Binary(binary.clone()), Frame::Binary(binary.clone())),
        (Some("chat, tidegate.json"), Frame::Text(text.clone()), Frame::Text(text.clone())),
    ] {
        let headers: Vec<_> = protocol.iter().map(|value| ("sec-websocket-protocol", *value)).collect();
        let mut socket = WebSocket::open(&gateway, Via::H1Tls, "/echo/chat", &headers).await.expect("an upgrade");
        match first {
            Frame::Text(text) => socket.text(text).await,
            Frame::Binary(bytes) => socket.binary(bytes).await,
            _ => unreachable!("a message"),
        };
        assert_eq!(socket.next().await, reply, "{protocol:?}");
    }
    // The first frame starts nothing here: the subprotocol alone says how replies come.
    let headers = [("sec-websocket-protocol", "tidegate.proto")];
    let mut socket = WebSocket::open(&gateway, Via::H1Tls, "/echo/down?text=a", &headers).await.expect("an upgrade");
    assert_eq!(socket.next().await, Frame::Binary(binary));
    // Something of another kind is refused with 1003.
    let mut socket = WebSocket::open(&gateway, Via::H1Tls, "/echo/chat", &headers).await.expect("an upgrade");
    socket.text("{}").await;
    assert!(matches!(socket.next().await, Frame::Close(Some((1003, _)))));
}

#[tokio::test]
async fn what_the_url_says_is_bound_into_every_message() {
    let (_backend, gateway) = start().await;
    // A GET rule whose message is complete from the URL.
    let mut socket = WebSocket::open(&gateway, Via::H1Tls, "/p1/x?i32=7", &[]).await.expect("an upgrade");
    let Frame::Text(text) = socket.next().await else { panic!("a reply") };
    let seen: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(seen["requestJson"], r#"{"i32":7,"s":"x"}"#, "{seen}");

    let cases = [
        (r#"{"i32":1}"#, Some(json!({"s": "p", "i32": 1}))),
        (r#"{"s":"p","i32":2}"#, Some(json!({"s": "p", "i32": 2}))),
        (r#"{"s":"other"}"#, None),
    ];
    for (message, expected) in cases {
        let mut socket = WebSocket::open(&gateway, Via::H1Tls, "/b3/p", &[]).await.expect("an upgrade");
        socket.text(message).await;
        match (socket.next().await, expected) {
            (Frame::Text(text), Some(expected)) => {
                let seen: Value = serde_json::from_str(&text).unwrap();
                let request: Value = serde_json::from_str(seen["requestJson"].as_str().unwrap()).unwrap();
                assert_eq!(request, expected);
            }
            (Frame::Close(Some((4003, reason))), None) => assert!(reason.contains('s'), "{reason:?}"),
            (frame, expected) => panic!("{message}: {frame:?}, not {expected:?}"),
        }
    }
}

#[tokio::test]
async fn raw_frames_carry_http_bodies() {
    let (_backend, gateway) = start().await;
    let mut socket =
        WebSocket::open(&gateway, Via::H1Tls, "/echo/download-stream?count=2", &[]).await.expect("an upgrade");
    assert_eq!(socket.next().await, Frame::Text("chunk0\n".to_owned()));
    assert_eq!(socket.next().await, Frame::Text("chunk1\n".to_owned()));
    assert!(matches!(socket.next().await, Frame::Close(Some((1000, _)))));

    // Here an empty frame is data; only the close handshake ends the requests, and nobody is left to read the sum.
    let mut socket = WebSocket::open(&gateway, Via::H1Tls, "/echo/upload", &[]).await.expect("an upgrade");
    socket.binary(vec![0xff; 10]).await;
    let Frame::Binary(sum) = socket.next().await else { panic!("the reply is of the first frame's kind") };
    let sum = Sum::decode(sum.as_slice()).unwrap();
    assert_eq!((sum.bytes, sum.joined.as_str()), (10, "application/octet-stream"));
}

#[tokio::test]
async fn an_orderly_close_ends_an_upload_of_raw_frames_well() {
    let (mut backend, gateway) = start().await;
    for frame in [None, Some(CloseFrame { code: CloseCode::Normal, reason: "".into() })] {
        let mut socket = WebSocket::open(&gateway, Via::H1Tls, "/echo/upload-stream", &[]).await.expect("an upgrade");
        socket.binary(vec![0xff; 10]).await;
        socket.binary(Vec::new()).await;
        socket.close(frame).await;
        let Frame::Binary(sum) = socket.next().await else { panic!("the call ends well, and answers") };
        let sum = Sum::decode(sum.as_slice()).unwrap();
        assert_eq!((sum.count, sum.bytes), (2, 10));
        assert!(matches!(socket.next().await, Frame::Close(Some((1000, _)))));
        drop(backend.call("UploadStream").await);
    }
    let mut socket = WebSocket::open(&gateway, Via::H1Tls, "/echo/upload-stream", &[]).await.expect("an upgrade");
    socket.binary(vec![0xff; 10]).await;
    let mut seen = backend.call("UploadStream").await;
    socket.close(Some(CloseFrame { code: CloseCode::Away, reason: "".into() })).await;
    seen.cancelled().await;
}

#[tokio::test]
async fn a_close_by_the_client_is_answered_and_cancels_the_call() {
    let (mut backend, gateway) = start().await;
    for (frame, code) in [(None, None), (Some(CloseCode::Normal), Some(1000)), (Some(CloseCode::Away), Some(1001))] {
        let mut socket = WebSocket::open(&gateway, Via::H1Tls, "/echo/chat", &[]).await.expect("an upgrade");
        socket.text(r#"{"text":"a"}"#).await;
        assert!(matches!(socket.next().await, Frame::Text(_)));
        let mut seen = backend.call("Chat").await;
        socket.close(frame.map(|code| CloseFrame { code, reason: "".into() })).await;
        let Frame::Close(echoed) = socket.next().await else { panic!("the close is answered") };
        assert_eq!(echoed.map(|(code, _)| code), code);
        assert_eq!(socket.next().await, Frame::Gone, "the server closes the connection");
        seen.cancelled().await;
    }
}

#[tokio::test]
async fn a_websocket_that_gives_no_sign_of_life_is_given_up() {
    let mut backend = Backend::start().await;
    let config = Config::to(backend.address).limit("ws_ping", "100ms").limit("ws_pong_timeout", "200ms");
    let gateway = Gateway::start(config).await;
    for via in [Via::H1, Via::H2c] {
        // A client that reads answers pings, and stays.
        let mut alive = WebSocket::open(&gateway, via, "/echo/chat", &[]).await.expect("a WebSocket");
        alive.text(r#"{"text":"a"}"#).await;
        assert!(matches!(alive.next().await, Frame::Text(_)));
        let kept = backend.call("Chat").await;
        // This one never reads, so it never answers.
        let mut dead = WebSocket::open(&gateway, via, "/echo/chat", &[]).await.expect("a WebSocket");
        dead.text(r#"{"text":"b"}"#).await;
        let mut lost = backend.call("Chat").await;
        let reading = async {
            // Reads on until the other is given up.
            tokio::select! {
                frame = alive.next() => panic!("the one that is alive got {frame:?}"),
                _ = lost.cancelled() => {}
            }
        };
        within(reading).await;
        alive.text(r#"{"text":"still here"}"#).await;
        assert_eq!(alive.next().await, Frame::Text(r#"{"text":"still here"}"#.to_owned()));
        drop(kept);
    }
}

#[tokio::test]
async fn extended_connect_leads_to_websockets_and_nowhere_else() {
    let (mut backend, gateway) = start().await;
    for (protocol, version, target, status) in [
        ("connect-udp", "13", "/echo/chat", 501),
        ("websocket", "8", "/echo/chat", 400),
        ("websocket", "13", "/nowhere", 404),
        ("websocket", "13", "/echo/chat?nonsense=1", 400),
    ] {
        let request = http::Request::connect(format!("https://{}{target}", gateway.tls));
        let request = request.header("sec-websocket-version", version).body(()).expect("a valid request");
        let refused = ws::tunnel(dial(gateway.tls, Via::H2Tls).await, protocol, request).await;
        assert_eq!(refused.err().expect("a refusal").status(), status, "{protocol} {version} {target}");
    }
    backend.assert_not_called();
    // The connection is for others too, and a stream that is reset takes its call along.
    let mut socket = WebSocket::open(&gateway, Via::H2Tls, "/echo/chat", &[]).await.expect("a WebSocket");
    socket.text(r#"{"text":"a"}"#).await;
    assert!(matches!(socket.next().await, Frame::Text(_)));
    let mut seen = backend.call("Chat").await;
    drop(socket);
    seen.cancelled().await;
}

#[tokio::test]
async fn pages_of_the_same_site_and_allowed_ones_may_open_websockets() {
    let backend = Backend::start().await;
    let cors = "cors: { origins: [ \"https://app.test\" ], credentials: true }";
    let gateway = Gateway::start(Config::to(backend.address).section(cors)).await;
    let own = format!("https://{}", gateway.tls);
    for (origin, allowed) in [
        (own.as_str(), true),
        ("https://app.test", true),
        ("https://evil.test", false),
        ("null", false),
        ("https://app.test.evil.test", false),
        ("http://app.test", false),
    ] {
        for via in [Via::H1Tls, Via::H2Tls] {
            match WebSocket::open(&gateway, via, "/echo/chat", &[("origin", origin)]).await {
                Ok(_) => assert!(allowed, "{via:?} {origin} was let in"),
                Err(response) => {
                    assert!(!allowed, "{via:?} {origin} was refused: {response:?}");
                    assert_eq!(response.status(), 403, "{via:?} {origin}");
                }
            }
        }
    }
}

#[tokio::test]
async fn pages_of_allowed_origins_may_fetch() {
    let backend = Backend::start().await;
    let cors = "cors: { origins: [ \"https://app.test\" ], credentials: true, max_age: 10m }";
    let gateway = Gateway::start(Config::to(backend.address).section(cors)).await;
    let mut conn = gateway.connect(Via::H2Tls).await;
    let preflight = [
        ("origin", "https://app.test"),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "content-type"),
    ];
    let answer = conn.whole("OPTIONS", "/echo/say", &preflight, None).await;
    assert!(answer.status.is_success(), "{answer:?}");
    assert_eq!(answer.header("access-control-allow-origin"), "https://app.test", "{answer:?}");
    assert_eq!(answer.header("access-control-allow-credentials"), "true", "{answer:?}");
    assert_eq!(answer.header("access-control-max-age"), "600", "{answer:?}");
    let answer = conn.whole("GET", "/echo/say/x", &[("origin", "https://app.test")], None).await;
    assert_eq!(answer.header("access-control-allow-origin"), "https://app.test", "{answer:?}");
    assert!(answer.headers.get_all("vary").iter().any(|value| value == "origin"), "{answer:?}");
    // A refusal can be read by the page as well.
    let answer = conn.whole("GET", "/nothing", &[("origin", "https://app.test")], None).await;
    assert_eq!(answer.header("access-control-allow-origin"), "https://app.test", "{answer:?}");
    let answer = conn.whole("GET", "/echo/say/x", &[("origin", "https://evil.test")], None).await;
    assert_eq!(answer.header("access-control-allow-origin"), "", "{answer:?}");
}

#[tokio::test]
async fn many_calls_share_a_connection_and_none_waits_for_another() {
    let (mut backend, gateway) = start().await;
    let mut slow = gateway.connect(Via::H2Tls).await;
    let headers = [("grpc-metadata-x-behave", "hang@0"), ("x-request-id", "hangs")];
    let hanging = slow.begin("GET", "/echo/say/hang", &headers, None).await;
    backend.call_of("hangs").await;
    for _ in 0..100 {
        assert_eq!(slow.get("/echo/say/x").await.status, 200);
    }
    drop(hanging);
    tokio::time::timeout(PATIENCE, slow.get("/echo/say/y")).await.expect("the connection goes on");
}
