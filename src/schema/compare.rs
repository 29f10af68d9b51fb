//! Whether two linked definitions of one symbol mean the same on the wire and in JSON, however they were written down.

use std::collections::{BTreeSet, HashSet};

use buffa_descriptor::{
    DescriptorPool, EnumDescriptor, EnumIndex, FieldDescriptor, FieldKind, MessageDescriptor, MessageIndex,
    SingularKind, generated::descriptor::DescriptorProto,
};

/// The names, of a top-level symbol and what it holds, under which two pools know different things.
pub(super) fn differences(symbol: &str, a: &DescriptorPool, b: &DescriptorPool) -> Vec<String> {
    let names: BTreeSet<String> = [a, b].into_iter().flat_map(|pool| nested_names(pool, symbol)).collect();
    names.into_iter().filter(|name| !is_same(name, a, b)).collect()
}

fn is_same(name: &str, a: &DescriptorPool, b: &DescriptorPool) -> bool {
    if let (Some(a_message), Some(b_message)) = (a.message_by_name(name), b.message_by_name(name)) {
        return is_same_message((a, a_message), (b, b_message));
    }
    if let (Some(a), Some(b)) = (a.enum_by_name(name), b.enum_by_name(name)) {
        return is_same_enum(a, b);
    }
    if let (Some(a_extension), Some(b_extension)) = (a.extension_by_name(name), b.extension_by_name(name)) {
        return a.message(a_extension.extendee()).full_name() == b.message(b_extension.extendee()).full_name()
            && is_same_field((a, None, a_extension.field()), (b, None, b_extension.field()));
    }
    false
}

/// A top-level symbol, and the messages, enums and extensions that are declared in it.
fn nested_names(pool: &DescriptorPool, symbol: &str) -> Vec<String> {
    let mut names = vec![symbol.to_owned()];
    let local = symbol.rsplit('.').next();
    let message = pool
        .file_containing_symbol(symbol)
        .and_then(|file| file.message_type.iter().find(|message| message.name.as_deref() == local));
    if let Some(message) = message {
        push_nested(message, symbol, &mut names);
    }
    names
}

fn push_nested(message: &DescriptorProto, scope: &str, names: &mut Vec<String>) {
    let own = |name: &Option<String>| format!("{scope}.{}", name.as_deref().unwrap_or_default());
    names.extend(message.enum_type.iter().map(|nested| own(&nested.name)));
    names.extend(message.extension.iter().map(|nested| own(&nested.name)));
    for nested in &message.nested_type {
        let name = own(&nested.name);
        push_nested(nested, &name, names);
        names.push(name);
    }
}

fn is_same_message(
    (a_pool, a): (&DescriptorPool, &MessageDescriptor),
    (b_pool, b): (&DescriptorPool, &MessageDescriptor),
) -> bool {
    // In the order of numbers: that of the declarations has no meaning.
    let fields = |message: &MessageDescriptor| {
        let mut numbers: Vec<u32> = message.fields().iter().map(FieldDescriptor::number).collect();
        numbers.sort_unstable();
        numbers
    };
    let numbers = fields(a);
    numbers == fields(b)
        && numbers.into_iter().all(|number| match (a.field(number), b.field(number)) {
            (Some(a_field), Some(b_field)) => is_same_field((a_pool, Some(a), a_field), (b_pool, Some(b), b_field)),
            _ => false,
        })
}

type FieldOf<'a> = (&'a DescriptorPool, Option<&'a MessageDescriptor>, &'a FieldDescriptor);

/// Packed or not is not compared: every parser takes both.
fn is_same_field((a_pool, a_message, a): FieldOf<'_>, (b_pool, b_message, b): FieldOf<'_>) -> bool {
    a.name() == b.name()
        && a.json_name() == b.json_name()
        && a.number() == b.number()
        && a.presence() == b.presence()
        && a.is_delimited() == b.is_delimited()
        && a.enum_type() == b.enum_type()
        && oneof(a_message, a) == oneof(b_message, b)
        && is_same_kind((a_pool, a.kind()), (b_pool, b.kind()))
}

/// The name of the oneof that a field is one of, unless `optional` made it.
fn oneof<'a>(message: Option<&'a MessageDescriptor>, field: &FieldDescriptor) -> Option<&'a str> {
    let oneof = message?.oneofs().get(usize::from(field.oneof_index()?))?;
    (!oneof.is_synthetic()).then(|| oneof.name())
}

fn is_same_kind((a_pool, a): (&DescriptorPool, FieldKind), (b_pool, b): (&DescriptorPool, FieldKind)) -> bool {
    let same = |a: SingularKind, b: SingularKind| match (a, b) {
        (SingularKind::Scalar(a), SingularKind::Scalar(b)) => a == b,
        (SingularKind::Enum(a), SingularKind::Enum(b)) => {
            a_pool.enumeration(a).full_name() == b_pool.enumeration(b).full_name()
        }
        (SingularKind::Message(a), SingularKind::Message(b)) => {
            a_pool.message(a).full_name() == b_pool.message(b).full_name()
        }
        _ => false,
    };
    match (a, b) {
        (FieldKind::Singular(a), FieldKind::Singular(b)) | (FieldKind::List(a), FieldKind::List(b)) => same(a, b),
        (FieldKind::Map { key: a_key, value: a }, FieldKind::Map { key: b_key, value: b }) => {
            a_key == b_key && same(a, b)
        }
        _ => false,
    }
}

/// The order of values counts: the first is the default, and the first of an alias is the name in JSON.
fn is_same_enum(a: &EnumDescriptor, b: &EnumDescriptor) -> bool {
    let values = |of: &EnumDescriptor| -> Vec<(String, i32)> {
        of.values().iter().map(|value| (value.name().to_owned(), value.number())).collect()
    };
    a.enum_type() == b.enum_type() && values(a) == values(b)
}

/// Every type that a value of some messages can hold, without looking into `Any`.
#[derive(Default)]
pub(super) struct Reach {
    messages: HashSet<MessageIndex>,
    enums: HashSet<EnumIndex>,
}

impl Reach {
    pub(super) fn of(pool: &DescriptorPool, roots: impl IntoIterator<Item = MessageIndex>) -> Self {
        let mut reach = Self::default();
        let mut open: Vec<MessageIndex> = roots.into_iter().collect();
        while let Some(index) = open.pop() {
            if !reach.messages.insert(index) {
                continue;
            }
            let extensions = pool.extensions_of(index).map(|extension| extension.field().kind());
            for kind in pool.message(index).fields().iter().map(FieldDescriptor::kind).chain(extensions) {
                let (FieldKind::Singular(kind) | FieldKind::List(kind) | FieldKind::Map { value: kind, .. }) = kind;
                match kind {
                    SingularKind::Message(message) => open.push(message),
                    SingularKind::Enum(value) => _ = reach.enums.insert(value),
                    SingularKind::Scalar(_) => {}
                }
            }
        }
        reach
    }

    pub(super) fn contains(&self, pool: &DescriptorPool, name: &str) -> bool {
        pool.message_index(name).is_some_and(|message| self.messages.contains(&message))
            || pool.enum_index(name).is_some_and(|value| self.enums.contains(&value))
    }
}
