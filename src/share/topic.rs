//! A shared stream under way: its ring behind a lock, and who waits for it to change. Knows nothing of where messages come
//! from.
//!
//! The lock is never held while anything waits, nor while anybody is woken.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
};

use http::HeaderMap;
use tokio::time::Instant;

use super::{
    entry::Entry,
    hub::Key,
    position::{Position, Start},
    ring::{Bounds, Read, Ring, Seat},
    subscriber::Event,
};
use crate::status::{Code, Reason, Status};

pub(super) struct Topic {
    pub(super) key: Key,
    memory: Memory,
    /// What the topic takes beside its messages.
    own_bytes: usize,
    state: Mutex<State>,
}

/// What all topics of the process take together.
#[derive(Clone)]
pub(super) struct Memory {
    pub(super) taken: Arc<AtomicUsize>,
    pub(super) bytes_max: usize,
}

struct State {
    ring: Ring<Arc<Entry>>,
    /// By seat: who has everything so far.
    waiting: Vec<Option<Waker>>,
    /// The pump, where subscribers have far to go, and the weight of what it has.
    pump: Option<(Waker, usize)>,
    /// Who waits for everybody to leave.
    desertion: Option<Waker>,
    /// Since when nobody is there.
    deserted: Option<Instant>,
    head: Option<HeaderMap>,
    end: Option<Result<HeaderMap, Status>>,
}

/// A subscriber that was taken in.
pub(super) struct Joined {
    pub(super) seat: Seat,
    /// Where it goes on, if what it saw last is not known any more.
    pub(super) gap: Option<Position>,
}

impl Topic {
    pub(super) fn new(key: Key, epoch: u64, bounds: Bounds, memory: Memory) -> Self {
        let own_bytes = key.weight();
        memory.taken.fetch_add(own_bytes, Relaxed);
        let state = State {
            ring: Ring::new(epoch, bounds),
            waiting: Vec::new(),
            pump: None,
            desertion: None,
            deserted: None,
            head: None,
            end: None,
        };
        Self { key, memory, own_bytes, state: Mutex::new(state) }
    }

    pub(super) fn join(&self, start: Start) -> Joined {
        let mut state = self.lock();
        let (seat, is_known) = state.ring.join(start);
        state.deserted = None;
        // Who begins at the end is the fastest.
        let pump = self.take_pump(&mut state);
        let gap = (!is_known).then(|| state.ring.position());
        drop(state);
        if let Some(pump) = pump {
            pump.wake();
        }
        Joined { seat, gap }
    }

    pub(super) fn leave(&self, seat: Seat) {
        let mut state = self.lock();
        if let Some(waiting) = state.waiting.get_mut(seat.0) {
            *waiting = None;
        }
        let mut wakers = [None, None];
        if state.ring.leave(seat) {
            state.deserted = Some(Instant::now());
            wakers = [state.desertion.take(), state.pump.take().map(|(pump, _)| pump)];
        }
        drop(state);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    /// The upstream's initial metadata. Again, of a stream that was opened anew: no effect.
    pub(super) fn begin(&self, head: HeaderMap) {
        let mut state = self.lock();
        if state.head.is_none() {
            state.head = Some(head);
        }
        let wakers = state.take_waiting();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Adds a message; subscribers are told of it by [`Topic::tell`].
    pub(super) fn publish(&self, message: &[u8]) {
        let mut state = self.lock();
        let position = state.ring.position();
        let entry = Arc::new(Entry::new(Position { offset: position.offset + 1, ..position }, message));
        let weight = entry.weight();
        self.account(&mut state, |ring, room| ring.publish(entry, weight, room));
    }

    /// Wakes who waits for messages.
    pub(super) fn tell(&self) {
        let wakers = self.lock().take_waiting();
        wakers.into_iter().for_each(Waker::wake);
    }

    /// An entry has become heavier by an encoding.
    pub(super) fn charge(&self, position: Position, bytes: usize) {
        let mut state = self.lock();
        self.account(&mut state, |ring, room| ring.charge(position.offset, bytes, room));
    }

    /// The last word; said again: no effect.
    pub(super) fn end(&self, end: Result<HeaderMap, Status>) {
        let mut state = self.lock();
        if state.end.is_none() {
            state.ring.end();
            state.end = Some(end);
        }
        let wakers = state.take_waiting();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// The newest message.
    pub(super) fn newest(&self) -> Option<Arc<Entry>> {
        self.lock().ring.newest().cloned()
    }

    /// Ready where a message of so many bytes may be published.
    pub(super) fn poll_room(&self, message_bytes: usize, cx: &Context<'_>) -> Poll<()> {
        let weight = Entry::weight_of(message_bytes);
        let mut state = self.lock();
        if self.may_publish(&mut state, weight) {
            return Poll::Ready(());
        }
        state.pump = Some((cx.waker().clone(), weight));
        let wakers = state.take_waiting();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        Poll::Pending
    }

    /// Ready where nobody is there, with the time since when.
    pub(super) fn poll_deserted(&self, cx: &Context<'_>) -> Poll<Instant> {
        let mut state = self.lock();
        match state.deserted {
            Some(since) => Poll::Ready(since),
            None => {
                state.desertion = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Whether nobody has been there since then.
    pub(super) fn is_deserted_since(&self, since: Instant) -> bool {
        let state = self.lock();
        state.ring.is_deserted() && state.deserted == Some(since)
    }

    /// What a subscriber gets next. `knows_head`: it was told the head already.
    pub(super) fn poll_event(&self, seat: Seat, knows_head: bool, cx: &Context<'_>) -> Poll<Event> {
        let mut state = self.lock();
        if let Some(head) = state.head.as_ref().filter(|_| !knows_head) {
            return Poll::Ready(Event::Head(head.clone()));
        }
        let event = match state.ring.read(seat) {
            Read::Message(entry) => Event::Message(entry),
            Read::Waiting => {
                state.wait(seat, cx.waker());
                return Poll::Pending;
            }
            Read::CutOff => Event::End(Err(cut_off())),
            Read::Ended => Event::End(match &state.end {
                Some(Ok(trailers)) => Ok(trailers.clone()),
                Some(Err(status)) => Err(status.again()),
                None => Ok(HeaderMap::new()),
            }),
        };
        let pump = self.take_pump(&mut state);
        drop(state);
        if let Some(pump) = pump {
            pump.wake();
        }
        Poll::Ready(event)
    }

    /// The pump, where there is room for what it has.
    fn take_pump(&self, state: &mut State) -> Option<Waker> {
        let weight = state.pump.as_ref()?.1;
        if !self.may_publish(state, weight) {
            return None;
        }
        state.pump.take().map(|(pump, _)| pump)
    }

    fn may_publish(&self, state: &mut State, weight: usize) -> bool {
        let room = self.memory.room(state.ring.bytes());
        state.ring.may_publish(weight, room)
    }

    /// Changes the ring, and what all take by as much.
    fn account(&self, state: &mut State, change: impl FnOnce(&mut Ring<Arc<Entry>>, usize)) {
        let before = state.ring.bytes();
        change(&mut state.ring, self.memory.room(before));
        let after = state.ring.bytes();
        self.memory.taken.fetch_add(after, Relaxed);
        self.memory.taken.fetch_sub(before, Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics within; and a ring that is half changed is still one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Topic {
    fn drop(&mut self) {
        let held = self.lock().ring.bytes();
        self.memory.taken.fetch_sub(held + self.own_bytes, Relaxed);
    }
}

impl Memory {
    /// What a ring of so many bytes may hold.
    fn room(&self, own: usize) -> usize {
        own + self.bytes_max.saturating_sub(self.taken.load(Relaxed))
    }

    pub(super) fn is_full(&self) -> bool {
        self.taken.load(Relaxed) >= self.bytes_max
    }
}

impl State {
    fn wait(&mut self, seat: Seat, waker: &Waker) {
        if self.waiting.len() <= seat.0 {
            self.waiting.resize_with(seat.0 + 1, || None);
        }
        match self.waiting.get_mut(seat.0) {
            Some(Some(known)) => known.clone_from(waker),
            Some(place) => *place = Some(waker.clone()),
            None => {}
        }
    }

    fn take_waiting(&mut self) -> Vec<Waker> {
        self.waiting.iter_mut().filter_map(Option::take).collect()
    }
}

fn cut_off() -> Status {
    Status::gateway(Code::Unavailable, "the stream is shared, and went on faster than this client took it")
        .with_reason(Reason::SubscriberTooSlow)
        .with_retry_after(std::time::Duration::from_secs(1))
}
