//! Who serves which connection.

use super::*;

async fn worker_of(client: &mut Http2) -> String {
    client.get("/").await.unwrap().1.rsplit(' ').next().unwrap().to_owned()
}

#[tokio::test]
async fn a_new_connection_goes_to_the_least_loaded_worker() {
    let mut settings = settings(None);
    settings.workers = 2;
    let server = Running::start(&settings);
    let mut clients = Vec::new();
    for _ in 0..4 {
        clients.push(Http2::new(server.connect().await).await);
    }
    let mut workers = Vec::new();
    for client in &mut clients {
        workers.push(worker_of(client).await);
    }
    assert_eq!(workers, ["worker=0", "worker=1", "worker=0", "worker=1"]);
    assert_eq!(server.connections.open_per_worker(), [2, 2]);

    // Both connections of worker 0 end; the next two are its.
    let mut number = 0;
    clients.retain(|_| {
        number += 1;
        number % 2 == 0
    });
    while server.connections.open_per_worker() != [0, 2] {
        tokio::task::yield_now().await;
    }
    for _ in 0..2 {
        let mut client = Http2::new(server.connect().await).await;
        assert_eq!(worker_of(&mut client).await, "worker=0");
        clients.push(client);
    }
    drop(clients);
    server.end().await.unwrap();
}

#[tokio::test]
async fn every_listener_is_served_by_every_worker() {
    let mut settings = settings(None);
    settings.workers = 2;
    settings.listeners.push(settings.listeners[0].clone());
    let server = Running::start(&settings);
    let mut seen = Vec::new();
    let mut clients = Vec::new();
    for turn in 0..4 {
        let address = server.addresses[turn / 2];
        let mut client = Http2::new(TcpStream::connect(address).await.unwrap()).await;
        seen.push(worker_of(&mut client).await);
        clients.push(client);
    }
    assert_eq!(seen, ["worker=0", "worker=1", "worker=0", "worker=1"]);
    drop(clients);
    server.end().await.unwrap();
}
