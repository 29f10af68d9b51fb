//! HTTP rules that stand beside the schema: the `http` of a gRPC service configuration. Knows nothing of how a template
//! is matched.

use std::path::PathBuf;

use crate::config::ConfigErrors;

/// The rules of one upstream's service configuration; they take the place of annotations.
#[derive(Debug, Default)]
pub struct ServiceConfig {}

impl ServiceConfig {
    /// Reads the files in order, as if they were one; no files: no rules.
    ///
    /// # Errors
    /// Every fault of the first file that has any, with file, line and column.
    pub fn load(_files: &[PathBuf]) -> Result<Self, ConfigErrors> {
        Ok(Self::default())
    }
}
