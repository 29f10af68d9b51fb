//! A stream under way: its ring behind a lock, and who waits for it to change. Knows nothing of where messages come from.
//!
//! The lock is never held while anything waits, nor while anybody is woken.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::Bytes;
use http::HeaderMap;
use smallvec::SmallVec;
use tokio::time::Instant;

use super::{
    Caller, SlowReading,
    budget::{Budget, Held, Share},
    entry::Entry,
    position::{Position, Start},
    ring::{Bounds, Read, Ring, Seat},
    subscriber::Event,
};
use crate::{
    config::SlowReader,
    status::{Code, Reason, Status},
};

pub(super) struct Topic {
    /// What it holds counts in each of them; the first is the process's.
    shares: SmallVec<[Share; 2]>,
    /// What the topic takes beside its messages.
    own_bytes: usize,
    /// One call reads it, and nobody else will.
    is_alone: bool,
    slow_reader: SlowReader,
    state: Mutex<State>,
}

/// Who else knows of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Others {
    Nobody,
    /// Other gateways. What is not known here may be known there: whoever feeds the topic is asked first.
    Gateways,
}

struct State {
    ring: Ring<Arc<Entry>>,
    /// By seat.
    places: Vec<Place>,
    /// The pump, where subscribers have far to go, and the weight of what it has.
    pump: Option<(Waker, usize)>,
    /// Who waits for everybody to leave.
    desertion: Option<Waker>,
    /// Who waits for somebody to join whose place is not known.
    host: Option<Waker>,
    others: Others,
    /// Others have not yet said what they know.
    is_blank: bool,
    /// Who joined, and is not seated yet: it is given nothing.
    joining: Vec<(Seat, Start)>,
    /// Who is to be told that it goes on here.
    gaps: Vec<(Seat, Position)>,
    /// Since when nobody is there.
    deserted: Option<Instant>,
    head: Option<HeaderMap>,
    end: Option<Result<HeaderMap, Status>>,
    /// Why what is left to read is not there any more; said once.
    given_up: Option<Status>,
}

/// A subscriber's.
#[derive(Default)]
struct Place {
    /// None: nobody sits there.
    caller: Option<Caller>,
    /// It has everything so far.
    waiting: Option<Waker>,
}

impl Topic {
    /// `own_bytes`: what it takes beside its messages.
    pub(super) fn new(epoch: u64, bounds: Bounds, others: Others, own_bytes: usize, budgets: &[&Budget]) -> Arc<Self> {
        let state = State {
            ring: Ring::new(epoch, bounds),
            places: Vec::new(),
            pump: None,
            desertion: None,
            host: None,
            others,
            is_blank: others == Others::Gateways,
            joining: Vec::new(),
            gaps: Vec::new(),
            deserted: None,
            head: None,
            end: None,
            given_up: None,
        };
        budgets.iter().for_each(|budget| budget.take(own_bytes));
        let enter = |topic: &Weak<Self>| budgets.iter().map(|budget| budget.enter(topic)).collect();
        let (is_alone, slow_reader, state) = (bounds.replay.is_none(), bounds.slow_reader, Mutex::new(state));
        Arc::new_cyclic(|topic| Self { shares: enter(topic), own_bytes, is_alone, slow_reader, state })
    }

    pub(super) fn is_alone(&self) -> bool {
        self.is_alone
    }

    /// Takes a subscriber in. Where what it saw last may be known elsewhere, it waits until that is found out.
    pub(super) fn join(&self, start: Start, caller: Caller) -> Seat {
        let mut state = self.lock();
        let (seat, is_known) = state.ring.join(start);
        state.take_place(seat, caller);
        state.deserted = None;
        let may_be_known = state.others == Others::Gateways && matches!(start, Start::After(_));
        let host = if state.is_blank || !is_known && may_be_known {
            state.joining.push((seat, start));
            state.host.take()
        } else {
            state.seated(seat, is_known);
            None
        };
        // Who begins at the end is the fastest.
        let pump = self.take_pump(&mut state);
        drop(state);
        host.into_iter().chain(pump).for_each(Waker::wake);
        seat
    }

    /// What others know of the stream, as envelopes, the oldest first: without a hole up to the newest, which has this position.
    /// Said before anything is published; whoever has joined is seated.
    pub(super) fn prime(&self, newest: Position, known: Vec<Bytes>, others: Others) {
        let mut state = self.lock();
        let first = newest.offset + 1 - known.len() as u64;
        let entries = (first..).zip(known).map(|(offset, envelope)| {
            let entry = Entry::new(Position { offset, ..newest }, envelope);
            let weight = entry.weight();
            (Arc::new(entry), weight)
        });
        self.account(&mut state, |ring| ring.prime(newest, entries));
        (state.others, state.is_blank) = (others, false);
        drop(state);
        self.relieve();
        self.seat();
    }

    /// Nothing was published anywhere that is not here: whoever has joined is seated.
    pub(super) fn seat(&self) {
        let mut state = self.lock();
        if state.joining.is_empty() {
            return;
        }
        for (seat, start) in std::mem::take(&mut state.joining) {
            let is_known = state.ring.seat_again(seat, start);
            state.seated(seat, is_known);
        }
        let pump = self.take_pump(&mut state);
        let wakers = state.take_waiting();
        drop(state);
        wakers.into_iter().chain(pump).for_each(Waker::wake);
    }

    /// Ready where somebody has joined who is not seated.
    pub(super) fn poll_joining(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if !state.joining.is_empty() {
            return Poll::Ready(());
        }
        state.host = Some(cx.waker().clone());
        Poll::Pending
    }

    /// How many messages were dropped that it did not come to read.
    pub(super) fn leave(&self, seat: Seat) -> u64 {
        let mut state = self.lock();
        if let Some(place) = state.places.get_mut(seat.0) {
            *place = Place::default();
        }
        state.joining.retain(|(joining, _)| *joining != seat);
        state.gaps.retain(|(told, _)| *told != seat);
        let mut wakers = [None, None];
        let dropped = state.ring.leave(seat);
        if state.ring.is_deserted() {
            state.deserted = Some(Instant::now());
            wakers = [state.desertion.take(), state.pump.take().map(|(pump, _)| pump)];
        }
        drop(state);
        wakers.into_iter().flatten().for_each(Waker::wake);
        dropped
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

    /// Adds a message, as an envelope; subscribers are told of it by [`Topic::tell`].
    pub(super) fn publish(&self, envelope: Bytes) {
        let mut state = self.lock();
        if state.given_up.is_some() {
            return;
        }
        let position = state.ring.position();
        let entry = Arc::new(Entry::new(Position { offset: position.offset + 1, ..position }, envelope));
        let weight = entry.weight();
        self.account(&mut state, |ring| ring.publish(entry, weight));
        if self.is_alone && state.ring.has_cut_off() {
            // Nobody else wants what is left.
            self.account(&mut state, Ring::clear);
            state.given_up = Some(too_slow());
        }
        let feeder = state.given_up.is_some().then(|| state.desertion.take()).flatten();
        drop(state);
        feeder.into_iter().for_each(Waker::wake);
        self.relieve();
    }

    /// Wakes who waits for messages.
    pub(super) fn tell(&self) {
        let wakers = self.lock().take_waiting();
        wakers.into_iter().for_each(Waker::wake);
    }

    /// An entry has become heavier by an encoding.
    pub(super) fn charge(&self, position: Position, bytes: usize) {
        let mut state = self.lock();
        self.account(&mut state, |ring| ring.charge(position.offset, bytes));
        drop(state);
        self.relieve();
    }

    pub(super) fn held(&self) -> Held {
        let state = self.lock();
        Held { bytes: state.ring.bytes(), newest: state.ring.newest_bytes() }
    }

    /// How far each reader is behind that has something to read.
    pub(super) fn lags(&self, out: &mut Vec<SlowReading>) {
        let (state, now) = (self.lock(), Instant::now());
        out.extend(state.ring.lags().filter_map(|lag| {
            Some(SlowReading {
                caller: state.places.get(lag.seat.0)?.caller.clone()?,
                slow_reader: self.slow_reader,
                is_shared: !self.is_alone,
                messages: lag.messages,
                bytes: lag.bytes,
                age: now.saturating_duration_since(lag.oldest.at()),
            })
        }));
    }

    /// Others need the room beyond so many bytes.
    pub(super) fn shrink(&self, bytes_max: usize) {
        self.account(&mut self.lock(), |ring| ring.shrink(bytes_max));
    }

    /// Others need all of the room.
    pub(super) fn give_up(&self) {
        let mut state = self.lock();
        self.account(&mut state, Ring::clear);
        state.given_up.get_or_insert_with(overloaded);
        let wakers = state.take_waiting();
        let feeder = state.desertion.take();
        drop(state);
        wakers.into_iter().chain(feeder).for_each(Waker::wake);
    }

    /// The last word; said again: no effect.
    pub(super) fn end(&self, end: Result<HeaderMap, Status>) {
        let mut state = self.lock();
        if state.end.is_none() {
            state.ring.end();
            state.end = Some(end);
        }
        for (seat, start) in std::mem::take(&mut state.joining) {
            let is_known = state.ring.seat_again(seat, start) || state.is_blank;
            state.seated(seat, is_known);
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
        if self.may_publish(&mut state, 1, weight) {
            return Poll::Ready(());
        }
        state.pump = Some((cx.waker().clone(), weight));
        let wakers = state.take_waiting();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        Poll::Pending
    }

    /// Whether so many messages, of so many bytes together, may be published.
    pub(super) fn has_room(&self, count: usize, message_bytes: usize) -> bool {
        let weight = count.saturating_sub(1) * Entry::weight_of(0) + Entry::weight_of(message_bytes);
        self.may_publish(&mut self.lock(), count, weight)
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

    /// Ready where nobody wants to be fed any more: the reader has left, or its stream was given up.
    pub(super) fn poll_given_up(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.lock();
        if state.deserted.is_some() || state.given_up.is_some() {
            return Poll::Ready(());
        }
        state.desertion = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Whether nobody has been there since then.
    pub(super) fn is_deserted_since(&self, since: Instant) -> bool {
        let state = self.lock();
        state.ring.is_deserted() && state.deserted == Some(since)
    }

    /// What a subscriber gets next. `knows_head`: it was told the head already.
    pub(super) fn poll_event(&self, seat: Seat, knows_head: bool, cx: &Context<'_>) -> Poll<Event> {
        let mut state = self.lock();
        if let Some(status) = &state.given_up {
            return Poll::Ready(Event::End(Err(status.again())));
        }
        if state.joining.iter().any(|(joining, _)| *joining == seat) {
            state.wait(seat, cx.waker());
            return Poll::Pending;
        }
        if let Some(index) = state.gaps.iter().position(|(told, _)| *told == seat) {
            return Poll::Ready(Event::Gap(state.gaps.swap_remove(index).1));
        }
        if let Some(head) = state.head.as_ref().filter(|_| !knows_head) {
            return Poll::Ready(Event::Head(head.clone()));
        }
        let event = match self.account(&mut state, |ring| ring.read(seat)) {
            Read::Message(entry) => Event::Message(entry),
            Read::Waiting => {
                state.wait(seat, cx.waker());
                return Poll::Pending;
            }
            Read::Skipped(count) => Event::Skipped(count),
            Read::CutOff => Event::End(Err(if self.is_alone { too_slow() } else { cut_off() })),
            Read::Ended if self.is_alone => Event::End(state.end.take().unwrap_or_else(|| Ok(HeaderMap::new()))),
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
        if !self.may_publish(state, 1, weight) {
            return None;
        }
        state.pump.take().map(|(pump, _)| pump)
    }

    fn may_publish(&self, state: &mut State, count: usize, weight: usize) -> bool {
        let own = state.ring.bytes();
        let room = self.budgets().map(|budget| budget.room(own)).min().unwrap_or(usize::MAX);
        state.ring.may_publish(count, weight, room)
    }

    /// Changes the ring, and what is taken of the budgets by as much.
    fn account<R>(&self, state: &mut State, change: impl FnOnce(&mut Ring<Arc<Entry>>) -> R) -> R {
        let before = state.ring.bytes();
        let outcome = change(&mut state.ring);
        let after = state.ring.bytes();
        if before != after {
            for budget in self.budgets() {
                budget.take(after);
                budget.give_back(before);
            }
        }
        outcome
    }

    /// Not under the lock: others are asked for room, and this one too.
    fn relieve(&self) {
        self.budgets().for_each(Budget::relieve);
    }

    fn budgets(&self) -> impl Iterator<Item = &Budget> {
        self.shares.iter().map(Share::budget)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics within; and a ring that is half changed is still one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Topic {
    fn drop(&mut self) {
        let held = self.lock().ring.bytes();
        self.budgets().for_each(|budget| budget.give_back(held + self.own_bytes));
    }
}

impl State {
    fn seated(&mut self, seat: Seat, is_known: bool) {
        if !is_known {
            let position = self.ring.position();
            self.gaps.push((seat, position));
        }
    }

    fn take_place(&mut self, seat: Seat, caller: Caller) {
        if self.places.len() <= seat.0 {
            self.places.resize_with(seat.0 + 1, Place::default);
        }
        if let Some(place) = self.places.get_mut(seat.0) {
            *place = Place { caller: Some(caller), waiting: None };
        }
    }

    fn wait(&mut self, seat: Seat, waker: &Waker) {
        match self.places.get_mut(seat.0).map(|place| &mut place.waiting) {
            Some(Some(known)) => known.clone_from(waker),
            Some(waiting) => *waiting = Some(waker.clone()),
            None => {}
        }
    }

    fn take_waiting(&mut self) -> Vec<Waker> {
        self.places.iter_mut().filter_map(|place| place.waiting.take()).collect()
    }
}

/// Who shares the stream may come back, and go on where it was.
fn cut_off() -> Status {
    Status::gateway(Code::Unavailable, "the stream is shared, and went on faster than this client took it")
        .with_reason(Reason::SubscriberTooSlow)
        .with_retry_after(Duration::from_secs(1))
}

/// Whose stream is its own would begin another, and be as slow there.
fn too_slow() -> Status {
    Status::gateway(Code::ResourceExhausted, "the stream went on faster than this client took it")
        .with_reason(Reason::SubscriberTooSlow)
}

fn overloaded() -> Status {
    Status::gateway(Code::Unavailable, "the gateway keeps as much for slow clients as it may")
        .with_reason(Reason::Overloaded)
        .with_retry_after(Duration::from_secs(1))
}
