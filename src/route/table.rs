//! The match table: a trie of path segments, searched with backtracking. Knows nothing of how it was built.

use http::Method;

use super::{
    Captures, Verb,
    captures::{capture, decoded},
    template::Variable,
};

/// Finds the route of a request. Immutable.
#[derive(Clone, Debug)]
pub struct Table {
    /// The first is the root.
    pub(super) nodes: Vec<Node>,
    pub(super) routes: Vec<Route>,
}

/// What a request's verb and path lead to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found<'p> {
    Route {
        route: u32,
        /// In the order of the template's variables.
        captures: Captures<'p>,
    },
    /// The path is known, the verb is not.
    WrongVerb {
        /// What is: sorted, with HEAD beside GET.
        allow: Vec<Method>,
    },
    None,
}

/// What has been seen of a path once it has matched this far.
#[derive(Clone, Debug, Default)]
pub(super) struct Node {
    /// Sorted by the percent-decoded text.
    pub(super) literals: Vec<(Box<str>, usize)>,
    /// Behind `*`.
    pub(super) one: Option<usize>,
    /// Behind `**`: always a leaf.
    pub(super) rest: Option<usize>,
    /// Rules that end here; those of one custom verb stand together.
    pub(super) ends: Vec<End>,
}

/// The rules of one template: those that differ only in variables' names and in the HTTP verb.
#[derive(Clone, Debug)]
pub(super) struct End {
    /// Percent-decoded.
    pub(super) custom: Option<Box<str>>,
    pub(super) verbs: Vec<(Verb, usize)>,
}

#[derive(Clone, Debug)]
pub(super) struct Route {
    pub(super) id: u32,
    pub(super) variables: Vec<Variable>,
    pub(super) decodes_slashes: bool,
}

impl Table {
    /// Finds the route for a path (without its query) that [`super::check_path`] has let pass. At every segment a
    /// literal goes before `*` and `*` before `**`; a branch that leads to no rule for the verb is left again.
    pub fn find<'p>(&self, verb: &Method, path: &'p str) -> Found<'p> {
        Search::new(self, verb).find(path)
    }
}

/// One search. A path has at most two readings: with what follows its last colon as the custom verb, and with it as
/// data. Each enters every node at most once, so the steps are bounded by the size of the table, whatever the path.
pub(super) struct Search<'t, 's> {
    table: &'t Table,
    verb: &'s Method,
    reading: Reading<'s>,
    /// Some rule has this path, if not this verb.
    known: bool,
    /// Filled by a second walk, so that a path that is served allocates nothing for it.
    allow: Option<Vec<Method>>,
    steps: usize,
}

#[derive(Clone, Copy)]
enum Reading<'s> {
    /// The custom verb, percent-encoded.
    Custom(&'s str),
    /// No custom verb; the text that would have been it, where there is a colon.
    Data(Option<&'s str>),
}

impl<'t, 's> Search<'t, 's> {
    pub(super) fn new(table: &'t Table, verb: &'s Method) -> Self {
        Self { table, verb, reading: Reading::Data(None), known: false, allow: None, steps: 0 }
    }

    /// Nodes entered so far.
    #[cfg(test)]
    pub(super) fn steps(&self) -> usize {
        self.steps
    }

    pub(super) fn find<'p: 's>(&mut self, path: &'p str) -> Found<'p> {
        let colon = split_custom(path);
        if let Some((head, custom)) = colon {
            self.reading = Reading::Custom(custom);
            let found = self.read(head);
            // What some rule has as its custom verb is never data.
            if found != Found::None {
                return found;
            }
        }
        self.reading = Reading::Data(colon.map(|(_, custom)| custom));
        self.read(path)
    }

    fn read<'p>(&mut self, path: &'p str) -> Found<'p> {
        let Some(segments) = path.strip_prefix('/') else { return Found::None };
        let segments = (!segments.is_empty()).then_some(segments);
        if let Some(route) = self.walk(0, segments).and_then(|route| self.table.routes.get(route)) {
            return Found::Route { route: route.id, captures: capture(path, &route.variables, route.decodes_slashes) };
        }
        if !self.known {
            return Found::None;
        }
        self.allow = Some(Vec::new());
        self.walk(0, segments);
        let mut allow = self.allow.take().unwrap_or_default();
        allow.sort_by(|a, b| a.as_str().cmp(b.as_str()));
        allow.dedup();
        Found::WrongVerb { allow }
    }

    /// The route of the segments that are left below a node; none: there are no more.
    fn walk(&mut self, node: usize, segments: Option<&str>) -> Option<usize> {
        self.steps += 1;
        let table = self.table;
        let node = table.nodes.get(node)?;
        let Some(segments) = segments else {
            return self.end(node).or_else(|| self.rest(node));
        };
        let (segment, left) = match memchr::memchr(b'/', segments.as_bytes()) {
            Some(slash) => (segments.get(..slash)?, segments.get(slash + 1..)),
            None => (segments, None),
        };
        if let Some(found) = node.literal(segment).and_then(|child| self.walk(child, left)) {
            return Some(found);
        }
        let one = node.one.filter(|_| !segment.is_empty());
        one.and_then(|child| self.walk(child, left)).or_else(|| self.rest(node))
    }

    fn rest(&mut self, node: &Node) -> Option<usize> {
        let leaf = self.table.nodes.get(node.rest?)?;
        self.steps += 1;
        self.end(leaf)
    }

    /// The route of this verb among those that end at a node.
    fn end(&mut self, node: &Node) -> Option<usize> {
        let end = match self.reading {
            Reading::Custom(custom) => node.end(custom)?,
            Reading::Data(Some(unread)) if node.end(unread).is_some() => return None,
            Reading::Data(_) => node.ends.iter().find(|end| end.custom.is_none())?,
        };
        self.known = true;
        if let Some(allow) = &mut self.allow {
            allow.extend(end.verbs.iter().flat_map(|(verb, _)| methods(verb)));
            return None;
        }
        end.route(self.verb)
    }
}

impl Node {
    fn literal(&self, segment: &str) -> Option<usize> {
        let segment = segment.as_bytes();
        let found = if memchr::memchr(b'%', segment).is_none() {
            self.literals.binary_search_by(|(literal, _)| literal.as_bytes().cmp(segment))
        } else {
            self.literals.binary_search_by(|(literal, _)| literal.bytes().cmp(decoded(segment)))
        };
        found.ok().and_then(|index| self.literals.get(index)).map(|(_, child)| *child)
    }

    fn end(&self, custom: &str) -> Option<&End> {
        self.ends.iter().find(|end| end.custom.as_ref().is_some_and(|own| own.bytes().eq(decoded(custom.as_bytes()))))
    }
}

impl End {
    /// The rule of the verb itself goes before GET's answer to HEAD (RFC 9110 §9.3.2), and that before any verb's.
    fn route(&self, verb: &Method) -> Option<usize> {
        let of = |wanted: &Verb| self.verbs.iter().find(|(own, _)| own == wanted).map(|(_, route)| *route);
        let exact = self.verbs.iter().find(|(own, _)| matches!(own, Verb::Method(own) if own == verb));
        exact
            .map(|(_, route)| *route)
            .or_else(|| if *verb == Method::HEAD { of(&Verb::Method(Method::GET)) } else { None })
            .or_else(|| of(&Verb::Any))
    }
}

fn methods(verb: &Verb) -> impl Iterator<Item = Method> {
    let (own, head) = match verb {
        Verb::Any => (None, None),
        Verb::Method(Method::GET) => (Some(Method::GET), Some(Method::HEAD)),
        Verb::Method(method) => (Some(method.clone()), None),
    };
    own.into_iter().chain(head)
}

/// Splits what follows the last colon of the last segment off a path.
fn split_custom(path: &str) -> Option<(&str, &str)> {
    let at = memchr::memrchr2(b':', b'/', path.as_bytes())?;
    let custom = path.get(at..)?.strip_prefix(':')?;
    Some((path.get(..at)?, custom))
}
