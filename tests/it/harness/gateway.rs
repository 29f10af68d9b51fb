//! The real binary as a child process, and what it tells: ready lines, access records, health.

use std::net::SocketAddr;

use serde_json::Value;
use tokio::process::Command;

use super::{Config, Conn, Via, Whole, process::Process, temp::TempDir};

/// A running gateway.
pub struct Gateway {
    pub process: Process,
    pub tls: SocketAddr,
    pub plain: SocketAddr,
    pub admin: SocketAddr,
    dir: TempDir,
}

impl Gateway {
    /// Starts with a configuration file and waits for the ready lines of its three addresses.
    pub async fn start(config: Config) -> Self {
        let dir = TempDir::new();
        let file = dir.write("tidegate.yaml", config.render(&dir));
        let mut command = Self::command();
        command.arg("serve").arg("--config").arg(file);
        Self::ready(Process::start(&mut command, "cargo builds it"), dir).await
    }

    /// What is said of a configuration, written to `dir`, that must not be served.
    pub async fn refused(config: &Config, dir: &TempDir) -> String {
        let file = dir.write("tidegate.yaml", config.render(dir));
        let mut command = Self::command();
        let mut process = Process::start(command.arg("serve").arg("--config").arg(file), "cargo builds it");
        let code = process.exit().await.code();
        process.stderr.ended().await;
        assert_eq!(code, Some(2), "{}", process.transcript());
        assert_eq!(process.stdout.text(), "", "no port is bound");
        process.stderr.text()
    }

    /// Starts with no file at all: schemas by reflection.
    pub async fn without_file(upstreams: &[String]) -> Self {
        let mut command = Self::command();
        command.arg("serve");
        for upstream in upstreams {
            command.args(["--upstream", upstream]);
        }
        command.args(["--listen", "127.0.0.1:0", "--listen-plain", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        Self::ready(Process::start(command.args(["--workers", "1"]), "cargo builds it"), TempDir::new()).await
    }

    /// The binary, in a calm environment.
    pub fn command() -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
        command.env_remove("RUST_LOG");
        command
    }

    async fn ready(process: Process, dir: TempDir) -> Self {
        let (mut tls, mut plain, mut admin) = (None, None, None);
        let ready = process.stdout.find(|line| {
            if let Some(address) = line.strip_prefix("listening https://") {
                tls = address.parse().ok();
            } else if let Some(address) = line.strip_prefix("listening http://") {
                plain = address.parse().ok();
            } else if let Some(address) = line.strip_prefix("admin http://") {
                admin = address.parse().ok();
            }
            Some((tls?, plain?, admin?))
        });
        let Some((tls, plain, admin)) = ready.await else {
            panic!("the gateway ended before it was ready\n{}", process.transcript());
        };
        Self { process, tls, plain, admin, dir }
    }

    pub fn dir(&self) -> &TempDir {
        &self.dir
    }

    pub fn address(&self, via: Via) -> SocketAddr {
        if via.is_tls() { self.tls } else { self.plain }
    }

    pub async fn connect(&self, via: Via) -> Conn {
        Conn::open(self.address(via), via).await
    }

    /// A GET on a connection of its own.
    pub async fn get(&self, via: Via, target: &str) -> Whole {
        self.connect(via).await.get(target).await
    }

    /// A GET on the admin address.
    pub async fn admin_get(&self, target: &str) -> Whole {
        Conn::open(self.admin, Via::H1).await.get(target).await
    }

    /// The access record that `wanted` accepts, there already or still to come.
    pub async fn access(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let found = self.process.stderr.find(|line| {
            let record = access_record(line)?;
            wanted(&record).then_some(record)
        });
        found.await.unwrap_or_else(|| panic!("no such access record\n{}", self.process.transcript()))
    }

    /// The access record of the call that bore this request id.
    pub async fn access_of(&self, request_id: &str) -> Value {
        self.access(|record| record.get("request_id").and_then(Value::as_str) == Some(request_id)).await
    }

    /// Nothing so far was called the gateway's own fault.
    pub fn assert_nothing_internal(&self) {
        for line in self.process.stderr.all() {
            let internal = access_record(&line).is_some_and(|record| record["code"] == "INTERNAL");
            assert!(!internal && !line.contains("panicked"), "an internal error: {line}");
        }
    }
}

/// One access record, where the line is one.
fn access_record(line: &str) -> Option<Value> {
    let record: Value = serde_json::from_str(line).ok()?;
    record.get("request_id").is_some().then_some(record)
}
