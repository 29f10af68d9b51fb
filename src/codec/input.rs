//! JSON text → wire bytes: messages, fields, lists, maps and scalars. Knows nothing of where the text came from.

use smallvec::SmallVec;

use crate::limits::DEPTH_MAX;

use super::{
    Codec,
    distinct::{Distinct, Key},
    error::{InputError, plain, shown},
    input_any::{LateTypes, TYPE},
    lengths::Lengths,
    plan::{Field, Kind, Plan, Shape, Special},
    protobuf::{close, open, put_bits, put_bytes, put_varint},
    reader::Reader,
    scalar,
    string::Text,
    text,
};

/// Appends the message of a whole text; how many unknown names were left out, which may be `spare` of them.
pub(super) fn message(
    codec: &Codec,
    plan: &Plan,
    json: &[u8],
    spare: usize,
    out: &mut Vec<u8>,
) -> Result<usize, InputError> {
    read(codec, json, spare, out, |input| input.message(plan, 1))
}

/// The same of a field whose value is a whole text.
pub(super) fn field(
    codec: &Codec,
    field: &Field,
    json: &[u8],
    spare: usize,
    out: &mut Vec<u8>,
) -> Result<usize, InputError> {
    read(codec, json, spare, out, |input| input.field(field, 1).map(drop))
}

fn read<'j>(
    codec: &Codec,
    json: &'j [u8],
    spare: usize,
    out: &mut Vec<u8>,
    read: impl FnOnce(&mut Input<'_, 'j>) -> Result<(), InputError>,
) -> Result<usize, InputError> {
    let from = out.len();
    let (reader, lengths, late_types) = (Reader::new(json)?, Lengths::default(), LateTypes::default());
    let mut input = Input { codec, reader, spare, late_types, lengths, out };
    read(&mut input)?;
    input.reader.end()?;
    input.lengths.settle(from, input.out);
    Ok(spare - input.spare)
}

pub(super) struct Input<'c, 'j> {
    pub(super) codec: &'c Codec,
    pub(super) reader: Reader<'j>,
    /// How many unknown names may still be left out before one is refused.
    pub(super) spare: usize,
    pub(super) late_types: LateTypes,
    pub(super) lengths: Lengths,
    pub(super) out: &'c mut Vec<u8>,
}

impl<'j> Input<'_, 'j> {
    /// One value that is a message; `depth` is its own, the outermost's is 1.
    pub(super) fn message(&mut self, plan: &Plan, depth: usize) -> Result<(), InputError> {
        if depth > DEPTH_MAX {
            return Err(InputError::body(self.reader.offset(), "nested more than 100 levels deep"));
        }
        match plan.special {
            Special::None => self.object(plan, depth, false),
            special => self.special(special, plan, depth),
        }
    }

    /// An object of members; `typed` lets `@type` pass, which was read before.
    pub(super) fn object(&mut self, plan: &Plan, depth: usize, typed: bool) -> Result<(), InputError> {
        if !self.reader.open_object("an object")? {
            return Ok(());
        }
        let mut seen = Seen::new(plan);
        let mut type_seen = false;
        let mut hint = 0;
        loop {
            self.reader.peek();
            let offset = self.reader.offset();
            // Clients write fields in one order, mostly the canonical one, without white space: then a key costs one comparison.
            match plan.fields.get(hint) {
                Some(field) if self.reader.pass_text(field.key_text()) => {
                    self.member(plan, hint, &mut seen, offset, depth)?;
                    hint += 1;
                }
                _ => {
                    let key = self.reader.key()?;
                    match find(plan, key, hint) {
                        Some(place) => {
                            hint = place + 1;
                            self.member(plan, place, &mut seen, offset, depth)?;
                        }
                        None if typed && *key.decoded() == *TYPE => self.pass_type(&mut type_seen, offset, depth)?,
                        None if self.leave_out() => {
                            self.reader.skip(depth + 1).map_err(|error| error.within(&plain(&key.decoded())))?;
                        }
                        None => return Err(unknown(plan, key, offset)),
                    }
                }
            }
            if !self.reader.another(b'}')? {
                return Ok(());
            }
        }
    }

    #[inline]
    fn member(
        &mut self,
        plan: &Plan,
        place: usize,
        seen: &mut Seen,
        offset: usize,
        depth: usize,
    ) -> Result<(), InputError> {
        let field = &plan.fields[place];
        if seen.insert(place) {
            return Err(InputError::body(offset, "the field is given twice").within(&field.json_name));
        }
        match self.field(field, depth) {
            Ok(false) => Ok(()),
            Ok(true) => match field.oneof {
                Some(oneof) if seen.insert(plan.fields.len() + usize::from(oneof)) => {
                    let name = plan.oneofs.get(usize::from(oneof)).map_or("", |name| &**name);
                    let text = format!("another member of the oneof {name} is given too");
                    Err(InputError::body(offset, text).within(&field.json_name))
                }
                _ => Ok(()),
            },
            Err(error) => Err(error.within(&field.json_name)),
        }
    }

    /// Whether an unknown name may be left out; it counts as left out then.
    #[cold]
    pub(super) fn leave_out(&mut self) -> bool {
        let spare = self.spare.checked_sub(1);
        self.spare = spare.unwrap_or(0);
        spare.is_some()
    }

    /// The same for a value that was refused: the name of an enum value may be unknown too, and has been read.
    #[cold]
    fn without(&mut self, refusal: InputError) -> Result<(), InputError> {
        if refusal.is_unknown() && self.leave_out() { Ok(()) } else { Err(refusal) }
    }

    /// One value of a field, with its tag; `depth` is that of the message it stands in. False for null, which is absence,
    /// and where the value was left out.
    #[inline]
    pub(super) fn field(&mut self, field: &Field, depth: usize) -> Result<bool, InputError> {
        if self.reader.peek() == b'n' {
            let absent = !matches!(field.shape, Shape::Single { .. }) || !self.takes_null(field.kind);
            if absent && self.reader.literal(b"null") {
                return Ok(false);
            }
        }
        match field.shape {
            Shape::Single { presence } => return self.single(field, presence, depth),
            Shape::List { packed: true } => self.packed(field)?,
            Shape::List { packed: false } => self.list(field, depth)?,
            Shape::Map { key } => self.map(field, key, depth)?,
        }
        Ok(true)
    }

    fn takes_null(&self, kind: Kind) -> bool {
        match kind {
            Kind::Null => true,
            Kind::Message(id) | Kind::Group(id) => self.codec.get(id).special == Special::Value,
            _ => false,
        }
    }

    #[inline]
    fn single(&mut self, field: &Field, presence: bool, depth: usize) -> Result<bool, InputError> {
        let before = self.out.len();
        if field.kind.is_packable() {
            let bits = match self.bits(field.kind) {
                Ok(bits) => bits,
                Err(error) => return self.without(error).map(|()| false),
            };
            if presence || bits != 0 {
                self.out.extend_from_slice(field.tag());
                put_bits(field.kind, bits, self.out);
            }
            return Ok(true);
        }
        self.out.extend_from_slice(field.tag());
        let filled = self.payload(field.kind, field, depth)?;
        if !filled && !presence {
            self.out.truncate(before);
        }
        Ok(true)
    }

    /// A string, bytes or message behind its tag; whether it is longer than nothing.
    #[inline]
    fn payload(&mut self, kind: Kind, field: &Field, depth: usize) -> Result<bool, InputError> {
        match kind {
            Kind::String => self.string(),
            Kind::Bytes => self.bytes(),
            Kind::Message(id) => {
                let opened = self.lengths.open(self.out);
                self.message(self.codec.get(id), depth + 1)?;
                Ok(self.lengths.close(opened, self.out))
            }
            Kind::Group(id) => {
                self.message(self.codec.get(id), depth + 1)?;
                put_varint(u64::from(field.number) << 3 | u64::from(super::plan::GROUP_END), self.out);
                Ok(true)
            }
            kind => {
                let bits = self.bits(kind)?;
                put_bits(kind, bits, self.out);
                Ok(bits != 0)
            }
        }
    }

    #[inline]
    fn string(&mut self) -> Result<bool, InputError> {
        let text = self.text("a string")?;
        match text.plain() {
            Some(plain) => {
                put_bytes(plain, self.out);
                Ok(!plain.is_empty())
            }
            None => {
                let from = open(self.out);
                text.append_to(self.out);
                Ok(close(from, self.out))
            }
        }
    }

    fn bytes(&mut self) -> Result<bool, InputError> {
        const EXPECTED: &str = "a string in base64";
        self.reader.peek();
        let offset = self.reader.offset();
        let text = self.text(EXPECTED)?.decoded();
        let from = open(self.out);
        text::decode_base64(&text, self.out).ok_or_else(|| mismatch(offset, EXPECTED, &text))?;
        Ok(close(from, self.out))
    }

    pub(super) fn text(&mut self, expected: &str) -> Result<Text<'j>, InputError> {
        if self.reader.peek() != b'"' {
            return Err(self.reader.unexpected(expected));
        }
        self.reader.string()
    }

    /// A number, bool or enum, as the wire holds it.
    #[inline]
    pub(super) fn bits(&mut self, kind: Kind) -> Result<u64, InputError> {
        match kind {
            Kind::Bool => {
                if self.reader.literal(b"true") {
                    Ok(1)
                } else if self.reader.literal(b"false") {
                    Ok(0)
                } else {
                    Err(self.reader.unexpected("true or false"))
                }
            }
            Kind::Enum { .. } => self.enum_value(kind),
            Kind::Null => self.null_value(),
            _ => self.number(kind),
        }
    }

    #[inline]
    fn number(&mut self, kind: Kind) -> Result<u64, InputError> {
        match self.reader.peek() {
            b'-' | b'0'..=b'9' => {
                let offset = self.reader.offset();
                let text = self.reader.number()?;
                scalar::number_bits(kind, text).map_err(|expected| mismatch_plain(offset, expected, text))
            }
            b'"' => {
                let offset = self.reader.offset();
                let text = self.reader.string()?.decoded();
                scalar::quoted_bits(kind, &text).map_err(|expected| mismatch(offset, expected, &text))
            }
            _ => Err(self.reader.unexpected(scalar::expected(kind))),
        }
    }

    fn enum_value(&mut self, kind: Kind) -> Result<u64, InputError> {
        let Kind::Enum { id, closed } = kind else { return Ok(0) };
        let plan = &self.codec.enums()[id.0 as usize];
        let next = self.reader.peek();
        let offset = self.reader.offset();
        match next {
            b'"' => {
                let name = self.reader.string()?.decoded();
                match plan.names.find(&name) {
                    Some(number) => Ok(i64::from(number as i32) as u64),
                    None => Err(mismatch(offset, &format!("the name of a value of {}", plan.name), &name).of_unknown()),
                }
            }
            b'-' | b'0'..=b'9' => {
                let text = self.reader.number()?;
                let bits =
                    scalar::number_bits(kind, text).map_err(|expected| mismatch_plain(offset, expected, text))?;
                if closed && plan.quoted(bits as i32).is_none() {
                    return Err(mismatch_plain(offset, &format!("a value of {}", plan.name), text));
                }
                Ok(bits)
            }
            _ => Err(self.reader.unexpected("the name or the number of an enum value")),
        }
    }

    fn null_value(&mut self) -> Result<u64, InputError> {
        let null = [&b"null"[..], b"\"NULL_VALUE\"", b"0"];
        if null.iter().any(|literal| self.reader.literal(literal)) {
            Ok(0)
        } else {
            Err(self.reader.unexpected("null"))
        }
    }

    fn packed(&mut self, field: &Field) -> Result<(), InputError> {
        if !self.reader.open_array("an array")? {
            return Ok(());
        }
        self.out.extend_from_slice(field.tag());
        let from = open(self.out);
        let mut index = 0;
        loop {
            match self.bits(field.kind) {
                Ok(bits) => put_bits(field.kind, bits, self.out),
                Err(error) => self.without(error).map_err(|error| error.at_index(index))?,
            }
            if !self.reader.another(b']')? {
                break;
            }
            index += 1;
        }
        close(from, self.out);
        Ok(())
    }

    pub(super) fn list(&mut self, field: &Field, depth: usize) -> Result<(), InputError> {
        if !self.reader.open_array("an array")? {
            return Ok(());
        }
        let mut index = 0;
        loop {
            let before = self.out.len();
            self.out.extend_from_slice(field.tag());
            if let Err(error) = self.payload(field.kind, field, depth) {
                self.without(error).map_err(|error| error.at_index(index))?;
                self.lengths.rewind(before, self.out);
            }
            if !self.reader.another(b']')? {
                return Ok(());
            }
            index += 1;
        }
    }

    pub(super) fn map(&mut self, field: &Field, key: Kind, depth: usize) -> Result<(), InputError> {
        if !self.reader.open_object("an object")? {
            return Ok(());
        }
        let mut seen = Distinct::new();
        loop {
            self.reader.peek();
            let offset = self.reader.offset();
            let name = self.reader.key()?;
            let before = self.out.len();
            self.out.extend_from_slice(field.tag());
            let opened = self.lengths.open(self.out);
            let key = self.map_key(key, name, offset)?;
            if seen.insert(key).is_some() {
                return Err(InputError::body(offset, "the key is given twice").at_key(&name.decoded()));
            }
            self.out.push(2 << 3 | field.kind.wire_type());
            if let Err(error) = self.payload(field.kind, field, depth) {
                self.without(error).map_err(|error| error.at_key(&name.decoded()))?;
                self.lengths.rewind(before, self.out);
            } else {
                self.lengths.close(opened, self.out);
            }
            if !self.reader.another(b'}')? {
                return Ok(());
            }
        }
    }

    /// The key field of an entry.
    fn map_key<'t>(&mut self, kind: Kind, name: Text<'t>, offset: usize) -> Result<Key<'t>, InputError> {
        self.out.push(1 << 3 | kind.wire_type());
        let text = name.decoded();
        if kind == Kind::String {
            put_bytes(&text, self.out);
            return Ok(Key::Text(text));
        }
        let bits = key_bits(kind, &text).map_err(|expected| {
            let place = InputError::body(offset, format!("expected {expected} as a key, got {}", shown(&text)));
            place.at_key(&text)
        })?;
        put_bits(kind, bits, self.out);
        Ok(Key::Bits(bits))
    }
}

/// Keys have one way to be written, so that no two of them mean the same.
pub(super) fn key_bits(kind: Kind, text: &[u8]) -> Result<u64, &'static str> {
    let plain = kind == Kind::Bool || text.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'-'));
    if plain { scalar::text_bits(kind, &[], text) } else { Err(scalar::expected(kind)) }
}

#[inline]
fn find(plan: &Plan, key: Text<'_>, hint: usize) -> Option<usize> {
    match key.plain() {
        Some(name) => plan.by_name(name, hint),
        None => plan.by_name(&key.decoded(), hint),
    }
}

#[cold]
fn unknown(plan: &Plan, key: Text<'_>, offset: usize) -> InputError {
    let text = format!("{} has no such field", plan.name);
    InputError::body(offset, text).within(&plain(&key.decoded())).of_unknown()
}

#[cold]
pub(super) fn mismatch(offset: usize, expected: &str, got: &[u8]) -> InputError {
    InputError::body(offset, format!("expected {expected}, got {}", shown(got)))
}

#[cold]
fn mismatch_plain(offset: usize, expected: &str, got: &[u8]) -> InputError {
    InputError::body(offset, format!("expected {expected}, got {}", plain(got)))
}

/// Which fields, and behind them which oneofs, of a message were given.
struct Seen(SmallVec<[u64; 4]>);

impl Seen {
    #[inline]
    fn new(plan: &Plan) -> Self {
        let words = (plan.fields.len() + plan.oneofs.len()).div_ceil(64);
        Self(smallvec::smallvec![0; words])
    }

    /// True where it was seen before.
    #[inline]
    fn insert(&mut self, place: usize) -> bool {
        let Some(word) = self.0.get_mut(place / 64) else { return false };
        let bit = 1 << (place % 64);
        let seen = *word & bit != 0;
        *word |= bit;
        seen
    }
}
