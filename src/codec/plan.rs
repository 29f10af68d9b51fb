//! What the codec knows of a message: a table per message, compiled once from descriptors. Knows nothing of bytes.

use std::collections::HashMap;

use buffa::editions::{EnumType, FieldPresence};
use buffa_descriptor::{
    DescriptorPool, EnumDescriptor, EnumIndex, FieldDescriptor, FieldKind, MessageDescriptor, MessageIndex, ScalarType,
    SingularKind,
};

use super::names::Names;

/// Names a message of one [`Codec`](super::Codec).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PlanId(pub(super) u32);

/// Names an enum of one codec.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EnumId(pub(super) u32);

#[derive(Debug)]
pub(super) struct Plan {
    pub(super) name: Box<str>,
    pub(super) special: Special,
    /// By ascending number: the canonical order.
    pub(super) fields: Box<[Field]>,
    /// JSON and proto names (`[pkg.ext]` for extensions) to places in `fields`.
    pub(super) names: Names,
    /// Field numbers to places in `fields` plus one, as far as numbers are dense.
    numbers: Box<[u16]>,
    /// Names of the real oneofs.
    pub(super) oneofs: Box<[Box<str>]>,
}

/// Messages with a JSON form of their own (ProtoJSON format, "Representation of each type"), or a wire form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Special {
    None,
    Any,
    Timestamp,
    Duration,
    FieldMask,
    Struct,
    Value,
    ListValue,
    /// Field 1 is the value.
    Wrapper,
    /// An object of its extensions, which stand on the wire as `message_set` has it.
    MessageSet,
}

impl Special {
    /// An object whose members are its fields.
    pub(super) fn is_object(self) -> bool {
        matches!(self, Self::None | Self::MessageSet)
    }
}

#[derive(Debug)]
pub(super) struct Field {
    pub(super) number: u32,
    /// The tag as it stands on the wire before a value, and its length; of a list: as it is written (packed or not).
    tag: ([u8; 5], u8),
    pub(super) shape: Shape,
    pub(super) kind: Kind,
    /// The place of its real oneof in [`Plan::oneofs`].
    pub(super) oneof: Option<u16>,
    pub(super) json_name: Box<str>,
    pub(super) proto_name: Box<str>,
    /// `,"name":` for each of the names, ready to be written.
    pub(super) json_key: Box<[u8]>,
    pub(super) proto_key: Box<[u8]>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// One value; with presence its default is told apart from its absence.
    Single {
        presence: bool,
    },
    List {
        packed: bool,
    },
    Map {
        key: Kind,
    },
}

/// What one value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Double,
    Float,
    Int32,
    Int64,
    Uint32,
    Uint64,
    Sint32,
    Sint64,
    Fixed32,
    Fixed64,
    Sfixed32,
    Sfixed64,
    Bool,
    String,
    Bytes,
    Enum {
        id: EnumId,
        closed: bool,
    },
    /// `google.protobuf.NullValue`.
    Null,
    Message(PlanId),
    /// A message between a start tag and an end tag.
    Group(PlanId),
}

#[derive(Debug)]
pub(super) struct EnumPlan {
    pub(super) name: Box<str>,
    pub(super) names: Names,
    /// By ascending number, each with the name that was declared first, in quotes.
    numbers: Box<[(i32, Box<[u8]>)]>,
    /// True where `numbers` holds 0, 1, 2 … without a gap.
    dense: bool,
}

/// Wire types (protobuf encoding, "Message Structure").
pub(super) const VARINT: u8 = 0;
pub(super) const FIXED64: u8 = 1;
pub(super) const LENGTH: u8 = 2;
pub(super) const GROUP_START: u8 = 3;
pub(super) const GROUP_END: u8 = 4;
pub(super) const FIXED32: u8 = 5;

impl Kind {
    #[inline]
    pub(super) fn wire_type(self) -> u8 {
        match self {
            Self::Double | Self::Fixed64 | Self::Sfixed64 => FIXED64,
            Self::Float | Self::Fixed32 | Self::Sfixed32 => FIXED32,
            Self::String | Self::Bytes | Self::Message(_) => LENGTH,
            Self::Group(_) => GROUP_START,
            _ => VARINT,
        }
    }

    pub(super) fn is_message(self) -> bool {
        matches!(self, Self::Message(_) | Self::Group(_))
    }

    /// Numbers, bools and enums: what can stand in a packed list.
    pub(super) fn is_packable(self) -> bool {
        !matches!(self, Self::String | Self::Bytes | Self::Message(_) | Self::Group(_))
    }

    fn scalar(scalar: ScalarType) -> Self {
        match scalar {
            ScalarType::Double => Self::Double,
            ScalarType::Float => Self::Float,
            ScalarType::Int64 => Self::Int64,
            ScalarType::Uint64 => Self::Uint64,
            ScalarType::Int32 => Self::Int32,
            ScalarType::Fixed64 => Self::Fixed64,
            ScalarType::Fixed32 => Self::Fixed32,
            ScalarType::Bool => Self::Bool,
            ScalarType::String => Self::String,
            ScalarType::Bytes => Self::Bytes,
            ScalarType::Uint32 => Self::Uint32,
            ScalarType::Sfixed32 => Self::Sfixed32,
            ScalarType::Sfixed64 => Self::Sfixed64,
            ScalarType::Sint32 => Self::Sint32,
            ScalarType::Sint64 => Self::Sint64,
        }
    }
}

impl Field {
    #[inline]
    pub(super) fn tag(&self) -> &[u8] {
        let (bytes, length) = &self.tag;
        &bytes[..usize::from(*length).min(5)]
    }

    /// The JSON name as a key with its colon.
    #[inline]
    pub(super) fn key_text(&self) -> &[u8] {
        self.json_key.get(1..).unwrap_or_default()
    }

    #[inline]
    pub(super) fn has_presence(&self) -> bool {
        matches!(self.shape, Shape::Single { presence: true })
    }
}

impl Plan {
    /// The place of a field; `hint` is a guess.
    #[inline]
    pub(super) fn by_number(&self, number: u32, hint: usize) -> Option<usize> {
        if self.fields.get(hint).is_some_and(|field| field.number == number) {
            return Some(hint);
        }
        match self.numbers.get(number as usize) {
            Some(place) => usize::from(*place).checked_sub(1),
            None => self.fields.binary_search_by_key(&number, |field| field.number).ok(),
        }
    }

    /// The place of a field by JSON or proto name; `hint` is a guess.
    #[inline]
    pub(super) fn by_name(&self, name: &[u8], hint: usize) -> Option<usize> {
        if self.fields.get(hint).is_some_and(|field| field.json_name.as_bytes() == name) {
            return Some(hint);
        }
        self.names.find(name).map(|place| place as usize)
    }
}

impl EnumPlan {
    /// The name of a number, in quotes.
    #[inline]
    pub(super) fn quoted(&self, number: i32) -> Option<&[u8]> {
        let place = if self.dense {
            usize::try_from(number).ok()?
        } else {
            self.numbers.binary_search_by_key(&number, |(number, _)| *number).ok()?
        };
        self.numbers.get(place).map(|(_, name)| &**name)
    }

    fn new(descriptor: &EnumDescriptor) -> Self {
        let mut numbers: Vec<(i32, Box<[u8]>)> = descriptor
            .values()
            .iter()
            .map(|value| (value.number(), format!("\"{}\"", value.name()).into_bytes().into()))
            .collect();
        numbers.sort_by_key(|(number, _)| *number);
        numbers.dedup_by_key(|(number, _)| *number);
        let names =
            descriptor.values().iter().map(|value| (value.name().as_bytes().into(), value.number() as u32)).collect();
        Self {
            name: descriptor.full_name().into(),
            names: Names::new(names),
            dense: numbers.iter().zip(0..).all(|((number, _), place)| *number == place),
            numbers: numbers.into(),
        }
    }
}

/// All tables of a pool, and how to find them.
pub(super) struct Tables {
    pub(super) plans: Box<[Plan]>,
    pub(super) enums: Box<[EnumPlan]>,
    pub(super) by_index: HashMap<MessageIndex, PlanId>,
    pub(super) by_name: HashMap<Box<str>, PlanId>,
}

pub(super) fn compile(pool: &DescriptorPool) -> Tables {
    let ids = Ids {
        messages: (pool.messages().iter().zip(0..))
            .filter_map(|(message, id)| Some((pool.message_index(message.full_name())?, PlanId(id))))
            .collect(),
        enums: (pool.enums().iter().zip(0..))
            .filter_map(|(descriptor, id)| Some((pool.enum_index(descriptor.full_name())?, EnumId(id))))
            .collect(),
        pool,
    };
    let mut extensions: HashMap<MessageIndex, Vec<Field>> = HashMap::new();
    for extension in pool.extensions() {
        let name = extension.json_key();
        let field = ids.field(extension.field(), name, name, None);
        extensions.entry(extension.extendee()).or_default().push(field);
    }
    let enums: Vec<_> = pool.enums().iter().map(EnumPlan::new).collect();
    let mut plans: Vec<_> = Vec::with_capacity(pool.messages().len() + 1);
    for message in pool.messages() {
        let extensions = pool.message_index(message.full_name()).and_then(|index| extensions.remove(&index));
        plans.push(ids.plan(message, extensions.unwrap_or_default()));
    }
    let by_name = plans.iter().zip(0..).map(|(plan, id)| (plan.name.clone(), PlanId(id))).collect();
    // One more without fields, for an index that is not of this pool.
    plans.push(Plan::new("", Special::None, Vec::new(), Vec::new()));
    Tables { plans: plans.into(), enums: enums.into(), by_index: ids.messages, by_name }
}

struct Ids<'a> {
    messages: HashMap<MessageIndex, PlanId>,
    enums: HashMap<EnumIndex, EnumId>,
    pool: &'a DescriptorPool,
}

impl Ids<'_> {
    fn plan(&self, message: &MessageDescriptor, extensions: Vec<Field>) -> Plan {
        // Synthetic oneofs only stand for presence, which the field's own says.
        let mut places = HashMap::new();
        let mut oneofs = Vec::new();
        for (oneof, index) in message.oneofs().iter().zip(0u16..) {
            if !oneof.is_synthetic() {
                places.insert(index, oneofs.len() as u16);
                oneofs.push(oneof.name().into());
            }
        }
        let mut fields = extensions;
        fields.extend(message.fields().iter().map(|field| {
            let oneof = field.oneof_index().and_then(|index| places.get(&index).copied());
            self.field(field, field.json_name(), field.name(), oneof)
        }));
        let is_item = |field: &Field| matches!((field.shape, field.kind), (Shape::Single { .. }, Kind::Message(_)));
        let special = match special(message) {
            Special::MessageSet if !fields.iter().all(is_item) => Special::None,
            special => special,
        };
        Plan::new(message.full_name(), special, fields, oneofs)
    }

    fn field(&self, field: &FieldDescriptor, json_name: &str, proto_name: &str, oneof: Option<u16>) -> Field {
        let kind = |of| self.kind(of, field);
        let (shape, kind) = match field.kind() {
            FieldKind::Singular(of) => {
                (Shape::Single { presence: field.presence() != FieldPresence::Implicit || oneof.is_some() }, kind(of))
            }
            FieldKind::List(of) => (Shape::List { packed: field.is_packed() && kind(of).is_packable() }, kind(of)),
            FieldKind::Map { key, value } => (Shape::Map { key: Kind::scalar(key) }, kind(value)),
        };
        let wire_type = match shape {
            Shape::List { packed: true } | Shape::Map { .. } => LENGTH,
            _ => kind.wire_type(),
        };
        Field {
            number: field.number(),
            tag: tag_bytes(field.number(), wire_type),
            shape,
            kind,
            oneof,
            json_name: json_name.into(),
            proto_name: proto_name.into(),
            json_key: key(json_name),
            proto_key: key(proto_name),
        }
    }

    fn kind(&self, of: SingularKind, field: &FieldDescriptor) -> Kind {
        match of {
            SingularKind::Scalar(scalar) => Kind::scalar(scalar),
            SingularKind::Enum(index) => {
                let descriptor = self.pool.enumeration(index);
                if descriptor.full_name() == "google.protobuf.NullValue" {
                    return Kind::Null;
                }
                let closed = field.enum_type().unwrap_or(descriptor.enum_type()) == EnumType::Closed;
                Kind::Enum { id: self.enums.get(&index).copied().unwrap_or(EnumId(0)), closed }
            }
            SingularKind::Message(index) => {
                let none = PlanId(self.pool.messages().len() as u32);
                let id = self.messages.get(&index).copied().unwrap_or(none);
                let in_map = matches!(field.kind(), FieldKind::Map { .. });
                if field.is_delimited() && !in_map { Kind::Group(id) } else { Kind::Message(id) }
            }
        }
    }
}

impl Plan {
    fn new(name: &str, special: Special, mut fields: Vec<Field>, oneofs: Vec<Box<str>>) -> Self {
        fields.sort_by_key(|field| field.number);
        let json_names = fields.iter().zip(0..).map(|(field, place)| (field.json_name.as_bytes().into(), place));
        let proto_names = fields.iter().zip(0..).map(|(field, place)| (field.proto_name.as_bytes().into(), place));
        let names = Names::new(json_names.chain(proto_names).collect());
        // Dense as long as at most one number in four is wasted or the table is tiny.
        let limit = fields.len() * 4 + 16;
        let covered = fields.partition_point(|field| (field.number as usize) < limit).min(usize::from(u16::MAX) - 1);
        let mut numbers = match covered.checked_sub(1).and_then(|last| fields.get(last)) {
            Some(last) => vec![0u16; last.number as usize + 1],
            None => Vec::new(),
        };
        for (field, place) in fields.iter().take(covered).zip(1u16..) {
            numbers[field.number as usize] = place;
        }
        Self {
            name: name.into(),
            special,
            fields: fields.into(),
            names,
            numbers: numbers.into(),
            oneofs: oneofs.into(),
        }
    }
}

/// The form of a message. A special one needs the fields that it is made of: a schema may hold something else under the
/// same name.
pub fn special(message: &MessageDescriptor) -> Special {
    if message.options().is_some_and(|options| options.message_set_wire_format == Some(true)) {
        return Special::MessageSet;
    }
    let Some(name) = message.full_name().strip_prefix("google.protobuf.") else { return Special::None };
    let has = |number, kind: FieldKind| message.field(number).is_some_and(|field| field.kind() == kind);
    let scalar = |kind| FieldKind::Singular(SingularKind::Scalar(kind));
    let (special, sound) = match name {
        "Any" => (Special::Any, has(1, scalar(ScalarType::String)) && has(2, scalar(ScalarType::Bytes))),
        "Timestamp" => (Special::Timestamp, has(1, scalar(ScalarType::Int64)) && has(2, scalar(ScalarType::Int32))),
        "Duration" => (Special::Duration, has(1, scalar(ScalarType::Int64)) && has(2, scalar(ScalarType::Int32))),
        "FieldMask" => (Special::FieldMask, has(1, FieldKind::List(SingularKind::Scalar(ScalarType::String)))),
        "Struct" => (
            Special::Struct,
            message.field(1).is_some_and(|field| {
                matches!(field.kind(), FieldKind::Map { key: ScalarType::String, value: SingularKind::Message(_) })
            }),
        ),
        "ListValue" => (
            Special::ListValue,
            message.field(1).is_some_and(|field| matches!(field.kind(), FieldKind::List(SingularKind::Message(_)))),
        ),
        "Value" => (
            Special::Value,
            has(2, scalar(ScalarType::Double))
                && has(3, scalar(ScalarType::String))
                && has(4, scalar(ScalarType::Bool))
                && [1, 5, 6].iter().all(|number| message.field(*number).is_some()),
        ),
        "DoubleValue" | "FloatValue" | "Int64Value" | "UInt64Value" | "Int32Value" | "UInt32Value" | "BoolValue"
        | "StringValue" | "BytesValue" => (
            Special::Wrapper,
            message.field(1).is_some_and(|field| matches!(field.kind(), FieldKind::Singular(SingularKind::Scalar(_)))),
        ),
        _ => (Special::None, true),
    };
    if sound { special } else { Special::None }
}

fn tag_bytes(number: u32, wire_type: u8) -> ([u8; 5], u8) {
    let mut bytes = Vec::with_capacity(5);
    crate::wire::varint::write(u64::from(number) << 3 | u64::from(wire_type), &mut bytes);
    let mut tag = [0; 5];
    for (place, byte) in tag.iter_mut().zip(&bytes) {
        *place = *byte;
    }
    (tag, bytes.len() as u8)
}

fn key(name: &str) -> Box<[u8]> {
    let mut key = vec![b','];
    super::text::write_string(name, &mut key);
    key.push(b':');
    key.into()
}
