//! Names that a proto file can declare. Knows nothing of what they name.

use buffa_descriptor::generated::descriptor::{DescriptorProto, EnumDescriptorProto, FileDescriptorProto};

use super::InvalidSet;

/// Names stand in paths, texts and documents: a set that no compiler wrote must not bring others than identifiers.
pub(super) fn check(file: &FileDescriptorProto) -> Result<(), InvalidSet> {
    if let Some(package) = file.package.as_deref().filter(|package| !package.is_empty()) {
        package.split('.').try_for_each(check_one)?;
    }
    file.message_type.iter().try_for_each(check_message)?;
    file.enum_type.iter().try_for_each(check_enum)?;
    all(file.extension.iter().map(|extension| &extension.name))?;
    for service in &file.service {
        check_one(service.name.as_deref().unwrap_or_default())?;
        all(service.method.iter().map(|method| &method.name))?;
    }
    Ok(())
}

fn check_message(message: &DescriptorProto) -> Result<(), InvalidSet> {
    check_one(message.name.as_deref().unwrap_or_default())?;
    all(message.field.iter().chain(&message.extension).map(|field| &field.name))?;
    all(message.oneof_decl.iter().map(|oneof| &oneof.name))?;
    message.enum_type.iter().try_for_each(check_enum)?;
    message.nested_type.iter().try_for_each(check_message)
}

fn check_enum(declared: &EnumDescriptorProto) -> Result<(), InvalidSet> {
    check_one(declared.name.as_deref().unwrap_or_default())?;
    all(declared.value.iter().map(|value| &value.name))
}

fn all<'a>(mut names: impl Iterator<Item = &'a Option<String>>) -> Result<(), InvalidSet> {
    names.try_for_each(|name| check_one(name.as_deref().unwrap_or_default()))
}

fn check_one(name: &str) -> Result<(), InvalidSet> {
    const CHARS_SHOWN: usize = 100;
    let is_identifier = !name.is_empty()
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if is_identifier {
        return Ok(());
    }
    Err(InvalidSet::Name(name.chars().take(CHARS_SHOWN).flat_map(char::escape_debug).collect()))
}

#[cfg(test)]
mod tests {
    use crate::schema::{fixtures::compile, set};

    #[test]
    fn whatever_has_a_name_is_looked_at() {
        let source = "syntax = \"proto2\"; package pkg.v1;
             message Mess { optional int32 field = 1; oneof oneof_name { bool a = 2; } extensions 9; \
                 message Inner { enum Nested { NONE = 0; } } }
             enum Kind { KIND = 0; } extend Mess { optional int32 ext = 9; }
             service Serv { rpc Meth(Mess) returns (Mess); }";
        let compiled = compile(&[("a.proto", source)]);
        assert!(set::decode(&compiled).is_ok());
        for name in [
            "pkg",
            "v1",
            "Mess",
            "field",
            "oneof_name",
            "Inner",
            "Nested",
            "NONE",
            "Kind",
            "KIND",
            "ext",
            "Serv",
            "Meth",
        ] {
            // A name of the same length, so that the bytes stay sound.
            let bad = format!("{}-", &name[..name.len() - 1]);
            let renamed = rename(&compiled, name, &bad);
            let error = set::decode(&renamed).unwrap_err().to_string();
            assert_eq!(error, format!("`{bad}` is no name that a proto file can declare"));
        }
    }

    /// Wherever the name stands.
    fn rename(set: &[u8], name: &str, to: &str) -> Vec<u8> {
        let (name, to) = (name.as_bytes(), to.as_bytes());
        let mut renamed = set.to_vec();
        for at in 0..=set.len() - name.len() {
            if set[at..].starts_with(name) {
                renamed[at..at + name.len()].copy_from_slice(to);
            }
        }
        renamed
    }
}
