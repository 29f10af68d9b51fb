//! Many calls of one client: `tidegate.mux` on WebSockets and in sessions over plain HTTP, in JSON and in protobuf (PROTOCOLS §10).

use std::collections::HashMap;

use prost::Message as _;
use serde_json::{Value, json};

use crate::{
    backend::{Backend, Event},
    harness::{
        Config, Gateway, Via, binary,
        mux::{Carrier, Client, ECHO, Line},
        ws::{Frame, WebSocket},
    },
    proto::{Msg, StreamReq, Sum, mux},
};

async fn start() -> (Backend, Gateway) {
    let backend = Backend::start().await;
    let gateway = Gateway::start(Config::to(backend.address)).await;
    (backend, gateway)
}

#[tokio::test]
async fn methods_of_every_kind_share_a_line() {
    let (_backend, gateway) = start().await;
    for (carrier, via) in [&Carrier::WAYS[..], &[(Carrier::Socket, Via::H1), (Carrier::Socket, Via::H2c)]].concat() {
        let mut client = Client::open(&gateway, carrier, via).await;
        // All at once, and in one frame where there is no more to be said.
        let say = json!({ "id": 1, "open": { "method": format!("{ECHO}/Say") }, "message": { "text": "hi" }, "half_close": true });
        client.send(say).await;
        client.call(2, "Down", "").await;
        client.call(3, "Up", "").await;
        client.call(4, "Chat", "").await;
        client.send(json!({ "id": 3, "message": { "text": "a" } })).await;
        client.send(json!({ "id": 4, "message": { "text": "x" } })).await;
        client.send(json!({ "id": 2, "message": { "text": "t", "count": 2 } })).await;
        client.send(json!({ "id": 3, "message": { "text": "b" } })).await;
        client.send(json!({ "id": 3, "half_close": true })).await;

        assert_eq!(client.message(1).await, json!({ "text": "hi" }), "{carrier:?} {via:?}");
        let ok = json!({ "code": 0, "message": "", "details": [], "trailers": {} });
        assert_eq!(client.status(1).await["code"], ok["code"]);
        assert_eq!(client.message(2).await, json!({ "text": "t" }));
        assert_eq!(client.message(2).await, json!({ "text": "t", "n": 1 }));
        assert_eq!(client.status(2).await["code"], 0);
        assert_eq!(client.message(3).await, json!({ "count": 2, "joined": "a,b" }));
        assert_eq!(client.status(3).await["code"], 0);
        assert_eq!(client.message(4).await, json!({ "text": "x" }));
        client.send(json!({ "id": 4, "message": { "text": "y" } })).await;
        assert_eq!(client.message(4).await, json!({ "text": "y" }));
        client.send(json!({ "id": 4, "half_close": true })).await;
        assert_eq!(client.status(4).await["code"], 0);
    }
    let record =
        gateway.access(|record| record["dialect"] == "mux" && record["method"] == format!("{ECHO}/Chat")).await;
    assert_eq!((&record["messages_in"], &record["messages_out"]), (&2.into(), &2.into()), "{record}");
}

#[tokio::test]
async fn frames_and_messages_may_be_protobuf() {
    let (_backend, gateway) = start().await;
    let headers = [("sec-websocket-protocol", "tidegate.mux+proto")];
    let mut socket = WebSocket::open(&gateway, Via::H2Tls, "/-/mux", &headers).await.expect("a WebSocket");
    let open = |id, method: &str| mux::Frame {
        id,
        open: Some(mux::Open { method: format!("{ECHO}/{method}"), ..Default::default() }),
        ..Default::default()
    };
    let message = |id, message: Vec<u8>| mux::Frame { id, message: Some(message), ..Default::default() };
    let text = |text: &str| Msg { text: text.to_owned(), ..Msg::default() }.encode_to_vec();
    for frame in [
        mux::Frame { message: Some(text("hi")), half_close: true, ..open(1, "Say") },
        open(2, "Up"),
        message(2, text("a")),
        mux::Frame { half_close: true, ..message(2, text("b")) },
        mux::Frame { message: Some(StreamReq { count: 1, ..Default::default() }.encode_to_vec()), ..open(3, "Down") },
        mux::Frame { ping: Some(7), ..Default::default() },
        mux::Frame { message: Some(b"\xff".to_vec()), ..open(4, "Say") },
        open(5, "Nope"),
    ] {
        socket.binary(frame.encode_to_vec()).await;
    }
    let mut frames: HashMap<u32, Vec<mux::Frame>> = HashMap::new();
    let mut ends = 0;
    while ends < 5 {
        let Frame::Binary(bytes) = socket.next().await else { panic!("no frame") };
        let frame = mux::Frame::decode(&*bytes).expect("a frame");
        ends += usize::from(frame.status.is_some());
        if frame.head.is_none() {
            frames.entry(frame.id).or_default().push(frame);
        }
    }
    let codes = |id: u32| frames[&id].last().and_then(|frame| Some(frame.status.as_ref()?.code));
    assert_eq!([1, 2, 3, 4, 5].map(codes), [Some(0), Some(0), Some(0), Some(13), Some(12)]);
    assert_eq!(frames[&1][0].message.as_deref(), Some(&*text("hi")));
    let sum = Sum::decode(frames[&2][0].message.as_deref().expect("a message")).expect("a sum");
    assert_eq!((sum.count, &*sum.joined), (2, "a,b"));
    assert_eq!(frames[&3].len(), 2);
    assert_eq!(frames[&0][0].pong, Some(7));
}

#[tokio::test]
async fn metadata_passes_both_ways_and_a_call_may_bring_a_newer_token() {
    let (mut backend, gateway) = start().await;
    let headers = [
        ("sec-websocket-protocol", "tidegate.mux, bearer.b2xk"),
        ("cookie", "a=b"),
        ("x-request-timeout", "9"),
        ("x-request-id", "of-the-socket"),
    ];
    let socket = WebSocket::open(&gateway, Via::H1Tls, "/-/mux", &headers).await.expect("a WebSocket");
    let mut client = Client::of(Line::Socket(socket));
    let say = |id: u64, metadata: Value| json!({ "id": id, "open": { "method": format!("{ECHO}/Say"), "metadata": metadata }, "message": {} });
    client.send(say(1, json!({ "x-own": "v", "x-own-bin": "AQI=" }))).await;
    assert_eq!(client.message(1).await, json!({}));
    let seen = backend.call("Say").await;
    for (name, value) in [("authorization", "Bearer old"), ("cookie", "a=b"), ("x-own", "v"), ("x-own-bin", "AQI")] {
        assert_eq!(seen.header(name), value, "{name}");
    }
    assert_ne!(seen.header("x-request-id"), "of-the-socket");
    assert_eq!(seen.headers.get("sec-websocket-protocol"), None);
    client.send(say(2, json!({ "authorization": "Bearer new", "te": "x", "grpc-timeout": "1S" }))).await;
    client.message(2).await;
    let seen = backend.call("Say").await;
    assert_eq!(seen.header("authorization"), "Bearer new");
    for (id, metadata, text) in [
        (10, json!({ "bad name": "x" }), "open: a name that metadata cannot have"),
        (11, json!({ "x": "a\nb" }), "open: a value that metadata cannot have"),
        (12, json!({ "x-bin": "?" }), "x-bin"),
    ] {
        client.send(say(id, metadata)).await;
        let status = client.status(id).await;
        assert_eq!(status["code"], 3, "{status}");
        assert!(status["message"].as_str().expect("a text").contains(text), "{status}");
    }
    // And back: in the head, and with the status.
    client.send(say(100, json!({ "x-echo": "e" }))).await;
    let head = client.any().await;
    let told = json!({ "etag": "\"v1\"", "x-backend": "echo", "x-bin-bin": "AAH/", "x-echo": "e" });
    assert_eq!(head, json!({ "id": 100, "head": { "metadata": told } }));
    client.message(100).await;
    assert_eq!(client.status(100).await["trailers"], json!({ "x-trailer": "bye", "x-trailer-bin": "/v8" }));
}

#[tokio::test]
async fn a_call_that_stands_still_stops_no_other_and_goes_on_with_credit() {
    let (_backend, gateway) = start().await;
    for (carrier, via) in Carrier::WAYS {
        let mut client = Client::open(&gateway, carrier, via).await;
        println!("{carrier:?} {via:?}");
        client.call(1, "Down", "").await;
        client.send(json!({ "id": 1, "message": { "count": 100, "size": 3000 } })).await;
        client.call(2, "Chat", "").await;
        let mut got = 0;
        let mut bytes = 0;
        // Without credit it ends after the first grant; base64 makes 4,000 of 3,000.
        while bytes < 65_536 {
            let message = client.message(1).await;
            bytes += match carrier {
                Carrier::Delimited => binary::encode("Msg", &message).len(),
                _ => message.to_string().len(),
            };
            got += 1;
        }
        for n in 0..50 {
            client.send(json!({ "id": 2, "message": { "text": format!("{n}") } })).await;
            assert_eq!(client.message(2).await["text"], format!("{n}"));
        }
        assert!(client.held.get(&1).is_none_or(Vec::is_empty), "sent without credit");
        while got < 100 {
            println!("got {got} bytes {bytes}");
            client.send(json!({ "id": 1, "credit": 20_000 })).await;
            for _ in 0..4 {
                if got < 100 {
                    client.message(1).await;
                    got += 1;
                }
            }
        }
        assert_eq!(client.status(1).await["code"], 0);
    }
}

#[tokio::test]
async fn a_client_gets_its_credit_back_and_is_ended_where_it_overdraws() {
    let (mut backend, gateway) = start().await;
    for (carrier, via) in Carrier::WAYS {
        let mut client = Client::open(&gateway, carrier, via).await;
        let large = "x".repeat(40_000);
        client.call(1, "Up", "").await;
        for _ in 0..5 {
            client.send(json!({ "id": 1, "message": { "text": large } })).await;
            let frame = client.next(1).await;
            assert!(frame["credit"].as_u64().is_some_and(|credit| credit >= 32_768), "{frame}");
        }
        client.send(json!({ "id": 1, "half_close": true })).await;
        assert_eq!(client.message(1).await["count"], 5);
        assert_eq!(client.status(1).await["code"], 0);
        backend.call("Up").await;

        // This backend takes nothing: what is sent to it waits.
        client.call(2, "Up", "hang@0").await;
        client.call(3, "Chat", "").await;
        let mut sent = 0;
        let status = loop {
            client.send(json!({ "id": 2, "message": { "text": large } })).await;
            sent += 1;
            assert!(sent < 100, "nothing held it back");
            // What was answered by now is behind what this one is told.
            client.send(json!({ "ping": sent })).await;
            let mut status = None;
            loop {
                let mut frame = client.any().await;
                if frame["pong"] == sent {
                    break;
                }
                if frame["id"] == 2 && frame.get("status").is_some() {
                    status = Some(frame["status"].take());
                }
            }
            if let Some(status) = status {
                break status;
            }
        };
        assert_eq!(
            (&status["code"], &status["details"][0]["reason"]),
            (&8.into(), &"CREDIT_OVERDRAWN".into()),
            "{status}"
        );
        client.send(json!({ "id": 3, "message": { "text": "unharmed" } })).await;
        assert_eq!(client.message(3).await["text"], "unharmed");
    }
}

#[tokio::test]
async fn deadlines_and_cancellations_reach_the_backend() {
    let (mut backend, gateway) = start().await;
    for (carrier, via) in Carrier::WAYS {
        let mut client = Client::open(&gateway, carrier, via).await;
        let open = json!({ "method": format!("{ECHO}/Say"), "metadata": { "x-behave": "hang@0" }, "timeout": "0.2s" });
        client.send(json!({ "id": 1, "open": open, "message": {} })).await;
        assert_eq!(client.status(1).await["code"], 4);
        let mut seen = backend.call("Say").await;
        assert!(seen.timeout().is_some_and(|timeout| timeout.as_millis() <= 200), "{:?}", seen.timeout());
        seen.cancelled().await;

        client.call(2, "Chat", "hang@1").await;
        client.send(json!({ "id": 2, "message": { "text": "a" } })).await;
        client.message(2).await;
        let mut seen = backend.call("Chat").await;
        client.send(json!({ "id": 2, "cancel": true })).await;
        assert_eq!(client.status(2).await["code"], 1);
        seen.cancelled().await;
        // Who leaves takes everything along.
        client.call(3, "Chat", "").await;
        client.call(4, "Down", "hang@0").await;
        client.send(json!({ "id": 4, "message": {} })).await;
        let (mut chat, mut down) = (backend.call("Chat").await, backend.call("Down").await);
        // Before that a backend can still answer: that the message which it waits for is lost.
        down.until(Event::HalfClosed).await;
        drop(client);
        chat.cancelled().await;
        down.cancelled().await;
    }
}

#[tokio::test]
async fn a_refusal_ends_its_call_alone() {
    let (mut backend, gateway) = start().await;
    for (carrier, via) in Carrier::WAYS {
        let mut client = Client::open(&gateway, carrier, via).await;
        client.call(1, "Chat", "").await;
        client.send(json!({ "id": 1, "message": {} })).await;
        client.message(1).await;
        backend.call("Chat").await;
        for (place, (open, message, code)) in [
            (json!({ "method": "nobody.Has/This" }), None, 12),
            (json!({ "method": format!("/{ECHO}/Say") }), None, 3),
            (json!({ "method": format!("{ECHO}/Say?x=1") }), None, 3),
            (json!({ "method": "echo/say" }), None, 12),
            (json!({ "method": "" }), None, 12),
            (json!({ "method": "a b" }), None, 3),
            (json!({ "method": format!("{ECHO}/Say") }), Some(json!({ "nope": 1 })), 3),
            (json!({ "method": format!("{ECHO}/Say") }), Some(json!([])), 3),
            (json!({ "method": format!("{ECHO}/Fail") }), Some(json!({ "code": 5, "message": "gone" })), 5),
        ]
        .into_iter()
        .enumerate()
        {
            let id = 10 + place as u64;
            let mut frame = json!({ "id": id, "open": open });
            if carrier == Carrier::Delimited
                && !open["method"].as_str().is_some_and(|method| method.ends_with("Fail"))
                && message.is_some()
            {
                // Protobuf cannot tell what has no place in the message.
                continue;
            }
            if let Some(message) = message {
                frame["message"] = message;
            }
            client.send(frame.clone()).await;
            assert_eq!(client.status(id).await["code"], code, "{frame}");
        }
        // A second message where there is one.
        client.call(100, "Say", "hang@0").await;
        client.send(json!({ "id": 100, "message": {} })).await;
        client.send(json!({ "id": 100, "message": {} })).await;
        assert_eq!(client.status(100).await["code"], 3);
        // Calls that are not there, and keys that nobody knows, mean nothing.
        for frame in [
            json!({ "id": 18, "message": {} }),
            json!({ "id": 9999, "cancel": true, "credit": 5, "half_close": true }),
            json!({ "id": 1, "weather": "fine" }),
            json!({ "pong": 3, "go_away": { "reason": "x" } }),
        ] {
            client.send(frame).await;
        }
        client.send(json!({ "id": 1, "message": { "text": "still here" } })).await;
        assert_eq!(client.message(1).await["text"], "still here");
    }
}

#[tokio::test]
async fn what_is_no_frame_closes_the_socket() {
    let (mut backend, gateway) = start().await;
    for (frame, code) in [
        (Frame::Text("nonsense".to_owned()), 1007),
        (Frame::Text("[]".to_owned()), 1007),
        (Frame::Text(String::new()), 1007),
        (Frame::Text(r#"{"id":0,"cancel":true}"#.to_owned()), 1007),
        (Frame::Text(r#"{"id":-1}"#.to_owned()), 1007),
        (Frame::Text(r#"{"id":1,"open":{"method":"x"}}"#.to_owned()), 1007),
        (Frame::Text(r#"{"id":9,"credit":99999999999}"#.to_owned()), 1007),
        (Frame::Binary(b"\x08\x01".to_vec()), 1003),
    ] {
        let mut client = Client::open(&gateway, Carrier::Socket, Via::H1Tls).await;
        client.call(1, "Chat", "").await;
        let mut seen = backend.call("Chat").await;
        let Line::Socket(socket) = &mut client.line else { panic!("a socket") };
        match &frame {
            Frame::Text(text) => socket.text(text.clone()).await,
            Frame::Binary(bytes) => socket.binary(bytes.clone()).await,
            _ => unreachable!("a message"),
        };
        assert_eq!(client.closed().await.0, code, "{frame:?}");
        seen.cancelled().await;
    }
}

#[tokio::test]
async fn opens_pings_and_bytes_are_bounded() {
    let (_backend, gateway) = start().await;
    let mut client = Client::open(&gateway, Carrier::Socket, Via::H1Tls).await;
    let mut refused = 0;
    for id in 1..=10_000u64 {
        client.call(id, "Chat", "").await;
        if id > 100 {
            let status = client.status(id).await;
            assert_eq!((&status["code"], &status["details"][0]["reason"]), (&8.into(), &"OVERLOADED".into()));
            refused += 1;
        }
    }
    assert_eq!(refused, 9_900);
    let record = gateway.access(|record| record["code"] == "RESOURCE_EXHAUSTED").await;
    assert_eq!((&record["dialect"], &record["origin"]), (&"mux".into(), &"client".into()), "{record}");
    for n in 0..10_000 {
        client.send(json!({ "ping": n })).await;
        if n % 100 == 99 {
            while client.any().await["pong"] != n {}
        }
    }
    client.send(json!({ "id": 7, "message": { "text": "unharmed" } })).await;
    assert_eq!(client.message(7).await["text"], "unharmed");
}

#[tokio::test]
async fn a_gateway_that_goes_down_lets_calls_finish_and_begins_none() {
    let (_backend, mut gateway) = start().await;
    let mut client = Client::open(&gateway, Carrier::Socket, Via::H2Tls).await;
    let mut idle = Client::open(&gateway, Carrier::Socket, Via::H1Tls).await;
    idle.send(json!({ "ping": 1 })).await;
    assert_eq!(idle.any().await, json!({ "pong": 1 }));
    client.call(1, "Chat", "").await;
    client.send(json!({ "id": 1, "message": { "text": "a" } })).await;
    client.message(1).await;
    gateway.process.signal("TERM");
    let away = json!({ "go_away": { "reason": "the gateway gives this connection up: come back on another" } });
    assert_eq!(client.any().await, away);
    assert_eq!(idle.any().await, away);
    assert_eq!(idle.closed().await.0, 1012);
    client.call(2, "Say", "").await;
    assert_eq!(client.status(2).await["code"], 14);
    client.send(json!({ "id": 1, "message": { "text": "b" } })).await;
    assert_eq!(client.message(1).await["text"], "b");
    client.send(json!({ "id": 1, "half_close": true })).await;
    assert_eq!(client.status(1).await["code"], 0);
    assert_eq!(client.closed().await.0, 1012);
    assert_eq!(gateway.process.exit().await.code(), Some(0));
}

#[tokio::test]
async fn a_socket_is_refused_before_it_is_one() {
    let backend = Backend::start().await;
    let gateway = Gateway::start(Config::to(backend.address).section("mux: { path: /calls }")).await;
    let off = Gateway::start(Config::to(backend.address).section("mux: { enabled: false }")).await;
    let spoken = ("sec-websocket-protocol", "tidegate.mux");
    for via in [Via::H1Tls, Via::H2Tls] {
        for (gateway, path, headers, status) in [
            (&gateway, "/calls", &[spoken][..], None),
            (&gateway, "/calls", &[("sec-websocket-protocol", "tidegate.json, tidegate.mux+json")], None),
            (&gateway, "/calls", &[], Some(400)),
            (&gateway, "/calls", &[("sec-websocket-protocol", "tidegate.json")], Some(400)),
            (&gateway, "/calls", &[spoken, ("origin", "https://evil.test")], Some(403)),
            (&gateway, "/-/mux", &[spoken], Some(404)),
            (&off, "/-/mux", &[spoken], Some(404)),
        ] {
            let opened = WebSocket::open(gateway, via, path, headers).await;
            let refused = opened.as_ref().err().map(|response| response.status().as_u16());
            assert_eq!(refused, status, "{via:?} {path} {headers:?}");
        }
    }
}
