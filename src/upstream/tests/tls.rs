//! `https://` endpoints: who is trusted, and that HTTP/2 is chosen.

use std::path::PathBuf;

use h2::server::Builder;
use rustls::{ServerConfig, pki_types::PrivateKeyDer};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::{
    backend::{Backend, Exchange},
    *,
};

struct Server {
    port: u16,
    ca: PathBuf,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.ca);
    }
}

impl Server {
    async fn start(name: &str, alpn: &[u8]) -> Self {
        let rcgen::CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap())
            .unwrap();
        config.alpn_protocols = vec![alpn.to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                if let Ok(tls) = acceptor.accept(tcp).await {
                    Backend::unbound().serve(tls, Builder::new(), Exchange::echo);
                }
            }
        });
        let ca = std::env::temp_dir().join(format!("tidegate-ca-{}-{port}.pem", std::process::id()));
        std::fs::write(&ca, cert.pem()).unwrap();
        Self { port, ca }
    }

    fn pool(&self, tls: UpstreamTls) -> Pool {
        let url = EndpointUrl::Https { host: "127.0.0.1".to_owned(), port: self.port };
        pool(&settings(vec![url]).with(|settings| settings.tls = tls))
    }

    fn trusted(&self) -> UpstreamTls {
        UpstreamTls { ca: Some(self.ca.clone()), server_name: None }
    }
}

async fn cause(pool: &Pool) -> String {
    let status = soon(unary(pool, b"x")).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    let cause = status.cause().unwrap();
    std::iter::successors(Some(cause as &dyn std::error::Error), |error| error.source())
        .map(|error| format!("{error}; "))
        .collect()
}

#[tokio::test]
async fn a_server_with_a_trusted_certificate_is_called() {
    let server = Server::start("127.0.0.1", b"h2").await;
    let pool = server.pool(server.trusted());
    assert_eq!(soon(unary(&pool, b"x")).await.unwrap().message, "x");
}

#[tokio::test]
async fn the_name_to_verify_can_be_another_than_the_urls() {
    let server = Server::start("backend.internal", b"h2").await;
    let named = UpstreamTls { server_name: Some("backend.internal".to_owned()), ..server.trusted() };
    assert_eq!(soon(unary(&server.pool(named), b"x")).await.unwrap().message, "x");
    assert!(cause(&server.pool(server.trusted())).await.contains("certificate not valid for name"));
}

#[tokio::test]
async fn a_server_that_the_platform_does_not_trust_is_refused() {
    let server = Server::start("127.0.0.1", b"h2").await;
    let cause = cause(&server.pool(UpstreamTls::default())).await;
    assert!(cause.contains("TLS handshake") && cause.contains("certificate"), "{cause}");
}

#[tokio::test]
async fn a_server_that_does_not_choose_h2_is_refused() {
    let server = Server::start("127.0.0.1", b"http/1.1").await;
    assert!(cause(&server.pool(server.trusted())).await.contains("TLS handshake"));
}
