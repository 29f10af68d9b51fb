//! A call's record as one line of JSON. Knows nothing of where lines go.

use std::{
    fmt::{self, Write},
    time::{Duration, SystemTime},
};

use super::CallRecord;
use crate::status::Origin;

/// Whether the record is a warning: the gateway's own fault, or an upstream that failed and did not just say no.
pub(super) fn is_fault(record: &CallRecord<'_>) -> bool {
    match record.origin {
        None | Some(Origin::Client) => false,
        Some(Origin::Gateway) => true,
        Some(Origin::Upstream) => record.code.http_status().is_server_error(),
    }
}

/// Appends the line, with its end.
pub(super) fn write(buffer: &mut Vec<u8>, record: &CallRecord<'_>, now: SystemTime) {
    buffer.extend_from_slice(b"{\"time\":\"");
    time(buffer, now);
    buffer.extend_from_slice(b"\",\"level\":\"");
    buffer.extend_from_slice(if is_fault(record) { b"warn" } else { b"info" });
    buffer.push(b'"');
    for (key, value) in [
        ("method", record.method),
        ("upstream", record.upstream),
        ("dialect", record.dialect),
        ("code", record.code.name()),
        ("origin", record.origin.map_or("", origin)),
        ("request_id", record.request_id),
    ] {
        if !value.is_empty() {
            text(buffer, key, format_args!("{value}"));
        }
    }
    if let Some(peer) = record.peer {
        text(buffer, "peer", format_args!("{peer}"));
    }
    milliseconds(buffer, record.duration);
    for (key, value) in [
        ("http_status", u64::from(record.http_status)),
        ("messages_in", record.messages_in),
        ("messages_out", record.messages_out),
        ("bytes_in", record.bytes_in),
        ("bytes_out", record.bytes_out),
    ] {
        name(buffer, key);
        number(buffer, value);
    }
    if !record.unknown_field_paths.is_empty() {
        texts(buffer, "unknown_fields", record.unknown_field_paths);
    }
    if let Some(cause) = record.cause {
        text(buffer, "error", format_args!("{}", Chain(cause)));
    }
    buffer.extend_from_slice(b"}\n");
}

fn origin(origin: Origin) -> &'static str {
    match origin {
        Origin::Client => "client",
        Origin::Gateway => "gateway",
        Origin::Upstream => "upstream",
    }
}

/// A failure and what was behind it: `this: that: that`.
struct Chain<'a>(&'a dyn std::error::Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}

fn name(buffer: &mut Vec<u8>, key: &str) {
    buffer.extend_from_slice(b",\"");
    buffer.extend_from_slice(key.as_bytes());
    buffer.extend_from_slice(b"\":");
}

fn text(buffer: &mut Vec<u8>, key: &str, value: fmt::Arguments<'_>) {
    name(buffer, key);
    string(buffer, value, TEXT_BYTES_MAX);
}

fn texts(buffer: &mut Vec<u8>, key: &str, values: &[String]) {
    name(buffer, key);
    for (index, value) in values.iter().enumerate() {
        buffer.push(if index == 0 { b'[' } else { b',' });
        string(buffer, format_args!("{value}"), TEXT_BYTES_MAX / values.len());
    }
    buffer.push(b']');
}

fn string(buffer: &mut Vec<u8>, value: fmt::Arguments<'_>, room: usize) {
    buffer.push(b'"');
    let mut escaped = Escaped { buffer, room };
    if escaped.write_fmt(value).is_err() {
        buffer.extend_from_slice("…".as_bytes());
    }
    buffer.push(b'"');
}

/// The inside of a JSON string (RFC 8259 §7); refuses what goes beyond its room.
struct Escaped<'a> {
    buffer: &'a mut Vec<u8>,
    room: usize,
}

impl Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let fits = text.floor_char_boundary(self.room);
        let mut rest = text.get(..fits).unwrap_or_default();
        while let Some(at) = rest.bytes().position(|byte| byte < 0x20 || matches!(byte, b'"' | b'\\' | 0x7f)) {
            let (plain, tail) = rest.split_at(at);
            self.buffer.extend_from_slice(plain.as_bytes());
            self.escape(tail.bytes().next().unwrap_or_default());
            rest = tail.get(1..).unwrap_or_default();
        }
        self.buffer.extend_from_slice(rest.as_bytes());
        self.room -= fits;
        if fits < text.len() { Err(fmt::Error) } else { Ok(()) }
    }
}

impl Escaped<'_> {
    fn escape(&mut self, byte: u8) {
        match byte {
            b'"' => self.buffer.extend_from_slice(b"\\\""),
            b'\\' => self.buffer.extend_from_slice(b"\\\\"),
            b'\n' => self.buffer.extend_from_slice(b"\\n"),
            other => {
                let hex = |nibble: u8| if nibble < 10 { b'0' + nibble } else { b'a' + nibble - 10 };
                self.buffer.extend_from_slice(&[b'\\', b'u', b'0', b'0', hex(other >> 4), hex(other & 15)]);
            }
        }
    }
}

fn number(buffer: &mut Vec<u8>, value: u64) {
    buffer.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Milliseconds with three decimals.
fn milliseconds(buffer: &mut Vec<u8>, duration: Duration) {
    name(buffer, "duration_ms");
    let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    number(buffer, micros / 1000);
    buffer.push(b'.');
    digits(buffer, micros % 1000, 3);
}

/// RFC 3339 with milliseconds, in UTC.
pub fn rfc3339(time: SystemTime) -> String {
    let mut text = Vec::new();
    self::time(&mut text, time);
    text.into_iter().map(char::from).collect()
}

fn time(buffer: &mut Vec<u8>, now: SystemTime) {
    let since = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = date(days);
    for (value, width, end) in [
        (year, 4, b'-'),
        (month, 2, b'-'),
        (day, 2, b'T'),
        (second / 3600, 2, b':'),
        (second / 60 % 60, 2, b':'),
        (second % 60, 2, b'.'),
        (u64::from(since.subsec_millis()), 3, b'Z'),
    ] {
        digits(buffer, value, width);
        buffer.push(end);
    }
}

/// Year, month and day in the Gregorian calendar of a day after 1970-01-01.
fn date(days: u64) -> (u64, u64, u64) {
    // Counted from 0000-03-01, a year's leap day is its last day, and months have the lengths of a straight line.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let year = era * 400 + year_of_era;
    if month < 10 { (year, month + 3, day) } else { (year + 1, month - 9, day) }
}

fn digits(buffer: &mut Vec<u8>, value: u64, width: u32) {
    for place in (0..width).rev() {
        let digit = value / 10_u64.pow(place) % 10;
        buffer.push(b'0' + u8::try_from(digit).unwrap_or(0));
    }
}

/// Longest text of one field, in bytes before escaping.
const TEXT_BYTES_MAX: usize = 1024;

#[cfg(test)]
mod tests {
    use super::{super::tests::record, *};
    use crate::status::{Code, Status};

    fn line(record: &CallRecord<'_>) -> String {
        let mut buffer = Vec::new();
        write(&mut buffer, record, SystemTime::UNIX_EPOCH + Duration::from_millis(1_794_000_000_042));
        String::from_utf8(buffer).unwrap()
    }

    #[test]
    fn a_call_that_ended_well_is_one_line() {
        let expected = concat!(
            r#"{"time":"2026-11-06T21:20:00.042Z","level":"info","method":"demo.Liker/Like","upstream":"liker","#,
            r#""dialect":"json","code":"OK","request_id":"r1","peer":"192.0.2.1","duration_ms":1.500,"http_status":200,"#,
            r#""messages_in":1,"messages_out":2,"bytes_in":10,"bytes_out":200}"#,
            "\n"
        );
        assert_eq!(line(&record("demo.Liker/Like", Code::Ok)), expected);
    }

    #[test]
    fn a_fault_is_a_warning_with_all_that_was_behind_it() {
        let refused = std::io::Error::other("connection refused");
        let status = Status::upstream(Code::Unavailable, "no endpoint could be reached").with_cause(refused);
        let record =
            CallRecord { origin: Some(Origin::Upstream), cause: Some(&status), ..record("a.B/C", status.code()) };
        let line = line(&record);
        assert!(line.contains(r#""level":"warn""#) && line.contains(r#""origin":"upstream""#), "{line}");
        let error = r#""error":"UNAVAILABLE: no endpoint could be reached: connection refused"}"#;
        assert!(line.contains(error), "{line}");
    }

    #[test]
    fn unknown_fields_are_named_and_share_the_room_of_one_text() {
        let paths = [String::from("a.\"b\""), "é".repeat(2000)];
        let line = line(&CallRecord { unknown_fields: 3, unknown_field_paths: &paths, ..record("a.B/C", Code::Ok) });
        let json: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(json["unknown_fields"], serde_json::json!(["a.\"b\"", format!("{}…", "é".repeat(256))]));
    }

    #[test]
    fn nothing_in_a_record_can_break_its_line() {
        let wild = "a\"b\\c\nd\u{0}e\u{1b}[31mf\u{7f}é\u{2028}";
        let line = line(&CallRecord { request_id: wild, ..record("a.B/C", Code::Ok) });
        assert_eq!(line.matches('\n').count(), 1);
        assert!(!line.contains('\u{1b}'));
        let json: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(json["request_id"], wild);
    }

    #[test]
    fn long_text_is_cut_at_a_character() {
        let long = "é".repeat(2000);
        let line = line(&CallRecord { request_id: &long, ..record("a.B/C", Code::Ok) });
        let json: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(json["request_id"], format!("{}…", "é".repeat(512)));
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (days, expected) in [
            (0, (1970, 1, 1)),
            (58, (1970, 2, 28)),
            (59, (1970, 3, 1)),
            (11_016, (2000, 2, 29)),
            (11_017, (2000, 3, 1)),
            (20_772, (2026, 11, 15)),
            (47_540, (2100, 2, 28)),
            (47_541, (2100, 3, 1)),
        ] {
            assert_eq!(date(days), expected, "{days}");
        }
    }
}
