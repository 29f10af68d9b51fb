//! What a snapshot serves, described: the OpenAPI document, made once, when it is first asked for, beside the workers; and
//! types for clients.

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
    typescript::{self, Mixed},
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
        openapi::document(&self.schema, &self.comments(), &operations)
    }

    /// Describes the methods of the services whose names begin so, as a module of TypeScript.
    ///
    /// # Errors
    /// Routes that write replies in different ways.
    pub fn typescript(&self, services: &str) -> Result<String, Mixed> {
        let ways = self.ways().filter(|way| way.rule.is_none() && !self.is_own(way));
        let entries = ways.filter_map(|Way { route, method, .. }| {
            let (method, _) = method.filter(|(_, method)| method.service.starts_with(services))?;
            let settings = &route.policy.settings;
            Some(typescript::Entry { method, output: settings.output, resume: settings.sse.resume.as_ref() })
        });
        let entries: Vec<_> = entries.collect();
        typescript::module(&self.schema, &self.comments(), &entries)
    }

    fn comments(&self) -> Comments {
        Comments::read(self.sets.iter().map(|(_, set)| set.as_ref()))
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
