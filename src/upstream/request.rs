//! The HTTP/2 request of a call (gRPC over HTTP/2, "Requests"). Knows nothing of connections.

use std::mem::take;

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, Request, Uri, Version,
    header::{CONTENT_TYPE, TE, USER_AGENT},
    uri::{Parts, PathAndQuery},
};
use tokio::time::Instant;

use super::cluster::Endpoint;
use crate::{call::CallHead, wire};

const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
const TRAILERS: HeaderValue = HeaderValue::from_static("trailers");
const AGENT: HeaderValue = HeaderValue::from_static(concat!("tidegate/", env!("CARGO_PKG_VERSION")));

/// A call as it can be sent to any endpoint.
pub(super) struct Outgoing {
    path: PathAndQuery,
    /// Everything but what depends on the endpoint and on the time.
    headers: HeaderMap,
    /// May be sent again: the headers are kept.
    repeats: bool,
    pub(super) deadline: Option<Instant>,
}

impl Outgoing {
    pub(super) fn new(head: CallHead, repeats: bool) -> Self {
        let mut headers = head.metadata;
        headers.insert(TE, TRAILERS);
        headers.insert(CONTENT_TYPE, head.content_type);
        headers.insert(USER_AGENT, AGENT);
        if repeats && head.deadline.is_some() {
            // Its place: a copy has room for what is there, and no more.
            headers.insert(GRPC_TIMEOUT, HeaderValue::from_static("0n"));
        }
        Self { path: head.path, headers, repeats, deadline: head.deadline }
    }

    pub(super) fn is_late(&self) -> bool {
        self.deadline.is_some_and(|deadline| deadline <= Instant::now())
    }

    /// The request's head for one endpoint, with the time that is left now.
    pub(super) fn request(&mut self, endpoint: &Endpoint) -> Result<Request<()>, http::Error> {
        let mut parts = Parts::default();
        parts.scheme = Some(endpoint.scheme.clone());
        parts.authority = Some(endpoint.authority.clone());
        parts.path_and_query = Some(self.path.clone());
        let mut request = Request::new(());
        *request.method_mut() = Method::POST;
        *request.uri_mut() = Uri::from_parts(parts)?;
        *request.version_mut() = Version::HTTP_2;
        *request.headers_mut() = if self.repeats { self.headers.clone() } else { take(&mut self.headers) };
        if let Some(deadline) = self.deadline {
            let left = wire::timeout::format(deadline.saturating_duration_since(Instant::now()));
            request.headers_mut().insert(GRPC_TIMEOUT, left);
        }
        Ok(request)
    }
}
