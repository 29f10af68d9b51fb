//! Sessions of `tidegate.mux` over plain HTTP: what only they have (PROTOCOLS §10). What they share with WebSockets is in `mux`.

use serde_json::{Value, json};
use tidegate::coding::{Coding, Inflater};

use crate::{
    backend::{Backend, Event},
    compression::{bomb, coded},
    harness::{
        Config, Gateway, Via, Whole,
        mux::{Carrier, Client, ECHO, Line, PATH, Session, post_headers},
        process::Process,
        within,
    },
    slow::until,
};

/// Every framing over each HTTP.
const WAYS: &[(Carrier, Via)] = Carrier::WAYS.split_at(2).1;

async fn start() -> (Backend, Gateway) {
    start_with(|config| config).await
}

async fn start_with(more: impl FnOnce(Config) -> Config) -> (Backend, Gateway) {
    let backend = Backend::start().await;
    let gateway = Gateway::start(more(Config::to(backend.address))).await;
    (backend, gateway)
}

/// Status, and the reason that the first detail tells.
fn refusal(answer: &Whole) -> (u16, String) {
    let told = answer.json();
    assert!(told["code"].is_number() && told["message"].is_string(), "{answer:?}");
    (answer.status.as_u16(), told["details"][0]["reason"].as_str().unwrap_or_default().to_owned())
}

fn refused(status: u16, reason: &str) -> (u16, String) {
    (status, reason.to_owned())
}

/// A call that has answered.
async fn chat(client: &mut Client, id: u64) {
    client.call(id, "Chat", "").await;
    says(client, id, "a").await;
}

async fn says(client: &mut Client, id: u64, text: &str) {
    client.send(json!({ "id": id, "message": { "text": text } })).await;
    assert_eq!(client.message(id).await, json!({ "text": text }));
}

#[tokio::test]
async fn a_post_that_is_refused_has_no_effect() {
    let (_backend, gateway) = start_with(|config| config.small_messages().limit("body_timeout", "500ms")).await;
    let (kind, session, sequence, encoding) =
        ("content-type", "tidegate-session", "tidegate-sequence", "content-encoding");
    for &(carrier, via) in WAYS {
        let mut client = Client::open(&gateway, carrier, via).await;
        let body = client.body(&[json!({ "ping": 1 })]);
        let id = client.session().id.clone();
        let own = [(kind, carrier.sends()), (session, &id), (sequence, "1")];
        let other = if carrier == Carrier::Delimited { "application/json" } else { "application/x-protobuf" };
        let foreign = "AAAAAAAAAAAAAAAAAAAAAA";
        // Of two headers of one name, the first in `own` is left out.
        let with = |header: (&'static str, &str)| {
            let kept = own.iter().filter(|(name, _)| *name != header.0);
            kept.copied().chain([header]).map(|(name, value)| (name, value.to_owned())).collect::<Vec<_>>()
        };
        let more = |header: (&'static str, &str)| {
            own.into_iter().chain([header]).map(|(name, value)| (name, value.to_owned())).collect::<Vec<_>>()
        };
        let without = |name: &str| {
            let kept = own.iter().filter(|(own, _)| *own != name);
            kept.map(|(name, value)| (*name, (*value).to_owned())).collect::<Vec<_>>()
        };
        let plain = || body.clone();
        for (headers, body, expected) in [
            (with((session, foreign)), plain(), refused(404, "SESSION_UNKNOWN")),
            (with((session, "x")), plain(), refused(400, "INVALID_HEADER")),
            (without(session), plain(), refused(400, "INVALID_HEADER")),
            (more((session, foreign)), plain(), refused(400, "INVALID_HEADER")),
            (without(sequence), plain(), refused(400, "INVALID_HEADER")),
            (with((sequence, "0")), plain(), refused(400, "INVALID_HEADER")),
            (with((sequence, "one")), plain(), refused(400, "INVALID_HEADER")),
            (with((sequence, "2")), plain(), refused(409, "SEQUENCE_GAP")),
            (with((sequence, "18446744073709551615")), plain(), refused(409, "SEQUENCE_GAP")),
            (with((kind, other)), plain(), refused(415, "UNSUPPORTED_MEDIA_TYPE")),
            (with((kind, "text/plain")), plain(), refused(415, "UNSUPPORTED_MEDIA_TYPE")),
            (without(kind), plain(), refused(415, "UNSUPPORTED_MEDIA_TYPE")),
            (
                own.map(|(name, value)| (name, value.to_owned())).to_vec(),
                vec![b' '; 65_537],
                refused(413, "MESSAGE_TOO_LARGE"),
            ),
            (more((encoding, "deflate")), plain(), refused(415, "UNSUPPORTED_MEDIA_TYPE")),
            (more((encoding, "gzip")), plain(), refused(400, "INVALID_MESSAGE")),
            (more((encoding, "gzip")), bomb(Coding::Gzip), refused(413, "MESSAGE_TOO_LARGE")),
            (more((encoding, "br")), bomb(Coding::Brotli), refused(413, "MESSAGE_TOO_LARGE")),
            (more((encoding, "zstd")), bomb(Coding::Zstd), refused(413, "MESSAGE_TOO_LARGE")),
            (more(("origin", "https://evil.test")), plain(), refused(403, "ORIGIN_FORBIDDEN")),
            (more(("sec-fetch-site", "cross-site")), plain(), refused(403, "ORIGIN_FORBIDDEN")),
        ] {
            let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
            let mut conn = gateway.connect(via).await;
            let answer = conn.whole("POST", PATH, &headers, Some(body.into())).await;
            assert_eq!(refusal(&answer), expected, "{carrier:?} {via:?} {headers:?}");
        }
        // One that breaks off, and one that never ends.
        let mut conn = gateway.connect(via).await;
        let (mut upload, download) = conn.stream("POST", PATH, &own).await;
        upload.send(body.clone()).await;
        let answer = within(download.whole()).await;
        assert_eq!(answer.status, 408, "{carrier:?} {via:?}: {answer:?}");

        client.send(json!({ "ping": 2 })).await;
        assert_eq!(client.any().await, json!({ "pong": 2 }), "{carrier:?} {via:?}");
    }
    gateway.assert_nothing_internal();
}

#[tokio::test]
async fn a_post_that_comes_again_is_answered_again_and_has_no_second_effect() {
    let (_backend, gateway) = start().await;
    for &(carrier, via) in WAYS {
        let mut client = Client::open(&gateway, carrier, via).await;
        let [one, two] = [1, 2].map(|number| client.body(&[json!({ "ping": number })]));
        let session = client.session();
        assert_eq!(session.post(one.clone()).await.status, 204);
        assert_eq!(session.post_again(one.clone()).await.status, 204);
        // Only the number counts.
        assert_eq!(session.post_again("\0").await.status, 204);
        assert_eq!(session.post(two).await.status, 204);
        session.sequence = 1;
        assert_eq!(refusal(&session.post_again(one).await), refused(409, "SEQUENCE_GAP"));
        session.sequence = 2;
        assert_eq!(client.any().await, json!({ "pong": 1 }));
        assert_eq!(client.any().await, json!({ "pong": 2 }), "{carrier:?} {via:?}");
        // Nothing to say is said in order too.
        assert_eq!(client.session().post("").await.status, 204);
        client.send(json!({ "ping": 3 })).await;
        assert_eq!(client.any().await, json!({ "pong": 3 }));
    }
}

#[tokio::test]
async fn posts_come_one_at_a_time() {
    let (_backend, gateway) = start().await;
    for carrier in Carrier::SESSIONS {
        let mut client = Client::open(&gateway, carrier, Via::H2Tls).await;
        let body = client.body(&[json!({ "ping": 1 })]);
        let session = client.session();
        let (mut upload, download) = session.begin_post().await;
        for sequence in [1, 2] {
            session.sequence = sequence;
            assert_eq!(refusal(&session.post_again(body.clone()).await), refused(409, "SEQUENCE_GAP"));
        }
        upload.send(body.clone()).await;
        upload.finish();
        assert_eq!(within(download.whole()).await.status, 204);
        assert_eq!(client.any().await, json!({ "pong": 1 }));
        // One that its client gave up has not come.
        let session = client.session();
        session.sequence = 1;
        let (mut upload, download) = session.begin_post().await;
        upload.send(body.clone()).await;
        drop((upload, download));
        assert_eq!(session.post_again(body).await.status, 204);
        assert_eq!(client.any().await, json!({ "pong": 1 }));
    }
}

#[tokio::test]
async fn bodies_may_be_compressed_both_ways() {
    let (_backend, gateway) = start_with(|config| config.section("mux: { compress_streams: true }")).await;
    for &(carrier, via) in WAYS {
        for coding in Coding::ALL {
            let mut client = Client::open(&gateway, carrier, via).await;
            let body = coded(coding, &client.body(&[json!({ "ping": 1 }), json!({ "ping": 2 })]));
            let session = client.session();
            let answer = session.post_with(&[("content-encoding", coding.name())], body).await;
            assert_eq!(answer.status, 204, "{carrier:?} {via:?} {coding:?}: {answer:?}");
            assert_eq!([client.any().await, client.any().await], [json!({ "pong": 1 }), json!({ "pong": 2 })]);

            let mut conn = gateway.connect(via).await;
            let headers = [("accept", carrier.accept()), ("accept-encoding", coding.name())];
            let mut download = conn.begin("GET", PATH, &headers, None).await;
            let head = download.head().await.expect("a head");
            assert_eq!(head.headers()["content-encoding"], coding.name(), "{carrier:?} {via:?}");
            // The first frame is there to be read, though nothing follows.
            let (mut inflater, mut plain) = (Inflater::new(coding, usize::MAX), Vec::new());
            while !plain.windows(7).any(|seven| seven == b"session") && carrier != Carrier::Delimited
                || plain.is_empty()
            {
                let piece = download.piece().await.expect("a piece").expect("not cut");
                let mut rest = &piece[..];
                while !rest.is_empty() {
                    inflater.inflate(&mut rest, 1 << 16, &mut plain).expect("sound");
                }
            }
        }
    }
}

#[tokio::test]
async fn what_is_no_frame_ends_the_session() {
    let (mut backend, gateway) = start().await;
    let open = format!(r#"{{"id":1,"open":{{"method":"{ECHO}/Chat"}}}}"#);
    let [lines, json] = ["application/x-ndjson", "application/json"];
    let cases: Vec<(&str, Vec<u8>)> = vec![
        (lines, b"nonsense\n".to_vec()),
        (lines, b"[]".to_vec()),
        (lines, b"{}\n\n\n{\n".to_vec()),
        (lines, b"{\"ping\":\"\xff\"}".to_vec()),
        (lines, br#"{"id":0,"cancel":true}"#.to_vec()),
        (lines, open.clone().into_bytes()),
        (lines, br#"{"id":9,"credit":99999999999}"#.to_vec()),
        (json, b"".to_vec()),
        (json, b"{}\n{}".to_vec()),
        (json, b"[{}]".to_vec()),
    ];
    let binary: Vec<(&str, Vec<u8>)> =
        [&b"\x05\x08"[..], b"\x02\x08", b"\x80", b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", b"\x02\x20\x01"]
            .map(|body| ("application/x-protobuf", body.to_vec()))
            .to_vec();
    for &(carrier, via) in WAYS {
        for (kind, body) in if carrier == Carrier::Delimited { &binary } else { &cases } {
            let mut client = Client::open(&gateway, carrier, via).await;
            chat(&mut client, 1).await;
            let mut seen = backend.call("Chat").await;
            let session = client.session();
            let sequence = (session.sequence + 1).to_string();
            let mut headers = post_headers(carrier, &session.id, &sequence);
            headers[0].1 = kind;
            let answer = session.conn.whole("POST", PATH, &headers, Some(body.clone().into())).await;
            let (status, reason) = refusal(&answer);
            let case = format!("{carrier:?} {via:?} {:?}", String::from_utf8_lossy(body));
            assert!(status == 400 && ["INVALID_MESSAGE", "INVALID_JSON"].contains(&&*reason), "{case}: {answer:?}");
            assert_eq!(client.closed().await.0, 1007, "{case}");
            seen.cancelled().await;
            let session = client.session();
            assert_eq!(refusal(&session.post("").await), refused(404, "SESSION_UNKNOWN"), "{case}");
        }
    }
    gateway.assert_nothing_internal();
}

#[tokio::test]
async fn frames_before_one_that_is_none_are_taken() {
    let (_backend, gateway) = start().await;
    for &(carrier, via) in WAYS {
        let mut client = Client::open(&gateway, carrier, via).await;
        let mut body = client.body(&[json!({ "ping": 7 })]);
        body.extend_from_slice(if carrier == Carrier::Delimited { b"\x02\x08" } else { b"{" });
        assert_eq!(client.session().post(body).await.status, 400);
        assert_eq!(client.any().await, json!({ "pong": 7 }), "{carrier:?} {via:?}");
        assert_eq!(client.closed().await.0, 1007);
    }
}

#[tokio::test]
async fn calls_are_those_of_who_opened_the_session() {
    let (mut backend, gateway) = start().await;
    let secrets = ["Bearer session-token", "Bearer call-token", "Bearer post-token", "a=session-cookie"];
    for &(carrier, via) in WAYS {
        let headers = [
            ("authorization", secrets[0]),
            ("cookie", secrets[3]),
            ("x-request-id", "of-the-session"),
            ("x-request-timeout", "9"),
            ("last-event-id", "7"),
            ("accept-language", "sv"),
        ];
        let mut client = Client::open_with(&gateway, carrier, via, &headers).await;
        let say = |id: u64, metadata: Value| json!({ "id": id, "open": { "method": format!("{ECHO}/Say"), "metadata": metadata }, "message": {} });
        let body = client.body(&[say(1, json!({})), say(2, json!({ "authorization": secrets[1] }))]);
        let session = client.session();
        let own = [("authorization", secrets[2]), ("cookie", "b=c"), ("x-request-id", "p")];
        let answer = session.post_with(&own, body).await;
        assert_eq!(answer.status, 204, "{answer:?}");
        let id = session.id.clone();
        client.message(1).await;
        client.message(2).await;
        for _ in 0..2 {
            let seen = backend.call("Say").await;
            let token = seen.header("authorization").to_owned();
            assert!(secrets[..2].contains(&&*token), "{token}");
            assert_eq!((seen.header("cookie"), seen.header("accept-language")), (secrets[3], "sv"));
            assert!(!["p", "of-the-session"].contains(&seen.header("x-request-id")));
            for name in ["tidegate-session", "tidegate-sequence", "last-event-id", "x-request-timeout", "accept"] {
                assert_eq!(seen.headers.get(name), None, "{name}");
            }
            assert!(seen.timeout().is_none_or(|timeout| timeout.as_secs() >= 10), "the session's own");
        }
        // What was told of all this names no secret.
        let post = gateway.access(|record| record["request_id"] == "p").await;
        assert_eq!((&post["dialect"], &post["http_status"]), (&"mux".into(), &204.into()), "{post}");
        client.session().id = "AAAAAAAAAAAAAAAAAAAAAA".to_owned();
        client.session().post("").await;
        let log = gateway.process.transcript();
        for secret in secrets.into_iter().map(|secret| secret.trim_start_matches("Bearer ")).chain([&*id]) {
            assert!(!log.contains(secret), "{secret} is in the log");
        }
    }
}

/// As EventSource does it, which can set no header.
#[tokio::test]
async fn a_ticket_opens_a_session_with_its_token_once() {
    let (mut backend, gateway) = start().await;
    for &(carrier, via) in WAYS {
        let mut conn = gateway.connect(via).await;
        let told = conn.whole("POST", "/-/ticket", &[("authorization", "Bearer a")], None).await.json();
        let target = format!("{PATH}?ticket={}", told["ticket"].as_str().expect("a ticket"));
        let mut client = Client::of(Line::Session(Session::open_at(&gateway, &target, carrier, via, &[]).await));
        chat(&mut client, 1).await;
        assert_eq!(backend.call("Chat").await.header("authorization"), "Bearer a", "{carrier:?} {via:?}");
        let again = conn.whole("GET", &target, &[("accept", carrier.accept())], None).await;
        assert_eq!(refusal(&again), refused(401, "TICKET_INVALID"));
    }
}

#[tokio::test]
async fn a_session_is_refused_before_it_is_one() {
    let (_backend, gateway) =
        start_with(|config| config.section("cors: { origins: [ \"https://app.test\" ], credentials: true }")).await;
    let moved = start_with(|config| config.section("mux: { path: /calls }")).await;
    let off = start_with(|config| config.section("mux: { enabled: false }")).await;
    for via in Via::BOTH {
        for (gateway, method, path, headers, status) in [
            (&gateway, "GET", PATH, &[("accept", "text/html")][..], 406),
            (&gateway, "GET", PATH, &[("accept", "application/json")], 406),
            (&gateway, "GET", PATH, &[("origin", "https://evil.test")], 403),
            (&gateway, "GET", PATH, &[("origin", "https://app.test"), ("origin", "https://app.test")], 403),
            (&gateway, "GET", PATH, &[("sec-fetch-site", "cross-site")], 403),
            (&gateway, "GET", PATH, &[("accept", "text/event-stream"), ("last-event-id", "~end")], 204),
            (&gateway, "HEAD", PATH, &[], 200),
            (&gateway, "PUT", PATH, &[], 405),
            (&gateway, "DELETE", PATH, &[], 405),
            (&moved.1, "HEAD", "/calls", &[], 200),
            (&moved.1, "GET", PATH, &[], 404),
            (&moved.1, "POST", PATH, &[], 404),
            (&off.1, "GET", PATH, &[], 404),
            (&off.1, "POST", PATH, &[], 404),
        ] {
            let answer = gateway.connect(via).await.whole(method, path, headers, None).await;
            assert_eq!(answer.status.as_u16(), status, "{via:?} {method} {path} {headers:?}: {answer:?}");
            if status == 405 {
                assert_eq!(answer.header("allow"), "GET, HEAD, POST");
            }
            if status >= 400 {
                refusal(&answer);
            }
        }
        // Pages that may call may do it this way.
        let origin = ("origin", "https://app.test");
        let mut conn = gateway.connect(via).await;
        for method in ["GET", "POST"] {
            let names = "content-type, tidegate-sequence, tidegate-session";
            let asked = [origin, ("access-control-request-method", method), ("access-control-request-headers", names)];
            let answer = conn.whole("OPTIONS", PATH, &asked, None).await;
            assert_eq!(answer.status, 204, "{answer:?}");
            assert_eq!(answer.header("access-control-allow-headers"), names);
            assert_eq!(answer.header("access-control-allow-origin"), origin.1);
            let foreign = [("origin", "https://evil.test"), asked[1], asked[2]];
            let answer = conn.whole("OPTIONS", PATH, &foreign, None).await;
            assert_eq!(answer.header("access-control-allow-origin"), "", "{answer:?}");
        }
        let mut client = Client::open_with(&gateway, Carrier::Lines, via, &[origin]).await;
        let session = client.session();
        let answer = session.post_with(&[origin], "{\"ping\":1}").await;
        assert_eq!((answer.status.as_u16(), answer.header("access-control-allow-origin")), (204, origin.1));
        assert_eq!(client.any().await, json!({ "pong": 1 }));
    }
}

#[tokio::test]
async fn sessions_are_bounded_and_one_that_ended_leaves_its_place() {
    let (mut backend, gateway) = start_with(|config| config.limit("mux_sessions_max", "2")).await;
    for &(carrier, via) in WAYS {
        let mut first = Client::open(&gateway, carrier, via).await;
        let mut second = Client::open(&gateway, carrier, via).await;
        let mut conn = gateway.connect(via).await;
        let headers = [("accept", carrier.accept())];
        let answer = conn.whole("GET", PATH, &headers, None).await;
        assert_eq!(refusal(&answer), refused(503, "OVERLOADED"));
        assert!(answer.headers.contains_key("retry-after"), "{answer:?}");
        // WebSockets are no sessions.
        Client::open(&gateway, Carrier::Socket, Via::H2Tls).await;
        chat(&mut first, 1).await;
        let mut seen = backend.call("Chat").await;
        drop(first);
        seen.cancelled().await;
        assert_eq!(conn.whole("HEAD", PATH, &headers, None).await.status, 200, "{carrier:?} {via:?}");
        let mut third = Client::open(&gateway, carrier, via).await;
        for client in [&mut second, &mut third] {
            chat(client, 1).await;
            backend.call("Chat").await;
        }
        let mut rest = Vec::new();
        for mut client in [second, third] {
            client.session().post("nonsense").await;
            assert_eq!(client.closed().await.0, 1007);
            rest.push(client);
        }
    }
}

#[tokio::test]
async fn who_hangs_up_takes_its_calls_along() {
    let (mut backend, gateway) = start().await;
    for &(carrier, via) in WAYS {
        let mut client = Client::open(&gateway, carrier, via).await;
        chat(&mut client, 1).await;
        client.call(2, "Down", "hang@0").await;
        client.send(json!({ "id": 2, "message": {} })).await;
        let (mut chat, mut down) = (backend.call("Chat").await, backend.call("Down").await);
        down.until(Event::HalfClosed).await;
        let id = client.session().id.clone();
        let sequence = (client.session().sequence + 1).to_string();
        let mut conn = client.hang_up();
        chat.cancelled().await;
        down.cancelled().await;
        let headers = post_headers(carrier, &id, &sequence);
        let answer = conn.whole("POST", PATH, &headers, Some("".into())).await;
        assert_eq!(refusal(&answer), refused(404, "SESSION_UNKNOWN"), "{carrier:?} {via:?}");
    }
}

#[tokio::test]
async fn a_silence_is_broken() {
    let (_backend, gateway) = start_with(|config| config.limit("sse_heartbeat", "100ms")).await;
    for &(carrier, via) in WAYS {
        let mut client = Client::open(&gateway, carrier, via).await;
        if carrier == Carrier::Events {
            let mut conn = gateway.connect(via).await;
            let mut download = conn.begin("GET", PATH, &[("accept", carrier.accept())], None).await;
            download.head().await.expect("a head");
            let mut text = Vec::new();
            while !text.ends_with(b"\n\n:\n\n:\n\n") {
                text.extend_from_slice(&download.piece().await.expect("a piece").expect("not cut"));
            }
            assert!(text.starts_with(b"retry: "), "{:?}", String::from_utf8_lossy(&text));
        } else {
            assert_eq!([client.any().await, client.any().await], [json!({ "ping": 1 }), json!({ "ping": 2 })]);
        }
        // An answer is not asked for, and may be given.
        client.send(json!({ "pong": 1 })).await;
        chat(&mut client, 1).await;
    }
}

#[tokio::test]
async fn who_does_not_read_is_not_heard_and_what_it_said_is_taken_when_it_reads() {
    let (_backend, gateway) = start_with(|config| config.limit("unary_timeout", "300ms")).await;
    for carrier in Carrier::SESSIONS {
        let mut client = Client::open(&gateway, carrier, Via::H2Tls).await;
        client.call(1, "Down", "").await;
        let flood = json!({ "id": 1, "message": { "count": 200, "size": 3000 }, "credit": 10_000_000 });
        let flood = client.body(&[flood]);
        let ping = client.body(&[json!({ "ping": 1 })]);
        let session = client.session();
        session.post(flood).await;
        // The window of this stream is full, so nobody looks at what comes.
        let mut pings = 1;
        let mut answer = session.post(ping.clone()).await;
        while answer.status == 204 {
            answer = session.post(ping.clone()).await;
            pings += 1;
        }
        assert_eq!(refusal(&answer), refused(504, "DEADLINE_EXCEEDED"), "{carrier:?}");
        // This one waits for its place behind the other, and does not get it.
        assert_eq!(session.post(ping.clone()).await.status, 504);
        for _ in 0..200 {
            client.message(1).await;
        }
        assert_eq!(client.status(1).await["code"], 0);
        // The client cannot know how far each came: the same numbers say it once.
        client.session().sequence -= 1;
        let again = [client.session().post_again(ping.clone()).await, client.session().post(ping).await];
        assert_eq!(again.map(|answer| answer.status.as_u16()), [204; 2]);
        client.send(json!({ "ping": 2 })).await;
        let mut pongs = client.held.remove(&0).map_or(0, |frames| frames.len());
        while client.any().await != json!({ "pong": 2 }) {
            pongs += 1;
        }
        assert_eq!(pongs, pings + 1, "{carrier:?}");
    }
}

#[tokio::test]
async fn who_reads_nothing_for_too_long_loses_the_session() {
    let (mut backend, gateway) = start_with(|config| config.limit("write_stall_timeout", "1s").workers(1)).await;
    let mut stalled = Vec::new();
    for &(carrier, via) in WAYS {
        let mut client = Client::open(&gateway, carrier, via).await;
        client.call(1, "Down", "").await;
        let flood = json!({ "id": 1, "message": { "count": 1000, "size": 60_000 }, "credit": 1_000_000_000 });
        let flood = client.body(&[flood]);
        assert_eq!(client.session().post(flood).await.status, 204);
        stalled.push((backend.call("Down").await, client));
    }
    for (seen, client) in &mut stalled {
        seen.cancelled().await;
        assert_eq!(refusal(&client.session().post("").await), refused(404, "SESSION_UNKNOWN"));
    }
    until(&gateway, "tidegate_stalled_writes_total", |count| count == WAYS.len() as u64).await;
    gateway.assert_nothing_internal();
}

#[tokio::test]
async fn a_connection_that_is_given_up_lets_calls_finish_by_posts_on_another() {
    let (_backend, mut gateway) = start().await;
    let away = json!({ "go_away": { "reason": "the gateway gives this connection up: come back on another" } });
    for &(carrier, via) in WAYS {
        let mut client = Client::open(&gateway, carrier, via).await;
        let mut idle = Client::open(&gateway, carrier, via).await;
        chat(&mut client, 1).await;
        let mut command = Gateway::command();
        command.args(["drain", "--admin", &gateway.admin.to_string(), "--share", "100%"]);
        assert_eq!(Process::start(&mut command, "tidegate").exit().await.code(), Some(0));
        assert_eq!([client.any().await, idle.any().await], [away.clone(), away.clone()], "{carrier:?} {via:?}");
        assert_eq!(idle.closed().await.0, 1012);
        let leaving = std::mem::replace(&mut client.session().conn, gateway.connect(via).await);
        client.call(2, "Say", "").await;
        assert_eq!(client.status(2).await["code"], 14);
        says(&mut client, 1, "b").await;
        client.send(json!({ "id": 1, "half_close": true })).await;
        assert_eq!(client.status(1).await["code"], 0);
        assert_eq!(client.closed().await.0, 1012);
        drop(leaving);
    }
    let mut clients = Vec::new();
    for &(carrier, via) in WAYS {
        clients.push(Client::open(&gateway, carrier, via).await);
    }
    gateway.process.signal("TERM");
    for client in &mut clients {
        assert_eq!(client.any().await, away);
        assert_eq!(client.closed().await.0, 1012);
    }
    assert_eq!(gateway.process.exit().await.code(), Some(0));
}

#[tokio::test]
async fn posts_find_their_session_from_any_worker() {
    let (_backend, gateway) = start_with(|config| config.workers(3)).await;
    for &(carrier, via) in WAYS {
        let mut client = Client::open(&gateway, carrier, via).await;
        client.call(1, "Chat", "").await;
        let mut kept = Vec::new();
        for n in 0..9 {
            let mut others = Vec::new();
            for _ in 0..n % 3 {
                others.push(gateway.connect(via).await);
            }
            // Over HTTP/2 the first one is the way down too.
            kept.push(std::mem::replace(&mut client.session().conn, gateway.connect(via).await));
            says(&mut client, 1, &format!("{n}")).await;
        }
    }
}
