//! What a route may let pass: fields, parameters and names of enum values that a request's message does not have.

use serde_json::{Value, json};

use crate::{
    backend::Backend,
    harness::{Config, Gateway, Via, Whole, ws::WebSocket},
};

const ROUTES: &str = "routes:\n  - { match: { method: tidegate.test.v1.Echo/* }, unknown_fields: observe }\n  \
                      - { match: { method: tidegate.test.v1.Rules/* }, unknown_fields: ignore }";

async fn start() -> (Backend, Gateway) {
    let backend = Backend::start().await;
    let gateway = Gateway::start(Config::to(backend.address).section(ROUTES)).await;
    (backend, gateway)
}

fn warned(names: &str) -> String {
    format!("299 tidegate \"unknown fields: {names}\"")
}

#[tokio::test]
async fn what_is_observed_is_left_out_and_told_in_the_reply_the_record_and_a_metric() {
    let (_backend, gateway) = start().await;
    for via in Via::BOTH {
        let mut conn = gateway.connect(via).await;
        let headers = [("content-type", "application/json"), ("x-request-id", if via.is_h2() { "h2" } else { "h1" })];
        let body =
            json!({"s": "a", "nope": {"deep": [1]}, "n": {"child": {"no": 1}}, "c": "PURPLE", "mi": {"1": {"é": 1}}});
        let answer = conn.whole("POST", "/echo/all", &headers, Some(body.to_string().into())).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.json(), json!({"s": "a", "n": {"child": {}}, "mi": {"1": {}}}));
        assert_eq!(answer.header("warning"), warned(r#"c, mi[\"1\"].?, n.child.no, nope"#));
        let record = gateway.access_of(headers[1].1).await;
        assert_eq!(record["unknown_fields"], json!(["c", "mi[\"1\"].é", "n.child.no", "nope"]), "{record}");
    }
    let metrics = gateway.admin_get("/metrics").await.text();
    assert!(metrics.contains("tidegate_unknown_fields_total{method=\"tidegate.test.v1.Echo/All\"} 8\n"), "{metrics}");
    assert!(!metrics.contains("tidegate_unknown_fields_total{method=\"tidegate.test.v1.Rules"), "{metrics}");
    gateway.assert_nothing_internal();
}

#[tokio::test]
async fn a_call_that_fails_is_told_too() {
    let (_backend, gateway) = start().await;
    let mut conn = gateway.connect(Via::H2Tls).await;
    let answer = conn.get("/echo/fail/5?message=gone&reason=x").await;
    assert_eq!((answer.status.as_u16(), answer.header("warning")), (404, &*warned("reason")), "{answer:?}");
    assert_eq!(answer.json()["message"], "gone");
    // What the gateway refuses is refused, and nothing is left out of it.
    let answer = conn.get("/echo/fail/x?reason=x").await;
    assert_eq!((answer.status.as_u16(), answer.header("warning")), (400, ""), "{answer:?}");
}

#[tokio::test]
async fn a_reply_without_anything_unknown_bears_no_warning() {
    let (_backend, gateway) = start().await;
    let mut conn = gateway.connect(Via::H1).await;
    let headers = [("x-request-id", "plain")];
    let answer = conn.whole("GET", "/echo/say/x", &headers, None).await;
    assert_eq!((answer.status.as_u16(), answer.header("warning")), (200, ""), "{answer:?}");
    assert_eq!(gateway.access_of("plain").await.get("unknown_fields"), None);
}

#[tokio::test]
async fn what_is_ignored_is_left_out_and_not_told() {
    let (_backend, gateway) = start().await;
    let mut conn = gateway.connect(Via::H2Tls).await;
    let seen = |answer: &Whole| -> Value {
        assert_eq!((answer.status.as_u16(), answer.header("warning")), (200, ""), "{answer:?}");
        serde_json::from_str(answer.json()["requestJson"].as_str().unwrap()).unwrap()
    };
    let headers = [("x-request-id", "ignored"), ("content-type", "application/json")];
    let body = r#"{"nope":1,"nope":2,"rc":["RED","PURPLE"],"s":"a"}"#;
    let answer = conn.whole("POST", "/b1?utm_source=x", &headers, Some(body.into())).await;
    assert_eq!(seen(&answer), json!({"s": "a", "rc": ["RED"]}));
    assert_eq!(gateway.access_of("ignored").await.get("unknown_fields"), None);
    assert_eq!(seen(&conn.get("/q?nope=1&c=PURPLE&i32=7&n.nope=x").await), json!({"i32": 7}));
    let patch = r#"{"title":"t","nope":1,"detail":{"color":"PURPLE","i":2}}"#;
    let answer = conn.whole("PATCH", "/b8/things/1", &[("content-type", "application/json")], Some(patch.into())).await;
    let thing = json!({"name": "things/1", "title": "t", "detail": {"i": 2}});
    assert_eq!(seen(&answer), json!({"thing": thing, "updateMask": "title,detail.i"}));
    let form = [("content-type", "application/x-www-form-urlencoded")];
    assert_eq!(seen(&conn.whole("POST", "/b1", &form, Some("s=a&nope=1&c=NO".into())).await), json!({"s": "a"}));
    for (method, target, body) in [
        ("GET", "/p1/x?s=y&nope=1", None),
        ("GET", "/q?i32=1&nope=1&i32=1", None),
        ("POST", "/b1?s=x", Some("{}")),
        ("POST", "/b1", Some(r#"{"nope":1,}"#)),
        ("POST", "/b1", Some(r#"{"nope":1,"s":"a","s":"a"}"#)),
        ("POST", "/b3/x", Some(r#"{"nope":1,"s":"y"}"#)),
    ] {
        let answer = conn.whole(method, target, &[("content-type", "application/json")], body.map(Into::into)).await;
        assert_eq!(answer.status, 400, "{target} {body:?}: {answer:?}");
    }
    gateway.assert_nothing_internal();
}

#[tokio::test]
async fn every_dialect_that_carries_json_leaves_out_by_the_same_rule() {
    let (_backend, gateway) = start().await;
    let down = "/tidegate.test.v1.Echo/Down";
    let request = r#"{"text":"a","count":1,"nope":1}"#;
    let encoded = "%7B%22text%22%3A%22a%22,%22count%22%3A1,%22nope%22%3A1%7D";
    for via in Via::BOTH {
        let mut conn = gateway.connect(via).await;
        for (what, accept, content_type, method, target, body) in [
            ("json by query", "*/*", "", "GET", "/echo/down?text=a&count=1&nope=1".to_owned(), None),
            ("sse by query", "text/event-stream", "", "GET", "/echo/down?text=a&count=1&nope=1".to_owned(), None),
            ("sse by message", "text/event-stream", "", "GET", format!("{down}?message={encoded}"), None),
            ("sse by body", "text/event-stream", "application/json", "POST", down.to_owned(), Some(request)),
            ("ndjson down", "application/x-ndjson", "application/json", "POST", down.to_owned(), Some(request)),
            (
                "ndjson up",
                "*/*",
                "application/x-ndjson",
                "POST",
                "/echo/up".to_owned(),
                Some("{\"nope\":1}\n{\"nope\":2,\"text\":\"a\"}\n"),
            ),
            (
                "a json array up",
                "*/*",
                "application/json",
                "POST",
                "/echo/up".to_owned(),
                Some(r#"[{"nope":1},{"text":"a"}]"#),
            ),
        ] {
            let mut headers = vec![("accept", accept)];
            headers.extend((!content_type.is_empty()).then_some(("content-type", content_type)));
            let answer = conn.whole(method, &target, &headers, body.map(Into::into)).await;
            assert_eq!((answer.status.as_u16(), answer.broken.as_ref()), (200, None), "{what}: {answer:?}");
            let expected = if what == "ndjson up" { warned("nope (2 in all)") } else { warned("nope") };
            assert_eq!(answer.header("warning"), expected, "{what}: {answer:?}");
            assert!(answer.text().contains('a'), "{what}: {answer:?}");
        }
    }
    gateway.assert_nothing_internal();
}

#[tokio::test]
async fn what_comes_after_the_head_is_in_the_record() {
    let (_backend, gateway) = start().await;
    let mut conn = gateway.connect(Via::H2Tls).await;
    let headers = [("content-type", "application/x-ndjson"), ("x-request-id", "chat")];
    let (mut up, mut down) = conn.stream("POST", "/echo/chat", &headers).await;
    assert!(up.send("{\"text\":\"a\"}\n").await);
    let head = down.head().await.unwrap();
    assert_eq!((head.status().as_u16(), head.headers().get("warning")), (200, None));
    assert!(up.send("{\"text\":\"b\",\"late\":1}\n").await);
    up.finish();
    while let Some(piece) = down.piece().await {
        piece.expect("the reply is whole");
    }
    assert_eq!(gateway.access_of("chat").await["unknown_fields"], json!(["late"]));
}

#[tokio::test]
async fn a_websockets_messages_are_in_the_record() {
    let (_backend, gateway) = start().await;
    let headers = [("x-request-id", "socket")];
    let mut socket = WebSocket::open(&gateway, Via::H1, "/echo/chat?by=query", &headers).await.expect("an upgrade");
    assert_eq!(socket.headers["warning"], warned("by"));
    for text in [r#"{"text":"a","nope":1}"#, r#"{"text":"b","also":1}"#, ""] {
        assert!(socket.text(text).await);
    }
    while !matches!(socket.next().await, crate::harness::ws::Frame::Close(Some((1000, _)))) {}
    assert_eq!(gateway.access_of("socket").await["unknown_fields"], json!(["by", "nope", "also"]));
    gateway.assert_nothing_internal();
}
