//! Lines from the workers to a writer: bounded buffers, one thread that empties them. Knows nothing of what they say.

use std::{
    io::Write,
    mem,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, Thread},
    time::Duration,
};

/// The buffers and the writer behind them.
pub(super) struct AccessLog {
    /// Of every call; false: only of faults.
    pub(super) every_call: bool,
    /// One for each worker, so that its lock is free but for the moment in which the writer takes the bytes out.
    buffers: Box<[Mutex<Vec<u8>>]>,
    writer: Mutex<Writer>,
    thread: OnceLock<Thread>,
    /// Something waits, and the thread has been told.
    waiting: AtomicBool,
    stopped: AtomicBool,
    dropped: AtomicU64,
}

struct Writer {
    to: Box<dyn Write + Send>,
    /// Empty; changes places with a worker's buffer, so that nobody allocates anew.
    spare: Vec<u8>,
}

impl AccessLog {
    pub(super) fn start(writer: Box<dyn Write + Send>, workers: usize, every_call: bool) -> Arc<Self> {
        let log = Arc::new(Self {
            every_call,
            buffers: (0..workers).map(|_| Mutex::default()).collect(),
            writer: Mutex::new(Writer { to: writer, spare: Vec::new() }),
            thread: OnceLock::new(),
            waiting: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            dropped: AtomicU64::new(0),
        });
        let of_thread = log.clone();
        match thread::Builder::new().name("access-log".to_owned()).spawn(move || of_thread.run()) {
            Ok(handle) => drop(log.thread.set(handle.thread().clone())),
            Err(error) => tracing::error!(%error, "no thread for the access log: lines wait until the end"),
        }
        log
    }

    /// Lets `write` append a line to the worker's buffer, or counts it as dropped where there is no room.
    pub(super) fn append(&self, worker: usize, write: impl FnOnce(&mut Vec<u8>)) {
        let Some(buffer) = self.buffers.get(worker) else { return };
        {
            let mut buffer = locked(buffer);
            if buffer.len() >= BUFFER_BYTES_MAX {
                self.dropped.fetch_add(1, Ordering::Relaxed);
                return;
            }
            write(&mut buffer);
        }
        // Only the first line of a batch costs a system call.
        if !self.waiting.swap(true, Ordering::AcqRel)
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }

    /// Lines that found no room.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Writes out what waits.
    pub(super) fn flush(&self) {
        let Writer { to, spare } = &mut *locked(&self.writer);
        for buffer in &self.buffers {
            mem::swap(spare, &mut *locked(buffer));
            // A log that nobody can read any more is no reason to stop serving.
            if !spare.is_empty() && to.write_all(spare).and_then(|()| to.flush()).is_err() {
                self.dropped.fetch_add(1, Ordering::Relaxed);
            }
            spare.clear();
        }
    }

    /// Ends the thread once it has written what waits.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    fn run(&self) {
        loop {
            let stopped = self.stopped.load(Ordering::Acquire);
            // Before the buffers are emptied: a line that comes later wakes the thread again.
            if self.waiting.swap(false, Ordering::AcqRel) || stopped {
                self.flush();
            }
            if stopped {
                return;
            }
            thread::park();
            // Lines of one moment travel together.
            thread::sleep(GATHER);
        }
    }
}

fn locked<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One worker's lines that wait for the writer: some thousands.
const BUFFER_BYTES_MAX: usize = 1 << 20;

const GATHER: Duration = Duration::from_millis(20);
