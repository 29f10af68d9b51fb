//! `google.api.field_behavior` of a field (google/api/field_behavior.proto), and which messages have two schemas because
//! of it.

use std::collections::{HashMap, HashSet};

use buffa::{ExtensionSet, UnknownFieldData, editions::FieldPresence};
use buffa_descriptor::{DescriptorPool, ExtensionDescriptor, FieldDescriptor, FieldKind, MessageIndex, SingularKind};

use crate::wire::varint;

/// What a field's author says of it beside its type.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Behavior {
    /// A request must give it.
    pub(super) required: bool,
    pub(super) output_only: bool,
    pub(super) input_only: bool,
}

impl Behavior {
    pub(super) fn of(field: &FieldDescriptor) -> Self {
        /// `google.api.field_behavior`, an extension of `google.protobuf.FieldOptions`.
        const EXTENSION: u32 = 1052;
        let mut behavior = Self { required: field.presence() == FieldPresence::LegacyRequired, ..Self::default() };
        let unknown = field.options().into_iter().flat_map(|options| options.unknown_fields().iter());
        for data in unknown.filter(|unknown| unknown.number == EXTENSION).map(|unknown| &unknown.data) {
            match data {
                UnknownFieldData::Varint(value) => behavior.add(*value),
                UnknownFieldData::LengthDelimited(packed) => {
                    let mut packed = packed.as_slice();
                    while let Some(value) = varint::read(&mut packed) {
                        behavior.add(value);
                    }
                }
                _ => {}
            }
        }
        // What only replies have, no request must give.
        behavior.required &= !behavior.output_only;
        behavior
    }

    fn add(&mut self, value: u64) {
        match value {
            2 => self.required = true,
            3 => self.output_only = true,
            4 => self.input_only = true,
            _ => {}
        }
    }
}

/// The messages that are told both whole and partial, and hold a required field somewhere within: they differ in that.
pub(super) fn split(
    pool: &DescriptorPool,
    whole: Vec<MessageIndex>,
    partial: Vec<MessageIndex>,
) -> HashSet<MessageIndex> {
    let (whole, partial) = (reach(whole, |index| parts(pool, index)), reach(partial, |index| parts(pool, index)));
    let demands = |index: &MessageIndex| pool.message(*index).fields().iter().any(|field| Behavior::of(field).required);
    let mut holders: HashMap<MessageIndex, Vec<MessageIndex>> = HashMap::new();
    for holder in &whole {
        for part in parts(pool, *holder) {
            holders.entry(part).or_default().push(*holder);
        }
    }
    let demanding = whole.iter().copied().filter(demands).collect();
    let mut split = reach(demanding, |index| holders.get(&index).cloned().unwrap_or_default());
    split.retain(|index| partial.contains(index));
    split
}

/// Everything that `next` leads to, with where it began.
fn reach(mut pending: Vec<MessageIndex>, next: impl Fn(MessageIndex) -> Vec<MessageIndex>) -> HashSet<MessageIndex> {
    let mut reached = HashSet::new();
    while let Some(index) = pending.pop() {
        if reached.insert(index) {
            pending.extend(next(index));
        }
    }
    reached
}

/// The messages of a message's fields.
fn parts(pool: &DescriptorPool, index: MessageIndex) -> Vec<MessageIndex> {
    let own = pool.message(index).fields().iter();
    let fields = own.chain(pool.extensions_of(index).map(ExtensionDescriptor::field));
    let kinds = fields.map(|field| match field.kind() {
        FieldKind::Singular(kind) | FieldKind::List(kind) | FieldKind::Map { value: kind, .. } => kind,
    });
    kinds
        .filter_map(|kind| match kind {
            SingularKind::Message(index) => Some(index),
            _ => None,
        })
        .collect()
}
