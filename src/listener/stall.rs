//! How long a peer may take nothing of what waits for it. Knows nothing of what that is.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep_until};

/// A watch over something that is to move. Costs nothing while it does.
pub struct Stall {
    limit: Duration,
    /// Since when nothing has moved that should.
    since: Option<Instant>,
    /// Made at the first need, and left to run out: it is set anew only then.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Stall {
    pub fn new(limit: Duration) -> Self {
        Self { limit, since: None, timer: None }
    }

    /// Something has moved, or nothing is to.
    pub fn moved(&mut self) {
        self.since = None;
    }

    /// Something is to move and does not: ready where that has lasted too long. The task is woken when it has.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let due = *self.since.get_or_insert_with(Instant::now) + self.limit;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
        loop {
            ready!(timer.as_mut().poll(cx));
            if timer.deadline() >= due {
                return Poll::Ready(());
            }
            timer.as_mut().reset(due);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::{advance, timeout};

    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn time_runs_from_when_it_last_moved() {
        let mut stall = Stall::new(LIMIT);
        for _ in 0..5 {
            assert!(timeout(LIMIT * 9 / 10, poll_fn(|cx| stall.poll(cx))).await.is_err());
            stall.moved();
            // Nothing is to move: that lasts as long as it likes.
            advance(LIMIT * 3).await;
        }
        let start = Instant::now();
        poll_fn(|cx| stall.poll(cx)).await;
        assert_eq!(start.elapsed(), LIMIT);
    }
}
