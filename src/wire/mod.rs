//! What gRPC puts on the wire beside protobuf: envelopes, timeouts, `-bin` metadata, percent-encoded messages.
//!
//! Pure functions on bytes; knows nothing of connections or of HTTP dialects.

mod envelope;
pub mod metadata;
pub mod timeout;
pub mod varint;

pub use envelope::{Counter, Deframer, Envelope, EnvelopeError, PREFIX_BYTES, close_envelope, open_envelope, prefix};
