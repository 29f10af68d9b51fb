//! One of many calls on a socket: its messages up, its replies down, as far as credits and room let them.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http::HeaderMap;

use super::{bells::Bell, downlink::Downlink};
use crate::{
    call::{Closed, Replies, ReplyEvent, Requests, Transport},
    codec::{Bound, OutputError},
    config::OutputSettings,
    dialect::mux::{Form, Ledger, write_credit, write_head, write_message},
    gateway::{
        destination::{Download, Upload},
        record::Record,
        request::{Call, Opened},
        sealing::Sealing,
        snapshot::{Route, Snapshot},
    },
    limits::COALESCE_BYTES,
    status::{Code, Reason, Status},
    upstream::bad_message,
    wire::{Messages, open_envelope},
};

/// Bytes that one call writes before the next has its turn.
const SHARE_BYTES: usize = 4 << 10;

type Opening = Pin<Box<dyn Future<Output = Result<(Upload, Download), Status>> + Send>>;

/// A call, from its open to its status.
pub(super) struct Ride {
    id: u32,
    form: Form,
    pub(super) snapshot: Arc<Snapshot>,
    route: u32,
    client_streaming: bool,
    output: OutputSettings,
    bound: Bound,
    sealing: Sealing,
    pub(super) record: Record,
    opening: Option<Opening>,
    requests: Option<Upload>,
    replies: Option<Download>,
    /// Envelopes that wait for the upstream; bounded by the call's credit and one message more.
    batch: Vec<u8>,
    half_closed: bool,
    messages: Messages,
    /// Whole messages may have arrived that are not written yet.
    holds_more: bool,
    /// The next reply; it may wait for credit, where the end of the call does not.
    held: Option<Bytes>,
    pub(super) bell: Arc<Bell>,
    waker: Waker,
}

/// How far a ride came.
pub(super) enum Progress {
    /// It waits: for its upstream, or for credit.
    Waits,
    /// It could go on, but others have their turn.
    Goes,
    Ended(Result<HeaderMap, Status>),
}

impl Ride {
    /// Begins a call that may go on.
    ///
    /// # Errors
    /// An upstream that is not there.
    pub(super) fn begin(
        id: u32,
        form: Form,
        call: &Call<'_>,
        opened: Opened<'_>,
        record: &mut Record,
        bell: Arc<Bell>,
    ) -> Result<Self, Status> {
        let bound = opened.bind(call)?;
        let destination = call.destination(&opened)?;
        let Opened { route, upstream, head, .. } = opened;
        Ok(Self {
            id,
            form,
            snapshot: call.snapshot.clone(),
            route: route.index,
            client_streaming: route.client_streaming,
            output: OutputSettings { pretty: false, ..route.policy.settings.output },
            bound,
            sealing: Sealing::new(call.snapshot, upstream),
            record: record.take(),
            opening: Some(Box::pin(async move { destination.open(head).await })),
            requests: None,
            replies: None,
            batch: Vec::new(),
            half_closed: false,
            messages: Messages::new(call.snapshot.limits.reply_message_bytes_max),
            holds_more: false,
            held: None,
            waker: bell.clone().into(),
            bell,
        })
    }

    /// Takes a request.
    ///
    /// # Errors
    /// What ends the call.
    pub(super) fn request(&mut self, payload: &Bytes) -> Result<(), Status> {
        if self.half_closed {
            return Err(Status::client(Code::InvalidArgument, "this method takes one message")
                .with_reason(Reason::InvalidMessage));
        }
        let snapshot = self.snapshot.clone();
        let binding = &snapshot.route_of(self.route)?.binding;
        let start = open_envelope(&mut self.batch);
        match self.form {
            Form::Json => {
                let written = self.bound.message(&snapshot.codec, binding, Some(payload), &mut self.batch);
                self.record.left_out(&self.bound.take_left_out());
                written.map_err(crate::codec::InputError::into_status)?;
            }
            // As it came: the upstream judges it.
            Form::Proto => self.batch.extend_from_slice(payload),
        }
        self.sealing.close(&mut self.batch, start)?;
        self.record.request_message(payload.len());
        self.half_closed = !self.client_streaming;
        Ok(())
    }

    pub(super) fn half_close(&mut self) {
        self.half_closed = true;
    }

    /// Moves what can be moved.
    pub(super) fn poll(&mut self, line: &mut impl Downlink, ledger: &mut Ledger) -> Progress {
        self.bell.still();
        let waker = self.waker.clone();
        let cx = &mut Context::from_waker(&waker);
        if let Some(opening) = &mut self.opening {
            match opening.as_mut().poll(cx) {
                Poll::Pending => return Progress::Waits,
                Poll::Ready(Err(status)) => return Progress::Ended(Err(status)),
                Poll::Ready(Ok((requests, replies))) => {
                    self.opening = None;
                    (self.requests, self.replies) = (Some(requests), Some(replies));
                }
            }
        }
        self.poll_requests(cx, line, ledger);
        self.poll_replies(cx, line, ledger).unwrap_or_else(|status| Progress::Ended(Err(status)))
    }

    /// Sends up what has arrived, all of it in one piece.
    fn poll_requests(&mut self, cx: &mut Context<'_>, line: &mut impl Downlink, ledger: &mut Ledger) {
        let Some(requests) = &mut self.requests else { return };
        if self.batch.is_empty() && !self.half_closed {
            return;
        }
        match requests.poll_ready(cx) {
            Poll::Pending => return,
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(Closed)) => {
                // The reason comes as the replies' end.
                self.batch = Vec::new();
                self.requests = None;
                return;
            }
        }
        let batch = std::mem::take(&mut self.batch);
        match (batch.is_empty(), self.half_closed) {
            (true, _) => requests.finish(),
            (false, true) => requests.send_last(batch.into()),
            (false, false) => requests.send(batch.into()),
        }
        if self.half_closed {
            self.requests = None;
        }
        if let Some(credit) = ledger.passed_on(self.id) {
            line.tell(self.form, |out| write_credit(self.form, self.id, credit, out));
        }
    }

    fn poll_replies(
        &mut self,
        cx: &mut Context<'_>,
        line: &mut impl Downlink,
        ledger: &mut Ledger,
    ) -> Result<Progress, Status> {
        let snapshot = self.snapshot.clone();
        let route = snapshot.route_of(self.route)?;
        let start = line.waiting();
        loop {
            let waiting = line.waiting();
            if waiting >= COALESCE_BYTES || waiting - start >= SHARE_BYTES || line.turn().is_over() {
                return Ok(Progress::Goes);
            }
            if self.held.is_some() && !ledger.may_reply(self.id) {
                return Ok(Progress::Waits);
            }
            if let Some(message) = self.held.take() {
                self.reply(&snapshot, route, &message, line, ledger)?;
                continue;
            }
            if self.holds_more {
                self.held = self.messages.next_message().map_err(bad_message)?;
                self.holds_more = self.held.is_some();
                continue;
            }
            let Some(replies) = &mut self.replies else { return Ok(Progress::Waits) };
            match replies.poll_event(cx) {
                Poll::Pending => return Ok(Progress::Waits),
                Poll::Ready(ReplyEvent::Head(metadata)) => {
                    self.messages.on_head(&metadata);
                    line.tell(self.form, |out| write_head(self.form, self.id, &metadata, out));
                }
                Poll::Ready(ReplyEvent::Data(data)) => {
                    self.messages.push(data);
                    self.holds_more = true;
                }
                Poll::Ready(ReplyEvent::End(Ok(trailers))) => {
                    self.messages.end().map_err(bad_message)?;
                    return Ok(Progress::Ended(Ok(trailers)));
                }
                Poll::Ready(ReplyEvent::End(Err(status))) => return Ok(Progress::Ended(Err(status))),
            }
        }
    }

    fn reply(
        &mut self,
        snapshot: &Snapshot,
        route: &Route,
        message: &Bytes,
        line: &mut impl Downlink,
        ledger: &mut Ledger,
    ) -> Result<(), Status> {
        let (form, id, output) = (self.form, self.id, self.output);
        let write = |out: &mut Vec<u8>| match form {
            Form::Json => route.binding.write_reply(&snapshot.codec, message, output, out),
            Form::Proto => {
                out.extend_from_slice(message);
                Ok(())
            }
        };
        let written = line.frame(form, |out| write_message(form, id, out, write));
        let bytes = written.map_err(OutputError::into_status)?;
        line.turn().spend(message.len());
        ledger.replied(id, bytes);
        self.record.reply_message(message.len());
        Ok(())
    }
}
