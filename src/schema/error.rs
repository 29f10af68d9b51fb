//! Why there is no schema. Knows nothing of who asked for one.

use std::{fmt, path::PathBuf};

use buffa_descriptor::PoolError;
use thiserror::Error;

use super::{RuleError, SET_BYTES_MAX, set::SET_MEMORY_MAX};
use crate::config::Location;

#[derive(Debug, Error)]
pub enum SchemaError {
    #[error("the descriptor set `{path}` cannot be read: {cause}", path = path.display())]
    Read { path: PathBuf, cause: std::io::Error },
    #[error("the proto files cannot be compiled: {0}")]
    Compile(String),
    #[error(
        "`{file}` is of an edition, which cannot be compiled here: compile it with `protoc --include_imports \
         --descriptor_set_out=FILE` and give that file as `descriptor_set`, or let the upstream tell its schema by `reflection`"
    )]
    Edition { file: String },
    #[error("the descriptor set of {origin} is not valid: {fault}")]
    Invalid { origin: Origin, fault: InvalidSet },
    #[error("{first} and {second} define `{symbol}` differently")]
    Conflict { symbol: String, first: Origin, second: Origin },
    #[error("{first} and {second} do not fit together: {error}")]
    Unfit { first: Origin, second: Origin, error: PoolError },
    #[error("the descriptors do not fit together: {0}")]
    Unlinked(PoolError),
    #[error("{location}: the HTTP rule of `{method}` of upstream `{upstream}` is not valid: {fault}")]
    Rule { location: Location, method: String, upstream: String, fault: RuleError },
    #[error("{location}: upstream `{upstream}` has no method that is selected by `{pattern}`{}", did_you_mean(.nearest))]
    Selector { location: Location, upstream: String, pattern: String, nearest: Option<String> },
}

/// Where descriptors come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    BuiltIn,
    File(PathBuf),
    Upstream(String),
    Endpoint(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn => f.write_str("what is built in"),
            Self::File(path) => write!(f, "`{}`", path.display()),
            Self::Upstream(name) => write!(f, "upstream `{name}`"),
            Self::Endpoint(url) => write!(f, "endpoint `{url}`"),
        }
    }
}

/// What is wrong with one set.
#[derive(Debug, Error)]
pub enum InvalidSet {
    #[error("it has {len} bytes, more than the limit of {SET_BYTES_MAX}")]
    TooLarge { len: usize },
    #[error("it is empty")]
    Empty,
    #[error("its descriptors take more than {SET_MEMORY_MAX} bytes of memory")]
    TooMany,
    #[error("it is not a serialized google.protobuf.FileDescriptorSet, or it is damaged")]
    NotASet,
    #[error("it cannot be decoded: {0}")]
    Decode(buffa::DecodeError),
    #[error("it has two different files named `{0}`")]
    TwoFiles(String),
    #[error("its files import each other in a circle: {}", .0.join(" → "))]
    Cycle(Vec<String>),
    #[error("{}", link_text(.error, .missing))]
    Link { error: PoolError, missing: Vec<String> },
    #[error("`{0}` is no name that a proto file can declare")]
    Name(String),
}

fn did_you_mean(nearest: &Option<String>) -> String {
    nearest.as_ref().map_or_else(String::new, |nearest| format!("; did you mean `{nearest}`?"))
}

/// A type that is not found is most often one of a file that was left out.
fn link_text(error: &PoolError, missing: &[String]) -> String {
    if missing.is_empty() {
        return error.to_string();
    }
    let more = if missing.len() > 5 { format!(" and {} more", missing.len() - 5) } else { String::new() };
    let names: Vec<_> = missing.iter().take(5).map(|name| format!("`{name}`")).collect();
    format!("{error}; imported files are missing in it: {}{more}", names.join(", "))
}
