//! Schemas as they are in the wild: all of googleapis-common-protos, files of editions, thousands of methods.

use std::path::Path;

use bytes::Bytes;
use prost::Message;
use serde_json::{Value, json};

use crate::{
    backend::{RawBackend, framed},
    harness::{
        Config, Conn, Gateway, Via, large,
        process::Process,
        temp::TempDir,
        tools::{PythonBackend, finish, python},
    },
};

/// A descriptor set that protoc makes; the folder of its files, and what they are.
async fn descriptor_set(out: &Path, of: &[&str]) -> (String, Vec<String>) {
    let out = out.to_str().expect("UTF-8");
    let mut lines = finish(python("descriptor_set.py", &[&[out], of].concat())).await.into_iter();
    (lines.next().expect("a folder"), lines.collect())
}

/// A GET, and the call that it becomes: its path and its request. It is answered with `reply`.
async fn called(
    conn: &mut Conn,
    backend: &mut RawBackend,
    method: &str,
    target: &str,
    reply: &[u8],
) -> (String, Bytes, Value) {
    let serve = async {
        let mut call = backend.call().await;
        let path = call.path().to_owned();
        let request = call.requests().await.concat();
        call.head();
        call.data(framed(reply));
        call.trailers(&[("grpc-status", "0")]);
        (path, Bytes::from(request))
    };
    let (answer, (path, request)) = tokio::join!(conn.whole(method, target, &[], None), serve);
    assert_eq!(answer.status, 200, "{answer:?}");
    (path, request, answer.json())
}

/// Field 1, a string.
#[derive(Clone, PartialEq, Message)]
struct Named {
    #[prost(string, tag = "1")]
    name: String,
}

/// `google.longrunning.Operation`
#[derive(Clone, PartialEq, Message)]
struct Operation {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(bool, tag = "3")]
    done: bool,
    #[prost(message, tag = "5")]
    response: Option<prost_types::Any>,
}

/// `google.type.LatLng`
#[derive(Clone, PartialEq, Message)]
struct LatLng {
    #[prost(double, tag = "1")]
    latitude: f64,
}

#[tokio::test]
async fn all_of_googleapis_common_protos_loads_and_routes() {
    let dir = TempDir::new();
    let set = dir.path().join("common.binpb");
    let (folder, files) = descriptor_set(&set, &[]).await;
    assert!(files.len() > 30, "{files:?}");
    let files: Vec<_> = files.iter().map(|file| format!("{folder}/{file}")).collect();
    for schema in [
        format!("schema: {{ descriptor_set: {set:?} }}"),
        format!("schema: {{ protos: {{ files: {files:?}, includes: [ {folder:?} ] }} }}"),
    ] {
        let mut backend = RawBackend::start().await;
        let gateway = Gateway::start(Config::new().upstream("common", backend.address, &schema)).await;
        let mut conn = gateway.connect(Via::H2Tls).await;

        let place = prost_types::Any {
            type_url: "type.googleapis.com/google.type.LatLng".to_owned(),
            value: LatLng { latitude: 47.5 }.encode_to_vec(),
        };
        let operation = Operation { name: "operations/1".to_owned(), done: true, response: Some(place) };
        let (path, request, answer) =
            called(&mut conn, &mut backend, "GET", "/v1/operations/a/b", &operation.encode_to_vec()).await;
        assert_eq!(path, "/google.longrunning.Operations/GetOperation");
        assert_eq!(Named::decode(request).unwrap().name, "operations/a/b");
        let place = json!({"@type": "type.googleapis.com/google.type.LatLng", "latitude": 47.5});
        assert_eq!(answer, json!({"name": "operations/1", "done": true, "response": place}));

        for (method, target, wanted) in [
            ("POST", "/v1/operations/x:cancel", "/google.longrunning.Operations/CancelOperation"),
            ("DELETE", "/v1/operations/x", "/google.longrunning.Operations/DeleteOperation"),
            ("GET", "/v1/operations?pageSize=5&filter=x", "/google.longrunning.Operations/ListOperations"),
            ("GET", "/v1/projects/p/locations", "/google.cloud.location.Locations/ListLocations"),
            ("GET", "/v1/projects/p/locations/l", "/google.cloud.location.Locations/GetLocation"),
        ] {
            let (path, _, answer) = called(&mut conn, &mut backend, method, target, b"").await;
            assert_eq!((path.as_str(), answer), (wanted, json!({})), "{method} {target}");
        }
        gateway.assert_nothing_internal();
    }
}

/// What a file of an edition chooses is kept there and back, by a backend that is not ours.
#[tokio::test]
async fn files_of_editions_are_served_from_sets_and_by_reflection() {
    let dir = TempDir::new();
    let set = dir.path().join("editions.binpb");
    let set = set.to_str().expect("UTF-8");
    descriptor_set(Path::new(set), &[EDITIONS, "edition_2023.proto", "edition_2024.proto"]).await;
    let backend = PythonBackend::with(&["--descriptor-set", set]).await;
    let from_set = Gateway::start(Config::new().upstream(
        "editions",
        backend.address,
        &format!("schema: {{ descriptor_set: {set:?} }}"),
    ))
    .await;
    let by_reflection = Gateway::start(Config::new().upstream("editions", backend.address, "schema: reflection")).await;
    for gateway in [from_set, by_reflection] {
        let mut conn = gateway.connect(Via::H1).await;
        let whole = json!({
            "explicit": "", "closed": "CLOSED_B", "open": 7, "packed": [1, 300], "expanded": [2, 400],
            "part": {"id": "a", "inner": {"id": "b"}}, "parts": [{}, {"inner": {"inner": {"id": "c"}}}], "needed": 0,
            "byName": {"k": {"id": "d"}}, "loose": "ä", "several": ["CLOSED_A", "CLOSED_B"], "legacy": {"twoWords": "x"},
        });
        let answer = conn.post("/y23/n", &whole).await;
        let mut wanted = whole.clone();
        wanted["name"] = json!("n");
        assert_eq!((answer.status.as_u16(), answer.json()), (200, wanted), "{answer:?}");
        // A closed enum has no other values; without presence a default is not there.
        let refused = conn.post("/y23/n", &json!({"closed": 7})).await;
        assert_eq!(refused.status, 400, "{refused:?}");
        let defaults = conn.post("/y23/n", &json!({"open": "OPEN_ZERO", "loose": "", "part": {}, "needed": 1})).await;
        assert_eq!(defaults.json(), json!({"name": "n", "part": {}, "needed": 1}));

        let whole = json!({"count": 0, "detail": {"text": ""}, "level": "LEVEL_UNSPECIFIED", "inner": {"depth": 0}});
        let answer = conn.post("/y24/n", &whole).await;
        let wanted = json!({"name": "n", "detail": {"text": ""}, "level": "LEVEL_UNSPECIFIED", "inner": {"depth": 0}});
        assert_eq!((answer.status.as_u16(), answer.json()), (200, wanted), "{answer:?}");
        gateway.assert_nothing_internal();
    }
}

const EDITIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/editions");

#[tokio::test]
async fn an_edition_that_cannot_be_compiled_is_refused_with_what_to_do() {
    for file in ["edition_2023.proto", "edition_2024.proto"] {
        let path = format!("{EDITIONS}/{file}");
        let schema = format!("schema: {{ protos: {{ files: [ {path:?} ], includes: [ {EDITIONS:?} ] }} }}");
        let dir = TempDir::new();
        let config = Config::new().upstream_at("editions", &["http://127.0.0.1:1".to_owned()], &schema);
        let config = dir.write("tidegate.yaml", config.render(&dir));
        let mut command = Gateway::command();
        let mut process = Process::start(command.arg("check").arg(config), "cargo builds it");
        let status = process.exit().await;
        process.stderr.ended().await;
        let told = process.stderr.all().join("\n");
        assert_eq!(status.code(), Some(2), "{told}");
        for part in [file, "protoc --include_imports --descriptor_set_out", "descriptor_set", "reflection"] {
            assert!(told.contains(part), "{told}");
        }
    }
}

/// How fast this is, `cargo bench --bench schema` tells; here it has to work, and not to take memory without end.
#[tokio::test]
async fn five_thousand_methods_load_and_route() {
    const SERVICES: usize = 5000 / large::METHODS_PER_SERVICE;
    let dir = TempDir::new();
    let files = large::write(dir.path(), SERVICES).expect("a temporary file can be written");
    let schema = format!("schema: {{ protos: {{ files: {files:?}, includes: [ {:?} ] }} }}", dir.path());
    let mut backend = RawBackend::start().await;
    let gateway = Gateway::start(Config::new().upstream("large", backend.address, &schema)).await;
    let mut conn = gateway.connect(Via::H2Tls).await;
    for service in [0, 1, SERVICES / 2, SERVICES - 1] {
        let package = format!("corp.area{}.svc{service}.v1.Service{service}", service % 20);
        for (method, target, wanted, name) in [
            ("GET", "projects/p/budgets/b", "GetBudget", "projects/p/budgets/b"),
            ("GET", "folders/f/reports/r", "GetReport", "folders/f/reports/r"),
            ("GET", "projects/p/devices", "ListDevices", "projects/p"),
            ("POST", "projects/p/releases", "CreateRelease", "projects/p"),
            ("POST", "projects/p/releases/r:archive", "ArchiveRelease", "projects/p/releases/r"),
        ] {
            let target = format!("/svc{service}/v1/{target}");
            let (path, request, _) = called(&mut conn, &mut backend, method, &target, b"").await;
            assert_eq!(path, format!("/{package}/{wanted}"), "{method} {target}");
            assert_eq!(Named::decode(request).unwrap().name, name, "{method} {target}");
        }
    }
    let memory = gateway.process.rss_bytes();
    assert!(memory < 400 << 20, "{memory} bytes");
    gateway.assert_nothing_internal();
}
