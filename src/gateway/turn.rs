//! How much of the worker's time a task takes before others have it. Knows nothing of what it is spent on.

use std::{future::Future, pin::pin, task::Context};

use tokio::task::yield_now;

/// Bytes of messages, as they are inflated, that one turn moves: a few bytes may stand for very many, of which no
/// socket shows anything, and other calls wait for the worker.
const TURN_BYTES: usize = 256 << 10;

/// One task's turn.
#[derive(Debug)]
pub(super) struct Turn {
    /// Bytes of messages that may still be moved.
    left: usize,
}

impl Turn {
    pub(super) fn new() -> Self {
        Self { left: TURN_BYTES }
    }

    /// The task is polled anew.
    pub(super) fn begin(&mut self) {
        self.left = TURN_BYTES;
    }

    /// Says that so many bytes of messages were moved.
    pub(super) fn spend(&mut self, bytes: usize) {
        self.left = self.left.saturating_sub(bytes);
    }

    pub(super) fn is_over(&self) -> bool {
        self.left == 0
    }

    /// Whether others have their turn now. The task is polled again when they had it, and the runtime has looked at its sockets: one
    /// that is only woken runs dozens of times before it looks.
    pub(super) fn rests(&self, cx: &mut Context<'_>) -> bool {
        if self.is_over() {
            let _ = pin!(yield_now()).poll(cx);
        }
        self.is_over()
    }
}
