//! `tidegate.mux`: many calls on one WebSocket (PROTOCOLS §10). Frames ↔ bytes, and what a client may send when. Knows
//! nothing of sockets, routes and upstreams.

mod frame;
mod ledger;
#[cfg(test)]
mod ledger_tests;
mod reply;

pub use frame::{Form, Frame, FrameError, Open};
pub use ledger::{CREDIT_FIRST, Ledger, Opened, Taken};
pub use reply::{write_credit, write_go_away, write_head, write_message, write_pong, write_status};
