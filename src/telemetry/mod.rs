//! Metrics, logs and access records. Knows nothing of who calls.
//!
//! What a call costs here: a few counters of its worker's own and a line appended to its worker's own buffer. Nothing is
//! allocated, nobody waits for another worker, and no system call is made but to wake the writer of lines, some dozen
//! times a second at most.

mod access;
mod line;
mod meters;
mod scrape;
mod logs;

use std::{
    error::Error,
    io::{self, Write},
    net::IpAddr,
    sync::{Arc, OnceLock, atomic::Ordering::Relaxed},
    time::{Duration, SystemTime},
};

pub use line::rfc3339;
pub use logs::init_logs;

use crate::{
    config::{Settings, SlowReader},
    status::{Code, Origin},
};
use access::AccessLog;
use meters::{Meters, WorkerMeters};

/// Everything that one process counts and records.
pub struct Telemetry {
    meters: Arc<Meters>,
    access: Arc<AccessLog>,
    registry: prometheus_client::registry::Registry,
    sources: Arc<Sources>,
}

/// What is counted elsewhere.
#[derive(Default)]
struct Sources {
    connections: OnceLock<Connections>,
    schemas: OnceLock<Schemas>,
    stream_buffers: OnceLock<StreamBuffers>,
    fleet: OnceLock<Fleet>,
}

/// Tells how many connections of clients are open.
pub type Connections = Box<dyn Fn() -> usize + Send + Sync>;

/// Tells what is kept for clients that read slowly.
pub type StreamBuffers = Box<dyn Fn() -> Buffered + Send + Sync>;

/// What is kept of messages for clients.
#[derive(Clone, Copy, Debug)]
pub struct Buffered {
    pub bytes: usize,
    /// Of them, what the client that is furthest behind has not taken yet.
    pub slowest_bytes: u64,
    /// Of the oldest message of these.
    pub slowest_age: Duration,
}

/// Tells of the Redis of a fleet.
pub type Fleet = Box<dyn Fn() -> FleetState + Send + Sync>;

/// How it stands with the Redis that gateways share streams by.
#[derive(Clone, Copy, Debug)]
pub struct FleetState {
    pub is_up: bool,
    /// Commands and connections that failed.
    pub errors: u64,
    /// Streams of which this gateway is the one that has the upstream's.
    pub leases: usize,
}

/// Tells of every upstream's schema.
pub type Schemas = Box<dyn Fn() -> Vec<SchemaRecord> + Send + Sync>;

/// What is told of an upstream's schema.
#[derive(Clone, Debug)]
pub struct SchemaRecord {
    pub upstream: String,
    /// How often a new one took the place of an old one.
    pub swapped: u64,
    /// How often a new one was invalid, or did not fit.
    pub refused: u64,
    /// How often none could be had.
    pub failed: u64,
    /// When what is served was put into service.
    pub loaded: Option<SystemTime>,
    pub methods: usize,
    /// No newer one is known to be there.
    pub is_current: bool,
}

/// One worker's way to count and record. Clones are the same worker's.
#[derive(Clone)]
pub struct Recorder(Arc<Worker>);

struct Worker {
    meters: Arc<Meters>,
    own: Arc<WorkerMeters>,
    access: Arc<AccessLog>,
    index: usize,
}

/// What became of the copy of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mirrored {
    /// The mirror answered.
    Sent,
    /// Not begun: there was no room.
    Dropped,
    /// Begun, and not taken whole or not answered in time.
    Cut,
}

/// Counts as in flight for as long as it is held.
pub struct InFlight(Recorder);

/// Counts as a shared stream for as long as it is held.
pub struct SharedStream(Recorder);

/// Counts as a subscriber of a shared stream for as long as it is held.
pub struct Subscription(Recorder);

/// What is told of a call when it has ended. No field may hold a secret: of the URL there is none but the method.
#[derive(Clone, Copy)]
pub struct CallRecord<'a> {
    /// `pkg.Service/Method` as the schema or the configuration has it, for it becomes a label; empty: no route.
    pub method: &'a str,
    /// Empty: none was chosen.
    pub upstream: &'a str,
    pub dialect: &'static str,
    pub code: Code,
    /// Whose fault it is where the code is not OK.
    pub origin: Option<Origin>,
    pub http_status: u16,
    pub duration: Duration,
    /// From the client.
    pub messages_in: u64,
    /// To the client.
    pub messages_out: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// How many names the client gave that its message does not have, where the route observes them.
    pub unknown_fields: u64,
    /// Some of them.
    pub unknown_field_paths: &'a [String],
    pub peer: Option<IpAddr>,
    pub request_id: &'a str,
    /// The failure, with what was behind it as its sources.
    pub cause: Option<&'a dyn Error>,
}

impl Telemetry {
    /// Records go to standard error.
    pub fn new(settings: &Settings) -> Self {
        Self::to(Box::new(io::stderr()), settings.workers, settings.access_log)
    }

    /// Records go to the writer: of every call, or only of the faults of the gateway and of upstreams.
    pub fn to(writer: Box<dyn Write + Send>, workers: usize, every_call: bool) -> Self {
        let workers = workers.max(1);
        let meters = Arc::new(Meters::new(workers));
        let access = AccessLog::start(writer, workers, every_call);
        let sources = Arc::default();
        let registry = scrape::registry(meters.clone(), access.clone(), Arc::clone(&sources));
        Self { meters, access, registry, sources }
    }

    /// The metrics in the OpenMetrics text format, as Prometheus takes it
    /// (`application/openmetrics-text; version=1.0.0; charset=utf-8`).
    pub fn metrics_text(&self) -> String {
        let mut text = String::new();
        // Writing to a string fails only where a metric's own encoding does, and ours do not.
        let _ = prometheus_client::encoding::text::encode(&mut text, &self.registry);
        text
    }

    /// For one worker; more of them than workers share.
    pub fn recorder(&self) -> Recorder {
        let (index, own) = self.meters.join();
        Recorder(Arc::new(Worker { meters: self.meters.clone(), own, access: self.access.clone(), index }))
    }

    /// Where the number of open connections is known. Said again: no effect.
    pub fn watch_connections(&self, open: Connections) {
        let _ = self.sources.connections.set(open);
    }

    /// Where the state of schemas is known. Said again: no effect.
    pub fn watch_schemas(&self, schemas: Schemas) {
        let _ = self.sources.schemas.set(schemas);
    }

    /// Where it is known what is kept for clients. Said again: no effect.
    pub fn watch_stream_buffers(&self, buffers: StreamBuffers) {
        let _ = self.sources.stream_buffers.set(buffers);
    }

    /// Where the state of the fleet's Redis is known. Said again: no effect.
    pub fn watch_fleet(&self, fleet: Fleet) {
        let _ = self.sources.fleet.set(fleet);
    }

    /// Writes out the records that wait. To be called before the process ends.
    pub fn flush(&self) {
        self.access.flush();
    }
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        self.access.stop();
    }
}

impl Recorder {
    /// Counts a call as in flight until the guard is dropped.
    pub fn call_started(&self) -> InFlight {
        self.0.own.begin();
        InFlight(self.clone())
    }

    /// Counts and records a call that has ended.
    pub fn call(&self, record: &CallRecord<'_>) {
        self.record_at(record, SystemTime::now);
    }

    /// Counts the copy of a call.
    pub fn mirrored(&self, outcome: Mirrored) {
        self.0.own.mirrored(outcome);
    }

    /// Counts a message of a shared stream that a subscriber was given.
    pub fn shared_message(&self) {
        self.0.own.shared.messages.fetch_add(1, Relaxed);
    }

    /// Counts messages that a client lost because it read too slowly.
    pub fn dropped(&self, policy: SlowReader, messages: u64) {
        let [oldest, latest] = &self.0.own.slow.dropped;
        match policy {
            SlowReader::DropOldest => oldest.fetch_add(messages, Relaxed),
            SlowReader::Latest => latest.fetch_add(messages, Relaxed),
            // Nothing is dropped there.
            SlowReader::Block | SlowReader::Disconnect => 0,
        };
    }

    /// Counts a client that was cut off because it read too slowly.
    pub fn cut_off(&self) {
        self.0.own.slow.cut_off.fetch_add(1, Relaxed);
    }

    /// Counts a call whose client took nothing for too long.
    pub fn stalled(&self) {
        self.0.own.slow.stalled.fetch_add(1, Relaxed);
    }

    fn record_at(&self, record: &CallRecord<'_>, now: impl FnOnce() -> SystemTime) {
        let Worker { meters, own, access, index } = &*self.0;
        own.call(record);
        meters.call(*index, record);
        if access.every_call || line::is_fault(record) {
            access.append(*index, |buffer| line::write(buffer, record, now()));
        }
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.0.own.end();
    }
}

impl SharedStream {
    pub fn new(recorder: &Recorder) -> Self {
        recorder.0.own.shared.streams.fetch_add(1, Relaxed);
        Self(recorder.clone())
    }
}

impl Drop for SharedStream {
    fn drop(&mut self) {
        self.0.0.own.shared.streams.fetch_sub(1, Relaxed);
    }
}

impl Subscription {
    pub fn new(recorder: &Recorder) -> Self {
        recorder.0.own.shared.subscribers.fetch_add(1, Relaxed);
        Self(recorder.clone())
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.0.0.own.shared.subscribers.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::status::Status;

    #[derive(Clone, Default)]
    pub(super) struct Sink(Arc<Mutex<Vec<u8>>>);

    impl Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Sink {
        pub(super) fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    pub(super) fn record(method: &str, code: Code) -> CallRecord<'_> {
        CallRecord {
            method,
            upstream: "liker",
            dialect: "json",
            code,
            origin: None,
            http_status: code.http_status().as_u16(),
            duration: Duration::from_micros(1500),
            messages_in: 1,
            messages_out: 2,
            bytes_in: 10,
            bytes_out: 200,
            unknown_fields: 0,
            unknown_field_paths: &[],
            peer: Some(IpAddr::from([192, 0, 2, 1])),
            request_id: "r1",
            cause: None,
        }
    }

    #[test]
    fn workers_count_apart_and_are_told_together() {
        let telemetry = Telemetry::to(Box::new(io::sink()), 2, true);
        let (one, two) = (telemetry.recorder(), telemetry.recorder());
        one.call(&record("demo.Liker/Like", Code::Ok));
        two.call(&record("demo.Liker/Like", Code::Ok));
        two.call(&CallRecord {
            origin: Some(Origin::Client),
            dialect: "sse",
            ..record("demo.Liker/Like", Code::NotFound)
        });
        two.mirrored(Mirrored::Cut);
        one.call(&CallRecord { dialect: "telnet", ..record("", Code::Unimplemented) });
        let _call = one.call_started();
        let _shared = (SharedStream::new(&one), Subscription::new(&one), Subscription::new(&two));
        drop((SharedStream::new(&two), Subscription::new(&two)));
        two.shared_message();
        one.cut_off();
        two.dropped(SlowReader::DropOldest, 5);
        one.dropped(SlowReader::Latest, 6);
        two.dropped(SlowReader::Latest, 1);
        two.stalled();
        telemetry.watch_stream_buffers(Box::new(|| Buffered {
            bytes: 1234,
            slowest_bytes: 1000,
            slowest_age: Duration::from_millis(2500),
        }));
        telemetry.watch_fleet(Box::new(|| FleetState { is_up: true, errors: 8, leases: 9 }));
        telemetry.watch_connections(Box::new(|| 1));
        telemetry.watch_schemas(Box::new(|| {
            vec![SchemaRecord {
                upstream: "liker".to_owned(),
                swapped: 3,
                refused: 2,
                failed: 1,
                loaded: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000)),
                methods: 5,
                is_current: false,
            }]
        }));
        drop(two.call_started());

        let text = telemetry.metrics_text();
        for line in [
            "tidegate_calls_total{method=\"demo.Liker/Like\",dialect=\"json\",code=\"OK\"} 2",
            "tidegate_calls_total{method=\"demo.Liker/Like\",dialect=\"sse\",code=\"NOT_FOUND\"} 1",
            "tidegate_calls_total{method=\"unknown\",dialect=\"other\",code=\"UNIMPLEMENTED\"} 1",
            "tidegate_call_failures_total{origin=\"client\"} 1",
            "tidegate_call_duration_seconds_bucket{le=\"0.001\",method=\"demo.Liker/Like\"} 0",
            "tidegate_call_duration_seconds_bucket{le=\"0.0025\",method=\"demo.Liker/Like\"} 3",
            "tidegate_call_duration_seconds_bucket{le=\"+Inf\",method=\"demo.Liker/Like\"} 3",
            "tidegate_call_duration_seconds_count{method=\"demo.Liker/Like\"} 3",
            "tidegate_call_duration_seconds_sum{method=\"demo.Liker/Like\"} 0.0045",
            "tidegate_calls_in_flight 1",
            "tidegate_mirrored_calls_total{result=\"sent\"} 0",
            "tidegate_mirrored_calls_total{result=\"cut\"} 1",
            "tidegate_shared_streams 1",
            "tidegate_shared_subscribers 2",
            "tidegate_shared_messages_total 1",
            "tidegate_cut_off_readers_total 1",
            "tidegate_dropped_messages_total{policy=\"drop_oldest\"} 5",
            "tidegate_dropped_messages_total{policy=\"latest\"} 7",
            "tidegate_stalled_writes_total 1",
            "tidegate_stream_buffer_bytes 1234",
            "tidegate_redis_up 1",
            "tidegate_redis_errors_total 8",
            "tidegate_redis_leases 9",
            "tidegate_slowest_reader_bytes 1000",
            "tidegate_slowest_reader_seconds 2.5",
            "tidegate_connections 1",
            "tidegate_schema_reloads_total{upstream=\"liker\",result=\"swapped\"} 3",
            "tidegate_schema_reloads_total{upstream=\"liker\",result=\"refused\"} 2",
            "tidegate_schema_reloads_total{upstream=\"liker\",result=\"failed\"} 1",
            "tidegate_schema_loaded_timestamp_seconds{upstream=\"liker\"} 1800000000",
            "tidegate_schema_methods{upstream=\"liker\"} 5",
            "tidegate_schema_current{upstream=\"liker\"} 0",
            "tidegate_messages_total{direction=\"in\"} 4",
            "tidegate_messages_total{direction=\"out\"} 8",
            "tidegate_message_bytes_total{direction=\"in\"} 40",
            "tidegate_message_bytes_total{direction=\"out\"} 800",
            "tidegate_access_log_dropped_total 0",
            concat!("tidegate_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn records_reach_the_writer_at_the_latest_when_flushed() {
        let sink = Sink::default();
        let telemetry = Telemetry::to(Box::new(sink.clone()), 1, true);
        telemetry.recorder().call(&record("demo.Liker/Like", Code::Ok));
        telemetry.flush();
        let text = sink.text();
        assert!(text.starts_with("{\"time\":\"") && text.ends_with("}\n"), "{text}");
        assert_eq!(text.lines().count(), 1);
    }

    #[test]
    fn records_reach_the_writer_unasked() {
        let (sender, receiver) = std::sync::mpsc::channel();
        struct Pipe(std::sync::mpsc::Sender<Vec<u8>>);
        impl Write for Pipe {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                let _ = self.0.send(bytes.to_vec());
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let telemetry = Telemetry::to(Box::new(Pipe(sender)), 1, true);
        for id in ["first", "second"] {
            telemetry.recorder().call(&CallRecord { request_id: id, ..record("a.B/C", Code::Ok) });
            let bytes = receiver.recv_timeout(Duration::from_secs(60)).unwrap();
            assert!(String::from_utf8(bytes).unwrap().contains(id));
        }
    }

    #[test]
    fn without_an_access_log_the_faults_of_gateway_and_upstreams_remain() {
        let sink = Sink::default();
        let telemetry = Telemetry::to(Box::new(sink.clone()), 1, false);
        let recorder = telemetry.recorder();
        recorder.call(&record("a.B/Well", Code::Ok));
        let status = Status::client(Code::InvalidArgument, "no");
        recorder.call(&CallRecord {
            origin: Some(Origin::Client),
            cause: Some(&status),
            ..record("a.B/Client", status.code())
        });
        recorder.call(&CallRecord { origin: Some(Origin::Upstream), ..record("a.B/Answer", Code::NotFound) });
        recorder.call(&CallRecord { origin: Some(Origin::Upstream), ..record("a.B/Gone", Code::Unavailable) });
        recorder.call(&CallRecord { origin: Some(Origin::Gateway), ..record("a.B/Own", Code::Internal) });
        telemetry.flush();
        let text = sink.text();
        let methods: Vec<_> =
            ["Well", "Client", "Answer", "Gone", "Own"].into_iter().filter(|name| text.contains(name)).collect();
        assert_eq!(methods, ["Gone", "Own"], "{text}");
    }

    #[test]
    fn a_writer_that_stands_still_costs_lines_but_no_calls() {
        /// Never returns from a write until the test lets go of the lock.
        struct Stuck(Arc<Mutex<()>>);
        impl Write for Stuck {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                drop(self.0.lock().unwrap());
                Ok(bytes.len())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let gate = Arc::new(Mutex::new(()));
        let closed = gate.lock().unwrap();
        let telemetry = Telemetry::to(Box::new(Stuck(gate.clone())), 1, true);
        let recorder = telemetry.recorder();
        let long = "x".repeat(1000);
        for _ in 0..10_000 {
            recorder.call(&CallRecord { request_id: &long, ..record("a.B/C", Code::Ok) });
        }
        let text = telemetry.metrics_text();
        drop(closed);
        assert!(text.contains("code=\"OK\"} 10000\n"), "{text}");
        assert!(!text.contains("tidegate_access_log_dropped_total 0\n"), "{text}");
    }

    #[test]
    fn methods_beyond_the_most_share_one_label() {
        let telemetry = Telemetry::to(Box::new(io::sink()), 1, false);
        let recorder = telemetry.recorder();
        for number in 0..meters::METHODS_MAX + 5 {
            recorder.call(&record(&format!("a.B/M{number}"), Code::Ok));
        }
        let text = telemetry.metrics_text();
        assert!(text.contains("method=\"unknown\",dialect=\"json\",code=\"OK\"} 5\n"));
    }
}
