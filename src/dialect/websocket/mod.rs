//! WebSocket (RFC 6455) without I/O: the opening handshake, frames, messages, closing, and what a connection owes its
//! peer. Bytes, buffers and `now` are passed in; knows nothing of calls, codecs and sockets.
//!
//! A server reads with a [`Session`] and writes with a [`Writer`] into the buffer that it flushes:
//! [`Handshake`] first, then [`Session::push`], [`Session::next_incoming`] until it has nothing more, and
//! [`Session::on_time`] whenever [`Session::deadline`] has come. Nobody reads on while that buffer is well filled, so
//! that pongs cannot heap up: a frame that is answered is longer than its answer.

mod close;
mod encode;
mod extension;
mod fault;
mod frame;
mod handshake;
mod inflate;
mod mask;
mod reassembly;
mod session;
mod utf8;
mod writer;

pub use close::{Close, code};
pub use encode::{open_frame, write_close, write_message, write_ping, write_pong};
pub use extension::PermessageDeflate;
pub use fault::Fault;
pub use frame::{CONTROL_BYTES_MAX, Header, Opcode};
pub use handshake::{Handshake, Subprotocol, is_asked_for};
pub use reassembly::{Decoder, Event, Kind, Message, Rules};
pub use session::{Incoming, Liveness, Session, Timing};
pub use writer::Writer;
