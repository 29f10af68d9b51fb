//! The backends and the clients themselves, with no gateway between: what they say must be true before it judges one.

use h2::Reason;
use serde_json::json;

use crate::{
    backend::{Backend, Event, RawBackend, framed},
    harness::{Conn, Dialect, Kind, Opening, Step, Via, grpc_call::GrpcCall, http::Broken},
};

async fn direct(backend: &Backend, kind: Kind, behave: &str) -> GrpcCall {
    let opening = Opening::new(Dialect::Grpc, kind, Via::H2c).behave(behave);
    GrpcCall::open(&opening, "it", backend.address).await
}

#[tokio::test]
async fn the_backend_answers_all_four_kinds() {
    let mut backend = Backend::start().await;
    let mut call = direct(&backend, Kind::Unary, "").await;
    assert_eq!(call.next().await, Step::Message(json!({"text": "hello", "n": 7})));
    let mut seen = backend.call("Say").await;
    let events = seen.until(Event::Answered).await;
    assert!(events.contains(&Event::Message("hello".to_owned())) && events.contains(&Event::HalfClosed), "{events:?}");

    let mut call = direct(&backend, Kind::ServerStream, "").await;
    for expected in [json!({"text": "tick"}), json!({"text": "tick", "n": 1}), json!({"text": "tick", "n": 2})] {
        assert_eq!(call.next().await, Step::Message(expected));
    }
    backend.call("Down").await.until(Event::Answered).await;

    let mut call = direct(&backend, Kind::ClientStream, "").await;
    call.send(&json!({"text": "a", "data": "AAAA"})).await;
    call.send(&json!({"text": "b"})).await;
    call.half_close();
    assert_eq!(call.next().await, Step::Message(json!({"count": 2, "bytes": "3", "joined": "a,b"})));

    let mut call = direct(&backend, Kind::Bidi, "").await;
    for text in ["one", "two"] {
        call.send(&json!({"text": text})).await;
        assert_eq!(call.next().await, Step::Message(json!({"text": text})));
    }
    call.half_close();
    assert!(matches!(call.next().await, Step::End(end) if end.code == Some(0)));
}

#[tokio::test]
async fn the_backend_does_as_its_script_says() {
    let backend = Backend::start().await;
    for (kind, behave, messages) in [
        (Kind::Unary, "fail@0=5", 0),
        (Kind::ServerStream, "fail@0=5", 0),
        (Kind::ServerStream, "fail@2=5", 2),
        (Kind::ClientStream, "fail@0=5", 0),
        (Kind::ClientStream, "fail@2=5", 0),
        (Kind::Bidi, "fail@2=5", 2),
    ] {
        let mut call = direct(&backend, kind, behave).await;
        if kind.requests_stream() {
            call.send(&json!({"text": "a"})).await;
            call.send(&json!({"text": "b"})).await;
        }
        let mut count = 0;
        let end = loop {
            match call.next().await {
                Step::Message(_) => count += 1,
                Step::End(end) => break end,
            }
        };
        assert_eq!((count, end.code, end.message.as_str()), (messages, Some(5), "asked to fail"), "{kind:?} {behave}");
        assert_eq!(end.details, ["google.rpc.ErrorInfo"], "{kind:?} {behave}");
    }
}

#[tokio::test]
async fn the_backend_waits_for_the_half_close_where_asked() {
    let backend = Backend::start().await;
    let mut call = direct(&backend, Kind::Bidi, "await-half-close").await;
    call.send(&json!({"text": "a"})).await;
    call.half_close();
    assert_eq!(call.next().await, Step::Message(json!({"text": "a"})));
    assert_eq!(call.next().await, Step::Message(json!({"text": "bye"})));
    assert!(matches!(call.next().await, Step::End(end) if end.code == Some(0)));
}

#[tokio::test]
async fn the_backend_sees_cancellation() {
    let mut backend = Backend::start().await;
    for (kind, behave) in [
        (Kind::Unary, "hang@0"),
        (Kind::ServerStream, "hang@2"),
        (Kind::ClientStream, "hang@1"),
        (Kind::Bidi, "hang@1"),
    ] {
        let mut call = direct(&backend, kind, behave).await;
        if kind.requests_stream() {
            call.send(&json!({"text": "a"})).await;
        }
        let mut seen = backend.call(kind.method()).await;
        if kind.replies_stream() {
            assert!(matches!(call.next().await, Step::Message(_)));
        } else {
            while !matches!(seen.next().await, Event::Message(_)) {}
        }
        drop(call);
        seen.cancelled().await;
    }
}

#[tokio::test]
async fn a_killed_backend_is_gone_and_its_port_free() {
    let mut backend = Backend::start().await;
    let mut call = direct(&backend, Kind::ServerStream, "hang@1").await;
    assert!(matches!(call.next().await, Step::Message(_)));
    backend.kill();
    assert!(matches!(call.next().await, Step::End(end) if end.code == Some(14) || end.code == Some(2)));
    let port = backend.address.port();
    let again = Backend::with(crate::backend::Options { port, ..Default::default() }).await;
    assert_eq!(again.address, backend.address);
}

#[tokio::test]
async fn rules_are_answered_by_descriptor() {
    let backend = Backend::start().await;
    let mut conn = Conn::open(backend.address, Via::H2c).await;
    let headers = [("content-type", "application/grpc"), ("te", "trailers")];
    // All { s: "x" }, field 14.
    let body = framed(b"\x72\x01x");
    let answer = conn.whole("POST", "/tidegate.test.v1.Rules/P1", &headers, Some(body)).await;
    assert_eq!(answer.trailers["grpc-status"], "0");
    assert!(answer.text().contains(r#"{"s":"x"}"#), "{answer:?}");
}

#[tokio::test]
async fn the_raw_backend_resets_and_is_told_of_resets() {
    let mut backend = RawBackend::start().await;
    let mut conn = Conn::open(backend.address, Via::H2c).await;
    let mut download = conn.begin("GET", "/x", &[], None).await;
    let mut call = backend.call().await;
    call.head();
    call.data("abc");
    assert_eq!(download.head().await.unwrap().status(), 200);
    assert_eq!(download.piece().await, Some(Ok("abc".into())));
    call.reset(Reason::ENHANCE_YOUR_CALM);
    assert_eq!(download.piece().await, Some(Err(Broken::Reset(Reason::ENHANCE_YOUR_CALM))));

    let download = conn.begin("GET", "/y", &[], None).await;
    let mut call = backend.call().await;
    drop(download);
    assert_eq!(call.cancelled().await, Reason::CANCEL);

    let mut download = conn.begin("GET", "/z", &[], None).await;
    let call = backend.call().await;
    call.connection.go_away(Reason::INTERNAL_ERROR);
    assert!(matches!(download.head().await.unwrap_err(), Broken::Connection(_)));
    assert_eq!(conn.closed().await, Some(Broken::GoAway(Reason::INTERNAL_ERROR)));
}
