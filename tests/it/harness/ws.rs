//! A WebSocket client by tungstenite, plain and over TLS.

use bytes::BytesMut;
use futures_util::{SinkExt, StreamExt};
use http::{HeaderMap, Method, Request, Response};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{
        Error, Message,
        handshake::client::generate_key,
        protocol::{CloseFrame, Role},
    },
};

use super::{
    Gateway, Via,
    http::{Headers, Socket, dial},
    within,
};

/// An open WebSocket; dropping it closes the socket without a close frame.
pub struct WebSocket {
    stream: WebSocketStream<Box<dyn Socket>>,
    pub headers: HeaderMap,
}

/// What a WebSocket says, pings and pongs left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    Text(String),
    Binary(Vec<u8>),
    /// Code and reason of a close frame; none for a close frame without a code.
    Close(Option<(u16, String)>),
    /// The socket ended with no close frame.
    Gone,
}

/// A stream of HTTP/2 as a connection of its own (RFC 8441 §5).
///
/// # Errors
/// The answer where it is not 200.
pub async fn tunnel(
    socket: Box<dyn Socket>,
    protocol: &'static str,
    mut request: Request<()>,
) -> Result<(Box<dyn Socket>, Response<()>), Box<Response<Option<Vec<u8>>>>> {
    let (mut client, connection) = within(h2::client::handshake(socket)).await.expect("HTTP/2");
    tokio::spawn(async move { connection.await.unwrap_or_default() });
    while !client.is_extended_connect_protocol_enabled() {
        client = within(client.ready()).await.expect("an open connection");
        tokio::task::yield_now().await;
    }
    request.extensions_mut().insert(h2::ext::Protocol::from_static(protocol));
    let (response, mut up) = client.send_request(request, false).expect("a sound request");
    let (head, mut down) = within(response).await.expect("an answer").into_parts();
    if head.status != 200 {
        let mut body = Vec::new();
        while let Some(data) = within(down.data()).await {
            body.extend_from_slice(&data.expect("a whole body"));
        }
        return Err(Box::new(Response::from_parts(head, Some(body))));
    }
    let (ours, theirs) = tokio::io::duplex(16 << 10);
    let (mut reader, mut writer) = tokio::io::split(theirs);
    tokio::spawn(async move {
        let mut piece = BytesMut::with_capacity(16 << 10);
        while reader.read_buf(&mut piece).await.is_ok_and(|length| length > 0) {
            if up.send_data(piece.split().freeze(), false).is_err() {
                return;
            }
        }
        // As a connection that is dropped.
        up.send_reset(h2::Reason::CANCEL);
    });
    tokio::spawn(async move {
        while let Some(Ok(data)) = down.data().await {
            let _ = down.flow_control().release_capacity(data.len());
            if writer.write_all(&data).await.is_err() {
                return;
            }
        }
        let _ = writer.shutdown().await;
    });
    Ok((Box::new(ours), Response::from_parts(head, ())))
}

impl WebSocket {
    /// Opens a socket on a path: over HTTP/1.1 by an upgrade, over HTTP/2 by extended CONNECT.
    ///
    /// # Errors
    /// The answer where it is not 101, or 200 over HTTP/2.
    pub async fn open(
        gateway: &Gateway,
        via: Via,
        target: &str,
        headers: Headers<'_>,
    ) -> Result<Self, Box<Response<Option<Vec<u8>>>>> {
        let address = gateway.address(via);
        let socket = dial(address, via).await;
        let mut request = Request::builder().header("sec-websocket-version", "13");
        if !via.is_h2() {
            // Before what a test adds: of a header that is there twice, tungstenite sends the first.
            request = request
                .uri(format!("{}://{address}{target}", if via.is_tls() { "wss" } else { "ws" }))
                .header("host", address.to_string())
                .header("connection", "Upgrade")
                .header("upgrade", "websocket")
                .header("sec-websocket-key", generate_key());
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if via.is_h2() {
            let scheme = if via.is_tls() { "https" } else { "http" };
            let request = request.method(Method::CONNECT).uri(format!("{scheme}://{address}{target}"));
            let (stream, response) = tunnel(socket, "websocket", request.body(()).expect("a valid request")).await?;
            let stream = WebSocketStream::from_raw_socket(stream, Role::Client, None).await;
            return Ok(Self { stream, headers: response.headers().clone() });
        }
        let request = request.body(()).expect("a valid request");
        match within(client_async(request, socket)).await {
            Ok((stream, response)) => Ok(Self { stream, headers: response.headers().clone() }),
            Err(Error::Http(response)) => Err(response),
            Err(error) => panic!("no WebSocket at {target}: {error}"),
        }
    }

    /// False where the socket is closed.
    pub async fn text(&mut self, text: impl Into<String>) -> bool {
        within(self.stream.send(Message::text(text.into()))).await.is_ok()
    }

    pub async fn binary(&mut self, bytes: Vec<u8>) -> bool {
        within(self.stream.send(Message::binary(bytes))).await.is_ok()
    }

    /// Sends a close frame; the peer's comes by `next`.
    pub async fn close(&mut self, frame: Option<CloseFrame>) {
        let _ = within(self.stream.send(Message::Close(frame))).await;
    }

    pub async fn next(&mut self) -> Frame {
        loop {
            match within(self.stream.next()).await {
                Some(Ok(Message::Text(text))) => return Frame::Text(text.as_str().to_owned()),
                Some(Ok(Message::Binary(bytes))) => return Frame::Binary(bytes.to_vec()),
                Some(Ok(Message::Close(frame))) => {
                    return Frame::Close(frame.map(|frame| (frame.code.into(), frame.reason.as_str().to_owned())));
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Err(_)) | None => return Frame::Gone,
            }
        }
    }
}
