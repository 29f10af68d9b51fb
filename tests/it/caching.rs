//! What a client may keep, and how it asks whether that is still so (PROTOCOLS §3, "Browser cache").

use http::{HeaderMap, Response};
use prost::Message;

use crate::{
    backend::{Backend, RawBackend, framed},
    harness::{Config, Conn, Gateway, Via, Whole, raw::RawConn},
    proto::Msg,
};

const CACHE_CONTROL: &str = "routes:\n  - match: { service: tidegate.test.v1 }\n    cache_control: private, max-age=60";

async fn start() -> (Backend, Gateway) {
    let backend = Backend::start().await;
    let gateway = Gateway::start(Config::to(backend.address).section(CACHE_CONTROL)).await;
    (backend, gateway)
}

/// Everything but what is new with each answer.
fn lasting(mut headers: HeaderMap) -> HeaderMap {
    for name in ["date", "x-request-id"] {
        headers.remove(name);
    }
    headers
}

async fn get(conn: &mut Conn, target: &str, accept: &str, known: &str) -> Whole {
    let headers = [("accept", accept), ("if-none-match", known)].into_iter().filter(|(_, value)| !value.is_empty());
    conn.whole("GET", target, &headers.collect::<Vec<_>>(), None).await
}

#[tokio::test]
async fn a_get_bears_a_tag_and_who_knows_it_gets_nothing_more() {
    let (_backend, gateway) = start().await;
    for via in Via::ALL {
        let mut conn = gateway.connect(via).await;
        for target in ["/p1/x", "/echo/download?text=hey&size=100000", "/echo/fail/0"] {
            let whole = conn.get(target).await;
            let tag = whole.header("etag").to_owned();
            assert!(whole.status == 200 && tag.starts_with('"') && tag.len() > 20, "{via:?} {target}: {whole:?}");
            assert_eq!(whole.header("cache-control"), "private, max-age=60", "{via:?} {target}");
            assert_eq!(get(&mut conn, target, "", "\"other\"").await.header("etag"), tag, "{via:?} {target}: it lasts");
            for known in [&*tag, "*", &format!("\"a,b\", W/{tag}")] {
                let answer = get(&mut conn, target, "", known).await;
                assert_eq!((answer.status.as_u16(), answer.body.len()), (304, 0), "{via:?} {target}: {answer:?}");
                for name in ["etag", "cache-control", "vary"] {
                    assert_eq!(answer.header(name), whole.header(name), "{via:?} {target}: {name}");
                }
                assert!(!answer.headers.contains_key("content-type"), "{via:?} {target}: {answer:?}");
                assert!(!answer.headers.contains_key("content-length"), "{via:?} {target}: {answer:?}");
            }
        }
    }
    gateway.assert_nothing_internal();
}

#[tokio::test]
async fn head_is_told_what_get_is_told() {
    let (_backend, gateway) = start().await;
    for via in Via::ALL {
        let mut conn = gateway.connect(via).await;
        for target in ["/p1/x", "/echo/say/x", "/echo/download?size=1000", "/echo/down", "/echo/fail/5", "/nothing"] {
            for accept in ["application/json", "application/x-protobuf", "text/event-stream"] {
                let headers = [("accept", accept)];
                let whole = conn.whole("GET", target, &headers, None).await;
                let head = conn.whole("HEAD", target, &headers, None).await;
                assert_eq!((head.status, head.body.len()), (whole.status, 0), "{via:?} {target} {accept}");
                let (mut told, mut asked) = (lasting(whole.headers.clone()), lasting(head.headers.clone()));
                // How a stream's end is told says nothing of the resource, and a stream's length is not known.
                told.remove("transfer-encoding");
                asked.remove("transfer-encoding");
                assert_eq!(asked, told, "{via:?} {target} {accept}");
            }
        }
        let tag = conn.get("/p1/x").await.header("etag").to_owned();
        let head = conn.whole("HEAD", "/p1/x", &[("if-none-match", &tag)], None).await;
        assert_eq!((head.status.as_u16(), head.header("etag")), (304, &*tag), "{via:?}: {head:?}");
    }
}

#[tokio::test]
async fn every_representation_has_a_tag_of_its_own() {
    let (_backend, gateway) = start().await;
    let mut conn = gateway.connect(Via::H2Tls).await;
    let mut tags = Vec::new();
    for accept in [
        "application/json",
        "application/json; defaults=true",
        "application/json; names=proto",
        "application/json; pretty=true",
        "application/x-protobuf",
        "application/protobuf",
    ] {
        for target in ["/p1/x", "/p1/y"] {
            let answer = get(&mut conn, target, accept, "").await;
            assert_eq!(answer.header("vary"), "accept, content-type", "{accept}: {answer:?}");
            let tag = answer.header("etag").to_owned();
            assert_eq!(get(&mut conn, target, accept, &tag).await.status, 304, "{accept}");
            tags.push(tag);
        }
    }
    let json = &tags[0];
    assert_eq!(get(&mut conn, "/p1/x", "application/x-protobuf", json).await.status, 200, "held in another form");
    let all = tags.len();
    tags.sort_unstable();
    tags.dedup();
    assert_eq!(tags.len(), all, "{tags:?}");
}

#[tokio::test]
async fn an_upstreams_own_tag_and_policy_have_precedence() {
    let mut backend = RawBackend::start().await;
    let gateway = Gateway::start(Config::to(backend.address).section(CACHE_CONTROL)).await;
    for (head, trailers, tag, policy) in [
        (&[("etag", "\"own\""), ("cache-control", "no-cache")][..], &[][..], "\"own\"", "no-cache"),
        (&[("etag", "W/\"a,b\"")], &[("etag", "\"late\"")], "W/\"a,b\"", "private, max-age=60"),
        (&[], &[("etag", "\"late\""), ("cache-control", "public")], "\"late\"", "public"),
    ] {
        for via in Via::BOTH {
            let mut conn = gateway.connect(via).await;
            for (known, status) in [("\"x\"", 200), (tag, 304)] {
                let headers = [("if-none-match", known)];
                let exchange = conn.whole("GET", "/echo/meta", &headers, None);
                let (answer, ()) = tokio::join!(exchange, answer(&mut backend, head, trailers));
                assert_eq!(answer.status, status, "{via:?} {tag}: {answer:?}");
                let tags: Vec<_> = answer.headers.get_all("etag").iter().collect();
                assert_eq!(
                    (tags.as_slice(), answer.header("cache-control")),
                    (&[&http::HeaderValue::from_static(tag)][..], policy)
                );
            }
        }
    }
}

/// Answers the next call with one message.
async fn answer(backend: &mut RawBackend, head: &[(&str, &str)], trailers: &[(&'static str, &'static str)]) {
    let mut call = backend.call().await;
    let mut response = Response::builder().header("content-type", "application/grpc");
    for (name, value) in head {
        response = response.header(*name, *value);
    }
    call.answer(response.body(()).unwrap(), false);
    call.data(framed(&Msg { text: "x".to_owned(), ..Msg::default() }.encode_to_vec()));
    call.trailers(&[&[("grpc-status", "0")], trailers].concat());
}

#[tokio::test]
async fn what_is_no_whole_answer_to_a_get_bears_no_tag() {
    let (_backend, gateway) = start().await;
    for via in Via::BOTH {
        let mut conn = gateway.connect(via).await;
        for (method, target, accept, status, policy) in [
            ("POST", "/b1", "application/json", 200, ""),
            ("GET", "/echo/fail/5", "application/json", 404, ""),
            ("GET", "/nothing", "application/json", 404, ""),
            ("GET", "/p1/x", "text/event-stream", 200, "no-store"),
            ("GET", "/p1/x", "application/x-ndjson", 200, "no-store"),
            ("GET", "/p1/x", "application/json-seq", 200, "no-store"),
        ] {
            let headers = [("accept", accept), ("content-type", "application/json"), ("if-none-match", "*")];
            let answer = conn.whole(method, target, &headers, (method == "POST").then(|| "{}".into())).await;
            assert_eq!(answer.status, status, "{method} {target} {accept}: {answer:?}");
            assert!(!answer.headers.contains_key("etag"), "{method} {target} {accept}: {answer:?}");
            assert_eq!(answer.header("cache-control"), policy, "{method} {target} {accept}: {answer:?}");
        }
        for accept in ["application/json", "text/event-stream", "application/x-protobuf"] {
            // The upstream's own tag passes, but half a stream is no representation.
            let answer = get(&mut conn, "/echo/down", accept, "\"v1\"").await;
            assert_eq!((answer.status.as_u16(), answer.header("cache-control")), (200, "no-store"), "{answer:?}");
        }
    }
    let mut backend = RawBackend::start().await;
    let gateway = Gateway::start(Config::to(backend.address).section(CACHE_CONTROL)).await;
    let mut conn = gateway.connect(Via::H1).await;
    let exchange = conn.whole("GET", "/echo/meta", &[("if-none-match", "*")], None);
    let (answer, ()) = tokio::join!(exchange, answer(&mut backend, &[("x-http-code", "203")], &[]));
    assert_eq!((answer.status.as_u16(), answer.header("etag")), (203, ""), "{answer:?}");
}

#[tokio::test]
async fn a_method_without_side_effects_is_kept_by_its_full_name_too() {
    let (_backend, gateway) = start().await;
    let mut conn = gateway.connect(Via::H1Tls).await;
    let target = "/tidegate.test.v1.Echo/Say?message=%7B%22text%22%3A%22t%22%7D";
    let answer = get(&mut conn, target, "", "\"v1\"").await;
    assert_eq!((answer.status.as_u16(), answer.header("etag")), (304, "\"v1\""), "{answer:?}");
    assert_eq!(answer.header("cache-control"), "private, max-age=60", "{answer:?}");
}

#[tokio::test]
async fn a_connection_goes_on_after_an_answer_without_a_body() {
    let (_backend, gateway) = start().await;
    let mut conn = RawConn::open(&gateway, Via::H1).await;
    for _ in 0..2 {
        conn.write("GET /p1/x HTTP/1.1\r\nhost: localhost\r\nif-none-match: *\r\n\r\n").await;
        let answer = conn.answer(true).await.expect("an answer");
        assert_eq!(answer.status, 304, "{answer:?}");
        for name in ["content-length", "transfer-encoding", "content-type"] {
            assert!(!answer.headers.contains_key(name), "{answer:?}");
        }
    }
    assert_eq!(conn.request("GET /p1/x").await.status, 200);
}

#[tokio::test]
async fn a_page_of_another_origin_may_ask_and_reads_the_tag() {
    let backend = Backend::start().await;
    let cors = "cors: { origins: [ \"https://app.test\" ] }";
    let gateway = Gateway::start(Config::to(backend.address).section(cors)).await;
    let mut conn = gateway.connect(Via::H2Tls).await;
    let preflight = [
        ("origin", "https://app.test"),
        ("access-control-request-method", "GET"),
        ("access-control-request-headers", "if-none-match"),
    ];
    let answer = conn.whole("OPTIONS", "/p1/x", &preflight, None).await;
    assert_eq!(answer.header("access-control-allow-headers"), "if-none-match", "{answer:?}");
    for (origin, allowed) in [(Some("https://app.test"), "https://app.test"), (None, "")] {
        let origin: Vec<_> = origin.iter().map(|origin| ("origin", *origin)).collect();
        let whole = conn.whole("GET", "/p1/x", &origin, None).await;
        let known = [origin, vec![("if-none-match", whole.header("etag"))]].concat();
        for (answer, status) in [(conn.whole("GET", "/p1/x", &known, None).await, 304), (whole, 200)] {
            assert_eq!((answer.status.as_u16(), answer.header("access-control-allow-origin")), (status, allowed));
            // Kept for a request without an origin, it must not be given to a page of another.
            let vary: Vec<_> = answer.headers.get_all("vary").iter().collect();
            assert_eq!(vary, ["accept, content-type", "origin"], "{answer:?}");
            if !allowed.is_empty() {
                assert!(answer.header("access-control-expose-headers").contains("etag"), "{answer:?}");
            }
        }
    }
}
