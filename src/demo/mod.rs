//! The embedded demo backend (ordinary tonic services) and its page; knows nothing of the gateway's inside.

mod assets;
mod chat;
mod fault;
mod liker;
mod picture;
mod posts;
pub mod proto;
mod rooms;
mod text;
#[cfg(test)]
mod tests;

use std::{future::Future, time::Duration};

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::transport::{Server, server::TcpIncoming};

pub use assets::assets;

use proto::demo::{chat::v1::chat_server::ChatServer, liker::v1::liker_server::LikerServer};

/// Largest request message in bytes: the demo's are texts of a few hundred characters.
const MESSAGE_BYTES_MAX: usize = 64 << 10;
/// Most calls at a time on one connection; a gateway with more opens another.
const STREAMS_MAX: u32 = 1_000;
/// How long calls in flight may take to hear that the service goes down.
const GRACE: Duration = Duration::from_secs(5);

/// Serves the demo's gRPC services with fresh state, in cleartext HTTP/2, until `shutdown` ends; watchers and chats
/// then end with UNAVAILABLE. Dropped, it does the same without waiting.
///
/// # Errors
/// When the listener fails.
pub async fn serve(listener: TcpListener, shutdown: impl Future<Output = ()>) -> Result<(), tonic::transport::Error> {
    let ending = CancellationToken::new();
    let _ended_when_dropped = ending.clone().drop_guard();
    let liker = LikerServer::new(liker::Liker::new(ending.clone())).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let chat = ChatServer::new(chat::Chat::new(ending.clone())).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let server = Server::builder()
        .max_concurrent_streams(Some(STREAMS_MAX))
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .add_service(liker)
        .add_service(chat)
        .serve_with_incoming_shutdown(TcpIncoming::from(listener).with_nodelay(Some(true)), async {
            shutdown.await;
            ending.cancel();
        });
    let overdue = async {
        ending.cancelled().await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        served = server => served,
        () = overdue => Ok(()),
    }
}

/// The demo's schema: a serialized `google.protobuf.FileDescriptorSet` with all that it imports.
pub fn descriptor_set() -> &'static [u8] {
    include_bytes!(concat!(env!("OUT_DIR"), "/demo.binpb"))
}
