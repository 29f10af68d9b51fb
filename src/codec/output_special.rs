//! Wire bytes → JSON text for the messages that have a JSON form of their own. Knows nothing of who reads it.

use super::{
    error::OutputError,
    gather::Found,
    mask,
    output::{Form, Output, Stop, form, within},
    output_map::Entries,
    plan::{Kind, LENGTH, Plan, Special, VARINT},
    protobuf::{Raw, Tag, Wire},
    time,
};

impl Output<'_> {
    pub(super) fn special(&mut self, plan: &Plan, wire: &[u8], depth: usize) -> Result<(), Stop> {
        match plan.special {
            Special::Timestamp => {
                let (seconds, nanos) = seconds_nanos(wire)?;
                let written = time::write_timestamp(seconds, nanos, self.out);
                written.ok_or_else(|| OutputError::new("a timestamp out of range").into())
            }
            Special::Duration => {
                let (seconds, nanos) = seconds_nanos(wire)?;
                let written = time::write_duration(seconds, nanos, self.out);
                written.ok_or_else(|| OutputError::new("a duration out of range").into())
            }
            Special::FieldMask => self.field_mask(wire),
            Special::Any => self.any(wire, depth),
            Special::Value => self.any_json(plan, wire, depth),
            Special::Struct => self.fields_of_struct(plan, wire, depth),
            Special::ListValue => self.list_value(plan, wire, depth),
            Special::Wrapper | Special::MessageSet | Special::None => self.wrapper(plan, wire, depth),
        }
    }

    fn field_mask(&mut self, wire: &[u8]) -> Result<(), Stop> {
        self.out.push(b'"');
        each(wire, |tag, value| {
            if let (Tag { number: 1, .. }, Raw::Bytes(path)) = (tag, value) {
                if self.out.last() != Some(&b'"') {
                    self.out.push(b',');
                }
                if mask::append_camel(path, self.out).is_none() {
                    return Err(OutputError::new("a field path that has no form in lowerCamelCase").into());
                }
            }
            Ok(())
        })?;
        self.out.push(b'"');
        Ok(())
    }

    fn any(&mut self, wire: &[u8], depth: usize) -> Result<(), Stop> {
        let (mut url, mut content): (&[u8], &[u8]) = (b"", b"");
        each(wire, |tag, value| {
            match (tag, value) {
                (Tag { number: 1, wire_type: LENGTH }, Raw::Bytes(bytes)) => {
                    self.sound(Kind::String, value).map_err(|error| error.within("typeUrl"))?;
                    url = bytes;
                }
                (Tag { number: 2, wire_type: LENGTH }, Raw::Bytes(bytes)) => content = bytes,
                _ => {}
            }
            Ok(())
        })?;
        if url.is_empty() && content.is_empty() {
            self.out.extend_from_slice(b"{}");
            return Ok(());
        }
        self.any_members(url, content, depth)
    }

    /// The object of an Any.
    pub(super) fn any_members(&mut self, url: &[u8], content: &[u8], depth: usize) -> Result<(), Stop> {
        let codec = self.codec;
        let name = url.iter().rposition(|byte| *byte == b'/').and_then(|slash| url.get(slash + 1..));
        let id = name.and_then(|name| std::str::from_utf8(name).ok()).and_then(|name| codec.plan_by_name(name));
        let Some(id) = id else {
            return Err(OutputError::new("an Any of a type that is not in the schema").into());
        };
        let plan = codec.get(id);
        self.out.extend_from_slice(b"{\"@type\":");
        self.string(url)?;
        if plan.special.is_object() {
            self.members(plan, content, depth)?;
        } else {
            self.out.extend_from_slice(b",\"value\":");
            self.message(plan, content, depth + 1)?;
        }
        self.out.push(b'}');
        Ok(())
    }

    /// `google.protobuf.Value`: whatever JSON there is; null where nothing is set.
    fn any_json(&mut self, plan: &Plan, wire: &[u8], depth: usize) -> Result<(), Stop> {
        // Its fields are one oneof, so all that is left is of one field; mostly there is one to begin with.
        let (single, several);
        let found: &[Found<'_>] = match only_field(plan, wire)? {
            Some(found) => {
                single = [found];
                &single
            }
            None => {
                several = self.gather(plan, wire)?;
                &several
            }
        };
        let Some(last) = found.last() else {
            self.out.extend_from_slice(b"null");
            return Ok(());
        };
        let Some(field) = plan.fields.get(last.place) else { return Ok(()) };
        if let (Kind::Double, Raw::Bits(bits)) = (field.kind, last.value)
            && !f64::from_bits(bits).is_finite()
        {
            return Err(OutputError::new("a number in a google.protobuf.Value that JSON does not know").into());
        }
        // A Value and the Struct or ListValue in it are one level of JSON.
        self.run_value(field, found, depth.saturating_sub(1))
    }

    fn fields_of_struct(&mut self, plan: &Plan, wire: &[u8], depth: usize) -> Result<(), Stop> {
        let Some(field) = plan.fields.first() else { return Ok(()) };
        let mut entries = Entries::new();
        each(wire, |tag, value| {
            if let (Tag { number: 1, wire_type: LENGTH }, Raw::Bytes(entry)) = (tag, value) {
                self.entry(field, Kind::String, entry, &mut entries)?;
            }
            Ok(())
        })?;
        self.map(field, Kind::String, &entries, depth).map_err(|stop| within(stop, field))
    }

    fn list_value(&mut self, plan: &Plan, wire: &[u8], depth: usize) -> Result<(), Stop> {
        let Some(field) = plan.fields.first() else { return Ok(()) };
        self.out.push(b'[');
        each(wire, |tag, value| match (tag, value) {
            (Tag { number: 1, wire_type: LENGTH }, Raw::Bytes(_)) => {
                self.elements(field.kind, value, Form::One, depth).map_err(|stop| within(stop, field))
            }
            _ => Ok(()),
        })?;
        self.out.push(b']');
        Ok(())
    }

    fn wrapper(&mut self, plan: &Plan, wire: &[u8], depth: usize) -> Result<(), Stop> {
        let Some(field) = plan.fields.first() else { return Ok(()) };
        let mut last = None;
        each(wire, |tag, value| {
            if tag.number == 1 && tag.wire_type == field.kind.wire_type() {
                self.sound(field.kind, value).map_err(|error| error.within(&field.json_name))?;
                last = Some(value);
            }
            Ok(())
        })?;
        match last {
            Some(value) => self.value(field.kind, value, depth),
            None => {
                self.default_value(field);
                Ok(())
            }
        }
    }
}

/// The field of a message that has no other.
fn only_field<'w>(plan: &Plan, wire: &'w [u8]) -> Result<Option<Found<'w>>, OutputError> {
    let mut wire = Wire::new(wire);
    let Some(tag) = wire.tag()? else { return Ok(None) };
    let value = wire.value(tag)?;
    let found = plan.by_number(tag.number, tag.number as usize - 1).filter(|_| wire.is_empty()).and_then(|place| {
        let form = form(plan.fields.get(place)?, tag)?;
        Some(Found { place, form, value })
    });
    Ok(found)
}

/// Calls `take` with every field of a message.
fn each<'w>(wire: &'w [u8], mut take: impl FnMut(Tag, Raw<'w>) -> Result<(), Stop>) -> Result<(), Stop> {
    let mut wire = Wire::new(wire);
    while let Some(tag) = wire.tag()? {
        let value = wire.value(tag)?;
        take(tag, value)?;
    }
    Ok(())
}

/// The two fields of a Timestamp or a Duration.
fn seconds_nanos(wire: &[u8]) -> Result<(i64, i32), OutputError> {
    let mut wire = Wire::new(wire);
    let (mut seconds, mut nanos) = (0, 0);
    while let Some(tag) = wire.tag()? {
        match (tag, wire.value(tag)?) {
            (Tag { number: 1, wire_type: VARINT }, Raw::Bits(bits)) => seconds = bits as i64,
            (Tag { number: 2, wire_type: VARINT }, Raw::Bits(bits)) => nanos = bits as i32,
            _ => {}
        }
    }
    Ok((seconds, nanos))
}
