//! Copies of calls for a mirror, and that whatever the mirror does harms no call (docs/routing.md).

use std::net::SocketAddr;

use bytes::Bytes;
use prost::Message;
use serde_json::{Value, json};

use crate::{
    backend::{Backend, Event, RawBackend, RawCall, framed},
    harness::{Config, Dialect, Gateway, Kind, Opening, Via, expect, within},
    proto::{DESCRIPTOR_SET, Msg, StreamReq},
};

/// A gateway that copies these calls of a hundred.
async fn start(backend: SocketAddr, mirror: SocketAddr, percent: &str) -> Gateway {
    let schema = format!("schema: {{ descriptor_set: {DESCRIPTOR_SET:?} }}");
    let routes =
        format!("routes:\n  - match: {{ service: \"\" }}\n    mirror: {{ upstream: shadow, percent: {percent} }}");
    let config = Config::new().upstream("test", backend, &schema).upstream("shadow", mirror, "schema: none");
    Gateway::start(config.section(&routes)).await
}

fn answer_well(call: &mut RawCall) {
    call.head();
    call.data(framed(b""));
    call.trailers(&[("grpc-status", "0")]);
}

/// How many copies ended so; asked until that many have.
async fn mirrored(gateway: &Gateway, result: &str, at_least: u64) -> u64 {
    let name = format!("tidegate_mirrored_calls_total{{result=\"{result}\"}} ");
    within(async {
        loop {
            let metrics = gateway.admin_get("/metrics").await.text();
            let count =
                metrics.lines().find_map(|line| line.strip_prefix(&name)?.parse().ok()).expect("the metric is there");
            if count >= at_least {
                return count;
            }
            tokio::task::yield_now().await;
        }
    })
    .await
}

/// The request messages that a call of this kind makes with `Opening::new`, and with `a` and `b` of a request stream.
fn requests(kind: Kind) -> Vec<String> {
    match kind {
        Kind::Unary => vec!["hello 7".to_owned()],
        Kind::ServerStream => vec!["tick 3".to_owned()],
        Kind::ClientStream | Kind::Bidi => vec!["a 0".to_owned(), "b 0".to_owned()],
    }
}

/// A request message's text and number.
fn decoded(kind: Kind, message: &[u8]) -> String {
    if kind == Kind::ServerStream {
        let StreamReq { text, count, .. } = StreamReq::decode(message).expect("a message");
        return format!("{text} {count}");
    }
    let Msg { text, n, .. } = Msg::decode(message).expect("a message");
    format!("{text} {n}")
}

/// Each with the kinds of methods that it can call.
const DIALECTS: &[(Dialect, &[Kind])] = &[
    (Dialect::Json, KINDS),
    (Dialect::Ndjson, KINDS),
    (Dialect::Protobuf, KINDS),
    (Dialect::Sse, ONE_MESSAGE),
    (Dialect::WebSocket, KINDS),
    (Dialect::Grpc, KINDS),
    (Dialect::GrpcJson, KINDS),
    (Dialect::GrpcWeb, ONE_MESSAGE),
    (Dialect::GrpcWebText, ONE_MESSAGE),
    (Dialect::ConnectJson, KINDS),
    (Dialect::ConnectProto, KINDS),
    (Dialect::ConnectGet, &[Kind::Unary]),
];

const KINDS: &[Kind] = &[Kind::Unary, Kind::ServerStream, Kind::ClientStream, Kind::Bidi];
const ONE_MESSAGE: &[Kind] = &[Kind::Unary, Kind::ServerStream];

#[tokio::test]
async fn a_mirror_gets_what_the_upstream_gets_in_every_dialect_and_kind() {
    let (mut backend, mut mirror) = (Backend::start().await, RawBackend::start().await);
    let gateway = start(backend.address, mirror.address, "100").await;
    let mut copies = 0;
    for (dialect, kinds) in DIALECTS {
        for kind in *kinds {
            let (dialect, kind) = (*dialect, *kind);
            let via = expect::vias(dialect, kind)[0];
            let mut call = Opening::new(dialect, kind, via).open(&gateway).await;
            if kind.requests_stream() {
                for text in ["a", "b"] {
                    assert!(call.send(&json!({ "text": text })).await);
                }
                call.half_close().await;
            }
            let (messages, end) = call.rest().await;
            assert_eq!((messages, end.code), (expect::messages(kind), Some(0)), "{dialect:?} {kind:?}");

            let seen = backend.call_of(&call.id).await;
            let mut copy = mirror.call().await;
            assert_eq!(copy.path(), seen.path);
            let sent: Vec<_> = copy.requests().await.iter().map(|message| decoded(kind, message)).collect();
            assert_eq!(sent, requests(kind), "{dialect:?} {kind:?}");
            answer_well(&mut copy);
            // The head is the same, but for the mark and the time that is left.
            let mut headers = copy.headers().clone();
            assert_eq!(headers.remove("x-tidegate-mirror").expect("a mark"), "1");
            let mut own = seen.headers.clone();
            assert_eq!(headers.remove("grpc-timeout").is_some(), own.remove("grpc-timeout").is_some());
            assert_eq!(headers, own, "{dialect:?} {kind:?}");
            copies += 1;
        }
    }
    assert_eq!(mirrored(&gateway, "sent", copies).await, copies);
    gateway.assert_nothing_internal();
}

#[tokio::test]
async fn what_no_schema_knows_is_copied_too_and_no_client_can_mark_a_copy() {
    let (mut backend, mut mirror) = (RawBackend::start().await, RawBackend::start().await);
    let config = Config::new()
        .upstream("blind", backend.address, "schema: none")
        .upstream("shadow", mirror.address, "schema: none")
        .section("routes:\n  - match: { hosts: [ a.example ] }\n    upstream: blind\n    mirror: { upstream: shadow }");
    let gateway = Gateway::start(config).await;
    let mut conn = gateway.connect(Via::H2c).await.for_host("a.example");
    let headers = [("content-type", "application/grpc"), ("te", "trailers"), ("x-tidegate-mirror", "1")];
    let whole = conn.whole("POST", "/any.Service/Method", &headers, Some(framed(b"\xff\x00")));
    let serve = async {
        let mut call = backend.call().await;
        assert_eq!(call.requests().await, [Bytes::from_static(b"\xff\x00")]);
        assert!(!call.headers().contains_key("x-tidegate-mirror"), "{:?}", call.headers());
        answer_well(&mut call);
    };
    let (answer, ()) = tokio::join!(whole, serve);
    assert_eq!(answer.trailers["grpc-status"], "0", "{answer:?}");
    let mut copy = mirror.call().await;
    assert_eq!((copy.requests().await, copy.path()), (vec![Bytes::from_static(b"\xff\x00")], "/any.Service/Method"));
    assert_eq!(copy.headers().get_all("x-tidegate-mirror").iter().collect::<Vec<_>>(), ["1"]);
}

#[tokio::test]
async fn so_many_of_a_hundred_calls_are_copied() {
    let (backend, mirror) = (Backend::start().await, Backend::start().await);
    let mut mirror = mirror;
    let gateway = start(backend.address, mirror.address, "20").await;
    let mut conn = gateway.connect(Via::H2c).await;
    for _ in 0..500 {
        assert_eq!(conn.post("/echo/say", &json!({"text": "a"})).await.json(), json!({"text": "a"}));
    }
    // Five standard deviations: 5 · √(500 · 0.2 · 0.8) = 45.
    let count = mirrored(&gateway, "sent", 55).await;
    assert!(count <= 145, "{count}");
    assert!(mirror.try_call().is_some());
}

async fn say(gateway: &Gateway, calls: usize) {
    let mut json = gateway.connect(Via::H1).await;
    for _ in 0..calls {
        assert_eq!(json.post("/echo/say", &json!({"text": "a"})).await.json(), json!({"text": "a"}));
    }
    for kind in [Kind::Unary, Kind::ServerStream] {
        let mut call = Opening::new(Dialect::Grpc, kind, Via::H2c).open(gateway).await;
        let (messages, end) = call.rest().await;
        assert_eq!((messages, end.code), (expect::messages(kind), Some(0)), "{kind:?}");
    }
}

#[tokio::test]
async fn a_mirror_that_is_not_there_harms_nobody() {
    let backend = Backend::start().await;
    let nobody = Backend::start().await.address;
    let gateway = start(backend.address, nobody, "100").await;
    say(&gateway, 10).await;
    assert!(mirrored(&gateway, "cut", 12).await >= 12);
    gateway.assert_nothing_internal();
}

#[tokio::test]
async fn a_mirror_that_never_answers_harms_nobody_and_copies_find_no_room_at_last() {
    let (backend, mut mirror) = (Backend::start().await, RawBackend::start().await);
    let gateway = start(backend.address, mirror.address, "100").await;
    let hold = tokio::spawn(async move {
        let mut calls = Vec::new();
        while let Some(call) = mirror.next_call().await {
            calls.push(call);
        }
    });
    // One worker, and 256 copies under way at most.
    say(&gateway, 300).await;
    assert_eq!(mirrored(&gateway, "sent", 0).await, 0);
    let (dropped, cut) = (mirrored(&gateway, "dropped", 0).await, mirrored(&gateway, "cut", 0).await);
    assert!(dropped + cut >= 302 - 256, "{dropped} {cut}");
    hold.abort();
}

#[tokio::test]
async fn a_mirror_that_reads_nothing_is_cut_off_and_the_stream_goes_on() {
    let mut builder = h2::server::Builder::new();
    builder.initial_window_size(100).initial_connection_window_size(1 << 16);
    let (mut backend, mut mirror) = (Backend::start().await, RawBackend::with(builder).await);
    let gateway = start(backend.address, mirror.address, "100").await;
    for dialect in [Dialect::Ndjson, Dialect::Grpc] {
        let via = expect::vias(dialect, Kind::Bidi)[0];
        let mut call = Opening::new(dialect, Kind::Bidi, via).open(&gateway).await;
        let mut copy = None;
        for number in 0..2000 {
            let message = json!({ "text": format!("{number:0100}") });
            assert!(call.send(&message).await);
            assert_eq!(call.message().await, message, "{dialect:?}");
            if copy.is_none() {
                copy = Some(mirror.call().await);
            }
        }
        call.half_close().await;
        let (rest, end) = call.rest().await;
        assert_eq!((rest, end.code), (Vec::<Value>::new(), Some(0)), "{dialect:?}");
        let mut seen = backend.call_of(&call.id).await;
        assert_eq!(seen.until(Event::HalfClosed).await.len(), 2000);
        copy.expect("the mirror was asked").cancelled().await;
    }
    assert_eq!(mirrored(&gateway, "cut", 2).await, 2);
}

#[tokio::test]
async fn a_client_that_goes_away_takes_the_copy_of_its_stream_along() {
    let (mut backend, mut mirror) = (Backend::start().await, RawBackend::start().await);
    let gateway = start(backend.address, mirror.address, "100").await;
    let mut call = Opening::new(Dialect::Grpc, Kind::Bidi, Via::H2c).open(&gateway).await;
    assert!(call.send(&json!({"text": "a"})).await);
    call.message().await;
    let mut copy = mirror.call().await;
    let mut seen = backend.call_of(&call.id).await;
    drop(call);
    seen.cancelled().await;
    copy.cancelled().await;
}
