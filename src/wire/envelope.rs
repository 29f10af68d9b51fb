//! gRPC's length-prefixed messages (gRPC over HTTP/2, "Length-Prefixed-Message").

use bytes::Bytes;
use thiserror::Error;

use super::pieces::Pieces;

/// The flag of a compressed message.
pub const COMPRESSED: u8 = 1;

/// One byte of flags and four of length, big endian.
pub const PREFIX_BYTES: usize = 5;

/// The prefix of an uncompressed message of `len` bytes; a longer one than 4 GiB cannot be told.
pub fn prefix(len: u32) -> [u8; PREFIX_BYTES] {
    let [a, b, c, d] = len.to_be_bytes();
    [0, a, b, c, d]
}

/// Leaves room for a prefix at the end of `out`, to be filled by [`close_envelope`] when the message is written.
pub fn open_envelope(out: &mut Vec<u8>) -> usize {
    let start = out.len();
    out.extend_from_slice(&[0; PREFIX_BYTES]);
    start
}

/// Writes the prefix of the message that follows `start` up to the end of `out`.
///
/// # Errors
/// The message's length where it does not fit into 32 bits.
pub fn close_envelope(out: &mut [u8], start: usize) -> Result<(), usize> {
    let len = out.len() - start - PREFIX_BYTES;
    let bytes = prefix(u32::try_from(len).map_err(|_| len)?);
    out[start..start + PREFIX_BYTES].copy_from_slice(&bytes);
    Ok(())
}

/// One message as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Bit 0: compressed.
    pub flags: u8,
    pub payload: Bytes,
}

#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum EnvelopeError {
    #[error("a message of {len} bytes is larger than the limit of {max} bytes")]
    TooLarge { len: usize, max: usize },
    #[error("a message's flags are {0:#04x}: compression was not agreed on, or reserved bits are set")]
    Flags(u8),
    #[error("the stream ends within a message")]
    Truncated,
}

/// Cuts a stream of bytes, however it was split, into envelopes.
///
/// Invariant: holds at most one incomplete message of the limit's size, and what was pushed after it.
#[derive(Debug)]
pub struct Deframer {
    pieces: Pieces,
    message_bytes_max: usize,
}

impl Deframer {
    pub fn new(message_bytes_max: usize) -> Self {
        Self { pieces: Pieces::default(), message_bytes_max }
    }

    /// Adds a piece of the stream.
    pub fn push(&mut self, piece: Bytes) {
        self.pieces.push(piece);
    }

    /// The next whole envelope, where it has arrived.
    ///
    /// # Errors
    /// A message over the limit is refused as soon as its prefix has arrived.
    pub fn next_envelope(&mut self) -> Result<Option<Envelope>, EnvelopeError> {
        let available = self.pieces.available();
        let Some((flags, len)) = parse_prefix(available) else {
            self.pieces.hold(0);
            return Ok(None);
        };
        if len > self.message_bytes_max {
            return Err(EnvelopeError::TooLarge { len, max: self.message_bytes_max });
        }
        if available.len() - PREFIX_BYTES < len {
            self.pieces.hold(PREFIX_BYTES + len);
            return Ok(None);
        }
        Ok(Some(Envelope { flags, payload: self.pieces.take(PREFIX_BYTES, len) }))
    }

    /// True between messages.
    pub fn is_empty(&self) -> bool {
        self.pieces.available().is_empty()
    }
}

/// Follows a stream of envelopes that passes through uncut: how many messages, whether any is too large, whether it
/// ends between two.
#[derive(Debug)]
pub struct Counter {
    prefix: [u8; PREFIX_BYTES],
    prefix_len: usize,
    /// Bytes of the current message still to come.
    remaining: usize,
    messages: u64,
    message_bytes_max: usize,
    flags: u8,
}

impl Counter {
    /// Of messages without flags.
    pub fn new(message_bytes_max: usize) -> Self {
        Self { prefix: [0; PREFIX_BYTES], prefix_len: 0, remaining: 0, messages: 0, message_bytes_max, flags: 0 }
    }

    /// Lets messages have these flags.
    pub fn allow(&mut self, flags: u8) {
        self.flags |= flags;
    }

    /// Follows a piece of the stream.
    ///
    /// # Errors
    /// A message that is over the limit or has other flags than it may have, and how much of the piece stands before it;
    /// then [`Counter::is_between`] says whether that, with all before, ends between two messages.
    pub fn push(&mut self, mut piece: &[u8]) -> Result<(), (usize, EnvelopeError)> {
        let (whole, mut sound) = (piece.len(), 0);
        while !piece.is_empty() {
            let body = self.remaining.min(piece.len());
            self.remaining -= body;
            piece = &piece[body..];
            if self.remaining == 0 && self.prefix_len == 0 {
                sound = whole - piece.len();
            }
            let head = (PREFIX_BYTES - self.prefix_len).min(piece.len());
            self.prefix[self.prefix_len..self.prefix_len + head].copy_from_slice(&piece[..head]);
            self.prefix_len += head;
            piece = &piece[head..];
            if self.prefix_len == PREFIX_BYTES {
                let (flags, len) = parse_prefix(&self.prefix).unwrap_or_default();
                if head == PREFIX_BYTES {
                    self.prefix_len = 0;
                }
                if flags & !self.flags != 0 {
                    return Err((sound, EnvelopeError::Flags(flags)));
                }
                if len > self.message_bytes_max {
                    return Err((sound, EnvelopeError::TooLarge { len, max: self.message_bytes_max }));
                }
                self.prefix_len = 0;
                self.remaining = len;
                self.messages += 1;
            }
        }
        Ok(())
    }

    /// Messages begun.
    pub fn messages(&self) -> u64 {
        self.messages
    }

    /// True between messages.
    pub fn is_between(&self) -> bool {
        self.remaining == 0 && self.prefix_len == 0
    }
}

fn parse_prefix(bytes: &[u8]) -> Option<(u8, usize)> {
    let [flags, a, b, c, d, ..] = *bytes else { return None };
    Some((flags, u32::from_be_bytes([a, b, c, d]) as usize))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn framed(messages: &[Vec<u8>]) -> Vec<u8> {
        let mut out = Vec::new();
        for message in messages {
            let start = open_envelope(&mut out);
            out.extend_from_slice(message);
            close_envelope(&mut out, start).unwrap();
        }
        out
    }

    proptest! {
        #[test]
        fn any_cut_gives_the_same_messages(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8),
            cuts in prop::collection::vec(1usize..17, 1..40),
        ) {
            let stream = framed(&messages);
            let mut deframer = Deframer::new(64);
            let mut counter = Counter::new(64);
            let (mut got, mut at, mut turn) = (Vec::new(), 0, 0);
            while at < stream.len() {
                let len = cuts[turn % cuts.len()].min(stream.len() - at);
                counter.push(&stream[at..at + len]).unwrap();
                deframer.push(Bytes::copy_from_slice(&stream[at..at + len]));
                while let Some(envelope) = deframer.next_envelope().unwrap() {
                    got.push(envelope.payload.to_vec());
                }
                (at, turn) = (at + len, turn + 1);
            }
            prop_assert!(deframer.is_empty() && counter.is_between());
            prop_assert_eq!(counter.messages(), messages.len() as u64);
            prop_assert_eq!(got, messages);
        }
    }

    #[test]
    fn a_message_over_the_limit_is_refused_at_its_prefix() {
        let mut deframer = Deframer::new(10);
        deframer.push(Bytes::from_static(&[0, 0, 0, 0, 11]));
        assert_eq!(deframer.next_envelope(), Err(EnvelopeError::TooLarge { len: 11, max: 10 }));
        let refused = EnvelopeError::TooLarge { len: 11, max: 10 };
        assert_eq!(Counter::new(10).push(&[0, 0, 0, 0, 11]), Err((0, refused)));
        assert_eq!(Counter::new(10).push(&[0, 0, 0, 0, 1, b'a', 0, 0, 0, 0, 11]), Err((6, refused)));
    }

    #[test]
    fn a_stream_that_stops_within_a_message_is_not_between() {
        let mut counter = Counter::new(10);
        counter.push(&[0, 0, 0, 0, 2, b'a']).unwrap();
        assert!(!counter.is_between());
        counter.push(b"b").unwrap();
        assert!(counter.is_between());
        counter.push(&[0, 0]).unwrap();
        assert!(!counter.is_between());
    }
}
