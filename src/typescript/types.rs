//! Messages and enums as types, in the JSON that the codec writes. Knows nothing of methods.

use std::{collections::BTreeMap, fmt::Write};

use buffa::editions::{EnumType, FieldPresence};
use buffa_descriptor::{DescriptorPool, EnumIndex, FieldDescriptor, FieldKind, MessageIndex, ScalarType, SingularKind};

use super::names::{Names, property, string};
use crate::{
    codec::{Special, special},
    config::{OutputSettings, Resume},
    schema::{Comments, Method},
};

/// Everything that some messages lead to.
pub(super) struct Types<'a> {
    pool: &'a DescriptorPool,
    comments: &'a Comments,
    output: OutputSettings,
    /// By full name.
    found: BTreeMap<&'a str, Found>,
    names: Names,
}

#[derive(Clone, Copy)]
enum Found {
    Message(MessageIndex),
    Enum(EnumIndex),
}

/// A field, with the name that it has in JSON.
struct Field<'a> {
    name: &'a str,
    full_name: String,
    descriptor: &'a FieldDescriptor,
}

impl<'a> Types<'a> {
    pub(super) fn reached(
        pool: &'a DescriptorPool,
        comments: &'a Comments,
        output: OutputSettings,
        roots: impl Iterator<Item = MessageIndex>,
    ) -> Self {
        let mut types = Self { pool, comments, output, found: BTreeMap::new(), names: Names::of(pool, []) };
        let mut pending: Vec<Found> = roots.map(Found::Message).collect();
        while let Some(found) = pending.pop() {
            if types.stands_alone(found) && types.found.insert(types.full_name(found), found).is_none() {
                pending.extend(types.parts(found));
            }
        }
        types.names = Names::of(pool, types.found.keys().copied());
        types
    }

    /// Declares every type.
    pub(super) fn write(&self, out: &mut String) {
        for (full_name, found) in &self.found {
            out.push('\n');
            match *found {
                Found::Message(index) => self.write_message(out, full_name, index),
                Found::Enum(index) => self.write_enum(out, full_name, index),
            }
        }
    }

    /// A message as a type.
    pub(super) fn message(&self, index: MessageIndex) -> String {
        let message = self.pool.message(index);
        match special(message) {
            Special::None | Special::MessageSet => self.names.name(message.full_name()).to_owned(),
            Special::Timestamp | Special::Duration | Special::FieldMask => "string".to_owned(),
            Special::Struct => "{ [member: string]: tidegate.JsonValue }".to_owned(),
            Special::ListValue => "tidegate.JsonValue[]".to_owned(),
            Special::Value => "tidegate.JsonValue".to_owned(),
            Special::Wrapper => message.field(1).map_or_else(String::new, |field| self.kind(field.kind())),
            Special::Any => "tidegate.Any".to_owned(),
        }
    }

    /// Where replies of a method say how far its stream has come, and its request from where on it is wanted.
    pub(super) fn resume(&self, method: &Method, resume: &Resume) -> Option<String> {
        let (reply, last) = self.path(method.output, &resume.event_id)?;
        let (request, _) = self.path(method.input, &resume.request)?;
        let absent = self.absent(last).map(|value| format!(", absent: {value}")).unwrap_or_default();
        Some(format!("{{ reply: {}{absent}, request: {} }}", string(&reply), string(&request)))
    }

    /// A path of fields by the names that they have here, and its last field.
    fn path(&self, root: MessageIndex, path: &str) -> Option<(String, &'a FieldDescriptor)> {
        let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
        let message = self.pool.message(root);
        let field = message.fields().iter().find(|field| field.name() == name || field.json_name() == name)?;
        match (rest, field.kind()) {
            (None, _) => Some((self.name(field).to_owned(), field)),
            (Some(rest), FieldKind::Singular(SingularKind::Message(inner))) => {
                let (below, last) = self.path(inner, rest)?;
                Some((format!("{}.{below}", self.name(field)), last))
            }
            (Some(_), _) => None,
        }
    }

    /// What a number or an enum is that is not there, where nobody can tell it from its default.
    fn absent(&self, field: &FieldDescriptor) -> Option<String> {
        if field.presence() != FieldPresence::Implicit {
            return None;
        }
        match field.kind() {
            FieldKind::Singular(SingularKind::Scalar(kind))
                if !matches!(kind, ScalarType::String | ScalarType::Bytes) =>
            {
                Some(if is_wide(kind) { "\"0\"" } else { "0" }.to_owned())
            }
            FieldKind::Singular(SingularKind::Enum(index)) => {
                self.pool.enumeration(index).values().first().map(|value| string(value.name()))
            }
            _ => None,
        }
    }

    /// Whether it has a declaration of its own.
    fn stands_alone(&self, found: Found) -> bool {
        match found {
            Found::Message(index) => matches!(special(self.pool.message(index)), Special::None | Special::MessageSet),
            Found::Enum(index) => self.pool.enumeration(index).full_name() != NULL_VALUE,
        }
    }

    fn full_name(&self, found: Found) -> &'a str {
        match found {
            Found::Message(index) => self.pool.message(index).full_name(),
            Found::Enum(index) => self.pool.enumeration(index).full_name(),
        }
    }

    /// What the fields of a message are of.
    fn parts(&self, found: Found) -> Vec<Found> {
        let Found::Message(index) = found else { return Vec::new() };
        let kinds = self.fields(index).into_iter().filter_map(|field| match field.descriptor.kind() {
            FieldKind::Singular(kind) | FieldKind::List(kind) | FieldKind::Map { value: kind, .. } => match kind {
                SingularKind::Message(index) => Some(Found::Message(index)),
                SingularKind::Enum(index) => Some(Found::Enum(index)),
                SingularKind::Scalar(_) => None,
            },
        });
        kinds.collect()
    }

    /// Readers take both names of a field, so the one that writers use does for requests too.
    fn name(&self, field: &'a FieldDescriptor) -> &'a str {
        if self.output.proto_names { field.name() } else { field.json_name() }
    }

    /// The fields of a message, and its extensions.
    fn fields(&self, index: MessageIndex) -> Vec<Field<'a>> {
        let message = self.pool.message(index);
        let own = message.fields().iter().map(|descriptor| Field {
            name: self.name(descriptor),
            full_name: format!("{}.{}", message.full_name(), descriptor.name()),
            descriptor,
        });
        let extensions = self.pool.extensions_of(index).map(|extension| Field {
            name: extension.json_key(),
            full_name: extension.full_name().to_owned(),
            descriptor: extension.field(),
        });
        own.chain(extensions).collect()
    }

    /// An object; the members of a oneof exclude each other.
    fn write_message(&self, out: &mut String, full_name: &str, index: MessageIndex) {
        let message = self.pool.message(index);
        let deprecated = message.options().is_some_and(|options| options.deprecated == Some(true));
        comment(out, "", self.comments.of(full_name), deprecated);
        let (mut alone, mut oneofs) = (String::new(), BTreeMap::<u16, String>::new());
        for field in self.fields(index) {
            let oneof = field
                .descriptor
                .oneof_index()
                .filter(|index| message.oneofs().get(usize::from(*index)).is_some_and(|oneof| !oneof.is_synthetic()));
            let target = oneof.map_or(&mut alone, |index| oneofs.entry(index).or_default());
            self.write_field(target, &field, oneof.is_some());
        }
        let name = self.names.name(full_name);
        let _ = match (alone.is_empty(), oneofs.is_empty()) {
            (false, true) => writeln!(out, "export interface {name} {{\n{alone}}}"),
            (true, true) => writeln!(out, "export type {name} = {{ [member: string]: never }};"),
            (is_bare, false) => {
                let object = if is_bare { Vec::new() } else { vec![format!("{{\n{alone}}}")] };
                let choices = oneofs.values().map(|members| format!("tidegate.OneOf<{{\n{members}}}>"));
                let parts: Vec<String> = object.into_iter().chain(choices).collect();
                writeln!(out, "export type {name} = {};", parts.join(" & "))
            }
        };
    }

    fn write_field(&self, out: &mut String, field: &Field<'_>, is_choice: bool) {
        let deprecated = field.descriptor.options().is_some_and(|options| options.deprecated == Some(true));
        comment(out, "  ", self.comments.of(&field.full_name), deprecated);
        let required = is_choice || field.descriptor.presence() == FieldPresence::LegacyRequired;
        let mark = if required { "" } else { "?" };
        let _ = writeln!(out, "  {}{mark}: {};", property(field.name), self.kind(field.descriptor.kind()));
    }

    fn write_enum(&self, out: &mut String, full_name: &str, index: EnumIndex) {
        let descriptor = self.pool.enumeration(index);
        let deprecated = descriptor.options().is_some_and(|options| options.deprecated == Some(true));
        comment(out, "", self.comments.of(full_name), deprecated);
        let _ = write!(out, "export type {} =", self.names.name(full_name));
        for value in descriptor.values() {
            out.push('\n');
            comment(out, "  ", self.comments.of(&format!("{full_name}.{}", value.name())), false);
            let _ = write!(out, "  | {}", string(value.name()));
        }
        // A value that has no name is told by its number.
        let has_numbers = self.output.enum_numbers || descriptor.enum_type() == EnumType::Open;
        out.push_str(if has_numbers { "\n  | number;\n" } else { ";\n" });
    }

    fn kind(&self, kind: FieldKind) -> String {
        match kind {
            FieldKind::Singular(kind) => self.value(kind),
            FieldKind::List(kind) => match self.value(kind) {
                value if value.contains(' ') => format!("Array<{value}>"),
                value => format!("{value}[]"),
            },
            FieldKind::Map { value, .. } => format!("{{ [key: string]: {} }}", self.value(value)),
        }
    }

    fn value(&self, kind: SingularKind) -> String {
        match kind {
            SingularKind::Scalar(kind) if self.output.int64_numbers && is_wide(kind) => "number | string".to_owned(),
            SingularKind::Scalar(kind) => scalar(kind).to_owned(),
            SingularKind::Message(index) => self.message(index),
            SingularKind::Enum(index) => match self.pool.enumeration(index).full_name() {
                NULL_VALUE => "null".to_owned(),
                name => self.names.name(name).to_owned(),
            },
        }
    }
}

const NULL_VALUE: &str = "google.protobuf.NullValue";

/// A double does not hold all of its values.
fn is_wide(kind: ScalarType) -> bool {
    use ScalarType::{Fixed64, Int64, Sfixed64, Sint64, Uint64};
    matches!(kind, Int64 | Sint64 | Uint64 | Fixed64 | Sfixed64)
}

/// ProtoJSON format, "Representation of each type".
fn scalar(kind: ScalarType) -> &'static str {
    match kind {
        ScalarType::Double | ScalarType::Float => "tidegate.Float",
        ScalarType::Int32 | ScalarType::Sint32 | ScalarType::Sfixed32 | ScalarType::Uint32 | ScalarType::Fixed32 => {
            "number"
        }
        ScalarType::Int64
        | ScalarType::Sint64
        | ScalarType::Sfixed64
        | ScalarType::Uint64
        | ScalarType::Fixed64
        | ScalarType::String
        | ScalarType::Bytes => "string",
        ScalarType::Bool => "boolean",
    }
}

/// What is said of something, as a documentation comment.
pub(super) fn comment(out: &mut String, indent: &str, text: Option<&str>, deprecated: bool) {
    let text = text.unwrap_or_default().replace("*/", "*\u{200b}/");
    let lines: Vec<&str> = text.lines().chain(deprecated.then_some("@deprecated")).collect();
    let _ = match lines.as_slice() {
        [] => Ok(()),
        [line] => writeln!(out, "{indent}/** {line} */"),
        lines => {
            let body: String = lines
                .iter()
                .map(|line| format!("{indent} *{}{line}\n", if line.is_empty() { "" } else { " " }))
                .collect();
            write!(out, "{indent}/**\n{body}{indent} */\n")
        }
    };
}
