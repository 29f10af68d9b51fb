//! Where a request would lead and why, told by what serves it. Nothing is called.

use std::borrow::Cow;

use http::{Method, header, request::Parts};

use super::{
    listing::Listed,
    snapshot::{Route, Snapshot, Target, Way},
};
use crate::{
    codec::OutputError,
    config::OutputSettings,
    route::{Difference, SEGMENT, Template, distance},
    status::{Reason, Status},
};

/// Where a request's head leads.
#[derive(Debug)]
pub enum Explained {
    /// To a method.
    Route {
        listed: Listed,
        /// The variables of the path, and what they captured.
        captures: Vec<(String, String)>,
    },
    /// To something of the gateway's own, as `the OpenAPI document`.
    Own(&'static str),
    Nowhere {
        /// Rules of this path with other verbs.
        other_verbs: Vec<Listed>,
        /// Rules of this path under conditions that the request does not meet.
        unmet: Vec<Listed>,
        /// Rules that come near, the nearest first, and where the path leaves them.
        near: Vec<(Listed, Difference)>,
    },
}

/// How many rules are told as near, and how much farther than the nearest.
const NEAR_MAX: usize = 3;
const FARTHER_MAX: usize = SEGMENT / 4;

impl Snapshot {
    /// Where a request would lead.
    pub fn explain(&self, head: &Parts) -> Explained {
        match self.find(self.dialect(head), head) {
            Ok(Target::Asset(_)) => Explained::Own("a static file"),
            Ok(Target::OpenApi(_)) => Explained::Own("the OpenAPI document"),
            Ok(Target::Mux) => Explained::Own("many calls on one WebSocket, or in one session"),
            Ok(Target::Ticket(_)) => Explained::Own("tickets in the place of a token"),
            Ok(Target::Route { route, lead, captures }) => {
                let listed = self.way(route).and_then(|way| Some((self.listed(&way, route, lead)?, way)));
                let Some((mut listed, way)) = listed else { return Explained::Own("a route without a method") };
                if lead.naming(&head.headers).is_some()
                    && let Ok(named) = lead.choose(&head.headers, || 0)
                {
                    listed.upstreams.retain(|(name, _)| name == self.upstream_name(named));
                }
                let names = template(&way).map(|template| template.variables().map(str::to_owned).collect::<Vec<_>>());
                let values = captures.into_iter().map(Cow::into_owned);
                let captures = names.unwrap_or_default().into_iter().zip(values).collect();
                Explained::Route { listed, captures }
            }
            Err(status) => {
                let other_verbs = self.other_verbs(head, &status);
                let unknown = status.reason() == Some(Reason::RouteNotFound);
                let unmet = if unknown { self.unmet(head) } else { Vec::new() };
                let near = if unknown && unmet.is_empty() { self.near(head.uri.path()) } else { Vec::new() };
                Explained::Nowhere { other_verbs, unmet, near }
            }
        }
    }

    /// The request message of a method's path as JSON.
    ///
    /// # Errors
    /// Bytes that are no such message.
    pub fn request_json(&self, path: &str, wire: &[u8]) -> Result<String, OutputError> {
        let mut json = Vec::new();
        if let Some(id) = self.schema.method(path) {
            let plan = self.codec.plan(self.schema[id].input);
            self.codec.wire_to_json(plan, wire, OutputSettings::default(), &mut json)?;
        }
        Ok(String::from_utf8_lossy(&json).into_owned())
    }

    fn way(&self, route: &Route) -> Option<Way<'_>> {
        self.ways().find(|way| way.route.index == route.base)
    }

    /// Where the verbs lead that `Allow` names; HEAD leads where GET does.
    fn other_verbs(&self, head: &Parts, status: &Status) -> Vec<Listed> {
        let allow = status.headers().get(header::ALLOW).and_then(|allow| allow.to_str().ok()).unwrap_or_default();
        let verbs = allow.split(", ").filter_map(|verb| Method::from_bytes(verb.as_bytes()).ok());
        let mut found: Vec<Listed> = Vec::new();
        for verb in verbs {
            let mut head = head.clone();
            head.method = verb;
            if let Ok(Target::Route { route, lead, .. }) = self.find(self.dialect(&head), &head)
                && let Some(listed) = self.way(route).and_then(|way| self.listed(&way, route, lead))
                && !found.contains(&listed)
            {
                found.push(listed);
            }
        }
        found
    }

    fn near(&self, path: &str) -> Vec<(Listed, Difference)> {
        let distances = self.ways().filter_map(|way| Some((distance(&template(&way)?, path)?, way)));
        let mut near: Vec<_> = distances.collect();
        near.sort_by_key(|((distance, _), way)| (*distance, way.route.index));
        let farthest = near.first().map_or(0, |((distance, _), _)| distance + FARTHER_MAX);
        near.into_iter()
            .take(NEAR_MAX)
            .take_while(|((distance, _), _)| *distance <= farthest)
            .filter_map(|((_, difference), way)| Some((self.cases(&way).pop()?, difference)))
            .collect()
    }

    /// What the request would lead to if it met conditions that it does not meet.
    fn unmet(&self, head: &Parts) -> Vec<Listed> {
        let path = head.uri.path();
        let fits = |way: &Way<'_>| match template(way) {
            Some(template) => distance(&template, path).is_none(),
            None => self.passing(path).any(|route| route.index == way.route.index),
        };
        let mut cases: Vec<Listed> = self.ways().filter(fits).flat_map(|way| self.cases(&way)).collect();
        cases.retain(|case| case.verbs.iter().any(|verb| verb == "*" || verb == head.method.as_str()));
        cases
    }
}

/// None for services that no schema knows.
fn template(way: &Way<'_>) -> Option<Template> {
    match (way.rule, way.method) {
        (Some((_, rule)), _) => Template::parse(&rule.template).ok(),
        (None, Some((_, method))) => Template::parse(method.path.as_str()).ok(),
        (None, None) => None,
    }
}
