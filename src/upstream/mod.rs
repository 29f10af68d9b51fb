//! A [`Transport`] over HTTP/2: clusters, balancing, connections. Knows nothing of dialects, routes and JSON.
//!
//! `cluster` is what workers share, `pool` what each has of its own; `connect` opens a connection, `connection` keeps it;
//! `unary` and `stream` carry calls over it. h2 is used directly: no task and no channel per call.

mod cluster;
mod pool;
mod balance;
mod backoff;
mod connect;
mod connection;
mod unary;
mod stream;
mod reply;
mod request;
mod failure;
mod tls;
#[cfg(test)]
mod tests;

use std::{future::Future, sync::Arc};

use bytes::Bytes;

pub use backoff::{Random, delay};
pub use cluster::{Cluster, ClusterError, Dial, EndpointState};
pub use failure::bad_message;
pub use stream::{Download, Upload};
pub use tls::{TlsError, client_config};

use crate::{
    call::{CallHead, Transport, UnaryReply},
    status::Status,
};

/// One worker's connections to one cluster. Clones share them; the last one dropped lets calls in flight finish and
/// closes the connections.
///
/// A connection's task runs on the runtime of the call that wanted it.
#[derive(Clone)]
pub struct Pool(Arc<pool::Shared>);

impl Pool {
    /// Connects only when a call wants it.
    pub fn new(cluster: Arc<Cluster>) -> Self {
        Self(pool::Shared::new(cluster))
    }

    pub fn cluster(&self) -> &Arc<Cluster> {
        &self.0.cluster
    }
}

impl Transport for Pool {
    type Requests = Upload;
    type Replies = Download;

    fn unary(
        &self,
        head: CallHead,
        envelope: Bytes,
        reply_bytes_max: usize,
    ) -> impl Future<Output = Result<UnaryReply, Status>> + Send {
        unary::call(&self.0, head, envelope, reply_bytes_max)
    }

    async fn open(&self, head: CallHead) -> Result<(Upload, Download), Status> {
        let mut call = request::Outgoing::new(head, false);
        let begun = self.0.begin(&mut call).await?;
        Ok(stream::halves(begun, call.deadline))
    }
}
