//! `tidegate openapi` and `tidegate typescript`: the document that a gateway would serve, or types for its clients; or a
//! part of it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::Args;

use super::{
    Addresses, Source,
    boot::{self, BootError, say},
};
use crate::codec::write_pretty;

#[derive(Debug, Args)]
pub(super) struct OpenApi {
    #[command(flatten)]
    source: Source,
    /// Where to write the document, instead of standard output.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Only services whose full names begin so.
    #[arg(long, value_name = "PREFIX", default_value = "")]
    service: String,
    /// Also the paths `/pkg.Service/Method` of methods that have rules.
    #[arg(long)]
    all: bool,
}

impl OpenApi {
    pub(super) fn run(&self) -> Result<(), BootError> {
        let snapshot = boot::snapshot(&self.source.settings(&Addresses::default())?)?;
        let document =
            snapshot.openapi(&self.service, self.all).map_err(|error| BootError::Config(error.to_string()))?;
        let mut text = Vec::new();
        write_pretty(&document, &mut text);
        text.push(b'\n');
        put(self.output.as_deref(), &text)
    }
}

#[derive(Debug, Args)]
pub(super) struct TypeScript {
    #[command(flatten)]
    source: Source,
    /// Where to write the module, instead of standard output.
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Only services whose full names begin so.
    #[arg(long, value_name = "PREFIX", default_value = "")]
    service: String,
}

impl TypeScript {
    pub(super) fn run(&self) -> Result<(), BootError> {
        let snapshot = boot::snapshot(&self.source.settings(&Addresses::default())?)?;
        let module = snapshot.typescript(&self.service).map_err(|error| BootError::Config(error.to_string()))?;
        put(self.output.as_deref(), module.as_bytes())
    }
}

fn put(output: Option<&Path>, text: &[u8]) -> Result<(), BootError> {
    match output {
        None => say(&String::from_utf8_lossy(text)),
        Some(path) => fs::write(path, text)
            .map_err(|error| BootError::Run(format!("{} cannot be written: {error}", path.display())))?,
    }
    Ok(())
}
