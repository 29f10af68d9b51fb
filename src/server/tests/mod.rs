//! The server over real sockets: a service that tells what it sees, and clients of both protocols.

mod choice;
mod ending;
mod limits;
mod load;

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    pki_types::{CertificateDer, ServerName},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::TcpStream,
    sync::{Notify, Semaphore},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::*;
use crate::{
    config::{Compression, Cors, Listener, ServerTls},
    edge::Peer,
};

/// A server on threads of its own; ended by `end`.
struct Running {
    addresses: Vec<SocketAddr>,
    drain: Drain,
    connections: Arc<Connections>,
    certificate: Option<CertificateDer<'static>>,
    calls: Arc<Calls>,
    thread: JoinHandle<Result<(), ServeError>>,
}

/// Calls to `/hold`.
struct Calls {
    /// A permit for each call that has arrived.
    arrived: Semaphore,
    release: Notify,
}

impl Running {
    fn start(settings: &Settings) -> Self {
        Self::start_with(settings, |server| server)
    }

    fn start_with(settings: &Settings, change: impl FnOnce(Server) -> Server) -> Self {
        let server = change(Server::bind(settings).unwrap());
        let calls = Arc::new(Calls { arrived: Semaphore::new(0), release: Notify::new() });
        let drain = Drain::new();
        let (for_service, for_run) = (calls.clone(), drain.clone());
        Self {
            addresses: server.addresses().into_iter().map(|(_, address)| address).collect(),
            drain,
            connections: server.connections(),
            certificate: server.development_certificate().map(|made| made.der().clone()),
            calls,
            thread: thread::spawn(move || {
                server.run(for_run, move |worker| {
                    let calls = for_service.clone();
                    move |peer: &Arc<Peer>, request| answer(peer.clone(), request, worker, calls.clone())
                })
            }),
        }
    }

    fn address(&self) -> SocketAddr {
        self.addresses[0]
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address()).await.unwrap()
    }

    async fn tls(&self, alpn: &[&[u8]], versions: &[&'static SupportedProtocolVersion]) -> TlsStream<TcpStream> {
        let trusted = self.certificate.clone().expect("a development listener");
        tls_to(self.address(), trusted, "localhost", alpn, versions).await.unwrap()
    }

    /// A call to `/hold` has reached the service.
    async fn call_arrived(&self) {
        self.calls.arrived.acquire().await.unwrap().forget();
    }

    /// Drains, and gives what `run` gave.
    async fn end(self) -> Result<(), ServeError> {
        self.drain.begin();
        // Not on this thread: the clients' connections have to go on, or the server waits for them.
        tokio::task::spawn_blocking(|| self.thread.join().unwrap()).await.unwrap()
    }
}

impl Outgoing for Full<Bytes> {
    fn stalled(self: Pin<&mut Self>) {}
}

/// `/hold` answers when released and reads nothing, `/panic` panics, `/upgrade` switches protocols; everything else is
/// told what the service sees.
async fn answer(
    peer: Arc<Peer>,
    mut request: Request<RequestBody>,
    worker: usize,
    calls: Arc<Calls>,
) -> Response<Full<Bytes>> {
    match request.uri().path() {
        "/hold" => {
            let released = calls.release.notified();
            calls.arrived.add_permits(1);
            released.await;
        }
        "/panic" => panic!("the service's own fault"),
        "/upgrade" => {
            let upgrade = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let upgraded = upgrade.await.unwrap();
                calls.release.notified().await;
                drop(upgraded);
            });
            let response = Response::builder()
                .status(StatusCode::SWITCHING_PROTOCOLS)
                .header("connection", "upgrade")
                .header("upgrade", "test");
            return response.body(Full::default()).unwrap();
        }
        _ => {}
    }
    let told = format!(
        "{:?} tls={} sni={:?} remote={} worker={worker}",
        request.version(),
        peer.tls,
        peer.sni,
        peer.remote.is_some_and(|remote| remote.ip().is_loopback()),
    );
    Response::new(Full::new(told.into()))
}

fn settings(tls: Option<ServerTls>) -> Settings {
    let listener = Listener { address: "127.0.0.1:0".parse().unwrap(), tls, trusted_proxies: Vec::new() };
    Settings {
        listeners: vec![listener],
        admin: None,
        workers: 1,
        upstreams: Vec::new(),
        routes: Vec::new(),
        cors: Cors::default(),
        assets: Vec::new(),
        redis: None,
        limits: Limits::default(),
        compression: Compression::default(),
        mux: None,
        tickets: None,
        openapi: true,
        services: Default::default(),
        access_log: false,
    }
}

async fn tls_to(
    address: SocketAddr,
    trusted: CertificateDer<'static>,
    name: &str,
    alpn: &[&[u8]],
    versions: &[&'static SupportedProtocolVersion],
) -> io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted).unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    let name = ServerName::try_from(name.to_owned()).unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, TcpStream::connect(address).await?).await
}

/// One request on a connection of its own; the whole answer as text.
async fn http1(mut io: impl AsyncRead + AsyncWrite + Unpin, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    io.write_all(request.as_bytes()).await.unwrap();
    read_all(io).await
}

/// Until the server closes, in order or not.
async fn read_all(mut io: impl AsyncRead + Unpin) -> String {
    let mut bytes = Vec::new();
    let _ = io.read_to_end(&mut bytes).await;
    String::from_utf8(bytes).unwrap()
}

/// Reads the head of one HTTP/1.1 response.
async fn read_head(io: &mut (impl AsyncRead + Unpin)) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(io.read_u8().await.unwrap());
    }
    String::from_utf8(head).unwrap()
}

type Reply = BoxFuture<'static, Result<(StatusCode, String), h2::Error>>;

/// An HTTP/2 client and the task of its connection.
struct Http2 {
    requests: h2::client::SendRequest<Bytes>,
    connection: tokio::task::JoinHandle<Result<(), h2::Error>>,
}

impl Http2 {
    async fn new(io: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        let (requests, connection) = h2::client::handshake(io).await.unwrap();
        Self { requests, connection: tokio::spawn(connection) }
    }

    fn get(&mut self, path: &str) -> Reply {
        let request = Request::get(format!("http://localhost{path}")).body(()).unwrap();
        self.send(request)
    }

    fn send(&mut self, request: Request<()>) -> Reply {
        let sent = self.requests.send_request(request, true);
        Box::pin(async move {
            let response = sent?.0.await?;
            let status = response.status();
            let mut body = response.into_body();
            let mut bytes = Vec::new();
            while let Some(data) = body.data().await {
                let data = data?;
                body.flow_control().release_capacity(data.len())?;
                bytes.extend_from_slice(&data);
            }
            Ok((status, String::from_utf8(bytes).unwrap()))
        })
    }
}

/// A path of this process's own.
fn temporary(name: &str) -> std::path::PathBuf {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("tidegate-{}-{number}-{name}", std::process::id()))
}
