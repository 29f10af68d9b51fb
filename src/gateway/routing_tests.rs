//! What configured routes make of schemas: every case of every way, and where requests lead.

use std::{fmt::Write, fs, path::Path, sync::Arc};

use http::Request;

use super::{Assets, Explained, Listed, Snapshot};
use crate::{
    config::{self, Settings},
    schema::{UpstreamSchema, fixtures::compile},
};

/// tests/data/route/upstreams.txt. `UPDATE=1 cargo test --lib gateway::` writes what comes of the cases anew.
#[test]
fn routes_lead_where_the_fixture_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/route/upstreams.txt");
    let fixture = fs::read_to_string(&path).unwrap();
    let mut cases = fixture.split("\n=== ");
    let mut told = cases.next().unwrap().to_owned();
    for case in cases {
        let (inputs, _) = case.split_once(">>>\n").unwrap();
        write!(told, "\n=== {inputs}>>>\n{}", outcome(inputs)).unwrap();
    }
    if std::env::var_os("UPDATE").is_some() {
        return fs::write(path, told).unwrap();
    }
    for (told, expected) in told.split("\n=== ").zip(fixture.split("\n=== ")) {
        assert_eq!(told, expected);
    }
}

fn outcome(inputs: &str) -> String {
    let (mut routes, mut requests, mut upstreams) = ("", "", Vec::new());
    for input in inputs.split("\n--- ").skip(1) {
        let (head, text) = input.split_once('\n').unwrap_or((input, ""));
        match head {
            "routes:" => routes = input,
            "requests" => requests = text,
            name => upstreams.push((name, text)),
        }
    }
    let settings = settings(&upstreams, routes);
    let schemas: Vec<_> = upstreams.iter().map(|(_, text)| schema(text)).collect();
    let snapshot = match Snapshot::build(&settings, &schemas, Arc::new(Assets::load(&[]).unwrap())) {
        Ok(snapshot) => snapshot,
        Err(error) => return format!("{error}\n"),
    };
    let listed: Vec<String> = snapshot.list().iter().map(|listed| format!("{}\n", line(listed))).collect();
    let led = requests.lines().map(|request| format!("{request} → {}\n", lead(&snapshot, request)));
    listed.into_iter().chain(led).collect()
}

/// A proto file's text, `none` or `unknown` stands for the schema of an upstream.
fn settings(upstreams: &[(&str, &str)], routes: &str) -> Settings {
    let schema = |text: &str| if text.trim() == "none" { ", schema: none" } else { "" };
    let upstreams: String = upstreams
        .iter()
        .map(|(name, text)| format!("  {name}: {{ endpoints: [ http://a ]{} }}\n", schema(text)))
        .collect();
    let text = format!("listeners: [ {{ address: 127.0.0.1:0 }} ]\nupstreams:\n{upstreams}{routes}\n");
    config::parse(&text, "f").unwrap_or_else(|errors| panic!("{errors}\n{text}"))
}

fn schema(text: &str) -> UpstreamSchema {
    let is_known = !matches!(text.trim(), "none" | "unknown");
    UpstreamSchema { set: is_known.then(|| compile(&[("c.proto", text)]).into()), ..Default::default() }
}

fn line(Listed { verbs, path, when, upstreams, policy, .. }: &Listed) -> String {
    let upstreams: Vec<_> = upstreams.iter().map(|(name, weight)| format!("{name}:{weight}")).collect();
    let policy: Vec<_> = policy.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let when = if when.is_empty() { String::new() } else { format!(" [{when}]") };
    format!("{} {path}{when} {} {}", verbs.join(","), upstreams.join(","), policy.join(" "))
}

/// A request as `grpc://host/path name:value …`, or the same with `https`.
fn lead(snapshot: &Snapshot, request: &str) -> String {
    let (url, headers) = request.split_once(' ').unwrap_or((request, ""));
    let grpc = url.starts_with("grpc:");
    let mut head =
        Request::builder().method("POST").uri(url.replacen("grpc:", "https:", 1)).version(http::Version::HTTP_2);
    head = head.header("content-type", if grpc { "application/grpc" } else { "application/json" });
    for (name, value) in headers.split_whitespace().filter_map(|header| header.split_once(':')) {
        head = head.header(name, value);
    }
    match snapshot.explain(&head.body(()).unwrap().into_parts().0) {
        Explained::Route { listed, .. } => line(&listed),
        Explained::Own(what) => what.to_owned(),
        Explained::Nowhere { unmet, .. } => format!("nowhere, {} unmet", unmet.len()),
    }
}
