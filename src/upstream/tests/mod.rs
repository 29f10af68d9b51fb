//! Behaviour against real sockets: backends are scripted with h2's server, or are bare TCP.

mod backend;
mod balancing;
mod connections;
mod findings;
mod streams;
mod tls;
mod unary;

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use tokio::time::{Instant, timeout};

use super::*;
use crate::{
    call::{Closed, Replies, ReplyEvent, Requests},
    config::{Balance, EndpointUrl, SchemaSource, Upstream, UpstreamTls},
    status::{Code, Origin, Reason},
    wire,
};

const REPLY_MAX: usize = 1 << 20;

fn settings(endpoints: Vec<EndpointUrl>) -> Upstream {
    Upstream {
        name: "test".to_owned(),
        endpoints,
        schema: SchemaSource::None,
        service_config: Vec::new(),
        schema_poll: Duration::from_secs(30),
        balance: Balance::RoundRobin,
        tls: UpstreamTls::default(),
        connect_timeout: Duration::from_secs(5),
        keepalive: Duration::from_secs(30),
        keepalive_timeout: Duration::from_secs(10),
        connections_max: 4,
        compression: None,
    }
}

trait With {
    fn with(self, change: impl FnOnce(&mut Self)) -> Self;
}

impl With for Upstream {
    fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }
}

fn pool(settings: &Upstream) -> Pool {
    Pool::new(Cluster::new(settings).unwrap())
}

fn call(path: &'static str) -> CallHead {
    CallHead {
        path: http::uri::PathAndQuery::from_static(path),
        content_type: HeaderValue::from_static("application/grpc"),
        metadata: HeaderMap::new(),
        deadline: None,
    }
}

fn within(time: Duration) -> CallHead {
    CallHead { deadline: Some(Instant::now() + time), ..call("/pkg.Svc/Method") }
}

fn envelope(message: &[u8]) -> Bytes {
    let mut bytes = wire::prefix(u32::try_from(message.len()).unwrap()).to_vec();
    bytes.extend_from_slice(message);
    bytes.into()
}

async fn unary(pool: &Pool, message: &[u8]) -> Result<UnaryReply, Status> {
    pool.unary(call("/pkg.Svc/Method"), envelope(message), REPLY_MAX).await
}

/// Nothing here takes long; a test that hangs says where.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(20), future).await.expect("took too long")
}

/// Lets every task and socket that can go on do so.
async fn settle() {
    for _ in 0..2_000 {
        tokio::task::yield_now().await;
    }
}

async fn event(replies: &mut Download) -> ReplyEvent {
    soon(std::future::poll_fn(|cx| replies.poll_event(cx))).await
}

async fn send(requests: &mut Upload, message: &[u8]) {
    soon(std::future::poll_fn(|cx| requests.poll_ready(cx))).await.unwrap();
    requests.send(envelope(message));
}

async fn end(replies: &mut Download) -> Result<HeaderMap, Status> {
    loop {
        if let ReplyEvent::End(end) = event(replies).await {
            return end;
        }
    }
}

fn endpoint(pool: &Pool) -> EndpointState<'_> {
    pool.cluster().endpoints().next().unwrap()
}
