//! The order of modules in `src/lib.rs`: the way of a call, from the command line down to the limits.

use std::collections::HashSet;

use super::{
    rust::{code_of, first_names, ident, test_modules, without_tests},
    tree::{File, Tree},
};

/// The modules as `src/lib.rs` declares them.
pub(crate) fn in_reading_order(tree: &Tree) -> Vec<String> {
    let code = code_of(&tree.file("src/lib.rs").text);
    let names: Vec<_> = code
        .lines()
        .filter_map(|line| line.trim().trim_start_matches("pub ").strip_prefix("mod ")?.strip_suffix(';'))
        .map(str::to_owned)
        .collect();
    assert!(names.len() > 3, "src/lib.rs declares {names:?}");
    names
}

/// Imports of a module that does not stand below, in code that is not only for tests.
pub(crate) fn imports_upwards(tree: &Tree) -> Vec<String> {
    let order = in_reading_order(tree);
    let place = |name: &str| order.iter().position(|module| module == name);
    let sources: Vec<_> = tree.sources().filter_map(Source::of_file).collect();
    let for_tests: HashSet<Vec<&str>> = sources.iter().flat_map(Source::test_modules).collect();
    let mut breaches = Vec::new();
    for source in &sources {
        let is_for_tests = (0..=source.module.len()).any(|len| for_tests.contains(&source.module[..len]));
        let Some(own) = source.module.first().filter(|_| !is_for_tests) else { continue };
        let from = place(own).unwrap_or_else(|| panic!("src/lib.rs does not declare {own}"));
        for name in root_names(&without_tests(&source.code), source.module.len()) {
            match place(&name) {
                Some(to) if to >= from => {}
                Some(_) => breaches.push(format!("{}: `{own}` imports `{name}`, which stands above it", source.path)),
                None => breaches.push(format!("{}: `crate::{name}` is no module of src/lib.rs", source.path)),
            }
        }
    }
    breaches
}

struct Source<'a> {
    path: &'a str,
    /// `src/a/b.rs` and `src/a/b/mod.rs` are `[a, b]`.
    module: Vec<&'a str>,
    code: String,
}

impl<'a> Source<'a> {
    /// None for what is no module of the library.
    fn of_file(file: &'a File) -> Option<Self> {
        let inner = file.path.strip_prefix("src/")?.strip_suffix(".rs")?;
        if matches!(inner, "lib" | "main") {
            return None;
        }
        let module = inner.strip_suffix("/mod").unwrap_or(inner).split('/').collect();
        Some(Self { path: &file.path, module, code: code_of(&file.text) })
    }

    fn test_modules(&self) -> impl Iterator<Item = Vec<&str>> {
        test_modules(&self.code).into_iter().map(|name| [self.module.as_slice(), &[name]].concat())
    }
}

/// What the code names at the root of the crate, by `crate::` or by as many `super::` as lead there.
fn root_names(code: &str, depth: usize) -> Vec<String> {
    let mut names = Vec::new();
    let mut rest = code;
    while let Some(start) = rest.find("::") {
        let (head, tail) = (&rest[..start], &rest[start + 2..]);
        let word = head.rfind(|c: char| !c.is_alphanumeric() && c != '_').map_or(head, |at| &head[at + 1..]);
        rest = tail;
        let at_root = match word {
            "crate" => true,
            "super" => {
                let more = supers(&mut rest);
                1 + more == depth
            }
            _ => false,
        };
        if at_root {
            names.extend(first_names(rest).into_iter().map(str::to_owned));
        }
    }
    names
}

/// Takes further `super::` off the front, and counts them.
fn supers(rest: &mut &str) -> usize {
    let mut count = 0;
    while ident(rest) == "super" && rest["super".len()..].starts_with("::") {
        *rest = &rest["super::".len()..];
        count += 1;
    }
    count
}

#[test]
fn names_at_the_root_are_found_however_they_are_written() {
    let code = "use crate::{wire::X, status::{Y, Z}};\nfn f() -> crate::call::T { super::super::edge::g(super::h()) }";
    assert_eq!(root_names(code, 2), ["wire", "status", "call", "edge"]);
    assert_eq!(root_names(code, 1), ["wire", "status", "call", "h"]);
}
