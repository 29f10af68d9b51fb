//! What becomes of a client that stops reading, as the route has it: the upstream waits for it, or is read on within bounds.
//! And of one that takes nothing at all for too long.

use std::time::Duration;

use futures_util::future::select_all;
use prost::Message as _;
use serde_json::{Value, json};
use tokio::time::interval;

use crate::{
    backend::{Backend, Event, RawBackend, RawCall, framed},
    harness::{
        Call, Config, Conn, Dialect, Gateway, Kind, Opening, Stage, Step, Via, sse, within,
        ws::{Frame, WebSocket},
    },
    proto::Msg,
};

const MESSAGES: i64 = 12_000;
/// Beside text and number: 18 MB of protobuf in all.
const DATA_BYTES: u64 = 1500;
/// For all that one call may keep, and the buffers of its connections.
const GROWTH_BYTES_MAX: u64 = 8 << 20;
const KEPT_BYTES: usize = 1 << 20;

/// A client that reads when it is asked to.
enum Reader {
    Call(Box<Call>),
    Events { reader: sse::Reader, _conn: Conn },
    Mux(Box<WebSocket>),
}

#[derive(Clone, Debug, PartialEq)]
enum Said {
    Message(i64),
    /// So many messages are not there.
    Lost(u64),
    End(u64, String),
}

const READERS: [(&str, Via); 7] = [
    ("sse", Via::H2Tls),
    ("sse", Via::H1),
    ("ndjson", Via::H2c),
    ("ndjson", Via::H1Tls),
    ("websocket", Via::H1Tls),
    ("grpc", Via::H2c),
    ("mux", Via::H1),
];

impl Reader {
    /// Opens the stream, and reads no more than its head.
    async fn open(gateway: &Gateway, dialect: &str, via: Via) -> Self {
        let request = json!({ "text": "t", "count": MESSAGES, "size": DATA_BYTES });
        let dialect = match dialect {
            "ndjson" => Dialect::Ndjson,
            "websocket" => Dialect::WebSocket,
            "grpc" => Dialect::Grpc,
            "sse" => {
                let target = format!("/echo/down?text=t&count={MESSAGES}&size={DATA_BYTES}");
                let mut conn = gateway.connect(via).await;
                return Self::Events { reader: events(&mut conn, &target).await, _conn: conn };
            }
            _ => {
                let headers = [("sec-websocket-protocol", "tidegate.mux")];
                let mut socket = WebSocket::open(gateway, via, "/-/mux", &headers).await.expect("a WebSocket");
                let open = json!({ "method": "tidegate.test.v1.Echo/Down" });
                let frame = json!({ "id": 1, "open": open, "message": request, "half_close": true });
                assert!(socket.text(frame.to_string()).await);
                return Self::Mux(Box::new(socket));
            }
        };
        Self::Call(Box::new(Opening::new(dialect, Kind::ServerStream, via).request(request).open(gateway).await))
    }

    async fn next(&mut self) -> Said {
        match self {
            Self::Call(call) => match call.next().await {
                Step::Message(message) => Said::Message(message["n"].as_i64().unwrap_or_default()),
                Step::End(end) => Said::End(end.code.expect("an end that is told").into(), end.message),
            },
            Self::Events { reader, .. } => next_event(reader).await,
            Self::Mux(socket) => loop {
                let Frame::Text(text) = socket.next().await else { panic!("the socket stays") };
                let frame: Value = serde_json::from_str(&text).expect("JSON");
                if let Some(message) = frame.get("message") {
                    return Said::Message(message["n"].as_i64().unwrap_or_default());
                }
                if let Some(status) = frame.get("status") {
                    return end(status);
                }
            },
        }
    }

    /// All that is left, from a client that reads again.
    async fn rest(&mut self) -> Heard {
        if let Self::Mux(socket) = self {
            assert!(socket.text(json!({ "id": 1, "credit": 1_u64 << 30 }).to_string()).await);
        }
        let mut heard = Heard::default();
        loop {
            match self.next().await {
                Said::Message(n) => heard.numbers.push(n),
                Said::Lost(count) => heard.lost += count,
                Said::End(code, message) => {
                    heard.end = (code, message);
                    return heard;
                }
            }
        }
    }
}

#[derive(Debug, Default)]
struct Heard {
    numbers: Vec<i64>,
    /// As far as it was told.
    lost: u64,
    end: (u64, String),
}

impl Heard {
    /// How many at the end came one after the other.
    fn last_run(&self) -> usize {
        1 + self.numbers.windows(2).rev().take_while(|pair| pair[1] == pair[0] + 1).count()
    }

    fn missing(&self) -> u64 {
        MESSAGES as u64 - self.numbers.len() as u64
    }
}

async fn events(conn: &mut Conn, target: &str) -> sse::Reader {
    let mut download = conn.begin("GET", target, &[("accept", "text/event-stream")], None).await;
    assert_eq!(download.head().await.expect("a head").status(), 200);
    sse::Reader::new(download)
}

async fn next_event(reader: &mut sse::Reader) -> Said {
    loop {
        let event = reader.next().await.expect("an end is told").expect("nothing breaks");
        let Some(data) = event.data else { continue };
        let data: Value = serde_json::from_str(&data).expect("JSON");
        return match event.name.as_deref() {
            None => Said::Message(data["n"].as_i64().unwrap_or_default()),
            Some("~gap") => {
                assert_eq!(data["reason"], "MESSAGES_DROPPED");
                Said::Lost(data["count"].as_u64().expect("a count"))
            }
            _ => end(&data),
        };
    }
}

fn end(status: &Value) -> Said {
    let text = status["message"].as_str().unwrap_or_default();
    Said::End(status["code"].as_u64().expect("a code"), text.to_owned())
}

/// Every stream of the backend's gives way as the policy says.
async fn stage(policy: &str) -> Stage {
    let backend = Backend::start().await;
    let route = format!("routes: [ {{ match: {{ service: tidegate.test.v1.Echo }}, slow_reader: {policy} }} ]");
    let config = Config::to(backend.address)
        .section(&route)
        .limit("stream_buffer_bytes_max", &KEPT_BYTES.to_string())
        .limit("stream_buffer_messages_max", "100000")
        .limit("ws_ping", "600s");
    let gateway = Gateway::start(config).await;
    let mut conn = gateway.connect(Via::H2Tls).await;
    for _ in 0..20 {
        assert_eq!(conn.get("/echo/down?count=100&size=1500").await.status, 200);
    }
    let mut stage = Stage::set(backend, gateway, GROWTH_BYTES_MAX);
    while stage.backend.try_call().is_some() {}
    stage
}

/// The value of a metric that is a whole number.
async fn metric(gateway: &Gateway, name: &str) -> u64 {
    let text = gateway.admin_get("/metrics").await.text();
    let line = text.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or_else(|| panic!("{name} is not in\n{text}"))
}

/// Waits until a metric says so.
pub async fn until(gateway: &Gateway, name: &str, wanted: impl Fn(u64) -> bool) {
    let mut tick = interval(Duration::from_millis(10));
    within(async {
        while !wanted(metric(gateway, name).await) {
            tick.tick().await;
        }
    })
    .await;
}

async fn assert_neighbour_goes_on(stage: &mut Stage, slow_connection: usize) {
    let answer = stage.gateway.get(Via::H1, "/echo/say/neighbour").await;
    assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, r#"{"text":"neighbour"}"#));
    assert_eq!(stage.backend.call("Say").await.connection, slow_connection, "they share the upstream connection");
}

#[tokio::test]
async fn block_has_the_upstream_wait_and_loses_nothing() {
    let mut stage = stage("block").await;
    for (dialect, via) in READERS {
        let before = stage.sent();
        let mut reader = Reader::open(&stage.gateway, dialect, via).await;
        let seen = stage.backend.call("Down").await;
        let sent = stage.settle(|| stage.sent() - before).await;
        assert!(sent < MESSAGES as u64 / 2, "{dialect} {via:?}: {sent} messages left the backend");
        stage.assert_flat(&format!("{dialect} {via:?}"));
        while stage.backend.try_call().is_some() {}
        assert_neighbour_goes_on(&mut stage, seen.connection).await;
        let heard = reader.rest().await;
        assert_eq!((heard.end.0, heard.lost), (0, 0), "{dialect} {via:?}");
        assert!(heard.numbers.into_iter().eq(0..MESSAGES), "{dialect} {via:?}");
    }
}

#[tokio::test]
async fn drop_oldest_reads_on_and_keeps_the_newest_within_bounds() {
    let mut stage = stage("drop_oldest").await;
    assert_eq!(metric(&stage.gateway, "tidegate_dropped_messages_total{policy=\"drop_oldest\"}").await, 0);
    let mut dropped = 0;
    for (dialect, via) in READERS {
        let mut reader = Reader::open(&stage.gateway, dialect, via).await;
        let mut seen = stage.backend.call("Down").await;
        seen.until(Event::Answered).await;
        stage.assert_flat(&format!("{dialect} {via:?}"));
        assert_neighbour_goes_on(&mut stage, seen.connection).await;
        let heard = reader.rest().await;
        let run = heard.last_run();
        assert_eq!(heard.end.0, 0, "{dialect} {via:?}");
        assert!(heard.numbers.is_sorted_by(|a, b| a < b), "{dialect} {via:?}");
        assert_eq!((heard.numbers.first(), heard.numbers.last()), (Some(&0), Some(&(MESSAGES - 1))));
        assert!(heard.missing() > 0 && run > 100, "{dialect} {via:?}: {} lost, {run} at the end", heard.missing());
        if dialect == "sse" {
            assert_eq!(heard.lost, heard.missing(), "{via:?}");
        }
        dropped += heard.missing();
        until(&stage.gateway, "tidegate_dropped_messages_total{policy=\"drop_oldest\"}", |now| now == dropped).await;
        until(&stage.gateway, "tidegate_stream_buffer_bytes", |now| now == 0).await;
    }
}

#[tokio::test]
async fn latest_goes_on_with_the_newest_message_alone() {
    let mut stage = stage("latest").await;
    // Of what comes at once, nobody gets more than the last.
    let mut dropped = metric(&stage.gateway, "tidegate_dropped_messages_total{policy=\"latest\"}").await;
    for (dialect, via) in READERS {
        let mut reader = Reader::open(&stage.gateway, dialect, via).await;
        let mut seen = stage.backend.call("Down").await;
        seen.until(Event::Answered).await;
        stage.assert_flat(&format!("{dialect} {via:?}"));
        assert_neighbour_goes_on(&mut stage, seen.connection).await;
        let heard = reader.rest().await;
        assert_eq!((heard.end.0, heard.lost), (0, 0), "nobody is told what is expected: {dialect} {via:?}");
        assert!(heard.numbers.is_sorted_by(|a, b| a < b), "{dialect} {via:?}");
        assert_eq!(heard.numbers.last(), Some(&(MESSAGES - 1)), "{dialect} {via:?}");
        assert_eq!(heard.last_run(), 1, "nothing beside the newest: {dialect} {via:?}");
        dropped += heard.missing();
        until(&stage.gateway, "tidegate_dropped_messages_total{policy=\"latest\"}", |now| now == dropped).await;
    }
}

#[tokio::test]
async fn disconnect_ends_the_call_at_the_bound() {
    let mut stage = stage("disconnect").await;
    for (dialect, via) in READERS {
        let mut reader = Reader::open(&stage.gateway, dialect, via).await;
        let mut seen = stage.backend.call("Down").await;
        seen.cancelled().await;
        stage.assert_flat(&format!("{dialect} {via:?}"));
        assert_neighbour_goes_on(&mut stage, seen.connection).await;
        let heard = reader.rest().await;
        assert_eq!(heard.end.0, 8, "{dialect} {via:?}: {:?}", heard.end);
        assert!(heard.end.1.contains("faster than this client took it"), "{dialect} {via:?}: {:?}", heard.end);
        assert!(heard.numbers.iter().copied().eq(0..heard.numbers.len() as i64), "a run from the first one on");
    }
    assert_eq!(metric(&stage.gateway, "tidegate_cut_off_readers_total").await, READERS.len() as u64);
    assert_eq!(metric(&stage.gateway, "tidegate_stream_buffer_bytes").await, 0);
}

/// As large as three of them fit.
const LARGE_BYTES: usize = 600_000;

fn say(call: &mut RawCall, n: i32) {
    call.data(framed(&Msg { text: "t".to_owned(), n, data: vec![b'x'; LARGE_BYTES] }.encode_to_vec()));
}

/// The page's rows, once there are so many and the metrics say the same.
async fn slow_readers(gateway: &Gateway, count: usize) -> Vec<Value> {
    let mut tick = interval(Duration::from_millis(10));
    within(async {
        loop {
            let page: Value = serde_json::from_str(&gateway.admin_get("/slow-readers").await.text()).expect("JSON");
            let rows = page["slow_readers"].as_array().expect("rows");
            let bytes: Vec<_> = rows.iter().filter_map(|row| row["bytes"].as_u64()).collect();
            let slowest = metric(gateway, "tidegate_slowest_reader_bytes").await;
            let kept = metric(gateway, "tidegate_stream_buffer_bytes").await;
            if rows.len() == count && Some(&slowest) == bytes.first() && kept == bytes.iter().sum::<u64>() {
                return rows.clone();
            }
            tick.tick().await;
        }
    })
    .await
}

/// Opens a stream whose first message is on its way and whose second is kept.
async fn stuck(backend: &mut RawBackend, conn: &mut Conn) -> (sse::Reader, RawCall) {
    let begun = tokio::join!(events(conn, "/echo/down?text=t"), async {
        let mut call = backend.call().await;
        call.head();
        call
    });
    let (reader, mut call) = begun;
    say(&mut call, 1);
    say(&mut call, 2);
    (reader, call)
}

/// Where even the newest message of each is too much, one that keeps most gives way, and nobody else.
#[tokio::test]
async fn what_calls_keep_together_is_bounded_for_a_connection_and_for_the_process() {
    for limit in ["stream_buffer_connection_bytes_max", "stream_buffer_total_bytes_max"] {
        let mut backend = RawBackend::start().await;
        let routes = "routes: [ { match: { service: tidegate.test.v1.Echo }, slow_reader: latest } ]";
        let gateway = Gateway::start(Config::to(backend.address).section(routes).limit(limit, "2MiB")).await;
        let one = limit.contains("connection");
        let mut conns = [gateway.connect(Via::H2c).await, gateway.connect(Via::H2c).await];
        let mut streams = Vec::new();
        for count in 1..=3 {
            let conn = &mut conns[if one { 0 } else { count % 2 }];
            streams.push(stuck(&mut backend, conn).await);
            let rows = slow_readers(&gateway, count).await;
            for row in &rows {
                assert_eq!(
                    (&row["method"], &row["client"], &row["policy"], &row["shared"], &row["messages"]),
                    (
                        &json!("tidegate.test.v1.Echo/Down"),
                        &json!("127.0.0.1"),
                        &json!("latest"),
                        &json!(false),
                        &json!(1)
                    )
                );
                assert!(row["bytes"].as_u64().is_some_and(|bytes| bytes >= LARGE_BYTES as u64), "{row}");
                assert!(row["oldest_seconds"].as_f64().is_some_and(|seconds| seconds > 0.0), "{row}");
            }
        }
        if one {
            // What another connection keeps is its own.
            streams.push(stuck(&mut backend, &mut conns[1]).await);
            slow_readers(&gateway, 4).await;
        }
        streams.push(stuck(&mut backend, &mut conns[0]).await);
        select_all(streams.iter_mut().map(|(_, call)| Box::pin(call.cancelled()))).await;
        let mut ends = 0;
        for (index, (reader, call)) in streams.iter_mut().enumerate() {
            assert_eq!(next_event(reader).await, Said::Message(1), "{limit} {index}");
            match next_event(reader).await {
                Said::Message(2) => {
                    say(call, 3);
                    assert_eq!(next_event(reader).await, Said::Message(3), "{limit} {index}");
                }
                Said::End(code, text) => {
                    assert_eq!((code, text.contains("slow clients")), (14, true), "{text}");
                    ends += 1;
                }
                Said::Message(_) | Said::Lost(_) => panic!("{limit} {index}"),
            }
        }
        assert_eq!(ends, 1, "{limit}");
    }
}

/// However it is spoken to: by its connection over HTTP/1.1, by its stream over HTTP/2.
#[tokio::test]
async fn a_client_that_takes_nothing_for_too_long_loses_its_call_and_nobody_else_theirs() {
    let mut backend = Backend::start().await;
    let config = Config::to(backend.address).limit("write_stall_timeout", "1s").workers(1);
    let gateway = Gateway::start(config).await;
    let request = json!({ "text": "t", "count": MESSAGES, "size": DATA_BYTES });
    let cases = [
        (Dialect::Sse, Via::H1),
        (Dialect::Sse, Via::H1Tls),
        (Dialect::Sse, Via::H2c),
        (Dialect::Ndjson, Via::H2Tls),
        (Dialect::WebSocket, Via::H1),
        (Dialect::WebSocket, Via::H1Tls),
        (Dialect::WebSocket, Via::H2c),
        (Dialect::Grpc, Via::H2c),
        (Dialect::Grpc, Via::H2Tls),
    ];
    let mut calls = Vec::new();
    for (dialect, via) in cases {
        let call = Opening::new(dialect, Kind::ServerStream, via).request(request.clone()).open(&gateway).await;
        calls.push((backend.call_of(&call.id).await, call));
    }
    // The neighbour on the connection of one that stalls.
    let mut conn = gateway.connect(Via::H2c).await;
    let target = format!("/echo/down?text=t&count={MESSAGES}&size={DATA_BYTES}");
    let mut stalled = events(&mut conn, &target).await;
    let mut seen = backend.call("Down").await;
    seen.cancelled().await;
    assert_eq!(conn.get("/echo/say/neighbour").await.status, 200);
    for (seen, call) in &mut calls {
        seen.cancelled().await;
        let record = gateway.access_of(&call.id).await;
        assert_eq!(record["code"], "CANCELLED", "{call:?}: {record}");
    }
    let all = cases.len() as u64 + 1;
    until(&gateway, "tidegate_stalled_writes_total", |count| count == all).await;
    let reset = loop {
        if let Err(broken) = stalled.next().await.expect("no end") {
            break broken;
        }
    };
    assert_eq!(reset, crate::harness::http::Broken::Reset(h2::Reason::CANCEL));
    gateway.assert_nothing_internal();
}
