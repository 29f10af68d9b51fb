//! One access record per call, always: written when the call ends, or when it is dropped because its client went away.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::{HeaderMap, Response, StatusCode, header};
use tokio::time::Instant;

use super::snapshot::Snapshot;
use crate::{
    codec::LeftOut,
    dialect::Dialect,
    edge::{self, RequestId},
    status::{Code, Origin, Reason, Status},
    telemetry::{CallRecord, InFlight, Recorder},
};

/// Counts calls in flight on one worker and refuses those beyond the limit.
#[derive(Clone, Debug)]
pub(super) struct Admission {
    in_flight: Arc<AtomicUsize>,
    max: usize,
}

/// A call's place among those in flight.
struct Place(Arc<AtomicUsize>);

impl Admission {
    pub(super) fn new(max: usize) -> Self {
        Self { in_flight: Arc::new(AtomicUsize::new(0)), max }
    }

    fn enter(&self) -> (Place, bool) {
        let before = self.in_flight.fetch_add(1, Ordering::Relaxed);
        (Place(self.in_flight.clone()), before < self.max)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What is to be told of a call when it ends. Moves with the call: [`Record::take`] leaves nothing behind.
pub(super) struct Record(Option<Box<Inner>>);

struct Inner {
    recorder: Recorder,
    _in_flight: InFlight,
    _place: Place,
    admitted: bool,
    started: Instant,
    dialect: Dialect,
    snapshot: Arc<Snapshot>,
    route: Option<u32>,
    upstream: Option<usize>,
    client: Option<IpAddr>,
    id: RequestId,
    http_status: StatusCode,
    messages_in: u64,
    messages_out: u64,
    bytes_in: u64,
    bytes_out: u64,
    left_out: LeftOut,
}

impl Record {
    pub(super) fn begin(
        recorder: &Recorder,
        admission: &Admission,
        snapshot: Arc<Snapshot>,
        dialect: Dialect,
        client: Option<IpAddr>,
        id: RequestId,
        started: Instant,
    ) -> Self {
        let (place, admitted) = admission.enter();
        Self(Some(Box::new(Inner {
            recorder: recorder.clone(),
            _in_flight: recorder.call_started(),
            _place: place,
            admitted,
            started,
            dialect,
            snapshot,
            route: None,
            upstream: None,
            client,
            id,
            http_status: StatusCode::OK,
            messages_in: 0,
            messages_out: 0,
            bytes_in: 0,
            bytes_out: 0,
            left_out: LeftOut::default(),
        })))
    }

    /// Hands the duty to record over to whoever sees the call's end.
    pub(super) fn take(&mut self) -> Self {
        Self(self.0.take())
    }

    /// # Errors
    /// UNAVAILABLE where too many calls are in flight already.
    pub(super) fn check_admitted(&self) -> Result<(), Status> {
        if self.0.as_ref().is_none_or(|inner| inner.admitted) {
            return Ok(());
        }
        Err(Status::gateway(Code::Unavailable, "the gateway has as many calls in flight as it takes")
            .with_reason(Reason::Overloaded)
            .with_retry_after(Duration::from_secs(1)))
    }

    /// The route is known now.
    pub(super) fn route(&mut self, route: u32) {
        self.with(|inner| inner.route = Some(route));
    }

    /// The upstream was chosen.
    pub(super) fn upstream(&mut self, upstream: usize) {
        self.with(|inner| inner.upstream = Some(upstream));
    }

    pub(super) fn http_status(&mut self, status: StatusCode) {
        self.with(|inner| inner.http_status = status);
    }

    pub(super) fn request_message(&mut self, bytes: usize) {
        self.with(|inner| {
            inner.messages_in += 1;
            inner.bytes_in += bytes as u64;
        });
    }

    pub(super) fn reply_message(&mut self, bytes: usize) {
        self.with(|inner| {
            inner.messages_out += 1;
            inner.bytes_out += bytes as u64;
        });
    }

    /// What the client gave and the message does not have.
    pub(super) fn left_out(&mut self, left_out: &LeftOut) {
        if left_out.count > 0 {
            self.with(|inner| inner.left_out.extend(left_out));
        }
    }

    /// Tells the client what was left out so far.
    pub(super) fn warn(&self, headers: &mut HeaderMap) {
        if let Some(warning) = self.0.as_ref().and_then(|inner| edge::warning(&inner.left_out)) {
            headers.append(header::WARNING, warning);
        }
    }

    /// Messages that passed through uncut.
    pub(super) fn passed(&mut self, requests: (u64, u64), replies: (u64, u64)) {
        self.with(|inner| {
            (inner.messages_in, inner.bytes_in) = requests;
            (inner.messages_out, inner.bytes_out) = replies;
        });
    }

    /// A reply that no upstream was asked for.
    pub(super) fn answered<B>(mut self, response: Response<B>) -> Response<B> {
        self.http_status(response.status());
        self.finish(Ok(()));
        response
    }

    /// The client took nothing for too long: nobody is left to be told.
    pub(super) fn stalled(&mut self) {
        self.with(|inner| inner.recorder.stalled());
        let text = "the client took nothing of what was written to it for too long";
        self.finish(Err(&Status::client(Code::Cancelled, text).with_reason(Reason::RequestAborted)));
    }

    /// Writes the record. Again: no effect.
    pub(super) fn finish(&mut self, outcome: Result<(), &Status>) {
        let Some(inner) = self.0.take() else { return };
        match outcome {
            Ok(()) => inner.write(Code::Ok, None, None),
            Err(status) => inner.write(status.code(), Some(status.origin()), Some(status)),
        }
    }

    fn with(&mut self, change: impl FnOnce(&mut Inner)) {
        if let Some(inner) = &mut self.0 {
            change(inner);
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        if let Some(inner) = self.0.take() {
            // Nobody was left to take the reply.
            inner.write(Code::Cancelled, Some(Origin::Client), None);
        }
    }
}

impl Inner {
    fn write(&self, code: Code, origin: Option<Origin>, status: Option<&Status>) {
        self.recorder.call(&CallRecord {
            method: self.route.map_or("", |route| self.snapshot.method_name(route)),
            upstream: self.upstream.map_or("", |upstream| self.snapshot.upstream_name(upstream)),
            dialect: self.dialect.name(),
            code,
            origin,
            http_status: self.http_status.as_u16(),
            duration: self.started.elapsed(),
            messages_in: self.messages_in,
            messages_out: self.messages_out,
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
            unknown_fields: self.left_out.count,
            unknown_field_paths: &self.left_out.paths,
            peer: self.client,
            request_id: self.id.as_str(),
            cause: status.map(|status| status as &dyn std::error::Error),
        });
    }
}
