//! Gets an upstream's set from where the configuration says: a file, proto sources, or the program itself.

use std::{
    collections::BTreeSet,
    fs::File,
    io::Read,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use protox::file::{
    ChainFileResolver, DescriptorSetFileResolver, FileResolver, GoogleFileResolver, IncludeFileResolver,
};

use super::{BUILTIN, InvalidSet, Origin, SET_BYTES_MAX, SchemaError};
use crate::config::SchemaSource;

/// What came of loading a source.
#[derive(Debug)]
pub struct Loaded {
    /// A serialized `FileDescriptorSet`; none where it must be fetched by reflection, or there is none.
    pub set: Result<Option<Bytes>, SchemaError>,
    /// Every file that has a part in it, there or not: another answer can only come of a change to one of them.
    pub files: Vec<PathBuf>,
}

/// The serialized `FileDescriptorSet` of a source; none where it must be fetched by reflection, or there is none.
///
/// # Errors
/// A file that cannot be read, and proto sources that cannot be compiled, with file, line and column.
pub fn load(source: &SchemaSource) -> Result<Option<Bytes>, SchemaError> {
    load_files(source).set
}

/// The same, and which files were looked at.
pub fn load_files(source: &SchemaSource) -> Loaded {
    match source {
        SchemaSource::Reflection | SchemaSource::None => Loaded { set: Ok(None), files: Vec::new() },
        SchemaSource::Embedded(set) => Loaded { set: Ok(Some(Bytes::from_static(set))), files: Vec::new() },
        SchemaSource::DescriptorSet(path) => Loaded { set: read(path).map(Some), files: vec![path.clone()] },
        SchemaSource::Protos { files, includes } => {
            let names = Names::default();
            let set = compile(files, includes, &names).map(Some);
            let mut looked_at = files.clone();
            let names = names.0.lock().unwrap_or_else(PoisonError::into_inner);
            // A file of the same name in an earlier directory would take its place.
            let includes = include_dirs(files, includes);
            looked_at.extend(includes.iter().flat_map(|include| names.iter().map(move |name| include.join(name))));
            Loaded { set, files: looked_at }
        }
    }
}

/// Names of the files that a compiler asked for.
#[derive(Clone, Default)]
struct Names(Arc<Mutex<BTreeSet<String>>>);

/// Remembers what it is asked for.
struct Traced {
    resolver: ChainFileResolver,
    names: Names,
}

impl FileResolver for Traced {
    fn resolve_path(&self, path: &Path) -> Option<String> {
        self.resolver.resolve_path(path)
    }

    fn open_file(&self, name: &str) -> Result<protox::file::File, protox::Error> {
        self.names.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
        self.resolver.open_file(name)
    }
}

fn read(path: &Path) -> Result<Bytes, SchemaError> {
    let failed = |cause| SchemaError::Read { path: path.to_owned(), cause };
    let invalid = |fault| SchemaError::Invalid { origin: Origin::File(path.to_owned()), fault };
    let check = |len: u64| match usize::try_from(len).unwrap_or(usize::MAX) {
        len if len > SET_BYTES_MAX => Err(invalid(InvalidSet::TooLarge { len })),
        len => Ok(len),
    };
    let file = File::open(path).map_err(failed)?;
    let mut bytes = Vec::with_capacity(check(file.metadata().map_err(failed)?.len())?);
    // What is no plain file, or grows, may have more than it says: one byte too many tells.
    file.take(SET_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map_err(failed)?;
    check(bytes.len() as u64)?;
    // No bytes are a set without files; a file without bytes is one that somebody has only begun to write.
    if bytes.is_empty() {
        return Err(invalid(InvalidSet::Empty));
    }
    Ok(bytes.into())
}

/// Imports are looked up in the includes, and then among what is built in, so that nobody needs a copy of `google/api`.
fn compile(files: &[PathBuf], includes: &[PathBuf], names: &Names) -> Result<Bytes, SchemaError> {
    let failed = |error: protox::Error| {
        // protox writes the place of an error only into its `Debug`.
        let text = format!("{error:?}");
        match error.file() {
            Some(file) if error.is_parse() && text.ends_with(EDITION) => SchemaError::Edition { file: file.to_owned() },
            _ => SchemaError::Compile(text),
        }
    };
    let mut resolver = ChainFileResolver::new();
    for include in include_dirs(files, includes) {
        resolver.add(IncludeFileResolver::new(include));
    }
    resolver.add(GoogleFileResolver::new());
    let builtin = DescriptorSetFileResolver::decode(BUILTIN);
    resolver.add(builtin.map_err(|error| SchemaError::Compile(error.to_string()))?);
    let mut compiler = protox::Compiler::with_file_resolver(Traced { resolver, names: names.clone() });
    // With both, the bytes keep extensions without a detour.
    compiler.include_imports(true).include_source_info(true);
    compiler.open_files(files).map_err(failed)?;
    Ok(compiler.encode_file_descriptor_set().into())
}

/// How the compiler, which knows `syntax` alone, says that a file begins otherwise.
const EDITION: &str = "but found 'edition'";

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
