//! Clients that are slow, silent or too large.

use futures_util::future::join_all;
use rustls::version::TLS13;

use super::*;

/// Short enough to wait for, long enough for a busy machine to send a request in; nothing below measures it.
const SOON: Duration = Duration::from_millis(200);

#[tokio::test]
async fn a_tls_handshake_that_does_not_end_is_cut_off() {
    let mut settings = settings(Some(ServerTls::Development));
    settings.limits.handshake_timeout = SOON;
    let server = Running::start(&settings);
    let mut silent = server.connect().await;
    assert_eq!(read_all(&mut silent).await, "");
    let mut begun = server.connect().await;
    begun.write_all(&[0x16, 0x03, 0x01, 0x02]).await.unwrap();
    assert_eq!(read_all(&mut begun).await, "");
    let connections = server.connections.clone();
    server.end().await.unwrap();
    assert_eq!((connections.failed(), connections.open()), (2, 0));
}

#[tokio::test]
async fn a_tls_port_ends_a_client_that_speaks_no_tls() {
    let server = Running::start(&settings(Some(ServerTls::Development)));
    let mut plain = server.connect().await;
    plain.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut bytes = Vec::new();
    let _ = plain.read_to_end(&mut bytes).await;
    // An alert (RFC 8446 §6), and no HTTP.
    assert!(bytes.first().is_none_or(|first| *first == 21), "{bytes:?}");
    let connections = server.connections.clone();
    server.end().await.unwrap();
    assert_eq!(connections.failed(), 1);
}

#[tokio::test]
async fn a_request_head_that_does_not_end_is_cut_off() {
    let mut settings = settings(None);
    settings.limits.header_timeout = SOON;
    let server = Running::start(&settings);
    let beginnings = [
        "",
        "GET / HT",
        "GET / HTTP/1.1\r\nhost: localhost\r\nx-slow: ",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n",
        "GET / HTTP/1.1\r\nhost: localhost\r\n\r\n",
    ];
    let running = &server;
    join_all(beginnings.map(|begin| async move {
        let mut slow = running.connect().await;
        slow.write_all(begin.as_bytes()).await.unwrap();
        let answer = read_all(&mut slow).await;
        // The last one is whole: it is answered, and its connection ends for want of a second.
        assert_eq!(answer.starts_with("HTTP/1.1 200 OK"), begin.ends_with("\r\n\r\n"), "{begin}: {answer}");
    }))
    .await;
    server.end().await.unwrap();
}

#[tokio::test]
async fn a_client_that_agreed_on_h2_must_begin_it() {
    let mut settings = settings(Some(ServerTls::Development));
    settings.limits.header_timeout = SOON;
    let server = Running::start(&settings);
    let silent = server.tls(&[b"h2"], &[&TLS13]).await;
    assert_eq!(read_all(silent).await, "");
    let mut other = server.tls(&[b"h2"], &[&TLS13]).await;
    other.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    assert_eq!(read_all(other).await, "");
    server.end().await.unwrap();
}

#[tokio::test]
async fn too_large_a_head_is_refused_with_431_in_both_protocols() {
    let mut settings = settings(None);
    settings.limits.header_bytes_max = 8 << 10;
    let server = Running::start(&settings);
    for (bytes, status) in [(7 << 10, "200"), (9 << 10, "431"), (100 << 10, "431")] {
        let large = "x".repeat(bytes);
        let mut io = server.connect().await;
        let request = format!("GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\nx-large: {large}\r\n\r\n");
        // The server may have closed before it has read the whole.
        let _ = io.write_all(request.as_bytes()).await;
        let head = read_head(&mut io).await;
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{bytes}: {head}");
    }
    let mut client = Http2::new(server.connect().await).await;
    for (bytes, status) in [(7 << 10, 200), (9 << 10, 431)] {
        let request = Request::get("http://localhost/").header("x-large", "x".repeat(bytes)).body(()).unwrap();
        assert_eq!(client.send(request).await.unwrap().0.as_u16(), status, "{bytes}");
    }
    drop(client);
    server.end().await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_parsed_is_refused_with_an_empty_body() {
    let server = Running::start(&settings(None));
    let long = format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "x".repeat(70_000));
    let many = format!("GET / HTTP/1.1\r\nhost: a\r\n{}\r\n", "x: y\r\n".repeat(101));
    for (request, status) in [
        ("GET / HTTP/1.1\r\nbad header\r\n\r\n", "400 Bad Request"),
        ("GET / HTTP/3.7\r\n\r\n", "400 Bad Request"),
        ("\x16\x03\x01\x02", "400 Bad Request"),
        ("GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n", "400 Bad Request"),
        ("GET / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked, gzip\r\n\r\n", "400 Bad Request"),
        (&long, "431 Request Header Fields Too Large"),
        (&many, "431 Request Header Fields Too Large"),
    ] {
        let mut io = server.connect().await;
        let _ = io.write_all(request.as_bytes()).await;
        let answer = read_all(&mut io).await;
        let shown = &request[..request.len().min(80)];
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{shown:?}: {answer}");
        assert!(answer.ends_with("\r\n\r\n"), "{shown:?}: {answer}");
    }
    server.end().await.unwrap();
}

#[tokio::test]
async fn beyond_the_limit_of_connections_a_new_one_is_closed() {
    let mut settings = settings(None);
    settings.workers = 2;
    settings.limits.connections_per_worker_max = 1;
    let server = Running::start(&settings);
    let mut kept = Vec::new();
    for _ in 0..2 {
        let mut client = Http2::new(server.connect().await).await;
        client.get("/").await.unwrap();
        kept.push(client);
    }
    assert_eq!(read_all(server.connect().await).await, "");
    assert_eq!((server.connections.refused(), server.connections.open()), (1, 2));
    assert!(kept[0].get("/").await.is_ok(), "those who are in stay in");
    drop(kept);
    server.end().await.unwrap();
}

#[tokio::test]
async fn a_connection_without_requests_is_ended_and_one_with_a_call_is_not() {
    let server = Running::start_with(&settings(None), |server| server.with_idle_timeout(SOON));
    let mut busy = Http2::new(server.connect().await).await;
    let held = busy.get("/hold");
    server.call_arrived().await;
    let idle = Http2::new(server.connect().await).await;
    // GOAWAY without an error: the connection ends well, though the client still holds it.
    idle.connection.await.unwrap().unwrap();
    server.calls.release.notify_waiters();
    assert_eq!(held.await.unwrap().0, 200);
    busy.connection.await.unwrap().unwrap();
    server.end().await.unwrap();
}

#[tokio::test]
async fn many_small_frames_that_nobody_reads_leave_the_rest_of_the_connection_alone() {
    let server = Running::start(&settings(None));
    let mut client = Http2::new(server.connect().await).await;
    let request = Request::post("http://localhost/hold").body(()).unwrap();
    let (_response, mut body) = client.requests.send_request(request, false).unwrap();
    server.call_arrived().await;
    // As many as the stream's window takes.
    for sent in 0..10_000 {
        body.send_data(Bytes::from_static(b"twenty bytes a frame"), false).unwrap();
        if sent % 1_000 == 0 {
            assert!(client.get("/").await.is_ok(), "after {sent} frames");
        }
    }
    assert!(client.get("/").await.is_ok());
    server.calls.release.notify_waiters();
    drop((client, body));
    server.end().await.unwrap();
}
