//! What feeds a topic: one call to the upstream, opened again where it broke off, for as long as somebody listens. A task on
//! the worker of who came first; dropped, it cancels the call and ends the topic.

use std::{future::poll_fn, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, header::SET_COOKIE};
use tokio::time::{Instant, sleep, sleep_until};

use super::{
    Resume,
    entry::envelope,
    hub::{Hub, Key},
    member::{self, Membership, Unwritten, Writer},
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
/// Bytes of messages that are published at once; one is, however large it is.
const TURN_BYTES: usize = 1 << 20;
/// Time between two looks at whether other gateways still want a stream that nobody here wants.
const NEEDED: Duration = Duration::from_secs(1);

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
    /// Where other gateways have the stream too.
    pub(super) membership: Option<Membership>,
}

impl<T: Transport + Send + Sync + 'static> Pump<T> {
    /// The life of a topic.
    pub(super) async fn run(self) {
        let _counted = SharedStream::new(&self.recorder);
        let ending = EndOnDrop { hub: self.hub.clone(), key: self.key.clone(), topic: self.topic.clone() };
        let feed = async {
            match &self.membership {
                Some(membership) => member::feed(&self, membership).await,
                None => self.feed_alone().await,
            }
        };
        let end = tokio::select! {
            end = feed => end,
            // Nobody is there to be told.
            () = self.deserted() => Err(going_away()),
        };
        ending.hub.remove(&ending.key, &ending.topic);
        ending.topic.end(end);
        if let Some(membership) = &self.membership {
            membership.leave().await;
        }
    }

    /// Until the upstream's last word, for this process alone.
    pub(super) async fn feed_alone(&self) -> Result<HeaderMap, Status> {
        match self.feed(false, &mut None).await {
            Ok(trailers) => Ok(trailers),
            Err(Stop::Failed(status)) => Err(status),
            // There was nobody to write to.
            Err(Stop::Unwritten(_)) => Err(going_away()),
        }
    }

    /// Until the upstream's last word. `goes_on`: somebody else had the stream before, up to the newest message.
    pub(super) async fn feed(&self, goes_on: bool, writer: &mut Option<Writer<'_>>) -> Result<HeaderMap, Stop> {
        let (mut failures, mut since) = (0, goes_on.then(Instant::now));
        let mut request = match goes_on {
            true => self.next_request().ok_or_else(member::broken_off)?,
            false => self.request.clone(),
        };
        loop {
            let (mut heard, began) = (Heard::default(), Instant::now());
            let status = match self.ride(request, &mut heard, writer).await {
                Ok(mut trailers) => {
                    trailers.remove(SET_COOKIE);
                    return Ok(trailers);
                }
                Err(Stop::Failed(status)) => status.without_metadata(&SET_COOKIE),
                Err(unwritten) => return Err(unwritten),
            };
            // What never began is refused as any call is.
            let may_go_on = self.resume.is_some() && (since.is_some() || heard.anything);
            if status.code() != Code::Unavailable || !may_go_on {
                return Err(status.into());
            }
            if heard.message || began.elapsed() > PATIENCE {
                (failures, since) = (0, None);
            }
            let since = *since.get_or_insert_with(Instant::now);
            failures += 1;
            let at = Instant::now() + delay(failures, self.hub.random());
            if at > since + PATIENCE {
                return Err(status.into());
            }
            request = match self.next_request() {
                Some(request) => request,
                None => return Err(status.into()),
            };
            sleep_until(at).await;
        }
    }

    /// Goes on behind the newest message.
    fn next_request(&self) -> Option<Bytes> {
        match self.topic.newest() {
            // No message came yet.
            None => Some(self.request.clone()),
            Some(entry) => self.resume.as_ref()?(self.key.request(), &entry.message()),
        }
    }

    /// One call.
    async fn ride(
        &self,
        request: Bytes,
        heard: &mut Heard,
        writer: &mut Option<Writer<'_>>,
    ) -> Result<HeaderMap, Stop> {
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
                    if let Some(writer) = writer {
                        writer.begin(&head).await?;
                    }
                    self.topic.begin(head);
                }
                ReplyEvent::Data(data) => {
                    (heard.anything, heard.message) = (true, true);
                    messages.push(data);
                    self.publish(&mut messages, writer).await?;
                }
                ReplyEvent::End(Ok(trailers)) => {
                    messages.end().map_err(bad_message)?;
                    return Ok(trailers);
                }
                ReplyEvent::End(Err(status)) => return Err(status.into()),
            }
        }
    }

    /// Publishes what is whole, as much at once as there is room for: as fast as the fastest subscriber takes it, unless it is
    /// not waited for.
    async fn publish(&self, messages: &mut Messages, writer: &mut Option<Writer<'_>>) -> Result<(), Stop> {
        let (mut batch, mut bytes) = (Vec::new(), 0);
        let outcome = loop {
            let message = match messages.next_message() {
                Ok(Some(message)) => message,
                Ok(None) => break Ok(()),
                Err(error) => break Err(bad_message(error)),
            };
            let together = bytes + message.len();
            let is_full = batch.len() == TURN_MESSAGES || together > TURN_BYTES;
            if !batch.is_empty() && (is_full || self.waits() && !self.topic.has_room(batch.len() + 1, together)) {
                self.flush(&mut batch, writer).await?;
                bytes = 0;
                tokio::task::yield_now().await;
            }
            if batch.is_empty() {
                self.room(message.len()).await;
            }
            bytes += message.len();
            batch.push(envelope(&message));
        };
        // What came before something unsound is sound.
        self.flush(&mut batch, writer).await?;
        Ok(outcome?)
    }

    /// Where others read the stream too, they have it before anybody here.
    async fn flush(&self, batch: &mut Vec<Bytes>, writer: &mut Option<Writer<'_>>) -> Result<(), Stop> {
        if batch.is_empty() {
            return Ok(());
        }
        match writer {
            Some(writer) => writer.append(&self.topic, batch).await?,
            None => batch.drain(..).for_each(|envelope| self.topic.publish(envelope)),
        }
        batch.clear();
        self.topic.tell();
        Ok(())
    }

    /// Until a message of so many bytes may be published.
    pub(super) async fn room(&self, message_bytes: usize) {
        if !self.waits() {
            return;
        }
        let room = poll_fn(|cx| self.topic.poll_room(message_bytes, cx));
        match &self.membership {
            Some(membership) => membership.wait_for(room).await,
            None => room.await,
        }
    }

    /// Whether subscribers are waited for.
    fn waits(&self) -> bool {
        match self.key.slow_reader() {
            SlowReader::Block | SlowReader::Disconnect => true,
            SlowReader::DropOldest | SlowReader::Latest => false,
        }
    }

    /// Until nobody has listened for as long as the stream lingers, or the gateway goes down. Nobody finds it then.
    async fn deserted(&self) {
        loop {
            let since = poll_fn(|cx| self.topic.poll_deserted(cx)).await;
            tokio::select! {
                () = sleep_until(since + self.linger) => {}
                () = self.drain.begun() => {}
            }
            // Nobody else could go on with it.
            let is_needed = match &self.membership {
                Some(membership) if self.resume.is_none() => membership.is_read_elsewhere().await,
                _ => false,
            };
            if is_needed && !self.drain.is_draining() {
                tokio::select! {
                    () = sleep(NEEDED) => {}
                    () = self.drain.begun() => {}
                }
            } else if self.hub.remove_deserted(&self.key, &self.topic, since) {
                return;
            }
        }
    }
}

/// Why a topic is no longer fed.
pub(super) enum Stop {
    /// The upstream's last word, or what is wrong with it.
    Failed(Status),
    Unwritten(Unwritten),
}

impl From<Status> for Stop {
    fn from(status: Status) -> Self {
        Self::Failed(status)
    }
}

impl From<Unwritten> for Stop {
    fn from(unwritten: Unwritten) -> Self {
        Self::Unwritten(unwritten)
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
