//! Clients that nobody here wrote, and @tidegate/client, make every kind of call that they can, with every outcome, and all
//! must hear the same.
//!
//! The table is here; the programs in `tests/python`, `tests/node` and `tests/browser` make the calls that they are told
//! on standard input, and print what their clients made of the answers.

mod caller;
mod outcome;
mod tonic;

use std::{panic::AssertUnwindSafe, path::PathBuf};

use futures_util::FutureExt;

use self::{
    caller::Caller,
    outcome::{Call, Outcome},
};
use crate::{
    backend::{Backend, Event, Options, SeenCall},
    harness::{
        Config, Gateway, Kind,
        process::Process,
        tools::{browser_with, node, python},
    },
    proto::DESCRIPTOR_SET,
};

/// A client, by the name that its program knows, and the kinds of methods that it can call.
type Client = (&'static str, &'static [Kind]);

const ALL: &[Kind] = &[Kind::Unary, Kind::ServerStream, Kind::ClientStream, Kind::Bidi];
/// What HTTP/1.1 carries, where nobody reads before all is written.
const HALF_DUPLEX: &[Kind] = &[Kind::Unary, Kind::ServerStream, Kind::ClientStream];
/// What browsers can send, and gRPC-Web has.
const ONE_REQUEST: &[Kind] = &[Kind::Unary, Kind::ServerStream];
const UNARY: &[Kind] = &[Kind::Unary];

#[tokio::test]
async fn in_rust() {
    let mut setting = Setting::start().await;
    let channel = tonic::channel(setting.gateway.tls.port(), &setting.certificate()).await;
    setting.table(Caller::Tonic { channel, allow: None }, &[("tonic", ALL)]).await;
}

#[tokio::test]
async fn in_python() {
    let clients: &[Client] = &[
        ("grpcio tls", ALL),
        ("grpcio h2c", ALL),
        ("connectrpc grpc 2", ALL),
        ("connectrpc grpc 2 json", ALL),
        ("connectrpc grpc-web 2", ONE_REQUEST),
        ("connectrpc grpc-web 1.1", ONE_REQUEST),
        ("connectrpc grpc-web 2 json", ONE_REQUEST),
        ("connectrpc connect 2", ALL),
        ("connectrpc connect 2 json", ALL),
        ("connectrpc connect 2 get", UNARY),
        ("grpcio tls gzip", ALL),
        ("connectrpc grpc 2 gzip", ALL),
        ("connectrpc grpc-web 2 gzip", ONE_REQUEST),
        ("connectrpc connect 2 gzip", ALL),
        ("connectrpc connect 2 json gzip", ALL),
        ("connectrpc connect 1.1", HALF_DUPLEX),
        ("connectrpc connect 1.1 json get", UNARY),
    ];
    let mut setting = Setting::start().await;
    let program = setting.program(|args| python("clients.py", args));
    setting.table(program, clients).await;
}

#[tokio::test]
async fn in_node() {
    let clients: &[Client] = &[
        ("grpc-js tls", ALL),
        ("grpc-js h2c", ALL),
        ("connect-node grpc 2", ALL),
        ("connect-node grpc 2 json", ALL),
        ("connect-node grpc-web 2", ONE_REQUEST),
        ("connect-node grpc-web 1.1", ONE_REQUEST),
        ("connect-node grpc-web 2 json", ONE_REQUEST),
        ("connect-node connect 2", ALL),
        ("connect-node connect 2 json", ALL),
        ("connect-node connect 2 get", UNARY),
        ("grpc-js tls gzip", ALL),
        ("connect-node grpc 2 gzip", ALL),
        ("connect-node grpc-web 2 gzip", ONE_REQUEST),
        ("connect-node connect 2 gzip", ALL),
        ("connect-node connect 2 json gzip", ALL),
        ("connect-node connect 1.1", HALF_DUPLEX),
        ("connect-node connect 1.1 json get", UNARY),
    ];
    let mut setting = Setting::start().await;
    let program = setting.program(|args| node("clients.mjs", args));
    setting.table(program, clients).await;
}

#[tokio::test]
async fn in_the_library_of_our_own() {
    let mut setting = Setting::start().await;
    let program = setting.program(|args| node("clients.mjs", args));
    setting.table(program, &[("tidegate websocket", ALL), ("tidegate http", ALL)]).await;
}

#[tokio::test]
async fn in_a_page() {
    let clients: &[Client] = &[
        ("connect-web connect same", ONE_REQUEST),
        ("connect-web connect same json get", UNARY),
        ("connect-web connect cross json", ONE_REQUEST),
        ("connect-web connect cross get", UNARY),
        ("connect-web connect http", ONE_REQUEST),
        ("connect-web grpc-web same", ONE_REQUEST),
        ("connect-web grpc-web cross json", ONE_REQUEST),
        ("connect-web grpc-web http", ONE_REQUEST),
        ("grpc-web text same", ONE_REQUEST),
        ("grpc-web text cross", ONE_REQUEST),
        ("grpc-web text http", ONE_REQUEST),
        ("grpc-web binary same", UNARY),
        ("improbable fetch same", ONE_REQUEST),
        ("improbable xhr cross", ONE_REQUEST),
        ("improbable fetch http", ONE_REQUEST),
    ];
    let mut setting = Setting::start().await;
    let program = setting.program(|args| browser_with("clients.mjs", args));
    setting.table(program, clients).await;
}

/// A backend, and a gateway before it that pages of any origin may call.
struct Setting {
    backend: Backend,
    gateway: Gateway,
}

impl Setting {
    async fn start() -> Self {
        let backend = Backend::with(Options { compresses: true, ..Options::default() }).await;
        let config = Config::to(backend.address).section("cors: { origins: [ \"*\" ] }");
        let gateway = Gateway::start(config).await;
        Self { backend, gateway }
    }

    /// What clients are to trust, and nothing else.
    fn certificate(&self) -> PathBuf {
        self.gateway.dir().path().join("cert.pem")
    }

    fn program(&self, start: impl FnOnce(&[&str]) -> Process) -> Caller {
        let ports = [self.gateway.tls.port(), self.gateway.plain.port()].map(|port| port.to_string());
        let certificate = self.certificate();
        Caller::Program(Box::new(start(&[&ports[0], &ports[1], certificate.to_str().expect("UTF-8"), DESCRIPTOR_SET])))
    }

    /// Has each client make all its calls, and judges what it says and what the backend saw.
    async fn table(&mut self, mut caller: Caller, clients: &[Client]) {
        let mut failed = Vec::new();
        for &(client, kinds) in clients {
            for &kind in kinds {
                for outcome in Outcome::of(kind) {
                    let call = Call { client, kind, outcome };
                    // Each is judged, whatever became of the one before; the panics' texts are in the output.
                    let run = run(&call, &mut caller, &mut self.backend);
                    if AssertUnwindSafe(run).catch_unwind().await.is_err() {
                        failed.push(call);
                    }
                }
            }
        }
        assert!(failed.is_empty(), "{failed:#?}\n{}", caller.transcript());
        self.gateway.assert_nothing_internal();
    }
}

async fn run(call: &Call, caller: &mut Caller, backend: &mut Backend) {
    let mut said = caller.begin(&call.told()).await;
    if call.outcome != Outcome::Cancelled {
        let said = said.await;
        let seen = backend.call_of(&call.id()).now_or_never();
        let mut seen = seen.unwrap_or_else(|| panic!("the backend was not called: {said:?}"));
        return call.judge(&said, &mut seen).await;
    }
    let begun = tokio::select! {
        seen = begun(call, backend) => Ok(seen),
        said = &mut said => Err(said),
    };
    caller.allow().await;
    let mut seen = begun.unwrap_or_else(|said| panic!("{call:?} ended before it was cancelled: {said:?}"));
    call.judge(&said.await, &mut seen).await;
}

/// What the backend sees of a call, once it has all that is sent: some clients end their request before they cancel it,
/// and what hangs must hang by then.
async fn begun(call: &Call, backend: &mut Backend) -> SeenCall {
    let mut seen = backend.call_of(&call.id()).await;
    let mut left = call.requests().len();
    while left > 0 {
        match seen.next().await {
            Event::Message(_) => left -= 1,
            Event::HalfClosed | Event::RequestsLost => {}
            Event::Answered | Event::Cancelled => break,
        }
    }
    seen
}
