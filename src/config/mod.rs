//! The configuration file and the command line → [`Settings`]; the only place that derives serde for it.
//!
//! A file goes through four steps: `tree` (YAML with places), `check` (each key and value by itself, all faults at
//! once), `raw` (the typed file), `resolve` (keys together, defaults filled in).

mod settings;
mod schema;
mod resolve;
mod check;
mod raw;
mod named;
mod names;
mod text;
mod tree;
mod error;
mod service;
mod quick;
mod redis;

use std::{fs::File, io::Read, num::NonZeroUsize, path::Path, thread};

pub use error::{ConfigError, ConfigErrors, Location, Place};
pub use quick::{Quick, quick};
pub use schema::{json_schema, markdown};
pub use service::{ServiceBinding, ServiceHttp, ServiceRule, load_service, parse_service};
pub use settings::*;

use check::Findings;

/// Reads a configuration file.
///
/// # Errors
/// Every fault that was found, each with its place.
pub fn load(path: &Path) -> Result<Settings, ConfigErrors> {
    parse(&read_text(path, FILE_BYTES_MAX)?, &path.display().to_string())
}

fn read_text(path: &Path, bytes_max: usize) -> Result<String, ConfigErrors> {
    let file = path.display().to_string();
    let cannot =
        |error: &dyn std::fmt::Display| ConfigErrors::one(&file, Place::default(), format!("cannot be read: {error}"));
    let mut text = String::new();
    let opened = File::open(path).map_err(|error| cannot(&error))?;
    opened.take(bytes_max as u64 + 1).read_to_string(&mut text).map_err(|error| cannot(&error))?;
    if text.len() > bytes_max {
        return Err(cannot(&format!("it is larger than {} MiB", bytes_max >> 20)));
    }
    Ok(text)
}

/// Reads a configuration; `file` is what faults are told of.
///
/// # Errors
/// Every fault that was found, each with its place.
pub fn parse(text: &str, file: &str) -> Result<Settings, ConfigErrors> {
    let fault = |(place, message): (Place, String)| ConfigErrors::one(file, place, message);
    let root = tree::read(text, NODES_MAX).map_err(fault)?;
    if matches!(root.value, tree::Value::Null) {
        return Err(fault((Place::default(), "the file is empty".to_owned())));
    }
    let mut findings = Findings::new(file);
    findings.check(&schema::schema(), &root, "");
    if findings.errors.is_empty() {
        let settings = resolve::resolve(tree::typed(text, NODES_MAX).map_err(fault)?, cpus(), &mut findings);
        if findings.errors.is_empty() {
            return Ok(settings);
        }
    }
    findings.errors.sort_by_key(|error| error.place);
    Err(ConfigErrors(findings.errors))
}

/// The settings as a file with every default filled in.
pub fn render(settings: &Settings) -> String {
    serde_saphyr::to_string(&resolve::unresolve(settings)).unwrap_or_default()
}

/// What `tidegate check` does: the file with every default filled in.
///
/// # Errors
/// Every fault that was found, each with its place.
pub fn check(path: &Path) -> Result<String, ConfigErrors> {
    load(path).map(|settings| render(&settings))
}

fn cpus() -> usize {
    thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

const FILE_BYTES_MAX: usize = 1 << 20;

/// Keys and values of one file.
const NODES_MAX: usize = 50_000;

/// Between the two halves of a fixture.
#[cfg(test)]
const SEPARATOR: &str = "----------\n";

#[cfg(test)]
mod tests {
    use std::{env, fs, path::PathBuf};

    use super::*;

    /// tests/data/config: a file, a line `----------`, and what it resolves to or what is wrong with it.
    /// `UPDATE=1 cargo test --lib config::` writes the second halves anew.
    #[test]
    fn files_resolve_as_their_fixtures_say() {
        let mut stale = Vec::new();
        let paths = fixtures();
        for path in &paths {
            let fixture = fs::read_to_string(path).unwrap();
            let (input, expected) = fixture.split_once(SEPARATOR).unwrap_or((&fixture, ""));
            let found = match parse(input, "tidegate.yaml") {
                Ok(settings) => render(&settings),
                Err(errors) => format!("{errors}\n"),
            };
            if found == expected {
                continue;
            }
            if env::var_os("UPDATE").is_some() {
                fs::write(path, format!("{input}{SEPARATOR}{found}")).unwrap();
            } else {
                stale.push(format!("{}:\n{found}", path.display()));
            }
        }
        assert!(paths.len() > 10, "{paths:?}");
        assert!(stale.is_empty(), "other than in the fixtures:\n\n{}", stale.join("\n"));
    }

    #[test]
    fn what_check_prints_is_a_file_of_the_same_settings() {
        let mut files = 0;
        for path in fixtures() {
            let fixture = fs::read_to_string(&path).unwrap();
            let (input, _) = fixture.split_once(SEPARATOR).unwrap();
            if let Ok(settings) = parse(input, "tidegate.yaml") {
                let rendered = render(&settings);
                assert_eq!(parse(&rendered, "rendered"), Ok(settings), "{}:\n{rendered}", path.display());
                files += 1;
            }
        }
        assert!(files > 2, "{files}");
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let errors = load(Path::new("no/such/tidegate.yaml")).unwrap_err().to_string();
        assert!(errors.starts_with("no/such/tidegate.yaml: cannot be read: No such file"), "{errors}");
    }

    #[test]
    fn without_a_word_there_are_as_many_workers_as_cpus() {
        let settings =
            parse("listeners: [{address: 127.0.0.1:0}]\nupstreams: {a: {endpoints: [http://a]}}\n", "f").unwrap();
        assert_eq!(settings.workers, cpus());
    }

    #[test]
    fn a_file_that_lost_something_is_read_or_refused_with_a_place() {
        let fixture = include_str!("../../tests/data/config/whole.txt");
        let whole = fixture.split_once(SEPARATOR).unwrap().0;
        let lines: Vec<_> = whole.lines().collect();
        let without = |lost: usize| {
            let kept = lines.iter().enumerate().filter(|(index, _)| *index != lost);
            kept.map(|(_, line)| format!("{line}\n")).collect::<String>()
        };
        let cut = (0..whole.len()).step_by(11).map(|end| whole[..end].to_owned());
        for text in (0..lines.len()).map(without).chain(cut) {
            if let Err(errors) = parse(&text, "f") {
                let known = |error: &ConfigError| error.place.line > 0 || error.message == "the file is empty";
                assert!(!errors.0.is_empty() && errors.0.iter().all(known), "{text}\n{errors}");
            }
        }
    }

    fn fixtures() -> Vec<PathBuf> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/config");
        let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths
    }
}
