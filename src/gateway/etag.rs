//! Entity tags: a client is not sent again what it holds already (RFC 9110 §8.8.3, §13.1.2). Knows nothing of calls.

use http::{HeaderMap, HeaderValue, header::IF_NONE_MATCH};
use twox_hash::{XxHash3_64, XxHash3_128};

/// The tag of a representation: the same for the same bytes of the same type, whichever gateway says it.
pub(super) fn strong(content_type: &HeaderValue, body: &[u8]) -> HeaderValue {
    let seed = XxHash3_64::oneshot(content_type.as_bytes());
    let hash = XxHash3_128::oneshot_with_seed(seed, body);
    let mut tag = String::with_capacity(24);
    tag.push('"');
    base64_simd::URL_SAFE_NO_PAD.encode_append(hash.to_be_bytes(), &mut tag);
    tag.push('"');
    HeaderValue::try_from(tag).unwrap_or(HeaderValue::from_static("\"\""))
}

/// Whether `If-None-Match` names this tag, or any.
pub(super) fn is_known(request: &HeaderMap, tag: &HeaderValue) -> bool {
    let wanted = opaque(tag.as_bytes());
    let mut lists = request.get_all(IF_NONE_MATCH).iter();
    lists.any(|list| members(list.as_bytes()).any(|tag| tag == b"*" || opaque(tag) == wanted))
}

/// What is compared of a tag: a proxy that compresses weakens it, and it is the same for all that.
fn opaque(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

/// The members of a list of tags, in which a comma may stand too.
fn members(mut list: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let begin = list.iter().position(|byte| !matches!(byte, b' ' | b'\t' | b','))?;
        let rest = list.get(begin..)?;
        let mut quoted = false;
        let end = rest.iter().position(|byte| {
            quoted ^= *byte == b'"';
            *byte == b',' && !quoted
        });
        let (tag, after) = rest.split_at(end.unwrap_or(rest.len()));
        list = after;
        Some(tag.trim_ascii_end())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_stands_for_bytes_and_type_and_is_the_same_everywhere() {
        let json = HeaderValue::from_static("application/json");
        let large = vec![b'x'; 100_000];
        let mut changed = large.clone();
        changed[77_777] = b'y';
        let mut tags: Vec<_> = [
            (&json, &b"{}"[..]),
            (&json, b"{ }"),
            (&json, b""),
            (&json, &large),
            (&json, &changed),
            (&json, &large[1..]),
            (&HeaderValue::from_static("application/x-protobuf"), b"{}"),
            (&HeaderValue::from_static("application/x-protobuf"), &large),
        ]
        .map(|(content_type, body)| strong(content_type, body))
        .into();
        // Gateways of one release and the next stand side by side: a change here empties every cache.
        assert_eq!([&tags[0], &tags[3]], ["\"GHSzLf0rpPZ9YfqZh4jw6Q\"", "\"iJANPKhvG4nivVMnN8T3fg\""]);
        assert!(tags.iter().all(|tag| tag.len() == 24), "{tags:?}");
        let all = tags.len();
        tags.sort_by(|a, b| a.as_bytes().cmp(b.as_bytes()));
        tags.dedup();
        assert_eq!(tags.len(), all, "{tags:?}");
    }

    #[test]
    fn what_the_client_holds_is_known_by_its_tag() {
        for (lists, tag, known) in [
            (&["\"a\""][..], "\"a\"", true),
            (&["\"b\" ,\t\"a\" "], "\"a\"", true),
            (&["\"b\"", "\"a\""], "\"a\"", true),
            (&["W/\"a\""], "\"a\"", true),
            (&["\"a\""], "W/\"a\"", true),
            (&["*"], "\"a\"", true),
            (&[",, \"a\",,"], "\"a\"", true),
            (&["\"x,\"a\"\""], "\"a\"", false),
            (&["\"b,c\", \"d\""], "\"b,c\"", true),
            (&["\"b,c\""], "\"c\"", false),
            (&["\"A\""], "\"a\"", false),
            (&["\"a"], "\"a\"", false),
            (&["a"], "\"a\"", false),
            (&["\"*\""], "\"a\"", false),
            (&[""], "\"a\"", false),
            (&[], "\"a\"", false),
        ] {
            let request = lists.iter().map(|list| (IF_NONE_MATCH, HeaderValue::from_static(list))).collect();
            assert_eq!(is_known(&request, &HeaderValue::from_static(tag)), known, "{lists:?} {tag}");
        }
    }
}
