//! One call in any dialect: the same steps in, the same steps out, and how the dialect told the end.

use std::{
    fmt,
    sync::atomic::{AtomicU32, Ordering},
};

use bytes::Bytes;
use http::Response;
use prost::Message;
use serde_json::{Value, json};

use super::{
    Conn, Gateway, Via, array, binary,
    connect::{self, ConnectCall},
    envelopes::{EnvelopedCall, Form},
    grpc_call::{GrpcCall, RpcStatus},
    http::{Broken, Download, Upload},
    lines, sse,
    ws::{Frame, WebSocket},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    Json,
    Ndjson,
    JsonSeq,
    Protobuf,
    Sse,
    WebSocket,
    Grpc,
    ConnectJson,
    ConnectProto,
    /// The same with its message in the query of a GET.
    ConnectGet,
    GrpcJson,
    GrpcWeb,
    GrpcWebText,
    GrpcWebJson,
}

impl Dialect {
    /// The media type that asks for it and that it answers with.
    fn media_type(self) -> &'static str {
        match self {
            Self::Ndjson => "application/x-ndjson",
            Self::JsonSeq => "application/json-seq",
            Self::Protobuf => "application/x-protobuf",
            Self::Sse => "text/event-stream",
            _ => "application/json",
        }
    }
}

/// The kind of method, by the one of `Echo` that stands for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `Say`
    Unary,
    /// `Down`
    ServerStream,
    /// `Up`
    ClientStream,
    /// `Chat`
    Bidi,
}

impl Kind {
    pub fn method(self) -> &'static str {
        match self {
            Self::Unary => "Say",
            Self::ServerStream => "Down",
            Self::ClientStream => "Up",
            Self::Bidi => "Chat",
        }
    }

    pub fn path(self) -> &'static str {
        match self {
            Self::Unary => "/echo/say",
            Self::ServerStream => "/echo/down",
            Self::ClientStream => "/echo/up",
            Self::Bidi => "/echo/chat",
        }
    }

    /// The names of its messages.
    pub fn messages(self) -> (&'static str, &'static str) {
        match self {
            Self::Unary | Self::Bidi => ("Msg", "Msg"),
            Self::ServerStream => ("StreamReq", "Msg"),
            Self::ClientStream => ("Msg", "Sum"),
        }
    }

    pub fn requests_stream(self) -> bool {
        matches!(self, Self::ClientStream | Self::Bidi)
    }

    pub fn replies_stream(self) -> bool {
        matches!(self, Self::ServerStream | Self::Bidi)
    }
}

/// How a call is to be made.
#[derive(Clone, Debug)]
pub struct Opening {
    pub dialect: Dialect,
    pub kind: Kind,
    pub via: Via,
    /// What the backend is asked to do (`backend::Script`).
    pub behave: String,
    pub timeout_ms: Option<u32>,
    /// The header `authorization`, unless empty.
    pub authorization: String,
    /// The message of a method that takes one.
    pub request: Value,
}

impl Opening {
    pub fn new(dialect: Dialect, kind: Kind, via: Via) -> Self {
        let request = match kind {
            Kind::ServerStream => json!({"text": "tick", "count": 3}),
            _ => json!({"text": "hello", "n": 7}),
        };
        Self { dialect, kind, via, behave: String::new(), timeout_ms: None, authorization: String::new(), request }
    }

    pub fn behave(mut self, script: &str) -> Self {
        script.clone_into(&mut self.behave);
        self
    }

    pub fn timeout_ms(mut self, timeout: u32) -> Self {
        self.timeout_ms = Some(timeout);
        self
    }

    pub fn authorization(mut self, value: &str) -> Self {
        value.clone_into(&mut self.authorization);
        self
    }

    pub fn request(mut self, request: Value) -> Self {
        self.request = request;
        self
    }

    /// Opens the call; a method that takes one message has it, and its half-close, at once.
    pub async fn open(&self, gateway: &Gateway) -> Call {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let id = format!("it-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let tongue = match self.dialect {
            Dialect::Grpc => Tongue::Grpc(GrpcCall::open(self, &id, gateway.address(self.via)).await),
            Dialect::WebSocket => self.open_websocket(&id, gateway).await,
            dialect => match (Form::of(dialect), connect::Form::of(dialect)) {
                (Some(form), _) => Tongue::Enveloped(Box::new(EnvelopedCall::open(self, form, &id, gateway).await)),
                (_, Some(form)) => Tongue::Connect(Box::new(ConnectCall::open(self, form, &id, gateway).await)),
                (None, None) => self.open_http(&id, gateway).await,
            },
        };
        Call { id, opening: self.clone(), tongue, sent: 0 }
    }

    fn headers(&self, id: &str) -> Vec<(&'static str, String)> {
        let mut headers = vec![("x-request-id", id.to_owned())];
        if !self.behave.is_empty() {
            headers.push(("grpc-metadata-x-behave", self.behave.clone()));
        }
        if !self.authorization.is_empty() {
            headers.push(("authorization", self.authorization.clone()));
        }
        if let Some(timeout) = self.timeout_ms {
            headers.push(("x-request-timeout", format!("{}", f64::from(timeout) / 1000.0)));
        }
        headers
    }

    async fn open_websocket(&self, id: &str, gateway: &Gateway) -> Tongue {
        // `Down` has a GET rule: its request is complete from the URL, and it starts at once.
        let complete = self.kind == Kind::ServerStream;
        let target = if complete { query(self.kind.path(), &self.request) } else { self.kind.path().to_owned() };
        let headers = self.headers(id);
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        match WebSocket::open(gateway, self.via, &target, &headers).await {
            Ok(mut socket) => {
                if self.kind == Kind::Unary {
                    socket.text(self.request.to_string()).await;
                }
                Tongue::WebSocket(Box::new(socket))
            }
            Err(response) => Tongue::Refused(Some(refusal(&response))),
        }
    }

    async fn open_http(&self, id: &str, gateway: &Gateway) -> Tongue {
        let mut conn = gateway.connect(self.via).await;
        let mut headers = self.headers(id);
        if self.dialect != Dialect::Json {
            headers.push(("accept", self.dialect.media_type().to_owned()));
        }
        // EventSource can only GET; what fits no URL is posted.
        let by_url =
            self.dialect == Dialect::Sse && self.request.to_string().len() < 1000 && !self.kind.requests_stream();
        if !by_url {
            let own = match self.dialect {
                Dialect::Ndjson | Dialect::JsonSeq => self.kind.requests_stream(),
                dialect => dialect == Dialect::Protobuf,
            };
            let kind = if own { self.dialect.media_type() } else { "application/json" };
            headers.push(("content-type", kind.to_owned()));
        }
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let (upload, download) = if self.kind.requests_stream() {
            let (upload, download) = conn.stream("POST", self.kind.path(), &headers).await;
            (Some(upload), download)
        } else if by_url {
            let path = match self.kind {
                Kind::Unary => format!("/echo/say/{}", self.request["text"].as_str().unwrap_or("-")),
                _ => self.kind.path().to_owned(),
            };
            let mut rest = self.request.clone();
            if self.kind == Kind::Unary {
                rest.as_object_mut().expect("an object").remove("text");
            }
            (None, conn.begin("GET", &query(&path, &rest), &headers, None).await)
        } else {
            let body = match self.dialect {
                Dialect::Protobuf => Bytes::from(binary::encode(self.kind.messages().0, &self.request)),
                _ => Bytes::from(self.request.to_string()),
            };
            (None, conn.begin("POST", self.kind.path(), &headers, Some(body)).await)
        };
        Tongue::Http(Box::new(HttpCall { conn, upload, reading: Reading::Head(Some(download)), head: None }))
    }
}

/// `path?field=value&…` of a flat message.
fn query(path: &str, message: &Value) -> String {
    let fields = message.as_object().expect("an object").iter();
    let pairs: Vec<String> = fields
        .map(|(name, value)| format!("{name}={}", value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
        .collect();
    if pairs.is_empty() { path.to_owned() } else { format!("{path}?{}", pairs.join("&")) }
}

/// What a call says next.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    Message(Value),
    End(End),
}

/// The end of a call, and how it was told.
#[derive(Clone, Debug, PartialEq)]
pub struct End {
    pub how: How,
    /// The gRPC code; none where the dialect tells only that it broke.
    pub code: Option<u32>,
    pub message: String,
    /// The types of the details, as `google.rpc.ErrorInfo`.
    pub details: Vec<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum How {
    /// An HTTP status: a whole answer, or a refusal before a stream's head.
    Http(u16),
    /// The array was closed and the body ended.
    Array,
    /// The body ended after an NDJSON line: the last message's, or the error's.
    Line,
    /// The body ended after a message in protobuf.
    Message,
    /// `event: status`, with its `id`.
    Event(Option<String>),
    /// A WebSocket close frame with this code.
    Close(u16),
    /// The envelope that ends a Connect stream.
    EndStream,
    /// gRPC trailers, wherever they stood.
    Trailers,
    /// The body or the socket was cut off.
    Cut(Broken),
}

impl End {
    fn ok(how: How) -> Self {
        Self { how, code: Some(0), message: String::new(), details: Vec::new() }
    }

    pub fn cut(broken: Broken) -> Self {
        Self { how: How::Cut(broken), code: None, message: String::new(), details: Vec::new() }
    }

    fn of_rpc_status(how: How, status: RpcStatus) -> Self {
        let details = status.details.iter().map(|any| type_name(&any.type_url)).collect();
        Self { how, code: u32::try_from(status.code).ok(), message: status.message, details }
    }

    /// From `google.rpc.Status` as JSON.
    fn of_status(how: How, status: &Value) -> Self {
        let code = status["code"].as_u64().unwrap_or_else(|| panic!("no google.rpc.Status: {status}"));
        let kinds = status["details"].as_array().into_iter().flatten();
        let details = kinds.map(|detail| type_name(detail["@type"].as_str().expect("details are Any"))).collect();
        Self {
            how,
            code: u32::try_from(code).ok(),
            message: status["message"].as_str().unwrap_or_default().to_owned(),
            details,
        }
    }
}

/// The message's name in a type URL.
pub fn type_name(url: &str) -> String {
    url.rsplit('/').next().unwrap_or_default().to_owned()
}

/// A refusal of a WebSocket handshake.
fn refusal(response: &Response<Option<Vec<u8>>>) -> End {
    let body = response.body().clone().unwrap_or_default();
    let how = How::Http(response.status().as_u16());
    match serde_json::from_slice::<Value>(&body) {
        Ok(status) => End::of_status(how, &status),
        Err(_) => End { how, code: None, message: String::from_utf8_lossy(&body).into_owned(), details: Vec::new() },
    }
}

/// A call under way; dropping it is a client that goes away.
pub struct Call {
    /// Its `x-request-id`.
    pub id: String,
    opening: Opening,
    tongue: Tongue,
    sent: usize,
}

enum Tongue {
    Http(Box<HttpCall>),
    WebSocket(Box<WebSocket>),
    Grpc(GrpcCall),
    Enveloped(Box<EnvelopedCall>),
    Connect(Box<ConnectCall>),
    /// A WebSocket that was never opened.
    Refused(Option<End>),
}

struct HttpCall {
    conn: Conn,
    upload: Option<Upload>,
    reading: Reading,
    head: Option<Response<()>>,
}

enum Reading {
    /// The head has not been taken.
    Head(Option<Download>),
    Array(array::Reader),
    Lines(lines::Reader),
    Binary(binary::Reader),
    Sse(sse::Reader),
    /// A whole answer: its message, then its end.
    Whole(Option<Value>),
}

impl Call {
    /// Sends a message of a request stream (or a WebSocket's first). False where the peer takes no more.
    pub async fn send(&mut self, message: &Value) -> bool {
        self.sent += 1;
        let (dialect, first) = (self.opening.dialect, self.sent == 1);
        match &mut self.tongue {
            Tongue::Http(call) => {
                let text = match dialect {
                    Dialect::Ndjson => format!("{message}\n").into_bytes(),
                    Dialect::JsonSeq => format!("\x1e{message}\n").into_bytes(),
                    Dialect::Protobuf => binary::delimited(&binary::encode(self.opening.kind.messages().0, message)),
                    _ if first => format!("[{message}").into_bytes(),
                    _ => format!(",{message}").into_bytes(),
                };
                call.upload.as_mut().expect("a request stream").send(text).await
            }
            Tongue::WebSocket(socket) => socket.text(message.to_string()).await,
            Tongue::Grpc(call) => call.send(message).await,
            Tongue::Enveloped(call) => call.send(message).await,
            Tongue::Connect(call) => call.send(message).await,
            Tongue::Refused(_) => false,
        }
    }

    /// Ends the request stream.
    pub async fn half_close(&mut self) {
        match &mut self.tongue {
            Tongue::Http(call) => {
                let upload = call.upload.as_mut().expect("a request stream");
                if self.opening.dialect == Dialect::Json {
                    upload.send(if self.sent == 0 { "[]" } else { "]" }).await;
                }
                upload.finish();
            }
            Tongue::WebSocket(socket) => {
                socket.text("").await;
            }
            Tongue::Grpc(call) => call.half_close(),
            Tongue::Enveloped(call) => call.half_close(),
            Tongue::Connect(call) => call.half_close(),
            Tongue::Refused(_) => {}
        }
    }

    pub async fn next(&mut self) -> Step {
        match &mut self.tongue {
            Tongue::Http(call) => call.next(&self.opening).await,
            Tongue::WebSocket(socket) => of_frame(socket.next().await),
            Tongue::Grpc(call) => call.next().await,
            Tongue::Enveloped(call) => call.next().await,
            Tongue::Connect(call) => call.next().await,
            Tongue::Refused(end) => Step::End(end.take().expect("asked once")),
        }
    }

    /// The next step, which must be a message.
    #[track_caller]
    pub fn message(&mut self) -> impl Future<Output = Value> {
        let place = std::panic::Location::caller();
        async move {
            match self.next().await {
                Step::Message(message) => message,
                end @ Step::End(_) => panic!("at {place}: a message was expected of {self:?}, not {end:?}"),
            }
        }
    }

    /// Everything up to the end.
    pub async fn rest(&mut self) -> (Vec<Value>, End) {
        let mut messages = Vec::new();
        loop {
            match self.next().await {
                Step::Message(message) => messages.push(message),
                Step::End(end) => return (messages, end),
            }
        }
    }

    /// Goes away from the call alone, where the connection can outlive it (HTTP/2).
    pub fn leave(self) -> Option<Conn> {
        match self.tongue {
            Tongue::Http(call) if call.conn.via().is_h2() => Some(call.conn),
            Tongue::Enveloped(call) if call.conn.via().is_h2() => Some(call.conn),
            Tongue::Connect(call) if call.conn.via().is_h2() => Some(call.conn),
            _ => None,
        }
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} {:?} {:?} ({:?})",
            self.opening.dialect, self.opening.kind, self.opening.via, self.opening.behave
        )
    }
}

impl HttpCall {
    async fn next(&mut self, opening: &Opening) -> Step {
        if let Reading::Head(download) = &mut self.reading {
            let mut download = download.take().expect("taken once");
            let head = match download.head().await {
                Ok(head) => head,
                Err(broken) => return Step::End(End::cut(broken)),
            };
            if let Some(end) = self.begin(opening, head, download).await {
                return Step::End(end);
            }
        }
        match &mut self.reading {
            Reading::Head(_) => unreachable!("the head was just taken"),
            Reading::Whole(message) => match message.take() {
                Some(message) => Step::Message(message),
                None => Step::End(End::ok(How::Http(200))),
            },
            Reading::Array(reader) => match reader.next().await {
                Some(Ok(message)) => Step::Message(message),
                Some(Err(broken)) => Step::End(End::cut(broken)),
                None => Step::End(End::ok(How::Array)),
            },
            Reading::Lines(reader) => next_line(reader).await,
            Reading::Binary(reader) => match reader.next().await {
                Some(Ok(message)) => Step::Message(message),
                Some(Err(broken)) => Step::End(End::cut(broken)),
                None => Step::End(End::ok(How::Message)),
            },
            Reading::Sse(reader) => next_event(reader).await,
        }
    }

    /// Chooses the reader for a reply's head; the end where that was already it.
    async fn begin(&mut self, opening: &Opening, head: Response<()>, download: Download) -> Option<End> {
        let status = head.status().as_u16();
        let kind = head.headers().get("content-type").map_or("", |value| value.to_str().expect("ASCII")).to_owned();
        self.head = Some(head.clone());
        if status != 200 {
            return Some(refused(opening, &kind, status, download).await);
        }
        let streams = opening.kind.replies_stream();
        assert_eq!(kind, opening.dialect.media_type(), "content-type of {opening:?}");
        if streams {
            assert_eq!(
                head.headers().get("cache-control").map(http::HeaderValue::as_bytes),
                Some(&b"no-store"[..]),
                "{opening:?}"
            );
            assert_eq!(
                head.headers().get("x-accel-buffering").map(http::HeaderValue::as_bytes),
                Some(&b"no"[..]),
                "{opening:?}"
            );
        }
        self.reading = match opening.dialect {
            Dialect::Ndjson => Reading::Lines(lines::Reader::new(download)),
            Dialect::JsonSeq => Reading::Lines(lines::Reader::records(download)),
            Dialect::Protobuf if streams => Reading::Binary(binary::Reader::new(download, opening.kind.messages().1)),
            Dialect::Sse => {
                let mut reader = sse::Reader::new(download);
                let first = reader.next().await.expect("an event").expect("an event");
                assert!(first.retry.is_some() && first.data.is_none(), "`retry` comes first, not {first:?}");
                Reading::Sse(reader)
            }
            _ if streams => Reading::Array(array::Reader::new(download)),
            _ => match whole(download).await {
                Ok(body) if opening.dialect == Dialect::Protobuf => {
                    Reading::Whole(Some(binary::decode(opening.kind.messages().1, &body)))
                }
                Ok(body) => Reading::Whole(Some(serde_json::from_slice(&body).expect("a JSON answer"))),
                Err(broken) => return Some(End::cut(broken)),
            },
        };
        None
    }
}

/// A whole answer that is no success: `google.rpc.Status`, in protobuf where that is spoken, else as JSON.
async fn refused(opening: &Opening, kind: &str, status: u16, download: Download) -> End {
    let how = How::Http(status);
    match whole(download).await {
        Ok(body) if opening.dialect == Dialect::Protobuf => {
            assert_eq!(kind, opening.dialect.media_type(), "content-type of {opening:?}");
            End::of_rpc_status(how, RpcStatus::decode(body.as_slice()).expect("a google.rpc.Status"))
        }
        Ok(body) => match serde_json::from_slice::<Value>(&body) {
            Ok(status) => End::of_status(how, &status),
            Err(_) => panic!("a refusal is no JSON: {:?}", String::from_utf8_lossy(&body)),
        },
        Err(broken) => End::cut(broken),
    }
}

async fn whole(mut download: Download) -> Result<Vec<u8>, Broken> {
    let mut body = Vec::new();
    while let Some(piece) = download.piece().await {
        body.extend_from_slice(&piece?);
    }
    Ok(body)
}

async fn next_line(reader: &mut lines::Reader) -> Step {
    match reader.next().await {
        Some(Ok(mut line)) => {
            let object = line.as_object_mut().expect("a line is an object");
            assert_eq!(object.len(), 1, "a line is a result or an error: {object:?}");
            if let Some(message) = object.remove("result") {
                return Step::Message(message);
            }
            let end = End::of_status(How::Line, &object["error"]);
            assert_eq!(reader.next().await, None, "the error is the last line");
            Step::End(end)
        }
        Some(Err(broken)) => Step::End(End::cut(broken)),
        None => Step::End(End::ok(How::Line)),
    }
}

async fn next_event(reader: &mut sse::Reader) -> Step {
    loop {
        let event = match reader.next().await {
            Some(Ok(event)) => event,
            Some(Err(broken)) => return Step::End(End::cut(broken)),
            None => panic!("the event stream ended without `event: status`"),
        };
        let Some(data) = &event.data else { continue };
        let data: Value =
            serde_json::from_str(data).unwrap_or_else(|error| panic!("data is no JSON ({error}): {data}"));
        match event.name.as_deref() {
            None => return Step::Message(data),
            Some("status") => {
                assert!(["code", "message", "details"].iter().all(|key| data.get(key).is_some()), "all keys: {data}");
                let end = End::of_status(How::Event(event.id), &data);
                assert_eq!(reader.next().await, None, "the status is the last event");
                return Step::End(end);
            }
            Some(name) => panic!("an event named {name:?}"),
        }
    }
}

fn of_frame(frame: Frame) -> Step {
    match frame {
        Frame::Text(text) => Step::Message(serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text:?}"))),
        Frame::Binary(bytes) => panic!("a binary frame where text was sent: {bytes:?}"),
        Frame::Gone => Step::End(End::cut(Broken::Connection("no close frame".to_owned()))),
        Frame::Close(None) => panic!("a close frame without a code"),
        Frame::Close(Some((code, reason))) => {
            assert!(reason.len() <= 123, "a reason fits a control frame");
            let number = match code {
                1000 => Some(0),
                4000..4100 => Some(u32::from(code) - 4000),
                _ => None,
            };
            let message = match (number, reason.split_once(": ")) {
                (Some(1..), Some((name, message))) => {
                    let code = tidegate::status::Code::from_number(number.unwrap_or_default());
                    assert_eq!(name, code.name(), "the reason names the code");
                    message.to_owned()
                }
                _ => reason,
            };
            Step::End(End { how: How::Close(code), code: number, message, details: Vec::new() })
        }
    }
}
