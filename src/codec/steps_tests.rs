//! No message costs more than its size allows, however it is made: steps per byte, for shapes that would multiply them.

use std::sync::LazyLock;

use super::{
    Binding, Codec, QueryMode,
    fixtures::codec_of,
    plan::{GROUP_END, GROUP_START, LENGTH},
    protobuf::{put_bytes, put_varint},
    steps,
};
use crate::config::OutputSettings;

const SCHEMA: &str = r#"
    syntax = "proto2";
    package deep;
    import "google/protobuf/any.proto";
    import "google/protobuf/field_mask.proto";
    import "google/protobuf/struct.proto";
    message M {
      optional M child = 1;
      optional M left = 2;
      optional group G = 3 { optional M m = 1; }
      repeated int32 a = 4;
      repeated int32 b = 5;
      optional string s = 6;
      oneof x { string x1 = 7; M x2 = 8; int32 x3 = 9; }
      map<string, M> mm = 10;
      map<string, string> ms = 11;
      repeated M rm = 12;
      optional google.protobuf.Any any = 13;
      optional google.protobuf.Value v = 14;
      repeated bytes rb = 15;
      repeated Named e = 16 [packed = true];
      optional google.protobuf.FieldMask update_mask = 17;
    }
    enum Named { THE_LONG_NAME_OF_A_VALUE_WITH_THE_PREFIX_OF_ITS_ENUM_AS_STYLE_GUIDES_WANT_IT = 0; }
"#;

static CODEC: LazyLock<Codec> = LazyLock::new(|| codec_of(SCHEMA));

/// Bytes of a message here, and of one four times as long.
const SIZES: [usize; 2] = [1 << 14, 1 << 16];

/// Two passes, each of which looks at a field, at its appearances and at its end, and copies what is joined.
const STEPS_PER_BYTE_MAX: usize = 16;

fn field(number: u32, bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_varint(u64::from(number) << 3 | u64::from(LENGTH), &mut out);
    put_bytes(bytes, &mut out);
    out
}

fn number(number: u32) -> Vec<u8> {
    vec![(number << 3) as u8, 1]
}

fn group(number: u32, bytes: &[u8]) -> Vec<u8> {
    let tag = |wire_type: u8| (number << 3) as u8 | wire_type;
    [&[tag(GROUP_START)], bytes, &[tag(GROUP_END)]].concat()
}

fn any(bytes: &[u8]) -> Vec<u8> {
    [field(1, b"x/deep.M"), field(2, bytes)].concat()
}

fn nested(depth: usize, innermost: Vec<u8>, round: impl Fn(&[u8]) -> Vec<u8>) -> Vec<u8> {
    (0..depth).fold(innermost, |inner, _| round(&inner))
}

fn repeated(part: &[u8], bytes: usize) -> Vec<u8> {
    part.repeat(bytes / part.len())
}

/// What it is, and how it is made in about a given size.
type Shape<T> = (&'static str, fn(usize) -> T);

/// Messages on the wire.
fn wires() -> Vec<Shape<Vec<u8>>> {
    vec![
        ("lists in turns", |n| repeated(&[number(4), number(5)].concat(), n)),
        ("a list packed and not in turns", |n| repeated(&[number(4), field(4, &[1, 2])].concat(), n)),
        ("a message in many parts", |n| repeated(&field(1, &number(4)), n)),
        ("deep messages in many parts", |n| repeated(&nested(90, number(4), |inner| field(1, inner)), n)),
        ("parts at every level", |n| {
            nested(90, repeated(&number(4), n), |inner| [field(1, inner), field(1, b"")].concat())
        }),
        ("members of a oneof in turns", |n| repeated(&[field(7, b"a"), number(9)].concat(), n)),
        ("deep members of a oneof in turns", |n| {
            repeated(&[field(8, &nested(80, number(4), |inner| field(1, inner))), number(9)].concat(), n)
        }),
        ("entries with one key", |n| repeated(&field(11, &[field(1, b"k"), field(2, b"v")].concat()), n)),
        ("an entry whose value has many parts", |n| field(10, &repeated(&field(2, &number(4)), n))),
        ("entries whose values have parts, at every level", |n| {
            nested(45, repeated(&number(4), n), |inner| field(10, &[field(2, inner), field(2, b"")].concat()))
        }),
        ("entries that are superseded, at every level", |n| {
            nested(45, repeated(&number(4), n), |inner| [field(10, b""), field(10, &field(2, inner))].concat())
        }),
        ("groups in messages in groups", |n| nested(45, repeated(&number(4), n), |inner| group(3, &field(1, inner)))),
        ("unknown fields", |n| repeated(&field(99, b"a"), n)),
        ("unknown groups", |n| repeated(&nested(95, Vec::new(), |inner| group(12, inner)), n)),
        ("an Any in an Any", |n| nested(45, repeated(&number(4), n), |inner| field(13, &any(inner)))),
        ("an Any in an Any, out of order", |n| {
            nested(45, repeated(&number(4), n), |inner| [field(13, &any(inner)), field(6, b"")].concat())
        }),
        ("kinds of a Value in turns", |n| field(14, &repeated(&[field(3, b"a"), number(4)].concat(), n))),
        ("Structs in parts, at every level", |n| {
            let entry = |value: &[u8]| field(1, &[field(1, b"k"), field(2, value)].concat());
            let round = |inner: &[u8]| [field(5, &entry(inner)), field(5, b"")].concat();
            field(14, &nested(45, repeated(&field(3, b"a"), n), round))
        }),
        ("empty messages, out of order", |n| [repeated(&field(12, b""), n), field(1, b"")].concat()),
    ]
}

fn jsons() -> Vec<Shape<String>> {
    fn ones(bytes: usize) -> String {
        format!("[{}1]", "1,".repeat(bytes / 2))
    }
    fn nested(depth: usize, open: &str, innermost: &str, close: &str) -> String {
        format!("{}{innermost}{}", open.repeat(depth), close.repeat(depth))
    }
    vec![
        ("a deep message", |n| nested(90, r#"{"child":"#, &format!(r#"{{"a":{}}}"#, ones(n)), "}")),
        ("a long string deep in messages", |n| {
            nested(90, r#"{"child":"#, &format!(r#"{{"s":"{}"}}"#, "x".repeat(n)), "}")
        }),
        ("a deep map", |n| nested(45, r#"{"mm":{"k":"#, &format!(r#"{{"a":{}}}"#, ones(n)), "}}")),
        ("many deep messages", |n| {
            let deep = nested(90, r#"{"child":"#, "{}", "}") + ",";
            format!(r#"{{"rm":[{}{{}}]}}"#, deep.repeat(n / deep.len()))
        }),
        ("an Any in an Any, its type first", |n| {
            let innermost = format!(r#"{{"@type":"x/deep.M","a":{}}}"#, ones(n));
            format!(r#"{{"any":{}}}"#, nested(90, r#"{"@type":"x/google.protobuf.Any","value":"#, &innermost, "}"))
        }),
        ("an Any in an Any, its type last", |n| {
            let innermost = format!(r#"{{"a":{},"@type":"x/deep.M"}}"#, ones(n));
            let close = r#","@type":"x/google.protobuf.Any"}"#;
            format!(r#"{{"any":{}}}"#, nested(90, r#"{"value":"#, &innermost, close))
        }),
        ("a Value of deep lists", |n| format!(r#"{{"v":{}}}"#, nested(90, "[", &ones(n), "]"))),
        ("a Value of deep objects", |n| format!(r#"{{"v":{}}}"#, nested(90, r#"{"k":"#, &ones(n), "}"))),
        ("many deep Values", |n| {
            let deep = nested(90, "[", "", "]") + ",";
            format!(r#"{{"v":[{}1]}}"#, deep.repeat(n / deep.len()))
        }),
        ("many keys", |n| {
            let entries: Vec<_> = (0..n / 16).map(|key| format!(r#""k{key:08}":"v""#)).collect();
            format!(r#"{{"ms":{{{}}}}}"#, entries.join(","))
        }),
        ("white space", |n| format!(r#"{{{}"s":""}}"#, " ".repeat(n))),
        ("a number with many digits", |n| format!(r#"{{"a":[1.{}]}}"#, "0".repeat(n))),
    ]
}

#[test]
fn a_message_costs_no_more_than_its_size_allows() {
    let plan = CODEC.id("deep.M");
    for (shape, make) in wires() {
        for size in SIZES {
            let (wire, mut json) = (make(size), Vec::new());
            let steps = steps::of(|| CODEC.wire_to_json(plan, &wire, OutputSettings::default(), &mut json).unwrap());
            assert!(steps <= STEPS_PER_BYTE_MAX * wire.len(), "{shape}: {steps} steps for {} bytes", wire.len());
            let steps = steps::of(|| CODEC.validate(plan, &wire).unwrap());
            assert!(steps <= STEPS_PER_BYTE_MAX * wire.len(), "{shape}: {steps} steps for {} bytes", wire.len());
        }
    }
}

#[test]
fn a_json_text_costs_no_more_than_its_size_allows() {
    let plan = CODEC.id("deep.M");
    for (shape, make) in jsons() {
        for size in SIZES {
            let (json, mut wire) = (make(size), Vec::new());
            let steps = steps::of(|| CODEC.json_to_wire(plan, json.as_bytes(), &mut wire).unwrap());
            assert!(steps <= STEPS_PER_BYTE_MAX * json.len(), "{shape}: {steps} steps for {} bytes", json.len());
        }
    }
}

#[test]
fn parameters_do_not_multiply_a_message() {
    let plan = CODEC.id("deep.M");
    let binding = Binding::compile(&CODEC, plan, plan, &[], Some("*"), None).unwrap();
    let query = "rb=YQ&".repeat(2000) + "&x2.child.s=1&x2.s=2&x2.left.left.s=3&left.s=4";
    let bound = binding.bind(&CODEC, &[], Some(&query), QueryMode::Fill).unwrap();
    for (shape, part) in
        [("the same field", field(15, b"")), ("a rival", number(9)), ("a message on the way", field(2, &number(4)))]
    {
        let (message, mut out) = (repeated(&part, SIZES[1]), Vec::new());
        let steps = steps::of(|| bound.protobuf(&CODEC, &binding, &message, &mut out).unwrap());
        assert!(steps <= STEPS_PER_BYTE_MAX * message.len(), "{shape}: {steps} steps for {} bytes", message.len());
    }
}

#[test]
fn what_becomes_too_long_is_refused() {
    let plan = CODEC.id("deep.M");
    let (pretty, plain) = (OutputSettings { pretty: true, ..Default::default() }, OutputSettings::default());
    let deep = nested(49, repeated(&field(1, &number(4)), 3 << 20), |inner| field(1, &field(6, inner)));
    let messages = [(pretty, field(14, &field(6, &deep))), (plain, field(16, &vec![0; 1 << 20]))];
    for (options, wire) in messages {
        let error = CODEC.wire_to_json(plan, &wire, options, &mut Vec::new()).unwrap_err();
        assert!(error.to_string().contains("more JSON than may be sent"), "{error}");
    }
}

#[test]
fn an_update_mask_is_not_many_times_as_long_as_its_body() {
    fn tree(levels: usize) -> String {
        let Some(below) = levels.checked_sub(1).map(tree) else { return r#"{"s":""}"#.to_owned() };
        format!(r#"{{"child":{below},"left":{below}}}"#)
    }
    let plan = CODEC.id("deep.M");
    let binding = Binding::compile(&CODEC, plan, plan, &[], Some("child"), None).unwrap().with_update_mask(&CODEC);
    let mut bound = binding.bind(&CODEC, &[], None, QueryMode::Strict).unwrap();
    let body = format!("{}{}{}", r#"{"child":"#.repeat(80), tree(11), "}".repeat(80));
    let error = bound.message(&CODEC, &binding, Some(body.as_bytes()), &mut Vec::new()).unwrap_err();
    assert!(error.text().contains("more than the update mask"), "{error}");
}
