//! Asks one endpoint whether it is well. Knows nothing of when, and of other endpoints.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, uri::PathAndQuery};
use prost::Message;
use tokio::time::Instant;

use super::proto::{HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus};
use crate::{
    call::{CallHead, Transport},
    status::Code,
    wire::{close_envelope, open_envelope},
};

const CHECK: &str = "/grpc.health.v1.Health/Check";
/// Who has not answered by then does not serve.
const TIMEOUT: Duration = Duration::from_secs(1);
/// Largest answer: it is a number.
const ANSWER_BYTES_MAX: usize = 1 << 10;

/// True where an endpoint says so of a service that it has; of itself as a whole, where it does not tell services apart.
pub(super) async fn is_serving<T: Transport>(endpoint: &T, service: &str) -> bool {
    let answer = ask(endpoint, service).await;
    let answer = match answer {
        ServingStatus::ServiceUnknown if !service.is_empty() => ask(endpoint, "").await,
        answer => answer,
    };
    // One that tells nothing of itself is there, at least.
    matches!(answer, ServingStatus::Serving | ServingStatus::ServiceUnknown)
}

/// Serving, not serving, or not known. An endpoint that does not let itself be asked serves if it can be reached.
pub(super) async fn ask<T: Transport>(endpoint: &T, service: &str) -> ServingStatus {
    let head = CallHead {
        path: PathAndQuery::from_static(CHECK),
        content_type: HeaderValue::from_static("application/grpc"),
        metadata: HeaderMap::new(),
        deadline: Some(Instant::now() + TIMEOUT),
    };
    match endpoint.unary(head, request(service), ANSWER_BYTES_MAX).await {
        // What is no answer is not a good one.
        Ok(reply) => match HealthCheckResponse::decode(reply.message).map(|response| response.status()) {
            Ok(ServingStatus::Serving) => ServingStatus::Serving,
            _ => ServingStatus::NotServing,
        },
        Err(status) => match status.code() {
            Code::Unimplemented | Code::Unauthenticated | Code::PermissionDenied => ServingStatus::Serving,
            Code::NotFound => ServingStatus::ServiceUnknown,
            _ => ServingStatus::NotServing,
        },
    }
}

fn request(service: &str) -> Bytes {
    let mut out = Vec::new();
    let start = open_envelope(&mut out);
    // Both are infallible: a vector grows, and a name is short.
    let _ = HealthCheckRequest { service: service.to_owned() }.encode(&mut out);
    let _ = close_envelope(&mut out, start);
    out.into()
}
