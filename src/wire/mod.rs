//! What stands round messages on the wire: envelopes, lengths, timeouts, `-bin` metadata, percent-encoded messages.
//!
//! Pure functions on bytes; knows nothing of connections or of HTTP dialects.

mod delimited;
mod envelope;
mod messages;
pub mod metadata;
mod pieces;
pub mod timeout;
pub mod varint;

pub use delimited::{Delimited, DelimitedError};
pub use envelope::{
    COMPRESSED, Counter, Deframer, Envelope, EnvelopeError, PREFIX_BYTES, close_envelope, open_envelope, prefix,
};
pub use messages::{Coded, Message, MessageError, Messages};
