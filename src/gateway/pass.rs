//! gRPC through to gRPC: bytes of envelopes pass uncut both ways, counted and held to the limits.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderValue, Response, header};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};
use tokio::time::Instant;

use super::{
    BodyError, RequestBody,
    record::Record,
    reply::{Broken, ReplyBody},
    request::{Call, Opened, broken_body},
};
use crate::{
    call::{Closed, Replies, ReplyEvent, Requests, Transport},
    dialect::grpc,
    limits::COALESCE_BYTES,
    status::{Code, Reason, Status},
    upstream::{Download, Upload},
    wire::{Counter, EnvelopeError},
};

/// Opens the call and answers as soon as the upstream's head is there.
pub(super) async fn serve<B: RequestBody>(
    call: &Call<'_>,
    opened: Opened<'_>,
    record: &mut Record,
    body: B,
) -> Result<Response<ReplyBody>, Status> {
    let limits = &call.snapshot.limits;
    let mut body = body.map_err(Into::into).boxed_unsync();
    let mut up = Counter::new(limits.request_message_bytes_max);
    let messages_max = if opened.route.client_streaming { u64::MAX } else { 1 };
    // What is not to be sent on is refused before the upstream hears of it.
    let first = match opened.route.client_streaming {
        true => None,
        false => first_piece(call, opened.head.deadline, &mut body, &mut up, messages_max).await?,
    };
    let (requests, replies) = call.pool(opened.route)?.open(opened.head).await?;
    let mut pass = Box::new(Pass {
        body: Some(body),
        up_bytes: first.as_ref().map_or(0, |first| first.len() as u64),
        first,
        requests: Some(requests),
        replies,
        up,
        messages_max,
        down: Counter::new(limits.reply_message_bytes_max),
        down_bytes: 0,
        held: None,
        ended: false,
        record: record.take(),
    });
    let head = match poll_fn(|cx| pass.poll_event(cx)).await {
        ReplyEvent::Head(head) => head,
        // Without a head: trailers alone.
        ReplyEvent::End(Err(status)) => {
            *record = pass.record.take();
            return Err(status);
        }
        event => {
            pass.held = Some(event);
            HeaderMap::new()
        }
    };
    let mut response = Response::new(ReplyBody::Pass(pass));
    *response.headers_mut() = head;
    let content_type = call.head.headers.get(header::CONTENT_TYPE).cloned();
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, content_type.unwrap_or(HeaderValue::from_static("application/grpc")));
    Ok(response)
}

/// The first bytes of a call's only message.
async fn first_piece(
    call: &Call<'_>,
    deadline: Option<Instant>,
    body: &mut UnsyncBoxBody<Bytes, BodyError>,
    up: &mut Counter,
    messages_max: u64,
) -> Result<Option<Bytes>, Status> {
    while let Some(frame) = call.next_frame(body, deadline).await? {
        let Ok(data) = frame.into_data() else { continue };
        if !data.is_empty() {
            count(up, &data, messages_max)?;
            return Ok(Some(data));
        }
    }
    Ok(None)
}

/// A gRPC call while it passes.
pub struct Pass {
    body: Option<UnsyncBoxBody<Bytes, BodyError>>,
    /// Taken off the body already.
    first: Option<Bytes>,
    messages_max: u64,
    requests: Option<Upload>,
    replies: Download,
    up: Counter,
    up_bytes: u64,
    down: Counter,
    down_bytes: u64,
    /// What ended a run of joined pieces.
    held: Option<ReplyEvent>,
    ended: bool,
    record: Record,
}

impl Pass {
    /// The next piece of the reply: what is ready together, joined.
    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        let data = loop {
            match ready!(self.poll_event(cx)) {
                ReplyEvent::Head(_) => {}
                ReplyEvent::Data(data) => break data,
                ReplyEvent::End(outcome) => return Poll::Ready(Some(Ok(Frame::trailers(self.end(outcome))))),
            }
        };
        Poll::Ready(Some(Ok(Frame::data(self.join(cx, data)))))
    }

    fn join(&mut self, cx: &mut Context<'_>, first: Bytes) -> Bytes {
        let mut joined = BytesMut::new();
        while first.len().max(joined.len()) < COALESCE_BYTES {
            match self.poll_event(cx) {
                Poll::Ready(ReplyEvent::Data(data)) => {
                    if joined.is_empty() {
                        joined.reserve(COALESCE_BYTES);
                        joined.extend_from_slice(&first);
                    }
                    joined.extend_from_slice(&data);
                }
                Poll::Ready(event) => {
                    self.held = Some(event);
                    break;
                }
                Poll::Pending => break,
            }
        }
        if joined.is_empty() { first } else { joined.freeze() }
    }

    fn end(&mut self, outcome: Result<HeaderMap, Status>) -> HeaderMap {
        self.ended = true;
        (self.body, self.requests) = (None, None);
        self.record.passed((self.up.messages(), self.up_bytes), (self.down.messages(), self.down_bytes));
        self.record.finish(outcome.as_ref().map(|_| ()));
        match outcome {
            Ok(trailers) => grpc::trailers(Ok(()), trailers),
            Err(status) => grpc::trailers(Err(&status), status.trailers().clone()),
        }
    }

    /// Moves requests up, then takes what the upstream says.
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<ReplyEvent> {
        if let Some(event) = self.held.take() {
            return Poll::Ready(event);
        }
        if let Err(status) = self.poll_up(cx) {
            return Poll::Ready(ReplyEvent::End(Err(status)));
        }
        let event = ready!(self.replies.poll_event(cx));
        Poll::Ready(match event {
            ReplyEvent::End(Ok(_)) if !self.down.is_between() => {
                ReplyEvent::End(Err(unsound(EnvelopeError::Truncated, Side::Upstream)))
            }
            ReplyEvent::Data(data) => self.follow(data),
            event => event,
        })
    }

    /// Follows a piece of the reply; what stands before a message that is too large still passes.
    fn follow(&mut self, mut data: Bytes) -> ReplyEvent {
        let Err((sound, error)) = self.down.push(&data) else {
            self.down_bytes += data.len() as u64;
            return ReplyEvent::Data(data);
        };
        let end = ReplyEvent::End(Err(unsound(error, Side::Upstream)));
        data.truncate(sound);
        if data.is_empty() {
            return end;
        }
        self.held = Some(end);
        ReplyEvent::Data(data)
    }

    fn poll_up(&mut self, cx: &mut Context<'_>) -> Result<(), Status> {
        let (Some(body), Some(requests)) = (&mut self.body, &mut self.requests) else { return Ok(()) };
        loop {
            match requests.poll_ready(cx) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Err(Closed)) => break,
                Poll::Ready(Ok(())) => {}
            }
            if let Some(first) = self.first.take() {
                requests.send(first);
                continue;
            }
            match Pin::new(&mut *body).poll_frame(cx) {
                Poll::Pending => return Ok(()),
                Poll::Ready(Some(Ok(frame))) => {
                    let Ok(data) = frame.into_data() else { continue };
                    if data.is_empty() {
                        // An empty DATA frame counts against the whole connection (see `upstream`).
                        continue;
                    }
                    self.up_bytes += data.len() as u64;
                    count(&mut self.up, &data, self.messages_max)?;
                    requests.send(data);
                }
                Poll::Ready(Some(Err(cause))) => return Err(broken_body(cause)),
                Poll::Ready(None) if !self.up.is_between() => {
                    return Err(unsound(EnvelopeError::Truncated, Side::Client));
                }
                Poll::Ready(None) => {
                    requests.finish();
                    break;
                }
            }
        }
        (self.body, self.requests) = (None, None);
        Ok(())
    }
}

/// Follows the request stream.
fn count(up: &mut Counter, data: &[u8], messages_max: u64) -> Result<(), Status> {
    up.push(data).map_err(|(_, error)| unsound(error, Side::Client))?;
    if up.messages() > messages_max {
        // The code that gRPC has for it (statuscodes.md, "Request cardinality violation").
        return Err(
            Status::client(Code::Unimplemented, "this method takes one message").with_reason(Reason::InvalidMessage)
        );
    }
    Ok(())
}

#[derive(Clone, Copy)]
enum Side {
    Client,
    Upstream,
}

fn unsound(error: EnvelopeError, side: Side) -> Status {
    let code = match error {
        EnvelopeError::TooLarge { .. } => Code::ResourceExhausted,
        EnvelopeError::Flags(_) | EnvelopeError::Truncated => Code::Internal,
    };
    let is_large = code == Code::ResourceExhausted;
    match side {
        Side::Client if is_large => Status::client(code, error.to_string()).with_reason(Reason::MessageTooLarge),
        Side::Client => Status::client(code, error.to_string()).with_reason(Reason::InvalidMessage),
        Side::Upstream if is_large => {
            Status::upstream(code, error.to_string()).with_reason(Reason::UpstreamMessageTooLarge)
        }
        Side::Upstream => Status::upstream(code, error.to_string()).with_reason(Reason::UpstreamProtocol),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_message_is_not_told_as_a_large_one() {
        let large = EnvelopeError::TooLarge { len: 2, max: 1 };
        for (error, side, code, reason) in [
            (large, Side::Client, Code::ResourceExhausted, Reason::MessageTooLarge),
            (large, Side::Upstream, Code::ResourceExhausted, Reason::UpstreamMessageTooLarge),
            (EnvelopeError::Truncated, Side::Client, Code::Internal, Reason::InvalidMessage),
            (EnvelopeError::Truncated, Side::Upstream, Code::Internal, Reason::UpstreamProtocol),
        ] {
            let status = unsound(error, side);
            assert_eq!((status.code(), status.reason()), (code, Some(reason)));
        }
    }
}
