//! The ledger by itself, and a simulation of a client, a socket and backends that are slow, quick and gone.

use std::collections::{HashMap, VecDeque};

use super::{CREDIT_FIRST, Ledger, Opened, Taken};

const FIRST: usize = CREDIT_FIRST as usize;

#[test]
fn ids_only_grow_and_calls_are_counted() {
    let mut ledger = Ledger::new(2, FIRST);
    assert_eq!(ledger.open(5), Opened::Call);
    for id in [0, 1, 5] {
        assert_eq!(ledger.open(id), Opened::IdUsed, "{id}");
    }
    assert_eq!(ledger.open(6), Opened::Call);
    assert_eq!(ledger.open(7), Opened::TooMany);
    assert!(ledger.end(5) && !ledger.end(5) && !ledger.end(7));
    assert_eq!(ledger.open(7), Opened::IdUsed, "it was told, though refused");
    assert_eq!(ledger.open(8), Opened::Call);
    assert!(!ledger.is_empty());
}

#[test]
fn a_message_may_be_larger_than_the_credit_and_the_next_one_waits() {
    let mut ledger = Ledger::new(9, usize::MAX);
    ledger.open(1);
    assert_eq!(ledger.message(1, FIRST - 1), Taken::Yes);
    assert_eq!(ledger.message(1, 10 * FIRST), Taken::Yes, "a byte of credit is enough");
    assert_eq!(ledger.message(1, 0), Taken::Overdrawn);
    assert_eq!(ledger.passed_on(1), Some(11 * CREDIT_FIRST - 1));
    assert_eq!(ledger.message(1, 1), Taken::Yes);
    assert_eq!(ledger.passed_on(1), None, "too little to be worth a frame");
    assert_eq!(ledger.message(2, 1), Taken::Unknown);
}

#[test]
fn what_waits_is_bounded_over_all_calls() {
    let mut ledger = Ledger::new(9, 100);
    ledger.open(1);
    ledger.open(2);
    assert_eq!(ledger.message(1, 99), Taken::Yes);
    assert_eq!(ledger.message(2, 500), Taken::Yes);
    assert_eq!(ledger.message(1, 1), Taken::Full);
    assert_eq!(ledger.waiting(), 599);
    assert!(ledger.end(2));
    assert_eq!((ledger.waiting(), ledger.message(1, 1)), (99, Taken::Yes));
}

#[test]
fn after_a_half_close_nothing_is_taken_or_given_back() {
    let mut ledger = Ledger::new(9, usize::MAX);
    ledger.open(1);
    assert_eq!(ledger.message(1, FIRST), Taken::Yes);
    assert!(ledger.half_close(1) && !ledger.half_close(1) && !ledger.half_close(2));
    assert_eq!(ledger.message(1, 1), Taken::HalfClosed);
    assert_eq!(ledger.passed_on(1), None);
}

#[test]
fn replies_wait_for_credit() {
    let mut ledger = Ledger::new(9, usize::MAX);
    ledger.open(1);
    assert!(ledger.may_reply(1) && !ledger.may_reply(2));
    ledger.replied(1, FIRST + 10);
    assert!(!ledger.may_reply(1));
    assert!(!ledger.credit(1, 10), "still not above zero");
    assert!(ledger.credit(1, 1));
    assert!(ledger.may_reply(1));
    assert!(!ledger.credit(2, 1));
    for _ in 0..10 {
        ledger.credit(1, u32::MAX);
    }
    assert!(ledger.may_reply(1));
}

/// A generator of its own, so that a seed means the same everywhere (xorshift*, Marsaglia 2003, Vigna 2016).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }
}

/// A client that keeps the rules, as far as it can know.
struct Caller {
    id: u32,
    /// What it may send, by its own count.
    credit: i64,
    sent: usize,
    to_send: VecDeque<usize>,
    half_closed: bool,
    received: usize,
    /// Received and not yet given back.
    unread: usize,
    /// It reads its replies.
    reads: bool,
}

/// What happened with a call on the other side.
#[derive(Default)]
struct Backend {
    /// Waits in the gateway.
    waiting: usize,
    got: usize,
    to_reply: usize,
    replied: usize,
    /// It takes requests.
    takes: bool,
}

/// Thousands of seeds of a few hundred steps: the credits of both sides never contradict each other, nobody who keeps the rules is refused,
/// what waits stays bounded, a call that stands still stops no other, and in the end everything has arrived.
#[test]
fn credits_hold_whatever_happens() {
    for seed in 1..=4000u64 {
        simulate(seed);
    }
}

fn simulate(seed: u64) {
    let mut dice = Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let calls_max = 1 + dice.below(5);
    let message_max = 1 + dice.below(3 * FIRST);
    let mut ledger = Ledger::new(calls_max, usize::MAX);
    let mut callers: HashMap<u32, Caller> = HashMap::new();
    let mut backends: HashMap<u32, Backend> = HashMap::new();
    let mut next = 1;
    for _ in 0..300 {
        let ids: Vec<u32> = callers.keys().copied().collect();
        let some = |dice: &mut Dice| (!ids.is_empty()).then(|| ids[dice.below(ids.len())]);
        match dice.below(10) {
            0 => {
                let is_full = callers.len() >= calls_max;
                assert_eq!(ledger.open(next), if is_full { Opened::TooMany } else { Opened::Call }, "seed {seed}");
                if !is_full {
                    let to_send = (0..dice.below(12)).map(|_| dice.below(message_max)).collect();
                    callers.insert(
                        next,
                        Caller {
                            id: next,
                            credit: FIRST as i64,
                            sent: 0,
                            to_send,
                            half_closed: false,
                            received: 0,
                            unread: 0,
                            reads: dice.below(3) > 0,
                        },
                    );
                    let to_reply = dice.below(12);
                    backends.insert(next, Backend { to_reply, takes: dice.below(3) > 0, ..Backend::default() });
                }
                next += 1 + dice.below(3) as u32;
            }
            1 => {
                // Somebody goes away.
                if let Some(id) = some(&mut dice) {
                    assert!(ledger.end(id));
                    callers.remove(&id);
                    backends.remove(&id);
                }
            }
            2 => {
                // A backend or a reader wakes up, or falls asleep.
                if let Some(id) = some(&mut dice) {
                    backends.entry(id).and_modify(|backend| backend.takes = dice.below(2) == 0);
                    callers.entry(id).and_modify(|caller| caller.reads = dice.below(2) == 0);
                }
            }
            _ => {
                if let Some(id) = some(&mut dice) {
                    step(seed, &mut ledger, id, &mut callers, &mut backends, &mut dice, message_max);
                }
            }
        }
        check(seed, &ledger, &callers, &backends, message_max);
    }
    // Everybody is awake again: all that was to be said arrives.
    for _ in 0..100 {
        for id in callers.keys().copied().collect::<Vec<_>>() {
            backends.entry(id).and_modify(|backend| backend.takes = true);
            callers.entry(id).and_modify(|caller| caller.reads = true);
            step(seed, &mut ledger, id, &mut callers, &mut backends, &mut dice, message_max);
            check(seed, &ledger, &callers, &backends, message_max);
        }
    }
    for caller in callers.values() {
        let backend = &backends[&caller.id];
        assert!(caller.to_send.is_empty() && caller.half_closed, "seed {seed}: {} still waits to send", caller.id);
        assert_eq!((backend.got, backend.waiting), (caller.sent, 0), "seed {seed}");
        assert_eq!((backend.to_reply, caller.received), (0, backend.replied), "seed {seed}");
    }
}

/// One call moves as far as it can: client to gateway, gateway to backend, and back.
fn step(
    seed: u64,
    ledger: &mut Ledger,
    id: u32,
    callers: &mut HashMap<u32, Caller>,
    backends: &mut HashMap<u32, Backend>,
    dice: &mut Dice,
    message_max: usize,
) {
    let (Some(caller), Some(backend)) = (callers.get_mut(&id), backends.get_mut(&id)) else { return };
    if let Some(bytes) = caller.to_send.front().copied().filter(|_| caller.credit > 0) {
        assert_eq!(ledger.message(id, bytes), Taken::Yes, "seed {seed}: a client that keeps the rules is refused");
        caller.to_send.pop_front();
        caller.credit -= bytes as i64;
        caller.sent += bytes;
        backend.waiting += bytes;
    } else if caller.to_send.is_empty() && !caller.half_closed {
        assert!(ledger.half_close(id));
        caller.half_closed = true;
    }
    if backend.takes && backend.waiting > 0 {
        backend.got += std::mem::take(&mut backend.waiting);
        if let Some(credit) = ledger.passed_on(id) {
            caller.credit += i64::from(credit);
        }
    }
    if backend.to_reply > 0 && ledger.may_reply(id) {
        let bytes = dice.below(message_max);
        ledger.replied(id, bytes);
        backend.to_reply -= 1;
        backend.replied += bytes;
        caller.received += bytes;
        caller.unread += bytes;
    }
    if caller.reads && caller.unread > 0 {
        ledger.credit(id, u32::try_from(std::mem::take(&mut caller.unread)).unwrap());
    }
}

fn check(
    seed: u64,
    ledger: &Ledger,
    callers: &HashMap<u32, Caller>,
    backends: &HashMap<u32, Backend>,
    message_max: usize,
) {
    let waiting: usize = backends.values().map(|backend| backend.waiting).sum();
    assert_eq!(ledger.waiting(), waiting, "seed {seed}");
    for caller in callers.values() {
        let backend = &backends[&caller.id];
        assert!(backend.waiting <= FIRST + message_max, "seed {seed}: {} bytes wait", backend.waiting);
        assert!(caller.unread <= FIRST + message_max, "seed {seed}: {} bytes are unread", caller.unread);
        assert_eq!(backend.got + backend.waiting, caller.sent, "seed {seed}: a hole");
        // Who has no credit has sent something that is still on its way, or little enough to be owed.
        assert!(caller.credit > 0 || backend.waiting > 0 || caller.half_closed, "seed {seed}: stuck");
    }
}
