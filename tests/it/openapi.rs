//! The OpenAPI document: judged by validators that others wrote, held against what the gateway really sends and takes.

use std::{collections::BTreeMap, path::Path};

use http::StatusCode;
use serde_json::{Value, json};

use crate::{
    backend::Backend,
    harness::{Config, Conn, Gateway, Via, Whole, process::Process, temp::TempDir, tools},
};

const DOCUMENT: &str = "/-/openapi.json";

/// A route of its own for one method writes replies another way.
const OUTPUT: &str = "routes:\n  - match: { method: tidegate.test.v1.RulesExtra/R1 }\n    output: { defaults: true, \
                      enum_numbers: true, proto_names: true, int64_numbers: true }";

#[tokio::test]
async fn the_document_tells_the_truth_about_replies_and_requests() {
    let backend = Backend::start().await;
    let gateway = Gateway::start(Config::to(backend.address).section(OUTPUT)).await;
    let mut conn = gateway.connect(Via::H1).await;
    let document = conn.get(DOCUMENT).await;
    let mut messages = String::new();
    for Exchange { operation, request, accept, body } in exchanges() {
        let (method, target) = request.split_once(' ').expect("a method and a target");
        let headers = [("accept", accept), ("content-type", "application/json")];
        let sent = body.to_string();
        let sends = !body.is_null();
        let headers = if sends { &headers[..] } else { &headers[..1] };
        let got = conn.whole(method, target, headers, sends.then(|| sent.clone().into())).await;
        assert!(got.broken.is_none(), "{operation}: {got:?}");
        let kind = got.header("content-type");
        let reply = json!({ "operation": operation, "status": got.status.as_u16(), "type": kind, "body": got.text() });
        messages += &format!("{reply}\n");
        if sends && got.status == StatusCode::OK {
            let request = json!({ "operation": operation, "type": "application/json", "body": sent });
            messages += &format!("{request}\n");
        }
    }
    let printed = judge(&document.body, &messages).await;
    let operations = document.json()["paths"].as_object().expect("paths").len();
    assert!(operations > 50 && printed.ends_with(" messages, 0 faults"), "{printed}");
}

#[tokio::test]
async fn every_described_path_and_parameter_is_one_that_the_gateway_takes() {
    let backend = Backend::start().await;
    let gateway = Gateway::start(Config::to(backend.address)).await;
    let mut conn = gateway.connect(Via::H1).await;
    let document = conn.get(DOCUMENT).await.json();
    let (mut paths, mut parameters) = (0, 0);
    for (path, item) in document["paths"].as_object().expect("paths") {
        let operations = item.as_object().expect("operations").iter().filter(|(method, _)| !method.starts_with("x-"));
        let additional = item["x-oai-additionalOperations"].as_object().into_iter().flatten();
        for (method, operation) in operations.chain(additional) {
            let all: Vec<&Value> = operation["parameters"].as_array().into_iter().flatten().collect();
            let mut target = path.clone();
            for parameter in all.iter().filter(|parameter| parameter["in"] == "path") {
                let name = parameter["name"].as_str().expect("a name");
                let value = sample(&document, &parameter["schema"]);
                target = target.replace(&format!("{{{name}}}"), &value);
            }
            let got = ask(&mut conn, &method.to_uppercase(), &target).await;
            let missed = [StatusCode::NOT_FOUND, StatusCode::METHOD_NOT_ALLOWED].contains(&got.status);
            assert!(!missed, "{method} {target}: {got:?}");
            paths += 1;
            for parameter in all.iter().filter(|parameter| parameter["in"] == "query") {
                let pair = query_pair(&document, parameter);
                let got = ask(&mut conn, &method.to_uppercase(), &format!("{target}?{pair}")).await;
                // That the path gives another member of the same oneof is nothing that a list of parameters can say.
                let is_rival = got.text().contains("oneof");
                assert!(got.status != StatusCode::BAD_REQUEST || is_rival, "{method} {target}?{pair}: {got:?}");
                parameters += 1;
            }
        }
    }
    assert!(paths > 60 && parameters > 500, "{paths} paths, {parameters} parameters");
}

#[tokio::test]
async fn it_is_served_as_other_resources_are() {
    let backend = Backend::start().await;
    let gateway =
        Gateway::start(Config::to(backend.address).section("cors: { origins: [ \"https://app.example\" ] }")).await;
    for via in Via::BOTH {
        let mut conn = gateway.connect(via).await;
        let origin = [("origin", "https://app.example")];
        let got = conn.whole("GET", DOCUMENT, &origin, None).await;
        assert_eq!((got.status, got.header("content-type")), (StatusCode::OK, "application/json"), "{got:?}");
        assert_eq!(got.header("access-control-allow-origin"), "https://app.example");
        assert_eq!(got.json()["openapi"], "3.1.1");
        let again = conn.whole("GET", DOCUMENT, &[("if-none-match", got.header("etag"))], None).await;
        assert_eq!((again.status, again.body.len()), (StatusCode::NOT_MODIFIED, 0));
        let head = conn.whole("HEAD", DOCUMENT, &[], None).await;
        assert_eq!((head.status, head.body.len()), (StatusCode::OK, 0));
        assert_eq!(head.header("content-length"), got.body.len().to_string());
        let posted = conn.whole("POST", DOCUMENT, &[], None).await;
        assert_eq!((posted.status, posted.header("allow")), (StatusCode::METHOD_NOT_ALLOWED, "GET, HEAD"));
    }
}

#[tokio::test]
async fn who_asks_first_and_together_gets_the_same() {
    let backend = Backend::start().await;
    let gateway = Gateway::start(Config::to(backend.address)).await;
    let asked = (0..8).map(|_| gateway.get(Via::H1, DOCUMENT));
    let got = futures_util::future::join_all(asked).await;
    assert!(got.iter().all(|own| own.status == StatusCode::OK && own.body == got[0].body));
}

#[tokio::test]
async fn switched_off_it_is_not_there() {
    let backend = Backend::start().await;
    let gateway = Gateway::start(Config::to(backend.address).section("openapi: false")).await;
    assert_eq!(gateway.get(Via::H1, DOCUMENT).await.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn no_rule_of_a_backend_takes_its_place_while_it_is_on() {
    let backend = Backend::start().await;
    let dir = TempDir::new();
    for (openapi, rule, expected) in [
        (true, "/{rest=**}", StatusCode::OK),
        (false, "/{rest=**}", StatusCode::NOT_IMPLEMENTED),
        (false, DOCUMENT, StatusCode::NOT_IMPLEMENTED),
    ] {
        let proto = format!(
            "syntax = \"proto3\"; package claims.v1; import \"google/api/annotations.proto\"; message M {{ string rest = 1; }}
            service Claims {{ rpc All(M) returns (M) {{ option (google.api.http) = {{ get: {rule:?} }}; }} }}"
        );
        let proto = dir.write("claims.proto", proto);
        let schema = format!("schema: {{ protos: {{ files: [ {proto:?} ], includes: [ {:?} ] }} }}", dir.path());
        let config = Config::new().upstream("claims", backend.address, &schema);
        let gateway = Gateway::start(config.section(&format!("openapi: {openapi}"))).await;
        let got = gateway.get(Via::H1, DOCUMENT).await;
        assert_eq!(got.status, expected, "the backend has no such method: {got:?}");
    }
}

#[tokio::test]
async fn what_the_command_writes_is_valid_whatever_is_asked_for() {
    let dir = TempDir::new();
    for (name, args, operations) in [
        ("all.json", &["--all"][..], 16),
        ("one.json", &["--service", "demo.chat."], 1),
        ("none.json", &["--service", "nothing."], 0),
    ] {
        let output = dir.path().join(name);
        let mut command = Gateway::command();
        command.args(["openapi", "--config", "tests/data/commands/tidegate.yaml", "--output"]).arg(&output).args(args);
        let mut process = Process::start(command.current_dir(env!("CARGO_MANIFEST_DIR")), "cargo builds it");
        assert!(process.exit().await.success(), "{}", process.transcript());
        let printed = validate(&output, None).await;
        assert!(printed.ends_with(&format!("{operations} operations, 0 messages, 0 faults")), "{name}: {printed}");
    }
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/openapi/library.json");
    let printed = validate(&fixture, None).await;
    assert!(printed.ends_with("15 operations, 0 messages, 0 faults"), "{printed}");
}

/// One exchange that the document must describe.
struct Exchange {
    operation: &'static str,
    request: &'static str,
    accept: &'static str,
    /// Null: no body.
    body: Value,
}

fn exchanges() -> Vec<Exchange> {
    let all: Value = serde_json::from_str(EVERY_FIELD).expect("JSON");
    let exchange = |operation, request, accept, body| Exchange { operation, request, accept, body };
    vec![
        exchange("Echo_Say", "POST /echo/say", "*/*", json!({ "text": "a", "n": -1, "data": "AQID" })),
        exchange("Echo_Say_2", "GET /echo/say/a?n=7", "*/*", Value::Null),
        exchange("Echo_Bare", "POST /tidegate.test.v1.Echo/Bare", "*/*", json!({ "text": "a" })),
        exchange("Echo_Bare", "POST /tidegate.test.v1.Echo/Bare", "*/*", json!({ "nope": 1 })),
        exchange("Echo_All", "POST /echo/all", "*/*", all.clone()),
        exchange("Echo_All", "POST /echo/all", "*/*", json!({})),
        exchange("Echo_Down", "GET /echo/down?count=2&text=x", "application/json", Value::Null),
        exchange("Echo_Down", "GET /echo/down?count=2&text=x", "application/x-ndjson", Value::Null),
        exchange("Echo_Down", "GET /echo/down?count=2&text=x", "application/json-seq", Value::Null),
        exchange("Echo_Down", "GET /echo/down?count=2&text=x", "text/event-stream", Value::Null),
        exchange("Echo_Down", "GET /echo/down?count=2&fail_after=1&fail_code=9", "application/x-ndjson", Value::Null),
        exchange("Echo_Up", "POST /echo/up", "*/*", json!([{ "text": "a" }, { "text": "b" }])),
        exchange("Echo_Chat", "POST /echo/chat", "*/*", json!([{ "text": "a" }, { "text": "b" }])),
        exchange("Echo_Fail", "GET /echo/fail/5?message=no&details=true", "*/*", Value::Null),
        exchange("Echo_Fail", "GET /echo/fail/5?details=true", "application/problem+json", Value::Null),
        exchange("Echo_Fail", "GET /echo/fail/x", "*/*", Value::Null),
        exchange("Echo_Download", "GET /echo/download", "*/*", Value::Null),
        exchange("Rules_Query", "GET /q?s=x&n.big=7&ms[a]=b&rc=RED", "*/*", Value::Null),
        exchange("Rules_B8", "PATCH /b8/things/1", "*/*", json!({ "title": "t", "detail": { "twoWords": "w" } })),
        exchange("Rules_B4", "POST /b4", "*/*", json!([{ "s": "a" }])),
        exchange("Rules_B12", "POST /b12", "*/*", json!({ "k": "v" })),
        exchange("Rules_B13", "POST /b13", "*/*", json!({ "k": [1, null] })),
        exchange("Rules_B15", "POST /b15", "*/*", json!("2024-01-02T03:04:05Z")),
        exchange("Rules_R6", "POST /r6", "*/*", all.clone()),
        exchange("Rules_R7", "POST /r7", "*/*", json!({ "s": "x" })),
        exchange("Rules_SDown", "POST /sdown", "application/json", all.clone()),
        exchange("Rules_SBidi", "POST /sbidi", "*/*", json!([all])),
        exchange(
            "RulesExtra_R1",
            "POST /r1",
            "*/*",
            json!({ "n": { "s": "x", "color": 1, "big": 7, "two_words": "w" } }),
        ),
        exchange("RulesExtra_R2", "POST /r2", "*/*", json!({ "rs": ["a", "b"] })),
        exchange("RulesExtra_R3", "POST /r3", "*/*", json!({ "s": "x" })),
        exchange("RulesExtra_R4", "POST /r4", "*/*", json!({ "rn": [{ "child": { "flag": true } }] })),
        exchange("RulesExtra_R8", "POST /r8", "*/*", json!({ "i64": "-9007199254740993" })),
    ]
}

/// A message with something in every field, in canonical JSON.
const EVERY_FIELD: &str = r#"{
    "d": 1.5, "f": 2.5, "i32": -1, "i64": "-9007199254740993", "u32": 4294967295, "u64": "18446744073709551615",
    "si32": -2, "si64": "-3", "fx32": 4, "fx64": "5", "sfx32": -6, "sfx64": "-7", "b": true, "s": "ä\"\\",
    "by": "AQID", "c": "NEG",
    "n": { "s": "x", "i": 1, "child": { "child": { "r": ["a"] } }, "color": "RED", "big": "1", "twoWords": "w" },
    "rs": ["a"], "ri": [1], "rc": ["RED", "GREEN"], "rn": [{}, { "s": "y" }], "rb": [true], "rby": ["AQ=="],
    "rd": [1e300], "ri64": ["1"], "ms": { "k": "v" }, "mi": { "-5": { "s": "z" } }, "mb": { "true": "7" },
    "onull": null, "ts": "2024-01-02T03:04:05.678Z", "dur": "-1.500s", "mask": "a.b,cD",
    "st": { "a": [1, null, { "b": true }] }, "val": [1, "x"], "lv": [1, {}],
    "any": { "@type": "type.googleapis.com/google.protobuf.Duration", "value": "1s" }, "empty": {},
    "wS": "w", "wI32": 1, "wI64": "2", "wU32": 3, "wU64": "4", "wB": false, "wD": 0.5, "wF": 0, "wBy": "AQ==",
    "rts": ["2024-01-02T03:04:05Z"], "rwS": ["x"], "optS": "", "optI": 0, "optB": false, "snakeCaseField": "q",
    "customName": "r", "raw": { "contentType": "text/plain", "data": "AQ==" }
}"#;

async fn ask(conn: &mut Conn, method: &str, target: &str) -> Whole {
    conn.whole(method, target, &[], None).await
}

/// A value that a schema allows, as it stands in a URL.
fn sample(document: &Value, schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str().and_then(|name| name.strip_prefix("#/components/schemas/")) {
        return sample(document, &document["components"]["schemas"][name]);
    }
    if let Some(values) = schema["enum"].as_array() {
        return values[0].as_str().expect("a name").to_owned();
    }
    let by_format =
        BTreeMap::from([("date-time", "2024-01-02T03:04:05Z"), ("byte", "AQID"), ("int64", "-7"), ("uint64", "7")]);
    match (schema["type"].as_str(), schema["format"].as_str()) {
        (Some("integer"), _) => "7".to_owned(),
        (Some("number"), _) => "1.5".to_owned(),
        (Some("boolean"), _) => "true".to_owned(),
        (Some("string"), Some(format)) => by_format[format].to_owned(),
        (Some("string"), None) if schema["pattern"].is_string() => "1.5s".to_owned(),
        (Some("string"), None) => "ab".to_owned(),
        (Some("array"), _) => sample(document, &schema["items"]),
        _ => panic!("no sample of {schema}"),
    }
}

/// A query parameter with a value: `form` repeats a name, `deepObject` puts a key behind it.
fn query_pair(document: &Value, parameter: &Value) -> String {
    let (name, schema) = (parameter["name"].as_str().expect("a name"), &parameter["schema"]);
    if parameter["style"] != "deepObject" {
        let value = sample(document, schema);
        return if parameter["explode"] == true {
            format!("{name}={value}&{name}={value}")
        } else {
            format!("{name}={value}")
        };
    }
    let keys = &schema["propertyNames"];
    let key = if keys["enum"].is_array() {
        "true"
    } else if keys.is_object() {
        "7"
    } else {
        "key"
    };
    format!("{name}[{key}]={}", sample(document, &schema["additionalProperties"]))
}

/// What the validators print of a document and of messages that it must describe.
async fn judge(document: &[u8], messages: &str) -> String {
    let dir = TempDir::new();
    validate(&dir.write("openapi.json", document), Some(&dir.write("messages.ndjson", messages))).await
}

async fn validate(document: &Path, messages: Option<&Path>) -> String {
    let paths = [Some(document), messages];
    let args: Vec<&str> = paths.into_iter().flatten().map(|path| path.to_str().expect("UTF-8")).collect();
    tools::finish(tools::python("openapi_check.py", &args)).await.join("\n")
}
