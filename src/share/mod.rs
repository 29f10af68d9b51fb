//! One upstream stream for all who make the same call, and what becomes of those who read slowly. Knows nothing of dialects,
//! routes and JSON.
//!
//! `ring` is what a stream remembers and where everybody stands in it, as a pure state machine; `topic` is the ring behind
//! a lock, with who waits; `pump` is the task that feeds it from the upstream; `subscriber` reads it as a call's replies;
//! `hub` knows the topics of the process, and `budget` what they hold together. `alone` is a call that shares with nobody,
//! whose upstream is read on: a topic of its own, with one reader.

mod alone;
mod budget;
mod entry;
mod hub;
mod member;
mod position;
mod pump;
mod ring;
#[cfg(test)]
mod simulation;
mod subscriber;
#[cfg(test)]
mod tests;
mod topic;

pub use alone::{Alone, ReadingOn, read_on};
pub use budget::ConnectionBudget;
pub use entry::{Entry, Format};
pub use hub::{Hub, Key};
pub use position::{Position, Start};
pub use subscriber::{Download, Event, Upload, open};

use std::{net::IpAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use http::uri::PathAndQuery;

use crate::{
    call::CallHead,
    config::{self, SlowReader},
    drain::Drain,
    telemetry::Recorder,
};

/// Makes the request (an envelope) that goes on after a message; none where nothing in it says how.
pub type Resume = Arc<dyn Fn(&[u8], &[u8]) -> Option<Bytes> + Send + Sync>;

/// Who reads a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The method's.
    pub path: PathAndQuery,
    pub client: Option<IpAddr>,
}

/// A reader that has not taken yet what it could.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlowReading {
    pub caller: Caller,
    pub slow_reader: SlowReader,
    pub is_shared: bool,
    pub messages: u64,
    pub bytes: u64,
    /// Of the oldest of these messages.
    pub age: Duration,
}

/// What it takes to share a call.
pub struct Sharing<T> {
    pub hub: Hub,
    /// Opens the upstream stream, if nobody has yet.
    pub transport: T,
    /// Of the upstream stream: all of its metadata is in the key.
    pub head: CallHead,
    /// Of this call alone.
    pub own: Own,
    pub settings: Arc<config::Share>,
    pub slow_reader: SlowReader,
    /// By name; the same method of another upstream is another stream.
    pub upstream: String,
    /// How a stream that failed goes on; none: its subscribers fail with it.
    pub resume: Option<Resume>,
    pub recorder: Recorder,
    pub drain: Drain,
    pub request_bytes_max: usize,
    pub reply_bytes_max: usize,
}

/// What differs between calls that share a stream.
pub struct Own {
    pub client: Option<IpAddr>,
    pub start: Start,
    pub deadline: Option<tokio::time::Instant>,
    /// How the call's own request is compressed, as its metadata says.
    pub encodings: http::HeaderMap,
    /// What the upstream is told of whoever comes first; no part of the key.
    pub first: http::HeaderMap,
}
