//! What feeds a topic: one call to the upstream, opened again where it broke off, for as long as somebody listens. A task on
//! the worker of who came first; dropped, it cancels the call and ends the topic.

use std::{future::poll_fn, sync::Arc, time::Duration};

use bytes::Bytes;
use http::header::SET_COOKIE;
use tokio::time::{Instant, sleep_until};

use super::{
    Resume,
    entry::envelope,
    hub::{Hub, Key},
    topic::Topic,
};
use crate::{
    call::{CallHead, Replies, ReplyEvent, Requests, Transport},
    config::SlowReader,
    drain::{Drain, going_away},
    status::{Code, Status},
    telemetry::{Recorder, SharedStream},
    upstream::{bad_message, delay},
    wire::{Messages, metadata},
};

// `set-cookie` goes to nobody: it is one client's, and others listen.

/// How long a broken stream is opened again and again before its subscribers are told.
const PATIENCE: Duration = Duration::from_secs(30);
/// Messages that are published before others on the worker have their turn.
pub(super) const TURN_MESSAGES: usize = 64;

pub(super) struct Pump<T> {
    pub(super) topic: Arc<Topic>,
    pub(super) key: Key,
    pub(super) hub: Hub,
    pub(super) transport: T,
    pub(super) head: CallHead,
    /// Its envelope.
    pub(super) request: Bytes,
    pub(super) resume: Option<Resume>,
    pub(super) linger: Duration,
    pub(super) drain: Drain,
    pub(super) reply_bytes_max: usize,
    pub(super) recorder: Recorder,
}

impl<T: Transport + Send + Sync + 'static> Pump<T> {
    /// The life of a topic.
    pub(super) async fn run(self) {
        let _counted = SharedStream::new(&self.recorder);
        let ending = EndOnDrop { hub: self.hub.clone(), key: self.key.clone(), topic: self.topic.clone() };
        let end = tokio::select! {
            end = self.feed() => end,
            // Nobody is there to be told.
            () = self.deserted() => Err(going_away()),
        };
        ending.hub.remove(&ending.key, &ending.topic);
        ending.topic.end(match end {
            Ok(mut trailers) => {
                trailers.remove(SET_COOKIE);
                Ok(trailers)
            }
            Err(status) => Err(status.without_metadata(&SET_COOKIE)),
        });
    }

    /// Until the upstream's last word.
    async fn feed(&self) -> Result<http::HeaderMap, Status> {
        let mut request = self.request.clone();
        let (mut failures, mut since) = (0, None);
        loop {
            let (mut heard, began) = (Heard::default(), Instant::now());
            let status = match self.ride(request, &mut heard).await {
                Err(status) if status.code() == Code::Unavailable => status,
                end => return end,
            };
            let Some(resume) = &self.resume else { return Err(status) };
            // What never began is refused as any call is.
            if since.is_none() && !heard.anything {
                return Err(status);
            }
            if heard.message || began.elapsed() > PATIENCE {
                (failures, since) = (0, None);
            }
            let since = *since.get_or_insert_with(Instant::now);
            failures += 1;
            let at = Instant::now() + delay(failures, self.hub.random());
            if at > since + PATIENCE {
                return Err(status);
            }
            let newest = self.topic.newest();
            request = match newest {
                // No message came yet.
                None => self.request.clone(),
                Some(entry) => match resume(self.key.request(), &entry.message()) {
                    Some(request) => request,
                    None => return Err(status),
                },
            };
            sleep_until(at).await;
        }
    }

    /// One call.
    async fn ride(&self, request: Bytes, heard: &mut Heard) -> Result<http::HeaderMap, Status> {
        let (mut requests, mut replies) = self.transport.open(self.head.clone()).await?;
        if poll_fn(|cx| requests.poll_ready(cx)).await == Ok(()) {
            requests.send_last(request);
        }
        let mut messages = Messages::new(self.reply_bytes_max);
        loop {
            match poll_fn(|cx| replies.poll_event(cx)).await {
                ReplyEvent::Head(mut head) => {
                    heard.anything = true;
                    messages.on_head(&head);
                    metadata::remove_encodings(&mut head);
                    head.remove(SET_COOKIE);
                    self.topic.begin(head);
                }
                ReplyEvent::Data(data) => {
                    (heard.anything, heard.message) = (true, true);
                    messages.push(data);
                    self.publish(&mut messages).await?;
                }
                ReplyEvent::End(Ok(trailers)) => {
                    messages.end().map_err(bad_message)?;
                    return Ok(trailers);
                }
                ReplyEvent::End(Err(status)) => return Err(status),
            }
        }
    }

    /// Publishes what is whole: as fast as the fastest subscriber takes it, unless it is not waited for.
    async fn publish(&self, messages: &mut Messages) -> Result<(), Status> {
        let waits = match self.key.slow_reader() {
            SlowReader::Block | SlowReader::Disconnect => true,
            SlowReader::DropOldest | SlowReader::Latest => false,
        };
        let mut count = 0;
        while let Some(message) = messages.next_message().map_err(bad_message)? {
            if waits {
                poll_fn(|cx| self.topic.poll_room(message.len(), cx)).await;
            }
            self.topic.publish(envelope(&message));
            count += 1;
            if count % TURN_MESSAGES == 0 {
                self.topic.tell();
                tokio::task::yield_now().await;
            }
        }
        self.topic.tell();
        Ok(())
    }

    /// Until nobody has listened for as long as the stream lingers, or the gateway goes down. Nobody finds it then.
    async fn deserted(&self) {
        loop {
            let since = poll_fn(|cx| self.topic.poll_deserted(cx)).await;
            tokio::select! {
                () = sleep_until(since + self.linger) => {}
                () = self.drain.begun() => {}
            }
            if self.hub.remove_deserted(&self.key, &self.topic, since) {
                return;
            }
        }
    }
}

/// What came of one call.
#[derive(Default)]
struct Heard {
    anything: bool,
    message: bool,
}

/// Whatever ends the task, subscribers are told, and nobody else comes.
struct EndOnDrop {
    hub: Hub,
    key: Key,
    topic: Arc<Topic>,
}

impl Drop for EndOnDrop {
    fn drop(&mut self) {
        self.hub.remove(&self.key, &self.topic);
        self.topic.end(Err(going_away()));
    }
}
