//! Wire bytes → JSON text, in one pass where fields stand in canonical order. Knows nothing of who reads it.
//!
//! A message whose fields stand in another order, or a singular field that stands twice, stops the pass; the whole
//! message is then written again, gathering the fields of each message first (see `gather`). So the usual message costs one
//! pass, any other two, and never a pass per level.

use smallvec::SmallVec;

use crate::{
    config::OutputSettings,
    limits::{DEPTH_MAX, REPLY_JSON_BYTES_MAX},
};

use super::{
    Codec,
    error::OutputError,
    output_map::Entries,
    plan::{Field, Kind, LENGTH, Plan, Shape, Special},
    pretty,
    protobuf::{Raw, Tag, Wire, too_deep},
    text,
};

pub(super) struct Output<'c> {
    pub(super) codec: &'c Codec,
    pub(super) settings: OutputSettings,
    pub(super) out: &'c mut Vec<u8>,
    /// Fields are gathered before they are written.
    pub(super) gathers: bool,
}

/// Why a pass ended early.
pub(super) enum Stop {
    /// Fields stand out of order or apart: gather them.
    Disorder,
    Fault(OutputError),
}

impl From<OutputError> for Stop {
    fn from(error: OutputError) -> Self {
        Self::Fault(error)
    }
}

/// Runs `write`, once more where fields must be gathered, and makes the result pretty where that is wanted.
pub(super) fn write(
    codec: &Codec,
    settings: OutputSettings,
    out: &mut Vec<u8>,
    mut write: impl FnMut(&mut Output<'_>) -> Result<(), Stop>,
) -> Result<(), OutputError> {
    let from = out.len();
    for gathers in [false, true] {
        out.truncate(from);
        match write(&mut Output { codec, settings, out, gathers }) {
            Ok(()) if settings.pretty => {
                let compact = out.split_off(from);
                return pretty::write_within(&compact, REPLY_JSON_BYTES_MAX, out).ok_or_else(too_much);
            }
            Ok(()) => return Ok(()),
            Err(Stop::Fault(error)) => return Err(error),
            Err(Stop::Disorder) => {}
        }
    }
    Err(OutputError::new("the fields of the message stand in an order that cannot be followed"))
}

/// How a field's value stands on the wire.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    One,
    Packed,
}

/// None where the wire type is not the field's: then it is an unknown field.
#[inline]
pub(super) fn form(field: &Field, tag: Tag) -> Option<Form> {
    match field.shape {
        Shape::Map { .. } => (tag.wire_type == LENGTH).then_some(Form::One),
        _ if tag.wire_type == field.kind.wire_type() => Some(Form::One),
        Shape::List { .. } if tag.wire_type == LENGTH && field.kind.is_packable() => Some(Form::Packed),
        _ => None,
    }
}

impl<'c> Output<'c> {
    /// A message as one JSON value; `depth` is its own, the outermost's is 1.
    pub(super) fn message(&mut self, plan: &Plan, wire: &[u8], depth: usize) -> Result<(), Stop> {
        if depth > DEPTH_MAX {
            return Err(too_deep().into());
        }
        self.check_room()?;
        if !plan.special.is_object() {
            return self.special(plan, wire, depth);
        }
        self.out.push(b'{');
        self.members(plan, wire, depth)?;
        self.out.push(b'}');
        Ok(())
    }

    /// The members of an object that is open.
    pub(super) fn members(&mut self, plan: &Plan, wire: &[u8], depth: usize) -> Result<(), Stop> {
        if self.gathers || plan.special == Special::MessageSet {
            return self.gathered(plan, wire, depth);
        }
        let mut wire = Wire::new(wire);
        // The place behind the last field that was written or passed over.
        let mut next = 0;
        let mut oneofs: SmallVec<[u16; 4]> = SmallVec::new();
        while let Some(tag) = wire.tag()? {
            let found = plan.by_number(tag.number, next).and_then(|place| {
                let field = plan.fields.get(place)?;
                Some((place, field, form(field, tag)?))
            });
            let value = wire.value(tag)?;
            let Some((place, field, form)) = found else { continue };
            if place < next {
                return Err(Stop::Disorder);
            }
            if let Some(oneof) = field.oneof {
                if oneofs.contains(&oneof) {
                    return Err(Stop::Disorder);
                }
                oneofs.push(oneof);
            }
            self.defaults(plan, next..place);
            next = place + 1;
            if let Err(stop) = self.member(field, value, form, &mut wire, depth) {
                return Err(within(stop, field));
            }
        }
        self.defaults(plan, next..plan.fields.len());
        Ok(())
    }

    /// A field with its key; of a list or map all that follow at once.
    #[inline]
    fn member(
        &mut self,
        field: &Field,
        value: Raw<'_>,
        form: Form,
        wire: &mut Wire<'_>,
        depth: usize,
    ) -> Result<(), Stop> {
        match field.shape {
            Shape::Single { presence } => self.single(field, presence, value, depth),
            Shape::List { packed } => {
                let before = self.open_member(field, b'[');
                self.elements(field.kind, value, form, depth)?;
                // What follows in the field's own form belongs to the list; in the other form it is out of order.
                let form = if packed { Form::Packed } else { Form::One };
                let tag = field.tag();
                while wire.pass(tag) {
                    let wire_type = tag.first().map_or(LENGTH, |byte| byte & 7);
                    let value = wire.value(Tag { number: field.number, wire_type })?;
                    self.elements(field.kind, value, form, depth)?;
                }
                self.close_list(field, before);
                Ok(())
            }
            Shape::Map { key } => {
                let mut entries = Entries::new();
                let mut value = value;
                loop {
                    if let Raw::Bytes(entry) = value {
                        self.entry(field, key, entry, &mut entries)?;
                    }
                    if !wire.pass(field.tag()) {
                        break;
                    }
                    value = wire.value(Tag { number: field.number, wire_type: LENGTH })?;
                }
                self.map_member(field, key, &entries, depth)
            }
        }
    }

    #[inline]
    pub(super) fn single(&mut self, field: &Field, presence: bool, value: Raw<'_>, depth: usize) -> Result<(), Stop> {
        let (is_default, is_unknown) = match value {
            Raw::Bits(bits) => (bits == 0, self.is_unknown(field.kind, bits)),
            Raw::Bytes(bytes) => (bytes.is_empty(), false),
        };
        if is_unknown || (is_default && !presence && !self.settings.defaults) {
            return Ok(());
        }
        self.key(field);
        self.value(field.kind, value, depth)
    }

    /// A number that a closed enum does not know: it counts as an unknown field.
    #[inline]
    pub(super) fn is_unknown(&self, kind: Kind, bits: u64) -> bool {
        match kind {
            Kind::Enum { id, closed: true } => self.codec.enums()[id.0 as usize].quoted(bits as i32).is_none(),
            _ => false,
        }
    }

    #[inline]
    pub(super) fn key(&mut self, field: &Field) {
        let key = if self.settings.proto_names { &field.proto_key } else { &field.json_key };
        let first = self.out.last() == Some(&b'{');
        self.out.extend_from_slice(key.get(usize::from(first)..).unwrap_or_default());
    }

    /// Writes a key and what opens its value; returns where the key begins.
    pub(super) fn open_member(&mut self, field: &Field, open: u8) -> usize {
        let before = self.out.len();
        self.key(field);
        self.out.push(open);
        before
    }

    /// Ends a list; one without elements is as absent as one that is not there.
    pub(super) fn close_list(&mut self, field: &Field, before: usize) {
        if self.out.last() == Some(&b'[') && !self.settings.defaults {
            self.out.truncate(before);
        } else {
            self.out.push(b']');
        }
        debug_assert!(matches!(field.shape, Shape::List { .. }));
    }

    /// The elements that one occurrence of a list's field holds.
    #[inline]
    pub(super) fn elements(&mut self, kind: Kind, value: Raw<'_>, form: Form, depth: usize) -> Result<(), Stop> {
        match (form, value) {
            (Form::Packed, Raw::Bytes(packed)) => {
                let mut packed = Wire::new(packed);
                while !packed.is_empty() {
                    let bits = packed.element(kind)?;
                    if !self.is_unknown(kind, bits) {
                        self.check_room()?;
                        self.comma(b'[');
                        self.number(kind, bits);
                    }
                }
                Ok(())
            }
            (_, Raw::Bits(bits)) if self.is_unknown(kind, bits) => Ok(()),
            (_, value) => {
                self.check_room()?;
                self.comma(b'[');
                self.value(kind, value, depth)
            }
        }
    }

    /// Where what is written may be many times as long as what is read: with defaults a message, without them the name of an
    /// enum's value.
    #[inline]
    fn check_room(&self) -> Result<(), OutputError> {
        if self.out.len() > REPLY_JSON_BYTES_MAX { Err(too_much()) } else { Ok(()) }
    }

    #[inline]
    pub(super) fn comma(&mut self, open: u8) {
        if self.out.last() != Some(&open) {
            self.out.push(b',');
        }
    }

    /// One value without a key; `depth` is that of the message it stands in.
    #[inline]
    pub(super) fn value(&mut self, kind: Kind, value: Raw<'_>, depth: usize) -> Result<(), Stop> {
        match (kind, value) {
            (Kind::String, Raw::Bytes(bytes)) => self.string(bytes)?,
            (Kind::Message(id) | Kind::Group(id), Raw::Bytes(bytes)) => {
                let codec = self.codec;
                self.message(codec.get(id), bytes, depth + 1)?;
            }
            (_, Raw::Bytes(bytes)) => text::write_base64(bytes, self.out),
            (kind, Raw::Bits(bits)) => self.number(kind, bits),
        }
        Ok(())
    }

    #[inline]
    pub(super) fn string(&mut self, bytes: &[u8]) -> Result<(), OutputError> {
        self.out.push(b'"');
        if text::is_plain(bytes) {
            self.out.extend_from_slice(bytes);
        } else if simdutf8::basic::from_utf8(bytes).is_ok() {
            text::write_escaped(bytes, self.out);
        } else {
            return Err(OutputError::new("a string that is not UTF-8"));
        }
        self.out.push(b'"');
        Ok(())
    }

    /// A number, bool or enum, of the bits that the wire holds.
    #[inline]
    pub(super) fn number(&mut self, kind: Kind, bits: u64) {
        match kind {
            Kind::Int32 | Kind::Sfixed32 => text::write_integer(bits as i32, self.out),
            Kind::Sint32 => text::write_integer(unzigzag(bits & 0xffff_ffff) as i32, self.out),
            Kind::Uint32 | Kind::Fixed32 => text::write_integer(bits as u32, self.out),
            Kind::Int64 | Kind::Sfixed64 => self.signed(bits as i64),
            Kind::Sint64 => self.signed(unzigzag(bits)),
            Kind::Uint64 | Kind::Fixed64 => {
                let bare = self.settings.int64_numbers && bits <= EXACT_MAX;
                text::write_wide(bits, bare, self.out);
            }
            Kind::Bool => self.out.extend_from_slice(if bits == 0 { b"false" } else { b"true" }),
            Kind::Double => text::write_float(f64::from_bits(bits), self.out),
            Kind::Float => text::write_float(f32::from_bits(bits as u32), self.out),
            Kind::Enum { id, .. } => {
                let number = bits as i32;
                match self.codec.enums()[id.0 as usize].quoted(number) {
                    Some(name) if !self.settings.enum_numbers => self.out.extend_from_slice(name),
                    _ => text::write_integer(number, self.out),
                }
            }
            _ => self.out.extend_from_slice(b"null"),
        }
    }

    fn signed(&mut self, value: i64) {
        let bare = self.settings.int64_numbers && value.unsigned_abs() <= EXACT_MAX;
        text::write_wide(value, bare, self.out);
    }

    /// Fields without presence that are not there, where they are wanted.
    #[inline]
    pub(super) fn defaults(&mut self, plan: &Plan, places: std::ops::Range<usize>) {
        if self.settings.defaults {
            for field in plan.fields.get(places).unwrap_or_default() {
                if !field.has_presence() && !field.proto_name.starts_with('[') {
                    self.key(field);
                    self.default_value(field);
                }
            }
        }
    }

    /// What stands for a field that is not there.
    pub(super) fn default_value(&mut self, field: &Field) {
        match (field.shape, field.kind) {
            (Shape::List { .. }, _) => self.out.extend_from_slice(b"[]"),
            (Shape::Map { .. }, _) => self.out.extend_from_slice(b"{}"),
            (_, Kind::String | Kind::Bytes) => self.out.extend_from_slice(b"\"\""),
            (_, kind) => self.number(kind, 0),
        }
    }
}

#[cold]
fn too_much() -> OutputError {
    OutputError::new("the message becomes more JSON than may be sent")
}

pub(super) fn within(stop: Stop, field: &Field) -> Stop {
    match stop {
        Stop::Fault(error) => Stop::Fault(error.within(&field.json_name)),
        Stop::Disorder => Stop::Disorder,
    }
}

/// Doubles hold every integer up to here exactly.
const EXACT_MAX: u64 = 1 << 53;

#[inline]
pub(super) fn unzigzag(bits: u64) -> i64 {
    (bits >> 1) as i64 ^ -((bits & 1) as i64)
}
