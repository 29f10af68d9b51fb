//! An ordinary client by tonic, on tonic's own channel over TLS, that makes the calls it is told.

use std::{
    collections::HashMap,
    future::Future,
    io,
    path::Path,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{StreamExt, stream};
use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};
use serde_json::Value;
use tokio::{
    net::TcpStream,
    sync::{oneshot, watch},
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_stream::Stream;
use tonic::{
    Request, Response, Status, Streaming,
    metadata::{AsciiMetadataKey, BinaryMetadataKey, BinaryMetadataValue, MetadataMap},
    transport::{Channel, Endpoint},
};
use tower_service::Service;

use super::outcome::{Said, base64};
use crate::{
    harness::grpc_call::{msg, msg_json, stream_req, sum_json},
    proto::{Msg, echo_client::EchoClient},
};

/// A channel to this port of `localhost` that trusts this certificate alone.
pub async fn channel(port: u16, certificate: &Path) -> Channel {
    let endpoint = Endpoint::from_shared(format!("https://localhost:{port}")).expect("a URI");
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(certificate).expect("a certificate")).expect("an authority");
    let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let versions = builder.with_safe_default_protocol_versions().expect("the provider knows TLS 1.2 and 1.3");
    let mut config = versions.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    endpoint.connect_with_connector(Tls(TlsConnector::from(Arc::new(config)))).await.expect("a channel")
}

#[derive(Clone)]
struct Tls(TlsConnector);

impl Service<Uri> for Tls {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connector = self.0.clone();
        Box::pin(async move {
            let stream = TcpStream::connect(("127.0.0.1", uri.port_u16().expect("a port"))).await?;
            let name = ServerName::try_from("localhost").expect("a name");
            Ok(TokioIo::new(connector.connect(name, stream).await?))
        })
    }
}

/// Makes a call; one that is to be cancelled, once that is allowed.
pub async fn make(channel: Channel, call: Value, allowed: oneshot::Receiver<()>) -> Said {
    let (replies, mut count) = watch::channel(0);
    let mut said = Said::default();
    let cancelled = async {
        let Some(wanted) = call["cancelAfter"].as_u64() else { return std::future::pending().await };
        let _ = count.wait_for(|count| *count as u64 >= wanted).await;
        let _ = allowed.await;
    };
    let ended = tokio::select! {
        ended = talk(channel, &call, &mut said, &replies) => ended,
        () = cancelled => Err(Status::cancelled("")),
    };
    match ended {
        Ok(()) => said.code = Some(0),
        Err(status) => {
            said.code = u32::try_from(i32::from(status.code())).ok();
            status.message().clone_into(&mut said.message);
            said.trailers = plain(status.metadata());
            if !status.details().is_empty() {
                let details = base64_simd::STANDARD.encode_to_string(status.details());
                said.trailers.insert("grpc-status-details-bin".to_owned(), details);
            }
        }
    }
    said
}

async fn talk(channel: Channel, call: &Value, said: &mut Said, replies: &watch::Sender<usize>) -> Result<(), Status> {
    let mut client = EchoClient::new(channel);
    let first = &call["requests"][0];
    match call["method"].as_str().expect("a method") {
        "Say" => one(client.say(with_head(msg(first), call)).await?, msg_json, said),
        "Up" => one(client.up(with_head(requests(call, replies), call)).await?, sum_json, said),
        "Down" => many(client.down(with_head(stream_req(first), call)).await?, said, replies).await?,
        _ => many(client.chat(with_head(requests(call, replies), call)).await?, said, replies).await?,
    }
    Ok(())
}

fn one<T>(reply: Response<T>, json: fn(&T) -> Value, said: &mut Said) {
    // tonic has the head and the trailers of such a reply in one.
    let (metadata, message, _) = reply.into_parts();
    (said.headers, said.trailers) = (plain(&metadata), plain(&metadata));
    said.messages.push(json(&message));
}

async fn many(reply: Response<Streaming<Msg>>, said: &mut Said, told: &watch::Sender<usize>) -> Result<(), Status> {
    let (metadata, mut messages, _) = reply.into_parts();
    said.headers = plain(&metadata);
    while let Some(message) = messages.message().await? {
        said.messages.push(msg_json(&message));
        told.send_replace(said.messages.len());
    }
    said.trailers = messages.trailers().await?.as_ref().map(plain).unwrap_or_default();
    Ok(())
}

/// Each after the reply to the one before, where replies come at all.
fn requests(call: &Value, replies: &watch::Sender<usize>) -> impl Stream<Item = Msg> + Send + use<> {
    let turns = call["turns"] == true;
    let requests: Vec<Msg> = call["requests"].as_array().expect("messages").iter().map(msg).collect();
    let replies = replies.subscribe();
    stream::iter(requests.into_iter().enumerate()).then(move |(index, request)| {
        let mut replies = replies.clone();
        async move {
            if turns {
                let _ = replies.wait_for(|count| *count >= index).await;
            }
            request
        }
    })
}

fn with_head<T>(message: T, call: &Value) -> Request<T> {
    let mut request = Request::new(message);
    for (name, value) in call["headers"].as_object().expect("headers") {
        let value = value.as_str().expect("text");
        if name.ends_with("-bin") {
            let name = name.parse::<BinaryMetadataKey>().expect("a name");
            request.metadata_mut().insert_bin(name, BinaryMetadataValue::from_bytes(&base64(value)));
        } else {
            let name = name.parse::<AsciiMetadataKey>().expect("a name");
            request.metadata_mut().insert(name, value.parse().expect("ASCII"));
        }
    }
    if let Some(timeout) = call["timeoutMs"].as_u64() {
        request.set_timeout(Duration::from_millis(timeout));
    }
    request
}

fn plain(metadata: &MetadataMap) -> HashMap<String, String> {
    let headers = metadata.clone().into_headers();
    headers.iter().map(|(name, value)| (name.to_string(), value.to_str().expect("ASCII").to_owned())).collect()
}
