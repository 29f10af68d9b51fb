//! From a matched path to the values of its variables (google/api/http.proto, "Path template syntax").

use std::borrow::Cow;

use percent_encoding::percent_decode;
use smallvec::SmallVec;

use super::template::Variable;

/// Values of a template's variables, in their order.
pub type Captures<'p> = SmallVec<[Cow<'p, str>; 4]>;

/// Cuts the variables' values out of a path that the template matched; `path` has lost its custom verb.
pub(super) fn capture<'p>(path: &'p str, variables: &[Variable], decodes_slashes: bool) -> Captures<'p> {
    let mut captures = Captures::new();
    // Segments are counted from one variable to the next: they stand in the order of the path.
    let (mut segment, mut at) = (0, 1);
    for variable in variables {
        at = skip(path, at, variable.first - segment);
        segment = variable.first + variable.singles;
        let stop = skip(path, at, variable.singles);
        let value = path.get(at..if variable.rest { path.len() } else { stop - 1 }).unwrap_or_default();
        let slashes_stay = match (variable.singles, variable.rest) {
            (1, false) => 0,
            (_, true) if decodes_slashes => stop - at,
            _ => value.len(),
        };
        captures.push(decode(value, slashes_stay));
        at = stop;
    }
    captures
}

/// The byte behind the slash that ends the `count`th segment from byte `at` on; one behind the path's end where it
/// ends.
fn skip(path: &str, mut at: usize, count: usize) -> usize {
    for _ in 0..count {
        let rest = path.as_bytes().get(at..).unwrap_or_default();
        at += memchr::memchr(b'/', rest).unwrap_or(rest.len()) + 1;
    }
    at
}

/// The value of a variable. Up to byte `slashes_stay`, `%2F` stays as it is: in a value of several segments, decoded, it
/// could not be told from the slashes between them.
fn decode(value: &str, slashes_stay: usize) -> Cow<'_, str> {
    if memchr::memchr(b'%', value.as_bytes()).is_none() {
        return Cow::Borrowed(value);
    }
    let (head, tail) = value.as_bytes().split_at(slashes_stay.min(value.len()));
    let mut bytes = decode_but_slash(head);
    bytes.extend(percent_decode(tail));
    let text = String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
    Cow::Owned(text)
}

fn decode_but_slash(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    let mut rest = value;
    loop {
        let slash =
            memchr::memchr_iter(b'%', rest).find(|at| matches!(rest.get(at + 1..), Some([b'2', b'F' | b'f', ..])));
        let (before, after) = rest.split_at(slash.unwrap_or(rest.len()));
        out.extend(percent_decode(before));
        let Some((slash, after)) = after.split_at_checked(3) else { return out };
        out.extend_from_slice(slash);
        rest = after;
    }
}

/// The bytes of a segment, percent-decoded as they are asked for.
pub(super) fn decoded(segment: &[u8]) -> impl Iterator<Item = u8> + '_ {
    percent_decode(segment)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::Template;

    #[test]
    fn values_are_decoded_by_the_number_of_their_segments() {
        for (template, path, expected) in [
            ("/p/{a}", "/p/x%2Fy%20z+%25", &["x/y z+%"][..]),
            ("/p/{a=*}", "/p/%e4%bd%a0", &["你"]),
            ("/p/{a=x}", "/p/%78", &["x"]),
            ("/p/{a=x/*}", "/p/x/a%2Fb%2fc%3Ad%20", &["x/a%2Fb%2fc:d "]),
            ("/p/{a=**}", "/p", &[""]),
            ("/p/{a=**}", "/p/", &[""]),
            ("/p/{a=**}", "/p/x/y%2f/", &["x/y%2f/"]),
            ("/p/{a=**}", "/p/%252F", &["%2F"]),
            ("/{a}/m/{b=x/*}/n/{c=**}", "/1/m/x/2/n/3/4", &["1", "x/2", "3/4"]),
            ("/*/{a}/{b}", "/0/1/2", &["1", "2"]),
            ("/{a=**}", "/", &[""]),
        ] {
            let template = Template::parse(template).unwrap();
            let got = capture(path, &template.variables, false);
            assert_eq!(got.as_slice(), expected, "{path} by {}", template.as_str());
        }
    }

    #[test]
    fn slashes_are_decoded_where_the_service_says_so_and_no_segment_is_bounded() {
        for (template, path, expected) in [
            ("/p/{a=**}", "/p/x%2Fy/z%2f", &["x/y/z/"][..]),
            ("/p/{a=**}", "/p", &[""]),
            ("/p/{a=**}", "/p/%252F", &["%2F"]),
            ("/p/{a=x/*/**}", "/p/x/a%2Fb%3A/c%2Fd", &["x/a%2Fb:/c/d"]),
            ("/p/{a=x/**}", "/p/x", &["x"]),
            ("/p/{a=x/*}", "/p/x/a%2Fb", &["x/a%2Fb"]),
            ("/p/{a}/{b=**}", "/p/x%2Fy/z%2F", &["x/y", "z/"]),
        ] {
            let template = Template::parse(template).unwrap();
            let got = capture(path, &template.variables, true);
            assert_eq!(got.as_slice(), expected, "{path} by {}", template.as_str());
        }
    }

    #[test]
    fn a_value_without_escapes_is_borrowed() {
        let template = Template::parse("/p/{a}/{b=**}").unwrap();
        assert!(capture("/p/x/y/z", &template.variables, false).iter().all(|value| matches!(value, Cow::Borrowed(_))));
    }
}
