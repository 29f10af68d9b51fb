//! One message of a shared stream, and what was made of it: each encoding once, for whoever wants the same. Knows nothing
//! of how any is made.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;
use smallvec::SmallVec;
use tokio::time::Instant;

use super::position::Position;
use crate::{
    config::OutputSettings,
    wire::{PREFIX_BYTES, prefix},
};

/// Beside its bytes, an entry weighs so much.
const OVERHEAD_BYTES: usize = 256;
/// Most encodings that are kept of one message: clients choose among them, and each takes memory.
const ENCODINGS_MAX: usize = 8;

/// A message where it stands in its stream.
pub struct Entry {
    position: Position,
    /// When it was published.
    at: Instant,
    envelope: Bytes,
    encodings: Mutex<SmallVec<[(Format, Bytes); 2]>>,
}

/// What an encoding depends on beside the message. Who compares two has made them of the same things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// What is known of the method changes with what is served.
    pub generation: u64,
    pub route: u32,
    pub framing: u8,
    pub output: OutputSettings,
}

impl Entry {
    /// `envelope`: in memory of its own.
    pub(super) fn new(position: Position, envelope: Bytes) -> Self {
        Self { position, at: Instant::now(), envelope, encodings: Mutex::default() }
    }

    pub fn position(&self) -> Position {
        self.position
    }

    pub(super) fn at(&self) -> Instant {
        self.at
    }

    /// In protobuf, where the envelope is not compressed.
    pub fn message(&self) -> Bytes {
        self.envelope.slice(PREFIX_BYTES.min(self.envelope.len())..)
    }

    /// The message as gRPC frames it.
    pub fn envelope(&self) -> Bytes {
        self.envelope.clone()
    }

    /// What the message takes of memory before anything is made of it.
    pub(super) fn weight(&self) -> usize {
        self.envelope.len() + OVERHEAD_BYTES
    }

    /// The same of a message of so many bytes.
    pub(super) fn weight_of(message_bytes: usize) -> usize {
        PREFIX_BYTES + message_bytes + OVERHEAD_BYTES
    }

    /// An encoding of the message, and how many bytes it took if it had to be made and is kept. Who wants the same at the
    /// same time waits for it.
    ///
    /// # Errors
    /// What `make` fails with; nothing is kept of it.
    pub fn encoded<E>(
        &self,
        format: Format,
        make: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(Bytes, usize), E> {
        let mut encodings = self.encodings.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, bytes)) = encodings.iter().find(|(made, _)| *made == format) {
            return Ok((bytes.clone(), 0));
        }
        let mut out = Vec::with_capacity(2 * self.envelope.len());
        make(&mut out)?;
        // No larger than it is: it stays.
        let bytes = Bytes::from(out.into_boxed_slice());
        if encodings.len() >= ENCODINGS_MAX {
            return Ok((bytes, 0));
        }
        encodings.push((format, bytes.clone()));
        let len = bytes.len();
        Ok((bytes, len))
    }
}

/// A message as gRPC frames it, in memory of its own: a slice would hold all that came with it.
pub(super) fn envelope(message: &[u8]) -> Bytes {
    with_flags(0, message)
}

/// The same of one that has flags.
pub(super) fn with_flags(flags: u8, message: &[u8]) -> Bytes {
    // Messages are held to limits far below what an envelope can hold.
    let mut prefix = prefix(u32::try_from(message.len()).unwrap_or(u32::MAX));
    prefix[0] = flags;
    let mut envelope = Vec::with_capacity(PREFIX_BYTES + message.len());
    envelope.extend_from_slice(&prefix);
    envelope.extend_from_slice(message);
    envelope.into()
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Entry").field(&self.position).finish()
    }
}
