//! A worker: one thread, one runtime, the handler made for it, and the connections it is given.

use std::{net::TcpStream as StdStream, sync::Arc};

use tokio::{net::TcpStream, runtime::Runtime, sync::mpsc};
use tokio_util::sync::CancellationToken;

use super::{
    Options,
    accept::{Accepted, Acceptor},
    connection::{self, Shared},
    connections::Connections,
    service::Handler,
};
use crate::drain::Drain;

pub(super) struct Worker {
    index: usize,
    options: Options,
    connections: Arc<Connections>,
    drain: Drain,
    /// Everything that is still open ends at once.
    stop: CancellationToken,
}

/// Where a worker's connections come from.
pub(super) enum Intake {
    /// The only worker accepts them itself.
    Accept(Acceptor),
    Receive(mpsc::Receiver<Accepted<StdStream>>),
}

impl Worker {
    pub(super) fn new(
        index: usize,
        options: &Options,
        connections: Arc<Connections>,
        drain: Drain,
        stop: CancellationToken,
    ) -> Self {
        Self { index, options: options.clone(), connections, drain, stop }
    }

    pub(super) fn index(&self) -> usize {
        self.index
    }

    /// Works until told to stop; then every task that is left is dropped.
    pub(super) fn work<H: Handler>(self, runtime: Runtime, intake: Intake, make: &impl Fn(usize) -> H) {
        // Should this thread end by a panic, the whole server ends: half a gateway would be hard to notice.
        let _ending = BeginOnDrop(self.drain.clone());
        runtime.block_on(async {
            let handler = make(self.index);
            let shared = Arc::new(Shared::new(&self.options, self.connections.clone(), self.drain.clone()));
            // A panic in a connection's task ends that connection only: the runtime catches it.
            let serve = |accepted| {
                tokio::spawn(connection::serve(shared.clone(), accepted, handler.clone()));
            };
            let work = async {
                tokio::join!(take_in(intake, serve), {
                    let Options { idle_timeout, ref limits } = self.options;
                    shared.registry.tend(&self.drain, idle_timeout, limits.drain_window)
                });
                std::future::pending::<()>().await;
            };
            tokio::select! {
                () = self.stop.cancelled() => {}
                () = work => {}
            }
        });
        runtime.shutdown_background();
    }
}

async fn take_in(intake: Intake, serve: impl Fn(Accepted<TcpStream>)) {
    match intake {
        Intake::Accept(acceptor) => acceptor.accept(async |_, accepted| serve(accepted)).await,
        Intake::Receive(mut inlet) => {
            while let Some(Accepted { tcp, remote, gate, ticket }) = inlet.recv().await {
                match TcpStream::from_std(tcp) {
                    Ok(tcp) => serve(Accepted { tcp, remote, gate, ticket }),
                    Err(error) => tracing::warn!(%error, "an accepted connection is lost"),
                }
            }
        }
    }
}

struct BeginOnDrop(Drain);

impl Drop for BeginOnDrop {
    fn drop(&mut self) {
        self.0.begin();
    }
}
