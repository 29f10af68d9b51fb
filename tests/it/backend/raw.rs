//! An HTTP/2 server in the hands of the test: every frame of a misbehaving backend, one by one.

use std::net::SocketAddr;

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream, server::SendResponse};
use http::{HeaderMap, HeaderName, Request, Response};
use tidegate::wire::Deframer;
use tokio::{io::AsyncWriteExt, net::TcpListener, sync::mpsc, task::JoinSet};

use crate::harness::within;

/// A backend that does nothing by itself; its calls come to the test.
pub struct RawBackend {
    pub address: SocketAddr,
    calls: mpsc::UnboundedReceiver<RawCall>,
    connections: mpsc::UnboundedReceiver<Connection>,
    _tasks: JoinSet<()>,
}

/// An accepted connection, to be ended by the test.
#[derive(Clone)]
pub struct Connection(mpsc::UnboundedSender<Order>);

enum Order {
    GoAway(Reason),
    Graceful,
    Cut,
}

impl Connection {
    /// GOAWAY with this reason; streams in flight are lost.
    pub fn go_away(&self, reason: Reason) {
        let _ = self.0.send(Order::GoAway(reason));
    }

    /// GOAWAY with NO_ERROR; streams in flight may finish.
    pub fn go_away_gracefully(&self) {
        let _ = self.0.send(Order::Graceful);
    }

    /// Closes the socket without a word.
    pub fn cut(&self) {
        let _ = self.0.send(Order::Cut);
    }
}

impl RawBackend {
    pub async fn start() -> Self {
        Self::with(h2::server::Builder::new()).await
    }

    pub async fn with(builder: h2::server::Builder) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let (calls_sender, calls) = mpsc::unbounded_channel();
        let (connections_sender, connections) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                let (orders, given) = mpsc::unbounded_channel();
                let connection = Connection(orders);
                let _ = connections_sender.send(connection.clone());
                open.spawn(serve(builder.clone(), stream, connection, given, calls_sender.clone()));
            }
        });
        Self { address, calls, connections, _tasks: tasks }
    }

    /// A backend that answers every connection with these bytes and closes it.
    pub async fn garbage(bytes: &'static [u8]) -> (SocketAddr, JoinSet<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.write_all(bytes).await;
            }
        });
        (address, tasks)
    }

    /// The next call on any connection.
    pub async fn call(&mut self) -> RawCall {
        within(self.calls.recv()).await.expect("the backend runs")
    }

    /// The same for a task that serves as long as there are calls.
    pub async fn next_call(&mut self) -> Option<RawCall> {
        self.calls.recv().await
    }

    /// The connections accepted since the last question.
    pub fn connections(&mut self) -> usize {
        std::iter::from_fn(|| self.connections.try_recv().ok()).count()
    }
}

async fn serve(
    builder: h2::server::Builder,
    stream: tokio::net::TcpStream,
    handle: Connection,
    mut orders: mpsc::UnboundedReceiver<Order>,
    calls: mpsc::UnboundedSender<RawCall>,
) {
    let Ok(mut connection) = builder.handshake::<_, Bytes>(stream).await else { return };
    loop {
        tokio::select! {
            accepted = connection.accept() => match accepted {
                Some(Ok((request, respond))) => {
                    let connection = handle.clone();
                    let _ = calls.send(RawCall { request, connection, state: State::Waiting(respond) });
                }
                Some(Err(_)) | None => return,
            },
            Some(order) = orders.recv() => match order {
                Order::GoAway(reason) => connection.abrupt_shutdown(reason),
                Order::Graceful => connection.graceful_shutdown(),
                Order::Cut => return,
            },
        }
    }
}

/// A call in the test's hands. Dropping it resets the stream with CANCEL.
pub struct RawCall {
    request: Request<RecvStream>,
    pub connection: Connection,
    state: State,
}

enum State {
    Waiting(SendResponse<Bytes>),
    Open(SendStream<Bytes>),
}

impl RawCall {
    pub fn path(&self) -> &str {
        self.request.uri().path()
    }

    pub fn headers(&self) -> &HeaderMap {
        self.request.headers()
    }

    /// Every DATA frame up to the half-close.
    pub async fn frames(&mut self) -> Vec<Bytes> {
        let mut frames = Vec::new();
        let body = self.request.body_mut();
        while let Some(frame) = within(body.data()).await {
            let frame = frame.expect("the request stream does not break");
            let _ = body.flow_control().release_capacity(frame.len());
            frames.push(frame);
        }
        frames
    }

    /// Every request message up to the half-close.
    pub async fn requests(&mut self) -> Vec<Bytes> {
        let mut deframer = Deframer::new(64 << 20);
        self.frames().await.into_iter().for_each(|frame| deframer.push(frame));
        let mut messages = Vec::new();
        while let Some(envelope) = deframer.next_envelope().expect("the gateway frames well") {
            messages.push(envelope.payload);
        }
        messages
    }

    /// The head of a gRPC answer.
    pub fn head(&mut self) {
        self.answer(Response::builder().header("content-type", "application/grpc").body(()).expect("a head"), false);
    }

    /// Any head at all; `last` where nothing follows.
    pub fn answer(&mut self, response: Response<()>, last: bool) {
        let State::Waiting(respond) = &mut self.state else { panic!("answered already") };
        let stream = respond.send_response(response, last).expect("the stream is open");
        self.state = State::Open(stream);
    }

    /// Bytes in a DATA frame of their own.
    pub fn data(&mut self, bytes: impl Into<Bytes>) {
        self.stream().send_data(bytes.into(), false).expect("the stream is open");
    }

    /// The last bytes, with END_STREAM and no trailers.
    pub fn last_data(&mut self, bytes: impl Into<Bytes>) {
        self.stream().send_data(bytes.into(), true).expect("the stream is open");
    }

    /// Waits until the peer's window takes more, and tells how many bytes; none where it wants no more.
    pub async fn capacity(&mut self, wanted: usize) -> Option<usize> {
        let stream = self.stream();
        stream.reserve_capacity(wanted);
        std::future::poll_fn(|cx| stream.poll_capacity(cx)).await?.ok()
    }

    pub fn trailers(&mut self, pairs: &[(&str, &str)]) {
        let mut trailers = HeaderMap::new();
        for (name, value) in pairs {
            let name: HeaderName = name.parse().expect("a header name");
            trailers.append(name, value.parse().expect("a header value"));
        }
        self.stream().send_trailers(trailers).expect("the stream is open");
    }

    /// RST_STREAM.
    pub fn reset(mut self, reason: Reason) {
        match &mut self.state {
            State::Waiting(respond) => respond.send_reset(reason),
            State::Open(stream) => stream.send_reset(reason),
        }
    }

    /// Waits for the peer's RST_STREAM.
    pub async fn cancelled(&mut self) -> Reason {
        let reason = std::future::poll_fn(|cx| match &mut self.state {
            State::Waiting(respond) => respond.poll_reset(cx),
            State::Open(stream) => stream.poll_reset(cx),
        });
        within(reason).await.expect("a reset of the stream, not of the connection")
    }

    fn stream(&mut self) -> &mut SendStream<Bytes> {
        match &mut self.state {
            State::Open(stream) => stream,
            State::Waiting(_) => panic!("the head comes first"),
        }
    }
}
