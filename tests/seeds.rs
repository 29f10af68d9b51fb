//! Replays without a fuzzer what fuzzing found worth keeping, and what it last failed on.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a target tells by a panic what is wrong")]

#[path = "../fuzz/targets/mod.rs"]
mod targets;

use std::{
    fs,
    panic::catch_unwind,
    path::{Path, PathBuf},
};

use targets::TARGETS;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

/// Sorted; none where there is no such folder.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn every_target_passes_on_what_was_kept() {
    let mut failed = Vec::new();
    for (target, run) in TARGETS {
        for folder in ["seeds", "artifacts"].map(|kind| fuzz().join(kind).join(target)) {
            for path in names(&folder).iter().map(|name| folder.join(name)) {
                let data = fs::read(&path).unwrap();
                if catch_unwind(|| run(&data)).is_err() {
                    failed.push(path);
                }
            }
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn every_target_is_listed_and_has_something_to_begin_with() {
    let targets: Vec<_> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    let files = names(&fuzz().join("targets"));
    let files: Vec<_> =
        files.iter().filter_map(|name| name.strip_suffix(".rs")).filter(|name| *name != "mod").collect();
    assert_eq!(files, targets, "the files of fuzz/targets, and what its mod.rs lists");
    assert_eq!(names(&fuzz().join("seeds")), targets, "the folders of fuzz/seeds, and the targets");
    for target in targets {
        assert!(!names(&fuzz().join("seeds").join(&target)).is_empty(), "fuzz/seeds/{target} is empty");
    }
}
