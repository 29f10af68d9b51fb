//! Ends a stream when the token that it was opened with expires: whoever checked it did so once, at the beginning.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::SystemTime,
};

use http::{HeaderMap, header};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::{
    edge,
    status::{Code, Reason, Status},
};

/// Never, for most.
pub(super) struct Expiry(Option<Pin<Box<Sleep>>>);

impl Expiry {
    pub(super) fn never() -> Self {
        Self(None)
    }

    /// Of the token among a call's metadata.
    pub(super) fn of(metadata: &HeaderMap) -> Self {
        let Some(at) = metadata.get(header::AUTHORIZATION).and_then(edge::expiry) else { return Self(None) };
        let left = at.duration_since(SystemTime::now()).unwrap_or_default();
        // Too far away for the clock is never.
        Self(Instant::now().checked_add(left).map(|at| Box::pin(sleep_until(at))))
    }

    /// The status that the stream ends with, once it is time.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Status> {
        match &mut self.0 {
            None => Poll::Pending,
            Some(sleep) => sleep.as_mut().poll(cx).map(|()| {
                Status::client(Code::Unauthenticated, "the token that the stream was opened with has expired")
                    .with_reason(Reason::TokenExpired)
            }),
        }
    }
}
