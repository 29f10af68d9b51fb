//! Ends a stream when the token that it was opened with expires: whoever checked it did so once, at the beginning. Who makes many
//! calls is asked for a newer one in time.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::{Duration, SystemTime},
};

use http::{HeaderMap, header};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::{
    edge,
    status::{Code, Reason, Status},
};

/// When a stream's token expires.
pub(super) enum Expiry {
    Never,
    /// No timer is as prompt as an upstream can be.
    Passed,
    At(Pin<Box<Sleep>>),
}

impl Expiry {
    /// Of the token among a call's metadata.
    pub(super) fn of(metadata: &HeaderMap) -> Self {
        match expiry(metadata) {
            None => Self::Never,
            Some(at) if at <= Instant::now() => Self::Passed,
            Some(at) => Self::At(Box::pin(sleep_until(at))),
        }
    }

    /// The status that the stream ends with, once it is time.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Status> {
        match self {
            Self::Never => return Poll::Pending,
            Self::Passed => {}
            Self::At(sleep) => ready!(sleep.as_mut().poll(cx)),
        }
        Poll::Ready(
            Status::client(Code::Unauthenticated, "the token that the stream was opened with has expired")
                .with_reason(Reason::TokenExpired),
        )
    }
}

/// How long before a token expires its bearer is asked for another one; half of what is left, where that is less.
const AHEAD: Duration = Duration::from_secs(30);

/// When to ask for a newer token: once for each.
pub(super) struct Renewal(Option<Due>);

struct Due {
    asking: Pin<Box<Sleep>>,
    expires: Instant,
}

impl Renewal {
    /// Of the token among the headers.
    pub(super) fn of(headers: &HeaderMap) -> Self {
        Self(expiry(headers).map(|expires| {
            let left = expires.saturating_duration_since(Instant::now());
            Due { asking: Box::pin(sleep_until(expires - AHEAD.min(left / 2))), expires }
        }))
    }

    /// How long the token is good yet, once it is time to say so.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Duration> {
        let Some(due) = &mut self.0 else { return Poll::Pending };
        ready!(due.asking.as_mut().poll(cx));
        let left = due.expires.saturating_duration_since(Instant::now());
        self.0 = None;
        Poll::Ready(left)
    }
}

/// When the token among them expires; now, where it has. None: never, as far as the clock goes.
fn expiry(headers: &HeaderMap) -> Option<Instant> {
    let at = edge::expiry(headers.get(header::AUTHORIZATION)?)?;
    Instant::now().checked_add(at.duration_since(SystemTime::now()).unwrap_or_default())
}
