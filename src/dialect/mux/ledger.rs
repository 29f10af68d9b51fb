//! Which calls a socket has, and who may send how much of what: ids, half-closes and credits (PROTOCOLS §10). A pure state
//! machine; knows nothing of frames' bytes.

use std::collections::HashMap;

/// Credit that both sides of a call begin with, in bytes of messages.
pub const CREDIT_FIRST: u32 = 65_536;

/// Credit is given back when this much was taken: often enough that nobody waits, and seldom enough to cost nothing.
const CREDIT_BACK: u32 = CREDIT_FIRST / 2;

/// The calls of one socket.
#[derive(Debug)]
pub struct Ledger {
    calls: HashMap<u32, Entry>,
    /// The greatest id so far.
    last: u32,
    calls_max: usize,
    /// Bytes of requests that are taken and not yet passed on, of all calls.
    waiting: usize,
    waiting_max: usize,
}

#[derive(Debug)]
struct Entry {
    /// What the client may still send; below zero where its last message was larger.
    requests: i64,
    /// What was passed on and not yet given back.
    owed: u32,
    /// Bytes that are not yet passed on.
    waiting: usize,
    half_closed: bool,
    /// What the client may still be sent.
    replies: i64,
}

/// What becomes of an open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opened {
    Call,
    /// As many calls are open as there may be.
    TooMany,
    /// The id is not greater than those before it: the client lost count.
    IdUsed,
}

/// What becomes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    Yes,
    /// The call is over, or never was: nothing to be told.
    Unknown,
    /// There was no credit for it.
    Overdrawn,
    /// So much is waiting already that this call is one too many.
    Full,
    HalfClosed,
}

impl Ledger {
    /// `calls_max`: open at a time; `waiting_max`: bytes of requests, of all calls, that wait for their upstreams, where one
    /// message more may be taken.
    pub fn new(calls_max: usize, waiting_max: usize) -> Self {
        Self { calls: HashMap::new(), last: 0, calls_max, waiting: 0, waiting_max }
    }

    pub fn is_empty(&self) -> bool {
        self.calls.is_empty()
    }

    /// Bytes of requests that wait.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// A client opens a call.
    pub fn open(&mut self, id: u32) -> Opened {
        if id <= self.last {
            return Opened::IdUsed;
        }
        self.last = id;
        if self.calls.len() >= self.calls_max {
            return Opened::TooMany;
        }
        let first = i64::from(CREDIT_FIRST);
        self.calls.insert(id, Entry { requests: first, owed: 0, waiting: 0, half_closed: false, replies: first });
        Opened::Call
    }

    /// A client sends a request. It may while its credit is above zero, whatever the message's size.
    pub fn message(&mut self, id: u32, bytes: usize) -> Taken {
        let Some(entry) = self.calls.get_mut(&id) else { return Taken::Unknown };
        if entry.half_closed {
            return Taken::HalfClosed;
        }
        if entry.requests <= 0 {
            return Taken::Overdrawn;
        }
        if self.waiting >= self.waiting_max {
            return Taken::Full;
        }
        entry.requests -= i64::try_from(bytes).unwrap_or(i64::MAX);
        entry.waiting += bytes;
        self.waiting += bytes;
        Taken::Yes
    }

    /// A client ends its requests. False where that is nothing new.
    pub fn half_close(&mut self, id: u32) -> bool {
        self.calls.get_mut(&id).is_some_and(|entry| !std::mem::replace(&mut entry.half_closed, true))
    }

    /// All requests that waited have gone up. The credit to be given back, if it is time.
    pub fn passed_on(&mut self, id: u32) -> Option<u32> {
        let entry = self.calls.get_mut(&id)?;
        let bytes = std::mem::take(&mut entry.waiting);
        self.waiting -= bytes;
        entry.owed = entry.owed.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
        // After the end nobody needs it.
        if entry.half_closed || entry.owed < CREDIT_BACK {
            return None;
        }
        let owed = std::mem::take(&mut entry.owed);
        entry.requests += i64::from(owed);
        Some(owed)
    }

    /// Whether a reply may be sent.
    pub fn may_reply(&self, id: u32) -> bool {
        self.calls.get(&id).is_some_and(|entry| entry.replies > 0)
    }

    /// A reply was sent.
    pub fn replied(&mut self, id: u32, bytes: usize) {
        if let Some(entry) = self.calls.get_mut(&id) {
            entry.replies -= i64::try_from(bytes).unwrap_or(i64::MAX);
        }
    }

    /// A client gives credit. More than there can be messages is as good as no limit. True where the call waited for it.
    pub fn credit(&mut self, id: u32, bytes: u32) -> bool {
        let Some(entry) = self.calls.get_mut(&id) else { return false };
        let waited = entry.replies <= 0;
        entry.replies = entry.replies.saturating_add(bytes.into());
        waited && entry.replies > 0
    }

    /// The call is over. False where it was not there.
    pub fn end(&mut self, id: u32) -> bool {
        let Some(entry) = self.calls.remove(&id) else { return false };
        self.waiting -= entry.waiting;
        true
    }
}
