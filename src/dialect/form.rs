//! A form with files (RFC 7578) → request messages, as it arrives: its fields first, then each file piece by piece;
//! or, for a method that takes one message, all of it in that one. docs/uploads.md is what clients and backends are told.

use bytes::Bytes;
use thiserror::Error;

use super::{
    decode::{DecodeError, is_utf8, raw_piece_bytes_max},
    multipart::{Boundary, Event, Multipart, PartHead},
};
use crate::{
    codec::{Binding, Bound, Codec, Form, InputError, Label, Slot},
    status::Status,
};

/// Takes a body as it arrives and gives its messages.
#[derive(Debug)]
pub struct FormReader {
    parts: Multipart,
    part: Part,
    /// Fields that were not given in a message yet; of a method that takes one message its files too.
    form: Form,
    /// Bytes that were gathered for `form`.
    gathered: usize,
    message_bytes_max: usize,
    client_streaming: bool,
    /// A file began, so the fields have gone before it.
    files_begun: bool,
    /// A message was given.
    begun: bool,
    ended: bool,
}

/// The part whose bytes come next.
#[derive(Debug)]
enum Part {
    None,
    /// Wanted whole: a field, or a file of a message that is the only one.
    Gathered {
        head: PartHead,
        slot: Option<Slot>,
        bytes: Vec<u8>,
    },
    /// A file that is given as it comes; its head goes with the first piece.
    Streamed {
        head: Option<PartHead>,
        slot: Slot,
    },
}

/// A form that cannot be read, or does not fit the request.
#[derive(Debug, Error)]
pub enum FormError {
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error(transparent)]
    Input(#[from] InputError),
}

impl FormError {
    /// The client's fault, with the place.
    pub fn into_status(self) -> Status {
        match self {
            Self::Decode(error) => error.into_status(),
            Self::Input(error) => error.into_status(),
        }
    }
}

impl FormReader {
    /// No message may be larger than `message_bytes_max`.
    pub fn new(boundary: Boundary, client_streaming: bool, message_bytes_max: usize) -> Self {
        // What is gathered anyway comes in one piece: each is one more look for the boundary behind it.
        let data_bytes_max = if client_streaming { raw_piece_bytes_max(message_bytes_max) } else { message_bytes_max };
        Self {
            parts: Multipart::new(boundary, data_bytes_max),
            part: Part::None,
            form: Form::default(),
            gathered: 0,
            message_bytes_max,
            client_streaming,
            files_begun: false,
            begun: false,
            ended: false,
        }
    }

    /// Adds a piece of the body.
    pub fn push(&mut self, piece: Bytes) {
        self.parts.push(piece);
    }

    /// No more is to come.
    pub fn end(&mut self) {
        self.ended = true;
        self.parts.end();
    }

    /// Appends the next message; false where more has to arrive, or all was given. There is at least one.
    ///
    /// # Errors
    /// What is no form, breaks off, or does not fit the request's fields.
    pub fn next_message(
        &mut self,
        codec: &Codec,
        binding: &Binding,
        bound: &mut Bound,
        out: &mut Vec<u8>,
    ) -> Result<bool, FormError> {
        let mut to = Request { codec, binding, bound, out };
        while let Some(event) = self.parts.next_event()? {
            let given = match event {
                Event::Part(head) => self.begin_part(head, &mut to)?,
                Event::Data(data) => self.data(&data, &mut to)?,
                Event::PartEnd => self.end_part(&mut to)?,
            };
            if given {
                self.begun = true;
                return Ok(true);
            }
        }
        if !self.ended || std::mem::replace(&mut self.begun, true) {
            return Ok(false);
        }
        to.form(std::mem::take(&mut self.form))
    }

    /// True where a message was given, here and below.
    fn begin_part(&mut self, head: PartHead, to: &mut Request<'_>) -> Result<bool, FormError> {
        let slot = head.filename.as_ref().and_then(|_| Slot::named(to.codec, to.binding, &head.name));
        match slot {
            Some(slot) if self.client_streaming => {
                self.part = Part::Streamed { head: Some(head), slot };
                self.files_begun = true;
                let form = std::mem::take(&mut self.form);
                if form.is_empty() { Ok(false) } else { to.form(form) }
            }
            None if head.filename.is_some() && !is_json(&head) => {
                Err(fault(&head, "no field of this name takes a file").into())
            }
            None if self.files_begun => Err(fault(&head, "a field must stand before the files").into()),
            slot => {
                self.part = Part::Gathered { head, slot, bytes: Vec::new() };
                Ok(false)
            }
        }
    }

    fn data(&mut self, data: &[u8], to: &mut Request<'_>) -> Result<bool, FormError> {
        match &mut self.part {
            Part::None => Ok(false),
            Part::Gathered { bytes, .. } => {
                self.gathered += data.len();
                if self.gathered > self.message_bytes_max {
                    return Err(DecodeError::TooLarge { max: self.message_bytes_max }.into());
                }
                bytes.extend_from_slice(data);
                Ok(false)
            }
            Part::Streamed { head, slot } => to.file(slot, head.take().as_ref(), data),
        }
    }

    fn end_part(&mut self, to: &mut Request<'_>) -> Result<bool, FormError> {
        match std::mem::replace(&mut self.part, Part::None) {
            // A file input in which nothing was chosen is sent as a file of no name and no bytes (WHATWG HTML §4.10.21.4).
            Part::Gathered { head, bytes, .. } if bytes.is_empty() && is_nameless(&head) => Ok(false),
            Part::Streamed { head: Some(head), .. } if is_nameless(&head) => Ok(false),
            Part::Streamed { head: Some(head), slot } => to.file(&slot, Some(&head), b""),
            Part::Gathered { head, slot, bytes } => {
                let bound = match slot {
                    Some(slot) => self.form.file(to.codec, to.bound, &slot, &label(&head), &bytes),
                    None => self.field(&head, &bytes, to),
                };
                bound.map_err(|error| error.starting_at(head.offset))?;
                Ok(false)
            }
            Part::Streamed { head: None, .. } | Part::None => Ok(false),
        }
    }

    fn field(&mut self, head: &PartHead, bytes: &[u8], to: &mut Request<'_>) -> Result<(), InputError> {
        if is_json(head) {
            return self.form.json(to.codec, to.binding, to.bound, &head.name, bytes);
        }
        let text = matches!(text_type(head).as_deref(), Some("" | "text/plain")).then(|| std::str::from_utf8(bytes));
        let Some(Ok(text)) = text else {
            return Err(InputError::form(&head.name, "a field is text or JSON, in UTF-8, and a file has a filename"));
        };
        self.form.field(to.codec, to.binding, to.bound, &head.name, text)
    }
}

/// What messages are made of, and where they go.
struct Request<'a> {
    codec: &'a Codec,
    binding: &'a Binding,
    bound: &'a mut Bound,
    out: &'a mut Vec<u8>,
}

impl Request<'_> {
    fn form(&mut self, form: Form) -> Result<bool, FormError> {
        self.bound.form(self.codec, self.binding, form, self.out)?;
        Ok(true)
    }

    fn file(&mut self, slot: &Slot, head: Option<&PartHead>, data: &[u8]) -> Result<bool, FormError> {
        let label = head.map(label).unwrap_or_default();
        self.bound.file(self.codec, self.binding, slot, &label, data, self.out)?;
        Ok(true)
    }
}

fn label(head: &PartHead) -> Label<'_> {
    // RFC 7578 §4.4 has text/plain for what is not labelled; nobody who sends a file without a type means that.
    let content_type = if head.content_type.is_empty() { "application/octet-stream" } else { &head.content_type };
    Label { content_type, name: &head.name, filename: head.filename.as_deref().unwrap_or_default() }
}

/// The part's media type in lower case; none where it is in another charset than UTF-8.
fn text_type(head: &PartHead) -> Option<String> {
    let kind = head.content_type.split(';').next().unwrap_or_default();
    is_utf8(&head.content_type).then(|| kind.trim().to_ascii_lowercase())
}

fn is_json(head: &PartHead) -> bool {
    text_type(head).as_deref() == Some("application/json")
}

fn fault(head: &PartHead, text: &'static str) -> InputError {
    InputError::form(&head.name, text).starting_at(head.offset)
}

fn is_nameless(head: &PartHead) -> bool {
    head.filename.as_ref().is_some_and(String::is_empty)
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use buffa_descriptor::DescriptorPool;

    use super::*;
    use crate::codec::QueryMode;

    static BLOBS: LazyLock<(Codec, Binding)> = LazyLock::new(|| {
        let set: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/test.binpb"));
        let codec = Codec::compile(&DescriptorPool::decode(set).unwrap());
        let plan = codec.plan_by_name("tidegate.test.v1.Blob").unwrap();
        let binding = Binding::compile(&codec, plan, plan, &[], Some("*"), None).unwrap();
        (codec, binding)
    });

    /// What a stream of `Blob` gets of a body that arrives in pieces of this size: the wire bytes of its messages.
    fn messages(body: &[u8], size: usize, message_bytes_max: usize) -> Result<Vec<Vec<u8>>, String> {
        let (codec, binding) = &*BLOBS;
        let mut bound = binding.bind(codec, &[], None, QueryMode::Strict).unwrap();
        let mut reader = FormReader::new(Boundary::new("b").unwrap(), true, message_bytes_max);
        let mut messages = Vec::new();
        for piece in body.chunks(size).map(Some).chain([None]) {
            match piece {
                Some(piece) => reader.push(Bytes::copy_from_slice(piece)),
                None => reader.end(),
            }
            loop {
                let mut out = Vec::new();
                match reader.next_message(codec, binding, &mut bound, &mut out) {
                    Ok(true) => messages.push(out),
                    Ok(false) => break,
                    Err(error) => return Err(error.to_string()),
                }
            }
        }
        Ok(messages)
    }

    fn part(name: &str, content: &str) -> String {
        format!("--b\r\nContent-Disposition: form-data; name={name}\r\n\r\n{content}\r\n")
    }

    #[test]
    fn fields_come_first_and_then_each_file_however_the_body_is_cut() {
        let body = part("content_type", "mine")
            + &part("data; filename=x", "a file")
            + &part("data; filename=y", "")
            + "--b--";
        for size in 1..body.len() {
            let messages = messages(body.as_bytes(), size, 8).unwrap();
            let [fields, file @ .., empty] = messages.as_slice() else { panic!("{messages:?}") };
            assert_eq!(fields, b"\x12\x04mine", "{size}");
            assert_eq!(empty, b"\x1a\x00\x0a\x01y\x12\x18application/octet-stream", "{size}");
            let mut bytes = Vec::new();
            for (place, message) in file.iter().enumerate() {
                let told: &[u8] = if place == 0 { b"\x0a\x01x\x12\x18application/octet-stream" } else { b"" };
                let data = message.strip_prefix(b"\x1a").and_then(|rest| rest.strip_suffix(told)).unwrap();
                assert!(data.len() <= 1 + 4 && usize::from(data[0]) == data.len() - 1, "half of a message at most");
                bytes.extend_from_slice(&data[1..]);
            }
            assert_eq!(bytes, b"a file", "{size}");
        }
    }

    #[test]
    fn there_is_a_message_even_of_nothing() {
        for (body, wanted) in [("--b--", &b""[..]), (&(part("filename", "x") + "--b--"), b"\x0a\x01x")] {
            assert_eq!(messages(body.as_bytes(), 3, 100), Ok(vec![wanted.to_vec()]), "{body}");
        }
    }

    #[test]
    fn fields_are_gathered_within_the_limit_of_a_message() {
        let body = part("filename", "12345") + &part("content_type", "678") + "--b--";
        assert!(messages(body.as_bytes(), 3, 8).is_ok());
        assert_eq!(messages(body.as_bytes(), 3, 7).unwrap_err(), DecodeError::TooLarge { max: 7 }.to_string());
    }
}
