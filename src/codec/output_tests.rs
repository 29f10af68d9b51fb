//! What wire bytes become as JSON, in order or not.

use super::fixtures::{ALL, CODEC};
use crate::{config::OutputSettings, status::Origin};

#[test]
fn options_are_honoured() {
    let wire =
        CODEC.wire(ALL, r#"{"i64":"5","u64":"9007199254740993","c":"RED","snakeCaseField":"x","rc":[2,99]}"#).unwrap();
    let plain = OutputSettings::default();
    for (options, json) in [
        (plain, r#"{"i64":"5","u64":"9007199254740993","c":"RED","rc":["GREEN",99],"snakeCaseField":"x"}"#),
        (
            OutputSettings { enum_numbers: true, ..plain },
            r#"{"i64":"5","u64":"9007199254740993","c":1,"rc":[2,99],"snakeCaseField":"x"}"#,
        ),
        (
            OutputSettings { int64_numbers: true, ..plain },
            r#"{"i64":5,"u64":"9007199254740993","c":"RED","rc":["GREEN",99],"snakeCaseField":"x"}"#,
        ),
        (
            OutputSettings { proto_names: true, ..plain },
            r#"{"i64":"5","u64":"9007199254740993","c":"RED","rc":["GREEN",99],"snake_case_field":"x"}"#,
        ),
    ] {
        assert_eq!(CODEC.json_with(ALL, &wire, options).unwrap(), json);
    }
    let pretty = OutputSettings { pretty: true, ..plain };
    assert_eq!(CODEC.json_with(ALL, b"\x18\x01\x8a\x01\x00", pretty).unwrap(), "{\n  \"i32\": 1,\n  \"n\": {}\n}");
}

#[test]
fn defaults_are_those_of_fields_without_presence() {
    let options = OutputSettings { defaults: true, ..OutputSettings::default() };
    let name = "tidegate.test.v1.Nested";
    let full = r#"{"s":"","i":0,"r":[],"color":"COLOR_UNSPECIFIED","big":"0","flag":false,"twoWords":""}"#;
    for wire in [&b""[..], b"\x10\x00", b"\x10\x00\x0a\x00", b"\x0a\x00\x10\x00\x28\x00\x30\x00"] {
        assert_eq!(CODEC.json_with(name, wire, options).unwrap(), full, "{wire:?}");
    }
    let all = CODEC.json_with(ALL, b"", options).unwrap();
    for (key, there) in
        [("\"ms\":{}", true), ("\"rn\":[]", true), ("\"optS\"", false), ("\"os\"", false), ("\"n\"", false)]
    {
        assert_eq!(all.contains(key), there, "{key} in {all}");
    }
}

#[test]
fn fields_out_of_order_and_apart_give_the_same_json() {
    for (wire, json) in [
        (&b"\x72\x01a\x18\x01"[..], r#"{"i32":1,"s":"a"}"#),
        (b"\x18\x01\x18\x02", r#"{"i32":2}"#),
        (b"\xa2\x01\x01a\x18\x01\xa2\x01\x01b", r#"{"i32":1,"rs":["a","b"]}"#),
        (b"\xaa\x01\x02\x01\x02\xa8\x01\x03", r#"{"ri":[1,2,3]}"#),
        (b"\xa8\x01\x03\xaa\x01\x02\x01\x02", r#"{"ri":[3,1,2]}"#),
        (b"\x8a\x01\x03\x0a\x01a\x8a\x01\x02\x10\x05", r#"{"n":{"s":"a","i":5}}"#),
        (b"\x8a\x01\x03\x0a\x01a\x8a\x01\x03\x0a\x01b", r#"{"n":{"s":"b"}}"#),
        (b"\xc2\x02\x01a\xc8\x02\x05", r#"{"oi":5}"#),
        (b"\xc8\x02\x05\xc2\x02\x01a", r#"{"os":"a"}"#),
        (b"\xd2\x02\x03\x0a\x01a\xc8\x02\x05\xd2\x02\x02\x10\x01", r#"{"on":{"i":1}}"#),
        (b"\xf2\x01\x06\x0a\x01a\x12\x01x\xf2\x01\x06\x0a\x01a\x12\x01y", r#"{"ms":{"a":"y"}}"#),
        (b"\xf2\x01\x06\x12\x01x\x0a\x01a", r#"{"ms":{"a":"x"}}"#),
        (b"\xf2\x01\x00", r#"{"ms":{"":""}}"#),
        (b"\xfa\x01\x02\x08\x05", r#"{"mi":{"5":{}}}"#),
        (b"\xfa\x01\x0b\x08\x01\x12\x02\x10\x05\x12\x03\x0a\x01a", r#"{"mi":{"1":{"s":"a","i":5}}}"#),
        (b"\x18\x00\x72\x00", "{}"),
        (b"\xaa\x01\x00", "{}"),
        // Unknown fields, and known ones of another wire type.
        (b"\xf8\x3f\x01\xfb\x3f\x08\x01\xfc\x3f\x18\x01", r#"{"i32":1}"#),
        (b"\x1a\x01a\x1d\0\0\0\0", "{}"),
    ] {
        assert_eq!(CODEC.json(ALL, wire).unwrap(), json, "{wire:?}");
        CODEC.validate(CODEC.id(ALL), wire).unwrap();
    }
}

#[test]
fn disorder_at_every_level_costs_no_pass_per_level() {
    let mut wire = Vec::new();
    for _ in 0..90 {
        // A child before `s`: out of order.
        let mut outer = vec![0x1a];
        crate::wire::varint::write(wire.len() as u64, &mut outer);
        outer.extend_from_slice(&wire);
        outer.extend_from_slice(b"\x0a\x01a");
        wire = outer;
    }
    let json = CODEC.json("tidegate.test.v1.Nested", &wire).unwrap();
    assert_eq!(json.matches("\"s\":\"a\"").count(), 90);
}

#[test]
fn unsound_messages_are_the_upstreams_fault() {
    for (wire, text) in [
        (&b"\x72\x01\xff"[..], "s: a string that is not UTF-8"),
        (b"\x8a\x01\x03\x0a\x01\xff", "n.s: a string that is not UTF-8"),
        (b"\x72\x05a", "a length beyond the end of the message"),
        (b"\x18", "a varint is cut short or too long"),
        (b"\x92\x03\x02\x08\x80", "ts: a varint is cut short or too long"),
        // Found by fuzzing: the first of two parts, cut short, took the second's first byte for its own.
        (b"\x92\x03\x01\x08\x92\x03\x02\x08\x05", "ts: a varint is cut short or too long"),
        // So were these: what another value takes the place of was never looked at.
        (b"\xf2\x01\x06\x12\x01\xd1\x12\x01b", "ms: a string that is not UTF-8"),
        (b"\xf2\x01\x03\x12\x01\xd1\xf2\x01\x03\x12\x01b", "ms: a string that is not UTF-8"),
        (b"\x72\x01\xd1\x72\x01b", "s: a string that is not UTF-8"),
        (b"\xc2\x02\x01\xd1\xc8\x02\x01", "os: a string that is not UTF-8"),
        (b"\xe2\x03\x06\x0a\x01\xd1\x0a\x01b", "wS.value: a string that is not UTF-8"),
        (b"\xc2\x03\x06\x0a\x01\xd1\x0a\x01b", "any.typeUrl: a string that is not UTF-8"),
    ] {
        let error = CODEC.json(ALL, wire).unwrap_err();
        assert_eq!(error.to_string(), text, "{wire:?}");
        assert_eq!(CODEC.validate(CODEC.id(ALL), wire).unwrap_err().to_string(), text);
        assert_eq!(error.into_status().origin(), Origin::Upstream);
    }
    for (name, wire) in [
        ("google.protobuf.Timestamp", &b"\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"[..]),
        ("google.protobuf.Duration", b"\x08\x01\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
        ("google.protobuf.FieldMask", b"\x0a\x03A_b"),
        ("google.protobuf.Value", b"\x11\0\0\0\0\0\0\xf8\x7f"),
        ("google.protobuf.Any", b"\x0a\x06x/nope"),
    ] {
        assert!(CODEC.json(name, wire).is_err(), "{name}");
    }
}

#[test]
fn details_of_unknown_types_are_base64() {
    let mut out = Vec::new();
    CODEC.any_to_json("type.googleapis.com/tidegate.test.v1.Nested", b"\x0a\x01a", &mut out);
    CODEC.any_to_json("x/no\"pe", b"\x01", &mut out);
    CODEC.any_to_json("x/tidegate.test.v1.Nested", b"\xff", &mut out);
    let json = String::from_utf8(out).unwrap();
    let expected = [
        r#"{"@type":"type.googleapis.com/tidegate.test.v1.Nested","s":"a"}"#,
        r#"{"@type":"x/no\"pe","value":"AQ=="}"#,
        r#"{"@type":"x/tidegate.test.v1.Nested","value":"/w=="}"#,
    ];
    assert_eq!(json, expected.concat());
}
