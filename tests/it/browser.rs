//! The demo page in a real Chromium, Chromium's cache, and `tidegate demo` as a newcomer starts it.

use std::{net::SocketAddr, thread::JoinHandle};

use serde_json::json;
use tokio::{net::TcpListener, sync::oneshot};

use crate::{
    backend::Backend,
    harness::{
        Config, Conn, Gateway, Via,
        process::Process,
        tools::{browser, finish},
        within,
    },
};

/// The demo's services on a thread and a runtime of their own: stopping cuts every connection.
pub struct DemoServices {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl DemoServices {
    pub async fn start(port: u16) -> Self {
        let (told, address) = oneshot::channel();
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("a free port");
                let _ = told.send(listener.local_addr().expect("bound"));
                tokio::select! {
                    served = tidegate::demo::serve(listener, std::future::pending()) => served.expect("it serves"),
                    _ = stopped => {}
                }
            });
        });
        Self { address: within(address).await.expect("the services start"), stop, thread }
    }

    /// A gateway in front of them, with a page of this folder.
    pub fn gateway(&self, page: &str) -> Config {
        let root = env!("CARGO_MANIFEST_DIR");
        let files = ["liker/v1/liker", "chat/v1/chat"].map(|name| format!("{root}/proto/demo/{name}.proto"));
        let protos = format!("schema: {{ protos: {{ files: {files:?}, includes: [ \"{root}/proto\" ] }} }}");
        let page = format!("static: [ {{ path: /, dir: \"{root}/{page}\" }} ]");
        Config::new().upstream("demo", self.address, &protos).section(&page)
    }

    fn kill(self) {
        drop(self.stop);
        self.thread.join().expect("the services do not panic");
    }
}

#[tokio::test]
async fn the_page_works_in_chromium_and_outlives_its_backend() {
    let services = DemoServices::start(0).await;
    let address = services.address;
    let gateway = Gateway::start(services.gateway("web/demo")).await;

    let screenshot = std::env::var_os("TIDEGATE_SCREENSHOT").map(std::path::PathBuf::from);
    let mut chromium =
        browser("demo.mjs", &format!("https://127.0.0.1:{}/", gateway.tls.port()), screenshot.as_deref());
    let asked = chromium.stdout.find(|line| (line == "RESTART_BACKEND").then_some(())).await;
    if asked.is_none() {
        panic!("the page was never ready for the restart\n{}", chromium.transcript());
    }
    services.kill();
    let _again = DemoServices::start(address.port()).await;
    chromium.tell("done").await;
    let lines = finish(chromium).await;
    assert!(lines.last().is_some_and(|line| line.starts_with("PASS ")), "{lines:?}");
    assert!(lines.iter().all(|line| !line.starts_with("not ok")), "{lines:?}");
    // The page came over HTTP/2, and so did its WebSockets.
    gateway.access(|record| record["dialect"] == "websocket" && record["http_status"] == 200).await;
    gateway.assert_nothing_internal();
}

#[tokio::test]
async fn chromium_asks_about_what_it_keeps_and_is_not_sent_it_again() {
    let backend = Backend::start().await;
    let policy = "routes:\n  - match: { service: tidegate.test.v1 }\n    cache_control: private, no-cache";
    let gateway = Gateway::start(Config::to(backend.address).section(policy)).await;
    // Not over TLS: Chromium keeps nothing that came under a certificate it does not trust.
    let lines = finish(browser("cache.mjs", &format!("http://{}", gateway.plain), None)).await;
    let bodies: Vec<_> = lines.iter().filter_map(|line| line.split_once(" 200 ")).collect();
    assert_eq!(bodies.iter().map(|(id, _)| *id).collect::<Vec<_>>(), ["first", "second"], "{lines:?}");
    assert!(bodies[0].1.contains("kept") && bodies[0].1 == bodies[1].1, "{lines:?}");
    for (id, status) in [("first", 200), ("second", 304)] {
        assert_eq!(gateway.access_of(id).await["http_status"], status);
    }
}

#[tokio::test]
async fn the_demo_command_serves_its_page_and_its_services() {
    let mut command = Gateway::command();
    command.args(["demo", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    let demo = Process::start(&mut command, "cargo builds it");
    let address = demo.stdout.find(|line| line.strip_prefix("listening https://")?.parse::<SocketAddr>().ok()).await;
    let Some(address) = address else { panic!("{}", demo.transcript()) };
    for via in [Via::H1Tls, Via::H2Tls] {
        let mut conn = Conn::open(address, via).await;
        let page = conn.get("/").await;
        assert_eq!((page.status.as_u16(), page.header("content-type")), (200, "text/html; charset=utf-8"), "{page:?}");
        let posts = conn.get("/v1/posts").await;
        assert_eq!(posts.status, 200, "{posts:?}");
        assert!(posts.json()["posts"].as_array().is_some_and(|posts| posts.len() >= 6), "{posts:?}");
        let liked = conn.post("/v1/posts/1:like", &json!({})).await;
        assert_eq!(liked.status, 200, "{liked:?}");
        let missing = conn.get("/v1/nothing").await;
        assert_eq!((missing.status.as_u16(), &missing.json()["code"]), (404, &5.into()), "{missing:?}");
    }
    assert!(demo.stdout.find(|line| line.contains("curl").then_some(())).await.is_some(), "it says what to try");
}
