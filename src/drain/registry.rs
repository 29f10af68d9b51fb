//! What a worker tells its connections: to end, because nobody uses them, or to leave with all that they carry.
//!
//! A connection's own task looks at one flag; no timer and no lock per request. Knows nothing of HTTP.

use std::{
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    task::Context,
    time::Duration,
};

use futures_util::task::AtomicWaker;
use slab::Slab;
use tokio::{
    sync::Notify,
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::{Drain, Shed};

/// A connection as its worker sees it. It stays in its registry for as long as anybody holds it: the connection's task, or a
/// socket that it was upgraded to.
#[derive(Debug)]
pub struct Connection {
    registry: Arc<Registry>,
    key: usize,
    control: Arc<Control>,
}

#[derive(Debug, Default)]
struct Control {
    /// Requests whose responses have not ended, and sockets.
    in_flight: AtomicU32,
    /// Requests begun so far, wrapping.
    begun: AtomicU32,
    closing: AtomicBool,
    waker: AtomicWaker,
    leaving: CancellationToken,
}

/// Counts as a request in flight for as long as it is held.
#[derive(Debug)]
pub struct Busy(Arc<Control>);

impl Connection {
    /// Where no server counts connections: a gateway mounted in somebody's own. Nobody asks it to leave.
    pub fn alone() -> Self {
        Arc::<Registry>::default().enter()
    }

    pub fn begin_request(&self) -> Busy {
        self.control.begun.fetch_add(1, Ordering::Relaxed);
        self.control.in_flight.fetch_add(1, Ordering::Relaxed);
        Busy(self.control.clone())
    }

    /// Asks the connection to finish what it has in flight and end.
    pub fn close(&self) {
        self.control.close();
    }

    /// Whether the connection was asked to end; it is woken when that happens.
    pub fn poll_closing(&self, cx: &Context<'_>) -> bool {
        self.control.waker.register(cx.waker());
        self.control.is_closing()
    }

    pub fn is_busy(&self) -> bool {
        self.control.is_busy()
    }

    /// Asks the connection to leave.
    pub fn leave(&self) {
        self.control.leave();
    }

    /// Ends when the connection is asked to leave: it takes no further requests then, and streams that could go on for ever
    /// are to end now, with word that their clients may come back.
    pub fn leaving(&self) -> WaitForCancellationFutureOwned {
        self.control.leaving.clone().cancelled_owned()
    }
}

impl Control {
    fn close(&self) {
        self.closing.store(true, Ordering::Release);
        self.waker.wake();
    }

    fn leave(&self) {
        self.close();
        self.leaving.cancel();
    }

    fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    fn is_busy(&self) -> bool {
        self.in_flight.load(Ordering::Relaxed) > 0
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The connections of one worker. Locked when one opens or ends, by the sweep, and by who sheds.
#[derive(Debug, Default)]
pub struct Registry {
    inner: Mutex<Inner>,
    /// Some are to leave.
    told: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    entries: Slab<Entry>,
    /// Connections so far.
    opened: u64,
    /// Those who are to leave next, in this order.
    departing: Vec<Weak<Control>>,
}

#[derive(Debug)]
struct Entry {
    control: Arc<Control>,
    /// The connection's number.
    number: u64,
    /// `Control::begun` as the last sweep found it, and for how many sweeps it is so; none: busy then, or new.
    quiet: Option<(u32, u32)>,
}

impl Registry {
    pub fn enter(self: &Arc<Self>) -> Connection {
        let control = Arc::<Control>::default();
        let key = self.locked(|inner| {
            inner.opened += 1;
            inner.entries.insert(Entry { control: control.clone(), number: inner.opened, quiet: None })
        });
        Connection { registry: self.clone(), key, control }
    }

    /// Looks after the connections. Until the drain begins, it asks those to end that had nothing in flight and began
    /// nothing for `idle_timeout` (or up to half as much more), and those to leave who are shed. In the end all are
    /// asked to end at once, and those in use to leave one after the other, within `window`.
    pub async fn tend(&self, drain: &Drain, idle_timeout: Duration, window: Duration) {
        let mut begun = pin!(drain.begun());
        let mut sweeps = interval((idle_timeout / SWEEPS).max(Duration::from_millis(1)));
        sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = &mut begun => break,
                _ = sweeps.tick() => self.sweep(),
                () = self.told.notified() => {
                    tokio::spawn(depart(self.locked(|inner| std::mem::take(&mut inner.departing)), window));
                }
            }
        }
        depart(self.dismiss(), window).await;
    }

    /// Those who are to leave, the oldest first.
    pub(super) fn shed(&self, share: f64) -> Shed {
        let shed = self.locked(|inner| {
            let in_use = inner.in_use();
            // A share of a count: neither negative nor too large.
            let asked = (in_use.len() as f64 * share.clamp(0.0, 1.0)).ceil() as usize;
            inner.departing.extend(in_use.iter().take(asked).map(Arc::downgrade));
            Shed { asked, in_use: in_use.len() }
        });
        self.told.notify_one();
        shed
    }

    /// Everybody: no connection takes a further request.
    fn dismiss(&self) -> Vec<Weak<Control>> {
        self.locked(|inner| {
            let leaving = inner.in_use().iter().map(Arc::downgrade).collect();
            inner.entries.iter().for_each(|(_, entry)| entry.control.close());
            leaving
        })
    }

    fn sweep(&self) {
        self.locked(|inner| {
            for (_, entry) in &mut inner.entries {
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

    fn locked<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        change(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Inner {
    /// Those that carry something and were not asked to end, the oldest first.
    fn in_use(&self) -> Vec<Arc<Control>> {
        let is_in_use = |entry: &&Entry| entry.control.is_busy() && !entry.control.is_closing();
        let mut in_use: Vec<_> = self.entries.iter().map(|(_, entry)| entry).filter(is_in_use).collect();
        in_use.sort_unstable_by_key(|entry| entry.number);
        in_use.into_iter().map(|entry| entry.control.clone()).collect()
    }
}

/// Asks them to leave one after the other, spread over the window, or over less where they are few: whoever they come back
/// to gets them a few at a time.
async fn depart(leaving: Vec<Weak<Control>>, window: Duration) {
    let count = u32::try_from(leaving.len()).unwrap_or(u32::MAX).max(1);
    let (start, pause) = (Instant::now(), (window / count).min(PAUSE_MAX));
    for (control, place) in leaving.iter().zip(0..) {
        let due = start + pause * place;
        if due > Instant::now() {
            sleep_until(due).await;
        }
        if let Some(control) = control.upgrade() {
            control.leave();
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let _ = self.registry.locked(|inner| inner.entries.try_remove(self.key));
    }
}

/// Sweeps in one idle time.
const SWEEPS: u32 = 2;

/// Longest time between two that leave.
const PAUSE_MAX: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    const NEVER: Duration = Duration::from_secs(1 << 30);
    const IDLE: Duration = Duration::from_secs(60);
    const WINDOW: Duration = Duration::from_secs(10);

    fn is_closing(connection: &Connection) -> bool {
        connection.poll_closing(&Context::from_waker(std::task::Waker::noop()))
    }

    async fn tend_for(registry: &Registry, drain: &Drain, time: Duration) {
        tokio::select! {
            () = registry.tend(drain, IDLE, WINDOW) => {}
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
        let request = busy.begin_request();
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
                drop(used.begin_request());
                tokio::time::sleep(IDLE / 4).await;
            }
        };
        tokio::select! {
            () = registry.tend(&drain, IDLE, WINDOW) => {}
            () = use_it => {}
        }
        assert!(!is_closing(&used));
    }

    #[tokio::test(start_paused = true)]
    async fn the_drain_asks_every_connection_and_entries_go_with_their_connections() {
        let (registry, drain) = (Arc::<Registry>::default(), Drain::new());
        let (stays, goes) = (registry.enter(), registry.enter());
        drop(goes);
        assert_eq!(registry.locked(|inner| inner.entries.len()), 1);
        drain.begin();
        registry.tend(&drain, NEVER, WINDOW).await;
        assert!(is_closing(&stays));
    }

    fn is_leaving(connection: &Connection) -> bool {
        connection.control.leaving.is_cancelled()
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_share_of_those_in_use_leaves_and_nobody_else() {
        let drain = Drain::new();
        let registry = drain.registry();
        let connections: Vec<_> = (0..20).map(|_| registry.enter()).collect();
        // Every second one is in use; a freed place in the middle goes to the youngest.
        let mut busy: Vec<_> = connections.iter().step_by(2).map(Connection::begin_request).collect();
        let mut connections = connections;
        drop((connections.remove(0), busy.remove(0)));
        connections.push(registry.enter());
        busy.push(connections[19].begin_request());
        for (share, asked, gone) in [(0.0, 0, 0), (0.2, 2, 2), (0.2, 2, 4), (0.01, 1, 5), (7.0, 5, 10), (1.0, 0, 10)] {
            assert_eq!(drain.shed(share), Shed { asked, in_use: 10 - (gone - asked) }, "{share}");
            tend_for(&registry, &drain, WINDOW).await;
            let leaving: Vec<_> =
                connections.iter().filter(|connection| connection.is_busy()).map(is_leaving).collect();
            let expected: Vec<_> = (0..10).map(|place| place < gone).collect();
            assert_eq!(leaving, expected, "the oldest first, after {share}");
        }
        assert!(!connections.iter().any(|connection| !connection.is_busy() && is_leaving(connection)));
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_leave_are_spread_over_the_window_and_over_less_where_they_are_few() {
        for (count, window) in [(1, Duration::ZERO), (100, 100 * PAUSE_MAX), (5_000, WINDOW)] {
            let drain = Drain::new();
            let registry = drain.registry();
            let (idle, connections) = (registry.enter(), (0..count).map(|_| registry.enter()).collect::<Vec<_>>());
            let busy: Vec<_> = connections.iter().map(Connection::begin_request).collect();
            drain.begin();
            let begun = Instant::now();
            let mut tended = pin!(registry.tend(&drain, IDLE, WINDOW));
            tokio::select! {
                biased;
                () = &mut tended => assert_eq!(count, 1),
                () = sleep_until(begun + window / 2) => {}
            }
            assert!(connections.iter().chain([&idle]).all(is_closing), "no further requests");
            let left = connections.iter().filter(|connection| is_leaving(connection)).count();
            assert!(
                left.abs_diff(count / 2) <= 1 + count / 100,
                "{left} of {count} have left after half of the window"
            );
            if count > 1 {
                tended.await;
            }
            assert!(connections.iter().all(is_leaving));
            assert!(begun.elapsed() <= window, "{:?}", begun.elapsed());
            drop(busy);
        }
    }
}
