//! Everything a call is served by, immutable: a reload builds a new one and swaps it whole, and a call keeps the one it
//! began with.

use std::{
    borrow::Cow,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, header, request::Parts, uri::PathAndQuery};
use smallvec::SmallVec;
use thiserror::Error;
use tokio::sync::OnceCell;

use super::{
    assets::{Asset, Assets},
    lead::{Lead, Ruled},
    openapi::{Document, OPENAPI_PATH},
    policies::{Copied, Plan, Policies, Policy, Rivals, covers},
};
use crate::{
    codec::{Binding, Codec},
    coding::Coding,
    config::{self, Compression, Location, MethodMatch, Mux, SchemaSource, Settings, SlowReader, Upstream},
    dialect::{Dialect, MethodKind, connect},
    edge::Cors,
    limits::Limits,
    route::{self, Found, Table, TableBuilder, Template},
    schema::{
        Files, HttpRule, Method as SchemaMethod, MethodId, OWN_UPSTREAM, Schema, SchemaError, Source, UpstreamSchema,
        own_set,
    },
    status::{Code, Reason, Status},
};

/// Routes, codec, policies: what a configuration and its schemas mean together.
pub struct Snapshot {
    pub(super) codec: Codec,
    pub(super) cors: Cors,
    pub(super) limits: Limits,
    /// There are other gateways, with which streams may be shared.
    pub(super) has_fleet: bool,
    pub(super) compression: Compression,
    pub(super) schema: Schema,
    /// No other snapshot of the process has the same.
    pub(super) generation: u64,
    /// Some upstream's schema is not known yet: what no route is found for may be its.
    is_partial: bool,
    table: Table,
    /// First one per method, in the schema's order (its `/pkg.Service/Method` path), then one per rule, then those of
    /// services that pass through, then what takes the place of one of them under a condition.
    routes: Vec<Route>,
    passing: Vec<(Option<MethodMatch>, u32)>,
    /// Names; the last is the gateway itself.
    pub(super) upstreams: Vec<String>,
    /// How messages to each of them are compressed.
    message_codings: Vec<Option<Coding>>,
    assets: Arc<Assets>,
    /// The upstreams' descriptor sets, the gateway's own first, for what is not kept of them otherwise.
    pub(super) sets: Vec<(usize, Bytes)>,
    /// Made of them once somebody asks.
    pub(super) files: OnceCell<Option<Arc<Files>>>,
    /// None: not served.
    document: Option<Document>,
    /// Where many calls are made on one WebSocket or in one session; none: nowhere.
    pub(super) mux: Option<Mux>,
    /// Where tickets are given out; none: nowhere.
    pub(super) tickets: Option<config::Tickets>,
}

/// One way to a method.
#[derive(Clone)]
pub(super) struct Route {
    /// This route's place, by which a call remembers it.
    pub(super) index: u32,
    /// `pkg.Service/Method`, or the prefix that passes through.
    name: String,
    pub(super) path: PathAndQuery,
    pub(super) client_streaming: bool,
    pub(super) server_streaming: bool,
    no_side_effects: bool,
    /// True for `/pkg.Service/Method` itself, where GET carries `?message=`.
    pub(super) is_method_path: bool,
    /// False for what passes through by its prefix: nothing is known of its messages.
    pub(super) has_schema: bool,
    pub(super) binding: Binding,
    pub(super) policy: Arc<Policy>,
    pub(super) mirror: Option<Copied>,
    /// None: any request.
    pub(super) condition: Option<Ruled>,
    /// Where the calls go: the first that a request fits is its own.
    pub(super) leads: Arc<[Lead]>,
    /// What takes this route's place for requests that fit a condition, in the order in which it is tried.
    pub(super) variants: Vec<u32>,
    /// The route whose place this one takes; its own index where it is none's.
    pub(super) base: u32,
}

/// A route, and what it was made of.
pub(super) struct Way<'s> {
    pub(super) route: &'s Route,
    /// None: services that no schema knows pass through.
    pub(super) method: Option<(MethodId, &'s SchemaMethod)>,
    /// None: `/pkg.Service/Method`.
    pub(super) rule: Option<(usize, &'s HttpRule)>,
}
static GENERATIONS: AtomicU64 = AtomicU64::new(0);

/// When to ask again for what an upstream may turn out to have: its schema is asked for every few seconds at most.
const SCHEMA_RETRY: Duration = Duration::from_secs(2);

/// Where a request leads.
pub(super) enum Target<'s, 'p> {
    Route { route: &'s Route, lead: &'s Lead, captures: SmallVec<[Cow<'p, str>; 4]> },
    Asset(&'s Arc<Asset>),
    OpenApi(&'s Document),
    Mux,
    Ticket(&'s config::Tickets),
}

/// A configuration and schemas that do not fit together.
#[derive(Debug, Error)]
pub enum SnapshotError {
    #[error(transparent)]
    Schema(#[from] SchemaError),
    #[error("{location}: {selector}: {cause}")]
    Template { location: Location, selector: String, cause: route::TemplateError },
    #[error("{location}: {selector}: the rule `{template}` does not fit its message: {cause}")]
    Binding { location: Location, selector: String, template: String, cause: crate::codec::BindingError },
    #[error("{location}: {selector}: `{template}` is where the method of that name is reached in every dialect")]
    MethodPath { location: Location, selector: String, template: String },
    #[error("{location}: {selector}: `{path}` is where {what}")]
    OwnPath { location: Location, selector: String, path: String, what: &'static str },
    #[error(
        "the upstreams `{first}` and `{second}` both have the service `{service}`, and no route says who takes its calls"
    )]
    Rivals { service: String, first: String, second: String },
    #[error("routes: sse of {method}: {cause}")]
    Events { method: String, cause: crate::codec::BindingError },
    #[error("{second}: {rules}; the first stands at {first}")]
    Ambiguous { first: Location, second: Location, rules: Box<route::AmbiguousRules> },
}

impl Snapshot {
    /// Compiles the settings with each upstream's schema, as far as they are known.
    ///
    /// # Errors
    /// What the schemas or the rules contradict each other in.
    pub fn build(settings: &Settings, schemas: &[UpstreamSchema], assets: Arc<Assets>) -> Result<Self, SnapshotError> {
        let is_missing = |(upstream, schema): (&Upstream, &UpstreamSchema)| {
            upstream.schema != SchemaSource::None && schema.set.is_none()
        };
        let is_partial = settings.upstreams.iter().zip(schemas).any(is_missing);
        let sources: Vec<_> = settings
            .upstreams
            .iter()
            .zip(schemas)
            .enumerate()
            .filter_map(|(upstream, (settings, schema))| {
                let set = schema.set.as_ref()?;
                Some(Source { upstream, name: &settings.name, set, service_config: &schema.service_config })
            })
            .collect();
        let (itself, own_set, nothing) = (settings.upstreams.len(), own_set(settings.services), Default::default());
        let own = Source { upstream: itself, name: OWN_UPSTREAM, set: &own_set, service_config: &nothing };
        let schema = Schema::merge_with(Some(own), &sources)?;
        let codec = Codec::compile(schema.pool());
        let policies = Policies::new(settings, schemas);
        let plan = |method: &SchemaMethod| policies.of(method).map_err(|rivals| told(&rivals, method, settings));
        let plans = schema.methods().iter().map(plan).collect::<Result<Vec<_>, _>>()?;
        let mut builder = Builder {
            schema: &schema,
            codec: &codec,
            sources: &sources,
            own: own_paths(settings),
            routes: Vec::new(),
            variants: Vec::new(),
            table: TableBuilder::default(),
        };
        for (method, plan) in schema.methods().iter().zip(&plans) {
            builder.method(method, plan)?;
        }
        for (method, plan) in schema.methods().iter().zip(&plans) {
            for rule in &method.rules {
                builder.rule(method, rule, plan)?;
            }
        }
        let passing = builder.passing(&policies);
        builder.add_variants()?;
        let routes = builder.routes;
        let table = builder.table.build().map_err(|rules| ambiguous(rules, &schema, &sources))?;
        let names = settings.upstreams.iter().map(|upstream| upstream.name.as_str());
        let sets = (0..).zip(schemas).filter_map(|(upstream, schema)| Some((upstream, schema.set.clone()?)));
        Ok(Self {
            cors: Cors::new(&settings.cors),
            limits: settings.limits.clone(),
            has_fleet: settings.redis.is_some(),
            compression: settings.compression.clone(),
            message_codings: settings.upstreams.iter().map(|upstream| upstream.compression).collect(),
            upstreams: names.chain([OWN_UPSTREAM]).map(str::to_owned).collect(),
            codec,
            schema,
            generation: GENERATIONS.fetch_add(1, Relaxed),
            is_partial,
            table,
            routes,
            passing,
            assets,
            sets: [(itself, own_set)].into_iter().chain(sets).collect(),
            files: OnceCell::new(),
            document: settings.openapi.then(Document::default),
            mux: settings.mux.clone(),
            tickets: settings.tickets.clone(),
        })
    }

    /// All routes but what takes the place of others, in their order; a rule that says of its method's own path what holds there anyway is none.
    pub(super) fn ways(&self) -> impl Iterator<Item = Way<'_>> {
        let routes = self.routes.iter().filter(|route| route.base == route.index);
        let methods = || (0..).map(MethodId).zip(self.schema.methods());
        let rules =
            methods().flat_map(|method| method.1.rules.iter().enumerate().map(move |rule| (Some(method), Some(rule))));
        let made_of = methods().map(|method| (Some(method), None)).chain(rules).chain(std::iter::repeat((None, None)));
        let ways = routes.zip(made_of).map(|(route, (method, rule))| Way { route, method, rule });
        ways.filter(|way| way.rule.is_none_or(|(_, rule)| rule.template != way.route.path.as_str()))
    }

    /// The name of a route's method.
    pub(super) fn method_name(&self, route: u32) -> &str {
        self.routes.get(route as usize).map_or("", |route| &route.name)
    }

    pub(super) fn upstream_name(&self, upstream: usize) -> &str {
        self.upstreams.get(upstream).map_or("", String::as_str)
    }

    /// How messages to an upstream are compressed, if at all.
    pub(super) fn message_coding(&self, upstream: usize) -> Option<Coding> {
        self.message_codings.get(upstream).copied().flatten()
    }

    pub(super) fn route(&self, index: u32) -> Option<&Route> {
        self.routes.get(index as usize)
    }

    /// The same for a call under way, whose route was there when it began.
    ///
    /// # Errors
    /// INTERNAL, never seen.
    pub(super) fn route_of(&self, index: u32) -> Result<&Route, Status> {
        self.route(index).ok_or_else(|| {
            Status::gateway(Code::Internal, "the call's route is not there").with_reason(Reason::Internal)
        })
    }

    /// The types and methods of all upstreams.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// The language that a request is in.
    pub fn dialect(&self, head: &Parts) -> Dialect {
        let dialect = Dialect::classify(head, |path| {
            let route = self.route(self.schema.method(path)?.0)?;
            Some(if route.streams() { MethodKind::Streaming } else { MethodKind::Unary })
        });
        if dialect.is_plain() && self.is_mux(head.uri.path()) { Dialect::Mux } else { dialect }
    }

    /// Whether many calls are made at a path.
    fn is_mux(&self, path: &str) -> bool {
        self.mux.as_ref().is_some_and(|mux| mux.path == path)
    }

    /// Where a request leads.
    ///
    /// # Errors
    /// 400 for a path that no route may see, 404, 405 with `Allow`; UNIMPLEMENTED for gRPC; 503 for what might be found
    /// once every upstream's schema is known.
    pub(super) fn find<'s, 'p>(&'s self, dialect: Dialect, head: &'p Parts) -> Result<Target<'s, 'p>, Status> {
        let path = head.uri.path();
        if dialect.is_grpc() {
            return self.find_grpc(head);
        }
        route::check_path(path).map_err(route::PathError::into_status)?;
        if let Some(document) = self.document.as_ref().filter(|_| path == OPENAPI_PATH) {
            return match Asset::answers(&head.method) {
                true => Ok(Target::OpenApi(document)),
                false => Err(method_not_allowed(&[Method::GET, Method::HEAD])),
            };
        }
        if let Some(route) = self.schema.method(path).and_then(|method| self.route(method.0)) {
            let allowed = route.method_path_verbs(dialect);
            return match allowed.contains(&head.method) {
                true => self.target(route, SmallVec::new(), head).ok_or_else(|| self.not_found(dialect, path)),
                false => Err(method_not_allowed(allowed)),
            };
        }
        if matches!(dialect, Dialect::WebSocket | Dialect::Mux) && self.is_mux(path) {
            const VERBS: &[Method] = &[Method::GET, Method::HEAD, Method::POST];
            return if VERBS.contains(&head.method) { Ok(Target::Mux) } else { Err(method_not_allowed(VERBS)) };
        }
        if matches!(dialect, Dialect::Connect | Dialect::Mux) {
            return Err(self.not_found(dialect, path));
        }
        if let Some(tickets) = self.tickets.as_ref().filter(|tickets| tickets.path == path) {
            return match head.method == Method::POST {
                true => Ok(Target::Ticket(tickets)),
                false => Err(method_not_allowed(&[Method::POST])),
            };
        }
        match self.find_rule(dialect, &head.method, path) {
            Found::Route { route, captures } => {
                let target = self.route(route).and_then(|route| self.target(route, captures, head));
                target.ok_or_else(|| self.not_found(dialect, path))
            }
            Found::WrongVerb { allow } => Err(method_not_allowed(&allow)),
            Found::None => match self.assets.get(path) {
                Some(asset) if Asset::answers(&head.method) => Ok(Target::Asset(asset)),
                Some(_) => Err(method_not_allowed(&[Method::GET, Method::HEAD])),
                None => Err(self.not_found(dialect, path)),
            },
        }
    }

    fn not_found(&self, dialect: Dialect, path: &str) -> Status {
        if self.is_partial {
            return not_found_yet(path);
        }
        if matches!(dialect, Dialect::Connect | Dialect::Mux) {
            return connect::unknown_method(path);
        }
        Status::client(Code::NotFound, format!("nothing is served at {path}")).with_reason(Reason::RouteNotFound)
    }

    /// A WebSocket is opened by GET, on any path of the method (PROTOCOLS §1).
    fn find_rule<'p>(&self, dialect: Dialect, verb: &Method, path: &'p str) -> Found<'p> {
        let found = self.table.find(verb, path);
        match found {
            Found::WrongVerb { allow } if dialect == Dialect::WebSocket => match allow.first() {
                Some(other) => self.table.find(other, path),
                None => Found::None,
            },
            found => found,
        }
    }

    fn find_grpc<'s, 'p>(&'s self, head: &Parts) -> Result<Target<'s, 'p>, Status> {
        let path = head.uri.path();
        let known = self.schema.method(path).and_then(|method| self.route(method.0));
        let target = match known {
            Some(route) => self.target(route, SmallVec::new(), head),
            None => self.pass_through(path, head),
        };
        target.ok_or_else(|| match self.is_partial {
            true => not_found_yet(path),
            false => Status::client(Code::Unimplemented, format!("no upstream has the method {path}"))
                .with_reason(Reason::RouteNotFound),
        })
    }

    fn pass_through<'s, 'p>(&'s self, path: &str, head: &Parts) -> Option<Target<'s, 'p>> {
        // Whoever stands in front of the backend might read another service in it.
        route::check_path(path).ok()?;
        self.passing(path).find_map(|route| self.target(route, SmallVec::new(), head))
    }

    /// The routes of services that no schema knows, that cover a path.
    pub(super) fn passing(&self, path: &str) -> impl Iterator<Item = &Route> {
        let name = path.strip_prefix('/').and_then(|path| path.split_once('/'));
        let covers = move |methods: &Option<MethodMatch>| name.is_some_and(|(s, m)| covers(methods.as_ref(), s, m));
        let passing = self.passing.iter().filter(move |(methods, _)| covers(methods));
        passing.filter_map(|(_, route)| self.route(*route))
    }

    /// What the request's head makes of a route; none where nobody takes the call.
    fn target<'s, 'p>(
        &'s self,
        route: &'s Route,
        captures: SmallVec<[Cow<'p, str>; 4]>,
        head: &Parts,
    ) -> Option<Target<'s, 'p>> {
        let lead = route.leads.iter().find(|lead| lead.is_for(head)).filter(|lead| !lead.shares.is_empty())?;
        let is_for = |variant: &&Route| variant.condition.as_ref().is_none_or(|ruled| ruled.condition.holds(head));
        let variant = route.variants.iter().filter_map(|variant| self.route(*variant)).find(is_for);
        Some(Target::Route { route: variant.unwrap_or(route), lead, captures })
    }
}

impl Route {
    /// Whether a client is told that it lost messages: not where all but the newest are expected to be lost.
    pub(super) fn tells_skipped(&self) -> bool {
        self.policy.settings.slow_reader == Some(SlowReader::DropOldest)
    }

    /// Whether its calls are more than one message each way. Taken for so where no schema says.
    pub(super) fn streams(&self) -> bool {
        self.client_streaming || self.server_streaming
    }

    /// Whether identical calls ride one stream.
    pub(super) fn is_shared(&self) -> bool {
        self.policy.settings.share.is_some() && self.server_streaming && !self.client_streaming && self.has_schema
    }

    /// The verbs of `/pkg.Service/Method`: GET where following a link may make the call, POST always.
    pub(super) fn method_path_verbs(&self, dialect: Dialect) -> &'static [Method] {
        const SAFE: &[Method] = &[Method::GET, Method::HEAD, Method::POST];
        const UNSAFE: &[Method] = &[Method::POST];
        const SOCKET: &[Method] = &[Method::GET];
        match (dialect, self.client_streaming, self.server_streaming) {
            (Dialect::WebSocket, ..) => SOCKET,
            (Dialect::Connect, false, true) => UNSAFE,
            (_, false, true) => SAFE,
            (_, false, false) if self.no_side_effects => SAFE,
            _ => UNSAFE,
        }
    }
}

/// Routes while they are compiled.
struct Builder<'c> {
    schema: &'c Schema,
    codec: &'c Codec,
    sources: &'c [Source<'c>],
    own: [Option<(&'c str, &'static str)>; 3],
    routes: Vec<Route>,
    variants: Vec<Variant>,
    table: TableBuilder,
}

/// What is to take the place of a route under a condition.
struct Variant {
    base: u32,
    condition: Ruled,
    policy: Arc<Policy>,
    mirror: Option<Copied>,
}

/// The paths that no rule can take, and what is there.
fn own_paths(settings: &Settings) -> [Option<(&str, &'static str)>; 3] {
    let mux = "many calls are made at a time (`mux: { path: … }` moves it)";
    let tickets = "tickets are given out (`tickets: { path: … }` moves it)";
    [
        settings.openapi.then_some((OPENAPI_PATH, "the gateway describes what it serves (`openapi: false`)")),
        settings.mux.as_ref().map(|place| (&*place.path, mux)),
        settings.tickets.as_ref().map(|place| (&*place.path, tickets)),
    ]
}

impl Builder<'_> {
    fn method(&mut self, method: &SchemaMethod, plan: &Plan) -> Result<(), SnapshotError> {
        let (input, output) = (self.codec.plan(method.input), self.codec.plan(method.output));
        // Never fails: no field is named.
        let binding = Binding::compile(self.codec, input, output, &[], Some("*"), None)
            .unwrap_or_else(|_| Binding::whole(input, output));
        self.push(method, binding, plan, true).map(drop)
    }

    fn rule(&mut self, method: &SchemaMethod, rule: &HttpRule, plan: &Plan) -> Result<(), SnapshotError> {
        let (location, selector) = (|| method.locate(rule, self.sources), method.full_name());
        let template = Template::parse(&rule.template)
            .map_err(|cause| SnapshotError::Template { location: location(), selector: selector.clone(), cause })?
            .decoding_slashes(rule.decodes_slashes);
        if let Some((path, what)) = self.own.iter().flatten().find(|(path, _)| rule.template == **path) {
            let path = (*path).to_owned();
            return Err(SnapshotError::OwnPath { location: location(), selector, path, what });
        }
        let variables: Vec<&str> = template.variables().collect();
        let (input, output) = (self.codec.plan(method.input), self.codec.plan(method.output));
        let (body, response_body) = (rule.body.as_deref(), rule.response_body.as_deref());
        let binding =
            Binding::compile(self.codec, input, output, &variables, body, response_body).map_err(|cause| {
                SnapshotError::Binding {
                    location: location(),
                    selector: selector.clone(),
                    template: rule.template.clone(),
                    cause,
                }
            })?;
        let is_patch = rule.verb == route::Verb::Method(Method::PATCH);
        let binding = if is_patch { binding.with_update_mask(self.codec) } else { binding };
        let index = self.push(method, binding, plan, false)?;
        let method_path = self.schema.method(&rule.template).map(|named| &self.schema[named].path);
        match method_path.map(|path| *path == method.path && is_implied(rule)) {
            None => self.table.add(rule.verb.clone(), &template, index, &selector),
            // Says of the method's own path what holds there anyway.
            Some(true) => {}
            Some(false) => {
                let template = rule.template.clone();
                return Err(SnapshotError::MethodPath { location: location(), selector, template });
            }
        }
        Ok(())
    }

    fn push(
        &mut self,
        method: &SchemaMethod,
        binding: Binding,
        plan: &Plan,
        is_method_path: bool,
    ) -> Result<u32, SnapshotError> {
        let index = self.next_index();
        let special = plan.special.iter().map(|(condition, policy)| Variant {
            base: index,
            condition: condition.clone(),
            mirror: plan.mirror(policy),
            policy: policy.clone(),
        });
        self.variants.extend(special);
        let name = format!("{}/{}", method.service, method.name);
        let streams = method.server_streaming && !method.client_streaming;
        let binding = self.on_route(binding, &name, streams, &plan.policy)?;
        self.routes.push(Route {
            index,
            name,
            path: method.path.clone(),
            client_streaming: method.client_streaming,
            server_streaming: method.server_streaming,
            no_side_effects: method.no_side_effects,
            is_method_path,
            has_schema: true,
            binding,
            policy: plan.policy.clone(),
            mirror: plan.mirror(&plan.policy),
            condition: None,
            leads: plan.leads.clone(),
            variants: Vec::new(),
            base: index,
        });
        Ok(index)
    }

    /// What a policy makes of a method's binding; `streams`: its replies can be events.
    fn on_route(
        &self,
        binding: Binding,
        method: &str,
        streams: bool,
        policy: &Policy,
    ) -> Result<Binding, SnapshotError> {
        let binding = binding.with_unknown_fields(policy.settings.unknown_fields);
        if !streams {
            return Ok(binding);
        }
        let bound = binding.with_events(self.codec, &policy.settings.sse);
        bound.map_err(|cause| SnapshotError::Events { method: method.to_owned(), cause })
    }

    /// Services that no schema knows: gRPC alone can carry them.
    fn passing(&mut self, policies: &Policies<'_>) -> Vec<(Option<MethodMatch>, u32)> {
        let mut passing = Vec::new();
        for pass in policies.passing() {
            let is_known = |name: &String| self.schema.method(&format!("/{name}")).is_some();
            if matches!(&pass.methods, Some(MethodMatch::Method(name)) if is_known(name)) {
                continue;
            }
            let Some(empty) = self.codec.plan_by_name("google.protobuf.Empty") else { continue };
            let index = self.next_index();
            self.routes.push(Route {
                index,
                name: match &pass.methods {
                    Some(MethodMatch::Method(name)) => name.clone(),
                    Some(MethodMatch::ServicePrefix(prefix)) => format!("{prefix}*"),
                    None => "*".to_owned(),
                },
                path: PathAndQuery::from_static("/"),
                client_streaming: true,
                server_streaming: true,
                no_side_effects: false,
                is_method_path: false,
                has_schema: false,
                binding: Binding::whole(empty, empty),
                mirror: pass.policy.mirror,
                policy: pass.policy,
                condition: pass.lead.condition.clone(),
                leads: [pass.lead].into(),
                variants: Vec::new(),
                base: index,
            });
            passing.push((pass.methods, index));
        }
        passing
    }

    fn add_variants(&mut self) -> Result<(), SnapshotError> {
        for Variant { base, condition, policy, mirror } in std::mem::take(&mut self.variants) {
            let index = self.next_index();
            let Some(route) = self.routes.get_mut(base as usize) else { continue };
            route.variants.push(index);
            let route = route.clone();
            let streams = route.server_streaming && !route.client_streaming;
            let binding = self.on_route(route.binding.clone(), &route.name, streams, &policy)?;
            let (condition, variants) = (Some(condition), Vec::new());
            let variant = Route { index, binding, policy, mirror, condition, variants, ..route };
            self.routes.push(variant);
        }
        Ok(())
    }

    fn next_index(&self) -> u32 {
        u32::try_from(self.routes.len()).unwrap_or(u32::MAX)
    }
}

/// What is so at `/pkg.Service/Method` without any rule.
fn is_implied(rule: &HttpRule) -> bool {
    rule.verb == route::Verb::Method(Method::POST) && rule.body.as_deref() == Some("*") && rule.response_body.is_none()
}

fn told(rivals: &Rivals, method: &SchemaMethod, settings: &Settings) -> SnapshotError {
    let name =
        |upstream: usize| settings.upstreams.get(upstream).map(|upstream| upstream.name.clone()).unwrap_or_default();
    let service = method.service.clone();
    SnapshotError::Rivals { service, first: name(rivals.0), second: name(rivals.1) }
}

/// The rules' routes stand behind those of the methods, in the schema's order.
fn ambiguous(rules: route::AmbiguousRules, schema: &Schema, sources: &[Source<'_>]) -> SnapshotError {
    let all = || schema.methods().iter().flat_map(|method| method.rules.iter().map(move |rule| (method, rule)));
    let locate = |route: u32| {
        let rule = (route as usize).checked_sub(schema.methods().len()).and_then(|index| all().nth(index));
        rule.map_or_else(Location::default, |(method, rule)| method.locate(rule, sources))
    };
    SnapshotError::Ambiguous { first: locate(rules.routes.0), second: locate(rules.routes.1), rules: rules.into() }
}

fn not_found_yet(path: &str) -> Status {
    let text = format!("nothing is known yet to be served at {path}: the schema of an upstream is still missing");
    Status::gateway(Code::Unavailable, text).with_reason(Reason::SchemaUnavailable).with_retry_after(SCHEMA_RETRY)
}

fn method_not_allowed(allow: &[Method]) -> Status {
    let mut verbs: Vec<&str> = allow.iter().map(Method::as_str).collect();
    if verbs.contains(&"GET") && !verbs.contains(&"HEAD") {
        verbs.push("HEAD");
    }
    let verbs = verbs.join(", ");
    let status = Status::client(Code::Unimplemented, format!("this path answers {verbs} only"))
        .with_http(StatusCode::METHOD_NOT_ALLOWED)
        .with_reason(Reason::MethodNotAllowed);
    match HeaderValue::from_str(&verbs) {
        Ok(value) => status.with_header(header::ALLOW, value),
        Err(_) => status,
    }
}
