//! The objects of an OpenAPI 3.1 document, as far as they are used here. Knows nothing of protobuf.

use std::collections::BTreeMap;

use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::value::RawValue;

/// An object that is written already: a document is large, and its parts are done one by one.
pub(super) type Written = Box<RawValue>;

#[derive(Serialize)]
pub(super) struct Document {
    pub(super) openapi: &'static str,
    pub(super) info: Info,
    pub(super) tags: Vec<Tag>,
    pub(super) paths: BTreeMap<String, PathItem>,
    pub(super) components: Components,
}

#[derive(Serialize)]
pub(super) struct Info {
    pub(super) title: String,
    pub(super) version: String,
    pub(super) description: &'static str,
}

#[derive(Serialize)]
pub(super) struct Tag {
    pub(super) name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<String>,
}

/// The operations of a path by their HTTP method; none is lost.
#[derive(Default)]
pub(super) struct PathItem(BTreeMap<String, Vec<Written>>);

impl PathItem {
    pub(super) fn add(&mut self, method: String, operation: Written) {
        self.0.entry(method).or_default().push(operation);
    }
}

impl Serialize for PathItem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (mut additional, mut overlapping) = (BTreeMap::new(), BTreeMap::new());
        let mut item = serializer.serialize_map(None)?;
        for (method, operations) in &self.0 {
            let Some((first, others)) = operations.split_first() else { continue };
            if STANDARD_METHODS.contains(&method.as_str()) {
                item.serialize_entry(&method.to_ascii_lowercase(), first)?;
            } else {
                additional.insert(method, first);
            }
            if !others.is_empty() {
                overlapping.insert(method, others);
            }
        }
        // As the registry of extensions has it for versions before 3.2.
        if !additional.is_empty() {
            item.serialize_entry("x-oai-additionalOperations", &additional)?;
        }
        // A `**` beside a `*`: OpenAPI cannot tell their paths apart.
        if !overlapping.is_empty() {
            item.serialize_entry("x-tidegate-overlapping", &overlapping)?;
        }
        item.end()
    }
}

/// What a Path Item Object of OpenAPI 3.1 has a key for.
const STANDARD_METHODS: [&str; 8] = ["GET", "PUT", "POST", "DELETE", "OPTIONS", "HEAD", "PATCH", "TRACE"];

#[derive(Serialize)]
pub(super) struct Components {
    pub(super) schemas: BTreeMap<String, Written>,
    pub(super) responses: BTreeMap<&'static str, Response>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Operation {
    pub(super) operation_id: String,
    pub(super) tags: [String; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<String>,
    #[serde(skip_serializing_if = "is_false")]
    pub(super) deprecated: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) parameters: Vec<Parameter>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) request_body: Option<RequestBody>,
    pub(super) responses: Responses,
}

#[derive(Serialize)]
pub(super) struct Parameter {
    pub(super) name: String,
    #[serde(rename = "in")]
    pub(super) place: Place,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<String>,
    #[serde(skip_serializing_if = "is_false")]
    pub(super) required: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub(super) deprecated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) style: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) explode: Option<bool>,
    pub(super) schema: Schema,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Place {
    Path,
    Query,
}

#[derive(Serialize)]
pub(super) struct RequestBody {
    pub(super) content: Content,
}

/// By media type.
pub(super) type Content = BTreeMap<&'static str, MediaType>;

/// No schema: bytes of which nothing else is known.
#[derive(Default, Serialize)]
pub(super) struct MediaType {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) schema: Option<Schema>,
}

impl From<Schema> for MediaType {
    fn from(schema: Schema) -> Self {
        Self { schema: Some(schema) }
    }
}

#[derive(Serialize)]
pub(super) struct Responses {
    #[serde(rename = "200")]
    pub(super) ok: Response,
    pub(super) default: Reference,
}

#[derive(Serialize)]
pub(super) struct Response {
    pub(super) description: &'static str,
    pub(super) content: Content,
}

#[derive(Serialize)]
pub(super) struct Reference {
    #[serde(rename = "$ref")]
    pub(super) to: &'static str,
}

/// A JSON Schema (draft 2020-12).
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Schema {
    #[serde(rename = "$ref", skip_serializing_if = "Option::is_none")]
    pub(super) reference: Option<String>,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub(super) kind: Option<Type>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<String>,
    #[serde(skip_serializing_if = "is_false")]
    pub(super) deprecated: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub(super) read_only: bool,
    #[serde(skip_serializing_if = "is_false")]
    pub(super) write_only: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) format: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pattern: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) minimum: Option<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) content_encoding: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) content_media_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) content_schema: Option<Box<Self>>,
    #[serde(rename = "enum", skip_serializing_if = "Option::is_none")]
    pub(super) values: Option<Vec<Constant>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) items: Option<Box<Self>>,
    /// In the order of the message.
    #[serde(skip_serializing_if = "Properties::is_empty")]
    pub(super) properties: Properties,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) required: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) property_names: Option<Box<Self>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) additional_properties: Option<Box<Self>>,
}

impl Schema {
    pub(super) fn of(kind: Type) -> Self {
        Self { kind: Some(kind), ..Self::default() }
    }

    pub(super) fn reference(component: &str) -> Self {
        Self { reference: Some(format!("#/components/schemas/{component}")), ..Self::default() }
    }

    pub(super) fn array(items: Self) -> Self {
        Self { items: Some(Box::new(items)), ..Self::of(Type::Array) }
    }

    pub(super) fn object<const N: usize>(members: [(&str, Self); N]) -> Self {
        let properties = members.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect();
        Self { properties: Properties(properties), ..Self::of(Type::Object) }
    }

    #[must_use]
    pub(super) fn with_format(self, format: &'static str) -> Self {
        Self { format: Some(format), ..self }
    }

    #[must_use]
    pub(super) fn with_pattern(self, pattern: &'static str) -> Self {
        Self { pattern: Some(pattern), ..self }
    }

    #[must_use]
    pub(super) fn described(self, description: impl Into<String>) -> Self {
        Self { description: Some(description.into()), ..self }
    }
}

#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Type {
    Null,
    Boolean,
    Integer,
    Number,
    String,
    Array,
    Object,
    #[serde(untagged)]
    Any(&'static [Self]),
}

#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum Constant {
    Name(String),
    Number(i32),
}

#[derive(Default)]
pub(super) struct Properties(pub(super) Vec<(String, Schema)>);

impl Properties {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Properties {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, schema)| (name, schema)))
    }
}

fn is_false(flag: &bool) -> bool {
    !flag
}
