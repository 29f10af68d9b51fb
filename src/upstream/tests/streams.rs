//! Streaming calls: both ways, their windows, their ends.

use h2::Reason as Reset;
use tokio::sync::mpsc;

use super::{
    backend::{Backend, Exchange, grpc, trailers},
    *,
};

async fn data(replies: &mut Download) -> Bytes {
    match event(replies).await {
        ReplyEvent::Data(data) => data,
        other => panic!("expected data, got {other:?}"),
    }
}

#[tokio::test]
async fn messages_go_both_ways_at_once() {
    let backend = Backend::start(|mut exchange: Exchange| async move {
        let mut stream = exchange.open();
        while let Some(Ok(data)) = exchange.request.body_mut().data().await {
            exchange.request.body_mut().flow_control().release_capacity(data.len()).unwrap();
            if !data.is_empty() {
                stream.send_data(data, false).unwrap();
            }
        }
        stream.send_trailers(trailers(&[("grpc-status", "0"), ("x-trailer", "t")])).unwrap();
    })
    .await;
    let pool = pool(&settings(vec![backend.url()]));
    let (mut requests, mut replies) = soon(pool.open(call("/a/B"))).await.unwrap();
    assert!(matches!(event(&mut replies).await, ReplyEvent::Head(head) if head == trailers(&[("x-head", "h")])));
    for turn in 0..10u8 {
        send(&mut requests, &[turn]).await;
        assert_eq!(data(&mut replies).await, envelope(&[turn]));
    }
    requests.finish();
    assert_eq!(end(&mut replies).await.unwrap(), trailers(&[("x-trailer", "t")]));
}

#[tokio::test]
async fn more_than_a_window_comes_through() {
    const MESSAGES: usize = 64;
    let backend = Backend::start(|mut exchange: Exchange| async move {
        let mut stream = exchange.open();
        for _ in 0..MESSAGES {
            stream.send_data(envelope(&[7; 16_000]), false).unwrap();
        }
        stream.send_trailers(trailers(&[("grpc-status", "0")])).unwrap();
    })
    .await;
    let pool = pool(&settings(vec![backend.url()]));
    let (mut requests, mut replies) = soon(pool.open(call("/a/B"))).await.unwrap();
    requests.finish();
    let mut bytes = 0;
    loop {
        match event(&mut replies).await {
            ReplyEvent::Data(data) => bytes += data.len(),
            ReplyEvent::Head(_) => {}
            ReplyEvent::End(end) => break assert_eq!(end.unwrap(), HeaderMap::new()),
        }
    }
    assert_eq!(bytes, MESSAGES * 16_005);
}

#[tokio::test]
async fn a_sender_waits_for_the_upstreams_window() {
    let (go, gone) = tokio::sync::oneshot::channel::<()>();
    let gone = Arc::new(std::sync::Mutex::new(Some(gone)));
    let backend = Backend::start(move |mut exchange| {
        let gone = gone.lock().unwrap().take().unwrap();
        async move {
            gone.await.unwrap();
            let len = exchange.body().await.len().to_string();
            exchange.reply(len.as_bytes());
        }
    })
    .await;
    let pool = pool(&settings(vec![backend.url()]));
    let (mut requests, mut replies) = soon(pool.open(call("/a/B"))).await.unwrap();
    send(&mut requests, &[1; 100_000]).await;
    // The default window is 65,535 bytes: the rest of what was sent waits, and nothing more is wanted.
    let ready = tokio::spawn(async move {
        std::future::poll_fn(|cx| requests.poll_ready(cx)).await.unwrap();
        requests
    });
    settle().await;
    assert!(!ready.is_finished());
    go.send(()).unwrap();
    let mut requests = soon(ready).await.unwrap();
    requests.send(envelope(b"more"));
    requests.finish();
    assert!(matches!(event(&mut replies).await, ReplyEvent::Head(_)));
    assert_eq!(data(&mut replies).await, envelope(b"100014"));
    end(&mut replies).await.unwrap();
}

#[tokio::test]
async fn an_error_after_messages_is_the_end() {
    let backend = Backend::start(|mut exchange: Exchange| async move {
        let mut stream = exchange.open();
        stream.send_data(envelope(b"one"), false).unwrap();
        stream.send_trailers(trailers(&[("grpc-status", "10"), ("grpc-message", "no more")])).unwrap();
    })
    .await;
    let pool = pool(&settings(vec![backend.url()]));
    let (mut requests, mut replies) = soon(pool.open(call("/a/B"))).await.unwrap();
    requests.finish();
    assert!(matches!(event(&mut replies).await, ReplyEvent::Head(_)));
    assert_eq!(data(&mut replies).await, envelope(b"one"));
    let status = end(&mut replies).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Aborted, "no more"));
}

#[tokio::test]
async fn an_end_before_the_requests_end_tells_the_sender_to_stop() {
    let backend = Backend::start(|mut exchange: Exchange| async move {
        exchange.head(grpc(&[("grpc-status", "7")]), true);
    })
    .await;
    let pool = pool(&settings(vec![backend.url()]));
    let (mut requests, mut replies) = soon(pool.open(call("/a/B"))).await.unwrap();
    assert_eq!(end(&mut replies).await.unwrap_err().code(), Code::PermissionDenied);
    assert_eq!(soon(std::future::poll_fn(|cx| requests.poll_ready(cx))).await, Err(Closed));
    requests.send(envelope(b"late"));
    requests.finish();
}

#[tokio::test]
async fn a_reset_by_the_upstream_ends_both_halves() {
    let backend = Backend::start(|mut exchange: Exchange| async move {
        drop(exchange.open());
        exchange.respond.send_reset(Reset::ENHANCE_YOUR_CALM);
    })
    .await;
    let pool = pool(&settings(vec![backend.url()]));
    let (mut requests, mut replies) = soon(pool.open(call("/a/B"))).await.unwrap();
    send(&mut requests, &[1; 60_000]).await;
    assert_eq!(end(&mut replies).await.unwrap_err().code(), Code::ResourceExhausted);
    assert_eq!(soon(std::future::poll_fn(|cx| requests.poll_ready(cx))).await, Err(Closed));
}

/// What a backend saw of a stream that the client reset.
async fn watched() -> (Backend, mpsc::UnboundedReceiver<Reset>) {
    let (seen, resets) = mpsc::unbounded_channel();
    let backend = Backend::start(move |mut exchange| {
        let seen = seen.clone();
        async move {
            let mut stream = exchange.open();
            seen.send(std::future::poll_fn(|cx| stream.poll_reset(cx)).await.unwrap()).unwrap();
        }
    })
    .await;
    (backend, resets)
}

#[tokio::test]
async fn dropping_either_half_before_its_end_cancels_the_call() {
    type Let = fn(Upload, Download) -> (Option<Upload>, Option<Download>);
    let table: [(&str, Let); 4] = [
        ("both", |_, _| (None, None)),
        ("requests", |_, replies| (None, Some(replies))),
        ("replies", |requests, _| (Some(requests), None)),
        ("replies after half-close", |mut requests, _| {
            requests.finish();
            (Some(requests), None)
        }),
    ];
    let (backend, mut resets) = watched().await;
    let pool = pool(&settings(vec![backend.url()]));
    for (name, let_go) in table {
        let (requests, mut replies) = soon(pool.open(call("/a/B"))).await.unwrap();
        assert!(matches!(event(&mut replies).await, ReplyEvent::Head(_)));
        let start = Instant::now();
        let _kept = let_go(requests, replies);
        assert_eq!(soon(resets.recv()).await, Some(Reset::CANCEL), "{name}");
        assert!(start.elapsed() < Duration::from_millis(100), "{name}: {:?}", start.elapsed());
    }
    assert_eq!(backend.accepted(), 1);
}

#[tokio::test]
async fn the_deadline_ends_a_stream_and_resets_it_while_its_halves_are_held() {
    let (backend, mut resets) = watched().await;
    let pool = pool(&settings(vec![backend.url()]));
    let (mut requests, mut replies) = soon(pool.open(within(Duration::from_millis(50)))).await.unwrap();
    requests.finish();
    let status = end(&mut replies).await.unwrap_err();
    assert_eq!((status.code(), status.origin()), (Code::DeadlineExceeded, Origin::Gateway));
    assert_eq!(soon(resets.recv()).await, Some(Reset::CANCEL));
    drop((requests, replies));
}

#[tokio::test]
async fn the_deadline_holds_against_a_flood() {
    let backend = Backend::start(|mut exchange: Exchange| async move {
        let mut stream = exchange.open();
        loop {
            stream.reserve_capacity(16_384);
            match std::future::poll_fn(|cx| stream.poll_capacity(cx)).await {
                Some(Ok(room)) => stream.send_data(vec![0; room].into(), false).unwrap(),
                _ => return,
            }
        }
    })
    .await;
    let pool = pool(&settings(vec![backend.url()]));
    let (_requests, mut replies) = soon(pool.open(within(Duration::from_millis(100)))).await.unwrap();
    assert_eq!(end(&mut replies).await.unwrap_err().code(), Code::DeadlineExceeded);
}
