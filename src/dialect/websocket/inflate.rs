//! A client's compressed messages → what they stand for (RFC 7692 §7.2.2). Knows nothing of frames and texts.

use std::cell::Cell;

use bytes::Bytes;
use flate2::{Decompress, FlushDecompress, Status};

use super::{extension::PermessageDeflate, fault::Fault};

/// How far back DEFLATE refers at most, in bytes.
const WINDOW_BYTES: usize = 32 << 10;

/// Ends every message, and is left out on the way (RFC 7692 §7.2.1).
pub(super) const TAIL: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

/// The shortest stream there is: an empty last block. Read behind a message, it ends where the message was whole.
const END: [u8; 2] = [0x03, 0x00];

/// Blocks may be marked as the last one of a stream (RFC 7692 §7.2.3.4), each of which costs a new start: so many are
/// free, and then one for each so many bytes.
const STREAMS_MAX: usize = 16;
const STREAM_BYTES: usize = 1 << 10;

/// Room for the beginning of a message.
const ROOM_BYTES_MIN: usize = 256;
const ROOM_BYTES_MAX: usize = 64 << 10;

thread_local! {
    /// The thread's one, of 46 KiB. No connection holds any: it is needed only while a message is inflated.
    static ENGINE: Cell<Option<Decompress>> = const { Cell::new(None) };
}

/// Inflates the messages of one connection.
///
/// Invariant: holds the last bytes of what was inflated, at most the client's window, and only where the client refers
/// to them.
#[derive(Debug)]
pub(super) struct Inflater {
    message_bytes_max: usize,
    window_bytes: usize,
    history: Vec<u8>,
}

impl Inflater {
    /// `message_bytes_max`: of a message that is inflated.
    pub(super) fn new(agreed: PermessageDeflate, message_bytes_max: usize) -> Self {
        let window_bytes = match (agreed.client_context_takeover, agreed.client_max_window_bits) {
            (false, _) => 0,
            (true, None) => WINDOW_BYTES,
            (true, Some(bits)) => 1usize.checked_shl(bits.into()).unwrap_or(WINDOW_BYTES).min(WINDOW_BYTES),
        };
        Self { message_bytes_max, window_bytes, history: Vec::new() }
    }

    /// What a whole message stands for.
    ///
    /// # Errors
    /// More bytes than may be, as soon as that many are inflated; what is not DEFLATE, or ends within a block.
    pub(super) fn inflate(&mut self, coded: &[u8]) -> Result<Bytes, Fault> {
        if coded.is_empty() {
            return Ok(Bytes::new()); // Not what RFC 7692 §7.2.3.6 has for an empty message, but nothing else either.
        }
        // A new one where the thread is ending.
        let kept = ENGINE.try_with(Cell::take).ok().flatten();
        let mut run = Run {
            engine: kept.unwrap_or_else(|| Decompress::new(false)),
            history: &self.history,
            bytes_max: self.message_bytes_max,
            plain: Vec::new(),
        };
        let outcome = run.message(coded);
        let Run { engine, plain, .. } = run;
        let _ = ENGINE.try_with(|kept| kept.set(Some(engine)));
        outcome?;
        self.remember(&plain);
        Ok(plain.into())
    }

    /// Keeps what the next message may refer to.
    fn remember(&mut self, plain: &[u8]) {
        let (_, tail) = plain.split_at(plain.len().saturating_sub(self.window_bytes));
        let len = (self.history.len() + tail.len()).min(self.window_bytes);
        let kept = len - tail.len();
        self.history.drain(..self.history.len() - kept);
        if len > self.history.capacity() {
            self.history.reserve_exact(len.next_power_of_two() - kept);
        }
        self.history.extend_from_slice(tail);
    }
}

/// One message.
struct Run<'a> {
    engine: Decompress,
    /// What stood before it.
    history: &'a [u8],
    bytes_max: usize,
    plain: Vec<u8>,
}

impl Run<'_> {
    fn message(&mut self, coded: &[u8]) -> Result<(), Fault> {
        let mut rest = coded;
        let mut streams_left = STREAMS_MAX + coded.len() / STREAM_BYTES;
        self.start()?;
        while self.read(&mut rest)? == Status::StreamEnd {
            if rest.is_empty() {
                return Ok(()); // Nothing is left that would have to be flushed.
            }
            streams_left = streams_left.checked_sub(1).ok_or(Fault::NotDeflate)?;
            self.start()?;
        }
        // The tail is an empty block, and stands between two blocks.
        let (len, mut tail) = (self.plain.len(), TAIL.as_slice());
        let mut status = self.read(&mut tail)?;
        if tail.is_empty() && status != Status::StreamEnd {
            status = self.read(&mut END.as_slice())?;
        }
        let is_whole = tail.is_empty() && status == Status::StreamEnd && self.plain.len() == len;
        if is_whole { Ok(()) } else { Err(Fault::NotDeflate) }
    }

    /// Begins a stream, which may refer to what stood before it.
    fn start(&mut self) -> Result<(), Fault> {
        self.engine.reset(false);
        let (_, near) = self.plain.split_at(self.plain.len().saturating_sub(WINDOW_BYTES));
        let (_, far) = self.history.split_at((self.history.len() + near.len()).saturating_sub(WINDOW_BYTES));
        for window in [far, near].into_iter().filter(|window| !window.is_empty()) {
            self.engine.set_dictionary(window).map_err(|_| Fault::NotDeflate)?;
        }
        Ok(())
    }

    /// Takes all of `input`, or as far as the stream goes.
    fn read(&mut self, input: &mut &[u8]) -> Result<Status, Fault> {
        loop {
            self.make_room(input.len());
            let (in_before, len_before) = (self.engine.total_in(), self.plain.len());
            let status = self
                .engine
                .decompress_vec(input, &mut self.plain, FlushDecompress::None)
                .map_err(|_| Fault::NotDeflate)?;
            if self.plain.len() > self.bytes_max {
                return Err(Fault::TooLarge { len: self.plain.len() as u64, max: self.bytes_max });
            }
            let taken = (self.engine.total_in() - in_before) as usize;
            *input = input.get(taken..).unwrap_or_default();
            let has_room = self.plain.len() < self.plain.capacity();
            if status == Status::StreamEnd || (input.is_empty() && has_room) {
                return Ok(status);
            }
            if taken == 0 && self.plain.len() == len_before && has_room {
                return Err(Fault::NotDeflate);
            }
        }
    }

    /// Twice as much as before, and never more than one byte beyond what may come, to see that it does.
    fn make_room(&mut self, input_len: usize) {
        let len = self.plain.len();
        if len < self.plain.capacity() {
            return;
        }
        // Most of what is sent shrinks to a quarter or so.
        let first = input_len.saturating_mul(4).clamp(ROOM_BYTES_MIN, ROOM_BYTES_MAX);
        let room = len.max(first).min(self.bytes_max.saturating_add(1).saturating_sub(len)).max(1);
        self.plain.reserve_exact(room);
    }
}

#[cfg(test)]
mod tests;
