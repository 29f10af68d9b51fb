//! Joins files of several origins into one list in which every symbol is declared once: where it came first.

use std::collections::HashMap;

use buffa_descriptor::generated::descriptor::{DescriptorProto, FieldDescriptorProto, FileDescriptorProto};

/// Files in which every top-level symbol stands once.
#[derive(Default)]
pub(super) struct Combined {
    pub(super) files: Vec<FileDescriptorProto>,
    /// Services, with the index of the part that they came from.
    pub(super) services: Vec<(String, usize)>,
    pub(super) overlaps: Vec<Overlap>,
    owners: HashMap<String, usize>,
}

/// A symbol that a later part declares again.
pub(super) struct Overlap {
    pub(super) symbol: String,
    pub(super) is_service: bool,
    /// Index of the part whose declaration stays.
    pub(super) first: usize,
    pub(super) second: usize,
}

impl Combined {
    pub(super) fn of<'a>(parts: impl IntoIterator<Item = &'a [FileDescriptorProto]>) -> Self {
        let mut combined = Self::default();
        for (part, files) in parts.into_iter().enumerate() {
            for file in files {
                combined.add(part, file.clone());
            }
        }
        combined
    }

    fn add(&mut self, part: usize, mut file: FileDescriptorProto) {
        let package = file.package.clone().unwrap_or_default();
        file.extension.retain(|extension| !extends_options(extension));
        file.message_type.iter_mut().for_each(drop_option_extensions);
        file.message_type.retain(|message| self.keep(part, &package, &message.name, false));
        file.enum_type.retain(|own| self.keep(part, &package, &own.name, false));
        file.extension.retain(|extension| self.keep(part, &package, &extension.name, false));
        file.service.retain(|service| self.keep(part, &package, &service.name, true));
        self.services.extend(file.service.iter().map(|service| (full_name(&package, &service.name), part)));
        let FileDescriptorProto { message_type, enum_type, extension, service, .. } = &file;
        if !message_type.is_empty() || !enum_type.is_empty() || !extension.is_empty() || !service.is_empty() {
            self.files.push(file);
        }
    }

    /// Whether this declaration is the first. One that the same part has twice stays, for the pool to refuse.
    fn keep(&mut self, part: usize, package: &str, name: &Option<String>, is_service: bool) -> bool {
        let symbol = full_name(package, name);
        match self.owners.get(&symbol) {
            None => {
                self.owners.insert(symbol, part);
                true
            }
            Some(first) if *first == part => true,
            Some(first) => {
                self.overlaps.push(Overlap { symbol, is_service, first: *first, second: part });
                false
            }
        }
    }
}

/// Types of the values of custom options in some files, full names.
pub(super) fn option_types(files: &[FileDescriptorProto]) -> Vec<&str> {
    fn of_message<'a>(message: &'a DescriptorProto, out: &mut Vec<&'a FieldDescriptorProto>) {
        out.extend(&message.extension);
        message.nested_type.iter().for_each(|nested| of_message(nested, out));
    }
    let mut extensions = Vec::new();
    for file in files {
        extensions.extend(&file.extension);
        file.message_type.iter().for_each(|message| of_message(message, &mut extensions));
    }
    let types = extensions.into_iter().filter(|extension| extends_options(extension));
    types.filter_map(|extension| extension.type_name.as_deref()).map(|name| name.trim_start_matches('.')).collect()
}

/// Custom options are read from the raw options where they are needed at all. Linked, those of two upstreams would only
/// collide: companies number them as they like.
fn extends_options(extension: &FieldDescriptorProto) -> bool {
    let extendee = extension.extendee.as_deref().unwrap_or_default();
    extendee
        .strip_prefix(".google.protobuf.")
        .is_some_and(|name| name == "FeatureSet" || name.ends_with("Options") && !name.contains('.'))
}

fn drop_option_extensions(message: &mut DescriptorProto) {
    message.extension.retain(|extension| !extends_options(extension));
    message.nested_type.iter_mut().for_each(drop_option_extensions);
}

fn full_name(package: &str, name: &Option<String>) -> String {
    let name = name.as_deref().unwrap_or_default();
    if package.is_empty() { name.to_owned() } else { format!("{package}.{name}") }
}
