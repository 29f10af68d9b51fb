//! Event streams that go on where they were broken off: ids, names, and what a client says it saw last.

use std::{net::SocketAddr, sync::Arc};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy},
    net::{TcpListener, TcpStream},
    sync::Mutex,
};

use crate::{
    backend::Backend,
    harness::{
        Config, Conn, Gateway, Via, sse,
        temp::TempDir,
        tools::{browser, finish},
    },
};

/// Replies' numbers are ids, and `after` takes them; other routes for requests that name them.
const ROUTES: &str = "routes:
  - match: { method: tidegate.test.v1.Echo/Down, headers: { x-route: text } }
    sse: { resume: { event_id: text, request: text }, event: text }
  - match: { method: tidegate.test.v1.Echo/Down, headers: { x-route: query } }
    sse: { resume: { event_id: n, request: after }, query_event_id: true }
  - match: { method: tidegate.test.v1.Echo/Down, headers: { x-route: plain } }
  - match: { method: tidegate.test.v1.Echo/Down }
    sse: { resume: { event_id: n, request: after } }";

async fn start() -> (Backend, Gateway) {
    let backend = Backend::start().await;
    let gateway = Gateway::start(Config::to(backend.address).section(ROUTES)).await;
    (backend, gateway)
}

/// The events of a stream, each as `id|name|data`.
async fn events(conn: &mut Conn, verb: &str, path: &str, headers: &[(&str, &str)], body: Option<&str>) -> Vec<String> {
    let mut all = vec![("accept", "text/event-stream")];
    all.extend(body.map(|_| ("content-type", "application/json")));
    all.extend(headers);
    let mut download = conn.begin(verb, path, &all, body.map(|body| body.to_owned().into())).await;
    let head = download.head().await.expect("a head");
    if head.status() != 200 {
        return vec![head.status().as_u16().to_string()];
    }
    let mut reader = sse::Reader::new(download);
    let mut events = Vec::new();
    while let Some(event) = reader.next().await {
        let event = event.expect("a good end");
        if let Some(data) = &event.data {
            let text = |field: &Option<String>| field.clone().unwrap_or_default();
            events.push(format!("{}|{}|{data}", text(&event.id), text(&event.name)));
        }
    }
    events
}

const OK: &str = r#"~end|status|{"code":0,"message":"","details":[]}"#;

#[tokio::test]
async fn a_stream_goes_on_behind_the_event_that_was_seen_last() {
    let (_backend, gateway) = start().await;
    let four = [
        "0||{\"text\":\"t\"}",
        "1||{\"text\":\"t\",\"n\":1}",
        "2||{\"text\":\"t\",\"n\":2}",
        "3||{\"text\":\"t\",\"n\":3}",
    ];
    let path = "/echo/down?text=t&count=4";
    let own = "/tidegate.test.v1.Echo/Down?message=%7B%22text%22%3A%22t%22%2C%22count%22%3A4%7D";
    let body = r#"{"text":"t","count":4,"after":0}"#;
    for via in Via::BOTH {
        let mut conn = gateway.connect(via).await;
        for (verb, path, headers, body, from) in [
            ("GET", path, &[][..], None, 0),
            ("GET", path, &[("last-event-id", "0")], None, 1),
            ("GET", path, &[("last-event-id", "2")], None, 3),
            ("GET", path, &[("last-event-id", "3")], None, 4),
            // What the URL says of it holds for the first time only.
            ("GET", "/echo/down?text=t&count=4&after=0", &[], None, 1),
            ("GET", "/echo/down?text=t&count=4&after=0", &[("last-event-id", "1")], None, 2),
            ("GET", own, &[("last-event-id", "1")], None, 2),
            ("POST", "/echo/down", &[], Some(body), 1),
            ("POST", "/echo/down", &[("last-event-id", "1")], Some(body), 2),
            ("GET", "/echo/down?text=t&count=4&lastEventId=1", &[("x-route", "query")], None, 2),
            (
                "GET",
                "/echo/down?lastEventId=1&text=t&count=4",
                &[("x-route", "query"), ("last-event-id", "2")],
                None,
                3,
            ),
        ] {
            let mut expected = four[from..].to_vec();
            expected.push(OK);
            let got = events(&mut conn, verb, path, headers, body).await;
            assert_eq!(got, expected, "{via:?} {verb} {path} {headers:?}");
        }
        let gone = events(&mut conn, "GET", "/echo/down?lastEventId=~end", &[("x-route", "query")], None).await;
        assert_eq!(gone, ["204"]);
    }
}

#[tokio::test]
async fn what_a_backend_calls_its_events_is_never_taken_for_the_gateways_own() {
    let (mut backend, gateway) = start().await;
    let mut conn = gateway.connect(Via::H2Tls).await;
    for (text, id, name) in [
        ("liked", "liked", "liked"),
        ("", "", ""),
        ("~end", "~~end", "~~end"),
        ("status", "status", "~status"),
        ("a%3A%20b", "a: b", "a: b"),
        ("%C3%BC", "ü", "ü"),
    ] {
        let got =
            events(&mut conn, "GET", &format!("/echo/down?text={text}&count=1"), &[("x-route", "text")], None).await;
        assert!(got[0].starts_with(&format!("{id}|{name}|{{")), "{text}: {got:?}");
        assert_eq!(got[1..], [OK], "{text}");
        backend.call("Down").await;
        // And back: the backend gets what it gave.
        if !id.is_empty() {
            let headers = [("x-route", "text"), ("last-event-id", id)];
            let again = events(&mut conn, "GET", "/echo/down?text=other&count=1", &headers, None).await;
            assert_eq!(again[0], got[0], "{text}");
        }
    }
    // Lines that would begin an event of somebody else's, and what no header brings back.
    for text in ["a%0Adata:x", "a%0D", "%00", "%20a", "a%20", &"x".repeat(1025)] {
        let got =
            events(&mut conn, "GET", &format!("/echo/down?text={text}&count=1"), &[("x-route", "text")], None).await;
        assert_eq!(got.len(), 1, "{text}: {got:?}");
        assert!(got[0].starts_with("~end|status|{\"code\":13,"), "{text}: {got:?}");
    }
}

#[tokio::test]
async fn an_id_that_nobody_gave_is_refused_before_the_backend_hears_of_it() {
    let (mut backend, gateway) = start().await;
    for via in Via::BOTH {
        let mut conn = gateway.connect(via).await;
        for (id, text) in [
            ("x", "last-event-id: expected a 32-bit integer, got \"x\""),
            ("99999999999", "last-event-id: expected a 32-bit integer, got \"99999999999\""),
            ("1 2", "last-event-id: expected a 32-bit integer, got \"1 2\""),
            ("~1", "last-event-id: it is none that was sent"),
            ("~END", "last-event-id: it is none that was sent"),
            (&"1".repeat(2000), "last-event-id: it is longer than any that was sent"),
        ] {
            let headers = [("accept", "text/event-stream"), ("last-event-id", id)];
            let answer = conn.whole("GET", "/echo/down", &headers, None).await;
            assert_eq!(answer.status, 400, "{via:?} {id}: {answer:?}");
            assert_eq!(answer.json()["message"], *text, "{via:?} {id}");
            assert_eq!(answer.json()["details"][1]["fieldViolations"][0]["field"], "last-event-id");
        }
        let headers = [("accept", "text/event-stream"), ("last-event-id", "ü"), ("x-route", "plain")];
        assert_eq!(conn.whole("GET", "/echo/down", &headers, None).await.status, 400);
        backend.assert_not_called();
        // Where the route does not take it, the parameter is one like any other.
        let plain = conn.whole("GET", "/echo/down?lastEventId=1", &headers[..1], None).await;
        assert_eq!(plain.status, 400, "{plain:?}");
        // Other dialects have no events.
        let json = conn.whole("GET", "/echo/down?count=1", &[("last-event-id", "nonsense")], None).await;
        assert_eq!(json.json(), json!([{}]));
        assert_eq!(backend.call("Down").await.headers.get("last-event-id"), None);
    }
}

#[tokio::test]
async fn a_route_whose_fields_its_messages_do_not_have_is_refused_at_start() {
    let backend = Backend::start().await;
    let route = "routes: [ { match: { method: tidegate.test.v1.Echo/Down }, sse: { event: nope } } ]";
    let refused = Gateway::refused(&Config::to(backend.address).section(route), &TempDir::new()).await;
    let text = "routes: sse of tidegate.test.v1.Echo/Down: event nope: tidegate.test.v1.Msg has no such field";
    assert!(refused.contains(text), "{refused}");
}

/// Stands between a browser and a gateway, and cuts connections after so many bytes of reply, one after the other.
struct Cutter {
    address: SocketAddr,
}

impl Cutter {
    async fn start(gateway: SocketAddr, cuts: Vec<usize>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let cuts = Arc::new(Mutex::new(cuts.into_iter()));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let cuts = cuts.clone();
                tokio::spawn(async move { Self::relay(client, gateway, &cuts).await.unwrap_or_default() });
            }
        });
        Self { address }
    }

    async fn relay(
        client: TcpStream,
        gateway: SocketAddr,
        cuts: &Mutex<std::vec::IntoIter<usize>>,
    ) -> std::io::Result<()> {
        let (mut requests, mut replies) = client.into_split();
        let (mut from_gateway, mut to_gateway) = TcpStream::connect(gateway).await?.into_split();
        // What a request asks for decides whether its connection is one of those that are cut.
        let mut head = [0; 4096];
        let length = requests.read(&mut head).await?;
        let head = str::from_utf8(&head[..length]).expect("a head");
        // Nothing goes over a connection that was not cut.
        to_gateway.write_all(head.replace("keep-alive", "close").as_bytes()).await?;
        let up = tokio::spawn(async move { copy(&mut requests, &mut to_gateway).await });
        let cut = if head.starts_with("GET /echo/down") { cuts.lock().await.next() } else { None };
        match cut {
            Some(bytes) => copy(&mut from_gateway.take(bytes as u64), &mut replies).await?,
            None => copy(&mut from_gateway, &mut replies).await?,
        };
        up.abort();
        Ok(())
    }
}

#[tokio::test]
async fn an_event_source_in_chromium_misses_nothing_over_fifty_cuts_and_stays_away_at_the_end() {
    let mut backend = Backend::start().await;
    let gateway = Gateway::start(Config::to(backend.address).section(ROUTES).limit("sse_retry", "10ms")).await;
    // Within heads, lines and events, wherever they fall.
    let cutter = Cutter::start(gateway.plain, (0..50).map(|n| 500 + n * 37 % 400).collect()).await;
    let lines = finish(browser("resume.mjs", &format!("http://{}", cutter.address), None)).await;
    assert_eq!(lines, ["2000 events from 0 to 1999, each once", "ended once", "closed"]);
    let mut calls = 0;
    while let Some(call) = backend.try_call() {
        assert!(call.path.ends_with("/Down"), "{call:?}");
        calls += 1;
    }
    assert_eq!(calls, 51, "one for each connection, and none after the end");
}
