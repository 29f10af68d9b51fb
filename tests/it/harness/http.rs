//! HTTP clients: HTTP/1.1 by hyper, HTTP/2 by h2 (which lets a test hold a window shut), plain and over TLS.

use std::{fmt, future::Future, io, net::SocketAddr, pin::Pin};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::mpsc,
    task::JoinHandle,
};
use tokio_stream::{StreamExt, wrappers::ReceiverStream};

use super::{tls, within};

/// Which HTTP a connection speaks, and over what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    H1,
    H1Tls,
    H2c,
    H2Tls,
}

impl Via {
    pub const ALL: [Self; 4] = [Self::H1, Self::H1Tls, Self::H2c, Self::H2Tls];
    /// One of each HTTP version.
    pub const BOTH: [Self; 2] = [Self::H1, Self::H2Tls];

    pub fn is_tls(self) -> bool {
        matches!(self, Self::H1Tls | Self::H2Tls)
    }

    pub fn is_h2(self) -> bool {
        matches!(self, Self::H2c | Self::H2Tls)
    }
}

/// A byte stream of any kind.
pub trait Socket: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Socket for T {}

/// Opens a socket that will speak `via`; over TLS the version is agreed on by ALPN.
pub async fn dial(address: SocketAddr, via: Via) -> Box<dyn Socket> {
    let stream = within(TcpStream::connect(address)).await.expect("something listens there");
    stream.set_nodelay(true).expect("a socket option");
    if !via.is_tls() {
        return Box::new(stream);
    }
    let alpn: &[u8] = if via.is_h2() { b"h2" } else { b"http/1.1" };
    let stream = within(tls::connect(stream, &[alpn])).await.expect("a TLS handshake");
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(alpn), "ALPN");
    Box::new(stream)
}

/// How a request or a reply body was cut off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broken {
    Reset(h2::Reason),
    GoAway(h2::Reason),
    Connection(String),
}

impl Broken {
    fn of_h2(error: &h2::Error) -> Self {
        match error.reason() {
            Some(reason) if error.is_reset() => Self::Reset(reason),
            Some(reason) if error.is_go_away() => Self::GoAway(reason),
            _ => Self::Connection(error.to_string()),
        }
    }
}

/// A connection; dropping it closes the socket at once.
pub struct Conn {
    sender: Sender,
    driver: JoinHandle<Option<Broken>>,
    via: Via,
    authority: String,
}

type Body = UnsyncBoxBody<Bytes, io::Error>;

enum Sender {
    H1(hyper::client::conn::http1::SendRequest<Body>),
    H2(h2::client::SendRequest<Bytes>),
}

/// Headers of a request, in order.
pub type Headers<'a> = &'a [(&'a str, &'a str)];

impl Conn {
    pub async fn open(address: SocketAddr, via: Via) -> Self {
        let socket = dial(address, via).await;
        let authority = address.to_string();
        if !via.is_h2() {
            let (sender, driver) = within(hyper::client::conn::http1::handshake(TokioIo::new(socket))).await.unwrap();
            let driver = tokio::spawn(async move { driver.await.err().map(|e| Broken::Connection(e.to_string())) });
            return Self { sender: Sender::H1(sender), driver, via, authority };
        }
        let mut builder = h2::client::Builder::new();
        // A stream's window is small and the connection's huge: a reader that stops holds up its own stream only.
        builder.initial_window_size(1 << 16).initial_connection_window_size(1 << 30).data_frame_budget(usize::MAX >> 1);
        builder.enable_push(false);
        let (sender, driver) = within(builder.handshake(socket)).await.expect("an HTTP/2 preface");
        let driver = tokio::spawn(async move { driver.await.err().map(|error| Broken::of_h2(&error)) });
        Self { sender: Sender::H2(sender), driver, via, authority }
    }

    /// Asks for another host than the one that it is connected to.
    pub fn for_host(mut self, authority: &str) -> Self {
        authority.clone_into(&mut self.authority);
        self
    }

    pub fn via(&self) -> Via {
        self.via
    }

    /// Ends when the peer has closed the connection, with what it said.
    pub async fn closed(mut self) -> Option<Broken> {
        within(&mut self.driver).await.expect("nobody stops the driver")
    }

    /// A request whose body, where there is one, is there at once.
    pub async fn begin(&mut self, method: &str, target: &str, headers: Headers<'_>, body: Option<Bytes>) -> Download {
        let request = self.request(method, target, headers);
        match &mut self.sender {
            Sender::H1(sender) => {
                within(sender.ready()).await.expect("the connection is open");
                let body = Full::new(body.unwrap_or_default()).map_err(|never| match never {}).boxed_unsync();
                Download::H1(H1Download::Head(Box::pin(sender.send_request(request.map(|()| body)))))
            }
            Sender::H2(sender) => {
                let mut ready = within(sender.clone().ready()).await.expect("the connection is open");
                let (response, mut stream) = ready.send_request(request, body.is_none()).expect("a valid request");
                if let Some(body) = body {
                    stream.send_data(body, true).expect("the stream is open");
                }
                // The stream's own handle goes with the reply's: dropping that resets the stream.
                Download::H2(H2Download::Head(response, stream))
            }
        }
    }

    /// A request whose body streams.
    pub async fn stream(&mut self, method: &str, target: &str, headers: Headers<'_>) -> (Upload, Download) {
        let request = self.request(method, target, headers);
        match &mut self.sender {
            Sender::H1(sender) => {
                within(sender.ready()).await.expect("the connection is open");
                let (pieces, receiver) = mpsc::channel(1);
                let frames = ReceiverStream::new(receiver).map(|piece: io::Result<Bytes>| piece.map(Frame::data));
                let body = UnsyncBoxBody::new(StreamBody::new(frames));
                let response = Box::pin(sender.send_request(request.map(|()| body)));
                (Upload::H1(Some(pieces)), Download::H1(H1Download::Head(response)))
            }
            Sender::H2(sender) => {
                let mut ready = within(sender.clone().ready()).await.expect("the connection is open");
                let (response, stream) = ready.send_request(request, false).expect("a valid request");
                (Upload::H2(stream), Download::H2(H2Download::HeadOnly(response)))
            }
        }
    }

    /// A whole exchange.
    pub async fn whole(&mut self, method: &str, target: &str, headers: Headers<'_>, body: Option<Bytes>) -> Whole {
        self.begin(method, target, headers, body).await.whole().await
    }

    pub async fn get(&mut self, target: &str) -> Whole {
        self.whole("GET", target, &[], None).await
    }

    /// A POST of JSON.
    pub async fn post(&mut self, target: &str, json: &Value) -> Whole {
        let headers = [("content-type", "application/json")];
        self.whole("POST", target, &headers, Some(json.to_string().into())).await
    }

    fn request(&self, method: &str, target: &str, headers: Headers<'_>) -> Request<()> {
        let mut request = Request::builder().method(Method::from_bytes(method.as_bytes()).expect("a method"));
        request = if self.via.is_h2() {
            let scheme = if self.via.is_tls() { "https" } else { "http" };
            request.uri(format!("{scheme}://{}{target}", self.authority)).version(http::Version::HTTP_2)
        } else {
            request.uri(target).header("host", &self.authority)
        };
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap_or_else(|error| panic!("{method} {target}: {error}"))
    }
}

impl Drop for Conn {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// A request body on its way up.
pub enum Upload {
    H1(Option<mpsc::Sender<io::Result<Bytes>>>),
    H2(h2::SendStream<Bytes>),
}

impl Upload {
    /// False where the peer takes no more.
    pub async fn send(&mut self, piece: impl Into<Bytes>) -> bool {
        match self {
            Self::H1(Some(pieces)) => within(pieces.send(Ok(piece.into()))).await.is_ok(),
            Self::H1(None) => false,
            Self::H2(stream) => stream.send_data(piece.into(), false).is_ok(),
        }
    }

    /// The same, once the peer's window has room for it.
    pub async fn send_paced(&mut self, mut piece: Bytes) -> bool {
        while let (Self::H2(stream), false) = (&mut *self, piece.is_empty()) {
            stream.reserve_capacity(piece.len());
            let Some(Ok(room)) = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await else { return false };
            if stream.send_data(piece.split_to(room.min(piece.len())), false).is_err() {
                return false;
            }
        }
        match self {
            Self::H1(Some(pieces)) => pieces.send(Ok(piece)).await.is_ok(),
            Self::H1(None) => false,
            Self::H2(_) => true,
        }
    }

    /// The end of the body.
    pub fn finish(&mut self) {
        match self {
            Self::H1(pieces) => drop(pieces.take()),
            Self::H2(stream) => drop(stream.send_data(Bytes::new(), true)),
        }
    }
}

type Sent = Pin<Box<dyn Future<Output = hyper::Result<Response<Incoming>>> + Send>>;

/// A reply on its way down. Dropping it (and the upload) resets the HTTP/2 stream.
pub enum Download {
    H1(H1Download),
    H2(H2Download),
}

pub enum H1Download {
    Head(Sent),
    Body(Incoming),
}

pub enum H2Download {
    Head(h2::client::ResponseFuture, h2::SendStream<Bytes>),
    HeadOnly(h2::client::ResponseFuture),
    Body(h2::RecvStream, Option<h2::SendStream<Bytes>>),
}

impl Download {
    /// Status and headers; to be asked once, first.
    pub async fn head(&mut self) -> Result<Response<()>, Broken> {
        match self {
            Self::H1(download) => {
                let H1Download::Head(sent) = download else { panic!("the head was taken") };
                let response = within(sent).await.map_err(|error| Broken::Connection(chain(&error)))?;
                let (parts, body) = response.into_parts();
                *download = H1Download::Body(body);
                Ok(Response::from_parts(parts, ()))
            }
            Self::H2(download) => {
                let response = match download {
                    H2Download::Head(response, _) | H2Download::HeadOnly(response) => within(response).await,
                    H2Download::Body(..) => panic!("the head was taken"),
                };
                let (parts, body) = response.map_err(|error| Broken::of_h2(&error))?.into_parts();
                let stream = std::mem::replace(download, H2Download::Body(body, None));
                if let (H2Download::Body(_, slot), H2Download::Head(_, stream)) = (download, stream) {
                    *slot = Some(stream);
                }
                Ok(Response::from_parts(parts, ()))
            }
        }
    }

    /// The next piece of the body; its place in the window is given back. None at a proper end.
    pub async fn piece(&mut self) -> Option<Result<Bytes, Broken>> {
        match self {
            Self::H1(H1Download::Body(body)) => loop {
                match within(body.frame()).await? {
                    Ok(frame) => match frame.into_data() {
                        Ok(data) => return Some(Ok(data)),
                        Err(_trailers) => continue,
                    },
                    Err(error) => return Some(Err(Broken::Connection(chain(&error)))),
                }
            },
            Self::H2(H2Download::Body(body, _)) => match within(body.data()).await? {
                Ok(data) => {
                    let _ = body.flow_control().release_capacity(data.len());
                    Some(Ok(data))
                }
                Err(error) => Some(Err(Broken::of_h2(&error))),
            },
            _ => panic!("the head comes first"),
        }
    }

    /// HTTP/2 trailers, after the body's end.
    pub async fn trailers(&mut self) -> HeaderMap {
        match self {
            Self::H2(H2Download::Body(body, _)) => within(body.trailers()).await.ok().flatten().unwrap_or_default(),
            _ => HeaderMap::new(),
        }
    }

    pub async fn whole(mut self) -> Whole {
        let head = match self.head().await {
            Ok(head) => head,
            Err(broken) => panic!("no answer: {broken:?}"),
        };
        let (mut body, mut broken) = (Vec::new(), None);
        while let Some(piece) = self.piece().await {
            match piece {
                Ok(piece) => body.extend_from_slice(&piece),
                Err(reason) => {
                    broken = Some(reason);
                    break;
                }
            }
        }
        let trailers = if broken.is_none() { self.trailers().await } else { HeaderMap::new() };
        let (parts, ()) = head.into_parts();
        Whole { status: parts.status, headers: parts.headers, body: body.into(), broken, trailers }
    }
}

/// A whole answer.
#[derive(Clone)]
pub struct Whole {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// How the body ended where it did not end properly.
    pub broken: Option<Broken>,
    pub trailers: HeaderMap,
}

impl Whole {
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("not JSON ({error}): {self:?}"))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header's value; empty where it is absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("visible ASCII"))
    }
}

impl fmt::Debug for Whole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text: String = self.text().chars().take(600).collect();
        write!(f, "{} {:?} {text:?} broken: {:?}", self.status, self.headers, self.broken)
    }
}

/// An error with everything behind it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
