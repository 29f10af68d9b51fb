//! What the configured routes mean for each method: its policies, and where its calls go. Knows no request.

use std::sync::Arc;

use http::HeaderName;

use super::lead::{Lead, Ruled, Share};
use crate::{
    config::{MethodMatch, RouteMatch, RoutePolicy, SchemaSource, Settings},
    edge::{Condition, HeaderRules},
    schema::{Method, OWN_UPSTREAM, UpstreamSchema},
};

/// What the configuration says of a method.
#[derive(Debug, Default)]
pub(super) struct Policy {
    pub(super) settings: RoutePolicy,
    pub(super) headers: HeaderRules,
    pub(super) mirror: Option<Copied>,
}

/// Which calls are copied, and to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Copied {
    pub(super) upstream: usize,
    per_million: u32,
}

/// The configured routes, and the policy of methods that none is for.
pub(super) struct Policies<'s> {
    rules: Vec<Rule<'s>>,
    default: Arc<Policy>,
    /// Of the upstreams; the last is the gateway itself.
    names: Vec<&'s str>,
    /// By upstream: which methods it has is not known, so that it may have any.
    is_unknown: Vec<bool>,
    /// By upstream: there is to be no schema.
    has_none: Vec<bool>,
    /// The schema of some upstream is still to come, and who else has a method may have to wait for it.
    is_pending: bool,
}

struct Rule<'s> {
    matches: &'s RouteMatch,
    policy: Arc<Policy>,
    /// What is asked beyond the method, and where it leads.
    lead: Lead,
}

/// What holds for the calls of one method.
pub(super) struct Plan {
    /// The policies of calls for which a condition holds, in the order in which they are tried.
    pub(super) special: Vec<(Ruled, Arc<Policy>)>,
    /// Of all others.
    pub(super) policy: Arc<Policy>,
    /// The first that a request fits is its own; the last fits all.
    pub(super) leads: Arc<[Lead]>,
    /// By upstream: it may have the method.
    may_have: Vec<bool>,
}

/// Services that no schema knows, and where they pass through to.
pub(super) struct PassThrough {
    pub(super) methods: Option<MethodMatch>,
    pub(super) policy: Arc<Policy>,
    pub(super) lead: Lead,
}

/// Two upstreams that have a method, neither of them named by a route.
#[derive(Debug)]
pub(super) struct Rivals(pub(super) usize, pub(super) usize);

impl<'s> Policies<'s> {
    pub(super) fn new(settings: &'s Settings, schemas: &[UpstreamSchema]) -> Self {
        let names = settings.upstreams.iter().map(|upstream| upstream.name.as_str());
        let names: Vec<&str> = names.chain([OWN_UPSTREAM]).collect();
        let rule = |(place, rule): (usize, &'s crate::config::RouteRule)| Rule {
            matches: &rule.matches,
            policy: Arc::new(Policy::new(&rule.policy, &names)),
            lead: lead(place, &rule.matches, &rule.policy, &names),
        };
        let rules = settings.routes.iter().enumerate().map(rule).collect();
        let is_unknown: Vec<bool> = schemas.iter().map(|schema| schema.set.is_none()).collect();
        let has_none: Vec<bool> =
            settings.upstreams.iter().map(|upstream| upstream.schema == SchemaSource::None).collect();
        let is_pending = is_unknown.iter().zip(&has_none).any(|(is_unknown, has_none)| *is_unknown && !has_none);
        Self { rules, default: Arc::default(), names, is_unknown, has_none, is_pending }
    }

    /// The plan of a method.
    ///
    /// # Errors
    /// Where it is open which of two upstreams its calls go to.
    pub(super) fn of(&self, method: &Method) -> Result<Plan, Rivals> {
        if method.upstreams == [self.names.len() - 1] {
            // The gateway's own services are the same for everybody.
            let leads = Arc::new([self.only(self.names.len() - 1)]);
            return Ok(Plan { special: Vec::new(), policy: self.default.clone(), leads, may_have: Vec::new() });
        }
        let rules =
            || self.rules.iter().filter(|rule| covers(rule.matches.methods.as_ref(), &method.service, &method.name));
        let mut special = Vec::new();
        let mut policy = &self.default;
        for rule in rules() {
            match &rule.lead.condition {
                Some(condition) => special.push((condition.clone(), rule.policy.clone())),
                None => {
                    policy = &rule.policy;
                    break;
                }
            }
        }
        let may_have = (0..self.names.len()).map(|upstream| self.may_have(method, upstream)).collect();
        Ok(Plan { special, policy: policy.clone(), leads: self.leads(rules, method)?.into(), may_have })
    }

    /// Where calls of methods go that no schema knows, in the order in which it is tried.
    pub(super) fn passing(&self) -> impl Iterator<Item = PassThrough> {
        self.rules.iter().filter_map(|rule| {
            let mut lead = rule.lead.clone();
            if rule.matches.methods.is_none() {
                // Nobody said that an upstream that has a schema should serve more than that.
                lead.shares.retain(|share| self.has_none.get(share.upstream) == Some(&true));
            }
            let methods = rule.matches.methods.clone();
            (!lead.shares.is_empty()).then(|| PassThrough { methods, policy: rule.policy.clone(), lead })
        })
    }

    fn leads<'r, R: Iterator<Item = &'r Rule<'s>>>(
        &self,
        rules: impl Fn() -> R,
        method: &Method,
    ) -> Result<Vec<Lead>, Rivals>
    where
        's: 'r,
    {
        let mut leads = Vec::new();
        for rule in rules().filter(|rule| !rule.lead.shares.is_empty()) {
            let lead = self.of_those_that_have(method, &rule.lead);
            // Without a condition, nothing takes a method from those that have it to others.
            if lead.condition.is_none() && !lead.shares.iter().any(|share| method.upstreams.contains(&share.upstream)) {
                continue;
            }
            leads.push(lead);
            if rule.lead.condition.is_none() {
                return Ok(leads);
            }
        }
        leads.push(self.otherwise(rules, method)?);
        Ok(leads)
    }

    /// Where calls go that no route leads anywhere.
    fn otherwise<'r, R: Iterator<Item = &'r Rule<'s>>>(
        &self,
        rules: impl Fn() -> R,
        method: &Method,
    ) -> Result<Lead, Rivals>
    where
        's: 'r,
    {
        let is_named = |upstream: &usize| rules().any(|rule| rule.copies_to(*upstream) || rule.leads_to(*upstream));
        let mut own = method.upstreams.iter().copied().filter(|upstream| !is_named(upstream));
        match (own.next(), own.next(), &method.upstreams[..]) {
            (Some(first), Some(second), _) => return Err(Rivals(first, second)),
            (Some(only), None, _) => return Ok(self.only(only)),
            // Headers bind nothing: who wants the upstream may say them.
            (None, _, [only]) if !self.is_pending && !rules().any(|rule| rule.binds(*only)) => {
                return Ok(self.only(*only));
            }
            _ => {}
        }
        let nobody = Lead { condition: None, shares: Vec::new(), header: None };
        let mut unconditional = rules().filter(|rule| rule.lead.condition.is_none() && !rule.lead.shares.is_empty());
        Ok(unconditional.next().map_or(nobody, |rule| self.of_those_that_have(method, &rule.lead)))
    }

    /// Without the upstreams that are known to lack the method.
    fn of_those_that_have(&self, method: &Method, lead: &Lead) -> Lead {
        let mut lead = lead.clone();
        lead.shares.retain(|share| self.may_have(method, share.upstream));
        lead
    }

    fn may_have(&self, method: &Method, upstream: usize) -> bool {
        method.upstreams.contains(&upstream) || self.is_unknown.get(upstream) == Some(&true)
    }

    fn only(&self, upstream: usize) -> Lead {
        let name = self.names.get(upstream).map(|name| (*name).to_owned()).unwrap_or_default();
        Lead { condition: None, shares: vec![Share { upstream, name, weight: 1 }], header: None }
    }
}

impl Plan {
    /// Who gets copies under a policy: nobody who lacks the method.
    pub(super) fn mirror(&self, policy: &Policy) -> Option<Copied> {
        policy.mirror.filter(|mirror| self.may_have.get(mirror.upstream) == Some(&true))
    }
}

impl Rule<'_> {
    fn leads_to(&self, upstream: usize) -> bool {
        self.lead.shares.iter().any(|share| share.upstream == upstream)
    }

    fn copies_to(&self, upstream: usize) -> bool {
        self.policy.mirror.is_some_and(|mirror| mirror.upstream == upstream)
    }

    /// Whether other calls than the rule's do not reach the upstream.
    fn binds(&self, upstream: usize) -> bool {
        self.copies_to(upstream) || self.leads_to(upstream) && !self.matches.hosts.is_empty()
    }
}

impl Policy {
    fn new(settings: &RoutePolicy, names: &[&str]) -> Self {
        // What makes a difference has to reach the upstream.
        let key = settings.share.iter().flat_map(|share| &share.key);
        let request: Vec<_> = settings.request_headers.iter().chain(key).cloned().collect();
        let headers = HeaderRules::new(&request, &settings.response_headers);
        let mirror = settings.mirror.as_ref().and_then(|mirror| {
            Some(Copied { upstream: place_of(&mirror.upstream, names)?, per_million: mirror.per_million })
        });
        Self { settings: settings.clone(), headers, mirror }
    }
}

impl Copied {
    /// Whether a random number is among those that stand for copies.
    pub(super) fn takes(self, random: u32) -> bool {
        (u64::from(random) * 1_000_000) >> 32 < u64::from(self.per_million)
    }
}

/// Whether a pattern covers a method.
pub(super) fn covers(methods: Option<&MethodMatch>, service: &str, method: &str) -> bool {
    match methods {
        Some(MethodMatch::Method(name)) => {
            name.split_once('/').is_some_and(|(own, name)| own == service && (name == "*" || name == method))
        }
        Some(MethodMatch::ServicePrefix(prefix)) => service.starts_with(prefix),
        None => true,
    }
}

fn lead(place: usize, matches: &RouteMatch, policy: &RoutePolicy, names: &[&str]) -> Lead {
    let share = |(name, weight): &(String, u32)| {
        Some(Share { upstream: place_of(name, names)?, name: name.clone(), weight: *weight })
    };
    Lead {
        condition: Condition::of(matches).map(|condition| Ruled { rule: place, condition: Arc::new(condition) }),
        shares: policy.upstreams.iter().filter_map(share).collect(),
        header: policy.upstream_header.as_ref().and_then(|name| HeaderName::from_bytes(name.as_bytes()).ok()),
    }
}

fn place_of(name: &str, names: &[&str]) -> Option<usize> {
    names.iter().position(|known| *known == name)
}
