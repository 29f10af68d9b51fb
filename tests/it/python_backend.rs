//! A backend that nobody wrote in Rust, grpcio behind the gateway, found by reflection; and httpx and websockets in front
//! of it.

use crate::harness::{
    Config, Dialect, Gateway, expect,
    tools::{PythonBackend, finish, python},
};

#[tokio::test]
async fn every_dialect_and_kind_by_reflection_alone() {
    let backend = PythonBackend::start().await;
    let gateway = Gateway::without_file(&[backend.url()]).await;
    for dialect in [
        Dialect::Json,
        Dialect::Ndjson,
        Dialect::JsonSeq,
        Dialect::Protobuf,
        Dialect::Sse,
        Dialect::WebSocket,
        Dialect::Grpc,
    ] {
        expect::every_kind(&gateway, dialect).await;
    }
    gateway.assert_nothing_internal();
}

#[tokio::test]
async fn unmodified_httpx_and_websockets_clients() {
    let backend = PythonBackend::start().await;
    let streams = "routes:\n  - match: { service: \"\" }\n    compress_streams: true";
    let config = Config::new().upstream("python", backend.address, "schema: reflection").section(streams);
    let gateway = Gateway::start(config).await;
    let certificate = gateway.dir().path().join("cert.pem");
    let base = format!("https://localhost:{}", gateway.tls.port());
    let args = ["--base", &base, "--ca", certificate.to_str().expect("UTF-8")];
    let lines = finish(python("web_client.py", &args)).await;
    let checks = lines.iter().filter(|line| line.starts_with("ok ")).count();
    assert_eq!(checks, 14, "{lines:?}");
    gateway.assert_nothing_internal();
}
