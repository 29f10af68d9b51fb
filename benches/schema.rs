//! How long the gateway takes to load a schema of 5,000 methods, each with its own rules and messages, and in how much memory.
//!
//!     cargo bench --bench schema
//!
//! From the start of the program to the line that tells its address, which is when it serves; five times each. Fails where the
//! fastest takes longer than a second.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement that cannot go on fails there")]

#[path = "../tests/it/harness/large.rs"]
mod large;

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use tidegate::{config::SchemaSource, schema::load};

const METHODS: usize = 5000;
const RUNS: usize = 5;
const LONGEST: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    // As a test, it has nothing to measure.
    if !std::env::args().any(|argument| argument == "--bench") {
        return ExitCode::SUCCESS;
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("large-schema");
    fs::create_dir_all(&folder).unwrap();
    let files = large::write(&folder, METHODS / large::METHODS_PER_SERVICE).unwrap();
    let set = folder.join("large.binpb");
    let sources = SchemaSource::Protos { files: files.clone(), includes: vec![folder.clone()] };
    fs::write(&set, load(&sources).unwrap().unwrap()).unwrap();
    let mut reached = true;
    for (name, schema) in [
        ("a descriptor set", format!("descriptor_set: {set:?}")),
        ("proto sources", format!("protos: {{ files: {files:?}, includes: [ {folder:?} ] }}")),
    ] {
        let config = folder.join("tidegate.yaml");
        let text = format!(
            "listeners: [ {{ address: 127.0.0.1:0 }} ]\nupstreams: {{ large: {{ endpoints: [ \"http://127.0.0.1:1\" ], schema: {{ {schema} }} }} }}\n"
        );
        fs::write(&config, text).unwrap();
        let (fastest, memory) = (0..RUNS).map(|_| start(&config)).min().unwrap();
        reached &= fastest <= LONGEST;
        println!(
            "{METHODS} methods from {name:16} {:>5} ms to serving, {:>4} MB resident",
            fastest.as_millis(),
            memory >> 10
        );
    }
    if reached { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// How long it takes until it serves, and the most memory that it took, in KiB.
fn start(config: &Path) -> (Duration, u64) {
    let start = Instant::now();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    let mut gateway = command.arg("serve").arg("--config").arg(config).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(gateway.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let taken = start.elapsed();
    assert!(line.starts_with("listening "), "{line}");
    let memory = resident(&gateway);
    gateway.kill().unwrap();
    gateway.wait().unwrap();
    (taken, memory)
}

fn resident(gateway: &Child) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", gateway.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}
