//! Server-Sent Events (WHATWG HTML §9.2; PROTOCOLS §5).

use std::{io::Write, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::{
    codec::{Binding, Codec, OutputError},
    share::Position,
    status::{Code, Reason, Status},
};

pub const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The event id that says: this stream is over, do not come back.
pub const END_ID: &str = "~end";

/// The type of the last event.
const STATUS_EVENT: &str = "status";

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

/// The query parameter that stands for the header, as polyfills of EventSource have it.
pub const QUERY_EVENT_ID: &str = "lastEventId";

/// Longest event id, and longest name, in bytes; what comes back in a header has to fit there beside the others.
const TEXT_BYTES_MAX: usize = 1024;

/// Where a client that comes back stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LastEvent {
    /// It comes for the first time, or saw no event with an id.
    None,
    /// The stream had ended: 204 stops a browser for good (WHATWG HTML §9.2.3).
    End,
    /// The id, as its backend gave it.
    Id(String),
    /// A place in a shared stream.
    Shared(Position),
}

impl LastEvent {
    /// Of the header, or of the parameter where there is no header: polyfills send what they have of either.
    ///
    /// # Errors
    /// 400 for what no event had for its id: other bytes than UTF-8, control characters, over 1 KiB, or a mark of the
    /// gateway's that is none.
    pub fn of(headers: &HeaderMap, parameter: Option<&str>) -> Result<Self, Status> {
        let header = match headers.get(&LAST_EVENT_ID) {
            Some(value) => Some(std::str::from_utf8(value.as_bytes()).map_err(|_| forged("is not UTF-8"))?),
            None => None,
        };
        let id = header.or(parameter).unwrap_or_default();
        if id.len() > TEXT_BYTES_MAX + 1 {
            return Err(forged("is longer than any that was sent"));
        }
        if id.chars().any(char::is_control) {
            return Err(forged("has a control character"));
        }
        match id.strip_prefix('~') {
            _ if id.is_empty() => Ok(Self::None),
            _ if id == END_ID => Ok(Self::End),
            None => Ok(Self::Id(id.to_owned())),
            Some(own) if own.starts_with('~') => Ok(Self::Id(own.to_owned())),
            Some(own) => Position::parse(own).map(Self::Shared).ok_or_else(|| forged("is none that was sent")),
        }
    }
}

/// An event's id for a backend that takes it as metadata.
///
/// # Errors
/// 400 for other characters than gRPC's metadata holds.
pub fn to_metadata(id: &str) -> Result<HeaderValue, Status> {
    HeaderValue::from_str(id).ok().filter(|_| id.is_ascii()).ok_or_else(|| forged("is not ASCII"))
}

fn forged(what: &'static str) -> Status {
    Status::client(Code::InvalidArgument, format!("last-event-id: it {what}"))
        .with_reason(Reason::InvalidHeader)
        .with_violation("last-event-id", what)
}

/// Writes a message as an event, but for its data's end: what the route says of its id and its name, and `data: `.
///
/// # Errors
/// An id or a name that no line can hold, or no header bring back: a client would come back elsewhere than it left.
///
/// `position`: of a message of a shared stream, whose id is ours.
pub(super) fn begin_event(
    codec: &Codec,
    binding: &Binding,
    wire: &[u8],
    position: Option<Position>,
    out: &mut Vec<u8>,
) -> Result<(), OutputError> {
    match position {
        Some(position) => write_position(position, out),
        None => line(b"id: ", out, |out| binding.event_id(codec, wire, out), |id| id.starts_with(b"~"))?,
    }
    let is_ours = |name: &[u8]| name.starts_with(b"~") || name == STATUS_EVENT.as_bytes();
    line(b"event: ", out, |out| binding.event_name(codec, wire, out), is_ours)?;
    out.extend_from_slice(BEFORE);
    Ok(())
}

fn write_position(position: Position, out: &mut Vec<u8>) {
    // Writing to a vector never fails.
    let _ = writeln!(out, "id: ~{position}");
}

/// What stands in place of messages that are not known any more. A client that comes back from here misses nothing that
/// follows.
pub(super) fn write_gap(position: Option<Position>, out: &mut Vec<u8>) {
    if let Some(position) = position {
        write_position(position, out);
    }
    out.extend_from_slice(b"event: ~gap\ndata: {\"reason\":\"HISTORY_GONE\"}\n\n");
}

/// What stands in place of messages that were dropped because the client is too slow.
pub(super) fn write_skipped(count: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"event: ~gap\ndata: {\"reason\":\"MESSAGES_DROPPED\",\"count\":");
    out.extend_from_slice(itoa::Buffer::new().format(count).as_bytes());
    out.extend_from_slice(b"}\n\n");
}

/// Writes a field of an event, unless its value is empty. One that could be taken for the gateway's own gets a `~` in front.
fn line(
    field: &[u8],
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), OutputError>,
    is_ours: impl FnOnce(&[u8]) -> bool,
) -> Result<(), OutputError> {
    let start = out.len();
    out.extend_from_slice(field);
    let from = out.len();
    write(out)?;
    let value = out.get(from..).unwrap_or_default();
    if value.is_empty() {
        out.truncate(start);
        return Ok(());
    }
    if value.len() > TEXT_BYTES_MAX || value.iter().any(u8::is_ascii_control) || value != value.trim_ascii() {
        return Err(OutputError::new(
            "an event's id or name that is over 1 KiB, has control characters, or begins or ends with a space",
        ));
    }
    if is_ours(value) {
        out.insert(from, b'~');
    }
    out.push(b'\n');
    Ok(())
}

/// An event's id, before its data.
pub(super) fn write_id(id: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"id: ");
    out.extend_from_slice(id.as_bytes());
    out.push(b'\n');
}

/// The last event: the call's status, with an id that stops the browser where coming back makes no sense.
pub(super) fn write_end(outcome: Result<(), &Status>, codec: &Codec, out: &mut Vec<u8>) {
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(STATUS_EVENT.as_bytes());
    out.push(b'\n');
    if outcome.err().is_none_or(|status| !is_worth_retrying(status)) {
        write_id(END_ID, out);
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
    status.code() == Code::Unavailable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_event_is_what_a_backend_called_it() {
        let long = "x".repeat(TEXT_BYTES_MAX);
        let id = |text: &str| Ok(LastEvent::Id(text.to_owned()));
        let refused = |text: &'static str| Err(text);
        for (header, parameter, expected) in [
            (None, None, Ok(LastEvent::None)),
            (Some(""), None, Ok(LastEvent::None)),
            (Some("41"), None, id("41")),
            (None, Some("41"), id("41")),
            (Some("41"), Some("40"), id("41")),
            (Some("~end"), None, Ok(LastEvent::End)),
            (None, Some("~end"), Ok(LastEvent::End)),
            (Some("~~end"), None, id("~end")),
            (Some("~~~"), None, id("~~")),
            (Some("ü 1"), None, id("ü 1")),
            (Some(&long), None, id(&long)),
            (Some("~00000000000000ff-12"), None, Ok(LastEvent::Shared(Position { epoch: 255, offset: 12 }))),
            (Some("~~00000000000000ff-12"), None, id("~00000000000000ff-12")),
            (Some("~00000000000000ff-"), None, refused("last-event-id: it is none that was sent")),
            (Some("~"), None, refused("last-event-id: it is none that was sent")),
            (Some("~ends"), None, refused("last-event-id: it is none that was sent")),
            (None, Some("a\nb"), refused("last-event-id: it has a control character")),
            (Some(&format!("~{long}x")), None, refused("last-event-id: it is longer than any that was sent")),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(header) = header {
                headers.insert(LAST_EVENT_ID, HeaderValue::from_bytes(header.as_bytes()).unwrap());
            }
            let last = LastEvent::of(&headers, parameter).map_err(|status| status.message().to_owned());
            assert_eq!(last, expected.map_err(str::to_owned), "{header:?} {parameter:?}");
        }
        let headers = [(LAST_EVENT_ID, HeaderValue::from_bytes(b"\xff").unwrap())].into_iter().collect();
        assert!(LastEvent::of(&headers, None).is_err());
    }

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
