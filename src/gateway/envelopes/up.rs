//! The way up: from the client's bytes to envelopes in protobuf. Knows nothing of when they are sent.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};

use super::flags;
use crate::{
    codec::{Bound, InputError},
    coding::{GRPC_ACCEPTED, InflateError},
    dialect::{
        Framing, Payload,
        grpc_web::{TextDecoder, TextError},
    },
    gateway::{
        record::Record,
        request::{Call, Opened},
        sealing::Sealing,
        snapshot::Snapshot,
    },
    limits::COALESCE_BYTES,
    status::{Code, Reason, Status},
    wire::{self, Counter, EnvelopeError, MessageError, metadata, open_envelope},
};

/// Takes pieces of the client's stream, and gives what is to be sent on.
pub(super) struct Up {
    /// For a stream in base64.
    text: Option<TextDecoder>,
    messages: Messages,
    messages_max: u64,
    /// What goes up next.
    ready: Bytes,
    bytes: u64,
}

enum Messages {
    Uncut(Counter),
    Json(Box<Json>),
}

/// Messages in JSON, cut and transcoded.
struct Json {
    messages: wire::Messages,
    snapshot: Arc<Snapshot>,
    route: u32,
    bound: Bound,
    sealing: Sealing,
    count: u64,
}

impl Up {
    /// # Errors
    /// What the URL says and the message does not have.
    pub(super) fn new(
        call: &Call<'_>,
        opened: &Opened<'_>,
        framing: Framing,
        payload: Payload,
    ) -> Result<Self, Status> {
        let bytes_max = call.snapshot.limits.request_message_bytes_max;
        let messages = match payload {
            Payload::Own => {
                let mut counter = Counter::new(bytes_max);
                counter.allow(flags(&opened.head.metadata));
                Messages::Uncut(counter)
            }
            Payload::Json => Messages::Json(Box::new(Json::new(call, opened)?)),
        };
        let streams = opened.route.client_streaming && framing.carries_requests();
        Ok(Self {
            text: framing.sends_text().then(TextDecoder::default),
            messages,
            messages_max: if streams { u64::MAX } else { 1 },
            ready: Bytes::new(),
            bytes: 0,
        })
    }

    /// Whether there may be one message alone.
    pub(super) fn takes_one(&self) -> bool {
        self.messages_max == 1
    }

    /// Messages and bytes so far.
    pub(super) fn passed(&self) -> (u64, u64) {
        let messages = match &self.messages {
            Messages::Uncut(counter) => counter.messages(),
            Messages::Json(json) => json.count,
        };
        (messages, self.bytes)
    }

    /// Takes a piece of the stream, once nothing is ready any more.
    ///
    /// # Errors
    /// What is not framed soundly.
    pub(super) fn push(&mut self, piece: Bytes) -> Result<(), Status> {
        let piece = match &mut self.text {
            Some(text) => text.push(&piece).map_err(not_text)?,
            None => piece,
        };
        self.bytes += piece.len() as u64;
        match &mut self.messages {
            Messages::Uncut(counter) => {
                counter.push(&piece).map_err(|(_, error)| unsound(error.into()))?;
                check_count(counter.messages(), self.messages_max)?;
                self.ready = piece;
            }
            Messages::Json(json) => json.messages.push(piece),
        }
        Ok(())
    }

    /// Whether there is something to send.
    ///
    /// # Errors
    /// A message that is not sound.
    pub(super) fn is_ready(&mut self, record: &mut Record) -> Result<bool, Status> {
        if let (true, Messages::Json(json)) = (self.ready.is_empty(), &mut self.messages) {
            self.ready = json.batch(self.messages_max, record)?;
        }
        Ok(!self.ready.is_empty())
    }

    /// What is to be sent next; empty where more has to arrive.
    ///
    /// # Errors
    /// A message that is not sound.
    pub(super) fn take(&mut self, record: &mut Record) -> Result<Bytes, Status> {
        self.is_ready(record)?;
        Ok(std::mem::take(&mut self.ready))
    }

    /// The stream is over, and nothing is ready any more.
    ///
    /// # Errors
    /// A stream that ends within a message.
    pub(super) fn end(&self) -> Result<(), Status> {
        if let Some(text) = &self.text {
            text.end().map_err(not_text)?;
        }
        match &self.messages {
            Messages::Uncut(counter) if counter.is_between() => Ok(()),
            Messages::Uncut(_) => Err(unsound(EnvelopeError::Truncated.into())),
            Messages::Json(json) => json.messages.end().map_err(unsound),
        }
    }
}

impl Json {
    fn new(call: &Call<'_>, opened: &Opened<'_>) -> Result<Self, Status> {
        let mut messages = wire::Messages::new(call.snapshot.limits.request_message_bytes_max);
        messages.on_head(&opened.head.metadata);
        Ok(Self {
            messages,
            snapshot: call.snapshot.clone(),
            route: opened.route.index,
            bound: opened.bind(call)?,
            sealing: Sealing::new(call.snapshot, opened.upstream),
            count: 0,
        })
    }

    /// The messages that have arrived, joined up to one frame's worth.
    fn batch(&mut self, messages_max: u64, record: &mut Record) -> Result<Bytes, Status> {
        let mut batch = Vec::new();
        while batch.len() < COALESCE_BYTES {
            let Some(message) = self.messages.next_message().map_err(unsound)? else { break };
            self.count += 1;
            check_count(self.count, messages_max)?;
            self.write(&message, &mut batch)?;
            record.left_out(&self.bound.take_left_out());
        }
        Ok(batch.into())
    }

    fn write(&mut self, message: &[u8], out: &mut Vec<u8>) -> Result<(), Status> {
        let route = self.snapshot.route_of(self.route)?;
        let start = open_envelope(out);
        // An empty envelope is no JSON: that has one character at least.
        let json = if message.is_empty() { b" " } else { message };
        let (codec, binding) = (&self.snapshot.codec, &route.binding);
        self.bound.message(codec, binding, Some(json), out).map_err(InputError::into_status)?;
        self.sealing.close(out, start)?;
        Ok(())
    }
}

/// The client's messages are not what they should be: the codes that gRPC has for it (gRPC "Compression").
fn unsound(error: MessageError) -> Status {
    let text = error.to_string();
    match error {
        MessageError::Envelope(EnvelopeError::TooLarge { .. })
        | MessageError::Inflate(InflateError::TooLarge { .. }) => {
            Status::client(Code::ResourceExhausted, text).with_reason(Reason::MessageTooLarge)
        }
        MessageError::Encoding(_) => {
            let accepted = [(metadata::ACCEPT_ENCODING, HeaderValue::from_static(GRPC_ACCEPTED))];
            Status::client(Code::Unimplemented, format!("{text}: expected {GRPC_ACCEPTED}"))
                .with_reason(Reason::InvalidMessage)
                .with_trailers(HeaderMap::from_iter(accepted), None)
        }
        error @ (MessageError::Envelope(EnvelopeError::Flags(_) | EnvelopeError::Truncated)
        | MessageError::Inflate(_)) => {
            Status::client(Code::Internal, text).with_reason(Reason::InvalidMessage).with_cause(error)
        }
    }
}

/// The code that gRPC has for it (statuscodes.md, "Request cardinality violation").
fn check_count(messages: u64, max: u64) -> Result<(), Status> {
    if messages <= max {
        return Ok(());
    }
    Err(Status::client(Code::Unimplemented, "this method takes one message").with_reason(Reason::InvalidMessage))
}

fn not_text(error: TextError) -> Status {
    Status::client(Code::Internal, error.to_string()).with_reason(Reason::InvalidMessage)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_message_is_not_told_as_a_large_one() {
        for (error, code, reason) in [
            (EnvelopeError::TooLarge { len: 2, max: 1 }.into(), Code::ResourceExhausted, Reason::MessageTooLarge),
            (InflateError::TooLarge { max: 1 }.into(), Code::ResourceExhausted, Reason::MessageTooLarge),
            (EnvelopeError::Truncated.into(), Code::Internal, Reason::InvalidMessage),
            (EnvelopeError::Flags(2).into(), Code::Internal, Reason::InvalidMessage),
            (MessageError::Encoding("br".to_owned()), Code::Unimplemented, Reason::InvalidMessage),
        ] {
            let status = unsound(error);
            assert_eq!((status.code(), status.reason()), (code, Some(reason)));
        }
    }
}
