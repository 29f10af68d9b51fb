//! What the gateways of a fleet keep together, in Redis: logs, each of which one of them writes at a time and all may read. Knows
//! nothing of calls, upstreams and subscribers.
//!
//! `link` is the process's connections to Redis, on a thread of their own; `log` is one stream there: a few keys, and the scripts
//! that alone touch them. `name` says how it is found, `record` what is kept beside messages.
//!
//! A log is one Redis stream. Its writer holds a lease, which Redis takes back if it is not renewed, and every write is refused
//! without it: what a writer that slept has still to say goes nowhere. Readers are nudged by a channel (Pub/Sub) that says nothing
//! but that there is something; a nudge that is lost costs them time and no message.

mod link;
mod log;
mod name;
mod record;
mod tickets;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    fmt, io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use redis::{RedisError, Script};
use rustls::ClientConfig;
use thiserror::Error;
use tokio::sync::{Notify, mpsc, watch};

use self::link::{Link, Wish};
pub use self::{
    log::{Existing, Log, Token, View, Write},
    name::Name,
    record::{decode_end, decode_head, encode_end, encode_head},
};
use crate::{
    config,
    telemetry::FleetState,
    upstream::{TlsError, client_config},
};

/// The Redis of one process. Clones are the same.
#[derive(Clone)]
pub struct Fleet(Arc<Inner>);

struct Inner {
    settings: config::Redis,
    tls: Option<Arc<ClientConfig>>,
    scripts: Scripts,
    /// None: Redis is not reached.
    link: watch::Sender<Option<Link>>,
    wishes: mpsc::UnboundedSender<Wish>,
    /// By channel: who is to be nudged. A channel that is not in it is not listened to.
    ears: Mutex<HashMap<Arc<str>, Vec<Arc<Notify>>>>,
    errors: AtomicU64,
    leases: AtomicUsize,
    /// Of commands that Redis refuses, the first was logged.
    has_complained: AtomicBool,
}

struct Scripts {
    take: Script,
    look: Script,
    write: Script,
    release: Script,
}

/// Redis does not answer, or not as it should. What it was told may be done all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("Redis does not answer")]
pub struct Down;

/// Why there can be no fleet.
#[derive(Debug, Error)]
pub enum FleetError {
    #[error("redis: {0}")]
    Tls(#[from] TlsError),
    #[error("redis: {0:?} is no name that a certificate can be verified against")]
    ServerName(String),
    #[error("redis: no thread can be started: {0}")]
    Thread(#[from] io::Error),
}

impl Fleet {
    /// Begins to connect, and does not wait for it.
    ///
    /// # Errors
    /// Settings that no connection could ever be made with.
    pub fn start(settings: &config::Redis) -> Result<Self, FleetError> {
        let tls = link::server_name(settings)?.map(|_| client_config(&settings.tls, &[])).transpose()?.map(Arc::new);
        let (wishes, wished) = mpsc::unbounded_channel();
        let script = Script::new;
        let inner = Arc::new(Inner {
            settings: settings.clone(),
            tls,
            scripts: Scripts {
                take: script(include_str!("scripts/take.lua")),
                look: script(include_str!("scripts/look.lua")),
                write: script(include_str!("scripts/write.lua")),
                release: script(include_str!("scripts/release.lua")),
            },
            link: watch::Sender::new(None),
            wishes,
            ears: Mutex::default(),
            errors: AtomicU64::new(0),
            leases: AtomicUsize::new(0),
            has_complained: AtomicBool::new(false),
        });
        link::spawn(inner.clone(), wished)?;
        Ok(Self(inner))
    }

    /// How long a writer holds what it does not renew.
    pub fn lease(&self) -> Duration {
        self.0.settings.lease
    }

    /// Ends when Redis is reached.
    pub async fn up(&self) {
        // The sender lives as long as this does.
        let _ = self.0.link.subscribe().wait_for(Option::is_some).await;
    }

    pub fn state(&self) -> FleetState {
        FleetState {
            is_up: self.0.link.borrow().is_some(),
            errors: self.0.errors.load(Relaxed),
            leases: self.0.leases.load(Relaxed),
        }
    }

    /// A lease was taken, or is gone.
    pub fn count_lease(&self, is_taken: bool) {
        if is_taken {
            self.0.leases.fetch_add(1, Relaxed);
        } else {
            self.0.leases.fetch_sub(1, Relaxed);
        }
    }
}

impl Inner {
    fn link(&self) -> Result<Link, Down> {
        self.link.borrow().clone().ok_or(Down)
    }

    /// What came of a command.
    fn judge<T>(&self, link: &Link, outcome: Result<T, RedisError>) -> Result<T, Down> {
        let error = match outcome {
            Ok(value) => {
                if self.has_complained.load(Relaxed) {
                    self.has_complained.store(false, Relaxed);
                }
                return Ok(value);
            }
            Err(error) => error,
        };
        self.errors.fetch_add(1, Relaxed);
        if link::is_fatal(&error) {
            link.give_up();
        } else if !self.has_complained.swap(true, Relaxed) {
            tracing::warn!(error = link::describe(&error), "Redis refuses a command");
        }
        Err(Down)
    }

    fn ears<T>(&self, change: impl FnOnce(&mut HashMap<Arc<str>, Vec<Arc<Notify>>>) -> T) -> T {
        change(&mut self.ears.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for Fleet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fleet")
    }
}
