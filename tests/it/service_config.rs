//! HTTP rules from a gRPC service configuration, through the real binary: they take the place of annotations, bind every
//! kind of field as body, reply and capture, and are refused where they stand.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::{
    backend::Backend,
    harness::{Config, Conn, Gateway, Via, Whole, process::Process, temp::TempDir},
    proto::DESCRIPTOR_SET,
};

/// A field of `All`, a value of it in JSON, and the same as text in a path, where it can stand there.
const FIELDS: &[(&str, &str, Option<&str>)] = &[
    ("d", "-1.5", Some("-1.5")),
    ("f", r#""Infinity""#, Some("Infinity")),
    ("i32", "-7", Some("-7")),
    ("i64", r#""9007199254740993""#, Some("9007199254740993")),
    ("u32", "4294967295", Some("4294967295")),
    ("u64", r#""18446744073709551615""#, Some("18446744073709551615")),
    ("si32", "-1", Some("-1")),
    ("si64", r#""-1""#, Some("-1")),
    ("fx32", "1", Some("1")),
    ("fx64", r#""1""#, Some("1")),
    ("sfx32", "-1", Some("-1")),
    ("sfx64", r#""-1""#, Some("-1")),
    ("b", "true", Some("true")),
    ("s", r#""a/b ä""#, Some("a%2Fb%20%C3%A4")),
    ("by", r#""+/8=""#, Some("-_8")),
    ("c", r#""GREEN""#, Some("2")),
    ("n", r#"{"s":"x","child":{}}"#, None),
    ("n.child", r#"{"s":"x"}"#, None),
    ("n.child.flag", "true", Some("true")),
    ("n.two_words", r#""x""#, Some("x")),
    ("rs", r#"["a",""]"#, None),
    ("ri", "[1,-2]", None),
    ("rc", r#"["RED",7]"#, None),
    ("rn", r#"[{"s":"a"},{}]"#, None),
    ("rby", r#"["AQ=="]"#, None),
    ("rts", r#"["2024-01-02T03:04:05Z"]"#, None),
    ("rw_s", r#"["",""]"#, None),
    ("ms", r#"{"a":"1"}"#, None),
    ("mi", r#"{"-1":{"s":"x"}}"#, None),
    ("mb", r#"{"true":"1"}"#, None),
    ("os", r#""""#, Some("")),
    ("on", r#"{"s":"x"}"#, None),
    ("ts", r#""2024-01-02T03:04:05Z""#, Some("2024-01-02T03%3A04%3A05Z")),
    ("dur", r#""1.500s""#, Some("1.5s")),
    ("mask", r#""a,fooBar.c""#, None),
    ("st", r#"{"a":[null,{}]}"#, None),
    ("val", "[1]", None),
    ("lv", "[null]", None),
    ("any", r#"{"@type":"type.googleapis.com/tidegate.test.v1.Nested","s":"x"}"#, None),
    ("empty", "{}", None),
    ("w_s", r#""""#, Some("")),
    ("w_i64", r#""5""#, Some("5")),
    ("w_b", "false", Some("false")),
    ("w_by", r#""AQ==""#, Some("AQ")),
    ("opt_i", "0", Some("0")),
    ("renamed", r#""x""#, Some("x")),
];

fn rules() -> String {
    let mut yaml =
        "type: google.api.Service\nconfig_version: 3\nhttp:\n  fully_decode_reserved_expansion: true\n  rules:\n"
            .to_owned();
    yaml += "  - { selector: 'tidegate.test.v1.RulesExtra.*, tidegate.test.v1.Rules.B1' }\n";
    yaml += "  - { selector: tidegate.test.v1.RulesExtra.R2, post: /r2-elsewhere, body: rs, response_body: rs }\n";
    yaml += "  - { selector: tidegate.test.v1.Rules.SDown, post: /down, body: '*', response_body: n.s }\n";
    yaml += "  - { selector: tidegate.test.v1.Rules.B8, patch: '/things/{thing.name}', body: thing,\n";
    yaml += "      additional_bindings: [ { patch: '/things/{thing.name}/detail', body: thing.detail } ] }\n";
    yaml += "  - selector: tidegate.test.v1.Rules.R6\n    get: /query\n    additional_bindings:\n";
    yaml += "    - { custom: { kind: '*', path: '/any/{s}' } }\n";
    yaml += "    - { custom: { kind: HEAD, path: /head } }\n";
    yaml += "    - { custom: { kind: PURGE, path: '/any/{n.s}' } }\n";
    yaml += "    - { get: '/deep/{s=x/*/**}:go', response_body: s }\n";
    for (field, _, capture) in FIELDS {
        writeln!(yaml, "    - {{ post: '/field/{field}', body: {field}, response_body: {field} }}").unwrap();
        if capture.is_some() {
            writeln!(yaml, "    - {{ get: '/path/{field}/{{{field}=**}}', response_body: {field} }}").unwrap();
        }
    }
    yaml
}

async fn start() -> (Backend, Gateway, TempDir) {
    let (backend, dir) = (Backend::start().await, TempDir::new());
    let file = dir.write("service.yaml", rules());
    let lines = format!("schema: {{ descriptor_set: {DESCRIPTOR_SET:?} }}\nservice_config: [ {file:?} ]");
    let gateway = Gateway::start(Config::new().upstream("test", backend.address, &lines)).await;
    (backend, gateway, dir)
}

async fn send(conn: &mut Conn, method: &str, target: &str, body: Option<&str>) -> Whole {
    let headers: &[_] = if body.is_some() { &[("content-type", "application/json")] } else { &[] };
    conn.whole(method, target, headers, body.map(|body| body.to_owned().into())).await
}

#[tokio::test]
async fn every_kind_of_field_is_a_body_a_reply_and_where_it_can_a_capture() {
    let (_backend, gateway, _dir) = start().await;
    let mut conn = gateway.connect(Via::H2Tls).await;
    for (field, value, capture) in FIELDS {
        let value: Value = serde_json::from_str(value).unwrap();
        let answer = conn.post(&format!("/field/{field}"), &value).await;
        assert_eq!((answer.status.as_u16(), answer.json()), (200, value.clone()), "{field}: {answer:?}");
        if let Some(capture) = capture {
            let answer = conn.get(&format!("/path/{field}/{capture}")).await;
            assert_eq!((answer.status.as_u16(), answer.json()), (200, value), "{field}: {answer:?}");
        }
        let answer = send(&mut conn, "POST", &format!("/field/{field}"), Some("\u{1}")).await;
        assert_eq!(answer.status.as_u16(), 400, "{field}: {answer:?}");
    }
    gateway.assert_nothing_internal();
}

#[tokio::test]
async fn a_rule_takes_the_place_of_the_annotation() {
    let (_backend, gateway, _dir) = start().await;
    let mut conn = gateway.connect(Via::H1).await;
    for (method, target, body, status, wanted) in [
        ("POST", "/r6", Some("{}"), 404, Value::Null),
        ("POST", "/r1", Some("{}"), 404, Value::Null),
        ("POST", "/r2", Some("{}"), 404, Value::Null),
        ("POST", "/b1", Some("{}"), 404, Value::Null),
        // A method without a rule is still there by its name, and one that nothing selects by its annotation.
        ("POST", "/tidegate.test.v1.RulesExtra/R1", Some(r#"{"s":"x"}"#), 200, json!({"s": "x"})),
        ("POST", "/r5", Some("{}"), 200, Value::Null),
        ("POST", "/r2-elsewhere", Some(r#"["a"]"#), 200, json!(["a"])),
        (
            "GET",
            "/query?n.child.s=x&mb[true]=5&w_b=false&rc=2&customName=y",
            None,
            200,
            json!({"n": {"child": {"s": "x"}}, "mb": {"true": "5"}, "wB": false, "rc": ["GREEN"], "customName": "y"}),
        ),
        ("GET", "/any/x", None, 200, json!({"s": "x"})),
        ("DELETE", "/any/x?i32=1", None, 200, json!({"s": "x", "i32": 1})),
        ("REPORT", "/any/x", None, 200, json!({"s": "x"})),
        ("POST", "/any/x", Some("{}"), 400, Value::Null),
        // A verb of its own goes before `*`.
        ("PURGE", "/any/x", None, 200, json!({"n": {"s": "x"}})),
        ("HEAD", "/head", None, 200, Value::Null),
        ("HEAD", "/query", None, 200, Value::Null),
        ("GET", "/head", None, 405, Value::Null),
        ("GET", "/deep/x/a%2Fb/c%2Fd/e%3A:go", None, 200, json!("x/a%2Fb/c/d/e:")),
        ("POST", "/down", Some(r#"{"n":{"s":"x"}}"#), 200, json!(["x"])),
    ] {
        let answer = send(&mut conn, method, target, body).await;
        assert_eq!(answer.status.as_u16(), status, "{method} {target}: {answer:?}");
        if method == "HEAD" {
            assert!(answer.body.is_empty(), "{answer:?}");
        } else if !wanted.is_null() {
            assert_eq!(answer.json(), wanted, "{method} {target}");
        }
        if status == 405 {
            assert_eq!(answer.header("allow"), "HEAD");
        }
    }
    gateway.assert_nothing_internal();
}

#[tokio::test]
async fn a_patch_says_what_it_changes() {
    let (_backend, gateway, _dir) = start().await;
    let mut conn = gateway.connect(Via::H1).await;
    for (target, body, wanted) in [
        (
            "/things/a",
            r#"{"title":null,"detail":{"r":[],"child":{"s":"x"}}}"#,
            json!({"thing": {"name": "a", "detail": {"child": {"s": "x"}}}, "updateMask": "title,detail.r,detail.child.s"}),
        ),
        ("/things/a", r#"{"name":"a","size":1}"#, json!({"thing": {"name": "a", "size": 1}, "updateMask": "size"})),
        (
            "/things/a?updateMask=size",
            r#"{"title":"x"}"#,
            json!({"thing": {"name": "a", "title": "x"}, "updateMask": "size"}),
        ),
        (
            "/things/a?update_mask=display_name&allow_missing=true",
            r#"{"title":"x"}"#,
            json!({"thing": {"name": "a", "title": "x"}, "updateMask": "displayName", "allowMissing": true}),
        ),
        ("/things/a", "{}", json!({"thing": {"name": "a"}, "updateMask": ""})),
        (
            "/things/a/detail",
            r#"{"twoWords":"x"}"#,
            json!({"thing": {"name": "a", "detail": {"twoWords": "x"}}, "updateMask": "detail.twoWords"}),
        ),
    ] {
        let answer = send(&mut conn, "PATCH", target, Some(body)).await;
        assert_eq!(answer.status.as_u16(), 200, "{target} {body}: {answer:?}");
        let seen: Value = serde_json::from_str(answer.json()["requestJson"].as_str().unwrap()).unwrap();
        assert_eq!(seen, wanted, "{target} {body}");
    }
    let answer = send(&mut conn, "PATCH", "/things/a", Some(r#"{"name":"b"}"#)).await;
    assert_eq!(answer.status.as_u16(), 400, "{answer:?}");
}

/// What `tidegate check` says of the test services with this service configuration.
async fn check(yaml: &str) -> (Option<i32>, String) {
    let dir = TempDir::new();
    let file = dir.write("service.yaml", yaml);
    let lines = format!("schema: {{ descriptor_set: {DESCRIPTOR_SET:?} }}\nservice_config: [ {file:?} ]");
    let address = "127.0.0.1:1".parse().unwrap();
    let config = dir.write("tidegate.yaml", Config::new().upstream("test", address, &lines).render(&dir));
    let mut process = Process::start(Gateway::command().arg("check").arg(config), "cargo builds it");
    let code = process.exit().await.code();
    process.stderr.ended().await;
    (code, process.stderr.text().replace(&format!("{}/", dir.path().display()), ""))
}

#[tokio::test]
async fn a_service_configuration_that_is_wrong_is_refused_where_it_is() {
    for (yaml, wanted) in [
        ("http: { ruls: [] }", vec!["service.yaml:1:9: http.ruls: unknown key; did you mean \"rules\"?"]),
        (
            "http:\n  rules:\n  - selector: a.B\n    gett: /\n  - get: /",
            vec![
                "service.yaml:4:5: http.rules[0].gett: unknown key; did you mean \"get\"?",
                "service.yaml:5:5: http.rules[1]",
            ],
        ),
        ("listeners: []", vec!["service.yaml: this is no gRPC service configuration"]),
        (
            "http:\n  rules:\n  - selector: tidegate.test.v1.Echo.Sya\n    get: /",
            vec![
                "service.yaml:3:15: upstream `test` has no method that is selected by",
                "`tidegate.test.v1.Echo.Say`?",
            ],
        ),
        (
            "http:\n  rules:\n  - selector: tidegate.test.v1.Echo.Say\n    get: /q",
            vec![
                "service.yaml:4:10",
                "tidegate.test.v1.Echo.Say` (GET /q)",
                "`tidegate.test.v1.Rules.Query` (GET /q)",
                "tidegate/test/v1/rules.proto:11:35",
            ],
        ),
        (
            "http:\n  rules:\n  - { selector: tidegate.test.v1.Echo.Say, get: '/x/{txt}' }",
            vec![
                "service.yaml:3:49: tidegate.test.v1.Echo.Say: the rule `/x/{txt}` does not fit its message: variable txt",
            ],
        ),
    ] {
        let (code, text) = check(yaml).await;
        assert_eq!(code, Some(2), "{yaml}: {text}");
        for wanted in wanted {
            assert!(text.contains(wanted), "{yaml}: {wanted:?} is not in: {text}");
        }
    }
    let (code, text) = check(&rules()).await;
    assert_eq!(code, Some(0), "{text}");
}
