//! Reads NDJSON: one JSON value a line; and JSON text sequences of one line each (RFC 7464).

use serde_json::Value;

use super::http::{Broken, Download};

pub struct Reader {
    download: Download,
    held: Vec<u8>,
    /// What stands before each value.
    mark: &'static [u8],
}

impl Reader {
    pub fn new(download: Download) -> Self {
        Self { download, held: Vec::new(), mark: b"" }
    }

    /// A record separator stands before each value.
    pub fn records(download: Download) -> Self {
        Self { mark: b"\x1e", ..Self::new(download) }
    }

    /// The next line's value; none at a proper end of the body.
    pub async fn next(&mut self) -> Option<Result<Value, Broken>> {
        loop {
            if let Some(end) = self.held.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.held.drain(..=end).collect();
                return Some(Ok(value(line.strip_prefix(self.mark).expect("the mark stands before each value"))));
            }
            match self.download.piece().await {
                Some(Ok(piece)) => self.held.extend_from_slice(&piece),
                Some(Err(broken)) => return Some(Err(broken)),
                None => {
                    assert!(self.held.is_empty(), "half a line at the end: {:?}", String::from_utf8_lossy(&self.held));
                    return None;
                }
            }
        }
    }
}

fn value(line: &[u8]) -> Value {
    serde_json::from_slice(line)
        .unwrap_or_else(|error| panic!("a line is no JSON ({error}): {:?}", String::from_utf8_lossy(line)))
}
