//! A listening socket, and how a connection that it accepted is opened. Knows nothing of workers.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::Duration,
};

use socket2::{Domain, Protocol, Socket as RawSocket, TcpKeepalive, Type};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::TlsAcceptor;

use super::{DevelopmentCertificate, ListenError, Stream, stream::Socket, tls};
use crate::{
    config::{Cidr, Listener},
    limits::Limits,
};

/// A bound address. Clients can connect, but nobody accepts yet.
pub struct Bound {
    socket: TcpListener,
    address: SocketAddr,
    gate: Arc<Gate>,
}

/// What the connections of one listener go through before their first byte counts. Shared by all workers.
pub struct Gate {
    tls: Option<TlsAcceptor>,
    trusted_proxies: Arc<[Cidr]>,
}

/// A connection that may be read and written.
pub struct Opened<T> {
    pub stream: Stream<T>,
    pub tls: bool,
    /// The protocol that both sides agreed on (RFC 7301); none without TLS, or where the client offered none.
    pub alpn: Option<Vec<u8>>,
    /// The name that the client asked for (RFC 6066 §3).
    pub sni: Option<Box<str>>,
}

impl Bound {
    /// Binds the address and loads the certificates. `development` is made at the first need, and shared by all listeners.
    ///
    /// # Errors
    /// Where the address or a file cannot be used.
    pub fn bind(listener: &Listener, development: &mut Option<DevelopmentCertificate>) -> Result<Self, ListenError> {
        // Files first: an error there must not leave a port open for a moment.
        let tls = match &listener.tls {
            Some(tls) => Some(TlsAcceptor::from(tls::server_config(tls, listener.address, development)?)),
            None => None,
        };
        let failed = |source| ListenError::Bind { address: listener.address, source };
        let socket = bind(listener.address).map_err(failed)?;
        let address = socket.local_addr().map_err(failed)?;
        let gate = Gate { tls, trusted_proxies: listener.trusted_proxies.clone().into() };
        Ok(Self { socket, address, gate: Arc::new(gate) })
    }

    /// The real address, with the port that the system chose.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `https` or `http`.
    pub fn kind(&self) -> &'static str {
        if self.gate.tls.is_some() { "https" } else { "http" }
    }

    pub fn into_parts(self) -> (TcpListener, Arc<Gate>) {
        (self.socket, self.gate)
    }
}

impl Gate {
    /// Networks whose `x-forwarded-*` headers are believed.
    pub fn trusted_proxies(&self) -> Arc<[Cidr]> {
        self.trusted_proxies.clone()
    }

    /// Does the TLS handshake, if there is one. `ticket` lives as long as the connection.
    ///
    /// # Errors
    /// A failed handshake, or one longer than `limits.handshake_timeout`.
    pub async fn open<T>(&self, tcp: TcpStream, ticket: T, limits: &Limits) -> io::Result<Opened<T>> {
        let stall = limits.write_stall_timeout;
        let Some(acceptor) = &self.tls else {
            let stream = Stream::new(Socket::Plain(tcp), ticket, stall);
            return Ok(Opened { stream, tls: false, alpn: None, sni: None });
        };
        let tls = timeout(limits.handshake_timeout, acceptor.accept(tcp)).await??;
        let (_, session) = tls.get_ref();
        let alpn = session.alpn_protocol().map(<[u8]>::to_vec);
        let sni = session.server_name().map(|name| name.to_ascii_lowercase().into_boxed_str());
        Ok(Opened { stream: Stream::new(Socket::Tls(Box::new(tls)), ticket, stall), tls: true, alpn, sni })
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = RawSocket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for the connections of the last process to leave TIME_WAIT.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // `[::]` serves both families.
        socket.set_only_v6(false)?;
    }
    // Accepted sockets inherit both. Keepalive finds clients that vanished while nothing was to be sent.
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE_TIME).with_interval(KEEPALIVE_INTERVAL))?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Connections that may wait to be accepted; the system caps it (`net.core.somaxconn`).
const BACKLOG: i32 = 4096;

/// Silence before the first keepalive probe, and time between probes.
const KEEPALIVE_TIME: Duration = Duration::from_secs(60);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
