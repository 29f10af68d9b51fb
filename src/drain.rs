//! Going down in good order: one signal, and a count of what still has to end. Knows nothing of what that is.

use tokio_util::{
    sync::{CancellationToken, WaitForCancellationFuture, WaitForCancellationFutureOwned},
    task::{TaskTracker, task_tracker::TaskTrackerToken},
};

/// Shared by everything that must end before the process may. Clones are the same drain.
#[derive(Clone, Debug, Default)]
pub struct Drain {
    signal: CancellationToken,
    work: TaskTracker,
}

impl Drain {
    pub fn new() -> Self {
        Self::default()
    }

    /// Tells everyone to finish what is in flight and begin nothing new. Again: no effect.
    pub fn begin(&self) {
        self.signal.cancel();
        self.work.close();
    }

    pub fn is_draining(&self) -> bool {
        self.signal.is_cancelled()
    }

    /// Ends when the drain begins.
    pub fn begun(&self) -> WaitForCancellationFuture<'_> {
        self.signal.cancelled()
    }

    /// The same, without a borrow.
    pub fn begun_owned(&self) -> WaitForCancellationFutureOwned {
        self.signal.clone().cancelled_owned()
    }

    /// Counts as work in flight for as long as it is held.
    pub fn hold(&self) -> TaskTrackerToken {
        self.work.token()
    }

    /// Ends when the drain has begun and nothing is in flight.
    pub async fn finished(&self) {
        self.work.wait().await;
    }
}
