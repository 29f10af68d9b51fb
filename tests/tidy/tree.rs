//! The files of the repository, as git lists them. Knows nothing of rules.

use std::{fs, path::Path, process::Command};

/// One text file.
pub(crate) struct File {
    /// Relative to the root, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl File {
    /// Lines with their numbers from 1.
    pub(crate) fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text.lines().enumerate().map(|(index, line)| (index + 1, line))
    }

    pub(crate) fn has_extension(&self, extensions: &[&str]) -> bool {
        Path::new(&self.path).extension().is_some_and(|found| extensions.iter().any(|wanted| found == *wanted))
    }
}

/// Every text file that is tracked, or would be by `git add`.
pub(crate) struct Tree {
    files: Vec<File>,
}

impl Tree {
    pub(crate) fn read() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let listed = Command::new("git")
            .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
            .current_dir(root)
            .output()
            .expect("git lists the files");
        assert!(listed.status.success(), "git ls-files: {}", String::from_utf8_lossy(&listed.stderr));
        let paths = String::from_utf8(listed.stdout).expect("paths are UTF-8");
        // What is not UTF-8 is no text; what is listed but gone was deleted.
        let read = |path: &str| Some(File { path: path.to_owned(), text: fs::read_to_string(root.join(path)).ok()? });
        // The inputs of fuzzing are nobody's text.
        let written = |path: &&str| !path.is_empty() && !path.starts_with("fuzz/seeds/");
        let files: Vec<_> = paths.split('\0').filter(written).filter_map(read).collect();
        assert!(files.len() > 10, "only {} files were found", files.len());
        Self { files }
    }

    pub(crate) fn files(&self) -> impl Iterator<Item = &File> {
        self.files.iter()
    }

    /// The file of that path, which must be there.
    #[track_caller]
    pub(crate) fn file(&self, path: &str) -> &File {
        self.files.iter().find(|file| file.path == path).unwrap_or_else(|| panic!("{path} is missing"))
    }

    /// Rust sources.
    pub(crate) fn sources(&self) -> impl Iterator<Item = &File> {
        self.files().filter(|file| file.has_extension(&["rs"]))
    }

    /// What people wrote as code, in any language; not data.
    pub(crate) fn written_code(&self) -> impl Iterator<Item = &File> {
        let extensions = &["rs", "py", "js", "mjs", "ts", "css", "html", "sh"];
        self.files().filter(|file| file.has_extension(extensions) && !file.path.starts_with("tests/data/"))
    }
}
