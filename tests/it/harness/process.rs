//! Child processes: their lines as they come, their memory, their end. They die with the test.

use std::{
    path::Path,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader},
    process::{Child, ChildStdin, Command},
    sync::watch,
};

use super::within;

/// A program that runs until it is dropped.
pub struct Process {
    child: Child,
    stdin: ChildStdin,
    pub stdout: Lines,
    pub stderr: Lines,
}

impl Process {
    /// # Panics
    /// Where the program is not there: `needs` says how to get it.
    pub fn start(command: &mut Command, needs: &str) -> Self {
        let started = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = match started.spawn() {
            Ok(child) => child,
            Err(error) => panic!("{:?} cannot be started ({error}): {needs}", command.as_std().get_program()),
        };
        let stdin = child.stdin.take().expect("piped");
        let stdout = Lines::read(child.stdout.take().expect("piped"));
        let stderr = Lines::read(child.stderr.take().expect("piped"));
        Self { child, stdin, stdout, stderr }
    }

    pub fn id(&self) -> u32 {
        self.child.id().expect("the process runs")
    }

    /// Writes a line to its standard input.
    pub async fn tell(&mut self, line: &str) {
        within(self.stdin.write_all(format!("{line}\n").as_bytes())).await.expect("the process reads");
    }

    /// Resident memory in bytes, as the kernel counts it.
    pub fn rss_bytes(&self) -> u64 {
        let path = format!("/proc/{}/status", self.id());
        let status = std::fs::read_to_string(Path::new(&path)).expect("the process runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("the kernel tells VmRSS");
        let kibibytes: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
        kibibytes * 1024
    }

    /// Sends a signal by name, as `TERM`.
    pub fn signal(&self, name: &str) {
        let sent = std::process::Command::new("kill").args(["-s", name, &self.id().to_string()]).status();
        assert!(sent.expect("kill is there").success());
    }

    pub async fn exit(&mut self) -> ExitStatus {
        within(self.child.wait()).await.expect("a child can be waited for")
    }

    /// Both outputs so far, for the text of a failure.
    pub fn transcript(&self) -> String {
        format!("standard output:\n{}\nstandard error:\n{}", self.stdout.text(), self.stderr.text())
    }
}

/// The lines of an output, kept; whoever waits is woken by the next.
#[derive(Clone)]
pub struct Lines {
    kept: Arc<Mutex<Vec<String>>>,
    /// How many lines there are, and whether that is all.
    progress: watch::Receiver<(usize, bool)>,
}

impl Lines {
    fn read(output: impl AsyncRead + Unpin + Send + 'static) -> Self {
        let kept: Arc<Mutex<Vec<String>>> = Arc::default();
        let (told, progress) = watch::channel((0, false));
        let lines = kept.clone();
        tokio::spawn(async move {
            let mut reader = BufReader::new(output).lines();
            while let Ok(Some(line)) = reader.next_line().await {
                let mut lines = lines.lock().expect("no holder panics");
                lines.push(line);
                told.send_replace((lines.len(), false));
            }
            told.send_modify(|(_, all)| *all = true);
        });
        Self { kept, progress }
    }

    pub fn all(&self) -> Vec<String> {
        self.kept.lock().expect("no holder panics").clone()
    }

    pub fn text(&self) -> String {
        self.all().join("\n")
    }

    /// The first value that `pick` finds in a line, there already or still to come; none where the output ends before.
    pub async fn find<T>(&self, mut pick: impl FnMut(&str) -> Option<T>) -> Option<T> {
        let mut progress = self.progress.clone();
        let mut looked = 0;
        loop {
            let (_, all) = *progress.borrow_and_update();
            let lines = self.all();
            if let Some(found) = lines.iter().skip(looked).find_map(|line| pick(line)) {
                return Some(found);
            }
            looked = lines.len();
            if all || within(progress.changed()).await.is_err() {
                return None;
            }
        }
    }

    /// Ends when the output does.
    pub async fn ended(&self) {
        let _ = self.progress.clone().wait_for(|(_, all)| *all).await;
    }
}
