//! The way down: from the upstream's envelopes to the client's bytes. Knows nothing of when they are sent.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;

use super::flags;
use crate::{
    codec::OutputError,
    config::OutputSettings,
    dialect::{Framing, Payload, grpc_web},
    gateway::{
        request::{Call, Opened},
        snapshot::Snapshot,
    },
    limits::COALESCE_BYTES,
    status::Status,
    upstream::bad_message,
    wire::{self, Counter, EnvelopeError, close_envelope, metadata, open_envelope},
};

/// Follows the upstream's stream, and gives what is to be passed on of it.
pub(super) struct Down {
    messages: Messages,
    takes_text: bool,
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
    output: OutputSettings,
    count: u64,
    /// Whole messages may have arrived that are not written yet.
    holds_more: bool,
}

impl Down {
    pub(super) fn new(call: &Call<'_>, opened: &Opened<'_>, framing: Framing, payload: Payload) -> Self {
        let bytes_max = call.snapshot.limits.reply_message_bytes_max;
        let messages = match payload {
            Payload::Own => Messages::Uncut(Counter::new(bytes_max)),
            Payload::Json => Messages::Json(Box::new(Json {
                messages: wire::Messages::new(bytes_max),
                snapshot: call.snapshot.clone(),
                route: opened.route.index,
                output: opened.route.policy.settings.output,
                count: 0,
                holds_more: false,
            })),
        };
        Self { messages, takes_text: framing.takes_text(), bytes: 0 }
    }

    /// Takes from the upstream's head how its messages are compressed. The client's are not where they are transcoded.
    pub(super) fn head(&mut self, head: &mut HeaderMap) {
        match &mut self.messages {
            Messages::Uncut(counter) => counter.allow(flags(head)),
            Messages::Json(json) => {
                json.messages.on_head(head);
                metadata::remove_encodings(head);
            }
        }
    }

    /// What is to be passed on of a piece of the stream, and the failure behind it; what stands before a message that
    /// is not sound still passes.
    pub(super) fn push(&mut self, mut piece: Bytes) -> (Bytes, Option<Status>) {
        let (piece, error) = match &mut self.messages {
            Messages::Uncut(counter) => match counter.push(&piece) {
                Ok(()) => (piece, None),
                Err((sound, error)) => {
                    piece.truncate(sound);
                    (piece, Some(bad_message(error.into())))
                }
            },
            Messages::Json(json) => json.push(piece),
        };
        self.bytes += piece.len() as u64;
        (piece, error)
    }

    /// Whether messages have arrived that are not passed on yet: [`Down::push`] gives them, with an empty piece too.
    pub(super) fn holds_more(&self) -> bool {
        matches!(&self.messages, Messages::Json(json) if json.holds_more)
    }

    /// As it is written to the client.
    pub(super) fn encode(&self, piece: Bytes) -> Bytes {
        if self.takes_text { grpc_web::encode(&piece) } else { piece }
    }

    /// The upstream ended well.
    ///
    /// # Errors
    /// A stream that ends within a message.
    pub(super) fn end(&self) -> Result<(), Status> {
        match &self.messages {
            Messages::Uncut(counter) if counter.is_between() => Ok(()),
            Messages::Uncut(_) => Err(bad_message(EnvelopeError::Truncated.into())),
            Messages::Json(json) => json.messages.end().map_err(bad_message),
        }
    }

    /// Whether the client has a part of a message, to which nothing can be added any more.
    pub(super) fn is_torn(&self) -> bool {
        match &self.messages {
            Messages::Uncut(counter) => !counter.is_between(),
            Messages::Json(_) => false,
        }
    }

    /// Messages and bytes so far.
    pub(super) fn passed(&self) -> (u64, u64) {
        let messages = match &self.messages {
            Messages::Uncut(counter) => counter.messages(),
            Messages::Json(json) => json.count,
        };
        (messages, self.bytes)
    }
}

impl Json {
    fn push(&mut self, piece: Bytes) -> (Bytes, Option<Status>) {
        if !piece.is_empty() {
            self.messages.push(piece);
        }
        let mut out = Vec::new();
        let error = self.write(&mut out).err();
        (out.into(), error)
    }

    /// Writes the messages that are whole, up to a frame's worth: a few bytes may inflate to very many.
    fn write(&mut self, out: &mut Vec<u8>) -> Result<(), Status> {
        let route = self.snapshot.route_of(self.route)?;
        self.holds_more = false;
        while let Some(message) = self.messages.next_message().map_err(bad_message)? {
            let start = open_envelope(out);
            let written = route.binding.write_reply(&self.snapshot.codec, &message, self.output, out);
            written.inspect_err(|_| out.truncate(start)).map_err(OutputError::into_status)?;
            // Never fails: JSON is held to a limit of its own.
            let _ = close_envelope(out, start);
            self.count += 1;
            if out.len() >= COALESCE_BYTES {
                self.holds_more = true;
                break;
            }
        }
        Ok(())
    }
}
