//! What a token's age does to the calls that it was to open, and tickets in the place of one.

use std::time::{Duration, SystemTime};

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::{
    backend::Backend,
    harness::{
        Call, Config, Dialect, Gateway, Kind, Opening, Via, expect,
        http::Whole,
        mux::{self, Carrier, Client},
        ws::WebSocket,
    },
};

/// Time to open a call and to have its first messages.
const SHORT: Duration = Duration::from_millis(1500);

/// A JSON Web Token that expires so much later than now. Nobody checks its signature here.
fn bearer(left: Duration) -> String {
    let now = SystemTime::UNIX_EPOCH.elapsed().expect("a time after 1970");
    let claims = json!({ "sub": "somebody", "exp": (now + left).as_secs_f64() });
    format!("Bearer e30.{}.c2lnbmF0dXJl", base64_simd::URL_SAFE_NO_PAD.encode_to_string(claims.to_string()))
}

async fn start(token_expiry: &str) -> (Backend, Gateway) {
    let backend = Backend::start().await;
    let routes = format!("routes: [ {{ match: {{ service: tidegate.test.v1 }}, token_expiry: {token_expiry} }} ]");
    let gateway = Gateway::start(Config::to(backend.address).section(&routes)).await;
    (backend, gateway)
}

#[tokio::test]
async fn a_stream_ends_in_its_dialect_when_its_token_expires() {
    let (mut backend, gateway) = start("end").await;
    let mut calls = Vec::new();
    for dialect in [
        Dialect::Json,
        Dialect::Ndjson,
        Dialect::JsonSeq,
        Dialect::Protobuf,
        Dialect::Sse,
        Dialect::WebSocket,
        Dialect::Grpc,
        Dialect::GrpcJson,
        Dialect::GrpcWeb,
        Dialect::GrpcWebText,
        Dialect::ConnectJson,
        Dialect::ConnectProto,
    ] {
        for &via in expect::vias(dialect, Kind::ServerStream) {
            let opening = Opening::new(dialect, Kind::ServerStream, via).behave("hang@2").authorization(&bearer(SHORT));
            let call = opening.open(&gateway).await;
            let seen = backend.call_of(&call.id).await;
            calls.push((opening, call, seen));
        }
    }
    join_all(calls.into_iter().map(async |(opening, mut call, mut seen)| {
        let (messages, end) = call.rest().await;
        assert_eq!(messages.len(), 2, "{call:?}: {end:?}");
        expect::failed(&call, &end, &opening, 16, true);
        if end.code.is_some() {
            assert_eq!(end.message, "the token that the stream was opened with has expired", "{call:?}");
        }
        seen.cancelled().await;
    }))
    .await;
    gateway.assert_nothing_internal();
}

/// A call with its first message answered.
async fn chat(gateway: &Gateway, authorization: &str) -> Call {
    let opening = Opening::new(Dialect::WebSocket, Kind::Bidi, Via::H1Tls).authorization(authorization);
    let mut call = opening.open(gateway).await;
    answers(&mut call).await;
    call
}

async fn answers(call: &mut Call) {
    call.send(&json!({"text": "a"})).await;
    assert_eq!(call.message().await, json!({"text": "a"}), "{call:?}");
}

#[tokio::test]
async fn what_says_no_end_has_none_and_unary_calls_are_the_upstreams_to_judge() {
    let (_backend, gateway) = start("end").await;
    let (_other, tolerant) = start("ignore").await;
    // Opened first, and there when another has ended.
    let mut calls = [
        chat(&tolerant, &bearer(Duration::ZERO)).await,
        chat(&gateway, "Bearer opaque").await,
        chat(&gateway, &bearer(Duration::from_secs(u64::MAX >> 1))).await,
        chat(&gateway, "").await,
    ];
    let unary = Opening::new(Dialect::Json, Kind::Unary, Via::H1Tls).authorization(&bearer(Duration::ZERO));
    let (messages, _) = unary.open(&gateway).await.rest().await;
    assert_eq!(messages.len(), 1, "who serves a unary call knows when its token is too old");
    let expiring = Opening::new(Dialect::Sse, Kind::ServerStream, Via::H2Tls).behave("hang@1");
    let (_, end) = expiring.authorization(&bearer(Duration::from_millis(300))).open(&gateway).await.rest().await;
    assert_eq!(end.code, Some(16));
    for call in &mut calls {
        answers(call).await;
    }
}

#[tokio::test]
async fn who_makes_many_calls_is_asked_for_a_newer_token_and_tells_it() {
    let (mut backend, gateway) = start("end").await;
    for carrier in [Carrier::Socket, Carrier::Lines, Carrier::Events, Carrier::Delimited] {
        let first = bearer(SHORT);
        let mut client = Client::open_with(&gateway, carrier, Via::H2Tls, &[("authorization", &first)]).await;
        client.call(1, "Chat", "").await;
        let mut expiring = backend.call("Chat").await;
        assert_eq!(expiring.header("authorization"), first);
        // One call brings its own.
        let own = bearer(Duration::from_secs(3600));
        let mut open = mux::call(2, "Chat", "");
        open["open"]["metadata"]["authorization"] = own.as_str().into();
        client.send(open).await;
        assert_eq!(backend.call("Chat").await.header("authorization"), own);

        let renew = client.next(0).await;
        let left = renew["renew"]["expires_in"].as_str().expect("a duration");
        let left: f64 = left.strip_suffix('s').and_then(|left| left.parse().ok()).expect("seconds");
        assert!(left > 0.0 && left <= SHORT.as_secs_f64() / 2.0 + 0.001, "{carrier:?}: {renew}");
        let newer = bearer(SHORT);
        client.send(json!({ "token": newer.strip_prefix("Bearer ") })).await;
        client.call(3, "Chat", "").await;
        assert_eq!(backend.call("Chat").await.header("authorization"), newer, "{carrier:?}");

        let ended = client.status(1).await;
        assert_eq!((&ended["code"], &ended["details"][0]["reason"]), (&16.into(), &"TOKEN_EXPIRED".into()), "{ended}");
        expiring.cancelled().await;
        assert!(client.next(0).await.get("renew").is_some(), "{carrier:?}: the newer one expires too");
        client.send(json!({ "id": 2, "message": { "text": "still here" } })).await;
        assert_eq!(client.message(2).await["text"], "still here", "{carrier:?}");

        if carrier == Carrier::Socket {
            client.send(json!({ "token": "not a token" })).await;
            assert_eq!(client.closed().await.0, 1007);
        }
    }
    gateway.assert_nothing_internal();
}

const DOWN: &str = "/echo/down?text=t&count=2";

/// A ticket for a token.
async fn ticket(gateway: &Gateway, authorization: &str) -> String {
    let mut conn = gateway.connect(Via::H2Tls).await;
    let answer = conn.whole("POST", "/-/ticket", &[("authorization", authorization)], None).await;
    assert_eq!((answer.status.as_u16(), answer.header("cache-control")), (200, "no-store"), "{answer:?}");
    let told: Value = answer.json();
    assert_eq!(told["expires_in"], "30s", "{told}");
    told["ticket"].as_str().expect("a ticket").to_owned()
}

/// The answer to an event stream's request.
async fn events(gateway: &Gateway, target: &str, headers: &[(&str, &str)]) -> Whole {
    let headers: Vec<_> = [("accept", "text/event-stream")].into_iter().chain(headers.iter().copied()).collect();
    gateway.connect(Via::H1Tls).await.whole("GET", target, &headers, None).await
}

#[tokio::test]
async fn a_ticket_takes_the_place_of_a_token_once() {
    let (mut backend, gateway) = start("end").await;
    // EventSource.
    let shown = format!("{DOWN}&ticket={}", ticket(&gateway, "Bearer a").await);
    assert_eq!(events(&gateway, &shown, &[]).await.status, 200);
    assert_eq!(backend.call("Down").await.header("authorization"), "Bearer a");
    let again = events(&gateway, &shown, &[]).await;
    assert_eq!(again.status, 401, "{again:?}");
    assert_eq!(again.header("www-authenticate"), "Bearer");
    let told = again.text();
    assert!(told.contains("TICKET_INVALID") && told.contains("was used"), "{told}");
    // WebSocket, one call or many.
    for (via, target, protocol) in [
        (Via::H1Tls, "/echo/chat", "tidegate.json"),
        (Via::H2Tls, "/echo/chat", "tidegate.json"),
        (Via::H1Tls, "/-/mux", "tidegate.mux"),
    ] {
        let shown = format!("{target}?ticket={}", ticket(&gateway, "Basic YTpi").await);
        let headers = [("sec-websocket-protocol", protocol)];
        let mut socket = WebSocket::open(&gateway, via, &shown, &headers).await.expect("a WebSocket");
        let open = match protocol {
            "tidegate.json" => json!({ "text": "a" }),
            _ => json!({ "id": 1, "open": { "method": "tidegate.test.v1.Echo/Chat" } }),
        };
        socket.text(open.to_string()).await;
        assert_eq!(backend.call("Chat").await.header("authorization"), "Basic YTpi", "{target}");
        let Err(refused) = WebSocket::open(&gateway, via, &shown, &headers).await else { panic!("taken again") };
        assert_eq!(refused.status(), 401, "{target}");
    }
    // What it stands for has its own age.
    let shown = format!("{DOWN}&ticket={}", ticket(&gateway, &bearer(Duration::ZERO)).await);
    let told = events(&gateway, &shown, &[]).await;
    assert!(told.text().contains("TOKEN_EXPIRED"), "{told:?}");
    gateway.assert_nothing_internal();
}

#[tokio::test]
async fn what_is_no_ticket_is_refused_or_none_of_the_gateways_business() {
    let (mut backend, gateway) = start("end").await;
    let good = ticket(&gateway, "Bearer a").await;
    let twice = format!("{DOWN}&ticket={good}&ticket={good}");
    for (target, headers, status, reason) in [
        (format!("{DOWN}&ticket=tgt_AAAAAAAAAAAAAAAAAAAAAA"), &[][..], 401, "TICKET_INVALID"),
        (format!("{DOWN}&ticket=tgt_"), &[], 401, "TICKET_INVALID"),
        (format!("{DOWN}&ticket={good}"), &[("authorization", "Bearer b")], 400, "INVALID_HEADER"),
        (twice, &[], 400, "INVALID_QUERY"),
        (format!("{DOWN}&ticket=abc"), &[], 400, "INVALID_QUERY"),
    ] {
        let answer = events(&gateway, &target, headers).await;
        let told = answer.text();
        assert_eq!(answer.status, status, "{target}: {told}");
        assert!(told.contains(reason), "{target}: {told}");
    }
    let mut conn = gateway.connect(Via::H1Tls).await;
    let posted = conn.whole("POST", &format!("/echo/say?ticket={good}"), &[], Some("{}".into())).await;
    assert_eq!(posted.status, 400, "a POST has headers: {posted:?}");
    backend.assert_not_called();
    assert_eq!(events(&gateway, &format!("{DOWN}&ticket={good}"), &[]).await.status, 200, "nothing used it up");

    let anonymous = conn.whole("POST", "/-/ticket", &[], None).await;
    assert_eq!(anonymous.status, 401, "{anonymous:?}");
    let got = conn.whole("GET", "/-/ticket", &[("authorization", "Bearer a")], None).await;
    assert_eq!((got.status.as_u16(), got.header("allow")), (405, "POST"), "{got:?}");
    let logged = gateway.process.stderr.all().concat();
    assert!(!logged.contains("tgt_") && !logged.contains("Bearer"), "{logged}");

    let config = Config::to(backend.address).limit("ticket_bytes_max", "200").section("tickets: { lifetime: 10s }");
    let full = Gateway::start(config).await;
    let mut conn = full.connect(Via::H2Tls).await;
    let headers = [("authorization", "Bearer a")];
    assert_eq!(conn.whole("POST", "/-/ticket", &headers, None).await.status, 200);
    let refused = conn.whole("POST", "/-/ticket", &headers, None).await;
    assert_eq!((refused.status.as_u16(), refused.header("retry-after")), (503, "10"), "{refused:?}");
    let none = Gateway::start(Config::to(backend.address).section("tickets: { enabled: false }")).await;
    assert_eq!(none.connect(Via::H1Tls).await.whole("POST", "/-/ticket", &headers, None).await.status, 404);
}
