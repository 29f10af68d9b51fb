//! Clients that nobody here wrote make every kind of call that they can, with every outcome, and all must hear the same.
//!
//! The table is here; the programs in `tests/python`, `tests/node` and `tests/browser` make the calls that they are told
//! on standard input, and print what their clients made of the answers.

use std::{collections::HashMap, panic::AssertUnwindSafe, pin::pin};

use futures_util::FutureExt;
use prost::Message;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    backend::{Backend, Event, SeenCall},
    harness::{
        Config, Gateway, Kind,
        call::type_name,
        expect,
        grpc_call::RpcStatus,
        process::Process,
        tools::{browser_with, node, python},
    },
    proto::DESCRIPTOR_SET,
};

const ALL: &[Kind] = &[Kind::Unary, Kind::ServerStream, Kind::ClientStream, Kind::Bidi];
/// What HTTP/1.1 carries, where nobody reads before all is written.
const HALF_DUPLEX: &[Kind] = &[Kind::Unary, Kind::ServerStream, Kind::ClientStream];
const ONE_REQUEST: &[Kind] = &[Kind::Unary, Kind::ServerStream];

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Ok,
    /// A megabyte, or a thousand messages.
    Much,
    Error,
    ErrorAfterTwo,
    Metadata,
    Deadline,
    Cancelled,
}

impl Outcome {
    const ALL: [Self; 7] =
        [Self::Ok, Self::Much, Self::Error, Self::ErrorAfterTwo, Self::Metadata, Self::Deadline, Self::Cancelled];

    /// What the backend is asked to do.
    fn behaviour(self, kind: Kind) -> &'static str {
        match self {
            Self::Error => "fail@0=5",
            Self::ErrorAfterTwo => "fail@2=5",
            Self::Deadline | Self::Cancelled if kind == Kind::Unary => "hang@0",
            Self::Deadline | Self::Cancelled => "hang@2",
            _ => "",
        }
    }

    fn requests(self, kind: Kind) -> Vec<Value> {
        match (self, kind) {
            (Self::Much, Kind::Unary) => vec![json!({"text": "x".repeat(1_000_000)})],
            (Self::Much, Kind::ServerStream) => vec![json!({"text": "tick", "count": 1000})],
            (Self::Much, Kind::Bidi) => (0..200).map(|n| json!({"text": n.to_string()})).collect(),
            (Self::Much, Kind::ClientStream) => (0..1000).map(|n| json!({"text": n.to_string()})).collect(),
            (_, Kind::Unary) => vec![json!({"text": "hello", "n": 7})],
            (_, Kind::ServerStream) => vec![json!({"text": "tick", "count": 3})],
            _ => vec![json!({"text": "a"}), json!({"text": "b"})],
        }
    }

    fn replies(self, kind: Kind) -> Vec<Value> {
        match self {
            Self::Ok | Self::Metadata => expect::messages(kind),
            Self::Much => match kind {
                Kind::Unary | Kind::Bidi => self.requests(kind),
                Kind::ServerStream => {
                    let ticks = (0..1000)
                        .map(|n| if n == 0 { json!({"text": "tick"}) } else { json!({"text": "tick", "n": n}) });
                    ticks.collect()
                }
                Kind::ClientStream => {
                    let first: Vec<String> = (0..100).map(|n| n.to_string()).collect();
                    vec![json!({"count": 1000, "joined": first.join(",")})]
                }
            },
            Self::ErrorAfterTwo | Self::Deadline | Self::Cancelled if kind.replies_stream() => {
                expect::messages(kind).into_iter().take(2).collect()
            }
            _ => Vec::new(),
        }
    }

    fn code(self) -> u32 {
        match self {
            Self::Ok | Self::Much | Self::Metadata => 0,
            Self::Cancelled => 1,
            Self::Deadline => 4,
            Self::Error | Self::ErrorAfterTwo => 5,
        }
    }
}

/// A client, by the name that its program knows, and the kinds of methods that it can call.
type Client = (&'static str, &'static [Kind]);

/// What a client made of an answer.
#[derive(Debug, Deserialize)]
struct Said {
    messages: Vec<Value>,
    headers: HashMap<String, String>,
    trailers: HashMap<String, String>,
    /// None where the client does not tell.
    code: Option<u32>,
    message: String,
    /// The types of the details; without them, they are in the trailers still.
    details: Option<Vec<String>>,
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

/// Clients differ in whether they pad, and whether they decode.
fn base64(text: &str) -> Vec<u8> {
    base64_simd::STANDARD_NO_PAD.decode_to_vec(text.trim_end_matches('=')).expect("base64")
}

struct Cell<'a> {
    client: &'static str,
    kind: Kind,
    outcome: Outcome,
    program: &'a mut Process,
    backend: &'a mut Backend,
}

impl Cell<'_> {
    async fn run(&mut self) {
        let id = format!("{}-{:?}-{:?}", self.client.replace(' ', "-"), self.kind, self.outcome);
        let mut call = self.call(&id);
        let mut headers = HashMap::from([("x-request-id", id.as_str())]);
        let behaviour = self.outcome.behaviour(self.kind);
        if !behaviour.is_empty() {
            headers.insert("x-behave", behaviour);
        }
        match self.outcome {
            Outcome::Metadata => headers.extend([("x-echo", "hello"), ("x-raw-bin", "AP8=")]),
            Outcome::Deadline => call["timeoutMs"] = 200.into(),
            Outcome::Cancelled => call["cancelAfter"] = self.outcome.replies(self.kind).len().into(),
            _ => {}
        }
        call["headers"] = json!(headers);
        self.program.tell(&call.to_string()).await;
        let start = format!("{{\"id\":\"{id}\",");
        let lines = self.program.stdout.clone();
        let mut said = pin!(lines.find(|line| line.starts_with(&start).then(|| serde_json::from_str::<Said>(line))));
        let (said, mut seen) = if self.outcome == Outcome::Cancelled {
            let reached = tokio::select! {
                seen = reached(self.backend, &id) => Ok(seen),
                said = &mut said => Err(said),
            };
            self.program.tell("").await;
            let seen = reached.unwrap_or_else(|said| panic!("{id} ended before it was cancelled: {said:?}"));
            (said.await, seen)
        } else {
            let said = said.await;
            let seen = self.backend.call_of(&id).now_or_never();
            let seen = seen.unwrap_or_else(|| panic!("the backend was not called: {said:?}"));
            (said, seen)
        };
        let Some(said) = said else { panic!("{id}: the program ended\n{}", self.program.transcript()) };
        self.judge(&said.expect("what became of the call"), &mut seen).await;
    }

    fn call(&self, id: &str) -> Value {
        json!({
            "id": id,
            "client": self.client,
            "method": self.kind.method(),
            "requests": self.outcome.requests(self.kind),
            "turns": self.kind == Kind::Bidi,
        })
    }

    async fn judge(&self, said: &Said, seen: &mut SeenCall) {
        let (kind, outcome) = (self.kind, self.outcome);
        assert_eq!(said.messages, outcome.replies(kind), "{said:?}");
        let untold = outcome == Outcome::Cancelled && said.code.is_none();
        assert!(said.code == Some(outcome.code()) || untold, "{said:?}");
        match outcome {
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

/// The call of this id, once the backend has its first message.
async fn reached(backend: &mut Backend, id: &str) -> SeenCall {
    let mut seen = backend.call_of(id).await;
    while !matches!(seen.next().await, Event::Message(_)) {}
    seen
}

/// Has each client make all its calls, all by one program, and judges them.
async fn table(clients: &[Client], start: impl FnOnce(&Gateway, [&str; 4]) -> Process) {
    let mut backend = Backend::start().await;
    let gateway = Gateway::start(Config::to(backend.address).section("cors: { origins: [ \"*\" ] }")).await;
    let ports = [gateway.tls.port().to_string(), gateway.plain.port().to_string()];
    let certificate = gateway.dir().path().join("cert.pem");
    let certificate = certificate.to_str().expect("UTF-8");
    let mut program = start(&gateway, [&ports[0], &ports[1], certificate, DESCRIPTOR_SET]);
    let mut failed = Vec::new();
    for &(client, kinds) in clients {
        for &kind in kinds {
            for outcome in Outcome::ALL {
                if (kind, outcome) == (Kind::Unary, Outcome::ErrorAfterTwo) {
                    continue; // a unary call has no two messages
                }
                let mut cell = Cell { client, kind, outcome, program: &mut program, backend: &mut backend };
                // Each cell is judged, whatever became of the one before; the panics' texts are in the output.
                let began = std::time::Instant::now();
                let r = AssertUnwindSafe(cell.run()).catch_unwind().await;
                println!("{client} {kind:?} {outcome:?} {:?}", began.elapsed());
                if r.is_err() {
                    failed.push(format!("{client} {kind:?} {outcome:?}"));
                }
            }
        }
    }
    if std::env::var("TIMES").is_ok() {
        panic!();
    }
    assert!(failed.is_empty(), "{failed:#?}\n{}", program.stderr.text());
    program.signal("TERM");
    gateway.assert_nothing_internal();
}

#[tokio::test]
async fn in_node() {
    let clients: &[Client] = &[
        ("grpc-js tls", ALL),
        ("grpc-js h2c", ALL),
        ("connect-node grpc 2", ALL),
        ("connect-node grpc 2 json", ALL),
        ("connect-node grpc-web 2", HALF_DUPLEX),
        ("connect-node grpc-web 1.1", HALF_DUPLEX),
        ("connect-node grpc-web 2 json", HALF_DUPLEX),
    ];
    table(clients, |_, args| node("clients.mjs", &args)).await;
}

#[tokio::test]
async fn in_python() {
    let clients: &[Client] = &[
        ("grpcio tls", ALL),
        ("grpcio h2c", ALL),
        ("connectrpc grpc 2", ALL),
        ("connectrpc grpc 2 json", ALL),
        ("connectrpc grpc-web 2", HALF_DUPLEX),
        ("connectrpc grpc-web 1.1", HALF_DUPLEX),
        ("connectrpc grpc-web 2 json", HALF_DUPLEX),
    ];
    table(clients, |_, args| python("clients.py", &args)).await;
}

#[tokio::test]
async fn in_chromium() {
    let clients: &[Client] = &[
        ("connect-web grpc-web same", ONE_REQUEST),
        ("connect-web grpc-web same json", ONE_REQUEST),
        ("connect-web grpc-web cross", ONE_REQUEST),
        ("connect-web grpc-web http", ONE_REQUEST),
        ("grpc-web text same", ONE_REQUEST),
        ("grpc-web text cross", ONE_REQUEST),
        ("grpc-web text http", ONE_REQUEST),
        ("grpc-web binary same", &[Kind::Unary]),
        ("improbable fetch same", ONE_REQUEST),
        ("improbable xhr cross", ONE_REQUEST),
        ("improbable fetch http", ONE_REQUEST),
    ];
    table(clients, |_, args| browser_with("clients.mjs", &args)).await;
}
