//! The one error that a client sees, and every table of it. Knows nothing of how a dialect writes it down.

mod code;
mod details;

use std::{borrow::Cow, error::Error, fmt, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

pub use code::Code;
pub use details::{Detail, Reason, decode_details, encode_status};

/// Whose fault a failure is: decides the log level, the metric's label and whether the text is authored here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// The request is at fault.
    Client,
    /// The gateway refuses, or is at fault.
    Gateway,
    /// The backend answered so, or could not be reached.
    Upstream,
}

/// A failed call: a gRPC status, with what the gateway adds to it.
///
/// The message is authored text (or the upstream's own) and is shown to the client; the cause is only logged.
pub struct Status(Box<Inner>);

struct Inner {
    code: Code,
    origin: Origin,
    message: Cow<'static, str>,
    /// Replaces the HTTP status of the canonical table.
    http: Option<StatusCode>,
    /// Headers that only an HTTP answer bears, as `allow`.
    headers: HeaderMap,
    details: Vec<Detail>,
    /// The upstream's `grpc-status-details-bin`, decoded: passes unchanged.
    details_bin: Option<Bytes>,
    /// The upstream's initial metadata, where no reply has begun with it.
    lead: HeaderMap,
    /// The upstream's trailing metadata.
    trailers: HeaderMap,
    retry_after: Option<Duration>,
    cause: Option<Box<dyn Error + Send + Sync>>,
}

impl Status {
    /// A failure for which the request is to blame.
    pub fn client(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(code, Origin::Client, message)
    }

    /// A refusal or a fault of the gateway's own.
    pub fn gateway(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(code, Origin::Gateway, message)
    }

    /// The upstream's answer, or the lack of one.
    pub fn upstream(code: Code, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(code, Origin::Upstream, message)
    }

    fn new(code: Code, origin: Origin, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            code,
            origin,
            message: message.into(),
            http: None,
            headers: HeaderMap::new(),
            details: Vec::new(),
            details_bin: None,
            lead: HeaderMap::new(),
            trailers: HeaderMap::new(),
            retry_after: None,
            cause: None,
        }))
    }

    /// Gives the failure a stable reason, told to the client as `google.rpc.ErrorInfo`.
    #[must_use]
    pub fn with_reason(mut self, reason: Reason) -> Self {
        self.0.details.insert(0, Detail::ErrorInfo(reason));
        self
    }

    /// Names the field, parameter or place that is wrong, as `google.rpc.BadRequest`.
    #[must_use]
    pub fn with_violation(mut self, field: impl Into<String>, description: impl Into<String>) -> Self {
        self.0.details.push(Detail::BadRequest { field: field.into(), description: description.into() });
        self
    }

    /// When to try again: `Retry-After`, and `google.rpc.RetryInfo`.
    #[must_use]
    pub fn with_retry_after(mut self, delay: Duration) -> Self {
        self.0.retry_after = Some(delay);
        self.0.details.push(Detail::RetryInfo(delay));
        self
    }

    /// Replaces the HTTP status that the canonical table has for the code.
    #[must_use]
    pub fn with_http(mut self, status: StatusCode) -> Self {
        self.0.http = Some(status);
        self
    }

    /// Adds a header that an HTTP answer bears.
    #[must_use]
    pub fn with_header(mut self, name: http::HeaderName, value: http::HeaderValue) -> Self {
        self.0.headers.insert(name, value);
        self
    }

    /// What was behind it; logged, never sent.
    #[must_use]
    pub fn with_cause(mut self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.0.cause = Some(cause.into());
        self
    }

    /// The upstream's initial metadata: it answered before it failed.
    #[must_use]
    pub fn with_lead(mut self, metadata: HeaderMap) -> Self {
        self.0.lead = metadata;
        self
    }

    /// The upstream's trailers, with the serialized `google.rpc.Status` of `grpc-status-details-bin` where there is one.
    #[must_use]
    pub fn with_trailers(mut self, trailers: HeaderMap, details_bin: Option<Bytes>) -> Self {
        self.0.trailers = trailers;
        self.0.details_bin = details_bin;
        self
    }

    /// The same for somebody else: of the cause, its words.
    #[must_use]
    pub fn again(&self) -> Self {
        let inner = &*self.0;
        let first: Option<&(dyn Error + 'static)> = self.source();
        let causes = std::iter::successors(first, |cause| (*cause).source());
        let causes: Vec<_> = causes.map(ToString::to_string).collect();
        Self(Box::new(Inner {
            code: inner.code,
            origin: inner.origin,
            message: inner.message.clone(),
            http: inner.http,
            headers: inner.headers.clone(),
            details: inner.details.clone(),
            details_bin: inner.details_bin.clone(),
            lead: inner.lead.clone(),
            trailers: inner.trailers.clone(),
            retry_after: inner.retry_after,
            cause: (!causes.is_empty()).then(|| causes.join(": ").into()),
        }))
    }

    /// Without this of the upstream's metadata.
    #[must_use]
    pub fn without_metadata(mut self, name: &http::HeaderName) -> Self {
        self.0.lead.remove(name);
        self.0.trailers.remove(name);
        self
    }

    pub fn code(&self) -> Code {
        self.0.code
    }

    pub fn origin(&self) -> Origin {
        self.0.origin
    }

    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The HTTP status: the canonical table's, unless the failure has one of its own.
    pub fn http_status(&self) -> StatusCode {
        self.0.http.unwrap_or_else(|| self.0.code.http_status())
    }

    /// Headers for an HTTP answer.
    pub fn headers(&self) -> &HeaderMap {
        &self.0.headers
    }

    /// The upstream's initial metadata, where no reply has begun with it.
    pub fn lead(&self) -> &HeaderMap {
        &self.0.lead
    }

    /// The upstream's trailing metadata.
    pub fn trailers(&self) -> &HeaderMap {
        &self.0.trailers
    }

    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    pub fn cause(&self) -> Option<&(dyn Error + Send + Sync + 'static)> {
        self.0.cause.as_deref()
    }

    /// The stable reason, where the gateway made the failure.
    pub fn reason(&self) -> Option<Reason> {
        self.0.details.iter().find_map(|detail| match detail {
            Detail::ErrorInfo(reason) => Some(*reason),
            _ => None,
        })
    }

    /// A serialized `google.rpc.Status` (code, message, details): the upstream's own, or made from this failure's
    /// details; none where there are no details at all.
    pub fn details_bin(&self) -> Option<Bytes> {
        match &self.0.details_bin {
            Some(bytes) => Some(bytes.clone()),
            None if self.0.details.is_empty() => None,
            None => {
                let details = self.0.details.iter().map(Detail::to_any).collect();
                Some(encode_status(self.0.code, &self.0.message, details))
            }
        }
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Status")
            .field("code", &self.0.code)
            .field("origin", &self.0.origin)
            .field("message", &self.0.message)
            .field("cause", &self.0.cause)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.code.name(), self.0.message)
    }
}

impl Error for Status {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.cause.as_deref().map(|cause| cause as &(dyn Error + 'static))
    }
}
