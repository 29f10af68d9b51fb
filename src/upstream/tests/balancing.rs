//! Which endpoint gets a call, and what happens to one that cannot be connected.

use h2::server::Builder;
use tokio::net::TcpListener;

use super::{
    backend::{Backend, Exchange, grpc},
    *,
};

/// A backend that answers with its name.
async fn named(name: &'static str) -> Backend {
    Backend::start(move |mut exchange: Exchange| async move {
        exchange.body().await;
        exchange.reply(name.as_bytes());
    })
    .await
}

/// The same, but calls of `/hold` go on for as long as the client wants.
async fn holding(name: &'static str) -> Backend {
    Backend::start(move |mut exchange: Exchange| async move {
        if exchange.request.uri().path() == "/hold" {
            let mut stream = exchange.head(grpc(&[("x-name", name)]), false);
            let _ = std::future::poll_fn(|cx| stream.poll_reset(cx)).await;
        } else {
            exchange.body().await;
            exchange.reply(name.as_bytes());
        }
    })
    .await
}

async fn answers(pool: &Pool, calls: usize) -> String {
    let mut names = String::new();
    for _ in 0..calls {
        names += std::str::from_utf8(&soon(unary(pool, b"x")).await.unwrap().message).unwrap();
    }
    names
}

async fn all_connected(pool: &Pool) {
    soon(async {
        while pool.cluster().endpoints().any(|endpoint| endpoint.connected == 0) {
            // Connecting is lazy: a call wakes those whose turn it is.
            unary(pool, b"x").await.unwrap();
        }
    })
    .await;
}

#[tokio::test]
async fn round_robin_takes_turns() {
    let (a, b, c) = (named("a").await, named("b").await, named("c").await);
    let pool = pool(&settings(vec![a.url(), b.url(), c.url()]));
    all_connected(&pool).await;
    let order = answers(&pool, 9).await;
    assert!("abcabcabcab".contains(&order), "{order}");
}

#[tokio::test]
async fn least_request_avoids_a_busy_endpoint() {
    let backends = [holding("a").await, holding("b").await];
    let urls = backends.iter().map(Backend::url).collect();
    let pool = pool(&settings(urls).with(|settings| settings.balance = Balance::LeastRequest));
    all_connected(&pool).await;
    let (requests, mut replies) = soon(pool.open(call("/hold"))).await.unwrap();
    let ReplyEvent::Head(head) = event(&mut replies).await else { panic!("no head") };
    let others = if head["x-name"] == "a" { "bbbbbbbbbb" } else { "aaaaaaaaaa" };
    assert_eq!(answers(&pool, 10).await, others);
    drop((requests, replies));
    let order = answers(&pool, 10).await;
    assert!("abababababa".contains(&order), "{order}");
}

#[tokio::test]
async fn a_call_never_waits_for_one_endpoint_while_another_is_connected() {
    // Accepts TCP and then says nothing.
    let stuck = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let stuck = EndpointUrl::Http { host: "127.0.0.1".to_owned(), port: stuck.local_addr().unwrap().port() };
    let good = named("g").await;
    for balance in [Balance::RoundRobin, Balance::LeastRequest] {
        let settings = settings(vec![stuck.clone(), good.url()]).with(|settings| settings.balance = balance);
        let start = Instant::now();
        assert_eq!(answers(&pool(&settings), 10).await, "gggggggggg");
        assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    }
}

#[tokio::test]
async fn an_endpoint_that_refuses_is_passed_over() {
    let good = named("g").await;
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let gone = EndpointUrl::Http { host: "127.0.0.1".to_owned(), port: gone };
    let pool = pool(&settings(vec![gone, good.url()]));
    assert_eq!(answers(&pool, 10).await, "gggggggggg");
    let states: Vec<_> = pool.cluster().endpoints().map(|e| (e.connected, e.consecutive_failures)).collect();
    assert_eq!(states, [(0, 1), (1, 0)]);
}

/// A socket file that is not there fails at once and without a timer, which suits a paused clock.
#[tokio::test(start_paused = true)]
async fn an_unreachable_upstream_fails_fast_and_is_tried_again_ever_more_rarely() {
    let nowhere = EndpointUrl::Unix("/nonexistent/tidegate.sock".into());
    let pool = pool(&settings(vec![nowhere]));
    let begin = Instant::now();
    let mut attempts = Vec::new();
    while begin.elapsed() < Duration::from_secs(60) {
        let failures = endpoint(&pool).consecutive_failures;
        let start = Instant::now();
        let status = unary(&pool, b"x").await.unwrap_err();
        assert_eq!((status.code(), status.reason()), (Code::Unavailable, Some(Reason::UpstreamUnavailable)));
        assert_eq!((status.origin(), start.elapsed()), (Origin::Upstream, Duration::ZERO));
        assert!(status.cause().unwrap().to_string().contains("/nonexistent/tidegate.sock"));
        assert!(status.retry_after().unwrap() <= Duration::from_secs(10));
        if endpoint(&pool).consecutive_failures > failures {
            attempts.push(begin.elapsed());
        }
        tokio::time::advance(Duration::from_millis(10)).await;
    }
    let waits: Vec<_> = attempts.windows(2).map(|pair| (pair[1] - pair[0]).as_millis()).collect();
    assert!(waits.len() > 9 && waits.len() < 20, "{waits:?}");
    for (wait, longest) in waits.iter().zip([100, 200, 400, 800, 1600, 3200, 6400, 10_000, 10_000]) {
        assert!(*wait >= longest / 2 && *wait <= longest + 10, "{waits:?}");
    }
}

#[tokio::test]
async fn an_endpoint_that_comes_back_is_used_and_its_failures_are_forgotten() {
    let path = std::env::temp_dir().join(format!("tidegate-back-{}.sock", std::process::id()));
    let _ = std::fs::remove_file(&path);
    let pool = pool(&settings(vec![EndpointUrl::Unix(path.clone())]));
    assert_eq!(unary(&pool, b"x").await.unwrap_err().code(), Code::Unavailable);
    assert_eq!(endpoint(&pool).consecutive_failures, 1);
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    tokio::spawn(async move {
        let (unix, _) = listener.accept().await.unwrap();
        Backend::unbound().serve(unix, Builder::new(), Exchange::echo);
    });
    soon(async {
        while let Err(status) = unary(&pool, b"x").await {
            tokio::time::sleep(status.retry_after().unwrap()).await;
        }
    })
    .await;
    assert_eq!((endpoint(&pool).connected, endpoint(&pool).consecutive_failures), (1, 0));
    std::fs::remove_file(&path).unwrap();
}

#[test]
fn settings_that_can_never_work_are_refused() {
    let of = |url: EndpointUrl, tls: UpstreamTls| {
        Cluster::new(&settings(vec![url]).with(|settings| settings.tls = tls)).err().unwrap().to_string()
    };
    let https = EndpointUrl::Https { host: "localhost".to_owned(), port: 1 };
    let named = UpstreamTls { server_name: Some("a b".to_owned()), ..UpstreamTls::default() };
    let rooted = UpstreamTls { ca: Some("/nonexistent.pem".into()), ..UpstreamTls::default() };
    assert!(of(EndpointUrl::Http { host: "a b".to_owned(), port: 1 }, UpstreamTls::default()).contains("\"a b\""));
    assert!(of(https.clone(), named).contains("\"a b\""));
    assert!(of(https, rooted).contains("/nonexistent.pem"));
    assert!(Cluster::new(&settings(vec![])).is_err());
}

#[test]
fn endpoints_are_told_as_urls() {
    let cluster = Cluster::new(&settings(vec![
        EndpointUrl::Http { host: "::1".to_owned(), port: 1 },
        EndpointUrl::Http { host: "[::1]".to_owned(), port: 1 },
        EndpointUrl::Https { host: "a.b".to_owned(), port: 2 },
        EndpointUrl::Unix("/x".into()),
    ]))
    .unwrap();
    let urls: Vec<_> = cluster.endpoints().map(|endpoint| endpoint.url).collect();
    assert_eq!(urls, ["http://[::1]:1", "http://[::1]:1", "https://a.b:2", "unix:/x"]);
}
