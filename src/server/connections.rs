//! How many connections each worker has, and who gets the next. Knows nothing of what they carry.

use std::sync::{
    Arc,
    atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
};

use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::drain::Drain;

/// Counts of connections since the server was bound.
#[derive(Debug)]
pub struct Connections {
    /// Open connections of each worker.
    loads: Box<[Arc<AtomicUsize>]>,
    per_worker_max: usize,
    /// Where the search for the least loaded begins, so that equals take turns.
    turn: AtomicUsize,
    accepted: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
}

/// A connection's place at a worker, held for as long as the connection is open: upgraded or not.
pub(super) struct Ticket {
    load: Arc<AtomicUsize>,
    _work: TaskTrackerToken,
}

impl Connections {
    pub(super) fn new(workers: usize, per_worker_max: usize) -> Self {
        Self {
            loads: (0..workers).map(|_| Arc::default()).collect(),
            per_worker_max,
            turn: AtomicUsize::new(0),
            accepted: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }
    }

    /// Connections that are open now, WebSockets included.
    pub fn open(&self) -> usize {
        self.loads.iter().map(|load| load.load(Relaxed)).sum()
    }

    /// The same, worker by worker.
    pub fn open_per_worker(&self) -> Vec<usize> {
        self.loads.iter().map(|load| load.load(Relaxed)).collect()
    }

    /// Connections accepted so far.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Relaxed)
    }

    /// Connections closed at once because every worker had `limits.connections_per_worker_max`.
    pub fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    /// Connections that ended before they spoke HTTP: failed or slow TLS handshakes, or silence.
    pub fn failed(&self) -> u64 {
        self.failed.load(Relaxed)
    }

    pub(super) fn count_failed(&self) {
        self.failed.fetch_add(1, Relaxed);
    }

    /// A place at the least loaded worker; none where all are full.
    pub(super) fn take(&self, drain: &Drain) -> Option<(usize, Ticket)> {
        let turn = self.turn.fetch_add(1, Relaxed);
        let least = (0..self.loads.len())
            .map(|offset| turn.wrapping_add(offset) % self.loads.len())
            .filter_map(|worker| self.loads.get(worker).map(|load| (worker, load)))
            .min_by_key(|(_, load)| load.load(Relaxed))
            .filter(|(_, load)| load.load(Relaxed) < self.per_worker_max);
        let Some((worker, load)) = least else {
            self.refused.fetch_add(1, Relaxed);
            return None;
        };
        self.accepted.fetch_add(1, Relaxed);
        load.fetch_add(1, Relaxed);
        Some((worker, Ticket { load: load.clone(), _work: drain.hold() }))
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.load.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_take_turns_and_the_least_loaded_comes_first() {
        let connections = Connections::new(3, 10);
        let drain = Drain::new();
        let (workers, mut tickets): (Vec<usize>, Vec<Ticket>) = (0..6).filter_map(|_| connections.take(&drain)).unzip();
        assert_eq!(workers, [0, 1, 2, 0, 1, 2]);
        drop(tickets.remove(1));
        let (worker, _ticket) = connections.take(&drain).unwrap();
        assert_eq!(worker, 1, "the one that lost a connection");
        assert_eq!(connections.open_per_worker(), [2, 2, 2]);
    }

    #[test]
    fn full_workers_refuse_until_a_connection_ends() {
        let connections = Connections::new(2, 1);
        let drain = Drain::new();
        let first = connections.take(&drain).unwrap();
        let _second = connections.take(&drain).unwrap();
        assert!(connections.take(&drain).is_none());
        assert_eq!((connections.open(), connections.accepted(), connections.refused()), (2, 2, 1));
        drop(first);
        assert!(connections.take(&drain).is_some());
    }
}
