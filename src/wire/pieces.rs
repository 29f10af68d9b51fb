//! The buffer of a stream that is cut into messages. Knows nothing of where a message ends.

use bytes::{Buf, Bytes, BytesMut};

/// What has arrived of a stream and was not taken yet.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    held: BytesMut,
    /// A piece that begins at a message and was not copied.
    whole: Bytes,
}

impl Pieces {
    pub(super) fn push(&mut self, piece: Bytes) {
        if self.held.is_empty() && self.whole.is_empty() {
            self.whole = piece;
            return;
        }
        self.hold(0);
        self.held.extend_from_slice(&piece);
    }

    pub(super) fn available(&self) -> &[u8] {
        if self.held.is_empty() { &self.whole } else { &self.held }
    }

    /// Takes `len` bytes behind a prefix of `prefix` bytes; both have arrived.
    pub(super) fn take(&mut self, prefix: usize, len: usize) -> Bytes {
        if self.held.is_empty() {
            self.whole.advance(prefix);
            self.whole.split_to(len)
        } else {
            self.held.advance(prefix);
            self.held.split_to(len).freeze()
        }
    }

    /// Keeps an incomplete message in a buffer that can grow, with room for `expected` bytes, so that the piece's memory
    /// is let go.
    pub(super) fn hold(&mut self, expected: usize) {
        if !self.whole.is_empty() {
            self.held.extend_from_slice(&std::mem::take(&mut self.whole));
        }
        self.held.reserve(expected.saturating_sub(self.held.len()));
    }
}
