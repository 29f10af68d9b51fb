//! Attacks on the difference between what somebody in front reads in a request and what the backend gets: each request here
//! can be read in two ways, or says one thing twice, and is refused with its place; its honest sister passes.

use serde_json::{Value, json};

use crate::{
    backend::Backend,
    bad_input::assert_refused,
    harness::{
        Config, Gateway, Via, Whole,
        raw::RawConn,
        temp::TempDir,
        ws::{Frame, WebSocket},
    },
};

/// Rules of this file's own on methods that the backend has: fields of each kind bound by the path beside a whole body.
const RULES: &str = r#"
    syntax = "proto3";
    package tidegate.test.v1;
    import "google/api/annotations.proto";
    import "google/api/httpbody.proto";
    import "tidegate/test/v1/types.proto";
    service Rules {
      rpc B1(All) returns (Seen) {
        option (google.api.http) = {
          post: "/s/{s}" body: "*"
          additional_bindings { get: "/s/{s}" }
          additional_bindings { get: "/ns/{n.child.s}" }
          additional_bindings { get: "/os/{os}" }
          additional_bindings { get: "/ws/{w_s}" }
          additional_bindings { get: "/name/{snake_case_field}" }
          additional_bindings { post: "/ns/{n.child.s}" body: "*" }
          additional_bindings { post: "/os/{os}" body: "*" }
          additional_bindings { post: "/ons/{on.s}" body: "*" }
          additional_bindings { post: "/ws/{w_s}" body: "*" }
          additional_bindings { post: "/opt/{opt_i}" body: "*" }
          additional_bindings { post: "/c/{c}" body: "*" }
          additional_bindings { post: "/by/{by}" body: "*" }
          additional_bindings { post: "/name/{snake_case_field}" body: "*" }
          additional_bindings { post: "/n/{n.s}/in" body: "n" }
        };
      }
      rpc B8(UpdateThing) returns (Seen) { option (google.api.http) = { patch: "/t/{thing.name}" body: "thing" }; }
      rpc SUp(stream All) returns (Seen) { option (google.api.http) = { post: "/up/{s}" body: "*" }; }
    }
    service Echo {
      rpc Meta(Nested) returns (Seen) { option (google.api.http) = { get: "/meta" }; }
      rpc Chat(stream Nested) returns (stream Nested) { option (google.api.http) = { post: "/chat/{s}" body: "*" }; }
      rpc Down(Nested) returns (stream Nested);
    }
"#;

async fn start() -> (Backend, Gateway) {
    let backend = Backend::start().await;
    let dir = TempDir::new();
    let file = dir.write("strict.proto", RULES);
    let protos = concat!(env!("CARGO_MANIFEST_DIR"), "/proto");
    let schema = format!("protos: {{ files: [ {file:?} ], includes: [ {:?}, {protos:?} ] }}", dir.path());
    let routes = "routes:\n  - match: { method: tidegate.test.v1.Echo/* }\n    query_token: true";
    let config = Config::new().upstream("test", backend.address, &schema).section(routes);
    (backend, Gateway::start(config).await)
}

fn seen(what: &str, answer: &Whole) -> Value {
    assert_eq!(answer.status, 200, "{what}: {answer:?}");
    serde_json::from_str(answer.json()["requestJson"].as_str().unwrap()).unwrap()
}

/// The field that a refusal names.
fn field(answer: &Whole) -> String {
    let violation = &answer.json()["details"][1]["fieldViolations"][0];
    violation["field"].as_str().unwrap_or_else(|| panic!("no field is named: {answer:?}")).to_owned()
}

/// What the path binds, given a second time by the query.
const QUERIES: &[(&str, &str)] = &[
    ("/s/x?s=y", "s"),
    // even where it says the same
    ("/s/x?s=x", "s"),
    ("/s/x?%73=y", "s"),
    ("/s/x?i32=1&s", "s"),
    ("/s/x?s[0]=y", "s[0]"),
    ("/s/x?s.value=y", "s.value"),
    ("/s/x?S=y", "S"),
    ("/s/x?+s=y", " s"),
    ("/s/x?s%00=y", "s\\0"),
    ("/s/x?s=%C3%28", "s"),
    ("/ns/x?n.child.s=y", "n.child.s"),
    ("/ns/x?n%2Echild%2es=y", "n.child.s"),
    ("/ns/x?n={%22child%22:{%22s%22:%22y%22}}", "n"),
    ("/ns/x?n.child=y", "n.child"),
    ("/ns/x?n[child][s]=y", "n[child][s]"),
    ("/os/x?os=y", "os"),
    ("/os/x?oi=1", "oi"),
    ("/os/x?on.s=y", "on.s"),
    ("/ws/x?w_s=y", "w_s"),
    ("/ws/x?wS=y", "wS"),
    ("/ws/x?wS.value=y", "wS.value"),
    ("/name/x?snake_case_field=y", "snake_case_field"),
    ("/name/x?snakeCaseField=y", "snakeCaseField"),
    ("/name/x?snakecasefield=y", "snakecasefield"),
    // one thing twice
    ("/s/x?i32=1&i32=1", "i32"),
    ("/s/x?wS=a&w_s=b", "w_s"),
    ("/s/x?n.child.s=a&n.child.s=b", "n.child.s"),
    ("/s/x?os=a&oi=1", "oi"),
    ("/s/x?on.s=a&os=b", "os"),
    ("/s/x?ms[a]=1&ms[%61]=2", "ms[a]"),
    ("/s/x?i32=1;i32=2", "i32"),
    // values
    ("/s/x?i32=1e400", "i32"),
    ("/s/x?d=1e400", "d"),
    ("/s/x?i32=0x10", "i32"),
    ("/s/x?i32=+1", "i32"),
    ("/s/x?i32=1%20", "i32"),
    ("/s/x?i32=", "i32"),
    ("/s/x?i32=%EF%BC%91", "i32"),
    ("/s/x?b=TRUE", "b"),
    ("/s/x?b=1", "b"),
    ("/s/x?c=red", "c"),
    ("/s/x?d=nan", "d"),
    ("/s/x?ts=2024-01-02", "ts"),
    ("/s/x?=y", "\"\""),
];

#[tokio::test]
async fn a_query_never_overrides_the_path_nor_itself() {
    let (mut backend, gateway) = start().await;
    for via in Via::BOTH {
        let mut conn = gateway.connect(via).await;
        for (target, place) in QUERIES {
            let answer = conn.get(target).await;
            assert_refused(target, &answer, 400, 3, &["INVALID_QUERY"]);
            assert_eq!(field(&answer), *place, "{target}");
        }
        let answer = conn.get("/ns/x?n.child.i=1&n.s=y&rs=a&rs=b&ms[a]=1&ms[b]=2&wS=").await;
        let n = json!({"s": "y", "child": {"i": 1, "s": "x"}});
        assert_eq!(seen("honest", &answer), json!({"n": n, "rs": ["a", "b"], "ms": {"a": "1", "b": "2"}, "wS": ""}));
        backend.call("B1").await;
    }
    backend.assert_not_called();
    gateway.assert_nothing_internal();
}

/// Bodies that say otherwise than the path.
const BODIES: &[(&str, &str, &str)] = &[
    ("/s/x", r#"{"s":"y"}"#, "s"),
    ("/s/x", r#"{"\u0073":"y"}"#, "s"),
    ("/s/x", r#"{"s":"x","s":"y"}"#, "s"),
    ("/s/x", r#"{"s":null,"s":"y"}"#, "s"),
    ("/s/x", r#"{"S":"y"}"#, "S"),
    ("/s/%78", r#"{"s":"%78"}"#, "s"),
    ("/ns/x", r#"{"n":{"child":{"s":"y"}}}"#, "n.child.s"),
    ("/ns/x", r#"{"n":{"child":{"s":"x"}},"n":{"child":{"s":"y"}}}"#, "n"),
    ("/ns/x", r#"{"n":{"child":{"i":1,"s":"y","child":{"s":"x"}}}}"#, "n.child.s"),
    ("/ns/x", r#"{"n.child.s":"y"}"#, "n.child.s"),
    ("/os/x", r#"{"os":"y"}"#, "os"),
    ("/os/x", r#"{"oi":0}"#, "os"),
    ("/os/x", r#"{"onull":null}"#, "os"),
    ("/os/x", r#"{"on":{}}"#, "os"),
    ("/ons/x", r#"{"on":{"s":"y"}}"#, "on.s"),
    ("/ons/x", r#"{"os":"x"}"#, "on.s"),
    ("/ws/x", r#"{"wS":"y"}"#, "w_s"),
    ("/ws/x", r#"{"w_s":""}"#, "w_s"),
    ("/ws/x", r#"{"wS":"x","w_s":"y"}"#, "wS"),
    ("/opt/0", r#"{"optI":1}"#, "opt_i"),
    ("/opt/1", r#"{"optI":0}"#, "opt_i"),
    ("/c/RED", r#"{"c":"GREEN"}"#, "c"),
    ("/c/1", r#"{"c":2}"#, "c"),
    ("/by/_-8", r#"{"by":"AP8="}"#, "by"),
    ("/name/x", r#"{"snake_case_field":"y"}"#, "snake_case_field"),
    ("/name/x", r#"{"snakeCaseField":"y"}"#, "snake_case_field"),
    ("/n/x/in", r#"{"s":"y"}"#, "n.s"),
    ("/n/x/in", r#"{"n":{"s":"x"}}"#, "n"),
];

/// Bodies beside the same paths that say the same, or nothing.
const HONEST: &[(&str, &str, &str)] = &[
    ("/s/x", r#"{"s":"x"}"#, r#"{"s":"x"}"#),
    ("/s/x", r#"{"s":null,"n":{"s":"y"}}"#, r#"{"s":"x","n":{"s":"y"}}"#),
    ("/s/x", r#"{"os":"y","rs":["y"],"ms":{"s":"y"}}"#, r#"{"s":"x","os":"y","rs":["y"],"ms":{"s":"y"}}"#),
    ("/ns/x", r#"{"n":{"child":null}}"#, r#"{"n":{"child":{"s":"x"}}}"#),
    ("/ns/x", r#"{"n":{"s":"y","child":{"i":1}}}"#, r#"{"n":{"s":"y","child":{"s":"x","i":1}}}"#),
    ("/os/x", r#"{"oi":null}"#, r#"{"os":"x"}"#),
    ("/c/1", r#"{"c":"RED"}"#, r#"{"c":"RED"}"#),
    ("/by/_-8", r#"{"by":"/+8="}"#, r#"{"by":"/+8="}"#),
    ("/ws/x", r#"{"w_s":"x"}"#, r#"{"wS":"x"}"#),
    ("/n/x/in", r#"{"i":1}"#, r#"{"n":{"s":"x","i":1}}"#),
];

#[tokio::test]
async fn a_body_never_says_otherwise_than_the_path() {
    let (mut backend, gateway) = start().await;
    let headers = [("content-type", "application/json")];
    for via in Via::BOTH {
        let mut conn = gateway.connect(via).await;
        for (target, body, place) in BODIES {
            let answer = conn.whole("POST", target, &headers, Some((*body).into())).await;
            assert_refused(&format!("{target} {body}"), &answer, 400, 3, &[]);
            assert_eq!(field(&answer), *place, "{target} {body}");
        }
        for (target, body, expected) in HONEST {
            let answer = conn.whole("POST", target, &headers, Some((*body).into())).await;
            let expected: Value = serde_json::from_str(expected).unwrap();
            assert_eq!(seen(body, &answer), expected, "{target} {body}");
            backend.call("B1").await;
        }
    }
    backend.assert_not_called();
    gateway.assert_nothing_internal();
}

/// Forms that say otherwise than the path, or one thing twice.
const FORMS: &[(&str, &str, &str)] = &[
    ("/s/x", "s=y", "s"),
    ("/s/x", "%73=y", "s"),
    ("/s/x", "i32=1&i32=1", "i32"),
    ("/s/x", "S=y", "S"),
    ("/s/x", "s=x;s=y", "s"),
    ("/s/x", "w_s=a&wS=b", "wS"),
    ("/ns/x", "n.child.s=y", "n.child.s"),
    ("/os/x", "oi=1", "os"),
    ("/ws/x", "w_s=y", "w_s"),
    ("/n/x/in", "s=y", "n.s"),
    ("/n/x/in", "n.s=x", "n.s"),
];

#[tokio::test]
async fn a_form_never_says_otherwise_than_the_path() {
    let (mut backend, gateway) = start().await;
    let mut conn = gateway.connect(Via::H2Tls).await;
    let headers = [("content-type", "application/x-www-form-urlencoded")];
    for (target, body, place) in FORMS {
        let answer = conn.whole("POST", target, &headers, Some((*body).into())).await;
        assert_refused(&format!("{target} {body}"), &answer, 400, 3, &[]);
        assert_eq!(field(&answer), *place, "{target} {body}");
        if !body.contains(['&', ';', '%']) {
            let (name, value) = body.split_once('=').unwrap();
            let part = format!("--b\r\ncontent-disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n--b--\r\n");
            let headers = [("content-type", "multipart/form-data; boundary=b")];
            let answer = conn.whole("POST", target, &headers, Some(part.into())).await;
            assert_refused(&format!("{target} {body} in parts"), &answer, 400, 3, &[]);
            assert_eq!(field(&answer), *place, "{target} {body} in parts");
        }
    }
    let answer = conn.whole("POST", "/s/x", &headers, Some("s=x&i32=1".into())).await;
    assert_eq!(seen("honest", &answer), json!({"s": "x", "i32": 1}));
    backend.call("B1").await;
    backend.assert_not_called();
    gateway.assert_nothing_internal();
}

#[tokio::test]
async fn every_message_of_a_stream_is_held_to_the_path() {
    let (_backend, gateway) = start().await;
    let mut conn = gateway.connect(Via::H2Tls).await;
    for (kind, body, offset) in [
        ("application/x-ndjson", "{\"s\":\"x\"}\n{\"s\":\"y\"}\n", "s"),
        ("application/x-ndjson", "{\"i32\":1}\n{\"s\":\"x\",\"nope\":1}\n", "byte 19"),
        ("application/json", r#"[{"s":"x"},{"s":"y"}]"#, "s"),
    ] {
        let answer = conn.whole("POST", "/up/x", &[("content-type", kind)], Some(body.into())).await;
        assert_refused(body, &answer, 400, 3, &[offset]);
    }
    let mut socket = WebSocket::open(&gateway, Via::H1, "/chat/x", &[]).await.expect("an upgrade");
    assert!(socket.text(r#"{"s":"y"}"#).await);
    let Frame::Close(Some((code, reason))) = socket.next().await else { panic!("no close frame") };
    assert_eq!((code, &*reason), (4003, "INVALID_ARGUMENT: message: s: the body gives another value than the path"));
    gateway.assert_nothing_internal();
}

#[tokio::test]
async fn a_mask_cannot_smuggle_what_the_path_binds() {
    let (_backend, gateway) = start().await;
    let mut conn = gateway.connect(Via::H2Tls).await;
    let headers = [("content-type", "application/json")];
    for (target, body, place) in [
        ("/t/a", r#"{"name":"b","title":"t"}"#, "thing.name"),
        ("/t/a", r#"{"thing":{"name":"b"}}"#, "thing"),
        ("/t/a?thing.name=b", r#"{"title":"t"}"#, "thing.name"),
        ("/t/a?thing.title=b", r#"{"title":"t"}"#, "thing.title"),
        ("/t/a?update_mask=title&updateMask=name", r#"{"title":"t"}"#, "updateMask"),
        ("/t/a?update_mask.paths=name", r#"{"title":"t"}"#, "update_mask.paths"),
    ] {
        let answer = conn.whole("PATCH", target, &headers, Some(body.into())).await;
        assert_refused(&format!("{target} {body}"), &answer, 400, 3, &[]);
        assert_eq!(field(&answer), place, "{target} {body}");
    }
    // A mask may name the field, but its value is the path's.
    let answer = conn.whole("PATCH", "/t/a?updateMask=name", &headers, Some(r#"{"name":null}"#.into())).await;
    assert_eq!(seen("mask", &answer), json!({"thing": {"name": "a"}, "updateMask": "name"}));
}

/// Bodies that some parser takes for JSON, or reads otherwise than another.
#[tokio::test]
async fn only_json_is_json() {
    let (mut backend, gateway) = start().await;
    let utf16 = |text: &str, units: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(units).collect::<Vec<_>>();
    let bodies: Vec<(&str, Vec<u8>, &str)> = vec![
        ("a byte order mark", b"\xef\xbb\xbf{\"s\":\"a\"}".to_vec(), "byte 0"),
        ("UTF-16, little", utf16(r#"{"s":"a"}"#, u16::to_le_bytes), "byte 1"),
        ("UTF-16, big", utf16(r#"{"s":"a"}"#, u16::to_be_bytes), "byte 0"),
        ("UTF-16 with its mark", utf16("\u{feff}{}", u16::to_le_bytes), "UTF-8"),
        ("overlong", b"{\"s\":\"\xc0\xaf\"}".to_vec(), "byte 6"),
        ("an overlong quote", b"{\"s\":\"a\xc0\xa2,\"i32\":1}".to_vec(), "byte 7"),
        ("a surrogate as UTF-8", b"{\"s\":\"\xed\xa0\x80\"}".to_vec(), "byte 6"),
        ("beyond Unicode", b"{\"s\":\"\xf4\x90\x80\x80\"}".to_vec(), "byte 6"),
        ("cut UTF-8", b"{\"s\":\"\xe2\x82\"}".to_vec(), "byte 6"),
        ("a lone high surrogate", br#"{"s":"\ud800x"}"#.to_vec(), "s (byte 6)"),
        ("a lone low surrogate", br#"{"s":"\udc00"}"#.to_vec(), "s (byte 6)"),
        ("surrogates the wrong way round", br#"{"s":"\udc00\ud800"}"#.to_vec(), "s (byte 6)"),
        ("a lone surrogate as a key", br#"{"\ud800":1}"#.to_vec(), "byte 2"),
        ("a NUL behind", b"{\"s\":\"a\"}\0".to_vec(), "byte 9"),
        ("a NUL within", b"{\"s\":\"a\0b\"}".to_vec(), "byte 7"),
        ("a key with a NUL", br#"{"s\u0000":"a"}"#.to_vec(), "s"),
        ("a form feed as white space", b"{\x0c\"s\":\"a\"}".to_vec(), "byte 1"),
        ("a no-break space", "{\u{a0}\"s\":\"a\"}".into(), "byte 1"),
        ("a line separator", "{\u{2028}\"s\":\"a\"}".into(), "byte 1"),
        ("a line comment", b"{\"s\":\"a\"}//".to_vec(), "byte 9"),
        ("a block comment", br#"{"s":/**/"a"}"#.to_vec(), "s (byte 5)"),
        ("a hash comment", b"#\n{}".to_vec(), "byte 0"),
        ("a trailing comma in a list", br#"{"ri":[1,]}"#.to_vec(), "ri[1]"),
        ("no comma", br#"{"s":"a" "i32":1}"#.to_vec(), "byte 9"),
        ("two colons", br#"{"s"::"a"}"#.to_vec(), "s (byte 5)"),
        ("a bare key", br#"{s:"a"}"#.to_vec(), "byte 1"),
        ("single quotes", br"{'s':'a'}".to_vec(), "byte 1"),
        ("NaN", br#"{"d":NaN}"#.to_vec(), "d (byte 5)"),
        ("Infinity", br#"{"d":-Infinity}"#.to_vec(), "d (byte 5)"),
        ("hexadecimal", br#"{"i32":0x10}"#.to_vec(), "byte 8"),
        ("octal", br#"{"i32":010}"#.to_vec(), "i32"),
        ("a plus sign", br#"{"i32":+1}"#.to_vec(), "i32"),
        ("a bare point", br#"{"d":1.}"#.to_vec(), "d (byte 5)"),
        ("underscores", br#"{"i32":1_000}"#.to_vec(), "byte 8"),
        ("a huge exponent", br#"{"d":1e400}"#.to_vec(), "d (byte 5)"),
        ("a huge exponent in quotes", br#"{"d":"1e400"}"#.to_vec(), "d (byte 5)"),
        ("an integer's huge exponent", br#"{"i64":1e999999999999999999999}"#.to_vec(), "i64"),
        ("an integer with many digits", format!(r#"{{"i64":{}}}"#, "9".repeat(10_000)).into(), "i64"),
        ("an integer of tiny parts", format!(r#"{{"i64":1.{}1}}"#, "0".repeat(10_000)).into(), "i64"),
        ("beyond 2^63", br#"{"i64":9223372036854775808}"#.to_vec(), "i64"),
        ("a duplicate by escape", br#"{"s":"a","\u0073":"b"}"#.to_vec(), "s (byte 9)"),
        (
            "a duplicate by the other name",
            br#"{"snakeCaseField":"a","snake_case_field":"a"}"#.to_vec(),
            "snakeCaseField",
        ),
        ("a duplicate of null", br#"{"n":{"s":null,"s":null}}"#.to_vec(), "n.s"),
        ("a duplicate map key", br#"{"mi":{"1":{},"1":{}}}"#.to_vec(), "mi"),
        ("a duplicate in a Struct", br#"{"st":{"a":{"b":1,"b":2}}}"#.to_vec(), "st"),
        (
            "a duplicate in an Any",
            br#"{"any":{"@type":"x/tidegate.test.v1.Nested","s":"a","s":"b"}}"#.to_vec(),
            "any.s",
        ),
        (
            "two types of an Any",
            br#"{"any":{"@type":"x/tidegate.test.v1.Nested","@type":"x/tidegate.test.v1.All"}}"#.to_vec(),
            "any.@type",
        ),
        ("no name", br#"{"":1}"#.to_vec(), "\\\"\\\" (byte 1)"),
        ("a field in another case", br#"{"SnakeCaseField":"a"}"#.to_vec(), "SnakeCaseField"),
        (
            "an unknown field in an Any",
            br#"{"any":{"@type":"x/tidegate.test.v1.Nested","nope":1}}"#.to_vec(),
            "any.nope",
        ),
        (
            "an unknown field in a list in a map",
            br#"{"mi":{"7":{"child":{"nope":[]}}}}"#.to_vec(),
            "mi[\\\"7\\\"].child.nope",
        ),
        ("a field mask in another case", br#"{"mask":"snake_case"}"#.to_vec(), "mask"),
    ];
    for via in Via::BOTH {
        let mut conn = gateway.connect(via).await;
        for (what, body, place) in &bodies {
            let headers = [("content-type", "application/json")];
            let answer = conn.whole("POST", "/s/x", &headers, Some(body.clone().into())).await;
            assert_refused(what, &answer, 400, 3, &[place]);
        }
    }
    backend.assert_not_called();
    gateway.assert_nothing_internal();
}

/// Heads of requests whose body is `{"s":"x"}`, the status and what is named; 200 passes.
const HEADS: &[(&str, &str, u16, &str)] = &[
    ("POST /s/x", "content-type: application/json", 200, ""),
    ("POST /s/x", "content-type: Application/JSON; Charset=\"UTF-8\"", 200, ""),
    ("POST /s/x", "x: no type at all", 200, ""),
    ("POST /s/x", "content-type: application/json\r\ncontent-type: application/json", 400, "content-type"),
    ("POST /s/x", "content-type: application/json\r\nContent-Type: application/grpc", 400, "content-type"),
    ("POST /s/x", "content-type: application/json, application/json", 415, "content-type"),
    ("POST /s/x", "content-type: application/json; charset=utf-16", 415, "content-type"),
    ("POST /s/x", "content-type: application/json; charset=utf-8; charset=utf-7", 415, "content-type"),
    ("POST /s/x", "content-type: text/json", 415, "content-type"),
    ("POST /s/x", "content-type: text/plain", 415, "content-type"),
    ("POST /s/x", "content-type: application/jsonp", 415, "content-type"),
    ("POST /s/x", "content-type: multipart/form-data; boundary=x", 400, "form"),
    ("POST /s/x", "content-type: multipart/form-data", 400, "boundary"),
    ("POST /s/x", "content-type:", 415, "content-type"),
    ("POST /s/x", "content-encoding: gzip", 400, "content-encoding"),
    ("POST /s/x", "content-encoding: identity\r\ncontent-encoding: br", 400, "content-encoding"),
    ("GET /s/x", "content-type: application/json", 400, "no body"),
    ("GET /s/x", "x-http-method-override: POST", 400, "no body"),
    ("POST /s/x", "x-request-timeout: 1\r\nx-request-timeout: 60", 400, "x-request-timeout"),
    ("POST /s/x", "grpc-timeout: 1S\r\ngrpc-timeout: 60S", 400, "grpc-timeout"),
    // metadata
    ("POST /s/x", "authorization: Bearer a\r\nauthorization: Bearer b", 400, "authorization"),
    ("POST /s/x", "grpc-metadata-k-bin: *", 400, "grpc-metadata-k-bin"),
    ("POST /s/x", "grpc-metadata-k-bin: AAE=====", 400, "grpc-metadata-k-bin"),
    ("POST /s/x", "grpc-metadata-k-bin: AAE=, _w", 400, "grpc-metadata-k-bin"),
    ("POST /s/x", "grpc-metadata-a!b: x", 400, "grpc-metadata-a!b"),
    ("POST /s/x", "grpc-metadata-: x", 400, "grpc-metadata-"),
];

#[tokio::test]
async fn a_head_is_read_in_one_way_or_not_at_all() {
    let (mut backend, gateway) = start().await;
    for (line, head, status, place) in HEADS {
        let what = format!("{line} {head}");
        let mut conn = RawConn::open(&gateway, Via::H1).await;
        conn.write(format!("{line} HTTP/1.1\r\nhost: a\r\n{head}\r\ncontent-length: 9\r\n\r\n{{\"s\":\"x\"}}")).await;
        let answer = conn.answer(false).await.unwrap_or_else(|| panic!("{what}: no answer"));
        if *status == 200 {
            assert_eq!(seen(&what, &answer), json!({"s": "x"}));
            backend.call("B1").await;
        } else {
            assert_refused(&what, &answer, *status, 3, &[place]);
        }
    }
    backend.assert_not_called();
    gateway.assert_nothing_internal();
}

#[tokio::test]
async fn metadata_has_one_way_in() {
    let (mut backend, gateway) = start().await;
    let mut conn = gateway.connect(Via::H2Tls).await;
    let headers = [
        ("grpc-metadata-authorization", "Bearer forged"),
        ("grpc-metadata-grpc-metadata-authorization", "Bearer forged"),
        ("grpc-metadata-cookie", "session=forged"),
        ("grpc-metadata-x-forwarded-for", "6.6.6.6"),
        ("grpc-metadata-x-request-id", "forged"),
        ("grpc-metadata-grpc-timeout", "1n"),
        ("grpc-metadata-transfer-encoding", "chunked"),
        ("grpc-metadata-k-bin", "AAE=, AQ"),
        ("x-http-method-override", "DELETE"),
        ("x-original-url", "/elsewhere"),
    ];
    assert_eq!(conn.whole("GET", "/meta", &headers, None).await.status, 200);
    let call = backend.call("Meta").await;
    let binary: Vec<_> = call.headers.get_all("k-bin").iter().collect();
    assert_eq!(binary, ["AAE", "AQ"]);
    for (name, value) in &call.headers {
        let text = value.to_str().unwrap();
        assert!(!text.contains("forged") && !text.contains("6.6.6.6") && text != "chunked", "{name}: {text}");
    }
    assert_eq!(call.header("x-original-url"), "");
}

#[tokio::test]
async fn a_token_has_one_place() {
    let (mut backend, gateway) = start().await;
    let mut conn = gateway.connect(Via::H2Tls).await;
    let own = [("authorization", "Bearer a")];
    for target in ["/meta?access_token=b", "/meta?access%5Ftoken=b"] {
        assert_refused(target, &conn.whole("GET", target, &own, None).await, 400, 3, &["authorization"]);
        assert_eq!(conn.get(target).await.status, 200);
        assert_eq!(backend.call("Meta").await.header("authorization"), "Bearer b", "{target}");
    }
    let answer = conn.get("/meta?access_token=a&%61ccess_token=b").await;
    assert_refused("twice", &answer, 400, 3, &["access_token"]);
    let socket = [("authorization", "Bearer a"), ("sec-websocket-protocol", "tidegate.json, bearer.Yg")];
    let refused = WebSocket::open(&gateway, Via::H1, "/chat/x", &socket).await.err().expect("a refusal");
    assert_eq!(refused.status(), 400);
    backend.assert_not_called();
}

#[tokio::test]
async fn a_message_in_the_query_is_given_once_and_stands_alone() {
    let (mut backend, gateway) = start().await;
    let mut conn = gateway.connect(Via::H2Tls).await;
    let path = "/tidegate.test.v1.Echo/Down";
    for (query, place) in [
        ("message={}&message={}", "message"),
        ("message={}&mess%61ge={}", "message"),
        ("message={}&s=a", "s"),
        ("message={%22s%22:1}", "s (byte 5)"),
        ("message={%22nope%22:1}", "nope"),
        ("message={%22s%22:%22%C3%28%22}", "message"),
        ("message={%22s%22:%22%zz%22}", "message"),
        ("message=[]", "byte 0"),
        ("Message={}", "Message"),
    ] {
        let answer = conn.get(&format!("{path}?{query}")).await;
        assert_refused(query, &answer, 400, 3, &[place]);
    }
    backend.assert_not_called();
    gateway.assert_nothing_internal();
}
