//! What is told of the schemas: to the admin server, to the metrics, and to whoever asks whether the gateway is ready.

use std::time::SystemTime;

use serde::{Serialize, Serializer};

use crate::{
    admin::Readiness,
    config::{MethodMatch, Mirror, RouteMatch, RoutePolicy, RouteRule},
    edge::Condition,
    telemetry::{self, SchemaRecord},
};

/// Every upstream's schema at one moment.
#[derive(Clone, Debug, Default, Serialize)]
pub(in crate::cli) struct Report {
    pub(super) upstreams: Vec<UpstreamReport>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct UpstreamReport {
    pub(super) name: String,
    /// The key of the configuration.
    pub(super) source: &'static str,
    pub(super) state: State,
    /// When what is served was put into service.
    #[serde(serialize_with = "rfc3339")]
    pub(super) loaded: Option<SystemTime>,
    pub(super) services: usize,
    pub(super) methods: usize,
    pub(super) files: usize,
    pub(super) swapped: u64,
    pub(super) refused: u64,
    pub(super) failed: u64,
    /// Why what is served may not be the newest.
    pub(super) problems: Vec<String>,
    /// What the last swap broke.
    pub(super) breaking_changes: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) endpoints: Vec<EndpointReport>,
    /// The routes of the configuration that name it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) routes: Vec<RouteReport>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    /// The newest is served.
    Current,
    /// The last good one is served: the newest could not be had, or is refused.
    Outdated,
    /// None is known yet.
    Missing,
    /// There is to be none.
    None,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct EndpointReport {
    pub(super) url: String,
    /// When it last answered or failed to.
    #[serde(serialize_with = "rfc3339")]
    pub(super) asked: Option<SystemTime>,
    /// Its schema is part of what is served.
    pub(super) known: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) problem: Option<String>,
    /// What other endpoints have and it does not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) lacks: Vec<String>,
}

/// What one route sends to an upstream.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct RouteReport {
    /// Its place under `routes:`.
    route: usize,
    /// As `service=demo. host=*.example.com x-tenant=acme`.
    matches: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    weight: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mirror_percent: Option<f64>,
}

impl RouteReport {
    /// Of all routes that name an upstream.
    pub(super) fn all(routes: &[RouteRule], upstream: &str) -> Vec<Self> {
        let report = |(route, rule): (usize, &RouteRule)| {
            let RoutePolicy { upstreams, mirror, .. } = &rule.policy;
            let weight = upstreams.iter().find(|(name, _)| name == upstream).map(|(_, weight)| *weight);
            let mirror = mirror.as_ref().filter(|mirror| mirror.upstream == upstream);
            let mirror_percent = mirror.map(Mirror::percent);
            let is_named = weight.is_some() || mirror_percent.is_some();
            is_named.then(|| Self { route, matches: matches(&rule.matches), weight, mirror_percent })
        };
        routes.iter().enumerate().filter_map(report).collect()
    }
}

fn matches(matches: &RouteMatch) -> String {
    let methods = matches.methods.as_ref().map(|methods| match methods {
        MethodMatch::Method(name) => format!("method={name}"),
        MethodMatch::ServicePrefix(prefix) => format!("service={prefix}"),
    });
    let condition = Condition::of(matches).map(|condition| condition.to_string());
    methods.into_iter().chain(condition).collect::<Vec<_>>().join(" ")
}

impl Report {
    /// Ready once every upstream has a schema, be it an old one.
    pub(in crate::cli) fn readiness(&self) -> Readiness {
        let problem = |upstream: &UpstreamReport| {
            let name = upstream.name.clone();
            let problems: Vec<_> =
                upstream.problems.iter().map(|problem| format!("upstream {name}: {problem}")).collect();
            match (problems.is_empty(), upstream.state) {
                (true, State::Missing) => vec![format!("upstream {name}: its schema is not known yet")],
                _ => problems,
            }
        };
        Readiness {
            ready: self.upstreams.iter().all(|upstream| upstream.state != State::Missing),
            problems: self.upstreams.iter().flat_map(problem).collect(),
        }
    }

    pub(in crate::cli) fn records(&self) -> Vec<SchemaRecord> {
        let record = |upstream: &UpstreamReport| SchemaRecord {
            upstream: upstream.name.clone(),
            swapped: upstream.swapped,
            refused: upstream.refused,
            failed: upstream.failed,
            loaded: upstream.loaded,
            methods: upstream.methods,
            is_current: upstream.state == State::Current,
        };
        self.upstreams.iter().filter(|upstream| upstream.state != State::None).map(record).collect()
    }

    pub(in crate::cli) fn json(&self) -> String {
        // Nothing in it can fail to be written.
        serde_json::to_string(self).unwrap_or_default()
    }
}

fn rfc3339<S: Serializer>(time: &Option<SystemTime>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(telemetry::rfc3339).serialize(serializer)
}
