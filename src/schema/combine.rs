//! Joins files of several origins into one list in which every symbol is declared once, with all that any of them
//! declares in it. Whether that is still what each of them means is for others to check.

use std::collections::{HashMap, HashSet};

use buffa_descriptor::generated::descriptor::{
    DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorProto, ServiceDescriptorProto,
};

use super::is_infrastructure;

/// Files in which every top-level symbol stands once: in the file where it came first.
#[derive(Default)]
pub(super) struct Combined {
    pub(super) files: Vec<FileDescriptorProto>,
    /// The part that each file came from.
    pub(super) parts: Vec<usize>,
    /// Symbols that a later part declares otherwise.
    pub(super) overlaps: Vec<Overlap>,
    places: HashMap<String, Place>,
    file_names: HashSet<String>,
}

/// A symbol that a later part declares otherwise than the first did.
#[derive(Debug)]
pub(super) struct Overlap {
    pub(super) symbol: String,
    pub(super) first: usize,
    pub(super) second: usize,
}

/// Where the first declaration of a symbol stands.
#[derive(Clone, Copy)]
struct Place {
    part: usize,
    kind: Kind,
    file: usize,
    index: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Message,
    Enum,
    Extension,
    Service,
}

impl Combined {
    /// Joins parts by their names and files.
    pub(super) fn of<'a>(parts: impl IntoIterator<Item = (&'a str, &'a [FileDescriptorProto])>) -> Self {
        let mut combined = Self::default();
        for (part, (name, files)) in parts.into_iter().enumerate() {
            for file in files {
                combined.add(part, name, file.clone());
            }
        }
        combined
    }

    fn add(&mut self, part: usize, part_name: &str, mut file: FileDescriptorProto) {
        let mut left_out = false;
        left_out |= self.take::<DescriptorProto>(part, &mut file);
        left_out |= self.take::<EnumDescriptorProto>(part, &mut file);
        left_out |= self.take::<FieldDescriptorProto>(part, &mut file);
        left_out |= self.take::<ServiceDescriptorProto>(part, &mut file);
        let FileDescriptorProto { message_type, enum_type, extension, service, .. } = &file;
        if message_type.is_empty() && enum_type.is_empty() && extension.is_empty() && service.is_empty() {
            return;
        }
        if left_out {
            // It tells places by their indices.
            file.source_code_info = Default::default();
        }
        if !self.file_names.insert(file.name.clone().unwrap_or_default()) {
            file.name = file.name.map(|name| format!("{name} of {part_name}"));
        }
        self.files.push(file);
        self.parts.push(part);
    }

    /// Leaves in the file what nobody declared before, and adds the rest to the first declarations; true where there
    /// was any.
    fn take<D: Declared>(&mut self, part: usize, file: &mut FileDescriptorProto) -> bool {
        let package = file.package.clone().unwrap_or_default();
        let all = std::mem::take(D::all(file));
        let count = all.len();
        for declared in all {
            let symbol = full_name(&package, declared.name());
            let own = Place { part, kind: D::KIND, file: self.files.len(), index: D::all(file).len() };
            let first = *self.places.entry(symbol.clone()).or_insert(own);
            // One that a part has twice stays, for the pool to refuse.
            if first.part == part {
                D::all(file).push(declared);
            } else if !is_standard(&symbol) {
                self.join(symbol, declared, first, part, file);
            }
        }
        D::all(file).len() < count
    }

    fn join<D: Declared>(
        &mut self,
        symbol: String,
        declared: D,
        first: Place,
        part: usize,
        from: &FileDescriptorProto,
    ) {
        let Some(into) = self.files.get_mut(first.file) else { return };
        let alike = is_same_language(into, from);
        let known = if first.kind == D::KIND { D::all(into).get_mut(first.index) } else { None };
        if known.as_deref() == Some(&declared) && alike {
            return;
        }
        if let Some(known) = known {
            known.extend(declared);
        }
        self.overlaps.push(Overlap { symbol, first: first.part, second: part });
    }
}

/// What stands at the top level of a file under a name.
trait Declared: PartialEq + Sized {
    const KIND: Kind;

    fn name(&self) -> &Option<String>;

    fn all(file: &mut FileDescriptorProto) -> &mut Vec<Self>;

    /// Takes over what this declaration lacks. Where both have something under one name or number, this one's stays.
    fn extend(&mut self, other: Self);
}

impl Declared for DescriptorProto {
    const KIND: Kind = Kind::Message;

    fn name(&self) -> &Option<String> {
        &self.name
    }

    fn all(file: &mut FileDescriptorProto) -> &mut Vec<Self> {
        &mut file.message_type
    }

    fn extend(&mut self, other: Self) {
        // What one reserves, the other may still have.
        self.reserved_name.clear();
        self.reserved_range.clear();
        let mut taken = Taken::of(&self.field, |field| (&field.name, field.number));
        for mut field in other.field {
            if !taken.is_new(&field.name, field.number) {
                continue;
            }
            let oneof = field.oneof_index.and_then(|index| other.oneof_decl.get(usize::try_from(index).ok()?));
            field.oneof_index = oneof.map(|oneof| {
                let known = self.oneof_decl.iter().position(|known| known.name == oneof.name);
                let index = known.unwrap_or_else(|| {
                    self.oneof_decl.push(oneof.clone());
                    self.oneof_decl.len() - 1
                });
                i32::try_from(index).unwrap_or(i32::MAX)
            });
            self.field.push(field);
        }
        for range in other.extension_range {
            if !self.extension_range.iter().any(|known| known.start == range.start && known.end == range.end) {
                self.extension_range.push(range);
            }
        }
        extend_all(&mut self.nested_type, other.nested_type);
        extend_all(&mut self.enum_type, other.enum_type);
        extend_all(&mut self.extension, other.extension);
    }
}

impl Declared for EnumDescriptorProto {
    const KIND: Kind = Kind::Enum;

    fn name(&self) -> &Option<String> {
        &self.name
    }

    fn all(file: &mut FileDescriptorProto) -> &mut Vec<Self> {
        &mut file.enum_type
    }

    fn extend(&mut self, other: Self) {
        self.reserved_name.clear();
        self.reserved_range.clear();
        let aliases = [&self.options, &other.options].iter().any(|options| options.allow_alias == Some(true));
        if aliases {
            self.options.get_or_insert_default().allow_alias = Some(true);
        }
        let mut taken = Taken::of(&self.value, |value| (&value.name, value.number));
        self.value.extend(other.value.into_iter().filter(|value| match aliases {
            true => taken.names.insert(value.name.clone()),
            false => taken.is_new(&value.name, value.number),
        }));
    }
}

impl Declared for FieldDescriptorProto {
    const KIND: Kind = Kind::Extension;

    fn name(&self) -> &Option<String> {
        &self.name
    }

    fn all(file: &mut FileDescriptorProto) -> &mut Vec<Self> {
        &mut file.extension
    }

    fn extend(&mut self, _: Self) {}
}

impl Declared for ServiceDescriptorProto {
    const KIND: Kind = Kind::Service;

    fn name(&self) -> &Option<String> {
        &self.name
    }

    fn all(file: &mut FileDescriptorProto) -> &mut Vec<Self> {
        &mut file.service
    }

    fn extend(&mut self, other: Self) {
        let known: HashSet<Option<String>> = self.method.iter().map(|method| method.name.clone()).collect();
        self.method.extend(other.method.into_iter().filter(|method| !known.contains(&method.name)));
    }
}

/// Extends what both have by name, and appends the rest.
fn extend_all<D: Declared>(own: &mut Vec<D>, others: Vec<D>) {
    // The first of a name stays the one.
    let mut places: HashMap<Option<String>, usize> =
        own.iter().enumerate().rev().map(|(place, known)| (known.name().clone(), place)).collect();
    for other in others {
        let place = *places.entry(other.name().clone()).or_insert(own.len());
        match own.get_mut(place) {
            Some(known) => known.extend(other),
            None => own.push(other),
        }
    }
}

/// Names and numbers that are in use.
struct Taken {
    names: HashSet<Option<String>>,
    numbers: HashSet<Option<i32>>,
}

impl Taken {
    fn of<T>(all: &[T], key: impl Fn(&T) -> (&Option<String>, Option<i32>)) -> Self {
        let (names, numbers) = all.iter().map(key).map(|(name, number)| (name.clone(), number)).unzip();
        Self { names, numbers }
    }

    /// True, once, where neither is in use.
    fn is_new(&mut self, name: &Option<String>, number: Option<i32>) -> bool {
        !self.names.contains(name) && self.numbers.insert(number) && self.names.insert(name.clone())
    }
}

/// True where the same text means the same in both files.
pub(super) fn is_same_language(a: &FileDescriptorProto, b: &FileDescriptorProto) -> bool {
    a.syntax == b.syntax && a.edition == b.edition && a.options.features == b.options.features
}

/// Full names of the methods of some files.
pub(super) fn method_names(files: &[FileDescriptorProto]) -> impl Iterator<Item = String> {
    files.iter().flat_map(|file| {
        let package = file.package.as_deref().unwrap_or_default();
        file.service.iter().flat_map(move |service| {
            let service_name = full_name(package, &service.name);
            service.method.iter().map(move |method| full_name(&service_name, &method.name))
        })
    })
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

/// Takes custom options out of files that are to be linked. They are read from the raw options where they are needed at
/// all; linked, those of two upstreams would only collide, for companies number them as they like.
pub(super) fn drop_option_extensions(files: &mut [FileDescriptorProto]) {
    fn of_message(message: &mut DescriptorProto) {
        message.extension.retain(|extension| !extends_options(extension));
        message.nested_type.iter_mut().for_each(of_message);
    }
    for file in files {
        file.extension.retain(|extension| !extends_options(extension));
        file.message_type.iter_mut().for_each(of_message);
    }
}

fn extends_options(extension: &FieldDescriptorProto) -> bool {
    let extendee = extension.extendee.as_deref().unwrap_or_default();
    extendee
        .strip_prefix(".google.protobuf.")
        .is_some_and(|name| name == "FeatureSet" || name.ends_with("Options") && !name.contains('.'))
}

/// Symbols that everyone has a copy of, which differ by version only: the first definition stays.
pub(super) fn is_standard(symbol: &str) -> bool {
    let package = symbol.rsplit_once('.').map_or("", |(package, _)| package);
    matches!(package, "google.protobuf" | "google.api" | "google.rpc") || is_infrastructure(symbol)
}

fn full_name(package: &str, name: &Option<String>) -> String {
    let name = name.as_deref().unwrap_or_default();
    if package.is_empty() { name.to_owned() } else { format!("{package}.{name}") }
}
