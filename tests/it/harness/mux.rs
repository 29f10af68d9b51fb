//! A client of `tidegate.mux` that tells frames in JSON, whatever carries them: a WebSocket, or a session over plain HTTP in
//! any of its framings.

use std::{
    collections::{HashMap, VecDeque},
    pin::pin,
};

use bytes::Bytes;
use prost::Message as _;
use serde_json::{Value, json};

use super::{
    Conn, Gateway, Via, Whole, binary,
    http::{Broken, Download, Headers, Upload},
    lines, sse,
    ws::{Frame, WebSocket},
};
use crate::proto::mux;

pub const PATH: &str = "/-/mux";
pub const ECHO: &str = "tidegate.test.v1.Echo";

/// What carries frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    Socket,
    Lines,
    Events,
    Delimited,
}

impl Carrier {
    /// Over plain HTTP.
    pub const SESSIONS: [Self; 3] = [Self::Lines, Self::Events, Self::Delimited];
    /// With what they go over.
    pub const WAYS: [(Self, Via); 8] = [
        (Self::Socket, Via::H1Tls),
        (Self::Socket, Via::H2Tls),
        (Self::Lines, Via::H1),
        (Self::Lines, Via::H2Tls),
        (Self::Events, Via::H1),
        (Self::Events, Via::H2Tls),
        (Self::Delimited, Via::H1),
        (Self::Delimited, Via::H2Tls),
    ];

    pub fn accept(self) -> &'static str {
        match self {
            Self::Socket => "",
            Self::Lines => "application/x-ndjson",
            Self::Events => "text/event-stream",
            Self::Delimited => "application/x-protobuf",
        }
    }

    /// The content type of what goes up.
    pub fn sends(self) -> &'static str {
        if self == Self::Delimited { "application/x-protobuf" } else { "application/x-ndjson" }
    }
}

/// A client of many calls.
pub struct Client {
    pub line: Line,
    /// Frames of other calls than the one that was waited for; of none, 0, what answers pings.
    pub held: HashMap<u64, Vec<Value>>,
    methods: Methods,
}

pub enum Line {
    Socket(WebSocket),
    Session(Session),
}

impl Client {
    pub async fn open(gateway: &Gateway, carrier: Carrier, via: Via) -> Self {
        Self::open_with(gateway, carrier, via, &[("accept-language", "sv")]).await
    }

    /// Brings headers along.
    pub async fn open_with(gateway: &Gateway, carrier: Carrier, via: Via, headers: Headers<'_>) -> Self {
        if carrier == Carrier::Socket {
            let headers = [&[("sec-websocket-protocol", "tidegate.mux")], headers].concat();
            let socket = WebSocket::open(gateway, via, PATH, &headers).await.expect("a WebSocket");
            assert_eq!(socket.headers["sec-websocket-protocol"], "tidegate.mux");
            return Self::of(Line::Socket(socket));
        }
        Self::of(Line::Session(Session::open(gateway, carrier, via, headers).await))
    }

    pub fn of(line: Line) -> Self {
        Self { line, held: HashMap::new(), methods: Methods::default() }
    }

    pub async fn send(&mut self, frame: Value) {
        self.send_all(&[frame]).await;
    }

    /// In one POST where there are POSTs.
    pub async fn send_all(&mut self, frames: &[Value]) {
        match &mut self.line {
            Line::Socket(socket) => {
                for frame in frames {
                    assert!(socket.text(frame.to_string()).await, "the socket is closed");
                }
            }
            Line::Session(session) => {
                let carrier = session.carrier;
                let body = frames.iter().flat_map(|frame| carrier.write(frame, &mut self.methods)).collect();
                let answer = session.post_and_listen(body, &self.methods).await;
                assert_eq!((answer.status.as_u16(), answer.text().as_str()), (204, ""), "{answer:?}");
            }
        }
    }

    /// Opens a call, which does as it is told.
    pub async fn call(&mut self, id: u64, method: &str, behave: &str) {
        self.send(call(id, method, behave)).await;
    }

    pub async fn any(&mut self) -> Value {
        match &mut self.line {
            Line::Socket(socket) => match socket.next().await {
                Frame::Text(text) => serde_json::from_str(&text).expect("a frame is JSON"),
                other => panic!("{other:?}"),
            },
            Line::Session(session) => session.next(&self.methods).await.expect("no end").expect("not cut"),
        }
    }

    /// The next frame of a call, its head left out; for 0 the next that is no call's.
    pub async fn next(&mut self, id: u64) -> Value {
        loop {
            let held = self.held.entry(id).or_default();
            let frame = if held.is_empty() { self.any().await } else { held.remove(0) };
            match frame["id"].as_u64() {
                Some(own) if own == id && frame.get("head").is_some() => {}
                Some(own) if own == id => return frame,
                Some(other) => self.held.entry(other).or_default().push(frame),
                // It breaks a silence.
                None if frame.get("ping").is_some() => {}
                None if id == 0 => return frame,
                None if frame.get("pong").or(frame.get("renew")).is_some() => {
                    self.held.entry(0).or_default().push(frame);
                }
                None => panic!("{frame}"),
            }
        }
    }

    pub async fn message(&mut self, id: u64) -> Value {
        let frame = self.next(id).await;
        frame.get("message").unwrap_or_else(|| panic!("no message: {frame}")).clone()
    }

    /// A call's end.
    pub async fn status(&mut self, id: u64) -> Value {
        let mut frame = self.next(id).await;
        assert!(frame.get("status").is_some(), "no status: {frame}");
        frame["status"].take()
    }

    /// Code and reason of the end; frames before it are passed over.
    pub async fn closed(&mut self) -> (u16, String) {
        loop {
            match &mut self.line {
                Line::Socket(socket) => match socket.next().await {
                    Frame::Close(Some(close)) => return close,
                    Frame::Text(_) | Frame::Binary(_) => {}
                    other => panic!("{other:?}"),
                },
                Line::Session(session) => {
                    let frame = session.next(&self.methods).await.expect("a close").expect("not cut");
                    let Some(close) = frame.get("close") else { continue };
                    let code = u16::try_from(close["code"].as_u64().expect("a code")).expect("16 bits");
                    assert_eq!(session.next(&self.methods).await, None, "the body ends in order");
                    return (code, close["reason"].as_str().expect("a reason").to_owned());
                }
            }
        }
    }

    /// The body of a POST.
    pub fn body(&mut self, frames: &[Value]) -> Vec<u8> {
        let carrier = self.session().carrier;
        frames.iter().flat_map(|frame| carrier.write(frame, &mut self.methods)).collect()
    }

    /// Drops the way down; what POSTs went over stays.
    pub fn hang_up(self) -> Conn {
        match self.line {
            Line::Session(session) => session.conn,
            Line::Socket(_) => panic!("no session"),
        }
    }

    pub fn session(&mut self) -> &mut Session {
        match &mut self.line {
            Line::Session(session) => session,
            Line::Socket(_) => panic!("no session"),
        }
    }
}

pub fn call(id: u64, method: &str, behave: &str) -> Value {
    let metadata = if behave.is_empty() { json!({}) } else { json!({ "x-behave": behave }) };
    json!({ "id": id, "open": { "method": format!("{ECHO}/{method}"), "metadata": metadata } })
}

/// A session over plain HTTP.
pub struct Session {
    pub carrier: Carrier,
    /// For POSTs; over HTTP/2 the GET's too.
    pub conn: Conn,
    /// Over HTTP/1.1 the GET has one of its own.
    _down: Option<Conn>,
    reader: Reader,
    /// Read while a POST was on its way.
    read: VecDeque<Told>,
    pub id: String,
    /// Of the last POST.
    pub sequence: u64,
}

impl Session {
    pub async fn open(gateway: &Gateway, carrier: Carrier, via: Via, headers: Headers<'_>) -> Self {
        Self::open_at(gateway, PATH, carrier, via, headers).await
    }

    pub async fn open_at(gateway: &Gateway, target: &str, carrier: Carrier, via: Via, headers: Headers<'_>) -> Self {
        let mut conn = gateway.connect(via).await;
        let headers = [&[("accept", carrier.accept())], headers].concat();
        let mut download = conn.begin("GET", target, &headers, None).await;
        let head = download.head().await.expect("a head");
        assert_eq!(head.status(), 200);
        for (name, value) in
            [("content-type", carrier.accept()), ("cache-control", "no-store"), ("x-accel-buffering", "no")]
        {
            assert_eq!(head.headers()[name], value, "{carrier:?}");
        }
        let mut reader = Reader::new(carrier, download);
        let first = reader.next(&Methods::default()).await.expect("a first frame").expect("not cut");
        let id = first["session"].as_str().unwrap_or_else(|| panic!("{first}")).to_owned();
        assert_eq!((id.len(), first), (22, json!({ "session": id })));
        let (conn, down) = if via.is_h2() { (conn, None) } else { (gateway.connect(via).await, Some(conn)) };
        Self { carrier, conn, _down: down, reader, read: VecDeque::new(), id, sequence: 0 }
    }

    /// The next frame; none at a proper end of the body.
    pub async fn next(&mut self, methods: &Methods) -> Told {
        match self.read.pop_front() {
            Some(told) => told,
            None => self.reader.next(methods).await,
        }
    }

    /// The next POST. A session takes no frames from who does not read what it tells.
    async fn post_and_listen(&mut self, body: Vec<u8>, methods: &Methods) -> Whole {
        self.sequence += 1;
        let sequence = self.sequence.to_string();
        let headers = post_headers(self.carrier, &self.id, &sequence);
        let mut post = pin!(self.conn.whole("POST", PATH, &headers, Some(body.into())));
        loop {
            tokio::select! {
                biased;
                answer = &mut post => return answer,
                told = self.reader.next(methods) => {
                    let goes_on = told.as_ref().is_some_and(Result::is_ok);
                    self.read.push_back(told);
                    if !goes_on {
                        return post.await;
                    }
                }
            }
        }
    }

    /// The next POST.
    pub async fn post(&mut self, body: impl Into<Bytes>) -> Whole {
        self.sequence += 1;
        self.post_again(body).await
    }

    /// A POST of the same number as the last.
    pub async fn post_again(&mut self, body: impl Into<Bytes>) -> Whole {
        let sequence = self.sequence.to_string();
        let headers = post_headers(self.carrier, &self.id, &sequence);
        self.conn.whole("POST", PATH, &headers, Some(body.into())).await
    }

    /// The next POST, with headers of another kind besides.
    pub async fn post_with(&mut self, headers: Headers<'_>, body: impl Into<Bytes>) -> Whole {
        self.sequence += 1;
        let sequence = self.sequence.to_string();
        let headers = [&post_headers(self.carrier, &self.id, &sequence)[..], headers].concat();
        self.conn.whole("POST", PATH, &headers, Some(body.into())).await
    }

    /// The next POST, whose body is still to come.
    pub async fn begin_post(&mut self) -> (Upload, Download) {
        self.sequence += 1;
        let sequence = self.sequence.to_string();
        self.conn.stream("POST", PATH, &post_headers(self.carrier, &self.id, &sequence)).await
    }
}

/// What each POST says of itself.
pub fn post_headers<'h>(carrier: Carrier, id: &'h str, sequence: &'h str) -> [(&'h str, &'h str); 3] {
    [("content-type", carrier.sends()), ("tidegate-session", id), ("tidegate-sequence", sequence)]
}

/// What a reader gives.
type Told = Option<Result<Value, Broken>>;

/// Reads a session's frames.
pub enum Reader {
    Lines(lines::Reader),
    Events(sse::Reader),
    Delimited(Download, Vec<u8>),
}

impl Reader {
    pub fn new(carrier: Carrier, download: Download) -> Self {
        match carrier {
            Carrier::Lines => Self::Lines(lines::Reader::new(download)),
            Carrier::Events => Self::Events(sse::Reader::new(download)),
            Carrier::Delimited => Self::Delimited(download, Vec::new()),
            Carrier::Socket => panic!("no session"),
        }
    }

    /// None at a proper end of the body.
    pub async fn next(&mut self, methods: &Methods) -> Told {
        match self {
            Self::Lines(reader) => reader.next().await,
            Self::Events(reader) => loop {
                let event = match reader.next().await? {
                    Ok(event) => event,
                    Err(broken) => return Some(Err(broken)),
                };
                assert_eq!(event.name, None, "messages are what EventSource tells without being asked");
                let Some(data) = event.data else { continue };
                let frame: Value = serde_json::from_str(&data).expect("a frame is JSON");
                let ends = frame.get("close").is_some_and(|close| close["code"] != 1012);
                assert_eq!(event.id.as_deref(), ends.then_some("~end"), "{frame}");
                return Some(Ok(frame));
            },
            Self::Delimited(download, held) => loop {
                if let Some(frame) = take(held) {
                    return Some(Ok(methods.json(&frame)));
                }
                match download.piece().await {
                    Some(Ok(piece)) => held.extend_from_slice(&piece),
                    Some(Err(broken)) => return Some(Err(broken)),
                    None => {
                        assert!(held.is_empty(), "half a frame at the end: {held:?}");
                        return None;
                    }
                }
            },
        }
    }
}

fn take(held: &mut Vec<u8>) -> Option<mux::Frame> {
    let mut rest = held.as_slice();
    let len = usize::try_from(prost::encoding::decode_varint(&mut rest).ok()?).expect("a sane length");
    let frame = mux::Frame::decode(rest.get(..len)?).expect("a frame");
    held.drain(..held.len() - rest.len() + len);
    Some(frame)
}

/// The methods of calls, whose messages are told in protobuf.
#[derive(Default)]
pub struct Methods(HashMap<u64, String>);

impl Methods {
    /// The messages of a call's requests and replies.
    fn messages(&self, id: u64) -> (&'static str, &'static str) {
        match self.0.get(&id).map_or("", |method| method.rsplit('/').next().expect("a last part")) {
            "Say" | "Chat" => ("Msg", "Msg"),
            "Down" => ("StreamReq", "Msg"),
            "Up" => ("Msg", "Sum"),
            "Fail" => ("FailReq", "Msg"),
            other => panic!("the messages of {other:?} are not known here"),
        }
    }

    fn json(&self, frame: &mux::Frame) -> Value {
        let mut json = json!({});
        let id = u64::from(frame.id);
        if id > 0 {
            json["id"] = id.into();
        }
        if let Some(head) = &frame.head {
            json["head"] = json!({ "metadata": head.metadata });
        }
        if let Some(message) = &frame.message {
            json["message"] = binary::decode(self.messages(id).1, message);
        }
        if let Some(status) = &frame.status {
            let details: Vec<_> = status.details.iter().map(|any| json!({ "reason": reason(&any.value) })).collect();
            let (code, message, trailers) = (status.code, &status.message, &status.trailers);
            json["status"] = json!({ "code": code, "message": message, "details": details, "trailers": trailers });
        }
        if frame.credit > 0 {
            json["credit"] = frame.credit.into();
        }
        for (name, number) in [("ping", frame.ping), ("pong", frame.pong)] {
            if let Some(number) = number {
                json[name] = number.into();
            }
        }
        if let Some(away) = &frame.go_away {
            json["go_away"] = json!({ "reason": away.reason });
        }
        if let Some(renew) = &frame.renew {
            let left: std::time::Duration = renew.expires_in.expect("a time").try_into().expect("positive");
            json["renew"] = json!({ "expires_in": format!("{}s", left.as_secs_f64()) });
        }
        if !frame.session.is_empty() {
            json["session"] = frame.session.as_str().into();
        }
        if let Some(close) = &frame.close {
            json["close"] = json!({ "code": close.code, "reason": close.reason });
        }
        json
    }

    fn proto(&self, frame: &Value) -> mux::Frame {
        let id = frame["id"].as_u64().unwrap_or_default();
        let number = |value: &Value| u32::try_from(value.as_u64().unwrap_or_default()).expect("32 bits");
        let open = frame.get("open").map(|open| mux::Open {
            method: open["method"].as_str().expect("a method").to_owned(),
            metadata: open
                .get("metadata")
                .map_or_else(HashMap::new, |metadata| serde_json::from_value(metadata.clone()).expect("texts")),
            timeout: open.get("timeout").map(|timeout| {
                let seconds: f64 = timeout.as_str().and_then(|text| text.strip_suffix('s')?.parse().ok()).expect("5s");
                std::time::Duration::from_secs_f64(seconds).try_into().expect("not so long")
            }),
        });
        mux::Frame {
            id: number(&frame["id"]),
            open,
            message: frame.get("message").map(|message| binary::encode(self.messages(id).0, message)),
            half_close: frame["half_close"] == true,
            credit: number(&frame["credit"]),
            cancel: frame["cancel"] == true,
            ping: frame["ping"].as_u64(),
            token: frame["token"].as_str().unwrap_or_default().to_owned(),
            ..Default::default()
        }
    }
}

impl Carrier {
    fn write(self, frame: &Value, methods: &mut Methods) -> Vec<u8> {
        if let (Some(id), Some(method)) = (frame["id"].as_u64(), frame["open"]["method"].as_str()) {
            methods.0.insert(id, method.to_owned());
        }
        match self {
            Self::Delimited => binary::delimited(&methods.proto(frame).encode_to_vec()),
            _ => format!("{frame}\n").into_bytes(),
        }
    }
}

/// `google.rpc.ErrorInfo.reason`.
fn reason(detail: &[u8]) -> String {
    #[derive(prost::Message)]
    struct ErrorInfo {
        #[prost(string, tag = "1")]
        reason: String,
    }
    ErrorInfo::decode(detail).map(|info| info.reason).unwrap_or_default()
}
