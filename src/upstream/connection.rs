//! One HTTP/2 connection: its streams' count, its keepalive, its end. Knows nothing of other connections.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use h2::{
    SendStream,
    client::{Connection, ResponseFuture, SendRequest},
};
use tokio::sync::Notify;

use super::{
    cluster::Endpoint,
    connect::{Dialed, Wire},
    pool::Shared,
    request::Outgoing,
};
use crate::{
    keepalive::{Heard, Keepalive, Pace},
    status::{Code, Reason, Status},
};

/// Calls that wait for a connection or a stream, in the order of their coming.
#[derive(Default)]
pub(super) struct Line {
    pub(super) waiting: AtomicUsize,
    pub(super) freed: Notify,
}

/// A connection as the pool sees it.
pub(super) struct Link {
    /// Index of the endpoint in its cluster.
    pub(super) endpoint: usize,
    /// None once no call may begin here. While it is there, h2 keeps an idle connection open. It sends nothing itself, so
    /// that asking it for errors touches no stream's waker: each call is sent by a clone.
    sender: Mutex<Option<SendRequest<Bytes>>>,
    /// Invariant: changed upward only under the pool's lock.
    in_flight: AtomicUsize,
    /// What the peer allows (RFC 9113 §5.1.2).
    streams_max: AtomicUsize,
    line: Arc<Line>,
}

/// A call that has its stream.
pub(super) struct Begun {
    pub(super) response: ResponseFuture,
    pub(super) stream: SendStream<Bytes>,
    pub(super) lease: Lease,
}

/// One stream of a connection; given back when dropped.
pub(super) struct Lease(Arc<Link>);

pub(super) enum BeginError {
    /// The connection takes no more calls; nothing was sent.
    Retired,
    /// The call cannot be sent over any connection.
    Unsendable(Status),
}

impl Link {
    pub(super) fn new(
        endpoint: usize,
        dialed: Dialed,
        line: Arc<Line>,
        pool: Weak<Shared>,
        pace: Pace,
    ) -> (Arc<Self>, Driver) {
        let Dialed { sender, mut connection, heard } = dialed;
        let streams_max = connection.max_concurrent_send_streams();
        let link = Arc::new(Self {
            endpoint,
            sender: Mutex::new(Some(sender)),
            in_flight: AtomicUsize::new(0),
            streams_max: AtomicUsize::new(streams_max),
            line,
        });
        let keepalive = connection.ping_pong().map(|pings| Keepalive::new(pings, pace, heard));
        let driver = Driver { connection, link: Arc::clone(&link), keepalive, streams_max, pool };
        (link, driver)
    }

    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Acquire)
    }

    pub(super) fn has_room(&self) -> bool {
        self.in_flight() < self.streams_max.load(Ordering::Acquire)
    }

    /// Opens a stream for a call: its HEADERS are sent, not yet its end. A call that may be sent once is taken only where
    /// there is one.
    pub(super) fn begin(self: &Arc<Self>, call: &mut Outgoing, endpoint: &Endpoint) -> Result<Begun, BeginError> {
        let mut sender = lock(&self.sender);
        let ready = sender.as_mut().map(|sender| sender.poll_ready(&mut Context::from_waker(Waker::noop())));
        let Some((sender, Poll::Ready(Ok(())))) = sender.as_ref().zip(ready) else {
            *sender = None;
            return Err(BeginError::Retired);
        };
        let request = call.request(endpoint).map_err(|error| BeginError::Unsendable(unsendable(error)))?;
        let sent = sender.clone().send_request(request, false);
        let (response, stream) = sent.map_err(|error| BeginError::Unsendable(unsendable(error)))?;
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        Ok(Begun { response, stream, lease: Lease(Arc::clone(self)) })
    }

    /// Takes no more calls; those in flight go on, and the connection closes after the last.
    pub(super) fn retire(&self) {
        lock(&self.sender).take();
    }

    /// Why no more calls may begin here, where that is so.
    fn retirement(&self) -> Option<h2::Error> {
        let mut context = Context::from_waker(Waker::noop());
        match lock(&self.sender).as_mut()?.poll_ready(&mut context) {
            Poll::Ready(Err(error)) => Some(error),
            Poll::Ready(Ok(())) | Poll::Pending => None,
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::AcqRel);
        if self.0.line.waiting.load(Ordering::Acquire) > 0 {
            self.0.line.freed.notify_one();
        }
    }
}

/// Never poisoned to any harm: no invariant is broken half-way under these locks.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn unsendable(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Status {
    Status::gateway(Code::Internal, "the call's metadata cannot be sent over HTTP/2")
        .with_reason(Reason::Internal)
        .with_cause(cause)
}

/// Moves a connection's bytes until it ends; the one task of a connection.
pub(super) struct Driver {
    connection: Connection<Heard<Wire>, Bytes>,
    link: Arc<Link>,
    keepalive: Option<Keepalive>,
    streams_max: usize,
    pool: Weak<Shared>,
}

impl Future for Driver {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let Poll::Ready(outcome) = Pin::new(&mut this.connection).poll(cx) {
            return Poll::Ready(outcome.map_err(io::Error::other));
        }
        this.watch_limit();
        this.watch_retirement();
        // None without a call: servers count such PINGs as abuse. The next call wakes this task.
        let watch = this.link.in_flight() > 0;
        match this.keepalive.as_mut().map(|keepalive| keepalive.poll_silence(cx, watch)) {
            Some(Poll::Ready(error)) => Poll::Ready(Err(error)),
            Some(Poll::Pending) | None => Poll::Pending,
        }
    }
}

impl Driver {
    fn watch_limit(&mut self) {
        let streams_max = self.connection.max_concurrent_send_streams();
        if streams_max != self.streams_max {
            self.streams_max = streams_max;
            self.link.streams_max.store(streams_max, Ordering::Release);
            self.link.line.freed.notify_waiters();
        }
    }

    /// After a GOAWAY (RFC 9113 §6.8), or when the stream identifiers are spent, new calls go elsewhere at once.
    fn watch_retirement(&mut self) {
        let Some(error) = self.link.retirement() else { return };
        self.link.retire();
        if let Some(pool) = self.pool.upgrade() {
            if error.is_go_away() && error.is_remote() && error.reason() == Some(h2::Reason::ENHANCE_YOUR_CALM) {
                pool.complained(&self.link, &error);
            }
            pool.lost(&self.link);
        }
    }
}
