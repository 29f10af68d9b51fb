//! The ring under a seeded crowd: joins, reads, stalls, leaves, failures and resumes in any order, thousands of seeds. A
//! failure names its seed and its step.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
};

use super::{
    position::{Position, Start},
    ring::{Bounds, LAG_MIN, Read, Ring, Seat},
};
use crate::upstream::Random;

const SEEDS: u64 = 4000;
const STEPS: usize = 400;
/// More than any message weighs.
const WEIGHT_MAX: u64 = 100;

/// What a subscriber must see: every message behind the last that it saw.
struct Watcher {
    seat: Seat,
    last: u64,
    /// Never reads.
    is_stuck: bool,
    cut_off: bool,
}

/// The topic as it is told to be, beside the ring.
struct World {
    random: Random,
    ring: Ring<u64>,
    bounds: Bounds,
    epoch: u64,
    published: u64,
    weights: VecDeque<usize>,
    watchers: Vec<Watcher>,
    /// Where some left, to come back from.
    left: Vec<Position>,
    ended: bool,
    room: usize,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let replay = 1 + (random.draw() % 200) as usize;
        let bounds = Bounds { replay, bytes_max: 200 + (random.draw() % 8000) as usize };
        let mut world = Self {
            ring: Ring::new(0, bounds),
            random,
            bounds,
            epoch: 0,
            published: 0,
            weights: VecDeque::new(),
            watchers: Vec::new(),
            left: Vec::new(),
            ended: false,
            room: usize::MAX,
        };
        world.renew();
        world
    }

    /// The stream failed for good: the next one has an epoch of its own.
    fn renew(&mut self) {
        self.epoch = self.random.draw();
        self.ring = Ring::new(self.epoch, self.bounds);
        (self.published, self.ended) = (0, false);
        self.weights.clear();
        self.watchers.clear();
    }

    fn below(&mut self, max: u64) -> u64 {
        self.random.draw() % max.max(1)
    }

    fn step(&mut self) {
        match self.below(100) {
            0..12 => self.join(),
            12..18 => self.leave(),
            18..50 => self.publish(),
            50..90 => self.read(),
            90..96 => self.charge(),
            96..98 => self.room = if self.below(2) == 0 { usize::MAX } else { self.below(4000) as usize },
            _ => self.end(),
        }
        self.check();
    }

    fn join(&mut self) {
        if self.ended {
            return;
        }
        let oldest = self.published + 1 - self.weights.len() as u64;
        let start = match self.below(6) {
            0 | 1 => Start::Live,
            2 if !self.left.is_empty() => {
                let which = self.below(self.left.len() as u64) as usize;
                Start::After(self.left[which])
            }
            // Forged, and beyond the head as often as not.
            3 => Start::After(Position { epoch: self.epoch, offset: self.below(2 * self.published + 2) }),
            4 => Start::After(Position { epoch: self.epoch, offset: u64::MAX - self.below(2) }),
            _ => Start::Gone,
        };
        let (seat, is_known) = self.ring.join(start);
        let expected = match start {
            Start::Live => Some(self.published),
            Start::After(Position { epoch, offset }) => (epoch == self.epoch
                && offset <= self.published
                && offset + 1 >= oldest
                && self.published - offset <= self.bounds.replay as u64)
                .then_some(offset),
            Start::Gone => None,
        };
        assert_eq!(is_known, expected.is_some(), "{start:?} of {oldest}..={}", self.published);
        let last = expected.unwrap_or(self.published);
        let is_stuck = self.below(4) == 0;
        assert!(self.watchers.iter().all(|watcher| watcher.seat != seat), "nobody sits there");
        self.watchers.push(Watcher { seat, last, is_stuck, cut_off: false });
    }

    fn leave(&mut self) {
        if self.watchers.is_empty() {
            return;
        }
        let which = self.below(self.watchers.len() as u64) as usize;
        let watcher = self.watchers.swap_remove(which);
        self.left.push(Position { epoch: self.epoch, offset: watcher.last });
        assert_eq!(self.ring.leave(watcher.seat), self.watchers.is_empty());
    }

    /// As the pump does: only where there is room.
    fn publish(&mut self) {
        let weight = 1 + self.below(WEIGHT_MAX) as usize;
        if self.ended || !self.ring.may_publish(weight, self.room) {
            return;
        }
        self.published += 1;
        self.ring.publish(self.published, weight, self.room);
        self.weights.push_back(weight);
        self.forget();
    }

    /// What the ring is to forget, in other words than its own.
    fn forget(&mut self) {
        let bytes_max = self.bounds.bytes_max.min(self.room);
        while self.weights.len() > self.bounds.replay.max(LAG_MIN)
            || self.weights.len() > 1 && self.weights.iter().sum::<usize>() > bytes_max
        {
            self.weights.pop_front();
        }
    }

    fn read(&mut self) {
        if self.watchers.is_empty() {
            return;
        }
        let which = self.below(self.watchers.len() as u64) as usize;
        let times = self.below(40);
        let oldest = self.published + 1 - self.weights.len() as u64;
        let watcher = &mut self.watchers[which];
        for _ in 0..if watcher.is_stuck { 0 } else { times } {
            match self.ring.read(watcher.seat) {
                Read::Message(offset) => {
                    assert_eq!(offset, watcher.last + 1, "no hole and nothing twice");
                    assert!(!watcher.cut_off, "who is cut off stays so");
                    watcher.last = offset;
                }
                Read::Waiting => assert!(watcher.last == self.published && !self.ended),
                Read::Ended => assert!(watcher.last == self.published && self.ended),
                Read::CutOff => {
                    assert!(watcher.last + 1 < oldest, "what comes next is still there");
                    watcher.cut_off = true;
                }
            }
        }
    }

    fn charge(&mut self) {
        let oldest = self.published + 1 - self.weights.len() as u64;
        // Of one that is gone too.
        let offset = oldest.saturating_sub(2) + self.below(self.weights.len() as u64 + 4);
        let weight = self.below(WEIGHT_MAX) as usize;
        self.ring.charge(offset, weight, self.room);
        if let Some(index) = offset.checked_sub(oldest)
            && let Some(known) = self.weights.get_mut(index as usize)
        {
            *known += weight;
            self.forget();
        }
    }

    fn end(&mut self) {
        if self.ended {
            // Whoever is left has been told; others find a new stream.
            self.renew();
        } else if self.below(4) == 0 {
            self.ring.end();
            self.ended = true;
        }
    }

    fn check(&mut self) {
        let bytes: usize = self.weights.iter().sum();
        assert_eq!(self.ring.bytes(), bytes);
        assert!(bytes <= self.bounds.bytes_max || self.weights.len() == 1, "{bytes} bytes");
        assert_eq!(self.ring.position(), Position { epoch: self.epoch, offset: self.published });
        assert_eq!(self.ring.is_deserted(), self.watchers.is_empty());
        let lags = self.watchers.iter().map(|watcher| self.published - watcher.last);
        if lags.min().is_none_or(|lag| lag == 0) {
            assert!(self.ended || self.ring.may_publish(1, self.room), "whoever has everything is not kept waiting");
        }
    }
}

#[test]
fn whoever_listens_sees_a_run_without_holes_within_bounded_memory() {
    for seed in 0..SEEDS {
        let mut world = World::new(seed);
        for step in 0..STEPS {
            let outcome = catch_unwind(AssertUnwindSafe(|| world.step()));
            assert!(outcome.is_ok(), "seed {seed}, step {step}");
        }
    }
}

/// However slowly it reads, a subscriber that is alone gets everything: the stream waits for it.
#[test]
fn a_lone_subscriber_is_never_cut_off() {
    for seed in 0..200 {
        let mut random = Random::new(seed);
        let bounds =
            Bounds { replay: 1 + (random.draw() % 300) as usize, bytes_max: 1 + (random.draw() % 5000) as usize };
        let mut ring = Ring::new(1, bounds);
        let (seat, _) = ring.join(Start::Live);
        let (mut published, mut seen) = (0, 0);
        while seen < 2000 {
            let weight = 1 + (random.draw() % 100) as usize;
            if !random.draw().is_multiple_of(4) && ring.may_publish(weight, usize::MAX) {
                published += 1;
                ring.publish(published, weight, usize::MAX);
            } else if let Read::Message(offset) = ring.read(seat) {
                seen += 1;
                assert_eq!(offset, seen, "seed {seed}");
                ring.charge(offset, (random.draw() % 200) as usize, usize::MAX);
            } else {
                assert_eq!(seen, published, "seed {seed}");
            }
        }
    }
}
