//! The gRPC services of the gateway's own, as an upstream that is reached in memory: health and server reflection. Knows
//! nothing of dialects: every one of them leads here as it leads to any upstream.

mod health;
mod reflection;

use std::sync::Arc;

use arc_swap::ArcSwap;
use hyper::server::conn::http2;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tonic::service::Routes;

use self::health::Board;
use crate::{
    config::Settings,
    drain::Drain,
    gateway::Snapshot,
    schema::OWN_UPSTREAM,
    upstream::{Cluster, ClusterError, Pool},
};

/// What one connection holds of the bytes that its other end has not taken.
const CONNECTION_BYTES: usize = 64 << 10;
/// Most calls at a time on one connection; a worker with more opens another.
const STREAMS_MAX: u32 = 1_000;
/// Largest request message: a name of the longest length that has a meaning, twice.
const REQUEST_BYTES_MAX: usize = 16 << 10;

/// The services as one more upstream, behind those of the configuration. They tell of what is served at the moment;
/// `is_ready` whether calls can be answered, as far as that is the gateway's.
///
/// # Errors
/// As [`Cluster::new`].
pub fn cluster(
    settings: &Settings,
    snapshot: Arc<ArcSwap<Snapshot>>,
    is_ready: impl Fn() -> bool + Send + Sync + 'static,
    drain: Drain,
) -> Result<Arc<Cluster>, ClusterError> {
    let endpoints = |upstream| Ok(Cluster::each(upstream)?.into_iter().map(Pool::new).collect());
    let upstreams = settings.upstreams.iter().map(endpoints).collect::<Result<_, _>>()?;
    let routes = reflection::add_to(Routes::default(), snapshot.clone());
    let routes = health::add_to(routes, Board::new(snapshot, is_ready, upstreams), drain).prepare();
    Ok(in_memory(routes))
}

fn in_memory(routes: Routes) -> Arc<Cluster> {
    Cluster::in_memory(
        OWN_UPSTREAM,
        Arc::new(move || {
            let (near, far) = tokio::io::duplex(CONNECTION_BYTES);
            let mut server = http2::Builder::new(TokioExecutor::new());
            server.timer(TokioTimer::new()).max_concurrent_streams(STREAMS_MAX);
            let serve = server.serve_connection(TokioIo::new(far), TowerToHyperService::new(routes.clone()));
            // Ends with the connection, whose end the other side says.
            tokio::spawn(async move {
                if let Err(error) = serve.await {
                    tracing::debug!(%error, "a connection to the gateway's own services broke");
                }
            });
            near
        }),
    )
}
