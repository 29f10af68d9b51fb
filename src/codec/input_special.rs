//! JSON text → wire bytes for the messages that have a JSON form of their own. Knows nothing of where the text came from.

use super::{
    error::InputError,
    input::{Input, mismatch},
    mask, message_set,
    plan::{Field, Kind, Plan, Shape, Special},
    protobuf::{close, open, put_bits, put_varint},
    time,
};

const TIMESTAMP: &str = "an RFC 3339 date and time as \"2024-01-02T03:04:05Z\"";
const DURATION: &str = "a duration in seconds as \"1.5s\"";
const MASK: &str = "field paths in lowerCamelCase, separated by commas";

impl Input<'_, '_> {
    pub(super) fn special(&mut self, special: Special, plan: &Plan, depth: usize) -> Result<(), InputError> {
        match (special, &*plan.fields) {
            (Special::Timestamp, _) => self.one_text(TIMESTAMP, append_timestamp),
            (Special::Duration, _) => self.one_text(DURATION, append_duration),
            (Special::FieldMask, _) => self.one_text(MASK, |text, out| append_mask(text, false, out)),
            (Special::Any, _) => self.any(depth),
            (Special::Value, _) => self.value(plan, depth),
            (Special::Struct, [fields, ..]) => self.map(fields, Kind::String, depth),
            (Special::ListValue, [values, ..]) => self.list(values, depth),
            (Special::Wrapper, [value, ..]) => {
                if self.reader.peek() == b'n' {
                    return Err(self.reader.unexpected("a value"));
                }
                self.field(value, depth).map(|_| ())
            }
            (Special::MessageSet, _) => self.message_set(plan, depth, false),
            _ => self.object(plan, depth, false),
        }
    }

    pub(super) fn message_set(&mut self, plan: &Plan, depth: usize, typed: bool) -> Result<(), InputError> {
        let from = self.out.len();
        self.object(plan, depth, typed)?;
        self.lengths.settle(from, self.out);
        message_set::regroup(from, self.out);
        Ok(())
    }

    fn one_text(
        &mut self,
        expected: &str,
        append: impl Fn(&[u8], &mut Vec<u8>) -> Option<()>,
    ) -> Result<(), InputError> {
        self.reader.peek();
        let offset = self.reader.offset();
        let text = self.text(expected)?.decoded();
        append(&text, self.out).ok_or_else(|| mismatch(offset, expected, &text))
    }

    /// `google.protobuf.Value`: whatever JSON there is.
    fn value(&mut self, plan: &Plan, depth: usize) -> Result<(), InputError> {
        let number = match self.reader.peek() {
            b'n' => 1,
            b'-' | b'0'..=b'9' => 2,
            b'"' => 3,
            b't' | b'f' => 4,
            b'{' => 5,
            b'[' => 6,
            _ => return Err(self.reader.unexpected("a JSON value")),
        };
        match plan.by_number(number, number as usize - 1).and_then(|place| plan.fields.get(place)) {
            // A Value and the Struct or ListValue in it are one level of JSON.
            Some(field) => self.field(field, depth.saturating_sub(1)).map(|_| ()),
            None => Err(self.reader.unexpected("another kind of value")),
        }
    }
}

/// Appends the contents of a Timestamp, given as text.
pub(super) fn append_timestamp(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let (seconds, nanos) = time::parse_timestamp(text)?;
    append_seconds(seconds, nanos, out);
    Some(())
}

/// Appends the contents of a Duration, given as text.
pub(super) fn append_duration(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let (seconds, nanos) = time::parse_duration(text)?;
    append_seconds(seconds, nanos, out);
    Some(())
}

/// Appends the contents of a FieldMask, given as text.
pub(super) fn append_mask(text: &[u8], snake: bool, out: &mut Vec<u8>) -> Option<()> {
    if text.is_empty() {
        return Some(());
    }
    text.split(|byte| *byte == b',').try_for_each(|path| {
        out.push(1 << 3 | 2);
        let from = open(out);
        mask::append_snake(path, snake, out)?;
        close(from, out);
        Some(())
    })
}

fn append_seconds(seconds: i64, nanos: i32, out: &mut Vec<u8>) {
    for (tag, value) in [(1 << 3, seconds), (2 << 3, i64::from(nanos))] {
        if value != 0 {
            out.push(tag);
            put_varint(value as u64, out);
        }
    }
}

/// Appends a message with a JSON form of its own, of those that one text can give; the error says what was expected.
pub(super) fn append_text(
    plan: &Plan,
    enums: &[super::plan::EnumPlan],
    text: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), &'static str> {
    match (plan.special, &*plan.fields) {
        (Special::Timestamp, _) => append_timestamp(text, out).ok_or(TIMESTAMP),
        (Special::Duration, _) => append_duration(text, out).ok_or(DURATION),
        (Special::FieldMask, _) => append_mask(text, true, out).ok_or(MASK),
        (Special::Wrapper, [value, ..]) => append_field(value, enums, text, out),
        _ => Err("a message, which no text can give"),
    }
}

/// Appends a scalar or enum field that a text gives, with its tag.
pub(super) fn append_field(
    field: &Field,
    enums: &[super::plan::EnumPlan],
    text: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), &'static str> {
    let presence = !matches!(field.shape, Shape::Single { presence: false });
    match field.kind {
        Kind::String | Kind::Bytes => {
            let before = out.len();
            put_tag(field, out);
            let from = open(out);
            if field.kind == Kind::String {
                out.extend_from_slice(text);
            } else {
                super::text::decode_base64(text, out).ok_or("base64")?;
            }
            if !close(from, out) && !presence {
                out.truncate(before);
            }
        }
        kind => {
            let bits = super::scalar::text_bits(kind, enums, text)?;
            if presence || bits != 0 {
                put_tag(field, out);
                put_bits(kind, bits, out);
            }
        }
    }
    Ok(())
}

/// The tag of one value, also where a list's own is that of a packed one.
fn put_tag(field: &Field, out: &mut Vec<u8>) {
    put_varint(u64::from(field.number) << 3 | u64::from(field.kind.wire_type()), out);
}
