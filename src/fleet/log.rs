//! One stream in Redis, as the gateway that writes it and those that read it see it. Knows nothing of why anybody would.

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use bytes::Bytes;
use redis::{FromRedisValue, ScriptInvocation, Value};
use tokio::sync::{Notify, oneshot};

use super::{Down, Fleet, Name, link::Wish};

/// Most messages that are read at once.
const READ_MESSAGES_MAX: usize = 64;
/// Most bytes that are read at once; a message is read however large it is.
const READ_BYTES_MAX: usize = 1 << 20;

/// A stream in Redis, listened to for as long as this is there.
pub struct Log {
    fleet: Fleet,
    pub(super) stream: String,
    state: String,
    lease: String,
    channel: Arc<str>,
    nudge: Arc<Notify>,
}

/// Says who holds a lease: another for each that wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token(pub u128);

/// What becomes of a stream that is there when the lease is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// It goes on; one that has ended makes room.
    GoesOn,
    /// It goes on if it is the one of this epoch; beside another one, the lease is not taken.
    Same,
    /// It makes room for another.
    MakesRoom,
}

/// What there is behind a place.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Whether somebody holds the lease.
    pub is_held: bool,
    /// None: there is no stream.
    pub epoch: Option<u64>,
    pub head: Option<Bytes>,
    pub end: Option<Bytes>,
    /// Their offsets, and themselves.
    pub messages: Vec<(u64, Bytes)>,
    /// There are more messages than these.
    pub more: bool,
}

/// What is written at once.
#[derive(Debug, Default)]
pub struct Write<'a> {
    pub head: Option<&'a [u8]>,
    /// The offset of the first message, and all of them.
    pub messages: (u64, &'a [Bytes]),
    /// Messages before this one are forgotten.
    pub oldest: u64,
    /// Nothing follows, and the lease is given up.
    pub end: Option<&'a [u8]>,
}

impl Fleet {
    /// Listens to a stream.
    ///
    /// # Errors
    /// Redis does not answer.
    pub async fn log(&self, name: &Name) -> Result<Log, Down> {
        self.0.link()?;
        let base = format!("{}:{{{name}}}", self.0.settings.prefix);
        let key = |what: &str| format!("{base}:{what}");
        let log = Log {
            fleet: self.clone(),
            stream: key("stream"),
            state: key("state"),
            lease: key("lease"),
            channel: key("nudge").into(),
            nudge: Arc::default(),
        };
        self.0.ears(|ears| ears.entry(log.channel.clone()).or_default().push(log.nudge.clone()));
        let (done, is_done) = oneshot::channel();
        let wish = Wish { channel: log.channel.clone(), done: Some(done) };
        self.0.wishes.send(wish).map_err(|_| Down)?;
        // Not for longer than the other commands, of which there may be several before this one.
        match tokio::time::timeout(2 * self.0.settings.timeout, is_done).await {
            Ok(Ok(())) => Ok(log),
            Ok(Err(_)) | Err(_) => Err(Down),
        }
    }
}

impl Log {
    /// Ends when there may be something new, or may have been since it ended last.
    pub async fn nudged(&self) {
        self.nudge.notified().await;
    }

    /// Takes the lease where nobody has it. A stream that begins has this epoch. True where it was taken, or is
    /// one's own already.
    ///
    /// # Errors
    /// Redis does not answer.
    pub async fn take(&self, token: Token, epoch: u64, existing: Existing, keep: Duration) -> Result<bool, Down> {
        let mut call = self.call(&self.fleet.0.scripts.take, token, keep);
        call.arg(epoch).arg(match existing {
            Existing::GoesOn => "any",
            Existing::Same => "same",
            Existing::MakesRoom => "anew",
        });
        self.run::<i64>(&call).await.map(|taken| taken == 1)
    }

    /// What stands behind an offset of an epoch, or at the beginning of whichever there is.
    ///
    /// # Errors
    /// Redis does not answer.
    pub async fn look(&self, after: Option<(u64, u64)>, wants_head: bool) -> Result<View, Down> {
        let mut call = self.fleet.0.scripts.look.prepare_invoke();
        self.keys(&mut call);
        match after {
            Some((epoch, offset)) => call.arg(epoch).arg(offset),
            None => call.arg("").arg(0),
        };
        call.arg(READ_MESSAGES_MAX).arg(READ_BYTES_MAX).arg(i32::from(wants_head));
        View::read(self.run(&call).await?).ok_or(Down)
    }

    /// Writes to the stream of this epoch, and renews the lease; how many gateways listen, or none where the lease is not this
    /// token's. Said again: no effect.
    ///
    /// # Errors
    /// Redis does not answer.
    pub async fn write(
        &self,
        token: Token,
        epoch: u64,
        write: &Write<'_>,
        keep: Duration,
    ) -> Result<Option<usize>, Down> {
        let mut call = self.call(&self.fleet.0.scripts.write, token, keep);
        call.arg(&*self.channel).arg(epoch).arg(write.oldest);
        call.arg(write.head.unwrap_or_default()).arg(write.end.unwrap_or_default());
        let (first, messages) = write.messages;
        for (offset, message) in (first..).zip(messages) {
            call.arg(offset).arg(&**message);
        }
        // Negative where it is somebody else's.
        self.run::<i64>(&call).await.map(|listeners| usize::try_from(listeners).ok())
    }

    /// How many gateways listen, this one among them.
    ///
    /// # Errors
    /// Redis does not answer.
    pub async fn listeners(&self) -> Result<usize, Down> {
        let inner = &self.fleet.0;
        let mut link = inner.link()?;
        let mut call = redis::cmd("PUBSUB");
        let outcome = call.arg("NUMSUB").arg(&*self.channel).query_async(&mut link.commands).await;
        let counts: HashMap<String, usize> = inner.judge(&link, outcome)?;
        Ok(counts.values().sum())
    }

    /// Gives the lease up, where it is one's own; those who listen are told.
    ///
    /// # Errors
    /// Redis does not answer.
    pub async fn release(&self, token: Token) -> Result<(), Down> {
        let mut call = self.fleet.0.scripts.release.prepare_invoke();
        call.key(&self.lease).arg(token.to_string()).arg(&*self.channel);
        self.run::<i64>(&call).await.map(drop)
    }

    fn call<'s>(&self, script: &'s redis::Script, token: Token, keep: Duration) -> ScriptInvocation<'s> {
        let mut call = script.prepare_invoke();
        self.keys(&mut call);
        call.arg(token.to_string()).arg(millis(self.fleet.lease())).arg(millis(keep));
        call
    }

    fn keys(&self, call: &mut ScriptInvocation<'_>) {
        call.key(&self.stream).key(&self.state).key(&self.lease);
    }

    async fn run<T: FromRedisValue>(&self, call: &ScriptInvocation<'_>) -> Result<T, Down> {
        let inner = &self.fleet.0;
        let mut link = inner.link()?;
        let outcome = call.invoke_async(&mut link.commands).await;
        inner.judge(&link, outcome)
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let is_last = self.fleet.0.ears(|ears| {
            let Some(nudges) = ears.get_mut(&self.channel) else { return false };
            nudges.retain(|nudge| !Arc::ptr_eq(nudge, &self.nudge));
            let is_last = nudges.is_empty();
            if is_last {
                ears.remove(&self.channel);
            }
            is_last
        });
        if is_last {
            // The thread of the connections lives as long as the process.
            let _ = self.fleet.0.wishes.send(Wish { channel: self.channel.clone(), done: None });
        }
    }
}

impl View {
    /// None for what no script of ours says.
    fn read(found: Value) -> Option<Self> {
        let Value::Array(found) = found else { return None };
        let mut found = found.into_iter();
        let mut view = Self {
            is_held: found.next()? == Value::Int(1),
            epoch: match bytes(found.next()?)? {
                Some(epoch) => Some(number(&epoch)?),
                None => None,
            },
            head: bytes(found.next()?)?,
            end: bytes(found.next()?)?,
            ..Self::default()
        };
        view.more = found.next()? == Value::Int(1);
        while let Some(offset) = found.next() {
            let (offset, message) = (bytes(offset)??, bytes(found.next()?)??);
            view.messages.push((number(&offset)?, message));
        }
        Some(view)
    }
}

/// None inside where there is none.
#[expect(clippy::option_option, reason = "what is not there, and what is not sound")]
fn bytes(value: Value) -> Option<Option<Bytes>> {
    match value {
        Value::Nil | Value::Boolean(false) => Some(None),
        Value::BulkString(bytes) => Some(Some(bytes.into())),
        _ => None,
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    str::from_utf8(digits).ok()?.parse().ok()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Log").field(&self.channel).finish()
    }
}
