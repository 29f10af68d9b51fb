//! Schemas and rules that do not fit together, and schemas that make no sense at all.

use std::sync::{Arc, LazyLock};

use proptest::prelude::*;

use super::{Assets, Snapshot};
use crate::{
    config::{self, Settings},
    schema::{
        ServiceConfig, UpstreamSchema,
        fixtures::{compile, compile_alone},
    },
};

const RULES: &str = include_str!("../../tests/data/schema/rules.txt");

fn settings(upstreams: &[&str]) -> Settings {
    let upstreams: String = upstreams.iter().map(|name| format!("  {name}: {{ endpoints: [ http://a ] }}\n")).collect();
    config::parse(&format!("listeners: [ {{ address: 127.0.0.1:0 }} ]\nupstreams:\n{upstreams}"), "f").unwrap()
}

fn build(settings: &Settings, schemas: &[UpstreamSchema]) -> Result<Snapshot, String> {
    Snapshot::build(settings, schemas, Arc::new(Assets::load(&[]).unwrap())).map_err(|error| error.to_string())
}

#[test]
fn rules_that_cannot_be_served_are_refused_where_they_stand() {
    for case in RULES.split("\n=== ").skip(1) {
        let (inputs, expected) = case.split_once(">>>\n").unwrap();
        let mut upstreams: Vec<(&str, Vec<_>, Vec<_>)> = Vec::new();
        for input in inputs.split("\n--- ").skip(1) {
            let (head, text) = input.split_once('\n').unwrap();
            let (upstream, file) = head.split_once(' ').unwrap();
            if upstreams.last().is_none_or(|(last, ..)| *last != upstream) {
                upstreams.push((upstream, Vec::new(), Vec::new()));
            }
            let (_, protos, yamls) = upstreams.last_mut().unwrap();
            match file.ends_with(".yaml") {
                true => yamls.push(config::parse_service(text, file)),
                false => protos.push((file, text)),
            }
        }
        let settings = settings(&upstreams.iter().map(|(name, ..)| *name).collect::<Vec<_>>());
        let schemas: Vec<_> = upstreams
            .into_iter()
            .map(|(_, protos, yamls)| UpstreamSchema {
                set: Some(compile(&protos).into()),
                service_config: Arc::new(ServiceConfig::of(yamls).unwrap()),
            })
            .collect();
        let got = build(&settings, &schemas).err().unwrap_or_else(|| "fine".to_owned());
        assert_eq!(got, expected.trim(), "{}", inputs.lines().next().unwrap());
    }
}

/// One file with everything that descriptors have; what it imports is built in.
static SET: LazyLock<Vec<u8>> = LazyLock::new(|| {
    compile_alone(&[(
        "a.proto",
        r#"syntax = "proto2"; package a; import "google/api/annotations.proto";
        message M { optional string x = 1 [json_name = "why"]; repeated E e = 2 [packed = true]; map<int32, M> m = 3;
          oneof o { M a = 4; bytes b = 5; } optional group G = 6 { optional M m = 1; } extensions 10 to max;
          message N { enum E { Z = 1; } extend M { optional N n = 10; } } required N n = 7; optional double d = 8 [default = nan]; }
        enum E { option allow_alias = true; A = 0; B = 0; C = -1; } extend M { repeated E ext = 11; }
        service S { rpc A(M) returns (stream M) { option (google.api.http) = { patch: "/v1/{x=a/*}:b" body: "a" response_body: "n"
          additional_bindings { get: "/v2/{a.d}" } }; } rpc B(stream M) returns (M.N) { option idempotency_level = NO_SIDE_EFFECTS; } }"#,
    )])
});

/// Builds a snapshot of a set, and reads and writes every message of its methods.
fn try_out(set: Vec<u8>) -> Result<(), String> {
    let schema = UpstreamSchema { set: Some(set.into()), ..Default::default() };
    let snapshot = build(&settings(&["one"]), &[schema])?;
    for method in snapshot.schema.methods() {
        for plan in [method.input, method.output].map(|message| snapshot.codec.plan(message)) {
            let mut wire = Vec::new();
            let json = br#"{"why":"x","e":["A",-1,7],"m":{"1":{}},"g":{"m":{}},"b":"AQ","[a.ext]":["B"],"d":"NaN"}"#;
            let _ = snapshot.codec.json_to_wire(plan, json, &mut wire);
            let wire = b"\x0a\x01x\x12\x02\x00\x01\x1a\x04\x08\x01\x12\x00\x22\x00\x33\x0a\x00\x34\x41\0\0\0\0\0\0\0\0";
            let _ = snapshot.codec.wire_to_json(plan, wire, config::OutputSettings::default(), &mut Vec::new());
        }
    }
    Ok(())
}

#[test]
fn the_set_that_is_damaged_below_is_sound() {
    assert_eq!(try_out(SET.clone()), Ok(()));
}

proptest! {
    #[test]
    fn no_set_makes_the_gateway_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), 0..4u8, any::<u8>()), 1..4),
    ) {
        let mut set = SET.clone();
        for (at, how, byte) in changes {
            let at = at.index(set.len());
            match how {
                0 => set[at] = byte,
                1 => set[at] ^= 1 << (byte % 8),
                2 => _ = set.remove(at),
                _ => set.insert(at, byte),
            }
        }
        let _ = try_out(set);
    }
}
