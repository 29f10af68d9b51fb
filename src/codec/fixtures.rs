//! Schemas and short cuts for the codec's tests.

use std::sync::LazyLock;

use buffa_descriptor::DescriptorPool;
use protox::file::{File, FileResolver};

use super::{Codec, InputError, OutputError, PlanId};
use crate::config::OutputSettings;

pub(super) const TEST: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/test.binpb"));
pub(super) const ALL: &str = "tidegate.test.v1.All";

/// The codec of the services that the integration tests' backends serve.
pub(super) static CODEC: LazyLock<Codec> = LazyLock::new(|| Codec::compile(&DescriptorPool::decode(TEST).unwrap()));

/// The same schema for prost-reflect.
pub(super) static ORACLE: LazyLock<prost_reflect::DescriptorPool> =
    LazyLock::new(|| prost_reflect::DescriptorPool::decode(TEST).unwrap());

/// A codec of one proto file, given as text.
pub(super) fn codec_of(source: &str) -> Codec {
    Codec::compile(&pool_of(source))
}

pub(super) fn pool_of(source: &str) -> DescriptorPool {
    struct One(String);
    impl FileResolver for One {
        fn open_file(&self, name: &str) -> Result<File, protox::Error> {
            match name {
                "test.proto" => File::from_source(name, &self.0),
                _ => protox::file::GoogleFileResolver::new().open_file(name),
            }
        }
    }
    let mut compiler = protox::Compiler::with_file_resolver(One(source.to_owned()));
    compiler.include_imports(true).open_file("test.proto").unwrap();
    let options = buffa::DecodeOptions::new().with_element_memory_limit(usize::MAX);
    DescriptorPool::decode_with_options(&compiler.encode_file_descriptor_set(), &options).unwrap()
}

impl Codec {
    pub(super) fn id(&self, name: &str) -> PlanId {
        self.plan_by_name(name).unwrap()
    }

    pub(super) fn wire(&self, name: &str, json: &str) -> Result<Vec<u8>, InputError> {
        let mut out = b"before".to_vec();
        self.json_to_wire(self.id(name), json.as_bytes(), &mut out)?;
        Ok(out.split_off(6))
    }

    pub(super) fn json_with(&self, name: &str, wire: &[u8], options: OutputSettings) -> Result<String, OutputError> {
        let mut out = b"before".to_vec();
        self.wire_to_json(self.id(name), wire, options, &mut out)?;
        Ok(String::from_utf8(out.split_off(6)).unwrap())
    }

    pub(super) fn json(&self, name: &str, wire: &[u8]) -> Result<String, OutputError> {
        self.json_with(name, wire, OutputSettings::default())
    }
}

/// What prost-reflect reads in a message.
pub(super) fn oracle_json(name: &str, wire: &[u8]) -> serde_json::Value {
    let descriptor = ORACLE.get_message_by_name(name).unwrap();
    let message = prost_reflect::DynamicMessage::decode(descriptor, wire).unwrap();
    serde_json::to_value(&message).unwrap()
}

/// A JSON text in which 1 and 1.0 are the same.
pub(super) fn parsed(json: &str) -> serde_json::Value {
    level(serde_json::from_str(json).unwrap())
}

pub(super) fn level(value: serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::Number(number) => Value::from(number.as_f64().unwrap()),
        Value::Array(values) => values.into_iter().map(level).collect(),
        Value::Object(members) => members.into_iter().map(|(key, value)| (key, level(value))).collect(),
        other => other,
    }
}
