//! Parses path templates (google/api/http.proto, "Path template syntax"). Knows nothing of requests.

use std::{borrow::Cow, ops::Range};

use percent_encoding::percent_decode_str;
use thiserror::Error;

/// Most segments of one template: bounds the depth of the match table, and so of a search in it.
pub(super) const SEGMENTS_MAX: usize = 64;

/// A parsed path template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    pub(super) text: Box<str>,
    pub(super) segments: Vec<Segment>,
    /// The custom verb, percent-decoded and without the colon.
    pub(super) verb: Option<Box<str>>,
    pub(super) variables: Vec<Variable>,
    /// `%2F` in what `**` captures is decoded too.
    pub(super) decodes_slashes: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Segment {
    /// Percent-decoded.
    Literal(Box<str>),
    /// `*`: one segment that is not empty.
    One,
    /// `**`: all that is left, also nothing. Only the last segment.
    Rest,
}

/// Which segments a variable captures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    pub field_path: Box<str>,
    /// Its first segment.
    pub first: usize,
    /// Its segments that are not `**`.
    pub singles: usize,
    /// Whether `**` follows them.
    pub rest: bool,
}

/// Why a text is no path template, and at which byte.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("the path template `{template}` is not valid at byte {at}: {fault}")]
pub struct TemplateError {
    pub template: String,
    pub at: usize,
    pub fault: TemplateFault,
}

#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum TemplateFault {
    #[error("it must begin with `/`")]
    NoSlash,
    #[error("a segment is empty")]
    EmptySegment,
    #[error("`**` must be the last segment, with at most a custom verb behind it")]
    RestNotLast,
    #[error("`*` stands for a whole segment; it cannot be a part of one")]
    PartialWildcard,
    #[error("a variable stands for whole segments: `/`, `:verb` or the end must follow it")]
    AfterVariable,
    #[error("`{{` opens a variable only at the beginning of a segment")]
    StrayOpen,
    #[error("a variable inside another is not allowed")]
    NestedVariable,
    #[error("`}}` without `{{`")]
    StrayClose,
    #[error("the variable is not closed by `}}`")]
    Unclosed,
    #[error("a field path is expected: identifiers joined by dots")]
    FieldPath,
    #[error("the variable is bound twice")]
    BoundTwice,
    #[error("a custom verb needs a name behind `:`")]
    EmptyVerb,
    #[error("a colon in the last segment begins a custom verb; it cannot stand inside a variable")]
    VariableColon,
    #[error("`.` and `..` can never be a segment of a request's path")]
    DotSegment,
    #[error("a character that no path holds; percent-encode it")]
    Character,
    #[error("`%` must be followed by two hexadecimal digits, and decode to UTF-8")]
    PercentEncoding,
    #[error("more than {SEGMENTS_MAX} segments")]
    TooLong,
}

impl Variable {
    /// Its segments.
    pub fn segments(&self) -> Range<usize> {
        self.first..self.first + self.singles + usize::from(self.rest)
    }
}

impl Template {
    /// Parses a template by the grammar of google/api/http.proto. Beyond the grammar, `/` alone is the root.
    ///
    /// # Errors
    /// What is wrong, and at which byte.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let parser = Parser { text, at: 0, segments: Vec::new(), variables: Vec::new(), verb: None };
        parser.template().map_err(|(at, fault)| TemplateError { template: text.to_owned(), at, fault })
    }

    /// `google.api.Http.fully_decode_reserved_expansion`: what `**` captures is percent-decoded whole, where otherwise
    /// `%2F` stays.
    #[must_use]
    pub fn decoding_slashes(mut self, decodes_slashes: bool) -> Self {
        self.decodes_slashes = decodes_slashes;
        self
    }

    /// The field paths of the variables, in the order in which captures come.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.variables.iter().map(|variable| &*variable.field_path)
    }

    /// The segments, those within variables too.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The variables, in the order in which captures come.
    pub fn captured(&self) -> &[Variable] {
        &self.variables
    }

    /// The custom verb, percent-decoded and without the colon.
    pub fn custom_verb(&self) -> Option<&str> {
        self.verb.as_deref()
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

type Fault = (usize, TemplateFault);

struct Parser<'a> {
    text: &'a str,
    at: usize,
    segments: Vec<Segment>,
    variables: Vec<Variable>,
    verb: Option<Box<str>>,
}

impl Parser<'_> {
    fn template(mut self) -> Result<Template, Fault> {
        if !self.eat('/') {
            return Err((0, TemplateFault::NoSlash));
        }
        let end = self.split_verb()?;
        if self.at < end || self.verb.is_some() {
            self.segments(end, true)?;
        }
        Ok(Template {
            text: self.text.into(),
            segments: self.segments,
            verb: self.verb,
            variables: self.variables,
            decodes_slashes: false,
        })
    }

    /// Takes the custom verb off: what follows the last colon of the last segment, outside of a variable. A request's
    /// path is cut at its last colon too, so a literal that holds a colon means the same either way.
    fn split_verb(&mut self) -> Result<usize, Fault> {
        let tail = self.text.rfind(['/', '}']).unwrap_or(0);
        let Some(colon) = self.text.get(tail..).and_then(|last| last.rfind(':')).map(|colon| tail + colon) else {
            return Ok(self.text.len());
        };
        let verb = self.text.get(colon + 1..).unwrap_or_default();
        if verb.is_empty() {
            return Err((colon, TemplateFault::EmptyVerb));
        }
        self.verb = Some(literal(verb, colon + 1)?);
        Ok(colon)
    }

    /// `Segment { "/" Segment }` up to `end`.
    fn segments(&mut self, end: usize, variables: bool) -> Result<(), Fault> {
        loop {
            self.segment(end, variables)?;
            if self.at >= end {
                return Ok(());
            }
            if !self.eat('/') {
                return Err((self.at, TemplateFault::AfterVariable));
            }
        }
    }

    fn segment(&mut self, end: usize, variables: bool) -> Result<(), Fault> {
        if self.segments.last() == Some(&Segment::Rest) {
            return Err((self.at, TemplateFault::RestNotLast));
        }
        if self.rest(end).starts_with('{') {
            return if variables { self.variable(end) } else { Err((self.at, TemplateFault::NestedVariable)) };
        }
        let start = self.at;
        let text = self.rest(end).split('/').next().unwrap_or_default();
        let segment = match text {
            "" => return Err((start, TemplateFault::EmptySegment)),
            "*" => Segment::One,
            "**" => Segment::Rest,
            text => Segment::Literal(literal(text, start)?),
        };
        let len = text.len();
        self.push(segment)?;
        self.at = start + len;
        Ok(())
    }

    /// `"{" FieldPath [ "=" Segments ] "}"`.
    fn variable(&mut self, end: usize) -> Result<(), Fault> {
        let open = self.at;
        let close = self.rest(end).find('}').map(|close| open + close).ok_or((open, TemplateFault::Unclosed))?;
        self.at = open + 1;
        let field_path = self.rest(close).split('=').next().unwrap_or_default();
        if !is_field_path(field_path) {
            return Err((self.at, TemplateFault::FieldPath));
        }
        if self.variables.iter().any(|bound| &*bound.field_path == field_path) {
            return Err((self.at, TemplateFault::BoundTwice));
        }
        let field_path = Box::<str>::from(field_path);
        let first = self.segments.len();
        self.at += field_path.len();
        if self.eat('=') {
            self.segments(close, false)?;
        } else {
            self.push(Segment::One)?;
        }
        if close + 1 == self.text.len()
            && matches!(self.segments.last(), Some(Segment::Literal(last)) if last.contains(':'))
        {
            return Err((open, TemplateFault::VariableColon));
        }
        self.at = close + 1;
        let rest = self.segments.last() == Some(&Segment::Rest);
        let singles = self.segments.len() - first - usize::from(rest);
        self.variables.push(Variable { field_path, first, singles, rest });
        Ok(())
    }

    fn push(&mut self, segment: Segment) -> Result<(), Fault> {
        if self.segments.len() == SEGMENTS_MAX {
            return Err((self.at, TemplateFault::TooLong));
        }
        self.segments.push(segment);
        Ok(())
    }

    fn rest(&self, end: usize) -> &str {
        self.text.get(self.at..end).unwrap_or_default()
    }

    fn eat(&mut self, expected: char) -> bool {
        let eaten = self.text.get(self.at..).is_some_and(|rest| rest.starts_with(expected));
        self.at += usize::from(eaten);
        eaten
    }
}

/// Checks and decodes literal text that stands at byte `at` of the template.
fn literal(text: &str, at: usize) -> Result<Box<str>, Fault> {
    for (offset, byte) in text.bytes().enumerate() {
        let fault = match byte {
            b'*' => TemplateFault::PartialWildcard,
            b'{' => TemplateFault::StrayOpen,
            b'}' => TemplateFault::StrayClose,
            b'?' | b'#' | b'\\' | b' ' => TemplateFault::Character,
            byte if byte.is_ascii_control() => TemplateFault::Character,
            b'%' if !is_escape(text.as_bytes().get(offset + 1..)) => TemplateFault::PercentEncoding,
            _ => continue,
        };
        return Err((at + offset, fault));
    }
    let decoded: Cow<'_, str> =
        percent_decode_str(text).decode_utf8().map_err(|_| (at, TemplateFault::PercentEncoding))?;
    match &*decoded {
        "." | ".." => Err((at, TemplateFault::DotSegment)),
        decoded if decoded.contains(|c: char| c.is_ascii_control()) => Err((at, TemplateFault::Character)),
        decoded => Ok(decoded.into()),
    }
}

fn is_escape(digits: Option<&[u8]>) -> bool {
    matches!(digits, Some([high, low, ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit())
}

/// `IDENT { "." IDENT }`.
fn is_field_path(text: &str) -> bool {
    text.split('.').all(|part| {
        !part.starts_with(|c: char| c.is_ascii_digit())
            && !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    })
}
