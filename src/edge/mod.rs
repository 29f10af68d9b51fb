//! What is decided from heads alone: client address, origin, CORS, deadlines, headers, request id. Never sees payload
//! bytes.

mod client;
mod condition;
mod cors;
mod credentials;
mod deadline;
mod headers;
mod peer;
mod query;
mod request_id;
mod tickets;
mod strict;
mod warning;

pub use client::Client;
pub use condition::Condition;
pub use cors::{Cors, OriginCheck, is_unasked};
pub use credentials::{bearer, expiry};
pub use deadline::{REQUEST_TIMEOUT, TIMEOUTS, requested_timeout};
pub use headers::{HeaderRules, MIRROR, response_status};
pub use peer::Peer;
pub use query::take_parameter;
pub use request_id::{REQUEST_ID, RequestId, RequestIds};
pub use strict::check_head;
pub use tickets::{NoTicket, TICKET, Tickets, is_ticket};
pub use warning::warning;
