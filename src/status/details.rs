//! `google.rpc` error details: those that the gateway makes, and those that pass through it.

use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use prost_types::Any;

use super::Code;

/// Why the gateway itself refuses or fails a call: a stable word for programs, in `google.rpc.ErrorInfo`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    RouteNotFound,
    MethodNotAllowed,
    UnsupportedMediaType,
    UnsupportedByDialect,
    InvalidPath,
    InvalidQuery,
    InvalidHeader,
    InvalidJson,
    InvalidForm,
    InvalidMessage,
    MessageTooLarge,
    OriginForbidden,
    Overloaded,
    CreditOverdrawn,
    TokenExpired,
    TicketInvalid,
    SubscriberTooSlow,
    SessionUnknown,
    SequenceGap,
    Draining,
    DeadlineExceeded,
    RequestAborted,
    UpstreamUnavailable,
    UpstreamProtocol,
    UpstreamMessageTooLarge,
    SchemaUnavailable,
    Internal,
}

impl Reason {
    /// As clients see it.
    pub fn name(self) -> &'static str {
        match self {
            Self::RouteNotFound => "ROUTE_NOT_FOUND",
            Self::MethodNotAllowed => "METHOD_NOT_ALLOWED",
            Self::UnsupportedMediaType => "UNSUPPORTED_MEDIA_TYPE",
            Self::UnsupportedByDialect => "UNSUPPORTED_BY_DIALECT",
            Self::InvalidPath => "INVALID_PATH",
            Self::InvalidQuery => "INVALID_QUERY",
            Self::InvalidHeader => "INVALID_HEADER",
            Self::InvalidJson => "INVALID_JSON",
            Self::InvalidForm => "INVALID_FORM",
            Self::InvalidMessage => "INVALID_MESSAGE",
            Self::MessageTooLarge => "MESSAGE_TOO_LARGE",
            Self::OriginForbidden => "ORIGIN_FORBIDDEN",
            Self::Overloaded => "OVERLOADED",
            Self::CreditOverdrawn => "CREDIT_OVERDRAWN",
            Self::TokenExpired => "TOKEN_EXPIRED",
            Self::TicketInvalid => "TICKET_INVALID",
            Self::SubscriberTooSlow => "SUBSCRIBER_TOO_SLOW",
            Self::SessionUnknown => "SESSION_UNKNOWN",
            Self::SequenceGap => "SEQUENCE_GAP",
            Self::Draining => "DRAINING",
            Self::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Self::RequestAborted => "REQUEST_ABORTED",
            Self::UpstreamUnavailable => "UPSTREAM_UNAVAILABLE",
            Self::UpstreamProtocol => "UPSTREAM_PROTOCOL",
            Self::UpstreamMessageTooLarge => "UPSTREAM_MESSAGE_TOO_LARGE",
            Self::SchemaUnavailable => "SCHEMA_UNAVAILABLE",
            Self::Internal => "INTERNAL",
        }
    }
}

/// One detail that the gateway adds to a failure of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Detail {
    /// `google.rpc.ErrorInfo` with domain `tidegate`.
    ErrorInfo(Reason),
    /// `google.rpc.RetryInfo`.
    RetryInfo(Duration),
    /// `google.rpc.BadRequest` with one field violation.
    BadRequest { field: String, description: String },
}

/// The details of a serialized `google.rpc.Status`; none where the bytes are not one.
pub fn decode_details(status: &[u8]) -> Option<Vec<Any>> {
    RpcStatus::decode(status).ok().map(|status| status.details)
}

/// A serialized `google.rpc.Status`.
pub fn encode_status(code: Code, message: &str, details: Vec<Any>) -> Bytes {
    RpcStatus { code: code.number().into(), message: message.to_owned(), details }.encode_to_vec().into()
}

impl Detail {
    pub fn to_any(&self) -> Any {
        let (name, value) = match self {
            Self::ErrorInfo(reason) => {
                let info = ErrorInfo { reason: reason.name().to_owned(), domain: "tidegate".to_owned() };
                ("google.rpc.ErrorInfo", info.encode_to_vec())
            }
            Self::RetryInfo(delay) => {
                let delay = prost_types::Duration {
                    seconds: i64::try_from(delay.as_secs()).unwrap_or(i64::MAX),
                    nanos: i32::try_from(delay.subsec_nanos()).unwrap_or(0),
                };
                ("google.rpc.RetryInfo", RetryInfo { retry_delay: Some(delay) }.encode_to_vec())
            }
            Self::BadRequest { field, description } => {
                let violation = FieldViolation { field: field.clone(), description: description.clone() };
                ("google.rpc.BadRequest", BadRequest { field_violations: vec![violation] }.encode_to_vec())
            }
        };
        Any { type_url: format!("type.googleapis.com/{name}"), value }
    }
}

// google/rpc/status.proto and google/rpc/error_details.proto, as far as they are made here.

#[derive(Clone, PartialEq, Message)]
struct RpcStatus {
    #[prost(int32, tag = "1")]
    code: i32,
    #[prost(string, tag = "2")]
    message: String,
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

#[derive(Clone, PartialEq, Message)]
struct ErrorInfo {
    #[prost(string, tag = "1")]
    reason: String,
    #[prost(string, tag = "2")]
    domain: String,
}

#[derive(Clone, PartialEq, Message)]
struct RetryInfo {
    #[prost(message, optional, tag = "1")]
    retry_delay: Option<prost_types::Duration>,
}

#[derive(Clone, PartialEq, Message)]
struct BadRequest {
    #[prost(message, repeated, tag = "1")]
    field_violations: Vec<FieldViolation>,
}

#[derive(Clone, PartialEq, Message)]
struct FieldViolation {
    #[prost(string, tag = "1")]
    field: String,
    #[prost(string, tag = "2")]
    description: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn details_survive_the_round_trip() {
        let details = [
            Detail::ErrorInfo(Reason::Overloaded),
            Detail::RetryInfo(Duration::from_millis(1500)),
            Detail::BadRequest { field: "a.b".to_owned(), description: "too long".to_owned() },
        ];
        let bytes = encode_status(Code::Unavailable, "busy", details.iter().map(Detail::to_any).collect());
        let urls: Vec<_> = decode_details(&bytes).unwrap().into_iter().map(|any| any.type_url).collect();
        assert_eq!(
            urls,
            [
                "type.googleapis.com/google.rpc.ErrorInfo",
                "type.googleapis.com/google.rpc.RetryInfo",
                "type.googleapis.com/google.rpc.BadRequest",
            ]
        );
    }

    #[test]
    fn bytes_that_are_no_status_have_no_details() {
        assert_eq!(decode_details(b"\xff\xff\xff"), None);
    }
}
