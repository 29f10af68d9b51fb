//! What path, query and body make of a request together.

use super::{
    Binding, HttpBody, InputError, Place, QueryMode,
    fixtures::{ALL, CODEC, codec_of, level, oracle_json, parsed},
};
use crate::{
    config::OutputSettings,
    status::{Code, Reason},
};

fn binding(input: &str, variables: &[&str], body: Option<&str>) -> Binding {
    Binding::compile(&CODEC, CODEC.id(input), CODEC.id(ALL), variables, body, None).unwrap()
}

fn message(
    binding: &Binding,
    captures: &[&str],
    query: &str,
    mode: QueryMode,
    body: Option<&str>,
) -> Result<Vec<u8>, InputError> {
    let mut bound = binding.bind(&CODEC, captures, Some(query), mode)?;
    let mut out = b"before".to_vec();
    bound.message(&CODEC, binding, body.map(str::as_bytes), &mut out)?;
    Ok(out.split_off(6))
}

/// Checks one result against the JSON that is wanted, or `refused`.
fn check(case: &str, result: Result<Vec<u8>, InputError>, wanted: &str) -> Option<String> {
    match result {
        Ok(wire) if wanted != "refused" => {
            let (got, own) = (level(oracle_json(ALL, &wire)), parsed(&CODEC.json(ALL, &wire).unwrap()));
            // prost-reflect takes -0.0 for the default.
            let got = if case == "d=-0" { own.clone() } else { got };
            (got != parsed(wanted) || own != got).then(|| format!("{case}: got {got}, own {own}, wanted {wanted}"))
        }
        Ok(wire) => Some(format!("{case}: should be refused, got {}", oracle_json(ALL, &wire))),
        Err(_) if wanted == "refused" => None,
        Err(error) => Some(format!("{case}: refused: {error}, wanted {wanted}")),
    }
}

#[test]
fn query_strings_become_messages() {
    let binding = binding(ALL, &[], None);
    let wrong: Vec<_> = include_str!("../../tests/data/codec_query.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| {
            let (query, wanted) = line.split_once("  =>  ").unwrap();
            let query = query.strip_prefix('?').unwrap();
            check(query, message(&binding, &[], query, QueryMode::Strict, None), wanted)
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn bodies_become_messages() {
    let rules: &[(&str, &[&str], &str)] = &[
        ("B1", &[], "*"),
        ("B2", &[], "n"),
        ("B3", &["s"], "*"),
        ("B4", &[], "rn"),
        ("B5", &[], "s"),
        ("B7", &["s", "n.i"], "n"),
        ("B12", &[], "ms"),
        ("B13", &[], "st"),
        ("B14", &[], "val"),
        ("B15", &[], "ts"),
        ("B17", &[], "rs"),
    ];
    let wrong: Vec<_> = include_str!("../../tests/data/codec_body.txt")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| {
            let (head, wanted) = line.split_once("  =>  ").unwrap();
            let (rule, body) = head.split_once("  ").unwrap();
            let mut words = rule.split(' ');
            let name = words.next().unwrap();
            let (variables, selector) = match name.strip_prefix("body:") {
                Some(selector) => (&[][..], selector),
                None => rules
                    .iter()
                    .find(|(rule, ..)| *rule == name)
                    .map(|(_, variables, body)| (*variables, *body))
                    .unwrap(),
            };
            let body: String = serde_json::from_str(body).unwrap();
            let binding = binding(ALL, variables, Some(selector));
            let result = message(&binding, &words.collect::<Vec<_>>(), "", QueryMode::Strict, Some(&body));
            check(line, result, wanted)
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn captures_of_every_kind_are_bound() {
    let cases: &[(&[&str], &[&str], &str)] = &[
        (
            &["b", "c", "d", "i64", "by"],
            &["true", "RED", "1.5", "9007199254740993", "aGk="],
            r#"{"b":true,"c":"RED","d":1.5,"i64":"9007199254740993","by":"aGk="}"#,
        ),
        (
            &["b", "c", "d", "i64", "by"],
            &["false", "2", "NaN", "-1", "aGk"],
            r#"{"c":"GREEN","d":"NaN","i64":"-1","by":"aGk="}"#,
        ),
        (&["b"], &["maybe"], "refused"),
        (&["i32"], &[""], "refused"),
        (&["i32"], &["007"], "refused"),
        (
            &["u32", "u64", "f", "si64", "fx32"],
            &["4294967295", "18446744073709551615", "1.5", "-7", "8"],
            r#"{"u32":4294967295,"u64":"18446744073709551615","f":1.5,"si64":"-7","fx32":8}"#,
        ),
        (&["w_s"], &["x"], r#"{"wS":"x"}"#),
        (&["w_s"], &[""], r#"{"wS":""}"#),
        (
            &["si32", "fx64", "sfx32", "sfx64", "w_i64", "w_b", "w_by", "w_d", "w_f", "w_u32", "w_u64", "wI32"],
            &["-1", "2", "-3", "-4", "-5", "false", "_-8", "1.5", "-2.5", "6", "7", "-8"],
            r#"{"si32":-1,"fx64":"2","sfx32":-3,"sfx64":"-4","wI64":"-5","wB":false,"wBy":"/+8=","wD":1.5,"wF":-2.5,"wU32":6,"wU64":"7","wI32":-8}"#,
        ),
        (&["n.color", "n.child.flag"], &["GREEN", "true"], r#"{"n":{"color":"GREEN","child":{"flag":true}}}"#),
        (&["onull"], &["null"], r#"{"onull":null}"#),
        (&["raw.data"], &["AQ"], r#"{"raw":{"data":"AQ=="}}"#),
        (&["c"], &["PURPLE"], "refused"),
        (&["by"], &["A"], "refused"),
        (&["dur"], &["1"], "refused"),
        (&["u32"], &["4294967296"], "refused"),
        (&["w_u32"], &["-1"], "refused"),
        (&["ts"], &["2024-01-02T03:04:05Z"], r#"{"ts":"2024-01-02T03:04:05Z"}"#),
        (&["dur"], &["1.5s"], r#"{"dur":"1.500s"}"#),
        (&["opt_s", "os"], &["a", "b"], r#"{"optS":"a","os":"b"}"#),
        (&["n.child.s"], &["x"], r#"{"n":{"child":{"s":"x"}}}"#),
        (&["n.s", "i32"], &["hello", "5"], r#"{"n":{"s":"hello"},"i32":5}"#),
        (&["snakeCaseField"], &["v"], r#"{"snakeCaseField":"v"}"#),
        (&["s"], &["a+b %"], r#"{"s":"a+b %"}"#),
    ];
    for (variables, captures, wanted) in cases {
        let binding = binding(ALL, variables, None);
        let result = message(&binding, captures, "", QueryMode::Strict, None);
        assert_eq!(check(&format!("{captures:?}"), result, wanted), None);
    }
}

#[test]
fn what_the_url_gives_is_given_once() {
    type Case<'a> = (&'a [&'a str], &'a [&'a str], Option<&'a str>, &'a str, &'a str);
    let cases: &[Case<'_>] = &[
        (&["s"], &["p"], None, "s=q", "query parameter s: the field is bound by the path"),
        (&["n.s"], &["p"], None, "n.s=p", "query parameter n.s: the field is bound by the path"),
        (&["w_s"], &["p"], None, "wS=p", "query parameter wS: the field is bound by the path"),
        (&["os"], &["p"], None, "oi=1", "query parameter oi: another member of the oneof choice is given too"),
        (&[], &[], None, "on.s=a&oi=1", "query parameter oi: another member of the oneof choice is given too"),
        (&[], &[], None, "s=a&s=a", "query parameter s: given twice"),
        (&[], &[], None, "wS=a&w_s=a", "query parameter w_s: given twice"),
        (&[], &[], None, "ms[a]=1&ms[a]=2", "query parameter ms[a]: given twice"),
        (&[], &[], None, "nope=1", "query parameter nope: tidegate.test.v1.All has no such field"),
        (&[], &[], None, "n.nope=1", "query parameter n.nope: tidegate.test.v1.Nested has no such field"),
        (&[], &[], None, "s.x=1", "query parameter s.x: s is no message whose fields could be given one by one"),
        (
            &[],
            &[],
            None,
            "ts.seconds=1",
            "query parameter ts.seconds: ts is no message whose fields could be given one by one",
        ),
        (&[], &[], None, "n=x", "query parameter n: expected a message, which no text can give, got \"x\""),
        (&[], &[], None, "s=%zz", "query parameter s: not percent-encoded UTF-8"),
        (&[], &[], None, "s=%2", "query parameter s: not percent-encoded UTF-8"),
        (&[], &[], None, "s=%ff", "query parameter s: not percent-encoded UTF-8"),
        (&[], &[], None, "i32=x", "query parameter i32: expected a 32-bit integer, got \"x\""),
        (&[], &[], None, "ms=x", "query parameter ms: ms is a map: give one entry as ms[key]=value"),
        (&[], &[], None, "s[a]=x", "query parameter s[a]: s is no map"),
        (
            &[],
            &[],
            Some("*"),
            "i32=1",
            "query parameter i32: the body is the whole message, so there are no query parameters",
        ),
        (&[], &[], Some("n"), "n.s=x", "query parameter n.s: the field is part of the body"),
        (&["i32"], &["x"], None, "", "path variable i32: expected a 32-bit integer, got \"x\""),
    ];
    for (variables, captures, body, query, error) in cases {
        let binding = binding(ALL, variables, *body);
        let result = binding.bind(&CODEC, captures, Some(query), QueryMode::Strict);
        assert_eq!(result.unwrap_err().to_string(), *error, "{query}");
    }
}

#[test]
fn maps_and_repeated_fields_in_a_query() {
    let binding = binding(ALL, &[], None);
    let result = message(&binding, &[], "ms[a.b]=1&ms[%5B]=2&mb[true]=5&ri=1&ri=2&&rn=", QueryMode::Strict, None);
    assert!(result.is_err());
    let query = "ms[a.b]=1&ms[%5B]=2&mb[true]=5&ri=1&ri=2&";
    let wanted = r#"{"ms":{"a.b":"1","[":"2"},"mb":{"true":"5"},"ri":[1,2]}"#;
    assert_eq!(check(query, message(&binding, &[], query, QueryMode::Strict, None), wanted), None);
}

#[test]
fn a_body_must_not_say_otherwise_than_the_path() {
    let cases: &[(&[&str], &[&str], &str, &str)] = &[
        (&["s"], &["p"], r#"{"s":"p","i32":1}"#, r#"{"s":"p","i32":1}"#),
        (&["s"], &["p"], r#"{"s":""}"#, r#"{"s":"p"}"#),
        (&["s"], &["p"], r#"{"s":null}"#, r#"{"s":"p"}"#),
        (&["s"], &["p"], r#"{"s":"q"}"#, "refused"),
        (&["i32"], &["0"], r#"{"i32":5}"#, "refused"),
        (&["i32"], &["5"], r#"{"i32":5.0}"#, r#"{"i32":5}"#),
        (&["d"], &["1.50"], r#"{"d":1.5}"#, r#"{"d":1.5}"#),
        (&["n.child.s"], &["p"], r#"{"n":{"i":1,"child":{"i":2}}}"#, r#"{"n":{"i":1,"child":{"i":2,"s":"p"}}}"#),
        (&["n.child.s"], &["p"], r#"{"n":{"child":{"s":"q"}}}"#, "refused"),
        (&["w_s"], &["p"], r#"{"wS":"p"}"#, r#"{"wS":"p"}"#),
        (&["w_s"], &["p"], r#"{"wS":""}"#, "refused"),
        (&["w_s"], &[""], r#"{"wS":"p"}"#, "refused"),
        (&["opt_s"], &["p"], r#"{"optS":""}"#, "refused"),
        (
            &["ts"],
            &["2024-01-02T03:04:05Z"],
            r#"{"ts":"2024-01-02T04:04:05+01:00"}"#,
            r#"{"ts":"2024-01-02T03:04:05Z"}"#,
        ),
        (&["ts"], &["2024-01-02T03:04:05Z"], r#"{"ts":"2024-01-02T03:04:05.5Z"}"#, "refused"),
        (&["os"], &["p"], r#"{"oi":1}"#, "refused"),
        (&["os"], &["p"], r#"{"os":"p"}"#, r#"{"os":"p"}"#),
        (&["on.s"], &["p"], r#"{"on":{"i":1}}"#, r#"{"on":{"i":1,"s":"p"}}"#),
        (&["on.s"], &["p"], r#"{"os":"x"}"#, "refused"),
    ];
    for (variables, captures, body, wanted) in cases {
        let binding = binding(ALL, variables, Some("*"));
        let result = message(&binding, captures, "", QueryMode::Strict, Some(body));
        assert_eq!(check(&format!("{captures:?} {body}"), result, wanted), None);
    }
}

#[test]
fn protobuf_frames_are_held_to_the_path_too() {
    let binding = binding(ALL, &["s"], Some("*"));
    let bound = binding.bind(&CODEC, &["p"], None, QueryMode::Fill).unwrap();
    for (wire, json) in [
        (&b"\x18\x01"[..], r#"{"i32":1,"s":"p"}"#),
        (b"\x72\x01p", r#"{"s":"p"}"#),
        (b"\x72\x00", r#"{"s":"p"}"#),
        (b"\x72\x01p\x72\x00", r#"{"s":"p"}"#),
    ] {
        let mut out = Vec::new();
        bound.protobuf(&CODEC, &binding, wire, &mut out).unwrap();
        assert_eq!(CODEC.json(ALL, &out).unwrap(), json);
    }
    for (wire, error) in [
        (&b"\x72\x01q"[..], "message: s: the body gives another value than the path"),
        (b"\x72\x01q\x72\x01p", "message: s: the body gives another value than the path"),
        (b"\x72\x01p\x72\x01q", "message: s: the body gives another value than the path"),
        (b"\x72\x01\xff", "message: s: a string that is not UTF-8"),
        (b"\x72\x05", "message: a length beyond the end of the message"),
    ] {
        let error_of = bound.protobuf(&CODEC, &binding, wire, &mut Vec::new()).unwrap_err();
        assert_eq!(error_of.to_string(), error);
        assert_eq!(error_of.into_status().reason(), Some(Reason::InvalidMessage));
    }
}

#[test]
fn a_query_fills_what_a_message_leaves_unset() {
    let binding = binding(ALL, &[], Some("*"));
    let query = "i32=1&rs=a&n.s=x&ts=2024-01-02T03:04:05.5Z&os=q&w_s=w";
    for (body, json) in [
        ("{}", r#"{"i32":1,"n":{"s":"x"},"rs":["a"],"os":"q","ts":"2024-01-02T03:04:05.500Z","wS":"w"}"#),
        (
            r#"{"i32":2,"rs":["b"],"n":{"i":1},"ts":"2025-01-02T03:04:05Z","oi":0,"wS":""}"#,
            r#"{"i32":2,"n":{"s":"x","i":1},"rs":["b"],"oi":0,"ts":"2025-01-02T03:04:05Z","wS":""}"#,
        ),
        // A list of defaults is a list; one of nothing is not there.
        (
            r#"{"i32":0,"rs":[""],"n":{"s":""},"os":""}"#,
            r#"{"i32":1,"n":{"s":"x"},"rs":[""],"os":"","ts":"2024-01-02T03:04:05.500Z","wS":"w"}"#,
        ),
        (
            r#"{"i32":3,"rs":[],"os":"q"}"#,
            r#"{"i32":3,"n":{"s":"x"},"rs":["a"],"os":"q","ts":"2024-01-02T03:04:05.500Z","wS":"w"}"#,
        ),
    ] {
        let wire = message(&binding, &[], query, QueryMode::Fill, Some(body)).unwrap();
        assert_eq!(CODEC.json(ALL, &wire).unwrap(), json);
        assert_eq!(level(oracle_json(ALL, &wire)), parsed(json));
    }
}

#[test]
fn a_query_beside_a_body_field_keeps_to_its_own_oneof() {
    let binding = binding(ALL, &[], Some("on"));
    assert!(message(&binding, &[], "os=x", QueryMode::Strict, Some("{}")).is_err());
    let wire = message(&binding, &[], "os=x", QueryMode::Strict, None).unwrap();
    assert_eq!(CODEC.json(ALL, &wire).unwrap(), r#"{"os":"x"}"#);
}

#[test]
fn raw_bodies_go_into_http_body() {
    let binding = binding(ALL, &["s"], Some("raw"));
    assert!(binding.request_http_body() && !binding.reply_http_body() && binding.takes_body());
    let bound = binding.bind(&CODEC, &["x"], None, QueryMode::Strict).unwrap();
    let mut out = Vec::new();
    bound.http_body(&CODEC, &binding, "image/png", &[0, 255], &mut out).unwrap();
    assert_eq!(CODEC.json(ALL, &out).unwrap(), r#"{"s":"x","raw":{"contentType":"image/png","data":"AP8="}}"#);
    let reply = Binding::compile(&CODEC, CODEC.id(ALL), CODEC.id(ALL), &[], Some("*"), Some("raw")).unwrap();
    assert!(reply.reply_http_body() && !reply.request_http_body());
    let body = reply.read_http_body(&out).unwrap();
    assert_eq!(body, HttpBody { content_type: "image/png", data: &[0, 255] });
    let direct = CODEC.id("google.api.HttpBody");
    let direct = Binding::compile(&CODEC, direct, direct, &[], Some("*"), None).unwrap();
    assert!(direct.reply_http_body() && direct.request_http_body());
    assert_eq!(direct.read_http_body(b"\x0a\x01a\x12\x01b").unwrap(), HttpBody { content_type: "a", data: b"b" });
}

#[test]
fn a_reply_may_be_any_field() {
    let wire = CODEC
        .wire(
            ALL,
            r#"{"n":{"s":"x","child":{"i":5}},"rs":["a"],"s":"y","i64":"7","ms":{"k":"v"},"ri":[1],"c":"GREEN",
            "by":"+/8=","d":"NaN","b":true,"wI32":0,"dur":"1.5s","mask":"a,bC","st":{"a":[null]},"lv":[1],"val":null,
            "any":{"@type":"type.googleapis.com/tidegate.test.v1.Nested","s":"x"},"empty":{},"mi":{"1":{}},
            "rwS":["a"],"oi":0}"#,
        )
        .unwrap();
    for (field, given, absent) in [
        ("n", r#"{"s":"x","child":{"i":5}}"#, "{}"),
        ("n.child.i", "5", "0"),
        ("rs", r#"["a"]"#, "[]"),
        ("ri", "[1]", "[]"),
        ("s", r#""y""#, r#""""#),
        ("i64", r#""7""#, r#""0""#),
        ("ms", r#"{"k":"v"}"#, "{}"),
        ("ts", "null", "null"),
        ("opt_s", "null", "null"),
        ("rn", "[]", "[]"),
        ("c", "\"GREEN\"", "\"COLOR_UNSPECIFIED\""),
        ("by", "\"+/8=\"", "\"\""),
        ("d", "\"NaN\"", "0"),
        ("b", "true", "false"),
        ("w_i32", "0", "null"),
        ("dur", "\"1.500s\"", "null"),
        ("mask", "\"a,bC\"", "null"),
        ("st", r#"{"a":[null]}"#, "{}"),
        ("lv", "[1]", "[]"),
        ("val", "null", "null"),
        ("any", r#"{"@type":"type.googleapis.com/tidegate.test.v1.Nested","s":"x"}"#, "null"),
        ("empty", "{}", "{}"),
        ("mi", r#"{"1":{}}"#, "{}"),
        ("rw_s", r#"["a"]"#, "[]"),
        ("oi", "0", "null"),
        ("on", "{}", "{}"),
        ("raw", "{}", "{}"),
    ] {
        let binding = Binding::compile(&CODEC, CODEC.id(ALL), CODEC.id(ALL), &[], Some("*"), Some(field)).unwrap();
        for (wire, json) in [(&wire[..], given), (b"", absent)] {
            let mut out = Vec::new();
            binding.write_reply(&CODEC, wire, OutputSettings::default(), &mut out).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), json, "{field}");
        }
    }
}

#[test]
fn a_reply_in_protobuf_is_the_message_that_the_rule_picks() {
    let reply = CODEC
        .wire(ALL, r#"{"s":"a","n":{"s":"b","child":{"i":1}},"on":{"s":"c"},"ts":"1970-01-01T00:00:01Z"}"#)
        .unwrap();
    let again = CODEC.wire(ALL, r#"{"n":{"child":{"s":"d"}},"os":"e"}"#).unwrap();
    let reply = [reply, again].concat();
    for (field, expected) in [
        (None, Some(reply.as_slice())),
        (Some("n.child"), Some(b"\x10\x01\x0a\x01d")),
        // Another member of the oneof took its place.
        (Some("on"), Some(b"")),
        (Some("ts"), Some(b"\x08\x01")),
        (Some("raw"), Some(b"")),
        (Some("s"), None),
        (Some("n.i"), None),
        (Some("rn"), None),
        (Some("mi"), None),
    ] {
        let binding = Binding::compile(&CODEC, CODEC.id(ALL), CODEC.id(ALL), &[], field, field).unwrap();
        assert_eq!(binding.reply_is_message(&CODEC), expected.is_some(), "{field:?}");
        assert_eq!(binding.request_is_message(&CODEC), expected.is_some() && field.is_some(), "{field:?}");
        if let Some(expected) = expected {
            assert_eq!(binding.reply_protobuf(&CODEC, &reply).unwrap(), expected, "{field:?}");
        }
    }
    let binding = Binding::compile(&CODEC, CODEC.id(ALL), CODEC.id(ALL), &[], Some("*"), Some("n.child")).unwrap();
    assert!(binding.request_is_message(&CODEC));
    assert!(binding.reply_protobuf(&CODEC, b"\x8a\x01\x05").is_err(), "cut short");
}

#[test]
fn rules_that_do_not_fit_are_refused() {
    for (variables, body, response, error) in [
        (&["nope"][..], None, None, "variable nope: tidegate.test.v1.All has no such field"),
        (&["rs"], None, None, "variable rs: a repeated field cannot be given in a path"),
        (&["n"], None, None, "variable n: a message cannot be given in a path"),
        (&["s", "s"], None, None, "variable s: given twice"),
        (&["os", "oi"], None, None, "variable oi: another member of the oneof choice is given too"),
        (&["snake_case_field", "snakeCaseField"], None, None, "variable snakeCaseField: given twice"),
        (&["s"], Some("s"), None, "body s: the field is bound by the path"),
        (&["w_s"], Some("wS"), None, "body wS: the field is bound by the path"),
        (&["os"], Some("on"), None, "body on: another member of the oneof choice is given too"),
        (&["on.s"], Some("os"), None, "body os: another member of the oneof choice is given too"),
        (&["ms"], None, None, "variable ms: a repeated field cannot be given in a path"),
        (&["mask"], None, None, "variable mask: a message cannot be given in a path"),
        (&["ts.seconds"], None, None, "variable ts.seconds: ts is no message whose fields could be given one by one"),
        (&["rn.s"], None, None, "variable rn.s: rn is no message whose fields could be given one by one"),
        (&[], Some("n..s"), None, "body n..s: tidegate.test.v1.Nested has no such field"),
        (&[], Some("x"), None, "body x: tidegate.test.v1.All has no such field"),
        (&[], None, Some("n.x"), "response_body n.x: tidegate.test.v1.Nested has no such field"),
    ] {
        let result = Binding::compile(&CODEC, CODEC.id(ALL), CODEC.id(ALL), variables, body, response);
        assert_eq!(result.unwrap_err().to_string(), error);
    }
}

#[test]
fn a_refusal_becomes_a_status_that_names_the_place() {
    let binding = binding(ALL, &["i32"], None);
    let error = binding.bind(&CODEC, &["x"], None, QueryMode::Strict).unwrap_err();
    assert_eq!(error.place(), &Place::Path { variable: "i32".to_owned() });
    let status = error.into_status();
    assert_eq!((status.code(), status.reason()), (Code::InvalidArgument, Some(Reason::InvalidPath)));
    let error = message(&binding, &["1"], "nope=1", QueryMode::Strict, None).unwrap_err();
    assert_eq!(error.into_status().reason(), Some(Reason::InvalidQuery));
    let error = message(&binding, &["1"], "", QueryMode::Strict, Some("{}")).unwrap_err();
    assert_eq!(error.into_status().reason(), Some(Reason::InvalidMessage));
}

#[test]
fn a_long_query_costs_no_more_than_its_length() {
    let binding = binding(ALL, &[], None);
    let query = "on.r=a&".repeat(4000);
    let wire = message(&binding, &[], &query, QueryMode::Strict, None).unwrap();
    assert_eq!(wire.len(), 4000 * 3 + 4);
    let deep = format!("n.{}s=x", "child.".repeat(5000));
    assert!(message(&binding, &[], &deep, QueryMode::Strict, None).is_err());
}

#[test]
fn a_field_may_bear_the_name_of_what_it_stands_in() {
    let codec = codec_of(
        r#"syntax = "proto3"; message Id { string id = 1; string other = 2; } message M { Id id = 1; string other = 2; }"#,
    );
    let binding = Binding::compile(&codec, codec.id("M"), codec.id("M"), &["id.id"], None, None).unwrap();
    let bind = |query| binding.bind(&codec, &["x"], Some(query), QueryMode::Strict);
    let mut wire = Vec::new();
    bind("id.other=y&other=z").unwrap().message(&codec, &binding, None, &mut wire).unwrap();
    assert_eq!(codec.json("M", &wire).unwrap(), r#"{"id":{"id":"x","other":"y"},"other":"z"}"#);
    assert!(bind("id.id=y").is_err());
}

#[test]
fn a_query_may_name_extensions() {
    let codec = codec_of(
        r#"syntax = "proto2"; package p.q; message M { optional M m = 1; extensions 100 to 200; }
        extend M { optional int32 i = 100; optional M n = 101; repeated string r = 102; }"#,
    );
    let binding = Binding::compile(&codec, codec.id("p.q.M"), codec.id("p.q.M"), &[], None, None).unwrap();
    let query = "[p.q.i]=1&m.[p.q.i]=2&[p.q.n].m.[p.q.r]=a&[p.q.n].m.%5Bp.q.r%5D=b";
    let mut bound = binding.bind(&codec, &[], Some(query), QueryMode::Strict).unwrap();
    let mut wire = Vec::new();
    bound.message(&codec, &binding, None, &mut wire).unwrap();
    let wanted = r#"{"m":{"[p.q.i]":2},"[p.q.i]":1,"[p.q.n]":{"m":{"[p.q.r]":["a","b"]}}}"#;
    assert_eq!(codec.json("p.q.M", &wire).unwrap(), wanted);
    for query in ["[p.q.x]=1", "[p.q.i=1", "[p.q.i]x=1", "[]=1", "[=1", "]=1", "m.[]=1", "[p.q.i].=1"] {
        assert!(binding.bind(&codec, &[], Some(query), QueryMode::Strict).is_err(), "{query}");
    }
}

#[test]
fn a_map_may_hold_every_kind_of_value() {
    let codec = codec_of(
        r#"syntax = "proto3"; import "google/protobuf/timestamp.proto"; import "google/protobuf/duration.proto";
        import "google/protobuf/wrappers.proto"; import "google/protobuf/field_mask.proto"; enum E { A = 0; B = 1; }
        message M { map<string, double> d = 1; map<string, int32> i = 2; map<string, sint64> l = 3;
        map<string, fixed32> u = 4; map<string, bool> b = 5; map<string, string> s = 6; map<string, bytes> y = 7;
        map<string, E> e = 8; map<string, google.protobuf.Timestamp> t = 9; map<string, google.protobuf.Int64Value> w = 10;
        map<string, google.protobuf.Duration> p = 11; map<string, google.protobuf.FieldMask> k = 12; M m = 13;
        map<int32, string> ki = 14; map<uint64, string> ku = 15; map<bool, string> kb = 16; map<sfixed64, string> kf = 17; }"#,
    );
    let binding = Binding::compile(&codec, codec.id("M"), codec.id("M"), &[], None, None).unwrap();
    for (query, wanted) in [
        ("d[x]=-1.5", r#"{"d":{"x":-1.5}}"#),
        ("i[x]=0", r#"{"i":{"x":0}}"#),
        ("l[x]=-9223372036854775808", r#"{"l":{"x":"-9223372036854775808"}}"#),
        ("u[x]=4294967295", r#"{"u":{"x":4294967295}}"#),
        ("b[x]=false&b[y]=true", r#"{"b":{"x":false,"y":true}}"#),
        ("s[x%5D]=%26", r#"{"s":{"x]":"&"}}"#),
        ("y[x]=-_8&y[]=", r#"{"y":{"":"","x":"+/8="}}"#),
        ("e[x]=B&e[y]=0&e[z]=7", r#"{"e":{"x":"B","y":"A","z":7}}"#),
        ("t[x]=2024-01-02T03:04:05Z", r#"{"t":{"x":"2024-01-02T03:04:05Z"}}"#),
        ("w[x]=0", r#"{"w":{"x":"0"}}"#),
        ("p[x]=2s", r#"{"p":{"x":"2s"}}"#),
        ("k[x]=a_b,c", r#"{"k":{"x":"aB,c"}}"#),
        ("m.m.s[x]=y", r#"{"m":{"m":{"s":{"x":"y"}}}}"#),
        (
            "ki[-1]=a&ku[18446744073709551615]=b&kb[false]=c&kf[-1]=d",
            r#"{"ki":{"-1":"a"},"ku":{"18446744073709551615":"b"},"kb":{"false":"c"},"kf":{"-1":"d"}}"#,
        ),
    ] {
        let mut bound = binding.bind(&codec, &[], Some(query), QueryMode::Strict).unwrap();
        let mut wire = Vec::new();
        bound.message(&codec, &binding, None, &mut wire).unwrap();
        assert_eq!(parsed(&codec.json("M", &wire).unwrap()), parsed(wanted), "{query}");
    }
    for (query, error) in [
        ("d[x]=y", "d[x]: expected a number within the range of a double, got \"y\""),
        ("b[x]=", "b[x]: expected true or false, got \"\""),
        ("y[x]=!", "y[x]: expected base64, got \"!\""),
        ("e[x]=C", "e[x]: expected the name or the number of an enum value, got \"C\""),
        ("ki[x]=y", "ki[x]: expected a 32-bit integer as a key, got \"x\""),
        ("ki[01]=y", "ki[01]: expected a 32-bit integer as a key, got \"01\""),
        ("ku[-1]=y", "ku[-1]: expected a 64-bit unsigned integer as a key, got \"-1\""),
        ("kb[1]=y", "kb[1]: expected true or false as a key, got \"1\""),
        ("m.s[x]=1&m.s[x]=2", "m.s[x]: given twice"),
    ] {
        let found = binding.bind(&codec, &[], Some(query), QueryMode::Strict).unwrap_err();
        assert_eq!(found.to_string(), format!("query parameter {error}"));
    }
}
