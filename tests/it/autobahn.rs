//! Autobahn|Testsuite against the gateway's WebSockets: raw frames to a gRPC method that sends each back.
//!
//! `tests/autobahn/not_strict.txt` lists what may be NON-STRICT, with reasons; an entry that is OK must go.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use futures_util::{StreamExt, stream};
use serde_json::{Map, Value, json};

use crate::{
    backend::Backend,
    harness::{
        Config, Gateway,
        tools::{finish_within, wstest},
    },
};

const NOT_STRICT: &str = include_str!("../autobahn/not_strict.txt");

/// Framing, text and closing. Here the suite waits half a second for an echo and no longer: they are run alone.
const SMALL: &[&str] = &["1.*", "2.*", "3.*", "4.*", "5.*", "6.*", "7.*", "10.*"];

/// Large messages, for which the suite itself needs long: beside each other.
const LARGE: [&[&str]; 4] = [&["9.1.*"], &["9.2.*", "9.4.*"], &["9.3.*", "9.5.*"], &["9.6.*", "9.7.*", "9.8.*"]];
const AT_ONCE: usize = 4;
const CASES: usize = 301;

/// How many cases of 12.1 and of 13.1 are run beside them, from the first on, up to 10: messages that are compressed.
const COMPRESSED: usize = 10;

/// `TIDEGATE_AUTOBAHN=all` runs every case of these instead, which takes most of an hour.
const COMPRESSED_RUNS: [&[&str]; 4] = [
    &["12.1.*", "12.2.*", "12.3.*"],
    &["12.4.*", "12.5.*"],
    &["13.1.*", "13.2.*", "13.3.*"],
    &["13.4.*", "13.5.*", "13.6.*", "13.7.*"],
];
const COMPRESSED_CASES: usize = 216;

#[tokio::test]
async fn every_case_is_ok_or_not_strict_for_a_reason() {
    let all = std::env::var_os("TIDEGATE_AUTOBAHN").is_some_and(|which| which == "all");
    let mut runs: Vec<Vec<String>> = LARGE.iter().map(owned).collect();
    let (cases, patience) = if all {
        runs.extend(COMPRESSED_RUNS.iter().map(owned));
        (CASES + COMPRESSED_CASES, Duration::from_hours(3))
    } else {
        let first = |group| (1..).take(COMPRESSED).map(move |case| format!("{group}.1.{case}")).collect::<Vec<_>>();
        runs.extend([first(12), first(13)].into_iter().filter(|cases| !cases.is_empty()));
        (CASES + 2 * COMPRESSED, Duration::from_mins(10))
    };

    let backend = Backend::start().await;
    let limits = ["request_message_bytes_max", "reply_message_bytes_max"];
    // The largest message is one of 16 MiB, and wrapped.
    let config = limits.iter().fold(Config::to(backend.address), |config, limit| config.limit(limit, "17MiB"));
    let gateway = Gateway::start(config).await;
    let small = run(&gateway, "small", &owned(&SMALL), patience).await;
    let names: Vec<_> = (0..runs.len()).map(|at| format!("large-{at}")).collect();
    let runs = names.iter().zip(&runs).map(|(name, cases)| run(&gateway, name, cases, patience));
    let large: Vec<_> = stream::iter(runs).buffer_unordered(AT_ONCE).collect().await;
    let reports: BTreeMap<Id, Report> = large.into_iter().flatten().chain(small).collect();

    let mut behaviours: BTreeMap<&str, usize> = BTreeMap::new();
    for report in reports.values() {
        *behaviours.entry(&report.behaviour).or_default() += 1;
    }
    let mut allowed = allowed();
    let mut wrong = Vec::new();
    for (id, report) in &reports {
        wrong.extend(report.fault(allowed.remove(id)).map(|why| format!("{}: {why}", name(id))));
    }
    wrong.extend(allowed.keys().map(|id| format!("{} is in not_strict.txt and was not run", name(id))));
    let summary = format!("{} cases: {behaviours:?}", reports.len());
    assert!(wrong.is_empty(), "{summary}\n{}", wrong.join("\n"));
    assert_eq!(reports.len(), cases, "as many cases as there were: {summary}");
    gateway.assert_nothing_internal();
}

/// `9.1.2`, in the suite's own order.
type Id = Vec<u32>;

fn id(name: &str) -> Id {
    name.split('.').map(|part| part.parse().unwrap_or_else(|_| panic!("{name:?} is no case"))).collect()
}

fn name(id: &Id) -> String {
    id.iter().map(u32::to_string).collect::<Vec<_>>().join(".")
}

fn owned(cases: &&[&str]) -> Vec<String> {
    cases.iter().map(|case| (*case).to_owned()).collect()
}

/// What the suite made of a case.
struct Report {
    behaviour: String,
    behaviour_at_close: String,
    /// What it expected and what came, where it is neither OK nor informational.
    details: String,
}

/// A case that need not be OK.
#[derive(Clone, Copy, PartialEq, Eq)]
enum NotStrict {
    Always,
    Sometimes,
}

impl Report {
    fn fault(&self, allowed: Option<NotStrict>) -> Option<String> {
        if !is_good(&self.behaviour_at_close) {
            return Some(format!("{} at the close: {}", self.behaviour_at_close, self.details));
        }
        match (self.behaviour.as_str(), allowed) {
            ("NON-STRICT", Some(_)) | ("OK", Some(NotStrict::Sometimes)) => None,
            (behaviour, None) if is_good(behaviour) => None,
            (behaviour, Some(_)) if is_good(behaviour) => {
                Some(format!("{behaviour} now: strike it from not_strict.txt"))
            }
            (behaviour, _) => Some(format!("{behaviour}: {}", self.details)),
        }
    }
}

/// Informational is what the suite only wants to know.
fn is_good(behaviour: &str) -> bool {
    matches!(behaviour, "OK" | "INFORMATIONAL")
}

/// The list of what is not strict.
fn allowed() -> BTreeMap<Id, NotStrict> {
    let lines = NOT_STRICT.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let entries = lines.map(|line| match line.split_once(' ') {
        None => (id(line), NotStrict::Always),
        Some((case, "sometimes")) => (id(case), NotStrict::Sometimes),
        Some(_) => panic!("not_strict.txt: {line:?}"),
    });
    entries.collect()
}

/// Lets the suite run some of its cases, over TLS.
async fn run(gateway: &Gateway, name: &str, cases: &[String], patience: Duration) -> Vec<(Id, Report)> {
    let reports = gateway.dir().path().join(format!("reports-{name}"));
    let spec = json!({
        "outdir": reports,
        "servers": [{ "agent": "tidegate", "url": format!("wss://{}/echo/mirror", gateway.tls) }],
        "cases": cases,
        "exclude-cases": [],
    });
    let spec = gateway.dir().write(&format!("cases-{name}.json"), spec.to_string());
    let said = finish_within(patience, wstest(&spec)).await;
    let index = fs::read(reports.join("index.json"));
    let index = index.unwrap_or_else(|error| panic!("{cases:?}: no report ({error})\n{}", said.join("\n")));
    let index: BTreeMap<String, BTreeMap<String, Value>> = serde_json::from_slice(&index).expect("a report");
    index["tidegate"].iter().map(|(case, entry)| (id(case), report(&reports, entry))).collect()
}

fn report(reports: &Path, entry: &Value) -> Report {
    let text = |key: &str| entry[key].as_str().expect("a text").to_owned();
    let (behaviour, behaviour_at_close) = (text("behavior"), text("behaviorClose"));
    let details = if is_good(&behaviour) && is_good(&behaviour_at_close) {
        String::new()
    } else {
        let report = fs::read(reports.join(text("reportfile"))).expect("a report of its own");
        details(&serde_json::from_slice(&report).expect("a report"))
    };
    Report { behaviour, behaviour_at_close, details }
}

/// What tells most of a report, which may hold megabytes.
fn details(report: &Map<String, Value>) -> String {
    let keys = [
        "result",
        "resultClose",
        "wasNotCleanReason",
        "droppedByMe",
        "remoteCloseCode",
        "remoteCloseReason",
        "expected",
        "received",
    ];
    let texts = keys.iter().map(|key| {
        let value: String = report[*key].to_string().chars().take(300).collect();
        format!("\n    {key}: {value}")
    });
    texts.collect()
}
