//! Texts that stand alone: what they name is in the repository.

use std::path::Path;

use super::tree::{File, Tree};

/// First parts of absolute paths that exist only on somebody's machine.
const PRIVATE_ROOTS: &[&str] = &["home", "Users", "root", "work", "mnt"];

/// Files in which such a path is part of what they describe.
const MAY_NAME_ROOTS: &[(&str, &str)] = &[("deploy/", "paths inside an image or on a server")];

/// Places on one machine, and issue numbers, which mean nothing to whoever has only the repository.
pub(crate) fn places_outside(tree: &Tree) -> Vec<String> {
    let mut breaches = Vec::new();
    for file in tree.files().filter(|file| !MAY_NAME_ROOTS.iter().any(|(path, _)| file.path.starts_with(path))) {
        for (line, text) in file.lines() {
            if names_private_path(text) || leaves_the_repository(&file.path, text) {
                breaches.push(format!("{}:{line}: names a place outside the repository", file.path));
            }
            if !is_generated(file) && names_issue(text) {
                breaches.push(format!("{}:{line}: names an issue by its number; say what it is about", file.path));
            }
        }
    }
    breaches
}

/// Paths in the folders of protos and documentation, and targets of links, that are not there.
pub(crate) fn names_of_nothing(tree: &Tree) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut breaches = Vec::new();
    for file in tree.files().filter(|file| !file.path.starts_with("tests/data/")) {
        for (line, text) in file.lines() {
            let said = prose_of(file, text).flat_map(|prose| ["proto/", "docs/"].map(|folder| named(prose, folder)));
            let linked = links_of(file, text).map(|target| directory(&file.path).join(target));
            for path in said.flatten().map(|path| Path::new(path).to_owned()).chain(linked) {
                if !root.join(&path).exists() {
                    breaches.push(format!("{}:{line}: {} is not there", file.path, path.display()));
                }
            }
        }
    }
    breaches
}

fn names_private_path(text: &str) -> bool {
    text.match_indices('/').any(|(at, _)| {
        let begins = text[..at].chars().next_back().is_none_or(|c| c.is_whitespace() || "\"'`=([:".contains(c));
        let after = &text[at + 1..];
        begins && PRIVATE_ROOTS.iter().any(|root| after.strip_prefix(root).is_some_and(|rest| rest.starts_with('/')))
    })
}

/// True for `../` more often than the file lies deep.
fn leaves_the_repository(path: &str, text: &str) -> bool {
    let depth = path.matches('/').count();
    text.contains(&"../".repeat(depth + 1))
}

fn names_issue(text: &str) -> bool {
    let lower = text.to_ascii_lowercase();
    lower.match_indices("issue ").any(|(at, word)| {
        let number = lower[at + word.len()..].trim_start_matches('#');
        let before = lower[..at].chars().next_back();
        number.starts_with(|c: char| c.is_ascii_digit()) && before.is_none_or(|c| !c.is_alphanumeric())
    })
}

fn is_generated(file: &File) -> bool {
    file.has_extension(&["lock", "json"])
}

/// The part of a line that people read: all of a text, the comment of a source.
fn prose_of<'a>(file: &File, text: &'a str) -> impl Iterator<Item = &'a str> {
    let prose = if file.has_extension(&["md"]) {
        Some(text)
    } else if file.has_extension(&["rs"]) {
        text.split_once("//").map(|(_, comment)| comment)
    } else {
        None
    };
    prose.into_iter()
}

/// Paths that begin with `folder`; patterns are none.
fn named<'a>(text: &'a str, folder: &str) -> Vec<&'a str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "._-/*{<".contains(c);
    let begins = |at: usize| text[..at].chars().next_back().is_none_or(|c| !is_part(c) && c != '$' && c != '}');
    let starts = text.match_indices(folder).map(|(at, _)| at).filter(|at| begins(*at));
    let paths = starts.map(|at| &text[at..at + text[at..].find(|c| !is_part(c)).unwrap_or(text.len() - at)]);
    paths.map(|path| path.trim_end_matches('.')).filter(|path| !path.contains(['*', '{', '<'])).collect()
}

/// Targets of Markdown links that are files here.
fn links_of<'a>(file: &File, text: &'a str) -> impl Iterator<Item = &'a str> {
    let text = if file.has_extension(&["md"]) { text } else { "" };
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split_once(')').map(|(target, _)| target));
    targets
        .filter(|target| !target.contains(':') && !target.starts_with('#'))
        .map(|target| target.split_once('#').map_or(target, |(path, _)| path))
}

fn directory(path: &str) -> &Path {
    Path::new(path).parent().unwrap_or(Path::new(""))
}

#[test]
fn places_and_numbers_are_seen_where_they_are() {
    let own = ["", "home", "someone", "notes.txt"].join("/");
    assert!(names_private_path(&format!("see {own}")));
    assert!(names_private_path(&format!("(`{own}`)")));
    assert!(!names_private_path("GET /v1/home/x, http://example.com/home/x, src/home/x, /homework"));
    let up = ["..", "..", "notes.txt"].join("/");
    assert!(leaves_the_repository("docs/a.md", &up));
    assert!(!leaves_the_repository("src/a/b.rs", &up));
    let numbered = ["as issue", "12 says"].join(" ");
    assert!(names_issue(&numbered));
    assert!(!names_issue("tissue 5, an issue of trust"));
}

#[test]
fn names_and_links_are_read_off_prose() {
    let line = "see `docs/a.md`, docs/b.md. and proto/x/*.proto, not api/docs/c.md";
    assert_eq!(named(line, "docs/"), ["docs/a.md", "docs/b.md"]);
    assert_eq!(named(line, "proto/"), Vec::<&str>::new());
    let file = File { path: "docs/a.md".to_owned(), text: String::new() };
    let links = "[a](b.md#x) [c](https://example.com) [d](#e) [f](../README.md)";
    assert_eq!(links_of(&file, links).collect::<Vec<_>>(), ["b.md", "../README.md"]);
}
