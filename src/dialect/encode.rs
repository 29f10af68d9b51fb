//! Messages → the bytes of a reply, for every dialect that answers in an HTTP body of JSON.

use http::HeaderValue;

use super::{Dialect, json::ArrayWriter, ndjson, sse};
use crate::{
    codec::{Binding, Codec, HttpBody, OutputError},
    config::OutputSettings,
    status::Status,
};

/// Writes one reply's messages.
#[derive(Debug)]
pub struct ReplyEncoder {
    framing: Framing,
    options: OutputSettings,
}

#[derive(Debug)]
enum Framing {
    /// One message, nothing round it.
    Single,
    Array(ArrayWriter),
    Lines,
    Events,
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
    /// `raw`: the method's reply is `google.api.HttpBody`.
    pub fn new(dialect: Dialect, server_streaming: bool, raw: bool, options: OutputSettings) -> Self {
        let framing = match dialect {
            Dialect::Ndjson => Framing::Lines,
            Dialect::Sse => Framing::Events,
            _ if raw => Framing::Raw,
            _ if server_streaming => Framing::Array(ArrayWriter::default()),
            _ => Framing::Single,
        };
        // A line, or an event's data, ends where a line does.
        let pretty = options.pretty && matches!(framing, Framing::Single);
        Self { framing, options: OutputSettings { pretty, ..options } }
    }

    /// The reply's content type; none where the first message has to say it.
    pub fn content_type(&self) -> Option<HeaderValue> {
        match self.framing {
            Framing::Single | Framing::Array(_) => Some(HeaderValue::from_static("application/json")),
            Framing::Lines => Some(HeaderValue::from_static("application/x-ndjson")),
            Framing::Events => Some(HeaderValue::from_static("text/event-stream")),
            Framing::Raw => None,
        }
    }

    /// Whether the reply may go on, so that nobody on the way should hold it back or keep it.
    pub fn is_stream(&self) -> bool {
        matches!(self.framing, Framing::Array(_) | Framing::Lines | Framing::Events)
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
        let after: &[u8] = match &mut self.framing {
            Framing::Raw => {
                out.extend_from_slice(binding.read_http_body(wire)?.data);
                return Ok(());
            }
            Framing::Single => b"",
            Framing::Array(array) => {
                array.before_element(out);
                b""
            }
            Framing::Lines => {
                out.extend_from_slice(ndjson::BEFORE);
                ndjson::AFTER
            }
            Framing::Events => {
                out.extend_from_slice(sse::BEFORE);
                sse::AFTER
            }
        };
        binding.write_reply(codec, wire, self.options, out).inspect_err(|_| out.truncate(start))?;
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
            (Framing::Single | Framing::Raw, Ok(())) => End::Clean,
            (Framing::Array(array), Ok(())) => {
                array.end(out);
                End::Clean
            }
            (Framing::Single | Framing::Raw | Framing::Array(_), Err(_)) => End::Abort,
            (Framing::Lines, Ok(())) => End::Clean,
            (Framing::Lines, Err(status)) => {
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

    #[test]
    fn a_message_that_cannot_be_told_leaves_nothing_before_the_error() {
        let set: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/test.binpb"));
        let codec = Codec::compile(&DescriptorPool::decode(set).unwrap());
        let plan = codec.plan_by_name("google.protobuf.StringValue").unwrap();
        let binding = Binding::whole(plan, plan);
        let status = Status::upstream(Code::Internal, "broken");
        for dialect in [Dialect::Ndjson, Dialect::Sse] {
            let mut encoder = ReplyEncoder::new(dialect, true, false, OutputSettings::default());
            let mut out = Vec::new();
            encoder.message(&codec, &binding, b"\x0a\x01a", &mut out).unwrap();
            let sound = out.clone();
            assert!(encoder.message(&codec, &binding, b"\x0a\x01\xff", &mut out).is_err());
            assert_eq!(out, sound, "{dialect:?}");
            assert_eq!(encoder.end(Err(&status), &codec, &mut out), End::Clean);
        }
    }
}
