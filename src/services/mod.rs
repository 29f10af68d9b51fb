//! The gRPC services of the gateway's own, as an upstream that is reached in memory: server reflection. Knows nothing of
//! dialects: every one of them leads here as it leads to any upstream.

mod reflection;

use std::sync::Arc;

use arc_swap::ArcSwap;
use hyper::server::conn::http2;
use hyper_util::{
    rt::{TokioExecutor, TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tonic::service::Routes;

use crate::{gateway::Snapshot, schema::OWN_UPSTREAM, upstream::Cluster};

/// What one connection holds of the bytes that its other end has not taken.
const CONNECTION_BYTES: usize = 64 << 10;
/// Most calls at a time on one connection; a worker with more opens another.
const STREAMS_MAX: u32 = 1_000;
/// Largest request message: a name of the longest length that has a meaning, twice.
const REQUEST_BYTES_MAX: usize = 16 << 10;

/// The services as one more upstream, behind those of the configuration. They tell of what is served at the moment.
pub fn cluster(snapshot: Arc<ArcSwap<Snapshot>>) -> Arc<Cluster> {
    let routes = reflection::add_to(Routes::default(), snapshot).prepare();
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
