//! Methods and messages of a schema as a module of TypeScript for `@tidegate/client`. Knows nothing of how it is asked for.

mod names;
mod types;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, fmt::Write};

use self::{
    names::{Names, local_name},
    types::{Types, comment},
};
use crate::{
    config::{OutputSettings, Resume},
    schema::{Comments, Method, MethodId, Schema},
};

/// A method, how its replies are written, and how a stream of them goes on where it broke off.
#[derive(Clone, Copy)]
pub struct Entry<'a> {
    pub method: MethodId,
    pub output: OutputSettings,
    pub resume: Option<&'a Resume>,
}

/// A message has one type in a module.
#[derive(Debug, thiserror::Error)]
#[error(
    "the routes of these services write their replies in several ways (`output`), and so one module cannot describe them all"
)]
pub struct Mixed;

/// Describes methods and every message that they lead to. The same methods of the same schema give the same text.
///
/// # Errors
/// Replies that are written in more ways than one.
pub fn module(schema: &Schema, comments: &Comments, entries: &[Entry<'_>]) -> Result<String, Mixed> {
    // What makes no difference to types.
    let form = |entry: &Entry<'_>| OutputSettings { defaults: false, pretty: false, ..entry.output };
    let output = entries.first().map(form).unwrap_or_default();
    if entries.iter().any(|entry| form(entry) != output) {
        return Err(Mixed);
    }
    let mut services: BTreeMap<&str, Vec<(&Method, Option<&Resume>)>> = BTreeMap::new();
    for Entry { method, resume, .. } in entries {
        let method = &schema[*method];
        services.entry(&method.service).or_default().push((method, *resume));
    }
    let roots = entries.iter().flat_map(|entry| [schema[entry.method].input, schema[entry.method].output]);
    let types = Types::reached(schema.pool(), comments, output, roots);
    let service_names = Names::of(schema.pool(), services.keys().copied());
    let mut out = String::from(HEAD);
    for (service, methods) in &services {
        write_service(&mut out, service, service_names.name(service), methods, &types, comments);
    }
    types.write(&mut out);
    Ok(out)
}

const HEAD: &str = "\
// Services and their messages in JSON. Written by `tidegate typescript`; changes here are lost.

import type * as tidegate from \"@tidegate/client\";
";

fn write_service(
    out: &mut String,
    service: &str,
    name: &str,
    methods: &[(&Method, Option<&Resume>)],
    types: &Types<'_>,
    comments: &Comments,
) {
    let (mut declared, mut told) = (String::new(), String::new());
    for &(method, resume) in methods {
        let member = names::property(&member_name(method, methods));
        let (request, reply) = (types.message(method.input), types.message(method.output));
        let (class, kind) = match (method.client_streaming, method.server_streaming) {
            (false, false) => ("Unary", "unary"),
            (false, true) => ("ServerStream", "server_stream"),
            (true, false) => ("ClientStream", "client_stream"),
            (true, true) => ("Duplex", "duplex"),
        };
        let idempotent = if method.idempotent { ", idempotent: true" } else { "" };
        let resume = resume.filter(|_| class == "ServerStream").and_then(|resume| types.resume(method, resume));
        let resume = resume.map(|event_id| format!(", resume: {event_id}")).unwrap_or_default();
        comment(&mut declared, "  ", comments.of(&method.full_name()), false);
        let _ = writeln!(declared, "  {member}: tidegate.{class}<{request}, {reply}>;");
        let _ = writeln!(told, "    {member}: {{ name: {:?}, kind: \"{kind}\"{idempotent}{resume} }},", method.name);
    }
    out.push('\n');
    comment(out, "", comments.of(service), false);
    let _ = write!(
        out,
        "export const {name}: tidegate.Service<{{\n{declared}}}> = {{\n  name: {service:?},\n  methods: {{\n{told}  }},\n}};\n"
    );
}

/// A method's name as a function, and as it is where others would have the same.
fn member_name(method: &Method, methods: &[(&Method, Option<&Resume>)]) -> String {
    let local = local_name(&method.name);
    let is_shared = methods.iter().filter(|(other, _)| local_name(&other.name) == local).count() > 1;
    match local.as_str() {
        _ if is_shared => method.name.clone(),
        // An object with a function of this name is taken for a promise.
        "then" => "then_".to_owned(),
        _ => local,
    }
}
