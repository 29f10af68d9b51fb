//! Builds the match table, and refuses rules that match exactly the same requests.

use thiserror::Error;

use super::{
    Table, Template, Verb,
    table::{End, Node, Route},
    template::Segment,
};

/// Collects rules for a [`Table`].
#[derive(Debug)]
pub struct TableBuilder {
    table: Table,
    /// Of every route of the table, for the texts of errors.
    origins: Vec<Origin>,
    ambiguous: Option<AmbiguousRules>,
}

#[derive(Debug)]
struct Origin {
    selector: Box<str>,
    template: Template,
}

/// Two rules that match exactly the same requests.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error(
    "`{first}` ({verb} {first_template}) and `{second}` ({verb} {second_template}) match exactly the same requests"
)]
pub struct AmbiguousRules {
    pub verb: Verb,
    /// Their routes.
    pub routes: (u32, u32),
    /// `pkg.Service.Method` of the rule that was there first.
    pub first: Box<str>,
    pub first_template: Box<str>,
    pub second: Box<str>,
    pub second_template: Box<str>,
}

impl Default for TableBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl TableBuilder {
    pub fn new() -> Self {
        let table = Table { nodes: vec![Node::default()], routes: Vec::new() };
        Self { table, origins: Vec::new(), ambiguous: None }
    }

    /// Adds a rule of the method `selector`, `pkg.Service.Method`. Its exact repetition changes nothing.
    pub fn add(&mut self, verb: Verb, template: &Template, route: u32, selector: &str) {
        let node = template.segments.iter().fold(0, |node, segment| self.child(node, segment));
        let index = self.table.routes.len();
        let Some(node) = self.table.nodes.get_mut(node) else { return };
        let verbs = node.verbs(template.verb.as_deref());
        let Some((verb, taken)) = verbs.iter().find(|(own, _)| *own == verb) else {
            verbs.push((verb, index));
            self.table.routes.push(Route {
                id: route,
                variables: template.variables.clone(),
                decodes_slashes: template.decodes_slashes,
            });
            self.origins.push(Origin { selector: selector.into(), template: template.clone() });
            return;
        };
        let Some(first) = self.origins.get(*taken) else { return };
        if *first.selector == *selector && first.template.variables == template.variables {
            return;
        }
        self.ambiguous.get_or_insert_with(|| AmbiguousRules {
            verb: verb.clone(),
            routes: (self.table.routes.get(*taken).map_or(route, |first| first.id), route),
            first: first.selector.clone(),
            first_template: first.template.as_str().into(),
            second: selector.into(),
            second_template: template.as_str().into(),
        });
    }

    /// The table of all rules added.
    ///
    /// # Errors
    /// The first two rules that match exactly the same requests.
    pub fn build(self) -> Result<Table, AmbiguousRules> {
        match self.ambiguous {
            Some(rules) => Err(rules),
            None => Ok(self.table),
        }
    }

    /// The node behind a segment, made where there is none.
    fn child(&mut self, node: usize, segment: &Segment) -> usize {
        let new = self.table.nodes.len();
        let Some(node) = self.table.nodes.get_mut(node) else { return node };
        let child = match segment {
            Segment::One => *node.one.get_or_insert(new),
            Segment::Rest => *node.rest.get_or_insert(new),
            Segment::Literal(text) => match node.literals.binary_search_by(|(own, _)| own.cmp(text)) {
                Ok(index) => node.literals.get(index).map_or(new, |(_, child)| *child),
                Err(index) => {
                    node.literals.insert(index, (text.clone(), new));
                    new
                }
            },
        };
        if child == new {
            self.table.nodes.push(Node::default());
        }
        child
    }
}

impl Node {
    /// The rules of a custom verb, or of none, that end here.
    fn verbs(&mut self, custom: Option<&str>) -> &mut Vec<(Verb, usize)> {
        let index = self.ends.iter().position(|end| end.custom.as_deref() == custom).unwrap_or(self.ends.len());
        if index == self.ends.len() {
            self.ends.push(End { custom: custom.map(Into::into), verbs: Vec::new() });
        }
        &mut self.ends[index].verbs
    }
}
