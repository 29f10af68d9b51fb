//! The life of a call. Knows nothing of files and sockets.

mod assets;
mod deflate;
mod destination;
mod envelopes;
mod etag;
mod expiry;
mod explain;
mod heartbeat;
mod inflate;
mod lead;
mod line;
mod linger;
mod listing;
mod mirror;
mod mux;
mod openapi;
mod own;
mod policies;
mod record;
mod reply;
mod request;
#[cfg(test)]
mod routing_tests;
mod sealing;
mod sharing;
mod snapshot;
#[cfg(test)]
mod snapshot_tests;
mod socket;
mod stream;
mod tickets;
mod turn;
mod unary;
mod upload;

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::Body;
use hyper::upgrade::OnUpgrade;
use tokio::time::Instant;
use tower_service::Service;

pub use assets::Assets;
pub use explain::Explained;
pub use listing::Listed;
pub use openapi::OPENAPI_PATH;
pub use reply::{Broken, ReplyBody};
pub use snapshot::{Snapshot, SnapshotError};

use self::{
    inflate::Decoded,
    linger::Lingering,
    mux::Sessions,
    record::{Admission, Record},
    request::{Begun, Call},
    snapshot::Route,
};
use crate::{
    dialect::{self, Dialect, Framing, Retry, connect::Form},
    drain::Drain,
    edge::{Client, Peer, REQUEST_ID, RequestIds, Tickets},
    fleet::Fleet,
    limits::Limits,
    share::Hub,
    status::{Code, Reason, Status},
    telemetry::Recorder,
    upstream::Pool,
};

/// Any failure of a request's body: all it is used for is the log.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// A request's body, as any HTTP server gives it.
pub trait RequestBody: Body<Data = Bytes, Error: Into<BodyError>> + Send + Unpin + 'static {}

impl<B: Body<Data = Bytes, Error: Into<BodyError>> + Send + Unpin + 'static> RequestBody for B {}

/// Serves calls on one worker. Clones are the same gateway.
#[derive(Clone)]
pub struct Gateway(Arc<Worker>);

struct Worker {
    snapshot: Arc<ArcSwap<Snapshot>>,
    /// This worker's connections, in the order of the configuration's upstreams.
    pools: Vec<Pool>,
    recorder: Recorder,
    admission: Admission,
    ids: RequestIds,
    /// For copies of calls.
    room: mirror::Room,
    process: Process,
}

/// What all workers of a process have in common. Clones are the same.
#[derive(Clone)]
pub struct Process {
    /// Streams that calls share.
    pub(super) hub: Hub,
    /// Of `tidegate.mux` over plain HTTP.
    sessions: Sessions,
    tickets: Tickets,
    /// Where any gateway redeems them.
    fleet: Option<Fleet>,
    pub(super) drain: Drain,
}

impl Process {
    /// `fleet`: with whom streams and tickets are shared beyond the process. `seed`: random, different for each process.
    pub fn new(limits: &Limits, fleet: Option<Fleet>, drain: Drain, seed: u64) -> Self {
        Self {
            hub: Hub::new(limits, seed, fleet.clone()),
            fleet,
            sessions: Sessions::default(),
            tickets: Tickets::new(limits.ticket_bytes_max),
            drain,
        }
    }
}

impl Gateway {
    /// `seed`: random, different for each worker of each process.
    pub fn new(
        snapshot: Arc<ArcSwap<Snapshot>>,
        pools: Vec<Pool>,
        recorder: Recorder,
        process: Process,
        seed: u64,
    ) -> Self {
        let admission = Admission::new(snapshot.load().limits.calls_per_worker_max);
        Self(Arc::new(Worker {
            snapshot,
            pools,
            recorder,
            admission,
            ids: RequestIds::new(seed),
            room: mirror::Room::default(),
            process,
        }))
    }

    /// Answers one request of a peer's; failures are answers too.
    pub async fn serve<B: RequestBody>(self, peer: Arc<Peer>, request: Request<B>) -> Response<ReplyBody> {
        let started = Instant::now();
        let (mut head, body) = request.into_parts();
        let snapshot = self.0.snapshot.load_full();
        let dialect = snapshot.dialect(&head);
        let upgrade = (dialect == Dialect::WebSocket).then(|| head.extensions.remove()).flatten();
        if dialect == Dialect::WebSocket {
            // What CONNECT asks for over HTTP/2 is what GET asks for over HTTP/1.1 (RFC 8441 §5).
            head.method = Method::GET;
        }
        let ticket = match &snapshot.tickets {
            // Boxed: few bear one.
            Some(_) if tickets::is_shown(&head) => Box::pin(tickets::redeem(&mut head, &self.0.process)).await,
            Some(_) | None => Ok(()),
        };
        let client = Client::of(&head, &peer);
        let id = self.0.ids.of(&head.headers);
        let record = Record::begin(
            &self.0.recorder,
            &self.0.admission,
            snapshot.clone(),
            dialect,
            client.address,
            id.clone(),
            started,
        );
        let origin = snapshot.cors.check(&head.headers, &client);
        let (worker, peer) = (&self.0, &peer);
        let call = Call { worker, peer, snapshot: &snapshot, head: &head, dialect, client, origin, id: &id, started };

        let body = Lingering::new(head.version, body);
        let mut response = call.deflate(self.answer(&call, ticket, record, body, upgrade).await);
        if head.method == Method::HEAD {
            response = reply::without_body(response);
        }
        let headers = response.headers_mut();
        headers.insert(REQUEST_ID, id.header());
        snapshot.cors.decorate(&head.headers, origin, headers);
        response
    }

    /// The whole life of a call: each step in order, and one place where a failure becomes an answer.
    async fn answer<B: RequestBody>(
        &self,
        call: &Call<'_>,
        ticket: Result<(), Status>,
        mut record: Record,
        body: B,
        upgrade: Option<OnUpgrade>,
    ) -> Response<ReplyBody> {
        let opened = match ticket.and_then(|()| call.begin(&mut record)) {
            Ok(Begun::Call(opened)) => opened,
            Ok(Begun::Answered(response)) => return record.answered(response.map(|()| ReplyBody::empty())),
            Ok(Begun::Mux) => {
                return Box::pin(mux::serve(call, &mut record, upgrade, body))
                    .await
                    .unwrap_or_else(|status| reject(call, None, &mut record, &status));
            }
            Ok(Begun::Ticket(settings)) => {
                return match Box::pin(tickets::issue(call, settings)).await {
                    Ok(response) => record.answered(response),
                    Err(status) => reject(call, None, &mut record, &status),
                };
            }
            Ok(Begun::Asset(asset)) => return record.answered(asset.answer(call).await),
            Ok(Begun::OpenApi(document)) => {
                return match openapi::document(call.snapshot, document).await {
                    Ok(asset) => record.answered(asset.answer(call).await),
                    Err(status) => reject(call, None, &mut record, &status),
                };
            }
            Err(status) => return reject(call, None, &mut record, &status),
        };
        let route = opened.route;
        let body = match Decoded::new(call, body, opened.body_bytes_max(&call.snapshot.limits)) {
            Ok(body) => body,
            Err(status) => return reject(call, Some(route), &mut record, &status),
        };
        let answer = match call.dialect {
            Dialect::Grpc => envelopes::serve(call, opened, Framing::Grpc, &mut record, body).await,
            Dialect::GrpcWeb => {
                envelopes::serve(call, opened, Framing::web(&call.head.headers), &mut record, body).await
            }
            Dialect::Connect => match call.connect_form() {
                Some(Form::Stream(codec)) => {
                    envelopes::serve(call, opened, Framing::Connect(codec), &mut record, body).await
                }
                Some(Form::Unary(_)) | None => unary::serve(call, opened, &mut record, body).await,
            },
            Dialect::WebSocket => socket::serve(call, opened, &mut record, upgrade, body).await,
            // Begun on its socket, and never here.
            Dialect::Mux => {
                Err(Status::gateway(Code::Internal, "a call without its socket").with_reason(Reason::Internal))
            }
            Dialect::Json | Dialect::Ndjson | Dialect::JsonSeq | Dialect::Protobuf | Dialect::Sse => {
                match opened.is_unary() {
                    true => unary::serve(call, opened, &mut record, body).await,
                    // Boxed: a large future would be moved into every request's task.
                    false => Box::pin(stream::serve(call, opened, &mut record, body)).await,
                }
            }
        };
        answer.unwrap_or_else(|status| reject(call, Some(route), &mut record, &status))
    }
}

impl Worker {
    /// The reconnect delay of one event stream.
    fn retry(&self, limits: &Limits) -> Retry {
        Retry::jittered(limits.sse_retry, self.ids.random())
    }
}

/// A failure before the reply began, told in the caller's own tongue.
fn reject(call: &Call<'_>, route: Option<&Route>, record: &mut Record, status: &Status) -> Response<ReplyBody> {
    let mut response = dialect::refuse(call.dialect, call.head, status, &call.snapshot.codec);
    if let Some(route) = route.filter(|_| !call.dialect.is_rpc()) {
        route.policy.headers.response(status.lead(), response.headers_mut());
        route.policy.headers.response(status.trailers(), response.headers_mut());
    }
    record.warn(response.headers_mut());
    record.http_status(response.status());
    record.finish(Err(status));
    response.map(ReplyBody::from)
}

/// For mounting in a server of one's own: a [`Peer`] among the request's extensions tells who calls.
impl<B: RequestBody> Service<Request<B>> for Gateway {
    type Response = Response<ReplyBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let peer = request.extensions_mut().remove::<Arc<Peer>>().unwrap_or_else(|| Arc::new(Peer::unknown()));
        let answer = self.clone().serve(peer, request);
        Box::pin(async move { Ok(answer.await) })
    }
}
