//! A call whose message stands in the query of a GET ("Unary-Get-Request"). Knows nothing of the message.

use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use thiserror::Error;

use super::MessageCodec;
use crate::{
    codec::decode_parameter,
    coding::{self, Coding, HTTP_ACCEPTED, IDENTITY, InflateError},
    dialect::DecodeError,
    status::{Code, Reason, Status},
};

/// What a query gives, in whatever order.
#[derive(Debug, PartialEq, Eq)]
pub struct Get {
    pub codec: MessageCodec,
    /// As it was sent.
    pub message: Bytes,
    /// How it is compressed, if at all.
    pub compression: Option<Coding>,
    /// The parameters that are not the protocol's, as they stand.
    pub rest: String,
}

#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum GetError {
    #[error("query parameter {name}: {what}")]
    Parameter { name: &'static str, what: &'static str },
    #[error("query parameter encoding: must be json or proto")]
    UnknownCodec,
    #[error("query parameter compression: must be one that is understood: {HTTP_ACCEPTED}")]
    UnknownCompression,
    #[error("query parameter message: {0}")]
    Inflate(InflateError),
}

impl Get {
    /// # Errors
    /// A parameter of the protocol that is missing, given twice or not what it should be.
    pub fn parse(query: &str) -> Result<Self, GetError> {
        let mut own = Parameters::default();
        let mut rest = String::new();
        for (pair, name, text) in pairs(query) {
            let Some((name, place)) = name.and_then(|name| own.place(&name)) else {
                rest.push_str(if rest.is_empty() { "" } else { "&" });
                rest.push_str(pair);
                continue;
            };
            if place.replace(text).is_some() {
                return Err(wrong(name, "given twice"));
            }
        }
        own.check_version()?;
        Ok(Self { codec: own.codec()?, compression: own.compression()?, message: own.message()?, rest })
    }

    /// The message as it was before it was compressed.
    ///
    /// # Errors
    /// What is not compressed as it says, or stands for more than `bytes_max`.
    pub fn inflate(&self, bytes_max: usize) -> Result<Bytes, GetError> {
        match self.compression {
            // Nothing is nothing, whatever it is said to be compressed with ("Servers must not attempt to decompress").
            Some(coding) if !self.message.is_empty() => {
                coding::inflate(coding, &self.message, bytes_max).map(Bytes::from).map_err(GetError::Inflate)
            }
            _ => Ok(self.message.clone()),
        }
    }
}

impl GetError {
    /// The client's fault: 415 for a codec that there is none of, 501 for a compression, 413 for a message that is too
    /// large, 400 for everything else.
    pub fn into_status(self) -> Status {
        let text = self.to_string();
        match self {
            Self::Inflate(InflateError::TooLarge { max }) => DecodeError::TooLarge { max }.into_status(),
            Self::Parameter { name, what } => invalid(Code::InvalidArgument, text).with_violation(name, what),
            Self::Inflate(_) => invalid(Code::InvalidArgument, text),
            Self::UnknownCodec => invalid(Code::InvalidArgument, text).with_http(StatusCode::UNSUPPORTED_MEDIA_TYPE),
            Self::UnknownCompression => invalid(Code::Unimplemented, text)
                .with_header(header::ACCEPT_ENCODING, HeaderValue::from_static(HTTP_ACCEPTED)),
        }
    }
}

fn invalid(code: Code, text: String) -> Status {
    Status::client(code, text).with_reason(Reason::InvalidQuery)
}

/// Whether a query names the protocol.
pub(super) fn names_version(query: &str) -> bool {
    query.contains("v1") && first(query, "connect").is_some_and(|version| version == "v1")
}

/// The codec that a query names first.
pub(super) fn codec_of(query: &str) -> Option<MessageCodec> {
    codec(first(query, "encoding")?)
}

/// The values of the protocol's parameters, as they stand.
#[derive(Default)]
struct Parameters<'q> {
    connect: Option<&'q str>,
    encoding: Option<&'q str>,
    message: Option<&'q str>,
    base64: Option<&'q str>,
    compression: Option<&'q str>,
}

impl<'q> Parameters<'q> {
    fn place(&mut self, name: &str) -> Option<(&'static str, &mut Option<&'q str>)> {
        match name {
            "connect" => Some(("connect", &mut self.connect)),
            "encoding" => Some(("encoding", &mut self.encoding)),
            "message" => Some(("message", &mut self.message)),
            "base64" => Some(("base64", &mut self.base64)),
            "compression" => Some(("compression", &mut self.compression)),
            _ => None,
        }
    }

    fn check_version(&self) -> Result<(), GetError> {
        match self.connect {
            None | Some("v1") => Ok(()),
            Some(_) => Err(wrong("connect", "must be v1")),
        }
    }

    fn codec(&self) -> Result<MessageCodec, GetError> {
        let name = self.encoding.ok_or(wrong("encoding", "must be there"))?;
        codec(name).ok_or(GetError::UnknownCodec)
    }

    fn compression(&self) -> Result<Option<Coding>, GetError> {
        match self.compression {
            None | Some("" | IDENTITY) => Ok(None),
            Some(name) => Coding::parse(name).map(Some).ok_or(GetError::UnknownCompression),
        }
    }

    fn message(&self) -> Result<Bytes, GetError> {
        let text = self.message.ok_or(wrong("message", "must be there"))?;
        if self.base64 != Some("1") {
            // Any other value is passed over.
            let message = decode_parameter(text).ok_or(wrong("message", NOT_ENCODED))?;
            return Ok(Bytes::from(message.into_owned()));
        }
        // A form's `+` is a space, which base64 has none of: here it is itself.
        let text = text.replace('+', "%2B");
        let bytes = decode_parameter(&text).and_then(|text| decode_base64(&text));
        bytes.map(Bytes::from).ok_or(wrong("message", "expected base64"))
    }
}

const NOT_ENCODED: &str = "not percent-encoded UTF-8";

/// In either alphabet (RFC 4648 §4, §5), padded or not.
fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let is_url_safe = text.contains(['-', '_']);
    let alphabet = match (is_url_safe, text.ends_with('=')) {
        (true, true) => base64_simd::URL_SAFE,
        (true, false) => base64_simd::URL_SAFE_NO_PAD,
        (false, true) => base64_simd::STANDARD,
        (false, false) => base64_simd::STANDARD_NO_PAD,
    };
    alphabet.decode_to_vec(text).ok()
}

fn codec(name: &str) -> Option<MessageCodec> {
    match name {
        "json" => Some(MessageCodec::Json),
        "proto" => Some(MessageCodec::Proto),
        _ => None,
    }
}

fn first<'q>(query: &'q str, wanted: &str) -> Option<&'q str> {
    pairs(query).find_map(|(_, name, text)| (name? == wanted).then_some(text))
}

/// Each parameter as it stands, its name, which may be percent-encoded too, and the text of its value.
fn pairs(query: &str) -> impl Iterator<Item = (&str, Option<std::borrow::Cow<'_, str>>, &str)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, text) = pair.split_once('=').unwrap_or((pair, ""));
        (pair, decode_parameter(name), text)
    })
}

fn wrong(name: &'static str, what: &'static str) -> GetError {
    GetError::Parameter { name, what }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::coding::Levels;

    fn get(codec: MessageCodec, message: &[u8], compression: Option<Coding>, rest: &str) -> Get {
        let message = Bytes::copy_from_slice(message);
        Get { codec, message, compression, rest: rest.to_owned() }
    }

    #[test]
    fn a_message_stands_in_the_query_in_any_order_and_encoding() {
        use MessageCodec::{Json, Proto};
        for (query, expected) in [
            ("connect=v1&encoding=json&message=%7B%22a%22%3A+1%7D", get(Json, b"{\"a\": 1}", None, "")),
            ("message={}&connect=v1&encoding=json", get(Json, b"{}", None, "")),
            ("mess%61ge={}&%65ncoding=json", get(Json, b"{}", None, "")),
            ("encoding=proto&message=&connect=v1", get(Proto, b"", None, "")),
            ("encoding=proto&message&base64=1", get(Proto, b"", None, "")),
            ("message=-_8&base64=1&encoding=proto", get(Proto, b"\xfb\xff", None, "")),
            ("base64=1&message=-_8%3D&encoding=proto", get(Proto, b"\xfb\xff", None, "")),
            ("base64=1&message=-_8=&encoding=proto", get(Proto, b"\xfb\xff", None, "")),
            ("base64=1&message=%2B%2F8&encoding=proto", get(Proto, b"\xfb\xff", None, "")),
            ("base64=1&message=+/8=&encoding=proto", get(Proto, b"\xfb\xff", None, "")),
            ("base64=0&message=-_8&encoding=json", get(Json, b"-_8", None, "")),
            ("base64=1&message=eyI&encoding=proto&compression=gzip", get(Proto, b"{\"", Some(Coding::Gzip), "")),
            ("compression=identity&message={}&encoding=json", get(Json, b"{}", None, "")),
            ("a=1&encoding=json&&b&message={}&c=%zz", get(Json, b"{}", None, "a=1&b&c=%zz")),
        ] {
            assert_eq!(Get::parse(query).as_ref(), Ok(&expected), "{query}");
        }
    }

    const UNKNOWN_COMPRESSION: &str = "compression: must be one that is understood: zstd, br, gzip";

    #[test]
    fn what_is_no_sound_query_is_refused_by_its_parameter() {
        for (query, expected) in [
            ("", "encoding: must be there"),
            ("encoding=json", "message: must be there"),
            ("message={}", "encoding: must be there"),
            ("encoding=yaml&message=", "encoding: must be json or proto"),
            ("encoding=json&message={}&connect=v2", "connect: must be v1"),
            ("connect=v1&connect=v1&encoding=json&message={}", "connect: given twice"),
            ("encoding=json&message={}&mess%61ge={}", "message: given twice"),
            ("encoding=json&message={}&base64=1&base64=0", "base64: given twice"),
            ("encoding=json&encoding=json&message={}", "encoding: given twice"),
            ("encoding=json&message=%7", "message: not percent-encoded UTF-8"),
            ("encoding=proto&message=%08%ff", "message: not percent-encoded UTF-8"),
            ("encoding=json&message={}&compression=%ff", UNKNOWN_COMPRESSION),
            ("encoding=json&message={}&compression=deflate", UNKNOWN_COMPRESSION),
            ("encoding=proto&base64=1&message=A", "message: expected base64"),
            ("encoding=proto&base64=1&message=AB", "message: expected base64"),
            ("encoding=proto&base64=1&message=A%20A", "message: expected base64"),
            ("encoding=proto&base64=1&message=-/8", "message: expected base64"),
            ("encoding=proto&base64=1&message=AA%3D", "message: expected base64"),
        ] {
            let refused = Get::parse(query).unwrap_err().into_status();
            assert_eq!(refused.message(), format!("query parameter {expected}"), "{query}");
            let http = match expected {
                "encoding: must be json or proto" => 415,
                UNKNOWN_COMPRESSION => 501,
                _ => 400,
            };
            assert_eq!(refused.http_status().as_u16(), http, "{query}");
        }
    }

    #[test]
    fn a_compressed_message_is_inflated_as_far_as_it_may_be() {
        for coding in Coding::ALL {
            let coded = coding::deflate(coding, Levels::default(), &[b'a'; 1000]).unwrap();
            let whole = get(MessageCodec::Proto, &coded, Some(coding), "");
            assert_eq!(whole.inflate(1000), Ok(Bytes::from(vec![b'a'; 1000])), "{coding:?}");
            let refused = |sent: &[u8]| {
                let refused = get(MessageCodec::Proto, sent, Some(coding), "").inflate(999).unwrap_err().into_status();
                (refused.http_status().as_u16(), refused.code())
            };
            assert_eq!(refused(&coded), (413, Code::ResourceExhausted), "{coding:?}");
            assert_eq!(refused(b"not compressed"), (400, Code::InvalidArgument), "{coding:?}");
            assert_eq!(get(MessageCodec::Proto, b"", Some(coding), "").inflate(0), Ok(Bytes::new()));
        }
    }

    #[test]
    fn the_version_is_found_wherever_it_stands() {
        for (query, expected) in [
            ("connect=v1", true),
            ("message={}&connect=v1&encoding=json", true),
            ("%63onnect=v1", true),
            ("connect=v2", false),
            ("message=connect=v1", false),
            ("disconnect=v1", false),
        ] {
            assert_eq!(names_version(query), expected, "{query}");
        }
    }

    proptest! {
        #[test]
        fn a_query_means_the_same_in_any_order(
            message in prop::collection::vec(any::<u8>(), 0..20),
            proto in any::<bool>(),
            standard in any::<bool>(),
            padded in any::<bool>(),
            compression in prop::option::of(prop::sample::select(Coding::ALL.to_vec())),
            order in Just((0..6).collect::<Vec<usize>>()).prop_shuffle(),
        ) {
            let alphabet = match (standard, padded) {
                (true, true) => base64_simd::STANDARD,
                (true, false) => base64_simd::STANDARD_NO_PAD,
                (false, true) => base64_simd::URL_SAFE,
                (false, false) => base64_simd::URL_SAFE_NO_PAD,
            };
            let codec = if proto { MessageCodec::Proto } else { MessageCodec::Json };
            let pairs = [
                format!("message={}", alphabet.encode_to_string(&message)),
                format!("encoding={}", if proto { "proto" } else { "json" }),
                "base64=1".to_owned(),
                "connect=v1".to_owned(),
                compression.map_or(String::new(), |coding| format!("compression={}", coding.name())),
                "other=1".to_owned(),
            ];
            let query: Vec<_> = order.iter().map(|place| pairs[*place].as_str()).collect();
            let expected = get(codec, &message, compression, "other=1");
            prop_assert_eq!(Get::parse(&query.join("&")), Ok(expected));
        }
    }
}
