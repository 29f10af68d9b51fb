//! Backends under a gateway: an ordinary tonic server that records what it sees, and one that misbehaves.

mod echo;
pub mod raw;
pub mod record;
pub mod reflected;
mod rules;
mod script;

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
};

use http::{HeaderValue, Request, Response};
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot},
};
use tonic::codec::CompressionEncoding;
use tower_service::Service;

pub use raw::{RawBackend, RawCall};
pub use record::{Event, SeenCall};
pub use reflected::Reflected;
pub use rules::framed;

use self::{
    echo::EchoService,
    record::{Log, Replies, Requests},
};
use crate::{harness::within, proto::echo_server::EchoServer};

/// A running backend, on a thread and a runtime of its own; dropping it cuts every connection.
pub struct Backend {
    pub address: SocketAddr,
    calls: mpsc::UnboundedReceiver<SeenCall>,
    sent: Arc<AtomicU64>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What can be different about a backend.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Zero: any.
    pub port: u16,
    /// `SETTINGS_MAX_CONCURRENT_STREAMS`
    pub concurrent_streams_max: Option<u32>,
    /// Messages to it may be compressed, and those from it are where that is accepted.
    pub compresses: bool,
    /// Services beside the usual ones, and server reflection of them.
    pub reflected: Option<Reflected>,
}

impl Backend {
    pub async fn start() -> Self {
        Self::with(Options::default()).await
    }

    pub async fn with(options: Options) -> Self {
        let (told, address) = oneshot::channel();
        let (stop, stopped) = oneshot::channel();
        let (calls_sender, calls) = mpsc::unbounded_channel();
        let sent = Arc::new(AtomicU64::new(0));
        let port = options.port;
        let mut echo = EchoServer::new(EchoService { sent: sent.clone() }).max_decoding_message_size(64 << 20);
        if options.compresses {
            for encoding in [CompressionEncoding::Gzip, CompressionEncoding::Zstd] {
                echo = echo.accept_compressed(encoding).send_compressed(encoding);
            }
        }
        let server = Server { echo, calls: calls_sender, connections: Arc::default(), options };
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("a free port");
                let _ = told.send(listener.local_addr().expect("bound"));
                tokio::select! {
                    () = server.accept(listener) => {}
                    _ = stopped => {}
                }
            });
            // Every connection's task goes with the runtime.
        });
        let address = within(address).await.expect("the backend starts");
        Self { address, calls, sent, stop: Some(stop), thread: Some(thread) }
    }

    /// Serves what is made up, and tells of it.
    pub async fn reflecting(reflected: &Reflected) -> Self {
        Self::with(Options { reflected: Some(reflected.clone()), ..Options::default() }).await
    }

    /// The next call of this method that was not asked for yet; calls of other methods before it are passed over.
    pub async fn call(&mut self, method: &str) -> SeenCall {
        loop {
            let call = within(self.calls.recv()).await.expect("the backend runs");
            if call.path.rsplit('/').next() == Some(method) {
                return call;
            }
        }
    }

    /// The call that bears this request id; calls before it are passed over.
    pub async fn call_of(&mut self, request_id: &str) -> SeenCall {
        loop {
            let call = within(self.calls.recv()).await.expect("the backend runs");
            if call.header("x-request-id") == request_id {
                return call;
            }
        }
    }

    /// No call bore this request id.
    pub fn assert_no_call_of(&mut self, request_id: &str) {
        while let Ok(call) = self.calls.try_recv() {
            assert_ne!(call.header("x-request-id"), request_id, "the backend was called: {}", call.path);
        }
    }

    /// The next call, where one has come.
    pub fn try_call(&mut self) -> Option<SeenCall> {
        self.calls.try_recv().ok()
    }

    /// Nothing was called since the last question.
    pub fn assert_not_called(&mut self) {
        if let Ok(call) = self.calls.try_recv() {
            panic!("the backend was called: {} {:?}", call.path, call.headers);
        }
    }

    /// Messages of `Down` and `DownloadStream` that were handed to connections.
    pub fn messages_sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Cuts every connection and stops listening; back when that is done.
    pub fn kill(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the backend does not panic");
        }
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[derive(Clone)]
struct Server {
    echo: EchoServer<EchoService>,
    calls: mpsc::UnboundedSender<SeenCall>,
    connections: Arc<AtomicUsize>,
    options: Options,
}

impl Server {
    async fn accept(self, listener: TcpListener) {
        while let Ok((stream, _)) = listener.accept().await {
            let connection = self.connections.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(self.clone().serve(stream, connection));
        }
    }

    async fn serve(self, stream: TcpStream, connection: usize) {
        let _ = stream.set_nodelay(true);
        let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        builder.timer(TokioTimer::new());
        builder.max_concurrent_streams(self.options.concurrent_streams_max);
        let service = hyper::service::service_fn(move |request| self.clone().call(request, connection));
        let _ = builder.serve_connection(TokioIo::new(stream), service).await;
    }

    /// Not tonic's own server: that would enforce `grpc-timeout` itself, and hide whether the gateway does.
    async fn call(mut self, request: Request<Incoming>, connection: usize) -> Result<Response<Replies>, Infallible> {
        let (mut parts, body) = request.into_parts();
        let log = Log::begin(&parts, connection, &self.calls);
        parts.extensions.insert(log.messages());
        let path = parts.uri.path().to_owned();
        let request = Request::from_parts(parts, Requests::new(body, &log));
        let response = if path.starts_with("/tidegate.test.v1.Echo/") {
            self.echo.call(request).await?.map(with_trailers)
        } else if let Some(method) = rules::method(&path) {
            rules::answer(method, request).await
        } else if let Some(reflected) = self.options.reflected.as_ref().filter(|_| path == reflected::REFLECTION) {
            reflected.reflect(request).await
        } else if let Some(method) = self.options.reflected.as_ref().and_then(|reflected| reflected.method(&path)) {
            rules::answer(method, request).await
        } else {
            rules::trailers_only(12, "no such method")
        };
        Ok(response.map(|body| Replies::new(body, log)))
    }
}

/// What the service itself has no way to say: metadata at the end of what went well.
fn with_trailers(body: tonic::body::Body) -> tonic::body::Body {
    tonic::body::Body::new(body.map_frame(|frame| match frame.into_trailers() {
        Ok(mut trailers) => {
            trailers.insert("x-trailer", HeaderValue::from_static("bye"));
            trailers.insert("x-trailer-bin", HeaderValue::from_static("/v8"));
            Frame::trailers(trailers)
        }
        Err(frame) => frame,
    }))
}
