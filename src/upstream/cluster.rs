//! What all workers share of one upstream: its endpoints, how they are verified, and what is known of them.
//!
//! Opens no connection; immutable but for the counters.

use std::{
    hash::{BuildHasher, RandomState},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::uri::{Authority, Scheme};
use rustls::{ClientConfig, pki_types::ServerName};
use thiserror::Error;
use tokio::{io::DuplexStream, sync::watch};

use super::tls::{TlsError, client_config};
use crate::config::{Balance, EndpointUrl, Upstream};

/// From half a minute to half an hour.
const KEEPALIVE_DOUBLINGS_MAX: u32 = 6;
/// A server in the same process neither takes its time nor goes away.
const IN_MEMORY: Policy = Policy {
    balance: Balance::LeastRequest,
    connect_timeout: Duration::from_secs(5),
    keepalive: Duration::from_secs(3600),
    keepalive_timeout: Duration::from_secs(60),
    connections_max: 8,
};

/// One upstream as every worker sees it.
pub struct Cluster {
    pub(super) name: String,
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) policy: Policy,
    /// Where any endpoint is `https://`.
    pub(super) tls: Option<Arc<ClientConfig>>,
    seed: AtomicU64,
}

/// How connections are opened, kept and chosen.
#[derive(Debug)]
pub(super) struct Policy {
    pub(super) balance: Balance,
    pub(super) connect_timeout: Duration,
    pub(super) keepalive: Duration,
    pub(super) keepalive_timeout: Duration,
    pub(super) connections_max: usize,
}

/// One server of an upstream, with what every request to it has in common.
pub(super) struct Endpoint {
    pub(super) url: String,
    pub(super) address: Address,
    /// The name to verify, where it is `https://`.
    pub(super) server_name: Option<ServerName<'static>>,
    pub(super) scheme: Scheme,
    pub(super) authority: Authority,
    /// Connections open on all workers.
    pub(super) connections: watch::Sender<usize>,
    /// Attempts to connect that failed since one last succeeded, on all workers.
    pub(super) failures: AtomicUsize,
    /// How often the keepalive interval was doubled.
    slower: AtomicU32,
}

pub(super) enum Address {
    Tcp { host: String, port: u16 },
    Unix(PathBuf),
    InMemory(Dial),
}

/// Opens a connection to a server in the same process.
pub type Dial = Arc<dyn Fn() -> DuplexStream + Send + Sync>;

/// An endpoint for the admin page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndpointState<'a> {
    pub url: &'a str,
    /// Connections open on all workers.
    pub connected: usize,
    /// Attempts to connect that failed since one last succeeded, on all workers.
    pub consecutive_failures: usize,
}

/// Why an upstream cannot be built from its settings.
#[derive(Debug, Error)]
pub enum ClusterError {
    #[error("upstream {upstream:?} has no endpoints")]
    NoEndpoints { upstream: String },
    #[error("upstream {upstream:?}: {host:?} is no host name or address")]
    Host { upstream: String, host: String },
    #[error("upstream {upstream:?}: {name:?} is no name that a certificate can be verified against")]
    ServerName { upstream: String, name: String },
    #[error("upstream {upstream:?}: {error}")]
    Tls { upstream: String, error: TlsError },
}

impl Cluster {
    /// Reads the trusted roots, and checks what can be checked without connecting.
    ///
    /// # Errors
    /// Settings that no connection could ever be made with.
    pub fn new(settings: &Upstream) -> Result<Arc<Self>, ClusterError> {
        if settings.endpoints.is_empty() {
            return Err(ClusterError::NoEndpoints { upstream: settings.name.clone() });
        }
        let endpoints =
            settings.endpoints.iter().map(|url| Endpoint::new(url, settings)).collect::<Result<Vec<_>, _>>()?;
        let failed = |error| ClusterError::Tls { upstream: settings.name.clone(), error };
        let encrypted = endpoints.iter().any(|endpoint| endpoint.server_name.is_some());
        Ok(Arc::new(Self {
            name: settings.name.clone(),
            tls: encrypted.then(|| client_config(&settings.tls, &[b"h2"]).map(Arc::new)).transpose().map_err(failed)?,
            endpoints,
            policy: Policy {
                balance: settings.balance,
                connect_timeout: settings.connect_timeout,
                keepalive: settings.keepalive,
                keepalive_timeout: settings.keepalive_timeout,
                connections_max: settings.connections_max.max(1),
            },
            seed: AtomicU64::new(RandomState::new().hash_one(&settings.name)),
        }))
    }

    /// A cluster of its own for each endpoint.
    ///
    /// # Errors
    /// As [`Cluster::new`].
    pub fn each(settings: &Upstream) -> Result<Vec<Arc<Self>>, ClusterError> {
        let alone = |url: &EndpointUrl| Self::new(&Upstream { endpoints: vec![url.clone()], ..settings.clone() });
        settings.endpoints.iter().map(alone).collect()
    }

    /// A server in the same process, which speaks HTTP/2 with prior knowledge over each connection that it is dialled.
    pub fn in_memory(name: &str, dial: Dial) -> Arc<Self> {
        let (address, authority) = (Address::InMemory(dial), Authority::from_static("localhost"));
        Arc::new(Self {
            name: name.to_owned(),
            endpoints: vec![Endpoint::at(address, format!("memory:{name}"), None, authority)],
            policy: IN_MEMORY,
            tls: None,
            seed: AtomicU64::default(),
        })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The endpoints as they are now.
    pub fn endpoints(&self) -> impl ExactSizeIterator<Item = EndpointState<'_>> {
        self.endpoints.iter().map(|endpoint| EndpointState {
            url: &endpoint.url,
            connected: *endpoint.connections.borrow(),
            consecutive_failures: endpoint.failures.load(Ordering::Relaxed),
        })
    }

    /// How many connections each endpoint has open, told whenever that changes.
    pub fn connections(&self) -> impl ExactSizeIterator<Item = watch::Receiver<usize>> {
        self.endpoints.iter().map(|endpoint| endpoint.connections.subscribe())
    }

    /// Another one for each pool, so that workers neither start with the same endpoint nor knock at the same moment.
    pub(super) fn next_seed(&self) -> u64 {
        self.seed.fetch_add(1, Ordering::Relaxed)
    }
}

impl Endpoint {
    fn new(url: &EndpointUrl, settings: &Upstream) -> Result<Self, ClusterError> {
        let (text, scheme, address) = match url {
            EndpointUrl::Http { host, port } => (None, Scheme::HTTP, Address::tcp(host, *port)),
            EndpointUrl::Https { host, port } => (None, Scheme::HTTPS, Address::tcp(host, *port)),
            EndpointUrl::Unix(path) => {
                (Some(format!("unix:{}", path.display())), Scheme::HTTP, Address::Unix(path.clone()))
            }
        };
        let authority = address
            .authority()
            .ok_or_else(|| ClusterError::Host { upstream: settings.name.clone(), host: address.host().to_owned() })?;
        let server_name = if scheme == Scheme::HTTPS { Some(server_name(&address, settings)?) } else { None };
        let url = text.unwrap_or_else(|| format!("{scheme}://{authority}"));
        Ok(Self::at(address, url, server_name, authority))
    }

    fn at(address: Address, url: String, server_name: Option<ServerName<'static>>, authority: Authority) -> Self {
        let scheme = if server_name.is_some() { Scheme::HTTPS } else { Scheme::HTTP };
        let (connections, failures, slower) = (watch::Sender::default(), AtomicUsize::new(0), AtomicU32::new(0));
        Self { url, address, server_name, scheme, authority, connections, failures, slower }
    }

    /// Time between PINGs: doubled for each time that the server complained of them (gRPC A8, client-side keepalive).
    pub(super) fn keepalive(&self, policy: &Policy) -> Duration {
        policy.keepalive.saturating_mul(1 << self.slower.load(Ordering::Relaxed).min(KEEPALIVE_DOUBLINGS_MAX))
    }

    pub(super) fn slow_keepalive(&self) {
        self.slower.fetch_add(1, Ordering::Relaxed);
    }
}

impl Address {
    /// IPv6 literals stand in brackets in a URL, and without them everywhere else.
    fn tcp(host: &str, port: u16) -> Self {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        Self::Tcp { host: bare.to_owned(), port }
    }

    fn host(&self) -> &str {
        match self {
            Self::Tcp { host, .. } => host,
            Self::Unix(_) | Self::InMemory(_) => "localhost",
        }
    }

    /// The `:authority` of requests. What has no name of its own is "localhost", which gRPC servers accept.
    fn authority(&self) -> Option<Authority> {
        match self {
            Self::Tcp { host, port } if host.contains(':') => format!("[{host}]:{port}").parse().ok(),
            Self::Tcp { host, port } => format!("{host}:{port}").parse().ok(),
            Self::Unix(_) | Self::InMemory(_) => Some(Authority::from_static("localhost")),
        }
    }
}

fn server_name(address: &Address, settings: &Upstream) -> Result<ServerName<'static>, ClusterError> {
    let name = settings.tls.server_name.as_deref().unwrap_or_else(|| address.host());
    ServerName::try_from(name.to_owned())
        .map_err(|_| ClusterError::ServerName { upstream: settings.name.clone(), name: name.to_owned() })
}
