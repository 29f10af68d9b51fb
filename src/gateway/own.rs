//! What a snapshot tells the gateway's own services. Knows nothing of how they tell it.

use std::{collections::BTreeSet, sync::Arc};

use tokio::task;

use super::snapshot::{Route, Snapshot, Way};
use crate::{
    schema::Files,
    status::{Code, Reason, Status},
};

impl Snapshot {
    /// Full names of the services that can be called, in order.
    pub fn services(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.schema.methods().iter().map(|method| method.service.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The upstreams that calls of a service of the schema may go to, by their indices in the configuration; the gateway
    /// itself is behind the last. None for what is no such service.
    pub fn upstreams_of(&self, service: &str) -> Vec<usize> {
        let methods = (0..).zip(self.schema.methods()).filter(|(_, method)| method.service == service);
        self.shared_by(methods.filter_map(|(index, _)| self.route(index)))
    }

    /// The same for a service that no schema knows: it may be there or not.
    pub fn may_have(&self, service: &str) -> Vec<usize> {
        self.shared_by(self.passing(&format!("/{service}/")))
    }

    /// For each way that calls may go, the upstreams that share it.
    pub fn ways_to_upstreams(&self) -> BTreeSet<Vec<usize>> {
        let routes = self.ways().map(|way| self.shared_by([way.route]));
        routes.filter(|shared| !shared.is_empty()).collect()
    }

    fn shared_by<'r>(&self, routes: impl IntoIterator<Item = &'r Route>) -> Vec<usize> {
        let shares = routes.into_iter().flat_map(|route| route.leads.iter()).flat_map(|lead| &lead.shares);
        let upstreams: BTreeSet<_> = shares.filter(|share| share.weight > 0).map(|share| share.upstream).collect();
        upstreams.into_iter().collect()
    }

    /// The files of all upstreams. Made when they are first asked for, beside the workers.
    ///
    /// # Errors
    /// INTERNAL, never seen: what they are made of was good for the schema.
    pub async fn files(self: &Arc<Self>) -> Result<Arc<Files>, Status> {
        let make = || async {
            let snapshot = self.clone();
            task::spawn_blocking(move || Files::join(snapshot.named_sets()).map(Arc::new).ok()).await.ok().flatten()
        };
        let files = self.files.get_or_init(make).await.clone();
        files.ok_or_else(|| Status::gateway(Code::Internal, "the files cannot be told").with_reason(Reason::Internal))
    }

    /// True for a way to the services of the gateway's own.
    pub(super) fn is_own(&self, way: &Way<'_>) -> bool {
        way.method.is_some_and(|(_, method)| method.upstreams == [self.upstreams.len() - 1])
    }

    fn named_sets(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.sets.iter().filter_map(|(upstream, set)| Some((self.upstreams.get(*upstream)?.as_str(), set.as_ref())))
    }
}
