//! One upstream's files, decoded under limits. Knows nothing of other upstreams.

use std::collections::{HashMap, HashSet};

use buffa_descriptor::{
    DescriptorPool, PoolError,
    generated::descriptor::{FileDescriptorProto, FileDescriptorSet},
};

use super::{InvalidSet, SET_BYTES_MAX, combine, names, raw};

/// Most memory that the decoded elements of one set may take, in bytes: 8 to 26 times its own size was seen, so the
/// largest APIs fit; a set that was made to be decoded into far more does not.
pub(super) const SET_MEMORY_MAX: usize = 512 << 20;

/// What options are made of: every set has a copy of it, of one version or another.
const DESCRIPTOR_PROTO: &str = "google/protobuf/descriptor.proto";

/// Decodes a set: each file once, without source information.
pub(super) fn decode(set: &[u8]) -> Result<Vec<FileDescriptorProto>, InvalidSet> {
    check_size(set)?;
    decode_whole(&raw::without_source_info(set).map_err(|raw::Damaged| InvalidSet::NotASet)?)
}

/// Decodes a set: each file once.
pub(super) fn decode_whole(set: &[u8]) -> Result<Vec<FileDescriptorProto>, InvalidSet> {
    check_size(set)?;
    let files = unique(decode_within(set, SET_MEMORY_MAX)?)?;
    files.iter().try_for_each(names::check)?;
    match import_cycle(&files) {
        Some(cycle) => Err(InvalidSet::Cycle(cycle)),
        None => Ok(files),
    }
}

fn check_size(set: &[u8]) -> Result<(), InvalidSet> {
    if set.len() > SET_BYTES_MAX { Err(InvalidSet::TooLarge { len: set.len() }) } else { Ok(()) }
}

fn decode_within(set: &[u8], memory_max: usize) -> Result<Vec<FileDescriptorProto>, InvalidSet> {
    let options = buffa::DecodeOptions::new().with_element_memory_limit(memory_max);
    let decoded: FileDescriptorSet = options.decode_from_slice(set).map_err(|error| match error {
        buffa::DecodeError::ElementMemoryLimitExceeded => InvalidSet::TooMany,
        error => InvalidSet::Decode(error),
    })?;
    Ok(decoded.file)
}

/// Leaves out repetitions of a file.
fn unique(all: Vec<FileDescriptorProto>) -> Result<Vec<FileDescriptorProto>, InvalidSet> {
    let mut files: Vec<FileDescriptorProto> = Vec::with_capacity(all.len());
    let mut seen = HashMap::new();
    for file in all {
        let name = file.name.clone().unwrap_or_default();
        match seen.get(&name).and_then(|index: &usize| files.get(*index)) {
            Some(first) if *first == file => {}
            Some(_) => return Err(InvalidSet::TwoFiles(name)),
            None => {
                seen.insert(name, files.len());
                files.push(file);
            }
        }
    }
    Ok(files)
}

/// Files that import each other in a circle, the first also last: what no compiler would have let pass.
pub(super) fn import_cycle(files: &[FileDescriptorProto]) -> Option<Vec<String>> {
    let imports: HashMap<&str, &[String]> =
        files.iter().filter_map(|file| Some((file.name.as_deref()?, file.dependency.as_slice()))).collect();
    let mut seen = HashSet::new();
    for start in files.iter().filter_map(|file| file.name.as_deref()) {
        // The way to where the search stands, each file with the imports that it has not followed yet.
        let mut way = Vec::new();
        let mut on_way = HashSet::new();
        let mut next = Some(start);
        loop {
            if let Some(name) = next.filter(|name| on_way.contains(name)) {
                let circle = way.iter().map(|(file, _)| *file).skip_while(|file| *file != name).chain([name]);
                return Some(circle.map(str::to_owned).collect());
            }
            if let Some(name) = next.filter(|name| seen.insert(*name)) {
                on_way.insert(name);
                way.push((name, imports.get(name).copied().unwrap_or_default().iter()));
            }
            let Some((name, open)) = way.last_mut() else { break };
            next = open.next().map(String::as_str);
            if next.is_none() {
                on_way.remove(name);
                way.pop();
            }
        }
    }
    None
}

/// Drops what is built in anyway and would only differ by version.
pub(super) fn drop_descriptor_proto(files: &mut Vec<FileDescriptorProto>) {
    files.retain(|file| file.name.as_deref() != Some(DESCRIPTOR_PROTO));
}

/// Links files, but for custom options.
pub(super) fn link(mut files: Vec<FileDescriptorProto>) -> Result<DescriptorPool, PoolError> {
    combine::drop_option_extensions(&mut files);
    DescriptorPool::new(FileDescriptorSet { file: files, ..FileDescriptorSet::default() })
}

/// Imports that neither `files` nor what is built in have.
pub(super) fn missing_imports(files: &[FileDescriptorProto], builtin: &[FileDescriptorProto]) -> Vec<String> {
    let present: HashSet<&str> = files.iter().chain(builtin).filter_map(|file| file.name.as_deref()).collect();
    let mut missing: Vec<String> = files
        .iter()
        .flat_map(|file| &file.dependency)
        .filter(|import| !present.contains(import.as_str()))
        .cloned()
        .collect();
    missing.sort();
    missing.dedup();
    missing
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_that_unfolds_into_more_than_its_size_is_bounded() {
        // A file with messages of two bytes each.
        let file = [0x22, 0].repeat(10_000);
        let mut set = Vec::new();
        raw::push_file(&file, &mut set);
        assert!(matches!(decode_within(&set, 1 << 20), Err(InvalidSet::TooMany)));
        assert_eq!(decode_within(&set, SET_MEMORY_MAX).unwrap()[0].message_type.len(), 10_000);
    }
}
