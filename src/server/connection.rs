//! The life of one connection: handshake, protocol, requests, end. Knows nothing of what is answered.

use std::{
    error::Error,
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
};

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpStream, time::timeout};

use super::{
    Options,
    accept::Accepted,
    connections::{Connections, Ticket},
    http2::{self, Http2},
    protocol::{self, Protocol},
    service::{Handler, PerConnection},
};
use crate::{
    drain::{Connection, Drain, Registry},
    edge::Peer,
    limits::Limits,
    listener::{Opened, Stream},
    share::ConnectionBudget,
};

/// What all connections of a worker share.
pub(super) struct Shared {
    http1: http1::Builder,
    http2: h2::server::Builder,
    limits: Limits,
    pub(super) registry: Arc<Registry>,
    connections: Arc<Connections>,
    drain: Drain,
}

impl Shared {
    pub(super) fn new(options: &Options, connections: Arc<Connections>, drain: Drain) -> Self {
        Self {
            http1: http1(&options.limits),
            http2: http2::builder(options),
            limits: options.limits.clone(),
            registry: drain.registry(),
            connections,
            drain,
        }
    }
}

/// Serves one connection to its end. An upgraded one goes on in the service's hands, and keeps its ticket.
pub(super) async fn serve<H: Handler>(shared: Arc<Shared>, accepted: Accepted<TcpStream>, handler: H) {
    let remote = accepted.remote;
    let opened = tokio::select! {
        biased;
        // Boxed: no connection is to carry its handshake for as long as it lives.
        opened = Box::pin(open(&shared, accepted)) => opened,
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
    let connection = peer.connection.clone();
    if shared.drain.is_draining() {
        connection.leave();
    }
    let service = PerConnection { handler, peer: Arc::new(peer), stalled: stream.stalled() };
    let served: Result<(), Box<dyn Error + Send + Sync>> = match protocol {
        Protocol::Http1 => {
            let http1 = pin!(shared.http1.serve_connection(TokioIo::new(stream), service).with_upgrades());
            drive(http1, &connection).await.map_err(Into::into)
        }
        Protocol::Http2 => serve_http2(&shared, stream, service, &connection).await,
    };
    if let Err(error) = served {
        tracing::debug!(%remote, error = &*error, "a connection broke");
    }
}

async fn serve_http2<H: Handler>(
    shared: &Shared,
    stream: Stream<Ticket>,
    service: PerConnection<H>,
    connection: &Connection,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let http2 = tokio::select! {
        biased;
        opened = Http2::open(&shared.http2, shared.limits.write_stall_timeout, stream, service) => opened?,
        // The client does not even read our settings.
        () = poll_fn(|cx| if connection.poll_closing(cx) { Poll::Ready(()) } else { Poll::Pending }) => return Ok(()),
    };
    Ok(drive(pin!(http2), connection).await?)
}

/// From an accepted socket to a connection whose protocol is known. None: the client left without a word.
async fn open(shared: &Shared, accepted: Accepted<TcpStream>) -> io::Result<Option<(Stream<Ticket>, Protocol, Peer)>> {
    let Accepted { tcp, remote, gate, ticket } = accepted;
    let local = tcp.local_addr()?;
    let mut opened = gate.open(tcp, ticket, &shared.limits).await?;
    let Some(protocol) = timeout(shared.limits.header_timeout, protocol::find(&mut opened)).await?? else {
        return Ok(None);
    };
    let Opened { stream, tls, sni, .. } = opened;
    let remote_text = Peer::text_of(remote);
    let peer = Peer {
        remote: Some(remote),
        remote_text,
        local,
        tls,
        trusted_proxies: gate.trusted_proxies(),
        sni,
        budget: ConnectionBudget::default(),
        connection: Arc::new(shared.registry.enter()),
    };
    Ok(Some((stream, protocol, peer)))
}

/// A connection of either protocol.
pub(super) trait Graceful: Future<Output = Result<(), Self::Error>> {
    type Error;

    /// Takes no further requests: GOAWAY, or `connection: close` with the response in flight.
    fn end_gracefully(self: Pin<&mut Self>);
}

impl<H: Handler> Graceful for http1::UpgradeableConnection<TokioIo<Stream<Ticket>>, PerConnection<H>> {
    type Error = hyper::Error;

    fn end_gracefully(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

async fn drive<G: Graceful>(mut graceful: Pin<&mut G>, connection: &Connection) -> Result<(), G::Error> {
    let mut told = false;
    poll_fn(|cx| {
        if !told && connection.is_busy() && connection.poll_closing(cx) {
            // The answer in flight can still say that it is the last.
            told = true;
            graceful.as_mut().end_gracefully();
        }
        // First what has arrived: a request that was sent before the drain began is answered still.
        let polled = graceful.as_mut().poll(cx);
        if polled.is_ready() || told || !connection.poll_closing(cx) {
            return polled;
        }
        told = true;
        graceful.as_mut().end_gracefully();
        graceful.as_mut().poll(cx)
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

/// Largest read buffer of an HTTP/1.1 connection, and what waits to be written before the body is asked for more.
const HTTP1_BUFFER_BYTES: usize = 64 << 10;
