//! Asks one endpoint whether it is well. Knows nothing of when, and of other endpoints.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, uri::PathAndQuery};
use prost::Message;
use tokio::time::Instant;

use super::proto::{HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus};
use crate::{
    call::{CallHead, Transport},
    status::{Code, Status},
    wire::{close_envelope, open_envelope},
};

const CHECK: &str = "/grpc.health.v1.Health/Check";
/// Who has not answered by then does not serve.
const TIMEOUT: Duration = Duration::from_secs(2);
/// Largest answer: it is a number.
const ANSWER_BYTES_MAX: usize = 1 << 10;

/// True where an endpoint says so of a service; of itself as a whole, where it does not tell services apart. One that
/// does not let itself be asked serves if it can be reached.
pub(super) async fn is_serving<T: Transport>(endpoint: &T, service: &str) -> bool {
    let deadline = Instant::now() + TIMEOUT;
    let mut answer = check(endpoint, service, deadline).await;
    if answer.as_ref().is_err_and(|status| status.code() == Code::NotFound) && !service.is_empty() {
        answer = check(endpoint, "", deadline).await;
    }
    match answer {
        Ok(status) => status == ServingStatus::Serving,
        Err(status) => {
            matches!(
                status.code(),
                Code::Unimplemented | Code::NotFound | Code::Unauthenticated | Code::PermissionDenied
            )
        }
    }
}

async fn check<T: Transport>(endpoint: &T, service: &str, deadline: Instant) -> Result<ServingStatus, Status> {
    let head = CallHead {
        path: PathAndQuery::from_static(CHECK),
        content_type: HeaderValue::from_static("application/grpc"),
        metadata: HeaderMap::new(),
        deadline: Some(deadline),
    };
    let reply = endpoint.unary(head, request(service), ANSWER_BYTES_MAX).await?;
    // What is no answer is not a good one.
    Ok(HealthCheckResponse::decode(reply.message).map_or(ServingStatus::Unknown, |response| response.status()))
}

fn request(service: &str) -> Bytes {
    let mut out = Vec::new();
    let start = open_envelope(&mut out);
    // Both are infallible: a vector grows, and a name is short.
    let _ = HealthCheckRequest { service: service.to_owned() }.encode(&mut out);
    let _ = close_envelope(&mut out, start);
    out.into()
}
