//! The drain: what is in flight finishes, nothing new begins, and the deadline is the end of it.

use super::*;

#[tokio::test]
async fn a_call_in_flight_finishes_and_its_http1_connection_is_closed() {
    let server = Running::start(&settings(None));
    let mut io = server.connect().await;
    io.write_all(b"GET /hold HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    server.call_arrived().await;
    server.drain.begin();
    refused(server.address()).await;
    server.calls.release.notify_waiters();
    let answer = read_all(io).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    server.end().await.unwrap();
}

#[tokio::test]
async fn a_call_in_flight_finishes_and_its_http2_connection_takes_no_other() {
    let server = Running::start(&settings(None));
    let mut client = Http2::new(server.connect().await).await;
    let held = client.get("/hold");
    server.call_arrived().await;
    server.drain.begin();
    // GOAWAY has come when the client may open no more.
    let refused = loop {
        match client.get("/").await {
            Ok(_) => tokio::task::yield_now().await,
            Err(error) => break error,
        }
    };
    assert!(refused.is_go_away() && refused.is_remote(), "{refused}");
    assert_eq!(refused.reason(), Some(h2::Reason::NO_ERROR));
    server.calls.release.notify_waiters();
    assert_eq!(held.await.unwrap().0, 200);
    client.connection.await.unwrap().unwrap();
    server.end().await.unwrap();
}

#[tokio::test]
async fn connections_without_a_call_end_at_once() {
    for tls in [None, Some(ServerTls::Development)] {
        let encrypted = tls.is_some();
        let server = Running::start(&settings(tls));
        let mut kept_alive = None;
        let mut http2 = None;
        if encrypted {
            // In the middle of the handshake.
            kept_alive = Some(server.connect().await);
        } else {
            let mut io = server.connect().await;
            io.write_all(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
            assert!(read_head(&mut io).await.starts_with("HTTP/1.1 200 OK\r\n"));
            kept_alive = Some(io).or(kept_alive);
            let mut client = Http2::new(server.connect().await).await;
            client.get("/").await.unwrap();
            http2 = Some(client);
        }
        server.drain.begin();
        if let Some(client) = http2 {
            client.connection.await.unwrap().unwrap();
        }
        read_all(kept_alive.unwrap()).await;
        // Well before the drain's deadline, or this test would take half a minute.
        server.end().await.unwrap();
    }
}

#[tokio::test]
async fn what_is_open_at_the_deadline_is_cut_off() {
    for workers in [1, 2] {
        let mut settings = settings(None);
        settings.workers = workers;
        settings.limits.drain_timeout = Duration::from_millis(30);
        let server = Running::start(&settings);
        let mut client = Http2::new(server.connect().await).await;
        let held = client.get("/hold");
        server.call_arrived().await;
        server.drain.begin();
        assert!(held.await.is_err());
        assert!(server.thread.join().unwrap().is_ok());
        assert_eq!(server.connections.open(), 0);
    }
}

#[tokio::test]
async fn an_upgraded_connection_keeps_its_place_and_the_drain_waits_for_it() {
    let server = Running::start(&settings(None));
    let mut io = server.connect().await;
    io.write_all(b"GET /upgrade HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: test\r\n\r\n").await.unwrap();
    assert!(read_head(&mut io).await.starts_with("HTTP/1.1 101 "));
    assert_eq!(server.connections.open(), 1);
    server.drain.begin();
    refused(server.address()).await;
    assert!(!server.thread.is_finished());
    assert_eq!(server.connections.open(), 1);
    server.calls.release.notify_one();
    assert_eq!(read_all(io).await, "");
    server.end().await.unwrap();
}

#[tokio::test]
async fn a_panic_in_one_call_ends_no_other() {
    let server = Running::start(&settings(None));
    let mut client = Http2::new(server.connect().await).await;
    assert!(client.get("/panic").await.is_err());
    assert_eq!(client.get("/").await.unwrap().0, 200, "the same connection goes on");
    assert_eq!(http1(server.connect().await, "/panic").await, "");
    assert!(http1(server.connect().await, "/").await.starts_with("HTTP/1.1 200 OK"));
    drop(client);
    server.end().await.unwrap();
}

#[test]
fn a_worker_that_cannot_be_made_ends_the_server() {
    let mut settings = settings(None);
    settings.workers = 2;
    let server = Server::bind(&settings).unwrap();
    let drain = Drain::new();
    let made = server.run(drain.clone(), |worker| {
        assert_eq!(worker, 0, "worker 1 has nothing to work with");
        |_: &Arc<Peer>, _| async { Response::new(Full::<Bytes>::default()) }
    });
    assert!(drain.is_draining());
    assert_eq!(made.unwrap_err().to_string(), "worker 1 ended in a panic");
}

/// One test: a signal goes to the whole process, and after a drain was asked for it would be the second.
#[tokio::test]
async fn a_termination_signal_begins_the_drain_and_so_does_who_asks_after_it_was_announced_for_a_while() {
    let drain = Drain::new();
    on_signals(drain.clone(), Duration::from_millis(1)).unwrap();
    assert!(!drain.is_announced());
    let sent = std::process::Command::new("kill").args(["-TERM", &std::process::id().to_string()]).status().unwrap();
    assert!(sent.success());
    drain.begun().await;
    assert!(drain.is_announced());

    let drain = Drain::new();
    let announced = drain.announced_owned();
    on_signals(drain.clone(), Duration::from_secs(3600)).unwrap();
    drain.ask();
    announced.await;
    assert!(!drain.is_draining(), "too early");
}

/// Ends when connections are refused: the listener is closed.
async fn refused(address: SocketAddr) {
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
}
