//! Many calls of one client (PROTOCOLS §10), on a WebSocket or in a session over plain HTTP: each is a call like any other, with its
//! own route, record and deadline, and has its turn. Knows nothing of what brings frames.

mod bells;
mod downlink;
mod ride;
mod session;
mod socket;

use std::{
    collections::{HashMap, VecDeque},
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Response, Uri,
    header::{self, Entry},
    request::Parts,
};
use hyper::upgrade::OnUpgrade;
use tokio::time::Instant;
use tokio_util::sync::WaitForCancellationFutureOwned;

pub(super) use self::session::{Session, Sessions};
use self::{
    bells::Bells,
    downlink::Downlink,
    ride::{Progress, Ride},
};
use super::{
    RequestBody, Worker,
    expiry::Renewal,
    record::Record,
    reply::ReplyBody,
    request::{Begun, Call},
    snapshot::Snapshot,
};
use crate::{
    dialect::{
        Dialect,
        mux::{
            Form, Frame, FrameError, Ledger, Open, Opened, Taken, write_go_away, write_pong, write_renew, write_status,
        },
        websocket::{Close, code},
    },
    drain::{GOING_AWAY, going_away},
    edge::{Client, OriginCheck, Peer, REQUEST_ID, REQUEST_TIMEOUT, TIMEOUTS, bearer},
    limits::COALESCE_BYTES,
    status::{Code, Reason, Status},
    wire::metadata,
};

/// Answers what leads to where many calls are made: by a WebSocket, or by a session's GET and POSTs.
///
/// # Errors
/// What is refused before anything is begun.
pub(super) async fn serve<B: RequestBody>(
    call: &Call<'_>,
    record: &mut Record,
    upgrade: Option<OnUpgrade>,
    body: B,
) -> Result<Response<ReplyBody>, Status> {
    match (call.dialect, &call.head.method) {
        (Dialect::Mux, &Method::POST) => session::take(call, record, body).await,
        (Dialect::Mux, _) => session::open(call, record),
        _ => socket::serve(call, record, upgrade, body),
    }
}

/// What holds for every call of one client: who it is, and what it said of itself when it came.
fn base(head: &Parts) -> Parts {
    let mut base = head.clone();
    base.method = Method::POST;
    base.extensions.clear();
    // Each call has its own.
    for name in [REQUEST_ID.as_str()].into_iter().chain(TIMEOUTS) {
        base.headers.remove(name);
    }
    base
}

/// One client's calls, and the way down to it.
pub(super) struct Mux<D> {
    worker: Arc<Worker>,
    peer: Arc<Peer>,
    origin: OriginCheck,
    base: Parts,
    form: Form,
    line: D,
    ledger: Ledger,
    rides: HashMap<u32, Box<Ride>>,
    bells: Bells,
    /// Those who have something to do, in turn.
    queue: VecDeque<u32>,
    leaving: Pin<Box<WaitForCancellationFutureOwned>>,
    renewal: Renewal,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// Nothing new is begun; when what is open has ended, the socket is closed.
    GoingAway,
    Closed,
}

impl<D: Downlink> Mux<D> {
    fn new(call: &Call<'_>, base: Parts, form: Form, line: D) -> Self {
        let limits = &call.snapshot.limits;
        Self {
            worker: call.worker.clone(),
            peer: call.peer.clone(),
            origin: call.origin,
            renewal: Renewal::of(&base.headers),
            base,
            form,
            line,
            ledger: Ledger::new(limits.mux_calls_max, limits.mux_waiting_bytes_max),
            rides: HashMap::new(),
            bells: Bells::default(),
            queue: VecDeque::new(),
            leaving: Box::pin(call.peer.connection.leaving()),
            state: State::Open,
        }
    }

    /// Nothing is told any more, and nothing taken.
    fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// Takes what a client says.
    fn payload(&mut self, payload: &Bytes) {
        self.line.turn().spend(payload.len());
        match Frame::parse(self.form, payload) {
            Ok(frame) => self.frame(frame),
            Err(error) => self.malformed(&error),
        }
    }

    /// Moves what can be moved to and from the upstreams; whether anything was.
    fn poll_calls(&mut self, cx: &mut Context<'_>) -> bool {
        let mut moved = self.poll_leaving(cx) | self.poll_renewal(cx);
        self.bells.listen(cx.waker());
        self.bells.collect(&mut self.queue);
        while self.line.waiting() < COALESCE_BYTES && !self.queue.is_empty() {
            if self.line.turn().rests(cx) {
                break;
            }
            let Some(id) = self.queue.pop_front() else { break };
            let Some(ride) = self.rides.get_mut(&id) else { continue };
            moved = true;
            match ride.poll(&mut self.line, &mut self.ledger) {
                Progress::Waits => {}
                Progress::Goes => self.queue.push_back(id),
                Progress::Ended(outcome) => self.end(id, &outcome),
            }
        }
        moved
    }

    /// What a client tells, in its order.
    fn frame(&mut self, told: Frame) {
        let Frame { id, open, message, half_close, credit, cancel, ping, token } = told;
        if let Some(number) = ping {
            let form = self.form;
            self.line.tell(form, |out| write_pong(form, number, out));
        }
        if let Some(token) = token {
            let bytes_max = self.worker.snapshot.load().limits.header_bytes_max;
            let Some(value) = bearer(&token).filter(|value| value.len() <= bytes_max) else {
                return self.malformed(&FrameError::Malformed("the token is none".to_owned()));
            };
            self.base.headers.insert(header::AUTHORIZATION, value);
            self.renewal = Renewal::of(&self.base.headers);
        }
        if let Some(open) = open {
            match self.ledger.open(id) {
                Opened::Call => self.begin(id, &open, None),
                Opened::TooMany => {
                    let status = Status::client(Code::ResourceExhausted, "as many calls are open here as there may be");
                    self.begin(id, &open, Some(status.with_reason(Reason::Overloaded)));
                }
                Opened::IdUsed => {
                    let text = format!("the id {id} is not greater than those before it");
                    return self.malformed(&FrameError::Malformed(text));
                }
            }
        }
        if let Some(payload) = message {
            self.request(id, &payload);
        }
        if half_close
            && self.ledger.half_close(id)
            && let Some(ride) = self.rides.get_mut(&id)
        {
            ride.half_close();
            ride.bell.ring();
        }
        if credit > 0
            && self.ledger.credit(id, credit)
            && let Some(ride) = self.rides.get(&id)
        {
            ride.bell.ring();
        }
        if cancel && self.rides.contains_key(&id) {
            self.end(
                id,
                &Err(Status::client(Code::Cancelled, "the client cancelled the call")
                    .with_reason(Reason::RequestAborted)),
            );
        }
    }

    /// Begins a call, unless it is refused already.
    fn begin(&mut self, id: u32, open: &Open, refusal: Option<Status>) {
        let worker = self.worker.clone();
        let (peer, started, snapshot) = (self.peer.clone(), Instant::now(), worker.snapshot.load_full());
        let (head, fault) = match self.head(open) {
            Ok(head) => (head, refusal),
            Err(status) => (self.base.clone(), Some(status)),
        };
        let (client, request_id) = (Client::of(&head, &peer), worker.ids.of(&head.headers));
        let (recorder, admission, dialect) = (&worker.recorder, &worker.admission, Dialect::Mux);
        let mut record =
            Record::begin(recorder, admission, snapshot.clone(), dialect, client.address, request_id.clone(), started);
        let (worker, peer, snapshot, id_of_call) = (&worker, &peer, &snapshot, &request_id);
        let origin = self.origin;
        let call = Call { worker, peer, snapshot, head: &head, dialect, client, origin, id: id_of_call, started };
        let begun = fault.map_or_else(|| self.ride(id, &call, &mut record), Err);
        match begun {
            Ok(ride) => {
                ride.bell.ring();
                self.rides.insert(id, Box::new(ride));
            }
            Err(status) => {
                record.finish(Err(&status));
                self.ledger.end(id);
                self.tell(snapshot, id, &Err(status));
            }
        }
    }

    fn ride(&self, id: u32, call: &Call<'_>, record: &mut Record) -> Result<Ride, Status> {
        if self.state != State::Open {
            return Err(going_away());
        }
        let Begun::Call(opened) = call.begin(record)? else {
            return Err(
                Status::client(Code::Unimplemented, "there is no such method").with_reason(Reason::RouteNotFound)
            );
        };
        Ride::begin(id, self.form, call, *opened, record, self.bells.hang(id))
    }

    /// The head that the call would have as a request of its own.
    fn head(&self, open: &Open) -> Result<Parts, Status> {
        let wrong = |what: &str| {
            Status::client(Code::InvalidArgument, format!("open: {what}")).with_reason(Reason::InvalidHeader)
        };
        let mut head = self.base.clone();
        let mut uri = std::mem::take(&mut head.uri).into_parts();
        let path = format!("/{}", open.method);
        let is_method = !open.method.starts_with('/') && !open.method.contains(['?', '#', '%']);
        uri.path_and_query = path.parse().ok().filter(|_| is_method);
        head.uri = match uri.path_and_query {
            Some(_) => Uri::from_parts(uri).map_err(|_| wrong("the method is not one"))?,
            None => return Err(wrong("the method is not one")),
        };
        let mut given = HeaderMap::with_capacity(open.metadata.len());
        for (name, value) in &open.metadata {
            let name = metadata::name(name).ok_or_else(|| wrong("a name that metadata cannot have"))?;
            let mut value = HeaderValue::from_str(value).map_err(|_| wrong("a value that metadata cannot have"))?;
            value.set_sensitive(name == header::AUTHORIZATION || name == header::COOKIE);
            match given.entry(name) {
                Entry::Vacant(entry) => entry.insert(value),
                Entry::Occupied(_) => return Err(wrong("a name is there twice")),
            };
        }
        // What a call says takes the place of what the handshake said: a token may be newer.
        head.headers.extend(given);
        if let Some(timeout) = open.timeout {
            let seconds = format!("{}.{:09}", timeout.as_secs(), timeout.subsec_nanos());
            head.headers
                .insert(REQUEST_TIMEOUT, HeaderValue::from_str(&seconds).map_err(|_| wrong("a timeout that is none"))?);
        }
        Ok(head)
    }

    fn request(&mut self, id: u32, payload: &Bytes) {
        let refused =
            |code: Code, text: &'static str, reason: Reason| Err(Status::client(code, text).with_reason(reason));
        let taken = match self.ledger.message(id, payload.len()) {
            Taken::Yes => match self.rides.get_mut(&id) {
                Some(ride) => ride.request(payload).map(|()| ride.bell.ring()),
                None => Ok(()),
            },
            Taken::Unknown => Ok(()),
            Taken::Overdrawn => {
                refused(Code::ResourceExhausted, "a message was sent without credit for it", Reason::CreditOverdrawn)
            }
            Taken::Full => refused(Code::ResourceExhausted, "too much waits here", Reason::Overloaded),
            Taken::HalfClosed => {
                refused(Code::InvalidArgument, "a message after the end of the request stream", Reason::InvalidMessage)
            }
        };
        if let Err(status) = taken {
            self.end(id, &Err(status));
        }
    }

    /// Ends a call.
    fn end(&mut self, id: u32, outcome: &Result<HeaderMap, Status>) {
        self.ledger.end(id);
        if let Some(mut ride) = self.rides.remove(&id) {
            ride.record.finish(outcome.as_ref().map(drop));
            self.tell(&ride.snapshot, id, outcome);
        }
    }

    fn tell(&mut self, snapshot: &Snapshot, id: u32, outcome: &Result<HeaderMap, Status>) {
        let form = self.form;
        let trailers = outcome.as_ref().unwrap_or_else(Status::trailers);
        let told = outcome.as_ref().map(drop);
        self.line.tell(form, |out| write_status(form, id, told, trailers, &snapshot.codec, out));
    }

    fn malformed(&mut self, error: &FrameError) {
        self.close(&Close::new(code::INVALID_PAYLOAD, error.to_string()));
    }

    /// Says that it is over; what is open is cancelled.
    fn close(&mut self, close: &Close) {
        let status = Status::client(Code::Cancelled, close.reason().to_owned()).with_reason(Reason::RequestAborted);
        self.let_go(&status);
        self.line.close(close);
    }

    fn let_go(&mut self, status: &Status) {
        self.state = State::Closed;
        for (id, mut ride) in self.rides.drain() {
            ride.record.finish(Err(status));
            self.ledger.end(id);
        }
        self.queue.clear();
    }

    /// The client has taken nothing for too long.
    fn stalled(&mut self) {
        self.rides.values_mut().for_each(|ride| ride.record.stalled());
    }

    /// Asks for a newer token while there is time.
    fn poll_renewal(&mut self, cx: &mut Context<'_>) -> bool {
        let Poll::Ready(left) = self.renewal.poll(cx) else { return false };
        let form = self.form;
        self.line.tell(form, |out| write_renew(form, left, out));
        true
    }

    /// Tells the client to go elsewhere, and lets it when nothing is open any more.
    fn poll_leaving(&mut self, cx: &mut Context<'_>) -> bool {
        match self.state {
            State::Open if self.leaving.as_mut().poll(cx).is_ready() => {
                self.state = State::GoingAway;
                let form = self.form;
                self.line.tell(form, |out| write_go_away(form, GOING_AWAY, out));
                true
            }
            State::GoingAway if self.rides.is_empty() => {
                self.close(&Close::of_status(&going_away()));
                true
            }
            State::Open | State::GoingAway | State::Closed => false,
        }
    }
}
