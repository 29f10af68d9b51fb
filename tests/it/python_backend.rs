//! A backend and clients that nobody wrote in Rust: grpcio behind the gateway, found by reflection; grpcio, grpc-js,
//! httpx and websockets in front of it.

use serde_json::json;

use crate::{
    harness::{
        Config, Dialect, Gateway, Kind, Opening, expect,
        tools::{PythonBackend, finish, node, python},
    },
    proto::DESCRIPTOR_SET,
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

/// A gateway before the Python backend, with a certificate that clients can be told to trust.
async fn behind_a_certificate() -> (PythonBackend, Gateway, String) {
    let backend = PythonBackend::start().await;
    let gateway = Gateway::start(Config::new().upstream("python", backend.address, "schema: reflection")).await;
    let certificate = gateway.dir().path().join("cert.pem").to_str().expect("UTF-8").to_owned();
    (backend, gateway, certificate)
}

fn checks(lines: &[String]) -> Vec<&str> {
    lines.iter().filter_map(|line| line.strip_prefix("ok ")).collect()
}

#[tokio::test]
async fn an_unmodified_grpcio_client_over_tls_and_h2c() {
    let (backend, gateway, certificate) = behind_a_certificate().await;
    let tls = format!("localhost:{}", gateway.tls.port());
    let plain = format!("localhost:{}", gateway.plain.port());
    for args in [vec!["--target", &tls, "--ca", &certificate], vec!["--target", &plain]] {
        let args = [args, vec!["--descriptor-set", DESCRIPTOR_SET]].concat();
        let lines = finish(python("grpc_client.py", &args)).await;
        assert_eq!(checks(&lines).len(), 14, "{lines:?}");
        for method in ["Slow", "Down"] {
            backend.cancelled(method).await;
        }
    }
    gateway.assert_nothing_internal();
}

#[tokio::test]
async fn an_unmodified_grpc_js_client_over_tls_and_h2c() {
    let (backend, gateway, certificate) = behind_a_certificate().await;
    let tls = format!("localhost:{}", gateway.tls.port());
    let plain = format!("localhost:{}", gateway.plain.port());
    for args in [vec![tls.as_str(), DESCRIPTOR_SET, &certificate], vec![&plain, DESCRIPTOR_SET]] {
        let lines = finish(node("grpc_client.mjs", &args)).await;
        assert_eq!(checks(&lines).len(), 11, "{lines:?}");
        for method in ["Slow", "Down"] {
            backend.cancelled(method).await;
        }
    }
    gateway.assert_nothing_internal();
}

#[tokio::test]
async fn unmodified_httpx_and_websockets_clients() {
    let (_backend, gateway, certificate) = behind_a_certificate().await;
    let base = format!("https://localhost:{}", gateway.tls.port());
    let lines = finish(python("web_client.py", &["--base", &base, "--ca", &certificate])).await;
    assert_eq!(checks(&lines).len(), 11, "{lines:?}");
    gateway.assert_nothing_internal();
}
