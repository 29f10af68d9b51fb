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

use super::known::shorten;
use crate::{
    config::Upstream,
    schema::reflection::{self, Told},
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
    /// What it last named itself and does not know.
    unknown: Vec<String>,
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
        for alone in Cluster::each(upstream)? {
            let Some(connections) = alone.connections().next() else { continue };
            all.push(Self {
                place: Place { upstream: index, endpoint: all.len() },
                url: alone.endpoints().map(|endpoint| endpoint.url.to_owned()).collect(),
                pool: Pool::new(alone),
                connections,
                poll: upstream.schema_poll,
                patience: PAUSE_MIN,
                failures: 0,
                unknown: Vec::new(),
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
            let told = reflection::fetch(&self.pool, asked + TIMEOUT).await;
            self.failures = if told.is_ok() { 0 } else { self.failures.saturating_add(1) };
            let set = told.map(|Told { set, unknown }| {
                if let Some(news) = self.news_of(unknown) {
                    tracing::warn!(endpoint = self.url, "server reflection does not know what it named itself: {news}");
                }
                set
            });
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

    /// What to tell of what the server does not know of itself: it may stay so for good, and is told once.
    fn news_of(&mut self, unknown: Vec<String>) -> Option<String> {
        const NAMES_MAX: usize = 5;
        let is_new = self.unknown != unknown;
        self.unknown = unknown;
        if !is_new || self.unknown.is_empty() {
            return None;
        }
        let mut named = self.unknown.clone();
        shorten(&mut named, NAMES_MAX);
        Some(named.join(", "))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, Quick};

    #[tokio::test]
    async fn what_a_server_does_not_know_of_itself_is_told_when_it_changes() {
        let quick = Quick { upstreams: vec!["http://localhost:1".to_owned()], ..Quick::default() };
        let settings = config::quick(&quick).unwrap();
        let mut endpoint = Endpoint::all(0, &settings.upstreams[0]).unwrap().remove(0);
        let names = |count: usize| (0..count).map(|index| format!("the file `{index}`")).collect::<Vec<_>>();
        for (unknown, news) in [
            (0, None),
            (1, Some("the file `0`")),
            (1, None),
            (7, Some("the file `0`, the file `1`, the file `2`, the file `3`, the file `4`, and 2 more")),
            (0, None),
            (1, Some("the file `0`")),
        ] {
            assert_eq!(endpoint.news_of(names(unknown)).as_deref(), news);
        }
    }
}
