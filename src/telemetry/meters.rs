//! The counters themselves: each worker has its own, and only who asks for the metrics adds them up.
//!
//! Knows nothing of how they are written down.

use std::{
    array,
    collections::HashMap,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use arc_swap::ArcSwap;

use super::{CallRecord, Mirrored};
use crate::status::{Code, Origin};

/// All counters of a process.
pub(super) struct Meters {
    pub(super) workers: Box<[Arc<WorkerMeters>]>,
    joined: AtomicUsize,
    /// Read on every call, replaced whole when a method is called for the first time.
    methods: ArcSwap<HashMap<Box<str>, Arc<MethodMeters>, foldhash::fast::RandomState>>,
    /// Held while `methods` is replaced.
    adding: Mutex<()>,
    /// Of calls without a route, and of methods beyond [`METHODS_MAX`].
    unknown: Arc<MethodMeters>,
}

/// What one worker counts of all methods together. Aligned so that no two workers write to one cache line.
#[derive(Default)]
#[repr(align(128))]
pub(super) struct WorkerMeters {
    in_flight: AtomicI64,
    /// From the client and to the client.
    messages: [AtomicU64; 2],
    bytes: [AtomicU64; 2],
    /// By [`Origin`].
    failures: [AtomicU64; 3],
    /// By [`Mirrored`].
    mirrored: [AtomicU64; 3],
    pub(super) shared: Shared,
    pub(super) slow: Slow,
}

/// What one worker counts of clients that read slowly.
#[derive(Default)]
pub(super) struct Slow {
    /// Messages that were dropped, oldest first or but for the latest.
    pub(super) dropped: [AtomicU64; 2],
    pub(super) cut_off: AtomicU64,
    pub(super) stalled: AtomicU64,
}

/// What one worker counts of streams that calls share.
#[derive(Default)]
pub(super) struct Shared {
    pub(super) streams: AtomicI64,
    pub(super) subscribers: AtomicI64,
    pub(super) messages: AtomicU64,
}

/// What is counted of one method, by worker.
pub(super) struct MethodMeters {
    pub(super) name: Box<str>,
    workers: Box<[MethodWorker]>,
}

#[derive(Default)]
#[repr(align(128))]
struct MethodWorker {
    durations: Durations,
    unknown_fields: AtomicU64,
    /// By the place in [`DIALECTS`] and by code; a dialect that nobody speaks takes no room.
    calls: [OnceLock<Box<[AtomicU64; Code::ALL.len()]>>; DIALECTS.len()],
}

#[derive(Default)]
struct Durations {
    /// The last one has no upper bound.
    buckets: [AtomicU64; BUCKETS.len() + 1],
    micros: AtomicU64,
}

impl Meters {
    pub(super) fn new(workers: usize) -> Self {
        Self {
            workers: (0..workers).map(|_| Arc::default()).collect(),
            joined: AtomicUsize::new(0),
            methods: ArcSwap::default(),
            adding: Mutex::new(()),
            unknown: Arc::new(MethodMeters::new(UNKNOWN, workers)),
        }
    }

    /// The next worker's place and counters.
    pub(super) fn join(&self) -> (usize, Arc<WorkerMeters>) {
        let index = self.joined.fetch_add(1, Relaxed) % self.workers.len().max(1);
        (index, self.workers.get(index).cloned().unwrap_or_default())
    }

    /// Counts a call of a method. Hands out no reference counts: workers would pass their cache line round.
    pub(super) fn call(&self, worker: usize, record: &CallRecord<'_>) {
        if record.method.is_empty() {
            return self.unknown.call(worker, record);
        }
        match self.methods.load().get(record.method) {
            Some(method) => method.call(worker, record),
            None => self.add(record.method).call(worker, record),
        }
    }

    fn add(&self, name: &str) -> Arc<MethodMeters> {
        let _one_at_a_time = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
        let known = self.methods.load();
        if let Some(method) = known.get(name) {
            return method.clone();
        }
        if known.len() >= METHODS_MAX {
            return self.unknown.clone();
        }
        let method = Arc::new(MethodMeters::new(name, self.workers.len()));
        let mut more = HashMap::clone(&known);
        more.insert(name.into(), method.clone());
        self.methods.store(Arc::new(more));
        method
    }

    /// Every method that was called, in the order of their names, the unknown ones last.
    pub(super) fn methods(&self) -> Vec<Arc<MethodMeters>> {
        let mut methods: Vec<_> = self.methods.load().values().cloned().collect();
        methods.sort_by(|a, b| a.name.cmp(&b.name));
        methods.push(self.unknown.clone());
        methods
    }

    pub(super) fn in_flight(&self) -> i64 {
        self.workers.iter().map(|worker| worker.in_flight.load(Relaxed)).sum()
    }

    /// Messages and their bytes: from clients and to clients.
    pub(super) fn messages(&self) -> [(u64, u64); 2] {
        array::from_fn(|direction| {
            let sum = |of: fn(&WorkerMeters) -> &[AtomicU64; 2]| {
                self.workers
                    .iter()
                    .filter_map(|worker| of(worker).get(direction))
                    .map(|count| count.load(Relaxed))
                    .sum()
            };
            (sum(|worker| &worker.messages), sum(|worker| &worker.bytes))
        })
    }

    pub(super) fn mirrored(&self, outcome: Mirrored) -> u64 {
        self.workers.iter().map(|worker| worker.copies(outcome).load(Relaxed)).sum()
    }

    /// Shared streams and their subscribers, and messages that these were given.
    pub(super) fn shared(&self) -> ([i64; 2], u64) {
        let workers = || self.workers.iter().map(|worker| &worker.shared);
        let now = [
            workers().map(|shared| shared.streams.load(Relaxed)).sum(),
            workers().map(|shared| shared.subscribers.load(Relaxed)).sum(),
        ];
        (now, workers().map(|shared| shared.messages.load(Relaxed)).sum())
    }

    /// One of the counts of clients that read slowly.
    pub(super) fn slow(&self, of: impl Fn(&Slow) -> &AtomicU64) -> u64 {
        self.workers.iter().map(|worker| of(&worker.slow).load(Relaxed)).sum()
    }

    pub(super) fn failures(&self, origin: Origin) -> u64 {
        self.workers.iter().map(|worker| worker.failures(origin).load(Relaxed)).sum()
    }
}

impl WorkerMeters {
    pub(super) fn call(&self, record: &CallRecord<'_>) {
        let [messages_in, messages_out] = &self.messages;
        let [bytes_in, bytes_out] = &self.bytes;
        messages_in.fetch_add(record.messages_in, Relaxed);
        messages_out.fetch_add(record.messages_out, Relaxed);
        bytes_in.fetch_add(record.bytes_in, Relaxed);
        bytes_out.fetch_add(record.bytes_out, Relaxed);
        if let Some(origin) = record.origin {
            self.failures(origin).fetch_add(1, Relaxed);
        }
    }

    pub(super) fn begin(&self) {
        self.in_flight.fetch_add(1, Relaxed);
    }

    pub(super) fn end(&self) {
        self.in_flight.fetch_sub(1, Relaxed);
    }

    pub(super) fn mirrored(&self, outcome: Mirrored) {
        self.copies(outcome).fetch_add(1, Relaxed);
    }

    fn copies(&self, outcome: Mirrored) -> &AtomicU64 {
        let [sent, dropped, cut] = &self.mirrored;
        match outcome {
            Mirrored::Sent => sent,
            Mirrored::Dropped => dropped,
            Mirrored::Cut => cut,
        }
    }

    fn failures(&self, origin: Origin) -> &AtomicU64 {
        let [client, gateway, upstream] = &self.failures;
        match origin {
            Origin::Client => client,
            Origin::Gateway => gateway,
            Origin::Upstream => upstream,
        }
    }
}

impl MethodMeters {
    fn new(name: &str, workers: usize) -> Self {
        Self { name: name.into(), workers: (0..workers).map(|_| MethodWorker::default()).collect() }
    }

    fn call(&self, worker: usize, record: &CallRecord<'_>) {
        let Some(own) = self.workers.get(worker) else { return };
        own.durations.observe(record.duration);
        if record.unknown_fields > 0 {
            own.unknown_fields.fetch_add(record.unknown_fields, Relaxed);
        }
        let dialect = DIALECTS.iter().position(|known| *known == record.dialect).unwrap_or(DIALECTS.len() - 1);
        let Some(codes) = own.calls.get(dialect) else { return };
        let codes = codes.get_or_init(|| Box::new(array::from_fn(|_| AtomicU64::new(0))));
        if let Some(calls) = codes.get(usize::from(record.code.number())) {
            calls.fetch_add(1, Relaxed);
        }
    }

    /// Names that clients gave and messages do not have.
    pub(super) fn unknown_fields(&self) -> u64 {
        self.workers.iter().map(|own| own.unknown_fields.load(Relaxed)).sum()
    }

    /// Every dialect and code that a call ended with, and how many did.
    pub(super) fn calls(&self) -> impl Iterator<Item = (&'static str, Code, u64)> {
        let places =
            DIALECTS.iter().enumerate().flat_map(|(index, dialect)| Code::ALL.map(|code| (index, *dialect, code)));
        places.filter_map(|(index, dialect, code)| {
            let of_worker = |own: &MethodWorker| {
                own.calls.get(index)?.get()?.get(usize::from(code.number())).map(|calls| calls.load(Relaxed))
            };
            let calls = self.workers.iter().filter_map(of_worker).sum();
            (calls > 0).then_some((dialect, code, calls))
        })
    }

    /// Sum in seconds, count, and each bucket's upper bound and count.
    pub(super) fn durations(&self) -> (f64, u64, Vec<(f64, u64)>) {
        let bounds = BUCKETS.iter().map(|bound| Duration::from_micros(*bound).as_secs_f64()).chain([f64::INFINITY]);
        let count = |index: usize| {
            self.workers
                .iter()
                .filter_map(|own| own.durations.buckets.get(index))
                .map(|count| count.load(Relaxed))
                .sum()
        };
        let buckets: Vec<(f64, u64)> = bounds.enumerate().map(|(index, bound)| (bound, count(index))).collect();
        let micros = self.workers.iter().map(|own| own.durations.micros.load(Relaxed)).sum();
        (Duration::from_micros(micros).as_secs_f64(), buckets.iter().map(|(_, count)| count).sum(), buckets)
    }
}

impl Durations {
    fn observe(&self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        // Upper bounds belong to their buckets.
        let bucket = BUCKETS.partition_point(|bound| *bound < micros);
        if let Some(count) = self.buckets.get(bucket) {
            count.fetch_add(1, Relaxed);
        }
        self.micros.fetch_add(micros, Relaxed);
    }
}

/// Names of dialects as labels; one that is not here counts as the last.
const DIALECTS: [&str; 10] =
    ["json", "ndjson", "protobuf", "sse", "websocket", "mux", "connect", "grpc-web", "grpc", "other"];

/// Upper bounds in microseconds: from a local call to a minute.
const BUCKETS: [u64; 15] = [
    500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
    10_000_000, 60_000_000,
];

/// Most methods with labels of their own: enough for a large company's schemas, and some megabytes at most.
pub(super) const METHODS_MAX: usize = 4096;

const UNKNOWN: &str = "unknown";
