//! Whether bytes are a sound message of their type: tags, lengths, UTF-8, depth. Knows nothing of JSON.

use crate::limits::DEPTH_MAX;

use super::{
    Codec,
    error::OutputError,
    message_set,
    output::{Form, form},
    plan::{Field, Kind, Plan, Shape, Special},
    protobuf::{Raw, Wire, too_deep},
};

pub(super) fn message(codec: &Codec, plan: &Plan, wire: &[u8], depth: usize) -> Result<(), OutputError> {
    if depth > DEPTH_MAX {
        return Err(too_deep());
    }
    let mut wire = Wire::new(wire);
    let mut hint = 0;
    while let Some(mut tag) = wire.tag()? {
        let mut raw = wire.value(tag)?;
        if plan.special == Special::MessageSet {
            (tag, raw) = message_set::extension(tag, raw)?;
        }
        let Some((place, field)) =
            plan.by_number(tag.number, hint).and_then(|place| Some((place, plan.fields.get(place)?)))
        else {
            continue;
        };
        hint = place + 1;
        match form(field, tag) {
            Some(form) => value(codec, field, raw, form, depth).map_err(|error| error.within(&field.json_name))?,
            None => continue,
        }
    }
    Ok(())
}

fn value(codec: &Codec, field: &Field, raw: Raw<'_>, form: Form, depth: usize) -> Result<(), OutputError> {
    let Raw::Bytes(bytes) = raw else { return Ok(()) };
    match (field.shape, form) {
        (Shape::Map { key }, _) => entry(codec, field, key, bytes, depth),
        (_, Form::Packed) => {
            let mut packed = Wire::new(bytes);
            while !packed.is_empty() {
                packed.element(field.kind)?;
            }
            Ok(())
        }
        _ => one(codec, field.kind, bytes, depth),
    }
}

fn entry(codec: &Codec, field: &Field, key: Kind, bytes: &[u8], depth: usize) -> Result<(), OutputError> {
    let mut wire = Wire::new(bytes);
    while let Some(tag) = wire.tag()? {
        let kind = match tag.number {
            1 => key,
            2 => field.kind,
            _ => Kind::Bytes,
        };
        if let (Raw::Bytes(bytes), true) = (wire.value(tag)?, tag.wire_type == kind.wire_type()) {
            one(codec, kind, bytes, depth)?;
        }
    }
    Ok(())
}

/// One value that is no list and no map.
pub(super) fn one(codec: &Codec, kind: Kind, bytes: &[u8], depth: usize) -> Result<(), OutputError> {
    match kind {
        Kind::Message(id) | Kind::Group(id) => message(codec, codec.get(id), bytes, depth + 1),
        Kind::String if simdutf8::basic::from_utf8(bytes).is_err() => {
            Err(OutputError::new("a string that is not UTF-8"))
        }
        _ => Ok(()),
    }
}
