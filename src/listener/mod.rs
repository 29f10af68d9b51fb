//! Sockets → connections: TCP and TLS, with ALPN and certificates by SNI. Knows nothing of HTTP.

mod bound;
mod certificates;
mod development;
mod stall;
mod stream;
mod tls;

use std::{io, net::SocketAddr, path::PathBuf};

pub use bound::{Bound, Gate, Opened};
pub use development::DevelopmentCertificate;
pub use stall::Stall;
pub use stream::{Stalled, Stream};
pub(crate) use tls::ALPN_H2;

/// Why a listener cannot serve. The texts name the address or the file, and what is wrong with it.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error("cannot listen on {address}: {source}")]
    Bind { address: SocketAddr, source: io::Error },
    #[error("{}: {problem}", path.display())]
    File { path: PathBuf, problem: String },
    #[error("the listener on {address} has TLS but names no certificate")]
    NoCertificate { address: SocketAddr },
    #[error("a development certificate cannot be made: {0}")]
    Development(String),
    #[error("TLS cannot be set up: {0}")]
    Tls(#[from] rustls::Error),
}
