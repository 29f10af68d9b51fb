//! A unary call: one DATA frame out, one message in, sent again where the peer never saw it. Starts no task.

use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::HeaderMap;
use tokio::time::{Instant, Sleep, sleep_until};

use super::{
    connection::Begun,
    failure::{self, bad_message},
    pool::Shared,
    reply::Reply,
    request::Outgoing,
};
use crate::{
    call::{CallHead, ReplyEvent, UnaryReply},
    status::{Code, Status},
    wire::{Message, Messages},
};

/// How often a call that the peer never processed is sent again.
const RETRIES_MAX: u32 = 3;

pub(super) async fn call(
    pool: &Shared,
    head: CallHead,
    envelope: Bytes,
    reply_bytes_max: usize,
) -> Result<UnaryReply, Status> {
    let mut call = Outgoing::new(head, true);
    let mut expiry = pin!(call.deadline.map(sleep_until));
    let mut retries = 0;
    loop {
        let Begun { response, mut stream, lease: _lease } = pool.begin(&mut call).await?;
        let mut reply = Reply::new(response);
        // Refused only where the stream was reset meanwhile: the reply tells why.
        let _ = stream.send_data(envelope.clone(), true);
        drop(stream);
        match collect(&mut reply, expiry.as_mut(), call.deadline, reply_bytes_max).await {
            Err(_) if reply.is_unprocessed() && retries < RETRIES_MAX => retries += 1,
            outcome => return outcome,
        }
    }
}

async fn collect(
    reply: &mut Reply,
    mut expiry: Pin<&mut Option<Sleep>>,
    deadline: Option<Instant>,
    reply_bytes_max: usize,
) -> Result<UnaryReply, Status> {
    let mut collected = Collected { head: HeaderMap::new(), message: None, messages: Messages::new(reply_bytes_max) };
    loop {
        match poll_fn(|cx| poll_timely(reply, expiry.as_mut(), cx)).await {
            ReplyEvent::Head(head) => {
                collected.messages.on_head(&head);
                collected.head = head;
            }
            ReplyEvent::Data(piece) => collected.push(piece)?,
            ReplyEvent::End(Ok(trailers)) => return collected.end(trailers),
            ReplyEvent::End(Err(status)) => return Err(timely(status, deadline).with_lead(collected.head)),
        }
    }
}

/// The next event, or the deadline's.
fn poll_timely(reply: &mut Reply, expiry: Pin<&mut Option<Sleep>>, cx: &mut Context<'_>) -> Poll<ReplyEvent> {
    if let Poll::Ready(event) = reply.poll_event(cx) {
        return Poll::Ready(event);
    }
    match expiry.as_pin_mut().map(|sleep| sleep.poll(cx)) {
        Some(Poll::Ready(())) => Poll::Ready(ReplyEvent::End(Err(failure::deadline_exceeded()))),
        Some(Poll::Pending) | None => Poll::Pending,
    }
}

/// A server that was told the deadline may reset the stream a moment before the gateway's own clock fires.
pub(super) fn timely(status: Status, deadline: Option<Instant>) -> Status {
    if status.code() == Code::Cancelled && deadline.is_some_and(|deadline| deadline <= Instant::now()) {
        failure::deadline_exceeded()
    } else {
        status
    }
}

struct Collected {
    head: HeaderMap,
    message: Option<Message>,
    messages: Messages,
}

impl Collected {
    fn push(&mut self, piece: Bytes) -> Result<(), Status> {
        self.messages.push(piece);
        while let Some(message) = self.messages.next_as_it_came().map_err(bad_message)? {
            if self.message.replace(message).is_some() {
                let text = "the upstream answered a unary call with more than one message";
                return Err(failure::protocol(Code::Unimplemented, text));
            }
        }
        Ok(())
    }

    fn end(self, trailers: HeaderMap) -> Result<UnaryReply, Status> {
        self.messages.end().map_err(bad_message)?;
        let Some(Message { plain, coded }) = self.message else {
            return Err(failure::protocol(Code::Unimplemented, "the upstream answered a unary call with no message"));
        };
        Ok(UnaryReply { head: self.head, message: plain, coded, trailers })
    }
}
