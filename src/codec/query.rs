//! The query string: parameters to fields. Knows nothing of paths and bodies.

use std::{borrow::Cow, collections::HashMap};

use super::{
    Codec,
    binding::{Path, Step, resolve},
    bound::Leaf,
    error::{Flaw, InputError, Place, plain, shown},
    input::key_bits,
    input_special::{append_field, append_text},
    plan::{Field, Kind, PlanId, Shape},
    protobuf::{close, open, put_bits, put_bytes, put_varint},
    reader::number_length,
    unknown::Unknown,
};

/// The leaves that a query gives, in its order; `admit` may refuse one.
pub(super) fn parse(
    codec: &Codec,
    input: PlanId,
    query: &str,
    claims: &mut Claims,
    mut admit: impl FnMut(&Path) -> Result<(), &'static str>,
    unknown: &mut Unknown,
    leaves: &mut Vec<Leaf>,
) -> Result<(), InputError> {
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let place = |parameter: &str| Place::Query { parameter: plain(parameter.as_bytes()) };
        let parameter = decode(name).ok_or_else(|| InputError::new(place(name), NOT_PERCENT))?;
        let value = decode(value).ok_or_else(|| InputError::new(place(&parameter), NOT_PERCENT))?;
        match parameter_leaf(codec, (&[], input), &parameter, &value, claims, &mut admit) {
            Ok(leaf) => leaves.push(leaf),
            Err(flaw) => {
                let refusal = flaw.at(place(&parameter));
                if !unknown.forgives(&refusal) {
                    return Err(refusal);
                }
            }
        }
    }
    Ok(())
}

pub(super) const NOT_PERCENT: &str = "not percent-encoded UTF-8";

/// The value of a parameter, whose name is that of a field of `root`: a message, and the way to it.
pub(super) fn parameter_leaf(
    codec: &Codec,
    root: (&[Step], PlanId),
    parameter: &str,
    value: &str,
    claims: &mut Claims,
    admit: &mut impl FnMut(&Path) -> Result<(), &'static str>,
) -> Result<Leaf, Flaw> {
    let (name, key) = match parameter.strip_suffix(']').and_then(|rest| rest.split_once('[')) {
        // An extension's name stands in brackets too, as a segment of its own.
        Some((name, key)) if !name.is_empty() && !name.ends_with('.') => (name, Some(key)),
        _ => (parameter, None),
    };
    let path = resolve_in(codec, root, name)?;
    let Some(field) = path.last().map(|step| step.field(codec)) else { return Err("no name".into()) };
    if matches!(field.shape, Shape::Map { .. }) != key.is_some() {
        return Err(Flaw::Wrong(match key {
            Some(_) => format!("{name} is no map"),
            None => format!("{name} is a map: give one entry as {name}[key]=value"),
        }));
    }
    admit(&path)?;
    claims.claim(codec, &path, key)?;
    let mut payload = Vec::with_capacity(value.len() + 8);
    append_value(codec, field, key, value.as_bytes(), &mut payload).map_err(|text| {
        let is_name = matches!(field.kind, Kind::Enum { .. }) && number_length(value.as_bytes()) != Some(value.len());
        if is_name { Flaw::Unknown(text) } else { Flaw::Wrong(text) }
    })?;
    Ok(Leaf { path, payload, variable: None })
}

/// The path of a field of `root`.
pub(super) fn resolve_in(codec: &Codec, (above, plan): (&[Step], PlanId), name: &str) -> Result<Path, Flaw> {
    let within = resolve(codec, plan, name)?;
    Ok(above.iter().copied().chain(within).collect())
}

/// Appends a field, with its tag, that plain text gives; of a list one element, of a map one entry.
pub(super) fn append_value(
    codec: &Codec,
    field: &Field,
    key: Option<&str>,
    text: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), String> {
    let got = |expected: &str| format!("expected {expected}, got {}", shown(text));
    match (field.shape, key) {
        (Shape::Map { key: kind }, Some(key)) => {
            out.extend_from_slice(field.tag());
            let from = open(out);
            append_key(kind, key.as_bytes(), out)?;
            append_map_value(codec, field, text, out).map_err(got)?;
            close(from, out);
            Ok(())
        }
        _ => match field.kind {
            Kind::Message(id) => {
                out.extend_from_slice(field.tag());
                let from = open(out);
                append_text(codec.get(id), codec.enums(), text, out).map_err(got)?;
                close(from, out);
                Ok(())
            }
            Kind::Group(_) => Err("a message, which no text can give".to_owned()),
            _ => append_field(field, codec.enums(), text, out).map_err(got),
        },
    }
}

fn append_key(kind: Kind, key: &[u8], out: &mut Vec<u8>) -> Result<(), String> {
    out.push(1 << 3 | kind.wire_type());
    if kind == Kind::String {
        put_bytes(key, out);
        return Ok(());
    }
    let bits = key_bits(kind, key).map_err(|expected| format!("expected {expected} as a key, got {}", shown(key)))?;
    put_bits(kind, bits, out);
    Ok(())
}

fn append_map_value(codec: &Codec, field: &Field, text: &[u8], out: &mut Vec<u8>) -> Result<(), &'static str> {
    put_varint(2 << 3 | u64::from(field.kind.wire_type()), out);
    match field.kind {
        Kind::String => put_bytes(text, out),
        Kind::Bytes => {
            let from = open(out);
            super::text::decode_base64(text, out).ok_or("base64")?;
            close(from, out);
        }
        Kind::Message(id) | Kind::Group(id) => {
            let from = open(out);
            append_text(codec.get(id), codec.enums(), text, out)?;
            close(from, out);
        }
        kind => put_bits(kind, super::scalar::text_bits(kind, codec.enums(), text)?, out),
    }
    Ok(())
}

/// A name or value as `application/x-www-form-urlencoded` has it: `+` is a space; none where a `%` is not followed by
/// two digits, or the bytes are not UTF-8.
pub fn decode(text: &str) -> Option<Cow<'_, str>> {
    if !text.bytes().any(|byte| matches!(byte, b'%' | b'+')) {
        return Some(Cow::Borrowed(text));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, tail)) = rest.split_first() {
        rest = tail;
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let (digits, tail) = rest.split_first_chunk::<2>()?;
                rest = tail;
                let digit = |byte: u8| char::from(byte).to_digit(16);
                (digit(digits[0])? << 4 | digit(digits[1])?) as u8
            }
            other => *other,
        });
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

/// What has been given: a singular field, a map's entry, or a oneof, once each.
#[derive(Debug, Default)]
pub(super) struct Claims(HashMap<Vec<u32>, usize>);

/// A field of which all was given, and one of which something was.
const WHOLE: usize = 0;
const PART: usize = 1;

impl Claims {
    /// # Errors
    /// What is given twice.
    pub(super) fn claim(&mut self, codec: &Codec, path: &Path, key: Option<&str>) -> Result<(), String> {
        // Field numbers are positive, so 0 sets a oneof and a map's key apart.
        let mut claim: Vec<u32> = Vec::with_capacity(path.len() + 2);
        for (level, step) in path.iter().enumerate() {
            if level > 0 {
                self.claim_part(&claim)?;
            }
            self.claim_oneof(codec, &claim, step)?;
            claim.push(step.field(codec).number);
        }
        match (path.last().map(|step| step.field(codec).shape), key) {
            (Some(Shape::List { .. }), _) => return Ok(()),
            (Some(Shape::Map { .. }), Some(key)) => {
                self.claim_part(&claim)?;
                claim.push(0);
                claim.extend(key.bytes().map(u32::from));
            }
            _ => {}
        }
        match self.0.insert(claim, WHOLE) {
            None => Ok(()),
            Some(_) => Err("given twice".to_owned()),
        }
    }

    /// The same of a body, which may hold what others give parts of.
    ///
    /// # Errors
    /// A oneof of which another member is given.
    pub(super) fn claim_body(&mut self, codec: &Codec, path: &Path) -> Result<(), String> {
        let mut claim = Vec::with_capacity(path.len() + 2);
        for step in path {
            self.claim_oneof(codec, &claim, step)?;
            claim.push(step.field(codec).number);
        }
        Ok(())
    }

    /// The member that a step is of a oneof, where it is one, of the message at `claim`.
    fn claim_oneof(&mut self, codec: &Codec, claim: &[u32], step: &Step) -> Result<(), String> {
        let Some(oneof) = step.field(codec).oneof else { return Ok(()) };
        let at = [claim, &[0, u32::from(oneof)]].concat();
        if *self.0.entry(at).or_insert(step.place) == step.place {
            return Ok(());
        }
        let name = codec.get(step.plan).oneofs.get(usize::from(oneof)).map_or("", |name| &**name);
        Err(format!("another member of the oneof {name} is given too"))
    }

    fn claim_part(&mut self, claim: &[u32]) -> Result<(), String> {
        match *self.0.entry(claim.to_vec()).or_insert(PART) {
            PART => Ok(()),
            _ => Err("given twice".to_owned()),
        }
    }
}
