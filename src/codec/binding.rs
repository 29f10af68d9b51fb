//! What a route binds: which fields the path, the body and the answer stand for. Knows nothing of one call's values.

use std::{borrow::Cow, fmt, sync::Arc};

use smallvec::SmallVec;

use crate::{
    config::{OutputSettings, UnknownFields},
    limits::DEPTH_MAX,
};

use super::{
    Codec,
    bound::{Bound, QueryMode, message_of},
    error::{Flaw, InputError, OutputError},
    events::Events,
    form::Slot,
    gather::{Found, join},
    output::{self, Output, Stop},
    patch::UpdateMask,
    plan::{Field, Kind, LENGTH, PlanId, Shape, Special},
    protobuf::{Raw, Tag, Wire},
    query::Claims,
};

/// What a method's rule binds, compiled once.
#[derive(Clone, Debug)]
pub struct Binding {
    pub(super) input: PlanId,
    pub(super) output: PlanId,
    pub(super) variables: Box<[Variable]>,
    pub(super) body: Body,
    response: Option<Path>,
    /// Numbers and wire types of the fields on the way to the reply's `google.api.HttpBody`.
    response_tags: Box<[Tag]>,
    pub(super) update_mask: Option<UpdateMask>,
    pub(super) unknown_fields: UnknownFields,
    /// None: event streams have no ids and no names.
    pub(super) events: Option<Arc<Events>>,
    /// Where the bytes of the body go as they are.
    pub(super) http_body: Option<Slot>,
    reply_http_body: bool,
}

/// A variable of the path template.
#[derive(Clone, Debug)]
pub(super) struct Variable {
    pub(super) name: Box<str>,
    pub(super) path: Path,
}

/// What the HTTP body is of the request message.
#[derive(Clone, Debug)]
pub(super) enum Body {
    None,
    Whole,
    Field(Path),
}

/// A field reached through messages, from the outermost.
pub(super) type Path = SmallVec<[Step; 2]>;

/// One field of one message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) plan: PlanId,
    pub(super) place: usize,
}

impl Step {
    pub(super) fn field<'c>(&self, codec: &'c Codec) -> &'c Field {
        &codec.get(self.plan).fields[self.place]
    }
}

/// A rule that does not fit its method's messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BindingError(String);

impl BindingError {
    pub(super) fn new(what: &str, name: &str, text: &str) -> Self {
        Self(format!("{what} {name}: {text}"))
    }
}

impl fmt::Display for BindingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BindingError {}

/// A `google.api.HttpBody`: bytes of a type of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HttpBody<'a> {
    pub content_type: &'a str,
    pub data: &'a [u8],
}

impl Binding {
    /// `variables`: the field paths of the template's variables in order; `body`: none, `*` or a field path;
    /// `response_body`: none or a field path.
    ///
    /// # Errors
    /// A path that is not in the message, or leads to what cannot be bound there.
    pub fn compile(
        codec: &Codec,
        input: PlanId,
        output: PlanId,
        variables: &[&str],
        body: Option<&str>,
        response_body: Option<&str>,
    ) -> Result<Self, BindingError> {
        let wrong = BindingError::new;
        let mut claims = Claims::default();
        let mut bound = Vec::with_capacity(variables.len());
        for name in variables {
            let path = resolve(codec, input, name).map_err(|flaw| wrong("variable", name, &flaw.text()))?;
            check_variable(codec, &path).map_err(|text| wrong("variable", name, text))?;
            claims.claim(codec, &path, None).map_err(|text| wrong("variable", name, &text))?;
            bound.push(Variable { name: (*name).into(), path });
        }
        let body = match body {
            None | Some("") => Body::None,
            Some("*") => Body::Whole,
            Some(name) => {
                let path = resolve(codec, input, name).map_err(|flaw| wrong("body", name, &flaw.text()))?;
                if bound.iter().any(|variable| variable.path == path) {
                    return Err(wrong("body", name, "the field is bound by the path"));
                }
                claims.claim_body(codec, &path).map_err(|text| wrong("body", name, &text))?;
                Body::Field(path)
            }
        };
        let response = match response_body {
            None | Some("") => None,
            Some(name) => {
                Some(resolve(codec, output, name).map_err(|flaw| wrong("response_body", name, &flaw.text()))?)
            }
        };
        let http_body = match &body {
            Body::None => None,
            Body::Whole => is_http_body(codec, Some(input)).then(|| Slot::http_body(Path::new())),
            Body::Field(path) => is_http_body(codec, target(codec, path)).then(|| Slot::http_body(path.clone())),
        };
        let response_tags = (response.iter().flatten())
            .map(|step| step.field(codec))
            .map(|field| Tag { number: field.number, wire_type: field.kind.wire_type() })
            .collect();
        let reply = response.as_ref().map_or(Some(output), |path| target(codec, path));
        Ok(Self {
            input,
            output,
            variables: bound.into(),
            body,
            response,
            response_tags,
            update_mask: None,
            unknown_fields: UnknownFields::Reject,
            events: None,
            http_body,
            reply_http_body: is_http_body(codec, reply),
        })
    }

    /// For `/pkg.Service/Method`: the body is the whole message, and so is the answer. Raw bytes of a
    /// `google.api.HttpBody` are told by [`Binding::compile`] with body `*` instead.
    pub fn whole(input: PlanId, output: PlanId) -> Self {
        Self {
            input,
            output,
            variables: Box::default(),
            body: Body::Whole,
            response: None,
            response_tags: Box::default(),
            update_mask: None,
            unknown_fields: UnknownFields::Reject,
            events: None,
            http_body: None,
            reply_http_body: false,
        }
    }

    /// For PATCH: where the body is a message field and the request has a FieldMask `update_mask` that a call leaves
    /// unset, it is filled with the paths that the JSON body gives.
    #[must_use]
    pub fn with_update_mask(mut self, codec: &Codec) -> Self {
        if let Body::Field(body) = &self.body {
            self.update_mask = UpdateMask::new(codec, self.input, body, &self.variables);
        }
        self
    }

    /// For a route on which requests may give what the message does not have.
    #[must_use]
    pub fn with_unknown_fields(mut self, unknown_fields: UnknownFields) -> Self {
        self.unknown_fields = unknown_fields;
        self
    }

    /// True where a body selector is present.
    pub fn takes_body(&self) -> bool {
        !matches!(self.body, Body::None)
    }

    /// True where what the HTTP body maps to is a message, which can be given in protobuf.
    pub fn request_is_message(&self, codec: &Codec) -> bool {
        match &self.body {
            Body::None => false,
            Body::Whole => true,
            Body::Field(path) => path.last().is_some_and(|step| message_of(codec, step).is_some()),
        }
    }

    /// True where what the reply maps to is a message, which can be told in protobuf.
    pub fn reply_is_message(&self, codec: &Codec) -> bool {
        let last = self.response.as_ref().map(|path| path.last());
        last.is_none_or(|last| last.is_some_and(|step| message_of(codec, step).is_some()))
    }

    /// True where what the HTTP body maps to is `google.api.HttpBody`.
    pub fn request_http_body(&self) -> bool {
        self.http_body.is_some()
    }

    /// True where a form can give what the HTTP body maps to.
    pub fn takes_form(&self, codec: &Codec) -> bool {
        self.form_root(codec).is_some()
    }

    /// The message whose fields a form's fields are, and the way to it. Beside a file as the body they are the request's.
    pub(super) fn form_root(&self, codec: &Codec) -> Option<(&[Step], PlanId)> {
        match &self.body {
            Body::None => None,
            _ if self.http_body.is_some() => Some((&[], self.input)),
            Body::Whole => (codec.get(self.input).special == Special::None).then_some((&[], self.input)),
            Body::Field(path) => Some((path, target(codec, path)?)),
        }
    }

    /// True where what the reply maps to is `google.api.HttpBody`.
    pub fn reply_http_body(&self) -> bool {
        self.reply_http_body
    }

    /// Binds what the URL gives, once per call: `captures` percent-decoded and in the order of the variables, `query`
    /// as it stands in the URL without its `?`.
    ///
    /// # Errors
    /// A capture or parameter that does not fit its field, a parameter that is unknown, given twice, bound by the path or
    /// part of the body.
    pub fn bind(
        &self,
        codec: &Codec,
        captures: &[&str],
        query: Option<&str>,
        mode: QueryMode,
    ) -> Result<Bound, InputError> {
        Bound::new(codec, self, captures, query, mode)
    }

    /// Appends a reply as JSON, or what the rule's `response_body` picks of it.
    ///
    /// # Errors
    /// As [`Codec::wire_to_json`].
    pub fn write_reply(
        &self,
        codec: &Codec,
        wire: &[u8],
        options: OutputSettings,
        out: &mut Vec<u8>,
    ) -> Result<(), OutputError> {
        match &self.response {
            None => codec.wire_to_json(self.output, wire, options, out),
            Some(path) => output::write(codec, options, out, |output| output.picked(wire, path, 1)),
        }
    }

    /// A reply in protobuf, or the message that the rule's `response_body` picks of it; empty where that is not there.
    ///
    /// # Errors
    /// What is no sound message of its type, as far as it was picked from.
    pub fn reply_protobuf<'w>(&self, codec: &Codec, wire: &'w [u8]) -> Result<Cow<'w, [u8]>, OutputError> {
        let output = Output { codec, settings: OutputSettings::default(), out: &mut Vec::new(), gathers: true };
        let mut picked = Cow::Borrowed(wire);
        for step in self.response.iter().flatten() {
            picked = Cow::Owned(join(&output.appearances(&picked, step)?)?);
        }
        Ok(picked)
    }

    /// The bytes of a reply that maps to `google.api.HttpBody`, with their content type.
    ///
    /// # Errors
    /// What is no sound message of its type.
    pub fn read_http_body<'a>(&self, wire: &'a [u8]) -> Result<HttpBody<'a>, OutputError> {
        let mut body = HttpBody { content_type: "", data: b"" };
        read_http_body(wire, &self.response_tags, &mut body)?;
        Ok(body)
    }
}

/// The path of a field, by proto or JSON names.
pub(super) fn resolve(codec: &Codec, root: PlanId, name: &str) -> Result<Path, Flaw> {
    let mut path = Path::new();
    let mut next = Some(root);
    for segment in segments(name) {
        let Some(id) = next else {
            let last = path.last().map_or("", |step| &*step.field(codec).proto_name);
            return Err(Flaw::Wrong(format!("{last} is no message whose fields could be given one by one")));
        };
        let plan = codec.get(id);
        let Some(place) = plan.by_name(segment.as_bytes(), 0) else {
            return Err(Flaw::Unknown(format!("{} has no such field", plan.name)));
        };
        if path.len() + 1 >= DEPTH_MAX {
            return Err(Flaw::Wrong("nested more than 100 levels deep".to_owned()));
        }
        let step = Step { plan: id, place };
        next = inside(codec, step.field(codec));
        path.push(step);
    }
    Ok(path)
}

/// The names of a path; that of an extension stands in brackets and has dots of its own.
fn segments(path: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(path);
    std::iter::from_fn(move || {
        let text = rest?;
        let end = if text.starts_with('[') { text.find("].").map(|close| close + 1) } else { text.find('.') };
        rest = end.and_then(|end| text.get(end + 1..));
        text.get(..end.unwrap_or(text.len()))
    })
}

/// The message that a path may go on into.
fn inside(codec: &Codec, field: &Field) -> Option<PlanId> {
    match (field.shape, field.kind) {
        (Shape::Single { .. }, Kind::Message(id) | Kind::Group(id)) => {
            (codec.get(id).special == Special::None).then_some(id)
        }
        _ => None,
    }
}

fn check_variable(codec: &Codec, path: &Path) -> Result<(), &'static str> {
    let Some(field) = path.last().map(|step| step.field(codec)) else { return Err("the path is empty") };
    match (field.shape, field.kind) {
        (Shape::Single { .. }, Kind::Message(id)) => match codec.get(id).special {
            Special::Timestamp | Special::Duration | Special::Wrapper => Ok(()),
            _ => Err("a message cannot be given in a path"),
        },
        (Shape::Single { .. }, Kind::Group(_)) => Err("a message cannot be given in a path"),
        (Shape::Single { .. }, _) => Ok(()),
        _ => Err("a repeated field cannot be given in a path"),
    }
}

/// The message at the end of a path.
fn target(codec: &Codec, path: &Path) -> Option<PlanId> {
    inside(codec, path.last()?.field(codec))
}

pub(super) fn is_http_body(codec: &Codec, id: Option<PlanId>) -> bool {
    id.is_some_and(|id| &*codec.get(id).name == "google.api.HttpBody")
}

/// Goes through all appearances in order, so that the last value of each field counts, as protobuf merges messages.
fn read_http_body<'a>(wire: &'a [u8], path: &[Tag], body: &mut HttpBody<'a>) -> Result<(), OutputError> {
    let mut wire = Wire::new(wire);
    while let Some(tag) = wire.tag()? {
        match (path.split_first(), tag, wire.value(tag)?) {
            (Some((next, rest)), tag, Raw::Bytes(bytes)) if tag == *next => read_http_body(bytes, rest, body)?,
            (None, Tag { number: 1, wire_type: LENGTH }, Raw::Bytes(bytes)) => {
                body.content_type = simdutf8::basic::from_utf8(bytes)
                    .map_err(|_| OutputError::new("a string that is not UTF-8").within("contentType"))?;
            }
            (None, Tag { number: 2, wire_type: LENGTH }, Raw::Bytes(bytes)) => body.data = bytes,
            _ => {}
        }
    }
    Ok(())
}

impl Output<'_> {
    /// What a path picks of a message, of any kind, as one JSON value.
    fn picked(&mut self, wire: &[u8], path: &[Step], depth: usize) -> Result<(), Stop> {
        let Some((step, rest)) = path.split_first() else { return Ok(()) };
        let codec = self.codec;
        let field = step.field(codec);
        let found = self.appearances(wire, step)?;
        if !rest.is_empty() {
            return self.picked(&join(&found)?, rest, depth + 1);
        }
        if found.is_empty() { self.absent(field, depth) } else { self.run_value(field, &found, depth) }
    }

    /// Where one field stands in a message.
    fn appearances<'w>(&self, wire: &'w [u8], step: &Step) -> Result<Vec<Found<'w>>, OutputError> {
        let mut found = self.gather(self.codec.get(step.plan), wire)?;
        found.retain(|found| found.place == step.place);
        Ok(found)
    }

    /// What stands for a picked field that is not there.
    fn absent(&mut self, field: &Field, depth: usize) -> Result<(), Stop> {
        match (field.shape, field.kind) {
            (Shape::Single { .. }, Kind::Message(id) | Kind::Group(id)) => match self.codec.get(id).special {
                Special::None | Special::MessageSet | Special::Struct | Special::ListValue => {
                    return self.value(field.kind, Raw::Bytes(b""), depth);
                }
                _ => self.out.extend_from_slice(b"null"),
            },
            (Shape::Single { presence: true }, _) => self.out.extend_from_slice(b"null"),
            _ => self.default_value(field),
        }
        Ok(())
    }
}
