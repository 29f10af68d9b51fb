//! What the fuzz targets share: how an input says where a stream is cut, and the schema of the codec's targets.

use std::{path::Path, sync::LazyLock};

use tidegate::{
    codec::{Codec, PlanId},
    config::SchemaSource,
    schema::{Schema, Source, load},
};

/// The first bytes of an input that are the sizes of the pieces; the rest is the stream.
const CUTS: usize = 4;

/// The stream of an input, and the pieces it is cut into: the sizes repeat, and none is 0.
pub fn pieces(data: &[u8]) -> Option<(&[u8], impl Iterator<Item = &[u8]>)> {
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
pub static CODEC: LazyLock<(Codec, PlanId)> = LazyLock::new(|| {
    let proto = Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto");
    let files = vec![proto.join("tidegate/test/v1/types.proto")];
    let set = load(&SchemaSource::Protos { files, includes: vec![proto] }).expect("the protos compile");
    let set = set.expect("protos are a set");
    let schema = Schema::merge(&[Source { upstream: 0, name: "fuzz", set: &set, service_config: &Default::default() }])
        .expect("the set is valid");
    let codec = Codec::compile(schema.pool());
    let plan = codec.plan_by_name("tidegate.test.v1.All").expect("the message is there");
    (codec, plan)
});
