//! Many calls in one session over plain HTTP (PROTOCOLS §10), for clients that no WebSocket reaches: the answer to a GET is the way
//! down, POSTs are the way up. The way down is a body that is pulled: polling it polls all calls, and what POSTs brought.

mod mailbox;
mod uplink;

use std::{
    mem,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{
    Response, StatusCode,
    header::{CONTENT_TYPE, VARY},
};
use http_body::Frame;

use self::mailbox::Inbox;
pub(in crate::gateway) use self::mailbox::Sessions;
pub(super) use self::uplink::take;
use super::{Downlink, Mux, base};
use crate::{
    coding::Deflater,
    dialect::{
        self,
        mux::{Form, Framing, write_session},
        sse::{END_ID, LAST_EVENT_ID},
        websocket::Close,
    },
    gateway::{
        deflate,
        heartbeat::Heartbeat,
        record::Record,
        reply::{Broken, ReplyBody, mark_as_stream},
        request::Call,
        turn::Turn,
    },
    limits::COALESCE_BYTES,
    status::{Code, Reason, Status},
};

/// Answers the GET that begins a session.
///
/// # Errors
/// What is refused before it begins: a page of a foreign origin, an `Accept` that no frames come in, one session too many.
pub(super) fn open(call: &Call<'_>, record: &mut Record) -> Result<Response<ReplyBody>, Status> {
    let (head, limits) = (call.head, &call.snapshot.limits);
    call.snapshot.cors.refuse_cross_site(&head.headers, call.origin)?;
    let (framing, content_type) = Framing::accepted(&head.headers).ok_or_else(|| {
        let text = "frames come as application/x-ndjson, text/event-stream or application/x-protobuf";
        Status::client(Code::Unimplemented, text)
            .with_http(StatusCode::NOT_ACCEPTABLE)
            .with_reason(Reason::UnsupportedByDialect)
    })?;
    if framing == Framing::Events && head.headers.get(LAST_EVENT_ID).is_some_and(|id| id == END_ID) {
        let mut response = Response::new(ReplyBody::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        return Ok(record.take().answered(response));
    }
    let (id, inbox) = call.worker.process.sessions.open(framing.form(), limits.mux_sessions_max)?;
    let mut line = Frames { framing, turn: Turn::new(), out: Vec::new(), closed: None };
    framing.begin(call.worker.retry(limits), &mut line.out);
    line.tell(framing.form(), |out| write_session(framing.form(), &id, out));
    let mut base = base(head);
    base.headers.remove(LAST_EVENT_ID);

    let mut response = Response::new(());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(VARY, dialect::VARY);
    mark_as_stream(headers);
    let is_compressed = call.snapshot.mux.as_ref().is_some_and(|mux| mux.compress_streams);
    let deflater = call.deflate_stream(is_compressed, headers);
    let session = Session {
        mux: Mux::new(call, base, framing.form(), line),
        inbox,
        heartbeat: Heartbeat::new(limits.sse_heartbeat),
        silences: 0,
        deflater,
    };
    Ok(record.take().answered(response.map(|()| ReplyBody::Session(Box::new(session)))))
}

/// A session and its calls. Dropped with the answer that it is the body of, it cancels them.
pub struct Session {
    mux: Mux<Frames>,
    inbox: Inbox,
    heartbeat: Heartbeat,
    /// How many silences were broken.
    silences: u64,
    /// None where nothing is compressed, and after the end.
    deflater: Option<Deflater>,
}

impl Session {
    /// The next piece of the way down: a frame's worth of HTTP, or all that there is.
    pub(in crate::gateway) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        self.mux.line.turn.begin();
        while self.has_room() {
            let moved = self.mux.poll_calls(cx);
            if !self.poll_uplink(cx) && !moved {
                break;
            }
        }
        if self.mux.is_closed() {
            self.inbox.end(None);
        }
        if self.mux.line.out.is_empty() {
            if self.mux.is_closed() {
                return Poll::Ready(self.deflater.take().map(deflate::end));
            }
            ready!(self.heartbeat.poll(cx));
            self.silences += 1;
            self.mux.line.framing.heartbeat(self.silences, &mut self.mux.line.out);
        }
        self.heartbeat.wrote();
        let piece = deflate::piece(self.deflater.as_mut(), mem::take(&mut self.mux.line.out).into());
        Poll::Ready(Some(piece.map(Frame::data)))
    }

    /// The client has taken nothing for too long.
    pub(in crate::gateway) fn stalled(&mut self) {
        self.mux.stalled();
    }

    /// Takes what POSTs have brought; whether there was anything.
    fn poll_uplink(&mut self, cx: &mut Context<'_>) -> bool {
        let mut moved = false;
        while self.has_room() && !self.mux.line.turn.rests(cx) {
            let Poll::Ready(frame) = self.inbox.poll_next(cx) else { break };
            moved = true;
            let fault = match frame {
                Ok(payload) => {
                    self.mux.payload(&payload);
                    let closed = self.mux.line.closed.as_ref();
                    closed.map(|close| {
                        Status::client(Code::InvalidArgument, close.reason().to_owned())
                            .with_reason(Reason::InvalidMessage)
                    })
                }
                Err(error) => {
                    let status = error.into_status();
                    self.mux.close(&Close::of_status(&status));
                    Some(status)
                }
            };
            if fault.is_some() {
                self.inbox.end(fault);
            }
        }
        moved
    }

    fn has_room(&self) -> bool {
        self.mux.line.out.len() < COALESCE_BYTES && !self.mux.is_closed()
    }
}

/// Frames on their way into the answer's body.
struct Frames {
    framing: Framing,
    turn: Turn,
    /// Written and not yet handed on; at most a frame's worth of HTTP and one frame more.
    out: Vec<u8>,
    /// What was told last.
    closed: Option<Close>,
}

impl Downlink for Frames {
    fn turn(&mut self) -> &mut Turn {
        &mut self.turn
    }

    fn waiting(&self) -> usize {
        self.out.len()
    }

    fn frame<T, E>(&mut self, _: Form, write: impl FnOnce(&mut Vec<u8>) -> Result<T, E>) -> Result<T, E> {
        self.framing.frame(&mut self.out, write)
    }

    fn close(&mut self, close: &Close) {
        self.framing.close(close, &mut self.out);
        self.closed = Some(close.clone());
    }
}
