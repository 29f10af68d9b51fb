//! What a message says of the fields that the URL gives too, by one look through it for all of them. Knows nothing of what
//! follows from that.

use std::{collections::HashSet, ops::Range};

use super::{
    Codec,
    bound::Leaf,
    error::OutputError,
    output::{self, Output},
    plan::{Field, Kind, Shape},
    protobuf::{Raw, Wire},
};

/// What a message says of one of the URL's fields.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Said {
    pub(super) present: bool,
    /// Another value than a path's variable.
    pub(super) differs: bool,
    /// Another member of a oneof is there.
    pub(super) rival: bool,
}

/// Of each leaf, which stand in canonical order. Every appearance counts, however often fields and messages are repeated: a
/// parser may take any of them.
pub(super) fn of(codec: &Codec, message: &[u8], leaves: &[Leaf]) -> Result<Vec<Said>, OutputError> {
    let mut survey = Survey { codec, leaves, said: vec![Said::default(); leaves.len()], rivals: HashSet::new() };
    survey.walk(message, 0..leaves.len(), 0)?;
    Ok(survey.said)
}

struct Survey<'a> {
    codec: &'a Codec,
    leaves: &'a [Leaf],
    said: Vec<Said>,
    /// Which rivals have been met: the first leaf and the level of those that they are of, and the place of the field. However
    /// often they stand in a message, one time is enough.
    rivals: HashSet<(usize, usize, usize)>,
}

impl Survey<'_> {
    /// Looks through a message for those of the leaves that are fields of it at `level` of their paths.
    fn walk(&mut self, message: &[u8], among: Range<usize>, level: usize) -> Result<(), OutputError> {
        let step = self.leaves.get(among.start).and_then(|leaf| leaf.path.get(level));
        let Some(plan) = step.map(|step| self.codec.get(step.plan)) else { return Ok(()) };
        let mut wire = Wire::new(message);
        let mut hint = 0;
        while let Some(tag) = wire.tag()? {
            let value = wire.value(tag)?;
            let Some(place) = plan.by_number(tag.number, hint) else { continue };
            hint = place + 1;
            let field = &plan.fields[place];
            let run = self.run(&among, level, place);
            if run.is_empty() {
                if field.oneof.is_some() && self.rivals.insert((among.start, level, place)) {
                    self.mark_rivals(&among, level, field.oneof);
                }
                continue;
            }
            let leaves = self.leaves.get(run.clone()).unwrap_or_default();
            let deeper = run.start + leaves.partition_point(|leaf| leaf.path.len() == level + 1);
            if !is_unset(field, value) {
                self.meet(field.kind, value, run.start..deeper);
            }
            match value {
                Raw::Bytes(bytes) if deeper < run.end && tag.wire_type == field.kind.wire_type() => {
                    self.walk(bytes, deeper..run.end, level + 1)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Those of some leaves that go through one field.
    fn run(&self, among: &Range<usize>, level: usize, place: usize) -> Range<usize> {
        let leaves = self.leaves.get(among.clone()).unwrap_or_default();
        let at = |leaf: &Leaf| leaf.path.get(level).map(|step| step.place);
        let start = leaves.partition_point(|leaf| at(leaf) < Some(place));
        let len = leaves.get(start..).unwrap_or_default().partition_point(|leaf| at(leaf) == Some(place));
        among.start + start..among.start + start + len
    }

    fn mark_rivals(&mut self, among: &Range<usize>, level: usize, oneof: Option<u16>) {
        for index in among.clone() {
            let step = self.leaves.get(index).and_then(|leaf| leaf.path.get(level));
            if let (Some(step), Some(said)) = (step, self.said.get_mut(index)) {
                said.rival |= step.field(self.codec).oneof == oneof;
            }
        }
    }

    /// A value of the field that some leaves are of: one that a path gives, or any number of a query's.
    fn meet(&mut self, kind: Kind, value: Raw<'_>, of: Range<usize>) {
        let leaves = self.leaves.get(of.clone()).unwrap_or_default();
        for (leaf, said) in leaves.iter().zip(self.said.get_mut(of).unwrap_or_default()) {
            if leaf.variable.is_none() && said.present {
                // And so are the others.
                return;
            }
            said.present = true;
            if leaf.variable.is_some() && !said.differs {
                let mut bound = Wire::new(&leaf.payload);
                let bound = bound.tag().ok().flatten().and_then(|tag| bound.value(tag).ok());
                said.differs = match (as_json(self.codec, kind, Some(value)), as_json(self.codec, kind, bound)) {
                    (Some(given), Some(bound)) => given != bound,
                    _ => true,
                };
            }
        }
    }
}

/// A default where that is the same as absence, or a packed list without elements.
fn is_unset(field: &Field, value: Raw<'_>) -> bool {
    let empty = match value {
        Raw::Bits(bits) => bits == 0,
        Raw::Bytes(bytes) => bytes.is_empty(),
    };
    empty
        && match field.shape {
            Shape::Single { presence } => !presence,
            Shape::List { .. } => field.kind.is_packable() && matches!(value, Raw::Bytes(_)),
            Shape::Map { .. } => false,
        }
}

/// A value as JSON, in which equal values are equal texts.
fn as_json(codec: &Codec, kind: Kind, value: Option<Raw<'_>>) -> Option<Vec<u8>> {
    let value = value?;
    let mut json = Vec::new();
    let write = |output: &mut Output<'_>| output.value(kind, value, 1);
    output::write(codec, crate::config::OutputSettings::default(), &mut json, write).ok()?;
    Some(json)
}
