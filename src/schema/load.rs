//! Gets an upstream's set from where the configuration says: a file, proto sources, or the program itself.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use protox::file::{ChainFileResolver, DescriptorSetFileResolver, GoogleFileResolver, IncludeFileResolver};

use super::{BUILTIN, InvalidSet, Origin, SET_BYTES_MAX, SchemaError};
use crate::config::SchemaSource;

/// The serialized `FileDescriptorSet` of a source; none where it must be fetched by reflection, or there is none.
///
/// # Errors
/// A file that cannot be read, and proto sources that cannot be compiled, with file, line and column.
pub fn load(source: &SchemaSource) -> Result<Option<Bytes>, SchemaError> {
    match source {
        SchemaSource::Reflection | SchemaSource::None => Ok(None),
        SchemaSource::Embedded(set) => Ok(Some(Bytes::from_static(set))),
        SchemaSource::DescriptorSet(path) => read(path).map(|set| Some(set.into())),
        SchemaSource::Protos { files, includes } => compile(files, includes).map(|set| Some(set.into())),
    }
}

fn read(path: &Path) -> Result<Vec<u8>, SchemaError> {
    let failed = |cause| SchemaError::Read { path: path.to_owned(), cause };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(failed)?;
    // One byte more than is allowed tells that there are too many.
    file.take(SET_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > SET_BYTES_MAX {
        let len = path.metadata().map_or(bytes.len(), |metadata| usize::try_from(metadata.len()).unwrap_or(usize::MAX));
        let fault = InvalidSet::TooLarge { len };
        return Err(SchemaError::Invalid { origin: Origin::File(path.to_owned()), fault });
    }
    Ok(bytes)
}

/// Imports are looked up in the includes, and then among what is built in, so that nobody needs a copy of `google/api`.
fn compile(files: &[PathBuf], includes: &[PathBuf]) -> Result<Vec<u8>, SchemaError> {
    // protox writes the place of an error only into its `Debug`.
    let failed = |error: protox::Error| SchemaError::Compile(format!("{error:?}"));
    let mut resolver = ChainFileResolver::new();
    for include in include_dirs(files, includes) {
        resolver.add(IncludeFileResolver::new(include));
    }
    resolver.add(GoogleFileResolver::new());
    let builtin = DescriptorSetFileResolver::decode(BUILTIN);
    resolver.add(builtin.map_err(|error| SchemaError::Compile(error.to_string()))?);
    let mut compiler = protox::Compiler::with_file_resolver(resolver);
    // With both, the bytes keep extensions without a detour.
    compiler.include_imports(true).include_source_info(true);
    compiler.open_files(files).map_err(failed)?;
    Ok(compiler.encode_file_descriptor_set())
}

/// Where no includes are given, each file's own directory is one.
fn include_dirs(files: &[PathBuf], includes: &[PathBuf]) -> Vec<PathBuf> {
    if !includes.is_empty() {
        return includes.to_vec();
    }
    let mut dirs: Vec<PathBuf> = files.iter().filter_map(|file| file.parent()).map(Path::to_owned).collect();
    dirs.sort();
    dirs.dedup();
    dirs
}
