//! Random files: every scalar kind, enums, messages within each other, lists, maps, oneofs, optional fields, well-known
//! types; in proto2 also groups, extensions and packed lists by option.

use prost::Message as _;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, EnumValueDescriptorProto, FieldDescriptorProto, FieldOptions,
    FileDescriptorProto, FileDescriptorSet, MessageOptions, OneofDescriptorProto,
    descriptor_proto::ExtensionRange,
    field_descriptor_proto::{Label, Type},
};

use super::Choices;
use crate::codec::fixtures::TEST;

const SCALARS: &[Type] = &[
    Type::Int32,
    Type::String,
    Type::Double,
    Type::Float,
    Type::Int64,
    Type::Uint64,
    Type::Fixed64,
    Type::Fixed32,
    Type::Bool,
    Type::Bytes,
    Type::Uint32,
    Type::Sfixed32,
    Type::Sfixed64,
    Type::Sint32,
    Type::Sint64,
];

const KEYS: &[Type] = &[
    Type::String,
    Type::Int32,
    Type::Int64,
    Type::Uint32,
    Type::Uint64,
    Type::Sint32,
    Type::Sint64,
    Type::Fixed32,
    Type::Fixed64,
    Type::Sfixed32,
    Type::Sfixed64,
    Type::Bool,
];

const WELL_KNOWN: &[&str] = &[
    "Timestamp",
    "Duration",
    "FieldMask",
    "Struct",
    "Value",
    "ListValue",
    "Any",
    "Empty",
    "DoubleValue",
    "FloatValue",
    "Int64Value",
    "UInt64Value",
    "Int32Value",
    "UInt32Value",
    "BoolValue",
    "StringValue",
    "BytesValue",
];

/// How a file is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Syntax {
    Proto2,
    Proto3,
}

/// Extensions have the numbers from here on.
const EXTENSIONS: i32 = 50_000;

/// A descriptor set with the messages `t.M0`, `t.M1` and `t.M2`.
pub(super) fn random(choices: &mut Choices, syntax: Syntax) -> Vec<u8> {
    let mut set = FileDescriptorSet::decode(TEST).unwrap();
    set.file.retain(|file| file.name().starts_with("google/protobuf/"));
    let dependency = set.file.iter().map(|file| file.name().to_owned()).collect();
    set.file.push(FileDescriptorProto {
        name: Some("t.proto".to_owned()),
        package: Some("t".to_owned()),
        syntax: Some(if syntax == Syntax::Proto2 { "proto2" } else { "proto3" }.to_owned()),
        dependency,
        message_type: (0..3).map(|index| message(choices, syntax, index)).collect(),
        extension: if syntax == Syntax::Proto2 { extensions(choices) } else { Vec::new() },
        enum_type: vec![EnumDescriptorProto {
            name: Some("E".to_owned()),
            value: [("ZERO", 0), ("ONE", 1), ("MINUS", -5), ("BIG", i32::MAX)]
                .map(|(name, number)| EnumValueDescriptorProto {
                    name: Some(name.to_owned()),
                    number: Some(number),
                    ..Default::default()
                })
                .into(),
            ..Default::default()
        }],
        ..Default::default()
    });
    set.encode_to_vec()
}

fn message(choices: &mut Choices, syntax: Syntax, index: usize) -> DescriptorProto {
    let mut message = DescriptorProto { name: Some(format!("M{index}")), ..Default::default() };
    if syntax == Syntax::Proto2 {
        let range = ExtensionRange { start: Some(EXTENSIONS), end: Some(EXTENSIONS + 100), options: None };
        message.extension_range.push(range);
    }
    let mut number = 0;
    let mut oneof_open = false;
    let mut optional = Vec::new();
    for place in 0..choices.below(8) {
        number += 1 + choices.pick(&[0, 0, 1, 13, 2000]);
        let mut field = FieldDescriptorProto {
            name: Some(format!("field_{place}")),
            number: Some(number),
            label: Some(Label::Optional.into()),
            json_name: (choices.below(4) == 3).then(|| format!("named{place}-é")),
            ..Default::default()
        };
        kind(choices, syntax, &mut field);
        match choices.below(6) {
            0 | 1 => {}
            2 => repeat(choices, syntax, &mut field),
            3 => {
                if !oneof_open {
                    oneof_open = true;
                    message.oneof_decl.push(OneofDescriptorProto { name: Some("o".to_owned()), options: None });
                }
                field.oneof_index = Some(0);
            }
            4 if syntax == Syntax::Proto3 => {
                field.proto3_optional = Some(true);
                optional.push(place);
            }
            4 => {}
            _ => map(choices, &mut message, &mut field, index, place),
        }
        message.field.push(field);
    }
    // Synthetic oneofs stand behind the real ones.
    for place in optional {
        message.field[place].oneof_index = Some(message.oneof_decl.len() as i32);
        message.oneof_decl.push(OneofDescriptorProto { name: Some(format!("_field_{place}")), options: None });
    }
    // The order of declaration is not that of numbers.
    if choices.below(2) == 1 {
        message.field.reverse();
    }
    message
}

fn extensions(choices: &mut Choices) -> Vec<FieldDescriptorProto> {
    let mut extensions = Vec::new();
    for place in 0..choices.below(5) as i32 {
        let mut field = FieldDescriptorProto {
            name: Some(format!("ext_{place}")),
            number: Some(EXTENSIONS + place),
            label: Some(Label::Optional.into()),
            extendee: Some(format!(".t.M{}", choices.below(3))),
            ..Default::default()
        };
        kind(choices, Syntax::Proto2, &mut field);
        if choices.below(3) == 2 {
            repeat(choices, Syntax::Proto2, &mut field);
        }
        extensions.push(field);
    }
    extensions
}

fn repeat(choices: &mut Choices, syntax: Syntax, field: &mut FieldDescriptorProto) {
    field.label = Some(Label::Repeated.into());
    let packable = !matches!(field.r#type(), Type::String | Type::Bytes | Type::Message | Type::Group);
    if packable && syntax == Syntax::Proto2 && choices.below(2) == 1 {
        field.options = Some(FieldOptions { packed: Some(true), ..Default::default() });
    }
}

fn kind(choices: &mut Choices, syntax: Syntax, field: &mut FieldDescriptorProto) {
    let (kind, name) = match choices.below(8) {
        0..=3 => (choices.pick(SCALARS), None),
        4 => (Type::Enum, Some(".t.E".to_owned())),
        5 if syntax == Syntax::Proto2 && choices.below(2) == 1 => {
            (Type::Group, Some(format!(".t.M{}", choices.below(3))))
        }
        5 => (Type::Message, Some(format!(".t.M{}", choices.below(3)))),
        _ => (Type::Message, Some(format!(".google.protobuf.{}", choices.pick(WELL_KNOWN)))),
    };
    field.set_type(kind);
    field.type_name = name;
}

/// Makes a field a map, whose values are of the kind that it had.
fn map(
    choices: &mut Choices,
    message: &mut DescriptorProto,
    field: &mut FieldDescriptorProto,
    index: usize,
    place: usize,
) {
    let part = |name: &str, number, kind: Type, type_name| FieldDescriptorProto {
        name: Some(name.to_owned()),
        number: Some(number),
        label: Some(Label::Optional.into()),
        r#type: Some(kind.into()),
        type_name,
        ..Default::default()
    };
    // A map has no groups.
    if field.r#type() == Type::Group {
        field.set_type(Type::Message);
    }
    let entry = format!("Field{place}Entry");
    message.nested_type.push(DescriptorProto {
        name: Some(entry.clone()),
        field: vec![part("key", 1, choices.pick(KEYS), None), part("value", 2, field.r#type(), field.type_name.take())],
        options: Some(MessageOptions { map_entry: Some(true), ..Default::default() }),
        ..Default::default()
    });
    field.set_type(Type::Message);
    field.type_name = Some(format!(".t.M{index}.{entry}"));
    field.label = Some(Label::Repeated.into());
}
