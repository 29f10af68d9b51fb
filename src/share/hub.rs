//! The topics of the process, by what their subscribers have in common. Knows nothing of what flows through them.

use std::{
    collections::{HashMap, hash_map},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, uri::PathAndQuery};
use tokio::time::Instant;

use super::{
    position::Start,
    ring::Bounds,
    topic::{Joined, Memory, Topic},
};
use crate::{
    config,
    limits::Limits,
    status::{Code, Reason, Status},
    upstream::Random,
};

/// What a topic takes of memory beside its key and its messages.
const TOPIC_BYTES: usize = 4096;

/// All shared streams of one process. Clones are the same.
#[derive(Clone)]
pub struct Hub(Arc<Inner>);

struct Inner {
    topics: Mutex<Topics>,
    topics_max: usize,
    topic_bytes_max: usize,
    memory: Memory,
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
    upstream: usize,
    settings: Arc<config::Share>,
    path: PathAndQuery,
    /// By name; values of one name in their order.
    metadata: Vec<(HeaderName, HeaderValue)>,
    /// The message, in protobuf.
    request: Bytes,
}

/// A subscriber's topic.
pub(super) struct Entered {
    pub(super) topic: Arc<Topic>,
    pub(super) joined: Joined,
    /// Nobody feeds it yet: the caller has to.
    pub(super) is_new: bool,
}

impl Key {
    pub(super) fn new(
        upstream: usize,
        settings: Arc<config::Share>,
        path: PathAndQuery,
        metadata: &HeaderMap,
        request: Bytes,
    ) -> Self {
        let mut metadata: Vec<_> = metadata.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        // Stable.
        metadata.sort_by(|(a, _), (b, _)| a.as_str().cmp(b.as_str()));
        Self(Arc::new(Parts { upstream, settings, path, metadata, request }))
    }

    /// The request message.
    pub(super) fn request(&self) -> &Bytes {
        &self.0.request
    }

    pub(super) fn weight(&self) -> usize {
        let metadata = self.0.metadata.iter().map(|(name, value)| name.as_str().len() + value.len());
        TOPIC_BYTES + self.0.request.len() + metadata.sum::<usize>()
    }
}

impl Hub {
    /// `seed`: random, different for each process.
    pub fn new(limits: &Limits, seed: u64) -> Self {
        let topics = Topics { by_key: HashMap::new(), epochs: Random::new(seed) };
        Self(Arc::new(Inner {
            topics: Mutex::new(topics),
            topics_max: limits.share_topics_max,
            topic_bytes_max: limits.share_topic_bytes_max,
            memory: Memory { taken: Arc::new(AtomicUsize::new(0)), bytes_max: limits.share_bytes_max },
        }))
    }

    /// Takes a subscriber in where its topic is, or makes one.
    ///
    /// # Errors
    /// UNAVAILABLE where there are as many topics as there may be, or no memory is left for another.
    pub(super) fn enter(&self, key: Key, start: Start) -> Result<Entered, Status> {
        let mut topics = self.lock();
        let Topics { by_key, epochs } = &mut *topics;
        let count = by_key.len();
        let (topic, is_new) = match by_key.entry(key) {
            hash_map::Entry::Occupied(known) => (known.get().clone(), false),
            hash_map::Entry::Vacant(_) if count >= self.0.topics_max || self.0.memory.is_full() => return Err(full()),
            hash_map::Entry::Vacant(place) => {
                let replay = place.key().0.settings.replay;
                let bounds = Bounds { replay, bytes_max: self.0.topic_bytes_max };
                let topic = Topic::new(place.key().clone(), epochs.draw(), bounds, self.0.memory.clone());
                (place.insert(Arc::new(topic)).clone(), true)
            }
        };
        // Within the lock, so that nobody closes the topic for want of subscribers meanwhile.
        let joined = topic.join(start);
        Ok(Entered { topic, joined, is_new })
    }

    /// Nobody finds the topic any more.
    pub(super) fn remove(&self, topic: &Arc<Topic>) {
        self.lock().remove(topic);
    }

    /// The same where nobody has been there since then; false: somebody has.
    pub(super) fn remove_deserted(&self, topic: &Arc<Topic>, since: Instant) -> bool {
        let mut topics = self.lock();
        let is_deserted = topic.is_deserted_since(since);
        if is_deserted {
            topics.remove(topic);
        }
        is_deserted
    }

    /// Bytes that all topics take together.
    pub fn bytes(&self) -> usize {
        self.0.memory.taken.load(Relaxed)
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
    fn remove(&mut self, topic: &Arc<Topic>) {
        // Another of the same key may have taken its place.
        if self.by_key.get(&topic.key).is_some_and(|known| Arc::ptr_eq(known, topic)) {
            self.by_key.remove(&topic.key);
        }
    }
}

fn full() -> Status {
    Status::gateway(Code::Unavailable, "the gateway has as many shared streams as it takes")
        .with_reason(Reason::Overloaded)
        .with_retry_after(Duration::from_secs(1))
}
