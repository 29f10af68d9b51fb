//! The offer of permessage-deflate and what is answered to it (RFC 6455 §9.1, RFC 7692 §5.1, §7.1). Knows nothing of
//! messages.

use std::fmt::Write;

use http::{HeaderMap, HeaderValue, header::SEC_WEBSOCKET_EXTENSIONS};

use crate::config::WebSocketCompression;

const NAME: &str = "permessage-deflate";

/// The largest window of DEFLATE, as a power of two, and what there is without a word about it.
pub(super) const WINDOW_BITS_MAX: u8 = 15;

/// The smallest window that zlib's compressor can be held to: asked for raw DEFLATE with 8 bits, it is not made at all.
pub(super) const SERVER_WINDOW_BITS_MIN: u8 = 9;

/// What both sides agreed on: how each of them compresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PermessageDeflate {
    /// Our messages may refer to what stood in earlier ones.
    pub server_context_takeover: bool,
    /// The client's may.
    pub client_context_takeover: bool,
    /// How far back ours refer at most, as a power of two: 9 to 15.
    pub server_max_window_bits: u8,
    /// The same of the client's, where it said so. It binds the client; whatever it sends is read with the largest.
    pub client_max_window_bits: Option<u8>,
}

/// The parameters of one offer, each as it stands there.
#[derive(Clone, Copy, Debug, Default)]
struct Offer {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: Option<u8>,
    /// Outer: it is there. Inner: its value.
    client_max_window_bits: Option<Option<u8>>,
}

impl PermessageDeflate {
    /// Takes the first offer that can be accepted. None where there is no such offer, and where none is wanted.
    pub fn of_offers(headers: &HeaderMap, wanted: WebSocketCompression) -> Option<Self> {
        let takeover = match wanted {
            WebSocketCompression::None => return None,
            WebSocketCompression::Message => false,
            WebSocketCompression::Connection => true,
        };
        let lines = headers.get_all(SEC_WEBSOCKET_EXTENSIONS).iter().filter_map(|line| line.to_str().ok());
        let offer = lines.flat_map(|line| split(line, ',')).find_map(Offer::parse)?;
        Some(Self {
            server_context_takeover: takeover && !offer.server_no_context_takeover,
            client_context_takeover: takeover && !offer.client_no_context_takeover,
            server_max_window_bits: offer.server_max_window_bits.unwrap_or(WINDOW_BITS_MAX),
            client_max_window_bits: offer.client_max_window_bits.flatten(),
        })
    }

    /// The value of `sec-websocket-extensions` in the answer. That contexts are not taken over may be said without
    /// having been offered (RFC 7692 §7.1.1); a window is named only where the offer named one (§7.1.2).
    pub fn to_value(self) -> HeaderValue {
        let mut text = NAME.to_owned();
        if !self.server_context_takeover {
            text.push_str("; server_no_context_takeover");
        }
        if !self.client_context_takeover {
            text.push_str("; client_no_context_takeover");
        }
        if self.server_max_window_bits < WINDOW_BITS_MAX {
            let _ = write!(text, "; server_max_window_bits={}", self.server_max_window_bits);
        }
        if let Some(bits) = self.client_max_window_bits {
            let _ = write!(text, "; client_max_window_bits={bits}");
        }
        HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(NAME))
    }
}

impl Offer {
    /// None where it is for another extension, or to be declined: a parameter that is unknown, there twice, or of a
    /// value that it cannot have (RFC 7692 §7.1), or a window that we cannot keep to.
    fn parse(offer: &str) -> Option<Self> {
        let mut parts = split(offer, ';').map(str::trim_ascii);
        if parts.next() != Some(NAME) {
            return None;
        }
        let mut read = Self::default();
        for part in parts {
            let (name, value) = parameter(part)?;
            let is_new = match (name, value) {
                ("server_no_context_takeover", None) => !std::mem::replace(&mut read.server_no_context_takeover, true),
                ("client_no_context_takeover", None) => !std::mem::replace(&mut read.client_no_context_takeover, true),
                ("server_max_window_bits", Some(value)) => {
                    let bits = window_bits(&value).filter(|bits| *bits >= SERVER_WINDOW_BITS_MIN)?;
                    read.server_max_window_bits.replace(bits).is_none()
                }
                ("client_max_window_bits", None) => read.client_max_window_bits.replace(None).is_none(),
                ("client_max_window_bits", Some(value)) => {
                    let bits = window_bits(&value)?;
                    read.client_max_window_bits.replace(Some(bits)).is_none()
                }
                _ => false,
            };
            if !is_new {
                return None;
            }
        }
        Some(read)
    }
}

/// 8 to 15, in decimal without leading zeros (RFC 7692 §7.1.2).
fn window_bits(value: &str) -> Option<u8> {
    match value {
        "8" => Some(8),
        "9" => Some(9),
        _ => value.parse().ok().filter(|bits| value.len() == 2 && (10..=WINDOW_BITS_MAX).contains(bits)),
    }
}

/// The name and the value, which may be quoted (RFC 6455 §9.1).
fn parameter(part: &str) -> Option<(&str, Option<String>)> {
    let Some((name, value)) = part.split_once('=') else { return Some((part, None)) };
    let value = value.trim_ascii();
    let value = if value.starts_with('"') { unquoted(value)? } else { value.to_owned() };
    Some((name.trim_ascii(), Some(value)))
}

/// What a quoted string stands for (RFC 9110 §5.6.4).
fn unquoted(value: &str) -> Option<String> {
    let inner = value.strip_prefix('"')?.strip_suffix('"')?;
    let (mut text, mut chars) = (String::with_capacity(inner.len()), inner.chars());
    while let Some(char) = chars.next() {
        match char {
            '"' => return None,
            '\\' => text.push(chars.next()?),
            char => text.push(char),
        }
    }
    Some(text)
}

/// The parts between separators that stand outside of quoted strings. A string that has no end goes to the end of the
/// line, and its part is then no offer.
fn split(list: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    list.split(move |char| {
        let was_escaped = is_escaped;
        is_escaped = is_quoted && !was_escaped && char == '\\';
        if char == '"' && !was_escaped {
            is_quoted = !is_quoted;
        }
        char == separator && !is_quoted
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answer(lines: &[&str], wanted: WebSocketCompression) -> Option<String> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(SEC_WEBSOCKET_EXTENSIONS, HeaderValue::from_str(line).unwrap());
        }
        let value = PermessageDeflate::of_offers(&headers, wanted)?.to_value();
        Some(value.to_str().unwrap().to_owned())
    }

    /// Behind the name: what is answered where contexts are not taken over, and where they are.
    #[test]
    fn each_offer_is_answered_or_declined() {
        const NEITHER: &str = "; server_no_context_takeover; client_no_context_takeover";
        for (offer, message, connection) in [
            ("", Some(NEITHER.to_owned()), Some("")),
            ("; server_no_context_takeover", Some(NEITHER.to_owned()), Some("; server_no_context_takeover")),
            ("; client_no_context_takeover", Some(NEITHER.to_owned()), Some("; client_no_context_takeover")),
            (
                " ;client_no_context_takeover ; server_no_context_takeover ",
                Some(NEITHER.to_owned()),
                Some("; server_no_context_takeover; client_no_context_takeover"),
            ),
            ("; client_max_window_bits", Some(NEITHER.to_owned()), Some("")),
            (
                "; client_max_window_bits=8",
                Some(format!("{NEITHER}; client_max_window_bits=8")),
                Some("; client_max_window_bits=8"),
            ),
            (
                "; client_max_window_bits=\"15\"",
                Some(format!("{NEITHER}; client_max_window_bits=15")),
                Some("; client_max_window_bits=15"),
            ),
            (
                "; server_max_window_bits=9",
                Some(format!("{NEITHER}; server_max_window_bits=9")),
                Some("; server_max_window_bits=9"),
            ),
            (
                "; server_max_window_bits = \"1\\0\" ; client_max_window_bits=12",
                Some(format!("{NEITHER}; server_max_window_bits=10; client_max_window_bits=12")),
                Some("; server_max_window_bits=10; client_max_window_bits=12"),
            ),
            ("; server_max_window_bits=15", Some(NEITHER.to_owned()), Some("")),
            ("; server_max_window_bits=8", None, None),
            ("; server_max_window_bits=7", None, None),
            ("; server_max_window_bits=16", None, None),
            ("; server_max_window_bits=010", None, None),
            ("; server_max_window_bits=+9", None, None),
            ("; server_max_window_bits=+15", None, None),
            ("; server_max_window_bits=", None, None),
            ("; server_max_window_bits", None, None),
            ("; client_max_window_bits=7", None, None),
            ("; client_max_window_bits=16", None, None),
            ("; client_max_window_bits=09", None, None),
            ("; client_max_window_bits=", None, None),
            ("; client_max_window_bits=\"12", None, None),
            ("; client_max_window_bits=\"1\"2\"", None, None),
            ("; client_max_window_bits=\"12\\\"", None, None),
            ("; server_no_context_takeover=1", None, None),
            ("; client_no_context_takeover=\"\"", None, None),
            ("; server_no_context_takeover; server_no_context_takeover", None, None),
            ("; client_no_context_takeover; client_no_context_takeover", None, None),
            ("; server_max_window_bits=10; server_max_window_bits=10", None, None),
            ("; client_max_window_bits; client_max_window_bits=10", None, None),
            ("; mystery", None, None),
            ("; mystery=1", None, None),
            ("; Client_no_context_takeover", None, None),
            (";", None, None),
            ("; ; client_no_context_takeover", None, None),
        ] {
            let offer = format!("{NAME}{offer}");
            let named = |answer: Option<&str>| answer.map(|answer| format!("{NAME}{answer}"));
            assert_eq!(answer(&[&offer], WebSocketCompression::None), None, "{offer}");
            assert_eq!(answer(&[&offer], WebSocketCompression::Message), named(message.as_deref()), "{offer}");
            assert_eq!(answer(&[&offer], WebSocketCompression::Connection), named(connection), "{offer}");
        }
    }

    #[test]
    fn the_first_offer_that_can_be_kept_is_taken_from_all_lines() {
        for (lines, expected) in [
            (&[][..], None),
            (&[""], None),
            (&[" , ,"], None),
            (&["permessage-bzip2"], None),
            (&["x-permessage-deflate", "PERMESSAGE-DEFLATE"], None),
            (&["permessage-deflate"], Some("")),
            (&["permessage-bzip2, permessage-deflate;server_max_window_bits=11"], Some("; server_max_window_bits=11")),
            (&["permessage-bzip2", "", ", permessage-deflate"], Some("")),
            (
                &["permessage-deflate; server_max_window_bits=12, permessage-deflate"],
                Some("; server_max_window_bits=12"),
            ),
            (&["permessage-deflate; server_max_window_bits=8, permessage-deflate"], Some("")),
            (
                &["permessage-deflate; later", "permessage-deflate; server_max_window_bits=9"],
                Some("; server_max_window_bits=9"),
            ),
            // A separator in quotes separates nothing.
            (&["other; a=\", permessage-deflate;\""], None),
            (&["other; a=\"\\\", permessage-deflate\", permessage-deflate"], Some("")),
            // A line that cannot be read offers nothing; the next one may.
            (&["other; a=\", permessage-deflate"], None),
            (&["other; a=\", permessage-deflate", "permessage-deflate"], Some("")),
        ] {
            let expected = expected.map(|answer| format!("{NAME}{answer}"));
            assert_eq!(answer(lines, WebSocketCompression::Connection), expected, "{lines:?}");
        }
    }

    #[test]
    fn a_line_of_other_bytes_than_ascii_offers_nothing() {
        let mut headers = HeaderMap::new();
        headers.append(SEC_WEBSOCKET_EXTENSIONS, HeaderValue::from_bytes(b"permessage-deflate, \xff").unwrap());
        assert_eq!(PermessageDeflate::of_offers(&headers, WebSocketCompression::Message), None);
        headers.append(SEC_WEBSOCKET_EXTENSIONS, HeaderValue::from_static("permessage-deflate"));
        assert!(PermessageDeflate::of_offers(&headers, WebSocketCompression::Message).is_some());
    }

    proptest! {
        /// Of the pieces that offers are made of, so that many of them are accepted.
        #[test]
        fn no_list_of_offers_panics_and_an_answer_is_an_offer_that_is_accepted(
            pieces in prop::collection::vec(prop::sample::select(vec![
                NAME, ";", ",", "=", "\"", "\\", " ", "9", "15", "8", "x",
                "server_no_context_takeover", "client_no_context_takeover",
                "server_max_window_bits", "client_max_window_bits",
            ]), 0..12),
        ) {
            let list = pieces.concat();
            for wanted in [WebSocketCompression::Message, WebSocketCompression::Connection] {
                if let Some(first) = answer(&[&list], wanted) {
                    prop_assert_eq!(answer(&[&first], wanted), Some(first.clone()), "{}", list);
                }
            }
        }
    }
}
