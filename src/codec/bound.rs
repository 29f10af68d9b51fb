//! The values that a URL gives, encoded once per call, and joined with each message's body. Knows nothing of URLs' syntax.

use super::{
    Codec,
    binding::{Binding, Body, Path, Step},
    error::{InputError, OutputError, Place},
    form::{Form, Label, Slot},
    input,
    plan::{GROUP_END, Kind, Plan, PlanId, Shape},
    protobuf::{close, open, put_varint},
    query::{self, Claims, append_value},
    survey,
    unknown::{LeftOut, Unknown},
    validate,
};

/// What a query does beside a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QueryMode {
    /// A field is given by the query or by the body, never by both; with body `*` there is no query.
    Strict,
    /// The query fills what a message leaves unset.
    Fill,
}

/// The values of one call's path and query.
#[derive(Debug)]
pub struct Bound {
    /// In canonical order.
    leaves: Vec<Leaf>,
    /// All leaves as one message.
    whole: Vec<u8>,
    mode: QueryMode,
    /// The field that says after which event the call goes on; it stands last, and so has the last word.
    resume: Vec<u8>,
    pub(super) unknown: Unknown,
}

/// One value, which a path or a query gives.
#[derive(Debug)]
pub(super) struct Leaf {
    pub(super) path: Path,
    /// The field with its tag; nothing where the value is the default of a field without presence.
    pub(super) payload: Vec<u8>,
    /// The variable's place, where the path gives it.
    pub(super) variable: Option<usize>,
}

impl Bound {
    pub(super) fn new(
        codec: &Codec,
        binding: &Binding,
        captures: &[&str],
        query: Option<&str>,
        mode: QueryMode,
    ) -> Result<Self, InputError> {
        let mut leaves = Vec::with_capacity(captures.len());
        for (place, variable) in binding.variables.iter().enumerate() {
            let wrong = |text: String| InputError::new(Place::Path { variable: variable.name.to_string() }, text);
            let Some(capture) = captures.get(place) else { return Err(wrong("the path gives no value".to_owned())) };
            let Some(step) = variable.path.last() else { continue };
            let mut payload = Vec::with_capacity(capture.len() + 8);
            append_value(codec, step.field(codec), None, capture.as_bytes(), &mut payload).map_err(wrong)?;
            leaves.push(Leaf { path: variable.path.clone(), payload, variable: Some(place) });
        }
        let mut unknown = Unknown::new(binding.unknown_fields);
        if let Some(query) = query {
            let mut claims = Claims::default();
            for variable in &binding.variables {
                // Never fails: the rule was checked when it was compiled.
                let _ = claims.claim(codec, &variable.path, None);
            }
            let admit = |path: &Path| admit(binding, mode, path);
            query::parse(codec, binding.input, query, &mut claims, admit, &mut unknown, &mut leaves)?;
        }
        sort(&mut leaves);
        let mut whole = Vec::new();
        encode(codec, &leaves.iter().collect::<Vec<_>>(), 0, &mut whole);
        Ok(Self { leaves, whole, mode, resume: Vec::new(), unknown })
    }

    /// Makes the call go on after the last event that its client saw, whatever its messages say of that themselves.
    ///
    /// # Errors
    /// An id that the field which the route names for it cannot hold.
    pub fn resume(&mut self, codec: &Codec, binding: &Binding, event_id: &str) -> Result<(), InputError> {
        self.resume.clear();
        binding.resume(codec, event_id, &mut self.resume)
    }

    /// What the call gave that its message does not have, as far as it was left out since this was asked last.
    pub fn take_left_out(&mut self) -> LeftOut {
        self.unknown.take_left_out()
    }

    /// Appends one request message, of path, query and the JSON body (none: no body was sent). What was appended before an
    /// error means nothing.
    ///
    /// # Errors
    /// A body that is not sound JSON of its message, or gives another value than the path; any body where the rule takes
    /// none.
    pub fn message(
        &mut self,
        codec: &Codec,
        binding: &Binding,
        body: Option<&[u8]>,
        out: &mut Vec<u8>,
    ) -> Result<(), InputError> {
        let from = out.len();
        if let Some(json) = body.filter(|body| !body.is_empty()) {
            match &binding.body {
                Body::None => return Err(no_body()),
                Body::Whole => codec.json_to_wire_with(binding.input, json, &mut self.unknown, out)?,
                Body::Field(path) => {
                    let unknown = &mut self.unknown;
                    within(codec, path, out, |step, out| {
                        unknown.read(out, |spare, out| input::field(codec, step.field(codec), json, spare, out))
                    })?;
                    if let Some(mask) = &binding.update_mask
                        && !self.gives_mask(mask.field)
                    {
                        mask.append(codec, json, out)?;
                    }
                }
            }
        }
        self.complete(codec, binding, from, out)
    }

    /// The same where the HTTP body maps to `google.api.HttpBody`: raw bytes with their content type.
    ///
    /// # Errors
    /// As [`Bound::message`].
    pub fn http_body(
        &self,
        codec: &Codec,
        binding: &Binding,
        content_type: &str,
        data: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), InputError> {
        let Some(slot) = &binding.http_body else { return Err(no_body()) };
        self.file(codec, binding, slot, &Label { content_type, ..Label::default() }, data, out)
    }

    /// The same with a file, or a piece of one, and what is told of it.
    ///
    /// # Errors
    /// As [`Bound::message`].
    pub fn file(
        &self,
        codec: &Codec,
        binding: &Binding,
        slot: &Slot,
        label: &Label<'_>,
        data: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), InputError> {
        let from = out.len();
        slot.write(codec, label, data, |path| self.gives(path), out)?;
        self.complete(codec, binding, from, out)
    }

    /// The same where the body is a form.
    ///
    /// # Errors
    /// A value that differs from the path's.
    pub fn form(&self, codec: &Codec, binding: &Binding, form: Form, out: &mut Vec<u8>) -> Result<(), InputError> {
        let from = out.len();
        let mask = binding.update_mask.as_ref();
        let mask = mask.filter(|mask| binding.http_body.is_none() && !self.gives_mask(mask.field));
        form.write(codec, binding, mask, out);
        self.complete(codec, binding, from, out)
    }

    /// The same with what the body stands for already in protobuf.
    ///
    /// # Errors
    /// As [`Bound::message`]; bytes that are no sound message.
    pub fn protobuf(&self, codec: &Codec, binding: &Binding, wire: &[u8], out: &mut Vec<u8>) -> Result<(), InputError> {
        let from = out.len();
        let write = |plan: &Plan, out: &mut Vec<u8>| {
            validate::message(codec, plan, wire, 1).map_err(OutputError::into_input)?;
            out.extend_from_slice(wire);
            Ok(())
        };
        match &binding.body {
            Body::None if wire.is_empty() => {}
            Body::None => return Err(no_body()),
            Body::Whole => write(codec.get(binding.input), out)?,
            Body::Field(path) => within(codec, path, out, |step, out| match message_of(codec, step) {
                Some(id) => as_message(codec, step, out, |out| write(codec.get(id), out)),
                None => Err(InputError::message("", "the body is no message here, so it cannot be given in protobuf")),
            })?,
        }
        self.complete(codec, binding, from, out)
    }

    /// Whether the URL gives this field.
    pub(super) fn gives(&self, path: &[Step]) -> bool {
        self.leaves.iter().any(|leaf| *leaf.path == *path)
    }

    fn gives_mask(&self, mask: Step) -> bool {
        self.leaves.iter().any(|leaf| leaf.path.first() == Some(&mask))
    }

    /// Joins what the body gave, which stands in `out` behind `from`, with what the URL gives.
    fn complete(&self, codec: &Codec, binding: &Binding, from: usize, out: &mut Vec<u8>) -> Result<(), InputError> {
        self.join(codec, binding, from, out)?;
        out.extend_from_slice(&self.resume);
        Ok(())
    }

    fn join(&self, codec: &Codec, binding: &Binding, from: usize, out: &mut Vec<u8>) -> Result<(), InputError> {
        let body = out.get(from..).unwrap_or_default();
        if body.is_empty() || self.leaves.is_empty() {
            out.extend_from_slice(&self.whole);
            return Ok(());
        }
        let mut kept: Vec<&Leaf> = Vec::with_capacity(self.leaves.len());
        let said = survey::of(codec, body, &self.leaves).map_err(OutputError::into_input)?;
        for (leaf, said) in self.leaves.iter().zip(said) {
            match leaf.variable {
                // The message says the same, or nothing: the path has the last word.
                Some(_) if !said.differs && !said.rival => kept.push(leaf),
                Some(place) => {
                    let name = binding.variables.get(place).map_or("", |variable| &*variable.name);
                    return Err(InputError::message(name, "the body gives another value than the path"));
                }
                None if !said.present && !said.rival => kept.push(leaf),
                None if self.mode == QueryMode::Fill => {}
                None => {
                    let name = leaf.path.last().map_or("", |step| &*step.field(codec).proto_name);
                    return Err(InputError::message(name, "the body and the query both give this field, or its oneof"));
                }
            }
        }
        if kept.len() == self.leaves.len() {
            out.extend_from_slice(&self.whole);
        } else {
            encode(codec, &kept, 0, out);
        }
        Ok(())
    }
}

/// Whether a query may give a field.
fn admit(binding: &Binding, mode: QueryMode, path: &Path) -> Result<(), &'static str> {
    if binding.variables.iter().any(|variable| variable.path == *path) {
        return Err("the field is bound by the path");
    }
    match &binding.body {
        Body::Whole if mode == QueryMode::Strict => {
            Err("the body is the whole message, so there are no query parameters")
        }
        Body::Field(body) if mode == QueryMode::Strict && path.starts_with(body) => {
            Err("the field is part of the body")
        }
        _ => Ok(()),
    }
}

fn no_body() -> InputError {
    InputError::message("", "this method takes no body")
}

/// Writes the messages round the last field of a path, and that field by `write`.
pub(super) fn within(
    codec: &Codec,
    path: &[Step],
    out: &mut Vec<u8>,
    write: impl FnOnce(&Step, &mut Vec<u8>) -> Result<(), InputError>,
) -> Result<(), InputError> {
    match path {
        [] => Ok(()),
        [last] => write(last, out),
        [step, rest @ ..] => as_message(codec, step, out, |out| within(codec, rest, out, write)),
    }
}

/// Writes a message field: its tag, what `write` appends, and its length or end.
pub(super) fn as_message(
    codec: &Codec,
    step: &Step,
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), InputError>,
) -> Result<(), InputError> {
    let field = step.field(codec);
    out.extend_from_slice(field.tag());
    if let Kind::Group(_) = field.kind {
        write(out)?;
        put_varint(u64::from(field.number) << 3 | u64::from(GROUP_END), out);
    } else {
        let from = open(out);
        write(out)?;
        close(from, out);
    }
    Ok(())
}

/// The message that a field is, where it is one and no list or map of them.
pub(super) fn message_of(codec: &Codec, step: &Step) -> Option<PlanId> {
    let field = step.field(codec);
    match (field.shape, field.kind) {
        (Shape::Single { .. }, Kind::Message(id) | Kind::Group(id)) => Some(id),
        _ => None,
    }
}

/// Brings leaves into canonical order; elements of a list stay in theirs.
pub(super) fn sort(leaves: &mut [Leaf]) {
    leaves.sort_by(|a, b| a.path.iter().map(|step| step.place).cmp(b.path.iter().map(|step| step.place)));
}

/// Appends leaves, which are in canonical order and the same down to `level`, as one message.
pub(super) fn encode(codec: &Codec, leaves: &[&Leaf], level: usize, out: &mut Vec<u8>) {
    for run in leaves.chunk_by(|a, b| a.path.get(level) == b.path.get(level)) {
        let Some((step, first)) = run.first().and_then(|first| Some((first.path.get(level)?, first))) else { continue };
        if first.path.len() == level + 1 {
            run.iter().for_each(|leaf| out.extend_from_slice(&leaf.payload));
        } else {
            let nested = as_message(codec, step, out, |out| {
                encode(codec, run, level + 1, out);
                Ok(())
            });
            debug_assert!(nested.is_ok());
        }
    }
}
