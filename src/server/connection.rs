//! The life of one connection: handshake, protocol, requests, end. Knows nothing of what is answered.

use std::{
    convert::Infallible,
    error::Error,
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::Service,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{net::TcpStream, time::timeout};

use super::{
    Options,
    accept::Accepted,
    connections::{Connections, Ticket},
    control::{Control, Registry},
    protocol::{self, Protocol},
    service::PerConnection,
};
use crate::{
    drain::Drain,
    edge::Peer,
    limits::Limits,
    listener::{Opened, Stream},
};

/// What all connections of a worker share.
pub(super) struct Shared {
    http1: http1::Builder,
    http2: http2::Builder<TokioExecutor>,
    limits: Limits,
    pub(super) registry: Arc<Registry>,
    connections: Arc<Connections>,
    drain: Drain,
}

impl Shared {
    pub(super) fn new(options: &Options, connections: Arc<Connections>, drain: Drain) -> Self {
        Self {
            http1: http1(&options.limits),
            http2: http2(options),
            limits: options.limits.clone(),
            registry: Arc::default(),
            connections,
            drain,
        }
    }
}

/// Serves one connection to its end. An upgraded one goes on in the service's hands, and keeps its ticket.
pub(super) async fn serve<S, B>(shared: Arc<Shared>, accepted: Accepted<TcpStream>, service: S)
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible> + Send,
    S::Future: Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    let remote = accepted.remote;
    let opened = tokio::select! {
        biased;
        opened = open(&shared, accepted) => opened,
        // No request has come: there is nothing to finish.
        () = shared.drain.begun() => return,
    };
    let (stream, protocol, peer) = match opened {
        Ok(Some(opened)) => opened,
        Ok(None) => return,
        Err(error) => {
            shared.connections.count_failed();
            return tracing::debug!(%remote, %error, "a connection ended before its first request");
        }
    };
    let registered = shared.registry.enter();
    if shared.drain.is_draining() {
        registered.control.close();
    }
    let service = PerConnection { service, peer: Arc::new(peer), control: registered.control.clone() };
    let stream = TokioIo::new(stream);
    let served = match protocol {
        Protocol::Http1 => {
            drive(shared.http1.serve_connection(stream, service).with_upgrades(), &registered.control).await
        }
        Protocol::Http2 => drive(shared.http2.serve_connection(stream, service), &registered.control).await,
    };
    if let Err(error) = served {
        tracing::debug!(%remote, error = &error as &dyn Error, "a connection broke");
    }
}

/// From an accepted socket to a connection whose protocol is known. None: the client left without a word.
async fn open(shared: &Shared, accepted: Accepted<TcpStream>) -> io::Result<Option<(Stream<Ticket>, Protocol, Peer)>> {
    let Accepted { tcp, remote, gate, ticket } = accepted;
    let local = tcp.local_addr()?;
    let mut opened = gate.open(tcp, ticket, shared.limits.handshake_timeout).await?;
    let Some(protocol) = timeout(shared.limits.header_timeout, protocol::find(&mut opened)).await?? else {
        return Ok(None);
    };
    let Opened { stream, tls, sni, .. } = opened;
    let remote_text = Peer::text_of(remote);
    let peer = Peer { remote: Some(remote), remote_text, local, tls, trusted_proxies: gate.trusted_proxies(), sni };
    Ok(Some((stream, protocol, peer)))
}

/// A connection of hyper's, of either protocol.
trait Graceful: Future<Output = hyper::Result<()>> {
    /// Takes no further requests: GOAWAY, or `connection: close` with the response in flight.
    fn end_gracefully(self: Pin<&mut Self>);
}

impl<S, B> Graceful for http1::UpgradeableConnection<TokioIo<Stream<Ticket>>, S>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    B: Body<Data = Bytes> + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    fn end_gracefully(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<S, B> Graceful for http2::Connection<TokioIo<Stream<Ticket>>, S, TokioExecutor>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
    S::Future: Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<Box<dyn Error + Send + Sync>>,
{
    fn end_gracefully(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

async fn drive(connection: impl Graceful, control: &Control) -> hyper::Result<()> {
    let mut connection = pin!(connection);
    let mut told = false;
    poll_fn(|cx| {
        if !told && control.is_busy() && control.poll_closing(cx) {
            // The answer in flight can still say that it is the last.
            told = true;
            connection.as_mut().end_gracefully();
        }
        // First what has arrived: a request that was sent before the drain began is answered still.
        let polled = connection.as_mut().poll(cx);
        if polled.is_ready() || told || !control.poll_closing(cx) {
            return polled;
        }
        told = true;
        connection.as_mut().end_gracefully();
        connection.as_mut().poll(cx)
    })
    .await
}

fn http1(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        // Runs between requests as well: it is the idle timeout of a kept-alive connection, too.
        .header_read_timeout(limits.header_timeout)
        .max_header_size(limits.header_bytes_max)
        .max_buf_size(HTTP1_BUFFER_BYTES.max(limits.header_bytes_max))
        .half_close(false)
        .keep_alive(true)
        .auto_date_header(true)
        .title_case_headers(false)
        // Browsers do not pipeline; a response that waits for the next request's would be the worse fault.
        .pipeline_flush(false);
    builder
}

fn http2(options: &Options) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(HTTP2_STREAM_WINDOW_BYTES)
        .initial_connection_window_size(HTTP2_CONNECTION_WINDOW_BYTES)
        .max_concurrent_streams(HTTP2_STREAMS_MAX)
        .max_header_list_size(u32::try_from(options.limits.header_bytes_max).unwrap_or(u32::MAX))
        .max_send_buf_size(HTTP2_SEND_BUFFER_BYTES)
        .keep_alive_interval(HTTP2_PING_INTERVAL)
        .keep_alive_timeout(HTTP2_PING_TIMEOUT)
        .auto_date_header(true);
    builder
}

/// Largest read buffer of an HTTP/1.1 connection, and what waits to be written before the body is asked for more.
const HTTP1_BUFFER_BYTES: usize = 64 << 10;

/// What one request may send ahead of being read.
const HTTP2_STREAM_WINDOW_BYTES: u32 = 256 << 10;

/// The largest there is (RFC 9113 §6.9.1): h2 ends a whole connection when the unread small frames of one stream reach
/// half of this window. What a connection can make us hold is bounded by streams × stream window.
const HTTP2_CONNECTION_WINDOW_BYTES: u32 = (1 << 31) - 1;

/// Enough for a page with many live streams, and for a backend that calls through one connection.
const HTTP2_STREAMS_MAX: u32 = 256;

/// Most that waits in one stream for the client's window.
const HTTP2_SEND_BUFFER_BYTES: usize = 128 << 10;

/// Finds clients that vanished behind a NAT or a lid.
const HTTP2_PING_INTERVAL: Duration = Duration::from_secs(30);
const HTTP2_PING_TIMEOUT: Duration = Duration::from_secs(20);
