//! Server reflection by the gateway itself: unmodified clients find and call what is served, and see what is new.

use serde_json::{Value, json};

use crate::{
    backend::{Backend, Reflected, reflected::compile},
    harness::{
        Config, Gateway, Via,
        temp::TempDir,
        tools::{PythonBackend, finish, python},
    },
    proto::DESCRIPTOR_SET,
};

const NOTES: &str = r#"
package life.v1;
message Note { string text = 1; }
service Notes { rpc Add(Note) returns (Note); }
"#;

/// Of the test's backends and the gateway's own.
const SERVICES: [&str; 7] = [
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
    "tidegate.test.v1.Echo",
    "tidegate.test.v1.Files",
    "tidegate.test.v1.Rules",
    "tidegate.test.v1.RulesExtra",
];

const INFO: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";

/// The answers to some questions, asked in JSON.
async fn ask(gateway: &Gateway, questions: &[Value]) -> Vec<Value> {
    let body: String = questions.iter().map(|question| format!("{question}\n")).collect();
    let headers = [("content-type", "application/x-ndjson"), ("accept", "application/x-ndjson")];
    let answer = gateway.connect(Via::H2Tls).await.whole("POST", INFO, &headers, Some(body.into())).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let text = answer.text();
    let answer = |line| serde_json::from_str::<Value>(line).expect("JSON")["result"].take();
    text.lines().map(answer).collect()
}

async fn services(gateway: &Gateway) -> Vec<String> {
    let answers = ask(gateway, &[json!({"listServices": ""})]).await;
    let services = answers[0]["listServicesResponse"]["service"].as_array().expect("a list").clone();
    services.iter().map(|service| service["name"].as_str().expect("a name").to_owned()).collect()
}

#[tokio::test]
async fn an_unmodified_client_finds_and_calls_what_is_served() {
    // It has health and reflection of its own.
    let backend = PythonBackend::start().await;
    let gateway = Gateway::start(Config::new().upstream("python", backend.address, "schema: reflection")).await;
    let certificate = gateway.dir().path().join("cert.pem").to_str().expect("UTF-8").to_owned();
    let tls = format!("localhost:{}", gateway.tls.port());
    let plain = format!("localhost:{}", gateway.plain.port());
    for args in [vec!["--target", &tls, "--ca", &certificate], vec!["--target", &plain]] {
        let lines = finish(python("reflection_client.py", &args)).await;
        assert_eq!(lines.iter().filter(|line| line.starts_with("ok ")).count(), 5, "{lines:?}");
        let listed: Vec<_> = lines.iter().filter_map(|line| line.strip_prefix("service ")).collect();
        assert_eq!(listed, SERVICES);
    }
    gateway.assert_nothing_internal();
}

#[tokio::test]
async fn what_is_new_is_told_and_a_call_keeps_what_it_began_with() {
    let dir = TempDir::new();
    let backend = Backend::reflecting(&Reflected::new(NOTES)).await;
    let path = dir.write("life.binpb", compile(NOTES));
    let source = format!("schema: {{ descriptor_set: {path:?} }}");
    let gateway = Gateway::start(Config::new().upstream("notes", backend.address, &source)).await;
    let drop = json!({"fileContainingSymbol": "life.v1.Notes.Drop"});
    assert_eq!(ask(&gateway, std::slice::from_ref(&drop)).await[0]["errorResponse"]["errorCode"], 5);

    let headers = [("content-type", "application/x-ndjson"), ("accept", "application/x-ndjson")];
    let mut conn = gateway.connect(Via::H2Tls).await;
    let (mut up, mut down) = conn.stream("POST", INFO, &headers).await;
    up.send(format!("{drop}\n")).await;
    assert_eq!(down.head().await.expect("a head").status(), 200);
    let first = down.piece().await;
    assert!(first.is_some_and(|piece| piece.is_ok_and(|piece| piece.ends_with(b"\n"))));

    let new = NOTES.replace("service Notes {", "service Notes { rpc Drop(Note) returns (Note);");
    dir.write("life.binpb", compile(&new));
    gateway.process.signal("HUP");
    gateway.process.stderr.find(|line| line.contains("schema swapped").then_some(())).await.expect("a swap");
    assert!(ask(&gateway, std::slice::from_ref(&drop)).await[0].get("fileDescriptorResponse").is_some());

    up.send(format!("{drop}\n")).await;
    up.finish();
    let second = down.piece().await.expect("an answer").expect("no fault");
    assert!(String::from_utf8_lossy(&second).contains("errorResponse"), "{second:?}");
    gateway.assert_nothing_internal();
}

#[tokio::test]
async fn a_gateway_behind_a_gateway_tells_its_schema() {
    let backend = Backend::start().await;
    let inner = Gateway::start(Config::to(backend.address)).await;
    let outer = Gateway::start(Config::new().upstream("inner", inner.plain, "schema: reflection")).await;
    let say = outer.connect(Via::H2Tls).await.post("/tidegate.test.v1.Echo/Say", &json!({"text": "deep"})).await;
    assert_eq!((say.status.as_u16(), say.json()["text"].clone()), (200, json!("deep")));
    assert_eq!(services(&inner).await, SERVICES);
    assert_eq!(services(&outer).await, SERVICES);
    let told = outer.admin_get("/schemas").await.json();
    assert_eq!((&told["upstreams"][0]["state"], &told["upstreams"][0]["problems"]), (&json!("current"), &json!([])));
    outer.assert_nothing_internal();
}

#[tokio::test]
async fn what_is_switched_off_is_not_there() {
    let backend = Backend::start().await;
    let off = "services: { reflection: false }";
    let gateway = Gateway::start(Config::to(backend.address).section(off)).await;
    for path in [INFO, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"] {
        let answer = gateway.connect(Via::H2Tls).await.post(path, &json!({})).await;
        assert_eq!(answer.status, 404, "{path}");
    }
}

/// Clients of a gateway rely on its description of what it serves, which is not of itself.
#[tokio::test]
async fn the_gateways_own_services_are_listed_as_routes_but_are_not_in_the_api() {
    let mut command = Gateway::command();
    command.args(["routes", "--upstream", "http://127.0.0.1:1", "--descriptor-set", DESCRIPTOR_SET]);
    let routes = String::from_utf8(command.output().await.expect("it runs").stdout).expect("UTF-8");
    let own: Vec<_> = routes
        .lines()
        .filter(|line| line.contains("/grpc."))
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(
        own,
        [
            "POST /grpc.health.v1.Health/* health",
            "POST /grpc.reflection.v1.ServerReflection/* reflection",
            "POST /grpc.reflection.v1alpha.ServerReflection/* reflection",
        ]
    );
    let mut command = Gateway::command();
    command.args(["openapi", "--all", "--upstream", "http://127.0.0.1:1", "--descriptor-set", DESCRIPTOR_SET]);
    let document = String::from_utf8(command.output().await.expect("it runs").stdout).expect("UTF-8");
    assert!(document.contains("tidegate.test.v1.Echo") && !document.contains("grpc.reflection"));
}
