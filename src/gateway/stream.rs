//! Calls with a stream on either side, over plain HTTP: a pure step from an upstream's event to bytes, and a thin pump
//! round it that is pulled by whoever writes the reply. Nothing is queued: nobody asks for the next event before the
//! last one is taken.

use std::{
    future::{Future, poll_fn},
    ops::ControlFlow,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, header};
use http_body::Frame;
use tokio::time::sleep;
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::{
    RequestBody, deflate,
    destination::{Download, Upload, Way},
    heartbeat::Heartbeat,
    record::Record,
    reply::{Broken, ReplyBody, has_body, mark_as_stream},
    request::{Call, Opened},
    sealing::Sealing,
    snapshot::{Route, Snapshot},
    unary,
    upload::Up,
};
use crate::{
    call::{Replies, ReplyEvent, Requests, Transport, UnaryReply},
    codec::OutputError,
    coding::Deflater,
    dialect::{BodyKind, End, ReplyEncoder, VARY},
    drain::going_away,
    edge::response_status,
    limits::COALESCE_BYTES,
    share::{self, Entry, Format, Position, Start},
    status::{Code, Reason, Status},
    upstream::bad_message,
    wire::{Message, Messages},
};

/// Opens the call, waits for its first sign, and answers with the rest as a body.
pub(super) async fn serve<B: RequestBody>(
    call: &Call<'_>,
    opened: Box<Opened<'_>>,
    record: &mut Record,
    body: B,
) -> Result<Response<ReplyBody>, Status> {
    let route = opened.route;
    let begun = begin(call, opened, record, body).await;
    begun.or_else(|status| {
        let encoder = new_encoder(call, route);
        match encoder.tells_inside(&status, call.head.method == Method::GET) {
            true => Ok(tell_inside(call, encoder, &status, record)),
            false => Err(status),
        }
    })
}

async fn begin<B: RequestBody>(
    call: &Call<'_>,
    opened: Box<Opened<'_>>,
    record: &mut Record,
    body: B,
) -> Result<Response<ReplyBody>, Status> {
    let route = opened.route;
    let mut bound = opened.bind(call)?;
    record.left_out(&bound.take_left_out());
    let (destination, start) = (call.destination(&opened)?, opened.start);
    let (up, replies) = if route.client_streaming && route.binding.takes_body() {
        let kind = BodyKind::of(&call.head.headers, &call.snapshot.codec, &route.binding, true)?;
        let sealing = Sealing::new(call.snapshot, opened.upstream);
        let (requests, replies) = destination.open(opened.head).await?;
        (Some(Up::new(call, kind, body, requests, bound, sealing)), replies)
    } else {
        let envelope = call.request_envelope(&opened, &mut bound, body, record).await?;
        let (mut requests, replies) = destination.open(opened.head).await?;
        send_only(&mut requests, envelope).await;
        (None, replies)
    };
    let mut pump = Box::new(Pump::new(call, route, up, replies, record.take()));
    pump.lost_its_place = start == Start::Gone && !route.is_shared();
    if route.server_streaming {
        match pump.begin(call).await {
            Ok(head) => return Ok(pump.respond(call, route, head)),
            Err(status) => {
                *record = pump.record.take();
                return Err(status);
            }
        }
    }
    let reply = pump.only_reply().await;
    *record = pump.record.take();
    unary::whole(call, route, &reply?, record)
}

/// A stream that is nothing but its failure.
fn tell_inside(
    call: &Call<'_>,
    mut encoder: ReplyEncoder,
    status: &Status,
    record: &mut Record,
) -> Response<ReplyBody> {
    let mut body = Vec::new();
    encoder.begin(call.worker.retry(&call.snapshot.limits), &mut body);
    let _ = encoder.end(Err(status), &call.snapshot.codec, &mut body);
    let mut response = Response::new(ReplyBody::Whole(body.into()));
    let content_type = encoder.content_type().unwrap_or(HeaderValue::from_static("text/event-stream"));
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response.headers_mut().insert(header::VARY, VARY);
    mark_as_stream(response.headers_mut());
    record.warn(response.headers_mut());
    record.finish(Err(status));
    response
}

pub(super) fn new_encoder(call: &Call<'_>, route: &Route) -> ReplyEncoder {
    if let Some(form) = call.connect_form() {
        return ReplyEncoder::bare(form, &call.head.headers, route.policy.settings.output);
    }
    let raw = route.binding.reply_http_body();
    ReplyEncoder::new(call.dialect, &call.head.headers, route.server_streaming, raw, route.policy.settings.output)
}

/// What a stream's response head is made of.
struct StreamHead {
    metadata: HeaderMap,
    content_type: HeaderValue,
}

/// Sends the only request message there is. A refusal comes as the replies' end.
async fn send_only(requests: &mut Upload, envelope: Bytes) {
    if poll_fn(|cx| requests.poll_ready(cx)).await == Ok(()) {
        requests.send_last(envelope);
    }
}

/// A streaming call after its request was opened.
pub struct Pump {
    up: Option<Up>,
    /// None after the end: what the upstream still says is of no use to anybody, however slowly the end is read.
    replies: Option<Download>,
    messages: Messages,
    encoder: ReplyEncoder,
    snapshot: Arc<Snapshot>,
    route: u32,
    record: Record,
    /// How messages of a shared stream are written; none where they are not, or for each call alone.
    format: Option<Format>,
    /// Written and not yet handed on; at most one frame's worth and one message more.
    out: Vec<u8>,
    /// All that is written, where that is one message that others write too. Invariant: `out` is empty then.
    whole: Option<Bytes>,
    /// Whole messages may have arrived that are not written yet.
    holds_more: bool,
    /// An event that arrived while the head was waited for.
    held: Option<Event>,
    ended: Option<End>,
    /// The client comes from a shared stream, and this is none.
    lost_its_place: bool,
    /// Messages that the client lost are told.
    tells_skipped: bool,
    /// The reply is broken off at the next poll, when what was written before is on its way.
    breaking: bool,
    idle: Option<Idle>,
    /// None where the stream is not compressed, and after its end.
    deflater: Option<Deflater>,
}

/// What comes down.
enum Event {
    Reply(ReplyEvent),
    /// Of a shared stream: what the client saw last is not known any more.
    Gap(Position),
    /// The client was too slow for so many messages.
    Skipped(u64),
    /// Of a shared stream.
    Message(Arc<Entry>),
}

/// Of a stream whose messages each call writes for itself.
impl From<share::Event> for Event {
    fn from(event: share::Event) -> Self {
        match event {
            share::Event::Head(head) => Self::Reply(ReplyEvent::Head(head)),
            share::Event::Message(entry) => Self::Reply(ReplyEvent::Data(entry.envelope())),
            share::Event::End(end) => Self::Reply(ReplyEvent::End(end)),
            share::Event::Gap(position) => Self::Gap(position),
            share::Event::Skipped(count) => Self::Skipped(count),
        }
    }
}

/// What happens on an SSE stream when nothing does.
struct Idle {
    heartbeat: Heartbeat,
    leaving: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Pump {
    fn new(call: &Call<'_>, route: &Route, up: Option<Up>, replies: Download, record: Record) -> Self {
        let encoder = new_encoder(call, route);
        let idle = encoder.is_events().then(|| Idle {
            heartbeat: Heartbeat::new(call.snapshot.limits.sse_heartbeat),
            leaving: Box::pin(call.peer.connection.leaving()),
        });
        let is_shared = matches!(replies.way, Way::Shared(_));
        let format = encoder.format(call.snapshot.generation, route.index).filter(|_| is_shared);
        Self {
            up,
            replies: Some(replies),
            messages: Messages::new(call.snapshot.limits.reply_message_bytes_max),
            encoder,
            snapshot: call.snapshot.clone(),
            route: route.index,
            record,
            format,
            out: Vec::new(),
            whole: None,
            holds_more: false,
            held: None,
            ended: None,
            lost_its_place: false,
            tells_skipped: route.tells_skipped(),
            breaking: false,
            idle,
            deflater: None,
        }
    }

    /// Waits for the first sign of the upstream, but not for long.
    async fn begin(&mut self, call: &Call<'_>) -> Result<StreamHead, Status> {
        let limits = &call.snapshot.limits;
        self.encoder.begin(call.worker.retry(limits), &mut self.out);
        if self.lost_its_place {
            self.encoder.gap(None, &mut self.out);
        }
        // The first message of raw bytes names their type: it has to be waited for.
        let grace = self.encoder.content_type().map(|_| limits.stream_head_grace);
        let metadata = self.first_sign(grace).await?;
        let content_type = match self.encoder.content_type() {
            Some(content_type) => content_type,
            None => self.raw_content_type().await?,
        };
        Ok(StreamHead { metadata, content_type })
    }

    fn respond(mut self: Box<Self>, call: &Call<'_>, route: &Route, head: StreamHead) -> Response<ReplyBody> {
        let status = response_status(&head.metadata).filter(|status| has_body(*status)).unwrap_or_default();
        self.record.http_status(status);
        let is_stream = self.encoder.is_stream();
        let mut response = Response::new(());
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, head.content_type);
        headers.insert(header::VARY, VARY);
        route.policy.headers.response(&head.metadata, headers);
        // A download is no stream of news: where the upstream says how long it keeps, it may be kept.
        if is_stream || !headers.contains_key(header::CACHE_CONTROL) {
            mark_as_stream(headers);
        }
        self.record.warn(headers);
        self.deflater = call.deflate_stream(route.policy.settings.compress_streams, headers);
        response.map(|()| ReplyBody::Stream(self))
    }

    /// The upstream's initial metadata (empty where something else came first, or nothing within the grace).
    async fn first_sign(&mut self, grace: Option<Duration>) -> Result<HeaderMap, Status> {
        let mut patience = grace.map(|grace| Box::pin(sleep(grace)));
        let mut metadata = None;
        poll_fn(|cx| {
            self.poll_up(cx)?;
            loop {
                match self.poll_reply(cx) {
                    Poll::Ready(Event::Reply(ReplyEvent::Head(head))) => metadata = Some(head),
                    Poll::Ready(Event::Reply(ReplyEvent::End(Err(status)))) => return Poll::Ready(Err(status)),
                    Poll::Ready(Event::Gap(position)) => self.encoder.gap(Some(position), &mut self.out),
                    Poll::Ready(Event::Skipped(count)) => self.skipped(count),
                    Poll::Ready(event) => {
                        self.held = Some(event);
                        return Poll::Ready(Ok(metadata.take().unwrap_or_default()));
                    }
                    // The head is there: an error right behind it would have been seen by now.
                    Poll::Pending if grace.is_some() && metadata.is_some() => {
                        return Poll::Ready(Ok(metadata.take().unwrap_or_default()));
                    }
                    Poll::Pending => break,
                }
            }
            match &mut patience {
                Some(patience) => patience.as_mut().poll(cx).map(|()| Ok(HeaderMap::new())),
                None => Poll::Pending,
            }
        })
        .await
    }

    /// The type that the first message of raw bytes names, however many frames it came in.
    async fn raw_content_type(&mut self) -> Result<HeaderValue, Status> {
        let snapshot = self.snapshot.clone();
        let route = snapshot.route_of(self.route)?;
        let is_data = |held: &mut Event| matches!(held, Event::Reply(ReplyEvent::Data(_)));
        while let Some(Event::Reply(ReplyEvent::Data(data))) = self.held.take_if(is_data) {
            self.messages.push(data);
            if let Some(message) = self.messages.next_message().map_err(bad_message)? {
                let named = ReplyEncoder::raw_content_type(&route.binding, &message);
                self.message(route, &message)?;
                self.write_messages()?;
                return named.map_err(OutputError::into_status);
            }
            self.first_sign(None).await?;
        }
        Ok(HeaderValue::from_static("application/octet-stream"))
    }

    /// The only message of a call that streams up alone.
    async fn only_reply(&mut self) -> Result<UnaryReply, Status> {
        let (mut head, mut message) = (HeaderMap::new(), None);
        loop {
            let event = poll_fn(|cx| {
                self.poll_up(cx)?;
                self.poll_reply(cx).map(Ok::<_, Status>)
            });
            let Event::Reply(event) = event.await? else { continue };
            match event {
                ReplyEvent::Head(metadata) => head = metadata,
                ReplyEvent::Data(data) => {
                    self.messages.push(data);
                    while let Some(next) = self.messages.next_as_it_came().map_err(bad_message)? {
                        if message.replace(next).is_some() {
                            return Err(not_one("more than one message"));
                        }
                    }
                }
                ReplyEvent::End(Err(status)) => return Err(status),
                ReplyEvent::End(Ok(trailers)) => {
                    self.messages.end().map_err(bad_message)?;
                    let Message { plain, coded } = message.ok_or_else(|| not_one("no message"))?;
                    return Ok(UnaryReply { head, message: plain, coded, trailers });
                }
            }
        }
    }

    /// The next piece of the reply.
    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if ready!(self.poll_turn(cx)).is_break() && self.written() == 0 {
            return match self.ended {
                Some(End::Abort) if !std::mem::replace(&mut self.breaking, true) => {
                    // The server drops what it has not flushed when a body fails: it flushes when there is nothing to do.
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
                Some(End::Abort) => Poll::Ready(Some(Err(Broken))),
                Some(End::Clean) | None => Poll::Ready(self.deflater.take().map(deflate::end)),
            };
        }
        if let Some(idle) = &mut self.idle {
            idle.heartbeat.wrote();
        }
        Poll::Ready(Some(self.take_out().map(Frame::data)))
    }

    /// What is to be handed on, so that the client can read all of it.
    fn take_out(&mut self) -> Result<Bytes, Broken> {
        let plain = self.whole.take().unwrap_or_else(|| std::mem::take(&mut self.out).into());
        deflate::piece(self.deflater.as_mut(), plain)
    }

    /// Bytes that wait to be handed on.
    fn written(&self) -> usize {
        self.out.len() + self.whole.as_ref().map_or(0, Bytes::len)
    }

    /// Where to write behind what is written.
    fn behind(&mut self) -> &mut Vec<u8> {
        if let Some(whole) = self.whole.take() {
            self.out.extend_from_slice(&whole);
        }
        &mut self.out
    }

    /// Moves both ways until there is a frame's worth, or all that is ready is taken.
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<ControlFlow<()>> {
        if self.ended.is_some() {
            return Poll::Ready(ControlFlow::Break(()));
        }
        if let Err(status) = self.poll_up(cx) {
            self.end(Err(&status));
        }
        while self.ended.is_none() && self.written() < COALESCE_BYTES {
            if self.holds_more {
                if let Err(status) = self.write_messages() {
                    self.end(Err(&status));
                }
                continue;
            }
            let event = match self.held.take() {
                Some(event) => event,
                None => match self.poll_reply(cx) {
                    Poll::Ready(event) => event,
                    Poll::Pending if self.written() > 0 => break,
                    Poll::Pending => {
                        ready!(self.poll_idle(cx));
                        break;
                    }
                },
            };
            self.step(event);
        }
        Poll::Ready(if self.ended.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }

    /// From an event to bytes of the reply.
    fn step(&mut self, event: Event) {
        let moved = match event {
            Event::Reply(ReplyEvent::Head(_)) => Ok(()),
            Event::Reply(ReplyEvent::Data(data)) => {
                self.messages.push(data);
                self.write_messages()
            }
            Event::Reply(ReplyEvent::End(Ok(_))) => {
                return match self.messages.end().map_err(bad_message) {
                    Ok(()) => self.end(Ok(())),
                    Err(status) => self.end(Err(&status)),
                };
            }
            Event::Reply(ReplyEvent::End(Err(status))) => Err(status),
            Event::Message(entry) => self.shared(&entry),
            Event::Gap(position) => {
                self.behind();
                self.encoder.gap(Some(position), &mut self.out);
                Ok(())
            }
            Event::Skipped(count) => {
                self.skipped(count);
                Ok(())
            }
        };
        if let Err(status) = moved {
            self.end(Err(&status));
        }
    }

    fn skipped(&mut self, count: u64) {
        if self.tells_skipped {
            self.behind();
            self.encoder.skipped(count, &mut self.out);
        }
    }

    fn end(&mut self, told: Result<(), &Status>) {
        self.behind();
        self.ended = Some(self.encoder.end(told, &self.snapshot.codec, &mut self.out));
        self.record.finish(told);
        (self.up, self.replies) = (None, None);
    }

    /// Writes the messages that are whole.
    fn write_messages(&mut self) -> Result<(), Status> {
        let snapshot = self.snapshot.clone();
        let route = snapshot.route_of(self.route)?;
        self.holds_more = false;
        while let Some(message) = self.messages.next_message().map_err(bad_message)? {
            self.message(route, &message)?;
            if self.out.len() >= COALESCE_BYTES {
                self.holds_more = true;
                break;
            }
        }
        Ok(())
    }

    /// Writes a message as others write it that share the stream, who may have done so already.
    fn shared(&mut self, entry: &Entry) -> Result<(), Status> {
        let Some(format) = self.format else { return Ok(()) };
        let (snapshot, message, position) = (self.snapshot.clone(), entry.message(), entry.position());
        let route = snapshot.route_of(self.route)?;
        let encoder = &self.encoder;
        let make = |out: &mut Vec<u8>| encoder.shared(&snapshot.codec, &route.binding, &message, position, out);
        let (bytes, made) = entry.encoded(format, make).map_err(OutputError::into_status)?;
        if made > 0
            && let Some(Download { way: Way::Shared(call), .. }) = &self.replies
        {
            call.charge(position, made);
        }
        self.record.reply_message(message.len());
        if self.written() > 0 {
            self.behind();
        }
        self.encoder.before_shared(&mut self.out);
        match self.out.is_empty() {
            true => self.whole = Some(bytes),
            false => self.out.extend_from_slice(&bytes),
        }
        Ok(())
    }

    fn message(&mut self, route: &Route, message: &[u8]) -> Result<(), Status> {
        let written = self.encoder.message(&self.snapshot.codec, &route.binding, message, &mut self.out);
        written.map_err(OutputError::into_status)?;
        self.record.reply_message(message.len());
        Ok(())
    }

    /// Nothing is ready: a heartbeat where one is due, the end where the connection is to leave.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(idle) = &mut self.idle else { return Poll::Pending };
        if idle.leaving.as_mut().poll(cx).is_ready() {
            self.end(Err(&going_away()));
            return Poll::Ready(());
        }
        ready!(idle.heartbeat.poll(cx));
        self.encoder.heartbeat(&mut self.out);
        Poll::Ready(())
    }

    fn poll_reply(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        let Some(replies) = &mut self.replies else { return Poll::Pending };
        if let Poll::Ready(status) = replies.expiry.poll(cx) {
            return Poll::Ready(Event::Reply(ReplyEvent::End(Err(status))));
        }
        let event = match &mut replies.way {
            Way::Direct(call) => Event::Reply(ready!(call.poll_event(cx))),
            Way::Alone(call) => ready!(call.poll_event(cx)).into(),
            Way::Shared(call) => match ready!(call.poll_event(cx)) {
                share::Event::Message(entry) if self.format.is_some() => Event::Message(entry),
                event => event.into(),
            },
        };
        if let Event::Reply(ReplyEvent::Head(metadata)) = &event {
            self.messages.on_head(metadata);
        }
        Poll::Ready(event)
    }

    /// The client has taken nothing for too long.
    pub(super) fn stalled(&mut self) {
        self.record.stalled();
    }

    /// Nobody is to read the stream, and nobody expected to: it counts as a call that ended well.
    pub(super) fn leave(&mut self) {
        self.record.finish(Ok(()));
    }

    fn poll_up(&mut self, cx: &mut Context<'_>) -> Result<(), Status> {
        let Some(up) = &mut self.up else { return Ok(()) };
        let route = self.snapshot.route_of(self.route)?;
        match up.poll(cx, &self.snapshot, route, &mut self.record) {
            Poll::Pending => Ok(()),
            Poll::Ready(outcome) => {
                // Dropped after an error, it resets the request stream.
                self.up = None;
                outcome
            }
        }
    }
}

/// The code that gRPC has for it (statuscodes.md, "Request cardinality violation").
fn not_one(what: &str) -> Status {
    let text = format!("the upstream answered with {what} where one was due");
    Status::upstream(Code::Unimplemented, text).with_reason(Reason::UpstreamProtocol)
}
