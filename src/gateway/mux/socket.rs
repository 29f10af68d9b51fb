//! A WebSocket that carries many calls: each message is a frame.

use std::task::Context;

use http::{Response, header};
use hyper::upgrade::OnUpgrade;

use super::{Downlink, Mux, base};
use crate::{
    dialect::{
        mux::Form,
        websocket::{Close, Handshake, Incoming, Kind, Message, Subprotocol, code, open_frame},
    },
    gateway::{
        RequestBody,
        line::{Carrier, Line, Rider},
        record::Record,
        reply::ReplyBody,
        request::{Call, second_token},
        turn::Turn,
    },
    status::{Code, Reason, Status},
};

/// Answers the opening handshake.
///
/// # Errors
/// What is refused before the upgrade: a page of a foreign origin, a handshake that is not sound, no subprotocol of frames.
pub(super) fn serve<B: RequestBody>(
    call: &Call<'_>,
    record: &mut Record,
    upgrade: Option<OnUpgrade>,
    body: B,
) -> Result<Response<ReplyBody>, Status> {
    call.snapshot.cors.refuse_cross_site(&call.head.headers, call.origin)?;
    let mut handshake = Handshake::of(call.head, Subprotocol::FRAMES)?;
    let form = match handshake.subprotocol() {
        Some(Subprotocol::Mux | Subprotocol::MuxJson) => Form::Json,
        Some(Subprotocol::MuxProto) => Form::Proto,
        Some(Subprotocol::Json | Subprotocol::Proto) | None => {
            let text = "the subprotocol here is `tidegate.mux`, `tidegate.mux+json` or `tidegate.mux+proto`";
            return Err(Status::client(Code::InvalidArgument, text).with_reason(Reason::InvalidHeader));
        }
    };
    handshake.agree_on_compression(&call.head.headers, call.snapshot.compression.websocket);
    let mut base = base(call.head);
    if let Some(authorization) = handshake.authorization()
        && base.headers.insert(header::AUTHORIZATION, authorization.clone()).is_some()
    {
        return Err(second_token("the subprotocol"));
    }
    let (carrier, response) = Carrier::open(&handshake, upgrade, body)?;
    carrier.carry(call, Mux::new(call, base, form, Line::new(call, &handshake)));
    Ok(record.take().answered(response))
}

impl Downlink for Line {
    fn turn(&mut self) -> &mut Turn {
        &mut self.turn
    }

    fn waiting(&self) -> usize {
        self.out.len()
    }

    fn frame<T, E>(&mut self, form: Form, write: impl FnOnce(&mut Vec<u8>) -> Result<T, E>) -> Result<T, E> {
        let start = open_frame(&mut self.out);
        let written = write(&mut self.out).inspect_err(|_| self.out.truncate(start))?;
        self.writer.finish_frame(kind(form), &mut self.out, start);
        Ok(written)
    }

    fn close(&mut self, close: &Close) {
        self.begin_close(Some(close));
    }
}

impl Mux<Line> {
    fn message(&mut self, message: &Message) {
        if message.kind != kind(self.form) {
            return self.close(&Close::new(code::UNSUPPORTED_DATA, "frames are of the kind that the subprotocol says"));
        }
        self.payload(&message.payload);
    }
}

impl Rider for Mux<Line> {
    fn line(&mut self) -> &mut Line {
        &mut self.line
    }

    fn poll_move(&mut self, cx: &mut Context<'_>) -> bool {
        self.poll_calls(cx)
    }

    /// What a client may send ahead is bounded by its credits.
    fn has_room(&self) -> bool {
        true
    }

    fn take(&mut self, incoming: Incoming) {
        match incoming {
            Incoming::Message(message) if !self.is_closed() => self.message(&message),
            Incoming::Message(_) => {}
            Incoming::Close(peer) => {
                let status =
                    Status::client(Code::Cancelled, "the client closed the socket").with_reason(Reason::RequestAborted);
                self.let_go(&status);
                self.line.begin_close(Close::echo(peer.as_ref()).as_ref());
            }
            Incoming::Fault(fault) => self.let_go(&fault.to_status()),
        }
    }

    fn lose(&mut self, status: &Status) {
        self.let_go(status);
    }

    fn stalled(&mut self) {
        self.stalled();
    }
}

/// The kind of messages that bear frames of a form.
fn kind(form: Form) -> Kind {
    match form {
        Form::Json => Kind::Text,
        Form::Proto => Kind::Binary,
    }
}
