//! The TLS configuration of a listener. Knows nothing of sockets.

use std::{net::SocketAddr, sync::Arc};

use rustls::{
    ServerConfig,
    crypto::{
        CryptoProvider,
        aws_lc_rs::{self, Ticketer},
    },
};

use super::{DevelopmentCertificate, ListenError, certificates::Certificates};
use crate::config::ServerTls;

/// ALPN identifiers, in the server's order of preference (RFC 7301, RFC 9113 §3.1).
pub(crate) const ALPN_H2: &[u8] = b"h2";
pub(crate) const ALPN_HTTP1: &[u8] = b"http/1.1";

/// TLS 1.2 and 1.3 with tickets; no early data: a replayed request could make a call twice (RFC 8446 §8).
///
/// `development` holds the process's one development certificate, made when the first listener wants it.
pub(super) fn server_config(
    tls: &ServerTls,
    address: SocketAddr,
    development: &mut Option<DevelopmentCertificate>,
) -> Result<Arc<ServerConfig>, ListenError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let certificates = certificates(tls, address, development, &provider)?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(certificates));
    config.alpn_protocols = vec![ALPN_H2.to_vec(), ALPN_HTTP1.to_vec()];
    config.ticketer = Ticketer::new()?;
    Ok(Arc::new(config))
}

fn certificates(
    tls: &ServerTls,
    address: SocketAddr,
    development: &mut Option<DevelopmentCertificate>,
    provider: &CryptoProvider,
) -> Result<Certificates, ListenError> {
    match tls {
        ServerTls::Files(files) => Certificates::load(files, provider)?.ok_or(ListenError::NoCertificate { address }),
        ServerTls::Development => {
            let made = match development {
                Some(made) => made,
                None => development.insert(DevelopmentCertificate::generate()?),
            };
            Ok(Certificates::single(made.certified_key(provider)?))
        }
    }
}
