//! google.api.http templates and the match table: (verb, path) → route and captures. Knows nothing of bodies and
//! upstreams.

mod build;
mod captures;
mod near;
mod path;
mod table;
mod template;
#[cfg(test)]
mod tests;

pub use build::{AmbiguousRules, TableBuilder};
pub use captures::Captures;
pub use near::{Difference, Distance, SEGMENT, distance};
pub use path::{PathError, PathFault, check_path};
pub use table::{Found, Table};
pub use template::{Segment, Template, TemplateError, TemplateFault, Variable};

pub use crate::schema::Verb;
