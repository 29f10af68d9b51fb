//! What can be wrong with a request or with a reply, and where. Knows nothing of how a client is told.

use std::{borrow::Cow, fmt};

use crate::status::{Code, Reason, Status};

/// A request that does not fit its message.
#[derive(Debug, PartialEq, Eq)]
pub struct InputError(Box<Wrong>);

#[derive(Debug, PartialEq, Eq)]
struct Wrong {
    place: Place,
    text: Cow<'static, str>,
    /// Nothing is wrong but that a name is unknown.
    unknown: bool,
}

/// Where a request is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A value of a JSON body: its path (empty: the whole) and the offset of its first byte.
    Body { path: String, offset: usize },
    /// A field of the request message, however it was written.
    Message { path: String },
    /// A parameter of the query string.
    Query { parameter: String },
    /// A field of a form, and where it begins in the body.
    Form { field: String, offset: usize },
    /// A variable of the path template.
    Path { variable: String },
    /// The id of the last event that the client saw.
    EventId,
}

impl InputError {
    pub(super) fn new(place: Place, text: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Wrong { place, text: text.into(), unknown: false }))
    }

    pub(super) fn message(path: impl Into<String>, text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Place::Message { path: path.into() }, text)
    }

    /// At a field of a form.
    pub fn form(field: &str, text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Place::of_form(field), text)
    }

    pub(super) fn body(offset: usize, text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Place::Body { path: String::new(), offset }, text)
    }

    /// The same for a name that the schema does not have, which a route may let pass.
    pub(super) fn of_unknown(mut self) -> Self {
        self.0.unknown = true;
        self
    }

    pub(super) fn is_unknown(&self) -> bool {
        self.0.unknown
    }

    /// Names what the fault lies within, from the inside out.
    #[cold]
    pub(super) fn within(mut self, segment: &str) -> Self {
        if let Place::Body { path, .. } | Place::Message { path } = &mut self.0.place {
            let dot = if path.is_empty() || path.starts_with('[') { "" } else { "." };
            path.insert_str(0, dot);
            path.insert_str(0, segment);
        }
        self
    }

    /// The same within an element of a list.
    #[cold]
    pub(super) fn at_index(self, index: usize) -> Self {
        self.within(&format!("[{index}]"))
    }

    /// The same within an entry of a map.
    #[cold]
    pub(super) fn at_key(self, key: &[u8]) -> Self {
        self.within(&format!("[{}]", shown(key)))
    }

    /// Where the request is wrong.
    pub fn place(&self) -> &Place {
        &self.0.place
    }

    /// What is wrong there.
    pub fn text(&self) -> &str {
        &self.0.text
    }

    /// The same where the message is not the whole body but begins at `start` in it.
    #[must_use]
    pub fn starting_at(mut self, start: usize) -> Self {
        if let Place::Body { offset, .. } | Place::Form { offset, .. } = &mut self.0.place {
            *offset += start;
        }
        self
    }

    /// The client's fault, with the field named.
    pub fn into_status(self) -> Status {
        let reason = match &self.0.place {
            Place::Body { .. } => Reason::InvalidJson,
            Place::Message { .. } => Reason::InvalidMessage,
            Place::Query { .. } => Reason::InvalidQuery,
            Place::Form { .. } => Reason::InvalidForm,
            Place::Path { .. } => Reason::InvalidPath,
            Place::EventId => Reason::InvalidHeader,
        };
        let message = self.to_string();
        let Wrong { place, text, .. } = *self.0;
        Status::client(Code::InvalidArgument, message).with_reason(reason).with_violation(place.name(), text)
    }
}

impl Place {
    pub(super) fn of_form(field: &str) -> Self {
        Self::Form { field: plain(field.as_bytes()), offset: 0 }
    }

    /// The path, the parameter or the variable.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Body { path: name, .. }
            | Self::Message { path: name }
            | Self::Query { parameter: name }
            | Self::Form { field: name, .. }
            | Self::Path { variable: name } => name,
            Self::EventId => "last-event-id",
        }
    }
}

impl fmt::Display for InputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.place {
            Place::Body { path, offset } if path.is_empty() => write!(f, "body: (byte {offset}): ")?,
            Place::Body { path, offset } => write!(f, "body: {path} (byte {offset}): ")?,
            Place::Message { path } if path.is_empty() => f.write_str("message: ")?,
            Place::Message { path } => write!(f, "message: {path}: ")?,
            Place::Query { parameter } => write!(f, "query parameter {parameter}: ")?,
            Place::Form { field, offset } => write!(f, "form field {field} (byte {offset}): ")?,
            Place::Path { variable } => write!(f, "path variable {variable}: ")?,
            Place::EventId => f.write_str("last-event-id: ")?,
        }
        f.write_str(&self.0.text)
    }
}

impl std::error::Error for InputError {}

/// What is wrong with a name or a value that no body gives; whoever knows the place makes an error of it.
#[derive(Debug)]
pub(super) enum Flaw {
    /// A name that the schema does not have.
    Unknown(String),
    Wrong(String),
}

impl Flaw {
    pub(super) fn text(self) -> String {
        match self {
            Self::Unknown(text) | Self::Wrong(text) => text,
        }
    }

    pub(super) fn at(self, place: Place) -> InputError {
        match self {
            Self::Unknown(text) => InputError::new(place, text).of_unknown(),
            Self::Wrong(text) => InputError::new(place, text),
        }
    }
}

impl From<String> for Flaw {
    fn from(text: String) -> Self {
        Self::Wrong(text)
    }
}

impl From<&'static str> for Flaw {
    fn from(text: &'static str) -> Self {
        Self::Wrong(text.to_owned())
    }
}

/// A reply that is not a sound message of its type, or has no JSON form.
#[derive(Debug, PartialEq, Eq)]
pub struct OutputError(Box<Fault>);

#[derive(Debug, PartialEq, Eq)]
struct Fault {
    path: String,
    text: Cow<'static, str>,
}

impl OutputError {
    #[cold]
    pub fn new(text: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Fault { path: String::new(), text: text.into() }))
    }

    #[cold]
    pub(super) fn within(mut self, segment: &str) -> Self {
        let dot = if self.0.path.is_empty() { "" } else { "." };
        self.0.path = format!("{segment}{dot}{}", self.0.path);
        self
    }

    /// The upstream's fault.
    pub fn into_status(self) -> Status {
        Status::upstream(Code::Internal, "the upstream sent a message that cannot be written as JSON")
            .with_reason(Reason::UpstreamProtocol)
            .with_cause(self)
    }

    /// The same fault in a message that the client sent.
    pub(super) fn into_input(self) -> InputError {
        InputError::message(self.0.path, self.0.text)
    }
}

impl fmt::Display for OutputError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.0.path.is_empty() {
            write!(f, "{}: ", self.0.path)?;
        }
        f.write_str(&self.0.text)
    }
}

impl std::error::Error for OutputError {}

/// A name or a number that a client wrote, cut and escaped; without quotes where there is something to be seen.
pub(super) fn plain(text: &[u8]) -> String {
    let quoted = shown(text);
    let bare = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).filter(|bare| !bare.is_empty());
    bare.unwrap_or(&quoted).to_owned()
}

/// What a client wrote, cut and escaped so that it can stand in an error's text.
pub(super) fn shown(text: &[u8]) -> String {
    const CHARACTERS_MAX: usize = 40;
    let text = String::from_utf8_lossy(text);
    let mut short: String = text.chars().take(CHARACTERS_MAX).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    format!("{short:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_its_place() {
        let error =
            InputError::body(117, "expected a number, got \"x\"").within("quantity").at_index(2).within("lines");
        assert_eq!(error.to_string(), "body: lines[2].quantity (byte 117): expected a number, got \"x\"");
        let status = error.into_status();
        assert_eq!(status.reason(), Some(Reason::InvalidJson));
        assert_eq!(status.code(), Code::InvalidArgument);
    }

    #[test]
    fn what_the_client_wrote_is_cut_and_escaped() {
        assert_eq!(shown(b"a\nb"), "\"a\\nb\"");
        assert_eq!([plain(b"a\"b\""), plain(b"")], ["a\\\"b\\\"", "\"\""]);
        assert_eq!(shown("ä".repeat(100).as_bytes()).chars().count(), 43);
    }
}
