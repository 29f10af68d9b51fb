//! One call per WebSocket (PROTOCOLS §6): frames up become messages, messages down become frames, in one task that takes
//! from each side only what the other has room for.

mod frames;

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Response, header};
use hyper::upgrade::OnUpgrade;
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::{
    RequestBody,
    destination::{Destination, Download, Upload},
    line::{Carrier, Line, Rider},
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
        websocket::{Close, Handshake, Incoming, Kind, Subprotocol},
    },
    drain::going_away,
    limits::COALESCE_BYTES,
    status::Status,
    wire::Messages,
};

type Opening = Pin<Box<dyn Future<Output = Result<(Upload, Download), Status>> + Send>>;

/// Answers the opening handshake; the call then lives in a task of its own.
pub(super) async fn serve<B: RequestBody>(
    call: &Call<'_>,
    mut opened: Box<Opened<'_>>,
    record: &mut Record,
    upgrade: Option<OnUpgrade>,
    body: B,
) -> Result<Response<ReplyBody>, Status> {
    let mut handshake = Handshake::of(call.head, Subprotocol::MESSAGES)?;
    handshake.agree_on_compression(&call.head.headers, call.snapshot.compression.websocket);
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
    let (carrier, mut response) = Carrier::open(&handshake, upgrade, body)?;
    record.warn(response.headers_mut());
    record.http_status(response.status());
    let mut socket = Socket::new(call, opened, bound, &handshake, record.take())?;
    if let Some(envelope) = first {
        socket.batch = envelope.into();
        socket.half_closed = !socket.client_streaming;
        socket.start();
    }
    carrier.carry(call, socket);
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
    line: Line,
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
    leaving: Pin<Box<WaitForCancellationFutureOwned>>,
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
        let agreed = handshake.subprotocol().and_then(|subprotocol| match subprotocol {
            Subprotocol::Json => Some(Kind::Text),
            Subprotocol::Proto => Some(Kind::Binary),
            Subprotocol::Mux | Subprotocol::MuxJson | Subprotocol::MuxProto => None,
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
            line: Line::new(call, handshake),
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
            leaving: Box::pin(call.peer.connection.leaving()),
        })
    }

    /// Begins the call.
    fn start(&mut self) {
        if let Some(head) = self.head.take() {
            let destination = self.destination.clone();
            self.opening = Some(Box::pin(async move { destination.open(head).await }));
        }
    }

    fn poll_leaving(&mut self, cx: &mut Context<'_>) -> bool {
        if self.leaving.as_mut().poll(cx).is_pending() {
            return false;
        }
        self.end(Err(&going_away()));
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
        while self.line.out.len() < COALESCE_BYTES
            && let Some(replies) = &mut self.replies
        {
            if self.line.turn.rests(cx) {
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

    fn end(&mut self, outcome: Result<(), &Status>) {
        let close = outcome.map_or_else(Close::of_status, |()| Close::ok());
        self.end_with(outcome, &close);
    }

    /// Ends the call and closes the socket.
    fn end_with(&mut self, outcome: Result<(), &Status>, close: &Close) {
        self.record.finish(outcome);
        self.let_go();
        self.line.begin_close(Some(close));
    }

    /// Cancels what is not over.
    fn let_go(&mut self) {
        (self.head, self.opening, self.requests, self.replies) = (None, None, None, None);
        self.batch.clear();
        self.half_closed = true;
    }
}

impl Rider for Socket {
    fn line(&mut self) -> &mut Line {
        &mut self.line
    }

    fn poll_move(&mut self, cx: &mut Context<'_>) -> bool {
        let is_open = self.replies.is_some() || self.head.is_some() || self.opening.is_some();
        let mut moved = is_open && self.poll_leaving(cx);
        moved |= self.poll_opening(cx);
        moved |= self.poll_requests(cx);
        moved |= self.poll_replies(cx);
        moved
    }

    fn has_room(&self) -> bool {
        self.batch.len() < COALESCE_BYTES
    }

    fn take(&mut self, incoming: Incoming) {
        self.take_incoming(incoming);
    }

    fn lose(&mut self, status: &Status) {
        self.record.finish(Err(status));
    }

    fn stalled(&mut self) {
        self.record.stalled();
    }
}
