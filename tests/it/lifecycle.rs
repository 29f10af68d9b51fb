//! A gateway's beginning and end: upstreams that come late, and a stop that cuts nobody off.

use std::time::Duration;

use h2::Reason;
use prost::Message;
use serde_json::json;
use tokio::net::TcpStream;

use crate::{
    backend::{Backend, RawBackend, framed},
    harness::{
        Config, Dialect, End, Gateway, How, Kind, Opening, PATIENCE, Via,
        http::Broken,
        sse,
        tools::PythonBackend,
        within,
        ws::{Frame, WebSocket},
    },
    proto::Msg,
};

/// Longer than a test waits: what ends before it did not wait for the deadline.
fn patient(config: Config) -> Config {
    config.limit("drain_timeout", "600s")
}

/// Waits until the gateway takes no more connections.
async fn stopped_listening(gateway: &Gateway) {
    within(async {
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        while TcpStream::connect(gateway.plain).await.is_ok() || TcpStream::connect(gateway.tls).await.is_ok() {
            tick.tick().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_stop_lets_calls_in_flight_finish_and_takes_no_new_ones() {
    let mut backend = RawBackend::start().await;
    let mut gateway = Gateway::start(patient(Config::to(backend.address))).await;
    let mut open = Vec::new();
    for via in Via::ALL {
        let mut conn = gateway.connect(via).await;
        let download = conn.begin("GET", "/echo/say/x", &[], None).await;
        open.push((conn, download, backend.call().await));
    }
    gateway.process.signal("TERM");
    stopped_listening(&gateway).await;
    for (conn, mut download, mut call) in open {
        let via = conn.via();
        call.requests().await;
        call.head();
        call.data(framed(&Msg { text: "late".to_owned(), ..Msg::default() }.encode_to_vec()));
        call.trailers(&[("grpc-status", "0")]);
        let head = download.head().await.unwrap_or_else(|broken| panic!("{via:?}: {broken:?}"));
        assert_eq!(head.status(), 200, "{via:?}");
        if !via.is_h2() {
            assert_eq!(head.headers()["connection"], "close", "{via:?}");
        }
        assert_eq!(download.piece().await, Some(Ok(json!({"text": "late"}).to_string().into())), "{via:?}");
        assert_eq!(download.piece().await, None, "{via:?}");
        drop(download);
        let ended = conn.closed().await;
        assert!(matches!(ended, None | Some(Broken::GoAway(Reason::NO_ERROR))), "{via:?}: {ended:?}");
    }
    assert_eq!(gateway.process.exit().await.code(), Some(0), "{}", gateway.process.transcript());
}

#[tokio::test]
async fn a_stop_ends_idle_connections_at_once() {
    let backend = Backend::start().await;
    let mut gateway = Gateway::start(patient(Config::to(backend.address))).await;
    let mut idle = Vec::new();
    for via in Via::ALL {
        let mut conn = gateway.connect(via).await;
        assert_eq!(conn.get("/echo/say/x").await.status, 200);
        idle.push(conn);
    }
    gateway.process.signal("TERM");
    for conn in idle {
        conn.closed().await;
    }
    assert_eq!(gateway.process.exit().await.code(), Some(0));
}

#[tokio::test]
async fn a_stop_sends_websockets_elsewhere_with_1012() {
    let mut backend = Backend::start().await;
    let mut gateway = Gateway::start(patient(Config::to(backend.address))).await;
    let mut sockets = Vec::new();
    for via in [Via::H1Tls, Via::H2Tls] {
        let mut socket = WebSocket::open(&gateway, via, "/echo/chat", &[]).await.expect("a WebSocket");
        socket.text(r#"{"text":"a"}"#).await;
        assert!(matches!(socket.next().await, Frame::Text(_)));
        sockets.push((socket, backend.call("Chat").await));
    }
    gateway.process.signal("INT");
    for (mut socket, mut seen) in sockets {
        let Frame::Close(Some((1012, _))) = socket.next().await else { panic!("not 1012") };
        seen.cancelled().await;
    }
    assert_eq!(gateway.process.exit().await.code(), Some(0));
}

#[tokio::test]
async fn a_stop_tells_event_streams_to_come_back() {
    let mut backend = Backend::start().await;
    let mut gateway = Gateway::start(patient(Config::to(backend.address))).await;
    for via in Via::BOTH {
        let mut conn = gateway.connect(via).await;
        let headers = [("accept", "text/event-stream"), ("grpc-metadata-x-behave", "hang@1")];
        let mut download = conn.begin("GET", "/echo/down?text=t", &headers, None).await;
        download.head().await.expect("a head");
        let mut reader = sse::Reader::new(download);
        while reader.next().await.expect("an event").expect("whole").data.is_none() {}
        let mut seen = backend.call("Down").await;
        if via == Via::BOTH[1] {
            gateway.process.signal("TERM");
        } else {
            continue;
        }
        let mut events = Vec::new();
        while let Some(event) = reader.next().await {
            events.push(event.expect("whole"));
        }
        let status = events.last().expect("an event");
        assert_eq!(status.name.as_deref(), Some("status"), "{events:?}");
        assert!(status.data.as_deref().is_some_and(|data| data.contains("\"code\":14")), "{events:?}");
        assert_ne!(status.id.as_deref(), Some("~end"), "reconnecting makes sense: {events:?}");
        seen.cancelled().await;
    }
    assert_eq!(gateway.process.exit().await.code(), Some(0));
}

#[tokio::test]
async fn a_stop_waits_no_longer_than_its_deadline() {
    let mut backend = Backend::start().await;
    let mut gateway = Gateway::start(Config::to(backend.address).limit("drain_timeout", "300ms")).await;
    let mut call = Opening::new(Dialect::Json, Kind::Unary, Via::H2Tls).behave("hang@0").open(&gateway).await;
    let mut seen = backend.call("Say").await;
    gateway.process.signal("TERM");
    let (_, end): (_, End) = call.rest().await;
    assert!(matches!(end.how, How::Http(503) | How::Cut(_)), "{end:?}");
    seen.cancelled().await;
    assert!(gateway.process.exit().await.code().is_some());
}

#[tokio::test]
async fn an_upstream_that_is_late_stops_nobody_and_is_served_once_it_is_there() {
    let backend = Backend::start().await;
    // A port that is free until the late one takes it.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let include = concat!(env!("CARGO_MANIFEST_DIR"), "/proto");
    let protos = format!(
        "schema: {{ protos: {{ files: [ \"{include}/tidegate/test/v1/echo.proto\" ], includes: [ {include:?} ] }} }}"
    );
    let config = Config::new().upstream("early", backend.address, &protos).upstream(
        "late",
        ([127, 0, 0, 1], port).into(),
        "schema: reflection",
    );
    let gateway = Gateway::start(config).await;
    assert_eq!(gateway.get(Via::H2Tls, "/echo/say/x").await.status, 200);
    assert_eq!(gateway.admin_get("/livez").await.status, 200);
    let ready = gateway.admin_get("/readyz").await;
    assert!(ready.text().contains("late"), "readiness names who is missing: {ready:?}");
    for target in ["/q?s=x", "/tidegate.test.v1.Rules/Query?message=%7B%7D"] {
        let missing = gateway.get(Via::H2Tls, target).await;
        assert_eq!((missing.status.as_u16(), &missing.json()["code"]), (503, &json!(14)), "{missing:?}");
        assert_eq!(missing.json()["details"][0]["reason"], "SCHEMA_UNAVAILABLE");
        assert!(missing.header("retry-after").parse::<u32>().is_ok(), "{missing:?}");
    }
    let mut conn = gateway.connect(Via::H2Tls).await;
    let grpc = [("content-type", "application/grpc"), ("te", "trailers")];
    let missing = conn.whole("POST", "/tidegate.test.v1.Rules/Query", &grpc, Some("".into())).await;
    assert_eq!(missing.header("grpc-status"), "14", "{missing:?}");

    let service = ["--port", &port.to_string(), "--service", "tidegate.test.v1.Rules"];
    let _late = PythonBackend::with(&service).await;
    tokio::time::timeout(PATIENCE, async {
        let mut tick = tokio::time::interval(Duration::from_millis(50));
        while gateway.admin_get("/readyz").await.status != 200 {
            tick.tick().await;
        }
    })
    .await
    .unwrap_or_else(|_| panic!("the late upstream is never served\n{}", gateway.process.transcript()));
    assert_eq!(gateway.get(Via::H2Tls, "/q?s=x").await.status, 200, "ready is who serves everything");
    assert_eq!(gateway.get(Via::H2Tls, "/echo/say/x").await.status, 200);
    assert_eq!(gateway.get(Via::H2Tls, "/nowhere").await.status, 404);
    gateway.assert_nothing_internal();
}

#[tokio::test]
async fn health_and_metrics_are_on_the_admin_address_alone() {
    let backend = Backend::start().await;
    let gateway = Gateway::start(Config::to(backend.address)).await;
    for path in ["/livez", "/readyz", "/metrics"] {
        assert_eq!(gateway.admin_get(path).await.status, 200, "{path}");
        assert_eq!(gateway.get(Via::H1, path).await.status, 404, "{path}");
    }
    assert_eq!(gateway.get(Via::H2Tls, "/echo/say/x").await.status, 200);
    let metrics = gateway.admin_get("/metrics").await;
    assert!(
        metrics.header("content-type").starts_with("application/openmetrics-text")
            || metrics.header("content-type").starts_with("text/plain"),
        "{metrics:?}"
    );
    assert!(metrics.text().contains("json"), "{}", metrics.text());
}

#[tokio::test]
async fn every_call_leaves_one_record() {
    let backend = Backend::start().await;
    let gateway = Gateway::start(Config::to(backend.address)).await;
    for (dialect, name) in [
        (Dialect::Json, "json"),
        (Dialect::Ndjson, "ndjson"),
        (Dialect::JsonSeq, "json-seq"),
        (Dialect::Protobuf, "protobuf"),
        (Dialect::Sse, "sse"),
        (Dialect::WebSocket, "websocket"),
        (Dialect::ConnectProto, "connect"),
        (Dialect::Grpc, "grpc"),
    ] {
        let via = crate::harness::expect::vias(dialect, Kind::ServerStream)[0];
        let mut call = Opening::new(dialect, Kind::ServerStream, via).open(&gateway).await;
        call.rest().await;
        let record = gateway.access_of(&call.id).await;
        assert_eq!(record["dialect"], name, "{record}");
        assert_eq!(record["method"], "tidegate.test.v1.Echo/Down", "{record}");
        assert_eq!(record["code"], "OK", "{record}");
        assert_eq!(record["messages_out"], 3, "{record}");
        assert_eq!(record["messages_in"], 1, "{record}");
        assert!(record["peer"].as_str().is_some_and(|peer| peer.starts_with("127.0.0.1")), "{record}");
        let lines = gateway.process.stderr.all();
        assert_eq!(lines.iter().filter(|line| line.contains(&call.id)).count(), 1, "{lines:?}");
    }
}
