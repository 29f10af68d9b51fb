//! A call of `Echo` by tonic as [`super::Call`] has it: a task of its own, so that both directions go on at once.

use std::net::SocketAddr;

use bytes::Bytes;
use prost::Message;
use serde_json::{Value, json};
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Status, Streaming, metadata::MetadataMap};

use super::{
    Kind, Opening, Step,
    call::{End, How, type_name},
    grpc, within,
};
use crate::proto::{Msg, StreamReq, Sum, echo_client::EchoClient};

pub struct GrpcCall {
    requests: Option<mpsc::Sender<Msg>>,
    steps: mpsc::Receiver<Step>,
    task: JoinHandle<()>,
}

impl GrpcCall {
    pub async fn open(opening: &Opening, id: &str, address: SocketAddr) -> Self {
        let client = grpc::echo_at(address, opening.via).await;
        let (requests, receiver) = mpsc::channel(16);
        let (told, steps) = mpsc::channel(1);
        let (opening, id) = (opening.clone(), id.to_owned());
        let task = tokio::spawn(async move {
            let end = match run(client, &opening, &id, ReceiverStream::new(receiver), &told).await {
                Ok(()) => End { how: How::Trailers, code: Some(0), message: String::new(), details: Vec::new() },
                Err(status) => end_of(&status),
            };
            let _ = told.send(Step::End(end)).await;
        });
        Self { requests: Some(requests), steps, task }
    }

    pub async fn send(&mut self, message: &Value) -> bool {
        let requests = self.requests.as_ref().expect("not half-closed");
        within(requests.send(msg(message))).await.is_ok()
    }

    pub fn half_close(&mut self) {
        self.requests = None;
    }

    pub async fn next(&mut self) -> Step {
        within(self.steps.recv()).await.expect("not asked after the end")
    }
}

impl Drop for GrpcCall {
    /// The call's future goes with the task, and with it its HTTP/2 stream.
    fn drop(&mut self) {
        self.task.abort();
    }
}

type Steps = mpsc::Sender<Step>;

async fn run(
    mut client: EchoClient<grpc::Connection>,
    opening: &Opening,
    id: &str,
    requests: ReceiverStream<Msg>,
    told: &Steps,
) -> Result<(), Status> {
    match opening.kind {
        Kind::Unary => {
            let reply = client.say(with_metadata(msg(&opening.request), opening, id)).await?;
            let _ = told.send(Step::Message(msg_json(&reply.into_inner()))).await;
            Ok(())
        }
        Kind::ServerStream => {
            let reply = client.down(with_metadata(stream_req(&opening.request), opening, id)).await?;
            forward(reply.into_inner(), told).await
        }
        Kind::ClientStream => {
            let reply = client.up(with_metadata(requests, opening, id)).await?;
            let _ = told.send(Step::Message(sum_json(&reply.into_inner()))).await;
            Ok(())
        }
        Kind::Bidi => {
            let reply = client.chat(with_metadata(requests, opening, id)).await?;
            forward(reply.into_inner(), told).await
        }
    }
}

async fn forward(mut replies: Streaming<Msg>, told: &Steps) -> Result<(), Status> {
    while let Some(message) = replies.message().await? {
        if told.send(Step::Message(msg_json(&message))).await.is_err() {
            break;
        }
    }
    Ok(())
}

fn with_metadata<T>(message: T, opening: &Opening, id: &str) -> Request<T> {
    let mut request = Request::new(message);
    let metadata: &mut MetadataMap = request.metadata_mut();
    metadata.insert("x-request-id", id.parse().expect("ASCII"));
    if !opening.behave.is_empty() {
        metadata.insert("x-behave", opening.behave.parse().expect("ASCII"));
    }
    if !opening.authorization.is_empty() {
        metadata.insert("authorization", opening.authorization.parse().expect("ASCII"));
    }
    if let Some(timeout) = opening.timeout_ms {
        // Not `set_timeout`: that would let tonic's own clock end the call.
        metadata.insert("grpc-timeout", format!("{timeout}m").parse().expect("ASCII"));
    }
    request
}

fn end_of(status: &Status) -> End {
    let details = match status.details() {
        [] => Vec::new(),
        bytes => RpcStatus::decode(Bytes::copy_from_slice(bytes)).expect("a google.rpc.Status").details,
    };
    End {
        how: How::Trailers,
        code: u32::try_from(i32::from(status.code())).ok(),
        message: status.message().to_owned(),
        details: details.iter().map(|any| type_name(&any.type_url)).collect(),
    }
}

/// `google.rpc.Status`.
#[derive(Clone, PartialEq, Message)]
pub struct RpcStatus {
    #[prost(int32, tag = "1")]
    pub code: i32,
    #[prost(string, tag = "2")]
    pub message: String,
    #[prost(message, repeated, tag = "3")]
    pub details: Vec<prost_types::Any>,
}

fn int(message: &Value, field: &str) -> i32 {
    i32::try_from(message[field].as_i64().unwrap_or_default()).expect("an int32")
}

fn text(message: &Value, field: &str) -> String {
    message[field].as_str().unwrap_or_default().to_owned()
}

pub fn msg(message: &Value) -> Msg {
    let data = base64_simd::STANDARD.decode_to_vec(text(message, "data")).expect("base64");
    Msg { text: text(message, "text"), n: int(message, "n"), data }
}

pub fn stream_req(message: &Value) -> StreamReq {
    StreamReq {
        after: None,
        text: text(message, "text"),
        count: int(message, "count"),
        delay_ms: int(message, "delayMs"),
        size: int(message, "size"),
        fail_after: int(message, "failAfter"),
        fail_code: int(message, "failCode"),
        fail_message: text(message, "failMessage"),
    }
}

/// As ProtoJSON has it: what is at its default is left out.
pub fn msg_json(message: &Msg) -> Value {
    let mut object = json!({});
    if !message.text.is_empty() {
        object["text"] = message.text.clone().into();
    }
    if message.n != 0 {
        object["n"] = message.n.into();
    }
    if !message.data.is_empty() {
        object["data"] = base64_simd::STANDARD.encode_to_string(&message.data).into();
    }
    object
}

pub fn sum_json(sum: &Sum) -> Value {
    let mut object = json!({});
    if sum.count != 0 {
        object["count"] = sum.count.into();
    }
    if sum.bytes != 0 {
        object["bytes"] = sum.bytes.to_string().into();
    }
    if !sum.joined.is_empty() {
        object["joined"] = sum.joined.clone().into();
    }
    object
}
