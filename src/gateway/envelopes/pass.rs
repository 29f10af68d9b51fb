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
        destination::{Download, Upload},
        record::Record,
        reply::{Broken, ReplyBody},
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
    /// None after the end: what the upstream still says is of no use to anybody, however slowly the end is read.
    replies: Option<Download>,
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
        let (body, requests, replies) = (Some(body), Some(requests), Some(replies));
        Self { framing, snapshot, body, requests, replies, up, down, held: None, stage: Stage::Reply, record }
    }

    /// The reply, once its head is known.
    pub(super) fn respond(self: Box<Self>, head: HeaderMap, request: &HeaderMap) -> Response<ReplyBody> {
        let mut headers = self.framing.reply_head(head);
        headers.insert(header::CONTENT_TYPE, self.framing.reply_type(request));
        self.record.warn(&mut headers);
        let mut response = Response::new(ReplyBody::Pass(self));
        *response.headers_mut() = headers;
        response
    }

    /// Ends without a reply: whoever refuses the call records it.
    pub(super) fn give_up(mut self: Box<Self>) -> Record {
        self.count();
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
        (self.body, self.requests, self.replies) = (None, None, None);
        self.count();
        self.record.finish(outcome.as_ref().map(|_| ()));
        if self.framing.ends_within() && self.down.is_torn() {
            self.stage = Stage::Breaking;
            return None;
        }
        self.stage = Stage::Ended;
        Some(self.framing.end(outcome, &self.snapshot.codec))
    }

    /// The client has taken nothing for too long.
    pub(in crate::gateway) fn stalled(&mut self) {
        self.count();
        self.record.stalled();
    }

    /// Tells the record what has passed.
    fn count(&mut self) {
        self.record.passed(self.up.passed(), self.down.passed());
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
            let data = match &mut self.replies {
                _ if self.down.holds_more() => Bytes::new(),
                None => return Poll::Pending,
                Some(replies) => match ready!(replies.poll_event(cx)) {
                    ReplyEvent::Data(data) => data,
                    ReplyEvent::Head(mut head) => {
                        self.down.head(&mut head);
                        return Poll::Ready(ReplyEvent::Head(head));
                    }
                    ReplyEvent::End(Ok(trailers)) => {
                        return Poll::Ready(ReplyEvent::End(self.down.end().map(|()| trailers)));
                    }
                    end => return Poll::Ready(end),
                },
            };
            if let Some(event) = self.follow(data) {
                return Poll::Ready(event);
            }
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

impl Drop for Pass {
    fn drop(&mut self) {
        // Where nobody was left to take the reply.
        self.count();
    }
}
