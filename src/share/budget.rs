//! What many streams may hold together: of one client connection, or of the process. Beyond it, those that hold most give
//! way. Knows nothing of what they hold.

use std::{
    cmp::Reverse,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use slab::Slab;

use super::topic::Topic;

/// Bytes that topics hold together. Clones are the same.
#[derive(Clone)]
pub(super) struct Budget(Arc<Inner>);

struct Inner {
    taken: AtomicUsize,
    bytes_max: usize,
    topics: Mutex<Slab<Weak<Topic>>>,
}

/// What a topic holds.
#[derive(Clone, Copy)]
pub(super) struct Held {
    pub(super) bytes: usize,
    /// Of them, the newest message, which it keeps however little it may hold.
    pub(super) newest: usize,
}

/// A topic's place in a budget, until this is dropped.
pub(super) struct Share {
    budget: Budget,
    key: usize,
}

/// What the calls of one connection may hold together.
#[derive(Clone, Default)]
pub struct ConnectionBudget(Arc<OnceLock<Budget>>);

impl fmt::Debug for ConnectionBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ConnectionBudget")
    }
}

impl ConnectionBudget {
    /// The first that asks says how many bytes they are.
    pub(super) fn of(&self, bytes_max: usize) -> &Budget {
        self.0.get_or_init(|| Budget::new(bytes_max))
    }
}

impl Budget {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self(Arc::new(Inner { taken: AtomicUsize::new(0), bytes_max, topics: Mutex::default() }))
    }

    pub(super) fn enter(&self, topic: &Weak<Topic>) -> Share {
        Share { budget: self.clone(), key: self.lock().insert(topic.clone()) }
    }

    pub(super) fn taken(&self) -> usize {
        self.0.taken.load(Relaxed)
    }

    pub(super) fn take(&self, bytes: usize) {
        self.0.taken.fetch_add(bytes, Relaxed);
    }

    pub(super) fn give_back(&self, bytes: usize) {
        self.0.taken.fetch_sub(bytes, Relaxed);
    }

    pub(super) fn is_full(&self) -> bool {
        self.taken() >= self.0.bytes_max
    }

    /// What somebody who holds so many bytes may hold in all.
    pub(super) fn room(&self, own: usize) -> usize {
        own + self.0.bytes_max.saturating_sub(self.taken())
    }

    /// Brings what is held back below the most, and some way further, so that there is no need to look again at once. Nobody
    /// may hold a topic's lock meanwhile.
    pub(super) fn relieve(&self) {
        if self.taken() <= self.0.bytes_max {
            return;
        }
        // Dropped after the lock, for the last one of a topic leaves the list.
        let mut topics = Vec::new();
        let list = self.lock();
        topics.extend(upgraded(&list));
        let target = self.0.bytes_max - self.0.bytes_max / 16;
        let held: Vec<Held> = topics.iter().map(|topic| topic.held()).collect();
        let other = self.taken().saturating_sub(held.iter().map(|held| held.bytes).sum());
        let level = level(&held, target.saturating_sub(other));
        topics.iter().for_each(|topic| topic.shrink(level));
        if self.taken() <= self.0.bytes_max {
            return;
        }
        // The newest message of each is too much already.
        let mut largest: Vec<_> = topics.iter().filter(|topic| topic.is_alone()).collect();
        largest.sort_by_key(|topic| Reverse(topic.held().bytes));
        for topic in largest {
            if self.taken() <= target {
                break;
            }
            topic.give_up();
        }
    }

    /// All that hold something, or may.
    pub(super) fn topics(&self) -> Vec<Arc<Topic>> {
        upgraded(&self.lock()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Slab<Weak<Topic>>> {
        self.0.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn upgraded(list: &Slab<Weak<Topic>>) -> impl Iterator<Item = Arc<Topic>> {
    list.iter().filter_map(|(_, topic)| topic.upgrade())
}

/// The most that each may hold for all to hold no more than so much; 0 where even the newest message of each is more.
fn level(held: &[Held], bytes_max: usize) -> usize {
    let fits =
        |level: usize| held.iter().map(|held| held.bytes.min(level).max(held.newest)).sum::<usize>() <= bytes_max;
    let (mut low, mut high) = (0, bytes_max + 1);
    while high - low > 1 {
        let middle = low.midpoint(high);
        if fits(middle) { low = middle } else { high = middle }
    }
    low
}

impl Share {
    pub(super) fn budget(&self) -> &Budget {
        &self.budget
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.budget.lock().try_remove(self.key);
    }
}
