//! A call that shares a stream: its request is what finds the stream, and its replies are read from there. Dropped, it
//! leaves; who is left does not notice.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::HeaderMap;
use tokio::{
    sync::oneshot,
    time::{Sleep, sleep_until},
};

use super::{
    Caller, Own, Sharing,
    entry::{Entry, envelope},
    hub::{Entered, Key},
    member::Membership,
    position::Position,
    pump::Pump,
    ring::Seat,
    topic::Topic,
};
use crate::{
    call::{CallHead, Closed, Requests, Transport},
    config::SlowReader,
    status::{Code, Reason, Status},
    telemetry::{Recorder, Subscription},
    wire::Messages,
};

/// What a subscriber gets, in this order: at most one `Gap` and one `Head`, messages with `Skipped` among them, and one `End`.
#[derive(Debug)]
pub enum Event {
    /// The upstream's initial metadata.
    Head(HeaderMap),
    /// What it saw last is not known any more: it goes on behind this place.
    Gap(Position),
    /// So many messages were dropped that would have come before what follows.
    Skipped(u64),
    Message(Arc<Entry>),
    End(Result<HeaderMap, Status>),
}

/// The way up of a call that shares a stream: collects its only request.
pub struct Upload {
    held: Vec<u8>,
    bytes_max: usize,
    /// None after the end.
    whole: Option<oneshot::Sender<Result<Bytes, Status>>>,
}

/// The way down.
pub struct Download<T>(Stage<T>);

enum Stage<T> {
    /// The request is not known yet.
    Waiting {
        request: oneshot::Receiver<Result<Bytes, Status>>,
        sharing: Option<Box<Sharing<T>>>,
    },
    Riding(Box<Rider>),
    Ended,
}

struct Rider {
    topic: Arc<Topic>,
    seat: Seat,
    knows_head: bool,
    deadline: Option<Pin<Box<Sleep>>>,
    slow_reader: SlowReader,
    recorder: Recorder,
    _counted: Subscription,
}

/// Begins a call that shares a stream with those that are the same.
pub fn open<T>(sharing: Sharing<T>) -> (Upload, Download<T>) {
    let (whole, request) = oneshot::channel();
    // A prefix beside the message; what is compressed may be a little longer.
    let bytes_max = sharing.request_bytes_max + sharing.request_bytes_max / 16 + 1024;
    let upload = Upload { held: Vec::new(), bytes_max, whole: Some(whole) };
    (upload, Download(Stage::Waiting { request, sharing: Some(Box::new(sharing)) }))
}

impl Requests for Upload {
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        Poll::Ready(if self.whole.is_some() { Ok(()) } else { Err(Closed) })
    }

    fn send(&mut self, envelopes: Bytes) {
        if self.held.len() + envelopes.len() > self.bytes_max {
            self.end(Err(not_one("more than one")));
            return;
        }
        self.held.extend_from_slice(&envelopes);
    }

    fn finish(&mut self) {
        let held = std::mem::take(&mut self.held);
        self.end(Ok(held.into()));
    }

    fn send_last(&mut self, envelopes: Bytes) {
        self.send(envelopes);
        self.finish();
    }
}

impl Upload {
    fn end(&mut self, request: Result<Bytes, Status>) {
        if let Some(whole) = self.whole.take() {
            // Nobody is left who wants it: the call was dropped.
            let _ = whole.send(request);
        }
    }
}

impl<T: Transport + Send + Sync + 'static> Download<T> {
    /// The next event. Must not be asked again after [`Event::End`].
    pub fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        loop {
            let end = match &mut self.0 {
                Stage::Waiting { request, sharing } => {
                    let request = match ready!(Pin::new(request).poll(cx)) {
                        Ok(request) => request,
                        Err(_) => Err(aborted()),
                    };
                    match (request, sharing.take()) {
                        (Ok(request), Some(sharing)) => match join(*sharing, request) {
                            Ok(rider) => {
                                self.0 = Stage::Riding(Box::new(rider));
                                continue;
                            }
                            Err(status) => status,
                        },
                        (Err(status), _) => status,
                        (Ok(_), None) => aborted(),
                    }
                }
                Stage::Riding(rider) => {
                    let event = ready!(rider.poll_event(cx));
                    if matches!(event, Event::End(_)) {
                        self.0 = Stage::Ended;
                    }
                    return Poll::Ready(event);
                }
                Stage::Ended => return Poll::Pending,
            };
            self.0 = Stage::Ended;
            return Poll::Ready(Event::End(Err(end)));
        }
    }

    /// An encoding was made of a message, and is kept with it.
    pub fn charge(&self, position: Position, bytes: usize) {
        if let Stage::Riding(rider) = &self.0 {
            rider.topic.charge(position, bytes);
        }
    }
}

impl Rider {
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        if let Some(deadline) = &mut self.deadline
            && deadline.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Event::End(Err(late())));
        }
        let event = ready!(self.topic.poll_event(self.seat, self.knows_head, cx));
        match &event {
            Event::Head(_) => self.knows_head = true,
            Event::Message(_) => self.recorder.shared_message(),
            Event::Skipped(count) => self.recorder.dropped(self.slow_reader, *count),
            Event::End(Err(status)) if status.reason() == Some(Reason::SubscriberTooSlow) => self.recorder.cut_off(),
            Event::Gap(_) | Event::End(_) => {}
        }
        Poll::Ready(event)
    }
}

impl Drop for Rider {
    fn drop(&mut self) {
        let dropped = self.topic.leave(self.seat);
        self.recorder.dropped(self.slow_reader, dropped);
    }
}

/// Finds the stream, or opens it.
fn join<T: Transport + Send + Sync + 'static>(sharing: Sharing<T>, request: Bytes) -> Result<Rider, Status> {
    let Sharing { hub, transport, mut head, own, settings, slow_reader, upstream, resume, recorder, drain, .. } =
        sharing;
    let Own { client, start, deadline, encodings, first } = own;
    let message = only_message(&encodings, request, sharing.request_bytes_max)?;
    let CallHead { path, metadata, .. } = &head;
    let (linger, caller) = (settings.linger, Caller { path: path.clone(), client });
    let key = Key::new(upstream, settings, slow_reader, path.clone(), metadata, message.clone());
    let Entered { topic, seat, is_new } = hub.enter(key.clone(), start, caller)?;
    let rider = Rider {
        topic: topic.clone(),
        seat,
        knows_head: false,
        deadline: deadline.map(|deadline| Box::pin(sleep_until(deadline))),
        slow_reader,
        _counted: Subscription::new(&recorder),
        recorder: recorder.clone(),
    };
    if is_new {
        head.metadata.extend(first);
        let reply_bytes_max = sharing.reply_bytes_max;
        let request = envelope(&message);
        let membership = hub.fleet(&key).map(|fleet| Membership::new(fleet.clone(), &key, &hub, linger, &drain));
        let pump = Pump {
            topic,
            key,
            hub,
            transport,
            head,
            request,
            resume,
            linger,
            drain,
            reply_bytes_max,
            recorder,
            membership,
        };
        tokio::spawn(pump.run());
    }
    Ok(rider)
}

/// The only message of a request, inflated: who sends the same sends it in one coding or another.
fn only_message(encodings: &HeaderMap, request: Bytes, bytes_max: usize) -> Result<Bytes, Status> {
    let mut messages = Messages::new(bytes_max);
    messages.on_head(encodings);
    messages.push(request);
    let mut next = || messages.next_message().map_err(|error| unsound(error.to_string()));
    let first = next()?.ok_or_else(|| not_one("none"))?;
    if next()?.is_some() {
        return Err(not_one("more than one"));
    }
    messages.end().map_err(|error| unsound(error.to_string()))?;
    Ok(first)
}

impl<T> fmt::Debug for Download<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Download")
    }
}

fn unsound(text: String) -> Status {
    Status::client(Code::InvalidArgument, text).with_reason(Reason::InvalidMessage)
}

/// As servers have it (gRPC status codes, "Request cardinality violation").
fn not_one(what: &str) -> Status {
    Status::client(Code::Unimplemented, format!("the method takes one request message, and there was {what}"))
        .with_reason(Reason::InvalidMessage)
}

fn aborted() -> Status {
    Status::client(Code::Cancelled, "the request ended before its message did").with_reason(Reason::RequestAborted)
}

fn late() -> Status {
    Status::gateway(Code::DeadlineExceeded, "the call's deadline has passed").with_reason(Reason::DeadlineExceeded)
}
