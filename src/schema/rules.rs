//! `google.api.http` of a method's options (google/api/http.proto). Knows nothing of how a template is matched.

use std::fmt;

use buffa::{ExtensionSet, UnknownFieldData};
use buffa_descriptor::generated::descriptor::MethodOptions;
use http::Method;
use prost::Message;
use thiserror::Error;

use crate::config::{Location, ServiceBinding};

/// `google.api.http`, an extension of `google.protobuf.MethodOptions`.
pub(super) const HTTP_EXTENSION: u32 = 72_295_728;

/// The HTTP verb of a rule.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// A method of HTTP's own or a custom one, written as it stands in the rule.
    Method(Method),
    /// A custom pattern of kind `*`.
    Any,
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Method(method) => f.write_str(method.as_str()),
            Self::Any => f.write_str("*"),
        }
    }
}

/// One way to reach a method over HTTP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpRule {
    pub verb: Verb,
    /// A path template, not parsed yet.
    pub template: String,
    /// `*`, or the path of a request field.
    pub body: Option<String>,
    /// The path of a response field.
    pub response_body: Option<String>,
    /// What `**` captures is percent-decoded whole, `%2F` too (`google.api.Http.fully_decode_reserved_expansion`).
    pub decodes_slashes: bool,
    /// Where it stands in a service configuration; none: it is the annotation of its method.
    pub location: Option<Location>,
}

#[derive(Debug, Error)]
pub enum RuleError {
    #[error("`google.api.http` is not a google.api.HttpRule: {0}")]
    Decode(prost::DecodeError),
    #[error("the custom kind `{0}` is no HTTP method")]
    Kind(String),
    #[error("additional bindings have additional bindings of their own")]
    Nested,
}

/// The rules of a method, additional bindings behind the rule that has them.
pub(super) fn of_method(options: &MethodOptions) -> Result<Vec<HttpRule>, RuleError> {
    // Parts of one message that come apart are one message (protobuf encoding, "Last One Wins").
    let mut bytes = Vec::new();
    for field in options.unknown_fields().iter().filter(|field| field.number == HTTP_EXTENSION) {
        if let UnknownFieldData::LengthDelimited(part) = &field.data {
            bytes.extend_from_slice(part);
        }
    }
    let rule = wire::HttpRule::decode(bytes.as_slice()).map_err(RuleError::Decode)?;
    let mut rules = Vec::new();
    for (index, rule) in std::iter::once(&rule).chain(&rule.additional_bindings).enumerate() {
        if index > 0 && !rule.additional_bindings.is_empty() {
            return Err(RuleError::Nested);
        }
        rules.extend(resolve(rule)?);
    }
    Ok(rules)
}

/// A rule without a pattern binds nothing; it may still have additional bindings.
fn resolve(rule: &wire::HttpRule) -> Result<Option<HttpRule>, RuleError> {
    use wire::Pattern;
    let (verb, template) = match &rule.pattern {
        None => return Ok(None),
        Some(Pattern::Get(path)) => (Verb::Method(Method::GET), path),
        Some(Pattern::Put(path)) => (Verb::Method(Method::PUT), path),
        Some(Pattern::Post(path)) => (Verb::Method(Method::POST), path),
        Some(Pattern::Delete(path)) => (Verb::Method(Method::DELETE), path),
        Some(Pattern::Patch(path)) => (Verb::Method(Method::PATCH), path),
        Some(Pattern::Custom(custom)) => (custom_verb(&custom.kind)?, &custom.path),
    };
    Ok(Some(HttpRule {
        verb,
        template: template.clone(),
        body: given(&rule.body),
        response_body: given(&rule.response_body),
        decodes_slashes: false,
        location: None,
    }))
}

/// The rule of a service configuration.
pub(super) fn of_service_config(binding: ServiceBinding) -> Result<Option<HttpRule>, RuleError> {
    let Some((kind, template)) = binding.pattern else { return Ok(None) };
    Ok(Some(HttpRule {
        verb: custom_verb(&kind)?,
        template,
        body: given(&binding.body),
        response_body: given(&binding.response_body),
        decodes_slashes: false,
        location: Some(binding.location),
    }))
}

fn given(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn custom_verb(kind: &str) -> Result<Verb, RuleError> {
    match kind {
        "*" => Ok(Verb::Any),
        kind => Method::from_bytes(kind.as_bytes()).map(Verb::Method).map_err(|_| RuleError::Kind(kind.to_owned())),
    }
}

/// google/api/http.proto as it is on the wire.
mod wire {
    use prost::{Message, Oneof};

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct HttpRule {
        #[prost(oneof = "Pattern", tags = "2, 3, 4, 5, 6, 8")]
        pub(super) pattern: Option<Pattern>,
        #[prost(string, tag = "7")]
        pub(super) body: String,
        #[prost(message, repeated, tag = "11")]
        pub(super) additional_bindings: Vec<HttpRule>,
        #[prost(string, tag = "12")]
        pub(super) response_body: String,
    }

    #[derive(Clone, PartialEq, Oneof)]
    pub(super) enum Pattern {
        #[prost(string, tag = "2")]
        Get(String),
        #[prost(string, tag = "3")]
        Put(String),
        #[prost(string, tag = "4")]
        Post(String),
        #[prost(string, tag = "5")]
        Delete(String),
        #[prost(string, tag = "6")]
        Patch(String),
        #[prost(message, tag = "8")]
        Custom(CustomHttpPattern),
    }

    #[derive(Clone, PartialEq, Message)]
    pub(super) struct CustomHttpPattern {
        #[prost(string, tag = "1")]
        pub(super) kind: String,
        #[prost(string, tag = "2")]
        pub(super) path: String,
    }
}
