//! What a call is told to do, and what must become of it, whoever makes it.

use std::collections::HashMap;

use prost::Message;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    backend::{Event, SeenCall},
    harness::{Kind, call::type_name, expect, grpc_call::RpcStatus},
};

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Ok,
    /// A megabyte, or many messages.
    Much,
    Error,
    ErrorAfterTwo,
    Metadata,
    Deadline,
    Cancelled,
}

impl Outcome {
    /// Those that a kind of method can have: a unary call has no two messages.
    pub fn of(kind: Kind) -> impl Iterator<Item = Self> {
        use Outcome::{Cancelled, Deadline, Error, ErrorAfterTwo, Metadata, Much, Ok};
        let all = [Ok, Much, Error, ErrorAfterTwo, Metadata, Deadline, Cancelled];
        all.into_iter().filter(move |outcome| kind != Kind::Unary || *outcome != ErrorAfterTwo)
    }

    /// What the backend is asked to do.
    fn behaviour(self, kind: Kind) -> &'static str {
        match self {
            Self::Error => "fail@0=5",
            Self::ErrorAfterTwo => "fail@2=5",
            Self::Deadline | Self::Cancelled if kind == Kind::Unary => "hang@0",
            Self::Deadline | Self::Cancelled => "hang@2",
            Self::Ok | Self::Much | Self::Metadata => "",
        }
    }
}

/// What a client made of an answer.
#[derive(Debug, Default, Deserialize)]
pub struct Said {
    pub messages: Vec<Value>,
    pub headers: HashMap<String, String>,
    pub trailers: HashMap<String, String>,
    /// None where the client does not tell.
    pub code: Option<u32>,
    pub message: String,
    /// The types of the details; without them, they are in the trailers still.
    pub details: Option<Vec<String>>,
}

impl Said {
    fn details(&self) -> Vec<String> {
        match (&self.details, self.trailers.get("grpc-status-details-bin")) {
            (Some(details), _) => details.clone(),
            (None, None) => Vec::new(),
            (None, Some(status)) => {
                let status = RpcStatus::decode(base64(status).as_slice()).expect("a google.rpc.Status");
                status.details.iter().map(|any| type_name(&any.type_url)).collect()
            }
        }
    }
}

/// Padded or not, as each client has it.
pub fn base64(text: &str) -> Vec<u8> {
    base64_simd::STANDARD_NO_PAD.decode_to_vec(text.trim_end_matches('=')).expect("base64")
}

/// A call that a client is to make.
#[derive(Clone, Copy, Debug)]
pub struct Call {
    pub client: &'static str,
    pub kind: Kind,
    pub outcome: Outcome,
}

impl Call {
    /// Its request id.
    pub fn id(&self) -> String {
        format!("{}-{:?}-{:?}", self.client.replace(' ', "-"), self.kind, self.outcome)
    }

    /// As callers read it; `tests/node/calls.mjs` tells what each key means.
    pub fn told(&self) -> Value {
        let mut headers = HashMap::from([("x-request-id", self.id())]);
        let behaviour = self.outcome.behaviour(self.kind);
        if !behaviour.is_empty() {
            headers.insert("x-behave", behaviour.to_owned());
        }
        if self.outcome == Outcome::Metadata {
            headers.extend([("x-echo", "hello".to_owned()), ("x-raw-bin", "AP8=".to_owned())]);
        }
        let mut told = json!({
            "id": self.id(),
            "client": self.client,
            "method": self.kind.method(),
            "requests": self.requests(),
            "headers": headers,
            "turns": self.kind == Kind::Bidi,
        });
        match self.outcome {
            Outcome::Deadline => told["timeoutMs"] = 200.into(),
            Outcome::Cancelled => told["cancelAfter"] = self.replies().len().into(),
            _ => {}
        }
        told
    }

    pub fn requests(&self) -> Vec<Value> {
        let numbered = |count: u32| (0..count).map(|n| json!({"text": n.to_string()})).collect();
        match (self.outcome, self.kind) {
            // There is not that much room in a URL.
            (Outcome::Much, Kind::Unary) if self.client.ends_with("get") => vec![json!({"text": "x".repeat(5_000)})],
            (Outcome::Much, Kind::Unary) => vec![json!({"text": "x".repeat(1_000_000)})],
            (Outcome::Much, Kind::ServerStream) => vec![json!({"text": "tick", "count": 1000})],
            (Outcome::Much, Kind::ClientStream) => numbered(1000),
            (Outcome::Much, Kind::Bidi) => numbered(200),
            (_, Kind::Unary) => vec![json!({"text": "hello", "n": 7})],
            (_, Kind::ServerStream) => vec![json!({"text": "tick", "count": 3})],
            (_, Kind::ClientStream | Kind::Bidi) => vec![json!({"text": "a"}), json!({"text": "b"})],
        }
    }

    fn replies(&self) -> Vec<Value> {
        match (self.outcome, self.kind) {
            (Outcome::Ok | Outcome::Metadata, kind) => expect::messages(kind),
            (Outcome::Much, Kind::Unary | Kind::Bidi) => self.requests(),
            (Outcome::Much, Kind::ServerStream) => {
                let later = (1..1000).map(|n| json!({"text": "tick", "n": n}));
                std::iter::once(json!({"text": "tick"})).chain(later).collect()
            }
            (Outcome::Much, Kind::ClientStream) => {
                // The backend names the first hundred.
                let joined = (0..100).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
                vec![json!({"count": 1000, "joined": joined})]
            }
            (Outcome::Error, _) | (_, Kind::Unary | Kind::ClientStream) => Vec::new(),
            (_, kind) => expect::messages(kind).into_iter().take(2).collect(),
        }
    }

    /// What the client may call the end; nothing, where it tells nobody of what it cancelled itself.
    fn codes(&self) -> Vec<Option<u32>> {
        match self.outcome {
            Outcome::Ok | Outcome::Much | Outcome::Metadata => vec![Some(0)],
            Outcome::Error | Outcome::ErrorAfterTwo => vec![Some(5)],
            // tonic's channel has a clock of its own, and says CANCELLED.
            Outcome::Deadline if self.client == "tonic" => vec![Some(1), Some(4)],
            Outcome::Deadline => vec![Some(4)],
            Outcome::Cancelled => vec![Some(1), None],
        }
    }

    /// What the client said, and what the backend saw.
    pub async fn judge(&self, said: &Said, seen: &mut SeenCall) {
        let mut replies = self.replies();
        if self.outcome == Outcome::ErrorAfterTwo && self.client.starts_with("grpc-js") {
            // It forgets what it has not inflated yet when a call fails.
            replies.truncate(said.messages.len());
        }
        assert_eq!(said.messages, replies, "{said:?}");
        assert!(self.codes().contains(&said.code), "{said:?}");
        match self.outcome {
            Outcome::Ok | Outcome::Much => {
                seen.until(Event::Answered).await;
            }
            Outcome::Error | Outcome::ErrorAfterTwo => {
                assert_eq!(said.message, "asked to fail", "{said:?}");
                assert_eq!(said.details(), ["google.rpc.ErrorInfo"], "{said:?}");
                assert_eq!(said.trailers["x-fail"], "yes", "{said:?}");
            }
            Outcome::Metadata => {
                assert_eq!((seen.header("x-echo"), base64(seen.header("x-raw-bin"))), ("hello", vec![0, 255]));
                assert_eq!((said.headers["x-echo"].as_str(), said.headers["x-backend"].as_str()), ("hello", "echo"));
                assert_eq!(base64(&said.headers["x-bin-bin"]), [0, 1, 255], "{said:?}");
                assert_eq!(said.trailers["x-trailer"], "bye", "{said:?}");
                assert_eq!(base64(&said.trailers["x-trailer-bin"]), [254, 255], "{said:?}");
            }
            Outcome::Deadline => {
                let told = seen.timeout().expect("the deadline is forwarded").as_millis();
                assert!((1..=200).contains(&told), "{told} ms");
                seen.cancelled().await;
            }
            Outcome::Cancelled => {
                seen.cancelled().await;
            }
        }
    }
}
