//! An upstream that only listens: it keeps what a gateway sends to it, and answers each call with OK and nothing else.

use std::{convert::Infallible, io, net::SocketAddr};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response, header};
use http_body_util::{BodyExt, Empty};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpListener, sync::mpsc};

use crate::{edge::MIRROR, wire::Messages};

/// A call as an upstream sees it.
#[derive(Debug, Default)]
pub(super) struct HeardCall {
    /// `/pkg.Service/Method`
    pub(super) path: String,
    pub(super) metadata: HeaderMap,
    /// Each in protobuf.
    pub(super) messages: Vec<Bytes>,
    /// The request stream ended as it should.
    pub(super) is_whole: bool,
}

/// Listens on a port of its own of the loopback interface, for as long as the runtime runs.
pub(super) async fn listen() -> io::Result<(SocketAddr, mpsc::Receiver<HeardCall>)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let (heard, calls) = mpsc::channel(1);
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let heard = heard.clone();
            let service = service_fn(move |request| answer(request, heard.clone()));
            tokio::spawn(http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(tcp), service));
        }
    });
    Ok((address, calls))
}

async fn answer(
    request: Request<Incoming>,
    heard: mpsc::Sender<HeardCall>,
) -> Result<Response<Empty<Bytes>>, Infallible> {
    let (head, mut body) = request.into_parts();
    let mut call = HeardCall { path: head.uri.path().to_owned(), metadata: head.headers, ..HeardCall::default() };
    let mut messages = Messages::new(usize::MAX);
    messages.on_head(&call.metadata);
    call.is_whole = loop {
        match body.frame().await {
            Some(Ok(frame)) => frame.into_data().into_iter().for_each(|data| messages.push(data)),
            Some(Err(_)) => break false,
            None => break true,
        }
    };
    while let Ok(Some(message)) = messages.next_message() {
        call.messages.push(message);
    }
    // Only the first call is asked for, and no copy of it.
    if !call.metadata.contains_key(MIRROR) {
        let _ = heard.try_send(call);
    }
    let mut response = Response::new(Empty::new());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response.headers_mut().insert("grpc-status", HeaderValue::from_static("0"));
    Ok(response)
}
