//! The first half of a call: from the request's head to an opened dialect. Everything here is decided before a byte of
//! the body is read.

use std::{borrow::Cow, io, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header, request::Parts, uri::PathAndQuery};
use http_body::Frame;
use http_body_util::BodyExt;
use smallvec::SmallVec;
use tokio::time::{Instant, timeout_at};

use super::{
    BodyError, RequestBody, Worker,
    assets::Asset,
    destination::Destination,
    mirror::{Direct, Mirror},
    openapi::Document,
    record::Record,
    sealing::Sealing,
    snapshot::{Route, Snapshot, Target},
};
use crate::{
    call::CallHead,
    codec::{self, Bound, InputError, QueryMode},
    coding::InflateError,
    config::{self, Timeout, TokenExpiry},
    dialect::{
        self, BodyKind, Dialect, FormError, FormReader, RequestDecoder,
        connect::{self, Form, Get, GetError},
        grpc, grpc_web,
        sse::{self, LastEvent},
    },
    edge::{Client, OriginCheck, Peer, RequestId, bearer, check_head, is_unasked, requested_timeout, take_parameter},
    limits::Limits,
    share::Start,
    status::{Code, Reason, Status},
    wire::{self, metadata},
};

/// What is known of a request from its head.
pub(super) struct Call<'c> {
    pub(super) worker: &'c Arc<Worker>,
    pub(super) peer: &'c Arc<Peer>,
    pub(super) snapshot: &'c Arc<Snapshot>,
    pub(super) head: &'c Parts,
    pub(super) dialect: Dialect,
    pub(super) client: Client<'c>,
    pub(super) origin: OriginCheck,
    pub(super) id: &'c RequestId,
    pub(super) started: Instant,
}

/// Where a request's head led.
pub(super) enum Begun<'c> {
    /// Answered by the head alone.
    Answered(Response<()>),
    Asset(&'c Arc<Asset>),
    OpenApi(&'c Document),
    /// To where many calls are made.
    Mux,
    /// The client asks for a ticket.
    Ticket(&'c config::Tickets),
    /// Boxed: each step of the call would move it.
    Call(Box<Opened<'c>>),
}

/// A call that may go on: its route, its head, and what the URL says of its messages.
pub(super) struct Opened<'c> {
    pub(super) route: &'c Route,
    /// The upstream that was chosen for this call.
    pub(super) upstream: usize,
    pub(super) head: CallHead,
    /// The message that the query gives whole.
    pub(super) message: Option<(BodyKind, Bytes)>,
    captures: SmallVec<[Cow<'c, str>; 4]>,
    query: Option<Cow<'c, str>>,
    /// The last event that the client saw, where the route has a field for it.
    resume: Option<String>,
    /// Where the client's stream goes on, in the gateway's own words.
    pub(super) start: Start,
}

impl<'c> Call<'c> {
    /// Admits, routes and authorizes.
    ///
    /// # Errors
    /// The refusal.
    pub(super) fn begin(&self, record: &mut Record) -> Result<Begun<'c>, Status> {
        record.check_admitted()?;
        check_head(self.head)?;
        if let Some(response) = self.snapshot.cors.preflight(self.head, self.origin) {
            return Ok(Begun::Answered(response));
        }
        let (route, lead, captures) = match self.snapshot.find(self.dialect, self.head)? {
            Target::Asset(asset) => return Ok(Begun::Asset(asset)),
            Target::OpenApi(document) => return Ok(Begun::OpenApi(document)),
            Target::Mux => return Ok(Begun::Mux),
            Target::Ticket(settings) => return Ok(Begun::Ticket(settings)),
            Target::Route { route, lead, captures } => (route, lead, captures),
        };
        record.route(route.index);
        let upstream = lead.choose(&self.head.headers, || self.worker.ids.random())?;
        record.upstream(upstream);
        self.check(route)?;
        let (token, query) = self.take_own(route, "access_token", self.head.uri.query().map(Cow::Borrowed))?;
        let (last_event, query) = self.take_last_event(route, query)?;
        if last_event == LastEvent::End {
            let mut response = Response::new(());
            *response.status_mut() = StatusCode::NO_CONTENT;
            return Ok(Begun::Answered(response));
        }
        let (message, query) = match self.dialect {
            Dialect::Connect if dialect::is_safe(&self.head.method) => {
                let get = Get::parse(query.as_deref().unwrap_or_default()).map_err(GetError::into_status)?;
                let bytes_max = self.snapshot.limits.request_message_bytes_max;
                let message = get.inflate(bytes_max).map_err(GetError::into_status)?;
                (Some((get.codec.body(), message)), (!get.rest.is_empty()).then_some(Cow::Owned(get.rest)))
            }
            _ => {
                let (message, query) = self.take_own(route, "message", query)?;
                (message.map(|json| (BodyKind::Json, json.into())), query)
            }
        };
        let mut head = self.call_head(route, upstream, token)?;
        if let Some(header) = &lead.header
            && !route.policy.headers.lets_in(header)
        {
            head.metadata.remove(header);
        }
        let (resume, start) = match last_event {
            LastEvent::Id(id) if route.binding.resumes() => (Some(id), Start::Live),
            // Where others listen too, nobody goes on where one client stopped.
            LastEvent::Id(_) if route.is_shared() => (None, Start::Gone),
            LastEvent::Id(id) => {
                head.metadata.insert(sse::LAST_EVENT_ID, sse::to_metadata(&id)?);
                (None, Start::Live)
            }
            LastEvent::Shared(position) if route.is_shared() => (None, Start::After(position)),
            // The route shared its streams when the client was here last.
            LastEvent::Shared(_) => (None, Start::Gone),
            LastEvent::None | LastEvent::End => (None, Start::Live),
        };
        Ok(Begun::Call(Box::new(Opened { route, upstream, head, message, captures, query, resume, start })))
    }

    /// Where an event stream is to go on.
    fn take_last_event(
        &self,
        route: &Route,
        query: Option<Cow<'c, str>>,
    ) -> Result<(LastEvent, Option<Cow<'c, str>>), Status> {
        if self.dialect != Dialect::Sse {
            return Ok((LastEvent::None, query));
        }
        let (parameter, query) = self.take_own(route, sse::QUERY_EVENT_ID, query)?;
        Ok((LastEvent::of(&self.head.headers, parameter.as_deref())?, query))
    }

    /// What the route and the dialect together do not allow.
    fn check(&self, route: &Route) -> Result<(), Status> {
        match self.dialect {
            Dialect::Grpc => return grpc::check(self.head),
            Dialect::GrpcWeb => grpc_web::check(self.head)?,
            Dialect::Connect => connect::check(self.head, route.client_streaming, route.server_streaming)?,
            _ => {}
        }
        if route.has_schema && !self.dialect.carries(route.client_streaming, route.server_streaming) {
            let text = format!("{} cannot carry a stream of requests", self.dialect.name());
            return Err(Status::client(Code::Unimplemented, text)
                .with_http(StatusCode::NOT_ACCEPTABLE)
                .with_reason(Reason::UnsupportedByDialect));
        }
        if self.dialect.is_grpc() {
            return Ok(());
        }
        self.check_protobuf(route)?;
        let by_link = route.is_method_path && dialect::is_safe(&self.head.method);
        let unasked =
            !dialect::is_safe(&self.head.method) && self.origin == OriginCheck::Foreign && is_unasked(self.head);
        if self.dialect == Dialect::WebSocket || by_link || unasked {
            self.snapshot.cors.refuse_cross_site(&self.head.headers, self.origin)?;
        }
        Ok(())
    }

    /// What a rule picks of a message may be no message itself: then only JSON can tell it.
    fn check_protobuf(&self, route: &Route) -> Result<(), Status> {
        let (codec, binding) = (&self.snapshot.codec, &route.binding);
        if self.dialect == Dialect::Protobuf && !binding.reply_is_message(codec) {
            let text = "the reply is a field that is no message: protobuf cannot tell it alone";
            return Err(Status::client(Code::Unimplemented, text)
                .with_http(StatusCode::NOT_ACCEPTABLE)
                .with_reason(Reason::UnsupportedByDialect));
        }
        if binding.takes_body() && !binding.request_is_message(codec) && dialect::sends_protobuf(&self.head.headers) {
            let text = "the body is a field that is no message: protobuf cannot give it alone";
            return Err(Status::client(Code::InvalidArgument, text)
                .with_http(StatusCode::UNSUPPORTED_MEDIA_TYPE)
                .with_reason(Reason::UnsupportedMediaType));
        }
        Ok(())
    }

    /// Takes a parameter of the gateway's own out of the query, where this route has it.
    fn take_own(
        &self,
        route: &Route,
        name: &'static str,
        query: Option<Cow<'c, str>>,
    ) -> Result<(Option<String>, Option<Cow<'c, str>>), Status> {
        let ours = match name {
            "message" => route.is_method_path && dialect::is_safe(&self.head.method),
            sse::QUERY_EVENT_ID => route.policy.settings.sse.query_event_id,
            _ => route.policy.settings.query_token,
        };
        let may_hold = |text: &&str| ours && (text.contains(name) || text.contains('%'));
        let Some(text) = query.as_deref().filter(may_hold) else { return Ok((None, query)) };
        let (value, rest) = take_parameter(text, name);
        match value {
            None => Ok((None, query)),
            Some(Ok(value)) => Ok((Some(value), (!rest.is_empty()).then_some(Cow::Owned(rest)))),
            Some(Err(what)) => Err(invalid_parameter(name, what)),
        }
    }

    fn call_head(&self, route: &Route, upstream: usize, token: Option<String>) -> Result<CallHead, Status> {
        let headers = &self.head.headers;
        let rules = &route.policy.headers;
        let (mut metadata, path) = match self.dialect {
            Dialect::Grpc => (rules.grpc_request(headers, &self.client, self.id)?, self.grpc_path()),
            Dialect::GrpcWeb => (rules.browser_request(headers, &self.client, self.id)?, self.grpc_path()),
            Dialect::Connect | Dialect::Mux => (rules.browser_request(headers, &self.client, self.id)?, None),
            _ => (rules.request(headers, &self.client, self.id)?, None),
        };
        match self.dialect {
            Dialect::Grpc => {}
            Dialect::GrpcWeb => metadata::copy_encodings(headers, &mut metadata),
            Dialect::Connect if matches!(self.connect_form(), Some(Form::Stream(_))) => {
                connect::encodings(headers, &mut metadata);
            }
            _ => Sealing::new(self.snapshot, upstream).announce(&mut metadata),
        }
        if let Some(token) = token {
            let value = bearer(&token).ok_or_else(|| invalid_parameter("access_token", "not a token"))?;
            if metadata.insert(header::AUTHORIZATION, value).is_some() {
                return Err(second_token("the query"));
            }
        }
        let limit = match (route.policy.settings.timeout, route.streams()) {
            (Timeout::After(limit), _) => Some(limit),
            (Timeout::Default, false) => Some(self.snapshot.limits.unary_timeout),
            (Timeout::None, _) | (Timeout::Default, true) => None,
        };
        let timeout: Option<Duration> = match (requested_timeout(headers)?, limit) {
            (Some(asked), Some(limit)) => Some(asked.min(limit)),
            (asked, limit) => asked.or(limit),
        };
        Ok(CallHead {
            path: path.unwrap_or_else(|| route.path.clone()),
            content_type: HeaderValue::from_static("application/grpc"),
            metadata,
            // A deadline too far away for the clock is none.
            deadline: timeout.and_then(|timeout| self.started.checked_add(timeout)),
        })
    }

    /// The path of a gRPC request. A query is no part of it: what was routed is what the upstream gets, and no token
    /// that stood there.
    fn grpc_path(&self) -> Option<PathAndQuery> {
        let whole = self.head.uri.path_and_query()?;
        match whole.query() {
            None => Some(whole.clone()),
            Some(_) => whole.path().parse().ok(),
        }
    }

    /// This worker's way to the call's upstream, and by chance to a mirror.
    pub(super) fn destination(&self, opened: &Opened<'_>) -> Result<Destination, Status> {
        let Worker { pools, ids, room, recorder, .. } = &**self.worker;
        let pool = pools.get(opened.upstream).cloned().ok_or_else(|| {
            Status::gateway(Code::Internal, "the call's upstream is not there").with_reason(Reason::Internal)
        })?;
        let copied = opened.route.mirror.filter(|mirror| mirror.takes(ids.random()));
        let mirror = copied.and_then(|mirror| {
            Some(Mirror { pool: pools.get(mirror.upstream)?.clone(), room: room.clone(), recorder: recorder.clone() })
        });
        let expires = opened.route.policy.settings.token_expiry == TokenExpiry::End && opened.route.streams();
        let (shared, reading_on) = (self.shared(opened), self.reading_on(opened));
        Ok(Destination { direct: Direct { pool, mirror }, shared, reading_on, expires })
    }

    /// The envelope of a call's only request message, made of path, query and body.
    pub(super) async fn request_envelope<B: RequestBody>(
        &self,
        opened: &Opened<'_>,
        bound: &mut Bound,
        body: B,
        record: &mut Record,
    ) -> Result<Bytes, Status> {
        let (codec, binding) = (&self.snapshot.codec, &opened.route.binding);
        let sent = if binding.takes_body() && opened.message.is_none() && !dialect::is_safe(&self.head.method) {
            let kind = match self.connect_form() {
                Some(form) => form.codec().body(),
                None => BodyKind::of(&self.head.headers, codec, binding, opened.route.client_streaming)?,
            };
            Some((kind, self.read_whole(body, opened.head.deadline).await?))
        } else {
            // A body where none belongs is refused unless it is empty, which its end may have to tell.
            let is_empty = body.is_end_stream()
                || body.size_hint().lower() == 0 && self.read_whole(body, opened.head.deadline).await?.is_empty();
            if !is_empty {
                return Err(unwanted_body(binding.takes_body()));
            }
            opened.message.clone()
        };
        let mut envelope = Vec::with_capacity(128 + sent.as_ref().map_or(0, |(_, bytes)| bytes.len()));
        let start = wire::open_envelope(&mut envelope);
        match &sent {
            Some((BodyKind::Raw | BodyKind::RawPieces, bytes)) => {
                bound.http_body(codec, binding, self.content_type(), bytes, &mut envelope)
            }
            Some((BodyKind::Form, bytes)) => codec::Form::urlencoded(codec, binding, bound, bytes)
                .and_then(|form| bound.form(codec, binding, form, &mut envelope)),
            Some((BodyKind::Protobuf | BodyKind::Delimited, bytes)) => {
                bound.protobuf(codec, binding, bytes, &mut envelope)
            }
            Some((BodyKind::Multipart(boundary), bytes)) => {
                let mut form = FormReader::new(*boundary, false, self.snapshot.limits.request_message_bytes_max);
                form.push(bytes.clone());
                form.end();
                form.next_message(codec, binding, bound, &mut envelope).map_err(FormError::into_status)?;
                Ok(())
            }
            Some((BodyKind::Uncut, bytes)) => {
                envelope.extend_from_slice(bytes);
                Ok(())
            }
            // No JSON at all is none: only plain HTTP takes it for a message.
            Some((_, bytes)) if bytes.is_empty() && self.dialect == Dialect::Connect => {
                bound.message(codec, binding, Some(b" "), &mut envelope)
            }
            sent => bound.message(codec, binding, sent.as_ref().map(|(_, bytes)| &**bytes), &mut envelope),
        }
        .map_err(InputError::into_status)?;
        let len = Sealing::new(self.snapshot, opened.upstream).close(&mut envelope, start)?;
        record.left_out(&bound.take_left_out());
        record.request_message(len);
        Ok(envelope.into())
    }

    /// None in other dialects.
    pub(super) fn connect_form(&self) -> Option<Form> {
        (self.dialect == Dialect::Connect).then(|| Form::of(self.head)).flatten()
    }

    /// What `google.api.HttpBody` is told of the body.
    pub(super) fn content_type(&self) -> &str {
        self.head.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The next frame of a request's body, waited for no longer than its silence and the call may last.
    pub(super) async fn next_frame<B: RequestBody>(
        &self,
        body: &mut B,
        deadline: Option<Instant>,
    ) -> Result<Option<Frame<Bytes>>, Status> {
        let silence = Instant::now() + self.snapshot.limits.body_timeout;
        let until = deadline.map_or(silence, |deadline| deadline.min(silence));
        match timeout_at(until, body.frame()).await {
            Ok(frame) => frame.transpose().map_err(|cause| broken_body(cause.into())),
            Err(_) if until == silence => Err(body_timeout()),
            Err(_) => Err(late_body()),
        }
    }

    /// All of a request's body.
    ///
    /// # Errors
    /// 413 for more than a message may have, 408 for one that does not come.
    pub(super) async fn read_whole<B: RequestBody>(
        &self,
        mut body: B,
        deadline: Option<Instant>,
    ) -> Result<Bytes, Status> {
        let limits = &self.snapshot.limits;
        let mut decoder = RequestDecoder::new(BodyKind::Raw, limits.request_message_bytes_max);
        let declared = body.size_hint().lower();
        decoder.check_length(declared).map_err(dialect::DecodeError::into_status)?;
        while !body.is_end_stream() {
            match self.next_frame(&mut body, deadline).await?.map(Frame::into_data) {
                Some(Ok(data)) => decoder.push(data).map_err(dialect::DecodeError::into_status)?,
                // Trailers say nothing here.
                Some(Err(_)) => {}
                None => break,
            }
        }
        decoder.end();
        let piece = decoder.next_piece().map_err(dialect::DecodeError::into_status)?;
        Ok(piece.map(|piece| piece.bytes).unwrap_or_default())
    }
}

impl Opened<'_> {
    /// One request message, one reply.
    pub(super) fn is_unary(&self) -> bool {
        !self.route.client_streaming && !self.route.server_streaming
    }

    /// The largest body, where it is one message; each message of a stream has its own limit.
    pub(super) fn body_bytes_max(&self, limits: &Limits) -> usize {
        if self.route.client_streaming { usize::MAX } else { limits.request_message_bytes_max }
    }

    /// Binds what the URL says.
    ///
    /// # Errors
    /// 400 with the parameter or the variable.
    pub(super) fn bind(&self, call: &Call<'_>) -> Result<Bound, Status> {
        let mode = if call.dialect == Dialect::WebSocket { QueryMode::Fill } else { QueryMode::Strict };
        let captures: SmallVec<[&str; 4]> = self.captures.iter().map(AsRef::as_ref).collect();
        let (codec, binding) = (&call.snapshot.codec, &self.route.binding);
        let bound = binding.bind(codec, &captures, self.query.as_deref(), mode).and_then(|mut bound| {
            if let Some(id) = &self.resume {
                bound.resume(codec, binding, id)?;
            }
            Ok(bound)
        });
        bound.map_err(InputError::into_status)
    }
}

/// A token in two places: whoever checked one of them in front knows nothing of the other (RFC 6750 §2).
pub(super) fn second_token(place: &str) -> Status {
    let what = format!("{place} gives a token too");
    Status::client(Code::InvalidArgument, format!("header authorization: {what}"))
        .with_reason(Reason::InvalidHeader)
        .with_violation("authorization", what)
}

fn unwanted_body(is_by_verb: bool) -> Status {
    let text = if is_by_verb { "the URL gives the message, so there is no body" } else { "this method takes no body" };
    Status::client(Code::InvalidArgument, text)
        .with_reason(Reason::InvalidMessage)
        .with_violation("body", "there is none")
}

fn invalid_parameter(name: &'static str, what: &'static str) -> Status {
    Status::client(Code::InvalidArgument, format!("query parameter {name}: {what}"))
        .with_reason(Reason::InvalidQuery)
        .with_violation(name, what)
}

/// The client broke off its request, or framed it wrongly.
pub(super) fn broken_body(cause: BodyError) -> Status {
    if let Some(error) = cause.downcast_ref::<InflateError>() {
        return unsound_coding(*error);
    }
    if is_malformed(&*cause) {
        return Status::client(Code::InvalidArgument, "the request's body is not framed as HTTP says")
            .with_reason(Reason::InvalidMessage)
            .with_cause(cause);
    }
    Status::client(Code::Cancelled, "the request ended before its body did")
        .with_reason(Reason::RequestAborted)
        .with_cause(cause)
}

/// What came is not compressed as the head says, or stands for too much.
fn unsound_coding(error: InflateError) -> Status {
    if let InflateError::TooLarge { max } = error {
        return dialect::DecodeError::TooLarge { max }.into_status();
    }
    Status::client(Code::InvalidArgument, format!("the request's body is not what its content-encoding says: {error}"))
        .with_reason(Reason::InvalidMessage)
        .with_violation("body", error.to_string())
}

/// Whether the HTTP library could not read what came: it says so by an I/O error within its own.
fn is_malformed(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source())
        .filter_map(|error| error.downcast_ref::<io::Error>())
        .any(|error| matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData))
}

/// The client sent for longer than its call may last.
fn late_body() -> Status {
    Status::client(Code::DeadlineExceeded, "the call's deadline passed before its request was whole")
        .with_reason(Reason::DeadlineExceeded)
}

fn body_timeout() -> Status {
    Status::client(Code::DeadlineExceeded, "the request's body did not arrive in time")
        .with_http(StatusCode::REQUEST_TIMEOUT)
        .with_reason(Reason::RequestAborted)
}
