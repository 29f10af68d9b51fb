//! What a snapshot tells the gateway's own services. Knows nothing of how they tell it.

use std::sync::Arc;

use tokio::task;

use super::{
    lead::Lead,
    snapshot::{Snapshot, Way},
};
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

    /// The upstream that a service leads to, by its index in the configuration; the gateway itself is behind the last.
    /// Where several share its calls, it is the one that gets most of those that no condition leads elsewhere.
    pub fn upstream_of(&self, service: &str) -> Option<usize> {
        let methods = (0..).zip(self.schema.methods());
        let known = methods.filter(|(_, method)| method.service == service).filter_map(|(index, _)| self.route(index));
        let path = format!("/{service}/");
        let leads = known.chain(self.passing(&path)).flat_map(|route| route.leads.iter().rev());
        let heaviest = |lead: &Lead| lead.shares.iter().max_by_key(|share| share.weight).map(|share| share.upstream);
        leads.filter_map(heaviest).next()
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
