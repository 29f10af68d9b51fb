//! Connections: limits, GOAWAY, refusals, keepalive, loss.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use futures_util::future::join_all;
use h2::{Reason as Reset, server::Builder};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::{mpsc, watch},
};

use super::{
    backend::{Backend, Command, Exchange},
    *,
};

/// A backend whose calls are answered, with their connection's number, once the gate opens.
async fn gated(builder: Builder) -> (Backend, watch::Sender<bool>) {
    let (open, gate) = watch::channel(false);
    let backend = Backend::start_with(builder, move |mut exchange| {
        let mut gate = gate.clone();
        async move {
            gate.wait_for(|open| *open).await.unwrap();
            let connection = exchange.connection.to_string();
            exchange.reply(connection.as_bytes());
        }
    })
    .await;
    (backend, open)
}

fn limited(streams: u32) -> Builder {
    let mut builder = Builder::new();
    builder.max_concurrent_streams(streams);
    builder
}

async fn until(condition: impl Fn() -> bool) {
    soon(async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

fn start(pool: &Pool, message: &'static [u8]) -> tokio::task::JoinHandle<Result<UnaryReply, Status>> {
    let pool = pool.clone();
    tokio::spawn(async move { unary(&pool, message).await })
}

#[tokio::test]
async fn the_peers_stream_limit_opens_more_connections_up_to_ours() {
    let (backend, open) = gated(limited(2)).await;
    let pool = pool(&settings(vec![backend.url()]).with(|settings| settings.connections_max = 3));
    let calls: Vec<_> = (0..10).map(|_| start(&pool, b"x")).collect();
    until(|| backend.streams() == 6).await;
    // Four calls wait for a stream; none is forced upon the peer, no fourth connection is made.
    settle().await;
    assert_eq!((backend.accepted(), backend.streams()), (3, 6));
    open.send(true).unwrap();
    for call in soon(join_all(calls)).await {
        call.unwrap().unwrap();
    }
    assert_eq!((backend.accepted(), backend.streams()), (3, 10));
}

#[tokio::test]
async fn those_who_wait_for_a_stream_are_bound_by_their_deadline() {
    let (backend, _open) = gated(limited(1)).await;
    let pool = pool(&settings(vec![backend.url()]).with(|settings| settings.connections_max = 1));
    let _first = start(&pool, b"x");
    until(|| backend.streams() == 1).await;
    let status = soon(pool.unary(within(Duration::from_millis(30)), envelope(b""), REPLY_MAX)).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(backend.streams(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_has_no_deadline_waits_for_a_stream_for_a_bounded_time() {
    let (backend, _open) = gated(limited(1)).await;
    let pool = pool(&settings(vec![backend.url()]).with(|settings| settings.connections_max = 1));
    let _first = start(&pool, b"x");
    until(|| backend.streams() == 1).await;
    let start = Instant::now();
    let status = unary(&pool, b"x").await.unwrap_err();
    assert_eq!((status.code(), status.reason()), (Code::Unavailable, Some(Reason::Overloaded)));
    assert!(status.retry_after().is_some() && start.elapsed() >= Duration::from_secs(10));
}

#[tokio::test]
async fn the_line_of_those_who_wait_is_bounded() {
    let (backend, open) = gated(limited(1)).await;
    let pool = pool(&settings(vec![backend.url()]).with(|settings| settings.connections_max = 1));
    let first = start(&pool, b"x");
    until(|| backend.streams() == 1).await;
    let line: Vec<_> = (0..10_000).map(|_| start(&pool, b"x")).collect();
    until(|| pool.0.line.waiting.load(Ordering::SeqCst) == 10_000).await;
    let status = soon(unary(&pool, b"x")).await.unwrap_err();
    assert_eq!((status.code(), status.reason()), (Code::Unavailable, Some(Reason::Overloaded)));
    for waiting in &line[1..] {
        waiting.abort();
    }
    open.send(true).unwrap();
    soon(first).await.unwrap().unwrap();
    soon(line.into_iter().next().unwrap()).await.unwrap().unwrap();
}

#[tokio::test]
async fn after_goaway_calls_in_flight_finish_and_new_ones_take_a_new_connection() {
    let (backend, open) = gated(Builder::new()).await;
    let pool = pool(&settings(vec![backend.url()]));
    let old = start(&pool, b"x");
    until(|| backend.streams() == 1).await;
    backend.command(Command::GracefulGoAway);
    // The successor is there before any call asks for it.
    until(|| backend.accepted() == 2).await;
    let new = start(&pool, b"x");
    until(|| backend.streams() == 2).await;
    open.send(true).unwrap();
    assert_eq!(soon(old).await.unwrap().unwrap().message, "0");
    assert_eq!(soon(new).await.unwrap().unwrap().message, "1");
    until(|| endpoint(&pool).connected == 1).await;
    assert_eq!(endpoint(&pool).consecutive_failures, 0);
}

#[tokio::test]
async fn no_call_fails_while_connections_are_retired_under_load() {
    let backend = Backend::start(Exchange::echo).await;
    let pool = pool(&settings(vec![backend.url()]));
    let load = join_all((0..8).map(|_| async {
        for _ in 0..100 {
            soon(unary(&pool, b"x")).await.unwrap();
        }
    }));
    let retire = async {
        for turn in 1..=10 {
            until(|| backend.accepted() >= turn && backend.streams() >= turn * 40).await;
            backend.command(Command::GracefulGoAway);
        }
    };
    tokio::join!(load, retire);
    assert!(backend.accepted() > 5, "{}", backend.accepted());
}

#[tokio::test]
async fn refused_streams_are_sent_again_up_to_three_times() {
    for (refusals, expected) in [(3, Ok(())), (4, Err(Code::Unavailable))] {
        let seen = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&seen);
        let backend = Backend::start(move |mut exchange| {
            let turn = counter.fetch_add(1, Ordering::SeqCst);
            async move {
                if turn < refusals {
                    exchange.respond.send_reset(Reset::REFUSED_STREAM);
                } else {
                    exchange.echo().await;
                }
            }
        })
        .await;
        let outcome = soon(unary(&pool(&settings(vec![backend.url()])), b"again")).await;
        assert_eq!(outcome.map(|reply| assert_eq!(reply.message, "again")).map_err(|s| s.code()), expected);
        assert_eq!(seen.load(Ordering::SeqCst), 4);
    }
}

#[tokio::test]
async fn a_lost_connection_ends_its_calls_once_and_the_next_call_connects() {
    let (backend, open) = gated(Builder::new()).await;
    let pool = pool(&settings(vec![backend.url()]));
    let calls: Vec<_> = (0..3).map(|_| start(&pool, b"x")).collect();
    until(|| backend.streams() == 3).await;
    backend.command(Command::Break);
    for call in soon(join_all(calls)).await {
        let status = call.unwrap().unwrap_err();
        assert_eq!((status.code(), status.reason()), (Code::Unavailable, Some(Reason::UpstreamUnavailable)));
        assert_eq!(status.origin(), Origin::Upstream);
    }
    // What the peer may have processed is never sent again.
    assert_eq!(backend.streams(), 3);
    open.send(true).unwrap();
    assert_eq!(soon(unary(&pool, b"x")).await.unwrap().message, "1");
}

#[tokio::test]
async fn dropping_the_pool_lets_calls_finish_and_closes_its_connections() {
    let (backend, open) = gated(Builder::new()).await;
    let pool = pool(&settings(vec![backend.url()]));
    let cluster = Arc::clone(pool.cluster());
    let (mut requests, mut replies) = soon(pool.open(call("/a/B"))).await.unwrap();
    requests.finish();
    until(|| backend.streams() == 1).await;
    drop(pool);
    open.send(true).unwrap();
    end(&mut replies).await.unwrap();
    drop((requests, replies));
    until(|| cluster.endpoints().next().unwrap().connected == 0).await;
}

/// A server that speaks just enough HTTP/2 to be connected, answers no call, and so many PINGs of which it tells.
async fn bare(pongs: usize) -> (EndpointUrl, mpsc::UnboundedReceiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (seen, pings) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        // An empty SETTINGS frame, and the acknowledgement of the client's (RFC 9113 §6.5).
        tcp.write_all(b"\0\0\0\x04\0\0\0\0\0\0\0\0\x04\x01\0\0\0\0").await.unwrap();
        let mut preface = [0; 24];
        tcp.read_exact(&mut preface).await.unwrap();
        let mut answered = 0;
        let mut head = [0; 9];
        while tcp.read_exact(&mut head).await.is_ok() {
            let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
            tcp.read_exact(&mut payload).await.unwrap();
            // Type 6 is PING (RFC 9113 §6.7).
            if head[3] == 6 {
                seen.send(()).unwrap();
                answered += 1;
                if answered <= pongs {
                    tcp.write_all(&[&b"\0\0\x08\x06\x01\0\0\0\0"[..], &payload].concat()).await.unwrap();
                }
            }
        }
    });
    (EndpointUrl::Http { host: address.ip().to_string(), port: address.port() }, pings)
}

#[tokio::test]
async fn a_peer_is_given_up_when_it_answers_no_ping_and_not_before() {
    for pongs in [0, 3] {
        let (url, mut pings) = bare(pongs).await;
        let pool = pool(&settings(vec![url]).with(|settings| {
            settings.keepalive = Duration::from_millis(20);
            settings.keepalive_timeout = Duration::from_millis(100);
        }));
        let status = soon(unary(&pool, b"x")).await.unwrap_err();
        assert_eq!((status.code(), status.reason()), (Code::Unavailable, Some(Reason::UpstreamUnavailable)));
        for _ in 0..=pongs {
            soon(pings.recv()).await.unwrap();
        }
        assert_eq!(soon(pings.recv()).await, None);
    }
}

/// SETTINGS, and GOAWAY with ENHANCE_YOUR_CALM (RFC 9113 §6.8, §7).
const SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0";
const GOAWAY: &[u8] = b"\0\0\x16\x07\0\0\0\0\0\x7f\xff\xff\xff\0\0\0\x0btoo_many_pings";

/// A server that says GOAWAY to each connection, at once or when it has heard of a call.
async fn unwilling(at_once: bool) -> (EndpointUrl, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let accepted = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&accepted);
    tokio::spawn(async move {
        loop {
            let (mut tcp, _) = listener.accept().await.unwrap();
            counter.fetch_add(1, Ordering::SeqCst);
            if at_once {
                tcp.write_all(&[SETTINGS, GOAWAY].concat()).await.unwrap();
            } else {
                tcp.write_all(SETTINGS).await.unwrap();
                let mut heard = Vec::new();
                while !heard.windows(4).any(|bytes| bytes == b"ping") {
                    assert!(tcp.read_buf(&mut heard).await.unwrap() > 0);
                }
                tcp.write_all(GOAWAY).await.unwrap();
            }
            tokio::spawn(async move { tcp.read_to_end(&mut Vec::new()).await });
        }
    });
    (EndpointUrl::Http { host: "127.0.0.1".to_owned(), port }, accepted)
}

#[tokio::test]
async fn a_server_that_complains_of_pings_gets_them_half_as_often() {
    let (url, _) = unwilling(false).await;
    let pool = pool(&settings(vec![url]));
    let cluster = pool.cluster();
    assert_eq!(cluster.endpoints[0].keepalive(&cluster.policy), Duration::from_secs(30));
    let call = start(&pool, b"ping");
    until(|| cluster.endpoints[0].keepalive(&cluster.policy) == Duration::from_secs(60)).await;
    call.abort();
}

/// A call that waits for a connection once began the next attempt as soon as the last one was dead, without pause.
#[tokio::test]
async fn a_connection_dead_on_arrival_is_a_failed_attempt() {
    let (url, accepted) = unwilling(true).await;
    let pool = pool(&settings(vec![url]));
    let status = soon(unary(&pool, b"x")).await.unwrap_err();
    assert_eq!((status.code(), status.reason()), (Code::Unavailable, Some(Reason::UpstreamUnavailable)));
    assert_eq!(accepted.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_server_that_speaks_no_http2_is_a_failed_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        tcp.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
    });
    let pool = pool(&settings(vec![EndpointUrl::Http { host: "127.0.0.1".to_owned(), port }]));
    let status = soon(unary(&pool, b"x")).await.unwrap_err();
    assert_eq!(status.code(), Code::Unavailable);
    assert!(status.cause().unwrap().to_string().contains("does not speak HTTP/2"), "{status:?}");
    assert_eq!(endpoint(&pool).consecutive_failures, 1);
}

#[tokio::test]
async fn a_server_that_never_speaks_is_given_up_after_the_connect_timeout() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let url = EndpointUrl::Http { host: "127.0.0.1".to_owned(), port };
    let pool = pool(&settings(vec![url]).with(|settings| settings.connect_timeout = Duration::from_millis(50)));
    let start = Instant::now();
    for outcome in join_all((0..5).map(|_| soon(unary(&pool, b"x")))).await {
        let status = outcome.unwrap_err();
        assert_eq!((status.code(), status.reason()), (Code::Unavailable, Some(Reason::UpstreamUnavailable)));
    }
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_socket_file_is_an_endpoint() {
    let path = std::env::temp_dir().join(format!("tidegate-test-{}.sock", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let backend = Backend::unbound();
    tokio::spawn(async move {
        let (unix, _) = listener.accept().await.unwrap();
        backend.serve(unix, Builder::new(), |mut exchange| async move {
            let authority = exchange.request.uri().authority().unwrap().to_string();
            exchange.reply(authority.as_bytes());
        });
    });
    let pool = pool(&settings(vec![EndpointUrl::Unix(path.clone())]));
    assert_eq!(soon(unary(&pool, b"x")).await.unwrap().message, "localhost");
    assert_eq!(endpoint(&pool).url, format!("unix:{}", path.display()));
    std::fs::remove_file(&path).unwrap();
}
