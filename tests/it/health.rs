//! The gateway's own health: what its upstreams say, in every dialect, and as it changes.

use serde_json::{Value, json};

use crate::{
    backend::Backend,
    harness::{
        Config, Conn, Gateway, Via,
        process::Process,
        sse,
        tools::{PythonBackend, python},
    },
};

const ECHO: &str = "tidegate.test.v1.Echo";

/// A grpcio client that asks once and watches.
fn watch(gateway: &Gateway, service: &str) -> Process {
    python("health_client.py", &["--target", &gateway.plain.to_string(), "--service", service])
}

/// The last of the first `count` lines that the client prints.
async fn told(client: &Process, count: usize) -> String {
    let mut seen = 0;
    let line = client.stdout.find(|line| {
        seen += 1;
        (seen == count).then(|| line.to_owned())
    });
    line.await.unwrap_or_else(|| panic!("{}", client.transcript()))
}

fn link(method: &str, service: &str) -> String {
    format!("/grpc.health.v1.Health/{method}?message=%7B%22service%22:%22{service}%22%7D")
}

fn check(service: &str) -> String {
    link("Check", service)
}

/// The body, where the status is this.
async fn get(gateway: &Gateway, via: Via, target: &str, status: u16) -> Value {
    let answer = gateway.get(via, target).await;
    assert_eq!(answer.status.as_u16(), status, "{target}: {answer:?}");
    answer.json()
}

/// Watches by Server-Sent Events.
async fn events(conn: &mut Conn, service: &str) -> sse::Reader {
    let headers = [("accept", "text/event-stream")];
    let mut download = conn.begin("GET", &link("Watch", service), &headers, None).await;
    assert_eq!(download.head().await.expect("a head").status(), 200);
    sse::Reader::new(download)
}

async fn status(watch: &mut sse::Reader) -> String {
    loop {
        if let Some(data) = watch.next().await.expect("an event").expect("no fault").data {
            return serde_json::from_str::<Value>(&data).expect("JSON")["status"]
                .as_str()
                .expect("a status")
                .to_owned();
        }
    }
}

#[tokio::test]
async fn a_load_balancer_may_ask_by_a_link() {
    // It has no health of its own: it serves as long as it is there.
    let mut backend = Backend::start().await;
    let gateway = Gateway::start(Config::to(backend.address)).await;
    let serving = json!({"status": "SERVING"});
    for via in Via::ALL {
        assert_eq!(get(&gateway, via, "/grpc.health.v1.Health/Check?message=%7B%7D", 200).await, serving, "{via:?}");
        assert_eq!(get(&gateway, via, &check(ECHO), 200).await, serving, "{via:?}");
        assert_eq!(get(&gateway, via, &check("grpc.health.v1.Health"), 200).await, serving, "{via:?}");
        assert_eq!(get(&gateway, via, &check("tidegate.test.v1.Nothing"), 404).await["code"], 5, "{via:?}");
    }
    let mut conn = gateway.connect(Via::H2Tls).await;
    let mut watch = events(&mut conn, "").await;
    assert_eq!(status(&mut watch).await, "SERVING");
    backend.kill();
    assert_eq!(status(&mut watch).await, "NOT_SERVING");

    let listed = get(&gateway, Via::H1, "/grpc.health.v1.Health/List", 200).await["statuses"].take();
    for (service, status) in
        [("", "NOT_SERVING"), ("tidegate.test.v1.Files", "NOT_SERVING"), ("grpc.health.v1.Health", "SERVING")]
    {
        assert_eq!(listed[service]["status"], status, "{listed:#}");
    }
    gateway.assert_nothing_internal();
}

#[tokio::test]
async fn an_unmodified_client_follows_a_backend_until_the_gateway_goes() {
    let mut backend = PythonBackend::start().await;
    let config = Config::new().upstream("python", backend.address, "schema: reflection");
    let mut gateway = Gateway::start(config.limit("drain_timeout", "600s")).await;
    let (all, echo, unknown) = (watch(&gateway, ""), watch(&gateway, ECHO), watch(&gateway, "no.Such"));
    for client in [&all, &echo] {
        assert_eq!(told(client, 1).await, "check SERVING");
        assert_eq!(told(client, 2).await, "watch SERVING");
    }
    // Refused by Check, with a traceback.
    assert!(unknown.stderr.find(|line| line.contains("NOT_FOUND").then_some(())).await.is_some());

    backend.process.tell(&format!("health {ECHO} NOT_SERVING")).await;
    assert_eq!(told(&echo, 3).await, "watch NOT_SERVING");
    backend.process.tell(&format!("health {ECHO} SERVING")).await;
    assert_eq!(told(&echo, 4).await, "watch SERVING");
    backend.process.tell("health - NOT_SERVING").await;
    assert_eq!(told(&all, 3).await, "watch NOT_SERVING");
    backend.process.tell("health - SERVING").await;
    assert_eq!(told(&all, 4).await, "watch SERVING");

    backend.process.signal("KILL");
    for client in [&all, &echo] {
        assert_eq!(told(client, 5).await, "watch NOT_SERVING");
    }
    let _again = PythonBackend::with(&["--port", &backend.address.port().to_string()]).await;
    for client in [&all, &echo] {
        assert_eq!(told(client, 6).await, "watch SERVING");
    }

    gateway.process.signal("TERM");
    for client in [&all, &echo] {
        assert_eq!(told(client, 7).await, "watch NOT_SERVING");
        assert_eq!(told(client, 8).await, "end OK");
    }
    assert_eq!(gateway.process.exit().await.code(), Some(0), "{}", gateway.process.transcript());
}

#[tokio::test]
async fn one_good_endpoint_is_enough_for_an_upstream_and_one_bad_upstream_too_much_for_all() {
    let (mut left, right, other) = (Backend::start().await, Backend::start().await, Backend::start().await);
    let urls = [&left, &right].map(|backend| format!("http://{}", backend.address));
    let schema = "schema: none";
    let config = Config::to(other.address).upstream_at("two", &urls, schema);
    let gateway = Gateway::start(config.section("routes: [ { match: { service: two. }, upstream: two } ]")).await;
    left.kill();
    let serving = json!({"status": "SERVING"});
    for service in ["", ECHO, "two.Any"] {
        assert_eq!(get(&gateway, Via::H1, &check(service), 200).await, serving, "{service}");
    }
    drop(right);
    for service in ["two.Any", ""] {
        let mut conn = gateway.connect(Via::H2Tls).await;
        let mut watch = events(&mut conn, service).await;
        while status(&mut watch).await != "NOT_SERVING" {}
        assert_eq!(get(&gateway, Via::H1, &check(service), 200).await, json!({"status": "NOT_SERVING"}));
    }
    assert_eq!(get(&gateway, Via::H1, &check(ECHO), 200).await, serving);
}
