//! Messages → the bytes of a reply, for every dialect that answers in an HTTP body of its own.

use http::{HeaderMap, HeaderValue};

use super::{
    Dialect,
    accept::{media_type_of, output_settings},
    connect::{self, MessageCodec},
    json::ArrayWriter,
    ndjson, sse,
};
use crate::{
    codec::{Binding, Codec, HttpBody, OutputError},
    config::OutputSettings,
    share::{Format, Position},
    status::Status,
    wire::varint,
};

/// Writes one reply's messages.
#[derive(Debug)]
pub struct ReplyEncoder {
    framing: Framing,
    options: OutputSettings,
    content_type: &'static str,
}

#[derive(Debug)]
enum Framing {
    /// One message, nothing round it.
    Single,
    Array(ArrayWriter),
    /// Objects in an envelope, each behind this.
    Lines(&'static [u8]),
    Events,
    /// One message in protobuf.
    Binary,
    /// Messages in protobuf, each behind its length.
    Delimited,
    /// The bytes of `google.api.HttpBody`, whose first message gives the content type.
    Raw,
}

/// How a reply's body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// As a whole one does.
    Clean,
    /// Broken off, so that nobody takes half an answer for the whole.
    Abort,
}

impl ReplyEncoder {
    /// `raw`: the method's reply is `google.api.HttpBody`; `route`: how the route writes JSON.
    pub fn new(
        dialect: Dialect,
        request: &HeaderMap,
        server_streaming: bool,
        raw: bool,
        route: OutputSettings,
    ) -> Self {
        let framing = match dialect {
            Dialect::Ndjson => Framing::Lines(b""),
            Dialect::JsonSeq => Framing::Lines(&[ndjson::RECORD_SEPARATOR]),
            Dialect::Sse => Framing::Events,
            _ if raw => Framing::Raw,
            Dialect::Protobuf if server_streaming => Framing::Delimited,
            Dialect::Protobuf => Framing::Binary,
            _ if server_streaming => Framing::Array(ArrayWriter::default()),
            Dialect::Json | Dialect::WebSocket | Dialect::Mux | Dialect::Connect | Dialect::Grpc | Dialect::GrpcWeb => {
                Framing::Single
            }
        };
        Self::framed(framing, media_type_of(dialect, request), output_settings(request, route))
    }

    /// For one message in Connect, which has no raw bytes.
    pub fn bare(form: connect::Form, request: &HeaderMap, route: OutputSettings) -> Self {
        let framing = match form.codec() {
            MessageCodec::Json => Framing::Single,
            MessageCodec::Proto => Framing::Binary,
        };
        Self::framed(framing, form.content_type(), output_settings(request, route))
    }

    fn framed(framing: Framing, content_type: &'static str, options: OutputSettings) -> Self {
        // A line, or an event's data, ends where a line does.
        let pretty = options.pretty && matches!(framing, Framing::Single);
        let options = OutputSettings { pretty, ..options };
        Self { framing, options, content_type }
    }

    /// The reply's content type; none where the first message has to say it.
    pub fn content_type(&self) -> Option<HeaderValue> {
        match self.framing {
            Framing::Raw => None,
            _ => Some(HeaderValue::from_static(self.content_type)),
        }
    }

    /// Whether the reply may go on, so that nobody on the way should hold it back or keep it.
    pub fn is_stream(&self) -> bool {
        matches!(self.framing, Framing::Array(_) | Framing::Lines(_) | Framing::Events | Framing::Delimited)
    }

    pub fn is_events(&self) -> bool {
        matches!(self.framing, Framing::Events)
    }

    /// What stands before the first message.
    pub fn begin(&self, retry: super::Retry, out: &mut Vec<u8>) {
        if self.is_events() {
            retry.write(out);
        }
    }

    /// Writes one message whole, or nothing of it: what ends the reply must not stand behind half a line.
    ///
    /// # Errors
    /// Bytes that are not a message of the method's reply type.
    pub fn message(
        &mut self,
        codec: &Codec,
        binding: &Binding,
        wire: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), OutputError> {
        let start = out.len();
        self.before_shared(out);
        self.write(codec, binding, wire, None, out).inspect_err(|_| out.truncate(start))
    }

    /// What decides how a message of a shared stream is written; none where that is not the same for all.
    pub fn format(&self, generation: u64, route: u32) -> Option<Format> {
        let framing = match self.framing {
            Framing::Single | Framing::Binary | Framing::Raw => return None,
            Framing::Array(_) => 0,
            Framing::Lines(b"") => 1,
            Framing::Lines(_) => 2,
            Framing::Events => 3,
            Framing::Delimited => 4,
        };
        Some(Format { generation, route, framing, output: self.options })
    }

    /// What stands before a message of a shared stream in this reply alone.
    pub fn before_shared(&mut self, out: &mut Vec<u8>) {
        if let Framing::Array(array) = &mut self.framing {
            array.before_element(out);
        }
    }

    /// Writes a message of a shared stream as all do that have the same format.
    ///
    /// # Errors
    /// As [`ReplyEncoder::message`].
    pub fn shared(
        &self,
        codec: &Codec,
        binding: &Binding,
        wire: &[u8],
        position: Position,
        out: &mut Vec<u8>,
    ) -> Result<(), OutputError> {
        self.write(codec, binding, wire, Some(position), out)
    }

    /// Tells, where the framing can, that messages before this place are not known any more.
    pub fn gap(&self, position: Option<Position>, out: &mut Vec<u8>) {
        if self.is_events() {
            sse::write_gap(position, out);
        }
    }

    /// Tells, where the framing can, that so many messages were dropped.
    pub fn skipped(&self, count: u64, out: &mut Vec<u8>) {
        if self.is_events() {
            sse::write_skipped(count, out);
        }
    }

    fn write(
        &self,
        codec: &Codec,
        binding: &Binding,
        wire: &[u8],
        position: Option<Position>,
        out: &mut Vec<u8>,
    ) -> Result<(), OutputError> {
        let after: &[u8] = match &self.framing {
            Framing::Raw => {
                out.extend_from_slice(binding.read_http_body(wire)?.data);
                return Ok(());
            }
            Framing::Binary => {
                out.extend_from_slice(&binding.reply_protobuf(codec, wire)?);
                return Ok(());
            }
            Framing::Delimited => {
                let message = binding.reply_protobuf(codec, wire)?;
                varint::write(message.len() as u64, out);
                out.extend_from_slice(&message);
                return Ok(());
            }
            Framing::Single | Framing::Array(_) => b"",
            Framing::Lines(mark) => {
                out.extend_from_slice(mark);
                out.extend_from_slice(ndjson::BEFORE);
                ndjson::AFTER
            }
            Framing::Events => {
                sse::begin_event(codec, binding, wire, position, out)?;
                sse::AFTER
            }
        };
        binding.write_reply(codec, wire, self.options, out)?;
        out.extend_from_slice(after);
        Ok(())
    }

    /// The content type that a first message of raw bytes gives.
    ///
    /// # Errors
    /// Bytes that are not a `google.api.HttpBody`.
    pub fn raw_content_type(binding: &Binding, wire: &[u8]) -> Result<HeaderValue, OutputError> {
        let HttpBody { content_type, .. } = binding.read_http_body(wire)?;
        let given = if content_type.is_empty() { None } else { HeaderValue::from_str(content_type).ok() };
        Ok(given.unwrap_or(HeaderValue::from_static("application/octet-stream")))
    }

    /// Ends the reply, with the failure told where the framing can tell it.
    pub fn end(&mut self, outcome: Result<(), &Status>, codec: &Codec, out: &mut Vec<u8>) -> End {
        match (&mut self.framing, outcome) {
            (Framing::Array(array), Ok(())) => {
                array.end(out);
                End::Clean
            }
            (Framing::Single | Framing::Raw | Framing::Binary | Framing::Delimited | Framing::Lines(_), Ok(())) => {
                End::Clean
            }
            (Framing::Single | Framing::Raw | Framing::Binary | Framing::Delimited | Framing::Array(_), Err(_)) => {
                End::Abort
            }
            (Framing::Lines(mark), Err(status)) => {
                out.extend_from_slice(mark);
                ndjson::write_error(status, codec, out);
                End::Clean
            }
            (Framing::Events, outcome) => {
                sse::write_end(outcome, codec, out);
                End::Clean
            }
        }
    }

    /// What an idle stream carries so that nobody on the way takes it for dead.
    pub fn heartbeat(&self, out: &mut Vec<u8>) {
        if self.is_events() {
            out.extend_from_slice(sse::HEARTBEAT);
        }
    }

    /// Whether a failure before the first byte is better told inside the stream than as an HTTP error: a browser's
    /// EventSource gives up for good on any status but 200 (WHATWG HTML §9.2.3), and should come back.
    pub fn tells_inside(&self, status: &Status, is_get: bool) -> bool {
        self.is_events() && is_get && sse::is_worth_retrying(status)
    }
}

#[cfg(test)]
mod tests {
    use buffa_descriptor::DescriptorPool;

    use super::*;
    use crate::status::Code;

    struct Replies {
        codec: Codec,
        binding: Binding,
    }

    impl Replies {
        /// Of a method that answers with strings.
        fn new() -> Self {
            let set: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/test.binpb"));
            let codec = Codec::compile(&DescriptorPool::decode(set).unwrap());
            let plan = codec.plan_by_name("google.protobuf.StringValue").unwrap();
            Self { codec, binding: Binding::whole(plan, plan) }
        }

        fn encoder(dialect: Dialect, server_streaming: bool) -> ReplyEncoder {
            ReplyEncoder::new(dialect, &HeaderMap::new(), server_streaming, false, OutputSettings::default())
        }

        /// Two messages, or one, and an end.
        fn write(&self, dialect: Dialect, messages: &[&[u8]], end: Result<(), &Status>) -> (String, End) {
            let mut encoder = Self::encoder(dialect, messages.len() > 1);
            let mut out = Vec::new();
            for message in messages {
                encoder.message(&self.codec, &self.binding, message, &mut out).unwrap();
            }
            let end = encoder.end(end, &self.codec, &mut out);
            (String::from_utf8(out).unwrap(), end)
        }
    }

    #[test]
    fn messages_are_framed_as_the_dialect_says() {
        let replies = Replies::new();
        let broken = Status::upstream(Code::NotFound, "gone");
        let two: &[&[u8]] = &[b"\x0a\x01a", b""];
        let error = "{\"error\":{\"code\":5,\"message\":\"gone\",\"details\":[]}}\n";
        let lines = "{\"result\":\"a\"}\n{\"result\":\"\"}\n";
        let records = "\x1e{\"result\":\"a\"}\n\x1e{\"result\":\"\"}\n";
        for (dialect, messages, end, expected, ended) in [
            (Dialect::Json, &two[..1], Ok(()), "\"a\"", End::Clean),
            (Dialect::Json, two, Ok(()), "[\"a\",\"\"]", End::Clean),
            (Dialect::Json, two, Err(&broken), "[\"a\",\"\"", End::Abort),
            (Dialect::Ndjson, two, Ok(()), lines, End::Clean),
            (Dialect::Ndjson, two, Err(&broken), &format!("{lines}{error}"), End::Clean),
            (Dialect::JsonSeq, two, Ok(()), records, End::Clean),
            (Dialect::JsonSeq, two, Err(&broken), &format!("{records}\x1e{error}"), End::Clean),
            (Dialect::Protobuf, &two[..1], Ok(()), "\x0a\x01a", End::Clean),
            (Dialect::Protobuf, two, Ok(()), "\x03\x0a\x01a\0", End::Clean),
            (Dialect::Protobuf, two, Err(&broken), "\x03\x0a\x01a\0", End::Abort),
        ] {
            let (out, how) = replies.write(dialect, messages, end);
            assert_eq!((out.as_str(), how), (expected, ended), "{dialect:?} {end:?}");
        }
    }

    #[test]
    fn a_message_that_cannot_be_told_leaves_nothing_before_the_error() {
        let Replies { codec, binding } = Replies::new();
        let status = Status::upstream(Code::Internal, "broken");
        for dialect in [Dialect::Ndjson, Dialect::JsonSeq, Dialect::Sse] {
            let mut encoder = Replies::encoder(dialect, true);
            let mut out = Vec::new();
            encoder.message(&codec, &binding, b"\x0a\x01a", &mut out).unwrap();
            let sound = out.clone();
            assert!(encoder.message(&codec, &binding, b"\x0a\x01\xff", &mut out).is_err());
            assert_eq!(out, sound, "{dialect:?}");
            assert_eq!(encoder.end(Err(&status), &codec, &mut out), End::Clean);
        }
    }
}
