//! A connection's view of what answers: every request bears its peer, and counts until its response has ended.

use std::{
    convert::Infallible,
    error::Error,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::{body::Incoming, service::Service};
use pin_project_lite::pin_project;

use super::RequestBody;
use crate::{drain::Busy, edge::Peer, listener::Stalled};

/// The body of an answer. Dropped before its end, it was not taken whole.
pub trait Outgoing: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + 'static {
    /// It is about to be dropped because the client has taken nothing for `limits.write_stall_timeout`.
    fn stalled(self: Pin<&mut Self>);
}

/// Answers requests; each worker has one of its own. Failures are answers too.
pub trait Handler: Clone + Send + 'static {
    type Body: Outgoing;
    type Answer: Future<Output = Response<Self::Body>> + Send + 'static;

    /// Dropping the answer, or its body, cancels what it stands for.
    fn answer(&self, peer: &Arc<Peer>, request: Request<RequestBody>) -> Self::Answer;
}

impl<F, A, B> Handler for F
where
    F: Fn(&Arc<Peer>, Request<RequestBody>) -> A + Clone + Send + 'static,
    A: Future<Output = Response<B>> + Send + 'static,
    B: Outgoing,
{
    type Body = B;
    type Answer = A;

    fn answer(&self, peer: &Arc<Peer>, request: Request<RequestBody>) -> A {
        self(peer, request)
    }
}

/// The worker's handler, for one connection.
pub(super) struct PerConnection<H> {
    pub(super) handler: H,
    pub(super) peer: Arc<Peer>,
    pub(super) stalled: Stalled,
}

impl<H: Handler> PerConnection<H> {
    pub(super) fn answer(&self, request: Request<RequestBody>) -> Answer<H::Answer> {
        let busy = self.peer.connection.begin_request();
        Answer { inner: self.handler.answer(&self.peer, request), busy: Some(busy), stalled: self.stalled.clone() }
    }
}

/// As HTTP/1.1 is served.
impl<H: Handler> Service<Request<Incoming>> for PerConnection<H> {
    type Response = Response<Counted<H::Body>>;
    type Error = Infallible;
    type Future = Infallibly<Answer<H::Answer>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        Infallibly { inner: self.answer(request.map(RequestBody::http1)) }
    }
}

pin_project! {
    /// The answer to one request.
    pub(super) struct Answer<F> {
        #[pin]
        inner: F,
        busy: Option<Busy>,
        stalled: Stalled,
    }
}

impl<F, B> Future for Answer<F>
where
    F: Future<Output = Response<B>>,
    B: Outgoing,
{
    type Output = Response<Counted<B>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.inner.poll(cx));
        let busy = this.busy.take();
        let stalled = this.stalled.clone();
        Poll::Ready(response.map(|inner| Counted { inner, stalled, _busy: busy }))
    }
}

pin_project! {
    /// What cannot fail, to somebody who asks whether it did.
    pub(super) struct Infallibly<F> {
        #[pin]
        inner: F,
    }
}

impl<F: Future> Future for Infallibly<F> {
    type Output = Result<F::Output, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().inner.poll(cx).map(Ok)
    }
}

pin_project! {
    /// A response's body; while it lives, its connection is in use.
    pub(super) struct Counted<B: Outgoing> {
        #[pin]
        inner: B,
        stalled: Stalled,
        _busy: Option<Busy>,
    }

    impl<B: Outgoing> PinnedDrop for Counted<B> {
        fn drop(this: Pin<&mut Self>) {
            if this.stalled.is_set() {
                this.stalled();
            }
        }
    }
}

impl<B: Outgoing> Counted<B> {
    /// The client has taken nothing for too long.
    pub(super) fn stalled(self: Pin<&mut Self>) {
        self.project().inner.stalled();
    }
}

impl<B: Outgoing> Body for Counted<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.project().inner.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
