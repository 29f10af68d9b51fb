//! What a session over plain HTTP is known by, and what the head of a POST says of the frames that it brings.

use base64_simd::URL_SAFE_NO_PAD;
use http::{
    HeaderMap, HeaderName, StatusCode,
    header::{CONTENT_TYPE, HeaderValue},
};

use super::frame::Form;
use crate::{
    dialect::{
        BodyKind,
        accept::{NDJSON, is_protobuf},
        decode::is_utf8,
        media_type,
    },
    status::{Code, Reason, Status},
};

const SESSION: HeaderName = HeaderName::from_static("tidegate-session");
const SEQUENCE: HeaderName = HeaderName::from_static("tidegate-sequence");

const ID_BYTES: usize = 16;

/// Who knows it may make calls as the session's client: it is no part of any log, and so has no `Debug`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionId([u8; ID_BYTES]);

impl SessionId {
    /// Of bytes that nobody can guess.
    pub fn new(random: [u8; ID_BYTES]) -> Self {
        Self(random)
    }

    /// As it is told to the client.
    pub fn secret(&self) -> String {
        URL_SAFE_NO_PAD.encode_to_string(self.0)
    }

    /// None for what [`SessionId::secret`] never gives.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode_to_vec(text).ok()?;
        bytes.try_into().ok().map(Self)
    }
}

/// What the head of a POST says.
#[derive(Clone, Copy)]
pub struct PostHead {
    pub session: SessionId,
    /// From 1, one more with each POST.
    pub sequence: u64,
    /// How the body is cut into frames.
    pub body: BodyKind,
}

impl PostHead {
    /// # Errors
    /// 400 for headers that are not there once and well formed, 415 for bodies that bear no frames.
    pub fn of(headers: &HeaderMap) -> Result<Self, Status> {
        let session = SessionId::parse(sole(headers, &SESSION)?)
            .ok_or_else(|| invalid(&SESSION, "is not an id that a session has"))?;
        let sequence = sequence(sole(headers, &SEQUENCE)?)
            .ok_or_else(|| invalid(&SEQUENCE, "is not a number from 1 on, in decimal digits"))?;
        Ok(Self { session, sequence, body: body(headers)? })
    }

    /// The form of the frames.
    pub fn form(&self) -> Form {
        if self.body == BodyKind::Delimited { Form::Proto } else { Form::Json }
    }

    /// # Errors
    /// 415 where the session's frames have the other form.
    pub fn check_form(&self, of_session: Form) -> Result<(), Status> {
        if self.form() == of_session {
            Ok(())
        } else {
            Err(unsupported("the frames of this session have another form"))
        }
    }
}

fn sole<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<&'h [u8], Status> {
    let mut values = headers.get_all(name).iter().map(HeaderValue::as_bytes);
    match (values.next(), values.next()) {
        (Some(value), None) => Ok(value),
        _ => Err(invalid(name, "must be there once")),
    }
}

fn sequence(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    text.parse().ok().filter(|_| is_plain)
}

fn body(headers: &HeaderMap) -> Result<BodyKind, Status> {
    let sent = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).filter(|value| is_utf8(value));
    let kind = sent.and_then(|_| media_type(headers, &CONTENT_TYPE)).unwrap_or_default().to_ascii_lowercase();
    match &*kind {
        "application/json" => Ok(BodyKind::Json),
        kind if NDJSON.contains(&kind) => Ok(BodyKind::Lines),
        kind if is_protobuf(kind) => Ok(BodyKind::Delimited),
        _ => Err(unsupported("frames come as application/x-ndjson, application/json or application/x-protobuf")),
    }
}

fn invalid(name: &HeaderName, what: &'static str) -> Status {
    Status::client(Code::InvalidArgument, format!("header {name}: {what}"))
        .with_reason(Reason::InvalidHeader)
        .with_violation(name.as_str(), what)
}

fn unsupported(what: &'static str) -> Status {
    Status::client(Code::InvalidArgument, format!("content-type: {what}"))
        .with_http(StatusCode::UNSUPPORTED_MEDIA_TYPE)
        .with_reason(Reason::UnsupportedMediaType)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "AAECAwQFBgcICQoLDA0ODw";

    #[test]
    fn an_id_is_read_as_it_was_told_and_in_no_other_way() {
        let id = SessionId::new(std::array::from_fn(|place| place as u8));
        assert_eq!(id.secret(), ID);
        assert!(SessionId::parse(ID.as_bytes()) == Some(id));
        for text in ["", "AAECAwQFBgcICQoLDA0OD", "AAECAwQFBgcICQoLDA0ODx", "AAECAwQFBgcICQoLDA0ODw==", "a b", "/+"] {
            assert!(SessionId::parse(text.as_bytes()).is_none(), "{text}");
        }
    }

    #[test]
    fn the_head_of_a_post_is_read_or_refused() {
        let (session, sequence, kind) = ("tidegate-session", "tidegate-sequence", "content-type");
        let json = (kind, "application/json");
        for (headers, expected) in [
            (&[(session, ID), (sequence, "1"), json][..], Ok((1, BodyKind::Json))),
            (
                &[(session, ID), (sequence, "7"), (kind, "application/x-ndjson; charset=utf-8")],
                Ok((7, BodyKind::Lines)),
            ),
            (&[(session, ID), (sequence, "7"), (kind, "application/jsonl")], Ok((7, BodyKind::Lines))),
            (
                &[(session, ID), (sequence, "18446744073709551615"), (kind, "Application/Protobuf")],
                Ok((u64::MAX, BodyKind::Delimited)),
            ),
            (&[(sequence, "1"), json], Err(400)),
            (&[(session, ID), json], Err(400)),
            (&[(session, ID), (session, ID), (sequence, "1"), json], Err(400)),
            (&[(session, ID), (sequence, "1"), (sequence, "1"), json], Err(400)),
            (&[(session, "x"), (sequence, "1"), json], Err(400)),
            (&[(session, ID), (sequence, "0"), json], Err(400)),
            (&[(session, ID), (sequence, "01"), json], Err(400)),
            (&[(session, ID), (sequence, "+1"), json], Err(400)),
            (&[(session, ID), (sequence, "-1"), json], Err(400)),
            (&[(session, ID), (sequence, ""), json], Err(400)),
            (&[(session, ID), (sequence, "18446744073709551616"), json], Err(400)),
            (&[(session, ID), (sequence, "1")], Err(415)),
            (&[(session, ID), (sequence, "1"), (kind, "text/plain")], Err(415)),
            (&[(session, ID), (sequence, "1"), (kind, "application/json; charset=latin1")], Err(415)),
        ] {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.append(*name, HeaderValue::from_static(value));
            }
            let read = PostHead::of(&map).map(|head| (head.sequence, head.body));
            assert_eq!(read.map_err(|status| status.http_status().as_u16()), expected, "{headers:?}");
        }
    }
}
