//! A call of its own whose upstream is read on, however slowly its client reads: a task takes the replies into a topic that
//! nobody else finds. Dropped, the call is cancelled.

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll, ready},
};

use http::HeaderMap;

use super::{
    Caller, budget::ConnectionBudget, entry::with_flags, hub::Hub, position::Start, pump::TURN_MESSAGES, ring::Seat,
    subscriber::Event, topic::Topic,
};
use crate::{
    call::{Replies, ReplyEvent},
    config::SlowReader,
    status::{Reason, Status},
    telemetry::Recorder,
    upstream::bad_message,
    wire::{Deframer, EnvelopeError},
};

/// How replies are read on.
#[derive(Clone)]
pub struct ReadingOn {
    pub hub: Hub,
    pub caller: Caller,
    /// Of the client's connection.
    pub connection: ConnectionBudget,
    pub slow_reader: SlowReader,
    pub reply_bytes_max: usize,
    pub recorder: Recorder,
}

/// The way down of such a call. Its events are a subscriber's, but for `Gap`.
pub struct Alone {
    topic: Arc<Topic>,
    seat: Seat,
    knows_head: bool,
    slow_reader: SlowReader,
    recorder: Recorder,
}

/// Reads the replies on from now.
pub fn read_on(replies: impl Replies, how: ReadingOn) -> Alone {
    let ReadingOn { hub, caller, connection, slow_reader, reply_bytes_max, recorder } = how;
    let topic = hub.alone(slow_reader, &connection);
    let seat = topic.join(Start::Live, caller);
    tokio::spawn(run(topic.clone(), replies, reply_bytes_max));
    Alone { topic, seat, knows_head: false, slow_reader, recorder }
}

/// The life of the task.
async fn run(topic: Arc<Topic>, replies: impl Replies, reply_bytes_max: usize) {
    let end = tokio::select! {
        end = feed(&topic, replies, reply_bytes_max) => end,
        // Nobody is there to be told, or it is told already.
        () = poll_fn(|cx| topic.poll_given_up(cx)) => return,
    };
    topic.end(end);
}

/// Until the upstream's last word.
async fn feed(topic: &Topic, mut replies: impl Replies, reply_bytes_max: usize) -> Result<HeaderMap, Status> {
    let mut envelopes = Deframer::new(reply_bytes_max);
    loop {
        match poll_fn(|cx| replies.poll_event(cx)).await {
            ReplyEvent::Head(head) => topic.begin(head),
            ReplyEvent::Data(data) => {
                envelopes.push(data);
                let published = publish(topic, &mut envelopes).await;
                topic.tell();
                published.map_err(|error| bad_message(error.into()))?;
            }
            ReplyEvent::End(Ok(_)) if !envelopes.is_empty() => {
                return Err(bad_message(EnvelopeError::Truncated.into()));
            }
            ReplyEvent::End(end) => return end,
        }
    }
}

/// Publishes what is whole, as it came.
async fn publish(topic: &Topic, envelopes: &mut Deframer) -> Result<(), EnvelopeError> {
    let mut count = 0;
    while let Some(envelope) = envelopes.next_envelope()? {
        topic.publish(with_flags(envelope.flags, &envelope.payload));
        count += 1;
        if count % TURN_MESSAGES == 0 {
            topic.tell();
            tokio::task::yield_now().await;
        }
    }
    Ok(())
}

impl Alone {
    /// The next event. Must not be asked again after [`Event::End`].
    pub fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        let event = ready!(self.topic.poll_event(self.seat, self.knows_head, cx));
        match &event {
            Event::Head(_) => self.knows_head = true,
            Event::Skipped(count) => self.recorder.dropped(self.slow_reader, *count),
            Event::End(Err(status)) if status.reason() == Some(Reason::SubscriberTooSlow) => self.recorder.cut_off(),
            Event::Message(_) | Event::Gap(_) | Event::End(_) => {}
        }
        Poll::Ready(event)
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        let dropped = self.topic.leave(self.seat);
        self.recorder.dropped(self.slow_reader, dropped);
    }
}
