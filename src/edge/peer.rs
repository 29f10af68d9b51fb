//! Whom a request came from, as the connection knows it. Knows nothing of headers that claim otherwise.

use std::{net::SocketAddr, sync::Arc};

use http::HeaderValue;

use crate::{config::Cidr, drain::Connection, share::ConnectionBudget};

/// The other end of a connection. The server puts one `Arc<Peer>` into the extensions of every request.
#[derive(Clone, Debug)]
pub struct Peer {
    /// None where the transport has no addresses, as in memory.
    pub remote: Option<SocketAddr>,
    /// Its address as `x-forwarded-for` has it, written once for all requests.
    pub remote_text: Option<HeaderValue>,
    /// The address that the client reached.
    pub local: SocketAddr,
    pub tls: bool,
    /// The listener's networks whose `x-forwarded-*` headers are believed.
    pub trusted_proxies: Arc<[Cidr]>,
    /// The server name of the TLS handshake (RFC 6066 §3), lower case.
    pub sni: Option<Box<str>>,
    /// What may be kept for its calls together.
    pub budget: ConnectionBudget,
    /// How the connection is told to end.
    pub connection: Arc<Connection>,
}

impl Peer {
    /// Where no server put one: a gateway mounted in somebody's own.
    pub fn unknown() -> Self {
        let local = SocketAddr::from(([0, 0, 0, 0], 0));
        Self {
            remote: None,
            remote_text: None,
            local,
            tls: false,
            trusted_proxies: Arc::new([]),
            sni: None,
            budget: ConnectionBudget::default(),
            connection: Arc::new(Connection::alone()),
        }
    }

    /// The text of an address.
    pub fn text_of(remote: SocketAddr) -> Option<HeaderValue> {
        HeaderValue::from_str(&remote.ip().to_canonical().to_string()).ok()
    }
}
