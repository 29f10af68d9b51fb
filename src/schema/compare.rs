//! Whether what one pool knows means the same on the wire and in JSON to another that may know more, however it was
//! written down.

use std::collections::{BTreeSet, HashSet};

use buffa_descriptor::{
    DescriptorPool, EnumDescriptor, EnumIndex, EnumValueDescriptor, FieldDescriptor, FieldKind, MessageDescriptor,
    MessageIndex, MethodDescriptor, ServiceDescriptor, SingularKind, generated::descriptor::DescriptorProto,
};

/// Something that a pool knows otherwise than another.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Difference {
    /// The message, enum, service or extension.
    pub(super) of: String,
    /// What differs in it: a field, a value, a method; else itself.
    pub(super) symbol: String,
}

/// Of a top-level symbol and what it holds: what a pool knows and `whole` does not know in the same way.
pub(super) fn differences(symbol: &str, own: &DescriptorPool, whole: &DescriptorPool) -> Vec<Difference> {
    let names: BTreeSet<String> = nested_names(own, symbol).into_iter().collect();
    names.into_iter().filter_map(|of| Some(Difference { symbol: lost(&of, own, whole)?, of })).collect()
}

/// The first of a symbol and its members that is not kept.
fn lost(name: &str, own: &DescriptorPool, whole: &DescriptorPool) -> Option<String> {
    let member = |member: &str| format!("{name}.{member}");
    if let (Some(message), Some(other)) = (own.message_by_name(name), whole.message_by_name(name)) {
        let is_kept = |field: &FieldDescriptor| {
            let found = other.field(field.number());
            found.is_some_and(|found| is_same_field((own, Some(message), field), (whole, Some(other), found)))
        };
        return message.fields().iter().find(|field| !is_kept(field)).map(|field| member(field.name()));
    }
    if let (Some(own), Some(whole)) = (own.enum_by_name(name), whole.enum_by_name(name)) {
        if own.enum_type() != whole.enum_type() {
            return Some(name.to_owned());
        }
        return own.values().iter().find(|value| !is_value_kept(value, own, whole)).map(|value| member(value.name()));
    }
    if let (Some(extension), Some(other)) = (own.extension_by_name(name), whole.extension_by_name(name)) {
        let is_kept = own.message(extension.extendee()).full_name() == whole.message(other.extendee()).full_name()
            && is_same_field((own, None, extension.field()), (whole, None, other.field()));
        return (!is_kept).then(|| name.to_owned());
    }
    if let (Some(service), Some(other)) = (own.service_by_name(name), whole.service_by_name(name)) {
        let is_kept = |method: &MethodDescriptor| {
            other.method(method.name()).is_some_and(|found| is_same_method((own, method), (whole, found)))
        };
        return service.methods().iter().find(|method| !is_kept(method)).map(|method| member(method.name()));
    }
    Some(name.to_owned())
}

type MethodOf<'a> = (&'a DescriptorPool, &'a MethodDescriptor);

fn is_same_method((a_pool, a): MethodOf<'_>, (b_pool, b): MethodOf<'_>) -> bool {
    a_pool.message(a.input()).full_name() == b_pool.message(b.input()).full_name()
        && a_pool.message(a.output()).full_name() == b_pool.message(b.output()).full_name()
        && a.is_client_streaming() == b.is_client_streaming()
        && a.is_server_streaming() == b.is_server_streaming()
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
pub(super) fn oneof<'a>(message: Option<&'a MessageDescriptor>, field: &FieldDescriptor) -> Option<&'a str> {
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

/// The first value counts, for it is the default, and the first of an alias, for it is the name in JSON.
fn is_value_kept(value: &EnumValueDescriptor, own: &EnumDescriptor, whole: &EnumDescriptor) -> bool {
    let number = value.number();
    let is_default = |of: &EnumDescriptor| of.values().first().is_some_and(|first| first.number() == number);
    let name = |of: &EnumDescriptor| of.value(number).map(|value| value.name().to_owned());
    whole.value_by_name(value.name()).is_some_and(|found| found.number() == number)
        && name(own) == name(whole)
        && is_default(own) == is_default(whole)
}

/// What `whole` has and a pool lacks; of what it lacks whole, only that.
pub(super) fn lacking(own: &DescriptorPool, whole: &DescriptorPool) -> Vec<String> {
    let known: HashSet<String> = inventory(own).into_iter().map(|(_, name)| name).collect();
    let is_lacking = |holder: &Option<String>, name: &String| {
        !known.contains(name) && holder.as_ref().is_none_or(|holder| known.contains(holder))
    };
    inventory(whole).into_iter().filter(|(holder, name)| is_lacking(holder, name)).map(|(_, name)| name).collect()
}

/// All that a pool declares, each with what holds it.
fn inventory(pool: &DescriptorPool) -> Vec<(Option<String>, String)> {
    let mut all = Vec::new();
    let mut push = |holder: String, held: Vec<String>| {
        all.push((None, holder.clone()));
        all.extend(held.into_iter().map(|name| (Some(holder.clone()), name)));
    };
    for service in pool.services() {
        let name = service.full_name();
        let methods = service.methods().iter().map(|method| format!("method {name}/{}", method.name()));
        push(format!("service {name}"), methods.collect());
    }
    for message in pool.messages() {
        let name = message.full_name();
        let fields = message.fields().iter().map(|field| format!("field {name}.{}", field.name()));
        push(format!("message {name}"), fields.collect());
    }
    for own in pool.enums() {
        let name = own.full_name();
        let values = own.values().iter().map(|value| format!("value {} of {name}", value.name()));
        push(format!("enum {name}"), values.collect());
    }
    for extension in pool.extensions() {
        push(format!("extension {}", extension.full_name()), Vec::new());
    }
    all
}

/// What the methods of a pool take and answer with.
pub(super) fn call_types(pool: &DescriptorPool) -> impl Iterator<Item = MessageIndex> {
    pool.services().iter().flat_map(ServiceDescriptor::methods).flat_map(|method| [method.input(), method.output()])
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
