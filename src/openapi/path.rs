//! Path templates of google.api.http as paths of OpenAPI, which has parameters of one segment only. Knows nothing of
//! fields' types.

use std::collections::HashMap;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::route::{Segment, Template, Variable};

/// A template as OpenAPI has it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Path {
    pub(super) text: String,
    /// In the order of the path.
    pub(super) parameters: Vec<PathParameter>,
}

/// One `*` or `**`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PathParameter {
    pub(super) name: String,
    pub(super) is_rest: bool,
    pub(super) captured: Captured,
}

/// What becomes of a parameter's value.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Captured {
    /// Nothing: the backend never sees it.
    No,
    /// It is the value of the field.
    Whole { field_path: String },
    /// It is a part of the value of the field, which has this pattern.
    Part { field_path: String, pattern: String },
}

/// Names of parameters: paths that differ in nothing else must not differ in these (OpenAPI 3.1, "Path Templating").
#[derive(Debug, Default)]
pub(super) struct Names(HashMap<String, Vec<String>>);

impl Names {
    pub(super) fn path(&mut self, template: &Template) -> Path {
        let anonymous = render(template, &mut std::iter::repeat(""));
        let names = self.0.entry(anonymous).or_insert_with(|| names(template));
        let text = render(template, &mut names.iter().map(String::as_str));
        let wildcards = wildcards(template).zip(&*names);
        let parameters = wildcards.map(|((place, is_rest), name)| PathParameter {
            name: name.clone(),
            is_rest,
            captured: captured(template, place, names),
        });
        Path { parameters: parameters.collect(), text }
    }
}

/// The template with its wildcards' names in braces.
fn render<'n>(template: &Template, names: &mut impl Iterator<Item = &'n str>) -> String {
    let mut text = segments_text(template.segments(), names);
    if text.is_empty() {
        text.push('/');
    }
    if let Some(verb) = template.custom_verb() {
        text.push(':');
        text.extend(utf8_percent_encode(verb, NOT_IN_A_SEGMENT));
    }
    text
}

fn segments_text<'n>(segments: &[Segment], names: &mut impl Iterator<Item = &'n str>) -> String {
    let mut text = String::new();
    for segment in segments {
        text.push('/');
        match segment {
            Segment::Literal(literal) => text.extend(utf8_percent_encode(literal, NOT_IN_A_SEGMENT)),
            Segment::One | Segment::Rest => {
                text.push('{');
                text.push_str(names.next().unwrap_or_default());
                text.push('}');
            }
        }
    }
    text
}

/// The places of `*` and `**` among the segments; true for the latter.
fn wildcards(template: &Template) -> impl Iterator<Item = (usize, bool)> {
    template.segments().iter().enumerate().filter_map(|(place, segment)| match segment {
        Segment::Literal(_) => None,
        Segment::One => Some((place, false)),
        Segment::Rest => Some((place, true)),
    })
}

/// A name for each wildcard: its variable's, or else one made of the literal before it, `shelves` → `shelvesId`.
fn names(template: &Template) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for (place, is_rest) in wildcards(template) {
        let variable = variable_at(template, place).filter(|variable| is_whole(variable));
        let wanted =
            variable.map_or_else(|| name_by_literal(template, place, is_rest), |own| own.field_path.to_string());
        let mut name = wanted.clone();
        let mut number = 2;
        while names.contains(&name) {
            name = format!("{wanted}{number}");
            number += 1;
        }
        names.push(name);
    }
    names
}

fn name_by_literal(template: &Template, place: usize, is_rest: bool) -> String {
    let before = template.segments().get(..place).unwrap_or_default();
    let literal = before.iter().rev().find_map(|segment| match segment {
        Segment::Literal(literal) => Some(&**literal),
        _ => None,
    });
    let kept = |c: char| if c.is_ascii_alphanumeric() || "_-.".contains(c) { c } else { '_' };
    let base: String = literal.unwrap_or("segment").chars().map(kept).collect();
    base + if is_rest { "Path" } else { "Id" }
}

fn variable_at(template: &Template, place: usize) -> Option<&Variable> {
    template.captured().iter().find(|variable| variable.segments().contains(&place))
}

/// Whether a variable is one segment, whatever it holds.
fn is_whole(variable: &Variable) -> bool {
    variable.segments().len() == 1
}

fn captured(template: &Template, place: usize, names: &[String]) -> Captured {
    let Some(variable) = variable_at(template, place) else { return Captured::No };
    let field_path = variable.field_path.to_string();
    if is_whole(variable) {
        return Captured::Whole { field_path };
    }
    let before = wildcards(template).filter(|(place, _)| *place < variable.first).count();
    let segments = template.segments().get(variable.segments()).unwrap_or_default();
    let pattern = segments_text(segments, &mut names.iter().skip(before).map(String::as_str));
    Captured::Part { field_path, pattern: pattern.trim_start_matches('/').to_owned() }
}

/// What cannot stand in a segment as it is (RFC 3986 §3.3), and the braces of OpenAPI's own.
const NOT_IN_A_SEGMENT: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'/')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_has_a_path_and_a_parameter_for_each_wildcard() {
        for (template, expected) in [
            ("/", "/"),
            ("/v1/shelves", "/v1/shelves"),
            ("/v1/shelves/{shelf}", "/v1/shelves/{shelf} shelf=*"),
            ("/v1/{name=shelves/*}", "/v1/shelves/{shelvesId} shelvesId~name:shelves/{shelvesId}"),
            (
                "/v1/{book.name=shelves/*/books/*}:read",
                "/v1/shelves/{shelvesId}/books/{booksId}:read \
                 shelvesId~book.name:shelves/{shelvesId}/books/{booksId} \
                 booksId~book.name:shelves/{shelvesId}/books/{booksId}",
            ),
            ("/p/*/{s}", "/p/{pId}/{s} pId- s=*"),
            ("/p/{s=**}", "/p/{s} s=**"),
            ("/p/**", "/p/{pPath} pPath-**"),
            ("/{a=x/**}:v", "/x/{xPath}:v xPath~**a:x/{xPath}"),
            (
                "/{a=*/*}",
                "/{segmentId}/{segmentId2} segmentId~a:{segmentId}/{segmentId2} segmentId2~a:{segmentId}/{segmentId2}",
            ),
            ("/{xId}/x/*", "/{xId}/x/{xId2} xId=* xId2-"),
            ("/{a=fixed}/%7Bb%7D%20c", "/fixed/%7Bb%7D%20c"),
            ("/**", "/{segmentPath} segmentPath-**"),
        ] {
            let path = Names::default().path(&Template::parse(template).unwrap());
            let mut got = path.text.clone();
            for PathParameter { name, is_rest, captured } in &path.parameters {
                let stars = if *is_rest { "**" } else { "" };
                got += &match captured {
                    Captured::No => format!(" {name}-{stars}"),
                    Captured::Whole { .. } => format!(" {name}={}", if *is_rest { "**" } else { "*" }),
                    Captured::Part { field_path, pattern } => format!(" {name}~{stars}{field_path}:{pattern}"),
                };
            }
            assert_eq!(got, expected, "{template}");
        }
    }

    #[test]
    fn paths_of_one_shape_have_parameters_of_the_same_names() {
        let mut names = Names::default();
        for (template, expected) in [
            ("/v1/{name=shelves/*}", "/v1/shelves/{shelvesId}"),
            ("/v1/shelves/{id}", "/v1/shelves/{shelvesId}"),
            ("/v1/shelves/{id=**}", "/v1/shelves/{shelvesId}"),
            ("/v1/shelves/{id}:read", "/v1/shelves/{id}:read"),
        ] {
            assert_eq!(names.path(&Template::parse(template).unwrap()).text, expected, "{template}");
        }
    }
}
