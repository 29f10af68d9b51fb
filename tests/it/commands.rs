//! What `tidegate routes` and `tidegate explain` print, as the fixtures of `tests/data/commands` have it: each begins with
//! commands (`$ explain …`), below which stands what they print and their exit code. `UPDATE=1` writes that anew.

use std::{env, fs, path::Path};

use crate::harness::{Gateway, process::Process, tools::PythonBackend};

const CONFIG: &str = "tests/data/commands/tidegate.yaml";

#[tokio::test]
async fn routes_are_listed_for_people() {
    check("routes.txt").await;
}

#[tokio::test]
async fn requests_are_explained() {
    check("explain.txt").await;
}

#[tokio::test]
async fn routes_are_listed_for_programs() {
    let (code, printed) = run(&words("routes --json")).await;
    assert_eq!(code, 0, "{printed}");
    let routes: Vec<serde_json::Value> = serde_json::from_str(&printed).expect("JSON");
    let of = |path: &str| routes.iter().find(|route| route["path"] == path).expect(path);
    assert_eq!(
        *of("/v1/rooms/{room}:chat"),
        serde_json::json!({
            "verbs": ["POST"],
            "path": "/v1/rooms/{room}:chat",
            "method": "demo.chat.v1.Chat/Join",
            "kind": "bidirectional",
            "dialects": ["json", "ndjson", "json-seq", "protobuf", "websocket"],
            "when": "",
            "upstreams": { "demo": 1 },
            "policy": {
                "timeout": "none",
                "output": "defaults,proto_names",
                "unknown_fields": "ignore",
                "query_token": "true",
            },
        })
    );
    assert_eq!(of("/demo.liker.v1.Liker/ListPosts")["verbs"], serde_json::json!(["GET", "POST"]));
    assert_eq!(of("/other.*")["dialects"], serde_json::json!(["grpc", "grpc-web"]));
}

#[tokio::test]
async fn what_is_served_has_to_be_named() {
    for (command, expected) in [
        ("routes", "--config <FILE>|--upstream <URL>"),
        ("routes --upstream http://127.0.0.1:1 --config x", "cannot be used with"),
        ("openapi --descriptor-set x --config x", "cannot be used with"),
    ] {
        let (code, printed) = run_with(&words(command), &[]).await;
        assert!(code == 2 && printed.contains(expected), "{command}: {printed}");
    }
}

#[tokio::test]
async fn what_only_upstreams_know_is_asked_of_them() {
    let backend = PythonBackend::start().await;
    let (code, printed) = run_with(&words("explain '/echo/say/a?n=7'"), &["--upstream", &backend.url()]).await;
    assert!(code == 0 && printed.contains("message   {\"text\":\"a\",\"n\":7}\n"), "{code} {printed}");
    let (code, printed) = run_with(&words("routes"), &["--upstream", "http://127.0.0.1:1"]).await;
    assert!(code == 2 && printed.contains("127.0.0.1_1"), "{code} {printed}");
}

async fn check(fixture: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/commands").join(fixture);
    let expected = fs::read_to_string(&path).expect("the fixture is there");
    let mut found = String::new();
    for command in expected.lines().filter_map(|line| line.strip_prefix("$ ")) {
        let (code, printed) = run(&words(command)).await;
        found += &format!("$ {command}\n{printed}= {code}\n\n");
    }
    assert!(found.contains("= 0"), "no command succeeds: {found}");
    if env::var_os("UPDATE").is_some() {
        fs::write(&path, &found).expect("the fixture can be written");
        return;
    }
    assert!(found == expected, "other than in {}:\n{found}", path.display());
}

/// The exit code, and both outputs.
async fn run(words: &[String]) -> (i32, String) {
    run_with(words, &["--config", CONFIG]).await
}

async fn run_with(words: &[String], source: &[&str]) -> (i32, String) {
    let mut command = Gateway::command();
    command.args(words).args(source).current_dir(env!("CARGO_MANIFEST_DIR"));
    let mut process = Process::start(&mut command, "cargo builds it");
    let code = process.exit().await.code().expect("no signal ends it");
    process.stdout.ended().await;
    process.stderr.ended().await;
    let lines = process.stdout.all().into_iter().chain(process.stderr.all());
    (code, lines.map(|line| line + "\n").collect())
}

/// The words of a command; quotes keep blanks.
fn words(command: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut is_quoted = false;
    for character in command.chars() {
        match (character, words.last_mut()) {
            ('\'', _) => is_quoted = !is_quoted,
            (' ', _) if !is_quoted => words.push(String::new()),
            (other, Some(word)) => word.push(other),
            (_, None) => {}
        }
    }
    words
}
