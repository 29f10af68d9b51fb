//! What a backend saw of each call, as events that a test can wait for.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, request};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::sync::mpsc;

use crate::harness::within;

/// One thing that happened to a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A request message, by its text.
    Message(String),
    /// The request stream ended.
    HalfClosed,
    /// The request stream broke off.
    RequestsLost,
    /// The answer was given to its end.
    Answered,
    /// The call was dropped before that. The last event, as is `Answered`.
    Cancelled,
}

/// A call as the backend saw it.
#[derive(Debug)]
pub struct SeenCall {
    /// `/pkg.Service/Method`
    pub path: String,
    pub authority: String,
    pub headers: HeaderMap,
    /// Which connection it came by, counted from 0.
    pub connection: usize,
    events: mpsc::UnboundedReceiver<Event>,
}

impl SeenCall {
    pub async fn next(&mut self) -> Event {
        within(self.events.recv()).await.expect("an event after the last")
    }

    /// Waits for this event and returns those before it.
    #[track_caller]
    pub fn until(&mut self, wanted: Event) -> impl Future<Output = Vec<Event>> {
        let place = std::panic::Location::caller();
        async move {
            let mut before = Vec::new();
            loop {
                let event = self.next().await;
                if event == wanted {
                    return before;
                }
                let last = matches!(event, Event::Answered | Event::Cancelled);
                assert!(!last, "at {place}: {} ended with {event:?}, not {wanted:?}", self.path);
                before.push(event);
            }
        }
    }

    /// Waits until the backend saw that nobody wants the answer any more.
    #[track_caller]
    pub fn cancelled(&mut self) -> impl Future<Output = Vec<Event>> {
        self.until(Event::Cancelled)
    }

    /// `grpc-timeout`.
    pub fn timeout(&self) -> Option<Duration> {
        tidegate::wire::timeout::parse(self.headers.get("grpc-timeout")?.as_bytes())
    }

    /// A header's value; empty where it is absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("visible ASCII"))
    }
}

/// The backend's side of a [`SeenCall`]: says `Cancelled` when it is dropped before the answer was whole.
#[derive(Debug)]
pub struct Log {
    events: mpsc::UnboundedSender<Event>,
    answered: bool,
}

impl Log {
    pub fn begin(parts: &request::Parts, connection: usize, calls: &mpsc::UnboundedSender<SeenCall>) -> Self {
        let (sender, events) = mpsc::unbounded_channel();
        let path = parts.uri.path().to_owned();
        let authority = parts.uri.authority().map_or_else(String::new, ToString::to_string);
        // A test that does not ask lets go of the receiver.
        let _ = calls.send(SeenCall { path, authority, headers: parts.headers.clone(), connection, events });
        Self { events: sender, answered: false }
    }

    /// For those who see messages.
    pub fn messages(&self) -> Messages {
        Messages(Arc::new(self.events.clone()))
    }

    fn answered(&mut self) {
        self.answered = true;
        let _ = self.events.send(Event::Answered);
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        if !self.answered {
            let _ = self.events.send(Event::Cancelled);
        }
    }
}

/// Tells of request messages; travels in a request's extensions.
#[derive(Clone, Debug)]
pub struct Messages(Arc<mpsc::UnboundedSender<Event>>);

impl Messages {
    pub fn saw(&self, text: &str) {
        let _ = self.0.send(Event::Message(text.to_owned()));
    }
}

/// A request body that tells of its end.
#[derive(Debug)]
pub struct Requests {
    body: Incoming,
    events: mpsc::UnboundedSender<Event>,
    over: bool,
}

impl Requests {
    pub fn new(body: Incoming, log: &Log) -> Self {
        Self { body, events: log.events.clone(), over: false }
    }

    fn over(&mut self, event: Event) {
        if !std::mem::replace(&mut self.over, true) {
            let _ = self.events.send(event);
        }
    }
}

impl Body for Requests {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        match &frame {
            None => self.over(Event::HalfClosed),
            Some(Err(_)) => self.over(Event::RequestsLost),
            Some(Ok(_)) => {}
        }
        Poll::Ready(frame)
    }
}

/// A reply body that tells whether it was wanted to its end.
#[derive(Debug)]
pub struct Replies {
    body: tonic::body::Body,
    log: Log,
}

impl Replies {
    pub fn new(body: tonic::body::Body, mut log: Log) -> Self {
        if body.is_end_stream() {
            log.answered();
        }
        Self { body, log }
    }
}

impl Body for Replies {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let last = match &frame {
            None => true,
            Some(Ok(frame)) => frame.is_trailers(),
            Some(Err(_)) => false,
        };
        if last && !self.log.answered {
            self.log.answered();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
