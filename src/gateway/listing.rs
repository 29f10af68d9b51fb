//! What a snapshot serves, for people and programs that ask. Knows nothing of how it is printed.

use std::time::Duration;

use http::Method;

use super::{
    lead::{Lead, Ruled, Share},
    snapshot::{Route, Snapshot, Way},
};
use crate::{
    config::{OutputSettings, SlowReader, Timeout, TokenExpiry, UnknownFields},
    dialect::Dialect,
};

/// One way to a method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// `GET`, `*` for any. HEAD goes with GET.
    pub verbs: Vec<String>,
    /// A path template, `/pkg.Service/Method`, or the prefix of services that pass through with `*` behind it.
    pub path: String,
    /// `pkg.Service/Method`, or the prefix.
    pub method: String,
    pub kind: &'static str,
    pub dialects: Vec<&'static str>,
    /// What else has to be so of a request, as `host=*.example.com x-tenant=acme`; empty: nothing.
    pub when: String,
    /// Where the calls go, by their names and weights.
    pub upstreams: Vec<(String, u32)>,
    /// What the configuration says of it, by its keys; without what is left as it is.
    pub policy: Vec<(&'static str, String)>,
}

impl Snapshot {
    /// Every way to a method of an upstream, in the order of the schema: `/pkg.Service/Method` first, then the rules. What
    /// holds under a condition stands before what holds otherwise.
    pub fn list(&self) -> Vec<Listed> {
        self.ways().filter(|way| !self.is_own(way)).flat_map(|way| self.cases(&way)).collect()
    }

    /// What becomes of a way for each of the conditions that matter to it, and without any.
    pub(super) fn cases(&self, way: &Way<'_>) -> Vec<Listed> {
        let Way { route, .. } = way;
        let variants = || route.variants.iter().filter_map(|variant| self.route(*variant));
        let of_variants = variants().filter_map(|variant| variant.condition.as_ref());
        let mut conditions: Vec<&Ruled> =
            of_variants.chain(route.leads.iter().filter_map(|lead| lead.condition.as_ref())).collect();
        conditions.sort_by_key(|condition| condition.rule);
        conditions.dedup_by_key(|condition| condition.rule);
        let is_of = |own: Option<&Ruled>, rule: usize| own.is_some_and(|own| own.rule == rule);
        let under = |condition: &Ruled| {
            let variant = variants().find(|variant| is_of(variant.condition.as_ref(), condition.rule));
            let lead = route.leads.iter().find(|lead| is_of(lead.condition.as_ref(), condition.rule));
            self.listed(way, variant.unwrap_or(route), lead.or(route.leads.last())?)
        };
        let otherwise = route.leads.last().filter(|lead| lead.condition.is_none());
        let otherwise = otherwise.and_then(|lead| self.listed(way, route, lead));
        conditions.into_iter().filter_map(under).chain(otherwise).collect()
    }

    /// A way as one request finds it; none where nobody takes its call.
    pub(super) fn listed(&self, way: &Way<'_>, route: &Route, lead: &Lead) -> Option<Listed> {
        if lead.shares.is_empty() {
            return None;
        }
        let conditions = route.condition.iter().chain(&lead.condition);
        let mut conditions: Vec<(usize, String)> =
            conditions.map(|ruled| (ruled.rule, ruled.condition.to_string())).collect();
        conditions.dedup();
        let name = self.method_name(route.index);
        let (verbs, path) = match (way.method, way.rule) {
            (_, Some((_, rule))) => (vec![rule.verb.to_string()], rule.template.clone()),
            (Some(_), None) => {
                let verbs = route.method_path_verbs(Dialect::Json).iter().filter(|verb| **verb != Method::HEAD);
                (verbs.map(Method::to_string).collect(), route.path.to_string())
            }
            (None, None) => (vec![Method::POST.to_string()], format!("/{name}")),
        };
        Some(Listed {
            verbs,
            path,
            method: name.to_owned(),
            kind: if way.method.is_some() { kind(route) } else { "pass-through" },
            dialects: Dialect::ALL.into_iter().filter(|own| self.carries(*own, way)).map(Dialect::name).collect(),
            when: conditions.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join(" "),
            upstreams: lead.shares.iter().map(|Share { name, weight, .. }| (name.clone(), *weight)).collect(),
            policy: self.policy(route, lead),
        })
    }

    /// Whether a route can be called in a dialect.
    fn carries(&self, dialect: Dialect, way: &Way<'_>) -> bool {
        let Way { route, method, rule } = way;
        match dialect {
            Dialect::Grpc => rule.is_none(),
            Dialect::GrpcWeb => {
                rule.is_none() && (!route.has_schema || dialect.carries(route.client_streaming, route.server_streaming))
            }
            _ if method.is_none() => false,
            Dialect::Connect => rule.is_none(),
            Dialect::Mux => rule.is_none() && self.mux.is_some(),
            Dialect::Protobuf => route.binding.reply_is_message(&self.codec),
            dialect => dialect.carries(route.client_streaming, route.server_streaming),
        }
    }

    /// Among whom a stream is shared.
    fn share(&self, route: &Route) -> &'static str {
        match route.policy.settings.share.as_ref().filter(|_| route.is_shared()) {
            None => "",
            Some(share) if share.fleet && self.has_fleet => "fleet",
            Some(_) => "gateway",
        }
    }

    fn policy(&self, route: &Route, lead: &Lead) -> Vec<(&'static str, String)> {
        let settings = &route.policy.settings;
        let is_unary = !route.client_streaming && !route.server_streaming;
        let timeout = match settings.timeout {
            Timeout::After(limit) => seconds(limit),
            Timeout::Default if is_unary => seconds(self.limits.unary_timeout),
            Timeout::Default | Timeout::None => "none".to_owned(),
        };
        let unknown_fields = match settings.unknown_fields {
            UnknownFields::Reject => "",
            UnknownFields::Observe => "observe",
            UnknownFields::Ignore => "ignore",
        };
        let token_expiry = if settings.token_expiry == TokenExpiry::Ignore { "ignore" } else { "" };
        let cache_control = settings.cache_control.as_ref().map_or("", |value| value.to_str().unwrap_or_default());
        // Where the mirror lacks the method there is none.
        let mirror = settings.mirror.as_ref().filter(|_| route.mirror.is_some());
        let upstream_header = lead.header.as_ref().map_or("", |header| header.as_str());
        let mut policy = vec![
            ("upstream_header", upstream_header.to_owned()),
            ("mirror", mirror.map_or_else(String::new, |mirror| format!("{}:{}%", mirror.upstream, mirror.percent()))),
            ("timeout", timeout),
            ("output", output(settings.output)),
            ("unknown_fields", unknown_fields.to_owned()),
            ("cache_control", cache_control.to_owned()),
            ("request_headers", settings.request_headers.join(",")),
            ("response_headers", settings.response_headers.join(",")),
            ("token_expiry", token_expiry.to_owned()),
            ("share", self.share(route).to_owned()),
            ("slow_reader", settings.slow_reader.map_or("", SlowReader::name).to_owned()),
            ("query_token", if settings.query_token { "true".to_owned() } else { String::new() }),
        ];
        policy.retain(|(_, value)| !value.is_empty());
        policy
    }
}

fn kind(route: &Route) -> &'static str {
    match (route.client_streaming, route.server_streaming) {
        (false, false) => "unary",
        (false, true) => "server stream",
        (true, false) => "client stream",
        (true, true) => "bidirectional",
    }
}

fn output(settings: OutputSettings) -> String {
    let OutputSettings { defaults, enum_numbers, proto_names, int64_numbers, pretty } = settings;
    let named = [
        ("defaults", defaults),
        ("enum_numbers", enum_numbers),
        ("proto_names", proto_names),
        ("int64_numbers", int64_numbers),
        ("pretty", pretty),
    ];
    let set: Vec<&str> = named.iter().filter(|(_, set)| *set).map(|(name, _)| *name).collect();
    set.join(",")
}

fn seconds(duration: Duration) -> String {
    format!("{}s", duration.as_secs_f64())
}
