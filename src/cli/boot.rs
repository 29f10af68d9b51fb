//! From settings to a running gateway: what is known is loaded and compiled before any port is bound; what only
//! upstreams can tell (reflection) is asked for beside the running gateway, again and again until it is known.

use std::{
    fmt,
    hash::{BuildHasher, Hasher, RandomState},
    io::{self, Write},
    process::ExitCode,
    sync::Arc,
    thread,
    time::Duration,
};

use arc_swap::ArcSwap;
use bytes::Bytes;
use futures_util::{StreamExt, stream::FuturesUnordered};
use hyper::service::service_fn;
use tokio::{
    runtime,
    time::{Instant, sleep},
};

use crate::{
    admin::{self, Admin, Readiness},
    config::{ConfigErrors, SchemaSource, Settings},
    drain::Drain,
    gateway::{Assets, Gateway, Snapshot},
    schema::{self, ServiceConfig, UpstreamSchema},
    server::{self, Server},
    telemetry::{self, Telemetry},
    upstream::{Cluster, Pool},
};

/// How long one attempt to fetch a schema by reflection may take.
const REFLECTION_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the start waits for upstreams' schemas before it serves without those that are missing.
const FIRST_ROUND: Duration = Duration::from_secs(3);
/// The first pause before a schema is asked for again, and the longest.
const RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));

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

/// Everything that can be told without asking an upstream.
pub(super) fn check(settings: &Settings) -> Result<(), BootError> {
    Schemas::load(settings)?.snapshot(settings).map(drop).map_err(BootError::Config)
}

/// What would be served, asking upstreams once for the schemas that only they can tell.
pub(super) fn snapshot(settings: &Settings) -> Result<Snapshot, BootError> {
    let mut schemas = Schemas::load(settings)?;
    let clusters = settings.upstreams.iter().map(Cluster::new).collect::<Result<Vec<_>, _>>();
    let control = runtime::Builder::new_current_thread().enable_all().build().map_err(BootError::run)?;
    let _guard = control.enter();
    let pools: Vec<Pool> = clusters.map_err(BootError::config)?.into_iter().map(Pool::new).collect();
    control.block_on(schemas.fetch_missing(settings, &pools, REFLECTION_TIMEOUT));
    match schemas.problems(settings).as_slice() {
        [] => schemas.snapshot(settings).map_err(BootError::Config),
        problems => Err(BootError::Config(problems.join("\n"))),
    }
}

/// Serves until a signal ends it. `ready` is called with the listeners' URLs once their lines are printed.
pub(super) fn serve(settings: &Settings, ready: impl FnOnce(&[String])) -> Result<(), BootError> {
    telemetry::init_logs();
    let mut schemas = Schemas::load(settings)?;
    let clusters =
        settings.upstreams.iter().map(Cluster::new).collect::<Result<Vec<_>, _>>().map_err(BootError::config)?;
    schemas.snapshot(settings).map_err(BootError::Config)?;
    let telemetry = Arc::new(Telemetry::new(settings));
    let drain = Drain::new();
    let server = Server::bind(settings).map_err(|error| match error.is_configuration() {
        true => BootError::config(error),
        false => BootError::run(error),
    })?;

    let connections = server.connections();
    telemetry.watch_connections(Box::new(move || connections.open()));

    let control = runtime::Builder::new_current_thread().enable_all().build().map_err(BootError::run)?;
    let _guard = control.enter();
    let pools: Vec<Pool> = clusters.iter().cloned().map(Pool::new).collect();
    control.block_on(schemas.fetch_missing(settings, &pools, FIRST_ROUND));
    let snapshot = Arc::new(ArcSwap::from_pointee(schemas.snapshot(settings).map_err(BootError::Config)?));
    let problems = Arc::new(ArcSwap::from_pointee(schemas.problems(settings)));
    drop(_guard);

    let urls = say_addresses(&server, settings, &problems, &telemetry, &drain)?;
    server::on_signals(drain.clone()).map_err(BootError::run)?;
    let keeper = Keeper { settings: settings.clone(), schemas, pools, snapshot: snapshot.clone(), problems };
    thread::Builder::new()
        .name("schemas".to_owned())
        .spawn(move || control.block_on(keeper.run()))
        .map_err(BootError::run)?;
    ready(&urls);
    let worker = {
        let (drain, telemetry) = (drain.clone(), telemetry.clone());
        move |_| {
            let pools = clusters.iter().cloned().map(Pool::new).collect();
            let seed = RandomState::new().build_hasher().finish();
            let gateway = Gateway::new(snapshot.clone(), pools, telemetry.recorder(), drain.clone(), seed);
            service_fn(move |request| {
                let gateway = gateway.clone();
                // Boxed: the server and the runtime move a request's future several times before it runs.
                Box::pin(async move { Ok::<_, std::convert::Infallible>(gateway.serve(request).await) })
            })
        }
    };
    let served = server.run(drain, worker).map_err(BootError::run);
    telemetry.flush();
    served
}

fn say_addresses(
    server: &Server,
    settings: &Settings,
    problems: &Arc<ArcSwap<Vec<String>>>,
    telemetry: &Arc<Telemetry>,
    drain: &Drain,
) -> Result<Vec<String>, BootError> {
    let urls: Vec<_> =
        server.addresses().into_iter().map(|(scheme, address)| format!("{scheme}://{address}")).collect();
    let mut lines: String = urls.iter().map(|url| format!("listening {url}\n")).collect();
    if let Some(address) = settings.admin {
        let (problems, telemetry) = (problems.clone(), telemetry.clone());
        let admin = Admin {
            ready: Arc::new(move || {
                let problems = problems.load().as_ref().clone();
                Readiness { ready: problems.is_empty(), problems }
            }),
            metrics: Arc::new(move || telemetry.metrics_text()),
        };
        let address = admin::spawn(address, admin, drain.clone()).map_err(BootError::run)?;
        lines += &format!("admin http://{address}\n");
    }
    say(&lines);
    Ok(urls)
}

/// What is known of each upstream's schema.
struct Schemas {
    known: Vec<UpstreamSchema>,
    /// Why a set is missing, by upstream.
    faults: Vec<Option<String>>,
    assets: Arc<Assets>,
}

impl Schemas {
    fn load(settings: &Settings) -> Result<Self, BootError> {
        let load = |upstream: &crate::config::Upstream| {
            let wrong = |error: &dyn fmt::Display| BootError::Config(format!("upstream {}: {error}", upstream.name));
            let set = schema::load(&upstream.schema).map_err(|error| wrong(&error))?;
            let service_config = ServiceConfig::load(&upstream.service_config).map_err(|errors| wrong(&errors))?;
            Ok::<_, BootError>(UpstreamSchema { set, service_config: Arc::new(service_config) })
        };
        let known = settings.upstreams.iter().map(load).collect::<Result<Vec<_>, _>>()?;
        let assets = Assets::load(&settings.assets).map_err(BootError::config)?;
        Ok(Self { faults: vec![None; known.len()], known, assets: Arc::new(assets) })
    }

    fn snapshot(&self, settings: &Settings) -> Result<Snapshot, String> {
        Snapshot::build(settings, &self.known, self.assets.clone()).map_err(|error| error.to_string())
    }

    fn is_missing(&self, settings: &Settings, index: usize) -> bool {
        settings.upstreams[index].schema == SchemaSource::Reflection && self.known[index].set.is_none()
    }

    /// Asks every upstream whose schema is missing; true where one became known.
    async fn fetch_missing(&mut self, settings: &Settings, pools: &[Pool], patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        let missing = (0..self.known.len()).filter(|index| self.is_missing(settings, *index));
        let mut asked: FuturesUnordered<_> = missing
            .map(|index| async move { (index, schema::reflection::fetch(&pools[index], deadline).await) })
            .collect();
        let mut found = false;
        let mut answers = Vec::new();
        while let Some(answer) = asked.next().await {
            answers.push(answer);
        }
        drop(asked);
        for (index, answer) in answers {
            let name = &settings.upstreams[index].name;
            match answer {
                Ok(set) => found |= self.accept(settings, index, set.into()),
                Err(status) => {
                    tracing::warn!(upstream = %name, cause = ?status.cause(), "schema by reflection: {status}");
                    self.faults[index] =
                        Some(format!("upstream {name}: its schema could not be fetched by reflection: {status}"));
                }
            }
        }
        found
    }

    /// Takes a schema that fits those already known.
    fn accept(&mut self, settings: &Settings, index: usize, set: Bytes) -> bool {
        self.known[index].set = Some(set);
        match self.snapshot(settings) {
            Ok(_) => {
                self.faults[index] = None;
                true
            }
            Err(error) => {
                self.known[index].set = None;
                tracing::error!(upstream = %settings.upstreams[index].name, "schema refused: {error}");
                self.faults[index] = Some(error);
                false
            }
        }
    }

    fn problems(&self, settings: &Settings) -> Vec<String> {
        let fault = |index: usize| {
            let unknown = || format!("upstream {}: its schema is not known yet", settings.upstreams[index].name);
            self.faults[index].clone().unwrap_or_else(unknown)
        };
        (0..self.known.len()).filter(|index| self.is_missing(settings, *index)).map(fault).collect()
    }
}

/// Asks for what is missing, beside the running gateway, until nothing is.
struct Keeper {
    settings: Settings,
    schemas: Schemas,
    pools: Vec<Pool>,
    snapshot: Arc<ArcSwap<Snapshot>>,
    problems: Arc<ArcSwap<Vec<String>>>,
}

impl Keeper {
    async fn run(mut self) {
        let mut pause = RETRY.0;
        while !self.schemas.problems(&self.settings).is_empty() {
            // Up to twice the pause, so that the gateways of a fleet do not ask together.
            sleep(pause + pause.mul_f64(random_fraction())).await;
            pause = (pause * 2).min(RETRY.1);
            if self.schemas.fetch_missing(&self.settings, &self.pools, REFLECTION_TIMEOUT).await
                && let Ok(snapshot) = self.schemas.snapshot(&self.settings)
            {
                tracing::info!(methods = snapshot.method_names().count(), "schema complete or extended");
                self.snapshot.store(Arc::new(snapshot));
            }
            self.problems.store(Arc::new(self.schemas.problems(&self.settings)));
        }
    }
}

fn random_fraction() -> f64 {
    let bits = RandomState::new().build_hasher().finish();
    f64::from(bits as u32) / f64::from(u32::MAX)
}
