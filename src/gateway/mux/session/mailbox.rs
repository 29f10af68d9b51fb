//! What POSTs bring to the sessions of the process. A session lives on the worker that its GET came to, and a POST may come to
//! any other: both look into one mailbox, which holds what one POST brought and no more. Knows nothing of frames.

use std::{
    collections::HashMap,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use aws_lc_rs::rand;
use bytes::Bytes;

use crate::{
    dialect::{
        DecodeError, RequestDecoder,
        mux::{Form, SessionId},
    },
    status::{Code, Reason, Status},
};

/// The sessions of the process. Clones are the same.
#[derive(Clone, Default)]
pub(in crate::gateway) struct Sessions(Arc<Mutex<HashMap<SessionId, Arc<Mailbox>>>>);

impl Sessions {
    /// Begins a session where there are fewer than `sessions_max`.
    ///
    /// # Errors
    /// UNAVAILABLE where there are as many.
    pub(super) fn open(&self, form: Form, sessions_max: usize) -> Result<(SessionId, Inbox), Status> {
        let mut random = [0; 16];
        rand::fill(&mut random).map_err(|_| {
            Status::gateway(Code::Internal, "the system gives no random bytes").with_reason(Reason::Internal)
        })?;
        let (id, mailbox) = (SessionId::new(random), Arc::new(Mailbox { form, state: Mutex::default() }));
        let mut sessions = self.lock();
        if sessions.len() >= sessions_max {
            return Err(Status::gateway(Code::Unavailable, "the gateway has as many sessions as it takes")
                .with_reason(Reason::Overloaded)
                .with_retry_after(Duration::from_secs(1)));
        }
        sessions.insert(id, mailbox.clone());
        Ok((id, Inbox { sessions: self.clone(), id, mailbox, reading: None }))
    }

    /// # Errors
    /// NOT_FOUND for a session that is not there, or not any more.
    pub(super) fn find(&self, id: &SessionId) -> Result<Arc<Mailbox>, Status> {
        self.lock().get(id).cloned().ok_or_else(unknown)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SessionId, Arc<Mailbox>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the POSTs of one session bring their frames.
pub(super) struct Mailbox {
    form: Form,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The number of the POST that was taken last; 0 before the first.
    sequence: u64,
    /// A POST is in progress.
    is_posting: bool,
    unread: Unread,
    is_over: bool,
    /// Why the session is over, where the POST in progress is at fault.
    fault: Option<Status>,
    session: Option<Waker>,
    post: Option<Waker>,
}

/// What is left of the POST that was taken last.
#[derive(Default)]
enum Unread {
    #[default]
    Nothing,
    All(RequestDecoder),
    /// The session is at it.
    Rest,
}

impl Mailbox {
    pub(super) fn form(&self) -> Form {
        self.form
    }

    /// Begins a POST.
    ///
    /// # Errors
    /// ABORTED for one that is not the next, or not alone; NOT_FOUND after the session's end.
    pub(super) fn begin(self: Arc<Self>, sequence: u64) -> Result<Post, Status> {
        let refused = |text: String| Err(Status::client(Code::Aborted, text).with_reason(Reason::SequenceGap));
        let mut state = self.lock();
        if state.is_over {
            return Err(unknown());
        }
        if state.is_posting {
            return refused("another POST of this session is in progress".to_owned());
        }
        let last = state.sequence;
        if sequence != last && sequence.checked_sub(1) != Some(last) {
            return refused(format!("the last POST of this session was number {last}, so this is not {sequence}"));
        }
        state.is_posting = true;
        drop(state);
        Ok(Post { mailbox: self, sequence, is_taken: sequence == last })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A POST in progress; it is no more when this is dropped.
pub(super) struct Post {
    mailbox: Arc<Mailbox>,
    sequence: u64,
    is_taken: bool,
}

impl Post {
    /// Whether its frames were taken when it came for the first time.
    pub(super) fn is_taken(&self) -> bool {
        self.is_taken
    }

    /// Brings the frames, once there is room; ready when the session has read them all. Given up before, they are taken
    /// where they are gone from `frames`.
    ///
    /// # Errors
    /// NOT_FOUND where the session ended before; what is wrong with the frames where it ended for that.
    pub(super) fn poll_deliver(
        &self,
        cx: &mut Context<'_>,
        frames: &mut Option<RequestDecoder>,
    ) -> Poll<Result<(), Status>> {
        let mut state = self.mailbox.lock();
        let is_read = matches!(state.unread, Unread::Nothing);
        if is_read && frames.is_none() {
            return Poll::Ready(Ok(()));
        }
        if state.is_over {
            let fault = state.fault.take().filter(|_| frames.is_none());
            return Poll::Ready(Err(fault.unwrap_or_else(unknown)));
        }
        state.post = Some(cx.waker().clone());
        if is_read && let Some(frames) = frames.take() {
            (state.unread, state.sequence) = (Unread::All(frames), self.sequence);
            let session = state.session.take();
            drop(state);
            wake(session);
        }
        Poll::Pending
    }
}

impl Drop for Post {
    fn drop(&mut self) {
        let mut state = self.mailbox.lock();
        (state.is_posting, state.post) = (false, None);
    }
}

/// The session's side of its mailbox. Dropped, the session is over.
pub(super) struct Inbox {
    sessions: Sessions,
    id: SessionId,
    mailbox: Arc<Mailbox>,
    reading: Option<RequestDecoder>,
}

impl Inbox {
    /// The next frame.
    ///
    /// # Errors
    /// A body that is no frames.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, DecodeError>> {
        loop {
            if let Some(reading) = &mut self.reading {
                match reading.next_piece() {
                    Ok(Some(piece)) => return Poll::Ready(Ok(piece.bytes)),
                    Err(error) => return Poll::Ready(Err(error)),
                    Ok(None) => self.reading = None,
                }
                let mut state = self.mailbox.lock();
                state.unread = Unread::Nothing;
                let post = state.post.take();
                drop(state);
                wake(post);
            }
            let mut state = self.mailbox.lock();
            state.session = Some(cx.waker().clone());
            match mem::take(&mut state.unread) {
                Unread::All(frames) => (self.reading, state.unread) = (Some(frames), Unread::Rest),
                Unread::Rest | Unread::Nothing => return Poll::Pending,
            }
        }
    }

    /// Says that the session is over, and why, where what it reads is at fault. Again: no effect.
    pub(super) fn end(&mut self, fault: Option<Status>) {
        let mut state = self.mailbox.lock();
        if mem::replace(&mut state.is_over, true) {
            return;
        }
        state.fault = fault;
        // Not read any more, and so never taken whole.
        if !matches!(state.unread, Unread::Nothing) {
            state.unread = Unread::Rest;
        }
        let post = state.post.take();
        drop(state);
        wake(post);
        self.reading = None;
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.sessions.lock().remove(&self.id);
        self.end(None);
    }
}

/// Called without the lock: whoever is woken may look at once.
fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

fn unknown() -> Status {
    Status::client(Code::NotFound, "there is no such session here, or not any more").with_reason(Reason::SessionUnknown)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use futures_util::FutureExt;

    use super::*;
    use crate::dialect::BodyKind;

    fn frames(body: &'static str) -> Option<RequestDecoder> {
        let mut decoder = RequestDecoder::new(BodyKind::Lines, 100);
        decoder.push(Bytes::from_static(body.as_bytes())).unwrap();
        decoder.end();
        Some(decoder)
    }

    fn deliver(post: &Post, frames: &mut Option<RequestDecoder>) -> Option<Result<(), (Code, Option<Reason>)>> {
        let ready = poll_fn(|cx| post.poll_deliver(cx, frames)).now_or_never();
        ready.map(|done| done.map_err(|status| (status.code(), status.reason())))
    }

    fn next(inbox: &mut Inbox) -> Option<Bytes> {
        poll_fn(|cx| inbox.poll_next(cx)).now_or_never().map(Result::unwrap)
    }

    fn begin(mailbox: &Arc<Mailbox>, sequence: u64) -> Result<Post, (Code, Option<Reason>)> {
        mailbox.clone().begin(sequence).map_err(|status| (status.code(), status.reason()))
    }

    const GAP: (Code, Option<Reason>) = (Code::Aborted, Some(Reason::SequenceGap));
    const UNKNOWN: (Code, Option<Reason>) = (Code::NotFound, Some(Reason::SessionUnknown));

    #[test]
    fn posts_come_one_at_a_time_in_order_and_one_that_comes_again_has_no_effect() {
        let sessions = Sessions::default();
        let (id, mut inbox) = sessions.open(Form::Json, 1).unwrap();
        let mailbox = sessions.find(&id).ok().unwrap();
        for sequence in [2, u64::MAX] {
            assert_eq!(begin(&mailbox, sequence).err(), Some(GAP), "{sequence}");
        }
        let post = begin(&mailbox, 1).ok().unwrap();
        assert_eq!(begin(&mailbox, 1).err(), Some(GAP), "in progress");
        let mut first = frames("a\nb\n");
        assert_eq!(deliver(&post, &mut first), None, "not read yet");
        assert!(first.is_none());
        assert_eq!(next(&mut inbox).as_deref(), Some(&b"a"[..]));
        assert_eq!(deliver(&post, &mut first), None, "not read to its end");
        drop(post);

        // Its answer was lost: it waits for the same, and brings nothing.
        let again = begin(&mailbox, 1).ok().unwrap();
        assert!(again.is_taken());
        assert_eq!(deliver(&again, &mut None), None);
        assert_eq!(next(&mut inbox).as_deref(), Some(&b"b"[..]));
        assert_eq!(next(&mut inbox), None);
        assert_eq!(deliver(&again, &mut None), Some(Ok(())));
        drop(again);
        for sequence in [0, 3] {
            assert_eq!(begin(&mailbox, sequence).err(), Some(GAP), "{sequence}");
        }
    }

    #[test]
    fn what_is_not_read_holds_up_the_next_post_which_is_not_taken_before() {
        let sessions = Sessions::default();
        let (id, mut inbox) = sessions.open(Form::Json, 1).unwrap();
        let mailbox = sessions.find(&id).ok().unwrap();
        let first = begin(&mailbox, 1).ok().unwrap();
        assert_eq!(deliver(&first, &mut frames("a")), None);
        drop(first);
        let second = begin(&mailbox, 2).ok().unwrap();
        let mut body = frames("b");
        assert_eq!(deliver(&second, &mut body), None);
        assert!(body.is_some(), "no room");
        drop(second);
        // Given up before it was taken: the same number brings it again.
        let second = begin(&mailbox, 2).ok().unwrap();
        assert!(!second.is_taken());
        assert_eq!([next(&mut inbox), next(&mut inbox)], [Some(Bytes::from_static(b"a")), None]);
        assert_eq!(deliver(&second, &mut body), None);
        assert_eq!([next(&mut inbox), next(&mut inbox)], [Some(Bytes::from_static(b"b")), None]);
        assert_eq!(deliver(&second, &mut body), Some(Ok(())));
    }

    #[test]
    fn a_session_that_is_over_is_not_found_and_its_post_hears_why() {
        let invalid = Status::client(Code::InvalidArgument, "no frame").with_reason(Reason::InvalidMessage);
        let told = (Code::InvalidArgument, Some(Reason::InvalidMessage));
        for (fault, expected) in [(None, UNKNOWN), (Some(invalid), told)] {
            let sessions = Sessions::default();
            let (id, mut inbox) = sessions.open(Form::Json, 1).unwrap();
            assert!(sessions.open(Form::Json, 1).is_err_and(|status| status.http_status() == 503), "one too many");
            let mailbox = sessions.find(&id).ok().unwrap();
            let post = begin(&mailbox, 1).ok().unwrap();
            let mut body = frames("a\nb");
            assert_eq!(deliver(&post, &mut body), None);
            assert!(next(&mut inbox).is_some());
            inbox.end(fault);
            assert_eq!(deliver(&post, &mut body), Some(Err(expected)));
            drop(post);
            assert_eq!(begin(&mailbox, 2).err(), Some(UNKNOWN));
            drop(inbox);
            assert!(sessions.find(&id).is_err());
            assert!(sessions.open(Form::Json, 1).is_ok(), "its place is free");
        }
    }

    #[test]
    fn frames_that_were_read_are_taken_whatever_becomes_of_the_session_then() {
        let sessions = Sessions::default();
        let (id, mut inbox) = sessions.open(Form::Json, 1).unwrap();
        let post = begin(&sessions.find(&id).ok().unwrap(), 1).ok().unwrap();
        let mut body = frames("a");
        assert_eq!(deliver(&post, &mut body), None);
        assert_eq!([next(&mut inbox), next(&mut inbox)], [Some(Bytes::from_static(b"a")), None]);
        drop(inbox);
        assert_eq!(deliver(&post, &mut body), Some(Ok(())));
    }
}
