//! The two halves of a streaming call. Each can end it: the upstream is told at once.

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker, ready},
};

use bytes::Bytes;
use h2::{Reason as Reset, SendStream};
use tokio::time::{Instant, Sleep, sleep_until};

use super::{
    connection::{Begun, Lease, lock},
    failure,
    reply::Reply,
    unary::timely,
};
use crate::call::{Closed, Replies, ReplyEvent, Requests};

/// The way up.
pub struct Upload {
    shared: Arc<Half>,
    begun: bool,
}

/// The way down.
pub struct Download {
    /// None after the end.
    reply: Option<Reply>,
    shared: Arc<Half>,
    expiry: Option<Expiry>,
}

/// What both halves hold: the stream can be reset from either, and its place on the connection is free after both.
struct Half {
    stream: Mutex<SendStream<Bytes>>,
    /// The request stream has its end.
    finished: AtomicBool,
    _lease: Lease,
}

impl Half {
    fn send(&self, envelopes: Bytes, is_last: bool) {
        // Fails only for a stream that is over, which `poll_ready` tells.
        let _ = lock(&self.stream).send_data(envelopes, is_last);
        if is_last {
            self.finished.store(true, Ordering::Relaxed);
        }
    }

    fn is_finished(&self) -> bool {
        self.finished.load(Ordering::Relaxed)
    }

    /// RST_STREAM, unless both directions are closed already.
    fn cancel(&self) {
        lock(&self.stream).send_reset(Reset::CANCEL);
    }
}

pub(super) fn halves(begun: Begun, deadline: Option<Instant>) -> (Upload, Download) {
    let Begun { response, stream, lease } = begun;
    let shared = Arc::new(Half { stream: Mutex::new(stream), finished: AtomicBool::new(false), _lease: lease });
    let upload = Upload { shared: Arc::clone(&shared), begun: false };
    (upload, Download { reply: Some(Reply::new(response)), shared, expiry: deadline.map(Expiry::new) })
}

impl Requests for Upload {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        let mut stream = lock(&self.shared.stream);
        if !self.begun {
            // Nothing waits yet. h2 gives window only once the HEADERS are on their way, with which this can go.
            let polled = stream.poll_capacity(&mut Context::from_waker(Waker::noop()));
            return Poll::Ready(if matches!(polled, Poll::Ready(None | Some(Err(_)))) { Err(Closed) } else { Ok(()) });
        }
        loop {
            // Room beyond all that was sent: none of it still waits for the window.
            if stream.capacity() > 0 {
                return Poll::Ready(Ok(()));
            }
            stream.reserve_capacity(1);
            if stream.capacity() > 0 {
                return Poll::Ready(Ok(()));
            }
            match ready!(stream.poll_capacity(cx)) {
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return Poll::Ready(Err(Closed)),
            }
        }
    }

    fn send(&mut self, envelopes: Bytes) {
        debug_assert!(!envelopes.is_empty(), "an empty DATA frame is charged against the connection");
        if !envelopes.is_empty() {
            self.begun = true;
            self.shared.send(envelopes, false);
        }
    }

    fn finish(&mut self) {
        if !self.shared.is_finished() {
            self.shared.send(Bytes::new(), true);
        }
    }

    fn send_last(&mut self, envelopes: Bytes) {
        self.shared.send(envelopes, true);
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if !self.shared.is_finished() {
            self.shared.cancel();
        }
    }
}

impl Replies for Download {
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<ReplyEvent> {
        if let Some(Poll::Ready(())) = self.expiry.as_mut().map(|expiry| expiry.poll_flooded(cx)) {
            return Poll::Ready(self.end(ReplyEvent::End(Err(failure::deadline_exceeded()))));
        }
        let polled = match &mut self.reply {
            Some(reply) => reply.poll_event(cx),
            None => Poll::Pending,
        };
        match polled {
            Poll::Ready(ReplyEvent::End(Err(status))) => {
                let deadline = self.expiry.as_ref().map(|expiry| expiry.at);
                Poll::Ready(self.end(ReplyEvent::End(Err(timely(status, deadline)))))
            }
            Poll::Ready(end @ ReplyEvent::End(Ok(_))) => Poll::Ready(self.end(end)),
            Poll::Ready(event) => Poll::Ready(event),
            Poll::Pending => match self.expiry.as_mut().map(|expiry| expiry.sleep.as_mut().poll(cx)) {
                Some(Poll::Ready(())) => Poll::Ready(self.end(ReplyEvent::End(Err(failure::deadline_exceeded())))),
                Some(Poll::Pending) | None => Poll::Pending,
            },
        }
    }
}

impl Download {
    /// Lets go of the stream: what the upstream still sends or takes is of no use to anybody.
    fn end(&mut self, event: ReplyEvent) -> ReplyEvent {
        self.reply = None;
        self.expiry = None;
        if !matches!(event, ReplyEvent::End(Ok(_))) || !self.shared.is_finished() {
            self.shared.cancel();
        }
        event
    }
}

impl Drop for Download {
    fn drop(&mut self) {
        if self.reply.is_some() {
            self.shared.cancel();
        }
    }
}

struct Expiry {
    at: Instant,
    sleep: Pin<Box<Sleep>>,
    armed: bool,
}

impl Expiry {
    fn new(at: Instant) -> Self {
        Self { at, sleep: Box::pin(sleep_until(at)), armed: false }
    }

    /// The deadline holds even where there is always another reply to hand out; once armed, it costs one load.
    fn poll_flooded(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.armed {
            self.armed = true;
            return self.sleep.as_mut().poll(cx);
        }
        if self.sleep.is_elapsed() { Poll::Ready(()) } else { Poll::Pending }
    }
}
