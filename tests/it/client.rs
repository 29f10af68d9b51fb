//! `@tidegate/client` against real gateways, in Node and in Chromium; and the types that `tidegate typescript` writes for it.

use std::{fs, path::Path};

use crate::{
    backend::Backend,
    browser::DemoServices,
    harness::{
        Config, Gateway, Stage,
        temp::TempDir,
        tools::{browser_at, client_tests, finish, node},
    },
};

const CALLS: usize = 20;
const MESSAGES: usize = 400;

#[tokio::test]
async fn its_own_tests_hold() {
    let lines = finish(client_tests()).await;
    let passed = lines.iter().find_map(|line| line.trim_start_matches(['#', 'ℹ', ' ']).strip_prefix("pass "));
    assert!(passed.is_some_and(|count| count != "0"), "{lines:#?}");
}

#[tokio::test]
async fn twenty_conversations_survive_a_gateway_that_is_killed() {
    for transport in ["websocket", "http"] {
        survive("KILL", transport, "on").await;
    }
}

#[tokio::test]
async fn twenty_conversations_survive_a_gateway_that_goes_down_in_good_order() {
    for transport in ["websocket", "http"] {
        survive("TERM", transport, "wait").await;
    }
}

/// Every message comes back once and in its order, though two gateways were told them.
async fn survive(signal: &str, transport: &str, wait: &str) {
    let backend = Backend::start().await;
    let config = || Config::to(backend.address).limit("drain_timeout", "1s");
    let mut first = Gateway::start(config()).await;
    let address = format!("http://{}", first.plain);
    let args = [&address, transport, &CALLS.to_string(), &MESSAGES.to_string(), wait];
    let mut program = node("tidegate_restart.mjs", &args);
    let is_half = program.stdout.find(|line| (line == "half").then_some(())).await;
    assert!(is_half.is_some(), "{}", program.transcript());
    first.process.signal(signal);
    first.process.exit().await;
    let second = Gateway::start(config().in_place_of(&first)).await;
    program.tell("go on").await;
    let lines = finish(program).await;
    let last = lines.last().expect("it tells");
    // The conversations, and a stream of replies to one request.
    let way = if transport == "fallback" { "http" } else { transport };
    assert!(last.starts_with(&format!("{} calls, {} replies, ", CALLS + 1, (CALLS + 1) * MESSAGES)), "{lines:?}");
    assert!(last.ends_with(&format!("connections by {way}")), "{lines:?}");
    for method in ["Chat", "Down"] {
        second
            .access(|record| record["method"] == format!("tidegate.test.v1.Echo/{method}") && record["code"] == "OK")
            .await;
    }
    second.assert_nothing_internal();
}

#[tokio::test]
async fn twenty_conversations_survive_over_plain_http_too() {
    survive("KILL", "fallback", "on").await;
    survive("TERM", "http", "wait").await;
}

#[tokio::test]
async fn a_reader_that_stops_holds_up_its_stream_and_no_other() {
    for transport in ["websocket", "http"] {
        slow_by(transport).await;
    }
}

async fn slow_by(transport: &str) {
    let backend = Backend::start().await;
    let gateway = Gateway::start(Config::to(backend.address)).await;
    let address = format!("http://{}", gateway.plain);
    let mut stage = Stage::set(backend, gateway, 12 << 20);
    let mut program = node("tidegate_slow.mjs", &[&address, transport, "20000", "1000"]);
    let is_served = program.stdout.find(|line| (line == "neighbour served").then_some(())).await;
    assert!(is_served.is_some(), "{}", program.transcript());
    let sent = stage.settle(|| stage.sent()).await;
    assert!(sent < 2_000, "{sent} messages of 1 kB left the backend though one is read");
    assert_eq!(stage.backend.call("Down").await.header("x-request-id"), "slow");
    program.tell("go on").await;
    let lines = finish(program).await;
    assert_eq!(lines.last().map(String::as_str), Some("heard 20000"), "{lines:?}");
}

#[tokio::test]
async fn a_stream_whose_token_has_expired_goes_on_with_a_newer_one() {
    let mut backend = Backend::start().await;
    let gateway = Gateway::start(Config::to(backend.address)).await;
    let address = format!("http://{}", gateway.plain);
    for transport in ["websocket", "http"] {
        let lines = finish(node("tidegate_token.mjs", &[&address, transport])).await;
        assert_eq!(lines, ["asked connect,renew, heard 3"]);
        let expired = gateway.access(|record| record["code"] == "UNAUTHENTICATED").await;
        assert_eq!(expired["method"], "tidegate.test.v1.Echo/Down", "{expired}");
        let seen = backend.call("Down").await;
        assert!(seen.header("authorization").starts_with("Bearer "));
    }
}

#[tokio::test]
async fn the_example_page_works_in_chromium_and_outlives_its_gateway() {
    for transport in ["websocket", "http"] {
        page_by(transport).await;
    }
}

async fn page_by(transport: &str) {
    let services = DemoServices::start(0).await;
    let mut first = Gateway::start(services.gateway("web/client/example")).await;
    // Chromium trusts nothing here, and so no WebSocket but a plain one.
    let mut chromium = browser_at("client.mjs", &format!("http://{}/", first.plain), &[transport]);
    let asked = chromium.stdout.find(|line| (line == "RESTART").then_some(())).await;
    assert!(asked.is_some(), "{}", chromium.transcript());
    first.assert_nothing_internal();
    first.process.signal("KILL");
    first.process.exit().await;
    let second = Gateway::start(services.gateway("web/client/example").in_place_of(&first)).await;
    chromium.tell("done").await;
    let lines = finish(chromium).await;
    let open = format!("open: open, {transport}");
    assert_eq!(lines, [&open, "calls of each kind", "RESTART", "the same after a restart", "PASS"]);
    second.assert_nothing_internal();
}

#[tokio::test]
async fn the_demo_is_described_as_its_example_page_has_it() {
    let root = env!("CARGO_MANIFEST_DIR");
    let dir = TempDir::new();
    let files = ["liker/v1/liker", "chat/v1/chat"].map(|name| format!("{root}/proto/demo/{name}.proto"));
    let config = dir.write("tidegate.yaml", format!(
        "listeners: [ {{ address: 127.0.0.1:0 }} ]\n\
         upstreams: {{ demo: {{ endpoints: [ \"http://127.0.0.1:1\" ], schema: {{ protos: {{ files: {files:?}, includes: [ \"{root}/proto\" ] }} }} }} }}\n\
         routes:\n  - match: {{ method: demo.liker.v1.Liker/WatchLikes }}\n    \
         sse: {{ resume: {{ event_id: sequence, request: after_sequence }} }}\n"
    ));
    let written = dir.path().join("demo.ts");
    let output =
        Gateway::command().arg("typescript").arg("--config").arg(&config).arg("-o").arg(&written).output().await;
    let output = output.expect("cargo builds it");
    assert!(output.status.success(), "{output:?}");
    let expected = fs::read_to_string(Path::new(root).join("web/client/example/demo.ts")).expect("it is there");
    assert!(fs::read_to_string(written).expect("written") == expected);
}
