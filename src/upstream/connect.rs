//! Opens one HTTP/2 connection to an endpoint: addresses, TCP or a socket file, TLS, the preface and the peer's settings.
//!
//! Knows nothing of calls and of when a connection is wanted.

use std::{
    future::poll_fn,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, atomic::AtomicBool},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt, stream::FuturesUnordered};
use h2::client::{Builder, Connection, SendRequest};
use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf},
    net::{TcpStream, UnixStream, lookup_host},
    time::{sleep, timeout},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::cluster::{Address, Cluster, Endpoint};
use crate::keepalive::Heard;

/// How long an address may take before the next one is tried beside it (RFC 8305 §5, "Connection Attempt Delay").
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 16;
/// Silence on a TCP connection after which the kernel asks whether the peer is there, so that a connection without
/// calls does not outlive it for long.
const TCP_KEEPALIVE: Duration = Duration::from_secs(60);

/// What one unread stream may hold of this process's memory, in bytes.
const STREAM_WINDOW: u32 = 256 << 10;
/// The largest there is (RFC 9113 §6.9.1): the streams' own windows bound what is buffered, and no unread stream may
/// ever stop its neighbours.
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;
const FRAME_BYTES_MAX: u32 = 32 << 10;
const HEADER_BYTES_MAX: u32 = 64 << 10;
/// h2 charges each unread small DATA frame against this budget and ends the whole connection when it is spent; the
/// stream window bounds the same memory without hurting other calls.
const DATA_FRAME_BUDGET: usize = usize::MAX >> 1;
/// Streams reset here whose late frames are still recognized, and for how long. Frames of a forgotten one are counted
/// as the peer's errors, of which h2 endures only so many in a connection's life.
const RESET_STREAMS_MAX: usize = 16 << 10;
const RESET_STREAM_MEMORY: Duration = Duration::from_secs(5);
const PEER_ERRORS_MAX: usize = 1 << 20;
/// h2 holds this for the peer's stream limit until the peer's first SETTINGS have come; no peer can say it (32 bits).
const NO_SETTINGS_YET: usize = usize::MAX - 1;

/// Why a connection could not be opened.
#[derive(Debug, Error)]
pub(super) enum ConnectError {
    #[error("cannot resolve {host:?}")]
    Resolve { host: String, source: io::Error },
    #[error("cannot connect to {url}")]
    Connect { url: String, source: io::Error },
    #[error("the TLS handshake with {url} failed")]
    Tls { url: String, source: io::Error },
    #[error("{url} did not choose HTTP/2 (h2) by ALPN")]
    Alpn { url: String },
    #[error("{url} does not speak HTTP/2, or not with us")]
    Preface { url: String, source: h2::Error },
    #[error("{url} closed the connection before any call")]
    Closed { url: String },
    #[error("no HTTP/2 connection to {url} within {limit:?}")]
    Timeout { url: String, limit: Duration },
}

/// A connection whose peer has sent its settings.
pub(super) struct Dialed {
    pub(super) sender: SendRequest<Bytes>,
    pub(super) connection: Connection<Heard<Wire>, Bytes>,
    /// Set whenever bytes arrive.
    pub(super) heard: Arc<AtomicBool>,
}

/// Opens a connection within the cluster's `connect_timeout`.
pub(super) async fn dial(cluster: &Cluster, endpoint: &Endpoint) -> Result<Dialed, ConnectError> {
    let limit = cluster.policy.connect_timeout;
    match timeout(limit, open(cluster, endpoint)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(ConnectError::Timeout { url: endpoint.url.clone(), limit }),
    }
}

async fn open(cluster: &Cluster, endpoint: &Endpoint) -> Result<Dialed, ConnectError> {
    let url = || endpoint.url.clone();
    let socket = match &endpoint.address {
        Address::Tcp { host, port } => Wire::Tcp(connect_tcp(host, *port, endpoint).await?),
        Address::Unix(path) => {
            let connected = UnixStream::connect(path).await;
            Wire::Unix(connected.map_err(|source| ConnectError::Connect { url: url(), source })?)
        }
        Address::InMemory(dial) => Wire::InMemory(dial()),
    };
    let socket = match (socket, &endpoint.server_name, &cluster.tls) {
        (Wire::Tcp(tcp), Some(name), Some(config)) => {
            let connected = TlsConnector::from(Arc::clone(config)).connect(name.clone(), tcp).await;
            let tls = connected.map_err(|source| ConnectError::Tls { url: url(), source })?;
            if tls.get_ref().1.alpn_protocol() != Some(b"h2") {
                return Err(ConnectError::Alpn { url: url() });
            }
            Wire::Tls(Box::new(tls))
        }
        (socket, _, _) => socket,
    };
    handshake(socket, endpoint).await
}

async fn handshake(wire: Wire, endpoint: &Endpoint) -> Result<Dialed, ConnectError> {
    let (wire, heard) = Heard::new(wire);
    let failed = |source| ConnectError::Preface { url: endpoint.url.clone(), source };
    let (mut sender, mut connection) = builder().handshake(wire).await.map_err(failed)?;
    // Only the peer's SETTINGS tell that HTTP/2 is spoken there, and how many streams it takes.
    poll_fn(|cx| match Pin::new(&mut connection).poll(cx) {
        Poll::Ready(Ok(())) => Poll::Ready(Err(ConnectError::Closed { url: endpoint.url.clone() })),
        Poll::Ready(Err(source)) => Poll::Ready(Err(failed(source))),
        Poll::Pending if connection.max_concurrent_send_streams() == NO_SETTINGS_YET => Poll::Pending,
        // A GOAWAY in the same breath: no call may wait for the next such connection without pause.
        Poll::Pending => sender.poll_ready(cx).map_err(failed),
    })
    .await?;
    Ok(Dialed { sender, connection, heard })
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_frame_size(FRAME_BYTES_MAX)
        .max_header_list_size(HEADER_BYTES_MAX)
        .enable_push(false)
        .data_frame_budget(DATA_FRAME_BUDGET)
        .initial_max_send_streams(NO_SETTINGS_YET)
        .max_concurrent_reset_streams(RESET_STREAMS_MAX)
        .reset_stream_duration(RESET_STREAM_MEMORY)
        .max_local_error_reset_streams(Some(PEER_ERRORS_MAX));
    builder
}

async fn connect_tcp(host: &str, port: u16, endpoint: &Endpoint) -> Result<TcpStream, ConnectError> {
    let resolve_failed = |source| ConnectError::Resolve { host: host.to_owned(), source };
    let addresses: Vec<_> = lookup_host((host, port)).await.map_err(resolve_failed)?.collect();
    let tcp = connect_any(interleave(addresses)).await;
    let tcp = tcp.map_err(|source| ConnectError::Connect { url: endpoint.url.clone(), source })?;
    // Frames are written when they are whole: waiting for more (Nagle) only delays calls. Either option is best effort.
    let _ = tcp.set_nodelay(true);
    let keepalive = socket2::TcpKeepalive::new().with_time(TCP_KEEPALIVE);
    let _ = socket2::SockRef::from(&tcp).set_tcp_keepalive(&keepalive);
    Ok(tcp)
}

/// Families in turn, the resolver's first choice first (RFC 8305 §4).
fn interleave(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let six_first = addresses.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) = addresses.into_iter().partition(|address| address.is_ipv6() == six_first);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut mixed = Vec::new();
    loop {
        let before = mixed.len();
        mixed.extend(first.next());
        mixed.extend(second.next());
        if mixed.len() == before || mixed.len() >= ADDRESSES_MAX {
            return mixed;
        }
    }
}

/// The first address that answers; each has a head start of [`ATTEMPT_DELAY`] unless it fails.
async fn connect_any(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    let mut waiting = addresses.into_iter();
    let mut attempts = FuturesUnordered::new();
    loop {
        match waiting.next() {
            Some(address) => attempts.push(TcpStream::connect(address)),
            None if attempts.is_empty() => return Err(failed),
            None => {}
        }
        tokio::select! {
            Some(outcome) = attempts.next() => match outcome {
                Ok(tcp) => return Ok(tcp),
                Err(error) => failed = error,
            },
            () = sleep(ATTEMPT_DELAY), if waiting.len() > 0 => {}
        }
    }
}

/// A socket of any kind.
pub(super) enum Wire {
    Tcp(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    Unix(UnixStream),
    InMemory(DuplexStream),
}

impl AsyncRead for Wire {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Wire::Tcp(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Wire::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
            Wire::Unix(unix) => Pin::new(unix).poll_read(cx, buf),
            Wire::InMemory(memory) => Pin::new(memory).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Wire::Tcp(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Wire::Tls(tls) => Pin::new(tls).poll_write(cx, bytes),
            Wire::Unix(unix) => Pin::new(unix).poll_write(cx, bytes),
            Wire::InMemory(memory) => Pin::new(memory).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Wire::Tcp(tcp) => Pin::new(tcp).poll_write_vectored(cx, slices),
            Wire::Tls(tls) => Pin::new(tls).poll_write_vectored(cx, slices),
            Wire::Unix(unix) => Pin::new(unix).poll_write_vectored(cx, slices),
            Wire::InMemory(memory) => Pin::new(memory).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Wire::Tcp(tcp) => tcp.is_write_vectored(),
            Wire::Tls(tls) => tls.is_write_vectored(),
            Wire::Unix(unix) => unix.is_write_vectored(),
            Wire::InMemory(memory) => memory.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Wire::Tcp(tcp) => Pin::new(tcp).poll_flush(cx),
            Wire::Tls(tls) => Pin::new(tls).poll_flush(cx),
            Wire::Unix(unix) => Pin::new(unix).poll_flush(cx),
            Wire::InMemory(memory) => Pin::new(memory).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Wire::Tcp(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Wire::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
            Wire::Unix(unix) => Pin::new(unix).poll_shutdown(cx),
            Wire::InMemory(memory) => Pin::new(memory).poll_shutdown(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_families_take_turns() {
        let addresses = ["[::1]:1", "[::2]:1", "[::3]:1", "1.1.1.1:1", "2.2.2.2:1"].map(|text| text.parse().unwrap());
        let mixed: Vec<_> = interleave(addresses.to_vec()).iter().map(ToString::to_string).collect();
        assert_eq!(mixed, ["[::1]:1", "1.1.1.1:1", "[::2]:1", "2.2.2.2:1", "[::3]:1"]);
    }

    #[tokio::test]
    async fn an_address_that_refuses_does_not_hide_the_next() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let good = listener.local_addr().unwrap();
        let refusing = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let tcp = connect_any(vec![refusing, good]).await.unwrap();
        assert_eq!(tcp.peer_addr().unwrap(), good);
        assert!(connect_any(vec![refusing]).await.is_err());
        assert!(connect_any(vec![]).await.is_err());
    }
}
