//! Documents as fixtures: tests/data/openapi has a proto file and the documents that it becomes.

use std::{env, fs, path::PathBuf};

use super::*;
use crate::{
    codec::write_pretty,
    config::SchemaSource,
    schema::{self, Source},
};

fn folder() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "data", "openapi"].iter().collect()
}

fn library() -> (Schema, Comments) {
    let files = vec![folder().join("library.proto")];
    let set = schema::load(&SchemaSource::Protos { files, includes: Vec::new() }).unwrap().unwrap();
    let source = Source { upstream: 0, name: "library", set: &set, service_config: &Default::default() };
    (Schema::merge(&[source]).unwrap(), Comments::read([set.as_ref()]))
}

/// Every rule, and the paths of the methods that have none.
fn operations(schema: &Schema, output: OutputSettings) -> Vec<Operation> {
    let mut operations = Vec::new();
    for (method, index) in schema.methods().iter().zip(0..) {
        let rules = (0..method.rules.len()).map(Some);
        let bare = method.rules.is_empty().then_some(None);
        operations.extend(rules.chain(bare).map(|rule| Operation { method: MethodId(index), rule, output }));
    }
    operations
}

fn check(name: &str, document: &[u8]) {
    let mut pretty = Vec::new();
    write_pretty(document, &mut pretty);
    pretty.push(b'\n');
    let path = folder().join(name);
    if env::var_os("UPDATE").is_some() {
        fs::write(&path, &pretty).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap();
    assert!(String::from_utf8(pretty).unwrap() == expected, "other than {}; UPDATE=1 writes it anew", path.display());
}

#[test]
fn a_library_is_described_as_its_fixture_says() {
    let (schema, comments) = library();
    let operations = operations(&schema, OutputSettings::default());
    let document = document(&schema, &comments, &operations).unwrap();
    check("library.json", &document);
}
