//! The pass for messages whose fields stand out of order or apart: collects the fields of a message, then writes them
//! in canonical order, as protobuf merges them. Knows nothing of who reads it.

use super::{
    error::OutputError,
    message_set,
    output::{Form, Output, Stop, form, within},
    output_map::Entries,
    plan::{Field, Kind, Plan, Shape, Special},
    protobuf::{Raw, Wire},
    steps::{self, BYTES_PER_STEP},
    validate,
};

/// One appearance of a known field.
pub(super) struct Found<'w> {
    pub(super) place: usize,
    pub(super) form: Form,
    pub(super) value: Raw<'w>,
}

impl Output<'_> {
    pub(super) fn gathered(&mut self, plan: &Plan, wire: &[u8], depth: usize) -> Result<(), Stop> {
        let found = self.gather(plan, wire)?;
        let mut next = 0;
        for run in found.chunk_by(|a, b| a.place == b.place) {
            let Some((place, field)) = run.first().and_then(|first| Some((first.place, plan.fields.get(first.place)?)))
            else {
                continue;
            };
            self.defaults(plan, next..place);
            next = place + 1;
            self.run(field, run, depth).map_err(|stop| within(stop, field))?;
        }
        self.defaults(plan, next..plan.fields.len());
        Ok(())
    }

    /// The known fields of a message by place; of a oneof only what stands last.
    pub(super) fn gather<'w>(&self, plan: &Plan, wire: &'w [u8]) -> Result<Vec<Found<'w>>, OutputError> {
        let mut wire = Wire::new(wire);
        let mut found: Vec<Found<'w>> = Vec::new();
        let mut last_of_oneof: Vec<Option<usize>> = Vec::new();
        while let Some(mut tag) = wire.tag()? {
            let mut value = wire.value(tag)?;
            if plan.special == Special::MessageSet {
                (tag, value) = message_set::extension(tag, value)?;
            }
            let Some(place) = plan.by_number(tag.number, 0) else { continue };
            let Some(field) = plan.fields.get(place) else { continue };
            let Some(form) = form(field, tag) else { continue };
            if let (Shape::Single { .. }, Raw::Bits(bits)) = (field.shape, value)
                && self.is_unknown(field.kind, bits)
            {
                continue;
            }
            if let Some(oneof) = field.oneof {
                // Most messages have none, and there may be many messages.
                last_of_oneof.resize(plan.oneofs.len(), None);
                if let Some(last) = last_of_oneof.get_mut(usize::from(oneof)) {
                    *last = Some(place);
                }
            }
            found.push(Found { place, form, value });
        }
        self.drop_superseded(plan, &last_of_oneof, &mut found)?;
        found.sort_by_key(|found| found.place);
        Ok(found)
    }

    /// A member of a oneof takes the place of every other that stands before it.
    fn drop_superseded(
        &self,
        plan: &Plan,
        last_of_oneof: &[Option<usize>],
        found: &mut Vec<Found<'_>>,
    ) -> Result<(), OutputError> {
        if last_of_oneof.is_empty() {
            return Ok(());
        }
        let mut ended = vec![false; last_of_oneof.len()];
        let mut keep: Vec<bool> = found
            .iter()
            .rev()
            .map(|found| {
                let oneof = plan.fields.get(found.place).and_then(|field| field.oneof).map(usize::from);
                let (Some(oneof), Some(last)) = (oneof, oneof.and_then(|oneof| *last_of_oneof.get(oneof)?)) else {
                    return true;
                };
                let Some(ended) = ended.get_mut(oneof) else { return true };
                *ended |= found.place != last;
                !*ended
            })
            .collect();
        // `keep` runs from the back.
        for (dropped, _) in found.iter().rev().zip(&keep).filter(|(_, keep)| !**keep) {
            if let Some(field) = plan.fields.get(dropped.place) {
                self.sound(field.kind, dropped.value).map_err(|error| error.within(&field.json_name))?;
            }
        }
        found.retain(|_| keep.pop().unwrap_or(true));
        Ok(())
    }

    /// What is passed over because another value takes its place must be sound as well.
    pub(super) fn sound(&self, kind: Kind, value: Raw<'_>) -> Result<(), OutputError> {
        match value {
            Raw::Bytes(bytes) => validate::one(self.codec, kind, bytes, 1),
            Raw::Bits(_) => Ok(()),
        }
    }

    /// All appearances of one field, with its key.
    fn run(&mut self, field: &Field, run: &[Found<'_>], depth: usize) -> Result<(), Stop> {
        match field.shape {
            Shape::Single { presence } => {
                self.merged(field.kind, run, |output, value| output.single(field, presence, value, depth))
            }
            Shape::List { .. } => {
                let before = self.open_member(field, b'[');
                for found in run {
                    self.elements(field.kind, found.value, found.form, depth)?;
                }
                self.close_list(field, before);
                Ok(())
            }
            Shape::Map { key } => {
                let entries = self.entries(field, key, run)?;
                self.map_member(field, key, &entries, depth)
            }
        }
    }

    /// All appearances of one field as a JSON value without a key.
    pub(super) fn run_value(&mut self, field: &Field, run: &[Found<'_>], depth: usize) -> Result<(), Stop> {
        match field.shape {
            Shape::Single { .. } => {
                self.merged(field.kind, run, |output, value| output.value(field.kind, value, depth))
            }
            Shape::List { .. } => {
                self.out.push(b'[');
                for found in run {
                    self.elements(field.kind, found.value, found.form, depth)?;
                }
                self.out.push(b']');
                Ok(())
            }
            Shape::Map { key } => {
                let entries = self.entries(field, key, run)?;
                self.map(field, key, &entries, depth)
            }
        }
    }

    fn entries<'w>(&self, field: &Field, key: Kind, run: &[Found<'w>]) -> Result<Entries<'w>, OutputError> {
        let mut entries = Entries::new();
        for found in run {
            if let Raw::Bytes(entry) = found.value {
                self.entry(field, key, entry, &mut entries)?;
            }
        }
        Ok(entries)
    }

    /// The one value that several appearances make: messages merge, of anything else the last counts.
    fn merged(
        &mut self,
        kind: Kind,
        run: &[Found<'_>],
        write: impl FnOnce(&mut Self, Raw<'_>) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        match run {
            [] => Ok(()),
            [.., _, _] if kind.is_message() => {
                let joined = join(run)?;
                write(self, Raw::Bytes(&joined))
            }
            [earlier @ .., last] => {
                earlier.iter().try_for_each(|found| self.sound(kind, found.value))?;
                write(self, last.value)
            }
        }
    }
}

/// Parts of a message one after another are the message that they merge to (protobuf encoding, "Last One Wins").
///
/// # Errors
/// As [`append_part`].
pub(super) fn join(run: &[Found<'_>]) -> Result<Vec<u8>, OutputError> {
    let mut joined = Vec::new();
    for found in run {
        if let Raw::Bytes(part) = found.value {
            append_part(part, &mut joined)?;
        }
    }
    Ok(joined)
}

/// Appends one more part of a message. Whether what stands in it is sound is seen when all of it is written.
///
/// # Errors
/// A part that is cut short: it would take the beginning of the next one for its own.
pub(super) fn append_part(part: &[u8], joined: &mut Vec<u8>) -> Result<(), OutputError> {
    let mut wire = Wire::new(part);
    while let Some(tag) = wire.tag()? {
        wire.value(tag)?;
    }
    steps::count(part.len() / BYTES_PER_STEP);
    joined.extend_from_slice(part);
    Ok(())
}
