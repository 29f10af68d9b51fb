//! Who of many has something to do: each call wakes the socket's task with its own id, so that the others are not asked.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Wake, Waker},
};

use futures_util::task::AtomicWaker;

/// The ids that rang since they were collected last.
#[derive(Default)]
pub(super) struct Bells(Arc<Shared>);

#[derive(Default)]
struct Shared {
    task: AtomicWaker,
    rung: Mutex<Vec<u32>>,
}

/// One call's bell; it is in the list at most once.
pub(super) struct Bell {
    id: u32,
    is_rung: AtomicBool,
    shared: Arc<Shared>,
}

impl Bells {
    /// A new call's bell.
    pub(super) fn hang(&self, id: u32) -> Arc<Bell> {
        Arc::new(Bell { id, is_rung: AtomicBool::new(false), shared: self.0.clone() })
    }

    /// From now on this task is woken.
    pub(super) fn listen(&self, task: &Waker) {
        self.0.task.register(task);
    }

    /// Moves those that rang to the end of the queue.
    pub(super) fn collect(&self, queue: &mut VecDeque<u32>) {
        queue.extend(self.0.rung.lock().unwrap_or_else(PoisonError::into_inner).drain(..));
    }
}

impl Bell {
    /// Says that the call is about to be looked at: what happens from now on rings again.
    pub(super) fn still(&self) {
        self.is_rung.store(false, Ordering::Release);
    }

    pub(super) fn ring(&self) {
        if !self.is_rung.swap(true, Ordering::AcqRel) {
            self.shared.rung.lock().unwrap_or_else(PoisonError::into_inner).push(self.id);
            self.shared.task.wake();
        }
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.ring();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ring();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bell_rings_once_until_it_is_stilled() {
        let bells = Bells::default();
        let (one, two) = (bells.hang(1), bells.hang(2));
        let waker = Waker::from(one.clone());
        waker.wake_by_ref();
        two.ring();
        waker.wake_by_ref();
        let mut queue = VecDeque::new();
        bells.collect(&mut queue);
        assert_eq!(queue, [1, 2]);
        two.ring();
        one.still();
        one.ring();
        bells.collect(&mut queue);
        assert_eq!(queue, [1, 2, 1]);
    }
}
