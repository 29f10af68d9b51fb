//! The files of several upstreams as server reflection tells them: made so that whoever loads them can link them, and
//! found by what stands in them. Knows nothing of who asks.

mod index;
mod mend;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet, VecDeque};

use buffa::Message as _;
use buffa_descriptor::generated::descriptor::FileDescriptorProto;
use bytes::Bytes;

use self::index::Index;
use super::{SchemaError, merge};

/// Most bytes of imported files that go with a file that was asked for; the others can be asked for by name.
const IMPORTS_BYTES_MAX: usize = 1 << 20;

/// Serialized `google.protobuf.FileDescriptorProto`s of some upstreams and of what is built in, without source
/// information. Immutable.
#[derive(Debug)]
pub struct Files {
    files: Vec<File>,
    by_name: HashMap<String, FileId>,
    index: Index,
}

/// A file of one [`Files`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId(usize);

#[derive(Debug)]
struct File {
    bytes: Bytes,
    imports: Vec<FileId>,
}

impl Files {
    /// Joins sets by the names of their upstreams. A symbol that several have stands in one file, with all that any of
    /// them declares in it.
    ///
    /// # Errors
    /// A set that is not valid.
    pub fn join<'a>(sets: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Result<Self, SchemaError> {
        let files = mend::mend(merge::files(sets)?);
        let names =
            files.iter().enumerate().map(|(place, file)| (file.name.clone().unwrap_or_default(), FileId(place)));
        let by_name: HashMap<_, _> = names.collect();
        let index = Index::of(&files);
        let file = |file: FileDescriptorProto| File {
            bytes: file.encode_to_vec().into(),
            imports: file.dependency.iter().filter_map(|name| by_name.get(name).copied()).collect(),
        };
        Ok(Self { files: files.into_iter().map(file).collect(), by_name, index })
    }

    /// The file of a name, as in `import`.
    pub fn named(&self, name: &str) -> Option<FileId> {
        self.by_name.get(name).copied()
    }

    /// The file that declares a symbol, by its full name: a message, a field, a oneof, an enum, a value, an extension, a
    /// service or a method.
    pub fn declaring(&self, symbol: &str) -> Option<FileId> {
        self.index.declaring(symbol)
    }

    /// The file that declares the extension of a message by this number.
    pub fn extending(&self, message: &str, number: i32) -> Option<FileId> {
        self.index.extending(message, number)
    }

    /// The numbers of all extensions of a message, in order; none where there is no such message.
    pub fn extension_numbers(&self, message: &str) -> Option<Vec<i32>> {
        self.index.extension_numbers(message)
    }

    /// A file, and after it what it imports, directly or not, as far as that was not `sent` already.
    pub fn with_imports(&self, file: FileId, sent: &mut HashSet<FileId>) -> Vec<Bytes> {
        let mut told = Vec::new();
        let mut bytes = 0;
        let mut waiting = VecDeque::from([file]);
        while let Some(id) = waiting.pop_front() {
            let Some(File { bytes: file, imports }) = self.files.get(id.0) else { continue };
            // What was asked for is told again.
            if !sent.insert(id) && !told.is_empty() {
                continue;
            }
            if !told.is_empty() {
                bytes += file.len();
            }
            if bytes > IMPORTS_BYTES_MAX {
                sent.remove(&id);
                break;
            }
            told.push(file.clone());
            waiting.extend(imports);
        }
        told
    }
}
