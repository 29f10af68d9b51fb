//! Every upstream's schema beside the running gateway: files are watched, endpoints are asked, and what is new is compiled
//! beside what is old and takes its place, or is refused.

mod endpoint;
mod files;
mod known;
mod report;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::{mpsc, watch},
    time::{MissedTickBehavior, interval, timeout},
};

pub(super) use self::report::Report;
use self::{
    endpoint::{Answer, Endpoint},
    files::Files,
    known::Known,
};
use super::boot::BootError;
use crate::{
    config::{SchemaSource, Settings},
    gateway::{Assets, Snapshot},
    schema::UpstreamSchema,
};

/// Time between two looks at the files.
const LOOK: Duration = Duration::from_secs(1);
/// Answers that may wait: who asks waits as well.
const ANSWERS_WAITING_MAX: usize = 16;

/// What is known, and what is served of it.
pub(super) struct Schemas {
    settings: Settings,
    assets: Arc<Assets>,
    known: Vec<Known>,
    /// Of the upstreams that have any, with the upstream's index.
    files: Vec<(usize, Files)>,
    /// What was wanted of each upstream at the last attempt to serve it.
    tried: Vec<UpstreamSchema>,
    snapshot: Arc<ArcSwap<Snapshot>>,
    report: Arc<ArcSwap<Report>>,
}

impl Schemas {
    /// What files tell of the schemas: all of it must be good.
    pub(super) fn load(settings: &Settings) -> Result<Self, BootError> {
        let (mut known, mut files) = (Vec::new(), Vec::new());
        for (index, upstream) in settings.upstreams.iter().enumerate() {
            let (read, contents) = Files::open(upstream);
            if let Some(fault) = contents.fault() {
                return Err(BootError::Config(format!("upstream {}: {fault}", upstream.name)));
            }
            let mut own = Known::new(upstream);
            own.hear_files(contents);
            known.push(own);
            files.extend((!read.is_empty()).then_some((index, read)));
        }
        let assets = Arc::new(Assets::load(&settings.assets).map_err(BootError::config)?);
        let wanted: Vec<_> = known.iter().map(|known| known.wanted().clone()).collect();
        let snapshot = Snapshot::build(settings, &wanted, assets.clone()).map_err(BootError::config)?;
        known.iter_mut().filter(|known| known.is_pending()).for_each(Known::swap);
        let (snapshot, report) = (Arc::new(ArcSwap::from_pointee(snapshot)), Arc::default());
        let schemas = Self { settings: settings.clone(), assets, known, files, tried: wanted, snapshot, report };
        schemas.publish();
        Ok(schemas)
    }

    /// What calls are served by. A call keeps the one it began with.
    pub(super) fn snapshot(&self) -> Arc<ArcSwap<Snapshot>> {
        self.snapshot.clone()
    }

    pub(super) fn report(&self) -> Arc<ArcSwap<Report>> {
        self.report.clone()
    }

    /// Begins to ask the endpoints whose schema is theirs to tell. To be called inside the runtime that runs the keeper.
    pub(super) fn keep(mut self) -> Result<Keeper, BootError> {
        let (sender, answers) = mpsc::channel(ANSWERS_WAITING_MAX);
        let again = watch::Sender::new(());
        for (index, upstream) in self.settings.upstreams.iter().enumerate() {
            if upstream.schema != SchemaSource::Reflection {
                continue;
            }
            for endpoint in Endpoint::all(index, upstream).map_err(BootError::config)? {
                self.known[index].add_endpoint(endpoint.url().to_owned());
                tokio::spawn(endpoint.run(sender.clone(), again.subscribe()));
            }
        }
        drop(sender);
        // Where nothing can change, the signal keeps its usual meaning.
        let can_change = !self.files.is_empty() || again.receiver_count() > 0;
        let reload = can_change.then(|| signal(SignalKind::hangup())).transpose().map_err(BootError::run)?;
        Ok(Keeper { schemas: self, answers, again, reload })
    }

    /// What clients of the other schemas can no longer rely on in these, as far as files tell.
    pub(super) fn changes_since(&self, old: &Self) -> Vec<String> {
        let mut told = Vec::new();
        for old in &old.known {
            match self.known.iter().find(|known| known.name() == old.name()) {
                Some(known) => {
                    let changes = known.changes_since(old.served());
                    told.extend(changes.into_iter().map(|change| format!("upstream {}: {change}", old.name())));
                }
                None => told.push(format!("upstream {} was removed", old.name())),
            }
        }
        told
    }

    /// Reads what has changed of the files, or all of them; true where anything was read.
    fn look(&mut self, all: bool) -> bool {
        let mut heard = false;
        for (index, files) in &mut self.files {
            if let Some(contents) = if all { Some(files.read()) } else { files.look() } {
                self.known[*index].hear_files(contents);
                heard = true;
            }
        }
        heard
    }

    fn hear(&mut self, answer: Answer) {
        if let Some(known) = self.known.get_mut(answer.from.upstream) {
            known.hear_endpoint(answer);
        }
    }

    /// Puts what is new into service, as far as it fits together, and tells.
    fn update(&mut self) {
        self.known.iter_mut().for_each(Known::join);
        let wanted: Vec<_> = self.known.iter().map(|known| known.wanted().clone()).collect();
        if wanted != self.tried {
            self.tried = wanted;
            self.known.iter_mut().for_each(Known::settle);
            self.swap((0..self.known.len()).filter(|index| self.known[*index].is_pending()).collect());
        }
        self.publish();
    }

    fn swap(&mut self, mut pending: Vec<usize>) {
        // All at once: two that change what they share fit only together.
        while !pending.is_empty() {
            let Err(error) = self.swap_all(&pending) else { return };
            if let [only] = *pending {
                return self.refuse(only, error);
            }
            // One by one, and again as long as one of them makes room for another.
            let mut refused = Vec::new();
            for index in &pending {
                refused.extend(self.swap_all(&[*index]).err().map(|error| (*index, error)));
            }
            if refused.len() == pending.len() {
                return refused.into_iter().for_each(|(index, error)| self.refuse(index, error));
            }
            pending = refused.into_iter().map(|(index, _)| index).collect();
        }
    }

    /// Puts what is wanted of these upstreams into service, beside what is served of the others.
    fn swap_all(&mut self, pending: &[usize]) -> Result<(), String> {
        let snapshot = self.build(|index, known| match pending.contains(&index) {
            true => known.wanted().clone(),
            false => known.served().clone(),
        })?;
        self.snapshot.store(Arc::new(snapshot));
        pending.iter().for_each(|index| self.known[*index].swap());
        Ok(())
    }

    /// What is wrong with an upstream's schema by itself is told before what others are in its way.
    fn refuse(&mut self, refused: usize, error: String) {
        let alone = self.build(|index, known| match index == refused {
            true => known.wanted().clone(),
            false => UpstreamSchema::default(),
        });
        self.known[refused].refuse(alone.err().unwrap_or(error));
    }

    fn build(&self, schema: impl Fn(usize, &Known) -> UpstreamSchema) -> Result<Snapshot, String> {
        let schemas: Vec<_> = self.known.iter().enumerate().map(|(index, known)| schema(index, known)).collect();
        Snapshot::build(&self.settings, &schemas, self.assets.clone()).map_err(|error| error.to_string())
    }

    fn publish(&self) {
        let snapshot = self.snapshot.load();
        let methods =
            |index: usize| snapshot.schema().methods().iter().filter(move |method| method.upstreams.contains(&index));
        let report = |(index, known): (usize, &Known)| known.report(methods(index), &self.settings.routes);
        let upstreams = self.known.iter().enumerate().map(report).collect();
        self.report.store(Arc::new(Report { upstreams }));
    }
}

/// Keeps schemas up to date. To be run on a thread of its own: it reads files, and compiling takes its time.
pub(super) struct Keeper {
    schemas: Schemas,
    answers: mpsc::Receiver<Answer>,
    /// Has every endpoint asked at once.
    again: watch::Sender<()>,
    /// SIGHUP; none where nothing can change.
    reload: Option<Signal>,
}

impl Keeper {
    /// Waits until every endpoint has told its schema or failed to, but not for ever.
    pub(super) async fn first_round(&mut self, patience: Duration) {
        let Self { schemas, answers, .. } = self;
        let round = async {
            while !schemas.known.iter().all(Known::has_heard_all) {
                let Some(answer) = answers.recv().await else { return };
                schemas.hear(answer);
            }
        };
        // Who has not answered by now is served once it has.
        let _ = timeout(patience, round).await;
        schemas.update();
    }

    /// Runs until the process ends, if there is anything to do.
    pub(super) async fn run(mut self) {
        let Some(mut reload) = self.reload.take() else { return };
        let mut look = interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                Some(answer) = self.answers.recv() => {
                    self.schemas.hear(answer);
                    while let Ok(answer) = self.answers.try_recv() {
                        self.schemas.hear(answer);
                    }
                }
                _ = look.tick() => if !self.schemas.look(false) { continue },
                Some(()) = reload.recv() => {
                    tracing::info!("schemas are read and asked for again");
                    self.schemas.look(true);
                    self.again.send_replace(());
                }
            }
            self.schemas.update();
        }
    }
}
