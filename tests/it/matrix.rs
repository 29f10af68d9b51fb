//! Dialect × kind of method × outcome, over real sockets: status, framing, end, and what the backend saw.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use h2::Reason;
use serde_json::{Value, json};

use crate::{
    backend::{Backend, Event, RawBackend, SeenCall, framed},
    harness::{Call, Config, Dialect, End, Gateway, How, Kind, Opening, Step, Via, expect},
    proto::{Msg, Sum},
};

/// What becomes of a call.
#[derive(Clone, Copy, Debug)]
enum Outcome {
    Ok,
    ErrorBeforeFirst,
    ErrorAfterTwo,
    Deadline,
    ClientGoesAway,
    OversizeRequest,
    OversizeReply,
    HalfClose,
}

const OUTCOMES: [Outcome; 8] = [
    Outcome::Ok,
    Outcome::ErrorBeforeFirst,
    Outcome::ErrorAfterTwo,
    Outcome::Deadline,
    Outcome::ClientGoesAway,
    Outcome::OversizeRequest,
    Outcome::OversizeReply,
    Outcome::HalfClose,
];

#[tokio::test]
async fn json_unary() {
    row(Dialect::Json, Kind::Unary).await;
}

#[tokio::test]
async fn json_server_stream() {
    row(Dialect::Json, Kind::ServerStream).await;
}

#[tokio::test]
async fn json_client_stream() {
    row(Dialect::Json, Kind::ClientStream).await;
}

#[tokio::test]
async fn json_bidi() {
    row(Dialect::Json, Kind::Bidi).await;
}

#[tokio::test]
async fn ndjson_unary() {
    row(Dialect::Ndjson, Kind::Unary).await;
}

#[tokio::test]
async fn ndjson_server_stream() {
    row(Dialect::Ndjson, Kind::ServerStream).await;
}

#[tokio::test]
async fn ndjson_client_stream() {
    row(Dialect::Ndjson, Kind::ClientStream).await;
}

#[tokio::test]
async fn ndjson_bidi() {
    row(Dialect::Ndjson, Kind::Bidi).await;
}

#[tokio::test]
async fn json_seq_unary() {
    row(Dialect::JsonSeq, Kind::Unary).await;
}

#[tokio::test]
async fn json_seq_server_stream() {
    row(Dialect::JsonSeq, Kind::ServerStream).await;
}

#[tokio::test]
async fn json_seq_client_stream() {
    row(Dialect::JsonSeq, Kind::ClientStream).await;
}

#[tokio::test]
async fn json_seq_bidi() {
    row(Dialect::JsonSeq, Kind::Bidi).await;
}

#[tokio::test]
async fn protobuf_unary() {
    row(Dialect::Protobuf, Kind::Unary).await;
}

#[tokio::test]
async fn protobuf_server_stream() {
    row(Dialect::Protobuf, Kind::ServerStream).await;
}

#[tokio::test]
async fn protobuf_client_stream() {
    row(Dialect::Protobuf, Kind::ClientStream).await;
}

#[tokio::test]
async fn protobuf_bidi() {
    row(Dialect::Protobuf, Kind::Bidi).await;
}

#[tokio::test]
async fn sse_unary() {
    row(Dialect::Sse, Kind::Unary).await;
}

#[tokio::test]
async fn sse_server_stream() {
    row(Dialect::Sse, Kind::ServerStream).await;
}

#[tokio::test]
async fn sse_refuses_request_streams() {
    let mut backend = Backend::start().await;
    let gateway = Gateway::start(Config::to(backend.address)).await;
    for kind in [Kind::ClientStream, Kind::Bidi] {
        for via in Via::ALL {
            let mut call = Opening::new(Dialect::Sse, kind, via).open(&gateway).await;
            let (messages, end) = call.rest().await;
            assert!(messages.is_empty());
            assert_eq!(end.how, How::Http(406), "{call:?}: {end:?}");
            assert_eq!(end.details, ["google.rpc.ErrorInfo"], "{call:?}: {end:?}");
        }
    }
    backend.assert_not_called();
    gateway.assert_nothing_internal();
}

#[tokio::test]
async fn websocket_unary() {
    row(Dialect::WebSocket, Kind::Unary).await;
}

#[tokio::test]
async fn websocket_server_stream() {
    row(Dialect::WebSocket, Kind::ServerStream).await;
}

#[tokio::test]
async fn websocket_client_stream() {
    row(Dialect::WebSocket, Kind::ClientStream).await;
}

#[tokio::test]
async fn websocket_bidi() {
    row(Dialect::WebSocket, Kind::Bidi).await;
}

#[tokio::test]
async fn grpc_unary() {
    row(Dialect::Grpc, Kind::Unary).await;
}

#[tokio::test]
async fn grpc_server_stream() {
    row(Dialect::Grpc, Kind::ServerStream).await;
}

#[tokio::test]
async fn grpc_client_stream() {
    row(Dialect::Grpc, Kind::ClientStream).await;
}

#[tokio::test]
async fn grpc_bidi() {
    row(Dialect::Grpc, Kind::Bidi).await;
}

#[tokio::test]
async fn grpc_json_unary() {
    row(Dialect::GrpcJson, Kind::Unary).await;
}

#[tokio::test]
async fn grpc_json_server_stream() {
    row(Dialect::GrpcJson, Kind::ServerStream).await;
}

#[tokio::test]
async fn grpc_json_client_stream() {
    row(Dialect::GrpcJson, Kind::ClientStream).await;
}

#[tokio::test]
async fn grpc_json_bidi() {
    row(Dialect::GrpcJson, Kind::Bidi).await;
}

#[tokio::test]
async fn grpc_web_unary() {
    row(Dialect::GrpcWeb, Kind::Unary).await;
}

#[tokio::test]
async fn grpc_web_server_stream() {
    row(Dialect::GrpcWeb, Kind::ServerStream).await;
}

#[tokio::test]
async fn grpc_web_text_unary() {
    row(Dialect::GrpcWebText, Kind::Unary).await;
}

#[tokio::test]
async fn grpc_web_text_server_stream() {
    row(Dialect::GrpcWebText, Kind::ServerStream).await;
}

#[tokio::test]
async fn grpc_web_json_unary() {
    row(Dialect::GrpcWebJson, Kind::Unary).await;
}

#[tokio::test]
async fn grpc_web_json_server_stream() {
    row(Dialect::GrpcWebJson, Kind::ServerStream).await;
}

#[tokio::test]
async fn connect_json_unary() {
    row(Dialect::ConnectJson, Kind::Unary).await;
}

#[tokio::test]
async fn connect_json_server_stream() {
    row(Dialect::ConnectJson, Kind::ServerStream).await;
}

#[tokio::test]
async fn connect_json_client_stream() {
    row(Dialect::ConnectJson, Kind::ClientStream).await;
}

#[tokio::test]
async fn connect_json_bidi() {
    row(Dialect::ConnectJson, Kind::Bidi).await;
}

#[tokio::test]
async fn connect_proto_unary() {
    row(Dialect::ConnectProto, Kind::Unary).await;
}

#[tokio::test]
async fn connect_proto_server_stream() {
    row(Dialect::ConnectProto, Kind::ServerStream).await;
}

#[tokio::test]
async fn connect_proto_client_stream() {
    row(Dialect::ConnectProto, Kind::ClientStream).await;
}

#[tokio::test]
async fn connect_proto_bidi() {
    row(Dialect::ConnectProto, Kind::Bidi).await;
}

#[tokio::test]
async fn connect_get_unary() {
    row(Dialect::ConnectGet, Kind::Unary).await;
}

/// One row of the matrix: every outcome over every connection, and then the upstream's resets.
async fn row(dialect: Dialect, kind: Kind) {
    let mut backend = Backend::start().await;
    let gateway = Gateway::start(Config::to(backend.address).small_messages()).await;
    let mut failed = Vec::new();
    for &via in expect::vias(dialect, kind) {
        for outcome in OUTCOMES {
            let mut cell = Cell { opening: Opening::new(dialect, kind, via), gateway: &gateway, backend: &mut backend };
            // Each cell is judged, whatever became of the one before; the panics' texts are in the output.
            if AssertUnwindSafe(cell.run(outcome)).catch_unwind().await.is_err() {
                failed.push(format!("{dialect:?} {kind:?} {via:?} {outcome:?}"));
            }
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
    gateway.assert_nothing_internal();
    upstream_resets(dialect, kind).await;
}

struct Cell<'a> {
    opening: Opening,
    gateway: &'a Gateway,
    backend: &'a mut Backend,
}

impl Cell<'_> {
    async fn run(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Ok => self.ok().await,
            Outcome::ErrorBeforeFirst => self.error_before_first().await,
            Outcome::ErrorAfterTwo => self.error_after_two().await,
            Outcome::Deadline => self.deadline().await,
            Outcome::ClientGoesAway => self.client_goes_away().await,
            Outcome::OversizeRequest => self.oversize_request().await,
            Outcome::OversizeReply => self.oversize_reply().await,
            Outcome::HalfClose => self.half_close().await,
        }
    }

    fn kind(&self) -> Kind {
        self.opening.kind
    }

    /// A client that can read while it still writes: HTTP/1.1 bodies are half duplex (PROTOCOLS §1).
    fn duplex(&self) -> bool {
        self.opening.via.is_h2() || self.opening.dialect == Dialect::WebSocket
    }

    /// Opens the call with the backend so scripted, and tells what the backend sees of it.
    async fn open(&mut self, behave: &str) -> (Call, SeenCall) {
        let mut call = self.opening.clone().behave(behave).open(self.gateway).await;
        if self.kind().requests_stream() {
            call.send(&json!({"text": "a"})).await;
        }
        let seen = self.backend.call_of(&call.id).await;
        (call, seen)
    }

    /// The same with messages `a` and `b`, and the half-close where the reply cannot come before.
    async fn open_two(&mut self, behave: &str) -> (Call, SeenCall) {
        let (mut call, seen) = self.open(behave).await;
        if self.kind().requests_stream() {
            call.send(&json!({"text": "b"})).await;
            if !self.duplex() {
                call.half_close().await;
            }
        }
        (call, seen)
    }

    async fn ok(&mut self) {
        let (mut call, mut seen) = self.open("").await;
        let kind = self.kind();
        if kind == Kind::Bidi && self.duplex() {
            assert_eq!(call.message().await, json!({"text": "a"}), "{call:?}");
            call.send(&json!({"text": "b"})).await;
            assert_eq!(call.message().await, json!({"text": "b"}), "{call:?}");
            call.half_close().await;
            let (rest, end) = call.rest().await;
            assert_eq!((rest, &end), (vec![], &expect::end(&self.opening)), "{call:?}");
        } else {
            if kind.requests_stream() {
                call.send(&json!({"text": "b"})).await;
                call.half_close().await;
            }
            let (messages, end) = call.rest().await;
            assert_eq!(messages, expect::messages(kind), "{call:?}");
            assert_eq!(end, expect::end(&self.opening), "{call:?}");
        }
        let events = seen.until(Event::Answered).await;
        assert!(events.contains(&Event::HalfClosed), "{call:?}: {events:?}");
        assert_eq!(seen.header("te"), "trailers", "{call:?}");
        assert_eq!(seen.header("x-request-id"), call.id, "{call:?}");
    }

    async fn error_before_first(&mut self) {
        let (mut call, _seen) = self.open_two("fail@0=5").await;
        let (messages, end) = call.rest().await;
        assert_eq!(messages, Vec::<Value>::new(), "{call:?}");
        expect::failed(&call, &end, &self.opening, 5, false);
        assert_eq!(end.message, "asked to fail", "{call:?}");
        assert_asked_details(&call, &end, &self.opening);
    }

    async fn error_after_two(&mut self) {
        if self.kind() == Kind::Unary {
            return; // a unary call has no two messages
        }
        let (mut call, _seen) = self.open_two("fail@2=9").await;
        let (messages, end) = call.rest().await;
        let begun = self.kind().replies_stream();
        assert_eq!(messages.len(), if begun { 2 } else { 0 }, "{call:?}");
        expect::failed(&call, &end, &self.opening, 9, begun);
        if end.code.is_some() {
            assert_eq!(end.message, "asked to fail", "{call:?}");
            assert_asked_details(&call, &end, &self.opening);
        }
    }

    async fn deadline(&mut self) {
        let plain = self.opening.clone();
        self.opening = plain.clone().timeout_ms(400);
        let (mut call, mut seen) = self.open_two(hang(self.kind())).await;
        self.opening = plain;
        let told = seen.timeout().expect("the deadline is forwarded").as_millis();
        assert!((1..=400).contains(&told), "{call:?}: {told} ms");
        let (messages, end) = call.rest().await;
        let begun = self.kind().replies_stream();
        assert_eq!(messages.len(), if begun { 2 } else { 0 }, "{call:?}");
        expect::failed(&call, &end, &self.opening, 4, begun);
        seen.cancelled().await;
    }

    async fn client_goes_away(&mut self) {
        let (mut call, mut seen) = self.open_two(hang(self.kind())).await;
        if self.kind().replies_stream() {
            call.message().await;
            call.message().await;
        } else {
            while !matches!(seen.next().await, Event::Message(_)) {}
        }
        let id = call.id.clone();
        let conn = call.leave();
        seen.cancelled().await;
        if let Some(mut conn) = conn {
            assert_eq!(conn.get("/echo/say/after").await.status, 200, "the connection outlives a call");
        }
        let record = self.gateway.access_of(&id).await;
        assert_eq!(record["code"], "CANCELLED", "{record}");
    }

    async fn oversize_request(&mut self) {
        let kind = self.kind();
        let data = base64_simd::STANDARD.encode_to_string(vec![0u8; 100_000]);
        let large = json!({"text": "large", "data": data});
        let mut call = match kind {
            Kind::ClientStream | Kind::Bidi => {
                let (mut call, mut seen) = self.open("hang@9").await;
                while !matches!(seen.next().await, Event::Message(_)) {}
                call.send(&large).await;
                seen.cancelled().await;
                call
            }
            // All of the request is in the URL: nothing can be too large but the URL itself.
            Kind::ServerStream if self.opening.dialect == Dialect::WebSocket => return,
            Kind::Unary if self.opening.dialect == Dialect::ConnectGet => return,
            Kind::ServerStream => {
                let text = "x".repeat(100_000);
                self.opening.clone().request(json!({"text": text})).open(self.gateway).await
            }
            Kind::Unary => self.opening.clone().request(large).open(self.gateway).await,
        };
        let (_, end) = call.rest().await;
        match (self.opening.dialect, &end.how) {
            (Dialect::WebSocket, how) => assert_eq!(*how, How::Close(1009), "{call:?}: {end:?}"),
            (_, How::Http(status)) => assert_eq!((*status, end.code), (413, Some(8)), "{call:?}: {end:?}"),
            (Dialect::Json | Dialect::Protobuf, How::Cut(_)) if kind == Kind::Bidi => {}
            _ => assert_eq!(end.code, Some(8), "{call:?}: {end:?}"),
        }
        if !kind.requests_stream() {
            self.backend.assert_no_call_of(&call.id);
        }
    }

    async fn oversize_reply(&mut self) {
        let begun = self.kind().replies_stream();
        let (mut call, mut seen) = self.open_two(if begun { "big@2=100000,hang@3" } else { "big@0=100000" }).await;
        if self.kind() == Kind::ClientStream && self.duplex() {
            call.half_close().await;
        }
        if self.kind() == Kind::Bidi && self.duplex() {
            call.send(&json!({"text": "c"})).await;
        } else if self.kind() == Kind::Bidi {
            return; // what half duplex has sent is answered: nothing is left to be large
        }
        let (messages, end) = call.rest().await;
        assert_eq!(messages.len(), if begun { 2 } else { 0 }, "{call:?}");
        match end.code {
            Some(code) => assert_eq!(code, 8, "{call:?}: {end:?}"),
            None => {
                assert!(
                    begun && matches!(self.opening.dialect, Dialect::Json | Dialect::Protobuf),
                    "{call:?}: {end:?}"
                );
            }
        }
        if begun {
            seen.cancelled().await;
        }
    }

    async fn half_close(&mut self) {
        if self.kind() == Kind::Bidi {
            let (mut call, mut seen) = self.open("await-half-close").await;
            call.half_close().await;
            let (messages, end) = call.rest().await;
            assert_eq!(messages, [json!({"text": "a"}), json!({"text": "bye"})], "{call:?}");
            assert_eq!(end, expect::end(&self.opening), "{call:?}");
            seen.until(Event::HalfClosed).await;
            return;
        }
        if self.kind() == Kind::ClientStream {
            let (mut call, mut seen) = self.open("").await;
            assert_eq!(seen.next().await, Event::Message("a".to_owned()), "{call:?}: before the half-close");
            call.half_close().await;
            let (messages, end) = call.rest().await;
            assert_eq!(
                (messages, end),
                (vec![json!({"count": 1, "joined": "a"})], expect::end(&self.opening)),
                "{call:?}"
            );
            assert_eq!(seen.next().await, Event::HalfClosed, "{call:?}");
            return;
        }
        // A request of one message is half-closed at once, and the call goes on.
        let (call, mut seen) = self.open("hang@0").await;
        seen.until(Event::HalfClosed).await;
        drop(call);
        seen.cancelled().await;
    }
}

/// Where the backend stops for ever, as late as this kind allows.
fn hang(kind: Kind) -> &'static str {
    match kind {
        Kind::Unary => "hang@0",
        _ => "hang@2",
    }
}

#[track_caller]
fn assert_asked_details(call: &Call, end: &End, opening: &Opening) {
    // A close frame has no room for details.
    let details: &[&str] = if opening.dialect == Dialect::WebSocket { &[] } else { &["google.rpc.ErrorInfo"] };
    assert_eq!(end.details, details, "{call:?}");
}

/// An upstream that resets its stream before and after its first messages.
async fn upstream_resets(dialect: Dialect, kind: Kind) {
    let mut backend = RawBackend::start().await;
    let gateway = Gateway::start(Config::to(backend.address)).await;
    for &via in expect::vias(dialect, kind) {
        for replies in [0, 2] {
            if replies > 0 && !kind.replies_stream() {
                continue;
            }
            println!("{dialect:?} {kind:?} {via:?} reset after {replies}");
            let opening = Opening::new(dialect, kind, via);
            let mut call = opening.open(&gateway).await;
            if kind.requests_stream() {
                call.send(&json!({"text": "a"})).await;
                if !via.is_h2() && dialect != Dialect::WebSocket {
                    call.half_close().await;
                }
            }
            let mut seen = backend.call().await;
            if replies > 0 {
                seen.head();
                for index in 0..replies {
                    seen.data(reply(kind));
                    assert!(matches!(call.next().await, Step::Message(_)), "{call:?}: message {index}");
                }
            }
            seen.reset(Reason::INTERNAL_ERROR);
            let (messages, end) = call.rest().await;
            assert!(messages.is_empty(), "{call:?}");
            expect::failed(&call, &end, &opening, 13, replies > 0);
        }
    }
}

fn reply(kind: Kind) -> bytes::Bytes {
    use prost::Message;
    match kind {
        Kind::ClientStream => framed(&Sum { count: 1, ..Sum::default() }.encode_to_vec()),
        _ => framed(&Msg { text: "raw".to_owned(), ..Msg::default() }.encode_to_vec()),
    }
}
