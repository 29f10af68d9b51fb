//! WebSockets with permessage-deflate (RFC 7692), before a client that nobody here wrote.

use crate::{
    backend::Backend,
    harness::{
        Config, Gateway,
        tools::{finish, python},
    },
};

const BYTES_MAX: u64 = 64 << 10;

/// Ten bombs of which most stand for 50 MB.
const GROWTH_BYTES_MAX: u64 = 32 << 20;

/// What the client said, and the octets of the replies that it got.
async fn run(mode: &str) -> (Vec<String>, u64) {
    let backend = Backend::start().await;
    let compression = format!("compression: {{ websocket: {mode}, algorithms: [] }}");
    let gateway = Gateway::start(Config::to(backend.address).small_messages().section(&compression)).await;
    let before = gateway.process.rss_bytes();
    let base = format!("http://{}", gateway.plain);
    let args = ["--base", &base, "--mode", mode, "--bytes-max", &BYTES_MAX.to_string()];
    let mut lines = finish(python("websocket_compression.py", &args)).await;
    let growth = gateway.process.rss_bytes().saturating_sub(before);
    assert!(growth < GROWTH_BYTES_MAX, "{mode}: the gateway grew by {growth} bytes");
    gateway.assert_nothing_internal();
    let octets = lines.iter().find_map(|line| line.strip_prefix("octets ")?.parse().ok()).unwrap_or(0);
    lines.retain(|line| line.starts_with("ok "));
    (lines, octets)
}

#[tokio::test]
async fn a_client_that_offers_it_gets_and_sends_compressed_messages() {
    let expected = ["ok echoes", "ok lists_and_files", "ok bombs", "ok faults"];
    let (lines, message) = run("message").await;
    assert_eq!(lines, expected);
    let (lines, connection) = run("connection").await;
    assert_eq!(lines, expected);
    // Messages that came before are found again.
    assert!(connection * 3 < message * 2, "{connection} octets with contexts, {message} without");
}

#[tokio::test]
async fn a_gateway_that_is_told_not_to_compresses_no_message() {
    assert_eq!(run("none").await.0, ["ok refused"]);
}
