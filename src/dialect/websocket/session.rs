//! What a connection owes its peer: pongs, the close handshake, and an end when the peer is silent (RFC 6455 §5.5, §7).
//!
//! Time comes in as `now`, answers go out into a buffer. Knows nothing of the call that rides on the connection.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    close::Close,
    encode::{write_close, write_ping, write_pong},
    fault::Fault,
    reassembly::{Decoder, Event, Message, Rules},
};

/// When a peer is asked for a sign of life, and when it is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// Between pings; zero: there are none.
    pub ping: Duration,
    /// Longest silence after a ping, and longest wait for the peer's half of the close handshake.
    pub pong_timeout: Duration,
}

/// What the peer sent that is not settled by an answer of this module's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    Message(Message),
    /// The peer sends nothing any more. Where it began the close handshake, it waits for [`Session::close`]: with
    /// [`Close::echo`], or with the call's end where that is to be awaited.
    Close(Option<Close>),
    /// The peer broke the protocol. The close frame for it is in the buffer; after it the connection ends.
    Fault(Fault),
}

/// Whether it is worth waiting for the peer.
#[must_use]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liveness {
    Alive,
    /// No pong, or no close frame, in time. The connection ends without more ado.
    Lost,
}

/// The server's end of one connection.
#[derive(Debug)]
pub struct Session {
    decoder: Decoder,
    timing: Timing,
    state: State,
    next_ping: Instant,
    /// A ping is out; by then there must be a sign of life.
    pong_due: Option<Instant>,
    /// Pings sent; the payload of the last one.
    pings: u32,
}

/// RFC 6455 §7.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    /// The peer closed and waits for us.
    PeerClosed,
    /// We closed and wait for the peer.
    WeClosed {
        due: Instant,
    },
    /// Nothing goes either way any more.
    Closed,
}

impl Session {
    pub fn new(rules: Rules, timing: Timing, now: Instant) -> Self {
        Self {
            decoder: Decoder::new(rules),
            timing,
            state: State::Open,
            next_ping: now + timing.ping,
            pong_due: None,
            pings: 0,
        }
    }

    /// Adds bytes as they were read. They are a sign of life even before they are a frame: a pong waits behind the
    /// message that the peer is sending.
    pub fn push(&mut self, piece: &[u8], now: Instant) {
        self.postpone(now);
        self.decoder.push(piece);
    }

    /// The next thing that concerns the call, none before more bytes arrive. Pings are answered into `out` on the way.
    pub fn next_incoming(&mut self, out: &mut Vec<u8>) -> Option<Incoming> {
        loop {
            if matches!(self.state, State::Closed | State::PeerClosed) {
                return None;
            }
            let event = match self.decoder.next_event() {
                Ok(event) => event?,
                Err(fault) => return Some(self.fail(fault, out)),
            };
            match (event, self.state) {
                (Event::Close(close), State::Open) => {
                    self.state = State::PeerClosed;
                    return Some(Incoming::Close(close));
                }
                (Event::Close(close), _) => {
                    self.state = State::Closed;
                    return Some(Incoming::Close(close));
                }
                (Event::Message(message), State::Open) => return Some(Incoming::Message(message)),
                (Event::Ping(payload), State::Open) => write_pong(&payload, out),
                (Event::Pong(payload), State::Open) => self.take_pong(&payload),
                // Nothing follows our close frame, and no call is left to take messages.
                (Event::Message(_) | Event::Ping(_) | Event::Pong(_), _) => {}
            }
        }
    }

    /// Closes, or answers the peer's close: appends a close frame, unless there was one.
    pub fn close(&mut self, close: Option<&Close>, now: Instant, out: &mut Vec<u8>) {
        self.state = match self.state {
            State::Open => {
                write_close(close, out);
                State::WeClosed { due: now + self.timing.pong_timeout }
            }
            State::PeerClosed => {
                write_close(close, out);
                State::Closed
            }
            state @ (State::WeClosed { .. } | State::Closed) => state,
        };
    }

    /// True while messages may be written.
    pub fn is_writable(&self) -> bool {
        matches!(self.state, State::Open | State::PeerClosed)
    }

    /// True when nothing more is read or written: flush, and end the connection. A server ends it first
    /// (RFC 6455 §7.1.1).
    pub fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// When [`Session::on_time`] wants to be called.
    pub fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Open if self.timing.ping.is_zero() => None,
            State::Open => Some(self.pong_due.unwrap_or(self.next_ping)),
            State::WeClosed { due } => Some(due),
            State::PeerClosed | State::Closed => None,
        }
    }

    /// Pings a peer when it is time, and gives up one that is silent.
    pub fn on_time(&mut self, now: Instant, out: &mut Vec<u8>) -> Liveness {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return Liveness::Alive;
        }
        if self.state != State::Open || self.pong_due.is_some() {
            self.state = State::Closed;
            return Liveness::Lost;
        }
        self.pings = self.pings.wrapping_add(1);
        write_ping(&self.pings.to_be_bytes(), out);
        self.next_ping = now + self.timing.ping;
        self.pong_due = Some(now + self.timing.pong_timeout);
        Liveness::Alive
    }

    /// Gives the peer its time anew. Whoever holds back reading, or is still getting bytes out to a slow reader, says
    /// so here: the peer's pong cannot be seen then.
    pub fn postpone(&mut self, now: Instant) {
        if let Some(due) = &mut self.pong_due {
            *due = now + self.timing.pong_timeout;
        }
    }

    fn take_pong(&mut self, payload: &[u8]) {
        // A pong that answers no ping of ours means nothing (RFC 6455 §5.5.3).
        if *payload == self.pings.to_be_bytes() {
            self.pong_due = None;
        }
    }

    fn fail(&mut self, fault: Fault, out: &mut Vec<u8>) -> Incoming {
        if self.state == State::Open {
            write_close(Some(&fault.to_close()), out);
        }
        self.state = State::Closed;
        Incoming::Fault(fault)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Kind, Opcode, reassembly::testing::frame};
    use super::*;

    const TIMING: Timing = Timing { ping: Duration::from_secs(30), pong_timeout: Duration::from_secs(10) };

    fn secs(start: Instant, secs: u64) -> Instant {
        start + Duration::from_secs(secs)
    }

    fn open() -> (Session, Instant) {
        let now = Instant::now();
        (Session::new(Rules { message_bytes_max: 100, compression: false }, TIMING, now), now)
    }

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out);
        out
    }

    #[test]
    fn each_ping_is_answered_by_its_pong_in_order() {
        let (mut session, now) = open();
        let mut out = Vec::new();
        session.push(&frame(true, Opcode::Ping, b"a"), now);
        session.push(&frame(true, Opcode::Ping, b"b"), now);
        assert_eq!(session.next_incoming(&mut out), None);
        assert_eq!(out, b"\x8a\x01a\x8a\x01b");
    }

    #[test]
    fn a_peer_that_closes_waits_for_the_answer_and_is_read_no_more() {
        let (mut session, now) = open();
        let mut out = Vec::new();
        session.push(&frame(true, Opcode::Close, b"\x03\xe8bye"), now);
        session.push(&frame(true, Opcode::Text, b"late"), now);
        let close = Close::new(1000, "bye");
        assert_eq!(session.next_incoming(&mut out), Some(Incoming::Close(Some(close.clone()))));
        assert_eq!(session.next_incoming(&mut out), None);
        assert!(session.is_writable() && !session.is_closed() && out.is_empty());
        assert_eq!(session.deadline(), None);
        session.close(Close::echo(Some(&close)).as_ref(), now, &mut out);
        assert_eq!(out, b"\x88\x02\x03\xe8");
        assert!(session.is_closed() && !session.is_writable());
        session.close(Some(&Close::ok()), now, &mut out);
        assert_eq!(out.len(), 4, "only one close frame is sent");
    }

    #[test]
    fn after_our_close_messages_and_pings_are_ignored_until_the_peer_closes() {
        let (mut session, now) = open();
        let mut out = Vec::new();
        session.close(Some(&Close::ok()), now, &mut out);
        assert_eq!(out, b"\x88\x02\x03\xe8");
        session.push(&frame(true, Opcode::Text, b"late"), now);
        session.push(&frame(true, Opcode::Ping, b"late"), now);
        assert_eq!(session.next_incoming(&mut out), None);
        assert!(!session.is_writable() && !session.is_closed());
        session.push(&frame(true, Opcode::Close, b""), now);
        assert_eq!(session.next_incoming(&mut out), Some(Incoming::Close(None)));
        assert!(session.is_closed());
        assert_eq!(out.len(), 4);
    }

    #[test]
    fn a_peer_that_does_not_answer_our_close_is_given_up() {
        let (mut session, now) = open();
        let mut out = Vec::new();
        session.close(Some(&Close::ok()), now, &mut out);
        assert_eq!(session.deadline(), Some(secs(now, 10)));
        session.push(&frame(true, Opcode::Text, b"still talking"), secs(now, 9));
        assert_eq!(session.on_time(secs(now, 10), &mut out), Liveness::Lost);
        assert!(session.is_closed());
    }

    #[test]
    fn a_fault_closes_with_its_code_and_nothing_is_read_after_it() {
        let (mut session, now) = open();
        let mut out = Vec::new();
        session.push(b"\x81\x00", now);
        assert_eq!(session.next_incoming(&mut out), Some(Incoming::Fault(Fault::Unmasked)));
        assert_eq!(out, written(|out| write_close(Some(&Close::new(1002, "a frame is not masked")), out)));
        session.push(&frame(true, Opcode::Text, b"late"), now);
        assert_eq!(session.next_incoming(&mut out), None);
        assert!(session.is_closed());
    }

    #[test]
    fn a_silent_peer_is_pinged_and_then_given_up() {
        let (mut session, now) = open();
        let mut out = Vec::new();
        assert_eq!(session.on_time(secs(now, 29), &mut out), Liveness::Alive);
        assert!(out.is_empty());
        assert_eq!(session.deadline(), Some(secs(now, 30)));
        assert_eq!(session.on_time(secs(now, 30), &mut out), Liveness::Alive);
        assert_eq!(out, b"\x89\x04\0\0\0\x01");
        assert_eq!(session.deadline(), Some(secs(now, 40)));
        assert_eq!(session.on_time(secs(now, 39), &mut out), Liveness::Alive);
        assert_eq!(session.on_time(secs(now, 40), &mut out), Liveness::Lost);
        assert!(session.is_closed());
    }

    #[test]
    fn a_pong_settles_its_own_ping_only() {
        let (mut session, now) = open();
        let mut out = Vec::new();
        assert_eq!(session.on_time(secs(now, 30), &mut out), Liveness::Alive);
        session.push(&frame(true, Opcode::Pong, b"other"), secs(now, 31));
        assert_eq!(session.next_incoming(&mut out), None);
        assert_eq!(session.deadline(), Some(secs(now, 41)), "bytes are a sign of life, the pong is still missing");
        session.push(&frame(true, Opcode::Pong, b"\0\0\0\x01"), secs(now, 32));
        assert_eq!(session.next_incoming(&mut out), None);
        assert_eq!(session.deadline(), Some(secs(now, 60)), "the next ping");
    }

    #[test]
    fn a_peer_in_the_middle_of_a_message_is_not_given_up() {
        let (mut session, now) = open();
        let mut out = Vec::new();
        assert_eq!(session.on_time(secs(now, 30), &mut out), Liveness::Alive);
        let message = frame(true, Opcode::Binary, &[7; 50]);
        session.push(&message[..20], secs(now, 39));
        assert_eq!(session.on_time(secs(now, 40), &mut out), Liveness::Alive);
        session.push(&message[20..], secs(now, 48));
        assert!(matches!(session.next_incoming(&mut out), Some(Incoming::Message(Message { kind: Kind::Binary, .. }))));
        session.postpone(secs(now, 55));
        assert_eq!(session.on_time(secs(now, 64), &mut out), Liveness::Alive);
        assert_eq!(session.on_time(secs(now, 65), &mut out), Liveness::Lost);
    }

    #[test]
    fn without_pings_nothing_is_waited_for() {
        let now = Instant::now();
        let timing = Timing { ping: Duration::ZERO, ..TIMING };
        let session = Session::new(Rules { message_bytes_max: 1, compression: false }, timing, now);
        assert_eq!(session.deadline(), None);
    }
}
