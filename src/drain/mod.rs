//! Going down in good order, and giving a part of the clients to others: who is told, when, and what still has to end. Knows
//! nothing of what that is.

mod registry;

use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::{
    sync::{CancellationToken, WaitForCancellationFuture, WaitForCancellationFutureOwned},
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};

pub use self::registry::{Busy, Connection, Registry};
use crate::status::{Code, Reason, Status};

/// Why a client is asked to leave, in words for it.
pub const GOING_AWAY: &str = "the gateway gives this connection up: come back on another";

/// What calls are told that end because of it.
pub fn going_away() -> Status {
    Status::gateway(Code::Unavailable, GOING_AWAY).with_reason(Reason::Draining)
}

/// Shared by everything that must end before the process may. Clones are the same drain.
#[derive(Clone, Debug, Default)]
pub struct Drain {
    asked: CancellationToken,
    announced: CancellationToken,
    signal: CancellationToken,
    work: TaskTracker,
    registries: Arc<Mutex<Vec<Arc<Registry>>>>,
}

/// Connections that were asked to leave, of those that were in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shed {
    pub asked: usize,
    pub in_use: usize,
}

impl Drain {
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks for what a signal asks for: whoever waits for [`Drain::asked`] begins the drain. Again: no effect.
    pub fn ask(&self) {
        self.asked.cancel();
    }

    /// Ends when somebody asked for the drain.
    pub fn asked(&self) -> WaitForCancellationFuture<'_> {
        self.asked.cancelled()
    }

    /// Tells those who ask that the drain is about to begin, so that balancers send nobody new. Again: no effect.
    pub fn announce(&self) {
        self.announced.cancel();
    }

    /// Tells everyone to finish what is in flight and begin nothing new. Again: no effect.
    pub fn begin(&self) {
        self.announce();
        self.signal.cancel();
        self.work.close();
    }

    /// Whether the drain was announced or has begun.
    pub fn is_announced(&self) -> bool {
        self.announced.is_cancelled()
    }

    pub fn is_draining(&self) -> bool {
        self.signal.is_cancelled()
    }

    /// Ends when the drain begins.
    pub fn begun(&self) -> WaitForCancellationFuture<'_> {
        self.signal.cancelled()
    }

    /// Ends when the drain is announced, or begins.
    pub fn announced_owned(&self) -> WaitForCancellationFutureOwned {
        self.announced.clone().cancelled_owned()
    }

    /// Counts as work in flight for as long as it is held.
    pub fn hold(&self) -> TaskTrackerToken {
        self.work.token()
    }

    /// Ends when the drain has begun and nothing is in flight.
    pub async fn finished(&self) {
        self.work.wait().await;
    }

    /// A place for the connections of one worker, which [`Drain::shed`] knows from now on.
    pub fn registry(&self) -> Arc<Registry> {
        let registry = Arc::<Registry>::default();
        self.registries(|registries| registries.push(registry.clone()));
        registry
    }

    /// Asks a share (0 to 1, rounded up) of the connections in use to leave, those of each worker that are open for longest:
    /// their clients find another gateway where a balancer knows one. They are asked one after the other.
    pub fn shed(&self, share: f64) -> Shed {
        self.registries(|registries| {
            registries.iter().map(|registry| registry.shed(share)).fold(Shed::default(), |all, one| Shed {
                asked: all.asked + one.asked,
                in_use: all.in_use + one.in_use,
            })
        })
    }

    fn registries<T>(&self, change: impl FnOnce(&mut Vec<Arc<Registry>>) -> T) -> T {
        change(&mut self.registries.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
