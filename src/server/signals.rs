//! The signals that end the process: the first begins the drain, the second ends at once.

use std::{io, process, thread};

use tokio::signal::unix::{SignalKind, signal};

use super::{ServeError, runtime};
use crate::drain::Drain;

/// From now on SIGTERM and SIGINT begin the drain; a second one ends the process without waiting.
///
/// # Errors
/// Where the system takes no handler, or no thread can be started.
pub fn on_signals(drain: Drain) -> Result<(), ServeError> {
    let runtime = runtime()?;
    let failed = |source: io::Error| ServeError::Start { what: "signal handling", source };
    // Registered before returning, so that no signal falls between.
    let (mut terminate, mut interrupt) = {
        let _inside = runtime.enter();
        let terminate = signal(SignalKind::terminate()).map_err(failed)?;
        (terminate, signal(SignalKind::interrupt()).map_err(failed)?)
    };
    let wait = async move {
        let mut next = async || {
            tokio::select! {
                _ = terminate.recv() => SignalKind::terminate(),
                _ = interrupt.recv() => SignalKind::interrupt(),
            }
        };
        next().await;
        tracing::info!("draining: no new connections; a second signal ends at once");
        drain.begin();
        let second = next().await;
        tracing::warn!("ended by a second signal");
        // As shells name it: 128 and the signal's number.
        process::exit(128 + second.as_raw_value());
    };
    thread::Builder::new().name("signals".into()).spawn(move || runtime.block_on(wait)).map_err(failed)?;
    Ok(())
}
