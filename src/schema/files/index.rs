//! Which file declares a symbol or an extension.

use std::collections::{BTreeMap, HashMap};

use buffa_descriptor::generated::descriptor::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto,
};

use super::FileId;

/// Symbols by their full names.
#[derive(Debug, Default)]
pub(super) struct Index {
    symbols: HashMap<String, Symbol>,
    /// By the message that is extended, then by number.
    extensions: HashMap<String, BTreeMap<i32, FileId>>,
}

#[derive(Clone, Copy, Debug)]
struct Symbol {
    file: FileId,
    is_message: bool,
}

impl Index {
    pub(super) fn of(files: &[FileDescriptorProto]) -> Self {
        let mut index = Self::default();
        for (place, file) in files.iter().enumerate() {
            index.add(file, FileId(place));
        }
        index
    }

    pub(super) fn declaring(&self, symbol: &str) -> Option<FileId> {
        self.symbols.get(symbol).map(|symbol| symbol.file)
    }

    pub(super) fn extending(&self, message: &str, number: i32) -> Option<FileId> {
        self.extensions.get(message)?.get(&number).copied()
    }

    pub(super) fn extension_numbers(&self, message: &str) -> Option<Vec<i32>> {
        self.symbols.get(message).filter(|symbol| symbol.is_message)?;
        Some(self.extensions.get(message).into_iter().flat_map(|numbers| numbers.keys()).copied().collect())
    }

    fn add(&mut self, file: &FileDescriptorProto, id: FileId) {
        let package = file.package.as_deref().unwrap_or_default();
        file.message_type.iter().for_each(|message| self.add_message(package, message, id));
        file.enum_type.iter().for_each(|own| self.add_enum(package, own, id));
        file.extension.iter().for_each(|extension| self.add_extension(package, extension, id));
        for service in &file.service {
            let name = self.declare(package, &service.name, id, false);
            for method in &service.method {
                self.declare(&name, &method.name, id, false);
            }
        }
    }

    fn add_message(&mut self, scope: &str, message: &DescriptorProto, id: FileId) {
        let name = self.declare(scope, &message.name, id, true);
        let fields = message.field.iter().map(|field| &field.name);
        for member in fields.chain(message.oneof_decl.iter().map(|oneof| &oneof.name)) {
            self.declare(&name, member, id, false);
        }
        message.nested_type.iter().for_each(|nested| self.add_message(&name, nested, id));
        message.enum_type.iter().for_each(|own| self.add_enum(&name, own, id));
        message.extension.iter().for_each(|extension| self.add_extension(&name, extension, id));
    }

    /// Values stand beside their enum, not in it (descriptor.proto, "C++ scoping rules").
    fn add_enum(&mut self, scope: &str, own: &EnumDescriptorProto, id: FileId) {
        self.declare(scope, &own.name, id, false);
        for value in &own.value {
            self.declare(scope, &value.name, id, false);
        }
    }

    fn add_extension(&mut self, scope: &str, extension: &FieldDescriptorProto, id: FileId) {
        self.declare(scope, &extension.name, id, false);
        let (Some(message), Some(number)) = (&extension.extendee, extension.number) else { return };
        let message = message.trim_start_matches('.').to_owned();
        self.extensions.entry(message).or_default().entry(number).or_insert(id);
    }

    fn declare(&mut self, scope: &str, name: &Option<String>, file: FileId, is_message: bool) -> String {
        let name = name.as_deref().unwrap_or_default();
        let full_name = if scope.is_empty() { name.to_owned() } else { format!("{scope}.{name}") };
        self.symbols.entry(full_name.clone()).or_insert(Symbol { file, is_message });
        full_name
    }
}
