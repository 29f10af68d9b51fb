//! A WebSocket client by tungstenite, plain and over TLS.

use futures_util::{SinkExt, StreamExt};
use http::{HeaderMap, Request, Response};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Error, Message, handshake::client::generate_key, protocol::CloseFrame},
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

impl WebSocket {
    /// Opens a socket on a path.
    ///
    /// # Errors
    /// The answer where it is not 101.
    pub async fn open(
        gateway: &Gateway,
        tls: bool,
        target: &str,
        headers: Headers<'_>,
    ) -> Result<Self, Box<Response<Option<Vec<u8>>>>> {
        let via = if tls { Via::H1Tls } else { Via::H1 };
        let address = gateway.address(via);
        let mut request = Request::builder()
            .uri(format!("{}://{address}{target}", if tls { "wss" } else { "ws" }))
            .header("host", address.to_string())
            .header("connection", "Upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", generate_key());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(()).expect("a valid request");
        match within(client_async(request, dial(address, via).await)).await {
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
