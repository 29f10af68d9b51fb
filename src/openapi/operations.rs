//! Rules as operations: where a request's parts stand in HTTP, and what may come back. Knows nothing of what messages
//! look like.

use std::collections::BTreeMap;

use super::{
    Budget, Operation, TooLarge,
    behavior::split,
    document::{
        self, Content, MediaType, Parameter, PathItem, Place, Reference, RequestBody, Response, Responses, Schema,
        Type, Written,
    },
    ids::Ids,
    path::{Captured, Names, PathParameter},
    query::QueryParameters,
    rule::{Query, Rule, TargetKind, resolve},
    schemas::{Field, Form, Schemas},
};
use crate::{
    config::OutputSettings,
    dialect::Dialect,
    route::Segment,
    schema::{Comments, Method, Schema as MergedSchema},
};

pub(super) type Paths = BTreeMap<String, PathItem>;
pub(super) type Components = BTreeMap<String, Written>;

const STATUS: &str = "google.rpc.Status";

/// The paths of operations, and the components that they refer to.
pub(super) fn write(
    schema: &MergedSchema,
    comments: &Comments,
    operations: &[Operation],
    budget: &mut Budget,
) -> Result<(Paths, Components), TooLarge> {
    let mut rules: Vec<Rule<'_>> = operations.iter().filter_map(|operation| Rule::new(schema, operation)).collect();
    // Where both have one path in OpenAPI, `*` goes before `**`, as it does in the match table.
    rules.sort_by_key(|rule| rule.template.segments().last() == Some(&Segment::Rest));

    let status = schema.pool().message_index(STATUS);
    let (mut whole, mut partial) = (Vec::new(), Vec::from_iter(status));
    for rule in &rules {
        partial.push(rule.method.output);
        if rule.request_form.is_partial { &mut partial } else { &mut whole }.push(rule.method.input);
    }
    let schemas = Schemas::new(schema.pool(), comments, split(schema.pool(), whole, partial));

    let mut writer = Writer { schema, schemas, ids: Ids::new(schema) };
    let (mut names, mut paths) = (Names::default(), Paths::new());
    for rule in &rules {
        let path = names.path(&rule.template);
        let written = budget.write(&writer.operation(rule, &path.parameters))?;
        paths.entry(path.text).or_default().add(rule.verb.to_string(), written);
    }
    if let Some(status) = status {
        writer.schemas.message(status, Form { output: OutputSettings::default(), is_partial: true });
    }
    Ok((paths, writer.schemas.finish(budget)?))
}

struct Writer<'a> {
    schema: &'a MergedSchema,
    schemas: Schemas<'a>,
    ids: Ids,
}

impl<'a> Writer<'a> {
    fn operation(&mut self, rule: &Rule<'a>, path: &[PathParameter]) -> document::Operation {
        let method = rule.method;
        let mut parameters: Vec<_> = path.iter().map(|parameter| self.path_parameter(rule, parameter)).collect();
        if let Query::Rest { but } = &rule.query {
            let taken: Vec<Vec<u32>> = rule.bound.iter().chain(but).cloned().collect();
            parameters.extend(QueryParameters::of(&mut self.schemas, method.input, rule.request_form, &taken));
        }
        document::Operation {
            operation_id: self.ids.id(method, rule.place),
            tags: [method.service.clone()],
            description: self.schemas.comments.of(&method.full_name()).map(str::to_owned),
            deprecated: self.is_deprecated(method),
            parameters,
            request_body: self.request_body(rule),
            responses: Responses { ok: self.reply(rule), default: Reference { to: error_of(rule) } },
        }
    }

    fn path_parameter(&mut self, rule: &Rule<'a>, parameter: &PathParameter) -> Parameter {
        let PathParameter { name, is_rest, captured } = parameter;
        let (mut schema, mut texts) = (Schema::of(Type::String), Vec::new());
        match captured {
            Captured::No => {}
            Captured::Part { field_path, pattern } => {
                texts.push(format!("A part of `{field_path}`, which is `{pattern}`."));
            }
            Captured::Whole { field_path } => {
                let pool = self.schemas.pool;
                let field = resolve(pool, rule.method.input, field_path).and_then(|mut path| path.pop());
                if let Some((message, descriptor)) = field {
                    texts.extend(self.schemas.description(pool.message(message), &Field::own(descriptor)));
                    schema = self.schemas.kind(descriptor.kind(), rule.request_form);
                }
            }
        }
        if *is_rest {
            texts.push("All that is left of the path: segments with slashes between them, or nothing.".to_owned());
        }
        Parameter {
            name: name.clone(),
            place: Place::Path,
            description: (!texts.is_empty()).then(|| texts.join("\n\n")),
            required: true,
            deprecated: false,
            style: None,
            explode: None,
            schema,
        }
    }

    fn request_body(&mut self, rule: &Rule<'a>) -> Option<RequestBody> {
        let target = rule.body.as_ref()?;
        let bound: Vec<&[u32]> = rule.bound.iter().filter_map(|path| path.strip_prefix(&*target.path)).collect();
        let mut schema = || match target.kind {
            TargetKind::Message(index) if !bound.is_empty() => self.schemas.object(index, rule.request_form, &bound),
            kind => self.schema_of(kind, rule.request_form),
        };
        let mut content = Content::new();
        match target.kind {
            TargetKind::HttpBody => {
                content.insert("*/*", MediaType::default());
                content.insert("multipart/form-data", upload(&target.name, rule.method.client_streaming).into());
            }
            _ if rule.method.client_streaming => {
                content.insert("application/json", Schema::array(schema()).into());
                content.insert("application/x-ndjson", schema().described("One message on each line.").into());
                content.insert("application/json-seq", schema().described("One message in each record.").into());
            }
            _ => drop(content.insert("application/json", schema().into())),
        }
        if let TargetKind::Message(_) = target.kind {
            content.insert("application/x-protobuf", MediaType::default());
        }
        Some(RequestBody { content })
    }

    fn reply(&mut self, rule: &Rule<'a>) -> Response {
        let (kind, form) = (rule.reply.kind, rule.reply_form);
        let mut content = Content::new();
        match kind {
            TargetKind::HttpBody => drop(content.insert("*/*", MediaType::default())),
            _ if rule.method.server_streaming => {
                content.insert("application/json", Schema::array(self.schema_of(kind, form)).into());
                for lines in ["application/x-ndjson", "application/json-seq"] {
                    content.insert(lines, self.envelope(kind, form).into());
                }
                if Dialect::Sse.carries(rule.method.client_streaming, rule.method.server_streaming) {
                    content.insert("text/event-stream", self.event(kind, form).into());
                }
            }
            _ => drop(content.insert("application/json", self.schema_of(kind, form).into())),
        }
        if let TargetKind::Message(_) = kind {
            content.insert("application/x-protobuf", MediaType::default());
        }
        let description = if rule.method.server_streaming { "A stream of replies." } else { "The reply." };
        Response { description, content }
    }

    /// One line of many.
    fn envelope(&mut self, kind: TargetKind<'a>, form: Form) -> Schema {
        let members = [("result", self.schema_of(kind, form)), ("error", Schema::reference(STATUS))];
        Schema::object(members)
            .described("One of many: each holds a reply, and where the call fails, the last one holds the error.")
    }

    /// One event of many.
    fn event(&mut self, kind: TargetKind<'a>, form: Form) -> Schema {
        let data = Schema {
            content_media_type: Some("application/json"),
            content_schema: Some(Box::new(self.schema_of(kind, form))),
            ..Schema::of(Type::String)
        };
        let members = [("data", data), ("event", Schema::of(Type::String)), ("id", Schema::of(Type::String))];
        Schema::object(members).described(
            "One event of many: each has a reply as its data, and the last one is an event `status` whose data is a \
             google.rpc.Status.",
        )
    }

    fn schema_of(&mut self, kind: TargetKind<'a>, form: Form) -> Schema {
        match kind {
            TargetKind::Message(index) => self.schemas.message(index, form),
            TargetKind::Field(field) => self.schemas.kind(field.kind(), form),
            TargetKind::HttpBody => Schema::default(),
        }
    }

    fn is_deprecated(&self, method: &Method) -> bool {
        let Some(service) = self.schema.pool().service_by_name(&method.service) else { return false };
        let own = service.method(&method.name).and_then(|method| method.options());
        own.is_some_and(|options| options.deprecated == Some(true))
            || service.options().is_some_and(|options| options.deprecated == Some(true))
    }
}

/// A form with a file, or with several; where the file is all of the request, no field has a name for it.
fn upload(name: &str, several: bool) -> Schema {
    let file = Schema { content_media_type: Some("application/octet-stream"), ..Schema::default() };
    let file = if several { Schema::array(file) } else { file };
    Schema::object([(if name.is_empty() { "file" } else { name }, file)])
        .described("Fields of the request may stand before it, by their names.")
}

/// JSON at a unary method's own path is Connect's, and so are its errors.
fn error_of(rule: &Rule<'_>) -> &'static str {
    let is_unary = !rule.method.client_streaming && !rule.method.server_streaming;
    match rule.place.is_none() && is_unary {
        true => "#/components/responses/ConnectError",
        false => "#/components/responses/Error",
    }
}

/// The answers to calls that fail.
pub(super) fn errors(operations: &[Operation]) -> BTreeMap<&'static str, Response> {
    let mut errors = BTreeMap::from([("Error", error(Schema::reference(STATUS)))]);
    if operations.iter().any(|operation| operation.rule.is_none()) {
        errors.insert("ConnectError", error(connect_error()));
    }
    errors
}

fn connect_error() -> Schema {
    let text = || Schema::of(Type::String);
    let detail = Schema::object([
        ("type", text().described("The full name of a message.")),
        ("value", text().described("The message in protobuf, as base64 without padding.")),
        ("debug", Schema::default().described("The message in JSON, for people to read.")),
    ]);
    Schema::object([
        ("code", text().described("As `not_found`.")),
        ("message", text()),
        ("details", Schema::array(detail)),
    ])
}

fn error(json: Schema) -> Response {
    let text = || Schema::of(Type::String);
    let problem = Schema::object([
        ("type", text()),
        ("title", text()),
        ("status", Schema::of(Type::Integer)),
        ("detail", text()),
        ("code", text().described("The name of the gRPC status code.")),
        ("details", Schema::array(Schema::of(Type::Object))),
    ]);
    Response {
        description: "The call failed.",
        content: Content::from([
            ("application/json", json.into()),
            ("application/x-protobuf", MediaType::default()),
            ("application/problem+json", problem.described("Where the request asks for it (RFC 9457).").into()),
        ]),
    }
}
