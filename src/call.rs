//! The waist of the hourglass: a call, seen from above (a dialect) and from below (an upstream).
//!
//! Requests and replies are streams of gRPC envelopes (a five-byte prefix and a message in protobuf) as bytes; whoever
//! needs single messages cuts them out with [`crate::wire::Deframer`]. Knows neither clients' protocols nor connections.

use std::{
    future::Future,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, uri::PathAndQuery};
use tokio::time::Instant;

use crate::{status::Status, wire::Coded};

/// What is known of a call before its first message.
#[derive(Clone, Debug)]
pub struct CallHead {
    /// `/pkg.Service/Method`.
    pub path: PathAndQuery,
    /// `application/grpc`, or what a pass-through client sent.
    pub content_type: HeaderValue,
    /// Goes to the upstream as it stands: reserved and hop-by-hop names are already gone.
    pub metadata: HeaderMap,
    /// When the call must have ended; told to the upstream as `grpc-timeout`, and enforced here.
    pub deadline: Option<Instant>,
}

/// What an upstream answers, in this order: at most one `Head`, any number of `Data`, exactly one `End`.
#[derive(Debug)]
pub enum ReplyEvent {
    /// Initial metadata.
    Head(HeaderMap),
    /// A piece of the stream of envelopes, never empty, cut anywhere.
    Data(Bytes),
    /// The trailers of a call that ended well, or the failure. The last event.
    End(Result<HeaderMap, Status>),
}

/// A whole reply of a unary call.
#[derive(Debug)]
pub struct UnaryReply {
    /// Initial metadata.
    pub head: HeaderMap,
    /// The message, without its envelope.
    pub message: Bytes,
    /// The same in the coding that it came in.
    pub coded: Option<Coded>,
    pub trailers: HeaderMap,
}

/// Carries calls to where they are answered. Dropping what it returns cancels the call.
pub trait Transport {
    type Requests: Requests;
    type Replies: Replies;

    /// One message (an envelope of its own) there, one back of at most `reply_bytes_max`. Allocates no channel and starts no task.
    ///
    /// # Errors
    /// The upstream's failure with its trailers; UNAVAILABLE where none could be reached; RESOURCE_EXHAUSTED for too
    /// large a reply; DEADLINE_EXCEEDED; UNIMPLEMENTED (as gRPC has it) for a reply of no message or several.
    fn unary(
        &self,
        head: CallHead,
        envelope: Bytes,
        reply_bytes_max: usize,
    ) -> impl Future<Output = Result<UnaryReply, Status>> + Send;

    /// Opens a call whose messages stream.
    ///
    /// # Errors
    /// UNAVAILABLE where no upstream could be reached, DEADLINE_EXCEEDED where the deadline passed while trying.
    fn open(&self, head: CallHead) -> impl Future<Output = Result<(Self::Requests, Self::Replies), Status>> + Send;
}

/// The way up: a caller's messages. Dropped before [`Requests::finish`], it resets the request stream.
pub trait Requests: Send + Unpin + 'static {
    /// Ready when [`Requests::send`] may be called: at most what was sent last is still waiting for the upstream's
    /// window. `Err` when the upstream wants no more; the reason comes as the replies' end.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Closed>>;

    /// Hands over bytes of envelopes, not empty; only after `poll_ready` said yes.
    fn send(&mut self, envelopes: Bytes);

    /// Half-closes, after what was sent.
    fn finish(&mut self);

    /// [`Requests::send`] of what is last, and [`Requests::finish`], in one frame where there can be one.
    fn send_last(&mut self, envelopes: Bytes);
}

/// The way down: an upstream's answers.
pub trait Replies: Send + Unpin + 'static {
    /// The next event. The upstream's window opens by what was taken, so nobody who stops asking is flooded.
    /// Must not be asked again after [`ReplyEvent::End`].
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<ReplyEvent>;
}

/// The upstream takes no more of the request stream.
#[derive(Debug, PartialEq, Eq)]
pub struct Closed;
