//! Wire bytes → JSON text for maps: entries in any form, the last of each key. Knows nothing of who reads it.

use super::{
    distinct::{Distinct, Key},
    error::OutputError,
    gather::append_part,
    output::{Output, Stop, unzigzag},
    plan::{Field, Kind},
    protobuf::{Raw, Wire},
    text,
};

impl Output<'_> {
    /// A value that another takes the place of.
    fn superseded(&self, field: &Field, value: &Value<'_>) -> Result<(), OutputError> {
        match value {
            Value::None => Ok(()),
            Value::One(raw) => self.sound(field.kind, *raw),
            Value::Joined(parts) => self.sound(field.kind, Raw::Bytes(parts)),
        }
    }

    /// One entry of a map; a later one with the same key takes the place of an earlier.
    pub(super) fn entry<'w>(
        &self,
        field: &Field,
        key_kind: Kind,
        entry: &'w [u8],
        entries: &mut Entries<'w>,
    ) -> Result<(), OutputError> {
        let mut wire = Wire::new(entry);
        let (mut key, mut value) = (None, Value::None);
        while let Some(tag) = wire.tag()? {
            let raw = wire.value(tag)?;
            match tag.number {
                1 if tag.wire_type == key_kind.wire_type() => {
                    if let Some(earlier) = key.replace(raw) {
                        self.sound(key_kind, earlier)?;
                    }
                }
                2 if tag.wire_type == field.kind.wire_type() => {
                    value = match (value, raw) {
                        (Value::None, raw) => Value::One(raw),
                        (earlier, Raw::Bytes(more)) if field.kind.is_message() => earlier.join(more)?,
                        (earlier, raw) => {
                            self.superseded(field, &earlier)?;
                            Value::One(raw)
                        }
                    };
                }
                _ => {}
            }
        }
        if let Value::One(Raw::Bits(bits)) = value
            && self.is_unknown(field.kind, bits)
        {
            return Ok(());
        }
        let key = match key {
            Some(Raw::Bytes(text)) => Key::Text(text.into()),
            // Two varints may be the same 32-bit number or bool.
            Some(Raw::Bits(bits)) => Key::Bits(narrow(key_kind, bits)),
            None if key_kind == Kind::String => Key::Text(Default::default()),
            None => Key::Bits(0),
        };
        match entries.seen.insert(key.clone()).and_then(|place| entries.list.get_mut(place)) {
            Some(earlier) => {
                self.superseded(field, &earlier.1)?;
                *earlier = (key, value);
            }
            None => entries.list.push((key, value)),
        }
        Ok(())
    }

    /// A map with its key, of all its entries.
    pub(super) fn map_member(
        &mut self,
        field: &Field,
        key: Kind,
        entries: &Entries<'_>,
        depth: usize,
    ) -> Result<(), Stop> {
        if entries.list.is_empty() && !self.settings.defaults {
            return Ok(());
        }
        self.key(field);
        self.map(field, key, entries, depth)
    }

    pub(super) fn map(
        &mut self,
        field: &Field,
        key_kind: Kind,
        entries: &Entries<'_>,
        depth: usize,
    ) -> Result<(), Stop> {
        self.out.push(b'{');
        for (key, value) in &entries.list {
            self.comma(b'{');
            match key {
                Key::Text(text) => self.string(text)?,
                Key::Bits(bits) => {
                    self.out.push(b'"');
                    self.key_text(key_kind, *bits);
                    self.out.push(b'"');
                }
            }
            self.out.push(b':');
            match value {
                Value::None => match field.kind {
                    Kind::String | Kind::Bytes => self.out.extend_from_slice(b"\"\""),
                    Kind::Message(_) | Kind::Group(_) => self.value(field.kind, Raw::Bytes(b""), depth)?,
                    kind => self.number(kind, 0),
                },
                Value::One(raw) => self.value(field.kind, *raw, depth)?,
                Value::Joined(bytes) => self.value(field.kind, Raw::Bytes(bytes), depth)?,
            }
        }
        self.out.push(b'}');
        Ok(())
    }

    /// A key that is no string, without its quotes: 64-bit integers have none of their own here.
    fn key_text(&mut self, kind: Kind, bits: u64) {
        match kind {
            Kind::Int64 | Kind::Sfixed64 => text::write_integer(bits as i64, self.out),
            Kind::Sint64 => text::write_integer(unzigzag(bits), self.out),
            Kind::Uint64 | Kind::Fixed64 => text::write_integer(bits, self.out),
            kind => self.number(kind, bits),
        }
    }
}

/// The entries of a map in the order of their first appearance.
pub(super) struct Entries<'w> {
    seen: Distinct<Key<'w>>,
    list: Vec<(Key<'w>, Value<'w>)>,
}

impl Entries<'_> {
    pub(super) fn new() -> Self {
        Self { seen: Distinct::new(), list: Vec::new() }
    }
}

/// The value of a map's entry.
enum Value<'w> {
    None,
    One(Raw<'w>),
    /// A message that stands several times in one entry: its parts are one message.
    Joined(Vec<u8>),
}

impl Value<'_> {
    /// A message with one more part.
    fn join(self, more: &[u8]) -> Result<Self, OutputError> {
        let mut parts = match self {
            Self::None | Self::One(Raw::Bits(_)) => Vec::new(),
            Self::One(Raw::Bytes(first)) => {
                let mut parts = Vec::new();
                append_part(first, &mut parts)?;
                parts
            }
            Self::Joined(parts) => parts,
        };
        append_part(more, &mut parts)?;
        Ok(Self::Joined(parts))
    }
}

/// The bits that count of a key's varint.
fn narrow(kind: Kind, bits: u64) -> u64 {
    match kind {
        Kind::Int32 | Kind::Uint32 | Kind::Sint32 => bits & 0xffff_ffff,
        Kind::Bool => u64::from(bits != 0),
        _ => bits,
    }
}
