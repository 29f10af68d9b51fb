//! JSON → protobuf: what is accepted is strict JSON and gives a sound message, whose own JSON means the same. What lets
//! unknown names pass accepts no less, and means the same by what the strict way accepts.

use serde::de::IgnoredAny;
use tidegate::{
    codec::{LeftOut, Unknown},
    config::{OutputSettings, UnknownFields},
};

use super::CODEC;

pub(crate) fn run(data: &[u8]) {
    let strict = read(UnknownFields::Reject, data);
    let ignored = read(UnknownFields::Ignore, data);
    match read(UnknownFields::Observe, data) {
        Some((wire, left_out)) => {
            assert_eq!(strict.is_some(), left_out.count == 0);
            assert_eq!(left_out.paths.is_empty(), left_out.count == 0);
            assert!(left_out.paths.len() <= 8 && left_out.paths.len() as u64 <= left_out.count);
            assert!(strict.is_none_or(|(strict, _)| strict == wire));
            assert_eq!(ignored, Some((wire, LeftOut::default())));
        }
        None => assert_eq!((strict, &ignored), (None, &None)),
    }
    if let Some((wire, _)) = ignored {
        check(data, &wire);
    }
}

/// The message, and what was left out of it.
fn read(mode: UnknownFields, json: &[u8]) -> Option<(Vec<u8>, LeftOut)> {
    let (codec, plan) = &*CODEC;
    let (mut unknown, mut wire) = (Unknown::new(mode), Vec::new());
    codec.json_to_wire_with(*plan, json, &mut unknown, &mut wire).ok()?;
    Some((wire, unknown.take_left_out()))
}

fn check(data: &[u8], wire: &[u8]) {
    let (codec, plan) = &*CODEC;
    if let Err(error) = serde_json::from_slice::<IgnoredAny>(data) {
        // What is left out may be nested deeper than serde_json reads.
        assert!(error.to_string().starts_with("recursion limit exceeded"), "only JSON is accepted: {error}");
    }
    codec.validate(*plan, wire).expect("the message is sound");
    let mut json = Vec::new();
    codec.wire_to_json(*plan, wire, OutputSettings::default(), &mut json).expect("the message has a JSON form");

    let (mut wire_again, mut json_again) = (Vec::new(), Vec::new());
    codec.json_to_wire(*plan, &json, &mut wire_again).expect("our own JSON is accepted");
    codec.wire_to_json(*plan, &wire_again, OutputSettings::default(), &mut json_again).expect("and written again");
    assert_eq!(String::from_utf8(json), String::from_utf8(json_again));
}
