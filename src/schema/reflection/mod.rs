//! The client of server reflection (grpc/reflection/v1/reflection.proto). Knows nothing of connections, nor of what the
//! descriptors mean.

mod collect;
#[cfg(test)]
mod tests;

use std::{future::poll_fn, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, uri::PathAndQuery};
use prost::Message;
use thiserror::Error;
use tokio::time::{Instant, timeout, timeout_at};

use collect::{Collector, Fault};
use proto::{ServerReflectionRequest, ServerReflectionResponse};

use crate::{
    call::{CallHead, Replies, ReplyEvent, Requests, Transport},
    status::{Code, Reason, Status},
    wire::{Deframer, EnvelopeError, close_envelope, open_envelope},
};

/// v1. The messages of v1alpha are the same on the wire.
pub(crate) mod proto {
    #![allow(clippy::all, clippy::pedantic, unreachable_pub, unused_qualifications, reason = "generated")]
    include!(concat!(env!("OUT_DIR"), "/grpc.reflection.v1.rs"));
}

const PATHS: [&str; 2] = [
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
];

/// Largest answer: a server may put all files that one service needs into it.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// How long the server may take to end the stream once it has nothing more to say.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// What a server tells of itself.
#[derive(Debug)]
pub struct Told {
    /// A serialized `google.protobuf.FileDescriptorSet` of the files as the server sent them, by name: the same files are
    /// the same bytes.
    pub set: Bytes,
    /// What the server named itself and does not know, in words.
    pub unknown: Vec<String>,
}

/// Fetches the descriptors of all services of a server. Asks by v1, and where the server has only that by v1alpha.
///
/// # Errors
/// UNIMPLEMENTED where the server has no reflection, the failure of the call, or INTERNAL for answers that make no
/// sense.
pub async fn fetch<T: Transport>(transport: &T, deadline: Instant) -> Result<Told, Status> {
    timeout_at(deadline, fetch_by_any_version(transport, deadline)).await.unwrap_or_else(|_| {
        Err(Status::upstream(Code::DeadlineExceeded, "server reflection did not answer in time")
            .with_reason(Reason::SchemaUnavailable))
    })
}

async fn fetch_by_any_version<T: Transport>(transport: &T, deadline: Instant) -> Result<Told, Status> {
    for path in PATHS {
        match fetch_by(transport, path, deadline).await {
            Err(Failure::Unimplemented) => {}
            Err(Failure::Call(status)) => return Err(in_context(status)),
            Err(Failure::Nonsense(nonsense)) => return Err(nonsense.into_status()),
            Ok(told) => return Ok(told),
        }
    }
    Err(Status::upstream(Code::Unimplemented, "the server has no server reflection, neither v1 nor v1alpha")
        .with_reason(Reason::SchemaUnavailable))
}

async fn fetch_by<T: Transport>(transport: &T, path: &'static str, deadline: Instant) -> Result<Told, Failure> {
    let head = CallHead {
        path: PathAndQuery::from_static(path),
        content_type: HeaderValue::from_static("application/grpc"),
        metadata: HeaderMap::new(),
        deadline: Some(deadline),
    };
    let (requests, replies) = transport.open(head).await.map_err(Failure::Call)?;
    let mut stream = Stream { requests, replies, deframer: Deframer::new(ANSWER_BYTES_MAX), answers: 0 };
    let mut collector = Collector::new();
    while let Some(request) = collector.ask() {
        let answer = stream.exchange(&request).await?;
        collector.answer(answer).map_err(Nonsense::Answer)?;
    }
    stream.close().await;
    Ok(collector.into_told())
}

/// One call of the reflection service: a request, its answer, the next request.
struct Stream<Q, P> {
    requests: Q,
    replies: P,
    deframer: Deframer,
    /// Answers so far.
    answers: usize,
}

impl<Q: Requests, P: Replies> Stream<Q, P> {
    async fn exchange(&mut self, request: &ServerReflectionRequest) -> Result<ServerReflectionResponse, Failure> {
        // Where the server takes no more, it says why by the end of its answers.
        if poll_fn(|cx| self.requests.poll_ready(cx)).await.is_ok() {
            self.requests.send(envelope(request));
        }
        loop {
            if let Some(envelope) = self.deframer.next_envelope().map_err(Nonsense::Envelope)? {
                if envelope.flags != 0 {
                    return Err(Nonsense::Envelope(EnvelopeError::Flags(envelope.flags)).into());
                }
                self.answers += 1;
                return Ok(ServerReflectionResponse::decode(envelope.payload).map_err(Nonsense::Decode)?);
            }
            match poll_fn(|cx| self.replies.poll_event(cx)).await {
                ReplyEvent::Head(_) => {}
                ReplyEvent::Data(piece) => self.deframer.push(piece),
                ReplyEvent::End(Ok(_)) => return Err(Nonsense::Ended(self.answers).into()),
                ReplyEvent::End(Err(status)) if self.answers == 0 && status.code() == Code::Unimplemented => {
                    return Err(Failure::Unimplemented);
                }
                ReplyEvent::End(Err(status)) => return Err(Failure::Call(status)),
            }
        }
    }

    /// Ends the call in good order, so that the server does not log a cancelled one. What it still says is not looked
    /// at.
    async fn close(mut self) {
        self.requests.finish();
        let end = poll_fn(|cx| self.replies.poll_event(cx));
        let _ = timeout(END_TIMEOUT, end).await;
    }
}

fn envelope(request: &ServerReflectionRequest) -> Bytes {
    let mut out = Vec::new();
    let start = open_envelope(&mut out);
    // Both are infallible: a vector grows, and a request is a name of at most `ANSWER_BYTES_MAX`.
    let _ = request.encode(&mut out);
    let _ = close_envelope(&mut out, start);
    out.into()
}

enum Failure {
    /// The server does not have this version.
    Unimplemented,
    Call(Status),
    Nonsense(Nonsense),
}

impl From<Nonsense> for Failure {
    fn from(nonsense: Nonsense) -> Self {
        Self::Nonsense(nonsense)
    }
}

/// What a server of reflection never says.
#[derive(Debug, Error)]
enum Nonsense {
    #[error("{0}")]
    Envelope(EnvelopeError),
    #[error("an answer is not a ServerReflectionResponse: {0}")]
    Decode(prost::DecodeError),
    #[error("the server ended the stream after {0} answers, with more to come")]
    Ended(usize),
    #[error("{0}")]
    Answer(Fault),
}

impl Nonsense {
    fn into_status(self) -> Status {
        Status::upstream(Code::Internal, format!("server reflection: {self}"))
            .with_reason(Reason::SchemaUnavailable)
            .with_cause(self)
    }
}

fn in_context(status: Status) -> Status {
    Status::upstream(status.code(), format!("server reflection: {}", status.message()))
        .with_reason(Reason::SchemaUnavailable)
        .with_cause(status)
}
