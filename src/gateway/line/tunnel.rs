//! A WebSocket within a stream of HTTP/2 (RFC 8441 §5): the request's body is what the client says, and the answer's body
//! what it is told. Knows nothing of frames.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::mpsc,
};
use tokio_util::sync::PollSender;

use crate::{gateway::RequestBody, limits::COALESCE_BYTES};

/// Both ways as one connection.
pub(in crate::gateway) struct Tunnel<B> {
    body: B,
    /// What was read and not yet taken.
    rest: Bytes,
    answer: PollSender<Bytes>,
    stalled: Arc<AtomicBool>,
}

/// What the client is told, in pieces.
pub struct Pieces {
    pieces: mpsc::Receiver<Bytes>,
    stalled: Arc<AtomicBool>,
}

impl Pieces {
    /// The next piece; none after the end.
    pub(in crate::gateway) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        self.pieces.poll_recv(cx)
    }

    /// The client has taken nothing for too long.
    pub(in crate::gateway) fn stalled(&mut self) {
        self.stalled.store(true, Relaxed);
        self.pieces.close();
    }
}

impl<B: RequestBody> Tunnel<B> {
    /// The connection, and what the answer's body is made of; it ends where the connection is dropped.
    pub(super) fn new(body: B) -> (Self, Pieces) {
        // One piece on its way: what waits beyond it waits in the socket, which is bounded.
        let (answer, pieces) = mpsc::channel(1);
        let stalled = Arc::<AtomicBool>::default();
        let tunnel = Self { body, rest: Bytes::new(), answer: PollSender::new(answer), stalled: stalled.clone() };
        (tunnel, Pieces { pieces, stalled })
    }
}

impl<B: RequestBody> AsyncRead for Tunnel<B> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        while self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => self.rest = frame.into_data().unwrap_or_default(),
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
                None => return Poll::Ready(Ok(())),
            }
        }
        let length = self.rest.len().min(buffer.remaining());
        buffer.put_slice(&self.rest[..length]);
        self.rest.advance(length);
        Poll::Ready(Ok(()))
    }
}

impl<B: RequestBody> AsyncWrite for Tunnel<B> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let stalled = self.stalled.clone();
        let gone = |_| {
            let kind = if stalled.load(Relaxed) { io::ErrorKind::TimedOut } else { io::ErrorKind::BrokenPipe };
            io::Error::from(kind)
        };
        ready!(self.answer.poll_reserve(cx)).map_err(gone)?;
        let length = bytes.len().min(COALESCE_BYTES);
        self.answer.send_item(Bytes::copy_from_slice(&bytes[..length])).map_err(gone)?;
        Poll::Ready(Ok(length))
    }

    /// A piece is on its way as soon as it is written.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.answer.close();
        Poll::Ready(Ok(()))
    }
}
