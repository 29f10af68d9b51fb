//! Copies of calls for a second upstream. What it cannot take in time is dropped: nothing here makes the call itself wait.
//!
//! A copy is a task of its own behind a bounded channel. It is seen from the call only where bytes go up: [`Upload`] hands
//! them to both.

use std::{
    future::{Future, poll_fn},
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::HeaderValue;
use tokio::{
    sync::{mpsc, oneshot},
    time::sleep,
};

use crate::{
    call::{CallHead, Closed, Replies, ReplyEvent, Requests, Transport, UnaryReply},
    edge::MIRROR,
    status::Status,
    telemetry::{Mirrored, Recorder},
    upstream::{self, Pool},
};

/// Most copies under way on one worker.
const COPIES_MAX: usize = 256;
/// Most bytes of messages that wait for mirrors on one worker.
const COPY_BYTES_MAX: usize = 16 << 20;
/// Most of them that wait for one copy, which may be stuck and must leave the others room. A single piece may be larger.
const SHARE_BYTES_MAX: usize = COPY_BYTES_MAX / 8;
/// Most pieces of one call that wait for its mirror.
const PIECES_MAX: usize = 1024;
/// How long a mirror may go on when the call has ended: it may be a little slower.
const LINGER: Duration = Duration::from_secs(5);

/// One worker's room for copies. Clones share it.
#[derive(Clone, Default)]
pub(super) struct Room(Arc<Taken>);

#[derive(Default)]
struct Taken {
    copies: AtomicUsize,
    bytes: AtomicUsize,
}

/// Where one call goes: to its upstream, and a copy to the mirror.
#[derive(Clone)]
pub(super) struct Direct {
    pub(super) pool: Pool,
    pub(super) mirror: Option<Mirror>,
}

/// The way to a mirror.
#[derive(Clone)]
pub(super) struct Mirror {
    pub(super) pool: Pool,
    pub(super) room: Room,
    pub(super) recorder: Recorder,
}

/// The way up, to both.
pub(super) struct Upload {
    call: upstream::Upload,
    /// None: there is none, it has all, or it is cut off.
    copy: Option<Copy>,
}

/// The way down, from the upstream alone.
pub(super) struct Download {
    call: upstream::Download,
    /// Dropped when the call has ended.
    _ended: Option<oneshot::Sender<()>>,
}

impl Transport for Direct {
    type Requests = Upload;
    type Replies = Download;

    async fn unary(&self, head: CallHead, envelope: Bytes, reply_bytes_max: usize) -> Result<UnaryReply, Status> {
        let copy = self.mirror.as_ref().and_then(|mirror| mirror.begin(&head));
        let _ended = copy.map(|(mut copy, ended)| {
            if copy.send(&envelope) {
                copy.finish();
            }
            ended
        });
        self.pool.unary(head, envelope, reply_bytes_max).await
    }

    async fn open(&self, head: CallHead) -> Result<(Upload, Download), Status> {
        // Kept only for a copy.
        let copied = self.mirror.as_ref().map(|mirror| (mirror, head.clone()));
        let (requests, replies) = self.pool.open(head).await?;
        let (copy, ended) = copied.and_then(|(mirror, head)| mirror.begin(&head)).unzip();
        Ok((Upload { call: requests, copy }, Download { call: replies, _ended: ended }))
    }
}

impl Requests for Upload {
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Closed>> {
        self.call.poll_ready(cx)
    }

    fn send(&mut self, envelopes: Bytes) {
        self.copy.take_if(|copy| !copy.send(&envelopes));
        self.call.send(envelopes);
    }

    fn finish(&mut self) {
        if let Some(copy) = self.copy.take() {
            copy.finish();
        }
        self.call.finish();
    }

    fn send_last(&mut self, envelopes: Bytes) {
        if let Some(mut copy) = self.copy.take()
            && copy.send(&envelopes)
        {
            copy.finish();
        }
        self.call.send_last(envelopes);
    }
}

impl Replies for Download {
    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<ReplyEvent> {
        self.call.poll_event(cx)
    }
}

/// What is to be sent to a mirror. Dropped before [`Copy::finish`], it cuts the copy off.
struct Copy {
    pieces: mpsc::Sender<Piece>,
    /// Dropped unused, it ends the copy's task wherever that waits.
    whole: oneshot::Sender<()>,
    share: Arc<Share>,
}

enum Piece {
    Data(Held),
    Finish,
}

impl Copy {
    fn new(room: Room) -> (Self, mpsc::Receiver<Piece>, oneshot::Receiver<()>) {
        let (pieces, taken) = mpsc::channel(PIECES_MAX);
        let (whole, is_whole) = oneshot::channel();
        (Self { pieces, whole, share: Arc::new(Share { room, bytes: AtomicUsize::new(0) }) }, taken, is_whole)
    }

    /// False where there is no room.
    fn send(&mut self, bytes: &Bytes) -> bool {
        self.share.hold(bytes.clone()).is_some_and(|held| self.pieces.try_send(Piece::Data(held)).is_ok())
    }

    fn finish(self) {
        // Without room for it the copy is cut off.
        if self.pieces.try_send(Piece::Finish).is_ok() {
            let _ = self.whole.send(());
        }
    }
}

impl Mirror {
    /// Begins a copy, where there is room; it ends soon after the sender is dropped.
    fn begin(&self, head: &CallHead) -> Option<(Copy, oneshot::Sender<()>)> {
        let Some(place) = self.room.enter() else {
            self.recorder.mirrored(Mirrored::Dropped);
            return None;
        };
        let mut head = head.clone();
        head.metadata.insert(MIRROR, HeaderValue::from_static("1"));
        let (to_send, pieces, whole) = Copy::new(self.room.clone());
        let (ended, end) = oneshot::channel();
        let (pool, recorder) = (self.pool.clone(), self.recorder.clone());
        tokio::spawn(async move {
            let _place = place;
            recorder.mirrored(timely(copy(&pool, head, pieces), whole, end).await);
        });
        Some((to_send, ended))
    }
}

/// A copy's outcome, or that it was cut off: before it was whole, or because the call has long ended.
async fn timely(
    copy: impl Future<Output = Mirrored>,
    whole: oneshot::Receiver<()>,
    end: oneshot::Receiver<()>,
) -> Mirrored {
    tokio::select! {
        outcome = copy => outcome,
        Err(_) = whole => Mirrored::Cut,
        () = async { let _ = end.await; sleep(LINGER).await } => Mirrored::Cut,
    }
}

/// Sends one copy, and drops what comes back.
async fn copy(pool: &Pool, head: CallHead, mut pieces: mpsc::Receiver<Piece>) -> Mirrored {
    let Ok((mut requests, mut replies)) = pool.open(head).await else { return Mirrored::Cut };
    let up = async {
        // Counted until the mirror's window has taken it.
        let mut _held = None;
        loop {
            match pieces.recv().await {
                Some(Piece::Data(held)) => {
                    if poll_fn(|cx| requests.poll_ready(cx)).await == Err(Closed) {
                        // Why, comes as the replies' end.
                        return std::future::pending().await;
                    }
                    requests.send(held.bytes.clone());
                    _held = Some(held);
                }
                Some(Piece::Finish) => {
                    requests.finish();
                    return std::future::pending().await;
                }
                None => return Mirrored::Cut,
            }
        }
    };
    let down = async {
        loop {
            match poll_fn(|cx| replies.poll_event(cx)).await {
                ReplyEvent::Head(_) | ReplyEvent::Data(_) => {}
                // A reason is the gateway's own: the mirror itself said nothing.
                ReplyEvent::End(Err(status)) if status.reason().is_some() => return Mirrored::Cut,
                ReplyEvent::End(_) => return Mirrored::Sent,
            }
        }
    };
    let (up, down) = (pin!(up), pin!(down));
    tokio::select! {
        outcome = up => outcome,
        outcome = down => outcome,
    }
}

impl Room {
    fn enter(&self) -> Option<Place> {
        let place = Place(self.clone());
        (self.0.copies.fetch_add(1, Ordering::Relaxed) < COPIES_MAX).then_some(place)
    }
}

/// What one copy takes of the room.
struct Share {
    room: Room,
    bytes: AtomicUsize,
}

impl Share {
    fn hold(self: &Arc<Self>, bytes: Bytes) -> Option<Held> {
        let len = bytes.len();
        let own = self.bytes.fetch_add(len, Ordering::Relaxed);
        let all = self.room.0.bytes.fetch_add(len, Ordering::Relaxed);
        let held = Held { bytes, share: self.clone() };
        let fits = (own == 0 || own + len <= SHARE_BYTES_MAX) && all + len <= COPY_BYTES_MAX;
        fits.then_some(held)
    }
}

/// A copy under way.
struct Place(Room);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.0.copies.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Bytes that wait.
struct Held {
    bytes: Bytes,
    share: Arc<Share>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.share.bytes.fetch_sub(self.bytes.len(), Ordering::Relaxed);
        self.share.room.0.bytes.fetch_sub(self.bytes.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::Instant;

    use super::*;

    #[test]
    fn a_worker_has_so_much_room_and_gets_it_back() {
        let room = Room::default();
        let places: Vec<_> = (0..COPIES_MAX).map_while(|_| room.enter()).collect();
        assert_eq!(places.len(), COPIES_MAX);
        assert!(room.enter().is_none());
        drop(places);
        assert!(room.enter().is_some());

        let copies = [0; 3].map(|_| Copy::new(room.clone()).0);
        let hold = |copy: usize, bytes: &Bytes| copies[copy].share.hold(bytes.clone());
        let half = Bytes::from(vec![0; COPY_BYTES_MAX / 2]);
        let halves = [hold(0, &half), hold(1, &half)];
        assert!(halves.iter().all(Option::is_some));
        assert!(hold(2, &Bytes::from_static(b"x")).is_none());
        drop(halves);
        assert!(hold(2, &half).is_some());
    }

    #[test]
    fn a_copy_that_is_stuck_leaves_the_others_room() {
        let room = Room::default();
        let (stuck, other) = (Copy::new(room.clone()).0, Copy::new(room.clone()).0);
        let piece = Bytes::from(vec![0; 64 << 10]);
        let held: Vec<_> = (0..1000).map_while(|_| stuck.share.hold(piece.clone())).collect();
        assert_eq!(held.len() * piece.len(), SHARE_BYTES_MAX);
        assert!(other.share.hold(piece.clone()).is_some());
        drop(held);
        assert!(stuck.share.hold(piece).is_some());
        assert_eq!(room.0.bytes.load(Ordering::Relaxed), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_copy_that_is_cut_off_ends_at_once_wherever_it_waits() {
        for (is_whole, lasts) in [(false, Duration::ZERO), (true, LINGER)] {
            let (copy, _pieces, whole) = Copy::new(Room::default());
            let (ended, end) = oneshot::channel();
            match is_whole {
                true => copy.finish(),
                false => drop(copy),
            }
            drop(ended);
            let start = Instant::now();
            assert_eq!(timely(pending(), whole, end).await, Mirrored::Cut);
            assert_eq!(start.elapsed(), lasts, "{is_whole}");
        }
    }

    #[test]
    fn a_copy_whose_mirror_takes_nothing_has_no_more_room_at_last() {
        let (mut copy, mut taken, _whole) = Copy::new(Room::default());
        let sent = (0..PIECES_MAX + 1).take_while(|_| copy.send(&Bytes::from_static(b"x"))).count();
        assert_eq!(sent, PIECES_MAX);
        // What found no room is not counted either.
        assert_eq!(copy.share.room.0.bytes.load(Ordering::Relaxed), PIECES_MAX);
        while taken.try_recv().is_ok() {}
        assert_eq!(copy.share.room.0.bytes.load(Ordering::Relaxed), 0);
    }
}
