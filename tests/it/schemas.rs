//! The life of a schema: what is new is served without a call lost, what is bad is refused and told.

use std::{collections::BTreeSet, fs, time::Duration};

use serde_json::{Value, json};

use crate::{
    backend::{Backend, Options, Reflected, reflected::compile},
    harness::{
        Config, Gateway, PATIENCE, Via,
        process::Process,
        temp::TempDir,
        tools::PythonBackend,
        ws::{Frame, WebSocket},
    },
};

const OLD: &str = r#"
package life.v1;
import "google/api/annotations.proto";
message Note { string text = 1; }
service Notes { rpc Add(Note) returns (Note) { option (google.api.http) = { get: "/add/{text}" }; } }
"#;
/// A method and a field more.
const NEW: &str = r#"
package life.v1;
import "google/api/annotations.proto";
message Note { string text = 1; string mood = 2; }
service Notes {
  rpc Add(Note) returns (Note) { option (google.api.http) = { get: "/add/{text}" }; }
  rpc Drop(Note) returns (Note) { option (google.api.http) = { get: "/drop/{text}" }; }
}
"#;
/// The old field means something else.
const OTHER: &str = r#"
package life.v1;
import "google/api/annotations.proto";
message Note { int32 text = 1; }
service Notes { rpc Add(Note) returns (Note) { option (google.api.http) = { get: "/add/{text}" }; } }
"#;

/// A backend of the newest services, before it a gateway that reads this set.
async fn by_file(dir: &TempDir, set: &[u8]) -> (Backend, Gateway) {
    let backend = Backend::reflecting(&Reflected::new(NEW)).await;
    let path = dir.write("life.binpb", set);
    let source = format!("schema: {{ descriptor_set: {path:?} }}");
    let gateway = Gateway::start(Config::new().upstream("notes", backend.address, &source)).await;
    (backend, gateway)
}

/// As editors and deployments do it.
fn replace(dir: &TempDir, name: &str, contents: impl AsRef<[u8]>) {
    let new = dir.write(&format!("{name}.new"), contents);
    fs::rename(new, dir.path().join(name)).expect("a rename");
}

/// The gateway before some endpoints of one upstream that tell their schema, and are asked once in an hour.
async fn by_reflection(backends: &[&Backend]) -> Gateway {
    let urls: Vec<_> = backends.iter().map(|backend| format!("http://{}", backend.address)).collect();
    Gateway::start(Config::new().upstream_at("notes", &urls, "schema: reflection\nschema_poll: 1h")).await
}

/// What the admin server tells of the upstream, once it is so.
async fn told(gateway: &Gateway, is_so: impl Fn(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    let told = tokio::time::timeout(PATIENCE, async {
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        loop {
            tick.tick().await;
            last = gateway.admin_get("/schemas").await.json()["upstreams"][0].take();
            if is_so(&last) {
                return;
            }
        }
    });
    assert!(told.await.is_ok(), "never told: {last:#}\n{}", gateway.process.transcript());
    last
}

async fn logged(gateway: &Gateway, part: &str) -> String {
    let line = gateway.process.stderr.find(|line| line.contains(part).then(|| line.to_owned())).await;
    line.unwrap_or_else(|| panic!("not in the log: {part}"))
}

async fn status(gateway: &Gateway, target: &str) -> u16 {
    gateway.get(Via::H2Tls, target).await.status.as_u16()
}

async fn metric(gateway: &Gateway, series: &str) -> u64 {
    let metrics = gateway.admin_get("/metrics").await.text();
    let line =
        metrics.lines().find_map(|line| line.strip_prefix(series)).unwrap_or_else(|| panic!("{series}\n{metrics}"));
    line.trim().parse().expect("a number")
}

#[tokio::test]
async fn a_new_file_is_served_and_no_call_is_lost() {
    let dir = TempDir::new();
    let (_backend, gateway) = by_file(&dir, &compile(OLD)).await;
    assert_eq!(status(&gateway, "/drop/x").await, 404);
    let calls = async {
        let mut conn = gateway.connect(Via::H2Tls).await;
        let mut count = 0;
        // Until the new method answers, and then some.
        let mut after = 0;
        while after < 20 {
            let answer = conn.get("/add/x").await;
            assert_eq!((answer.status.as_u16(), answer.json()), (200, json!({"text": "x"})));
            after += usize::from(conn.get("/drop/x").await.status == 200);
            count += 1;
        }
        count
    };
    let change = async { replace(&dir, "life.binpb", compile(NEW)) };
    let (count, ()) = tokio::join!(calls, change);
    assert!(count > 20, "{count}");
    let told = told(&gateway, |told| told["swapped"] == 1).await;
    assert_eq!((&told["source"], &told["state"]), (&json!("descriptor_set"), &json!("current")));
    assert_eq!((&told["services"], &told["methods"], &told["breaking_changes"]), (&json!(1), &json!(2), &json!([])));
    assert_eq!(metric(&gateway, r#"tidegate_schema_reloads_total{upstream="notes",result="swapped"}"#).await, 1);
    gateway.assert_nothing_internal();
}

#[tokio::test]
async fn a_bad_file_is_refused_and_told_and_the_old_schema_stays() {
    let dir = TempDir::new();
    let (_backend, gateway) = by_file(&dir, &compile(OLD)).await;
    let unfit = NEW.replace("/drop/{text}", "/drop/{nothing}");
    for (bad, result, problem) in [
        (b"half a se".to_vec(), "refused", "is not a serialized google.protobuf.FileDescriptorSet"),
        (Vec::new(), "failed", "it is empty"),
        (compile(&unfit), "refused", "does not fit its message"),
    ] {
        replace(&dir, "life.binpb", bad);
        gateway.process.signal("HUP");
        let told = told(&gateway, |told| told["problems"].to_string().contains(problem)).await;
        assert_eq!(told["state"], "outdated", "{told:#}");
        assert!(logged(&gateway, problem).await.contains("schema refused"));
        let ready = gateway.admin_get("/readyz").await;
        assert!(ready.status == 200 && ready.text().contains(problem), "{ready:?}");
        assert!(
            metric(&gateway, &format!(r#"tidegate_schema_reloads_total{{upstream="notes",result="{result}"}}"#)).await
                > 0
        );
        assert_eq!(metric(&gateway, r#"tidegate_schema_current{upstream="notes"}"#).await, 0);
        assert_eq!((status(&gateway, "/add/x").await, status(&gateway, "/drop/x").await), (200, 404));
    }
    replace(&dir, "life.binpb", compile(NEW));
    gateway.process.signal("HUP");
    told(&gateway, |told| told["state"] == "current").await;
    assert_eq!(gateway.admin_get("/readyz").await.text(), "ok");
    assert_eq!(status(&gateway, "/drop/x").await, 200);
}

#[tokio::test]
async fn what_a_new_schema_breaks_is_told() {
    let dir = TempDir::new();
    let (_backend, gateway) = by_file(&dir, &compile(NEW)).await;
    replace(&dir, "life.binpb", compile(&OTHER.replace("/add/{text}", "/plus/{text}")));
    let told = told(&gateway, |told| told["swapped"] == 1).await;
    let expected = [
        "method `life.v1.Notes/Add` no longer answers GET /add/{text}",
        "method `life.v1.Notes/Drop` was removed",
        "field `life.v1.Note.text` is `int32` now, not `string`",
        "field `life.v1.Note.mood` was removed",
    ];
    assert_eq!(told["breaking_changes"], json!(expected));
    for sentence in expected {
        assert!(logged(&gateway, sentence).await.contains("WARN"));
    }
}

#[tokio::test]
async fn check_tells_what_a_configuration_breaks_of_another() {
    let dir = TempDir::new();
    let config = |name: &str, proto: &str| {
        let set = dir.write(&format!("{name}.binpb"), compile(proto));
        let source = format!("schema: {{ descriptor_set: {set:?} }}");
        let config = Config::new().upstream("notes", ([127, 0, 0, 1], 1).into(), &source);
        dir.write(&format!("{name}.yaml"), config.render(&dir))
    };
    let (old, new) = (config("old", OLD), config("new", NEW));
    for (file, against, code, said) in [
        (&new, &old, 0, ""),
        (
            &old,
            &new,
            1,
            "upstream notes: method `life.v1.Notes/Drop` was removed\nupstream notes: field `life.v1.Note.mood` was removed",
        ),
        (&old, &dir.path().join("none.yaml"), 2, "none.yaml"),
    ] {
        let mut command = Gateway::command();
        command.arg("check").arg(file).arg("--against").arg(against);
        let mut process = Process::start(&mut command, "cargo builds it");
        assert_eq!(process.exit().await.code(), Some(code), "{}", process.transcript());
        process.stderr.ended().await;
        assert!(process.stderr.text().contains(said), "{}", process.transcript());
    }
}

#[tokio::test]
async fn a_new_service_configuration_is_served() {
    let dir = TempDir::new();
    let backend = Backend::reflecting(&Reflected::new(NEW)).await;
    let config = |path: &str| {
        format!("type: google.api.Service\nhttp:\n  rules:\n    - selector: life.v1.Notes.Add\n      get: {path}\n")
    };
    let file = dir.write("service.yaml", config("/one/{text}"));
    let lines = format!("schema: reflection\nservice_config: [ {file:?} ]");
    let gateway = Gateway::start(Config::new().upstream("notes", backend.address, &lines)).await;
    assert_eq!((status(&gateway, "/one/x").await, status(&gateway, "/two/x").await), (200, 404));
    replace(&dir, "service.yaml", config("/two/{text}"));
    told(&gateway, |told| told["swapped"] == 1).await;
    assert_eq!((status(&gateway, "/one/x").await, status(&gateway, "/two/x").await), (404, 200));
}

#[tokio::test]
async fn a_stream_that_spans_a_swap_keeps_the_schema_that_it_began_with() {
    let backend = Backend::start().await;
    let dir = TempDir::new();
    let include = concat!(env!("CARGO_MANIFEST_DIR"), "/proto");
    let echo = fs::read_to_string(format!("{include}/tidegate/test/v1/echo.proto")).expect("it is there");
    fs::create_dir_all(dir.path().join("tidegate/test/v1")).expect("a directory");
    let file = dir.write("tidegate/test/v1/echo.proto", &echo);
    let source =
        format!("schema: {{ protos: {{ files: [ {file:?} ], includes: [ {:?}, {include:?} ] }} }}", dir.path());
    let gateway = Gateway::start(Config::new().upstream("test", backend.address, &source)).await;
    let mut socket = WebSocket::open(&gateway, Via::H1Tls, "/echo/chat", &[]).await.expect("an upgrade");
    socket.text(r#"{"text":"a"}"#).await;
    assert_eq!(socket.next().await, Frame::Text(r#"{"text":"a"}"#.to_owned()));

    let renamed = echo.replacen("string text = 1;", "string text = 1 [json_name = \"words\"];", 1);
    replace(&dir, "tidegate/test/v1/echo.proto", renamed);
    let told = told(&gateway, |told| told["swapped"] == 1).await;
    assert_eq!(
        told["breaking_changes"],
        json!(["field `tidegate.test.v1.Msg.text` is `words` in JSON now, not `text`"])
    );
    assert_eq!(gateway.get(Via::H2Tls, "/echo/say/b").await.json(), json!({"words": "b"}));
    let mut late = WebSocket::open(&gateway, Via::H1Tls, "/echo/chat", &[]).await.expect("an upgrade");
    late.text(r#"{"words":"d"}"#).await;
    assert_eq!(late.next().await, Frame::Text(r#"{"words":"d"}"#.to_owned()));

    socket.text(r#"{"text":"c"}"#).await;
    assert_eq!(socket.next().await, Frame::Text(r#"{"text":"c"}"#.to_owned()));
    socket.text("").await;
    assert!(matches!(socket.next().await, Frame::Close(Some((1000, _)))));
    gateway.assert_nothing_internal();
}

#[tokio::test]
async fn a_backend_that_is_restarted_with_another_schema_is_asked_again() {
    let mut backend = Backend::reflecting(&Reflected::new(OLD)).await;
    let gateway = by_reflection(&[&backend]).await;
    assert_eq!((status(&gateway, "/add/x").await, status(&gateway, "/drop/x").await), (200, 404));
    backend.kill();
    let unreachable = told(&gateway, |told| told["problems"] != json!([])).await;
    assert_eq!(unreachable["state"], "current", "what it served may still be right: {unreachable:#}");
    let options = Options { port: backend.address.port(), reflected: Some(Reflected::new(NEW)), ..Options::default() };
    let _again = Backend::with(options).await;
    let told = told(&gateway, |told| told["swapped"] == 1).await;
    assert_eq!(told["problems"], json!([]));
    assert_eq!((status(&gateway, "/add/x").await, status(&gateway, "/drop/x").await), (200, 200));
}

/// The same with a server and a reflection service that nobody wrote here.
#[tokio::test]
async fn a_python_backend_that_is_restarted_with_another_schema_is_asked_again() {
    let old = PythonBackend::with(&["--service", "tidegate.test.v1.Echo"]).await;
    let config = Config::new().upstream("test", old.address, "schema: reflection\nschema_poll: 1h");
    let gateway = Gateway::start(config).await;
    assert_eq!((status(&gateway, "/echo/say/x").await, status(&gateway, "/q?s=x").await), (200, 404));
    let port = old.address.port().to_string();
    drop(old);
    let _new = PythonBackend::with(&["--port", &port]).await;
    let told = told(&gateway, |told| told["swapped"] == 1).await;
    assert_eq!(told["breaking_changes"], json!([]));
    assert_eq!((status(&gateway, "/echo/say/x").await, status(&gateway, "/q?s=x").await), (200, 200));
}

#[tokio::test]
async fn a_backend_that_changes_while_it_runs_is_noticed_at_the_next_poll() {
    let reflected = Reflected::new(OLD);
    let backend = Backend::reflecting(&reflected).await;
    let lines = "schema: reflection\nschema_poll: 300ms";
    let gateway = Gateway::start(Config::new().upstream("notes", backend.address, lines)).await;
    assert_eq!(status(&gateway, "/drop/x").await, 404);
    reflected.change(NEW);
    told(&gateway, |told| told["swapped"] == 1).await;
    assert_eq!(status(&gateway, "/drop/x").await, 200);
    reflected.change("package life.v1; message Note { string text = 1; }");
    let told = told(&gateway, |told| told["swapped"] == 2).await;
    assert_eq!(
        told["breaking_changes"],
        json!(["service `life.v1.Notes` was removed", "message `life.v1.Note` was removed"])
    );
}

#[tokio::test]
async fn two_instances_in_a_rollout_are_served_together() {
    let old = Backend::reflecting(&Reflected::new(OLD)).await;
    let new = Backend::reflecting(&Reflected::new(NEW)).await;
    let gateway = by_reflection(&[&old, &new]).await;
    let told = told(&gateway, |told| told["methods"] == 2).await;
    assert_eq!((&told["state"], &told["problems"]), (&json!("current"), &json!([])));
    let lacks = |endpoint: usize| &told["endpoints"][endpoint]["lacks"];
    assert_eq!(*lacks(0), json!(["method life.v1.Notes/Drop", "field life.v1.Note.mood"]));
    assert_eq!(*lacks(1), Value::Null);

    // Which instance answers is the balancer's choice; the old one skips what it does not know.
    let mut conn = gateway.connect(Via::H2Tls).await;
    for _ in 0..4 {
        let answer = conn.get("/add/x?mood=fine").await;
        assert_eq!((answer.status.as_u16(), answer.json()), (200, json!({"text": "x", "mood": "fine"})));
    }
    let mut answers = BTreeSet::new();
    // By chance, so that one instance may answer several times in a row.
    for _ in 0..100 {
        answers.insert(conn.get("/drop/x").await.status.as_u16());
    }
    assert_eq!(answers, BTreeSet::from([200, 501]), "the old one does not have it");
}

#[tokio::test]
async fn two_instances_that_contradict_each_other_are_named_and_the_last_good_schema_stays() {
    let (first, second) = (Reflected::new(NEW), Reflected::new(NEW));
    let (one, two) = (Backend::reflecting(&first).await, Backend::reflecting(&second).await);
    let gateway = by_reflection(&[&one, &two]).await;
    told(&gateway, |told| told["endpoints"][1]["known"] == true).await;
    let other = NEW.replace("string mood", "int32 mood");
    second.change(&other);
    gateway.process.signal("HUP");
    let problem = format!(
        "endpoint `http://{}` and endpoint `http://{}` define `life.v1.Note.mood` differently",
        one.address, two.address
    );
    let refused = told(&gateway, |told| told["refused"] == 1).await;
    assert_eq!((&refused["problems"], &refused["state"]), (&json!([problem]), &json!("outdated")));
    assert!(logged(&gateway, &problem).await.contains("schema refused"));
    let ready = gateway.admin_get("/readyz").await;
    assert!(ready.status == 200 && ready.json()["problems"][0].as_str().is_some_and(|told| told.contains(&problem)));
    assert_eq!(status(&gateway, "/add/x").await, 200);
    // The rollout goes on.
    first.change(&other);
    gateway.process.signal("HUP");
    let told = told(&gateway, |told| told["state"] == "current").await;
    assert_eq!(told["problems"], json!([]));
    assert_eq!(gateway.get(Via::H2Tls, "/add/x?mood=1").await.json(), json!({"text": "x", "mood": 1}));
}
