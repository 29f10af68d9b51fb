//! What a worker tells its connections: to end, because the process goes down or because nobody uses them.
//!
//! A connection's own task looks at one flag; no timer and no lock per request. Knows nothing of HTTP.

use std::{
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    task::Context,
    time::Duration,
};

use futures_util::task::AtomicWaker;
use slab::Slab;
use tokio::time::{MissedTickBehavior, interval};

use crate::drain::Drain;

/// One connection, as its worker sees it.
#[derive(Default)]
pub(super) struct Control {
    /// Requests whose responses have not ended.
    in_flight: AtomicU32,
    /// Requests begun so far, wrapping.
    begun: AtomicU32,
    closing: AtomicBool,
    waker: AtomicWaker,
}

/// Counts as a request in flight for as long as it is held.
pub(super) struct Busy(Arc<Control>);

impl Control {
    pub(super) fn begin_request(self: &Arc<Self>) -> Busy {
        self.begun.fetch_add(1, Ordering::Relaxed);
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        Busy(self.clone())
    }

    /// Asks the connection to finish what it has in flight and end.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Whether the connection was asked to end; it is woken when that happens.
    pub(super) fn poll_closing(&self, cx: &Context<'_>) -> bool {
        self.waker.register(cx.waker());
        self.closing.load(Ordering::Acquire)
    }

    pub(super) fn is_busy(&self) -> bool {
        self.in_flight.load(Ordering::Relaxed) > 0
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The connections of one worker. Locked when one opens or ends, and by the sweep.
#[derive(Default)]
pub(super) struct Registry(Mutex<Slab<Entry>>);

struct Entry {
    control: Arc<Control>,
    /// `Control::begun` as the last sweep found it, and for how many sweeps it is so; none: busy then, or new.
    quiet: Option<(u32, u32)>,
}

/// A connection's entry, gone when this is dropped.
pub(super) struct Registered {
    registry: Arc<Registry>,
    key: usize,
    pub(super) control: Arc<Control>,
}

impl Registry {
    pub(super) fn enter(self: &Arc<Self>) -> Registered {
        let control = Arc::<Control>::default();
        let key = self.entries(|entries| entries.insert(Entry { control: control.clone(), quiet: None }));
        Registered { registry: self.clone(), key, control }
    }

    /// Looks after the connections until the drain begins: asks those to end that had nothing in flight and began
    /// nothing for `idle_timeout` (or up to half as much more); in the end, all.
    pub(super) async fn tend(&self, drain: &Drain, idle_timeout: Duration) {
        let mut begun = pin!(drain.begun());
        let mut sweeps = interval((idle_timeout / SWEEPS).max(Duration::from_millis(1)));
        sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = &mut begun => break self.close_all(),
                _ = sweeps.tick() => self.sweep(),
            }
        }
    }

    fn sweep(&self) {
        self.entries(|entries| {
            for (_, entry) in entries.iter_mut() {
                let begun = entry.control.begun.load(Ordering::Relaxed);
                entry.quiet = match entry.quiet {
                    _ if entry.control.is_busy() => None,
                    Some((same, sweeps)) if same == begun => Some((begun, sweeps.saturating_add(1))),
                    _ => Some((begun, 0)),
                };
                if entry.quiet.is_some_and(|(_, sweeps)| sweeps >= SWEEPS) {
                    entry.control.close();
                }
            }
        });
    }

    fn close_all(&self) {
        self.entries(|entries| entries.iter().for_each(|(_, entry)| entry.control.close()));
    }

    fn entries<T>(&self, change: impl FnOnce(&mut Slab<Entry>) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let _ = self.registry.entries(|entries| entries.try_remove(self.key));
    }
}

/// Sweeps in one idle time.
const SWEEPS: u32 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    const NEVER: Duration = Duration::from_secs(1 << 30);
    const IDLE: Duration = Duration::from_secs(60);

    fn is_closing(registered: &Registered) -> bool {
        registered.control.poll_closing(&Context::from_waker(std::task::Waker::noop()))
    }

    async fn tend_for(registry: &Registry, drain: &Drain, time: Duration) {
        tokio::select! {
            () = registry.tend(drain, IDLE) => {}
            () = tokio::time::sleep(time) => {}
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_without_requests_is_asked_to_end_after_the_idle_time_and_not_before() {
        let (registry, drain) = (Arc::<Registry>::default(), Drain::new());
        let idle = registry.enter();
        tend_for(&registry, &drain, IDLE - Duration::from_secs(1)).await;
        assert!(!is_closing(&idle), "too early");
        tend_for(&registry, &drain, IDLE + Duration::from_secs(1)).await;
        assert!(is_closing(&idle));
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_in_flight_keeps_a_connection() {
        let (registry, drain) = (Arc::<Registry>::default(), Drain::new());
        let busy = registry.enter();
        let request = busy.control.begin_request();
        tend_for(&registry, &drain, 10 * IDLE).await;
        assert!(!is_closing(&busy));
        drop(request);
        tend_for(&registry, &drain, 2 * IDLE).await;
        assert!(is_closing(&busy), "its request has ended");
    }

    #[tokio::test(start_paused = true)]
    async fn requests_between_two_sweeps_begin_the_idle_time_anew() {
        let (registry, drain) = (Arc::<Registry>::default(), Drain::new());
        let used = registry.enter();
        let use_it = async {
            for _ in 0..100 {
                drop(used.control.begin_request());
                tokio::time::sleep(IDLE / 4).await;
            }
        };
        tokio::select! {
            () = registry.tend(&drain, IDLE) => {}
            () = use_it => {}
        }
        assert!(!is_closing(&used));
    }

    #[tokio::test(start_paused = true)]
    async fn the_drain_asks_every_connection_and_entries_go_with_their_connections() {
        let (registry, drain) = (Arc::<Registry>::default(), Drain::new());
        let (stays, goes) = (registry.enter(), registry.enter());
        drop(goes);
        assert_eq!(registry.entries(|entries| entries.len()), 1);
        drain.begin();
        registry.tend(&drain, NEVER).await;
        assert!(is_closing(&stays));
    }
}
