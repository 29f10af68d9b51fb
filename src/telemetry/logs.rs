//! The process's own log: events of `tracing` on standard error.

use std::io::{self, Write};

use tracing_subscriber::{EnvFilter, fmt};

/// Begins to log, at the level of `RUST_LOG` or else `info`. Where a subscriber is there already, it stays.
pub fn init_logs() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    // The embedding program's own subscriber wins.
    let _ = fmt().with_env_filter(filter).with_writer(|| OneLine(io::stderr())).with_ansi(false).try_init();
}

/// Keeps every event on one line: names that an upstream tells may hold line ends, and must not forge a line.
struct OneLine<W>(W);

impl<W: Write> Write for OneLine<W> {
    /// Takes a whole event, as the subscriber writes it.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let line = text.trim_end_matches('\n').replace('\n', "\\n").replace('\r', "\\r");
        self.0.write_all(format!("{line}\n").as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_whatever_it_names() {
        let mut log = OneLine(Vec::new());
        for event in ["plain\n", "refused: `p.S\r\n{\"level\":\"info\"}` is no name\n"] {
            log.write_all(event.as_bytes()).unwrap();
        }
        assert_eq!(String::from_utf8(log.0).unwrap(), "plain\nrefused: `p.S\\r\\n{\"level\":\"info\"}` is no name\n");
    }
}
