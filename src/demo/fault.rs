//! The demo's errors: a gRPC status with `google.rpc` details, as any well-behaved backend answers. Knows no service.

use prost::Message;
use prost_types::Any;
use tonic::{Code, Status};

use super::proto::google::rpc;

/// The domain of the demo's `google.rpc.ErrorInfo`.
const DOMAIN: &str = "demo.tidegate";

/// INVALID_ARGUMENT that names the field and says what is wrong with it.
pub(super) fn invalid(field: &str, description: impl Into<String>) -> Status {
    let description = description.into();
    let message = format!("{field}: {description}");
    let violation = rpc::bad_request::FieldViolation { field: field.to_owned(), description, ..Default::default() };
    let request = rpc::BadRequest { field_violations: vec![violation] };
    status(
        Code::InvalidArgument,
        message,
        &[info("INVALID_FIELD", &[("field", field)]), any("google.rpc.BadRequest", &request)],
    )
}

/// NOT_FOUND of a post.
pub(super) fn no_such_post(id: &str) -> Status {
    let resource = rpc::ResourceInfo {
        resource_type: "demo.liker.v1.Post".to_owned(),
        resource_name: format!("posts/{id}"),
        ..Default::default()
    };
    let details = [info("POST_NOT_FOUND", &[("id", id)]), any("google.rpc.ResourceInfo", &resource)];
    status(Code::NotFound, format!("there is no post with the id \"{id}\""), &details)
}

/// FAILED_PRECONDITION: the request is well made, but not now.
pub(super) fn not_now(reason: &str, message: impl Into<String>) -> Status {
    status(Code::FailedPrecondition, message, &[info(reason, &[])])
}

/// RESOURCE_EXHAUSTED: one of the demo's bounds is reached.
pub(super) fn full(reason: &str, message: impl Into<String>) -> Status {
    status(Code::ResourceExhausted, message, &[info(reason, &[])])
}

/// UNAVAILABLE: the service goes down; whoever comes back finds it again.
pub(super) fn going_down() -> Status {
    status(Code::Unavailable, "the demo backend is going down", &[info("GOING_DOWN", &[])])
}

/// UNAVAILABLE for a watcher that did not keep up: coming back, it gets everything as it is then.
pub(super) fn too_slow_to_watch() -> Status {
    status(Code::Unavailable, "too slow: events were missed; watch again", &[info("TOO_SLOW", &[])])
}

fn status(code: Code, message: impl Into<String>, details: &[Any]) -> Status {
    let message = message.into();
    let status = rpc::Status { code: code.into(), message: message.clone(), details: details.to_vec() };
    Status::with_details(code, message, status.encode_to_vec().into())
}

fn info(reason: &str, metadata: &[(&str, &str)]) -> Any {
    let metadata = metadata.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    any("google.rpc.ErrorInfo", &rpc::ErrorInfo { reason: reason.to_owned(), domain: DOMAIN.to_owned(), metadata })
}

fn any(name: &str, message: &impl Message) -> Any {
    Any { type_url: format!("type.googleapis.com/{name}"), value: message.encode_to_vec() }
}
