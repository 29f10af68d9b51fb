//! A rule with the fields that it names found in their messages. Knows nothing of OpenAPI.

use buffa_descriptor::{DescriptorPool, FieldDescriptor, FieldKind, MessageIndex, SingularKind};
use http::Method as HttpMethod;

use super::{Operation, schemas::Form};
use crate::{
    dialect::is_safe,
    route::Template,
    schema::{HttpRule, Method, Schema, Verb},
};

/// One way to a method, and what stands where in it.
pub(super) struct Rule<'a> {
    pub(super) method: &'a Method,
    /// Its place among the method's rules.
    pub(super) place: Option<usize>,
    pub(super) verb: Verb,
    pub(super) template: Template,
    /// The fields that the path gives, each by its numbers from the outermost.
    pub(super) bound: Vec<Vec<u32>>,
    pub(super) query: Query,
    /// What the body is of the request message; none: there is no body.
    pub(super) body: Option<Target<'a>>,
    /// What the reply is of the response message.
    pub(super) reply: Target<'a>,
    pub(super) request_form: Form,
    pub(super) reply_form: Form,
}

/// What a query may give.
pub(super) enum Query {
    Nothing,
    /// All but what the path gives, and this field.
    Rest {
        but: Option<Vec<u32>>,
    },
}

/// A part of a message.
pub(super) struct Target<'a> {
    /// Its way in words, by the names of the rule.
    pub(super) name: String,
    /// Its way from the message, by numbers; empty: the message itself.
    pub(super) path: Vec<u32>,
    pub(super) kind: TargetKind<'a>,
}

#[derive(Clone, Copy)]
pub(super) enum TargetKind<'a> {
    Message(MessageIndex),
    /// Raw bytes.
    HttpBody,
    /// A field that is no single message.
    Field(&'a FieldDescriptor),
}

impl<'a> Rule<'a> {
    /// None where the rule is not one of the method: the gateway has refused that before.
    pub(super) fn new(schema: &'a Schema, operation: &Operation) -> Option<Self> {
        let method = &schema[operation.method];
        let HttpRule { verb, template, body, response_body, .. } = match operation.rule {
            Some(place) => method.rules.get(place)?.clone(),
            None => method_path(method),
        };
        let (pool, input) = (schema.pool(), method.input);
        let template = Template::parse(&template).ok()?;
        let bound = template.variables().filter_map(|path| numbers(pool, input, path)).collect();
        let query = match body.as_deref() {
            Some("*") => Query::Nothing,
            field => Query::Rest { but: field.and_then(|field| numbers(pool, input, field)) },
        };
        let has_body = !matches!(&verb, Verb::Method(verb) if is_safe(verb));
        let body = match body.as_deref().filter(|_| has_body) {
            None => None,
            Some("*") => Some(Target::message(pool, input)),
            Some(field) => Some(Target::field(pool, input, field)?),
        };
        let reply = match response_body.as_deref() {
            None => Target::message(pool, method.output),
            Some(field) => Target::field(pool, method.output, field)?,
        };
        let is_patch = matches!(&verb, Verb::Method(verb) if *verb == HttpMethod::PATCH);
        let form = |is_partial| Form { output: operation.output, is_partial };
        let (request_form, reply_form) = (form(is_patch), form(true));
        let place = operation.rule;
        Some(Self { method, place, verb, template, bound, query, body, reply, request_form, reply_form })
    }
}

impl<'a> Target<'a> {
    fn message(pool: &DescriptorPool, index: MessageIndex) -> Self {
        let is_http_body = pool.message(index).full_name() == "google.api.HttpBody";
        let kind = if is_http_body { TargetKind::HttpBody } else { TargetKind::Message(index) };
        Self { name: String::new(), path: Vec::new(), kind }
    }

    fn field(pool: &'a DescriptorPool, message: MessageIndex, path: &str) -> Option<Self> {
        let (_, field) = resolve(pool, message, path)?.pop()?;
        let kind = match field.kind() {
            FieldKind::Singular(SingularKind::Message(index)) => Self::message(pool, index).kind,
            _ => TargetKind::Field(field),
        };
        Some(Self { name: path.to_owned(), path: numbers(pool, message, path)?, kind })
    }
}

/// The fields on the way along a path, each with its message.
pub(super) fn resolve<'a>(
    pool: &'a DescriptorPool,
    message: MessageIndex,
    path: &str,
) -> Option<Vec<(MessageIndex, &'a FieldDescriptor)>> {
    let mut next = Some(message);
    let step = |name: &str| {
        let message = next?;
        let mut fields = pool.message(message).fields().iter();
        let field = fields.find(|field| field.name() == name || field.json_name() == name)?;
        next = match field.kind() {
            FieldKind::Singular(SingularKind::Message(index)) => Some(index),
            _ => None,
        };
        Some((message, field))
    };
    path.split('.').map(step).collect()
}

fn numbers(pool: &DescriptorPool, message: MessageIndex, path: &str) -> Option<Vec<u32>> {
    Some(resolve(pool, message, path)?.iter().map(|(_, field)| field.number()).collect())
}

/// `/pkg.Service/Method` as if it were a rule.
fn method_path(method: &Method) -> HttpRule {
    HttpRule {
        verb: Verb::Method(HttpMethod::POST),
        template: method.path.to_string(),
        body: Some("*".to_owned()),
        response_body: None,
        decodes_slashes: false,
        location: None,
    }
}
