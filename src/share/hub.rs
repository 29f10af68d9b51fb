//! The topics of the process, by what their subscribers have in common. Knows nothing of what flows through them.

use std::{
    cmp::Reverse,
    collections::{HashMap, hash_map},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, uri::PathAndQuery};
use tokio::time::Instant;

use super::{
    Caller, SlowReading,
    budget::{Budget, ConnectionBudget},
    position::Start,
    ring::{Bounds, Seat},
    topic::{Others, Topic},
};
use crate::{
    config::{self, SlowReader},
    fleet::{Fleet, Name},
    limits::Limits,
    status::{Code, Reason, Status},
    upstream::Random,
};

/// What a topic takes of memory beside its key and its messages.
const TOPIC_BYTES: usize = 4096;

/// Whoever looks for the slowest sorts as often as so many have come together.
const SLOWEST_SORTED: usize = 1024;

/// All shared streams of one process, and what room there is for those that are read slowly. Clones are the same.
#[derive(Clone)]
pub struct Hub(Arc<Inner>);

struct Inner {
    topics: Mutex<Topics>,
    topics_max: usize,
    messages_max: usize,
    bytes_max: usize,
    connection_bytes_max: usize,
    budget: Budget,
    /// None: there are no other gateways.
    fleet: Option<Fleet>,
}

struct Topics {
    by_key: HashMap<Key, Arc<Topic>>,
    epochs: Random,
}

/// What calls must have in common to share a stream. Never told to anybody: it holds credentials.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Key(Arc<Parts>);

#[derive(PartialEq, Eq, Hash)]
struct Parts {
    /// By name.
    upstream: String,
    settings: Arc<config::Share>,
    slow_reader: SlowReader,
    path: PathAndQuery,
    /// By name; values of one name in their order.
    metadata: Vec<(HeaderName, HeaderValue)>,
    /// The message, in protobuf.
    request: Bytes,
}

/// A subscriber's topic.
pub(super) struct Entered {
    pub(super) topic: Arc<Topic>,
    pub(super) seat: Seat,
    /// Nobody feeds it yet: the caller has to.
    pub(super) is_new: bool,
}

impl Key {
    pub(super) fn new(
        upstream: String,
        settings: Arc<config::Share>,
        slow_reader: SlowReader,
        path: PathAndQuery,
        metadata: &HeaderMap,
        request: Bytes,
    ) -> Self {
        let mut metadata: Vec<_> = metadata.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        // Stable.
        metadata.sort_by(|(a, _), (b, _)| a.as_str().cmp(b.as_str()));
        Self(Arc::new(Parts { upstream, settings, slow_reader, path, metadata, request }))
    }

    /// The request message.
    pub(super) fn request(&self) -> &Bytes {
        &self.0.request
    }

    pub(super) fn slow_reader(&self) -> SlowReader {
        self.0.slow_reader
    }

    /// What other gateways know the stream by. Credentials are in it, and cannot be told from it.
    pub(super) fn name(&self) -> Name {
        let Parts { upstream, settings, slow_reader, path, metadata, request } = &*self.0;
        let config::Share { replay, linger, key, public, fleet: _ } = &**settings;
        // A topic of the process is one of the fleet.
        let settings = format!("{replay} {} {} {public} {slow_reader:?}", linger.as_millis(), key.join(","));
        let count = (metadata.len() as u64).to_be_bytes();
        let head = [upstream.as_bytes(), path.as_str().as_bytes(), settings.as_bytes(), &count];
        let metadata = metadata.iter().flat_map(|(name, value)| [name.as_str().as_bytes(), value.as_bytes()]);
        Name::of(head.into_iter().chain(metadata).chain([&**request]))
    }

    fn weight(&self) -> usize {
        let metadata = self.0.metadata.iter().map(|(name, value)| name.as_str().len() + value.len());
        TOPIC_BYTES + self.0.request.len() + metadata.sum::<usize>()
    }

    fn replay(&self) -> usize {
        self.0.settings.replay
    }
}

impl Hub {
    /// `seed`: random, different for each process. `fleet`: where other gateways are to have the same streams.
    pub fn new(limits: &Limits, seed: u64, fleet: Option<Fleet>) -> Self {
        let topics = Topics { by_key: HashMap::new(), epochs: Random::new(seed) };
        Self(Arc::new(Inner {
            topics: Mutex::new(topics),
            topics_max: limits.share_topics_max,
            messages_max: limits.stream_buffer_messages_max,
            bytes_max: limits.stream_buffer_bytes_max,
            connection_bytes_max: limits.stream_buffer_connection_bytes_max,
            budget: Budget::new(limits.stream_buffer_total_bytes_max),
            fleet,
        }))
    }

    /// A topic for one call alone, which nobody else finds.
    pub(super) fn alone(&self, slow_reader: SlowReader, connection: &ConnectionBudget) -> Arc<Topic> {
        let budgets = [&self.0.budget, connection.of(self.0.connection_bytes_max)];
        Topic::new(0, self.bounds(None, slow_reader), Others::Nobody, 0, &budgets)
    }

    /// Takes a subscriber in where its topic is, or makes one.
    ///
    /// # Errors
    /// UNAVAILABLE where there are as many topics as there may be, or no memory is left for another.
    pub(super) fn enter(&self, key: Key, start: Start, caller: Caller) -> Result<Entered, Status> {
        let mut topics = self.lock();
        let Topics { by_key, epochs } = &mut *topics;
        let count = by_key.len();
        let (topic, is_new) = match by_key.entry(key) {
            hash_map::Entry::Occupied(known) => (known.get().clone(), false),
            hash_map::Entry::Vacant(_) if count >= self.0.topics_max || self.0.budget.is_full() => return Err(full()),
            hash_map::Entry::Vacant(place) => {
                let key = place.key();
                let bounds = self.bounds(Some(key.replay()), key.0.slow_reader);
                let others = if self.fleet(key).is_some() { Others::Gateways } else { Others::Nobody };
                let topic = Topic::new(epochs.draw(), bounds, others, key.weight(), &[&self.0.budget]);
                (place.insert(topic).clone(), true)
            }
        };
        // Within the lock, so that nobody closes the topic for want of subscribers meanwhile.
        let seat = topic.join(start, caller);
        Ok(Entered { topic, seat, is_new })
    }

    /// Nobody finds the topic any more.
    pub(super) fn remove(&self, key: &Key, topic: &Arc<Topic>) {
        self.lock().remove(key, topic);
    }

    /// The same where nobody has been there since then; false: somebody has.
    pub(super) fn remove_deserted(&self, key: &Key, topic: &Arc<Topic>, since: Instant) -> bool {
        let mut topics = self.lock();
        let is_deserted = topic.is_deserted_since(since);
        if is_deserted {
            topics.remove(key, topic);
        }
        is_deserted
    }

    /// With whom a stream is shared beyond the process.
    pub(super) fn fleet(&self, key: &Key) -> Option<&Fleet> {
        self.0.fleet.as_ref().filter(|_| key.0.settings.fleet)
    }

    /// What gateways keep of a stream together: most messages, and most bytes.
    pub(super) fn kept(&self, key: &Key) -> (usize, usize) {
        (key.replay().max(self.0.messages_max), self.0.bytes_max)
    }

    /// Bytes that all topics take together.
    pub fn bytes(&self) -> usize {
        self.0.budget.taken()
    }

    /// Those that have the most to read of what is kept for them, and at most so many.
    pub fn slowest(&self, max: usize) -> Vec<SlowReading> {
        let mut readings = Vec::new();
        for topic in self.0.budget.topics() {
            topic.lags(&mut readings);
            if readings.len() > SLOWEST_SORTED {
                keep_slowest(&mut readings, max);
            }
        }
        keep_slowest(&mut readings, max);
        readings
    }

    fn bounds(&self, replay: Option<usize>, slow_reader: SlowReader) -> Bounds {
        Bounds { replay, lag: self.0.messages_max, bytes_max: self.0.bytes_max, slow_reader }
    }

    /// A random number.
    pub(super) fn random(&self) -> u64 {
        self.lock().epochs.draw()
    }

    fn lock(&self) -> MutexGuard<'_, Topics> {
        self.0.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Topics {
    fn remove(&mut self, key: &Key, topic: &Arc<Topic>) {
        // Another of the same key may have taken its place.
        if self.by_key.get(key).is_some_and(|known| Arc::ptr_eq(known, topic)) {
            self.by_key.remove(key);
        }
    }
}

fn keep_slowest(readings: &mut Vec<SlowReading>, max: usize) {
    readings.sort_by_key(|reading| (Reverse(reading.bytes), Reverse(reading.age)));
    readings.truncate(max);
}

fn full() -> Status {
    Status::gateway(Code::Unavailable, "the gateway has as many shared streams as it takes")
        .with_reason(Reason::Overloaded)
        .with_retry_after(Duration::from_secs(1))
}
