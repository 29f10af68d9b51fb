//! Request bodies → messages still in the client's encoding, however the bytes were cut.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode, header::CONTENT_TYPE};
use thiserror::Error;

use super::{accept::is_protobuf, json::ValueSplitter, media_type, multipart::Boundary, ndjson::LineSplitter};
use crate::{
    codec::{Binding, Codec},
    status::{Code, Reason, Status},
    wire::{Delimited, DelimitedError},
};

/// What a request's body is made of, as the route and the head say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyKind {
    /// One JSON value.
    Json,
    /// JSON values: an array's elements, or one after another.
    JsonValues,
    /// A JSON value a line.
    Lines,
    /// A JSON text sequence (RFC 7464).
    Records,
    /// One message in protobuf.
    Protobuf,
    /// The same for the backend alone to judge.
    Uncut,
    /// Messages in protobuf, each behind its length.
    Delimited,
    /// Raw bytes of a `google.api.HttpBody`, gathered into one message.
    Raw,
    /// Raw bytes, a message per piece of at most 1 MiB.
    RawPieces,
    /// The fields of one message, as a form without files sends them.
    Form,
    /// Fields and files, as a form sends them.
    Multipart(Boundary),
}

impl BodyKind {
    /// Decides from the head.
    ///
    /// # Errors
    /// 415 for a content type that the method does not take; 400 for one that is not sound.
    pub fn of(headers: &HeaderMap, codec: &Codec, binding: &Binding, client_streaming: bool) -> Result<Self, Status> {
        if binding.request_http_body() {
            let is_form = media_type(headers, &CONTENT_TYPE).is_some_and(|kind| kind.eq_ignore_ascii_case(MULTIPART));
            return Ok(match client_streaming {
                _ if is_form => Self::Multipart(boundary(headers)?),
                true => Self::RawPieces,
                false => Self::Raw,
            });
        }
        let sent = headers.get(CONTENT_TYPE).map(|value| value.to_str().unwrap_or_default());
        let kind =
            media_type(headers, &CONTENT_TYPE).filter(|_| sent.is_some_and(is_utf8)).map(str::to_ascii_lowercase);
        match (kind.as_deref(), client_streaming) {
            (Some("application/x-ndjson" | "application/jsonl"), true) => Ok(Self::Lines),
            (Some("application/json-seq"), true) => Ok(Self::Records),
            (Some("application/json"), true) => Ok(Self::JsonValues),
            (Some("application/json"), false) => Ok(Self::Json),
            (Some(kind), true) if is_protobuf(kind) => Ok(Self::Delimited),
            (Some(kind), false) if is_protobuf(kind) => Ok(Self::Protobuf),
            (None, streaming) if sent.is_none() => Ok(if streaming { Self::JsonValues } else { Self::Json }),
            (Some(MULTIPART), _) if binding.takes_form(codec) => Ok(Self::Multipart(boundary(headers)?)),
            (Some("application/x-www-form-urlencoded"), false) if binding.takes_form(codec) => Ok(Self::Form),
            (kind, _) => {
                let takes_form = binding.takes_form(codec);
                Err(unsupported_media_type(kind.unwrap_or("what was sent"), client_streaming, takes_form))
            }
        }
    }
}

const MULTIPART: &str = "multipart/form-data";

/// An upload of raw bytes becomes messages of at most 1 MiB (PROTOCOLS §2).
const RAW_PIECE_BYTES_MAX: usize = 1 << 20;

/// Half of what a message may be leaves room for what else is in it.
pub(super) fn raw_piece_bytes_max(message_bytes_max: usize) -> usize {
    (message_bytes_max / 2).clamp(1, RAW_PIECE_BYTES_MAX)
}

/// A request body that cannot be cut into messages.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum DecodeError {
    #[error("the request's message is larger than the limit of {max} bytes")]
    TooLarge { max: usize },
    #[error("body (byte {offset}): {what}")]
    Framing { offset: usize, what: &'static str },
    #[error("body (byte {offset}): {what}")]
    Lengths { offset: usize, what: DelimitedError },
    #[error("form (byte {offset}): {what}")]
    Form { offset: usize, what: &'static str },
}

impl DecodeError {
    /// The client's fault: 413, or 400 with the place.
    pub fn into_status(self) -> Status {
        let text = self.to_string();
        match self {
            Self::TooLarge { .. } => Status::client(Code::ResourceExhausted, text)
                .with_http(StatusCode::PAYLOAD_TOO_LARGE)
                .with_reason(Reason::MessageTooLarge),
            Self::Framing { what, .. } => Status::client(Code::InvalidArgument, text)
                .with_reason(Reason::InvalidJson)
                .with_violation("body", what),
            Self::Lengths { what, .. } => Status::client(Code::InvalidArgument, text)
                .with_reason(Reason::InvalidMessage)
                .with_violation("body", what.to_string()),
            Self::Form { what, .. } => Status::client(Code::InvalidArgument, text)
                .with_reason(Reason::InvalidForm)
                .with_violation("body", what),
        }
    }

    fn lengths(error: DelimitedError, offset: usize) -> Self {
        match error {
            DelimitedError::TooLarge { max } => Self::TooLarge { max },
            what => Self::Lengths { offset, what },
        }
    }
}

/// One message in the client's encoding, and where it begins in the body.
#[derive(Debug, PartialEq, Eq)]
pub struct Piece {
    pub offset: usize,
    pub bytes: Bytes,
}

/// Takes a body as it arrives and gives its messages.
#[derive(Debug)]
pub struct RequestDecoder {
    kind: Kind,
    ended: bool,
}

#[derive(Debug)]
enum Kind {
    Whole {
        held: Whole,
        bytes_max: usize,
    },
    Values(ValueSplitter),
    Lines(LineSplitter),
    Delimited(Delimited),
    /// `begun`: some piece was given. An upload of nothing is one empty piece, so that the URL's values reach the backend.
    Pieces {
        queue: VecDeque<Bytes>,
        offset: usize,
        bytes_max: usize,
        begun: bool,
    },
}

/// A body that mostly arrives in one frame, which is then not copied.
#[derive(Debug, Default)]
pub(super) struct Whole {
    one: Bytes,
    joined: BytesMut,
}

impl Whole {
    fn len(&self) -> usize {
        self.one.len() + self.joined.len()
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn push(&mut self, piece: Bytes) {
        if self.is_empty() {
            self.one = piece;
            return;
        }
        if !self.one.is_empty() {
            self.joined.extend_from_slice(&std::mem::take(&mut self.one));
        }
        self.joined.extend_from_slice(&piece);
    }

    fn take(&mut self) -> Bytes {
        if self.joined.is_empty() { std::mem::take(&mut self.one) } else { self.joined.split().freeze() }
    }
}

impl RequestDecoder {
    /// No message may be larger than `bytes_max`.
    pub fn new(kind: BodyKind, bytes_max: usize) -> Self {
        let kind = match kind {
            BodyKind::Json
            | BodyKind::Raw
            | BodyKind::Protobuf
            | BodyKind::Uncut
            | BodyKind::Form
            | BodyKind::Multipart(_) => Kind::Whole { held: Whole::default(), bytes_max },
            BodyKind::JsonValues => Kind::Values(ValueSplitter::new(bytes_max)),
            BodyKind::Lines => Kind::Lines(LineSplitter::new(bytes_max)),
            BodyKind::Records => Kind::Values(ValueSplitter::records(bytes_max)),
            BodyKind::Delimited => Kind::Delimited(Delimited::new(bytes_max)),
            BodyKind::RawPieces => Kind::Pieces {
                queue: VecDeque::new(),
                offset: 0,
                bytes_max: raw_piece_bytes_max(bytes_max),
                begun: false,
            },
        };
        Self { kind, ended: false }
    }

    /// Refuses a body whose declared length is already too much.
    ///
    /// # Errors
    /// A whole body over the limit.
    pub fn check_length(&self, declared: u64) -> Result<(), DecodeError> {
        match self.kind {
            Kind::Whole { bytes_max, .. } if declared > bytes_max as u64 => {
                Err(DecodeError::TooLarge { max: bytes_max })
            }
            _ => Ok(()),
        }
    }

    /// Adds a piece of the body.
    ///
    /// # Errors
    /// A whole body over the limit.
    pub fn push(&mut self, piece: Bytes) -> Result<(), DecodeError> {
        match &mut self.kind {
            Kind::Whole { held, bytes_max } if held.len() + piece.len() > *bytes_max => {
                return Err(DecodeError::TooLarge { max: *bytes_max });
            }
            Kind::Whole { held, .. } => held.push(piece),
            Kind::Values(splitter) => splitter.push(&piece),
            Kind::Lines(splitter) => splitter.push(&piece),
            Kind::Delimited(delimited) => delimited.push(piece),
            // An empty DATA frame, as often ends a body, is no message.
            Kind::Pieces { queue, .. } if !piece.is_empty() => queue.push_back(piece),
            Kind::Pieces { .. } => {}
        }
        Ok(())
    }

    /// No more is to come.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// The next message, where it has arrived. A whole body is a message even when it is empty.
    ///
    /// # Errors
    /// Text between messages that does not belong there; a message over the limit.
    pub fn next_piece(&mut self) -> Result<Option<Piece>, DecodeError> {
        let ended = self.ended;
        let found = match &mut self.kind {
            Kind::Whole { .. } if !ended => None,
            Kind::Whole { held, .. } => {
                let bytes = held.take();
                self.kind = Kind::Pieces { queue: VecDeque::new(), offset: 0, bytes_max: 1, begun: true };
                return Ok(Some(Piece { offset: 0, bytes }));
            }
            Kind::Values(splitter) => match splitter.next_value()? {
                None if ended => splitter.finish()?,
                found => found,
            },
            Kind::Lines(splitter) => match splitter.next_line()? {
                None if ended => splitter.finish(),
                found => found,
            },
            Kind::Delimited(delimited) => return next_delimited(delimited, ended),
            Kind::Pieces { queue, begun, .. } if queue.is_empty() && ended && !*begun => {
                *begun = true;
                return Ok(Some(Piece { offset: 0, bytes: Bytes::new() }));
            }
            Kind::Pieces { queue, offset, bytes_max, begun } => {
                let piece = next_raw(queue, offset, *bytes_max);
                *begun |= piece.is_some();
                return Ok(piece);
            }
        };
        Ok(found.map(|(offset, bytes)| Piece { offset, bytes: bytes.freeze() }))
    }
}

fn next_delimited(delimited: &mut Delimited, ended: bool) -> Result<Option<Piece>, DecodeError> {
    let found = match delimited.next_message() {
        Ok(None) if ended => delimited.finish().map(|()| None),
        found => found,
    };
    let piece = |(offset, bytes)| Piece { offset, bytes };
    found.map(|found| found.map(piece)).map_err(|error| DecodeError::lengths(error, delimited.offset()))
}

fn next_raw(queue: &mut VecDeque<Bytes>, offset: &mut usize, bytes_max: usize) -> Option<Piece> {
    let mut bytes = queue.pop_front()?;
    if bytes.len() > bytes_max {
        queue.push_front(bytes.split_off(bytes_max));
    }
    let piece = Piece { offset: *offset, bytes };
    *offset += piece.bytes.len();
    Some(piece)
}

/// JSON has no other charset (RFC 8259 §8.1); naming the one that it has does no harm.
pub(super) fn is_utf8(content_type: &str) -> bool {
    let mut parameters = content_type.split(';').skip(1).map(str::trim);
    parameters.all(|parameter| match parameter.split_once('=') {
        Some((name, value)) if name.eq_ignore_ascii_case("charset") => {
            value.trim_matches('"').eq_ignore_ascii_case("utf-8")
        }
        _ => true,
    })
}

fn boundary(headers: &HeaderMap) -> Result<Boundary, Status> {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    Boundary::of(value).map_err(|what| {
        Status::client(Code::InvalidArgument, format!("content-type: {what}"))
            .with_reason(Reason::InvalidHeader)
            .with_violation("content-type", what)
    })
}

fn unsupported_media_type(kind: &str, client_streaming: bool, takes_form: bool) -> Status {
    let also = match (client_streaming, takes_form) {
        (true, true) => ", application/x-ndjson, application/json-seq, multipart/form-data",
        (true, false) => ", application/x-ndjson, application/json-seq",
        (false, true) => ", application/x-www-form-urlencoded, multipart/form-data",
        (false, false) => "",
    };
    unsupported(format!("content-type: this method takes application/json{also} or application/x-protobuf, not {kind}"))
}

fn unsupported(text: String) -> Status {
    Status::client(Code::InvalidArgument, text)
        .with_http(StatusCode::UNSUPPORTED_MEDIA_TYPE)
        .with_reason(Reason::UnsupportedMediaType)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_in_one_frame_is_not_copied() {
        let body = Bytes::from_static(b"{}");
        let mut decoder = RequestDecoder::new(BodyKind::Json, 10);
        decoder.push(body.clone()).unwrap();
        assert_eq!(decoder.next_piece().unwrap(), None);
        decoder.end();
        let piece = decoder.next_piece().unwrap().unwrap();
        assert_eq!(piece.bytes.as_ptr(), body.as_ptr());
        assert_eq!(decoder.next_piece().unwrap(), None);
    }

    #[test]
    fn a_whole_body_over_the_limit_is_refused_as_it_arrives() {
        let mut decoder = RequestDecoder::new(BodyKind::Json, 3);
        decoder.push(Bytes::from_static(b"12")).unwrap();
        assert_eq!(decoder.push(Bytes::from_static(b"34")), Err(DecodeError::TooLarge { max: 3 }));
    }

    #[test]
    fn a_body_is_what_its_content_type_says() {
        let set = include_bytes!(concat!(env!("OUT_DIR"), "/builtin.binpb"));
        let codec = Codec::compile(&buffa_descriptor::DescriptorPool::decode(set).unwrap());
        let binding = |name: &str| {
            let plan = codec.plan_by_name(name).unwrap();
            Binding::compile(&codec, plan, plan, &[], Some("*"), None).unwrap()
        };
        let (message, file) = (binding("google.rpc.Status"), binding("google.api.HttpBody"));
        for (kind, unary, streaming) in [
            ("application/json", Some(BodyKind::Json), Some(BodyKind::JsonValues)),
            ("application/x-ndjson", None, Some(BodyKind::Lines)),
            ("application/jsonl", None, Some(BodyKind::Lines)),
            ("application/json-seq", None, Some(BodyKind::Records)),
            ("application/x-protobuf", Some(BodyKind::Protobuf), Some(BodyKind::Delimited)),
            ("Application/Protobuf; messageType=a.B", Some(BodyKind::Protobuf), Some(BodyKind::Delimited)),
            ("application/x-www-form-urlencoded", Some(BodyKind::Form), None),
            ("text/plain", None, None),
        ] {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, http::HeaderValue::from_static(kind))]);
            assert_eq!(BodyKind::of(&headers, &codec, &message, false).ok(), unary, "{kind}");
            assert_eq!(BodyKind::of(&headers, &codec, &message, true).ok(), streaming, "{kind}");
            assert_eq!(BodyKind::of(&headers, &codec, &file, false).ok(), Some(BodyKind::Raw), "{kind}");
        }
    }

    #[test]
    fn a_fault_in_the_lengths_of_messages_has_a_place() {
        for (body, text) in [
            (&b"\x01"[..], "body (byte 0): the body ends within a message"),
            (b"\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", "body (byte 1): the length of a message is no varint"),
            (b"\0\x0b", "the request's message is larger than the limit of 10 bytes"),
        ] {
            let mut decoder = RequestDecoder::new(BodyKind::Delimited, 10);
            decoder.push(Bytes::from_static(body)).unwrap();
            decoder.end();
            let fault = std::iter::repeat_with(|| decoder.next_piece()).find_map(Result::err).unwrap();
            assert_eq!(fault.into_status().message(), text);
        }
    }

    #[test]
    fn raw_pieces_are_at_most_a_mebibyte() {
        let mut decoder = RequestDecoder::new(BodyKind::RawPieces, 4 << 20);
        decoder.push(Bytes::from(vec![0; RAW_PIECE_BYTES_MAX * 2 + 1])).unwrap();
        let mut lens = Vec::new();
        while let Some(piece) = decoder.next_piece().unwrap() {
            lens.push((piece.offset, piece.bytes.len()));
        }
        assert_eq!(
            lens,
            [(0, RAW_PIECE_BYTES_MAX), (RAW_PIECE_BYTES_MAX, RAW_PIECE_BYTES_MAX), (RAW_PIECE_BYTES_MAX * 2, 1)]
        );
    }

    #[test]
    fn raw_pieces_keep_to_a_small_limit_and_are_never_empty() {
        let mut decoder = RequestDecoder::new(BodyKind::RawPieces, 10);
        decoder.push(Bytes::from_static(b"1234567")).unwrap();
        decoder.push(Bytes::new()).unwrap();
        decoder.end();
        assert_eq!(decoder.next_piece().unwrap().unwrap().bytes, "12345");
        assert_eq!(decoder.next_piece().unwrap().unwrap().bytes, "67");
        assert_eq!(decoder.next_piece().unwrap(), None);
    }
}
