//! The `Rules` services by descriptor: what came in goes back as `Seen`, or as it came.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use prost::Message;
use prost_reflect::{DynamicMessage, MethodDescriptor};
use tidegate::wire::{Deframer, close_envelope, open_envelope};

use super::record::{Messages, Requests};
use crate::proto::{POOL, Seen};

/// The method of a path, where these services have it.
pub fn method(path: &str) -> Option<MethodDescriptor> {
    let (service, method) = path.strip_prefix('/')?.split_once('/')?;
    POOL.get_service_by_name(service)?.methods().find(|found| found.name() == method)
}

/// Answers any method: a reply stream gives one message for each request message.
pub async fn answer(method: MethodDescriptor, request: Request<Requests>) -> Response<tonic::body::Body> {
    let (parts, body) = request.into_parts();
    let messages = parts.extensions.get::<Messages>().expect("the server records").clone();
    let Ok(body) = body.collect().await else { return trailers_only(13, "the request broke off") };
    let requests = decode(&method, body.to_bytes());
    for request in &requests {
        messages.saw(&json(request));
    }
    let replies: Vec<Bytes> = if method.is_server_streaming() {
        requests.iter().map(|request| framed(&request.encode_to_vec())).collect()
    } else if method.output().full_name() == "tidegate.test.v1.Seen" {
        let texts: Vec<_> = requests.iter().map(json).collect();
        let request_json = if method.is_client_streaming() { format!("[{}]", texts.join(",")) } else { texts.concat() };
        let seen = Seen {
            method: method.full_name().to_owned(),
            request_json,
            requests: i32::try_from(requests.len()).expect("few"),
            ..Seen::default()
        };
        vec![framed(&seen.encode_to_vec())]
    } else {
        vec![framed(&requests.first().map(DynamicMessage::encode_to_vec).unwrap_or_default())]
    };
    let mut trailers = http::HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().expect("ASCII"));
    let data = replies.into_iter().map(|reply| Ok::<_, tonic::Status>(Frame::data(reply)));
    let frames: Vec<_> = data.chain([Ok(Frame::trailers(trailers))]).collect();
    let body = tonic::body::Body::new(StreamBody::new(tokio_stream::iter(frames)));
    Response::builder().header("content-type", "application/grpc").body(body).expect("a valid head")
}

pub fn trailers_only(code: u32, message: &str) -> Response<tonic::body::Body> {
    Response::builder()
        .header("content-type", "application/grpc")
        .header("grpc-status", code.to_string())
        .header("grpc-message", message)
        .body(tonic::body::Body::new(Full::new(Bytes::new())))
        .expect("a valid head")
}

fn decode(method: &MethodDescriptor, body: Bytes) -> Vec<DynamicMessage> {
    let mut deframer = Deframer::new(64 << 20);
    deframer.push(body);
    let mut messages = Vec::new();
    while let Some(envelope) = deframer.next_envelope().expect("the gateway frames well") {
        messages.push(DynamicMessage::decode(method.input(), envelope.payload).expect("the gateway encodes well"));
    }
    assert!(deframer.is_empty(), "the request ends within a message");
    messages
}

fn json(message: &DynamicMessage) -> String {
    serde_json::to_string(message).expect("JSON can hold it")
}

/// A message in its envelope.
pub fn framed(message: &[u8]) -> Bytes {
    let mut out = Vec::new();
    let start = open_envelope(&mut out);
    out.extend_from_slice(message);
    close_envelope(&mut out, start).expect("small enough");
    out.into()
}
