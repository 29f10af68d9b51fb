//! JSON → protobuf: what is accepted is strict JSON and gives a sound message, whose own JSON means the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde::de::IgnoredAny;
use tidegate::config::OutputSettings;
use tidegate_fuzz::CODEC;

fuzz_target!(|data: &[u8]| {
    let (codec, plan) = &*CODEC;
    let mut wire = Vec::new();
    if codec.json_to_wire(*plan, data, &mut wire).is_err() {
        return;
    }
    serde_json::from_slice::<IgnoredAny>(data).expect("only JSON is accepted");
    codec.validate(*plan, &wire).expect("the message is sound");
    let mut json = Vec::new();
    codec.wire_to_json(*plan, &wire, OutputSettings::default(), &mut json).expect("the message has a JSON form");

    let (mut wire_again, mut json_again) = (Vec::new(), Vec::new());
    codec.json_to_wire(*plan, &json, &mut wire_again).expect("our own JSON is accepted");
    codec.wire_to_json(*plan, &wire_again, OutputSettings::default(), &mut json_again).expect("and written again");
    assert_eq!(String::from_utf8(json), String::from_utf8(json_again));
});
