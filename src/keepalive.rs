//! PINGs on an HTTP/2 connection of either side (RFC 9113 §6.7): whether the peer is there at all. Knows nothing of calls.

use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use h2::{Ping, PingPong};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

/// When to ask.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// Silence after which a PING is sent.
    pub interval: Duration,
    /// How long the peer may take to answer it.
    pub timeout: Duration,
}

/// Sends PINGs while it is asked to watch and nothing is heard.
#[derive(Debug)]
pub struct Keepalive {
    pings: PingPong,
    pace: Pace,
    heard: Arc<AtomicBool>,
    phase: Phase,
    timer: Pin<Box<Sleep>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    Watching,
    AwaitingPong,
}

impl Keepalive {
    /// `heard` is set whenever bytes arrive, as [`Heard`] does.
    pub fn new(pings: PingPong, pace: Pace, heard: Arc<AtomicBool>) -> Self {
        Self { pings, pace, heard, phase: Phase::Idle, timer: Box::pin(sleep_until(Instant::now())) }
    }

    /// Ready when the peer is given up. Where it need not be watched, it is not asked: whoever wants that again polls.
    pub fn poll_silence(&mut self, cx: &mut Context<'_>, watch: bool) -> Poll<io::Error> {
        loop {
            match self.phase {
                Phase::Idle if !watch => return Poll::Pending,
                Phase::Idle => {
                    self.heard.store(false, Ordering::Relaxed);
                    self.wait(Phase::Watching, self.pace.interval);
                }
                Phase::Watching => {
                    ready!(self.timer.as_mut().poll(cx));
                    if !watch {
                        self.phase = Phase::Idle;
                    } else if self.heard.swap(false, Ordering::Relaxed) {
                        self.wait(Phase::Watching, self.pace.interval);
                    } else if self.pings.send_ping(Ping::opaque()).is_ok() {
                        self.wait(Phase::AwaitingPong, self.pace.timeout);
                    } else {
                        self.phase = Phase::Idle;
                        return Poll::Pending;
                    }
                }
                Phase::AwaitingPong => {
                    if self.pings.poll_pong(cx).is_ready() {
                        self.wait(Phase::Watching, self.pace.interval);
                        continue;
                    }
                    ready!(self.timer.as_mut().poll(cx));
                    if self.heard.swap(false, Ordering::Relaxed) {
                        // It speaks, if not of the PING.
                        self.wait(Phase::AwaitingPong, self.pace.timeout);
                    } else {
                        return Poll::Ready(io::Error::new(io::ErrorKind::TimedOut, "keepalive PING not answered"));
                    }
                }
            }
        }
    }

    fn wait(&mut self, phase: Phase, time: Duration) {
        self.phase = phase;
        self.timer.as_mut().reset(Instant::now() + time);
    }
}

/// A socket that notes when bytes arrive.
#[derive(Debug)]
pub struct Heard<T> {
    socket: T,
    heard: Arc<AtomicBool>,
}

impl<T> Heard<T> {
    /// The socket, and what is set whenever bytes arrive.
    pub fn new(socket: T) -> (Self, Arc<AtomicBool>) {
        let heard = Arc::new(AtomicBool::new(false));
        (Self { socket, heard: heard.clone() }, heard)
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Heard<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.socket).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.heard.store(true, Ordering::Relaxed);
        }
        polled
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Heard<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
