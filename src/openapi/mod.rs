//! OpenAPI 3.1 of the methods that a gateway serves. Knows nothing of how the document is asked for.

mod operations;
mod rule;
mod query;
mod path;
mod ids;
mod schemas;
mod behavior;
mod document;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::value::to_raw_value;
use thiserror::Error;

use self::document::{Components, Document, Info, Tag, Written};
use crate::{
    config::OutputSettings,
    schema::{Comments, MethodId, Schema},
};

/// One way to a method.
#[derive(Clone, Copy, Debug)]
pub struct Operation {
    pub method: MethodId,
    /// Its place among the method's rules; none: `/pkg.Service/Method`.
    pub rule: Option<usize>,
    /// How replies are written unless the request says otherwise.
    pub output: OutputSettings,
}

/// The API is too large to be told in one document.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the API is too large to be described in one document of {DOCUMENT_BYTES_MAX} bytes")]
pub struct TooLarge;

/// Largest document, in bytes: what clients of one can still work with.
pub const DOCUMENT_BYTES_MAX: usize = 64 << 20;

/// Describes operations in JSON. The same operations of the same schema give the same bytes.
///
/// # Errors
/// An API that is too large.
pub fn document(schema: &Schema, comments: &Comments, operations: &[Operation]) -> Result<Vec<u8>, TooLarge> {
    let mut budget = Budget { left: DOCUMENT_BYTES_MAX };
    let (paths, components) = operations::write(schema, comments, operations, &mut budget)?;
    let services: BTreeSet<&str> = operations.iter().map(|own| schema[own.method].service.as_str()).collect();
    let document = Document {
        openapi: "3.1.1",
        info: Info { title: title(&services), version: version(&services), description: DESCRIPTION },
        tags: services
            .iter()
            .map(|name| Tag { name: (*name).to_owned(), description: comments.of(name).map(str::to_owned) })
            .collect(),
        paths,
        components: Components { schemas: components, responses: operations::errors(operations) },
    };
    serde_json::to_vec(&document).map_err(|_| TooLarge)
}

/// What is left of a document's bytes.
struct Budget {
    left: usize,
}

impl Budget {
    fn write(&mut self, part: &impl Serialize) -> Result<Written, TooLarge> {
        // Writing fails for keys that are no strings only, and there are none.
        let written = to_raw_value(part).map_err(|_| TooLarge)?;
        self.left = self.left.checked_sub(written.get().len()).ok_or(TooLarge)?;
        Ok(written)
    }
}

/// The packages of the services.
fn title(services: &BTreeSet<&str>) -> String {
    const NAMED: usize = 3;
    let packages: BTreeSet<&str> = services.iter().map(|service| package(service)).collect();
    let mut named: Vec<&str> = packages.iter().copied().filter(|package| !package.is_empty()).take(NAMED).collect();
    let more = format!("{} more", packages.len().saturating_sub(NAMED));
    if packages.len() > NAMED {
        named.push(&more);
    }
    if named.is_empty() { "API".to_owned() } else { named.join(", ") }
}

/// The version that all packages end in, as `v1`: nothing else in a schema is one.
fn version(services: &BTreeSet<&str>) -> String {
    let versions: BTreeSet<&str> =
        services.iter().map(|service| package(service).rsplit('.').next().unwrap_or_default()).collect();
    let is_version =
        |text: &&&str| text.strip_prefix('v').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    match versions.first().filter(is_version) {
        Some(only) if versions.len() == 1 => (*only).to_owned(),
        _ => "unversioned".to_owned(),
    }
}

fn package(service: &str) -> &str {
    service.rsplit_once('.').map_or("", |(package, _)| package)
}

const DESCRIPTION: &str = "\
Services defined in protobuf, told here as HTTP and JSON.

Replies are written in protobuf's canonical JSON: 64-bit integers are strings, bytes are base64, enum values are told by \
name, and a field that has its default value is left out. What a schema cannot say: a number may also be one of the \
strings `NaN`, `Infinity` and `-Infinity`, and an enum value that has no name is told by its number.

Requests are taken in the same JSON, and also with integers as numbers or strings, enum values by number, and fields by \
their names in the proto files. Query parameters reach into messages of any depth; those that messages within \
themselves would repeat without end are listed once. A body of JSON may also be a form, with fields by the names that \
query parameters have.

A method is reachable at `/package.Service/Method` too, by POST with the request message as the body; a unary method \
answers there as the Connect protocol has it. Each path of a \
method can be opened as a WebSocket, which carries a message in each frame.";
