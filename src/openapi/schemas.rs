//! Messages and enums as JSON Schemas, in the JSON that the codec writes. Knows nothing of operations.

use std::collections::{BTreeMap, HashSet};

use buffa_descriptor::{
    DescriptorPool, EnumIndex, FieldDescriptor, FieldKind, MessageDescriptor, MessageIndex, ScalarType, SingularKind,
};

use super::{
    Budget, TooLarge,
    behavior::Behavior,
    document::{Constant, Schema, Type, Written},
};
use crate::{
    codec::{Special, special},
    config::OutputSettings,
    schema::Comments,
};

/// Which JSON a schema is of.
#[derive(Clone, Copy)]
pub(super) struct Form {
    pub(super) output: OutputSettings,
    /// Nothing is required: a reply leaves out what has its default value, a PATCH gives what changes.
    pub(super) is_partial: bool,
}

/// The components of a document, written as they are referred to.
pub(super) struct Schemas<'a> {
    pub(super) pool: &'a DescriptorPool,
    pub(super) comments: &'a Comments,
    /// Messages that are told both whole and partial, and differ in that.
    split: HashSet<MessageIndex>,
    asked: HashSet<String>,
    pending: Vec<(String, Component)>,
}

enum Component {
    Message(MessageIndex, Form),
    Enum(EnumIndex, Form),
}

impl<'a> Schemas<'a> {
    pub(super) fn new(pool: &'a DescriptorPool, comments: &'a Comments, split: HashSet<MessageIndex>) -> Self {
        Self { pool, comments, split, asked: HashSet::new(), pending: Vec::new() }
    }

    /// Writes every component that was referred to, and those that they refer to.
    pub(super) fn finish(mut self, budget: &mut Budget) -> Result<BTreeMap<String, Written>, TooLarge> {
        let mut written = BTreeMap::new();
        while let Some((name, component)) = self.pending.pop() {
            let schema = match component {
                Component::Message(index, form) => self.object(index, form, &[]),
                Component::Enum(index, form) => self.enumeration(index, form),
            };
            written.insert(name, budget.write(&schema)?);
        }
        Ok(written)
    }

    /// A message, as a reference where it has no form of its own.
    pub(super) fn message(&mut self, index: MessageIndex, form: Form) -> Schema {
        let message = self.pool.message(index);
        match special(message) {
            Special::None | Special::MessageSet => {
                let split = form.is_partial && self.split.contains(&index);
                let name = component_name(message.full_name(), split, form.output);
                self.refer(name, Component::Message(index, form))
            }
            Special::Timestamp => Schema::of(Type::String).with_format("date-time"),
            Special::Duration => Schema::of(Type::String).with_pattern(r"^-?[0-9]+(\.[0-9]{1,9})?s$"),
            Special::FieldMask => {
                Schema::of(Type::String).described("Field paths in lowerCamelCase, separated by commas.")
            }
            Special::Struct => Schema::of(Type::Object),
            Special::ListValue => Schema::of(Type::Array),
            Special::Value => Schema::default(),
            Special::Wrapper => match message.field(1).map(FieldDescriptor::kind) {
                Some(FieldKind::Singular(kind)) => self.value(kind, form),
                _ => Schema::default(),
            },
            Special::Any => Schema::object([("@type", Schema::of(Type::String))])
                .described("A message of the type that `@type` names."),
        }
    }

    /// A message in place, `without` some fields, which are given by their numbers from the outermost.
    pub(super) fn object(&mut self, index: MessageIndex, form: Form, without: &[&[u32]]) -> Schema {
        let message = self.pool.message(index);
        let mut schema = Schema::of(Type::Object);
        schema.description = self.comments.of(message.full_name()).map(str::to_owned);
        schema.deprecated = message.options().is_some_and(|options| options.deprecated == Some(true));
        for field in self.fields(index) {
            if without.contains(&[field.descriptor.number()].as_slice()) {
                continue;
            }
            let name = field.name(form.output);
            if !form.is_partial && Behavior::of(field.descriptor).required {
                schema.required.push(name.clone());
            }
            let within: Vec<&[u32]> = without
                .iter()
                .filter_map(|path| path.split_first().filter(|(first, _)| **first == field.descriptor.number()))
                .map(|(_, rest)| rest)
                .collect();
            schema.properties.0.push((name, self.field(message, &field, form, &within)));
        }
        schema
    }

    /// The fields of a message, and its extensions.
    pub(super) fn fields(&self, index: MessageIndex) -> Vec<Field<'a>> {
        let message = self.pool.message(index);
        let extensions = self.pool.extensions_of(index);
        let extensions = extensions.map(|own| Field { descriptor: own.field(), extension: Some(own.full_name()) });
        message.fields().iter().map(Field::own).chain(extensions).collect()
    }

    /// What is said of a field, and of its oneof.
    pub(super) fn description(&self, message: &MessageDescriptor, field: &Field<'_>) -> Option<String> {
        let full_name = match field.extension {
            Some(name) => name.to_owned(),
            None => format!("{}.{}", message.full_name(), field.descriptor.name()),
        };
        let oneof = field.descriptor.oneof_index().and_then(|index| message.oneofs().get(usize::from(index)));
        let rivals = oneof.filter(|oneof| !oneof.is_synthetic()).map(|oneof| {
            let members = oneof.field_indices().iter().filter_map(|index| message.fields().get(usize::from(*index)));
            let members: Vec<String> = members.map(|member| format!("`{}`", member.json_name())).collect();
            format!("At most one of {} is set.", members.join(", "))
        });
        let texts: Vec<String> = self.comments.of(&full_name).map(str::to_owned).into_iter().chain(rivals).collect();
        (!texts.is_empty()).then(|| texts.join("\n\n"))
    }

    pub(super) fn value(&mut self, kind: SingularKind, form: Form) -> Schema {
        match kind {
            SingularKind::Scalar(kind) => scalar(kind, form.output),
            SingularKind::Message(index) => self.message(index, form),
            SingularKind::Enum(index) => match self.pool.enumeration(index).full_name() {
                "google.protobuf.NullValue" => Schema::of(Type::Null),
                name => self.refer(component_name(name, false, form.output), Component::Enum(index, form)),
            },
        }
    }

    pub(super) fn kind(&mut self, kind: FieldKind, form: Form) -> Schema {
        match kind {
            FieldKind::Singular(kind) => self.value(kind, form),
            FieldKind::List(kind) => Schema::array(self.value(kind, form)),
            FieldKind::Map { key, value } => Schema {
                property_names: key_names(key).map(Box::new),
                additional_properties: Some(Box::new(self.value(value, form))),
                ..Schema::of(Type::Object)
            },
        }
    }

    fn field(&mut self, message: &MessageDescriptor, field: &Field<'_>, form: Form, without: &[&[u32]]) -> Schema {
        let mut schema = match field.descriptor.kind() {
            FieldKind::Singular(SingularKind::Message(index)) if !without.is_empty() => {
                self.object(index, form, without)
            }
            kind => self.kind(kind, form),
        };
        let behavior = Behavior::of(field.descriptor);
        schema.description = self.description(message, field).or(schema.description);
        schema.deprecated = is_deprecated(field.descriptor);
        schema.read_only = behavior.output_only;
        schema.write_only = behavior.input_only;
        schema
    }

    fn enumeration(&self, index: EnumIndex, form: Form) -> Schema {
        let descriptor = self.pool.enumeration(index);
        let name = descriptor.full_name();
        let mut texts: Vec<String> = self.comments.of(name).map(str::to_owned).into_iter().collect();
        let described = descriptor.values().iter().filter_map(|value| {
            let comment = self.comments.of(&format!("{name}.{}", value.name()))?;
            Some(format!("- `{}`: {}", value.name(), comment.replace('\n', "\n  ")))
        });
        let described: Vec<String> = described.collect();
        if !described.is_empty() {
            texts.push(described.join("\n"));
        }
        let numbers = form.output.enum_numbers;
        // Aliases share a number.
        let mut told = HashSet::new();
        let values = descriptor.values().iter().filter(|value| !numbers || told.insert(value.number()));
        let constants = values.map(|value| match numbers {
            true => Constant::Number(value.number()),
            false => Constant::Name(value.name().to_owned()),
        });
        let values = constants.collect();
        Schema {
            description: (!texts.is_empty()).then(|| texts.join("\n\n")),
            deprecated: descriptor.options().is_some_and(|options| options.deprecated == Some(true)),
            values: Some(values),
            ..Schema::of(if numbers { Type::Integer } else { Type::String })
        }
    }

    fn refer(&mut self, name: String, component: Component) -> Schema {
        let schema = Schema::reference(&name);
        if self.asked.insert(name.clone()) {
            self.pending.push((name, component));
        }
        schema
    }
}

/// A field of a message, or an extension of it.
pub(super) struct Field<'a> {
    pub(super) descriptor: &'a FieldDescriptor,
    /// The full name of an extension.
    extension: Option<&'a str>,
}

impl<'a> Field<'a> {
    pub(super) fn own(descriptor: &'a FieldDescriptor) -> Self {
        Self { descriptor, extension: None }
    }

    pub(super) fn name(&self, output: OutputSettings) -> String {
        match self.extension {
            Some(name) => format!("[{name}]"),
            None if output.proto_names => self.descriptor.name().to_owned(),
            None => self.descriptor.json_name().to_owned(),
        }
    }
}

pub(super) fn is_deprecated(field: &FieldDescriptor) -> bool {
    field.options().is_some_and(|options| options.deprecated == Some(true))
}

/// No name of protobuf has a `-` in it, so a suffix never makes two names one.
fn component_name(full_name: &str, is_split: bool, output: OutputSettings) -> String {
    let mut name = full_name.to_owned();
    for (suffix, wanted) in [
        ("-partial", is_split),
        ("-enum_numbers", output.enum_numbers),
        ("-proto_names", output.proto_names),
        ("-int64_numbers", output.int64_numbers),
    ] {
        if wanted {
            name.push_str(suffix);
        }
    }
    name
}

/// ProtoJSON format, "Representation of each type".
fn scalar(kind: ScalarType, output: OutputSettings) -> Schema {
    let wide = if output.int64_numbers { Type::Any(&[Type::Integer, Type::String]) } else { Type::String };
    match kind {
        ScalarType::Double => Schema::of(Type::Number).with_format("double"),
        ScalarType::Float => Schema::of(Type::Number).with_format("float"),
        ScalarType::Int32 | ScalarType::Sint32 | ScalarType::Sfixed32 => Schema::of(Type::Integer).with_format("int32"),
        ScalarType::Uint32 | ScalarType::Fixed32 => {
            Schema { minimum: Some(0), ..Schema::of(Type::Integer).with_format("uint32") }
        }
        ScalarType::Int64 | ScalarType::Sint64 | ScalarType::Sfixed64 => Schema::of(wide).with_format("int64"),
        ScalarType::Uint64 | ScalarType::Fixed64 => Schema::of(wide).with_format("uint64"),
        ScalarType::Bool => Schema::of(Type::Boolean),
        ScalarType::String => Schema::of(Type::String),
        ScalarType::Bytes => {
            Schema { content_encoding: Some("base64"), ..Schema::of(Type::String).with_format("byte") }
        }
    }
}

/// What the keys of a map look like; none: anything.
fn key_names(kind: ScalarType) -> Option<Schema> {
    match kind {
        ScalarType::String => None,
        ScalarType::Bool => {
            let values = ["true", "false"].map(|name| Constant::Name(name.to_owned()));
            Some(Schema { values: Some(values.into()), ..Schema::default() })
        }
        _ => Some(Schema::default().with_pattern("^-?[0-9]+$")),
    }
}
