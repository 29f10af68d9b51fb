//! Where a call goes: to an upstream stream of its own, which may be read on without it, or to one that it shares with
//! others. Whoever opens it does not know which.

use std::task::{Context, Poll, ready};

use bytes::Bytes;

use super::{
    expiry::Expiry,
    mirror::{self, Direct},
};
use crate::{
    call::{CallHead, Closed, Replies, ReplyEvent, Requests, Transport, UnaryReply},
    share::{self, Alone, Event, ReadingOn, Sharing},
    status::Status,
};

/// Where one call goes.
#[derive(Clone)]
pub(super) struct Destination {
    pub(super) direct: Direct,
    /// None: a call of its own. Made of the head that the call is opened with.
    pub(super) shared: Option<Shared>,
    /// How a call of its own is read on; none: at the pace of whoever reads it.
    pub(super) reading_on: Option<ReadingOn>,
    /// Whether a stream ends when its token expires.
    pub(super) expires: bool,
}

/// How a call's head becomes a shared stream's.
pub(super) type Shared = std::sync::Arc<dyn Fn(CallHead, Direct) -> Sharing<Direct> + Send + Sync>;

/// The way up.
pub(super) enum Upload {
    Direct(mirror::Upload),
    Shared(share::Upload),
}

/// The way down, for as long as the caller may have it.
pub(super) struct Download {
    pub(super) way: Way,
    pub(super) expiry: Expiry,
}

pub(super) enum Way {
    Direct(mirror::Download),
    Alone(Alone),
    Shared(share::Download<Direct>),
}

impl Transport for Destination {
    type Requests = Upload;
    type Replies = Download;

    async fn unary(&self, head: CallHead, envelope: Bytes, reply_bytes_max: usize) -> Result<UnaryReply, Status> {
        self.direct.unary(head, envelope, reply_bytes_max).await
    }

    async fn open(&self, head: CallHead) -> Result<(Upload, Download), Status> {
        let expiry = if self.expires { Expiry::of(&head.metadata) } else { Expiry::Never };
        if let Some(shared) = &self.shared {
            let (requests, replies) = share::open(shared(head, self.direct.clone()));
            return Ok((Upload::Shared(requests), Download { way: Way::Shared(replies), expiry }));
        }
        let (requests, replies) = self.direct.open(head).await?;
        let way = match &self.reading_on {
            Some(how) => Way::Alone(share::read_on(replies, how.clone())),
            None => Way::Direct(replies),
        };
        Ok((Upload::Direct(requests), Download { way, expiry }))
    }
}

impl Requests for Upload {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        match self {
            Self::Direct(call) => call.poll_ready(cx),
            Self::Shared(call) => call.poll_ready(cx),
        }
    }

    fn send(&mut self, envelopes: Bytes) {
        match self {
            Self::Direct(call) => call.send(envelopes),
            Self::Shared(call) => call.send(envelopes),
        }
    }

    fn finish(&mut self) {
        match self {
            Self::Direct(call) => call.finish(),
            Self::Shared(call) => call.finish(),
        }
    }

    fn send_last(&mut self, envelopes: Bytes) {
        match self {
            Self::Direct(call) => call.send_last(envelopes),
            Self::Shared(call) => call.send_last(envelopes),
        }
    }
}

impl Replies for Download {
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<ReplyEvent> {
        if let Poll::Ready(status) = self.expiry.poll(cx) {
            return Poll::Ready(ReplyEvent::End(Err(status)));
        }
        loop {
            let event = match &mut self.way {
                Way::Direct(call) => return call.poll_event(cx),
                Way::Alone(call) => ready!(call.poll_event(cx)),
                Way::Shared(call) => ready!(call.poll_event(cx)),
            };
            return Poll::Ready(match event {
                Event::Head(head) => ReplyEvent::Head(head),
                Event::Message(entry) => ReplyEvent::Data(entry.envelope()),
                Event::End(end) => ReplyEvent::End(end),
                // Nobody who reads it so says where it was, or can tell.
                Event::Gap(_) | Event::Skipped(_) => continue,
            });
        }
    }
}
