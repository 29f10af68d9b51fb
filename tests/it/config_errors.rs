//! Configurations that are wrong: every fault with file, line, column and the nearest key, exit code 2, no port bound.

use crate::{
    backend::Backend,
    harness::{Config, Gateway, process::Process, temp::TempDir, within},
};

/// A file that is right but for what a test puts in.
fn file(listener: &str, upstream: &str, rest: &str) -> String {
    format!(
        "listeners:\n  - address: 127.0.0.1:0\n    {listener}\nupstreams:\n  test:\n    \
         endpoints: [ \"http://127.0.0.1:1\" ]\n    {upstream}\n{rest}\n"
    )
}

async fn run(command: &str, text: &str) -> (Option<i32>, String, String) {
    let dir = TempDir::new();
    let path = dir.write("tidegate.yaml", text);
    let mut tidegate = Gateway::command();
    match command {
        "check" => tidegate.arg("check").arg(path),
        _ => tidegate.arg("serve").arg("--config").arg(path),
    };
    let mut process = Process::start(&mut tidegate, "cargo builds it");
    let code = process.exit().await.code();
    process.stdout.ended().await;
    process.stderr.ended().await;
    (code, process.stdout.text(), process.stderr.text())
}

#[tokio::test]
async fn every_fault_is_named_with_its_place_and_the_nearest_key() {
    // line and column, and what else the text says
    let cases = [
        ("an unknown key", file("", "", "limts: {}"), "tidegate.yaml:8:1", vec!["limts", "limits"]),
        ("an unknown key below", file("", "balanc: round_robin", ""), "tidegate.yaml:7:5", vec!["balanc", "balance"]),
        ("a wrong word", file("", "balance: random", ""), "tidegate.yaml:7:14", vec!["random", "round_robin"]),
        (
            "a wrong size",
            file("", "", "limits:\n  request_message_bytes_max: 4 apples"),
            "tidegate.yaml:9:30",
            vec!["4 apples"],
        ),
        ("a wrong time", file("", "", "limits:\n  unary_timeout: soon"), "tidegate.yaml:9:18", vec!["soon"]),
        ("a negative count", file("", "", "workers: -1"), "tidegate.yaml:8:10", vec!["workers"]),
        (
            "no address",
            file("tls: development", "", "").replace("127.0.0.1:0", "nowhere"),
            "tidegate.yaml:2:14",
            vec!["nowhere"],
        ),
        ("no URL", file("", "", "").replace("http://127.0.0.1:1", "ftp://x"), "tidegate.yaml:6:18", vec!["ftp://x"]),
        (
            "an unknown upstream in a route",
            file("", "", "routes:\n  - match: { service: no.such }\n    upstream: tset"),
            "tidegate.yaml:10:15",
            vec!["tset", "test"],
        ),
        ("no YAML", "listeners: [".to_owned(), "tidegate.yaml:", vec![]),
        ("a key twice", file("", "", "workers: 1\nworkers: 2"), "tidegate.yaml:9:1", vec!["workers"]),
    ];
    for (what, text, place, words) in cases {
        for command in ["serve", "check"] {
            let (code, out, err) = run(command, &text).await;
            assert_eq!(code, Some(2), "{what} ({command}): {err}");
            assert!(err.contains(place), "{what} ({command}): {place} is not named: {err}");
            for word in &words {
                assert!(err.contains(word), "{what} ({command}): {word:?} is not named: {err}");
            }
            assert!(!out.contains("listening"), "{what}: a port was bound: {out}");
        }
    }
}

#[tokio::test]
async fn all_faults_are_told_at_once() {
    let text = file("tsl: development", "balanc: x", "limits:\n  unary_timeout: soon");
    let (code, _, err) = run("check", &text).await;
    assert_eq!(code, Some(2));
    for place in ["tidegate.yaml:3:5", "tidegate.yaml:7:5", "tidegate.yaml:9:18"] {
        assert!(err.contains(place), "{place}: {err}");
    }
}

#[tokio::test]
async fn files_that_are_not_there_are_named() {
    for (what, text, word) in [
        ("a descriptor set", file("", "schema: { descriptor_set: /no/such.binpb }", ""), "/no/such.binpb"),
        ("a certificate", file("tls: { certificates: [ { cert: /no/c.pem, key: /no/k.pem } ] }", "", ""), "/no/c.pem"),
    ] {
        let (code, out, err) = run("serve", &text).await;
        assert_eq!(code, Some(2), "{what}: {err}");
        assert!(err.contains(word), "{what}: {err}");
        assert!(!out.contains("listening"), "{what}: {out}");
    }
    let mut command = Gateway::command();
    let mut process = Process::start(command.args(["serve", "--config", "/no/such.yaml"]), "cargo builds it");
    assert_eq!(process.exit().await.code(), Some(2));
    process.stderr.ended().await;
    assert!(process.stderr.text().contains("/no/such.yaml"), "{}", process.transcript());
}

#[tokio::test]
async fn check_prints_what_a_right_file_means() {
    let backend = Backend::start().await;
    let dir = TempDir::new();
    let path = dir.write("tidegate.yaml", Config::to(backend.address).render(&dir));
    let mut command = Gateway::command();
    let mut process = Process::start(command.arg("check").arg(path), "cargo builds it");
    assert_eq!(process.exit().await.code(), Some(0), "{}", process.transcript());
    process.stdout.ended().await;
    let text = process.stdout.text();
    for word in ["unary_timeout", "least_request", &backend.address.to_string()] {
        assert!(text.contains(word), "{word}: {text}");
    }
}

#[tokio::test]
async fn two_upstreams_that_disagree_are_both_named() {
    let dir = TempDir::new();
    let proto = |field: &str| {
        format!(
            "syntax = \"proto3\"; package clash; message A {{ {field} x = 1; }} service S {{ rpc M(A) returns (A); }}"
        )
    };
    for (name, field) in [("one", "string"), ("two", "int32")] {
        std::fs::create_dir_all(dir.path().join(name)).unwrap();
        dir.write(&format!("{name}/clash.proto"), proto(field));
    }
    let mut text = "listeners:\n  - address: 127.0.0.1:0\nupstreams:\n".to_owned();
    for name in ["one", "two"] {
        let include = dir.path().join(name);
        text += &format!(
            "  {name}:\n    endpoints: [ \"http://127.0.0.1:1\" ]\n    \
             schema: {{ protos: {{ files: [ {:?} ], includes: [ {include:?} ] }} }}\n",
            include.join("clash.proto"),
        );
    }
    let path = dir.write("tidegate.yaml", text);
    let mut command = Gateway::command();
    let mut process = Process::start(command.arg("serve").arg("--config").arg(path), "cargo builds it");
    let code = within(process.exit()).await.code();
    process.stderr.ended().await;
    let err = process.stderr.text();
    assert_eq!(code, Some(2), "{err}");
    for word in ["one", "two", "clash."] {
        assert!(err.contains(word), "{word}: {err}");
    }
}
