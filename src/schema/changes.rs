//! What clients can no longer rely on when one schema takes another's place, in sentences. What is only added is not
//! told. Knows nothing of where schemas come from.

use std::collections::HashSet;

use buffa::editions::{EnumType, FieldPresence};
use buffa_descriptor::{
    DescriptorPool, EnumDescriptor, EnumValueDescriptor, FieldDescriptor, FieldKind, MessageDescriptor, ScalarType,
    SingularKind,
};

use super::{
    HttpRule, Method, Schema,
    combine::is_standard,
    compare::{Reach, call_types, oneof},
};

/// What breaks between two schemas of one upstream: its services, methods and HTTP rules, and the types that its calls
/// are made of (all its types where a call may carry an `Any`).
pub fn changes(old: &Schema, new: &Schema) -> Vec<String> {
    let mut told = Vec::new();
    methods(old, new, &mut told);
    let (old, new) = (old.pool(), new.pool());
    let calls = Reach::of(old, call_types(old));
    let any = calls.contains(old, "google.protobuf.Any");
    let matters = |name: &str| (any || calls.contains(old, name)) && !is_standard(name);
    for message in old.messages().iter().filter(|message| matters(message.full_name())) {
        let name = message.full_name();
        match new.message_by_name(name) {
            Some(now) => fields(Types { pool: old, message }, Types { pool: new, message: now }, &mut told),
            None => told.push(format!("message `{name}` was removed")),
        }
    }
    for was in old.enums().iter().filter(|was| matters(was.full_name())) {
        match new.enum_by_name(was.full_name()) {
            Some(now) => values(was, now, &mut told),
            None => told.push(format!("enum `{}` was removed", was.full_name())),
        }
    }
    extensions(old, new, &matters, &mut told);
    told
}

fn methods(old: &Schema, new: &Schema, told: &mut Vec<String>) {
    let services: HashSet<&str> = new.methods().iter().map(|method| method.service.as_str()).collect();
    let mut removed = HashSet::new();
    for was in old.methods() {
        let full_name = format!("{}/{}", was.service, was.name);
        match new.method(was.path.path()).map(|id| &new[id]) {
            Some(now) => method(&full_name, (old, was), (new, now), told),
            None if services.contains(was.service.as_str()) => {
                told.push(format!("method `{full_name}` was removed"));
            }
            None if removed.insert(&was.service) => told.push(format!("service `{}` was removed", was.service)),
            None => {}
        }
    }
}

fn method(name: &str, (old, was): (&Schema, &Method), (new, now): (&Schema, &Method), told: &mut Vec<String>) {
    for (verb, was, now) in [("takes", was.input, now.input), ("answers with", was.output, now.output)] {
        let (was, now) = (old.pool().message(was).full_name(), new.pool().message(now).full_name());
        if was != now {
            told.push(format!("method `{name}` {verb} `{now}` now, not `{was}`"));
        }
    }
    for (verb, was, now) in [
        ("takes", was.client_streaming, now.client_streaming),
        ("answers with", was.server_streaming, now.server_streaming),
    ] {
        if was != now {
            let (now, was) = if now { ("a stream", "one message") } else { ("one message", "a stream") };
            told.push(format!("method `{name}` {verb} {now} now, not {was}"));
        }
    }
    if was.no_side_effects && !now.no_side_effects {
        told.push(format!("method `{name}` may have side effects now, so that GET /{name} does not call it"));
    }
    for rule in &was.rules {
        let place = |rule: &HttpRule| (rule.verb.clone(), shape(&rule.template));
        match now.rules.iter().find(|other| place(other) == place(rule)) {
            None => told.push(format!("method `{name}` no longer answers {}", written(rule))),
            Some(now) => http_rule(name, rule, now, told),
        }
    }
}

fn http_rule(name: &str, was: &HttpRule, now: &HttpRule, told: &mut Vec<String>) {
    if was.template != now.template {
        told.push(format!("method `{name}` answers {} now, not {}", written(now), written(was)));
    }
    let part = |body: &Option<String>, none: &str| match body.as_deref() {
        None => none.to_owned(),
        Some("*") => "the whole message".to_owned(),
        Some(path) => format!("field `{path}`"),
    };
    for (what, was_part, now_part, none) in [
        ("request", &was.body, &now.body, "nothing"),
        ("reply", &was.response_body, &now.response_body, "the whole message"),
    ] {
        if was_part != now_part {
            let (is, was_part) = (part(now_part, none), part(was_part, none));
            told.push(format!("the {what} body of {} of method `{name}` is {is} now, not {was_part}", written(was)));
        }
    }
}

fn written(rule: &HttpRule) -> String {
    format!("{} {}", rule.verb, rule.template)
}

/// A template without the names of its variables, which are no part of a URL.
fn shape(template: &str) -> String {
    let mut shape = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let (variable, behind) = after.split_once('}').unwrap_or((after, ""));
        shape.push_str(before);
        shape.push_str(variable.split_once('=').map_or("*", |(_, pattern)| pattern));
        rest = behind;
    }
    shape + rest
}

/// A message where it stands.
#[derive(Clone, Copy)]
struct Types<'a> {
    pool: &'a DescriptorPool,
    message: &'a MessageDescriptor,
}

fn fields(old: Types<'_>, new: Types<'_>, told: &mut Vec<String>) {
    let name = old.message.full_name();
    for was in old.message.fields() {
        let (field, number) = (was.name(), was.number());
        match (new.message.field(number), new.message.field_by_name(field)) {
            (Some(now), _) if now.name() == field => change(&format!("{name}.{field}"), (old, was), (new, now), told),
            (Some(now), _) if kind(old.pool, was) == kind(new.pool, now) => {
                told.push(format!("field `{name}.{field}` is called `{}` now", now.name()));
            }
            (Some(now), _) => {
                told.push(format!("number {number} of `{name}` is field `{}` now, not `{field}`", now.name()));
            }
            (None, Some(now)) => {
                told.push(format!("field `{name}.{field}` has number {} now, not {number}", now.number()));
            }
            (None, None) => told.push(format!("field `{name}.{field}` was removed")),
        }
    }
    let added = new.message.fields().iter().filter(|field| old.message.field(field.number()).is_none());
    for field in added.filter(|field| field.presence() == FieldPresence::LegacyRequired) {
        told.push(format!("field `{name}.{}` is new and required", field.name()));
    }
}

/// Whatever differs about a field that has kept its name and number.
fn change(
    name: &str,
    (old, was): (Types<'_>, &FieldDescriptor),
    (new, now): (Types<'_>, &FieldDescriptor),
    told: &mut Vec<String>,
) {
    if was.json_name() != now.json_name() {
        told.push(format!("field `{name}` is `{}` in JSON now, not `{}`", now.json_name(), was.json_name()));
    }
    let (was_kind, now_kind) = (kind(old.pool, was), kind(new.pool, now));
    let (was_one_of, now_one_of) = (oneof(Some(old.message), was), oneof(Some(new.message), now));
    let what = if was_kind != now_kind {
        format!("is `{now_kind}` now, not `{was_kind}`")
    } else if was.is_delimited() != now.is_delimited() {
        "is encoded in another way now, with or without an end tag".to_owned()
    } else if was_one_of != now_one_of {
        match (was_one_of, now_one_of) {
            (None, now) => format!("is part of oneof `{}` now", now.unwrap_or_default()),
            (Some(was), None) => format!("is no longer part of oneof `{was}`"),
            (Some(was), Some(now)) => format!("is part of oneof `{now}` now, not of `{was}`"),
        }
    } else if was.presence() != now.presence() {
        match now.presence() {
            FieldPresence::LegacyRequired => "is required now",
            FieldPresence::Explicit if was.presence() == FieldPresence::LegacyRequired => "is no longer required",
            FieldPresence::Explicit => "tells its default from its absence now",
            _ => "no longer tells its default from its absence",
        }
        .to_owned()
    } else {
        return;
    };
    told.push(format!("field `{name}` {what}"));
}

/// Extensions are fields of what they extend, by names of their own.
fn extensions(old: &DescriptorPool, new: &DescriptorPool, matters: &impl Fn(&str) -> bool, told: &mut Vec<String>) {
    for was in old.extensions() {
        let (name, message) = (was.full_name(), old.message(was.extendee()));
        if !matters(message.full_name()) {
            continue;
        }
        let found = new.extension_by_name(name).map(|now| (now, new.message(now.extendee())));
        match found.filter(|(_, now)| now.full_name() == message.full_name()) {
            None => told.push(format!("extension `{name}` of `{}` was removed", message.full_name())),
            Some((now, _)) if now.field().number() != was.field().number() => {
                let (now, was) = (now.field().number(), was.field().number());
                told.push(format!("extension `{name}` has number {now} now, not {was}"));
            }
            Some((now, extended)) => {
                let new = Types { pool: new, message: extended };
                change(name, (Types { pool: old, message }, was.field()), (new, now.field()), told);
            }
        }
    }
}

fn values(was: &EnumDescriptor, now: &EnumDescriptor, told: &mut Vec<String>) {
    let name = was.full_name();
    for value in was.values() {
        let number = value.number();
        match (now.value_by_name(value.name()), now.value(number)) {
            (Some(found), _) if found.number() == number => {}
            (Some(found), _) => {
                told.push(format!("value `{}` of `{name}` is {} now, not {number}", value.name(), found.number()));
            }
            (None, Some(other)) => {
                told.push(format!("value `{}` of `{name}` is called `{}` now", value.name(), other.name()));
            }
            (None, None) => told.push(format!("value `{}` of `{name}` was removed", value.name())),
        }
    }
    let default = |of: &EnumDescriptor| of.values().first().map(EnumValueDescriptor::number);
    if default(was) != default(now) {
        told.push(format!("the first value of `{name}`, its default, is another now"));
    }
    if was.enum_type() != now.enum_type() {
        let what = if now.enum_type() == EnumType::Closed { "refuses" } else { "no longer refuses" };
        told.push(format!("enum `{name}` {what} values that it does not name"));
    }
}

/// What a field holds, as it would be written in a proto file.
fn kind(pool: &DescriptorPool, field: &FieldDescriptor) -> String {
    let one = |kind: SingularKind| match kind {
        SingularKind::Scalar(scalar) => scalar_name(scalar),
        SingularKind::Enum(index) => pool.enumeration(index).full_name().to_owned(),
        SingularKind::Message(index) => pool.message(index).full_name().to_owned(),
    };
    match field.kind() {
        FieldKind::Singular(kind) => one(kind),
        FieldKind::List(kind) => format!("repeated {}", one(kind)),
        FieldKind::Map { key, value } => format!("map<{}, {}>", scalar_name(key), one(value)),
    }
}

fn scalar_name(scalar: ScalarType) -> String {
    format!("{scalar:?}").to_lowercase()
}
