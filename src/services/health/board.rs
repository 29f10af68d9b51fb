//! What was last found of each service that somebody asks about. It is found once a second for as long as anybody asks,
//! however many they are, and never otherwise.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use arc_swap::ArcSwap;
use futures_util::{StreamExt, future::join_all, stream::FuturesUnordered};
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

    fn knows(&self, service: &str) -> bool {
        service.is_empty() || !self.snapshot.load().upstreams_of(service).is_empty()
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
        let snapshot = self.snapshot.load_full();
        let upstreams = snapshot.upstreams_of(service);
        let is_serving = if service.is_empty() {
            (self.is_ready)() && self.is_all_well(&snapshot).await
        } else if upstreams.is_empty() {
            return self.ask_for_stranger(snapshot.may_have(service), service).await;
        } else {
            any(upstreams.into_iter().map(|upstream| self.is_well(upstream, service))).await
        };
        if is_serving { ServingStatus::Serving } else { ServingStatus::NotServing }
    }

    /// Every call has an upstream that it may go to.
    async fn is_all_well(&self, snapshot: &Snapshot) -> bool {
        let is_well = join_all((0..self.upstreams.len()).map(|upstream| self.is_well(upstream, ""))).await;
        // The gateway itself is behind the others, and is well.
        let is_well = |upstream: &usize| is_well.get(*upstream).is_none_or(|is_well| *is_well);
        snapshot.ways_to_upstreams().iter().all(|shared| shared.iter().any(is_well))
    }

    /// An upstream serves as long as one of its endpoints does.
    async fn is_well(&self, upstream: usize, service: &str) -> bool {
        let Some(endpoints) = self.upstreams.get(upstream) else { return (self.is_ready)() };
        any(endpoints.iter().map(|endpoint| probe::is_serving(endpoint, service))).await
    }

    /// Whether there is a service that no schema knows, those tell who may have it.
    async fn ask_for_stranger(&self, upstreams: Vec<usize>, service: &str) -> ServingStatus {
        let endpoints = upstreams.iter().filter_map(|upstream| self.upstreams.get(*upstream)).flatten();
        let answers = join_all(endpoints.map(|endpoint| probe::ask(endpoint, service))).await;
        let order = [ServingStatus::Serving, ServingStatus::NotServing];
        order.into_iter().find(|status| answers.contains(status)).unwrap_or(ServingStatus::ServiceUnknown)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, watch::Receiver<Found>>> {
        self.looks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for no more of the answers than are needed.
async fn any(answers: impl Iterator<Item = impl Future<Output = bool>>) -> bool {
    answers.collect::<FuturesUnordered<_>>().any(|is_so| async move { is_so }).await
}
