//! Which headers pass, both ways (PROTOCOLS §3), and what nobody can smuggle through.

use http::Response;
use prost::Message;
use serde_json::Value;

use crate::{
    backend::{Backend, RawBackend, framed},
    harness::{Config, Gateway, Via, Whole, grpc, within},
    proto::Msg,
};

const ROUTE: &str = "routes:\n  - match: { method: tidegate.test.v1.Echo/Meta }\n    request_headers: [ x-allowed ]\n    \
                     response_headers: [ x-echo, x-bin-bin ]";

#[tokio::test]
async fn request_headers_pass_by_rule_and_no_others() {
    let mut backend = Backend::start().await;
    let gateway = Gateway::start(Config::to(backend.address).section(ROUTE)).await;
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let headers = [
        ("authorization", "Bearer t"),
        ("cookie", "a=b"),
        ("accept-language", "de"),
        ("traceparent", trace),
        ("tracestate", "x=y"),
        ("baggage", "k=v"),
        ("x-request-id", "my-id"),
        ("grpc-metadata-x-echo", "hello"),
        ("grpc-metadata-x-raw-bin", "AP8"),
        ("x-allowed", "yes"),
        ("x-other", "no"),
        ("referer", "https://a.test/"),
        ("grpc-metadata-grpc-timeout", "1n"),
        ("grpc-metadata-content-type", "text/html"),
        ("grpc-metadata-te", "deflate"),
        ("grpc-metadata-host", "evil.test"),
        ("grpc-metadata-connection", "close"),
        ("grpc-metadata-user-agent", "me"),
        ("user-agent", "browser"),
    ];
    for via in Via::ALL {
        let answer = gateway.connect(via).await.whole("GET", "/echo/meta", &headers, None).await;
        assert_eq!(answer.status, 200, "{via:?}: {answer:?}");
        let seen = backend.call("Meta").await;
        for (name, value) in [
            ("authorization", "Bearer t"),
            ("cookie", "a=b"),
            ("accept-language", "de"),
            ("tracestate", "x=y"),
            ("baggage", "k=v"),
            ("x-request-id", "my-id"),
            ("x-echo", "hello"),
            ("x-raw-bin", "AP8"),
            ("x-allowed", "yes"),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
        ] {
            assert_eq!(seen.header(name), value, "{via:?}: {name}: {:?}", seen.headers);
        }
        assert!(seen.header("traceparent").starts_with("00-0af7651916cd43dd8448eb211c80319c-"), "{:?}", seen.headers);
        assert!(seen.header("user-agent").starts_with("tidegate"), "{via:?}: {:?}", seen.headers);
        assert!(seen.header("x-forwarded-for").starts_with("127.0.0.1"), "{via:?}: {:?}", seen.headers);
        for absent in ["x-other", "referer", "connection", "host", "accept", "grpc-metadata-x-echo"] {
            assert!(!seen.headers.contains_key(absent), "{via:?}: {absent}: {:?}", seen.headers);
        }
        assert!(seen.timeout().is_none_or(|left| left.as_secs() > 1), "{via:?}: {:?}", seen.headers);
        assert!(!seen.authority.contains("evil"), "{via:?}: {}", seen.authority);
    }
}

#[tokio::test]
async fn the_peers_own_forwarding_headers_are_not_believed() {
    let mut backend = Backend::start().await;
    let gateway = Gateway::start(Config::to(backend.address)).await;
    let headers = [("x-forwarded-for", "6.6.6.6"), ("x-forwarded-host", "evil.test"), ("x-forwarded-proto", "https")];
    gateway.connect(Via::H1).await.whole("GET", "/echo/meta", &headers, None).await;
    let seen = backend.call("Meta").await;
    assert_eq!(seen.header("x-forwarded-for"), "127.0.0.1", "{:?}", seen.headers);
    assert_eq!(seen.header("x-forwarded-proto"), "http", "{:?}", seen.headers);
    assert_ne!(seen.header("x-forwarded-host"), "evil.test", "{:?}", seen.headers);
}

/// What the gateway makes of an upstream's answer with these initial metadata.
async fn answered(gateway: &Gateway, backend: &mut RawBackend, via: Via, metadata: &[(&str, &str)]) -> Whole {
    let mut conn = gateway.connect(via).await;
    let exchange = conn.whole("GET", "/echo/meta", &[], None);
    let serve = async {
        let mut call = backend.call().await;
        let mut head = Response::builder().header("content-type", "application/grpc");
        for (name, value) in metadata {
            head = head.header(*name, *value);
        }
        call.answer(head.body(()).unwrap(), false);
        call.data(framed(b""));
        call.trailers(&[("grpc-status", "0"), ("x-trailer", "bye"), ("etag", "\"trailing\"")]);
    };
    tokio::join!(exchange, serve).0
}

#[tokio::test]
async fn reply_metadata_passes_by_rule_and_no_other() {
    let mut backend = RawBackend::start().await;
    let gateway = Gateway::start(Config::to(backend.address).section(ROUTE)).await;
    let metadata = [
        ("set-cookie", "a=1"),
        ("set-cookie", "b=2"),
        ("location", "/there"),
        ("etag", "\"e\""),
        ("cache-control", "max-age=5"),
        ("x-echo", "hello"),
        ("x-bin-bin", "AP8"),
        ("x-secret", "no"),
        ("server", "backend"),
        ("x-http-code", "201"),
    ];
    for via in Via::BOTH {
        let answer = answered(&gateway, &mut backend, via, &metadata).await;
        assert_eq!(answer.status, 201, "{answer:?}");
        let cookies: Vec<_> = answer.headers.get_all("set-cookie").iter().collect();
        assert_eq!(cookies, ["a=1", "b=2"]);
        for (name, value) in
            [("location", "/there"), ("etag", "\"e\""), ("cache-control", "max-age=5"), ("x-echo", "hello")]
        {
            assert_eq!(answer.header(name), value, "{answer:?}");
        }
        assert_eq!(answer.headers.get_all("etag").iter().count(), 1, "the first has precedence: {answer:?}");
        assert_eq!(answer.header("x-bin-bin").trim_end_matches('='), "AP8", "{answer:?}");
        for absent in ["x-secret", "x-trailer", "x-http-code", "grpc-status", "grpc-encoding"] {
            assert!(!answer.headers.contains_key(absent), "{absent}: {answer:?}");
        }
        assert_ne!(answer.header("server"), "backend", "{answer:?}");
        assert!(!answer.header("x-request-id").is_empty(), "{answer:?}");
    }
    for nonsense in ["99", "1000", "abc", "100", "204x"] {
        let answer = answered(&gateway, &mut backend, Via::H1, &[("x-http-code", nonsense)]).await;
        assert_eq!(answer.status, 200, "{nonsense}: {answer:?}");
    }
}

#[tokio::test]
async fn a_request_id_is_made_where_there_is_none_worth_keeping() {
    let mut backend = Backend::start().await;
    let gateway = Gateway::start(Config::to(backend.address)).await;
    let mut conn = gateway.connect(Via::H1).await;
    let long = "x".repeat(2_000);
    for given in [None, Some(""), Some(long.as_str())] {
        let headers: Vec<_> = given.iter().map(|value| ("x-request-id", *value)).collect();
        let answer = conn.whole("GET", "/echo/meta", &headers, None).await;
        let id = answer.header("x-request-id").to_owned();
        assert!((8..=128).contains(&id.len()), "{given:?}: {id:?}");
        assert_eq!(backend.call("Meta").await.header("x-request-id"), id);
        gateway.access_of(&id).await;
    }
}

#[tokio::test]
async fn grpc_metadata_passes_whole_both_ways() {
    let mut backend = RawBackend::start().await;
    let gateway = Gateway::start(Config::to(backend.address)).await;
    let mut client = grpc::echo(&gateway, true).await;
    let mut request = tonic::Request::new(Msg::default());
    for (name, value) in [("x-any", "thing"), ("authorization", "Bearer t")] {
        request.metadata_mut().insert(name, value.parse().unwrap());
    }
    request.metadata_mut().insert_bin("x-raw-bin", tonic::metadata::MetadataValue::from_bytes(&[0, 0xff]));
    let call = async {
        let mut call = backend.call().await;
        assert_eq!(call.headers()["x-any"], "thing");
        assert_eq!(call.headers()["authorization"], "Bearer t");
        assert_eq!(call.headers()["x-raw-bin"], "AP8");
        let head = Response::builder().header("content-type", "application/grpc").header("x-initial", "one");
        call.answer(head.header("x-initial", "two").body(()).unwrap(), false);
        call.data(framed(&Msg { text: "x".to_owned(), ..Msg::default() }.encode_to_vec()));
        call.trailers(&[("grpc-status", "0"), ("x-trailer", "bye"), ("x-trailer-bin", "_w")]);
    };
    let (reply, ()) = tokio::join!(within(client.say(request)), call);
    let metadata = reply.expect("an answer").into_parts().0;
    let initial: Vec<_> =
        metadata.get_all("x-initial").iter().map(|value| value.to_str().unwrap().to_owned()).collect();
    assert_eq!(initial, ["one", "two"]);
    assert_eq!(metadata.get("x-trailer").unwrap(), "bye");
}

#[tokio::test]
async fn an_upstreams_status_details_pass_as_json() {
    let backend = Backend::start().await;
    let gateway = Gateway::start(Config::to(backend.address)).await;
    let answer = gateway.get(Via::H2Tls, "/echo/fail/9?details=true&message=n%C3%A4h").await;
    assert_eq!(answer.status, 400, "{answer:?}");
    let body: Value = answer.json();
    assert_eq!((&body["code"], &body["message"]), (&9.into(), &"näh".into()), "{body}");
    let info = serde_json::json!({
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": "ASKED", "domain": "tidegate.test", "metadata": {"k": "v"},
    });
    assert_eq!(body["details"], Value::Array(vec![info]), "{body}");
}

#[tokio::test]
async fn a_grpc_client_is_told_how_replies_are_compressed_and_a_query_goes_nowhere() {
    let mut backend = RawBackend::start().await;
    let gateway = Gateway::start(Config::to(backend.address)).await;
    let mut conn = gateway.connect(Via::H2Tls).await;
    let headers = [("content-type", "application/grpc"), ("te", "trailers"), ("grpc-accept-encoding", "gzip")];
    let path = "/tidegate.test.v1.Echo/Say?access_token=secret";
    let exchange = conn.whole("POST", path, &headers, Some(framed(b"")));
    let serve = async {
        let mut call = backend.call().await;
        assert_eq!(call.path(), "/tidegate.test.v1.Echo/Say");
        assert_eq!(call.headers()["grpc-accept-encoding"], "gzip");
        let head = Response::builder().header("content-type", "application/grpc").header("grpc-encoding", "gzip");
        call.answer(head.body(()).unwrap(), false);
        call.data(&b"\x01\0\0\0\x03abc"[..]);
        call.trailers(&[("grpc-status", "0")]);
    };
    let answer = tokio::join!(exchange, serve).0;
    assert_eq!(answer.header("grpc-encoding"), "gzip", "{answer:?}");
}

#[tokio::test]
async fn a_raw_stream_keeps_its_type_when_its_first_message_comes_in_pieces() {
    let mut backend = RawBackend::start().await;
    let gateway = Gateway::start(Config::to(backend.address)).await;
    let mut conn = gateway.connect(Via::H2Tls).await;
    let exchange = conn.whole("GET", "/echo/download-stream", &[], None);
    let serve = async {
        let mut call = backend.call().await;
        let message = framed(b"\x0a\x09image/png\x12\x03abc");
        call.answer(Response::builder().header("content-type", "application/grpc").body(()).unwrap(), false);
        call.data(message.slice(..9));
        call.data(message.slice(9..));
        call.data(framed(b"\x12\x03def"));
        call.trailers(&[("grpc-status", "0")]);
    };
    let answer = tokio::join!(exchange, serve).0;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, "image/png"), "{answer:?}");
    assert_eq!(answer.body, &b"abcdef"[..]);
}

#[tokio::test]
async fn an_answer_of_no_content_has_none() {
    let mut backend = RawBackend::start().await;
    let gateway = Gateway::start(Config::to(backend.address)).await;
    for via in Via::BOTH {
        let answer = answered(&gateway, &mut backend, via, &[("x-http-code", "204")]).await;
        assert_eq!(answer.status, 204, "{answer:?}");
        assert!(answer.body.is_empty() && !answer.headers.contains_key("content-type"), "{answer:?}");
    }
}
