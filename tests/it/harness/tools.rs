//! Programs that nobody here wrote: Python and Node, with real clients and servers. None of them is optional.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::process::Command;

use super::{PATIENCE, process::Process};
use crate::proto::DESCRIPTOR_SET;

const PYTHON: &str = "install Python 3 and run `python3 -m pip install -r tests/python/requirements.txt`";
const NODE: &str = "install Node.js 20, and run `npm ci` with `--prefix` for each of tests/node, tests/browser and web/client, \
                    and `npm run build --prefix web/client`";
const CHROMIUM: &str = "install Chromium (`apt-get install chromium`), or set CHROMIUM to its program";
const WSTEST: &str = "run `tests/autobahn/install.sh`; it is for Linux on x86-64, elsewhere set WSTEST to the program";

fn below_tests(path: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", path].iter().collect()
}

/// A Python program of `tests/python`.
pub fn python(script: &str, args: &[&str]) -> Process {
    let mut command = Command::new("python3");
    command.arg(below_tests("python").join(script)).args(args).env("PYTHONUNBUFFERED", "1");
    Process::start(&mut command, PYTHON)
}

/// A Node program of `tests/node`.
pub fn node(script: &str, args: &[&str]) -> Process {
    let mut command = Command::new("node");
    // Node 20 has WebSockets, and hides them.
    command.arg("--experimental-websocket").arg(below_tests("node").join(script)).args(args);
    Process::start(&mut command, NODE)
}

/// The tests of `@tidegate/client`'s own.
pub fn client_tests() -> Process {
    let mut command = Command::new("npm");
    command.args(["test", "--prefix"]).arg(below_tests("../web/client"));
    Process::start(&mut command, NODE)
}

/// A script of `tests/browser` that drives Chromium to a page.
pub fn browser(script: &str, base_url: &str, screenshot: Option<&Path>) -> Process {
    let mut command = chromium(script);
    command.env("BASE_URL", base_url).env_remove("RESTART_COMMAND").env_remove("SCREENSHOT");
    Process::start(command.envs(screenshot.map(|path| ("SCREENSHOT", path))), NODE)
}

/// The same with arguments.
pub fn browser_with(script: &str, args: &[&str]) -> Process {
    Process::start(chromium(script).args(args), NODE)
}

/// The same with both.
pub fn browser_at(script: &str, base_url: &str, args: &[&str]) -> Process {
    Process::start(chromium(script).env("BASE_URL", base_url).args(args), NODE)
}

fn chromium(script: &str) -> Command {
    let chromium = std::env::var_os("CHROMIUM").unwrap_or_else(|| "/usr/bin/chromium".into());
    assert!(Path::new(&chromium).exists(), "{chromium:?} is not there: {CHROMIUM}");
    let mut command = Command::new("node");
    command.arg(below_tests("browser").join(script)).env("CHROMIUM", chromium);
    command
}

/// Autobahn|Testsuite as a client, told by this file what to do.
pub fn wstest(spec: &Path) -> Process {
    let installed = || [env!("CARGO_MANIFEST_DIR"), "target/tools/autobahn/wstest"].iter().collect();
    let program: PathBuf = std::env::var_os("WSTEST").map_or_else(installed, PathBuf::from);
    Process::start(Command::new(program).args(["--mode", "fuzzingclient", "--spec"]).arg(spec), WSTEST)
}

/// Lets a program run to its end, which must be a good one; its lines on standard output.
pub async fn finish(process: Process) -> Vec<String> {
    finish_within(PATIENCE, process).await
}

/// The same of a program that takes longer.
pub async fn finish_within(patience: Duration, mut process: Process) -> Vec<String> {
    // Its output ends with it: whoever waits is told of every line, and sees them where one never comes.
    let ended = tokio::time::timeout(patience, process.stdout.ended()).await;
    assert!(ended.is_ok(), "still running after {patience:?}\n{}", process.transcript());
    let status = process.exit().await;
    process.stdout.ended().await;
    process.stderr.ended().await;
    let missing = ["ModuleNotFoundError", "ERR_MODULE_NOT_FOUND", "Cannot find"];
    let transcript = process.transcript();
    if missing.iter().any(|text| transcript.contains(text)) {
        panic!("a module is missing: {PYTHON}; {NODE}\n{transcript}");
    }
    assert!(status.success(), "{status}\n{transcript}");
    process.stdout.all()
}

/// The grpcio backend, with reflection and health.
pub struct PythonBackend {
    pub process: Process,
    pub address: SocketAddr,
}

impl PythonBackend {
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    /// With more arguments, as `--port 1234`.
    pub async fn with(args: &[&str]) -> Self {
        let process = python("backend.py", &[&["--descriptor-set", DESCRIPTOR_SET], args].concat());
        let port = process.stdout.find(|line| line.strip_prefix("port ")?.parse::<u16>().ok()).await;
        let Some(port) = port else { panic!("no backend: {PYTHON}\n{}", process.transcript()) };
        Self { process, address: SocketAddr::from(([127, 0, 0, 1], port)) }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}
