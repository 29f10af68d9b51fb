//! A request's body as it comes from the connection, of either protocol.

use std::{
    error::Error,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, header};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

/// A request's body. Whoever reads it slowly slows the client; dropping it lets the client stop.
#[derive(Debug)]
pub struct RequestBody(Kind);

#[derive(Debug)]
enum Kind {
    Http1(Incoming),
    Http2(Stream),
}

/// The DATA frames and the trailers of one stream (RFC 9113 §8.1).
#[derive(Debug)]
struct Stream {
    frames: h2::RecvStream,
    /// Bytes that `content-length` still promises; h2 holds the client to it.
    left: Option<u64>,
    data_ended: bool,
}

impl RequestBody {
    pub(super) fn http1(body: Incoming) -> Self {
        Self(Kind::Http1(body))
    }

    pub(super) fn http2(head: &HeaderMap, frames: h2::RecvStream) -> Self {
        let length = head.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        let left = if frames.is_end_stream() { Some(0) } else { length };
        Self(Kind::Http2(Stream { frames, left, data_ended: false }))
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Box<dyn Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Box<dyn Error + Send + Sync>>>> {
        match &mut self.0 {
            Kind::Http1(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
            Kind::Http2(stream) => stream.poll_frame(cx).map_err(Into::into),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Http1(body) => body.is_end_stream(),
            Kind::Http2(stream) => stream.frames.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Http1(body) => body.size_hint(),
            Kind::Http2(stream) => stream.left.map_or_else(SizeHint::default, SizeHint::with_exact),
        }
    }
}

impl Stream {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        if !self.data_ended {
            if let Some(data) = ready!(self.frames.poll_data(cx)) {
                let data = data?;
                // Fails only for a stream that is over, whose window h2 gives back by itself.
                let _ = self.frames.flow_control().release_capacity(data.len());
                self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            self.data_ended = true;
        }
        self.frames.poll_trailers(cx).map(|trailers| trailers.transpose().map(|trailers| trailers.map(Frame::trailers)))
    }
}
