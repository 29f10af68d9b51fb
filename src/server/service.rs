//! A connection's view of the service: every request bears its peer, and counts until its response has ended.

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::{Method, Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::{body::Incoming, service::Service};
use pin_project_lite::pin_project;

use super::control::{Busy, Control};
use crate::edge::Peer;

/// The worker's service, for one connection.
pub(super) struct PerConnection<S> {
    pub(super) service: S,
    pub(super) peer: Arc<Peer>,
    pub(super) control: Arc<Control>,
}

impl<S, B> Service<Request<Incoming>> for PerConnection<S>
where
    S: Service<Request<Incoming>, Response = Response<B>, Error = Infallible>,
{
    type Response = Response<Counted<B>>;
    type Error = Infallible;
    type Future = Answer<S::Future>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let busy = self.control.begin_request();
        if request.method() == Method::CONNECT {
            self.control.keep_as_tunnel();
        }
        request.extensions_mut().insert(self.peer.clone());
        Answer { inner: self.service.call(request), busy: Some(busy) }
    }
}

pin_project! {
    /// The answer to one request.
    pub(super) struct Answer<F> {
        #[pin]
        inner: F,
        busy: Option<Busy>,
    }
}

impl<F, B> Future for Answer<F>
where
    F: Future<Output = Result<Response<B>, Infallible>>,
{
    type Output = Result<Response<Counted<B>>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Ok(response) = ready!(this.inner.poll(cx));
        let busy = this.busy.take();
        Poll::Ready(Ok(response.map(|inner| Counted { inner, _busy: busy })))
    }
}

pin_project! {
    /// A response's body; while it lives, its connection is in use.
    pub(super) struct Counted<B> {
        #[pin]
        inner: B,
        _busy: Option<Busy>,
    }
}

impl<B: Body> Body for Counted<B> {
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
