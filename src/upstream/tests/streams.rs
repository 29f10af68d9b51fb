//! Streaming calls: both ways, their windows, their ends.

use std::task::{Context, Poll, Waker};

use h2::Reason as Reset;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::mpsc,
};

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

/// The types and flags of the frames that a call's request is sent in (RFC 9113 §4.1).
async fn request_frames(listener: TcpListener) -> Vec<(u8, u8)> {
    const PREFACE_BYTES: usize = 24;
    const END_STREAM: u8 = 1;
    let (mut peer, _) = listener.accept().await.unwrap();
    // An empty SETTINGS frame, and the acknowledgement of the client's (RFC 9113 §6.5).
    peer.write_all(b"\0\0\0\x04\0\0\0\0\0\0\0\0\x04\x01\0\0\0\0").await.unwrap();
    peer.read_exact(&mut [0; PREFACE_BYTES]).await.unwrap();
    let mut frames = Vec::new();
    while frames.last().is_none_or(|(_, flags)| flags & END_STREAM == 0) {
        let mut head = [0; 9];
        peer.read_exact(&mut head).await.unwrap();
        peer.read_exact(&mut vec![0; usize::from(u16::from_be_bytes([head[1], head[2]]))]).await.unwrap();
        let is_of_stream = head[5..] != [0; 4];
        frames.extend(is_of_stream.then_some((head[3], head[4])));
    }
    frames
}

#[tokio::test]
async fn a_request_that_is_whole_is_a_head_and_one_frame() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let url = EndpointUrl::Http { host: address.ip().to_string(), port: address.port() };
    let pool = pool(&settings(vec![url]));
    let call = async {
        let (mut requests, _replies) = pool.open(call("/a/B")).await.unwrap();
        // At once: it goes with the head.
        let ready = requests.poll_ready(&mut Context::from_waker(Waker::noop()));
        assert_eq!(ready, Poll::Ready(Ok(())));
        requests.send_last(envelope(b"one"));
        std::future::pending::<()>().await;
    };
    let frames = tokio::select! {
        frames = soon(request_frames(listener)) => frames,
        () = call => unreachable!(),
    };
    const HEADERS_END_HEADERS: (u8, u8) = (1, 4);
    const DATA_END_STREAM: (u8, u8) = (0, 1);
    assert_eq!(frames, [HEADERS_END_HEADERS, DATA_END_STREAM]);
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
