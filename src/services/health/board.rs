//! What was last found of each service that somebody asks about. It is found once a second for as long as anybody asks,
//! however many they are, and never otherwise.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::{sync::watch, time::sleep};
use tonic::Status;

use super::{probe, proto::health_check_response::ServingStatus};
use crate::{gateway::Snapshot, upstream::Pool};

/// Time between two looks, and the longest that what was found counts.
const PERIOD: Duration = Duration::from_secs(1);
/// Most names that are no service's of the schema and are asked about at a time.
const STRANGERS_MAX: usize = 256;

/// None until it was found for the first time.
type Found = Option<ServingStatus>;

pub(in crate::services) struct Board {
    snapshot: Arc<ArcSwap<Snapshot>>,
    /// Whether the gateway can answer calls, whatever its upstreams do.
    is_ready: Box<dyn Fn() -> bool + Send + Sync>,
    /// The endpoints of each upstream, in the order of the configuration.
    upstreams: Vec<Vec<Pool>>,
    looks: Mutex<HashMap<String, watch::Receiver<Found>>>,
}

impl Board {
    pub(in crate::services) fn new(
        snapshot: Arc<ArcSwap<Snapshot>>,
        is_ready: impl Fn() -> bool + Send + Sync + 'static,
        upstreams: Vec<Vec<Pool>>,
    ) -> Arc<Self> {
        Arc::new(Self { snapshot, is_ready: Box::new(is_ready), upstreams, looks: Mutex::default() })
    }

    /// The names that can be asked about, with the empty one, which stands for all.
    pub(super) fn services(&self) -> Vec<String> {
        let snapshot = self.snapshot.load();
        [""].into_iter().chain(snapshot.services()).map(str::to_owned).collect()
    }

    pub(super) fn knows(&self, service: &str) -> bool {
        service.is_empty() || self.snapshot.load().upstream_of(service).is_some()
    }

    /// What is found of a service from now on, until the receiver is dropped.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED where too much is asked about that nobody knows.
    pub(super) fn look_at(self: &Arc<Self>, service: &str) -> Result<watch::Receiver<Found>, Status> {
        let mut looks = self.lock();
        // Whose task went down with its runtime looks no more.
        if let Some(look) = looks.get(service).filter(|look| look.has_changed().is_ok()) {
            return Ok(look.clone());
        }
        if looks.len() >= STRANGERS_MAX && !self.knows(service) {
            return Err(Status::resource_exhausted("too many services are asked about that are not known"));
        }
        let (sender, found) = watch::channel(None);
        looks.insert(service.to_owned(), found.clone());
        tokio::spawn(self.clone().look(service.to_owned(), sender));
        Ok(found)
    }

    async fn look(self: Arc<Self>, service: String, sender: watch::Sender<Found>) {
        loop {
            let found = Some(self.find(&service).await);
            sender.send_if_modified(|last| std::mem::replace(last, found) != found);
            sleep(PERIOD).await;
            let mut looks = self.lock();
            // The board's own is left.
            if sender.receiver_count() <= 1 {
                looks.remove(&service);
                return;
            }
        }
    }

    async fn find(&self, service: &str) -> ServingStatus {
        let upstream = self.snapshot.load().upstream_of(service);
        let is_serving = match upstream {
            _ if service.is_empty() => (self.is_ready)() && self.all_are_well().await,
            None => return ServingStatus::ServiceUnknown,
            Some(upstream) => self.is_well(upstream, service).await,
        };
        if is_serving { ServingStatus::Serving } else { ServingStatus::NotServing }
    }

    async fn all_are_well(&self) -> bool {
        let answers: FuturesUnordered<_> =
            (0..self.upstreams.len()).map(|upstream| self.is_well(upstream, "")).collect();
        answers.all(|is_well| async move { is_well }).await
    }

    /// An upstream serves as long as one of its endpoints does.
    async fn is_well(&self, upstream: usize, service: &str) -> bool {
        // The gateway itself is behind the others.
        let Some(endpoints) = self.upstreams.get(upstream) else { return (self.is_ready)() };
        let answers: FuturesUnordered<_> =
            endpoints.iter().map(|endpoint| probe::is_serving(endpoint, service)).collect();
        answers.any(|is_serving| async move { is_serving }).await
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, watch::Receiver<Found>>> {
        self.looks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
