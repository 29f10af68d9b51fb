//! A gRPC client by tonic on a connection of our own, over h2c and over TLS.
//!
//! Not tonic's channel: that would enforce `grpc-timeout` itself, and hide whether the gateway does.

use std::{
    future::Future,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response};
use hyper::{body::Incoming, client::conn::http2::SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::task::AbortHandle;
use tower_service::Service;

use super::{Gateway, Via, http::dial, within};
use crate::proto::echo_client::EchoClient;

/// A client of the `Echo` service through a gateway.
pub async fn echo(gateway: &Gateway, tls: bool) -> EchoClient<Connection> {
    let via = if tls { Via::H2Tls } else { Via::H2c };
    echo_at(gateway.address(via), via).await
}

/// A client of the `Echo` service at an address.
pub async fn echo_at(address: SocketAddr, via: Via) -> EchoClient<Connection> {
    let scheme = if via.is_tls() { "https" } else { "http" };
    let origin = format!("{scheme}://{address}").parse().expect("a valid address");
    EchoClient::with_origin(Connection::open(address, via).await, origin).max_decoding_message_size(64 << 20)
}

/// An HTTP/2 connection that tonic's generated clients run on; the last clone closes it.
#[derive(Clone)]
pub struct Connection {
    sender: SendRequest<tonic::body::Body>,
    _driver: Arc<Driver>,
}

struct Driver(AbortHandle);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Connection {
    pub async fn open(address: SocketAddr, via: Via) -> Self {
        let mut builder = hyper::client::conn::http2::Builder::new(TokioExecutor::new());
        builder.initial_stream_window_size(1 << 16).initial_connection_window_size(1 << 30);
        let socket = TokioIo::new(dial(address, via).await);
        let (sender, driver) = within(builder.handshake(socket)).await.expect("an HTTP/2 preface");
        let driver = tokio::spawn(async move { drop(driver.await) });
        Self { sender, _driver: Arc::new(Driver(driver.abort_handle())) }
    }
}

impl Service<Request<tonic::body::Body>> for Connection {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = hyper::Result<Response<Incoming>>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<hyper::Result<()>> {
        self.sender.poll_ready(cx)
    }

    fn call(&mut self, request: Request<tonic::body::Body>) -> Self::Future {
        Box::pin(self.sender.send_request(request))
    }
}
