//! Forms: fields by the names that a query would give them, and files into the fields that take them. Knows nothing of
//! how a form is cut into its parts.

use super::{
    Codec, PlanId,
    binding::{Binding, Path, Step, is_http_body},
    bound::{Bound, Leaf, as_message, encode, sort, within},
    error::{Flaw, InputError, Place},
    input,
    patch::{UpdateMask, names_nothing},
    plan::{Field, Kind, Shape},
    protobuf::{close, open, put_bytes},
    query::{Claims, NOT_PERCENT, decode, parameter_leaf, resolve_in},
    reader::Reader,
};

/// Most fields of one form: each may take far more memory than the two bytes that it comes in.
const FIELDS_MAX: usize = 1000;

/// What one form gives of one message.
#[derive(Debug, Default)]
pub struct Form {
    leaves: Vec<Leaf>,
    /// Files as messages of their own, which merge with the fields (protobuf encoding, "Last One Wins").
    files: Vec<u8>,
    file_paths: Vec<Path>,
    claims: Claims,
    /// Fields that were given, left out or not.
    fields: usize,
    /// Something was given that the message does not have.
    left_out: bool,
}

/// Where a file goes: a `google.api.HttpBody`, or a field of bytes.
#[derive(Clone, Debug)]
pub struct Slot {
    /// Empty: the request is the file.
    path: Path,
    is_http_body: bool,
}

/// What is told of a file beside its bytes; nothing with all its pieces but the first.
#[derive(Clone, Copy, Debug, Default)]
pub struct Label<'a> {
    pub content_type: &'a str,
    /// The name of its part of the form; empty where the file is all of a body.
    pub name: &'a str,
    pub filename: &'a str,
}

impl Form {
    /// Reads `application/x-www-form-urlencoded` (WHATWG URL §5.1), strictly.
    ///
    /// # Errors
    /// The first field that is not sound, not known, or given twice.
    pub fn urlencoded(codec: &Codec, binding: &Binding, bound: &mut Bound, body: &[u8]) -> Result<Self, InputError> {
        let text = std::str::from_utf8(body)
            .map_err(|error| InputError::body(error.valid_up_to(), "a form's text is percent-encoded UTF-8"))?;
        if text.starts_with('{') {
            // What curl sends of `-d '{…}'` without a header; no field's name begins so.
            return Err(InputError::body(
                0,
                "said to be a form, but like JSON, which needs content-type: application/json",
            ));
        }
        let (mut form, mut offset) = (Self::default(), 0);
        for pair in text.split('&') {
            if !pair.is_empty() {
                form.pair(codec, binding, bound, pair).map_err(|error| error.starting_at(offset))?;
            }
            offset += pair.len() + 1;
        }
        Ok(form)
    }

    fn pair(&mut self, codec: &Codec, binding: &Binding, bound: &mut Bound, pair: &str) -> Result<(), InputError> {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        match (decode(name), decode(value)) {
            (Some(name), Some(value)) => self.field(codec, binding, bound, &name, &value),
            _ => Err(InputError::form(name, NOT_PERCENT)),
        }
    }

    /// A field and its value as text.
    ///
    /// # Errors
    /// As a query parameter's.
    pub fn field(
        &mut self,
        codec: &Codec,
        binding: &Binding,
        bound: &mut Bound,
        name: &str,
        value: &str,
    ) -> Result<(), InputError> {
        if name == "_charset_" {
            // RFC 7578 §4.6; the one that a form may say is the one that all of it has.
            let known = value.eq_ignore_ascii_case("utf-8");
            return if known { Ok(()) } else { Err(InputError::form(name, "only UTF-8 is understood")) };
        }
        let root = self.root(codec, binding, name)?;
        let leaf = parameter_leaf(codec, root, name, value, &mut self.claims, &mut |path| admit(binding, path));
        let leaf = self.known(bound, leaf.map_err(|flaw| flaw.at(Place::of_form(name))))?;
        self.leaves.extend(leaf);
        Ok(())
    }

    /// A field of any kind and its value in JSON.
    ///
    /// # Errors
    /// As a query parameter's; what is not JSON, or not of the field.
    pub fn json(
        &mut self,
        codec: &Codec,
        binding: &Binding,
        bound: &mut Bound,
        name: &str,
        json: &[u8],
    ) -> Result<(), InputError> {
        let root = self.root(codec, binding, name)?;
        let claim = |claims: &mut Claims| {
            let path = resolve_in(codec, root, name)?;
            admit(binding, &path)?;
            claims.claim(codec, &path, None)?;
            Ok(path)
        };
        let path = claim(&mut self.claims).map_err(|flaw: Flaw| flaw.at(Place::of_form(name)));
        let Some(path) = self.known(bound, path)? else { return Ok(()) };
        let Some(field) = path.last().map(|step| step.field(codec)) else { return Ok(()) };
        let mut payload = Vec::with_capacity(json.len());
        bound.unknown.read(&mut payload, |spare, out| {
            input::field(codec, field, json, spare, out).map_err(|error| error.within(&field.proto_name))
        })?;
        if names_nothing(codec, field, &mut Reader::new(json)?) {
            self.left_out = true;
        } else {
            self.leaves.push(Leaf { path, payload, variable: None });
        }
        Ok(())
    }

    /// A whole file.
    ///
    /// # Errors
    /// One of this name was given before.
    pub fn file(
        &mut self,
        codec: &Codec,
        bound: &Bound,
        slot: &Slot,
        label: &Label<'_>,
        data: &[u8],
    ) -> Result<(), InputError> {
        let claimed = match slot.path.is_empty() {
            true if self.file_paths.is_empty() => Ok(()),
            true => Err("the request has room for one file".to_owned()),
            false => self.claims.claim(codec, &slot.path, None),
        };
        claimed.map_err(|text| InputError::form(label.name, text))?;
        self.file_paths.push(slot.path.clone());
        slot.write(codec, label, data, |path| bound.gives(path), &mut self.files)
    }

    pub fn is_empty(&self) -> bool {
        self.leaves.is_empty() && self.file_paths.is_empty()
    }

    /// None where the route lets pass that the message does not have it.
    fn known<T>(&mut self, bound: &mut Bound, found: Result<T, InputError>) -> Result<Option<T>, InputError> {
        match found {
            Err(refusal) if bound.unknown.forgives(&refusal) => {
                self.left_out = true;
                Ok(None)
            }
            found => found.map(Some),
        }
    }

    /// The message that a part's name and the rule give, for a field that is no file.
    fn root<'b>(
        &mut self,
        codec: &Codec,
        binding: &'b Binding,
        name: &str,
    ) -> Result<(&'b [Step], PlanId), InputError> {
        self.fields += 1;
        if self.fields > FIELDS_MAX {
            return Err(InputError::form(name, format!("a form has at most {FIELDS_MAX} fields")));
        }
        binding.form_root(codec).ok_or_else(|| InputError::form(name, "the body has no fields"))
    }

    /// Appends all of it as a message, with the mask of a partial update where one is wanted.
    pub(super) fn write(mut self, codec: &Codec, binding: &Binding, mask: Option<&UpdateMask>, out: &mut Vec<u8>) {
        sort(&mut self.leaves);
        // Behind the files: a field has the last word over what a file would fill in.
        out.extend_from_slice(&self.files);
        encode(codec, &self.leaves.iter().collect::<Vec<_>>(), 0, out);
        let above = binding.form_root(codec).map_or(0, |(above, _)| above.len());
        let mut paths: Vec<_> = self
            .file_paths
            .iter()
            .chain(self.leaves.iter().map(|leaf| &leaf.path))
            .filter_map(|path| path.get(above..))
            .collect();
        paths.dedup();
        // Where all that was given was left out, the mask is empty: no mask at all may mean everything.
        if let Some(mask) = mask.filter(|_| !paths.is_empty() || self.left_out) {
            mask.append_paths(codec, &paths, out);
        }
    }
}

impl Slot {
    /// Where a part of this name goes if it is a file; none where the field of that name takes none, or there is none.
    pub fn named(codec: &Codec, binding: &Binding, name: &str) -> Option<Self> {
        let path = || resolve_in(codec, binding.form_root(codec)?, name).ok();
        match &binding.http_body {
            // Where the request is the file, no field has a name for it.
            Some(body) => (body.path.is_empty() || body.path == path()?).then(|| body.clone()),
            None => Self::of(codec, path()?),
        }
    }

    /// A `google.api.HttpBody`.
    pub(super) fn http_body(path: Path) -> Self {
        Self { path, is_http_body: true }
    }

    /// A field; none where it takes no file.
    fn of(codec: &Codec, path: Path) -> Option<Self> {
        let Field { shape: Shape::Single { .. } | Shape::List { .. }, kind, .. } = path.last()?.field(codec) else {
            return None;
        };
        let is_http_body = matches!(kind, Kind::Message(id) if is_http_body(codec, Some(*id)));
        (is_http_body || *kind == Kind::Bytes).then_some(Self { path, is_http_body })
    }

    /// Appends a message in which this field is these bytes, and the string fields `filename` and `content_type` beside
    /// it, where there are any that the URL does not give, what is told of them.
    pub(super) fn write(
        &self,
        codec: &Codec,
        label: &Label<'_>,
        data: &[u8],
        given: impl Fn(&[Step]) -> bool,
        out: &mut Vec<u8>,
    ) -> Result<(), InputError> {
        let Some((_, above)) = self.path.split_last() else {
            write_http_body(label, data, out);
            return Ok(());
        };
        within(codec, &self.path, out, |step, out| {
            if self.is_http_body {
                as_message(codec, step, out, |out| {
                    write_http_body(label, data, out);
                    Ok(())
                })?;
            } else {
                out.extend_from_slice(step.field(codec).tag());
                put_bytes(data, out);
            }
            let content_type = if self.is_http_body { "" } else { label.content_type };
            for (name, value) in [("filename", label.filename), ("content_type", content_type)] {
                if let Some(beside) = text_beside(codec, step, name).filter(|_| !value.is_empty())
                    && !given(&[above, &[beside]].concat())
                {
                    out.extend_from_slice(beside.field(codec).tag());
                    put_bytes(value.as_bytes(), out);
                }
            }
            Ok(())
        })
    }
}

/// Whether a form may give a field.
fn admit(binding: &Binding, path: &Path) -> Result<(), &'static str> {
    match &binding.http_body {
        Some(body) if path.starts_with(&body.path) => Err("a file belongs here, not a field"),
        _ => Ok(()),
    }
}

/// A string field of the same message.
fn text_beside(codec: &Codec, step: &Step, name: &str) -> Option<Step> {
    let plan = codec.get(step.plan);
    let place = plan.by_name(name.as_bytes(), 0)?;
    let field = plan.fields.get(place)?;
    let is_free = matches!(field.shape, Shape::Single { .. }) && field.kind == Kind::String && field.oneof.is_none();
    is_free.then_some(Step { plan: step.plan, place })
}

/// google/api/httpbody.proto: `content_type` = 1, `data` = 2, `extensions` = 3.
fn write_http_body(label: &Label<'_>, data: &[u8], out: &mut Vec<u8>) {
    for (tag, bytes) in [(1 << 3 | 2, label.content_type.as_bytes()), (2 << 3 | 2, data)] {
        if !bytes.is_empty() {
            out.push(tag);
            put_bytes(bytes, out);
        }
    }
    if !label.name.is_empty() {
        out.push(3 << 3 | 2);
        let from = open(out);
        write_names(label, out);
        close(from, out);
    }
}

/// A `google.protobuf.Any` of a `google.protobuf.Struct`: a type that every protobuf library brings along.
fn write_names(label: &Label<'_>, out: &mut Vec<u8>) {
    out.push(1 << 3 | 2);
    put_bytes(b"type.googleapis.com/google.protobuf.Struct", out);
    out.push(2 << 3 | 2);
    let value = open(out);
    for (key, text) in [("name", label.name), ("filename", label.filename)] {
        // Struct: `fields` = 1, a map of Value; Value: `string_value` = 3.
        out.push(1 << 3 | 2);
        let entry = open(out);
        out.push(1 << 3 | 2);
        put_bytes(key.as_bytes(), out);
        out.push(2 << 3 | 2);
        let string = open(out);
        out.push(3 << 3 | 2);
        put_bytes(text.as_bytes(), out);
        close(string, out);
        close(entry, out);
    }
    close(value, out);
}
