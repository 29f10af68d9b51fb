//! The file's types → [`Settings`] and back, with the checks that need more than one key.
//!
//! Touches neither files nor the net: what a path or a host leads to is found out by whoever opens it.

use std::{collections::HashSet, sync::Arc};

use super::{
    check::{Findings, hint},
    named::Named,
    names::{FieldPath, FieldValue, HeaderField, MethodName, PageOrigin, PlacePath, ServicePrefix, UrlPath},
    raw::*,
    redis,
    settings::*,
    text::{Count, Percent, Period, Scalar, Size, Span, Text, Weight},
};
use crate::coding::{Coding, Levels};

/// Fills in the defaults, and notes what does not fit together. `cpus` is the default of `workers`.
pub(super) fn resolve(raw: RawConfig, cpus: usize, findings: &mut Findings<'_>) -> Settings {
    addresses(&raw, findings);
    upstreams(&raw, findings);
    routes(&raw, findings);
    assets(&raw, findings);
    compression(&raw.compression, findings);
    raw.redis.iter().for_each(|raw| redis::check(raw, findings));
    if raw.mux.enabled && raw.tickets.enabled && raw.mux.path.0.0 == raw.tickets.path.0.0 {
        findings.fault("tickets.path", "many calls are opened there: it is `mux.path` too");
    }
    if raw.cors.credentials && raw.cors.origins.iter().any(|origin| origin.0.0 == "*") {
        findings.fault(
            "cors.credentials",
            "any page could call as the user: name the origins instead of `*`, or leave credentials out",
        );
    }
    Settings {
        listeners: raw.listeners.into_iter().map(Into::into).collect(),
        admin: raw.admin.map(|admin| admin.address.0),
        workers: raw.workers.map_or(cpus.max(1), |workers| workers.0.0),
        upstreams: raw.upstreams.0.into_iter().map(upstream).collect(),
        routes: raw.routes.into_iter().map(Into::into).collect(),
        cors: raw.cors.into(),
        assets: raw.assets.into_iter().map(Into::into).collect(),
        redis: raw.redis.map(Into::into),
        limits: raw.limits.into(),
        compression: raw.compression.into(),
        openapi: raw.openapi,
        mux: raw.mux.into(),
        tickets: raw.tickets.into(),
        services: raw.services.into(),
        access_log: raw.access_log,
    }
}

/// The file that would resolve to these settings.
pub(super) fn unresolve(settings: &Settings) -> RawConfig {
    RawConfig {
        listeners: settings.listeners.iter().map(Into::into).collect(),
        admin: settings.admin.map(|address| RawAdmin { address: Text(address) }),
        workers: Some(Text(Count(settings.workers))),
        upstreams: Named(settings.upstreams.iter().map(|upstream| (upstream.name.clone(), upstream.into())).collect()),
        routes: settings.routes.iter().map(Into::into).collect(),
        cors: (&settings.cors).into(),
        assets: settings.assets.iter().map(Into::into).collect(),
        redis: settings.redis.as_ref().map(Into::into),
        limits: (&settings.limits).into(),
        compression: (&settings.compression).into(),
        openapi: settings.openapi,
        mux: settings.mux.as_ref().into(),
        tickets: settings.tickets.as_ref().into(),
        services: settings.services.into(),
        access_log: settings.access_log,
    }
}

fn addresses(raw: &RawConfig, findings: &mut Findings<'_>) {
    let listeners = raw.listeners.iter().enumerate().map(|(i, l)| (format!("listeners[{i}].address"), l.address.0));
    let admin = raw.admin.iter().map(|admin| ("admin.address".to_owned(), admin.address.0));
    let mut seen = HashSet::new();
    for (key, address) in listeners.chain(admin) {
        // Port 0 is another port each time.
        if address.port() != 0 && !seen.insert(address) {
            findings.fault(&key, format!("{address} is another listener's address already"));
        }
    }
}

fn upstreams(raw: &RawConfig, findings: &mut Findings<'_>) {
    for (name, upstream) in &raw.upstreams.0 {
        let key = format!("upstreams.{name}");
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)) {
            findings.fault(&key, "a name is made of letters, digits, `-`, `_` and `.`");
        }
        let sources = [upstream.schema.is_some(), upstream.descriptor_set.is_some(), upstream.protos.is_some()];
        if sources.into_iter().filter(|given| *given).count() > 1 {
            findings.fault(&key, "has more than one schema: give one of schema, descriptor_set and protos");
        }
        let encrypted = upstream.endpoints.iter().any(|endpoint| matches!(endpoint.0, EndpointUrl::Https { .. }));
        if !encrypted && (upstream.tls.ca.is_some() || upstream.tls.server_name.is_some()) {
            findings.fault(&format!("{key}.tls"), "none of the endpoints is `https://`");
        }
        let named = raw.routes.iter().any(|route| targets("", route).any(|(_, target)| target == name));
        if matches!(upstream.schema, Some(RawSchema::None)) && !named {
            findings
                .fault(&format!("{key}.schema"), "without a schema nothing leads here: name the upstream in a route");
        }
    }
}

fn routes(raw: &RawConfig, findings: &mut Findings<'_>) {
    for (index, route) in raw.routes.iter().enumerate() {
        let key = format!("routes[{index}]");
        for (key, name) in targets(&key, route) {
            let known = || raw.upstreams.0.iter().map(|(name, _)| name.as_str());
            if !known().any(|known| known == name) {
                findings.fault(&key, format!("there is no upstream {name:?}; {}", hint(name, known())));
            }
        }
        conditions(&route.matches, &format!("{key}.match"), findings);
        destination(route, &key, findings);
        share(route, &key, findings);
    }
}

/// The upstreams that a route names, each with its key.
fn targets<'r>(key: &str, route: &'r RawRoute) -> impl Iterator<Item = (String, &'r String)> {
    let one = route.upstream.iter().map(|name| ("upstream".to_owned(), name));
    let several =
        route.upstreams.iter().flat_map(|named| &named.0).map(|(name, _)| (format!("upstreams.{name}"), name));
    let mirror = route.mirror.iter().map(|mirror| ("mirror.upstream".to_owned(), &mirror.upstream));
    one.chain(several).chain(mirror).map(move |(own, name)| (format!("{key}.{own}"), name))
}

fn conditions(matches: &RawMatch, key: &str, findings: &mut Findings<'_>) {
    match (&matches.method, &matches.service) {
        (Some(_), Some(_)) => findings.fault(key, "has both `method` and `service`: give one of them"),
        (None, None) if matches.hosts.is_none() && matches.headers.is_none() => {
            findings.fault(key, "needs one of the keys method, service, hosts, headers");
        }
        _ => {}
    }
    for (name, _) in matches.headers.iter().flat_map(|headers| &headers.0) {
        let key = format!("{key}.headers.{name}");
        match HeaderField::parse(name) {
            Ok(field) if field.0 == "host" => findings.fault(&key, "is what `hosts` is for"),
            Ok(_) => {}
            Err(error) => findings.fault(&key, format!("{name:?} {error}")),
        }
    }
}

fn destination(route: &RawRoute, key: &str, findings: &mut Findings<'_>) {
    if route.upstream.is_some() && route.upstreams.is_some() {
        findings.fault(key, "has both `upstream` and `upstreams`: give one of them");
    }
    if route.upstreams.as_ref().is_some_and(|named| named.0.iter().all(|(_, weight)| weight.0.0 == 0)) {
        findings.fault(&format!("{key}.upstreams"), "has no weight above 0: nothing would take the calls");
    }
    if route.upstream_header.is_some() && route.upstreams.is_none() {
        findings.fault(&format!("{key}.upstream_header"), "names one of several: give `upstreams`");
    }
    if let Some(mirror) = &route.mirror
        && targets(key, route).filter(|(_, name)| **name == mirror.upstream).nth(1).is_some()
    {
        findings.fault(&format!("{key}.mirror.upstream"), "takes the calls themselves already");
    }
}

fn share(route: &RawRoute, key: &str, findings: &mut Findings<'_>) {
    let Some(share) = &route.share else { return };
    let is_credential = |name: &str| ["authorization", "cookie"].contains(&name);
    if share.public && share.key.iter().any(|name| is_credential(&name.0.0)) {
        findings.fault(&format!("{key}.share.key"), "names credentials, which make no difference where it is `public`");
    }
    if route.slow_reader == Some(RawSlowReader::Block) {
        let text = "`block` would let one client stop the others that share the stream: \
                    give `drop_oldest`, `latest` or `disconnect`";
        findings.fault(&format!("{key}.slow_reader"), text);
    }
}

fn assets(raw: &RawConfig, findings: &mut Findings<'_>) {
    let mut seen = HashSet::new();
    for (index, dir) in raw.assets.iter().enumerate() {
        if !seen.insert(&dir.path.0.0) {
            findings.fault(&format!("static[{index}].path"), "another directory is served there already");
        }
    }
}

fn compression(raw: &RawCompression, findings: &mut Findings<'_>) {
    let levels = [
        ("gzip_level", &raw.gzip_level, 9),
        ("brotli_quality", &raw.brotli_quality, 11),
        ("zstd_level", &raw.zstd_level, 19),
    ];
    for (key, level, max) in levels {
        if level.0.0 > max {
            findings.fault(&format!("compression.{key}"), format!("is more than {max}"));
        }
    }
}

impl From<RawListener> for Listener {
    fn from(raw: RawListener) -> Self {
        let tls = raw.tls.map(|tls| match tls {
            RawServerTls::Development => ServerTls::Development,
            RawServerTls::Certificates(files) => ServerTls::Files(
                files.into_iter().map(|files| CertificateFiles { cert: files.cert.0, key: files.key.0 }).collect(),
            ),
        });
        Self { address: raw.address.0, tls, trusted_proxies: plain(raw.trusted_proxies) }
    }
}

impl From<&Listener> for RawListener {
    fn from(listener: &Listener) -> Self {
        let tls = listener.tls.as_ref().map(|tls| match tls {
            ServerTls::Development => RawServerTls::Development,
            ServerTls::Files(files) => RawServerTls::Certificates(
                files.iter().map(|f| RawCertificate { cert: Text(f.cert.clone()), key: Text(f.key.clone()) }).collect(),
            ),
        });
        Self { address: Text(listener.address), tls, trusted_proxies: texts(&listener.trusted_proxies) }
    }
}

fn upstream((name, raw): (String, RawUpstream)) -> Upstream {
    let schema = match (raw.schema, raw.descriptor_set, raw.protos) {
        (Some(schema), ..) => schema.into(),
        (None, Some(path), _) => SchemaSource::DescriptorSet(path.0),
        (None, None, Some(protos)) => RawSchema::Protos(protos).into(),
        (None, None, None) => SchemaSource::Reflection,
    };
    Upstream {
        name,
        endpoints: plain(raw.endpoints),
        schema,
        service_config: plain(raw.service_config),
        schema_poll: raw.schema_poll.0.0,
        balance: match raw.balance {
            RawBalance::RoundRobin => Balance::RoundRobin,
            RawBalance::LeastRequest => Balance::LeastRequest,
        },
        tls: raw.tls.into(),
        connect_timeout: raw.connect_timeout.0.0,
        keepalive: raw.keepalive.0.0,
        keepalive_timeout: raw.keepalive_timeout.0.0,
        connections_max: raw.connections_max.0.0,
        compression: match raw.compression {
            RawMessageCompression::None => None,
            RawMessageCompression::Gzip => Some(Coding::Gzip),
            RawMessageCompression::Zstd => Some(Coding::Zstd),
        },
    }
}

impl From<RawUpstreamTls> for UpstreamTls {
    fn from(RawUpstreamTls { ca, server_name }: RawUpstreamTls) -> Self {
        Self { ca: ca.map(|ca| ca.0), server_name }
    }
}

impl From<&UpstreamTls> for RawUpstreamTls {
    fn from(UpstreamTls { ca, server_name }: &UpstreamTls) -> Self {
        Self { ca: ca.clone().map(Text), server_name: server_name.clone() }
    }
}

impl From<&Upstream> for RawUpstream {
    fn from(upstream: &Upstream) -> Self {
        Self {
            endpoints: texts(&upstream.endpoints),
            schema: Some((&upstream.schema).into()),
            descriptor_set: None,
            protos: None,
            service_config: texts(&upstream.service_config),
            schema_poll: Text(Period(upstream.schema_poll)),
            balance: match upstream.balance {
                Balance::RoundRobin => RawBalance::RoundRobin,
                Balance::LeastRequest => RawBalance::LeastRequest,
            },
            tls: (&upstream.tls).into(),
            connect_timeout: Text(Period(upstream.connect_timeout)),
            keepalive: Text(Period(upstream.keepalive)),
            keepalive_timeout: Text(Period(upstream.keepalive_timeout)),
            connections_max: Text(Count(upstream.connections_max)),
            compression: match upstream.compression {
                Some(Coding::Gzip) => RawMessageCompression::Gzip,
                Some(Coding::Zstd) => RawMessageCompression::Zstd,
                Some(Coding::Brotli) | None => RawMessageCompression::None,
            },
        }
    }
}

impl From<RawSchema> for SchemaSource {
    fn from(raw: RawSchema) -> Self {
        match raw {
            RawSchema::Reflection => Self::Reflection,
            RawSchema::None => Self::None,
            RawSchema::Embedded => Self::Embedded(&[]),
            RawSchema::DescriptorSet(path) => Self::DescriptorSet(path.0),
            RawSchema::Protos(protos) => Self::Protos { files: plain(protos.files), includes: plain(protos.includes) },
        }
    }
}

impl From<&SchemaSource> for RawSchema {
    fn from(source: &SchemaSource) -> Self {
        match source {
            SchemaSource::Reflection => Self::Reflection,
            SchemaSource::None => Self::None,
            SchemaSource::Embedded(_) => Self::Embedded,
            SchemaSource::DescriptorSet(path) => Self::DescriptorSet(Text(path.clone())),
            SchemaSource::Protos { files, includes } => {
                Self::Protos(RawProtos { files: texts(files), includes: texts(includes) })
            }
        }
    }
}

impl From<RawMux> for Option<Mux> {
    fn from(raw: RawMux) -> Self {
        raw.enabled.then_some(Mux { path: raw.path.0.0, compress_streams: raw.compress_streams })
    }
}

impl From<Option<&Mux>> for RawMux {
    fn from(mux: Option<&Mux>) -> Self {
        let Mux { path, compress_streams } = mux.cloned().unwrap_or_default();
        Self { enabled: mux.is_some(), path: Text(PlacePath(path)), compress_streams }
    }
}

impl From<RawRoute> for RouteRule {
    fn from(raw: RawRoute) -> Self {
        let one = raw.upstream.map(|name| (name, 1));
        let several = raw.upstreams.into_iter().flat_map(|named| named.0).map(|(name, weight)| (name, weight.0.0));
        let policy = RoutePolicy {
            upstreams: one.into_iter().chain(several).collect(),
            upstream_header: raw.upstream_header.map(|header| header.0.0),
            mirror: raw.mirror.map(|mirror| Mirror { upstream: mirror.upstream, per_million: mirror.percent.0.0 }),
            timeout: raw.timeout.map_or(Timeout::Default, |timeout| timeout.0),
            request_headers: raw.request_headers.into_iter().map(|name| name.0.0).collect(),
            response_headers: raw.response_headers.into_iter().map(|name| name.0.0).collect(),
            output: raw.output.into(),
            unknown_fields: raw.unknown_fields.into(),
            cache_control: raw.cache_control.map(|value| value.0.0),
            query_token: raw.query_token,
            token_expiry: raw.token_expiry.into(),
            compress_streams: raw.compress_streams,
            sse: raw.sse.into(),
            share: raw.share.map(|share| Arc::new(share.into())),
            slow_reader: raw.slow_reader.map(Into::into),
        };
        Self { matches: raw.matches.into(), policy }
    }
}

impl From<&RouteRule> for RawRoute {
    fn from(rule: &RouteRule) -> Self {
        let RoutePolicy {
            upstreams,
            upstream_header,
            mirror,
            timeout,
            request_headers,
            response_headers,
            output,
            unknown_fields,
            cache_control,
            query_token,
            token_expiry,
            compress_streams,
            sse,
            share,
            slow_reader,
        } = &rule.policy;
        let headers = |names: &[String]| names.iter().map(|name| Text(HeaderField(name.clone()))).collect();
        let (upstream, upstreams) = match &upstreams[..] {
            [] => (None, None),
            [(name, 1)] => (Some(name.clone()), None),
            several => (None, Some(Named(several.iter().map(|(name, w)| (name.clone(), Text(Weight(*w)))).collect()))),
        };
        Self {
            matches: (&rule.matches).into(),
            upstream,
            upstreams,
            upstream_header: upstream_header.clone().map(|name| Text(HeaderField(name))),
            mirror: mirror.as_ref().map(|mirror| RawMirror {
                upstream: mirror.upstream.clone(),
                percent: Text(Percent(mirror.per_million)),
            }),
            timeout: (*timeout != Timeout::Default).then_some(Text(*timeout)),
            request_headers: headers(request_headers),
            response_headers: headers(response_headers),
            output: (*output).into(),
            unknown_fields: (*unknown_fields).into(),
            cache_control: cache_control.clone().map(|value| Text(FieldValue(value))),
            query_token: *query_token,
            token_expiry: (*token_expiry).into(),
            compress_streams: *compress_streams,
            sse: sse.into(),
            share: share.as_deref().map(Into::into),
            slow_reader: slow_reader.map(Into::into),
        }
    }
}

impl From<RawShare> for Share {
    fn from(RawShare { replay, linger, key, public, fleet }: RawShare) -> Self {
        let key = key.into_iter().map(|name| name.0.0).collect();
        Self { replay: replay.0.0, linger: linger.0.0, key, public, fleet }
    }
}

impl From<&Share> for RawShare {
    fn from(Share { replay, linger, key, public, fleet }: &Share) -> Self {
        let key = key.iter().map(|name| Text(HeaderField(name.clone()))).collect();
        Self { replay: Text(Count(*replay)), linger: Text(Span(*linger)), key, public: *public, fleet: *fleet }
    }
}

impl From<RawEventStream> for EventStream {
    fn from(raw: RawEventStream) -> Self {
        let resume = |resume: RawResume| Resume { event_id: resume.event_id.0.0, request: resume.request.0.0 };
        Self {
            resume: raw.resume.map(resume),
            event: raw.event.map(|event| event.0.0),
            query_event_id: raw.query_event_id,
        }
    }
}

impl From<&EventStream> for RawEventStream {
    fn from(events: &EventStream) -> Self {
        let path = |path: &String| Text(FieldPath(path.clone()));
        Self {
            resume: (events.resume.as_ref())
                .map(|resume| RawResume { event_id: path(&resume.event_id), request: path(&resume.request) }),
            event: events.event.as_ref().map(path),
            query_event_id: events.query_event_id,
        }
    }
}

impl From<RawMatch> for RouteMatch {
    fn from(raw: RawMatch) -> Self {
        let prefix = raw.service.map(|prefix| MethodMatch::ServicePrefix(prefix.0.0));
        let methods = raw.method.map(|name| MethodMatch::Method(name.0.0)).or(prefix);
        let headers = raw.headers.into_iter().flat_map(|headers| headers.0);
        let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.0));
        Self { methods, hosts: plain(raw.hosts.unwrap_or_default()), headers: headers.collect() }
    }
}

impl From<&RouteMatch> for RawMatch {
    fn from(matches: &RouteMatch) -> Self {
        let RouteMatch { methods, hosts, headers } = matches;
        let (method, service) = match methods {
            Some(MethodMatch::Method(name)) => (Some(Text(MethodName(name.clone()))), None),
            Some(MethodMatch::ServicePrefix(prefix)) => (None, Some(Text(ServicePrefix(prefix.clone())))),
            None => (None, None),
        };
        let named = Named(headers.iter().map(|(name, value)| (name.clone(), Text(value.clone()))).collect());
        Self {
            method,
            service,
            hosts: (!hosts.is_empty()).then(|| texts(hosts)),
            headers: (!headers.is_empty()).then_some(named),
        }
    }
}

impl From<RawOutput> for OutputSettings {
    fn from(raw: RawOutput) -> Self {
        let RawOutput { defaults, enum_numbers, proto_names, int64_numbers, pretty } = raw;
        Self { defaults, enum_numbers, proto_names, int64_numbers, pretty }
    }
}

impl From<OutputSettings> for RawOutput {
    fn from(output: OutputSettings) -> Self {
        let OutputSettings { defaults, enum_numbers, proto_names, int64_numbers, pretty } = output;
        Self { defaults, enum_numbers, proto_names, int64_numbers, pretty }
    }
}

impl From<RawSlowReader> for SlowReader {
    fn from(raw: RawSlowReader) -> Self {
        match raw {
            RawSlowReader::Block => Self::Block,
            RawSlowReader::DropOldest => Self::DropOldest,
            RawSlowReader::Latest => Self::Latest,
            RawSlowReader::Disconnect => Self::Disconnect,
        }
    }
}

impl From<SlowReader> for RawSlowReader {
    fn from(policy: SlowReader) -> Self {
        match policy {
            SlowReader::Block => Self::Block,
            SlowReader::DropOldest => Self::DropOldest,
            SlowReader::Latest => Self::Latest,
            SlowReader::Disconnect => Self::Disconnect,
        }
    }
}

impl From<RawTickets> for Option<Tickets> {
    fn from(raw: RawTickets) -> Self {
        raw.enabled.then_some(Tickets { path: raw.path.0.0, lifetime: raw.lifetime.0.0 })
    }
}

impl From<Option<&Tickets>> for RawTickets {
    fn from(tickets: Option<&Tickets>) -> Self {
        let Tickets { path, lifetime } = tickets.cloned().unwrap_or_default();
        Self { enabled: tickets.is_some(), path: Text(PlacePath(path)), lifetime: Text(Period(lifetime)) }
    }
}

impl From<RawTokenExpiry> for TokenExpiry {
    fn from(raw: RawTokenExpiry) -> Self {
        match raw {
            RawTokenExpiry::End => Self::End,
            RawTokenExpiry::Ignore => Self::Ignore,
        }
    }
}

impl From<TokenExpiry> for RawTokenExpiry {
    fn from(expiry: TokenExpiry) -> Self {
        match expiry {
            TokenExpiry::End => Self::End,
            TokenExpiry::Ignore => Self::Ignore,
        }
    }
}

impl From<RawUnknownFields> for UnknownFields {
    fn from(raw: RawUnknownFields) -> Self {
        match raw {
            RawUnknownFields::Reject => Self::Reject,
            RawUnknownFields::Observe => Self::Observe,
            RawUnknownFields::Ignore => Self::Ignore,
        }
    }
}

impl From<UnknownFields> for RawUnknownFields {
    fn from(fields: UnknownFields) -> Self {
        match fields {
            UnknownFields::Reject => Self::Reject,
            UnknownFields::Observe => Self::Observe,
            UnknownFields::Ignore => Self::Ignore,
        }
    }
}

impl From<RawCompression> for Compression {
    fn from(raw: RawCompression) -> Self {
        let level = |text: Text<Count>| u8::try_from(text.0.0).unwrap_or(u8::MAX);
        let algorithms = raw.algorithms.into_iter().map(|coding| match coding {
            RawCoding::Zstd => Coding::Zstd,
            RawCoding::Br => Coding::Brotli,
            RawCoding::Gzip => Coding::Gzip,
        });
        Self {
            algorithms: algorithms.collect(),
            bytes_min: raw.min_size.0.0,
            levels: Levels {
                gzip: level(raw.gzip_level),
                brotli: level(raw.brotli_quality),
                zstd: level(raw.zstd_level),
            },
            websocket: match raw.websocket {
                RawWebSocketCompression::None => WebSocketCompression::None,
                RawWebSocketCompression::Message => WebSocketCompression::Message,
                RawWebSocketCompression::Connection => WebSocketCompression::Connection,
            },
        }
    }
}

impl From<&Compression> for RawCompression {
    fn from(compression: &Compression) -> Self {
        let level = |level: u8| Text(Count(level.into()));
        let Levels { gzip, brotli, zstd } = compression.levels;
        let algorithms = compression.algorithms.iter().map(|coding| match coding {
            Coding::Zstd => RawCoding::Zstd,
            Coding::Brotli => RawCoding::Br,
            Coding::Gzip => RawCoding::Gzip,
        });
        Self {
            algorithms: algorithms.collect(),
            min_size: Text(Size(compression.bytes_min)),
            gzip_level: level(gzip),
            brotli_quality: level(brotli),
            zstd_level: level(zstd),
            websocket: match compression.websocket {
                WebSocketCompression::None => RawWebSocketCompression::None,
                WebSocketCompression::Message => RawWebSocketCompression::Message,
                WebSocketCompression::Connection => RawWebSocketCompression::Connection,
            },
        }
    }
}

impl From<RawCors> for Cors {
    fn from(raw: RawCors) -> Self {
        Self {
            origins: raw.origins.into_iter().map(|origin| origin.0.0).collect(),
            credentials: raw.credentials,
            max_age: raw.max_age.map(|age| age.0.0),
        }
    }
}

impl From<RawServices> for Services {
    fn from(RawServices { health, reflection }: RawServices) -> Self {
        Self { health, reflection }
    }
}

impl From<Services> for RawServices {
    fn from(Services { health, reflection }: Services) -> Self {
        Self { health, reflection }
    }
}

impl From<&Cors> for RawCors {
    fn from(cors: &Cors) -> Self {
        Self {
            origins: cors.origins.iter().map(|origin| Text(PageOrigin(origin.clone()))).collect(),
            credentials: cors.credentials,
            max_age: cors.max_age.map(|age| Text(Span(age))),
        }
    }
}

impl From<RawStatic> for StaticDir {
    fn from(raw: RawStatic) -> Self {
        Self { path: raw.path.0.0, files: StaticFiles::Dir(raw.dir.0) }
    }
}

impl From<&StaticDir> for RawStatic {
    fn from(dir: &StaticDir) -> Self {
        let files = match &dir.files {
            StaticFiles::Dir(path) => path.clone(),
            StaticFiles::Embedded(_) => "(compiled in)".into(),
        };
        Self { path: Text(UrlPath(dir.path.clone())), dir: Text(files) }
    }
}

fn plain<T>(texts: Vec<Text<T>>) -> Vec<T> {
    texts.into_iter().map(|text| text.0).collect()
}

fn texts<T: Clone>(values: &[T]) -> Vec<Text<T>> {
    values.iter().cloned().map(Text).collect()
}
