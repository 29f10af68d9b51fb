//! Two ways in which h2 ends a connection for what one stream does, and that neither hurts other calls.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::{
    backend::{Backend, Exchange, trailers},
    *,
};

/// A backend that floods `/flood` with small frames as the window allows, and echoes everything else.
async fn flooding(frames: usize, sent: Arc<AtomicUsize>) -> Backend {
    Backend::start(move |exchange| flood(exchange, frames, Arc::clone(&sent))).await
}

async fn flood(mut exchange: Exchange, frames: usize, sent: Arc<AtomicUsize>) {
    if exchange.request.uri().path() != "/flood" {
        return exchange.echo().await;
    }
    let mut stream = exchange.open();
    for _ in 0..frames {
        stream.reserve_capacity(20);
        while stream.capacity() < 20 {
            match std::future::poll_fn(|cx| stream.poll_capacity(cx)).await {
                Some(Ok(_)) => {}
                _ => return,
            }
        }
        stream.send_data(envelope(&[7; 15]), false).unwrap();
        sent.fetch_add(1, Ordering::SeqCst);
    }
    stream.send_trailers(trailers(&[("grpc-status", "0")])).unwrap();
}

/// Each unread small DATA frame is charged against a budget of the connection (h2 0.4.16 and later); over it, every
/// call of the connection would fail.
#[tokio::test]
async fn an_unread_stream_of_small_frames_hurts_no_other_call() {
    const FRAMES: usize = 100_000;
    let sent = Arc::new(AtomicUsize::new(0));
    let backend = flooding(FRAMES, Arc::clone(&sent)).await;
    let pool = pool(&settings(vec![backend.url()]));
    let (mut requests, mut replies) = soon(pool.open(call("/flood"))).await.unwrap();
    requests.finish();
    assert!(matches!(event(&mut replies).await, ReplyEvent::Head(_)));
    // Calls go on beside it while it fills its window and long after.
    for _ in 0..2_000 {
        soon(unary(&pool, b"x")).await.unwrap();
    }
    // What is held for it is bounded by its own window, of 256 KiB.
    let held = sent.load(Ordering::SeqCst) * 20;
    assert!(held > 200 << 10 && held <= 256 << 10, "{held} bytes");
    // It goes on where it stood when it is read.
    let mut bytes = 0;
    loop {
        match event(&mut replies).await {
            ReplyEvent::Data(data) => bytes += data.len(),
            ReplyEvent::End(end) => break assert_eq!(end.unwrap(), HeaderMap::new()),
            ReplyEvent::Head(_) => panic!("a second head"),
        }
    }
    assert_eq!((bytes, backend.accepted()), (FRAMES * 20, 1));
}

/// h2 ends a connection after 101 empty DATA frames in its whole life.
#[tokio::test]
async fn a_connection_spent_on_empty_frames_is_replaced_at_once() {
    const CALLS: usize = 300;
    let backend = Backend::start(|mut exchange: Exchange| async move {
        let mut stream = exchange.open();
        stream.send_data(Bytes::new(), false).unwrap();
        stream.send_data(envelope(b"m"), false).unwrap();
        stream.send_trailers(trailers(&[("grpc-status", "0")])).unwrap();
    })
    .await;
    let pool = pool(&settings(vec![backend.url()]));
    let mut failed = 0;
    let start = Instant::now();
    for _ in 0..CALLS {
        match soon(unary(&pool, b"x")).await {
            Ok(reply) => assert_eq!(reply.message, "m"),
            Err(status) => {
                assert_eq!(status.code(), Code::Unavailable);
                failed += 1;
            }
        }
    }
    // Two connections are spent by 300 calls: only the call that was in flight on each fails, and none waits.
    assert_eq!((backend.accepted(), failed), (3, 2));
    assert_eq!(endpoint(&pool).consecutive_failures, 0);
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}
