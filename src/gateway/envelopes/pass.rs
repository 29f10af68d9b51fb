//! The pump: moves requests up and replies down, pulled by whoever writes the reply.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Response, header};
use http_body::{Body, Frame};
use http_body_util::combinators::UnsyncBoxBody;

use super::{down::Down, up::Up};
use crate::{
    call::{Closed, Replies, ReplyEvent, Requests},
    dialect::{Ending, Framing},
    gateway::{
        BodyError,
        mirror::{Download, Upload},
        record::Record,
        reply::{Broken, ReplyBody, mark_as_stream},
        request::broken_body,
        snapshot::Snapshot,
    },
    limits::COALESCE_BYTES,
    status::Status,
};

/// A call of envelopes while it passes.
pub struct Pass {
    framing: Framing,
    snapshot: Arc<Snapshot>,
    body: Option<UnsyncBoxBody<Bytes, BodyError>>,
    requests: Option<Upload>,
    replies: Download,
    up: Up,
    down: Down,
    /// What ended a run of joined pieces.
    held: Option<ReplyEvent>,
    stage: Stage,
    record: Record,
}

enum Stage {
    Reply,
    /// To be broken off, once what was written is flushed.
    Breaking,
    Broken,
    Ended,
}

impl Pass {
    pub(super) fn new(
        framing: Framing,
        snapshot: Arc<Snapshot>,
        body: UnsyncBoxBody<Bytes, BodyError>,
        up: Up,
        (requests, replies): (Upload, Download),
        down: Down,
        record: Record,
    ) -> Self {
        let (body, requests) = (Some(body), Some(requests));
        Self { framing, snapshot, body, requests, replies, up, down, held: None, stage: Stage::Reply, record }
    }

    /// The reply, once its head is known.
    pub(super) fn respond(self: Box<Self>, head: HeaderMap, request: &HeaderMap) -> Response<ReplyBody> {
        let framing = self.framing;
        let mut response = Response::new(ReplyBody::Pass(self));
        let headers = response.headers_mut();
        *headers = framing.reply_head(head);
        headers.insert(header::CONTENT_TYPE, framing.reply_type(request));
        if framing.ends_within() {
            mark_as_stream(headers);
        }
        response
    }

    /// Ends without a reply: whoever refuses the call records it.
    pub(super) fn give_up(mut self: Box<Self>) -> Record {
        self.record.take()
    }

    /// Nothing follows any more.
    pub(in crate::gateway) fn is_ended(&self) -> bool {
        matches!(self.stage, Stage::Ended)
    }

    /// Puts an event back.
    pub(super) fn hold(&mut self, event: ReplyEvent) {
        self.held = Some(event);
    }

    /// The next piece of the reply: what is ready together, joined.
    pub(in crate::gateway) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match self.stage {
            Stage::Reply => {}
            Stage::Breaking => {
                // The server drops what it has not flushed when a body fails: it flushes when there is nothing to do.
                self.stage = Stage::Broken;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Stage::Broken => {
                self.stage = Stage::Ended;
                return Poll::Ready(Some(Err(Broken)));
            }
            Stage::Ended => return Poll::Ready(None),
        }
        let data = loop {
            match ready!(self.poll_event(cx)) {
                ReplyEvent::Head(_) => {}
                ReplyEvent::Data(data) => break data,
                ReplyEvent::End(outcome) => match self.end(outcome) {
                    Some(Ending::Trailers(trailers)) => return Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
                    Some(Ending::Envelope(envelope)) => break envelope,
                    None => return self.poll_frame(cx),
                },
            }
        };
        let joined = self.join(cx, data);
        Poll::Ready(Some(Ok(Frame::data(self.down.encode(joined)))))
    }

    fn join(&mut self, cx: &mut Context<'_>, first: Bytes) -> Bytes {
        let mut joined = BytesMut::new();
        while first.len().max(joined.len()) < COALESCE_BYTES && matches!(self.stage, Stage::Reply) {
            let data = match self.poll_event(cx) {
                Poll::Ready(ReplyEvent::Data(data)) => data,
                Poll::Ready(ReplyEvent::End(outcome)) if self.framing.ends_within() => match self.end(outcome) {
                    Some(Ending::Envelope(envelope)) => envelope,
                    Some(Ending::Trailers(_)) | None => break,
                },
                Poll::Ready(event) => {
                    self.held = Some(event);
                    break;
                }
                Poll::Pending => break,
            };
            if joined.is_empty() {
                joined.reserve(COALESCE_BYTES);
                joined.extend_from_slice(&first);
            }
            joined.extend_from_slice(&data);
        }
        if joined.is_empty() { first } else { joined.freeze() }
    }

    /// What ends the reply; none where it has to be broken off, because the client could not tell its end from a message.
    fn end(&mut self, outcome: Result<HeaderMap, Status>) -> Option<Ending> {
        (self.body, self.requests) = (None, None);
        self.record.passed(self.up.passed(), self.down.passed());
        self.record.finish(outcome.as_ref().map(|_| ()));
        if self.framing.ends_within() && self.down.is_torn() {
            self.stage = Stage::Breaking;
            return None;
        }
        self.stage = Stage::Ended;
        Some(self.framing.end(outcome, &self.snapshot.codec))
    }

    /// Moves requests up, then takes what the upstream says.
    pub(super) fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<ReplyEvent> {
        if let Some(event) = self.held.take() {
            return Poll::Ready(event);
        }
        if let Err(status) = self.poll_up(cx) {
            return Poll::Ready(ReplyEvent::End(Err(status)));
        }
        loop {
            let event = ready!(self.replies.poll_event(cx));
            return Poll::Ready(match event {
                ReplyEvent::Head(mut head) => {
                    self.down.head(&mut head);
                    ReplyEvent::Head(head)
                }
                ReplyEvent::Data(data) => match self.follow(data) {
                    Some(event) => event,
                    None => continue,
                },
                ReplyEvent::End(Ok(trailers)) => ReplyEvent::End(self.down.end().map(|()| trailers)),
                end => end,
            });
        }
    }

    /// Follows a piece of the reply; none where nothing is to be passed on yet.
    fn follow(&mut self, data: Bytes) -> Option<ReplyEvent> {
        let (data, error) = self.down.push(data);
        let end = error.map(|status| ReplyEvent::End(Err(status)));
        if data.is_empty() {
            return end;
        }
        self.held = end;
        Some(ReplyEvent::Data(data))
    }

    fn poll_up(&mut self, cx: &mut Context<'_>) -> Result<(), Status> {
        let (Some(body), Some(requests)) = (&mut self.body, &mut self.requests) else { return Ok(()) };
        loop {
            match requests.poll_ready(cx) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Err(Closed)) => break,
                Poll::Ready(Ok(())) => {}
            }
            let batch = self.up.take(&mut self.record)?;
            // An empty DATA frame counts against the whole connection (see `upstream`).
            if !batch.is_empty() {
                if body.is_end_stream() && self.up.end().is_ok() {
                    requests.send_last(batch);
                    break;
                }
                requests.send(batch);
                continue;
            }
            match Pin::new(&mut *body).poll_frame(cx) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        self.up.push(data)?;
                    }
                }
                Poll::Ready(Some(Err(cause))) => return Err(broken_body(cause)),
                Poll::Ready(None) => {
                    self.up.end()?;
                    requests.finish();
                    break;
                }
            }
        }
        (self.body, self.requests) = (None, None);
        Ok(())
    }
}
