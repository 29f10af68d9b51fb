//! Metadata on the wire: `-bin` values in base64, `grpc-message` percent-encoded, names that are the protocol's own.

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode, percent_encode};

/// How messages are compressed (gRPC over HTTP/2, "Message-Encoding").
pub const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
/// How they may be.
pub const ACCEPT_ENCODING: HeaderName = HeaderName::from_static("grpc-accept-encoding");

/// `grpc-message` percent-encodes everything outside space to `~`, and `%` (gRPC over HTTP/2, "Status-Message").
const MESSAGE: &AsciiSet = &CONTROLS.add(b'%');

/// The value of `grpc-message` for a text.
pub fn encode_message(text: &str) -> HeaderValue {
    let encoded: Cow<'_, str> = percent_encode(text.as_bytes(), MESSAGE).into();
    HeaderValue::from_str(&encoded).unwrap_or(HeaderValue::from_static(""))
}

/// The text of a `grpc-message`; what is not percent-encoding, or not UTF-8, is kept as far as it can be.
pub fn decode_message(value: &[u8]) -> String {
    percent_decode(value).decode_utf8_lossy().into_owned()
}

/// The value of a `-bin` header: base64 without padding (gRPC over HTTP/2, "Binary-Header").
pub fn encode_binary(bytes: &[u8]) -> HeaderValue {
    let text = base64_simd::STANDARD_NO_PAD.encode_to_string(bytes);
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""))
}

/// The bytes of a `-bin` header, padded or not; none where it is not base64.
pub fn decode_binary(value: &[u8]) -> Option<Bytes> {
    let alphabet = if value.ends_with(b"=") { base64_simd::STANDARD } else { base64_simd::STANDARD_NO_PAD };
    alphabet.decode_to_vec(value).ok().map(Bytes::from)
}

/// The name that metadata can have (gRPC over HTTP/2, "Header-Name"), in lower case; HTTP knows more of them.
pub fn name(text: &str) -> Option<HeaderName> {
    let sound = text.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.'));
    HeaderName::from_bytes(text.as_bytes()).ok().filter(|_| sound)
}

/// Passes on how messages are compressed, and may be.
pub fn copy_encodings(from: &HeaderMap, to: &mut HeaderMap) {
    for name in [ENCODING, ACCEPT_ENCODING] {
        to.extend(from.get_all(&name).iter().map(|value| (name.clone(), value.clone())));
    }
}

/// What is said of compression, said no more.
pub fn remove_encodings(metadata: &mut HeaderMap) {
    metadata.remove(ENCODING);
    metadata.remove(ACCEPT_ENCODING);
}

/// True for the names that say how messages are compressed (gRPC over HTTP/2, "Message-Encoding").
pub fn is_encoding(name: &HeaderName) -> bool {
    *name == ENCODING || *name == ACCEPT_ENCODING
}

/// True for names that gRPC or HTTP/2 give a meaning of their own, which no metadata may carry
/// (gRPC over HTTP/2, "Reserved-Headers"; RFC 9113 §8.2.2; RFC 9110 §7.6.1).
pub fn is_reserved(name: &HeaderName) -> bool {
    let name = name.as_str();
    match name.as_bytes().first() {
        Some(b'c') => matches!(name, "connection" | "content-type" | "content-length"),
        Some(b'g') => name.starts_with("grpc-"),
        Some(b'h') => matches!(name, "host" | "http2-settings"),
        Some(b'k') => name == "keep-alive",
        Some(b'p') => name.starts_with("proxy-"),
        Some(b't') => matches!(name, "te" | "trailer" | "transfer-encoding"),
        Some(b'u') => matches!(name, "upgrade" | "user-agent"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn messages_survive(text in any::<String>()) {
            prop_assert_eq!(decode_message(encode_message(&text).as_bytes()), text);
        }

        #[test]
        fn binary_values_survive_with_and_without_padding(bytes in prop::collection::vec(any::<u8>(), 0..20)) {
            let value = encode_binary(&bytes);
            let padding = "=".repeat((4 - value.len() % 4) % 4);
            let padded = format!("{}{padding}", value.to_str().unwrap());
            prop_assert_eq!(decode_binary(value.as_bytes()).unwrap(), &bytes);
            prop_assert_eq!(decode_binary(padded.as_bytes()).unwrap(), &bytes);
        }
    }

    #[test]
    fn what_is_not_base64_is_refused() {
        for text in ["a*b", "A", "AAE=====", "=", "AB", "A-E", "AA=A"] {
            assert_eq!(decode_binary(text.as_bytes()), None, "{text}");
        }
    }
}
