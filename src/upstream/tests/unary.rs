//! Unary calls: what is sent, and what is made of each kind of answer.

use h2::Reason as Reset;
use http::{Response, StatusCode};
use tokio::sync::mpsc;

use super::{
    backend::{Backend, Exchange, grpc, trailers},
    *,
};

#[tokio::test]
async fn a_call_is_a_grpc_request_and_its_answer_comes_whole() {
    let (seen, mut requests) = mpsc::unbounded_channel();
    let backend = Backend::start(move |mut exchange| {
        let seen = seen.clone();
        async move {
            let body = exchange.body().await;
            exchange.reply(b"pong");
            seen.send((exchange.request.into_parts().0, body)).unwrap();
        }
    })
    .await;
    let pool = pool(&settings(vec![backend.url()]));
    let mut head = within(Duration::from_secs(10));
    head.metadata.insert("x-meta", HeaderValue::from_static("m"));
    head.content_type = HeaderValue::from_static("application/grpc+proto");
    let reply = soon(pool.unary(head, envelope(b"ping"), REPLY_MAX)).await.unwrap();
    assert_eq!(reply.message, "pong");
    assert_eq!(reply.head, trailers(&[("x-head", "h")]));
    assert_eq!(reply.trailers, trailers(&[("x-trailer", "t")]));

    let (parts, body) = requests.recv().await.unwrap();
    assert_eq!(body, envelope(b"ping"));
    assert_eq!(parts.method, "POST");
    assert_eq!(parts.uri.to_string(), format!("http://{}/pkg.Svc/Method", backend.address));
    let timeout = wire::timeout::parse(parts.headers["grpc-timeout"].as_bytes()).unwrap();
    assert!(timeout <= Duration::from_secs(10) && timeout > Duration::from_secs(5), "{timeout:?}");
    let mut rest = parts.headers;
    rest.remove("grpc-timeout");
    let expected = [
        ("te", "trailers"),
        ("content-type", "application/grpc+proto"),
        ("user-agent", concat!("tidegate/", env!("CARGO_PKG_VERSION"))),
        ("x-meta", "m"),
    ];
    assert_eq!(rest, trailers(&expected));
}

#[tokio::test]
async fn calls_share_one_connection() {
    let backend = Backend::start(Exchange::echo).await;
    let pool = pool(&settings(vec![backend.url()]));
    for turn in 0..20u8 {
        assert_eq!(soon(unary(&pool, &[turn])).await.unwrap().message, vec![turn]);
    }
    let calls: Vec<_> = (0..50u8).map(|turn| (turn, pool.clone())).collect();
    let many = calls.iter().map(|(turn, pool)| async move {
        assert_eq!(unary(pool, &[*turn; 10_000]).await.unwrap().message, vec![*turn; 10_000]);
    });
    soon(futures_util::future::join_all(many)).await;
    assert_eq!((backend.accepted(), endpoint(&pool).connected), (1, 1));
}

#[tokio::test]
async fn a_reply_larger_than_the_window_comes_whole() {
    let backend = Backend::start(Exchange::echo).await;
    let pool = pool(&settings(vec![backend.url()]));
    let message: Vec<u8> = (0..900_000u32).map(|at| at as u8).collect();
    assert_eq!(soon(unary(&pool, &message)).await.unwrap().message, message);
}

/// One answer and what becomes of it.
async fn fails(answer: impl Fn(&mut Exchange) + Clone + Send + Sync + 'static) -> Status {
    let backend = Backend::start(move |mut exchange| {
        let answer = answer.clone();
        async move {
            exchange.body().await;
            answer(&mut exchange);
        }
    })
    .await;
    let pool = pool(&settings(vec![backend.url()]));
    soon(unary(&pool, b"x")).await.expect_err("must fail")
}

#[tokio::test]
async fn an_upstreams_error_passes_with_its_text_details_and_trailers() {
    let details = wire::metadata::encode_binary(b"\x08\x05");
    let status = fails(move |exchange| {
        let mut end = trailers(&[("grpc-status", "5"), ("grpc-message", "no %F0%9F%90%99 here"), ("x-t", "1")]);
        end.insert("grpc-status-details-bin", details.clone());
        exchange.open().send_trailers(end).unwrap();
    })
    .await;
    assert_eq!((status.code(), status.origin(), status.message()), (Code::NotFound, Origin::Upstream, "no 🐙 here"));
    assert_eq!(status.reason(), None);
    assert_eq!(status.details_bin().unwrap(), &b"\x08\x05"[..]);
    assert_eq!(status.trailers(), &trailers(&[("x-t", "1")]));
}

#[tokio::test]
async fn an_error_after_the_head_keeps_the_initial_metadata() {
    let status = fails(|exchange| {
        let mut stream = exchange.head(grpc(&[("x-h", "1")]), false);
        stream.send_trailers(trailers(&[("grpc-status", "5"), ("x-t", "2")])).unwrap();
    })
    .await;
    assert_eq!((status.lead(), status.trailers()), (&trailers(&[("x-h", "1")]), &trailers(&[("x-t", "2")])));
}

#[tokio::test]
async fn an_error_in_the_head_alone_is_the_same() {
    let status = fails(|exchange| {
        let head = grpc(&[("grpc-status", "7"), ("grpc-message", "no"), ("x-t", "1")]);
        exchange.head(head, true);
    })
    .await;
    assert_eq!((status.code(), status.message()), (Code::PermissionDenied, "no"));
    assert_eq!(status.trailers(), &trailers(&[("x-t", "1")]));
}

#[tokio::test]
async fn an_error_in_the_head_counts_even_if_the_stream_goes_on() {
    let status = fails(|exchange| {
        let mut stream = exchange.head(grpc(&[("grpc-status", "7")]), false);
        stream.send_data(Bytes::new(), true).unwrap();
    })
    .await;
    assert_eq!((status.code(), status.reason()), (Code::PermissionDenied, None));
}

#[tokio::test]
async fn answers_that_are_not_grpc_have_the_codes_of_grpcs_http_table() {
    for (http, code, reason) in [
        (200, Code::Unknown, Reason::UpstreamProtocol),
        (400, Code::Internal, Reason::UpstreamProtocol),
        (401, Code::Unauthenticated, Reason::UpstreamProtocol),
        (404, Code::Unimplemented, Reason::UpstreamProtocol),
        (418, Code::Unknown, Reason::UpstreamProtocol),
        (502, Code::Unavailable, Reason::UpstreamUnavailable),
        (503, Code::Unavailable, Reason::UpstreamUnavailable),
    ] {
        let status = fails(move |exchange| {
            let mut response = Response::new(());
            *response.status_mut() = StatusCode::from_u16(http).unwrap();
            response.headers_mut().insert("content-type", HeaderValue::from_static("text/html"));
            exchange.head(response, false).send_data(Bytes::from_static(b"<html>"), true).unwrap();
        })
        .await;
        assert_eq!((status.code(), status.reason(), status.origin()), (code, Some(reason), Origin::Upstream), "{http}");
    }
}

#[tokio::test]
async fn an_end_without_a_status_is_the_upstreams_fault() {
    type Answer = fn(&mut Exchange);
    let table: [(&str, Answer, Code); 4] = [
        ("head only", |exchange| drop(exchange.head(grpc(&[]), true)), Code::Internal),
        ("no trailers", |exchange| exchange.open().send_data(envelope(b"m"), true).unwrap(), Code::Unknown),
        ("other trailers", |exchange| exchange.open().send_trailers(trailers(&[("x", "y")])).unwrap(), Code::Unknown),
        ("no number", |e| e.open().send_trailers(trailers(&[("grpc-status", "fine")])).unwrap(), Code::Unknown),
    ];
    for (name, answer, code) in table {
        let status = fails(answer).await;
        assert_eq!((status.code(), status.reason()), (code, Some(Reason::UpstreamProtocol)), "{name}");
    }
}

#[tokio::test]
async fn a_reply_must_be_one_message() {
    let table: [(&str, &[&[u8]], Code, Reason); 5] = [
        ("none", &[], Code::Unimplemented, Reason::UpstreamProtocol),
        ("two", &[b"\0\0\0\0\x01a", b"\0\0\0\0\x01b"], Code::Unimplemented, Reason::UpstreamProtocol),
        ("cut", &[b"\0\0\0\0\x05a"], Code::Internal, Reason::UpstreamProtocol),
        ("compressed", &[b"\x01\0\0\0\x01a"], Code::Internal, Reason::UpstreamProtocol),
        ("too large", &[b"\0\x00\x10\x00\x01"], Code::ResourceExhausted, Reason::UpstreamMessageTooLarge),
    ];
    for (name, frames, code, reason) in table {
        let status = fails(move |exchange| {
            let mut stream = exchange.open();
            for frame in frames {
                stream.send_data(Bytes::from_static(frame), false).unwrap();
            }
            stream.send_trailers(trailers(&[("grpc-status", "0")])).unwrap();
        })
        .await;
        assert_eq!((status.code(), status.reason()), (code, Some(reason)), "{name}: {status}");
    }
}

#[tokio::test]
async fn a_message_cut_anywhere_is_put_together() {
    let backend = Backend::start(|mut exchange: Exchange| async move {
        let mut stream = exchange.open();
        for byte in envelope(b"abcdef").chunks(1) {
            stream.send_data(Bytes::copy_from_slice(byte), false).unwrap();
        }
        stream.send_trailers(trailers(&[("grpc-status", "0")])).unwrap();
    })
    .await;
    assert_eq!(soon(unary(&pool(&settings(vec![backend.url()])), b"")).await.unwrap().message, "abcdef");
}

#[tokio::test]
async fn a_reset_has_the_code_of_grpcs_table() {
    for (reason, code) in [
        (Reset::CANCEL, Code::Cancelled),
        (Reset::ENHANCE_YOUR_CALM, Code::ResourceExhausted),
        (Reset::INTERNAL_ERROR, Code::Internal),
    ] {
        let status = fails(move |exchange| exchange.respond.send_reset(reason)).await;
        assert_eq!((status.code(), status.origin()), (code, Origin::Upstream), "{reason:?}");
    }
}

#[tokio::test]
async fn an_answer_before_the_end_of_the_request_is_an_answer() {
    let backend = Backend::start(|mut exchange: Exchange| async move {
        // The request is larger than the window and is never read; h2 resets the stream with NO_ERROR after the reply.
        exchange.reply(b"enough");
    })
    .await;
    let pool = pool(&settings(vec![backend.url()]));
    let reply = soon(pool.unary(call("/a/B"), envelope(&vec![7; 300_000]), REPLY_MAX)).await;
    assert_eq!(reply.unwrap().message, "enough");
}

#[tokio::test]
async fn informational_responses_are_passed_over() {
    let backend = Backend::start(|mut exchange: Exchange| async move {
        let mut early = Response::new(());
        *early.status_mut() = StatusCode::EARLY_HINTS;
        exchange.respond.send_informational(early).unwrap();
        exchange.reply(b"pong");
    })
    .await;
    assert_eq!(soon(unary(&pool(&settings(vec![backend.url()])), b"")).await.unwrap().message, "pong");
}

/// A backend that never answers, and tells when its streams are reset.
async fn silent() -> (Backend, mpsc::UnboundedReceiver<Reset>) {
    let (seen, resets) = mpsc::unbounded_channel();
    let backend = Backend::start(move |mut exchange| {
        let seen = seen.clone();
        async move { seen.send(exchange.reset().await).unwrap() }
    })
    .await;
    (backend, resets)
}

#[tokio::test]
async fn the_deadline_ends_a_call_and_resets_its_stream() {
    let (backend, mut resets) = silent().await;
    let pool = pool(&settings(vec![backend.url()]));
    let start = Instant::now();
    let head = within(Duration::from_millis(50));
    let status = soon(pool.unary(head, envelope(b""), REPLY_MAX)).await.unwrap_err();
    assert_eq!((status.code(), status.origin()), (Code::DeadlineExceeded, Origin::Gateway));
    assert_eq!(status.reason(), Some(Reason::DeadlineExceeded));
    assert!(start.elapsed() >= Duration::from_millis(50));
    assert_eq!(soon(resets.recv()).await, Some(Reset::CANCEL));
}

#[tokio::test]
async fn a_deadline_that_has_passed_sends_nothing() {
    let (backend, _resets) = silent().await;
    let pool = pool(&settings(vec![backend.url()]));
    let status = pool.unary(within(Duration::ZERO), envelope(b""), REPLY_MAX).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!((backend.accepted(), backend.streams()), (0, 0));
}

#[tokio::test]
async fn a_dropped_call_resets_its_stream_at_once() {
    let (backend, mut resets) = silent().await;
    let pool = pool(&settings(vec![backend.url()]));
    let task = tokio::spawn({
        let pool = pool.clone();
        async move { unary(&pool, b"x").await }
    });
    soon(async {
        while backend.streams() == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let start = Instant::now();
    task.abort();
    assert_eq!(soon(resets.recv()).await, Some(Reset::CANCEL));
    assert!(start.elapsed() < Duration::from_millis(100), "{:?}", start.elapsed());
}

#[tokio::test]
async fn metadata_that_http2_forbids_fails_that_call_only() {
    let backend = Backend::start(Exchange::echo).await;
    let pool = pool(&settings(vec![backend.url()]));
    let mut head = call("/a/B");
    head.metadata.insert("connection", HeaderValue::from_static("close"));
    let status = soon(pool.unary(head, envelope(b""), REPLY_MAX)).await.unwrap_err();
    assert_eq!((status.code(), status.origin()), (Code::Internal, Origin::Gateway));
    soon(unary(&pool, b"x")).await.unwrap();
    assert_eq!(backend.accepted(), 1);
}
