//! Who is furthest behind in what is kept for it, as the admin server and the metrics tell it. Knows nothing of why.

use serde::Serialize;

use crate::{
    share::{Hub, SlowReading},
    telemetry::Buffered,
};

/// So many are listed.
const LISTED_MAX: usize = 20;

#[derive(Serialize)]
struct Page {
    /// Most bytes first.
    slow_readers: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    method: String,
    client: Option<String>,
    policy: &'static str,
    shared: bool,
    messages: u64,
    bytes: u64,
    oldest_seconds: f64,
}

pub(super) fn json(hub: &Hub) -> String {
    let page = Page { slow_readers: hub.slowest(LISTED_MAX).into_iter().map(row).collect() };
    // Nothing in it can fail to be written.
    serde_json::to_string(&page).unwrap_or_default()
}

pub(super) fn buffered(hub: &Hub) -> Buffered {
    let slowest = hub.slowest(1).pop();
    let (slowest_bytes, slowest_age) = slowest.map(|slowest| (slowest.bytes, slowest.age)).unwrap_or_default();
    Buffered { bytes: hub.bytes(), slowest_bytes, slowest_age }
}

fn row(SlowReading { caller, slow_reader, is_shared, messages, bytes, age }: SlowReading) -> Row {
    Row {
        method: caller.path.path().trim_start_matches('/').to_owned(),
        client: caller.client.map(|client| client.to_string()),
        policy: slow_reader.name(),
        shared: is_shared,
        messages,
        bytes,
        oldest_seconds: age.as_secs_f64(),
    }
}
