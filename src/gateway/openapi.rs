//! The OpenAPI document of a snapshot: made once, when it is first asked for, beside the workers.

use std::sync::{Arc, OnceLock};

use futures_util::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use http::HeaderValue;
use tokio::task;

use super::{
    assets::Asset,
    snapshot::{Snapshot, Way},
};
use crate::{
    openapi::{self, Operation, TooLarge},
    schema::Comments,
    status::{Code, Reason, Status},
};

/// Where it is served. No backend's rule can take its place.
pub const OPENAPI_PATH: &str = "/-/openapi.json";

/// A document that may not be made yet; whoever asks meanwhile waits for the same.
#[derive(Default)]
pub(super) struct Document(OnceLock<Shared<BoxFuture<'static, Made>>>);

/// Or why there is none.
type Made = Result<Arc<Asset>, &'static str>;

impl Snapshot {
    /// Describes the methods of the services whose names begin so, in JSON: by their rules, and by
    /// `/pkg.Service/Method` those that have none, or `all`.
    ///
    /// # Errors
    /// An API that is too large.
    pub fn openapi(&self, services: &str, all: bool) -> Result<Vec<u8>, TooLarge> {
        let ways = self.ways().filter(|way| !self.is_own(way));
        let operations = ways.filter_map(|Way { route, method, rule }| {
            let (id, method) = method?;
            let wanted = method.service.starts_with(services) && (rule.is_some() || all || method.rules.is_empty());
            let place = rule.map(|(place, _)| place);
            wanted.then_some(Operation { method: id, rule: place, output: route.policy.settings.output })
        });
        let operations: Vec<Operation> = operations.collect();
        openapi::document(&self.schema, &Comments::read(self.sets.iter().map(|(_, set)| set.as_ref())), &operations)
    }
}

/// The document of a snapshot that serves one.
///
/// # Errors
/// INTERNAL where there can be none.
pub(super) async fn document(snapshot: &Arc<Snapshot>, document: &Document) -> Result<Arc<Asset>, Status> {
    let make = || {
        let snapshot = snapshot.clone();
        // Off the worker: with thousands of methods it takes a while.
        let made = task::spawn_blocking(move || match snapshot.openapi("", false) {
            Ok(json) => Ok(Arc::new(Asset::new(HeaderValue::from_static("application/json"), json.into()))),
            Err(TooLarge) => Err("the API is too large to be described in one document"),
        });
        made.map(|made| made.unwrap_or(Err("the description could not be made"))).boxed().shared()
    };
    let made = document.0.get_or_init(make).clone().await;
    made.map_err(|text| Status::gateway(Code::Internal, text).with_reason(Reason::Internal))
}
