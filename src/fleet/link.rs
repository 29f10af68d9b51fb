//! The connections to Redis: one for commands, one for nudges, opened again for as long as the process lives. Knows nothing of
//! what is said over them.

use std::{
    fs, io,
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    thread,
    time::Duration,
};

use redis::{
    AsyncConnectionConfig, ErrorKind, ProtocolVersion, PushInfo, PushKind, RedisConnectionInfo, RedisError,
    ServerErrorKind, Value, aio::MultiplexedConnection,
};
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    runtime,
    sync::{Notify, mpsc, oneshot},
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tokio_rustls::TlsConnector;

use super::{FleetError, Inner};
use crate::{
    config::{self, RedisPlace},
    upstream::{Random, delay},
};

/// A connection that lasted so long was a good one: the next attempt is the first again.
const GOOD: Duration = Duration::from_secs(10);
/// Channels that are asked for at once.
const WISHES_AT_ONCE: usize = 1000;

/// Connections to Redis. Clones are the same ones.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) commands: MultiplexedConnection,
    ears: MultiplexedConnection,
    broken: Arc<Notify>,
}

/// Whether a channel is listened to has changed.
pub(super) struct Wish {
    pub(super) channel: Arc<str>,
    /// Told once it is so; dropped where it is not.
    pub(super) done: Option<oneshot::Sender<()>>,
}

impl Link {
    /// Both connections are closed, and others opened.
    pub(super) fn give_up(&self) {
        self.broken.notify_one();
    }
}

/// The thread of the connections.
pub(super) fn spawn(inner: Arc<Inner>, wishes: mpsc::UnboundedReceiver<Wish>) -> io::Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    thread::Builder::new().name("redis".to_owned()).spawn(move || runtime.block_on(keep(&inner, wishes)))?;
    Ok(())
}

async fn keep(inner: &Arc<Inner>, mut wishes: mpsc::UnboundedReceiver<Wish>) {
    let mut random = Random::new(seed());
    let (mut failures, mut is_told) = (0, false);
    loop {
        let began = Instant::now();
        let mut drivers = JoinSet::new();
        let error = match timeout(inner.settings.timeout, open(inner, &mut drivers)).await {
            Ok(Ok(link)) => {
                (failures, is_told) = (if is_told { failures } else { 0 }, false);
                let error = serve(inner, &link, &mut drivers, &mut wishes).await;
                inner.link.send_replace(None);
                error
            }
            Ok(Err(error)) => error,
            Err(_) => io::Error::from(io::ErrorKind::TimedOut).into(),
        };
        drop(drivers);
        inner.errors.fetch_add(1, Relaxed);
        if !is_told {
            tracing::warn!(
                error = describe(&error),
                "Redis is not reached; until it is, this gateway shares streams alone"
            );
            is_told = true;
        }
        failures = if began.elapsed() > GOOD { 1 } else { failures + 1 };
        sleep(delay(failures, random.draw())).await;
    }
}

/// Both connections, and what moves their bytes.
async fn open(inner: &Arc<Inner>, drivers: &mut JoinSet<()>) -> Result<Link, RedisError> {
    let settings = &inner.settings;
    let mut info = RedisConnectionInfo::default()
        .set_db(settings.url.database.into())
        .set_protocol(ProtocolVersion::RESP3)
        .set_lib_name("tidegate", env!("CARGO_PKG_VERSION"));
    if let Some(user) = &settings.url.user {
        info = info.set_username(user);
    }
    if let Some(file) = &settings.password_file {
        info = info.set_password(fs::read_to_string(file)?.trim_end_matches(['\r', '\n']));
    }
    let config = AsyncConnectionConfig::new().set_response_timeout(Some(settings.timeout));
    let (commands, driver) =
        MultiplexedConnection::new_with_config(&info, connect(inner).await?, config.clone()).await?;
    drivers.spawn(driver);
    let nudged = inner.clone();
    let config = config.set_push_sender(move |push: PushInfo| -> Result<(), ()> {
        nudge(&nudged, &push);
        Ok(())
    });
    let (ears, driver) = MultiplexedConnection::new_with_config(&info, connect(inner).await?, config).await?;
    drivers.spawn(driver);
    Ok(Link { commands, ears, broken: Arc::default() })
}

/// Until it breaks.
async fn serve(
    inner: &Inner,
    link: &Link,
    drivers: &mut JoinSet<()>,
    wishes: &mut mpsc::UnboundedReceiver<Wish>,
) -> RedisError {
    let broken = async {
        tokio::select! {
            _ = drivers.join_next() => io::Error::from(io::ErrorKind::ConnectionReset).into(),
            () = link.broken.notified() => io::Error::from(io::ErrorKind::TimedOut).into(),
        }
    };
    let work = async {
        match tokio::try_join!(listen(inner, link, wishes), ping(link, inner.settings.lease / 2)) {
            Ok(((), ())) => io::Error::from(io::ErrorKind::ConnectionAborted).into(),
            Err(error) => error,
        }
    };
    tokio::select! {
        error = broken => error,
        error = work => error,
    }
}

/// Listens to the channels that are wished for.
async fn listen(inner: &Inner, link: &Link, wishes: &mut mpsc::UnboundedReceiver<Wish>) -> Result<(), RedisError> {
    let mut ears = link.ears.clone();
    let known: Vec<Arc<str>> = inner.ears(|ears| ears.keys().cloned().collect());
    for channels in known.chunks(WISHES_AT_ONCE) {
        ears.subscribe(channels.iter().map(|channel| &**channel).collect::<Vec<_>>()).await?;
    }
    tracing::info!("Redis is reached");
    inner.link.send_replace(Some(link.clone()));
    // Whatever was said meanwhile was said to nobody.
    inner.ears(|ears| ears.values().flatten().for_each(|nudge| nudge.notify_one()));
    let mut batch = Vec::new();
    while wishes.recv_many(&mut batch, WISHES_AT_ONCE).await > 0 {
        // What is wished for now counts, whatever was said first.
        let (wanted, unwanted): (Vec<&str>, Vec<&str>) =
            inner.ears(|ears| batch.iter().map(|wish| &*wish.channel).partition(|channel| ears.contains_key(*channel)));
        if !wanted.is_empty() {
            ears.subscribe(wanted).await?;
        }
        if !unwanted.is_empty() {
            ears.unsubscribe(unwanted).await?;
        }
        for wish in batch.drain(..) {
            // Who wished it may be gone.
            wish.done.map(|done| done.send(()));
        }
    }
    Ok(())
}

/// A connection on which nobody speaks does not say that it is dead.
async fn ping(link: &Link, period: Duration) -> Result<(), RedisError> {
    let (mut commands, mut ears) = (link.commands.clone(), link.ears.clone());
    loop {
        sleep(period).await;
        redis::cmd("PING").query_async::<Value>(&mut commands).await?;
        redis::cmd("PING").query_async::<Value>(&mut ears).await?;
    }
}

fn nudge(inner: &Inner, push: &PushInfo) {
    if let (PushKind::Message, Some(Value::BulkString(channel))) = (&push.kind, push.data.first())
        && let Ok(channel) = str::from_utf8(channel)
    {
        inner.ears(|ears| ears.get(channel).into_iter().flatten().for_each(|nudge| nudge.notify_one()));
    }
}

trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Socket for T {}

async fn connect(inner: &Inner) -> Result<Pin<Box<dyn Socket>>, RedisError> {
    Ok(match &inner.settings.url.place {
        RedisPlace::Unix(path) => Box::pin(UnixStream::connect(path).await?),
        RedisPlace::Tcp { host, port } => Box::pin(tcp(host, *port).await?),
        RedisPlace::Tls { host, port } => {
            let (Ok(Some(name)), Some(tls)) = (server_name(&inner.settings), &inner.tls) else {
                return Err(io::Error::from(io::ErrorKind::InvalidInput).into());
            };
            Box::pin(TlsConnector::from(tls.clone()).connect(name, tcp(host, *port).await?).await?)
        }
    })
}

async fn tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let tcp = TcpStream::connect((host, port)).await?;
    tcp.set_nodelay(true)?;
    Ok(tcp)
}

/// What the certificate is verified against, where there is one.
pub(super) fn server_name(settings: &config::Redis) -> Result<Option<ServerName<'static>>, FleetError> {
    let RedisPlace::Tls { host, .. } = &settings.url.place else { return Ok(None) };
    let name = settings.tls.server_name.as_ref().unwrap_or(host);
    ServerName::try_from(name.clone()).map(Some).map_err(|_| FleetError::ServerName(name.clone()))
}

/// Whether nothing more is to be hoped for of the connection.
pub(super) fn is_fatal(error: &RedisError) -> bool {
    // A server that was promoted elsewhere answers so.
    let is_replica = error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly);
    error.is_io_error() || error.is_timeout() || error.is_unrecoverable_error() || is_replica
}

/// For the log. What does not parse is not repeated: it may be of a message.
pub(super) fn describe(error: &RedisError) -> String {
    if error.kind() == ErrorKind::Parse { error.category().to_owned() } else { error.to_string() }
}

fn seed() -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish()
}
