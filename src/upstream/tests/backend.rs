//! Scripted gRPC servers.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use h2::{
    RecvStream, SendStream,
    server::{Builder, SendResponse},
};
use http::{Request, Response};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    sync::mpsc,
};

use super::*;

/// One stream as a backend has it.
pub(super) struct Exchange {
    /// How many connections came before this one's.
    pub(super) connection: usize,
    pub(super) request: Request<RecvStream>,
    pub(super) respond: SendResponse<Bytes>,
}

#[derive(Clone, Copy)]
pub(super) enum Command {
    GracefulGoAway,
    Break,
}

/// A server on a port of its own; stops with the test's runtime.
#[derive(Clone)]
pub(super) struct Backend {
    pub(super) address: SocketAddr,
    shared: Arc<State>,
}

#[derive(Default)]
struct State {
    accepted: AtomicUsize,
    streams: AtomicUsize,
    commands: Mutex<Vec<mpsc::UnboundedSender<Command>>>,
}

impl Backend {
    pub(super) async fn start<F>(script: impl Fn(Exchange) -> F + Clone + Send + Sync + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::start_with(Builder::new(), script).await
    }

    pub(super) async fn start_with<F>(
        builder: Builder,
        script: impl Fn(Exchange) -> F + Clone + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let backend = Self { address: listener.local_addr().unwrap(), shared: Arc::default() };
        let this = backend.clone();
        tokio::spawn(async move {
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                tcp.set_nodelay(true).unwrap();
                this.serve(tcp, builder.clone(), script.clone());
            }
        });
        backend
    }

    pub(super) fn unbound() -> Self {
        Self { address: ([127, 0, 0, 1], 0).into(), shared: Arc::default() }
    }

    pub(super) fn serve<F>(
        &self,
        io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        builder: Builder,
        script: impl Fn(Exchange) -> F + Send + Sync + 'static,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let (commands, mut commanded) = mpsc::unbounded_channel();
        self.shared.commands.lock().unwrap().push(commands);
        let shared = Arc::clone(&self.shared);
        let connection = shared.accepted.fetch_add(1, Ordering::SeqCst);
        tokio::spawn(async move {
            let Ok(mut h2) = builder.handshake::<_, Bytes>(io).await else { return };
            loop {
                tokio::select! {
                    accepted = h2.accept() => {
                        let Some(Ok((request, respond))) = accepted else { return };
                        shared.streams.fetch_add(1, Ordering::SeqCst);
                        tokio::spawn(script(Exchange { connection, request, respond }));
                    }
                    Some(command) = commanded.recv() => match command {
                        Command::GracefulGoAway => h2.graceful_shutdown(),
                        Command::Break => return,
                    },
                }
            }
        });
    }

    pub(super) fn url(&self) -> EndpointUrl {
        EndpointUrl::Http { host: self.address.ip().to_string(), port: self.address.port() }
    }

    /// To all connections there are.
    pub(super) fn command(&self, command: Command) {
        for connection in self.shared.commands.lock().unwrap().drain(..) {
            let _ = connection.send(command);
        }
    }

    pub(super) fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }

    pub(super) fn streams(&self) -> usize {
        self.shared.streams.load(Ordering::SeqCst)
    }
}

impl Exchange {
    /// The whole request body.
    pub(super) async fn body(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        while let Some(Ok(data)) = self.request.body_mut().data().await {
            self.request.body_mut().flow_control().release_capacity(data.len()).unwrap();
            body.extend_from_slice(&data);
        }
        body
    }

    pub(super) fn head(&mut self, response: Response<()>, end: bool) -> SendStream<Bytes> {
        self.respond.send_response(response, end).unwrap()
    }

    /// Initial metadata of a reply that goes on.
    pub(super) fn open(&mut self) -> SendStream<Bytes> {
        self.head(grpc(&[("x-head", "h")]), false)
    }

    /// A unary reply that is well in all respects.
    pub(super) fn reply(&mut self, message: &[u8]) {
        let mut stream = self.open();
        stream.send_data(envelope(message), false).unwrap();
        stream.send_trailers(trailers(&[("grpc-status", "0"), ("x-trailer", "t")])).unwrap();
    }

    /// Answers with what was asked.
    pub(super) async fn echo(mut self) {
        let body = self.body().await;
        self.reply(&body[wire::PREFIX_BYTES..]);
    }

    /// Waits until the client resets the stream.
    pub(super) async fn reset(&mut self) -> h2::Reason {
        std::future::poll_fn(|cx| self.respond.poll_reset(cx)).await.unwrap()
    }
}

pub(super) fn grpc(headers: &[(&'static str, &str)]) -> Response<()> {
    let mut response = Response::new(());
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc+proto"));
    for (name, value) in headers {
        response.headers_mut().append(*name, HeaderValue::from_str(value).unwrap());
    }
    response
}

pub(super) fn trailers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    pairs.iter().map(|(name, value)| ((*name).parse().unwrap(), HeaderValue::from_str(value).unwrap())).collect()
}
