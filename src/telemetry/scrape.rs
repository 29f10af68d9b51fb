//! The counters as OpenMetrics: names, labels, help. Reads, never counts.

use std::{
    fmt, fs,
    sync::Arc,
    time::{Duration, SystemTime},
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet},
    metrics::{MetricType, exemplar::Exemplar},
    registry::{Registry, Unit},
};

use super::{
    Buffered, FleetState, Mirrored, SchemaRecord, Sources,
    access::AccessLog,
    meters::{Meters, MethodMeters},
};
use crate::status::Origin;

/// Whoever encodes the registry gets the sums of that moment.
pub(super) fn registry(meters: Arc<Meters>, access: Arc<AccessLog>, sources: Arc<Sources>) -> Registry {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Sums { meters, access, sources }));
    registry
}

struct Sums {
    meters: Arc<Meters>,
    access: Arc<AccessLog>,
    sources: Arc<Sources>,
}

impl fmt::Debug for Sums {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sums")
    }
}

impl Collector for Sums {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let methods = self.meters.methods();
        calls(&methods, &mut encoder)?;
        durations(&methods, &mut encoder)?;
        unknown_fields(&methods, &mut encoder)?;
        self.failures(&mut encoder)?;
        self.messages(&mut encoder)?;
        self.mirrored(&mut encoder)?;
        self.shared(&mut encoder)?;
        self.fleet(&mut encoder)?;
        self.slow(&mut encoder)?;
        let in_flight = self.meters.in_flight();
        gauge(&mut encoder, "tidegate_calls_in_flight", "Calls that have begun and not ended", in_flight)?;
        if let Some(open) = self.sources.connections.get() {
            let open = i64::try_from(open()).unwrap_or(i64::MAX);
            gauge(&mut encoder, "tidegate_connections", "Open connections of clients", open)?;
        }
        if let Some(records) = self.sources.schemas.get() {
            schemas(&records(), &mut encoder)?;
        }
        let dropped = self.access.dropped();
        let mut metric = counter(&mut encoder, "tidegate_access_log_dropped", "Access records that found no room")?;
        count(&mut metric, dropped)?;
        if let Some(bytes) = resident_bytes() {
            gauge(&mut encoder, "process_resident_memory_bytes", "Memory of the process in RAM", bytes)?;
        }
        encoder
            .encode_descriptor("tidegate_build", "What is running", None, MetricType::Info)?
            .encode_info(&[("version", env!("CARGO_PKG_VERSION"))])
    }
}

impl Sums {
    fn failures(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut metric = counter(encoder, "tidegate_call_failures", "Calls that failed, by whose fault it is")?;
        for (name, origin) in [("client", Origin::Client), ("gateway", Origin::Gateway), ("upstream", Origin::Upstream)]
        {
            count(&mut metric.encode_family(&[("origin", name)])?, self.meters.failures(origin))?;
        }
        Ok(())
    }

    fn mirrored(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Copies of calls for mirrors: answered, for want of room not begun, or cut off";
        let mut metric = counter(encoder, "tidegate_mirrored_calls", help)?;
        for (name, outcome) in [("sent", Mirrored::Sent), ("dropped", Mirrored::Dropped), ("cut", Mirrored::Cut)] {
            count(&mut metric.encode_family(&[("result", name)])?, self.meters.mirrored(outcome))?;
        }
        Ok(())
    }

    fn shared(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let ([streams, subscribers], messages) = self.meters.shared();
        gauge(encoder, "tidegate_shared_streams", "Upstream streams that calls share", streams)?;
        gauge(encoder, "tidegate_shared_subscribers", "Calls that share a stream with others", subscribers)?;
        let help = "Messages of shared streams that subscribers were given";
        count(&mut counter(encoder, "tidegate_shared_messages", help)?, messages)
    }

    fn fleet(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let Some(fleet) = self.sources.fleet.get() else { return Ok(()) };
        let FleetState { is_up, errors, leases } = fleet();
        gauge(encoder, "tidegate_redis_up", "Whether the Redis of the fleet is reached", i64::from(is_up))?;
        let help = "Commands to Redis, and connections, that failed";
        count(&mut counter(encoder, "tidegate_redis_errors", help)?, errors)?;
        let help = "Streams of the fleet whose upstream stream this gateway has";
        gauge(encoder, "tidegate_redis_leases", help, i64::try_from(leases).unwrap_or(i64::MAX))
    }

    fn slow(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let help = "Messages that clients lost because they took them too slowly, by the policy of the route";
        let mut metric = counter(encoder, "tidegate_dropped_messages", help)?;
        let [oldest, latest] = [self.meters.slow(|slow| &slow.dropped[0]), self.meters.slow(|slow| &slow.dropped[1])];
        for (policy, dropped) in [("drop_oldest", oldest), ("latest", latest)] {
            count(&mut metric.encode_family(&[("policy", policy)])?, dropped)?;
        }
        let help = "Clients that were cut off because they took messages too slowly";
        count(&mut counter(encoder, "tidegate_cut_off_readers", help)?, self.meters.slow(|slow| &slow.cut_off))?;
        let help = "Calls that ended because the client took nothing of what was written to it for too long";
        count(&mut counter(encoder, "tidegate_stalled_writes", help)?, self.meters.slow(|slow| &slow.stalled))?;
        let Some(buffers) = self.sources.stream_buffers.get() else { return Ok(()) };
        let Buffered { bytes, slowest_bytes, slowest_age } = buffers();
        let help = "Memory of messages kept for clients";
        gauge(encoder, "tidegate_stream_buffer_bytes", help, i64::try_from(bytes).unwrap_or(i64::MAX))?;
        let help = "What the client that is furthest behind has not taken yet of what is kept for it";
        gauge(encoder, "tidegate_slowest_reader_bytes", help, i64::try_from(slowest_bytes).unwrap_or(i64::MAX))?;
        let help = "Age of the oldest message of these";
        encoder
            .encode_descriptor("tidegate_slowest_reader_seconds", help, None, MetricType::Gauge)?
            .encode_gauge(&slowest_age.as_secs_f64())
    }

    fn messages(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let [(messages_in, bytes_in), (messages_out, bytes_out)] = self.meters.messages();
        for (name, help, sums) in [
            (
                "tidegate_messages",
                "Messages of calls that ended, from clients and to clients",
                [messages_in, messages_out],
            ),
            ("tidegate_message_bytes", "Bytes of those messages", [bytes_in, bytes_out]),
        ] {
            let mut metric = counter(encoder, name, help)?;
            for (direction, sum) in ["in", "out"].into_iter().zip(sums) {
                count(&mut metric.encode_family(&[("direction", direction)])?, sum)?;
            }
        }
        Ok(())
    }
}

fn calls(methods: &[Arc<MethodMeters>], encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let mut metric = counter(encoder, "tidegate_calls", "Calls that ended, by method, dialect and gRPC code")?;
    for method in methods {
        for (dialect, code, calls) in method.calls() {
            let labels = [("method", &*method.name), ("dialect", dialect), ("code", code.name())];
            count(&mut metric.encode_family(&labels)?, calls)?;
        }
    }
    Ok(())
}

fn durations(methods: &[Arc<MethodMeters>], encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let help = "Time from a call's head to its end";
    let mut metric =
        encoder.encode_descriptor("tidegate_call_duration", help, Some(&Unit::Seconds), MetricType::Histogram)?;
    for method in methods {
        let (sum, count, buckets) = method.durations();
        if count > 0 {
            let labels = [("method", &*method.name)];
            metric.encode_family(&labels)?.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)?;
        }
    }
    Ok(())
}

fn unknown_fields(methods: &[Arc<MethodMeters>], encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let help = "Fields, parameters and enum names that requests gave and their messages do not have, where a route observes them";
    let mut metric = counter(encoder, "tidegate_unknown_fields", help)?;
    for method in methods {
        let unknown = method.unknown_fields();
        if unknown > 0 {
            count(&mut metric.encode_family(&[("method", &*method.name)])?, unknown)?;
        }
    }
    Ok(())
}

fn schemas(records: &[SchemaRecord], encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let help = "New schemas of upstreams: put into service, refused, or not to be had";
    let mut metric = counter(encoder, "tidegate_schema_reloads", help)?;
    for record in records {
        for (result, sum) in [("swapped", record.swapped), ("refused", record.refused), ("failed", record.failed)] {
            count(&mut metric.encode_family(&[("upstream", record.upstream.as_str()), ("result", result)])?, sum)?;
        }
    }
    let seconds = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).as_ref().map_or(0, Duration::as_secs);
    for (name, help, value) in [
        (
            "tidegate_schema_loaded_timestamp_seconds",
            "When the schema that is served was put into service",
            (|record, seconds| record.loaded.map(seconds)) as fn(&SchemaRecord, fn(SystemTime) -> u64) -> Option<u64>,
        ),
        ("tidegate_schema_methods", "Methods of the schema that is served", |record, _| Some(record.methods as u64)),
        ("tidegate_schema_current", "1 where no newer schema is known", |record, _| Some(record.is_current.into())),
    ] {
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for record in records {
            if let Some(value) = value(record, seconds) {
                let value = i64::try_from(value).unwrap_or(i64::MAX);
                metric.encode_family(&[("upstream", record.upstream.as_str())])?.encode_gauge(&value)?;
            }
        }
    }
    Ok(())
}

fn counter<'e>(
    encoder: &'e mut DescriptorEncoder<'_>,
    name: &'e str,
    help: &str,
) -> Result<MetricEncoder<'e>, fmt::Error> {
    encoder.encode_descriptor(name, help, None, MetricType::Counter)
}

fn count(metric: &mut MetricEncoder<'_>, value: u64) -> fmt::Result {
    metric.encode_counter(&value, None::<&Exemplar<NoLabelSet, f64>>)
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: i64) -> fmt::Result {
    encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
}

/// As Linux tells it; elsewhere the metric is left out.
fn resident_bytes() -> Option<i64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: i64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}
