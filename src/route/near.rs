//! How near a path is to a template that it does not match, and where they part: for explanations, never for a call.

use std::fmt;

use super::{
    captures::decoded,
    template::{Segment, Template},
};

/// The first difference between a path and a template, read from left to right. Segments are counted from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    Segment {
        place: usize,
        is: String,
        expected: String,
    },
    /// The path ends where the template goes on.
    Missing {
        place: usize,
        expected: String,
    },
    /// The path goes on where the template ends.
    TooMany {
        place: usize,
        is: String,
    },
    /// The custom verbs, with their colons, or nothing.
    Verb {
        is: String,
        expected: String,
    },
}

/// How much of a path would have to change, for sorting, and the first difference.
pub type Distance = (usize, Difference);

/// What one whole segment counts in a distance.
pub const SEGMENT: usize = 100;

/// None where the path matches.
pub fn distance(template: &Template, path: &str) -> Option<Distance> {
    let (segments, verb) = split(template, path);
    let difference = first_difference(template, &segments, verb.as_deref())?;
    let (is, expected) = (verb.as_deref().unwrap_or_default(), template.custom_verb().unwrap_or_default());
    // What might have been meant as a custom verb is rather one than data.
    let unread = usize::from(verb.is_none() && segments.last().is_some_and(|last| last.contains(':')));
    Some((edits(template.segments(), &segments) + unlike(is, expected) + unread, difference))
}

/// The path's segments, and its custom verb where the template has one.
fn split(template: &Template, path: &str) -> (Vec<String>, Option<String>) {
    let text = |part: &str| String::from_utf8_lossy(&decoded(part.as_bytes()).collect::<Vec<u8>>()).into_owned();
    let colon = path
        .rfind(':')
        .filter(|at| template.custom_verb().is_some() && !path.get(*at..).is_some_and(|rest| rest.contains('/')));
    let (path, verb) = match colon {
        Some(at) => (path.get(..at).unwrap_or_default(), path.get(at + 1..).map(text)),
        None => (path, None),
    };
    let segments = path.strip_prefix('/').unwrap_or(path);
    (if segments.is_empty() { Vec::new() } else { segments.split('/').map(text).collect() }, verb)
}

fn first_difference(template: &Template, path: &[String], verb: Option<&str>) -> Option<Difference> {
    for (place, segment) in template.segments().iter().enumerate() {
        let (is, place) = (path.get(place), place + 1);
        match (segment, is) {
            (Segment::Rest, _) => return verb_difference(template, verb),
            (Segment::Literal(literal), Some(is)) if **literal == **is => {}
            (Segment::One, Some(is)) if !is.is_empty() => {}
            (segment, Some(is)) => {
                return Some(Difference::Segment { place, is: is.clone(), expected: shown(segment) });
            }
            (segment, None) => return Some(Difference::Missing { place, expected: shown(segment) }),
        }
    }
    if let Some(is) = path.get(template.segments().len()) {
        return Some(Difference::TooMany { place: template.segments().len() + 1, is: is.clone() });
    }
    verb_difference(template, verb)
}

fn verb_difference(template: &Template, verb: Option<&str>) -> Option<Difference> {
    let shown = |verb: Option<&str>| verb.map(|verb| format!(":{verb}")).unwrap_or_default();
    let (is, expected) = (shown(verb), shown(template.custom_verb()));
    (is != expected).then_some(Difference::Verb { is, expected })
}

/// The least changes that make the path one of the template's: Levenshtein's distance, in which a segment counts by how
/// unlike it is.
fn edits(template: &[Segment], path: &[String]) -> usize {
    let mut row: Vec<usize> = (0..=path.len()).map(|count| count * SEGMENT).collect();
    for segment in template {
        let (add, skip) = match segment {
            Segment::Rest => (0, 0),
            // What a variable takes is forgotten more often than a word is mistaken.
            Segment::One => (SEGMENT / 4, SEGMENT),
            Segment::Literal(_) => (SEGMENT, SEGMENT),
        };
        let mut next = vec![row.first().copied().unwrap_or_default() + add];
        for (is, above) in path.iter().zip(row.windows(2)) {
            let [diagonal, above] = [above.first(), above.get(1)].map(|cost| cost.copied().unwrap_or_default());
            let change = match segment {
                Segment::Literal(literal) => unlike(is, literal),
                Segment::One | Segment::Rest => 0,
            };
            let left = next.last().copied().unwrap_or_default();
            next.push((diagonal + change).min(above + add).min(left + skip));
        }
        row = next;
    }
    row.last().copied().unwrap_or_default()
}

/// From 0, the same, to what a segment counts.
fn unlike(a: &str, b: &str) -> usize {
    ((1.0 - strsim::normalized_damerau_levenshtein(a, b)) * SEGMENT as f64) as usize
}

fn shown(segment: &Segment) -> String {
    match segment {
        Segment::Literal(literal) => literal.to_string(),
        Segment::One => "*".to_owned(),
        Segment::Rest => "**".to_owned(),
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Segment { place, is, expected } => write!(f, "segment {place} is `{is}`, not `{expected}`"),
            Self::Missing { place, expected } => write!(f, "segment {place}, `{expected}`, is missing"),
            Self::TooMany { place, is } => write!(f, "segment {place}, `{is}`, is one too many"),
            Self::Verb { is, expected } if is.is_empty() => write!(f, "the custom verb `{expected}` is missing"),
            Self::Verb { is, expected } => write!(f, "the custom verb is `{is}`, not `{expected}`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_difference_is_told() {
        for (template, path, expected) in [
            ("/v1/posts/{id}", "/v1/posts/7", None),
            ("/v1/posts/{id}", "/v1/post/7", Some("segment 2 is `post`, not `posts`")),
            ("/v1/posts/{id}", "/v1/posts", Some("segment 3, `*`, is missing")),
            ("/v1/posts/{id}", "/v1/posts/", Some("segment 3 is ``, not `*`")),
            ("/v1/posts/{id}", "/v1/posts/7/x", Some("segment 4, `x`, is one too many")),
            ("/v1/posts/{id}:like", "/v1/posts/7", Some("the custom verb `:like` is missing")),
            ("/v1/posts/{id}:like", "/v1/posts/7:lik", Some("the custom verb is `:lik`, not `:like`")),
            ("/v1/{name=**}", "/v1/a/b/c", None),
            ("/v1/a%20b", "/v1/a%20b", None),
            ("/", "/x", Some("segment 1, `x`, is one too many")),
            ("/v1", "/", Some("segment 1, `v1`, is missing")),
        ] {
            let found =
                distance(&Template::parse(template).unwrap(), path).map(|(_, difference)| difference.to_string());
            assert_eq!(found.as_deref(), expected, "{path} by {template}");
        }
    }

    #[test]
    fn what_needs_the_fewest_changes_is_nearest() {
        let templates = [
            "/v1/posts",
            "/v1/posts/{id}",
            "/v1/posts/{id}:like",
            "/v1/posts/{id}/picture",
            "/v1/rooms/{room}",
            "/a1/{id}",
            "/a2",
        ];
        for (path, nearest) in [
            ("/v1/post/7", "/v1/posts/{id}"),
            ("/api/v1/posts", "/v1/posts"),
            ("/v1/posts/7/pictures", "/v1/posts/{id}/picture"),
            ("/v1/post/7:like", "/v1/posts/{id}:like"),
            ("/v2/rooms/7", "/v1/rooms/{room}"),
            ("/v1/rooms", "/v1/rooms/{room}"),
            ("/a1", "/a1/{id}"),
        ] {
            let mut sorted: Vec<_> = templates
                .iter()
                .map(|text| (distance(&Template::parse(text).unwrap(), path).map(|(cost, _)| cost), *text))
                .collect();
            sorted.sort();
            assert_eq!(sorted[0].1, nearest, "{path}: {sorted:?}");
        }
    }
}
