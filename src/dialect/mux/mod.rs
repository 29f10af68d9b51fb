//! `tidegate.mux`: many calls on one WebSocket, or in one session over plain HTTP (PROTOCOLS §10). Frames ↔ bytes, and what
//! a client may send when. Knows nothing of sockets, routes and upstreams.

mod frame;
mod framing;
mod ledger;
#[cfg(test)]
mod ledger_tests;
mod reply;
mod session;

pub use frame::{Form, Frame, FrameError, Open};
pub use framing::Framing;
pub use ledger::{CREDIT_FIRST, Ledger, Opened, Taken};
pub use reply::{
    write_close, write_credit, write_go_away, write_head, write_message, write_ping, write_pong, write_renew,
    write_session, write_status,
};
pub use session::{PostHead, SessionId};
