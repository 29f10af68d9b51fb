//! A backend that nobody wrote in Rust, grpcio behind the gateway, found by reflection; and httpx and websockets in front
//! of it.

use serde_json::json;

use crate::harness::{
    Config, Dialect, Gateway, Kind, Opening, expect,
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
        for kind in [Kind::Unary, Kind::ServerStream, Kind::ClientStream, Kind::Bidi] {
            if dialect == Dialect::Sse && kind.requests_stream() {
                continue;
            }
            for &via in expect::vias(dialect, kind) {
                let opening = Opening::new(dialect, kind, via);
                let mut call = opening.open(&gateway).await;
                if kind.requests_stream() {
                    for text in ["a", "b"] {
                        call.send(&json!({"text": text})).await;
                    }
                    call.half_close().await;
                }
                let (messages, end) = call.rest().await;
                assert_eq!(messages, expect::messages(kind), "{call:?}: {end:?}");
                assert_eq!(end, expect::end(&opening), "{call:?}");
            }
        }
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
    assert_eq!(checks, 13, "{lines:?}");
    gateway.assert_nothing_internal();
}
