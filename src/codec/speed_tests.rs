//! How fast the codec is, in nanoseconds a message: `cargo test --release --lib codec::speed -- --ignored --nocapture`.

use std::{hint::black_box, time::Instant};

use super::fixtures::codec_of;
use crate::config::OutputSettings;

const ORDER: &str = r#"
    syntax = "proto3";
    package shop;
    import "google/protobuf/timestamp.proto";
    message Order {
      string id = 1;
      string customer_id = 2;
      google.protobuf.Timestamp created = 3;
      enum State { UNKNOWN = 0; OPEN = 1; PAID = 2; }
      State state = 4;
      message Line { string sku = 1; string title = 2; int32 quantity = 3; double price = 4; int64 stock = 5; bool gift = 6; }
      repeated Line lines = 5;
      map<string, string> labels = 6;
      repeated int32 scores = 7;
      message Address { string street = 1; string city = 2; string zip = 3; string country = 4; }
      Address address = 8;
      string note = 9;
      google.protobuf.Timestamp updated = 10;
    }
"#;

fn order(lines: usize) -> String {
    let line = |n: usize| {
        format!(
            r#"{{"sku":"SKU-{n:05}","title":"Thing number {n} with a name","quantity":{n},"price":{n}.25,"stock":"{}","gift":true}}"#,
            1_000_000_007 + n
        )
    };
    let lines: Vec<_> = (1..=lines).map(line).collect();
    format!(
        r#"{{"id":"ord_01HZX3V5","customerId":"cus_8842","created":"2024-01-02T03:04:05.123Z","state":"PAID","lines":[{}],"labels":{{"channel":"web","campaign":"spring"}},"scores":[1,22,333,4444],"address":{{"street":"Main Street 5","city":"Zürich","zip":"8001","country":"CH"}},"note":"Leave it at the door, please.","updated":"2024-01-03T03:04:05Z"}}"#,
        lines.join(",")
    )
}

#[test]
#[ignore = "measurement"]
#[expect(clippy::print_stderr, reason = "its result is for whoever runs it")]
fn nanoseconds_a_message() {
    let codec = codec_of(ORDER);
    let plan = codec.id("shop.Order");
    for lines in [1, 6, 900] {
        let json = order(lines);
        let wire = codec.wire("shop.Order", &json).unwrap();
        assert_eq!(codec.json("shop.Order", &wire).unwrap(), json);
        let rounds = 20_000_000 / json.len();
        let mut out = Vec::with_capacity(json.len() * 2);
        let reading = best(rounds, || {
            out.clear();
            codec.json_to_wire(plan, black_box(json.as_bytes()), &mut out).unwrap();
        });
        let writing = best(rounds, || {
            out.clear();
            codec.wire_to_json(plan, black_box(&wire), OutputSettings::default(), &mut out).unwrap();
        });
        eprintln!("{} B JSON, {} B wire: to wire {reading:.0} ns, to JSON {writing:.0} ns", json.len(), wire.len());
    }
}

/// The fastest of several runs, in nanoseconds a round.
fn best(rounds: usize, mut round: impl FnMut()) -> f64 {
    let runs = (0..7).map(|_| {
        let start = Instant::now();
        (0..rounds / 5).for_each(|_| round());
        start.elapsed().as_nanos() as f64 / (rounds / 5) as f64
    });
    runs.fold(f64::MAX, f64::min)
}

#[test]
#[ignore = "measurement"]
#[expect(clippy::print_stderr, reason = "its result is for whoever runs it")]
fn milliseconds_a_large_schema() {
    use std::fmt::Write as _;
    let mut source = String::from("syntax = \"proto3\"; package big; enum E { ZERO = 0; ONE = 1; }\n");
    for message in 0..10_000 {
        write!(source, "message M{message} {{ M{} next = 1; E kind = 2; map<string, int64> counts = 3;", message / 2)
            .unwrap();
        (4..14).for_each(|field| write!(source, " string some_field_{field} = {field};").unwrap());
        source.push_str(" }\n");
    }
    let pool = super::fixtures::pool_of(&source);
    let start = Instant::now();
    let codec = super::Codec::compile(&pool);
    eprintln!("10,000 messages: {} ms", start.elapsed().as_millis());
    assert!(codec.plan_by_name("big.M9999").is_some());
}
