//! A request body that is answered before it was read. Over HTTP/1.1, closing a connection on which the client is still
//! sending resets it, and the client never sees the answer (RFC 9112 §9.6): so the rest is read and thrown away, within
//! bounds. HTTP/2 says it with a reset of the one stream (RFC 9113 §8.1), which must not cost the client the answer, but
//! does cost curl: there the reset waits until the client has had time to stop by itself.

use std::{
    future::pending,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::Version;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::{runtime::Handle, time::timeout};

/// Most bytes that are thrown away, and the longest time that is spent on it.
const HTTP1: (u64, Duration) = (32 << 20, Duration::from_secs(5));
/// Beyond the bytes the client waits for window: enough for one that reads its answer between two frames.
const HTTP2: (u64, Duration) = (1 << 20, Duration::from_secs(1));

/// Reads the rest of a body where nobody else does.
pub(super) struct Lingering<B: Body<Data = Bytes> + Send + Unpin + 'static> {
    body: Option<B>,
    version: Version,
}

impl<B: Body<Data = Bytes> + Send + Unpin + 'static> Lingering<B> {
    pub(super) fn new(version: Version, body: B) -> Self {
        Self { body: Some(body), version }
    }
}

impl<B: Body<Data = Bytes> + Send + Unpin + 'static> Body for Lingering<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let polled = Pin::new(body).poll_frame(cx);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.body = None;
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::default, Body::size_hint)
    }
}

impl<B: Body<Data = Bytes> + Send + Unpin + 'static> Drop for Lingering<B> {
    fn drop(&mut self) {
        if let Some(mut body) = self.body.take().filter(|body| !body.is_end_stream())
            && let Ok(runtime) = Handle::try_current()
        {
            let is_h2 = self.version >= Version::HTTP_2;
            let (bytes_max, time_max) = if is_h2 { HTTP2 } else { HTTP1 };
            runtime.spawn(timeout(time_max, async move {
                // The reset comes with the end of `body`; an HTTP/1.1 connection is closed then.
                if !discard(&mut body, bytes_max).await && is_h2 {
                    pending::<()>().await;
                }
            }));
        }
    }
}

/// False where there is more than `left`.
async fn discard<B: Body<Data = Bytes> + Unpin>(body: &mut B, mut left: u64) -> bool {
    while let Some(Ok(frame)) = body.frame().await {
        let len = frame.data_ref().map_or(0, Bytes::len) as u64;
        if len > left {
            return false;
        }
        left -= len;
    }
    true
}

#[cfg(test)]
mod tests {
    use http_body_util::StreamBody;
    use tokio::{sync::oneshot, time::Instant};
    use tokio_stream::StreamExt;

    use super::*;

    /// How long a body that never ends is held after nobody reads it any more, and how much of it is read.
    async fn lingers(version: Version) -> (Duration, u64) {
        let (dropped, gone) = oneshot::channel::<()>();
        let (read, mut count) = tokio::sync::watch::channel(0);
        let pieces =
            tokio_stream::iter(std::iter::repeat_n(Bytes::from_static(&[0; 1024]), 1 << 20)).map(move |piece| {
                let _ = &dropped;
                read.send_modify(|read| *read += piece.len() as u64);
                Ok::<_, std::convert::Infallible>(Frame::data(piece))
            });
        let begun = Instant::now();
        drop(Lingering::new(version, StreamBody::new(pieces)));
        assert!(gone.await.is_err(), "dropped with its body");
        (begun.elapsed(), *count.borrow_and_update())
    }

    #[tokio::test(start_paused = true)]
    async fn an_unread_body_is_thrown_away_within_bounds() {
        let (held, read) = lingers(Version::HTTP_11).await;
        assert!(held < Duration::from_millis(100) && read == HTTP1.0 + 1024, "{held:?} {read}");
        let (held, read) = lingers(Version::HTTP_2).await;
        assert!(held >= HTTP2.1 && held < 2 * HTTP2.1 && read == HTTP2.0 + 1024, "{held:?} {read}");
    }
}
