//! Which protocol and which certificate a client gets.

use std::fs;

use rustls::{
    HandshakeKind,
    version::{TLS12, TLS13},
};

use super::*;
use crate::config::CertificateFiles;

#[tokio::test]
async fn a_plain_port_speaks_http1_and_http2_with_prior_knowledge() {
    let server = Running::start(&settings(None));
    let answer = http1(server.connect().await, "/").await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with("HTTP/1.1 tls=false sni=None remote=true worker=0"), "{answer}");
    assert!(answer.contains("\r\ndate: "), "{answer}");

    let mut client = Http2::new(server.connect().await).await;
    let (status, body) = client.get("/").await.unwrap();
    assert_eq!((status.as_u16(), body.as_str()), (200, "HTTP/2.0 tls=false sni=None remote=true worker=0"));
    drop(client);
    server.end().await.unwrap();
}

#[tokio::test]
async fn a_tls_port_speaks_what_alpn_agreed_on_in_both_versions_of_tls() {
    let server = Running::start(&settings(Some(ServerTls::Development)));
    let (h2, http11): (&[u8], &[u8]) = (b"h2", b"http/1.1");
    for version in [&TLS12, &TLS13] {
        for (offered, agreed) in [
            (&[h2, http11][..], Some(h2)),
            (&[http11, h2], Some(h2)),
            (&[h2], Some(h2)),
            (&[http11], Some(http11)),
            (&[], None),
        ] {
            let io = server.tls(offered, &[version]).await;
            let session = io.get_ref().1;
            assert_eq!(session.protocol_version(), Some(version.version));
            assert_eq!(session.alpn_protocol(), agreed, "offered {offered:?}");
            let told =
                if agreed == Some(h2) { Http2::new(io).await.get("/").await.unwrap().1 } else { http1(io, "/").await };
            let protocol = if agreed == Some(h2) { "HTTP/2.0" } else { "HTTP/1.1" };
            let expected = format!("{protocol} tls=true sni=Some(\"localhost\") remote=true worker=0");
            assert!(told.ends_with(&expected), "{told}");
        }
    }
    server.end().await.unwrap();
}

#[tokio::test]
async fn a_client_that_shares_no_protocol_is_refused_in_the_handshake() {
    let server = Running::start(&settings(Some(ServerTls::Development)));
    let trusted = server.certificate.clone().unwrap();
    let refused = tls_to(server.address(), trusted, "localhost", &[b"spdy/3"], &[&TLS13]).await;
    assert!(refused.unwrap_err().to_string().contains("NoApplicationProtocol"));
    server.end().await.unwrap();
}

#[tokio::test]
async fn a_second_tls_connection_resumes_the_session_of_the_first() {
    let server = Running::start(&settings(Some(ServerTls::Development)));
    for version in [&TLS12, &TLS13] {
        let mut roots = RootCertStore::empty();
        roots.add(server.certificate.clone().unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = TlsConnector::from(Arc::new(config));
        let mut kinds = Vec::new();
        for _ in 0..2 {
            let name = ServerName::try_from("localhost").unwrap();
            let mut io = connector.connect(name, server.connect().await).await.unwrap();
            let request = "GET / HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
            io.write_all(request.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            // Tickets come after the handshake; a reply is behind them.
            io.read_to_end(&mut answer).await.unwrap();
            kinds.push(io.get_ref().1.handshake_kind());
        }
        assert_eq!(kinds[1], Some(HandshakeKind::Resumed), "{version:?}");
        assert_ne!(kinds[0], Some(HandshakeKind::Resumed), "{version:?}");
    }
    server.end().await.unwrap();
}

#[tokio::test]
async fn the_certificate_is_chosen_by_server_name_and_the_first_is_the_default() {
    let (a, b, wild) = (pair(&["a.test"]), pair(&["b.test", "127.0.0.1"]), pair(&["*.c.test"]));
    let files = [&a, &b, &wild].map(|pair| pair.files.clone()).to_vec();
    let server = Running::start(&settings(Some(ServerTls::Files(files))));
    for (name, expected) in [("a.test", &a), ("b.test", &b), ("B.Test", &b), ("x.c.test", &wild)] {
        let io = tls_to(server.address(), expected.der.clone(), name, &[b"http/1.1"], &[&TLS13]).await.unwrap();
        assert_eq!(io.get_ref().1.peer_certificates().unwrap()[0], expected.der, "{name}");
        let told = http1(io, "/").await;
        assert!(told.contains(&format!("sni=Some({:?})", name.to_lowercase())), "{told}");
    }
    // An unknown name, and none (RFC 6066 §3 has no addresses): the first certificate, which the client then refuses.
    for (name, trusted) in [("y.x.c.test", &wild), ("127.0.0.1", &b)] {
        let error = tls_to(server.address(), trusted.der.clone(), name, &[], &[&TLS13]).await.unwrap_err();
        assert!(error.to_string().contains("invalid peer certificate"), "{name}: {error}");
    }
    server.end().await.unwrap();
}

#[test]
fn a_file_that_cannot_be_used_is_named_with_what_is_wrong() {
    let (good, other) = (pair(&["a.test"]), pair(&["b.test"]));
    let write = |name: &str, text: &str| {
        let path = temporary(name);
        fs::write(&path, text).unwrap();
        path
    };
    let empty = write("empty.pem", "");
    let cut = write("cut.pem", "-----BEGIN CERTIFICATE-----\nMIIB\n");
    let junk = write("junk.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    let encrypted =
        write("locked.key", "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n");
    let bad_key = write("bad.key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    let (cert, key) = (&good.files.cert, &good.files.key);
    for (cert, key, at_fault, problem) in [
        (&"/no/such.pem".into(), key, "/no/such.pem".into(), "cannot be read: No such file or directory"),
        (cert, &"/no/such.key".into(), "/no/such.key".into(), "cannot be read: No such file or directory"),
        (&empty, key, empty.clone(), "holds no certificate"),
        (key, cert, key.clone(), "holds no certificate, but a private key"),
        (cert, cert, cert.clone(), "holds no private key, but a certificate"),
        (cert, &empty, empty.clone(), "holds no private key"),
        (&cut, key, cut.clone(), "is not well-formed PEM: missing section end marker"),
        (&junk, key, junk.clone(), "the first certificate cannot be used: "),
        (cert, &encrypted, encrypted.clone(), "the private key is encrypted"),
        (cert, &bad_key, bad_key.clone(), "the key cannot be used: "),
        (cert, &other.files.key, other.files.key.clone(), "is not the key of the certificate in "),
    ] {
        let files = CertificateFiles { cert: cert.clone(), key: key.clone() };
        let error = Server::bind(&settings(Some(ServerTls::Files(vec![files])))).err().unwrap().to_string();
        assert!(error.starts_with(&format!("{}: {problem}", at_fault.display())), "{error}");
    }
    let none = Server::bind(&settings(Some(ServerTls::Files(Vec::new())))).err().unwrap().to_string();
    assert_eq!(none, "the listener on 127.0.0.1:0 has TLS but names no certificate");
}

#[test]
fn listeners_in_development_share_one_certificate_and_tell_their_kind() {
    let mut settings = settings(Some(ServerTls::Development));
    settings.listeners.push(settings.listeners[0].clone());
    settings.listeners.push(Listener { tls: None, ..settings.listeners[0].clone() });
    let server = Server::bind(&settings).unwrap();
    assert_eq!(server.addresses().iter().map(|(kind, _)| *kind).collect::<Vec<_>>(), ["https", "https", "http"]);
    assert!(server.addresses().iter().all(|(_, address)| address.port() != 0));
    assert!(server.development_certificate().is_some());
}

#[test]
fn an_address_that_is_taken_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut settings = settings(None);
    settings.listeners[0].address = taken.local_addr().unwrap();
    let error = Server::bind(&settings).err().unwrap().to_string();
    assert!(error.starts_with(&format!("cannot listen on {}: ", settings.listeners[0].address)), "{error}");
}

struct Pair {
    files: CertificateFiles,
    der: CertificateDer<'static>,
}

fn pair(names: &[&str]) -> Pair {
    let made = rcgen::generate_simple_self_signed(names.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
    let files = CertificateFiles { cert: temporary("cert.pem"), key: temporary("key.pem") };
    fs::write(&files.cert, made.cert.pem()).unwrap();
    fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    Pair { files, der: made.cert.der().clone() }
}
