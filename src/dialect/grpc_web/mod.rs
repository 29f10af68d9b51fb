//! gRPC-Web: gRPC's envelopes over any HTTP, with the trailers in an envelope of their own, and all of it in base64 where
//! that is asked for (github.com/grpc/grpc/blob/master/doc/PROTOCOL-WEB.md).

mod text;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header, request::Parts};

pub use text::{TextDecoder, TextError, encode};

use super::{accept, connect::is_own, grpc, media_type};
use crate::{
    status::Status,
    wire::{PREFIX_BYTES, close_envelope, metadata, open_envelope},
};

const NAME: &str = "application/grpc-web";
const TEXT: &str = "-text";
/// Marks the envelope that holds the trailers.
const TRAILERS_FLAG: u8 = 0x80;

/// `application/grpc-web`, `application/grpc-web-text` and their suffixes.
pub(super) fn is_content_type(media_type: &str) -> bool {
    let (Some(name), Some(rest)) = (media_type.get(..NAME.len()), media_type.get(NAME.len()..)) else { return false };
    let rest = if is_text(media_type) { &rest[TEXT.len()..] } else { rest };
    name.eq_ignore_ascii_case(NAME) && (rest.is_empty() || rest.starts_with('+'))
}

fn is_text(media_type: &str) -> bool {
    media_type.get(NAME.len()..NAME.len() + TEXT.len()).is_some_and(|text| text.eq_ignore_ascii_case(TEXT))
}

/// Whether the request's body is in base64.
pub(super) fn sends_text(headers: &HeaderMap) -> bool {
    media_type(headers, &header::CONTENT_TYPE).is_some_and(is_text)
}

/// Whether the reply's body is to be: as `Accept` says, else as the request's is.
pub(super) fn takes_text(headers: &HeaderMap) -> bool {
    let accepted = accept::preferred(headers, |range| is_content_type(range).then(|| is_text(range)));
    accepted.unwrap_or_else(|| sends_text(headers))
}

/// The content type of a reply to who sent messages with this suffix.
pub(super) fn reply_type(takes_text: bool, suffix: &str) -> HeaderValue {
    match (takes_text, suffix) {
        (false, "") => HeaderValue::from_static(NAME),
        (false, "+proto") => HeaderValue::from_static("application/grpc-web+proto"),
        (text, suffix) => HeaderValue::from_str(&format!("{NAME}{}{suffix}", if text { TEXT } else { "" }))
            .unwrap_or(HeaderValue::from_static(NAME)),
    }
}

/// The headers of a reply: initial metadata, and how the messages are compressed.
pub(super) fn reply_head(metadata: &HeaderMap) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(metadata.len() + 4);
    for (name, value) in metadata.iter().filter(|(name, _)| !is_own(name)) {
        headers.append(name.clone(), value.clone());
    }
    metadata::copy_encodings(metadata, &mut headers);
    headers
}

/// Refuses what cannot be a gRPC-Web request.
///
/// # Errors
/// Anything but POST.
pub fn check(head: &Parts) -> Result<(), Status> {
    if head.method == Method::POST { Ok(()) } else { Err(grpc::no_post()) }
}

/// The envelope that ends a reply: the trailers as lines of HTTP/1.1, their names in lower case.
pub(super) fn trailers(trailers: &HeaderMap) -> Bytes {
    let mut out = Vec::with_capacity(PREFIX_BYTES + 64);
    let start = open_envelope(&mut out);
    for (name, value) in trailers {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    // Never fails: what is not 4 GiB long as a block of HTTP/2 headers is not here either.
    let _ = close_envelope(&mut out, start);
    out[start] = TRAILERS_FLAG;
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dialect::Framing;

    fn head(content_type: &'static str, accept: &'static str) -> HeaderMap {
        let headers = [(header::CONTENT_TYPE, content_type), (header::ACCEPT, accept)];
        let given = headers.into_iter().filter(|(_, value)| !value.is_empty());
        given.map(|(name, value)| (name, HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn content_types_of_grpc_web_are_known() {
        for (kind, expected, text) in [
            ("application/grpc-web", true, false),
            ("application/grpc-web+proto", true, false),
            ("Application/gRPC-Web+JSON", true, false),
            ("application/grpc-web-text", true, true),
            ("application/grpc-web-Text+proto", true, true),
            ("application/grpc-web-textual", false, true),
            ("application/grpc-webby", false, false),
            ("application/grpc", false, false),
            ("application/grpc+proto", false, false),
            ("", false, false),
        ] {
            assert_eq!((is_content_type(kind), is_text(kind)), (expected, text), "{kind}");
        }
    }

    #[test]
    fn a_reply_comes_in_the_form_that_was_asked_for() {
        for (content_type, accept, expected) in [
            ("application/grpc-web", "", "application/grpc-web"),
            ("application/grpc-web+proto", "*/*", "application/grpc-web+proto"),
            ("application/grpc-web+json; charset=utf-8", "", "application/grpc-web+json"),
            ("application/grpc-web+json", "application/grpc-web-text", "application/grpc-web-text+json"),
            ("application/grpc-web-text", "application/grpc-web-text", "application/grpc-web-text"),
            ("application/grpc-web-text", "", "application/grpc-web-text"),
            ("application/grpc-web+proto", "application/grpc-web-text", "application/grpc-web-text+proto"),
            ("application/grpc-web-text", "application/grpc-web+proto", "application/grpc-web"),
            ("application/grpc-web-text+proto", "application/json, text/html", "application/grpc-web-text+proto"),
            ("application/grpc-web", "application/grpc-web-text;q=0, */*", "application/grpc-web"),
        ] {
            let request = head(content_type, accept);
            assert_eq!(Framing::web(&request).reply_type(&request), expected, "{content_type} {accept}");
        }
    }

    #[test]
    fn trailers_are_an_envelope_of_lines() {
        let mut block = head("a", "");
        block.append("x-two", HeaderValue::from_static("1"));
        block.append("x-two", HeaderValue::from_bytes(b"\xff").unwrap());
        assert_eq!(trailers(&block), &b"\x80\0\0\0\x25content-type: a\r\nx-two: 1\r\nx-two: \xff\r\n"[..]);
        assert_eq!(trailers(&HeaderMap::new()), &b"\x80\0\0\0\0"[..]);
    }
}
