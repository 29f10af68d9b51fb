//! Server-Sent Events (WHATWG HTML §9.2; PROTOCOLS §5).

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::{codec::Codec, status::Status};

pub const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The event id that says: this stream is over, do not come back.
pub const END_ID: &str = "~end";

/// What stands before a message. Data is one line: JSON as it is written here has no line breaks.
pub(super) const BEFORE: &[u8] = b"data: ";
/// A blank line dispatches the event.
pub(super) const AFTER: &[u8] = b"\n\n";
/// A comment that keeps an idle stream alive.
pub(super) const HEARTBEAT: &[u8] = b":\n\n";

/// The reconnect delay told to the browser.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry(Duration);

impl Retry {
    /// Between one and two times `base`: `random` (any number) spreads the clients of a restarted gateway.
    pub fn jittered(base: Duration, random: u32) -> Self {
        Self(base + base.mul_f64(f64::from(random) / f64::from(u32::MAX)))
    }

    pub(super) fn write(self, out: &mut Vec<u8>) {
        let millis = u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX);
        out.extend_from_slice(b"retry: ");
        out.extend_from_slice(itoa::Buffer::new().format(millis).as_bytes());
        out.extend_from_slice(AFTER);
    }
}

/// Whether a browser comes back to a stream that had ended: 204 stops it for good (WHATWG HTML §9.2.3).
pub fn is_ended(headers: &HeaderMap) -> bool {
    headers.get(&LAST_EVENT_ID).is_some_and(|id| id == END_ID)
}

/// The id of the last event that the browser saw, as its backend gave it: one that began with `~` had another put in front.
pub fn last_event_id(headers: &HeaderMap) -> Option<HeaderValue> {
    let id = headers.get(&LAST_EVENT_ID)?;
    match id.as_bytes().strip_prefix(b"~") {
        Some(own) => HeaderValue::from_bytes(own).ok(),
        None => Some(id.clone()),
    }
}

/// The last event: the call's status, with an id that stops the browser where coming back makes no sense.
pub(super) fn write_end(outcome: Result<(), &Status>, codec: &Codec, out: &mut Vec<u8>) {
    out.extend_from_slice(b"event: status\n");
    if outcome.err().is_none_or(|status| !is_worth_retrying(status)) {
        out.extend_from_slice(b"id: ");
        out.extend_from_slice(END_ID.as_bytes());
        out.push(b'\n');
    }
    out.extend_from_slice(BEFORE);
    match outcome {
        Ok(()) => out.extend_from_slice(b"{\"code\":0,\"message\":\"\",\"details\":[]}"),
        Err(status) => super::error_json(status, codec, out),
    }
    out.extend_from_slice(AFTER);
}

/// Whether a browser that comes back may fare better.
pub(super) fn is_worth_retrying(status: &Status) -> bool {
    status.code() == crate::status::Code::Unavailable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_retry_is_between_one_and_two_times_the_base() {
        for (random, expected) in [(0, "retry: 2000\n\n"), (u32::MAX, "retry: 4000\n\n"), (1 << 31, "retry: 3000\n\n")]
        {
            let mut out = Vec::new();
            Retry::jittered(Duration::from_secs(2), random).write(&mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
