//! What no route may see: paths that two parties could read differently. Knows nothing of routes.

use thiserror::Error;

use crate::status::{Code, Reason, Status};

/// What is wrong with a request's path, and at which byte.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the path is not valid at byte {at}: {fault}")]
pub struct PathError {
    pub at: usize,
    pub fault: PathFault,
}

#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum PathFault {
    #[error("it does not begin with `/`")]
    NoSlash,
    #[error("an empty segment, `//`")]
    EmptySegment,
    #[error("a backslash, which some servers read as `/`; as data it is `%5C`")]
    Backslash,
    #[error("a segment that is `.` or `..`, plain or percent-encoded")]
    DotSegment,
    #[error("`%` without two hexadecimal digits")]
    PercentEncoding,
    #[error("bytes that are not UTF-8 once they are percent-decoded")]
    Utf8,
    #[error("a control character, plain or percent-encoded")]
    Control,
}

impl PathError {
    /// INVALID_ARGUMENT, for the client.
    pub fn into_status(self) -> Status {
        Status::client(Code::InvalidArgument, self.to_string()).with_reason(Reason::InvalidPath)
    }
}

/// Refuses a path (without its query) that servers are known to read in different ways (RFC 3986 §3.3 and §6.2.2), so
/// that what the gateway looked at is what the backend gets. What is percent-encoded otherwise, `%2F` and `%5C` too, is
/// data.
///
/// # Errors
/// The first fault, and where.
pub fn check_path(path: &str) -> Result<(), PathError> {
    let Some(rest) = path.strip_prefix('/') else { return Err(PathError { at: 0, fault: PathFault::NoSlash }) };
    let mut at = 1;
    let mut segments = rest.split('/').peekable();
    while let Some(segment) = segments.next() {
        if segment.is_empty() && segments.peek().is_some() {
            // Points at the second slash of the two.
            return Err(PathError { at, fault: PathFault::EmptySegment });
        }
        check_segment(segment.as_bytes()).map_err(|(offset, fault)| PathError { at: at + offset, fault })?;
        at += segment.len() + 1;
    }
    Ok(())
}

fn check_segment(segment: &[u8]) -> Result<(), (usize, PathFault)> {
    let plain = segment.iter().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'%' | b'\\'));
    if plain {
        return if is_dots(segment.iter().copied()) { Err((0, PathFault::DotSegment)) } else { Ok(()) };
    }
    let mut utf8 = Utf8::default();
    let mut at = 0;
    while let Some(&byte) = segment.get(at) {
        if byte == b'\\' {
            return Err((at, PathFault::Backslash));
        }
        let (byte, len) = unescape(segment.get(at..).unwrap_or_default()).ok_or((at, PathFault::PercentEncoding))?;
        if byte.is_ascii_control() {
            return Err((at, PathFault::Control));
        }
        utf8.push(byte).map_err(|()| (at, PathFault::Utf8))?;
        at += len;
    }
    if !utf8.is_between() {
        return Err((at, PathFault::Utf8));
    }
    if is_dots(super::captures::decoded(segment)) {
        return Err((0, PathFault::DotSegment));
    }
    Ok(())
}

fn is_dots(mut bytes: impl Iterator<Item = u8>) -> bool {
    matches!((bytes.next(), bytes.next(), bytes.next()), (Some(b'.'), None | Some(b'.'), None))
}

/// The first byte of `bytes`, percent-decoded, and the length that it takes.
fn unescape(bytes: &[u8]) -> Option<(u8, usize)> {
    match *bytes {
        [b'%', high, low, ..] => {
            let high = char::from(high).to_digit(16)?;
            let low = char::from(low).to_digit(16)?;
            Some(((high * 16 + low) as u8, 3))
        }
        [b'%', ..] | [] => None,
        [byte, ..] => Some((byte, 1)),
    }
}

/// Follows UTF-8 byte by byte (RFC 3629 §4), so that nothing is decoded into memory.
#[derive(Default)]
struct Utf8 {
    /// Continuation bytes still to come.
    due: u8,
    /// The range that the next of them must lie in, where it is narrower than `80..=BF`.
    next: Option<(u8, u8)>,
}

impl Utf8 {
    fn push(&mut self, byte: u8) -> Result<(), ()> {
        if self.due > 0 {
            let (low, high) = self.next.take().unwrap_or((0x80, 0xbf));
            self.due -= 1;
            return if (low..=high).contains(&byte) { Ok(()) } else { Err(()) };
        }
        (self.due, self.next) = match byte {
            0x00..=0x7f => (0, None),
            0xc2..=0xdf => (1, None),
            0xe0 => (2, Some((0xa0, 0xbf))),
            0xed => (2, Some((0x80, 0x9f))),
            0xe1..=0xef => (2, None),
            0xf0 => (3, Some((0x90, 0xbf))),
            0xf1..=0xf3 => (3, None),
            0xf4 => (3, Some((0x80, 0x8f))),
            _ => return Err(()),
        };
        Ok(())
    }

    fn is_between(&self) -> bool {
        self.due == 0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_that_could_be_read_differently_are_refused_where_it_happens() {
        use PathFault::*;
        for (path, expected) in [
            ("/", None),
            ("/a/b/", None),
            ("/a%2Fb/%5C/%252e%252e", None),
            ("/.a/..b/a../...", None),
            ("/%E4%BD%A0/ä", None),
            ("", Some((0, NoSlash))),
            ("*", Some((0, NoSlash))),
            ("a/b", Some((0, NoSlash))),
            ("//a", Some((1, EmptySegment))),
            ("/a//", Some((3, EmptySegment))),
            ("/a\\b", Some((2, Backslash))),
            ("/a/../b", Some((3, DotSegment))),
            ("/a/.", Some((3, DotSegment))),
            ("/a/%2e%2E/b", Some((3, DotSegment))),
            ("/a/.%2e", Some((3, DotSegment))),
            ("/a%", Some((2, PercentEncoding))),
            ("/a%4", Some((2, PercentEncoding))),
            ("/a%4/b", Some((2, PercentEncoding))),
            ("/a%zz", Some((2, PercentEncoding))),
            ("/a%FF", Some((2, Utf8))),
            ("/%E4%BD", Some((7, Utf8))),
            ("/%E4/%BD%A0", Some((4, Utf8))),
            ("/%ED%A0%80", Some((4, Utf8))),
            ("/a%00", Some((2, Control))),
            ("/a%0d%0a", Some((2, Control))),
            ("/a\u{7f}", Some((2, Control))),
        ] {
            let got = check_path(path).err().map(|error| (error.at, error.fault));
            assert_eq!(got, expected, "{path:?}");
        }
    }

    #[test]
    fn the_client_is_told_what_and_where() {
        let status = check_path("/a/%2e%2e/b").unwrap_err().into_status();
        assert_eq!((status.code(), status.reason()), (Code::InvalidArgument, Some(Reason::InvalidPath)));
        assert_eq!(
            status.message(),
            "the path is not valid at byte 3: a segment that is `.` or `..`, plain or percent-encoded"
        );
    }

    proptest! {
        #[test]
        fn utf8_is_judged_as_the_standard_library_does(bytes in prop::collection::vec(0x80u8..=0xff, 0..6)) {
            let mut utf8 = Utf8::default();
            let valid = bytes.iter().all(|byte| utf8.push(*byte).is_ok()) && utf8.is_between();
            prop_assert_eq!(valid, std::str::from_utf8(&bytes).is_ok());
        }
    }
}
