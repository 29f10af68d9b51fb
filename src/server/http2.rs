//! HTTP/2 connections: streams → requests, and answers → frames (RFC 9113 §8.1). Knows nothing of what is answered.
//!
//! h2 is used directly, as it is upstream: one task a stream, DATA as soon as it is there, and a window to each stream.

use std::{
    error::Error,
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use h2::{
    Reason, SendStream,
    server::{Builder, Connection, SendResponse},
};
use http::{HeaderValue, Request, Response, header};
use http_body::{Body, Frame};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    Options, RequestBody,
    connection::Graceful,
    date,
    service::{Counted, Handler, Outgoing, PerConnection},
};
use crate::{
    keepalive::{Heard, Keepalive, Pace},
    listener::Stall,
};

/// How connections are opened.
pub(super) fn builder(options: &Options) -> Builder {
    let mut builder = Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .data_frame_budget(DATA_FRAME_BUDGET)
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(u32::try_from(options.limits.header_bytes_max).unwrap_or(u32::MAX))
        .max_send_buffer_size(SEND_BUFFER_BYTES)
        // WebSockets are streams like others (RFC 8441 §3).
        .enable_connect_protocol();
    builder
}

/// One connection; its future takes requests until the end.
pub(super) struct Http2<T, H> {
    connection: Connection<Heard<T>, Bytes>,
    service: PerConnection<H>,
    keepalive: Option<Keepalive>,
    write_stall_timeout: Duration,
}

impl<T: AsyncRead + AsyncWrite + Unpin, H: Handler> Http2<T, H> {
    /// Sends our settings, and reads the preface.
    ///
    /// # Errors
    /// What the client sends is not HTTP/2.
    pub(super) async fn open(
        builder: &Builder,
        write_stall_timeout: Duration,
        io: T,
        service: PerConnection<H>,
    ) -> Result<Self, h2::Error> {
        let (io, heard) = Heard::new(io);
        let mut connection = builder.handshake(io).await?;
        let keepalive = connection.ping_pong().map(|pings| Keepalive::new(pings, PACE, heard));
        Ok(Self { connection, service, keepalive, write_stall_timeout })
    }

    fn begin(&self, request: Request<h2::RecvStream>, respond: SendResponse<Bytes>) {
        let (head, frames) = request.into_parts();
        let body = RequestBody::http2(&head.headers, frames);
        // A panic in a request's task ends that stream only: the runtime catches it.
        let answered = self.service.answer(Request::from_parts(head, body));
        tokio::spawn(answer(answered, respond, self.write_stall_timeout));
    }
}

/// Nothing in it is pinned.
impl<T, H> Unpin for Http2<T, H> {}

impl<T: AsyncRead + AsyncWrite + Unpin, H: Handler> Future for Http2<T, H> {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Poll::Ready(accepted) = self.connection.poll_accept(cx) {
            match accepted {
                Some(Ok((request, respond))) => self.begin(request, respond),
                Some(Err(error)) => return Poll::Ready(Err(io::Error::other(error))),
                None => return Poll::Ready(Ok(())),
            }
        }
        // Without a request too: clients vanish behind a NAT or a lid, and their connections must not stay.
        match self.keepalive.as_mut().map(|keepalive| keepalive.poll_silence(cx, true)) {
            Some(Poll::Ready(error)) => Poll::Ready(Err(error)),
            Some(Poll::Pending) | None => Poll::Pending,
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin, H: Handler> Graceful for Http2<T, H> {
    type Error = io::Error;

    fn end_gracefully(mut self: Pin<&mut Self>) {
        self.connection.graceful_shutdown();
    }
}

/// The life of one stream: its answer, unless the client resets it before; dropped with it, the answer is cancelled.
async fn answer<B: Outgoing>(
    answer: impl Future<Output = Response<Counted<B>>>,
    mut respond: SendResponse<Bytes>,
    write_stall_timeout: Duration,
) {
    let mut answer = pin!(answer);
    let answered = poll_fn(|cx| match answer.as_mut().poll(cx) {
        Poll::Ready(response) => Poll::Ready(Some(response)),
        Poll::Pending => respond.poll_reset(cx).map(|_| None),
    });
    let Some(response) = answered.await else { return };
    let (head, body) = response.into_parts();
    let mut head = Response::from_parts(head, ());
    let is_end = body.is_end_stream();
    let headers = head.headers_mut();
    headers.entry(header::DATE).or_insert_with(date::now);
    if let (false, Some(length)) = (is_end, body.size_hint().exact()) {
        headers.entry(header::CONTENT_LENGTH).or_insert_with(|| HeaderValue::from(length));
    }
    match respond.send_response(head, is_end) {
        Ok(_) if is_end => {}
        Ok(stream) => Reply::new(stream, write_stall_timeout).write(body).await,
        Err(error) => {
            tracing::debug!(%error, "an answer's head cannot be sent over HTTP/2");
            respond.send_reset(Reason::INTERNAL_ERROR);
        }
    }
}

/// Where an answer's body goes.
struct Reply {
    stream: SendStream<Bytes>,
    /// What the client's window has no room for yet, and whether it is the last.
    rest: Option<(Bytes, bool)>,
    stall: Stall,
}

/// What is to be written next.
enum Next<B: Body> {
    /// What a body gives; none at its end.
    Frame(Option<Result<Frame<Bytes>, B::Error>>),
    Rest(Bytes, bool),
}

/// Why nothing more is written.
enum Lost {
    /// The client reset the stream, or its connection is gone.
    Gone,
    /// It has taken nothing for too long.
    Stalled,
}

impl Reply {
    fn new(stream: SendStream<Bytes>, write_stall_timeout: Duration) -> Self {
        Self { stream, rest: None, stall: Stall::new(write_stall_timeout) }
    }

    /// Writes the body as fast as the client's window lets it: nothing is asked for while something waits.
    async fn write<B: Outgoing>(mut self, body: Counted<B>) {
        let mut body = pin!(body);
        loop {
            let sent = match poll_fn(|cx| self.poll_next(cx, body.as_mut())).await {
                Ok(Next::Rest(rest, is_end)) => self.send(rest, is_end),
                Ok(Next::Frame(Some(Ok(frame)))) => match frame.into_data() {
                    Ok(data) => self.send(data, body.is_end_stream()),
                    Err(frame) => self.stream.send_trailers(frame.into_trailers().unwrap_or_default()).map(|()| true),
                },
                Ok(Next::Frame(Some(Err(error)))) => {
                    let error: Box<dyn Error + Send + Sync> = error.into();
                    tracing::debug!(error = &*error, "an answer is broken off");
                    return self.stream.send_reset(Reason::INTERNAL_ERROR);
                }
                Ok(Next::Frame(None)) => self.stream.send_data(Bytes::new(), true).map(|()| true),
                Err(Lost::Gone) => return,
                Err(Lost::Stalled) => {
                    body.stalled();
                    return self.stream.send_reset(Reason::CANCEL);
                }
            };
            match sent {
                Ok(false) => {}
                // Fails only for a stream that is over.
                Ok(true) | Err(_) => return,
            }
        }
    }

    fn poll_next<B: Body<Data = Bytes>>(
        &mut self,
        cx: &mut Context<'_>,
        body: Pin<&mut B>,
    ) -> Poll<Result<Next<B>, Lost>> {
        if let Some((rest, _)) = &self.rest {
            let wanted = rest.len();
            ready!(self.poll_room(wanted, cx))?;
        }
        if let Some((rest, is_end)) = self.rest.take() {
            return Poll::Ready(Ok(Next::Rest(rest, is_end)));
        }
        match body.poll_frame(cx) {
            Poll::Ready(frame) => Poll::Ready(Ok(Next::Frame(frame))),
            Poll::Pending => self.stream.poll_reset(cx).map(|_| Err(Lost::Gone)),
        }
    }

    /// Waits until there is room for some of what waits.
    fn poll_room(&mut self, wanted: usize, cx: &mut Context<'_>) -> Poll<Result<(), Lost>> {
        while self.stream.capacity() == 0 {
            self.stream.reserve_capacity(wanted);
            if self.stream.capacity() > 0 {
                break;
            }
            match self.stream.poll_capacity(cx) {
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(Err(Lost::Gone)),
                Poll::Pending => return self.stall.poll(cx).map(|()| Err(Lost::Stalled)),
            }
        }
        self.stall.moved();
        Poll::Ready(Ok(()))
    }

    /// True after the last one. No more than there is room for, so that what the client takes is seen. An empty frame tells
    /// nothing, and clients count them (h2 ends the connection over a hundred).
    fn send(&mut self, mut data: Bytes, is_end: bool) -> Result<bool, h2::Error> {
        if data.is_empty() && !is_end {
            return Ok(false);
        }
        self.stream.reserve_capacity(data.len());
        let room = self.stream.capacity();
        if data.len() <= room {
            return self.stream.send_data(data, is_end).map(|()| is_end);
        }
        if room > 0 {
            self.stream.send_data(data.split_to(room), false)?;
        }
        self.rest = Some((data, is_end));
        Ok(false)
    }
}

/// What one request may send ahead of being read.
const STREAM_WINDOW_BYTES: u32 = 256 << 10;

/// The largest there is (RFC 9113 §6.9.1): no stream that is read slowly may stop its neighbours. What a connection can
/// make us hold is bounded by streams × stream window.
const CONNECTION_WINDOW_BYTES: u32 = (1 << 31) - 1;

/// h2 charges each unread DATA frame for what it is smaller than 256 bytes, since it costs that much of memory anyway, and
/// ends the whole connection when this is spent: no honest client has a quarter of a million of them waiting.
const DATA_FRAME_BUDGET: usize = 64 << 20;

/// Enough for a page with many live streams, and for a backend that calls through one connection.
const STREAMS_MAX: u32 = 256;

/// Most that waits in one stream for the client's window.
const SEND_BUFFER_BYTES: usize = 128 << 10;

/// Finds clients that vanished.
const PACE: Pace = Pace { interval: Duration::from_secs(30), timeout: Duration::from_secs(20) };
