//! Makes of joined files ones that every client can link: some are stricter about imports than the gateway has to be.

use std::collections::{HashMap, HashSet};

use buffa_descriptor::generated::descriptor::{DescriptorProto, FieldDescriptorProto, FileDescriptorProto};

use super::index::Index;
use crate::schema::{combine::is_same_language, set::import_cycle};

/// Every file imports what it names, and nothing that is not there; no two import each other, as far as that can be; no
/// two extensions of a message have one number; what stands for `optional` stands behind what is a oneof.
pub(super) fn mend(mut files: Vec<FileDescriptorProto>) -> Vec<FileDescriptorProto> {
    keep_first_extensions(&mut files);
    files.iter_mut().flat_map(|file| &mut file.message_type).for_each(put_synthetic_oneofs_last);
    import_what_is_named(&mut files);
    while let Some(cycle) = import_cycle(&files) {
        // A symbol that one upstream has in another file than the next can lead files in a circle.
        if !fold(&mut files, &cycle) {
            break;
        }
    }
    files
}

/// Companies number their options as they like; what is set by an option that is left out is still there, as a number.
fn keep_first_extensions(files: &mut [FileDescriptorProto]) {
    fn of_message(message: &mut DescriptorProto, is_first: &mut impl FnMut(&FieldDescriptorProto) -> bool) {
        message.extension.retain(|extension| is_first(extension));
        message.nested_type.iter_mut().for_each(|nested| of_message(nested, is_first));
    }
    let mut seen = HashSet::new();
    let mut is_first = |extension: &FieldDescriptorProto| seen.insert((extension.extendee.clone(), extension.number));
    for file in files {
        file.extension.retain(|extension| is_first(extension));
        file.message_type.iter_mut().for_each(|message| of_message(message, &mut is_first));
    }
}

/// As linkers want it (descriptor.proto, `proto3_optional`), where a message was joined of one with `optional` fields and
/// one with a oneof.
fn put_synthetic_oneofs_last(message: &mut DescriptorProto) {
    message.nested_type.iter_mut().for_each(put_synthetic_oneofs_last);
    let is_synthetic = |place: usize| {
        let own = |field: &&FieldDescriptorProto| field.oneof_index == i32::try_from(place).ok();
        message.field.iter().find(own).is_some_and(|field| field.proto3_optional == Some(true))
    };
    let (last, mut order): (Vec<_>, Vec<_>) = (0..message.oneof_decl.len()).partition(|place| is_synthetic(*place));
    order.extend(last);
    if order.is_sorted() {
        return;
    }
    message.oneof_decl = order.iter().filter_map(|place| message.oneof_decl.get(*place).cloned()).collect();
    for field in &mut message.field {
        let Some(old) = field.oneof_index.and_then(|index| usize::try_from(index).ok()) else { continue };
        field.oneof_index = order.iter().position(|place| *place == old).and_then(|place| i32::try_from(place).ok());
    }
}

fn import_what_is_named(files: &mut [FileDescriptorProto]) {
    let names: Vec<String> = files.iter().map(|file| file.name.clone().unwrap_or_default()).collect();
    let present: HashSet<&str> = names.iter().map(String::as_str).collect();
    let index = Index::of(files);
    for file in files {
        let needed: Vec<&str> =
            named(file).into_iter().filter_map(|name| index.declaring(name)).map(|id| names[id.0].as_str()).collect();
        set_imports(file, |import| present.contains(import).then(|| import.to_owned()), &needed);
    }
}

/// Makes one file of several that import each other, where they can be one.
fn fold(files: &mut Vec<FileDescriptorProto>, cycle: &[String]) -> bool {
    let is_in = |name: &Option<String>| name.as_ref().is_some_and(|name| cycle.contains(name));
    let (members, others): (Vec<_>, Vec<_>) = std::mem::take(files).into_iter().partition(|file| is_in(&file.name));
    let mut members = members.into_iter();
    let Some(mut first) = members.next() else { return false };
    let rest: Vec<_> = members.collect();
    *files = others;
    if rest.is_empty() || rest.iter().any(|file| file.package != first.package || !is_same_language(file, &first)) {
        files.push(first);
        files.extend(rest);
        return false;
    }
    let mut imports = Vec::new();
    for file in rest {
        first.message_type.extend(file.message_type);
        first.enum_type.extend(file.enum_type);
        first.extension.extend(file.extension);
        first.service.extend(file.service);
        imports.extend(file.dependency);
    }
    let name = first.name.clone().unwrap_or_default();
    files.push(first);
    for file in files {
        let more: &[String] = if file.name.as_ref() == Some(&name) { &imports } else { &[] };
        let more: Vec<&str> =
            more.iter().map(String::as_str).filter(|import| !cycle.iter().any(|own| own == import)).collect();
        set_imports(
            file,
            |import| Some(if cycle.iter().any(|own| own == import) { name.clone() } else { import.to_owned() }),
            &more,
        );
    }
    true
}

/// Replaces imports by what they are now, each once, and adds more. Indices of imports go with them.
fn set_imports(file: &mut FileDescriptorProto, now: impl Fn(&str) -> Option<String>, more: &[&str]) {
    let own = file.name.clone().unwrap_or_default();
    let mut imports: Vec<String> = Vec::with_capacity(file.dependency.len());
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut place_of = |import: String| {
        (import != own).then(|| {
            *places.entry(import).or_insert_with_key(|import| {
                imports.push(import.clone());
                imports.len() - 1
            })
        })
    };
    let moved: Vec<Option<usize>> =
        std::mem::take(&mut file.dependency).iter().map(|import| now(import).and_then(&mut place_of)).collect();
    for import in more {
        place_of((*import).to_owned());
    }
    for indices in [&mut file.public_dependency, &mut file.weak_dependency] {
        let now = |index: &i32| i32::try_from((*moved.get(usize::try_from(*index).ok()?)?)?).ok();
        *indices = indices.iter().filter_map(now).collect();
    }
    file.dependency = imports;
}

/// The full names of all types that a file names.
fn named(file: &FileDescriptorProto) -> Vec<&str> {
    fn of_field<'f>(field: &'f FieldDescriptorProto, out: &mut Vec<&'f str>) {
        out.extend(field.type_name.as_deref());
        out.extend(field.extendee.as_deref());
    }
    fn of_message<'f>(message: &'f DescriptorProto, out: &mut Vec<&'f str>) {
        message.field.iter().chain(&message.extension).for_each(|field| of_field(field, out));
        message.nested_type.iter().for_each(|nested| of_message(nested, out));
    }
    let mut out = Vec::new();
    file.message_type.iter().for_each(|message| of_message(message, &mut out));
    file.extension.iter().for_each(|extension| of_field(extension, &mut out));
    for method in file.service.iter().flat_map(|service| &service.method) {
        out.extend(method.input_type.as_deref());
        out.extend(method.output_type.as_deref());
    }
    out.into_iter().map(|name| name.trim_start_matches('.')).collect()
}
