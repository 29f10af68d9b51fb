//! A real Redis of a test's own, on a socket file.

use tokio::process::Command;

use super::{process::Process, temp::TempDir, within};

/// Runs until it is dropped; remembers nothing beyond its process.
pub struct Redis {
    dir: TempDir,
    pub process: Process,
}

impl Redis {
    pub async fn start() -> Self {
        let dir = TempDir::new();
        let process = Self::run(&dir).await;
        Self { dir, process }
    }

    async fn run(dir: &TempDir) -> Process {
        let mut command = Command::new("redis-server");
        command.current_dir(dir.path()).args(["--port", "0", "--unixsocket", "redis.sock"]);
        command.args(["--save", "", "--appendonly", "no"]);
        let process = Process::start(&mut command, "install the package redis-server");
        let ready = process.stdout.find(|line| line.contains("eady to accept connections").then_some(()));
        assert!(ready.await.is_some(), "{}", process.transcript());
        process
    }

    /// At once, as by a fault.
    pub async fn kill(&mut self) {
        self.process.signal("KILL");
        self.process.exit().await;
    }

    /// A new one in its place, which knows nothing.
    pub async fn again(&mut self) {
        self.process = Self::run(&self.dir).await;
    }

    /// The section of a gateway's configuration, with more keys.
    pub fn section(&self, more: &str) -> String {
        format!("redis: {{ url: \"unix:{}\", {more} }}", self.dir.path().join("redis.sock").display())
    }

    /// What a command answers, a line for each value.
    pub async fn ask(&self, words: &[&str]) -> Vec<String> {
        let mut command = Command::new("redis-cli");
        let output = within(command.current_dir(self.dir.path()).args(["-s", "redis.sock"]).args(words).output()).await;
        let text = String::from_utf8_lossy(&output.expect("redis-cli is there").stdout).into_owned();
        text.lines().map(str::to_owned).collect()
    }
}
