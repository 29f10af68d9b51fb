//! Descriptors from files, proto sources or reflection, merged; methods and their rules. Knows nothing of JSON and HTTP
//! bodies.

mod changes;
mod combine;
mod comments;
mod compare;
mod error;
mod files;
mod load;
mod merge;
mod methods;
mod names;
mod own;
mod places;
mod raw;
pub mod reflection;
mod rules;
mod service_config;
mod set;
#[cfg(test)]
pub(crate) mod fixtures;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, sync::Arc};

use buffa_descriptor::{DescriptorPool, MessageIndex};
use bytes::Bytes;
use http::uri::PathAndQuery;

pub use changes::changes;
pub use comments::Comments;
pub use error::{InvalidSet, Origin, SchemaError};
pub use files::{FileId, Files};
pub use load::{Loaded, load, load_files};
pub use merge::{Union, union};
pub use own::{OWN_UPSTREAM, own_set};
pub use rules::{HttpRule, RuleError, Verb};
pub use service_config::ServiceConfig;

use crate::config::Location;

/// Always part of a schema: the well-known types, error details and HttpBody, and what `google.api.http` needs.
const BUILTIN: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/builtin.binpb"));

/// Largest descriptor set, in bytes: more than any known API has, and its decoded form still fits into memory.
pub const SET_BYTES_MAX: usize = 64 << 20;

/// The types and methods of all upstreams. Immutable.
#[derive(Debug)]
pub struct Schema {
    pool: Arc<DescriptorPool>,
    methods: Vec<Method>,
    /// Looked up by whatever clients ask for; only we put names in, so that no flood of equal hashes can be made.
    by_path: HashMap<Box<str>, MethodId, foldhash::fast::RandomState>,
}

/// A method of one [`Schema`]: its place in [`Schema::methods`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MethodId(pub u32);

#[derive(Clone, Debug)]
pub struct Method {
    /// `/pkg.Service/Method`.
    pub path: PathAndQuery,
    /// `pkg.Service`.
    pub service: String,
    /// `Method`.
    pub name: String,
    pub input: MessageIndex,
    pub output: MessageIndex,
    pub client_streaming: bool,
    pub server_streaming: bool,
    /// Its `idempotency_level` is `NO_SIDE_EFFECTS`.
    pub no_side_effects: bool,
    /// Marked as doing no more when called twice, or without side effects.
    pub idempotent: bool,
    /// With `additional_bindings`, in order.
    pub rules: Vec<HttpRule>,
    /// Indices of the upstreams that have it, in their order; at least one. Its rules are the first one's.
    pub upstreams: Vec<usize>,
}

/// What is known of one upstream's schema.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpstreamSchema {
    /// A serialized `google.protobuf.FileDescriptorSet`; none: not known yet, or there is none.
    pub set: Option<Bytes>,
    pub service_config: Arc<ServiceConfig>,
}

impl UpstreamSchema {
    /// How many files the set has.
    pub fn files(&self) -> usize {
        self.set.as_deref().map_or(0, |set| raw::Fields::of(set).filter(Result::is_ok).count())
    }
}

/// What one upstream brings to a merged schema.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// Its index, for [`Method::upstreams`].
    pub upstream: usize,
    /// Its name, for errors.
    pub name: &'a str,
    /// A serialized `google.protobuf.FileDescriptorSet`.
    pub set: &'a [u8],
    pub service_config: &'a ServiceConfig,
}

impl Schema {
    /// Joins the upstreams' sets with what is built in. What two upstreams both have may be more in one of them: a field
    /// that the other does not know is one that it skips; so is a method. Which of several serves a method is for others to
    /// say. The services that every gRPC server has of its own (health, reflection, channelz) are never among the methods.
    ///
    /// # Errors
    /// A set that is not valid, or a symbol that means one thing to one upstream and another to the next.
    pub fn merge(sources: &[Source<'_>]) -> Result<Self, SchemaError> {
        Self::merge_with(None, sources)
    }

    /// The same beside the gateway's own services, which take the place of the upstreams' services of the same names.
    ///
    /// # Errors
    /// As [`Schema::merge`].
    pub fn merge_with(own: Option<Source<'_>>, sources: &[Source<'_>]) -> Result<Self, SchemaError> {
        // First, as of what every server has of its own the first definition stays.
        let sources: Vec<_> = own.into_iter().chain(sources.iter().copied()).collect();
        let merged = merge::merge(&sources)?;
        let methods = methods::collect(&merged, &sources, own.map(|own| own.upstream))?;
        let by_path =
            (0..).zip(&methods).map(|(index, method)| (method.path.as_str().into(), MethodId(index))).collect();
        Ok(Self { pool: Arc::new(merged.pool), methods, by_path })
    }

    pub fn pool(&self) -> &DescriptorPool {
        &self.pool
    }

    pub fn methods(&self) -> &[Method] {
        &self.methods
    }

    /// The method of a path, `/pkg.Service/Method`.
    pub fn method(&self, path: &str) -> Option<MethodId> {
        self.by_path.get(path).copied()
    }
}

impl Method {
    /// `pkg.Service.Method`.
    pub fn full_name(&self) -> String {
        format!("{}.{}", self.service, self.name)
    }

    /// Where a rule of this method stands: in a service configuration or in a proto file.
    pub fn locate(&self, rule: &HttpRule, sources: &[Source<'_>]) -> Location {
        if let Some(location) = &rule.location {
            return location.clone();
        }
        let source = sources.iter().find(|source| self.upstreams.first() == Some(&source.upstream));
        source.map_or_else(Location::default, |source| source.annotation(&self.service, &self.name))
    }
}

impl std::ops::Index<MethodId> for Schema {
    type Output = Method;

    /// # Panics
    /// If the id is of another schema.
    fn index(&self, id: MethodId) -> &Method {
        &self.methods[id.0 as usize]
    }
}

/// True for the services that belong to a gRPC server itself, not to what it serves.
fn is_infrastructure(service: &str) -> bool {
    ["grpc.health.", "grpc.reflection.", "grpc.channelz."].iter().any(|package| service.starts_with(package))
}
