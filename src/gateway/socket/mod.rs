//! One call per WebSocket (PROTOCOLS §6): frames up become messages, messages down become frames, in one task that takes
//! from each side only what the other has room for.

mod frames;
mod tunnel;

use std::{
    future::{Future, poll_fn},
    io,
    mem::MaybeUninit,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Response, header};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};
use tokio_util::sync::WaitForCancellationFutureOwned;

use self::tunnel::Tunnel;
use super::{
    RequestBody,
    mirror::{Destination, Download, Upload},
    record::Record,
    reply::ReplyBody,
    request::{Call, Opened, second_token},
    sealing::Sealing,
    snapshot::Snapshot,
};
use crate::{
    call::{CallHead, Closed, Replies, Requests, Transport},
    codec::Bound,
    config::OutputSettings,
    dialect::{
        output_settings,
        websocket::{Close, Handshake, Kind, Liveness, Session, Subprotocol, Timing, Writer},
    },
    limits::COALESCE_BYTES,
    status::{Code, Reason, Status},
    wire::Messages,
};

/// Bytes read from the socket at once.
const READ_BYTES: usize = 16 << 10;

/// Bytes of messages, as they are inflated, that one turn moves: a few bytes may stand for very many, of which neither
/// socket shows anything, and other calls wait for the worker.
const TURN_BYTES: usize = 256 << 10;

type Opening = Pin<Box<dyn Future<Output = Result<(Upload, Download), Status>> + Send>>;

/// Answers the opening handshake; the call then lives in a task of its own.
pub(super) async fn serve<B: RequestBody>(
    call: &Call<'_>,
    mut opened: Box<Opened<'_>>,
    record: &mut Record,
    upgrade: Option<OnUpgrade>,
    body: B,
) -> Result<Response<ReplyBody>, Status> {
    let mut handshake = Handshake::of(call.head)?;
    handshake.agree_on_compression(&call.head.headers, call.snapshot.compression.websocket);
    if handshake.is_upgrade() && upgrade.is_none() {
        return Err(Status::gateway(Code::Unimplemented, "this connection cannot become a WebSocket")
            .with_reason(Reason::UnsupportedByDialect));
    }
    if let Some(authorization) = handshake.authorization()
        && opened.head.metadata.insert(header::AUTHORIZATION, authorization.clone()).is_some()
    {
        return Err(second_token("the subprotocol"));
    }
    let mut bound = opened.bind(call)?;
    record.left_out(&bound.take_left_out());
    let first = if opened.message.is_some() || !opened.route.binding.takes_body() {
        let nothing = http_body_util::Empty::<Bytes>::new();
        Some(call.request_envelope(&opened, &mut bound, nothing, record).await?)
    } else {
        None
    };
    let mut response = Response::new(ReplyBody::empty());
    *response.status_mut() = handshake.answer(response.headers_mut());
    record.warn(response.headers_mut());
    record.http_status(response.status());

    let mut socket = Socket::new(call, opened, bound, &handshake, record.take())?;
    if let Some(envelope) = first {
        socket.batch = envelope.into();
        socket.half_closed = !socket.client_streaming;
        socket.start();
    }
    let held = call.worker.drain.hold();
    if let Some(upgrade) = upgrade {
        tokio::spawn(async move {
            let _held = held;
            // Where the client left before the upgrade, the socket is dropped, and its record says so.
            if let Ok(upgraded) = upgrade.await {
                socket.serve(TokioIo::new(upgraded)).await;
            }
        });
    } else {
        let (tunnel, answer) = Tunnel::new(body);
        *response.body_mut() = ReplyBody::Tunnel(answer);
        tokio::spawn(async move {
            let _held = held;
            socket.serve(tunnel).await;
        });
    }
    Ok(response)
}

/// A WebSocket and its call.
struct Socket {
    snapshot: Arc<Snapshot>,
    route: u32,
    client_streaming: bool,
    /// Requests, replies are `google.api.HttpBody`: frames are its bytes.
    raw: (bool, bool),
    output: OutputSettings,
    bound: Bound,
    sealing: Sealing,
    destination: Destination,
    record: Record,
    session: Session,
    writer: Writer,
    /// The only kind of frame that was agreed on.
    agreed: Option<Kind>,
    /// The kind of the replies, once it is known.
    reply_kind: Option<Kind>,

    /// None once the call was started.
    head: Option<CallHead>,
    opening: Option<Opening>,
    requests: Option<Upload>,
    replies: Option<Download>,
    /// Envelopes that wait for the upstream; at most a frame's worth and one message more.
    batch: Vec<u8>,
    /// The request stream has ended on the client's side.
    half_closed: bool,
    messages: Messages,
    /// Whole messages may have arrived that are not written yet.
    holds_more: bool,
    /// Bytes of messages that may still be moved in this turn.
    turn_left: usize,

    /// Frames that wait for the client, and how much of them is written; bounded as `batch` is.
    out: Vec<u8>,
    written: usize,
    unflushed: bool,
    timer: Pin<Box<Sleep>>,
    /// By then the last bytes must be with the client.
    flush_due: Option<Instant>,
    drain: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Socket {
    fn new(
        call: &Call<'_>,
        opened: Box<Opened<'_>>,
        bound: Bound,
        handshake: &Handshake,
        record: Record,
    ) -> Result<Self, Status> {
        let limits = &call.snapshot.limits;
        let destination = call.destination(&opened)?;
        let sealing = Sealing::new(call.snapshot, opened.upstream);
        let Opened { route, head, .. } = *opened;
        let now = Instant::now();
        let timing = Timing { ping: limits.ws_ping, pong_timeout: limits.ws_pong_timeout };
        let session = Session::new(limits.request_message_bytes_max, handshake.compression(), timing, now);
        let compression = &call.snapshot.compression;
        let writer = Writer::new(handshake.compression(), compression.levels.gzip, compression.bytes_min);
        let agreed = handshake.subprotocol().map(|subprotocol| match subprotocol {
            Subprotocol::Json => Kind::Text,
            Subprotocol::Proto => Kind::Binary,
        });
        Ok(Self {
            snapshot: call.snapshot.clone(),
            route: route.index,
            client_streaming: route.client_streaming,
            raw: (route.binding.request_http_body(), route.binding.reply_http_body()),
            output: OutputSettings {
                pretty: false,
                ..output_settings(&call.head.headers, route.policy.settings.output)
            },
            bound,
            sealing,
            destination,
            record,
            session,
            writer,
            agreed,
            reply_kind: agreed,
            head: Some(head),
            opening: None,
            requests: None,
            replies: None,
            batch: Vec::new(),
            half_closed: false,
            messages: Messages::new(limits.reply_message_bytes_max),
            holds_more: false,
            turn_left: TURN_BYTES,
            out: Vec::new(),
            written: 0,
            unflushed: false,
            timer: Box::pin(sleep_until(now + limits.ws_ping)),
            flush_due: None,
            drain: Box::pin(call.worker.drain.begun_owned()),
        })
    }

    /// The life of the socket.
    async fn serve(mut self, mut io: impl AsyncRead + AsyncWrite + Unpin) {
        poll_fn(|cx| self.poll(cx, &mut io)).await;
    }

    /// Moves whatever can be moved, until the socket has ended.
    fn poll(&mut self, cx: &mut Context<'_>, io: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Poll<()> {
        self.turn_left = TURN_BYTES;
        loop {
            let mut moved = false;
            if self.replies.is_some() || self.head.is_some() || self.opening.is_some() {
                moved |= self.poll_drain(cx);
            }
            moved |= self.poll_opening(cx);
            moved |= self.poll_requests(cx);
            moved |= self.poll_replies(cx);
            match self.poll_write(cx, io) {
                Ok(wrote) => moved |= wrote,
                Err(_) => return Poll::Ready(()),
            }
            if self.session.is_closed() {
                if self.out.is_empty() {
                    return Pin::new(io).poll_shutdown(cx).map(drop);
                }
                if self.poll_last_words(cx).is_ready() {
                    return Poll::Ready(());
                }
            }
            match self.poll_read(cx, io) {
                Ok(read) => moved |= read,
                Err(_) => return Poll::Ready(()),
            }
            match self.poll_time(cx) {
                Liveness::Alive if !moved => return Poll::Pending,
                Liveness::Alive => {}
                Liveness::Lost => return Poll::Ready(()),
            }
        }
    }

    /// Begins the call.
    fn start(&mut self) {
        if let Some(head) = self.head.take() {
            let destination = self.destination.clone();
            self.opening = Some(Box::pin(async move { destination.open(head).await }));
        }
    }

    fn poll_drain(&mut self, cx: &mut Context<'_>) -> bool {
        if self.drain.as_mut().poll(cx).is_pending() {
            return false;
        }
        self.end(Err(&Status::gateway(Code::Unavailable, "the gateway restarts").with_reason(Reason::Draining)));
        true
    }

    fn poll_opening(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(opening) = &mut self.opening else { return false };
        let Poll::Ready(outcome) = opening.as_mut().poll(cx) else { return false };
        self.opening = None;
        match outcome {
            Ok((requests, replies)) => (self.requests, self.replies) = (Some(requests), Some(replies)),
            Err(status) => self.end(Err(&status)),
        }
        true
    }

    /// Sends up what has arrived, all that is ready in one piece.
    fn poll_requests(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(requests) = &mut self.requests else { return false };
        if self.batch.is_empty() && !self.half_closed {
            return false;
        }
        match requests.poll_ready(cx) {
            Poll::Pending => return false,
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(Closed)) => {
                // The reason comes as the replies' end.
                self.batch.clear();
                self.requests = None;
                return true;
            }
        }
        if !self.batch.is_empty() {
            requests.send(std::mem::take(&mut self.batch).into());
        }
        if self.half_closed {
            requests.finish();
            self.requests = None;
        }
        true
    }

    fn poll_replies(&mut self, cx: &mut Context<'_>) -> bool {
        let mut moved = false;
        while self.out.len() < COALESCE_BYTES
            && let Some(replies) = &mut self.replies
        {
            if self.turn_left == 0 {
                cx.waker().wake_by_ref();
                break;
            }
            if self.holds_more {
                self.write_whole();
            } else if let Poll::Ready(event) = replies.poll_event(cx) {
                self.step(event);
            } else {
                break;
            }
            moved = true;
        }
        moved
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

    /// Takes frames while the upstream has room for what they say; then reads on.
    fn poll_read(&mut self, cx: &mut Context<'_>, io: &mut (impl AsyncRead + Unpin)) -> io::Result<bool> {
        let mut moved = false;
        loop {
            if self.batch.len() >= COALESCE_BYTES || self.out.len() >= 2 * COALESCE_BYTES {
                self.session.postpone(Instant::now());
                return Ok(moved);
            }
            if self.turn_left == 0 {
                cx.waker().wake_by_ref();
                return Ok(moved);
            }
            if let Some(incoming) = self.session.next_incoming(&mut self.out) {
                self.take(incoming);
                moved = true;
                continue;
            }
            if self.session.is_closed() {
                return Ok(moved);
            }
            let mut space = [MaybeUninit::uninit(); READ_BYTES];
            let mut buffer = ReadBuf::uninit(&mut space);
            match Pin::new(&mut *io).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if buffer.filled().is_empty() => return Err(io::ErrorKind::UnexpectedEof.into()),
                Poll::Ready(Ok(())) => self.session.push(buffer.filled(), Instant::now()),
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => return Ok(moved),
            }
            moved = true;
        }
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
                self.session.postpone(Instant::now());
            }
            if let Liveness::Lost = self.session.on_time(Instant::now(), &mut self.out) {
                let lost = Status::client(Code::Cancelled, "the client gave no sign of life")
                    .with_reason(Reason::RequestAborted);
                self.record.finish(Err(&lost));
                return Liveness::Lost;
            }
            if !self.out.is_empty() {
                cx.waker().wake_by_ref();
            }
        }
    }

    /// Nothing is read any more: a client that does not take what is left for it holds the socket only so long.
    fn poll_last_words(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let patience = self.snapshot.limits.ws_pong_timeout;
        let due = *self.flush_due.get_or_insert_with(|| Instant::now() + patience);
        if self.timer.deadline() != due {
            self.timer.as_mut().reset(due);
        }
        self.timer.as_mut().poll(cx)
    }

    fn end(&mut self, outcome: Result<(), &Status>) {
        let close = outcome.map_or_else(Close::of_status, |()| Close::ok());
        self.end_with(outcome, &close);
    }

    /// Ends the call and closes the socket.
    fn end_with(&mut self, outcome: Result<(), &Status>, close: &Close) {
        self.record.finish(outcome);
        self.let_go();
        self.session.close(Some(close), Instant::now(), &mut self.out);
    }

    /// Cancels what is not over.
    fn let_go(&mut self) {
        (self.head, self.opening, self.requests, self.replies) = (None, None, None, None);
        self.batch.clear();
        self.half_closed = true;
    }
}
