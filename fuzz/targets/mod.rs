//! What is fuzzed: for each parser of what a stranger sends, a function of bytes that panics where something is wrong.
//!
//! A fuzzer runs them (`fuzz/run.sh`), and a test replays the inputs that were worth keeping (`tests/seeds.rs`). A new target
//! is a file here, two lines below, and a folder of inputs to begin with in `fuzz/seeds`.

mod body;
mod config;
mod connect_end;
mod connect_get;
mod deframer;
mod delimited;
mod inflate;
mod json_to_wire;
mod multipart;
mod mux;
mod query;
mod template;
mod timeout;
mod web_text;
mod websocket;
mod wire_to_json;

use std::{path::Path, sync::LazyLock};

use tidegate::{
    codec::{Codec, PlanId},
    config::SchemaSource,
    schema::{Schema, Source, load},
};

/// A name, and what runs on one input.
pub(crate) type Target = (&'static str, fn(&[u8]));

/// In alphabetical order.
pub(crate) const TARGETS: &[Target] = &[
    ("body", body::run),
    ("config", config::run),
    ("connect_end", connect_end::run),
    ("connect_get", connect_get::run),
    ("deframer", deframer::run),
    ("delimited", delimited::run),
    ("inflate", inflate::run),
    ("json_to_wire", json_to_wire::run),
    ("multipart", multipart::run),
    ("mux", mux::run),
    ("query", query::run),
    ("template", template::run),
    ("timeout", timeout::run),
    ("web_text", web_text::run),
    ("websocket", websocket::run),
    ("wire_to_json", wire_to_json::run),
];

/// The first bytes of an input that are the sizes of the pieces; the rest is the stream.
const CUTS: usize = 4;

/// The stream of an input, and the pieces it is cut into: the sizes repeat, and none is 0.
fn pieces(data: &[u8]) -> Option<(&[u8], impl Iterator<Item = &[u8]>)> {
    let (cuts, stream) = data.split_at_checked(CUTS)?;
    let mut rest = stream;
    let pieces = cuts.iter().cycle().map_while(move |cut| {
        let (piece, after) = rest.split_at((usize::from(*cut) + 1).min(rest.len()));
        rest = after;
        (!piece.is_empty()).then_some(piece)
    });
    Some((stream, pieces))
}

/// A codec, and the message that has every shape of field.
static CODEC: LazyLock<(Codec, PlanId)> = LazyLock::new(|| {
    // The tests and the fuzzer are packages of different folders.
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = package.ancestors().find(|folder| folder.join("proto").is_dir()).expect("the protos are there");
    let files = vec![root.join("proto/tidegate/test/v1/types.proto")];
    let set = load(&SchemaSource::Protos { files, includes: vec![root.join("proto")] }).expect("the protos compile");
    let set = set.expect("protos are a set");
    let schema = Schema::merge(&[Source { upstream: 0, name: "fuzz", set: &set, service_config: &Default::default() }])
        .expect("the set is valid");
    let codec = Codec::compile(schema.pool());
    let plan = codec.plan_by_name("tidegate.test.v1.All").expect("the message is there");
    (codec, plan)
});
