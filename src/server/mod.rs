//! Connections → requests: HTTP/1.1 and HTTP/2 on worker threads, and the drain. Knows no routes and no dialects.
//!
//! One place accepts; every worker is a thread with a runtime of its own, and serves whole connections.

mod accept;
mod body;
mod connection;
mod connections;
mod date;
mod http2;
mod protocol;
mod service;
mod signals;
mod worker;

#[cfg(test)]
mod tests;

use std::{
    future::Future,
    io,
    net::SocketAddr,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use tokio::{runtime::Runtime, sync::mpsc, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    config::Settings,
    drain::Drain,
    limits::Limits,
    listener::{Bound, DevelopmentCertificate, ListenError},
};

pub use body::RequestBody;
pub use connections::Connections;
pub use service::{Handler, Outgoing};
pub use signals::on_signals;

use accept::Acceptor;
use worker::{Intake, Worker};

/// Bound listeners, and what they are to be served with.
pub struct Server {
    listeners: Vec<Bound>,
    development: Option<DevelopmentCertificate>,
    connections: Arc<Connections>,
    options: Options,
    workers: usize,
}

/// What every connection is served with.
#[derive(Clone)]
struct Options {
    limits: Limits,
    /// Longest time that a connection is kept without a request.
    idle_timeout: Duration,
}

/// Why serving failed.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error(transparent)]
    Listen(#[from] ListenError),
    #[error("there is no listener to serve")]
    NoListener,
    #[error("{what} cannot be started: {source}")]
    Start { what: &'static str, source: io::Error },
    #[error("worker {0} ended in a panic")]
    Worker(usize),
}

impl ServeError {
    /// Whether what was configured is at fault, and not the machine.
    pub fn is_configuration(&self) -> bool {
        match self {
            Self::NoListener => true,
            Self::Listen(ListenError::File { .. } | ListenError::NoCertificate { .. }) => true,
            Self::Listen(ListenError::Bind { .. } | ListenError::Development(_) | ListenError::Tls(_)) => false,
            Self::Start { .. } | Self::Worker(_) => false,
        }
    }
}

impl Server {
    /// Binds every listener and loads the certificates. Clients can connect, but nothing is served before [`Server::run`].
    ///
    /// # Errors
    /// Where an address, a certificate or a key cannot be used.
    pub fn bind(settings: &Settings) -> Result<Self, ServeError> {
        if settings.listeners.is_empty() {
            return Err(ServeError::NoListener);
        }
        let mut development = None;
        let listeners = settings
            .listeners
            .iter()
            .map(|listener| Bound::bind(listener, &mut development))
            .collect::<Result<Vec<_>, _>>()?;
        let workers = settings.workers.max(1);
        let connections = Arc::new(Connections::new(workers, settings.limits.connections_per_worker_max));
        let options = Options { limits: settings.limits.clone(), idle_timeout: IDLE_TIMEOUT };
        Ok(Self { listeners, development, connections, options, workers })
    }

    /// The real address of every listener, with `http` or `https`, in the order of the settings.
    pub fn addresses(&self) -> Vec<(&'static str, SocketAddr)> {
        self.listeners.iter().map(|bound| (bound.kind(), bound.address())).collect()
    }

    /// The certificate that was made for listeners in development, where there is one.
    pub fn development_certificate(&self) -> Option<&DevelopmentCertificate> {
        self.development.as_ref()
    }

    /// Counts of connections, for metrics; they live on while the server runs.
    pub fn connections(&self) -> Arc<Connections> {
        self.connections.clone()
    }

    /// Replaces how long a connection may be without a request (five minutes).
    ///
    /// An HTTP/1.1 connection between requests ends after `limits.header_timeout` already.
    #[must_use]
    pub fn with_idle_timeout(mut self, idle_timeout: Duration) -> Self {
        self.options.idle_timeout = idle_timeout;
        self
    }

    /// Serves until the drain has begun and everything in flight has ended, or `limits.drain_timeout` is over; what is
    /// still open then is aborted. `make` is called once in the runtime of each worker, with the worker's number.
    ///
    /// # Errors
    /// Where a thread or runtime cannot be started, or a worker ended by a panic of `make`.
    pub fn run<H: Handler>(
        self,
        drain: Drain,
        make: impl Fn(usize) -> H + Send + Sync + 'static,
    ) -> Result<(), ServeError> {
        let Self { listeners, connections, options, workers, .. } = self;
        let runtime = runtime()?;
        let stop = CancellationToken::new();
        let make = Arc::new(make);
        let acceptor = Acceptor::new(listeners, connections.clone(), drain.clone());
        let (intakes, hand_over) = divide(acceptor, workers);
        let threads: Vec<_> = intakes
            .into_iter()
            .enumerate()
            .map(|(index, intake)| {
                let worker = Worker::new(index, &options, connections.clone(), drain.clone(), stop.clone());
                start(worker, intake, make.clone())
            })
            .collect();
        if threads.iter().any(Result::is_err) {
            // Those who run end again; nothing was accepted yet.
            drain.begin();
        }
        runtime.block_on(until_drained(hand_over, drain, options.limits.drain_timeout, &connections));
        stop.cancel();
        join(threads)
    }
}

/// Where each worker's connections come from, and what has to be run for it: with one worker nothing, since the
/// connections need no hand-over when it accepts them itself.
fn divide(acceptor: Acceptor, workers: usize) -> (Vec<Intake>, impl Future<Output = ()>) {
    let (intakes, hand_over) = if workers == 1 {
        (vec![Intake::Accept(acceptor)], None)
    } else {
        let (outlets, inlets): (Vec<_>, Vec<_>) = (0..workers).map(|_| mpsc::channel(HANDOVER_MAX)).unzip();
        (inlets.into_iter().map(Intake::Receive).collect(), Some((acceptor, outlets)))
    };
    let hand_over = async move {
        if let Some((acceptor, outlets)) = hand_over {
            acceptor.hand_over(&outlets).await;
        }
    };
    (intakes, hand_over)
}

async fn until_drained(
    hand_over: impl Future<Output = ()>,
    drain: Drain,
    drain_timeout: Duration,
    connections: &Connections,
) {
    let hand_over = async {
        hand_over.await;
        std::future::pending::<()>().await;
    };
    let finished = async {
        drain.begun().await;
        timeout(drain_timeout, drain.finished()).await
    };
    tokio::select! {
        () = hand_over => {}
        finished = finished => if finished.is_err() {
            tracing::warn!(open = connections.open(), "the drain took too long; what is open is cut off");
        }
    }
}

fn start<H: Handler>(
    worker: Worker,
    intake: Intake,
    make: Arc<impl Fn(usize) -> H + Send + Sync + 'static>,
) -> Result<JoinHandle<()>, ServeError> {
    let runtime = runtime()?;
    thread::Builder::new()
        .name(format!("worker-{}", worker.index()))
        .spawn(move || worker.work(runtime, intake, &*make))
        .map_err(|source| ServeError::Start { what: "a worker thread", source })
}

/// The first failure, after every thread has ended.
fn join(threads: Vec<Result<JoinHandle<()>, ServeError>>) -> Result<(), ServeError> {
    let mut outcome = Ok(());
    for (index, thread) in threads.into_iter().enumerate() {
        let ended = thread.and_then(|handle| handle.join().map_err(|_| ServeError::Worker(index)));
        outcome = outcome.and(ended);
    }
    outcome
}

fn runtime() -> Result<Runtime, ServeError> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| ServeError::Start { what: "a runtime", source })
}

/// Longer than clients usually keep a connection for reuse, so that it is seldom the server who closes first.
const IDLE_TIMEOUT: Duration = Duration::from_secs(300);

/// Accepted connections that may wait for one worker; more wait in the system's backlog.
const HANDOVER_MAX: usize = 256;
