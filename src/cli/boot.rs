//! From settings to a running gateway: what files tell is loaded and compiled before any port is bound; what only
//! upstreams can tell is waited for a little while, and comes in beside the running gateway otherwise.

use std::{
    fmt,
    hash::{BuildHasher, Hasher, RandomState},
    io::{self, Write},
    pin::Pin,
    process::ExitCode,
    sync::Arc,
    thread,
    time::Duration,
};

use arc_swap::ArcSwap;
use tokio::runtime::{self, Runtime};

use super::{
    schemas::{Keeper, Report, Schemas},
    slow_readers,
};
use crate::{
    admin::{self, Admin, Readiness},
    config::{ConfigErrors, Settings},
    drain::Drain,
    edge::Peer,
    fleet::Fleet,
    gateway::{Gateway, Process, ReplyBody, Snapshot},
    server::{self, Outgoing, Server},
    services,
    telemetry::{self, Telemetry},
    upstream::{Cluster, Pool},
};

/// How long the start waits for upstreams' schemas before it serves without those that are missing.
const FIRST_ROUND: Duration = Duration::from_secs(3);
/// The same for a command that only looks at them.
const ONLY_ROUND: Duration = Duration::from_secs(10);

/// Why there is nothing to serve.
#[derive(Debug)]
pub(super) enum BootError {
    /// The configuration, or what it names, cannot be served: exit code 2, before any port is bound.
    Config(String),
    /// The machine refuses: exit code 1.
    Run(String),
}

impl BootError {
    pub(super) fn config(error: impl fmt::Display) -> Self {
        Self::Config(error.to_string())
    }

    pub(super) fn run(error: impl fmt::Display) -> Self {
        Self::Run(error.to_string())
    }

    pub(super) fn report(self) -> ExitCode {
        let (text, code) = match self {
            Self::Config(text) => (text, 2),
            Self::Run(text) => (text, 1),
        };
        // Nobody is left to be told that standard error is closed.
        let _ = writeln!(io::stderr(), "{text}");
        ExitCode::from(code)
    }
}

impl From<ConfigErrors> for BootError {
    fn from(errors: ConfigErrors) -> Self {
        Self::config(errors)
    }
}

/// Writes to standard output, which is the command line's.
pub(super) fn say(text: &str) {
    // A closed standard output is nobody's loss.
    let _ = io::stdout().write_all(text.as_bytes());
    let _ = io::stdout().flush();
}

/// Everything that can be told without asking an upstream. Against the settings of old, what breaks is an error as well.
pub(super) fn check(settings: &Settings, old: Option<&Settings>) -> Result<(), BootError> {
    let schemas = Schemas::load(settings)?;
    let changes = old.map_or(Ok(Vec::new()), |old| Schemas::load(old).map(|old| schemas.changes_since(&old)))?;
    if changes.is_empty() { Ok(()) } else { Err(BootError::Run(changes.join("\n"))) }
}

/// What would be served, asking upstreams once for the schemas that only they can tell.
pub(super) fn snapshot(settings: &Settings) -> Result<Arc<Snapshot>, BootError> {
    let schemas = Schemas::load(settings)?;
    let (snapshot, report) = (schemas.snapshot(), schemas.report());
    let (control, mut keeper) = keep(schemas)?;
    control.block_on(keeper.first_round(ONLY_ROUND));
    let Readiness { ready, problems } = report.load().readiness();
    if ready { Ok(snapshot.load_full()) } else { Err(BootError::Config(problems.join("\n"))) }
}

/// Serves until a signal ends it. `ready` is called with the listeners' URLs once their lines are printed.
pub(super) fn serve(settings: &Settings, ready: impl FnOnce(&[String])) -> Result<(), BootError> {
    telemetry::init_logs();
    let schemas = Schemas::load(settings)?;
    let mut clusters =
        settings.upstreams.iter().map(Cluster::new).collect::<Result<Vec<_>, _>>().map_err(BootError::config)?;
    let telemetry = Arc::new(Telemetry::new(settings));
    let fleet = settings.redis.as_ref().map(Fleet::start).transpose().map_err(BootError::config)?;
    if let Some(fleet) = fleet.clone() {
        telemetry.watch_fleet(Box::new(move || fleet.state()));
    }
    let drain = Drain::new();
    let server = Server::bind(settings).map_err(|error| match error.is_configuration() {
        true => BootError::config(error),
        false => BootError::run(error),
    })?;

    let connections = server.connections();
    telemetry.watch_connections(Box::new(move || connections.open()));
    let (snapshot, report) = (schemas.snapshot(), schemas.report());
    let told = report.clone();
    let is_ready = move || told.load().readiness().ready;
    let own = services::cluster(settings, snapshot.clone(), is_ready, drain.clone()).map_err(BootError::config)?;
    clusters.push(own);
    let told = report.clone();
    telemetry.watch_schemas(Box::new(move || told.load().records()));

    let (control, mut keeper) = keep(schemas)?;
    control.block_on(keeper.first_round(FIRST_ROUND));

    let process = Process::new(&settings.limits, fleet, drain.clone(), RandomState::new().build_hasher().finish());
    let hub = process.hub.clone();
    telemetry.watch_stream_buffers(Box::new(move || slow_readers::buffered(&hub)));
    let urls = say_addresses(&server, settings, &report, &telemetry, &process)?;
    server::on_signals(drain.clone(), settings.limits.drain_delay).map_err(BootError::run)?;
    thread::Builder::new()
        .name("schemas".to_owned())
        .spawn(move || control.block_on(keeper.run()))
        .map_err(BootError::run)?;
    ready(&urls);
    let worker = {
        let telemetry = telemetry.clone();
        move |_| {
            let pools = clusters.iter().cloned().map(Pool::new).collect();
            let seed = RandomState::new().build_hasher().finish();
            let gateway = Gateway::new(snapshot.clone(), pools, telemetry.recorder(), process.clone(), seed);
            move |peer: &Arc<Peer>, request| {
                // Boxed: the server and the runtime move a request's future several times before it runs.
                Box::pin(gateway.clone().serve(peer.clone(), request))
            }
        }
    };
    let served = server.run(drain, worker).map_err(BootError::run);
    telemetry.flush();
    served
}

impl Outgoing for ReplyBody {
    fn stalled(self: Pin<&mut Self>) {
        self.get_mut().stalled();
    }
}

/// The keeper, and the runtime that it belongs to.
fn keep(schemas: Schemas) -> Result<(Runtime, Keeper), BootError> {
    let control = runtime::Builder::new_current_thread().enable_all().build().map_err(BootError::run)?;
    let keeper = {
        let _inside = control.enter();
        schemas.keep()?
    };
    Ok((control, keeper))
}

fn say_addresses(
    server: &Server,
    settings: &Settings,
    report: &Arc<ArcSwap<Report>>,
    telemetry: &Arc<Telemetry>,
    process: &Process,
) -> Result<Vec<String>, BootError> {
    let urls: Vec<_> =
        server.addresses().into_iter().map(|(scheme, address)| format!("{scheme}://{address}")).collect();
    let mut lines: String = urls.iter().map(|url| format!("listening {url}\n")).collect();
    if let Some(address) = settings.admin {
        let (readiness, schemas, telemetry) = (report.clone(), report.clone(), telemetry.clone());
        let hub = process.hub.clone();
        let admin = Admin {
            ready: Arc::new(move || readiness.load().readiness()),
            metrics: Arc::new(move || telemetry.metrics_text()),
            schemas: Arc::new(move || schemas.load().json()),
            slow_readers: Arc::new(move || slow_readers::json(&hub)),
        };
        let address = admin::spawn(address, admin, process.drain.clone()).map_err(BootError::run)?;
        lines += &format!("admin http://{address}\n");
    }
    say(&lines);
    Ok(urls)
}
