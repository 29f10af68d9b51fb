//! Protobuf → JSON, with every option: what is written is JSON and means the same when it is read back; what is not
//! sound is never written.

use serde::de::IgnoredAny;
use tidegate::config::OutputSettings;

use super::CODEC;

pub(crate) fn run(data: &[u8]) {
    let (codec, plan) = &*CODEC;
    let Some((options, wire)) = data.split_first() else { return };
    let options = OutputSettings {
        defaults: options & 1 != 0,
        enum_numbers: options & 2 != 0,
        proto_names: options & 4 != 0,
        int64_numbers: options & 8 != 0,
        pretty: options & 16 != 0,
    };
    let mut json = Vec::new();
    if codec.wire_to_json(*plan, wire, options, &mut json).is_err() {
        return;
    }
    codec.validate(*plan, wire).expect("only sound messages are written");
    serde_json::from_slice::<IgnoredAny>(&json).expect("what is written is JSON");

    let (mut wire_again, mut json_again) = (Vec::new(), Vec::new());
    codec.json_to_wire(*plan, &json, &mut wire_again).expect("our own JSON is accepted");
    codec.wire_to_json(*plan, &wire_again, options, &mut json_again).expect("and written again");
    assert_eq!(String::from_utf8(json), String::from_utf8(json_again));
}
