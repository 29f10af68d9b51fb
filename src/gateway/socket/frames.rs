//! Frames ↔ messages: what a client's frame means to its call, and what an upstream's event becomes.

use serde::de::IgnoredAny;

use super::Socket;
use crate::{
    call::ReplyEvent,
    codec::{InputError, OutputError},
    dialect::websocket::{Close, Incoming, Kind, Message, code as close_code, open_frame},
    gateway::snapshot::{Route, Snapshot},
    limits::COALESCE_BYTES,
    status::{Code, Reason, Status},
    upstream::bad_message,
    wire::open_envelope,
};

impl Socket {
    /// From an upstream's event to frames.
    pub(super) fn step(&mut self, event: ReplyEvent) {
        match event {
            ReplyEvent::Head(metadata) => self.messages.on_head(&metadata),
            ReplyEvent::Data(data) => {
                self.messages.push(data);
                self.write_whole();
            }
            ReplyEvent::End(Ok(_)) => {
                let whole = self.messages.end().map_err(bad_message);
                self.end(whole.as_ref().copied());
            }
            ReplyEvent::End(Err(status)) => self.end(Err(&status)),
        }
    }

    /// Writes the messages that are whole, up to a frame's worth: a few bytes may inflate to very many.
    pub(super) fn write_whole(&mut self) {
        if let Err(status) = self.write_messages() {
            self.end(Err(&status));
        }
    }

    fn write_messages(&mut self) -> Result<(), Status> {
        let snapshot = self.snapshot.clone();
        let route = snapshot.route_of(self.route)?;
        self.holds_more = false;
        while let Some(message) = self.messages.next_message().map_err(bad_message)? {
            self.write_reply(&snapshot, route, &message).map_err(OutputError::into_status)?;
            self.record.reply_message(message.len());
            self.line.turn.spend(message.len());
            if self.line.out.len() >= COALESCE_BYTES || self.line.turn.is_over() {
                self.holds_more = true;
                break;
            }
        }
        Ok(())
    }

    fn write_reply(&mut self, snapshot: &Snapshot, route: &Route, wire: &[u8]) -> Result<(), OutputError> {
        let line = &mut self.line;
        if self.raw.1 {
            let body = route.binding.read_http_body(wire)?;
            let is_text = body.content_type.starts_with("text/") && simdutf8::basic::from_utf8(body.data).is_ok();
            line.writer.write_message(if is_text { Kind::Text } else { Kind::Binary }, body.data, &mut line.out);
            return Ok(());
        }
        match self.reply_kind.unwrap_or(Kind::Text) {
            Kind::Binary => line.writer.write_message(Kind::Binary, wire, &mut line.out),
            Kind::Text => {
                let start = open_frame(&mut line.out);
                let written = route.binding.write_reply(&snapshot.codec, wire, self.output, &mut line.out);
                if written.is_err() {
                    line.out.truncate(start);
                    return written;
                }
                line.writer.finish_frame(Kind::Text, &mut line.out, start);
            }
        }
        Ok(())
    }

    pub(super) fn take_incoming(&mut self, incoming: Incoming) {
        match incoming {
            Incoming::Message(message) => {
                self.line.turn.spend(message.payload.len());
                if let Err(failure) = self.message(&message) {
                    match failure {
                        Failure::Status(status) => self.end(Err(&status)),
                        Failure::Argument(status) => {
                            let close = Close::new(status.code().close_code(), status.to_string());
                            self.end_with(Err(&status), &close);
                        }
                    }
                }
            }
            Incoming::Close(peer) if self.ends_requests(peer.as_ref()) => {
                self.half_closed = true;
                self.start();
            }
            Incoming::Close(peer) => {
                let cancelled =
                    Status::client(Code::Cancelled, "the client closed the socket").with_reason(Reason::RequestAborted);
                self.record.finish(Err(&cancelled));
                self.let_go();
                self.line.begin_close(Close::echo(peer.as_ref()).as_ref());
            }
            Incoming::Fault(fault) => {
                self.record.finish(Err(&fault.to_status()));
                self.let_go();
            }
        }
    }

    /// Raw frames have no other end than an orderly close handshake, which the call's end then answers. Where the
    /// client leaves (a page that is closed says 1001), the call is cancelled.
    fn ends_requests(&self, close: Option<&Close>) -> bool {
        let is_orderly = close.is_none_or(|close| close.code() == close_code::NORMAL);
        self.raw.0 && self.client_streaming && !self.half_closed && is_orderly
    }

    /// A frame becomes a request message.
    fn message(&mut self, message: &Message) -> Result<(), Failure> {
        let ends = message.payload.is_empty() && message.kind == Kind::Text && !self.raw.0;
        if ends && self.client_streaming {
            self.half_closed = true;
            self.start();
            return Ok(());
        }
        if self.half_closed {
            if ends {
                return Ok(());
            }
            let text = if self.client_streaming {
                "a message after the end of the request stream"
            } else {
                "this method takes one message"
            };
            return Err(Failure::Argument(
                Status::client(Code::InvalidArgument, text).with_reason(Reason::InvalidMessage),
            ));
        }
        if !self.raw.0 && self.agreed.is_some_and(|agreed| agreed != message.kind) {
            let text = "the frame is not of the kind that the subprotocol says";
            return Err(Failure::Status(
                Status::client(Code::InvalidArgument, text).with_reason(Reason::UnsupportedMediaType),
            ));
        }
        self.reply_kind.get_or_insert(message.kind);
        let snapshot = self.snapshot.clone();
        let route = snapshot.route_of(self.route).map_err(Failure::Status)?;
        let start = open_envelope(&mut self.batch);
        let encoded = self.encode(&snapshot, route, message);
        self.record.left_out(&self.bound.take_left_out());
        if let Err(error) = encoded {
            self.batch.truncate(start);
            return Err(Failure::of(error, message));
        }
        self.sealing.close(&mut self.batch, start).map_err(Failure::Status)?;
        self.record.request_message(message.payload.len());
        self.half_closed = !self.client_streaming;
        self.start();
        Ok(())
    }

    fn encode(&mut self, snapshot: &Snapshot, route: &Route, message: &Message) -> Result<(), InputError> {
        let (codec, binding, batch) = (&snapshot.codec, &route.binding, &mut self.batch);
        match (self.raw.0, message.kind) {
            (true, Kind::Text) => {
                self.bound.http_body(codec, binding, "text/plain; charset=utf-8", &message.payload, batch)
            }
            (true, Kind::Binary) => {
                self.bound.http_body(codec, binding, "application/octet-stream", &message.payload, batch)
            }
            (false, Kind::Text) => {
                let json = (!message.payload.is_empty()).then_some(&*message.payload);
                self.bound.message(codec, binding, json, batch)
            }
            (false, Kind::Binary) => self.bound.protobuf(codec, binding, &message.payload, batch),
        }
    }
}

/// Why a frame is refused.
enum Failure {
    /// WebSocket may have a close code of its own for it.
    Status(Status),
    /// Sound in itself, but not what this call takes: told by the gRPC code.
    Argument(Status),
}

impl Failure {
    fn of(error: InputError, message: &Message) -> Self {
        let sound = message.kind == Kind::Text && serde_json::from_slice::<IgnoredAny>(&message.payload).is_ok();
        let status = error.into_status();
        if sound { Self::Argument(status) } else { Self::Status(status) }
    }
}
