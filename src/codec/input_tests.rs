//! What JSON becomes on the wire, and where it is refused.

use super::fixtures::{ALL, CODEC, codec_of};

#[test]
fn a_refusal_names_the_path_and_the_byte() {
    for (json, error) in [
        (r#"{"rn":[{},{"i":"x"}]}"#, r#"body: rn[1].i (byte 15): expected a 32-bit integer, got "x""#),
        (r#"{"n":{"child":{"nope":1}}}"#, "body: n.child.nope (byte 15): tidegate.test.v1.Nested has no such field"),
        (r#"{"u32": -1}"#, "body: u32 (byte 8): expected a 32-bit unsigned integer, got -1"),
        (r#"{"s": 5}"#, "body: s (byte 6): expected a string, got 5"),
        (r#"{"s": {}}"#, "body: s (byte 6): expected a string, got an object"),
        (r#"{"s": }"#, r#"body: s (byte 6): expected a string, got "}""#),
        (r#"{"b": "true"}"#, r#"body: b (byte 6): expected true or false, got "true""#),
        (
            r#"{"mi": {"1": {"color": "BLUE"}}}"#,
            r#"body: mi["1"].color (byte 23): expected the name of a value of tidegate.test.v1.Color, got "BLUE""#,
        ),
        (r#"{"mi": {"x": {}}}"#, r#"body: mi["x"] (byte 8): expected a 32-bit integer as a key, got "x""#),
        (r#"{"s":"a","s":"b"}"#, "body: s (byte 9): the field is given twice"),
        (r#"{"ms":{"a":"1","\u0061":"2"}}"#, r#"body: ms["a"] (byte 15): the key is given twice"#),
        (r#"{"os":"a","oi":1}"#, "body: oi (byte 10): another member of the oneof choice is given too"),
        (r#"{"by":"*"}"#, r#"body: by (byte 6): expected a string in base64, got "*""#),
        (
            r#"{"any":{"@type":"x/nope"}}"#,
            r#"body: any.@type (byte 7): expected the URL of a type in the schema, got "x/nope""#,
        ),
        (r#"{"onull":null 0}"#, r#"body: (byte 14): expected ',' or '}', got 0"#),
        (r#"{"onull":"NULL_VALUE"0}"#, r#"body: (byte 21): expected ',' or '}', got 0"#),
        (r#"{"onull":00}"#, r#"body: (byte 10): expected ',' or '}', got 0"#),
        (r#"{"onull":-0}"#, "body: onull (byte 9): expected null, got -0"),
        (r#"{"s":"a"} x"#, r#"body: (byte 10): expected the end, got "x""#),
        ("", "body: (byte 0): expected an object, got the end"),
        ("[]", "body: (byte 0): expected an object, got an array"),
        (r#"{"s":"\ud800"}"#, "body: s (byte 6): a high surrogate without the low one after it"),
        ("{\"s\":\"a\nb\"}", "body: s (byte 7): a control character in a string must be escaped"),
        (r#"{"n":{"s":"x"}"#, "body: (byte 14): expected ',' or '}', got the end"),
        (r#"{s:1}"#, r#"body: (byte 1): expected a key in double quotes, got "s""#),
        (r#"{"d":01}"#, "body: d (byte 5): a number that JSON does not know (RFC 8259, section 6)"),
        (
            r#"{"ts":"yesterday"}"#,
            r#"body: ts (byte 6): expected an RFC 3339 date and time as "2024-01-02T03:04:05Z", got "yesterday""#,
        ),
    ] {
        assert_eq!(CODEC.wire(ALL, json).unwrap_err().to_string(), error, "{json}");
    }
    let mut out = Vec::new();
    let error = CODEC.json_to_wire(CODEC.id(ALL), b"{\"s\":\"\xff\"}", &mut out).unwrap_err();
    assert_eq!(error.to_string(), "body: (byte 6): expected UTF-8");
}

#[test]
fn json_and_proto_names_of_one_field_are_the_same_field() {
    assert!(CODEC.wire(ALL, r#"{"snakeCaseField":"a","snake_case_field":"a"}"#).is_err());
    assert!(CODEC.wire(ALL, r#"{"customName":null,"renamed":null}"#).is_err());
    assert_eq!(CODEC.wire(ALL, r#"{"snake_case_field":"a"}"#), CODEC.wire(ALL, r#"{"\u0073nakeCaseField":"a"}"#));
}

#[test]
fn null_is_absence_except_where_null_is_a_value() {
    for (json, back) in [
        (r#"{"s":null,"n":null,"rs":null,"ms":null,"c":null,"optS":null,"wS":null,"ts":null,"any":null}"#, "{}"),
        (r#"{"os":null,"oi":5}"#, r#"{"oi":5}"#),
        (r#"{"onull":null}"#, r#"{"onull":null}"#),
        (r#"{"val":null}"#, r#"{"val":null}"#),
        (r#"{"lv":[null]}"#, r#"{"lv":[null]}"#),
        (r#"{"st":{"a":null}}"#, r#"{"st":{"a":null}}"#),
    ] {
        let wire = CODEC.wire(ALL, json).unwrap();
        assert_eq!(CODEC.json(ALL, &wire).unwrap(), back, "{json}");
    }
    for json in [r#"{"rs":[null]}"#, r#"{"ms":{"a":null}}"#, r#"{"rn":[null]}"#, r#"{"rwS":[null]}"#, "null"] {
        assert!(CODEC.wire(ALL, json).is_err(), "{json}");
    }
}

#[test]
fn null_values_stand_wherever_an_enum_may() {
    let codec = codec_of(
        r#"syntax = "proto3"; package t; import "google/protobuf/struct.proto";
           message M { map<string, google.protobuf.NullValue> m = 1; repeated google.protobuf.NullValue r = 2;
             optional google.protobuf.NullValue o = 3; google.protobuf.NullValue n = 4; }"#,
    );
    for (json, wire, back) in [
        (
            r#"{"m":{"a":null,"b":"NULL_VALUE"}}"#,
            &b"\x0a\x05\x0a\x01a\x10\0\x0a\x05\x0a\x01b\x10\0"[..],
            r#"{"m":{"a":null,"b":null}}"#,
        ),
        (r#"{"r":[null,0]}"#, b"\x12\x02\0\0", r#"{"r":[null,null]}"#),
        (r#"{"o":null,"n":null}"#, b"\x18\0", r#"{"o":null}"#),
        (r#"{"m":null,"r":null}"#, b"", "{}"),
    ] {
        assert_eq!(codec.wire("t.M", json).unwrap(), wire, "{json}");
        assert_eq!(codec.json("t.M", wire).unwrap(), back, "{json}");
    }
    for json in [r#"{"n":1}"#, r#"{"n":"null"}"#, r#"{"n":false}"#, r#"{"m":{"a":{}}}"#] {
        assert!(codec.wire("t.M", json).is_err(), "{json}");
    }
}

#[test]
fn the_type_of_an_any_may_stand_anywhere() {
    for (json, back) in [
        (
            r#"{"any":{"s":"x","@type":"type.googleapis.com/tidegate.test.v1.Nested","i":1}}"#,
            r#"{"any":{"@type":"type.googleapis.com/tidegate.test.v1.Nested","s":"x","i":1}}"#,
        ),
        (
            r#"{"any":{"value":"1.5s","@type":"x/google.protobuf.Duration"}}"#,
            r#"{"any":{"@type":"x/google.protobuf.Duration","value":"1.500s"}}"#,
        ),
        (
            r#"{"any":{"@type":"x/google.protobuf.Any","value":{"@type":"x/google.protobuf.Int64Value","value":"7"}}}"#,
            r#"{"any":{"@type":"x/google.protobuf.Any","value":{"@type":"x/google.protobuf.Int64Value","value":"7"}}}"#,
        ),
        (r#"{"any":{"@type":"x/google.protobuf.Empty"}}"#, r#"{"any":{"@type":"x/google.protobuf.Empty"}}"#),
        (r#"{"any":{"@type":"x/google.protobuf.Empty","value":{}}}"#, r#"{"any":{"@type":"x/google.protobuf.Empty"}}"#),
        (
            r#"{"any":{"@type":"x/google.protobuf.Value","value":{"a":[1]}}}"#,
            r#"{"any":{"@type":"x/google.protobuf.Value","value":{"a":[1]}}}"#,
        ),
        (r#"{"any":{}}"#, r#"{"any":{}}"#),
        (
            r#"{"any":{"@type" : "x/google.protobuf.Duration" , "value" : "1s"}}"#,
            r#"{"any":{"@type":"x/google.protobuf.Duration","value":"1s"}}"#,
        ),
    ] {
        let wire = CODEC.wire(ALL, json).unwrap_or_else(|error| panic!("{json}: {error}"));
        assert_eq!(CODEC.json(ALL, &wire).unwrap(), back, "{json}");
    }
    for json in [
        r#"{"any":{"s":"x"}}"#,
        r#"{"any":{"@type":1}}"#,
        r#"{"any":{"@type":"tidegate.test.v1.Nested"}}"#,
        r#"{"any":{"@type":"x/tidegate.test.v1.Nested","@type":"x/tidegate.test.v1.Nested"}}"#,
        r#"{"any":{"s":"x","@type":"x/tidegate.test.v1.Nested","i":1,"@type":"x/tidegate.test.v1.All"}}"#,
        r#"{"any":{"@type":"x/google.protobuf.Duration","value":"1s","@type":"x/google.protobuf.Duration"}}"#,
        r#"{"any":{"@type":"x/google.protobuf.Empty","\u0040type":"x/google.protobuf.Empty"}}"#,
        r#"{"any":{"@type":"x/google.protobuf.Duration"}}"#,
        r#"{"any":{"@type":"x/google.protobuf.Duration","value":"1s","other":1}}"#,
        r#"{"any":{"@type":"x/google.protobuf.Duration","value":"1s","value":"1s"}}"#,
        r#"{"any":{"@type":"x/tidegate.test.v1.Nested","nope":1}}"#,
        r#"{"@type":"x/tidegate.test.v1.All"}"#,
    ] {
        assert!(CODEC.wire(ALL, json).is_err(), "{json}");
    }
}

#[test]
fn depth_is_limited_to_a_hundred_messages() {
    let nested = |depth: usize| format!("{}{{}}{}", "{\"child\":".repeat(depth - 1), "}".repeat(depth - 1));
    let name = "tidegate.test.v1.Nested";
    let deepest = CODEC.wire(name, &nested(100)).unwrap();
    assert_eq!(CODEC.json(name, &deepest).unwrap(), nested(100));
    assert!(CODEC.wire(name, &nested(101)).is_err());
    let lists = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let name = "google.protobuf.Value";
    let deepest = CODEC.wire(name, &lists(100)).unwrap();
    assert_eq!(CODEC.json(name, &deepest).unwrap(), lists(100));
    assert!(CODEC.wire(name, &lists(101)).is_err());
    assert!(CODEC.wire(name, &lists(1_000_000)).is_err());
    let any = |depth: usize| {
        let open = r#"{"@type":"x/google.protobuf.Any","value":"#;
        format!("{}{{}}{}", open.repeat(depth - 1), "}".repeat(depth - 1))
    };
    assert!(CODEC.wire("google.protobuf.Any", &any(100)).is_ok());
    assert!(CODEC.wire("google.protobuf.Any", &any(101)).is_err());
}

#[test]
fn well_known_types_stand_alone_too() {
    for (name, json) in [
        ("google.protobuf.Timestamp", r#""2024-01-02T03:04:05.120Z""#),
        ("google.protobuf.Duration", r#""-0.500s""#),
        ("google.protobuf.FieldMask", r#""a,fooBar.baz""#),
        ("google.protobuf.Struct", r#"{"a":{"b":[1,true,null,"x"]}}"#),
        ("google.protobuf.ListValue", r#"[[],{}]"#),
        ("google.protobuf.Value", "null"),
        ("google.protobuf.StringValue", r#""""#),
        ("google.protobuf.UInt64Value", r#""18446744073709551615""#),
        ("google.protobuf.BytesValue", r#""AQ==""#),
        ("google.protobuf.Empty", "{}"),
    ] {
        let wire = CODEC.wire(name, json).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(CODEC.json(name, &wire).unwrap(), json, "{name}");
    }
    for (name, json) in [
        ("google.protobuf.FieldMask", r#""foo_bar""#),
        ("google.protobuf.Struct", "[]"),
        ("google.protobuf.Struct", r#"{"a":1,"a":1}"#),
        ("google.protobuf.ListValue", "{}"),
        ("google.protobuf.Duration", r#""1""#),
        ("google.protobuf.Int32Value", "null"),
        ("google.protobuf.Empty", r#"{"a":1}"#),
    ] {
        assert!(CODEC.wire(name, json).is_err(), "{name} {json}");
    }
}

#[test]
fn wire_is_canonical() {
    for (json, wire) in [
        (r#"{"i32":0,"s":"","b":false,"by":"","c":"COLOR_UNSPECIFIED","rs":[],"ri":[],"ms":{}}"#, &b""[..]),
        (r#"{"optS":"","optI":0}"#, b"\x82\x05\x00\x88\x05\x00"),
        (r#"{"ri":[1,-1]}"#, b"\xaa\x01\x0b\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
        (r#"{"rc":["RED",2]}"#, b"\xb2\x01\x02\x01\x02"),
        (r#"{"d":-0.0}"#, b"\x09\0\0\0\0\0\0\0\x80"),
        (r#"{"mb":{"false":"0"}}"#, b"\x82\x02\x04\x08\x00\x10\x00"),
        (r#"{"n":{}}"#, b"\x8a\x01\x00"),
        (r#"{"any":{"@type":"x/google.protobuf.Any","value":{}}}"#, b"\xc2\x03\x17\x0a\x15x/google.protobuf.Any"),
        (r#"{"si32":-1,"fx32":1}"#, b"\x38\x01\x4d\x01\0\0\0"),
    ] {
        assert_eq!(CODEC.wire(ALL, json).unwrap(), wire, "{json}");
    }
}

const PROTO2: &str = r#"
    syntax = "proto2";
    package p;
    message M {
      optional int32 i = 1 [default = 7];
      required string r = 2;
      repeated int32 list = 3;
      repeated int32 packed = 4 [packed = true];
      optional group Grp = 5 { optional int32 a = 1; optional M m = 2; }
      repeated group Rep = 6 { optional int32 a = 1; }
      enum E { ONE = 1; TWO = 2; }
      optional E e = 7;
      repeated E es = 8;
      map<string, E> me = 9;
      oneof o { E oe = 10; int32 oi = 11; }
      extensions 100 to 200;
    }
    extend M { optional int32 ext = 100; repeated string exts = 101; optional M inner = 102; }
"#;

#[test]
fn proto2_has_presence_groups_closed_enums_and_extensions() {
    let codec = codec_of(PROTO2);
    for (json, wire) in [
        (r#"{"i":0,"r":""}"#, &b"\x08\x00\x12\x00"[..]),
        (r#"{"list":[1,2],"packed":[1,2]}"#, b"\x18\x01\x18\x02\x22\x02\x01\x02"),
        (
            r#"{"grp":{"a":1,"m":{"i":2}},"rep":[{"a":1},{}]}"#,
            b"\x2b\x08\x01\x12\x02\x08\x02\x2c\x33\x08\x01\x34\x33\x34",
        ),
        (r#"{"e":"TWO"}"#, b"\x38\x02"),
        (r#"{"[p.ext]":5,"[p.exts]":["a"],"[p.inner]":{"i":1}}"#, b"\xa0\x06\x05\xaa\x06\x01a\xb2\x06\x02\x08\x01"),
    ] {
        assert_eq!(codec.wire("p.M", json).unwrap(), wire, "{json}");
        assert_eq!(codec.json("p.M", wire).unwrap(), json);
        codec.validate(codec.id("p.M"), wire).unwrap();
    }
    for json in [r#"{"e":3}"#, r#"{"es":[3]}"#, r#"{"ext":5}"#, r#"{"[p.nope]":5}"#] {
        assert!(codec.wire("p.M", json).is_err(), "{json}");
    }
    for (wire, json) in [
        (&b"\x38\x03"[..], "{}"),
        (b"\x38\x02\x38\x03", r#"{"e":"TWO"}"#),
        (b"\x40\x01\x40\x03\x40\x02", r#"{"es":["ONE","TWO"]}"#),
        (b"\x42\x03\x01\x03\x02", r#"{"es":["ONE","TWO"]}"#),
        (b"\x42\x01\x03", "{}"),
        (b"\x4a\x05\x0a\x01a\x10\x03\x4a\x05\x0a\x01b\x10\x01", r#"{"me":{"b":"ONE"}}"#),
        (b"\x58\x01\x50\x03", r#"{"oi":1}"#),
    ] {
        assert_eq!(codec.json("p.M", wire).unwrap(), json, "{wire:?}");
    }
}

const MESSAGE_SET: &str = r#"
    syntax = "proto2";
    package p;
    import "google/protobuf/any.proto";
    message Set { option message_set_wire_format = true; extensions 4 to max; }
    message A { extend Set { optional A a = 5; } optional string s = 1; optional Set set = 2; }
    message B { extend Set { optional B b = 1000; } optional int32 i = 1; }
    message M { optional Set set = 1; optional google.protobuf.Any any = 2; }
"#;

#[test]
fn message_sets_hold_each_extension_in_a_group() {
    let codec = codec_of(MESSAGE_SET);
    for (json, wire) in [
        (r#"{"set":{}}"#, &b"\x0a\x00"[..]),
        (r#"{"set":{"[p.A.a]":{"s":"x"}}}"#, b"\x0a\x09\x0b\x10\x05\x1a\x03\x0a\x01x\x0c"),
        (
            r#"{"set":{"[p.A.a]":{"set":{"[p.B.b]":{}}},"[p.B.b]":{"i":7}}}"#,
            b"\x0a\x18\x0b\x10\x05\x1a\x09\x12\x07\x0b\x10\xe8\x07\x1a\x00\x0c\x0c\x0b\x10\xe8\x07\x1a\x02\x08\x07\x0c",
        ),
        (
            r#"{"any":{"@type":"x/p.Set","[p.B.b]":{"i":7}}}"#,
            b"\x12\x14\x0a\x07x/p.Set\x12\x09\x0b\x10\xe8\x07\x1a\x02\x08\x07\x0c",
        ),
    ] {
        assert_eq!(codec.wire("p.M", json).unwrap(), wire, "{json}");
        assert_eq!(codec.json("p.M", wire).unwrap(), json);
        codec.validate(codec.id("p.M"), wire).unwrap();
    }
    for (wire, json) in [
        // The number behind the message, parts that merge, a plain field, and what is unknown or not whole.
        (&b"\x0b\x1a\x03\x0a\x01x\x10\x05\x0c"[..], r#"{"[p.A.a]":{"s":"x"}}"#),
        (b"\x0b\x10\x05\x1a\x03\x0a\x01x\x0c\x0b\x10\x05\x1a\x02\x12\x00\x0c", r#"{"[p.A.a]":{"s":"x","set":{}}}"#),
        (b"\x2a\x03\x0a\x01x", r#"{"[p.A.a]":{"s":"x"}}"#),
        (b"\x0b\x10\x06\x1a\x03\x0a\x01x\x0c\x0b\x10\x05\x0c\x0b\x1a\x00\x0c\x08\x05", "{}"),
    ] {
        assert_eq!(codec.json("p.Set", wire).unwrap(), json, "{wire:?}");
        codec.validate(codec.id("p.Set"), wire).unwrap();
    }
    for wire in [&b"\x0b\x10\x05\x1a\x03\x0a\x01\xff\x0c"[..], b"\x0b\x10\x05\x1a\x03\x0a\x02x\x0c"] {
        assert!(codec.json("p.Set", wire).is_err(), "{wire:?}");
        assert!(codec.validate(codec.id("p.Set"), wire).is_err(), "{wire:?}");
    }
    assert!(codec.wire("p.Set", r#"{"[p.A.a]":{},"[p.A.a]":{}}"#).is_err());
}
