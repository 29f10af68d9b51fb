//! What feeds a topic that other gateways have too. One of them rides the upstream and writes what comes to the fleet's log before
//! anybody is told; the others read it there. When the writer is gone, whoever can go on takes its place.
//!
//! Knows nothing of Redis but what `fleet` tells of it.

use std::{
    collections::VecDeque,
    future::{Future, poll_fn},
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use http::HeaderMap;
use tokio::{
    sync::Mutex,
    time::{Instant, sleep, timeout, timeout_at},
};
use tokio_util::task::task_tracker::TaskTrackerToken;

use super::{
    hub::{Hub, Key},
    position::Position,
    pump::{Pump, Stop},
    topic::{Others, Topic},
};
use crate::{
    call::Transport,
    drain::Drain,
    fleet::{Down, Existing, Fleet, Log, Name, Token, View, Write, decode_end, decode_head, encode_end, encode_head},
    status::{Code, Reason, Status},
    wire::{PREFIX_BYTES, prefix},
};

/// Longest absence of Redis that a stream waits for.
const ABSENCE: Duration = Duration::from_secs(10);
/// Longest time to find out what the fleet knows of a stream.
const JOINING: Duration = Duration::from_secs(5);
/// How long clients of this gateway may keep those of others waiting.
const STALL: Duration = Duration::from_millis(500);
/// When clients are asked to come back.
const RETRY: Duration = Duration::from_secs(1);
/// Before a command is said again that was refused.
const PAUSE: Duration = Duration::from_millis(50);

/// One topic's place in the fleet.
pub(super) struct Membership {
    fleet: Fleet,
    name: Name,
    token: Token,
    /// How long the stream is remembered when nobody has it.
    keep: Duration,
    /// Most messages and bytes that are kept of it.
    bounds: (usize, usize),
    log: OnceLock<Log>,
    /// It may have the lease.
    is_writer: AtomicBool,
    /// Other gateways that have it, as far as is known.
    others: AtomicUsize,
    /// Clients here have kept others waiting for as long as they may.
    is_impatient: AtomicBool,
    /// The process ends when the lease is given up.
    _in_flight: TaskTrackerToken,
}

/// Why nothing can be written.
#[derive(Clone, Copy, Debug)]
pub(super) enum Unwritten {
    /// The lease has lapsed.
    Lost,
    Down,
}

/// Writes to the log, for as long as it holds the lease.
pub(super) struct Writer<'m> {
    member: &'m Membership,
    log: &'m Log,
    place: &'m mut Place,
    /// Held while a message is in the log and not yet in the topic.
    turn: &'m Mutex<()>,
}

/// How far a gateway is with a log.
struct Place {
    epoch: u64,
    newest: u64,
    /// The lengths of the messages that the log keeps, the newest last.
    lengths: VecDeque<usize>,
    bytes: usize,
    /// The log has the stream's head, and so has the topic.
    has_head: bool,
}

/// What a member does next.
enum Next {
    Read,
    Write { goes_on: bool },
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.set_writer(false);
    }
}

impl Membership {
    pub(super) fn new(fleet: Fleet, key: &Key, hub: &Hub, linger: Duration, drain: &Drain) -> Self {
        let token = Token(u128::from(hub.random()) << 64 | u128::from(hub.random()));
        Self {
            name: key.name(),
            token,
            keep: linger + fleet.lease(),
            fleet,
            bounds: hub.kept(key),
            log: OnceLock::new(),
            is_writer: AtomicBool::new(false),
            others: AtomicUsize::new(0),
            is_impatient: AtomicBool::new(false),
            _in_flight: drain.hold(),
        }
    }

    /// Whether other gateways have what this one writes.
    pub(super) async fn is_read_elsewhere(&self) -> bool {
        match self.log.get().filter(|_| self.is_writer.load(Relaxed)) {
            Some(log) => log.listeners().await.is_ok_and(|listeners| listeners > 1),
            None => false,
        }
    }

    /// Waits for room, but for no longer than others may be kept waiting: whoever is too slow then is cut off.
    pub(super) async fn wait_for(&self, room: impl Future<Output = ()>) {
        if self.others.load(Relaxed) == 0 {
            return room.await;
        }
        let limit = if self.is_impatient.load(Relaxed) { Duration::ZERO } else { STALL };
        self.is_impatient.store(timeout(limit, room).await.is_err(), Relaxed);
    }

    /// Leaves the stream to others.
    pub(super) async fn leave(&self) {
        if let Some(log) = self.log.get() {
            // If it is not heard, the lease lapses.
            let _ = log.release(self.token).await;
        }
        self.set_writer(false);
    }

    fn set_writer(&self, is_writer: bool) {
        if self.is_writer.swap(is_writer, Relaxed) != is_writer {
            self.fleet.count_lease(is_writer);
        }
    }

    async fn log(&self) -> Result<&Log, Down> {
        let log = self.fleet.log(&self.name).await?;
        Ok(self.log.get_or_init(|| log))
    }

    /// Says a command again for as long as a lease lasts, within bounds. What was said before may have been heard.
    async fn insist<R, F: Future<Output = Result<R, Down>>>(&self, say: impl Fn() -> F) -> Result<R, Down> {
        let until = Instant::now() + self.fleet.lease().min(ABSENCE);
        loop {
            if let Ok(answer) = say().await {
                return Ok(answer);
            }
            let again = async {
                sleep(PAUSE).await;
                self.fleet.up().await;
            };
            if timeout_at(until, again).await.is_err() {
                return Err(Down);
            }
        }
    }

    async fn write(&self, log: &Log, epoch: u64, write: Write<'_>) -> Result<(), Unwritten> {
        match self.insist(|| log.write(self.token, epoch, &write, self.keep)).await {
            Ok(Some(listeners)) => {
                // This one listens as well.
                self.others.store(listeners.saturating_sub(1), Relaxed);
                Ok(())
            }
            Ok(None) => Err(Unwritten::Lost),
            Err(Down) => Err(Unwritten::Down),
        }
    }

    /// Renews the lease until it is lost.
    async fn renew(&self, log: &Log, epoch: u64) -> Unwritten {
        loop {
            sleep(self.fleet.lease() / 3).await;
            if let Err(unwritten) = self.write(log, epoch, Write::default()).await {
                return unwritten;
            }
        }
    }
}

/// Until the stream's last word. Where the fleet cannot be asked at the beginning, the stream is this gateway's alone until its end.
pub(super) async fn feed<T: Transport + Send + Sync + 'static>(
    pump: &Pump<T>,
    member: &Membership,
) -> Result<HeaderMap, Status> {
    // Where nobody answers, and where nobody says anything sound.
    let joined = timeout(JOINING, join(pump, member)).await.unwrap_or(Err(Down));
    let Ok((log, mut place, mut next)) = joined else {
        pump.topic.prime(Position { epoch: pump.hub.random(), offset: 0 }, Vec::new(), Others::Nobody);
        return pump.feed_alone().await;
    };
    loop {
        next = match next {
            Next::Read => match read(pump, member, log, &mut place).await {
                Some(end) => return end,
                None => Next::Write { goes_on: true },
            },
            Next::Write { goes_on } => match write(pump, member, log, &mut place, goes_on).await {
                Ok(end) => return end,
                Err(Unwritten::Lost) => {
                    member.set_writer(false);
                    Next::Read
                }
                Err(Unwritten::Down) => return Err(unreachable()),
            },
        }
    }
}

/// Finds out what the fleet knows of the stream, and tells the topic.
async fn join<'m, T: Transport + Send + Sync + 'static>(
    pump: &Pump<T>,
    member: &'m Membership,
) -> Result<(&'m Log, Place, Next), Down> {
    let log = member.log().await?;
    let fresh = pump.hub.random();
    // Whatever came since the last message that is known is lost where it cannot be asked for.
    let existing = if pump.resume.is_some() { Existing::GoesOn } else { Existing::MakesRoom };
    loop {
        let takes = log.take(member.token, fresh, existing, member.keep).await?;
        member.set_writer(takes);
        let Some((place, known)) = read_all(log, member, pump.reply_bytes_max).await? else {
            // It is somebody's who has not noticed yet that it is gone.
            let _ = timeout(member.fleet.lease() / 3, log.nudged()).await;
            continue;
        };
        let next = if takes { Next::Write { goes_on: place.epoch != fresh } } else { Next::Read };
        pump.topic.prime(Position { epoch: place.epoch, offset: place.newest }, known, Others::Gateways);
        return Ok((log, place, next));
    }
}

/// All that is known of the stream; none where there is none.
async fn read_all(log: &Log, member: &Membership, bytes_max: usize) -> Result<Option<(Place, Vec<Bytes>)>, Down> {
    let (mut place, mut known) = (None::<Place>, VecDeque::new());
    loop {
        let view = log.look(place.as_ref().map(|place| (place.epoch, place.newest)), false).await?;
        let Some(epoch) = view.epoch else { return Ok(None) };
        if place.as_ref().is_some_and(|place| place.epoch != epoch) {
            (place, known) = (None, VecDeque::new());
            continue;
        }
        let place = place.get_or_insert_with(|| Place::new(epoch));
        for (offset, envelope) in view.messages {
            let is_sound = is_envelope(&envelope, bytes_max);
            if offset != place.newest + 1 || !is_sound {
                // Nobody could be given what stands before a hole.
                known.clear();
                place.forget();
            }
            if !is_sound {
                place.newest = offset;
                continue;
            }
            place.push(offset, envelope.len(), member.bounds);
            known.push_back(envelope);
            known.drain(..known.len().saturating_sub(place.lengths.len()));
        }
        if !view.more {
            break;
        }
    }
    Ok(place.map(|place| (place, known.into())))
}

/// Follows the one who writes. None: it is this gateway's to write now.
async fn read<T: Transport + Send + Sync + 'static>(
    pump: &Pump<T>,
    member: &Membership,
    log: &Log,
    place: &mut Place,
) -> Option<Result<HeaderMap, Status>> {
    // It is one at least.
    member.others.fetch_max(1, Relaxed);
    let mut takes = false;
    loop {
        let Ok(view) = member.insist(|| log.look(Some((place.epoch, place.newest)), !place.has_head)).await else {
            return Some(Err(unreachable()));
        };
        if view.epoch.is_some_and(|epoch| epoch != place.epoch) {
            return Some(Err(broken_off()));
        }
        if view.epoch.is_none() {
            // Redis has forgotten it, and nobody else may have noticed.
            place.forget();
            place.has_head = false;
        }
        let (is_held, more) = (view.is_held, view.more);
        match take_in(pump, place, view).await {
            Ok(None) => {}
            Ok(Some(end)) => return Some(end),
            Err(status) => return Some(Err(status)),
        }
        if more {
            continue;
        }
        pump.topic.seat();
        if takes {
            return None;
        }
        if !is_held {
            if pump.resume.is_none() {
                return Some(Err(broken_off()));
            }
            let Ok(taken) = member.insist(|| log.take(member.token, place.epoch, Existing::Same, member.keep)).await
            else {
                return Some(Err(unreachable()));
            };
            takes = taken;
            member.set_writer(taken);
            // What was written before is still to be read.
            continue;
        }
        // Not all at the same moment.
        let period = member.fleet.lease() / 3;
        let jitter = period.mul_f64((pump.hub.random() >> 32) as f64 / 2_f64.powi(33));
        tokio::select! {
            () = log.nudged() => {}
            () = sleep(period - jitter) => {}
            () = poll_fn(|cx| pump.topic.poll_joining(cx)) => {}
        }
    }
}

/// Publishes what was read; the end where that is all.
async fn take_in<T: Transport + Send + Sync + 'static>(
    pump: &Pump<T>,
    place: &mut Place,
    view: View,
) -> Result<Option<Result<HeaderMap, Status>>, Status> {
    if let Some(head) = view.head {
        pump.topic.begin(decode_head(&head).ok_or_else(unsound)?);
        place.has_head = true;
    }
    for (offset, envelope) in view.messages {
        if offset <= place.newest {
            continue;
        }
        if offset != place.newest + 1 {
            return Err(too_slow());
        }
        if !is_envelope(&envelope, pump.reply_bytes_max) {
            return Err(unsound());
        }
        if !pump.topic.has_room(1, envelope.len()) {
            pump.topic.tell();
            pump.room(envelope.len()).await;
        }
        let bounds = pump.membership.as_ref().map_or((1, 1), |member| member.bounds);
        place.push(offset, envelope.len(), bounds);
        pump.topic.publish(envelope);
    }
    pump.topic.tell();
    if view.more {
        return Ok(None);
    }
    view.end.map(|end| decode_end(&end).ok_or_else(unsound)).transpose()
}

/// Rides the upstream until its last word, which all are told.
async fn write<T: Transport + Send + Sync + 'static>(
    pump: &Pump<T>,
    member: &Membership,
    log: &Log,
    place: &mut Place,
    goes_on: bool,
) -> Result<Result<HeaderMap, Status>, Unwritten> {
    let (turn, epoch) = (Mutex::new(()), place.epoch);
    let mut writer = Some(Writer { member, log, place, turn: &turn });
    let seats = async {
        loop {
            poll_fn(|cx| pump.topic.poll_joining(cx)).await;
            let _turn = turn.lock().await;
            pump.topic.seat();
        }
    };
    let fed = tokio::select! {
        fed = pump.feed(goes_on, &mut writer) => fed,
        unwritten = member.renew(log, epoch) => return Err(unwritten),
        never = seats => never,
    };
    let end = match fed {
        Ok(trailers) => Ok(trailers),
        Err(Stop::Failed(status)) => Err(status),
        Err(Stop::Unwritten(unwritten)) => return Err(unwritten),
    };
    let encoded = encode_end(&end);
    match member.write(log, epoch, Write { end: Some(&encoded), ..Write::default() }).await {
        Err(Unwritten::Lost) => Err(Unwritten::Lost),
        // It is the upstream's word, whoever hears it.
        Ok(()) | Err(Unwritten::Down) => Ok(end),
    }
}

impl Writer<'_> {
    /// The upstream's initial metadata. Again, of a stream that was opened anew: no effect.
    pub(super) async fn begin(&mut self, head: &HeaderMap) -> Result<(), Unwritten> {
        if self.place.has_head {
            return Ok(());
        }
        let encoded = encode_head(head);
        self.member.write(self.log, self.place.epoch, Write { head: Some(&encoded), ..Write::default() }).await?;
        self.place.has_head = true;
        Ok(())
    }

    /// Publishes what the log has taken.
    pub(super) async fn append(&mut self, topic: &Topic, envelopes: &[Bytes]) -> Result<(), Unwritten> {
        let _turn = self.turn.lock().await;
        let first = self.place.newest + 1;
        let oldest = self.place.oldest_with(envelopes, self.member.bounds);
        let write = Write { messages: (first, envelopes), oldest, ..Write::default() };
        self.member.write(self.log, self.place.epoch, write).await?;
        for (offset, envelope) in (first..).zip(envelopes) {
            self.place.push(offset, envelope.len(), self.member.bounds);
            topic.publish(envelope.clone());
        }
        Ok(())
    }
}

impl Place {
    fn new(epoch: u64) -> Self {
        Self { epoch, newest: 0, lengths: VecDeque::new(), bytes: 0, has_head: false }
    }

    /// The log has none of the messages so far.
    fn forget(&mut self) {
        self.lengths.clear();
        self.bytes = 0;
    }

    fn push(&mut self, offset: u64, length: usize, bounds: (usize, usize)) {
        self.newest = offset;
        self.lengths.push_back(length);
        self.bytes += length;
        for _ in 0..excess(self.lengths.len(), self.bytes, self.lengths.iter().copied(), bounds) {
            self.bytes -= self.lengths.pop_front().unwrap_or_default();
        }
    }

    /// The oldest message that is kept once these are there.
    fn oldest_with(&self, envelopes: &[Bytes], bounds: (usize, usize)) -> u64 {
        let (count, own) = (self.lengths.len() + envelopes.len(), envelopes.iter().map(Bytes::len));
        let bytes = self.bytes + own.clone().sum::<usize>();
        let kept = count - excess(count, bytes, self.lengths.iter().copied().chain(own), bounds);
        self.newest + envelopes.len() as u64 + 1 - kept as u64
    }
}

/// How many of the oldest are too many, of so many messages and bytes; the newest stays.
fn excess(
    count: usize,
    mut bytes: usize,
    lengths: impl Iterator<Item = usize>,
    (messages_max, bytes_max): (usize, usize),
) -> usize {
    let mut excess = 0;
    for length in lengths {
        let left = count - excess;
        if left <= 1 || left <= messages_max && bytes <= bytes_max {
            break;
        }
        excess += 1;
        bytes -= length;
    }
    excess
}

/// Whether it is one whole message, not compressed.
fn is_envelope(bytes: &[u8], message_bytes_max: usize) -> bool {
    let Some((head, message)) = bytes.split_at_checked(PREFIX_BYTES) else { return false };
    message.len() <= message_bytes_max && u32::try_from(message.len()).is_ok_and(|len| head == prefix(len))
}

fn unreachable() -> Status {
    Status::gateway(Code::Unavailable, "the gateway has lost sight of the others that share this stream")
        .with_reason(Reason::UpstreamUnavailable)
        .with_retry_after(RETRY)
}

pub(super) fn broken_off() -> Status {
    Status::gateway(Code::Unavailable, "the stream broke off at the gateway that had it")
        .with_reason(Reason::UpstreamUnavailable)
        .with_retry_after(RETRY)
}

fn too_slow() -> Status {
    Status::gateway(
        Code::Unavailable,
        "the stream is shared, and went on faster than the clients of this gateway took it",
    )
    .with_reason(Reason::SubscriberTooSlow)
    .with_retry_after(RETRY)
}

fn unsound() -> Status {
    Status::gateway(Code::Internal, "what another gateway said of this stream cannot be read")
        .with_reason(Reason::Internal)
}
