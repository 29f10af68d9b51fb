//! How fast the codec is beside the two usual ways: a message object made from descriptors when the program runs
//! (prost-reflect with serde_json), and types that were known when it was compiled (prost with serde).
//!
//!     cargo bench --bench codec
//!
//! The three take turns of some milliseconds on one thread, so that a busy machine slows all of them; the ratios are
//! medians over the turns. Fails where the codec is not 5 times as fast as the first, or is slower than the second.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement that cannot go on fails there")]

mod fixed;

use std::{
    hint::black_box,
    path::Path,
    process::ExitCode,
    time::{Duration, Instant},
};

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};
use serde_json::Value;
use tidegate::{
    codec::{Codec, PlanId},
    config::{OutputSettings, SchemaSource},
    schema::{Schema, Source, load},
};

use fixed::Order;

/// The gateway's own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const TURNS: usize = 61;
const TURN: Duration = Duration::from_millis(4);
const DYNAMIC_RATIO_MIN: f64 = 5.0;
const STATIC_RATIO_MIN: f64 = 1.0;

fn main() -> ExitCode {
    let contenders = Contenders::new();
    let cases = [("200 B", order(1, false)), ("1 KB", order(5, true)), ("100 KB", order(905, true))];
    cases.iter().for_each(|(_, json)| contenders.assert_agreed(json));
    // As a test, it only has to work.
    if !std::env::args().any(|argument| argument == "--bench") {
        return ExitCode::SUCCESS;
    }
    println!("{:24}{:>22}{:>15}{:>15}   times as fast as", "", "tidegate", "prost-reflect", "prost + serde");
    let mut reached = true;
    for (size, json) in &cases {
        reached &= contenders.measure(size, json);
    }
    if reached { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// JSON of some lines, with everything else that an order may have or with little of it.
fn order(lines: usize, whole: bool) -> String {
    let title = if whole { " with a name" } else { "" };
    let line = |n: usize| {
        format!(
            r#"{{"sku":"SKU-{n:05}","title":"Thing {n}{title}","quantity":{n},"price":{n}.25,"stock":"{}","gift":true}}"#,
            1_000_000_007 + n
        )
    };
    let lines: Vec<_> = (1..=lines).map(line).collect();
    let head = r#""id":"ord_01HZX3V5","customerId":"cus_8842","created":"2024-01-02T03:04:05.123Z","state":"PAID""#;
    let tail = r#","labels":{"channel":"web","campaign":"spring"},"scores":[1,22,333,4444],"address":{"street":"Main Street 5","city":"Zürich","zip":"8001","country":"CH"},"note":"Leave it at the door, please.","updated":"2024-01-03T03:04:05Z""#;
    format!("{{{head},\"lines\":[{}]{}}}", lines.join(","), if whole { tail } else { "" })
}

/// Appends one message to a buffer.
type Round<'a> = Box<dyn Fn(&mut Vec<u8>) + 'a>;

/// What each way needs to know of the message.
struct Contenders {
    codec: Codec,
    plan: PlanId,
    descriptor: MessageDescriptor,
}

impl Contenders {
    fn new() -> Self {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/codec/order.proto");
        let set = load(&SchemaSource::Protos { files: vec![file], includes: Vec::new() }).unwrap().unwrap();
        let schema =
            Schema::merge(&[Source { upstream: 0, name: "bench", set: &set, service_config: &Default::default() }])
                .unwrap();
        let codec = Codec::compile(schema.pool());
        let plan = codec.plan_by_name("bench.Order").unwrap();
        let pool = DescriptorPool::decode(&*set).unwrap();
        Self { codec, plan, descriptor: pool.get_message_by_name("bench.Order").unwrap() }
    }

    /// JSON to wire bytes: the codec's way, the dynamic and the static one.
    fn reading<'a>(&'a self, json: &'a [u8]) -> [Round<'a>; 3] {
        [
            Box::new(move |out| self.codec.json_to_wire(self.plan, black_box(json), out).unwrap()),
            Box::new(move |out| {
                let mut json = serde_json::Deserializer::from_slice(black_box(json));
                let message = DynamicMessage::deserialize(self.descriptor.clone(), &mut json).unwrap();
                json.end().unwrap();
                message.encode(out).unwrap();
            }),
            Box::new(move |out| serde_json::from_slice::<Order>(black_box(json)).unwrap().encode(out).unwrap()),
        ]
    }

    /// Wire bytes to JSON, in the same order.
    fn writing<'a>(&'a self, wire: &'a [u8]) -> [Round<'a>; 3] {
        let options = OutputSettings::default();
        [
            Box::new(move |out| self.codec.wire_to_json(self.plan, black_box(wire), options, out).unwrap()),
            Box::new(move |out| {
                let message = DynamicMessage::decode(self.descriptor.clone(), black_box(wire)).unwrap();
                serde_json::to_writer(out, &message).unwrap();
            }),
            Box::new(move |out| serde_json::to_writer(out, &Order::decode(black_box(wire)).unwrap()).unwrap()),
        ]
    }

    /// All three make the same of it, both ways.
    fn assert_agreed(&self, json: &str) {
        let wanted: Value = serde_json::from_str(json).unwrap();
        for wire in self.reading(json.as_bytes()).iter().map(made) {
            for json in self.writing(&wire).iter().map(made) {
                assert_eq!(serde_json::from_slice::<Value>(&json).unwrap(), wanted);
            }
        }
    }

    /// True where the bar is reached.
    fn measure(&self, size: &str, json: &str) -> bool {
        let reading = self.reading(json.as_bytes());
        let wire = made(&reading[0]);
        let writing = self.writing(&wire);
        let mut reached = measure(&reading, json.len(), &format!("{size:>6}, JSON to protobuf"));
        reached &= measure(&writing, json.len(), &format!("{size:>6}, protobuf to JSON"));
        reached
    }
}

fn made(round: &Round<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    round(&mut out);
    out
}

/// Prints a line; `bytes` is the size of the JSON. True where the bar is reached.
fn measure(contenders: &[Round<'_>; 3], bytes: usize, name: &str) -> bool {
    // One buffer for all, as a server that reuses its buffers has it.
    let mut out = Vec::with_capacity(2 * bytes);
    let rounds = contenders.each_ref().map(|round| {
        let once = turn(round, 10, &mut out).max(1.0);
        (TURN.as_nanos() as f64 / once) as usize + 1
    });
    let mut turns = [(); 3].map(|()| Vec::with_capacity(TURNS));
    for _ in 0..TURNS {
        for ((round, rounds), turns) in contenders.iter().zip(rounds).zip(&mut turns) {
            turns.push(turn(round, rounds, &mut out));
        }
    }
    let ratio = |other: &[f64]| median(other.iter().zip(&turns[0]).map(|(other, own)| other / own).collect());
    let (dynamic, fixed) = (ratio(&turns[1]), ratio(&turns[2]));
    let reached = dynamic >= DYNAMIC_RATIO_MIN && fixed >= STATIC_RATIO_MIN;
    let [own, other, third] = turns.map(median);
    let (speed, verdict) = (bytes as f64 * 1000.0 / own, if reached { "" } else { "  MISSED" });
    println!(
        "{name}{own:>9.0} ns {speed:>4.0} MB/s{other:>12.0} ns{third:>12.0} ns{dynamic:>11.1}{fixed:>7.2}{verdict}"
    );
    reached
}

/// Nanoseconds a round.
fn turn(round: &Round<'_>, rounds: usize, out: &mut Vec<u8>) -> f64 {
    let start = Instant::now();
    for _ in 0..rounds {
        out.clear();
        round(out);
        black_box(&*out);
    }
    start.elapsed().as_nanos() as f64 / rounds as f64
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
