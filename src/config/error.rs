//! What is wrong with a configuration, and where.

use std::fmt;

/// A line and a column, both from 1; 0 where there is none to name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub line: u64,
    pub column: u64,
}

/// A place in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Location {
    pub file: String,
    pub place: Place,
}

/// One fault of a configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The file, or `command line`.
    pub file: String,
    pub place: Place,
    /// `upstreams.liker.balance`; empty: the file as a whole.
    pub key: String,
    pub message: String,
}

/// Every fault that was found, in the file's order; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl ConfigErrors {
    pub(super) fn one(file: &str, place: Place, message: impl Into<String>) -> Self {
        Self(vec![ConfigError { file: file.to_owned(), place, key: String::new(), message: message.into() }])
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_location(&self.file, self.place, f)
    }
}

fn write_location(file: &str, place: Place, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    f.write_str(file)?;
    match place.line {
        0 => Ok(()),
        line => write!(f, ":{line}:{}", place.column),
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_location(&self.file, self.place, f)?;
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.message)
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}
impl std::error::Error for ConfigErrors {}
