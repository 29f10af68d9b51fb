//! Who makes the calls: a program with its clients, or tonic in this process.

use std::{future::Future, pin::Pin};

use serde_json::Value;
use tokio::sync::oneshot;

use super::{outcome::Said, tonic};
use crate::harness::process::Process;

pub enum Caller {
    Program(Box<Process>),
    Tonic { channel: ::tonic::transport::Channel, allow: Option<oneshot::Sender<()>> },
}

impl Caller {
    /// Begins a call, and tells what will have become of it.
    pub async fn begin(&mut self, call: &Value) -> Pin<Box<dyn Future<Output = Said>>> {
        match self {
            Self::Program(program) => {
                program.tell(&call.to_string()).await;
                let (out, err) = (program.stdout.clone(), program.stderr.clone());
                let start = format!("{{\"id\":{},", call["id"]);
                Box::pin(async move {
                    let said = out.find(|line| line.starts_with(&start).then(|| serde_json::from_str(line))).await;
                    let Some(said) = said else { panic!("the program ended\n{}", err.text()) };
                    said.expect("what became of the call")
                })
            }
            Self::Tonic { channel, allow } => {
                let (sender, allowed) = oneshot::channel();
                *allow = Some(sender);
                let call = tokio::spawn(tonic::make(channel.clone(), call.clone(), allowed));
                Box::pin(async { call.await.expect("the client does not panic") })
            }
        }
    }

    /// Lets the call be cancelled.
    pub async fn allow(&mut self) {
        match self {
            Self::Program(program) => program.tell("").await,
            Self::Tonic { allow, .. } => drop(allow.take()),
        }
    }

    /// What it said beside, for the text of a failure.
    pub fn transcript(&self) -> String {
        match self {
            Self::Program(program) => program.stderr.text(),
            Self::Tonic { .. } => String::new(),
        }
    }
}
