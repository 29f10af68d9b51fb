//! The rules of the repository that a compiler does not know: order of modules, first lines, lengths, texts that stand
//! alone. Reads what git knows of the tree, and fails with the place of each breach.

#![expect(clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails there")]

mod tidy {
    pub(crate) mod modules;
    pub(crate) mod rust;
    pub(crate) mod texts;
    pub(crate) mod tree;
}

use tidy::{modules, texts, tree::Tree};

const LINES_MAX: usize = 700;

/// Files that are longer for a reason; an entry whose file is short again must go.
const LONG_FILES: &[(&str, &str)] = &[];

const ARCHITECTURE_LINES_MAX: usize = 200;

#[track_caller]
fn assert_none(breaches: &[String]) {
    assert!(breaches.is_empty(), "{} of them:\n{}", breaches.len(), breaches.join("\n"));
}

#[test]
fn modules_import_only_modules_that_stand_below_them() {
    assert_none(&modules::imports_upwards(&Tree::read()));
}

#[test]
fn every_source_file_begins_by_saying_what_it_is() {
    let tree = Tree::read();
    let silent = tree.sources().filter(|file| !file.text.starts_with("//! "));
    assert_none(&silent.map(|file| format!("{}: does not begin with `//!`", file.path)).collect::<Vec<_>>());
}

#[test]
fn no_file_is_too_long_to_meet_as_a_newcomer() {
    let tree = Tree::read();
    let mut breaches = Vec::new();
    for file in tree.written_code() {
        let (lines, excused) = (file.text.lines().count(), LONG_FILES.iter().any(|(path, _)| *path == file.path));
        if lines > LINES_MAX && !excused {
            breaches.push(format!("{}: {lines} lines; split it by idea", file.path));
        } else if lines <= LINES_MAX && excused {
            breaches.push(format!("{}: is short enough now; take it off the list", file.path));
        }
    }
    assert_none(&breaches);
}

#[test]
fn nothing_is_left_unfinished() {
    let words = ["todo!", "unimplemented!", "dbg!", concat!("FIX", "ME"), concat!("XX", "X:"), concat!("TO", "DO")];
    let tree = Tree::read();
    let mut breaches = Vec::new();
    for file in tree.written_code().filter(|file| file.path != "tests/tidy.rs") {
        for (line, text) in file.lines() {
            if let Some(word) = words.iter().find(|word| text.contains(*word)) {
                breaches.push(format!("{}:{line}: {word}", file.path));
            }
            if text.trim() == "#[ignore]" {
                breaches.push(format!("{}:{line}: #[ignore] without a reason", file.path));
            }
        }
    }
    assert_none(&breaches);
}

#[test]
fn the_repository_names_no_place_outside_itself() {
    assert_none(&texts::places_outside(&Tree::read()));
}

#[test]
fn every_file_that_a_text_names_exists() {
    assert_none(&texts::names_of_nothing(&Tree::read()));
}

#[test]
fn the_architecture_is_told_shortly_and_names_every_module() {
    let tree = Tree::read();
    let text = &tree.file("ARCHITECTURE.md").text;
    assert!(text.lines().count() <= ARCHITECTURE_LINES_MAX, "ARCHITECTURE.md is over {ARCHITECTURE_LINES_MAX} lines");
    let names = modules::in_reading_order(&tree);
    let missing = names.iter().filter(|name| !text.contains(&format!("`{name}`")));
    assert_none(&missing.map(|name| format!("ARCHITECTURE.md does not name `{name}`")).collect::<Vec<_>>());
}

#[test]
fn what_a_newcomer_looks_for_is_there() {
    let tree = Tree::read();
    for path in ["README.md", "ARCHITECTURE.md", "CHANGELOG.md"] {
        assert!(!tree.file(path).text.trim().is_empty(), "{path} is empty");
    }
}
