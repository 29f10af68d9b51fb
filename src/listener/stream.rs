//! The bytes of one connection, plain or TLS behind one type. Knows nothing of what they mean.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Buf, Bytes};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;

use super::Stall;

/// A connection. One type for both kinds, so that the HTTP code above is compiled once.
///
/// A write fails where the peer has taken nothing for too long. `T` is whatever has to live exactly as long as the
/// connection, wherever an upgrade carries it.
pub struct Stream<T> {
    /// Read already, and still to be given to the reader.
    unread: Bytes,
    socket: Socket,
    stall: Stall,
    stalled: Stalled,
    _ticket: T,
}

/// Tells whether a connection failed because its peer took nothing. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Stalled(Arc<AtomicBool>);

impl Stalled {
    pub fn is_set(&self) -> bool {
        self.0.load(Relaxed)
    }

    pub fn set(&self) {
        self.0.store(true, Relaxed);
    }
}

pub(super) enum Socket {
    Plain(TcpStream),
    /// Boxed: a kilobyte that plain connections do not carry.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Socket {
    fn poll_read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        }
    }
}

impl<T> Stream<T> {
    pub(super) fn new(socket: Socket, ticket: T, write_stall_timeout: Duration) -> Self {
        let (stall, stalled) = (Stall::new(write_stall_timeout), Stalled::default());
        Self { unread: Bytes::new(), socket, stall, stalled, _ticket: ticket }
    }

    pub fn stalled(&self) -> Stalled {
        self.stalled.clone()
    }

    /// Watches what became of a write.
    fn watch<R>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        if written.is_ready() {
            self.stall.moved();
        } else if self.stall.poll(cx).is_ready() {
            self.stalled.set();
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        written
    }

    /// Puts bytes back in front of what is still to be read.
    pub fn unread(&mut self, bytes: Bytes) {
        debug_assert!(self.unread.is_empty(), "bytes are put back once");
        self.unread = bytes;
    }
}

impl<T: Unpin> AsyncRead for Stream<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if !this.unread.is_empty() {
            let count = this.unread.len().min(buf.remaining());
            buf.put_slice(&this.unread[..count]);
            this.unread.advance(count);
            // With what came behind it, so that nobody makes room for a second read. Whatever else is there shows then.
            if buf.remaining() > 0 {
                let _ = this.socket.poll_read(cx, buf);
            }
            return Poll::Ready(Ok(()));
        }
        this.socket.poll_read(cx, buf)
    }
}

impl<T: Unpin> AsyncWrite for Stream<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = match &mut this.socket {
            Socket::Plain(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Socket::Tls(tls) => Pin::new(tls).poll_write(cx, bytes),
        };
        this.watch(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = match &mut this.socket {
            Socket::Plain(tcp) => Pin::new(tcp).poll_write_vectored(cx, slices),
            Socket::Tls(tls) => Pin::new(tls).poll_write_vectored(cx, slices),
        };
        this.watch(cx, written)
    }

    /// Both kinds join slices: TCP in one system call, TLS in one record.
    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = match &mut this.socket {
            // Nothing waits there: what it says is no sign of the peer.
            Socket::Plain(tcp) => return Pin::new(tcp).poll_flush(cx),
            Socket::Tls(tls) => Pin::new(tls).poll_flush(cx),
        };
        this.watch(cx, flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().socket {
            Socket::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Socket::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}
