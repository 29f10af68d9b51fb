//! Asks one endpoint for its schema by reflection: regularly, and when it may be another server than before. Knows nothing
//! of what becomes of the answers.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};

use crate::{
    config::Upstream,
    schema::reflection,
    status::Status,
    upstream::{Cluster, ClusterError, Pool},
};

/// How long one question may take, with all that follows from its answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The first pause after a failure, and the least between two questions.
const PAUSE_MIN: Duration = Duration::from_millis(250);
/// The longest pause after a failure.
const PAUSE_MAX: Duration = Duration::from_secs(10);

/// One endpoint of one upstream, with a connection of its own.
pub(super) struct Endpoint {
    place: Place,
    url: String,
    pool: Pool,
    /// How many connections it has open: one, kept, that tells by its end when the server goes.
    connections: watch::Receiver<usize>,
    poll: Duration,
    /// How soon a question may follow another because the connection ended: doubled by each, so that a server that closes
    /// every connection is not asked all the time.
    patience: Duration,
    /// Failures in a row.
    failures: u32,
}

/// Indices in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) upstream: usize,
    pub(super) endpoint: usize,
}

/// What an endpoint says.
pub(super) struct Answer {
    pub(super) from: Place,
    pub(super) at: SystemTime,
    pub(super) set: Result<Bytes, Status>,
}

impl Endpoint {
    /// All endpoints of an upstream.
    ///
    /// # Errors
    /// As [`Cluster::new`].
    pub(super) fn all(index: usize, upstream: &Upstream) -> Result<Vec<Self>, ClusterError> {
        let mut all = Vec::with_capacity(upstream.endpoints.len());
        for url in &upstream.endpoints {
            let alone = Cluster::new(&Upstream { endpoints: vec![url.clone()], ..upstream.clone() })?;
            let Some(connections) = alone.connections().next() else { continue };
            all.push(Self {
                place: Place { upstream: index, endpoint: all.len() },
                url: alone.endpoints().map(|endpoint| endpoint.url.to_owned()).collect(),
                pool: Pool::new(alone),
                connections,
                poll: upstream.schema_poll,
                patience: PAUSE_MIN,
                failures: 0,
            });
        }
        Ok(all)
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Asks, tells and waits, until nobody listens any more. Whatever comes by `again` is a reason to ask at once.
    pub(super) async fn run(mut self, answers: mpsc::Sender<Answer>, mut again: watch::Receiver<()>) {
        loop {
            let asked = Instant::now();
            let set = reflection::fetch(&self.pool, asked + TIMEOUT).await;
            self.failures = if set.is_ok() { 0 } else { self.failures.saturating_add(1) };
            if answers.send(Answer { from: self.place, at: SystemTime::now(), set }).await.is_err() {
                return;
            }
            let patience = self.patience;
            let pause = self.pause();
            tokio::select! {
                Ok(()) = again.changed() => {}
                () = self.lost(asked + patience) => {
                    self.patience = (patience * 2).min(self.poll.max(PAUSE_MIN));
                }
                () = sleep_until(asked + pause) => self.patience = PAUSE_MIN,
            }
        }
    }

    /// The time from one question to the next, where nothing happens.
    fn pause(&self) -> Duration {
        let pause = match self.failures {
            0 => self.poll,
            failures => PAUSE_MIN.saturating_mul(1 << (failures - 1).min(10)).min(PAUSE_MAX),
        };
        // Spread, so that the gateways of a fleet do not ask together.
        pause.mul_f64(0.75 + random_fraction() / 2.0)
    }

    /// Ends when the connection that was answered on has: the next one may lead to another server.
    async fn lost(&mut self, earliest: Instant) {
        sleep_until(earliest).await;
        let was_connected = self.failures == 0 || *self.connections.borrow() > 0;
        if !was_connected || self.connections.wait_for(|open| *open == 0).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

fn random_fraction() -> f64 {
    let bits = RandomState::new().build_hasher().finish();
    f64::from(bits as u32) / f64::from(u32::MAX)
}
