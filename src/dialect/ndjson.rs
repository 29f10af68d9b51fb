//! NDJSON: one JSON object a line, in grpc-gateway's envelope on the way back (PROTOCOLS §4); and the same as a JSON text
//! sequence (RFC 7464), where a record separator stands before each.

use bytes::{Buf, BytesMut};

use super::decode::DecodeError;
use crate::status::Status;

/// What stands before a message.
pub(super) const BEFORE: &[u8] = b"{\"result\":";
/// What stands behind it.
pub(super) const AFTER: &[u8] = b"}\n";

/// What stands before a line in a JSON text sequence (RFC 7464 §2.2).
pub(super) const RECORD_SEPARATOR: u8 = 0x1e;

/// The last line of a stream that failed.
pub(super) fn write_error(status: &Status, codec: &crate::codec::Codec, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"error\":");
    super::error_json(status, codec, out);
    out.extend_from_slice(AFTER);
}

/// Cuts a request body into lines; blank ones are passed over.
#[derive(Debug)]
pub(super) struct LineSplitter {
    held: BytesMut,
    /// Bytes of `held` in which there is no line end.
    scanned: usize,
    /// Bytes of the body before `held`.
    offset: usize,
    line_bytes_max: usize,
}

impl LineSplitter {
    pub(super) fn new(line_bytes_max: usize) -> Self {
        Self { held: BytesMut::new(), scanned: 0, offset: 0, line_bytes_max }
    }

    pub(super) fn push(&mut self, piece: &[u8]) {
        self.held.extend_from_slice(piece);
    }

    /// The next line that is not blank, and its offset in the body.
    pub(super) fn next_line(&mut self) -> Result<Option<(usize, BytesMut)>, DecodeError> {
        while let Some(length) = memchr::memchr(b'\n', &self.held[self.scanned..]) {
            if self.scanned + length > self.line_bytes_max {
                return Err(DecodeError::TooLarge { max: self.line_bytes_max });
            }
            let line = self.take(self.scanned + length);
            self.held.advance(1);
            self.offset += 1;
            if line.is_some() {
                return Ok(line);
            }
        }
        self.scanned = self.held.len();
        if self.scanned > self.line_bytes_max {
            return Err(DecodeError::TooLarge { max: self.line_bytes_max });
        }
        Ok(None)
    }

    /// The last line, where no line end stands behind it.
    pub(super) fn finish(&mut self) -> Option<(usize, BytesMut)> {
        self.take(self.held.len())
    }

    fn take(&mut self, end: usize) -> Option<(usize, BytesMut)> {
        let at = self.offset;
        self.offset += end;
        self.scanned = 0;
        let line = self.held.split_to(end);
        line.iter().any(|byte| !byte.is_ascii_whitespace()).then_some((at, line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_however_the_body_is_cut() {
        let body = b"{\"a\":1}\n\n \r\n{\"b\":2}\r\n{}";
        for cut in 1..body.len() {
            let mut splitter = LineSplitter::new(64);
            let mut lines = Vec::new();
            for piece in body.chunks(cut) {
                splitter.push(piece);
                while let Some((at, line)) = splitter.next_line().unwrap() {
                    lines.push((at, line.to_vec()));
                }
            }
            lines.extend(splitter.finish().map(|(at, line)| (at, line.to_vec())));
            assert_eq!(
                lines,
                [(0, b"{\"a\":1}".to_vec()), (12, b"{\"b\":2}\r".to_vec()), (21, b"{}".to_vec())],
                "{cut}"
            );
        }
    }

    #[test]
    fn a_line_over_the_limit_is_refused_before_its_end() {
        let mut splitter = LineSplitter::new(8);
        splitter.push(b"123456789");
        assert_eq!(splitter.next_line(), Err(DecodeError::TooLarge { max: 8 }));
        let mut splitter = LineSplitter::new(8);
        splitter.push(b"12345678\n123456789\n");
        assert!(matches!(splitter.next_line(), Ok(Some((0, _)))));
        assert_eq!(splitter.next_line(), Err(DecodeError::TooLarge { max: 8 }), "however it is cut");
    }
}
