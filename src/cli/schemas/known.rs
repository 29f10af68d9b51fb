//! What is known of one upstream's schema: what was last said of it, what of that is to be served, and what is. Knows
//! nothing of other upstreams, and of who asks.

use std::{
    collections::BTreeMap,
    error::Error,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use tokio::time::Instant;

use super::{
    endpoint::Answer,
    files::Contents,
    report::{EndpointReport, RouteReport, State, UpstreamReport},
};
use crate::{
    config::{RouteRule, SchemaSource, Upstream},
    schema::{self, Method, Schema, Source, UpstreamSchema},
    status::Status,
};

/// Sentences on one swap that are kept, and that are written to the log.
const CHANGES_MAX: usize = 100;
const CHANGES_LOGGED: usize = 20;
/// Names of what one endpoint lacks that are kept.
const LACKS_MAX: usize = 20;
/// How long what an endpoint said counts while it is silent and another one answers.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(120);

pub(super) struct Known {
    name: String,
    source: SchemaSource,
    /// Who is asked; none where the schema comes from files.
    endpoints: Vec<Endpoint>,
    /// An endpoint has said something new that is not joined yet.
    unjoined: bool,
    /// The last that is whole and fits together.
    wanted: UpstreamSchema,
    served: UpstreamSchema,
    faults: BTreeMap<Step, String>,
    loaded: Option<SystemTime>,
    changes: Vec<String>,
    swapped: u64,
    refused: u64,
    failed: u64,
}

/// On the way of a schema into service: where something newer than what is served came to an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    ReadSet,
    ReadServiceConfig,
    JoinEndpoints,
    Serve,
}

struct Endpoint {
    url: String,
    asked: Option<SystemTime>,
    /// The last that is valid, as long as it counts.
    set: Option<Bytes>,
    /// Since when it was silent each time it was asked, while another one answers.
    silent_since: Option<Instant>,
    trouble: Option<Trouble>,
    lacks: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Trouble {
    /// It does not tell its schema.
    Silent(String),
    /// It has not for so long that what it told no longer counts.
    LeftOut(String),
    /// What it tells is none.
    Invalid(String),
}

impl Known {
    pub(super) fn new(upstream: &Upstream) -> Self {
        Self {
            name: upstream.name.clone(),
            source: upstream.schema.clone(),
            endpoints: Vec::new(),
            unjoined: false,
            wanted: UpstreamSchema::default(),
            served: UpstreamSchema::default(),
            faults: BTreeMap::new(),
            loaded: None,
            changes: Vec::new(),
            swapped: 0,
            refused: 0,
            failed: 0,
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// One more endpoint will be asked.
    pub(super) fn add_endpoint(&mut self, url: String) {
        self.endpoints.push(Endpoint {
            url,
            asked: None,
            set: None,
            silent_since: None,
            trouble: None,
            lacks: Vec::new(),
        });
    }

    /// What is to be served, as far as this upstream goes.
    pub(super) fn wanted(&self) -> &UpstreamSchema {
        &self.wanted
    }

    pub(super) fn served(&self) -> &UpstreamSchema {
        &self.served
    }

    pub(super) fn is_pending(&self) -> bool {
        self.wanted != self.served
    }

    /// What was refused may no longer be wanted.
    pub(super) fn settle(&mut self) {
        if !self.is_pending() {
            self.note(Step::Serve, None);
        }
    }

    /// Every endpoint has said something, or failed to.
    pub(super) fn has_heard_all(&self) -> bool {
        self.endpoints.iter().all(|endpoint| endpoint.asked.is_some())
    }

    /// Takes in what files say. What cannot be read leaves what was read before.
    pub(super) fn hear_files(&mut self, contents: Contents) {
        match contents.set {
            Ok(set) => {
                self.wanted.set = set.or(self.wanted.set.take());
                self.note(Step::ReadSet, None);
            }
            Err(error) => self.note(Step::ReadSet, Some(error.to_string())),
        }
        match contents.service_config {
            Ok(config) => {
                if *self.wanted.service_config != config {
                    self.wanted.service_config = Arc::new(config);
                }
                self.note(Step::ReadServiceConfig, None);
            }
            Err(errors) => self.note(Step::ReadServiceConfig, Some(errors.to_string())),
        }
    }

    /// Takes in what an endpoint says. Where it says nothing, or nothing that makes sense, what it said before counts: for
    /// [`SILENCE_MAX`] if it is silent and another endpoint answers, as it may be gone for good.
    pub(super) fn hear_endpoint(&mut self, answer: Answer) {
        let index = answer.from.endpoint;
        let another_answers = self.endpoints.iter().enumerate().any(|(other, known)| other != index && known.answers());
        let Some(endpoint) = self.endpoints.get_mut(index) else { return };
        endpoint.asked = Some(answer.at);
        let before = endpoint.set.clone();
        let silent_since = endpoint.silent_since.take();
        let trouble = match answer.set {
            Err(status) => {
                self.failed += 1;
                endpoint.silent_since = another_answers.then(|| silent_since.unwrap_or_else(Instant::now));
                Some(endpoint.silence(with_root_cause(&status)))
            }
            Ok(set) if before.as_ref() == Some(&set) => None,
            Ok(set) => match schema::union(&[(&endpoint.url, set.clone())]) {
                Err(error) => {
                    self.refused += 1;
                    Some(Trouble::Invalid(error.to_string()))
                }
                Ok(_) => {
                    endpoint.set = Some(set);
                    None
                }
            },
        };
        self.unjoined |= endpoint.set != before;
        endpoint.note(&self.name, trouble);
    }

    /// Joins what the endpoints say, where any says something new. Apart from the hearing, so that at the start no endpoint
    /// is believed because it was the first to answer.
    pub(super) fn join(&mut self) {
        if !std::mem::take(&mut self.unjoined) {
            return;
        }
        let known =
            || self.endpoints.iter().filter_map(|endpoint| Some((endpoint.url.as_str(), endpoint.set.clone()?)));
        match schema::union(&known().collect::<Vec<_>>()) {
            Ok(union) => {
                let known = self.endpoints.iter_mut().filter(|endpoint| endpoint.set.is_some());
                for (endpoint, mut lacks) in known.zip(union.lacking) {
                    shorten(&mut lacks, LACKS_MAX);
                    endpoint.lacks = lacks;
                }
                self.wanted.set = Some(union.set);
                self.note(Step::JoinEndpoints, None);
            }
            Err(error) => self.note(Step::JoinEndpoints, Some(error.to_string())),
        }
    }

    /// What is wanted is served now.
    pub(super) fn swap(&mut self) {
        self.note(Step::Serve, None);
        let old = std::mem::replace(&mut self.served, self.wanted.clone());
        if self.served.set.is_none() {
            return;
        }
        self.loaded = Some(SystemTime::now());
        let first = old.set.is_none();
        self.changes = self.changes_since(&old);
        self.swapped += u64::from(!first);
        let upstream = &self.name;
        tracing::info!(%upstream, breaking_changes = self.changes.len(), "schema {}", if first { "loaded" } else { "swapped" });
        for change in self.changes.iter().take(CHANGES_LOGGED) {
            tracing::warn!(%upstream, "breaking change of the schema: {change}");
        }
        shorten(&mut self.changes, CHANGES_MAX);
    }

    /// What is served breaks of what was served before; nothing where there was nothing.
    pub(super) fn changes_since(&self, old: &UpstreamSchema) -> Vec<String> {
        match (self.alone(old), self.alone(&self.served)) {
            (Some(old), Some(new)) => schema::changes(&old, &new),
            _ => Vec::new(),
        }
    }

    /// What is wanted does not fit to what else is served.
    pub(super) fn refuse(&mut self, error: String) {
        self.note(Step::Serve, Some(error));
    }

    /// A schema of this upstream and no other.
    fn alone(&self, schema: &UpstreamSchema) -> Option<Schema> {
        let set = schema.set.as_deref()?;
        let source = Source { upstream: 0, name: &self.name, set, service_config: &schema.service_config };
        Schema::merge(&[source]).ok()
    }

    fn note(&mut self, step: Step, fault: Option<String>) {
        let upstream = &self.name;
        let Some(fault) = fault else {
            self.faults.remove(&step);
            return;
        };
        match step {
            Step::ReadSet | Step::ReadServiceConfig => self.failed += 1,
            Step::JoinEndpoints | Step::Serve => self.refused += 1,
        }
        if self.faults.get(&step) != Some(&fault) {
            let stays = if self.served.set.is_some() { ", the old one stays" } else { "" };
            tracing::error!(%upstream, "schema refused{stays}: {fault}");
        }
        self.faults.insert(step, fault);
    }

    pub(super) fn report<'s>(&self, methods: impl Iterator<Item = &'s Method>, routes: &[RouteRule]) -> UpstreamReport {
        let methods: Vec<_> = methods.map(|method| method.service.as_str()).collect();
        let mut services = methods.clone();
        services.sort_unstable();
        services.dedup();
        UpstreamReport {
            name: self.name.clone(),
            source: match self.source {
                SchemaSource::Reflection => "reflection",
                SchemaSource::DescriptorSet(_) => "descriptor_set",
                SchemaSource::Protos { .. } => "protos",
                SchemaSource::Embedded(_) => "embedded",
                SchemaSource::None => "none",
            },
            state: self.state(),
            loaded: self.loaded,
            services: services.len(),
            methods: methods.len(),
            files: self.served.files(),
            swapped: self.swapped,
            refused: self.refused,
            failed: self.failed,
            problems: self.problems(),
            breaking_changes: self.changes.clone(),
            endpoints: self.endpoints.iter().map(Endpoint::report).collect(),
            routes: RouteReport::all(routes, &self.name),
        }
    }

    fn state(&self) -> State {
        let is_invalid = |endpoint: &Endpoint| matches!(endpoint.trouble, Some(Trouble::Invalid(_)));
        if self.source == SchemaSource::None {
            State::None
        } else if self.served.set.is_none() {
            State::Missing
        } else if self.faults.is_empty() && !self.endpoints.iter().any(is_invalid) {
            State::Current
        } else {
            State::Outdated
        }
    }

    fn problems(&self) -> Vec<String> {
        let faults = self.faults.values().cloned();
        faults.chain(self.endpoints.iter().filter_map(Endpoint::problem)).collect()
    }
}

impl Endpoint {
    fn answers(&self) -> bool {
        self.set.is_some() && self.trouble.is_none()
    }

    /// What its silence amounts to. What it said is given up once that has gone on for too long.
    fn silence(&mut self, text: String) -> Trouble {
        if self.set.is_some() && self.silent_since.is_some_and(|since| since.elapsed() >= SILENCE_MAX) {
            self.set = None;
            self.lacks.clear();
            return Trouble::LeftOut(text);
        }
        match self.trouble {
            Some(Trouble::LeftOut(_)) => Trouble::LeftOut(text),
            _ => Trouble::Silent(text),
        }
    }

    fn problem(&self) -> Option<String> {
        match self.trouble.as_ref()? {
            Trouble::Silent(text) => Some(format!("endpoint {}: {text}", self.url)),
            Trouble::LeftOut(text) => Some(format!("endpoint {} is silent and no longer counted: {text}", self.url)),
            Trouble::Invalid(text) => Some(text.clone()),
        }
    }

    /// Tells of a trouble that is another than before, or is over.
    fn note(&mut self, upstream: &str, trouble: Option<Trouble>) {
        if self.trouble == trouble {
            return;
        }
        self.trouble = trouble;
        match self.problem() {
            Some(problem) => tracing::warn!(upstream, "schema by reflection: {problem}"),
            None => tracing::info!(upstream, endpoint = self.url, "schema by reflection: it answers again"),
        }
    }

    fn report(&self) -> EndpointReport {
        EndpointReport {
            url: self.url.clone(),
            asked: self.asked,
            known: self.set.is_some(),
            problem: self.problem(),
            lacks: self.lacks.clone(),
        }
    }
}

fn with_root_cause(status: &Status) -> String {
    let mut cause = status.source();
    while let Some(deeper) = cause.and_then(Error::source) {
        cause = Some(deeper);
    }
    let cause = cause.map(|cause| match cause.downcast_ref::<Status>() {
        Some(inner) => inner.message().to_owned(),
        None => cause.to_string(),
    });
    match cause.filter(|cause| !status.message().contains(cause)) {
        Some(cause) => format!("{status} ({cause})"),
        None => status.to_string(),
    }
}

/// Keeps the first of some names, and tells how many more there were.
pub(super) fn shorten(names: &mut Vec<String>, max: usize) {
    if names.len() > max {
        let more = names.len() - max;
        names.truncate(max);
        names.push(format!("and {more} more"));
    }
}
