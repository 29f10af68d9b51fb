//! Names in a module of TypeScript: short, unique, and none that the language keeps for itself.

use std::collections::{HashMap, HashSet};

use buffa_descriptor::DescriptorPool;

/// The names of types, or of services, by their full names in the schema.
pub(super) struct Names(HashMap<String, String>);

impl Names {
    /// Each without its package; where that is no name for one alone, all that share it keep their packages.
    pub(super) fn of<'a>(pool: &DescriptorPool, full_names: impl IntoIterator<Item = &'a str>) -> Self {
        let named: Vec<(&str, String)> =
            full_names.into_iter().map(|full_name| (full_name, short_name(pool, full_name))).collect();
        let mut counts: HashMap<&str, usize> = HashMap::new();
        for (_, short) in &named {
            *counts.entry(short).or_default() += 1;
        }
        let (mut names, mut used) = (HashMap::new(), HashSet::new());
        // Short ones first: they are not to be taken by long ones.
        let (short, long): (Vec<_>, Vec<_>) =
            named.iter().partition(|(_, short)| counts.get(short.as_str()) == Some(&1));
        let long = long.into_iter().map(|(full_name, _)| (*full_name, full_name.replace('.', "_")));
        for (full_name, mut name) in short.into_iter().map(|(full_name, short)| (*full_name, short.clone())).chain(long)
        {
            while RESERVED.contains(&name.as_str()) || used.contains(&name) {
                name.push('_');
            }
            used.insert(name.clone());
            names.insert(full_name.to_owned(), name);
        }
        Self(names)
    }

    /// What is not in the schema has no name, and is anything.
    pub(super) fn name(&self, full_name: &str) -> &str {
        self.0.get(full_name).map_or("unknown", String::as_str)
    }
}

/// `Outer_Inner` of `pkg.Outer.Inner`.
fn short_name(pool: &DescriptorPool, full_name: &str) -> String {
    let package = pool.file_containing_symbol(full_name).and_then(|file| file.package.as_deref()).unwrap_or_default();
    let inner = full_name.strip_prefix(package).map_or(full_name, |inner| inner.trim_start_matches('.'));
    inner.replace('.', "_")
}

/// `listPosts` of `ListPosts`.
pub(super) fn local_name(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map(|first| first.to_ascii_lowercase()).into_iter().chain(letters).collect()
}

/// A member of an object type or of an object, in quotes where it has to be.
pub(super) fn property(name: &str) -> String {
    let is_identifier = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '$')
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && !name.is_empty();
    if is_identifier { name.to_owned() } else { string(name) }
}

/// A string literal: JSON's is one.
pub(super) fn string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Words that are no names of types or of constants in a module, and what is imported.
const RESERVED: &[&str] = &[
    "any",
    "arguments",
    "as",
    "asserts",
    "async",
    "await",
    "bigint",
    "boolean",
    "break",
    "case",
    "catch",
    "class",
    "const",
    "continue",
    "debugger",
    "declare",
    "default",
    "delete",
    "do",
    "else",
    "enum",
    "eval",
    "export",
    "extends",
    "false",
    "finally",
    "for",
    "function",
    "if",
    "implements",
    "import",
    "in",
    "infer",
    "instanceof",
    "interface",
    "is",
    "keyof",
    "let",
    "module",
    "namespace",
    "never",
    "new",
    "null",
    "number",
    "object",
    "package",
    "private",
    "protected",
    "public",
    "readonly",
    "require",
    "return",
    "static",
    "string",
    "super",
    "switch",
    "symbol",
    "this",
    "throw",
    "tidegate",
    "true",
    "try",
    "type",
    "typeof",
    "undefined",
    "unique",
    "unknown",
    "var",
    "void",
    "while",
    "with",
    "yield",
];
