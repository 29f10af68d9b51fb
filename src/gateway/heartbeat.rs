//! When a stream has been silent for so long that something should be said. Knows nothing of what.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::time::{Instant, Sleep, sleep};

/// Measures the silence of one stream. Its timer moves only when it is asked: writing costs a look at the clock.
pub(super) struct Heartbeat {
    timer: Pin<Box<Sleep>>,
    every: Duration,
    /// When something was written last.
    wrote: Instant,
}

impl Heartbeat {
    pub(super) fn new(every: Duration) -> Self {
        Self { timer: Box::pin(sleep(every)), every, wrote: Instant::now() }
    }

    /// Something was written.
    pub(super) fn wrote(&mut self) {
        self.wrote = Instant::now();
    }

    /// Ready when it was silent for too long.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.timer.as_mut().poll(cx));
            let (now, due) = (Instant::now(), self.wrote + self.every);
            if due <= now {
                self.timer.as_mut().reset(now + self.every);
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(due);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_silent_stream_says_something_each_time_and_a_busy_one_does_not() {
        let every = Duration::from_secs(15);
        let begun = Instant::now();
        let mut heartbeat = Heartbeat::new(every);
        tokio::time::advance(Duration::from_secs(10)).await;
        heartbeat.wrote();
        poll_fn(|cx| heartbeat.poll(cx)).await;
        assert_eq!(begun.elapsed().as_secs(), 25, "silence is counted from the last word");
        poll_fn(|cx| heartbeat.poll(cx)).await;
        assert_eq!(begun.elapsed().as_secs(), 40);
    }
}
