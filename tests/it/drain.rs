//! A gateway that gives up a share of its connections: `tidegate drain`.

use serde_json::Value;

use crate::{
    backend::Backend,
    harness::{
        Config, Gateway, Via,
        http::Conn,
        process::Process,
        sse, within,
        ws::{Frame, WebSocket},
    },
};

/// Runs the command to its end.
async fn drain(gateway: &Gateway, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Gateway::command();
    command.args(["drain", "--admin", &gateway.admin.to_string()]).args(arguments);
    let mut process = Process::start(&mut command, "tidegate");
    let code = process.exit().await.code();
    process.stdout.ended().await;
    (code, process.stdout.all().concat())
}

/// A stream that stands still until it ends.
async fn events(gateway: &Gateway, via: Via) -> (Conn, sse::Reader) {
    let mut conn = gateway.connect(via).await;
    let headers = [("accept", "text/event-stream"), ("grpc-metadata-x-behave", "hang@1")];
    let mut download = conn.begin("GET", "/echo/down?text=t", &headers, None).await;
    download.head().await.expect("a head");
    let mut reader = sse::Reader::new(download);
    while reader.next().await.expect("an event").expect("whole").data.is_none() {}
    (conn, reader)
}

async fn socket(gateway: &Gateway, via: Via) -> WebSocket {
    let mut socket = WebSocket::open(gateway, via, "/echo/chat", &[]).await.expect("a WebSocket");
    answers(&mut socket).await;
    socket
}

async fn answers(socket: &mut WebSocket) {
    socket.text(r#"{"text":"a"}"#).await;
    assert!(matches!(socket.next().await, Frame::Text(_)));
}

async fn ends_with_word_to_come_back(reader: &mut sse::Reader) {
    let mut last = None;
    while let Some(event) = within(reader.next()).await {
        last = Some(event.expect("whole"));
    }
    let status = last.expect("an event");
    let data: Value = serde_json::from_str(status.data.as_deref().expect("data")).expect("JSON");
    assert_eq!((&data["code"], &data["details"][0]["reason"]), (&14.into(), &"DRAINING".into()), "{data}");
    assert_ne!(status.id.as_deref(), Some("~end"));
}

#[tokio::test]
async fn a_share_of_the_connections_leaves_the_oldest_first_and_the_rest_stays() {
    let backend = Backend::start().await;
    let mut gateway = Gateway::start(Config::to(backend.address).workers(1)).await;
    let (_conn, mut oldest) = events(&gateway, Via::H1Tls).await;
    let (_other, mut second) = events(&gateway, Via::H2Tls).await;
    let mut third = socket(&gateway, Via::H1Tls).await;
    let mut fourth = socket(&gateway, Via::H2Tls).await;
    let mut youngest = [socket(&gateway, Via::H1Tls).await, socket(&gateway, Via::H2Tls).await];
    // In nobody's use, and so nobody's burden.
    let mut idle = gateway.connect(Via::H2Tls).await;
    assert_eq!(idle.get("/echo/say/x").await.status, 200);

    assert_eq!(drain(&gateway, &["--share", "30%"]).await, (Some(0), "{\"asked\":2,\"in_use\":6}".to_owned()));
    for reader in [&mut oldest, &mut second] {
        ends_with_word_to_come_back(reader).await;
    }
    for socket in [&mut third, &mut fourth] {
        answers(socket).await;
    }
    assert_eq!(drain(&gateway, &["--share", "50%"]).await, (Some(0), "{\"asked\":2,\"in_use\":4}".to_owned()));
    for socket in [&mut third, &mut fourth] {
        let Frame::Close(Some((1012, _))) = socket.next().await else { panic!("not 1012") };
    }
    for socket in &mut youngest {
        answers(socket).await;
    }
    assert_eq!(idle.get("/echo/say/x").await.status, 200);
    assert_eq!(gateway.admin_get("/readyz").await.status, 200, "it takes new clients still");
    answers(&mut socket(&gateway, Via::H1Tls).await).await;

    assert_eq!(drain(&gateway, &[]).await, (Some(0), "{\"draining\":true}".to_owned()));
    for socket in &mut youngest {
        let Frame::Close(Some((1012, _))) = socket.next().await else { panic!("not 1012") };
    }
    assert_eq!(gateway.process.exit().await.code(), Some(0));
    assert_eq!(drain(&gateway, &["--share", "10%"]).await.0, Some(1), "nobody is there any more");
    assert_eq!(drain(&gateway, &["--share", "0%"]).await.0, Some(2));
}

#[tokio::test]
async fn balancers_hear_of_a_stop_before_it_begins() {
    let backend = Backend::start().await;
    let config = Config::to(backend.address).limit("drain_delay", "600s");
    let mut gateway = Gateway::start(config).await;
    assert_eq!(gateway.admin_get("/readyz").await.status, 200);
    gateway.process.signal("TERM");
    within(async {
        let mut tick = tokio::time::interval(std::time::Duration::from_millis(10));
        while gateway.admin_get("/readyz").await.status == 200 {
            tick.tick().await;
        }
    })
    .await;
    assert_eq!(gateway.get(Via::H2Tls, "/echo/say/x").await.status, 200, "who comes is served still");
    answers(&mut socket(&gateway, Via::H1Tls).await).await;
    gateway.process.signal("TERM");
    assert_eq!(gateway.process.exit().await.code(), Some(128 + 15));
}
