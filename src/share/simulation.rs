//! The ring under a seeded crowd: joins, reads, stalls, leaves, failures and resumes in any order, under each policy for slow
//! readers, thousands of seeds. A failure names its seed and its step.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    task::{Context, Poll},
};

use http::uri::PathAndQuery;

use super::{
    Caller,
    budget::Budget,
    entry::envelope,
    position::{Position, Start},
    ring::{Bounds, Read, Ring, Seat},
    subscriber::Event,
    topic::{Others, Topic},
};
use crate::{config::SlowReader, upstream::Random};

const SEEDS: u64 = 4000;
const STEPS: usize = 400;
/// More than any message weighs.
const WEIGHT_MAX: u64 = 100;

/// What a subscriber must see: every message behind the last that it saw or was told to have lost.
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
        let policies = [SlowReader::Disconnect, SlowReader::DropOldest, SlowReader::Latest];
        let bounds = Bounds {
            replay: (!random.draw().is_multiple_of(4)).then(|| 1 + (random.draw() % 200) as usize),
            lag: 1 + (random.draw() % 100) as usize,
            bytes_max: 200 + (random.draw() % 8000) as usize,
            slow_reader: policies[(random.draw() % 3) as usize],
        };
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
        if self.is_alone() {
            self.join();
        } else if self.below(3) == 0 {
            self.prime();
        }
    }

    /// Others know of the stream, and whoever is there is seated again.
    fn prime(&mut self) {
        self.join();
        self.join();
        (self.epoch, self.published) = (self.random.draw(), self.below(1000));
        let known = self.below(self.published.min(60) + 1);
        let weights: Vec<_> = (0..known).map(|_| 1 + self.below(WEIGHT_MAX) as usize).collect();
        let offsets = self.published - known + 1..;
        self.ring.prime(Position { epoch: self.epoch, offset: self.published }, offsets.zip(weights.iter().copied()));
        self.weights = weights.into();
        self.forget(self.bounds.bytes_max);
        for index in 0..self.watchers.len() {
            let offset = self.below(self.published + 2);
            let seat = self.watchers[index].seat;
            let is_known = self.ring.seat_again(seat, Start::After(Position { epoch: self.epoch, offset }));
            assert_eq!(is_known, self.knows(self.epoch, offset));
            self.watchers[index].last = if is_known { offset } else { self.published };
        }
        self.check();
    }

    fn is_alone(&self) -> bool {
        self.bounds.replay.is_none()
    }

    fn drops(&self) -> bool {
        self.bounds.slow_reader != SlowReader::Disconnect
    }

    /// The offset of the oldest message that is there.
    fn oldest(&self) -> u64 {
        self.published + 1 - self.weights.len() as u64
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
            96..97 => self.room = if self.below(2) == 0 { usize::MAX } else { self.below(4000) as usize },
            97..98 => self.shrink(),
            _ => self.end(),
        }
        self.check();
    }

    fn join(&mut self) {
        if self.ended || self.is_alone() && !self.watchers.is_empty() {
            return;
        }
        let oldest = self.oldest();
        let start = match self.below(6) {
            _ if self.is_alone() => Start::Live,
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
            Start::After(Position { epoch, offset }) => self.knows(epoch, offset).then_some(offset),
            Start::Gone => None,
        };
        assert_eq!(is_known, expected.is_some(), "{start:?} of {oldest}..={}", self.published);
        let last = expected.unwrap_or(self.published);
        let is_stuck = self.below(4) == 0;
        assert!(self.watchers.iter().all(|watcher| watcher.seat != seat), "nobody sits there");
        self.watchers.push(Watcher { seat, last, is_stuck, cut_off: false });
    }

    /// Whether nothing is missing behind a place.
    fn knows(&self, epoch: u64, offset: u64) -> bool {
        let is_there =
            || offset + 1 >= self.oldest() && self.published - offset <= self.bounds.replay.unwrap_or_default() as u64;
        epoch == self.epoch && offset <= self.published && (self.bounds.slow_reader == SlowReader::Latest || is_there())
    }

    fn leave(&mut self) {
        if self.watchers.is_empty() {
            return;
        }
        let which = self.below(self.watchers.len() as u64) as usize;
        let watcher = self.watchers.swap_remove(which);
        self.left.push(Position { epoch: self.epoch, offset: watcher.last });
        let lost = if self.drops() { self.oldest().saturating_sub(watcher.last + 1) } else { 0 };
        assert_eq!(self.ring.leave(watcher.seat), lost);
        assert_eq!(self.ring.is_deserted(), self.watchers.is_empty());
        if self.is_alone() {
            self.renew();
        }
    }

    /// As the pump does: only where there is room, if somebody is waited for.
    fn publish(&mut self) {
        let weight = 1 + self.below(WEIGHT_MAX) as usize;
        let waits = !self.drops() && !self.is_alone();
        if self.ended || waits && !self.ring.may_publish(1, weight, self.room) {
            return;
        }
        self.published += 1;
        self.ring.publish(self.published, weight);
        self.weights.push_back(weight);
        self.forget(self.bounds.bytes_max);
        let oldest = self.oldest();
        let has_cut_off = !self.drops() && self.watchers.iter().any(|watcher| watcher.last + 1 < oldest);
        assert_eq!(self.ring.has_cut_off(), has_cut_off);
        if self.is_alone() && has_cut_off {
            self.ring.clear();
            self.weights.clear();
        }
    }

    fn shrink(&mut self) {
        let bytes_max = self.below(8000) as usize;
        self.ring.shrink(bytes_max);
        self.forget(bytes_max);
    }

    /// What the ring is to forget, in other words than its own.
    fn forget(&mut self, bytes_max: usize) {
        let messages_max = match self.bounds.slow_reader {
            SlowReader::Latest => 1,
            _ => self.bounds.replay.unwrap_or_default().max(self.bounds.lag),
        };
        while self.weights.len() > messages_max
            || self.weights.len() > 1 && self.weights.iter().sum::<usize>() > bytes_max.min(self.bounds.bytes_max)
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
        let (drops, is_alone, is_latest) =
            (self.drops(), self.is_alone(), self.bounds.slow_reader == SlowReader::Latest);
        let watcher = &mut self.watchers[which];
        for _ in 0..if watcher.is_stuck { 0 } else { times } {
            let oldest = self.published + 1 - self.weights.len() as u64;
            match self.ring.read(watcher.seat) {
                Read::Message(offset) => {
                    assert_eq!(offset, watcher.last + 1, "no hole and nothing twice");
                    assert!(!watcher.cut_off, "who is cut off stays so");
                    assert!(!is_latest || offset == self.published, "the newest");
                    watcher.last = offset;
                    if is_alone {
                        self.weights.pop_front();
                    }
                }
                Read::Skipped(count) => {
                    assert!(drops && count > 0);
                    assert_eq!(watcher.last + count + 1, oldest, "no more than what is not there any more");
                    watcher.last += count;
                }
                Read::Waiting => assert!(watcher.last == self.published && !self.ended),
                Read::Ended => assert!(watcher.last == self.published && self.ended),
                Read::CutOff => {
                    assert!(!drops, "who may lose messages goes on");
                    assert!(watcher.last + 1 < oldest, "what comes next is still there");
                    watcher.cut_off = true;
                }
            }
        }
    }

    fn charge(&mut self) {
        let oldest = self.oldest();
        // Of one that is gone too.
        let offset = oldest.saturating_sub(2) + self.below(self.weights.len() as u64 + 4);
        let weight = self.below(WEIGHT_MAX) as usize;
        self.ring.charge(offset, weight);
        if let Some(index) = offset.checked_sub(oldest)
            && let Some(known) = self.weights.get_mut(index as usize)
        {
            *known += weight;
            self.forget(self.bounds.bytes_max);
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
        if self.drops() || self.is_alone() {
            return;
        }
        let lags = self.watchers.iter().map(|watcher| self.published - watcher.last);
        if lags.min().is_none_or(|lag| lag == 0) {
            assert!(self.ended || self.ring.may_publish(1, 1, self.room), "whoever has everything is not kept waiting");
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
        let bounds = Bounds {
            replay: Some(1 + (random.draw() % 300) as usize),
            lag: 1 + (random.draw() % 100) as usize,
            bytes_max: 1 + (random.draw() % 5000) as usize,
            slow_reader: SlowReader::Disconnect,
        };
        let mut ring = Ring::new(1, bounds);
        let (seat, _) = ring.join(Start::Live);
        let (mut published, mut seen) = (0, 0);
        while seen < 2000 {
            let weight = 1 + (random.draw() % 100) as usize;
            if !random.draw().is_multiple_of(4) && ring.may_publish(1, weight, usize::MAX) {
                published += 1;
                ring.publish(published, weight);
            } else if let Read::Message(offset) = ring.read(seat) {
                seen += 1;
                assert_eq!(offset, seen, "seed {seed}");
                ring.charge(offset, (random.draw() % 200) as usize);
            } else {
                assert_eq!(seen, published, "seed {seed}");
            }
        }
    }
}

fn caller() -> Caller {
    Caller { path: PathAndQuery::from_static("/a.B/C"), client: None }
}

/// A call of its own, and what its reader knows.
struct Reader {
    topic: Arc<Topic>,
    seat: Seat,
    connection: usize,
    slow_reader: SlowReader,
    /// Read, or told to be lost.
    passed: u64,
    published: u64,
    /// Whether it reads what comes at once.
    is_prompt: bool,
}

impl Reader {
    fn new(random: &mut Random, process: &Budget, connections: &[Budget], is_prompt: bool) -> Self {
        let policies = [SlowReader::Disconnect, SlowReader::DropOldest, SlowReader::Latest];
        let slow_reader = policies[(random.draw() % 3) as usize];
        let connection = (random.draw() % connections.len() as u64) as usize;
        let bounds = Bounds { replay: None, lag: 50, bytes_max: 20_000, slow_reader };
        let topic = Topic::new(0, bounds, Others::Nobody, 0, &[process, &connections[connection]]);
        let seat = topic.join(Start::Live, caller());
        Self { topic, seat, connection, slow_reader, passed: 0, published: 0, is_prompt }
    }

    /// False where it was ended.
    fn read(&mut self, times: u64) -> bool {
        let cx = Context::from_waker(std::task::Waker::noop());
        for _ in 0..times {
            match self.topic.poll_event(self.seat, true, &cx) {
                Poll::Pending => {
                    assert_eq!(self.passed, self.published, "nothing is withheld");
                    break;
                }
                Poll::Ready(Event::Message(entry)) => {
                    assert_eq!(entry.position().offset, self.passed + 1, "in order, and once");
                    self.passed += 1;
                }
                Poll::Ready(Event::Skipped(count)) => self.passed += count,
                Poll::Ready(Event::End(Err(_))) => return false,
                Poll::Ready(other) => panic!("{other:?}"),
            }
        }
        true
    }
}

/// Whatever calls keep, of each connection and of the process it is never more than the most; and who reads what comes, and
/// has the least, is neither ended for it nor made to lose anything.
#[test]
fn what_calls_keep_together_is_bounded_and_the_greedy_give_way() {
    for seed in 0..500 {
        let mut random = Random::new(seed);
        let process_max = 20_000 + (random.draw() % 60_000) as usize;
        let connection_max = 10_000 + (random.draw() % 40_000) as usize;
        let process = Budget::new(process_max);
        let connections = [0; 3].map(|_| Budget::new(connection_max));
        let mut readers: Vec<Reader> =
            (0..8).map(|index| Reader::new(&mut random, &process, &connections, index < 2)).collect();
        for step in 0..400 {
            let which = (random.draw() % 8) as usize;
            let reader = &mut readers[which];
            let bytes = if reader.is_prompt { random.draw() % 100 } else { random.draw() % 15_000 } as usize;
            reader.topic.publish(envelope(&vec![0; bytes]));
            reader.published += 1;
            let is_prompt = reader.is_prompt;
            let times = if is_prompt { 1 } else { random.draw() % 3 };
            let before = reader.passed;
            let goes_on = reader.read(times);
            assert!(!is_prompt || goes_on && reader.passed == before + 1, "seed {seed}, step {step}");
            assert!(!is_prompt || reader.topic.held().bytes == 0, "what is read is forgotten");
            let place = format!("seed {seed}, step {step}: {:?}", reader.slow_reader);
            if !goes_on {
                readers[which] = Reader::new(&mut random, &process, &connections, false);
            }
            assert!(process.taken() <= process_max, "{place}: {} of {process_max}", process.taken());
            assert_eq!(
                process.taken(),
                readers.iter().map(|reader| reader.topic.held().bytes).sum::<usize>(),
                "{place}"
            );
            for (index, connection) in connections.iter().enumerate() {
                let own = readers.iter().filter(|reader| reader.connection == index);
                assert_eq!(connection.taken(), own.map(|reader| reader.topic.held().bytes).sum::<usize>(), "{place}");
                assert!(connection.taken() <= connection_max, "{place}");
            }
        }
        drop(readers);
        assert_eq!(process.taken(), 0);
    }
}
