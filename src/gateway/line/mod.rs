//! A WebSocket's connection: bytes ↔ what the client says, and what is left for it to be written. One task moves all of it,
//! with whatever rides on it; knows nothing of that.

mod tunnel;

use std::{
    future::{Future, poll_fn},
    io,
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use http::Response;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

pub(super) use self::tunnel::Pieces;
use self::tunnel::Tunnel;
use super::{RequestBody, reply::ReplyBody, request::Call, turn::Turn};
use crate::{
    dialect::websocket::{Close, Handshake, Incoming, Liveness, Session, Timing, Writer},
    limits::COALESCE_BYTES,
    status::{Code, Reason, Status},
};

/// Bytes read from the socket at once.
const READ_BYTES: usize = 16 << 10;

/// What uses a line.
pub(super) trait Rider: Send + 'static {
    fn line(&mut self) -> &mut Line;

    /// Moves what can be moved to and from the upstreams; whether anything was.
    fn poll_move(&mut self, cx: &mut Context<'_>) -> bool;

    /// Whether there is room for what the client says next.
    fn has_room(&self) -> bool;

    /// Takes what the client says. A close is to be answered, once and for all; after a fault nothing is.
    fn take(&mut self, incoming: Incoming);

    /// The client is given up.
    fn lose(&mut self, status: &Status);

    /// The client has taken nothing for too long.
    fn stalled(&mut self);
}

/// A client's end of a WebSocket.
pub(super) struct Line {
    session: Session,
    pub(super) writer: Writer,
    /// Frames that wait for the client, and how much of them is written; whoever writes stops at a frame's worth and one
    /// message more.
    pub(super) out: Vec<u8>,
    written: usize,
    unflushed: bool,
    pub(super) turn: Turn,
    /// Something was read in this turn.
    has_read: bool,
    timer: Pin<Box<Sleep>>,
    /// Longest wait for a client that does not take the last bytes.
    patience: Duration,
    /// By then they must be with it.
    flush_due: Option<Instant>,
}

impl Line {
    pub(super) fn new(call: &Call<'_>, handshake: &Handshake) -> Self {
        let (limits, compression) = (&call.snapshot.limits, &call.snapshot.compression);
        let now = Instant::now();
        let timing = Timing { ping: limits.ws_ping, pong_timeout: limits.ws_pong_timeout };
        Self {
            session: Session::new(limits.request_message_bytes_max, handshake.compression(), timing, now),
            writer: Writer::new(handshake.compression(), compression.levels.gzip, compression.bytes_min),
            out: Vec::new(),
            written: 0,
            unflushed: false,
            turn: Turn::new(),
            has_read: false,
            timer: Box::pin(sleep_until(now + limits.ws_ping)),
            patience: limits.ws_pong_timeout,
            flush_due: None,
        }
    }

    /// Begins the close handshake, or answers the client's.
    pub(super) fn begin_close(&mut self, close: Option<&Close>) {
        self.session.close(close, Instant::now(), &mut self.out);
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, io: &mut (impl AsyncWrite + Unpin)) -> io::Result<bool> {
        let mut moved = false;
        while self.written < self.out.len() {
            match Pin::new(&mut *io).poll_write(cx, &self.out[self.written..]) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(wrote)) => {
                    self.written += wrote;
                    (moved, self.unflushed) = (true, true);
                }
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => break,
            }
        }
        if self.written == self.out.len() && self.unflushed && Pin::new(&mut *io).poll_flush(cx)?.is_ready() {
            // There is room again: the upstream has to be asked anew.
            moved = true;
            self.unflushed = false;
            self.written = 0;
            self.out.clear();
            // An idle socket holds no buffer.
            self.out.shrink_to(0);
        }
        Ok(moved)
    }

    /// What the client says next, read on for where need be.
    fn poll_incoming(&mut self, cx: &mut Context<'_>, io: &mut (impl AsyncRead + Unpin)) -> Poll<io::Result<Incoming>> {
        loop {
            if self.out.len() >= 2 * COALESCE_BYTES {
                self.postpone();
                return Poll::Pending;
            }
            if self.turn.rests(cx) {
                return Poll::Pending;
            }
            if let Some(incoming) = self.session.next_incoming(&mut self.out) {
                self.has_read = true;
                return Poll::Ready(Ok(incoming));
            }
            if self.session.is_closed() {
                return Poll::Pending;
            }
            let mut space = [MaybeUninit::uninit(); READ_BYTES];
            let mut buffer = ReadBuf::uninit(&mut space);
            match Pin::new(&mut *io).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if buffer.filled().is_empty() => {
                    return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                }
                Poll::Ready(Ok(())) => self.session.push(buffer.filled(), Instant::now()),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
            self.has_read = true;
        }
    }

    /// The client's sign of life cannot be seen while nothing is read.
    fn postpone(&mut self) {
        self.session.postpone(Instant::now());
    }

    fn poll_time(&mut self, cx: &mut Context<'_>) -> Liveness {
        loop {
            let Some(deadline) = self.session.deadline() else { return Liveness::Alive };
            if self.timer.deadline() != deadline {
                self.timer.as_mut().reset(deadline);
            }
            if self.timer.as_mut().poll(cx).is_pending() {
                return Liveness::Alive;
            }
            if self.written < self.out.len() {
                // Still getting bytes out to a slow reader, whose pong comes behind them.
                self.postpone();
            }
            if let Liveness::Lost = self.session.on_time(Instant::now(), &mut self.out) {
                return Liveness::Lost;
            }
            if !self.out.is_empty() {
                cx.waker().wake_by_ref();
            }
        }
    }

    /// Nothing is read any more: a client that does not take what is left for it holds the socket only so long.
    fn poll_last_words(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let due = *self.flush_due.get_or_insert_with(|| Instant::now() + self.patience);
        if self.timer.deadline() != due {
            self.timer.as_mut().reset(due);
        }
        self.timer.as_mut().poll(cx)
    }
}

/// What carries a line's bytes: a connection of its own, or a stream of one.
pub(super) enum Carrier<B> {
    Connection(OnUpgrade),
    Stream(Tunnel<B>),
}

impl<B: RequestBody> Carrier<B> {
    /// The carrier, and the answer to the opening handshake.
    ///
    /// # Errors
    /// The connection cannot become a WebSocket: whoever mounted the gateway cannot upgrade.
    pub(super) fn open(
        handshake: &Handshake,
        upgrade: Option<OnUpgrade>,
        body: B,
    ) -> Result<(Self, Response<ReplyBody>), Status> {
        let (carrier, body) = if handshake.is_upgrade() {
            let upgrade = upgrade.ok_or_else(|| {
                Status::gateway(Code::Unimplemented, "this connection cannot become a WebSocket")
                    .with_reason(Reason::UnsupportedByDialect)
            })?;
            (Self::Connection(upgrade), ReplyBody::empty())
        } else {
            let (tunnel, answer) = Tunnel::new(body);
            (Self::Stream(tunnel), ReplyBody::Tunnel(answer))
        };
        let mut response = Response::new(body);
        *response.status_mut() = handshake.answer(response.headers_mut());
        Ok((carrier, response))
    }

    /// Lets the rider live, in a task of its own.
    pub(super) fn carry(self, call: &Call<'_>, rider: impl Rider) {
        // After an upgrade, it is no request that the connection is in use for.
        let held = (call.worker.process.drain.hold(), call.peer.connection.begin_request(), call.peer.clone());
        tokio::spawn(async move {
            let _held = held;
            match self {
                // Where the client left before the upgrade, the rider is dropped, and its records say so.
                Self::Connection(upgrade) => {
                    if let Ok(upgraded) = upgrade.await {
                        ride(rider, TokioIo::new(upgraded)).await;
                    }
                }
                Self::Stream(tunnel) => ride(rider, tunnel).await,
            }
        });
    }
}

/// The life of a socket.
async fn ride(mut rider: impl Rider, mut io: impl AsyncRead + AsyncWrite + Unpin) {
    poll_fn(|cx| poll(&mut rider, cx, &mut io)).await;
}

/// Moves whatever can be moved, until the socket has ended.
fn poll(rider: &mut impl Rider, cx: &mut Context<'_>, io: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Poll<()> {
    rider.line().turn.begin();
    loop {
        let mut moved = rider.poll_move(cx);
        let line = rider.line();
        match line.poll_write(cx, io) {
            Ok(wrote) => moved |= wrote,
            Err(error) => {
                if error.kind() == io::ErrorKind::TimedOut {
                    rider.stalled();
                }
                return Poll::Ready(());
            }
        }
        if line.session.is_closed() {
            if line.out.is_empty() {
                return Pin::new(io).poll_shutdown(cx).map(drop);
            }
            if line.poll_last_words(cx).is_ready() {
                return Poll::Ready(());
            }
        }
        while rider.has_room() {
            match rider.line().poll_incoming(cx, io) {
                Poll::Ready(Ok(incoming)) => rider.take(incoming),
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => break,
            }
        }
        let (has_room, line) = (rider.has_room(), rider.line());
        if !has_room {
            line.postpone();
        }
        moved |= std::mem::take(&mut line.has_read);
        match line.poll_time(cx) {
            Liveness::Alive if !moved => return Poll::Pending,
            Liveness::Alive => {}
            Liveness::Lost => {
                let status = Status::client(Code::Cancelled, "the client gave no sign of life")
                    .with_reason(Reason::RequestAborted);
                rider.lose(&status);
                return Poll::Ready(());
            }
        }
    }
}
