//! The process's own log: events of `tracing` on standard error.

use std::io;

use tracing_subscriber::{EnvFilter, fmt};

/// Begins to log, at the level of `RUST_LOG` or else `info`. Where a subscriber is there already, it stays.
pub fn init_logs() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    // The embedding program's own subscriber wins.
    let _ = fmt().with_env_filter(filter).with_writer(io::stderr).with_ansi(false).try_init();
}
