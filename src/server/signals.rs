//! The signals that end the process: the first begins the drain, the second ends at once.

use std::{io, process, thread, time::Duration};

use tokio::{
    signal::unix::{SignalKind, signal},
    time::sleep,
};

use super::{ServeError, runtime};
use crate::drain::Drain;

/// From now on SIGTERM, SIGINT and [`Drain::ask`] announce the drain, and begin it after `delay`; a signal after that
/// ends the process without waiting.
///
/// # Errors
/// Where the system takes no handler, or no thread can be started.
pub fn on_signals(drain: Drain, delay: Duration) -> Result<(), ServeError> {
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
        tokio::select! {
            _ = next() => {}
            () = drain.asked() => {}
        }
        drain.announce();
        let begin = async {
            if !delay.is_zero() {
                tracing::info!(?delay, "about to drain: balancers are told to send nobody new");
                sleep(delay).await;
            }
            tracing::info!("draining: no new connections; a second signal ends at once");
            drain.begin();
            std::future::pending::<()>().await;
        };
        let second = tokio::select! {
            second = next() => second,
            () = begin => return,
        };
        tracing::warn!("ended by a second signal");
        // As shells name it: 128 and the signal's number.
        process::exit(128 + second.as_raw_value());
    };
    thread::Builder::new().name("signals".into()).spawn(move || runtime.block_on(wait)).map_err(failed)?;
    Ok(())
}
