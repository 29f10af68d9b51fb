//! One worker's connections to one cluster: which call goes where, when to connect, who waits. Knows no gRPC replies.

use std::{
    sync::{Arc, Mutex, Weak, atomic::Ordering},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

use super::{
    backoff::{self, Random},
    balance::{self, Load},
    cluster::{Cluster, Endpoint},
    connect::{self, ConnectError},
    connection::{BeginError, Begun, Line, Link, lock},
    failure,
    request::Outgoing,
};
use crate::{
    keepalive::Pace,
    status::{Code, Reason, Status},
};

/// Calls that may wait at one worker for one cluster.
const WAITING_MAX: usize = 10_000;
/// Longest wait for a stream at a cluster whose connections are all in full use.
const STREAM_WAIT_MAX: Duration = Duration::from_secs(10);
/// When a refused call may come again.
const OVERLOAD_RETRY: Duration = Duration::from_secs(1);

pub(super) struct Shared {
    pub(super) cluster: Arc<Cluster>,
    pub(super) line: Arc<Line>,
    state: Mutex<State>,
    me: Weak<Self>,
}

struct State {
    stations: Vec<Station>,
    turn: usize,
    random: Random,
}

/// One endpoint as this worker sees it.
#[derive(Default)]
struct Station {
    links: Vec<Arc<Link>>,
    connecting: bool,
    /// Attempts that failed in a row.
    failures: u32,
    /// No attempt before.
    retry_at: Option<Instant>,
    failure: Option<Arc<ConnectError>>,
}

enum Hold {
    /// A connection is being opened.
    Connecting,
    /// Every stream is in use.
    Full,
    Fail(Status),
}

impl Shared {
    pub(super) fn new(cluster: Arc<Cluster>) -> Arc<Self> {
        let mut random = Random::new(cluster.next_seed());
        let stations: Vec<_> = cluster.endpoints.iter().map(|_| Station::default()).collect();
        let turn = (random.draw() % stations.len().max(1) as u64) as usize;
        Arc::new_cyclic(|me| Self {
            cluster,
            line: Arc::default(),
            state: Mutex::new(State { stations, turn, random }),
            me: Weak::clone(me),
        })
    }

    /// A stream for a call, at once where there is one.
    pub(super) async fn begin(&self, call: &mut Outgoing) -> Result<Begun, Status> {
        if call.is_late() {
            return Err(failure::deadline_exceeded());
        }
        if self.line.waiting.load(Ordering::Acquire) == 0 {
            match self.try_begin(call, true) {
                Ok(begun) => return Ok(begun),
                Err(Hold::Fail(status)) => return Err(status),
                Err(Hold::Connecting | Hold::Full) => {}
            }
        }
        // Boxed, so that the calls that need not wait are not larger for it.
        Box::pin(self.wait(call)).await
    }

    async fn wait(&self, call: &mut Outgoing) -> Result<Begun, Status> {
        let mut place = Place::take(&self.line).ok_or_else(|| overloaded(&self.cluster))?;
        let start = Instant::now();
        let mut turn = place.ahead == 0;
        loop {
            let freed = self.line.freed.notified();
            tokio::pin!(freed);
            // From here on no notice is missed.
            freed.as_mut().enable();
            let hold = match self.try_begin(call, turn) {
                Ok(begun) => {
                    place.served = true;
                    drop(place);
                    self.pass_on();
                    return Ok(begun);
                }
                Err(Hold::Fail(status)) => return Err(status),
                Err(hold) => hold,
            };
            let limit = start + self.patience(&hold);
            tokio::select! {
                biased;
                () = freed => turn = true,
                () = sleep_until(call.deadline.map_or(limit, |deadline| deadline.min(limit))) => {
                    return Err(self.impatient(call, &hold));
                }
            }
        }
    }

    fn patience(&self, hold: &Hold) -> Duration {
        match hold {
            Hold::Connecting | Hold::Fail(_) => self.cluster.policy.connect_timeout,
            Hold::Full => STREAM_WAIT_MAX,
        }
    }

    fn impatient(&self, call: &Outgoing, hold: &Hold) -> Status {
        match hold {
            _ if call.is_late() => failure::deadline_exceeded(),
            Hold::Connecting | Hold::Fail(_) => unreachable(&self.cluster, Duration::ZERO, None),
            Hold::Full => overloaded(&self.cluster),
        }
    }

    /// One notice may stand for several free streams, or for a connection that is still to be asked for: who got a
    /// stream tells the next.
    fn pass_on(&self) {
        let state = lock(&self.state);
        let hope = |station: &Station| station.has_room() || self.may_connect(station);
        if self.line.waiting.load(Ordering::Acquire) > 0 && state.stations.iter().any(hope) {
            self.line.freed.notify_one();
        }
    }

    /// A stream, unless others wait that came first (`turn` is false): for them one is free, or will be.
    fn try_begin(&self, call: &mut Outgoing, turn: bool) -> Result<Begun, Hold> {
        let mut state = lock(&self.state);
        while let Some(link) = self.choose(&mut state) {
            if !turn {
                return Err(Hold::Full);
            }
            match link.begin(call, &self.cluster.endpoints[link.endpoint]) {
                Ok(begun) => return Ok(begun),
                Err(BeginError::Unsendable(status)) => return Err(Hold::Fail(status)),
                Err(BeginError::Retired) => state.forget(&link),
            }
        }
        Err(self.outlook(&state))
    }

    fn choose(&self, state: &mut State) -> Option<Arc<Link>> {
        let State { stations, turn, .. } = state;
        let pick = balance::pick(self.cluster.policy.balance, turn, stations.len(), |index| stations[index].load());
        for index in pick.wanted {
            self.connect(state, index);
        }
        state.stations[pick.chosen?].freest()
    }

    /// What a call that found no stream can hope for.
    fn outlook(&self, state: &State) -> Hold {
        let stations = &state.stations;
        if stations.iter().any(|station| !station.links.is_empty()) {
            Hold::Full
        } else if stations.iter().any(|station| station.connecting) {
            Hold::Connecting
        } else {
            let now = Instant::now();
            let next = stations.iter().filter_map(|station| station.retry_at).min().unwrap_or(now);
            let causes = stations.iter().filter_map(|station| station.failure.clone()).next_back();
            Hold::Fail(unreachable(&self.cluster, next.saturating_duration_since(now), causes))
        }
    }

    /// Starts an attempt to connect, unless one is on its way, was lately in vain, or there are enough.
    fn connect(&self, state: &mut State, index: usize) {
        let station = &mut state.stations[index];
        if self.may_connect(station) {
            station.connecting = true;
            tokio::spawn(run(Weak::clone(&self.me), Arc::clone(&self.cluster), index));
        }
    }

    fn may_connect(&self, station: &Station) -> bool {
        !station.connecting
            && station.links.len() < self.cluster.policy.connections_max
            && station.retry_at.is_none_or(|at| at <= Instant::now())
    }

    fn connected(&self, link: &Arc<Link>) {
        let station = &mut lock(&self.state).stations[link.endpoint];
        *station = Station { links: std::mem::take(&mut station.links), ..Station::default() };
        station.links.push(Arc::clone(link));
        self.line.freed.notify_waiters();
    }

    fn failed(&self, index: usize, error: ConnectError) {
        let mut state = lock(&self.state);
        let State { stations, random, .. } = &mut *state;
        let station = &mut stations[index];
        station.connecting = false;
        station.failures = station.failures.saturating_add(1);
        let delay = backoff::delay(station.failures, random.draw());
        station.retry_at = Some(Instant::now() + delay);
        tracing::warn!(
            upstream = self.cluster.name,
            error = &error as &dyn std::error::Error,
            failures = station.failures,
            ?delay,
            "upstream endpoint cannot be connected"
        );
        station.failure = Some(Arc::new(error));
        drop(state);
        self.line.freed.notify_waiters();
    }

    /// The server finds this gateway too lively; what a gateway does unasked is PING (gRPC A8, "too_many_pings").
    pub(super) fn complained(&self, link: &Link, error: &h2::Error) {
        let endpoint = &self.cluster.endpoints[link.endpoint];
        tracing::warn!(upstream = self.cluster.name, endpoint = endpoint.url, %error, "upstream complains; PINGs go half as often");
        endpoint.slow_keepalive();
    }

    /// A connection takes no more calls. Where calls used it, the next ones need not wait for its successor.
    pub(super) fn lost(&self, link: &Arc<Link>) {
        let mut state = lock(&self.state);
        state.forget(link);
        if link.in_flight() > 0 && state.stations[link.endpoint].links.is_empty() {
            self.connect(&mut state, link.endpoint);
        }
        drop(state);
        self.line.freed.notify_waiters();
    }
}

impl Drop for Shared {
    /// Calls in flight go on; their connections close after them.
    fn drop(&mut self) {
        for link in lock(&self.state).stations.iter().flat_map(|station| &station.links) {
            link.retire();
        }
    }
}

impl State {
    fn forget(&mut self, gone: &Arc<Link>) {
        self.stations[gone.endpoint].links.retain(|link| !Arc::ptr_eq(link, gone));
    }
}

impl Station {
    fn load(&self) -> Load {
        match &*self.links {
            [] => Load::Down,
            links => {
                let in_flight = links.iter().map(|link| link.in_flight()).sum();
                if self.has_room() { Load::Free(in_flight) } else { Load::Full(in_flight) }
            }
        }
    }

    fn has_room(&self) -> bool {
        self.links.iter().any(|link| link.has_room())
    }

    fn freest(&self) -> Option<Arc<Link>> {
        self.links.iter().filter(|link| link.has_room()).min_by_key(|link| link.in_flight()).cloned()
    }
}

/// A place in the line of those who wait; left when dropped.
struct Place<'a> {
    line: &'a Line,
    ahead: usize,
    served: bool,
}

impl<'a> Place<'a> {
    fn take(line: &'a Line) -> Option<Self> {
        let ahead = line.waiting.fetch_add(1, Ordering::AcqRel);
        let place = Self { line, ahead, served: false };
        (ahead < WAITING_MAX).then_some(place)
    }
}

impl Drop for Place<'_> {
    /// Who leaves unserved may have had the notice that another waits for.
    fn drop(&mut self) {
        if self.line.waiting.fetch_sub(1, Ordering::AcqRel) > 1 && !self.served {
            self.line.freed.notify_one();
        }
    }
}

/// The life of one connection: the attempt, and what follows when it succeeds.
async fn run(pool: Weak<Shared>, cluster: Arc<Cluster>, index: usize) {
    let endpoint = &cluster.endpoints[index];
    let dialed = connect::dial(&cluster, endpoint).await;
    let Some(shared) = pool.upgrade() else { return };
    let dialed = match dialed {
        Ok(dialed) => dialed,
        Err(error) => {
            endpoint.failures.fetch_add(1, Ordering::Relaxed);
            return shared.failed(index, error);
        }
    };
    let _open = Open::count(endpoint);
    let pace = Pace { interval: endpoint.keepalive(&cluster.policy), timeout: cluster.policy.keepalive_timeout };
    let (link, driver) = Link::new(index, dialed, Arc::clone(&shared.line), Weak::clone(&pool), pace);
    shared.connected(&link);
    drop(shared);
    let outcome = driver.await;
    tracing::debug!(upstream = cluster.name, endpoint = endpoint.url, ?outcome, "upstream connection ended");
    link.retire();
    if let Some(shared) = pool.upgrade() {
        shared.lost(&link);
    }
}

/// An open connection in the endpoint's counters, even if its task is thrown away.
struct Open<'a>(&'a Endpoint);

impl<'a> Open<'a> {
    fn count(endpoint: &'a Endpoint) -> Self {
        endpoint.failures.store(0, Ordering::Relaxed);
        endpoint.connections.send_modify(|open| *open += 1);
        Self(endpoint)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.connections.send_modify(|open| *open -= 1);
    }
}

fn unreachable(cluster: &Cluster, retry_after: Duration, cause: Option<Arc<ConnectError>>) -> Status {
    let status =
        Status::upstream(Code::Unavailable, format!("no endpoint of upstream {:?} can be reached", cluster.name))
            .with_reason(Reason::UpstreamUnavailable)
            .with_retry_after(retry_after);
    match cause {
        Some(cause) => status.with_cause(cause),
        None => status,
    }
}

fn overloaded(cluster: &Cluster) -> Status {
    let text = format!("every connection to upstream {:?} is in full use", cluster.name);
    Status::gateway(Code::Unavailable, text).with_reason(Reason::Overloaded).with_retry_after(OVERLOAD_RETRY)
}
