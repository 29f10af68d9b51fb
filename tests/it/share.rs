//! Streams that calls share: one call to the backend, and everybody gets what is theirs and nothing else.

use std::time::Duration;

use futures_util::StreamExt;
use http::Response;
use prost::Message;
use serde_json::{Value, json};
use tokio::time::interval;

use crate::{
    backend::{RawBackend, RawCall, framed},
    harness::{
        Config, Gateway, Via, array, grpc,
        http::{Conn, Download, Headers},
        lines, sse, within,
        ws::{Frame, WebSocket},
    },
    proto::{Msg, StreamReq},
};

const ROUTES: &str = "routes:
  - match: { method: tidegate.test.v1.Echo/Down, headers: { x-route: public } }
    share: { key: [ x-tenant ], public: true }
  - match: { method: tidegate.test.v1.Echo/Down, headers: { x-route: resume } }
    share: { linger: 1h }
    sse: { resume: { event_id: n, request: after } }
  - match: { method: tidegate.test.v1.Echo/Down, headers: { x-route: brief } }
    share: { linger: 0s }
  - match: { method: tidegate.test.v1.Echo/Down, headers: { x-route: alone } }
  - match: { method: tidegate.test.v1.Echo/Down }
    share: { replay: 3, key: [ X-Tenant ] }
    response_headers: [ x-said ]";
const PATH: &str = "/echo/down?text=t";

async fn start() -> (RawBackend, Gateway) {
    with(|config| config).await
}

async fn with(change: impl FnOnce(Config) -> Config) -> (RawBackend, Gateway) {
    let backend = RawBackend::start().await;
    let gateway = Gateway::start(change(Config::to(backend.address).section(ROUTES))).await;
    (backend, gateway)
}

pub fn say(call: &mut RawCall, n: i32) {
    call.data(framed(&Msg { text: "t".to_owned(), n, ..Msg::default() }.encode_to_vec()));
}

/// A stream of events that goes on.
pub struct Events {
    reader: sse::Reader,
    _conn: Conn,
}

impl Events {
    pub async fn open(gateway: &Gateway, via: Via, headers: Headers<'_>) -> Self {
        Self::on(gateway.connect(via).await, headers).await
    }

    /// On a connection that is there.
    pub async fn on(mut conn: Conn, headers: Headers<'_>) -> Self {
        let all = [&[("accept", "text/event-stream")], headers].concat();
        let mut download = conn.begin("GET", PATH, &all, None).await;
        assert_eq!(download.head().await.expect("a head").status(), 200);
        Self { reader: sse::Reader::new(download), _conn: conn }
    }

    /// The next event, as id, type and data; those without data are passed over.
    pub async fn next(&mut self) -> (String, String, Value) {
        loop {
            let event = self.reader.next().await.expect("it goes on").expect("nothing breaks");
            if let Some(data) = event.data {
                let data = serde_json::from_str(&data).expect("JSON");
                return (event.id.unwrap_or_default(), event.name.unwrap_or_default(), data);
            }
        }
    }

    /// The next message's number, and its id.
    pub async fn message(&mut self) -> (i64, String) {
        let (id, name, data) = self.next().await;
        assert_eq!(name, "", "{data}");
        (data["n"].as_i64().unwrap_or_default(), id)
    }

    pub async fn status(&mut self) -> Value {
        let (_, name, data) = self.next().await;
        assert_eq!(name, "status", "{data}");
        data
    }
}

async fn begin(gateway: &Gateway, accept: &str) -> (Conn, Download) {
    let mut conn = gateway.connect(Via::H2c).await;
    let mut download = conn.begin("GET", PATH, &[("accept", accept)], None).await;
    assert_eq!(download.head().await.expect("a head").status(), 200);
    (conn, download)
}

/// Waits until a metric says so.
pub async fn until(gateway: &Gateway, metric: &str, value: usize) {
    let line = format!("{metric} {value}");
    within(async {
        let mut tick = interval(Duration::from_millis(10));
        while !gateway.admin_get("/metrics").await.text().lines().any(|found| found == line) {
            tick.tick().await;
        }
    })
    .await;
}

#[tokio::test]
async fn all_dialects_and_all_workers_share_one_call() {
    let (mut backend, gateway) = with(|config| config.workers(4)).await;
    let mut events = vec![Events::open(&gateway, Via::H1, &[]).await];
    let mut call = backend.call().await;
    assert_eq!(call.requests().await, [StreamReq { text: "t".to_owned(), ..StreamReq::default() }.encode_to_vec()]);
    call.answer(
        Response::builder()
            .header("content-type", "application/grpc")
            .header("x-said", "to all")
            .header("set-cookie", "session=one")
            .body(())
            .expect("a head"),
        false,
    );
    for via in [Via::H1Tls, Via::H2Tls, Via::H2c, Via::H1, Via::H1, Via::H2c] {
        events.push(Events::open(&gateway, via, &[]).await);
    }
    let (_lines, download) = begin(&gateway, "application/x-ndjson").await;
    let mut ndjson = lines::Reader::new(download);
    let (_array, download) = begin(&gateway, "application/json").await;
    let mut elements = array::Reader::new(download);
    let mut sockets = Vec::new();
    for via in [Via::H1, Via::H2Tls] {
        sockets.push(WebSocket::open(&gateway, via, PATH, &[]).await.expect("a WebSocket"));
    }
    let mut client = grpc::echo(&gateway, true).await;
    let request = StreamReq { text: "t".to_owned(), ..StreamReq::default() };
    let reply = within(client.down(request)).await.expect("a head");
    assert_eq!(reply.metadata().get("x-said").expect("the upstream's"), "to all");
    assert!(reply.metadata().get("set-cookie").is_none(), "a cookie is for one");
    let mut grpc = reply.into_inner();
    until(&gateway, "tidegate_shared_subscribers", 12).await;
    until(&gateway, "tidegate_shared_streams", 1).await;
    for n in 1..=3 {
        say(&mut call, n);
        for events in &mut events {
            assert_eq!(events.message().await.0, i64::from(n));
        }
        let expected = json!({"text": "t", "n": n});
        assert_eq!(ndjson.next().await.expect("a line").expect("whole"), json!({ "result": expected }));
        assert_eq!(elements.next().await.expect("an element").expect("whole"), expected);
        for socket in &mut sockets {
            let Frame::Text(text) = socket.next().await else { panic!("no message") };
            assert_eq!(serde_json::from_str::<Value>(&text).expect("JSON"), expected);
        }
        assert_eq!(within(grpc.next()).await.expect("a message").expect("whole").n, n);
    }
    call.trailers(&[("grpc-status", "0")]);
    for events in &mut events {
        assert_eq!(events.status().await["code"], 0);
    }
    assert!(ndjson.next().await.is_none() && elements.next().await.is_none());
    for socket in &mut sockets {
        assert!(matches!(socket.next().await, Frame::Close(Some((1000, _)))));
    }
    assert!(within(grpc.next()).await.is_none());
    until(&gateway, "tidegate_shared_streams", 0).await;
    until(&gateway, "tidegate_shared_messages_total", 36).await;
    gateway.assert_nothing_internal();
}

#[tokio::test]
async fn nobody_sees_what_an_upstream_says_to_another() {
    let (mut backend, gateway) = start().await;
    let mut kept = Vec::new();
    for headers in [
        &[][..],
        &[("authorization", "Bearer a")],
        &[("authorization", "Bearer b")],
        &[("cookie", "session=a")],
        &[("x-tenant", "a")],
        &[("x-tenant", "a"), ("authorization", "Bearer a")],
    ] {
        let events = Events::open(&gateway, Via::H2c, headers).await;
        let call = backend.call().await;
        for name in ["authorization", "cookie", "x-tenant"] {
            let sent = headers.iter().find(|(sent, _)| *sent == name).map(|(_, value)| *value);
            assert_eq!(call.headers().get(name).map(|value| value.to_str().expect("ASCII")), sent, "{headers:?}");
        }
        // The same again, with more that makes no difference and goes no further.
        let more = [headers, &[("accept-language", "de"), ("grpc-metadata-x-user", "me")]].concat();
        kept.push((events, Events::open(&gateway, Via::H1, &more).await, call));
    }
    for (place, (one, two, call)) in kept.iter_mut().enumerate() {
        let place = i32::try_from(place).expect("few") + 1;
        call.head();
        say(call, place);
        assert_eq!((one.message().await.0, two.message().await.0), (place.into(), place.into()));
        assert!(call.headers().get("accept-language").is_none() && call.headers().get("x-user").is_none());
    }
    until(&gateway, "tidegate_shared_streams", 6).await;

    // Where all may see the same, credentials make no difference and do not reach the upstream.
    let public = ("x-route", "public");
    let mut one = Events::open(&gateway, Via::H2c, &[public, ("authorization", "Bearer a")]).await;
    let mut call = backend.call().await;
    let mut two = Events::open(&gateway, Via::H2c, &[public, ("cookie", "session=b")]).await;
    assert!(call.headers().get("authorization").is_none() && call.headers().get("cookie").is_none());
    call.head();
    say(&mut call, 9);
    assert_eq!((one.message().await.0, two.message().await.0), (9, 9));
    let _other = Events::open(&gateway, Via::H2c, &[public, ("x-tenant", "b")]).await;
    assert_eq!(backend.call().await.headers()["x-tenant"], "b");
}

#[tokio::test]
async fn who_comes_back_goes_on_without_hole_or_is_told_of_it() {
    let (mut backend, gateway) = start().await;
    let mut first = Events::open(&gateway, Via::H2c, &[]).await;
    let mut call = backend.call().await;
    call.head();
    let mut ids = Vec::new();
    for n in 1..=5 {
        say(&mut call, n);
        let (seen, id) = first.message().await;
        assert_eq!(seen, i64::from(n));
        ids.push(id);
    }
    let epoch = ids[0].strip_suffix("-1").expect("an offset").to_owned();
    assert!(epoch.starts_with('~') && epoch.len() == 17, "{epoch}");
    assert_eq!(ids[4], format!("{epoch}-5"));
    let beyond = format!("{epoch}-99");
    let other = format!("~{}-5", "0".repeat(16));
    let mut open = Vec::new();
    for (id, replayed) in [
        (&ids[4], Some(6)),
        (&ids[1], Some(3)),
        (&ids[0], None),
        (&beyond, None),
        (&other, None),
        (&"41".to_owned(), None),
    ] {
        let mut events = Events::open(&gateway, Via::H1, &[("last-event-id", id)]).await;
        match replayed {
            Some(from) => {
                for n in from..=5 {
                    assert_eq!(events.message().await.0, n, "{id}");
                }
            }
            None => {
                let gap = (ids[4].clone(), "~gap".to_owned(), json!({"reason": "HISTORY_GONE"}));
                assert_eq!(events.next().await, gap, "{id}");
            }
        }
        open.push(events);
    }
    say(&mut call, 6);
    for events in &mut open {
        assert_eq!(events.message().await, (6, format!("{epoch}-6")));
    }
    let headers = [("accept", "text/event-stream"), ("last-event-id", "~nonsense-1")];
    let refused = gateway.connect(Via::H2c).await.whole("GET", PATH, &headers, None).await;
    assert_eq!(refused.status, 400);
    // A route that does not share any more begins anew, and says so.
    let alone = [("x-route", "alone"), ("last-event-id", ids[4].as_str())];
    let mut alone = Events::open(&gateway, Via::H2c, &alone).await;
    assert_eq!(alone.next().await, (String::new(), "~gap".to_owned(), json!({"reason": "HISTORY_GONE"})));
    let mut own = backend.call().await;
    own.head();
    say(&mut own, 1);
    assert_eq!(alone.message().await, (1, String::new()));
}

#[tokio::test]
async fn a_reader_that_stops_reading_harms_nobody() {
    let (mut backend, gateway) = with(|config| config.limit("stream_buffer_bytes_max", "1MiB")).await;
    let mut quick = Events::open(&gateway, Via::H2c, &[]).await;
    let mut call = backend.call().await;
    call.head();
    let mut stuck = Events::open(&gateway, Via::H2c, &[]).await;
    for n in 1..=300 {
        call.data(framed(&Msg { n, data: vec![b'x'; 50_000], ..Msg::default() }.encode_to_vec()));
        assert_eq!(quick.message().await.0, i64::from(n));
    }
    let mut seen = 0;
    let status = loop {
        let (_, name, data) = stuck.next().await;
        if name == "status" {
            break data;
        }
        seen += 1;
        assert_eq!(data["n"], seen, "a run from the first one on");
    };
    assert!(seen < 300);
    assert_eq!((&status["code"], &status["details"][0]["reason"]), (&json!(14), &json!("SUBSCRIBER_TOO_SLOW")));
    until(&gateway, "tidegate_cut_off_readers_total", 1).await;
    say(&mut call, 301);
    assert_eq!(quick.message().await.0, 301);
}

#[tokio::test]
async fn an_upstream_that_dies_and_comes_back_is_not_noticed_where_it_can_go_on() {
    let (mut backend, gateway) = start().await;
    let resume = [("x-route", "resume")];
    let mut readers = [Events::open(&gateway, Via::H2c, &resume).await, Events::open(&gateway, Via::H1, &resume).await];
    let mut call = backend.call().await;
    call.head();
    say(&mut call, 7);
    let mut last = String::new();
    for events in &mut readers {
        let (n, id) = events.message().await;
        assert_eq!(n, 7);
        last = id;
    }
    for n in 8..=10 {
        call.connection.cut();
        call = backend.call().await;
        let after = StreamReq { text: "t".to_owned(), after: Some(n - 1), ..StreamReq::default() };
        assert_eq!(call.requests().await, [after.encode_to_vec()]);
        call.head();
        say(&mut call, n);
        for events in &mut readers {
            let (seen, id) = events.message().await;
            assert_eq!(seen, i64::from(n));
            assert_eq!(id.rsplit_once('-').unwrap().0, last.rsplit_once('-').unwrap().0, "the same epoch");
        }
    }

    // Where it cannot, all are told; who comes back finds another stream.
    let mut readers = [Events::open(&gateway, Via::H2c, &[]).await, Events::open(&gateway, Via::H1, &[]).await];
    let mut call = backend.call().await;
    call.head();
    say(&mut call, 1);
    for events in &mut readers {
        last = events.message().await.1;
    }
    call.connection.cut();
    for events in &mut readers {
        assert_eq!(events.status().await["code"], 14);
    }
    let mut again = Events::open(&gateway, Via::H2c, &[("last-event-id", &last)]).await;
    let (id, name, _) = again.next().await;
    assert_eq!(name, "~gap");
    assert!(id.ends_with("-0") && id[..17] != last[..17], "{id} after {last}");
}

#[tokio::test]
async fn a_stream_that_nobody_listens_to_is_cancelled() {
    let (mut backend, gateway) = start().await;
    let brief = [("x-route", "brief")];
    let first = Events::open(&gateway, Via::H2c, &brief).await;
    let mut call = backend.call().await;
    let second = Events::open(&gateway, Via::H1, &brief).await;
    drop(first);
    until(&gateway, "tidegate_shared_subscribers", 1).await;
    until(&gateway, "tidegate_shared_streams", 1).await;
    drop(second);
    assert_eq!(call.cancelled().await, h2::Reason::CANCEL);
    until(&gateway, "tidegate_shared_streams", 0).await;

    // One that lingers goes on, and is there for who comes back.
    let mut first = Events::open(&gateway, Via::H2c, &[("x-route", "resume")]).await;
    let mut call = backend.call().await;
    call.head();
    say(&mut call, 1);
    let (_, id) = first.message().await;
    drop(first);
    until(&gateway, "tidegate_shared_subscribers", 0).await;
    say(&mut call, 2);
    let mut again = Events::open(&gateway, Via::H2c, &[("x-route", "resume"), ("last-event-id", &id)]).await;
    assert_eq!(again.message().await.0, 2);
    // A gateway that goes down waits for no stream without listeners.
    drop(again);
    let mut gateway = gateway;
    gateway.process.signal("TERM");
    assert_eq!(gateway.process.exit().await.code(), Some(0));
}
