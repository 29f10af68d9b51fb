//! What a connection owes its peer: pongs, the close handshake, and an end when the peer is silent (RFC 6455 §5.5, §7).
//!
//! Time comes in as `now`, answers go out into a buffer. Knows nothing of the call that rides on the connection.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    close::Close,
    encode::{write_close, write_ping, write_pong},
    extension::PermessageDeflate,
    fault::Fault,
    inflate::Inflater,
    reassembly::{Decoder, Event, Kind, Message, Rules},
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
    /// Inflated, where it came compressed.
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
    /// Where it was agreed that messages may be compressed.
    inflater: Option<Inflater>,
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
    /// `message_bytes_max`: of a message, both as it comes and as it is when it is inflated.
    pub fn new(message_bytes_max: usize, compression: Option<PermessageDeflate>, timing: Timing, now: Instant) -> Self {
        Self {
            decoder: Decoder::new(Rules { message_bytes_max, compression: compression.is_some() }),
            inflater: compression.map(|agreed| Inflater::new(agreed, message_bytes_max)),
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
                (Event::Message(message), State::Open) => {
                    return Some(match self.inflate(message) {
                        Ok(message) => Incoming::Message(message),
                        Err(fault) => self.fail(fault, out),
                    });
                }
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

    /// A text is judged when it is inflated (RFC 6455 §8.1).
    fn inflate(&mut self, message: Message) -> Result<Message, Fault> {
        let inflater = self.inflater.as_mut().filter(|_| message.compressed);
        let Some(inflater) = inflater else { return Ok(message) };
        let payload = inflater.inflate(&message.payload)?;
        if message.kind == Kind::Text && simdutf8::basic::from_utf8(&payload).is_err() {
            return Err(Fault::TextNotUtf8);
        }
        Ok(Message { kind: message.kind, payload, compressed: false })
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
mod tests;
