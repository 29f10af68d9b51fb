//! A file's tree against the schema: every unknown key, missing key and malformed value at once, each with its place.
//!
//! Knows nothing of particular keys, nor of how they depend on each other.

use std::{collections::HashMap, net::SocketAddr, path::PathBuf};

use serde_json::{Map, Value as Json};

use super::{
    error::{ConfigError, Place},
    names::{FieldPath, FieldValue, HeaderField, MethodName, PageOrigin, PlacePath, ServicePrefix, UrlPath},
    redis::KeyPrefix,
    settings::{Cidr, EndpointUrl, HostPattern, RedisUrl, Timeout, ValuePattern},
    text::{Count, Percent, Period, Scalar, Size, Span, Weight},
    tree::{Key, Node, Value},
};

/// What was found in one file.
#[derive(Debug)]
pub(super) struct Findings<'a> {
    file: &'a str,
    /// Where each value stands, by its key's full name.
    places: HashMap<String, Place>,
    pub(super) errors: Vec<ConfigError>,
}

impl<'a> Findings<'a> {
    pub(super) fn new(file: &'a str) -> Self {
        Self { file, places: HashMap::new(), errors: Vec::new() }
    }

    /// Notes a fault of the value with this full name.
    pub(super) fn fault(&mut self, key: &str, message: impl Into<String>) {
        let place = self.places.get(key).copied().unwrap_or_default();
        self.fault_at(place, key, message);
    }

    fn fault_at(&mut self, place: Place, key: &str, message: impl Into<String>) {
        let error = ConfigError { file: self.file.to_owned(), place, key: key.to_owned(), message: message.into() };
        self.errors.push(error);
    }

    /// Checks one value, and all below it, against its schema (without `$ref`).
    pub(super) fn check(&mut self, schema: &Json, node: &Node, key: &str) {
        self.places.insert(key.to_owned(), node.place);
        if let Some(choices) = schema["oneOf"].as_array() {
            return self.choice(choices, node, key);
        }
        match (schema["type"].as_str(), &node.value) {
            (_, Value::Null) => self.fault(key, "has no value"),
            (Some("object"), Value::Map(entries)) => self.map(schema, entries, key),
            (Some("object"), _) => self.fault(key, "must be a map of keys and values"),
            (Some("array"), Value::List(items)) => self.list(schema, items, key),
            (Some("array"), _) => self.fault(key, "must be a list"),
            (_, Value::Scalar(text)) => self.scalar(schema, text, key),
            (_, Value::List(_) | Value::Map(_)) => self.fault(key, "must be a single value"),
        }
    }

    fn map(&mut self, schema: &Json, entries: &[(Key, Node)], key: &str) {
        if entries.is_empty() && schema["minProperties"].is_u64() {
            self.fault(key, "must not be empty");
        }
        let none = Map::new();
        let known = schema["properties"].as_object().unwrap_or(&none);
        for (entry, node) in entries {
            let name = join(key, &entry.name);
            match known
                .get(&entry.name)
                .or_else(|| schema["additionalProperties"].as_object().map(|_| &schema["additionalProperties"]))
            {
                Some(schema) => self.check(schema, node, &name),
                None => {
                    let hint = hint(&entry.name, known.keys().map(String::as_str));
                    self.fault_at(entry.place, &name, format!("unknown key; {hint}"));
                }
            }
        }
        for required in schema["required"].as_array().into_iter().flatten().filter_map(Json::as_str) {
            if !entries.iter().any(|(entry, _)| entry.name == required) {
                self.fault(key, format!("the key `{required}` is missing"));
            }
        }
    }

    fn list(&mut self, schema: &Json, items: &[Node], key: &str) {
        if items.is_empty() && schema["minItems"].is_u64() {
            self.fault(key, "must not be empty");
        }
        for (index, item) in items.iter().enumerate() {
            self.check(&schema["items"], item, &format!("{key}[{index}]"));
        }
    }

    /// A word, or a map of one key: an enum as serde writes it.
    fn choice(&mut self, choices: &[Json], node: &Node, key: &str) {
        let words = || choices.iter().flat_map(words_of);
        let forms = || choices.iter().filter_map(|choice| choice["properties"].as_object()).flatten();
        match &node.value {
            Value::Scalar(text) if words().any(|word| word == text) => {}
            Value::Scalar(text) => {
                let all: Vec<_> =
                    words().map(str::to_owned).chain(forms().map(|(name, _)| format!("{{ {name}: … }}"))).collect();
                let hint = hint(text, all.iter().map(String::as_str));
                self.fault(key, format!("unknown value {text:?}; {hint}"));
            }
            Value::Map(entries) if forms().next().is_some() => {
                let known: Map<String, Json> = forms().map(|(name, schema)| (name.clone(), schema.clone())).collect();
                let names: Vec<_> = known.keys().cloned().collect();
                if entries.len() != 1 {
                    self.fault(key, format!("needs exactly one of the keys {}", names.join(", ")));
                }
                self.map(&serde_json::json!({ "properties": known }), entries, key);
            }
            Value::Null => self.fault(key, "has no value"),
            Value::Map(_) | Value::List(_) => {
                let all: Vec<_> =
                    words().map(str::to_owned).chain(forms().map(|(name, _)| format!("{{ {name}: … }}"))).collect();
                self.fault(key, format!("must be one of {}", all.join(", ")));
            }
        }
    }

    fn scalar(&mut self, schema: &Json, text: &str, key: &str) {
        if schema["type"] == "boolean" && !matches!(text, "true" | "false") {
            self.fault(key, format!("{text:?} is neither true nor false"));
        }
        let Some(scalar) = schema["format"].as_str().and_then(scalar) else { return };
        if let Err(error) = (scalar.check)(text) {
            self.fault(key, format!("{text:?} {error}"));
        }
    }
}

/// A textual form that the schema names by `format`.
pub(super) struct ScalarForm {
    pub(super) format: &'static str,
    pub(super) looks: &'static str,
    check: fn(&str) -> Result<(), String>,
}

fn scalar(format: &str) -> Option<&'static ScalarForm> {
    SCALARS.iter().find(|scalar| scalar.format == format)
}

const fn form<T: Scalar>() -> ScalarForm {
    ScalarForm { format: T::FORMAT, looks: T::LOOKS, check: |text| T::parse(text).map(drop) }
}

/// In the order of their names.
pub(super) const SCALARS: &[ScalarForm] = &[
    form::<SocketAddr>(),
    form::<Count>(),
    form::<Period>(),
    form::<Timeout>(),
    form::<Span>(),
    form::<EndpointUrl>(),
    form::<PathBuf>(),
    form::<HeaderField>(),
    form::<ValuePattern>(),
    form::<FieldValue>(),
    form::<HostPattern>(),
    form::<KeyPrefix>(),
    form::<MethodName>(),
    form::<FieldPath>(),
    form::<PlacePath>(),
    form::<Cidr>(),
    form::<PageOrigin>(),
    form::<Percent>(),
    form::<RedisUrl>(),
    form::<ServicePrefix>(),
    form::<Size>(),
    form::<UrlPath>(),
    form::<Weight>(),
];

/// The words that a choice of an enum accepts.
pub(super) fn words_of(choice: &Json) -> impl Iterator<Item = &str> {
    choice["const"].as_str().into_iter().chain(choice["enum"].as_array().into_iter().flatten().filter_map(Json::as_str))
}

/// The known word nearest to a wrong one; all of them where none is near.
pub(super) fn hint<'k>(wrong: &str, known: impl Iterator<Item = &'k str>) -> String {
    let known: Vec<_> = known.collect();
    let nearest = known.iter().map(|word| (strsim::osa_distance(wrong, word), *word)).min();
    match nearest {
        // A third of the letters may be wrong.
        Some((distance, word)) if distance * 3 <= word.len().max(wrong.len()) => format!("did you mean {word:?}?"),
        _ => format!("known here: {}", known.join(", ")),
    }
}

fn join(key: &str, name: &str) -> String {
    if key.is_empty() { name.to_owned() } else { format!("{key}.{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_of_the_schema_has_a_parser() {
        fn formats<'a>(json: &'a Json, found: &mut Vec<&'a str>) {
            match json {
                Json::Object(map) => {
                    found.extend(map.get("format").and_then(Json::as_str));
                    map.values().for_each(|value| formats(value, found));
                }
                Json::Array(list) => list.iter().for_each(|value| formats(value, found)),
                _ => {}
            }
        }
        let schema = super::super::schema::schema();
        let mut found = Vec::new();
        formats(&schema, &mut found);
        assert!(found.len() > SCALARS.len(), "{found:?}");
        for format in found {
            assert!(scalar(format).is_some(), "{format}");
        }
    }

    #[test]
    fn a_hint_names_the_nearest_word_or_all() {
        let known = ["round_robin", "least_request"];
        assert_eq!(hint("least_requests", known.into_iter()), "did you mean \"least_request\"?");
        assert_eq!(hint("fastest", known.into_iter()), "known here: round_robin, least_request");
    }
}
