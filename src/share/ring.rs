//! What a shared stream remembers, and where each subscriber stands in it: a pure state machine. Knows nothing of tasks,
//! locks and time.
//!
//! Subscribers hold no queue of their own: each is a cursor into the ring. Who falls out of it is cut off, or goes on with
//! what is still there. Whoever feeds the ring may keep pace with the fastest subscriber ([`Ring::may_publish`]), so that a
//! burst waits in the upstream's window and not in memory, and a lone subscriber is as slow as it likes.

use std::collections::VecDeque;

use slab::Slab;

use super::position::{Position, Start};
use crate::config::SlowReader;

/// What a ring may hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Most messages that a subscriber that comes back is given again; none: there is one alone, and nobody comes back. What
    /// it has read is forgotten.
    pub(super) replay: Option<usize>,
    /// The fewest messages that there is room for, whatever is to be replayed: what a subscriber may lag behind.
    pub(super) lag: usize,
    /// Most bytes; the newest message stays however large it is.
    pub(super) bytes_max: usize,
    /// What becomes of who lags further behind.
    pub(super) slow_reader: SlowReader,
}

pub(super) struct Ring<T> {
    epoch: u64,
    bounds: Bounds,
    /// The newest last.
    entries: VecDeque<Kept<T>>,
    /// Of the newest message; 0 before the first.
    head: u64,
    /// Invariant: the sum of the entries' weights.
    bytes: usize,
    /// The weights of all messages ever published.
    published: u64,
    /// The offset of the last message that each subscriber read.
    seats: Slab<u64>,
    /// No subscriber stands before it. May be that of one that left: found out once it matters.
    fastest: u64,
    has_ended: bool,
}

struct Kept<T> {
    item: T,
    weight: usize,
    /// `published` before it.
    before: u64,
}

/// A subscriber's place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Seat(pub(super) usize);

/// What a subscriber has not read yet, of what is still there.
pub(super) struct Lag<'r, T> {
    pub(super) seat: Seat,
    pub(super) messages: u64,
    pub(super) bytes: u64,
    /// The message that it reads next.
    pub(super) oldest: &'r T,
}

/// What a subscriber finds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read<T> {
    Message(T),
    /// It has everything so far.
    Waiting,
    /// So many messages that were to come next are no longer there; it goes on behind them.
    Skipped(u64),
    /// The same, and it does not go on.
    CutOff,
    /// It has everything.
    Ended,
}

impl<T: Clone> Ring<T> {
    pub(super) fn new(epoch: u64, bounds: Bounds) -> Self {
        Self {
            epoch,
            bounds,
            entries: VecDeque::new(),
            head: 0,
            bytes: 0,
            published: 0,
            seats: Slab::new(),
            fastest: 0,
            has_ended: false,
        }
    }

    /// The newest message's.
    pub(super) fn position(&self) -> Position {
        Position { epoch: self.epoch, offset: self.head }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// What the newest message weighs.
    pub(super) fn newest_bytes(&self) -> usize {
        self.entries.back().map_or(0, |kept| kept.weight)
    }

    pub(super) fn newest(&self) -> Option<&T> {
        self.entries.back().map(|kept| &kept.item)
    }

    pub(super) fn is_deserted(&self) -> bool {
        self.seats.is_empty()
    }

    /// Remembers what others know of the stream, the oldest first and without a hole up to the newest message, which has this
    /// offset. Before any message was published; whoever is there is to be seated again.
    pub(super) fn prime(&mut self, Position { epoch, offset }: Position, known: impl IntoIterator<Item = (T, usize)>) {
        debug_assert!(self.head == 0, "nothing was published yet");
        (self.epoch, self.head) = (epoch, offset);
        for (item, weight) in known {
            self.keep(item, weight);
        }
    }

    /// Takes a subscriber in; false: what it saw last is not known any more, and it goes on with the next message.
    pub(super) fn join(&mut self, start: Start) -> (Seat, bool) {
        let (cursor, is_known) = self.place(start);
        self.fastest = if self.seats.is_empty() { cursor } else { self.fastest.max(cursor) };
        (Seat(self.seats.insert(cursor)), is_known)
    }

    /// The same of one that is there, which has read nothing.
    pub(super) fn seat_again(&mut self, seat: Seat, start: Start) -> bool {
        let (cursor, is_known) = self.place(start);
        if let Some(known) = self.seats.get_mut(seat.0) {
            *known = cursor;
            self.fastest = self.fastest.max(cursor);
        }
        is_known
    }

    /// How many messages were dropped that it did not come to read.
    pub(super) fn leave(&mut self, seat: Seat) -> u64 {
        let cursor = self.seats.try_remove(seat.0);
        match self.bounds.slow_reader {
            SlowReader::DropOldest | SlowReader::Latest => {
                cursor.map_or(0, |cursor| self.oldest().saturating_sub(cursor + 1))
            }
            SlowReader::Block | SlowReader::Disconnect => 0,
        }
    }

    /// Adds a message, and forgets the oldest ones beyond the bounds.
    pub(super) fn publish(&mut self, item: T, weight: usize) {
        debug_assert!(!self.has_ended, "nothing follows the end");
        self.head += 1;
        self.keep(item, weight);
    }

    /// A message has become heavier.
    pub(super) fn charge(&mut self, offset: u64, weight: usize) {
        if let Some(kept) = self.index(offset).and_then(|index| self.entries.get_mut(index)) {
            kept.weight += weight;
            self.bytes += weight;
            self.trim(self.bounds.bytes_max);
        }
    }

    /// Forgets the oldest messages beyond so many bytes; the newest stays.
    pub(super) fn shrink(&mut self, bytes_max: usize) {
        self.trim(bytes_max.min(self.bounds.bytes_max));
    }

    /// Forgets all messages.
    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.bytes = 0;
    }

    /// Nothing follows.
    pub(super) fn end(&mut self) {
        self.has_ended = true;
    }

    /// The next message of a subscriber's.
    pub(super) fn read(&mut self, seat: Seat) -> Read<T> {
        let oldest = self.oldest();
        let Some(cursor) = self.seats.get_mut(seat.0) else { return Read::CutOff };
        if *cursor == self.head {
            return if self.has_ended { Read::Ended } else { Read::Waiting };
        }
        if *cursor + 1 < oldest {
            return match self.bounds.slow_reader {
                SlowReader::Block | SlowReader::Disconnect => Read::CutOff,
                SlowReader::DropOldest | SlowReader::Latest => {
                    let skipped = oldest - 1 - *cursor;
                    *cursor = oldest - 1;
                    self.fastest = self.fastest.max(*cursor);
                    Read::Skipped(skipped)
                }
            };
        }
        let Some(kept) = usize::try_from(*cursor + 1 - oldest).ok().and_then(|index| self.entries.get(index)) else {
            return Read::CutOff;
        };
        *cursor += 1;
        self.fastest = self.fastest.max(*cursor);
        let item = kept.item.clone();
        if self.bounds.replay.is_none() {
            self.forget_oldest();
        }
        Read::Message(item)
    }

    /// Of each subscriber that has something to read.
    pub(super) fn lags(&self) -> impl Iterator<Item = Lag<'_, T>> {
        self.seats.iter().filter_map(|(seat, cursor)| {
            let next = self.oldest().max(cursor + 1);
            let oldest = self.entries.get(self.index(next)?)?;
            let (messages, bytes) = (self.head + 1 - next, self.published - oldest.before);
            Some(Lag { seat: Seat(seat), messages, bytes, oldest: &oldest.item })
        })
    }

    /// Whether somebody is there who will be cut off.
    pub(super) fn has_cut_off(&self) -> bool {
        let oldest = self.oldest();
        self.bounds.slow_reader == SlowReader::Disconnect && self.seats.iter().any(|(_, cursor)| cursor + 1 < oldest)
    }

    /// Whether so many messages more, of this weight together, may come: where nobody listens, or the fastest has not far to
    /// go. The others are not waited for.
    pub(super) fn may_publish(&mut self, count: usize, weight: usize, room: usize) -> bool {
        if self.seats.is_empty() || self.is_near(self.fastest, count, weight, room) {
            return true;
        }
        self.fastest = self.seats.iter().map(|(_, cursor)| *cursor).max().unwrap_or(self.head);
        self.is_near(self.fastest, count, weight, room)
    }

    /// Half of the ring may be unread, in messages and in bytes: the other half is for those behind.
    fn is_near(&self, cursor: u64, count: usize, weight: usize, room: usize) -> bool {
        let unread = self.head - cursor;
        let before = match unread {
            0 if count == 1 => return true,
            0 => Some(self.published),
            _ => self.index(cursor + 1).and_then(|index| self.entries.get(index)).map(|kept| kept.before),
        };
        let unread_bytes = before.map_or(0, |before| self.published - before) + weight as u64;
        before.is_some()
            && unread + (count as u64) <= self.entries_max() as u64 / 2
            && unread_bytes <= self.bytes_max(room) as u64 / 2
    }

    fn place(&self, start: Start) -> (u64, bool) {
        match start {
            Start::Live => (self.head, true),
            Start::After(position) if self.remembers(position) => (position.offset, true),
            Start::After(_) | Start::Gone => (self.head, false),
        }
    }

    fn remembers(&self, Position { epoch, offset }: Position) -> bool {
        let is_there =
            || self.head - offset <= self.bounds.replay.unwrap_or_default() as u64 && offset + 1 >= self.oldest();
        // Where the newest message is all that matters, nobody has missed anything.
        epoch == self.epoch && offset <= self.head && (self.bounds.slow_reader == SlowReader::Latest || is_there())
    }

    /// The offset of the oldest message that is there, or of the next one to come.
    fn oldest(&self) -> u64 {
        self.head + 1 - self.entries.len() as u64
    }

    fn index(&self, offset: u64) -> Option<usize> {
        let index = usize::try_from(offset.checked_sub(self.oldest())?).ok()?;
        (index < self.entries.len()).then_some(index)
    }

    fn entries_max(&self) -> usize {
        match self.bounds.slow_reader {
            SlowReader::Latest => 1,
            SlowReader::Block | SlowReader::DropOldest | SlowReader::Disconnect => {
                self.bounds.replay.unwrap_or_default().max(self.bounds.lag)
            }
        }
    }

    fn bytes_max(&self, room: usize) -> usize {
        self.bounds.bytes_max.min(room)
    }

    fn trim(&mut self, bytes_max: usize) {
        let entries_max = self.entries_max().max(1);
        while self.entries.len() > entries_max || self.bytes > bytes_max && self.entries.len() > 1 {
            self.forget_oldest();
        }
    }

    fn keep(&mut self, item: T, weight: usize) {
        self.entries.push_back(Kept { item, weight, before: self.published });
        self.bytes += weight;
        self.published += weight as u64;
        self.trim(self.bounds.bytes_max);
    }

    fn forget_oldest(&mut self) {
        if let Some(oldest) = self.entries.pop_front() {
            self.bytes -= oldest.weight;
        }
    }
}
