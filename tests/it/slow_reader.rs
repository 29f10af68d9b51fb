//! A reader that stops reading: memory stays flat, the neighbours go on, and all is there when it reads again.

use futures_util::StreamExt;
use serde_json::Value;

use crate::{
    backend::Backend,
    harness::{
        Config, Conn, Gateway, Stage, Via, array, grpc,
        http::{Broken, Download},
        lines, sse, within,
        ws::{Frame, WebSocket},
    },
    proto::StreamReq,
};

const MESSAGES: usize = 100_000;
/// Beside text and number; 100,000 of these are 25 MB of protobuf and 35 MB of JSON.
const DATA_BYTES: usize = 250;
/// Far below what a queue of the stream would take, above what a call's windows and buffers may.
const GROWTH_BYTES_MAX: u64 = 12 << 20;

fn target() -> String {
    format!("/echo/down?text=tick&count={MESSAGES}&size={DATA_BYTES}")
}

async fn stage() -> Stage {
    let backend = Backend::start().await;
    // No ping's timer wakes what the socket's own readiness must.
    let gateway = Gateway::start(Config::to(backend.address).limit("ws_ping", "600s")).await;
    let mut conn = gateway.connect(Via::H2Tls).await;
    for _ in 0..50 {
        assert_eq!(conn.get("/echo/down?count=100&size=250").await.status, 200);
    }
    Stage::set(backend, gateway, GROWTH_BYTES_MAX)
}

/// Opens the stream and reads no more than its head.
async fn begin(conn: &mut Conn, accept: &str) -> Download {
    let headers = [("accept", accept), ("x-request-id", "slow")];
    let mut download = conn.begin("GET", &target(), &headers, None).await;
    assert_eq!(download.head().await.expect("a head").status(), 200);
    download
}

/// Waits until nothing of the stream moves any more, while the neighbours do.
async fn stalled(stage: &mut Stage) {
    let slow = loop {
        let seen = stage.backend.call("Down").await;
        if seen.header("x-request-id") == "slow" {
            break seen;
        }
    };
    let count = stage.settle(|| stage.sent()).await;
    assert!(count < MESSAGES as u64 / 2, "{count} messages left the backend though nobody reads them");
    let other = stage.backend.call("Say").await;
    assert_eq!(other.connection, slow.connection, "the neighbour shares the upstream connection");
    stage.assert_flat(&format!("{count} messages under way"));
}

#[tokio::test]
async fn sse_over_http2() {
    sse_by(Via::H2Tls).await;
}

#[tokio::test]
async fn sse_over_http1() {
    sse_by(Via::H1).await;
}

async fn sse_by(via: Via) {
    let mut stage = stage().await;
    let mut conn = stage.gateway.connect(via).await;
    let download = begin(&mut conn, "text/event-stream").await;
    stalled(&mut stage).await;
    let mut reader = sse::Reader::new(download);
    let mut count = 0;
    loop {
        let event = reader.next().await.expect("an end is told").expect("nothing breaks");
        match (event.name.as_deref(), event.data) {
            (Some("status"), Some(data)) => {
                assert_eq!(serde_json::from_str::<Value>(&data).unwrap()["code"], 0);
                break;
            }
            (None, Some(_)) => count += 1,
            _ => {}
        }
    }
    assert_eq!(count, MESSAGES);
}

#[tokio::test]
async fn ndjson_over_http2() {
    ndjson_by(Via::H2Tls).await;
}

#[tokio::test]
async fn ndjson_over_http1() {
    ndjson_by(Via::H1Tls).await;
}

async fn ndjson_by(via: Via) {
    let mut stage = stage().await;
    let mut conn = stage.gateway.connect(via).await;
    let download = begin(&mut conn, "application/x-ndjson").await;
    stalled(&mut stage).await;
    let mut reader = lines::Reader::new(download);
    assert_eq!(count(async || reader.next().await).await, MESSAGES);
}

#[tokio::test]
async fn json_array_over_http2() {
    let mut stage = stage().await;
    let mut conn = stage.gateway.connect(Via::H2c).await;
    let download = begin(&mut conn, "application/json").await;
    stalled(&mut stage).await;
    let mut reader = array::Reader::new(download);
    assert_eq!(count(async || reader.next().await).await, MESSAGES);
}

async fn count(mut next: impl AsyncFnMut() -> Option<Result<Value, Broken>>) -> usize {
    let mut count = 0;
    while let Some(item) = next().await {
        item.expect("nothing breaks");
        count += 1;
    }
    count
}

#[tokio::test]
async fn websocket() {
    let mut stage = stage().await;
    let headers = [("x-request-id", "slow")];
    let mut socket = WebSocket::open(&stage.gateway, Via::H1Tls, &target(), &headers).await.expect("an upgrade");
    stalled(&mut stage).await;
    let mut count = 0;
    loop {
        match socket.next().await {
            Frame::Text(_) => count += 1,
            Frame::Close(Some((1000, _))) => break,
            other => panic!("after {count} messages: {other:?}"),
        }
    }
    assert_eq!(count, MESSAGES);
}

#[tokio::test]
async fn grpc_pass_through() {
    let mut stage = stage().await;
    let mut client = grpc::echo(&stage.gateway, true).await;
    let size = i32::try_from(DATA_BYTES).unwrap();
    let request = StreamReq { text: "tick".to_owned(), count: 100_000, size, ..StreamReq::default() };
    let mut request = tonic::Request::new(request);
    request.metadata_mut().insert("x-request-id", "slow".parse().unwrap());
    let mut replies = within(client.down(request)).await.expect("a head").into_inner();
    stalled(&mut stage).await;
    let mut count = 0;
    while let Some(reply) = within(replies.next()).await {
        reply.expect("nothing breaks");
        count += 1;
    }
    assert_eq!(count, MESSAGES);
}
