//! Accepting connections, in one place for all workers. Knows nothing of TLS handshakes or HTTP.

use std::{
    io::{self, ErrorKind},
    net::{SocketAddr, TcpListener as StdListener, TcpStream as StdStream},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use futures_util::future::join_all;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::sleep,
};

use super::connections::{Connections, Ticket};
use crate::{
    drain::Drain,
    listener::{Bound, Gate},
};

/// The listening sockets, closed when the drain begins.
pub(super) struct Acceptor {
    listeners: Vec<(StdListener, Arc<Gate>)>,
    connections: Arc<Connections>,
    drain: Drain,
}

/// An accepted connection with a place at a worker.
pub(super) struct Accepted<T> {
    pub(super) tcp: T,
    pub(super) remote: SocketAddr,
    pub(super) gate: Arc<Gate>,
    pub(super) ticket: Ticket,
}

impl Acceptor {
    pub(super) fn new(listeners: Vec<Bound>, connections: Arc<Connections>, drain: Drain) -> Self {
        Self { listeners: listeners.into_iter().map(Bound::into_parts).collect(), connections, drain }
    }

    /// Accepts until the drain begins, and hands each connection to the worker that it got a place at.
    pub(super) async fn hand_over(self, outlets: &[mpsc::Sender<Accepted<StdStream>>]) {
        self.accept(async |worker, accepted| {
            // Sockets belong to the reactor of one runtime: out of this one, into the worker's.
            let tcp = match accepted.tcp.into_std() {
                Ok(tcp) => tcp,
                Err(error) => return tracing::warn!(%error, "an accepted connection is lost"),
            };
            let Accepted { remote, gate, ticket, .. } = accepted;
            if let Some(outlet) = outlets.get(worker) {
                // Fails only where the worker is gone, and then everything ends.
                let _ = outlet.send(Accepted { tcp, remote, gate, ticket }).await;
            }
        })
        .await;
    }

    /// Accepts until the drain begins.
    pub(super) async fn accept(self, deliver: impl AsyncFn(usize, Accepted<TcpStream>)) {
        let Self { listeners, connections, drain } = self;
        let loops = listeners.into_iter().map(|(socket, gate)| {
            let (connections, drain, deliver) = (&connections, &drain, &deliver);
            async move {
                match TcpListener::from_std(socket) {
                    Ok(socket) => accept_on(&socket, &gate, connections, drain, deliver).await,
                    Err(error) => {
                        tracing::error!(%error, "a listener cannot be served");
                        drain.begin();
                    }
                }
            }
        });
        join_all(loops).await;
    }
}

async fn accept_on(
    socket: &TcpListener,
    gate: &Arc<Gate>,
    connections: &Connections,
    drain: &Drain,
    deliver: &impl AsyncFn(usize, Accepted<TcpStream>),
) {
    let mut begun = pin!(drain.begun());
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut begun => return,
            accepted = socket.accept() => accepted,
        };
        match accepted {
            Ok((tcp, remote)) => match connections.take(drain) {
                Some((worker, ticket)) => deliver(worker, Accepted { tcp, remote, gate: gate.clone(), ticket }).await,
                None => tracing::debug!(%remote, "connection refused: every worker is full"),
            },
            Err(error) if is_of_one_connection(&error) => tracing::debug!(%error, "a connection was gone already"),
            Err(error) => {
                // Out of file descriptors or memory: accepting again at once would only burn the processor.
                tracing::warn!(%error, "no connection can be accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Errors that accept(2) passes on from the connection at the head of the queue.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionRefused
            | ErrorKind::Interrupted
    )
}

/// Pause after the system refused a connection for want of resources.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
