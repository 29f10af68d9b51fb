//! The codec against prost-reflect's `DynamicMessage`, which shares no code with it: random schemas, random messages,
//! both directions; proto2, proto3 and the same as an edition; fields out of order, messages merged, bytes mutated.
//!
//! Left out, because the oracle is known to be wrong there: -0.0 (taken for the default), NaN and infinities in wrappers
//! (written as null), a Value without a kind.

mod editions;
mod schema;
mod values;

use buffa_descriptor::DescriptorPool;
use prop::collection::vec;
use proptest::prelude::*;
use prost::Message as _;
use prost_reflect::{DynamicMessage, MessageDescriptor, SerializeOptions};

use schema::Syntax;

use super::{Codec, PlanId, fixtures::level, protobuf::Wire};
use crate::config::OutputSettings;

/// Random choices that shrink toward the first: when they run out, every choice is 0.
#[derive(Clone)]
struct Choices {
    data: Vec<u32>,
    at: usize,
}

impl std::fmt::Debug for Choices {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let used = self.data.iter().rposition(|choice| *choice != 0).map_or(0, |last| last + 1);
        write!(f, "{:?}", &self.data[..used])
    }
}

fn choices(length: usize) -> impl Strategy<Value = Choices> {
    vec(any::<u32>(), 0..length).prop_map(|data| Choices { data, at: 0 })
}

impl Choices {
    fn below(&mut self, limit: usize) -> usize {
        let choice = self.data.get(self.at).copied().unwrap_or(0) as usize % limit.max(1);
        self.at += 1;
        choice
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    fn bits(&mut self) -> u64 {
        (self.below(1 << 32) as u64) << 32 | self.below(1 << 32) as u64
    }
}

/// One random schema in both worlds, and a random message of it.
struct World {
    codec: Codec,
    plan: PlanId,
    descriptor: MessageDescriptor,
    message: DynamicMessage,
}

impl World {
    /// Struct has one inside, and Value and ListValue have a Struct.
    fn has_maps(&self) -> bool {
        let mut messages = self.descriptor.parent_pool().all_messages().filter(|message| message.package_name() == "t");
        messages.any(|message| {
            message.fields().any(|field| match field.kind() {
                prost_reflect::Kind::Message(of) => {
                    of.is_map_entry() || ["Struct", "Value", "ListValue"].contains(&of.name())
                }
                _ => false,
            })
        })
    }

    fn new(choices: &mut Choices) -> Self {
        let syntax = choices.pick(&[Syntax::Proto3, Syntax::Proto2]);
        let set = schema::random(choices, syntax);
        // An edition's file that means the same, which the oracle could not load.
        let ours = if choices.below(2) == 1 { editions::translated(&set) } else { set.clone() };
        let codec = Codec::compile(&DescriptorPool::decode(&ours).unwrap());
        let pool = prost_reflect::DescriptorPool::decode(&set[..]).unwrap();
        let descriptor = pool.get_message_by_name("t.M0").unwrap();
        let message = values::message(choices, &descriptor, 0);
        let plan = codec.plan_by_name("t.M0").unwrap();
        Self { codec, plan, descriptor, message }
    }

    fn decode(&self, wire: &[u8]) -> DynamicMessage {
        DynamicMessage::decode(self.descriptor.clone(), wire).unwrap()
    }

    fn ours(&self, wire: &[u8], options: OutputSettings) -> String {
        let mut json = Vec::new();
        self.codec.wire_to_json(self.plan, wire, options, &mut json).unwrap();
        String::from_utf8(json).unwrap()
    }

    fn wire(&self, json: &str) -> Vec<u8> {
        let mut wire = Vec::new();
        if let Err(error) = self.codec.json_to_wire(self.plan, json.as_bytes(), &mut wire) {
            panic!("{error}\n{json}");
        }
        wire
    }
}

fn theirs(message: &DynamicMessage, options: OutputSettings) -> String {
    try_theirs(message, options).unwrap()
}

fn try_theirs(message: &DynamicMessage, options: OutputSettings) -> serde_json::Result<String> {
    let mut json = serde_json::Serializer::new(Vec::new());
    let options = SerializeOptions::new()
        .skip_default_fields(!options.defaults)
        .use_proto_field_name(options.proto_names)
        .use_enum_numbers(options.enum_numbers);
    message.serialize_with_options(&mut json, &options)?;
    Ok(String::from_utf8(json.into_inner()).unwrap())
}

fn value(json: &str) -> serde_json::Value {
    level(serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {json}")))
}

/// The fields of a message, each with its tag, by number.
fn fields(wire: &[u8]) -> Vec<(u32, &[u8])> {
    let (mut rest, mut fields) = (wire, Vec::new());
    while !rest.is_empty() {
        let mut reader = Wire::new(rest);
        let tag = reader.tag().unwrap().unwrap();
        reader.value(tag).unwrap();
        let (field, tail) = rest.split_at(rest.len() - reader.remaining());
        fields.push((tag.number, field));
        rest = tail;
    }
    fields
}

/// The same fields in another order, those of one number among themselves in theirs.
fn shuffled(choices: &mut Choices, wire: &[u8]) -> Vec<u8> {
    let mut left = fields(wire);
    let mut out = Vec::new();
    while !left.is_empty() {
        let number = left[choices.below(left.len())].0;
        let at = left.iter().position(|(other, _)| *other == number).unwrap();
        out.extend_from_slice(left.remove(at).1);
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn json_and_wire_are_the_oracles(mut choices in choices(500)) {
        let world = World::new(&mut choices);
        let wire = world.message.encode_to_vec();
        for options in [
            OutputSettings::default(),
            OutputSettings { defaults: true, ..OutputSettings::default() },
            OutputSettings { proto_names: true, enum_numbers: true, ..OutputSettings::default() },
        ] {
            let json = world.ours(&wire, options);
            let expected = theirs(&world.message, options);
            prop_assert_eq!(value(&json), value(&expected));
            // Back again, from our text and from the oracle's.
            for json in [&json, &expected] {
                let back = world.decode(&world.wire(json));
                prop_assert_eq!(value(&theirs(&back, options)), value(&expected));
            }
        }
        world.codec.validate(world.plan, &wire).unwrap();
        let json = world.ours(&wire, OutputSettings::default());
        prop_assert_eq!(world.ours(&shuffled(&mut choices, &wire), OutputSettings::default()).len(), json.len());
        prop_assert_eq!(
            value(&world.ours(&shuffled(&mut choices, &wire), OutputSettings::default())),
            value(&json)
        );
        let pretty = OutputSettings { pretty: true, ..OutputSettings::default() };
        prop_assert_eq!(value(&world.ours(&wire, pretty)), value(&json));
        let numbers = OutputSettings { int64_numbers: true, ..OutputSettings::default() };
        prop_assert_eq!(world.wire(&world.ours(&wire, numbers)), world.wire(&json));
    }

    #[test]
    fn messages_merge_as_the_oracle_merges_them(mut choices in choices(500)) {
        let world = World::new(&mut choices);
        let more = values::message(&mut choices, &world.descriptor, 0);
        let mut wire = world.message.encode_to_vec();
        wire.extend(more.encode_to_vec());
        // The type of one Any and the value of another need not fit.
        let Ok(expected) = try_theirs(&world.decode(&wire), OutputSettings::default()) else { return Ok(()) };
        let mut json = Vec::new();
        match world.codec.wire_to_json(world.plan, &wire, OutputSettings::default(), &mut json) {
            Ok(()) => prop_assert_eq!(value(std::str::from_utf8(&json).unwrap()), value(&expected)),
            // Seconds of one and nanoseconds of another need not have one sign.
            Err(error) => prop_assert!(error.to_string().ends_with("a duration out of range"), "{error}"),
        }
    }

    #[test]
    fn mutated_bytes_are_read_or_refused(mut choices in choices(300)) {
        let world = World::new(&mut choices);
        let mut wire = world.message.encode_to_vec();
        let mut json = theirs(&world.message, OutputSettings::default()).into_bytes();
        for bytes in [&mut wire, &mut json] {
            for _ in 0..=choices.below(4) {
                if bytes.is_empty() {
                    continue;
                }
                let at = choices.below(bytes.len());
                match choices.below(3) {
                    0 => bytes[at] = choices.bits() as u8,
                    1 => bytes.truncate(at),
                    _ => bytes.insert(at, choices.pick(b"{}[]\",:0\\\x80\xff")),
                }
            }
        }
        let mut out = Vec::new();
        let decoded = DynamicMessage::decode(world.descriptor.clone(), &wire[..]);
        if world.codec.validate(world.plan, &wire).is_ok() {
            // A known field of another wire type is an unknown field to us, as protobuf's own parsers have it.
            // The oracle reads a map's entry whatever its wire type, and fails in it somehow.
            let tolerable = |error: &prost::DecodeError| error.to_string().contains("invalid wire type") || world.has_maps();
            prop_assert!(decoded.as_ref().err().is_none_or(tolerable), "{decoded:?}");
        }
        if world.codec.wire_to_json(world.plan, &wire, OutputSettings::default(), &mut out).is_ok() {
            serde_json::from_slice::<serde_json::Value>(&out).unwrap();
        }
        out.clear();
        if world.codec.json_to_wire(world.plan, &json, &mut out).is_ok() {
            serde_json::from_slice::<serde_json::Value>(&json).unwrap();
            world.codec.validate(world.plan, &out).unwrap();
        }
    }
}
