//! Upstreams that misbehave, one by one: what the client is told, and that the next call is well.

use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use h2::Reason;
use http::Response;
use prost::Message;
use serde_json::json;

use crate::{
    backend::{Backend, Options, RawBackend, RawCall, framed},
    harness::{Config, Conn, Dialect, Gateway, Kind, Opening, Via, Whole, within},
    proto::Msg,
};

fn msg(text: &str) -> Bytes {
    framed(&Msg { text: text.to_owned(), ..Msg::default() }.encode_to_vec())
}

/// Answers a call well.
async fn answer_well(mut call: RawCall, text: &str) {
    call.requests().await;
    call.head();
    call.data(msg(text));
    call.trailers(&[("grpc-status", "0")]);
}

/// A call that goes well, on a client connection that is there.
async fn assert_well(conn: &mut Conn, backend: &mut RawBackend) {
    let serve = async { answer_well(backend.call().await, "well").await };
    let (answer, ()) = tokio::join!(conn.get("/echo/say/x"), serve);
    assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, r#"{"text":"well"}"#), "{answer:?}");
}

async fn start() -> (RawBackend, Gateway, Conn) {
    let backend = RawBackend::start().await;
    let gateway = Gateway::start(Config::to(backend.address)).await;
    let conn = gateway.connect(Via::H2Tls).await;
    (backend, gateway, conn)
}

/// A GET whose upstream call is handled by `serve`.
///
/// What `serve` gives back is held until the answer is there: a call that is dropped is reset.
async fn misbehaved<T>(conn: &mut Conn, backend: &mut RawBackend, serve: impl AsyncFnOnce(RawCall) -> T) -> Whole {
    let serve = async { serve(backend.call().await).await };
    tokio::join!(conn.get("/echo/say/x"), serve).0
}

#[tokio::test]
async fn resets_become_the_codes_of_the_grpc_mapping() {
    let (mut backend, _gateway, mut conn) = start().await;
    // github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md, "Errors"
    for (reason, code) in [
        (Reason::NO_ERROR, 13),
        (Reason::PROTOCOL_ERROR, 13),
        (Reason::INTERNAL_ERROR, 13),
        (Reason::FLOW_CONTROL_ERROR, 13),
        (Reason::FRAME_SIZE_ERROR, 13),
        (Reason::CANCEL, 1),
        (Reason::COMPRESSION_ERROR, 13),
        (Reason::CONNECT_ERROR, 13),
        (Reason::ENHANCE_YOUR_CALM, 8),
        (Reason::INADEQUATE_SECURITY, 7),
    ] {
        let answer = misbehaved(&mut conn, &mut backend, async |call| call.reset(reason)).await;
        assert_eq!(answer.json()["code"], code, "{reason:?}: {answer:?}");
        assert_well(&mut conn, &mut backend).await;
    }
}

#[tokio::test]
async fn a_refused_stream_is_tried_again() {
    let (mut backend, _gateway, mut conn) = start().await;
    let serve = async {
        // It promises that nothing was done (RFC 9113 §8.7).
        backend.call().await.reset(Reason::REFUSED_STREAM);
        answer_well(backend.call().await, "again").await;
    };
    let (answer, ()) = tokio::join!(conn.get("/echo/say/x"), serve);
    assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, r#"{"text":"again"}"#), "{answer:?}");
}

#[tokio::test]
async fn answers_that_are_no_grpc_are_told_as_such() {
    let (mut backend, gateway, mut conn) = start().await;
    let html = |status: u16| Response::builder().status(status).header("content-type", "text/html").body(()).unwrap();
    // doc/http-grpc-status-mapping.md
    for (status, code) in
        [(400, 13), (401, 16), (403, 7), (404, 12), (429, 14), (500, 2), (502, 14), (503, 14), (504, 14)]
    {
        let answer = misbehaved(&mut conn, &mut backend, async |mut call: RawCall| {
            call.answer(html(status), false);
            call.last_data("<h1>secret innards</h1>");
        })
        .await;
        assert_eq!(answer.json()["code"], code, "{status}: {answer:?}");
        assert!(!answer.text().contains("innards"), "{status}: {answer:?}");
    }
    let answer = misbehaved(&mut conn, &mut backend, async |mut call: RawCall| call.answer(html(200), true)).await;
    assert!([2, 13].contains(&answer.json()["code"].as_u64().unwrap()), "{answer:?}");
    assert_well(&mut conn, &mut backend).await;
    drop(gateway);
}

#[tokio::test]
async fn replies_that_break_the_protocol_fail_the_call_alone() {
    let (mut backend, _gateway, mut conn) = start().await;
    type Serve = fn(&mut RawCall);
    let cases: &[(&str, Serve, &[u64])] = &[
        (
            "no trailers",
            |call| {
                call.head();
                call.last_data(msg("x"));
            },
            &[2, 13],
        ),
        (
            "no status in the trailers",
            |call| {
                call.head();
                call.data(msg("x"));
                call.trailers(&[("x-a", "b")]);
            },
            &[2, 13],
        ),
        (
            "a status that is no number",
            |call| {
                call.head();
                call.data(msg("x"));
                call.trailers(&[("grpc-status", "abc")]);
            },
            &[2, 13],
        ),
        (
            "a status beyond the table",
            |call| {
                call.head();
                call.trailers(&[("grpc-status", "99")]);
            },
            &[2],
        ),
        (
            "no message and OK",
            |call| {
                call.head();
                call.trailers(&[("grpc-status", "0")]);
            },
            &[12, 13],
        ),
        (
            "two messages for one",
            |call| {
                call.head();
                call.data(msg("x"));
                call.data(msg("y"));
                call.trailers(&[("grpc-status", "0")]);
            },
            &[12, 13],
        ),
        (
            "cut within a message",
            |call| {
                call.head();
                call.data(&b"\0\0\0\0\x09abc"[..]);
                call.trailers(&[("grpc-status", "0")]);
            },
            &[13],
        ),
        (
            "compressed, which was not agreed on",
            |call| {
                call.head();
                call.data(&b"\x01\0\0\0\0"[..]);
                call.trailers(&[("grpc-status", "0")]);
            },
            &[12, 13],
        ),
        (
            "no protobuf",
            |call| {
                call.head();
                call.data(framed(b"\xff\xff"));
                call.trailers(&[("grpc-status", "0")]);
            },
            &[13],
        ),
        (
            "no UTF-8 in a string",
            |call| {
                call.head();
                call.data(framed(b"\x0a\x01\xff"));
                call.trailers(&[("grpc-status", "0")]);
            },
            &[13],
        ),
        (
            "5 MiB",
            |call| {
                call.head();
                call.data(&b"\0\x00\x50\x00\x00"[..]);
            },
            &[8],
        ),
    ];
    for (what, serve, codes) in cases {
        let answer = misbehaved(&mut conn, &mut backend, async |mut call: RawCall| {
            call.requests().await;
            serve(&mut call);
            if *what == "5 MiB" {
                call.cancelled().await;
            }
        })
        .await;
        let body = answer.json();
        assert!(codes.contains(&body["code"].as_u64().unwrap()), "{what}: {answer:?}");
        assert!(!answer.status.is_success(), "{what}: {answer:?}");
        assert_well(&mut conn, &mut backend).await;
    }
}

#[tokio::test]
async fn nobody_there_is_unavailable_and_says_when_to_come_back() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gateway = Gateway::start(Config::to(free)).await;
    for via in Via::BOTH {
        let answer = gateway.get(via, "/echo/say/x").await;
        assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (503, &14.into()), "{answer:?}");
        assert!(answer.header("retry-after").parse::<u32>().is_ok(), "{answer:?}");
        assert!(answer.text().contains("google.rpc.RetryInfo"), "{answer:?}");
        assert!(!answer.text().contains(&free.to_string()), "addresses are for the log: {answer:?}");
    }
}

#[tokio::test]
async fn garbage_instead_of_http2_is_unavailable() {
    for bytes in [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], &[0xff; 100], b""] {
        let (address, _tasks) = RawBackend::garbage(bytes).await;
        let gateway = Gateway::start(Config::to(address)).await;
        let answer = gateway.get(Via::H2Tls, "/echo/say/x").await;
        assert_eq!(answer.json()["code"], 14, "{bytes:?}: {answer:?}");
    }
}

#[tokio::test]
async fn a_message_that_cannot_be_written_leaves_no_trace_before_the_end_that_tells_of_it() {
    let (mut backend, _gateway, mut conn) = start().await;
    for (accept, first, end) in [
        ("text/event-stream", "data: {\"text\":\"a\"}\n\n", "event: status\nid: ~end\ndata: {\"code\":13,"),
        ("application/x-ndjson", "{\"result\":{\"text\":\"a\"}}\n", "{\"error\":{\"code\":13,"),
    ] {
        let serve = async {
            let mut call = backend.call().await;
            call.head();
            call.data(msg("a"));
            // A string that is not UTF-8.
            call.data(framed(b"\x0a\x02\xff\xff"));
            call
        };
        let headers = [("accept", accept)];
        let (answer, _call) = tokio::join!(conn.whole("GET", "/echo/down", &headers, None), serve);
        let text = answer.text();
        let (_, rest) = text.split_once(first).unwrap_or_else(|| panic!("no first message: {text:?}"));
        assert!(rest.starts_with(end), "{accept}: {rest:?}");
    }
}

#[tokio::test]
async fn the_only_reply_of_a_request_stream_that_cannot_be_written_is_the_upstreams_fault() {
    let (mut backend, gateway, mut conn) = start().await;
    let serve = async {
        let mut call = backend.call().await;
        call.requests().await;
        call.head();
        // `Sum.joined`: a string that is not UTF-8.
        call.data(framed(b"\x1a\x02\xff\xff"));
        call.trailers(&[("grpc-status", "0")]);
    };
    let headers = [("content-type", "application/json"), ("x-request-id", "sum")];
    let (answer, ()) = tokio::join!(conn.whole("POST", "/echo/up", &headers, Some("[{}]".into())), serve);
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (500, &13.into()), "{answer:?}");
    let record = gateway.access_of("sum").await;
    assert_eq!((&record["code"], &record["messages_in"]), (&"INTERNAL".into(), &1.into()), "{record}");
}

#[tokio::test]
async fn silence_instead_of_http2_ends_at_the_deadline() {
    // The kernel accepts; nobody ever answers.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let gateway = Gateway::start(Config::to(silent.local_addr().unwrap())).await;
    let mut conn = gateway.connect(Via::H2Tls).await;
    let answer = conn.whole("GET", "/echo/say/x", &[("x-request-timeout", "0.3")], None).await;
    assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (504, &4.into()), "{answer:?}");
}

#[tokio::test]
async fn a_graceful_goaway_moves_new_calls_and_loses_none() {
    let (mut backend, _gateway, mut conn) = start().await;
    let mut first = conn.begin("GET", "/echo/say/one", &[], None).await;
    let one = backend.call().await;
    one.connection.go_away_gracefully();
    for _ in 0..20 {
        assert_well(&mut conn, &mut backend).await;
    }
    answer_well(one, "one").await;
    assert_eq!(first.head().await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_cut_connection_fails_what_was_on_it_and_nothing_after() {
    let (mut backend, _gateway, mut conn) = start().await;
    for round in 0..3 {
        let answer = misbehaved(&mut conn, &mut backend, async |call: RawCall| {
            if round == 1 {
                call.connection.go_away(Reason::INTERNAL_ERROR);
            } else {
                call.connection.cut();
            }
            call
        })
        .await;
        assert_eq!((answer.status.as_u16(), &answer.json()["code"]), (503, &14.into()), "{answer:?}");
        assert_well(&mut conn, &mut backend).await;
    }
}

#[tokio::test]
async fn a_killed_backend_is_found_again() {
    let mut backend = Backend::start().await;
    let gateway = Gateway::start(Config::to(backend.address)).await;
    let mut conn = gateway.connect(Via::H2Tls).await;
    assert_eq!(conn.get("/echo/say/x").await.status, 200);
    backend.kill();
    assert_eq!(conn.get("/echo/say/x").await.status, 503);
    let _again = Backend::with(Options { port: backend.address.port(), ..Options::default() }).await;
    tokio::time::timeout(crate::harness::PATIENCE, async {
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        while conn.get("/echo/say/x").await.status != 200 {
            tick.tick().await;
        }
    })
    .await
    .expect("the backend is dialled again");
}

#[tokio::test]
async fn more_connections_are_opened_when_the_streams_of_one_are_taken() {
    let mut backend = Backend::with(Options { concurrent_streams_max: Some(2), ..Options::default() }).await;
    let gateway = Gateway::start(Config::to(backend.address)).await;
    // SETTINGS arrive with the first call.
    assert_eq!(gateway.get(Via::H2Tls, "/echo/say/x").await.status, 200);
    backend.call("Say").await;
    let mut open = Vec::new();
    for _ in 0..6 {
        let opening = Opening::new(Dialect::Json, Kind::ServerStream, Via::H2Tls).behave("hang@1");
        let mut call = opening.open(&gateway).await;
        call.message().await;
        open.push((call, backend.call("Down").await));
    }
    let mut used: Vec<_> = open.iter().map(|(_, seen)| seen.connection).collect();
    used.sort_unstable();
    used.dedup();
    assert!(used.len() >= 3, "six calls on {used:?}");
    for (call, mut seen) in open {
        drop(call);
        seen.cancelled().await;
    }
}

#[tokio::test]
async fn calls_are_spread_and_a_dead_endpoint_costs_nobody_a_call() {
    let (mut one, mut two) = (Backend::start().await, Backend::start().await);
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for balance in ["round_robin", "least_request"] {
        let endpoints = [one.address, dead, two.address].map(|address| format!("http://{address}"));
        let set = crate::proto::DESCRIPTOR_SET;
        let lines = format!("schema: {{ descriptor_set: {set:?} }}\nbalance: {balance}");
        let gateway = Gateway::start(Config::new().upstream_at("test", &endpoints, &lines)).await;
        let mut conn = gateway.connect(Via::H2Tls).await;
        for _ in 0..40 {
            let answer = conn.get("/echo/say/x").await;
            assert_eq!(answer.status, 200, "{balance}: {answer:?}");
        }
        for backend in [&mut one, &mut two] {
            within(backend.call("Say")).await;
        }
    }
}

/// One unread stream of many tiny frames must not cost its neighbours the shared connection: HTTP/2 libraries count
/// small frames that nobody took, and close the connection over it.
#[tokio::test]
async fn an_unread_stream_of_tiny_frames_leaves_its_neighbours_alone() {
    const FRAMES: usize = 40_000;
    const NEIGHBOURS: usize = 50;
    let (mut backend, gateway, mut neighbour) = start().await;
    assert_well(&mut neighbour, &mut backend).await;
    for dialect in [Dialect::Json, Dialect::Grpc] {
        let mut call = Opening::new(dialect, Kind::ServerStream, Via::H2Tls).open(&gateway).await;
        let mut slow = backend.call().await;
        slow.requests().await;
        slow.head();
        let piece = msg(&"x".repeat(60));
        // All that the windows let through while nobody reads: until so many whole calls went by and it could send no more.
        let (mut sent, mut neighbours) = (0, 0);
        while sent < FRAMES && neighbours < NEIGHBOURS {
            match slow.capacity(piece.len()).now_or_never() {
                Some(Some(bytes)) if bytes >= piece.len() => {
                    slow.data(piece.clone());
                    (sent, neighbours) = (sent + 1, 0);
                }
                Some(None) => panic!("the stream was reset after {sent} frames"),
                _ => {
                    assert_well(&mut neighbour, &mut backend).await;
                    neighbours += 1;
                }
            }
        }
        for _ in 0..20 {
            assert_well(&mut neighbour, &mut backend).await;
        }
        assert_eq!(backend.connections(), usize::from(dialect == Dialect::Json), "{sent} frames cost the connection");
        println!("{dialect:?}: {sent} frames of {} bytes went out unread", piece.len());
        let read = async {
            for _ in 0..sent {
                call.message().await;
            }
            call.rest().await
        };
        let finish = async { slow.trailers(&[("grpc-status", "0")]) };
        let ((rest, end), ()) = tokio::join!(read, finish);
        assert_eq!((rest.len(), end.code), (0, Some(0)), "{end:?}");
    }
}

/// A hundred empty DATA frames over a connection's life make HTTP/2 libraries close it: dialled again at once.
#[tokio::test]
async fn empty_frames_cost_no_more_than_the_call_they_are_on() {
    let (mut backend, _gateway, mut conn) = start().await;
    let mut failed = 0;
    for _ in 0..5 {
        let answer = misbehaved(&mut conn, &mut backend, async |mut call: RawCall| {
            call.requests().await;
            call.head();
            for _ in 0..60 {
                call.data(Bytes::new());
            }
            call.data(msg("x"));
            call.trailers(&[("grpc-status", "0")]);
        })
        .await;
        failed += usize::from(answer.status != 200);
        assert_well(&mut conn, &mut backend).await;
    }
    assert!(failed <= 3, "{failed} of five calls failed");
}

/// The gateway must not spend the backend's patience on a client's empty frames.
#[tokio::test]
async fn a_clients_empty_frames_are_not_passed_on() {
    let (mut backend, gateway, mut neighbour) = start().await;
    assert_well(&mut neighbour, &mut backend).await;
    for _ in 0..5 {
        let mut conn = gateway.connect(Via::H2c).await;
        let headers = [("content-type", "application/grpc"), ("te", "trailers")];
        let (mut upload, download) = conn.stream("POST", "/tidegate.test.v1.Echo/Say", &headers).await;
        for _ in 0..60 {
            upload.send("").await;
        }
        upload.send(msg("x")).await;
        upload.finish();
        let (answer, ()) = tokio::join!(download.whole(), async { answer_well(backend.call().await, "well").await });
        assert_eq!(answer.trailers["grpc-status"], "0", "{answer:?}");
    }
    assert_well(&mut neighbour, &mut backend).await;
    assert_eq!(backend.connections(), 1, "the upstream connection was lost");
}

#[tokio::test]
async fn an_unknown_service_passes_through_where_a_route_says_so() {
    let mut backend = RawBackend::start().await;
    let config = Config::new()
        .upstream("blind", backend.address, "schema: none")
        .section("routes:\n  - match: { service: no.schema }\n    upstream: blind");
    let gateway = Gateway::start(config).await;
    let mut conn = gateway.connect(Via::H2c).await;
    let headers = [("content-type", "application/grpc"), ("te", "trailers")];
    let exchange = conn.whole("POST", "/no.schema.v1.Any/Thing", &headers, Some(framed(b"\xff\x00")));
    let serve = async {
        let mut call = backend.call().await;
        assert_eq!(call.path(), "/no.schema.v1.Any/Thing");
        assert_eq!(call.requests().await, [Bytes::from_static(b"\xff\x00")]);
        call.head();
        call.data(framed(b"\x01"));
        call.trailers(&[("grpc-status", "0")]);
    };
    let (answer, ()) = tokio::join!(exchange, serve);
    assert_eq!((&answer.body[..], &answer.trailers["grpc-status"]), (&framed(b"\x01")[..], &"0".parse().unwrap()));
    let other = conn.whole("POST", "/other.Service/Thing", &headers, Some(framed(b""))).await;
    assert_eq!(other.headers["grpc-status"], "12", "{other:?}");
}

#[tokio::test]
async fn a_unix_socket_is_an_endpoint_too() {
    let backend = Backend::start().await;
    let dir = crate::harness::temp::TempDir::new();
    let path = dir.path().join("backend.sock");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let address = backend.address;
    let relay = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut tcp = tokio::net::TcpStream::connect(address).await.unwrap();
            tokio::spawn(async move { drop(tokio::io::copy_bidirectional(&mut stream, &mut tcp).await) });
        }
    });
    let set = crate::proto::DESCRIPTOR_SET;
    let endpoints = [format!("unix:{}", path.display())];
    let config = Config::new().upstream_at("test", &endpoints, &format!("schema: {{ descriptor_set: {set:?} }}"));
    let gateway = Gateway::start(config).await;
    assert_eq!(gateway.get(Via::H2Tls, "/echo/say/x").await.json(), json!({"text": "x"}));
    relay.abort();
}
