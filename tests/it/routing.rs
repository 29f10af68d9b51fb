//! Which upstream a call goes to: by host, header, weight and name (docs/routing.md).

use bytes::Bytes;
use http::StatusCode;
use prost::Message;
use serde_json::json;

use crate::{
    backend::{Backend, framed},
    harness::{Config, Conn, Gateway, Via, Whole, ws::WebSocket},
    proto::{DESCRIPTOR_SET, Msg},
};

/// Two backends that serve the same, and a gateway in front.
struct Pair {
    blue: Backend,
    green: Backend,
    gateway: Gateway,
}

impl Pair {
    async fn start(routes: &str) -> Self {
        let (blue, green) = (Backend::start().await, Backend::start().await);
        let schema = format!("schema: {{ descriptor_set: {DESCRIPTOR_SET:?} }}");
        let config = Config::new().upstream("blue", blue.address, &schema).upstream("green", green.address, &schema);
        let gateway = Gateway::start(config.section(&format!("routes:\n{routes}"))).await;
        Self { blue, green, gateway }
    }

    /// The backend that saw the call, which must be what the access record says.
    async fn taker(&mut self, id: &str) -> &'static str {
        let told = self.gateway.access_of(id).await["upstream"].clone();
        let saw = |backend: &mut Backend| {
            let calls = std::iter::from_fn(|| backend.try_call());
            calls.filter(|call| call.header("x-request-id") == id).count()
        };
        let taker = match (saw(&mut self.blue), saw(&mut self.green)) {
            (1, 0) => "blue",
            (0, 1) => "green",
            (0, 0) => "",
            seen => panic!("{id}: {seen:?}"),
        };
        assert_eq!(told.as_str().unwrap_or_default(), taker, "{id}");
        taker
    }
}

/// Ways to say one thing to `Echo`, but for WebSocket.
#[derive(Clone, Copy, Debug)]
enum Tongue {
    Json,
    Protobuf,
    Ndjson,
    Sse,
    Grpc,
    GrpcWeb,
    Connect,
}

impl Tongue {
    const ALL: [Self; 7] =
        [Self::Json, Self::Protobuf, Self::Ndjson, Self::Sse, Self::Grpc, Self::GrpcWeb, Self::Connect];

    fn vias(self) -> &'static [Via] {
        match self {
            Self::Grpc => &[Via::H2c, Via::H2Tls],
            _ => &[Via::H1, Via::H2Tls],
        }
    }

    async fn say(self, conn: &mut Conn, headers: &[(&str, &str)]) -> Whole {
        let message = Msg { text: "a".to_owned(), ..Msg::default() }.encode_to_vec();
        let (method, target, own, body): (_, _, &[(&str, &str)], _) = match self {
            Self::Json => {
                ("POST", "/echo/say", &[("content-type", "application/json")], Some(br#"{"text":"a"}"#.to_vec()))
            }
            Self::Protobuf => (
                "POST",
                "/tidegate.test.v1.Echo/Say",
                &[("content-type", "application/x-protobuf"), ("accept", "application/x-protobuf")],
                Some(message),
            ),
            Self::Ndjson => ("GET", "/echo/down?count=1", &[("accept", "application/x-ndjson")], None),
            Self::Sse => ("GET", "/echo/down?count=1", &[("accept", "text/event-stream")], None),
            Self::Grpc => (
                "POST",
                "/tidegate.test.v1.Echo/Say",
                &[("content-type", "application/grpc"), ("te", "trailers")],
                Some(framed(&message).to_vec()),
            ),
            Self::GrpcWeb => (
                "POST",
                "/tidegate.test.v1.Echo/Say",
                &[("content-type", "application/grpc-web+proto")],
                Some(framed(&message).to_vec()),
            ),
            Self::Connect => (
                "POST",
                "/tidegate.test.v1.Echo/Say",
                &[("content-type", "application/proto"), ("connect-protocol-version", "1")],
                Some(message),
            ),
        };
        conn.whole(method, target, &[own, headers].concat(), body.map(Bytes::from)).await
    }

    /// Whether the answer is the dialect's own for this status, by HTTP or by gRPC.
    #[track_caller]
    fn assert_ends(self, answer: &Whole, http: StatusCode, grpc: &str) {
        match self {
            Self::Grpc => {
                let told = answer.trailers.get("grpc-status").or(answer.headers.get("grpc-status"));
                assert_eq!(told.expect("a status"), grpc, "{answer:?}");
            }
            // The status of a call that went well stands in the body.
            Self::GrpcWeb if grpc != "0" => assert_eq!(answer.header("grpc-status"), grpc, "{answer:?}"),
            _ => assert_eq!(answer.status, http, "{self:?}: {answer:?}"),
        }
    }
}

#[tokio::test]
async fn hosts_have_upstreams_of_their_own_in_every_dialect() {
    let mut pair = Pair::start(
        "  - match: { hosts: [ blue.example ] }\n    upstream: blue\n  \
           - match: { hosts: [ \"*.green.example\" ] }\n    upstream: green\n",
    )
    .await;
    for tongue in Tongue::ALL {
        for via in tongue.vias() {
            for (number, (host, expected)) in [
                ("blue.example", "blue"),
                ("BLUE.example:8443", "blue"),
                ("a.green.example", "green"),
                ("green.example", ""),
            ]
            .into_iter()
            .enumerate()
            {
                let id = format!("{tongue:?}-{via:?}-{number}");
                let mut conn = pair.gateway.connect(*via).await.for_host(host);
                let answer = tongue.say(&mut conn, &[("x-request-id", &id)]).await;
                assert_eq!(pair.taker(&id).await, expected, "{id} {host}");
                let (http, grpc) =
                    if expected.is_empty() { (StatusCode::NOT_FOUND, "12") } else { (StatusCode::OK, "0") };
                tongue.assert_ends(&answer, http, grpc);
            }
        }
    }
}

#[tokio::test]
async fn a_header_leads_elsewhere_in_every_dialect() {
    let mut pair = Pair::start(
        "  - match: { service: tidegate.test., headers: { x-tenant: acme, x-version: \"v2*\" } }\n    upstream: green\n",
    )
    .await;
    let acme = [("x-tenant", "acme"), ("x-version", "v2.1")];
    let cases = [(&acme[..], "green"), (&[("x-tenant", "acme")], "blue"), (&[], "blue")];
    for tongue in Tongue::ALL {
        for via in tongue.vias() {
            for (number, (headers, expected)) in cases.into_iter().enumerate() {
                let id = format!("{tongue:?}-{via:?}-{number}");
                let headers = [headers, &[("x-request-id", &id)]].concat();
                let answer = tongue.say(&mut pair.gateway.connect(*via).await, &headers).await;
                tongue.assert_ends(&answer, StatusCode::OK, "0");
                assert_eq!(pair.taker(&id).await, expected, "{id}");
            }
        }
    }
    for (number, (headers, expected)) in cases.into_iter().enumerate() {
        let id = format!("socket-{number}");
        let headers = [headers, &[("x-request-id", &id)]].concat();
        let mut socket =
            WebSocket::open(&pair.gateway, Via::H1Tls, "/echo/down?count=1", &headers).await.expect("an upgrade");
        socket.next().await;
        socket.next().await;
        assert_eq!(pair.taker(&id).await, expected, "{id}");
    }
}

#[tokio::test]
async fn a_canary_takes_its_part_of_a_thousand_calls() {
    let mut pair = Pair::start("  - match: { service: \"\" }\n    upstreams: { blue: 90, green: 10 }\n").await;
    let mut json = pair.gateway.connect(Via::H1).await;
    let mut grpc = pair.gateway.connect(Via::H2c).await;
    for _ in 0..500 {
        Tongue::Json.assert_ends(&Tongue::Json.say(&mut json, &[]).await, StatusCode::OK, "0");
        Tongue::Grpc.assert_ends(&Tongue::Grpc.say(&mut grpc, &[]).await, StatusCode::OK, "0");
    }
    let count = |backend: &mut Backend| std::iter::from_fn(|| backend.try_call()).count();
    let (blue, green) = (count(&mut pair.blue), count(&mut pair.green));
    assert_eq!(blue + green, 1000);
    // Five standard deviations: 5 · √(1000 · 0.9 · 0.1) = 47. The numbers are random: one run in two million is outside.
    assert!((53..=147).contains(&green), "{green}");
}

#[tokio::test]
async fn a_request_names_its_upstream_in_every_dialect() {
    let routes =
        "  - match: { service: \"\" }\n    upstreams: { blue: 1, green: 0 }\n    upstream_header: x-upstream\n";
    let mut pair = Pair::start(routes).await;
    for tongue in Tongue::ALL {
        for via in tongue.vias() {
            for (name, expected) in [("green", "green"), ("blue", "blue"), ("", "blue"), ("red", ""), ("Green", "")] {
                let id = format!("{tongue:?}-{via:?}-{name}");
                let named = [("x-request-id", id.as_str()), ("x-upstream", name)];
                let headers = if name.is_empty() { &named[..1] } else { &named[..] };
                let answer = tongue.say(&mut pair.gateway.connect(*via).await, headers).await;
                let (http, grpc) =
                    if expected.is_empty() { (StatusCode::BAD_REQUEST, "3") } else { (StatusCode::OK, "0") };
                tongue.assert_ends(&answer, http, grpc);
                assert_eq!(pair.taker(&id).await, expected, "{id}");
            }
        }
    }
}

#[tokio::test]
async fn the_header_that_names_an_upstream_goes_no_further_unless_it_is_listed() {
    for (listed, expected) in [("", ""), ("    request_headers: [ x-upstream ]\n", "green")] {
        let routes = format!(
            "  - match: {{ service: \"\" }}\n    upstreams: {{ blue: 1, green: 1 }}\n    upstream_header: x-upstream\n{listed}"
        );
        let mut pair = Pair::start(&routes).await;
        for tongue in [Tongue::Json, Tongue::Grpc] {
            let mut conn = pair.gateway.connect(Via::H2c).await;
            tongue.say(&mut conn, &[("x-upstream", "green")]).await;
            let call = pair.green.call("Say").await;
            assert_eq!(call.header("x-upstream"), expected, "{tongue:?} {listed}");
        }
    }
}

#[tokio::test]
async fn schemas_tells_which_routes_name_an_upstream() {
    let pair = Pair::start(
        "  - match: { service: tidegate., hosts: [ \"*.example\" ], headers: { x-tenant: acme } }\n    \
           upstreams: { blue: 90, green: 10 }\n  \
           - match: { method: tidegate.test.v1.Echo/Say }\n    upstream: blue\n    \
           mirror: { upstream: green, percent: 0.5 }\n  - match: { service: \"\" }\n    upstream: blue\n",
    )
    .await;
    let told = pair.gateway.admin_get("/schemas").await.json();
    let routes = |upstream: usize| told["upstreams"][upstream]["routes"].clone();
    let tenant = "service=tidegate. host=*.example x-tenant=acme";
    assert_eq!(
        routes(0),
        json!([
            {"route": 0, "matches": tenant, "weight": 90},
            {"route": 1, "matches": "method=tidegate.test.v1.Echo/Say", "weight": 1},
            {"route": 2, "matches": "service=", "weight": 1},
        ])
    );
    assert_eq!(
        routes(1),
        json!([
            {"route": 0, "matches": tenant, "weight": 10},
            {"route": 1, "matches": "method=tidegate.test.v1.Echo/Say", "mirror_percent": 0.5},
        ])
    );
}
