//! What an event stream is told of its messages beside their JSON: ids and names; and how one goes on after an id. Knows
//! nothing of how events are written.

use super::{
    Codec,
    binding::{Binding, BindingError, Path, Step, resolve},
    bound::{message_of, within},
    error::{InputError, OutputError, Place},
    output::{self, Output},
    plan::{Kind, LENGTH, Plan, PlanId, Shape},
    protobuf::{Raw, Tag, Wire},
    query::append_value,
};
use crate::config::{EventStream, OutputSettings};

/// Compiled from [`EventStream`].
#[derive(Clone, Debug, Default)]
pub(super) struct Events {
    id: Option<Path>,
    name: Option<Name>,
    /// The field of the request that takes the last event's id.
    resume: Option<Path>,
}

/// Where an event's name comes from.
#[derive(Clone, Debug)]
enum Name {
    Field(Path),
    /// The member that is set of a oneof of the message at the end of the path.
    Oneof {
        path: Path,
        plan: PlanId,
        oneof: u16,
    },
}

/// What stands at the end of a path.
#[derive(Clone, Copy)]
enum Seen<'w> {
    /// A message on the way is not there.
    Nothing,
    /// The messages on the way are, the field is not.
    Absent,
    Value(Raw<'w>),
}

impl Events {
    fn compile(codec: &Codec, binding: &Binding, settings: &EventStream) -> Result<Self, BindingError> {
        let mut events = Self::default();
        if let Some(resume) = &settings.resume {
            events.id = Some(scalar(codec, binding.output, "event_id", &resume.event_id)?);
            let path = scalar(codec, binding.input, "request", &resume.request)?;
            if binding.variables.iter().any(|variable| variable.path == path) {
                return Err(BindingError::new("request", &resume.request, "the field is bound by the path"));
            }
            events.resume = Some(path);
        }
        if let Some(name) = &settings.event {
            events.name = Some(match oneof(codec, binding.output, name) {
                Some(oneof) => oneof,
                None => Name::Field(scalar(codec, binding.output, "event", name)?),
            });
        }
        Ok(events)
    }
}

impl Binding {
    /// For a route whose event streams have ids or names.
    ///
    /// # Errors
    /// A path that is not in its message, or leads to what no line of text can tell.
    pub fn with_events(mut self, codec: &Codec, settings: &EventStream) -> Result<Self, BindingError> {
        let events = Events::compile(codec, &self, settings)?;
        self.events = (*settings != EventStream::default()).then(|| events.into());
        Ok(self)
    }

    /// True where a call can go on after the last event that its client saw.
    pub fn resumes(&self) -> bool {
        self.events.as_ref().is_some_and(|events| events.resume.is_some())
    }

    /// Appends the id of a reply's event as plain text; nothing where it has none.
    ///
    /// # Errors
    /// What is no sound message, as far as it was looked at.
    pub fn event_id(&self, codec: &Codec, wire: &[u8], out: &mut Vec<u8>) -> Result<(), OutputError> {
        match self.events.as_ref().and_then(|events| events.id.as_ref()) {
            Some(path) => field_text(codec, path, wire, out),
            None => Ok(()),
        }
    }

    /// The same of its name.
    ///
    /// # Errors
    /// As [`Binding::event_id`].
    pub fn event_name(&self, codec: &Codec, wire: &[u8], out: &mut Vec<u8>) -> Result<(), OutputError> {
        match self.events.as_ref().and_then(|events| events.name.as_ref()) {
            Some(Name::Field(path)) => field_text(codec, path, wire, out),
            Some(Name::Oneof { path, plan, oneof }) => {
                let mut case = None;
                find_case(codec, path, codec.get(*plan), *oneof, wire, &mut case)?;
                out.extend_from_slice(case.unwrap_or_default().as_bytes());
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// The request that goes on after a reply to this one; none where the reply has no id.
    pub fn request_after(&self, codec: &Codec, request: &[u8], reply: &[u8]) -> Option<Vec<u8>> {
        let mut id = Vec::new();
        self.event_id(codec, reply, &mut id).ok()?;
        let id = std::str::from_utf8(&id).ok().filter(|id| !id.is_empty())?;
        let mut request = request.to_vec();
        self.resume(codec, id, &mut request).ok()?;
        Some(request)
    }

    /// Appends the request field that makes a call go on after the event of this id. Behind a message, it takes the place of
    /// what that gave.
    pub(super) fn resume(&self, codec: &Codec, id: &str, out: &mut Vec<u8>) -> Result<(), InputError> {
        let Some(path) = self.events.as_ref().and_then(|events| events.resume.as_ref()) else { return Ok(()) };
        within(codec, path, out, |step, out| {
            let field = step.field(codec);
            append_value(codec, field, None, id.as_bytes(), out).map_err(|text| InputError::new(Place::EventId, text))
        })
    }
}

/// The path of a field that a line of text can tell, and tell back.
fn scalar(codec: &Codec, root: PlanId, what: &str, name: &str) -> Result<Path, BindingError> {
    let path = resolve(codec, root, name).map_err(|flaw| BindingError::new(what, name, &flaw.text()))?;
    match path.last().map(|step| step.field(codec)).map(|field| (field.shape, field.kind)) {
        Some((
            Shape::Single { .. },
            Kind::Message(_) | Kind::Group(_) | Kind::Double | Kind::Float | Kind::Bool | Kind::Null,
        ))
        | Some((Shape::List { .. } | Shape::Map { .. }, _))
        | None => Err(BindingError::new(what, name, "only an integer, a string, bytes or an enum can stand here")),
        Some((Shape::Single { .. }, _)) => Ok(path),
    }
}

/// A oneof by its name, whose message the path before its last segment leads to.
fn oneof(codec: &Codec, root: PlanId, name: &str) -> Option<Name> {
    let (path, plan, last) = match name.rsplit_once('.') {
        Some((before, last)) => {
            let path = resolve(codec, root, before).ok()?;
            let step = path.last().copied()?;
            (path, message_of(codec, &step)?, last)
        }
        None => (Path::new(), root, name),
    };
    let oneof = codec.get(plan).oneofs.iter().position(|oneof| **oneof == *last)?;
    Some(Name::Oneof { path, plan, oneof: u16::try_from(oneof).ok()? })
}

/// Appends the value at the end of a path as plain text: numbers in decimal, an enum's name, bytes in base64.
fn field_text(codec: &Codec, path: &[Step], wire: &[u8], out: &mut Vec<u8>) -> Result<(), OutputError> {
    let mut seen = Seen::Nothing;
    find(codec, path, wire, &mut seen)?;
    let Some(field) = path.last().map(|step| step.field(codec)) else { return Ok(()) };
    let value = match seen {
        Seen::Value(value) => value,
        // The default is what stands for nothing on the wire.
        Seen::Absent if !field.has_presence() && field.kind.wire_type() != LENGTH => Raw::Bits(0),
        Seen::Absent | Seen::Nothing => return Ok(()),
    };
    match (field.kind, value) {
        (Kind::String, Raw::Bytes(text)) if simdutf8::basic::from_utf8(text).is_err() => {
            return Err(OutputError::new("a string that is not UTF-8"));
        }
        (Kind::String, Raw::Bytes(text)) => out.extend_from_slice(text),
        (_, Raw::Bytes(bytes)) => base64_simd::STANDARD.encode_append(bytes, out),
        (kind, Raw::Bits(bits)) => {
            // Without the quotes that JSON has round wide numbers and names.
            let from = out.len();
            Output { codec, settings: OutputSettings::default(), out: &mut *out, gathers: false }.number(kind, bits);
            if out.get(from) == Some(&b'"') {
                out.remove(from);
                out.pop();
            }
        }
    }
    Ok(())
}

/// Goes through all appearances in order, so that the last value counts, as protobuf merges messages; another member of a
/// oneof takes away what stood before.
fn find<'w>(codec: &Codec, path: &[Step], wire: &'w [u8], seen: &mut Seen<'w>) -> Result<(), OutputError> {
    let Some((step, rest)) = path.split_first() else { return Ok(()) };
    let (plan, field) = (codec.get(step.plan), step.field(codec));
    let without = if rest.is_empty() { Seen::Absent } else { Seen::Nothing };
    if matches!(seen, Seen::Nothing) {
        *seen = without;
    }
    let mut wire = Wire::new(wire);
    while let Some(tag) = wire.tag()? {
        let raw = wire.value(tag)?;
        if tag.number == field.number && output::form(field, tag).is_some() {
            match (rest, raw) {
                ([], raw) => *seen = Seen::Value(raw),
                (_, Raw::Bytes(inner)) => find(codec, rest, inner, seen)?,
                (_, Raw::Bits(_)) => {}
            }
        } else if field.oneof.is_some() && member(plan, tag).is_some_and(|(oneof, _)| Some(oneof) == field.oneof) {
            *seen = without;
        }
    }
    Ok(())
}

/// The name of the member that is set of a oneof.
fn find_case<'c>(
    codec: &'c Codec,
    path: &[Step],
    plan: &'c Plan,
    oneof: u16,
    wire: &[u8],
    case: &mut Option<&'c str>,
) -> Result<(), OutputError> {
    let mut wire = Wire::new(wire);
    while let Some(tag) = wire.tag()? {
        let raw = wire.value(tag)?;
        match (path.split_first(), raw) {
            (None, _) => {
                if let Some((of, name)) = member(plan, tag)
                    && of == oneof
                {
                    *case = Some(name);
                }
            }
            (Some((step, rest)), Raw::Bytes(inner))
                if tag.number == step.field(codec).number && output::form(step.field(codec), tag).is_some() =>
            {
                find_case(codec, rest, plan, oneof, inner, case)?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// The oneof that a field is a member of, and the field's name.
fn member(plan: &Plan, tag: Tag) -> Option<(u16, &str)> {
    let field = plan.fields.get(plan.by_number(tag.number, 0)?)?;
    output::form(field, tag)?;
    Some((field.oneof?, &field.json_name))
}
