//! The body of a reply: whole, or a stream that is pulled by whoever writes it to the client.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Response, StatusCode,
    header::{self, Entry},
};
use http_body::{Body, Frame, SizeHint};

use super::{
    deflate::{self, Deflating},
    envelopes::Pass,
    etag,
    line::Pieces,
    mux::Session,
    request::Call,
    stream::Pump,
};

/// What the server writes to the client. Dropping it cancels the call.
pub enum ReplyBody {
    /// Everything is there; its length is known.
    Whole(Bytes),
    /// Messages as they come.
    Stream(Box<Pump>),
    /// Compressed as it is taken.
    Deflating(Box<Deflating>),
    /// gRPC, passed through.
    Pass(Box<Pass>),
    /// Frames of many calls.
    Session(Box<Session>),
    /// What a WebSocket says in a stream of HTTP/2.
    Tunnel(Pieces),
}

/// The reply was broken off on purpose: the client must see it end badly, never well.
#[derive(Debug)]
pub struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the call failed after its reply had begun")
    }
}

impl std::error::Error for Broken {}

impl ReplyBody {
    pub(super) fn empty() -> Self {
        Self::Whole(Bytes::new())
    }

    /// The client has taken nothing for too long: nothing more will be asked for.
    pub fn stalled(&mut self) {
        match self {
            // Their calls have ended.
            Self::Whole(_) | Self::Deflating(_) => {}
            Self::Stream(pump) => pump.stalled(),
            Self::Pass(pass) => pass.stalled(),
            Self::Session(session) => session.stalled(),
            Self::Tunnel(pieces) => pieces.stalled(),
        }
    }
}

impl From<Bytes> for ReplyBody {
    fn from(bytes: Bytes) -> Self {
        Self::Whole(bytes)
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match self.get_mut() {
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Stream(pump) => pump.poll_frame(cx),
            Self::Deflating(body) => {
                body.poll_next(cx).map(|next| next.map(|piece| piece.map(Frame::data).map_err(|_| Broken)))
            }
            Self::Pass(pass) => pass.poll_frame(cx),
            Self::Session(session) => session.poll_frame(cx),
            Self::Tunnel(pieces) => pieces.poll_next(cx).map(|piece| piece.map(|piece| Ok(Frame::data(piece)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Stream(_) | Self::Deflating(_) | Self::Session(_) | Self::Tunnel(_) => false,
            Self::Pass(pass) => pass.is_ended(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Stream(_) | Self::Deflating(_) | Self::Pass(_) | Self::Session(_) | Self::Tunnel(_) => {
                SizeHint::default()
            }
        }
    }
}

/// Asks whoever is on the way not to hold a stream back (nginx's convention), and not to keep it.
pub(super) fn mark_as_stream(headers: &mut HeaderMap) {
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
}

/// Lets the client keep what it asked for, and sends it nothing that it holds already (RFC 9110 §13.1.2, §15.4.5). What the
/// upstream says of either has precedence.
pub(super) fn let_keep(
    call: &Call<'_>,
    cache_control: Option<&HeaderValue>,
    mut response: Response<ReplyBody>,
) -> Response<ReplyBody> {
    if let (Some(policy), Entry::Vacant(entry)) = (cache_control, response.headers_mut().entry(header::CACHE_CONTROL)) {
        entry.insert(policy.clone());
    }
    let tag =
        match (response.headers().get(header::ETAG), response.headers().get(header::CONTENT_TYPE), response.body()) {
            (Some(tag), ..) => tag.clone(),
            (None, Some(content_type), ReplyBody::Whole(bytes)) => etag::strong(content_type, bytes),
            (None, ..) => return response,
        };
    let is_known = etag::is_known(&call.head.headers, &tag);
    response.headers_mut().insert(header::ETAG, tag);
    if is_known { not_modified(call, response) } else { response }
}

/// What is left of an answer that the client has already, its tag and the choice behind it told as the whole answer
/// would (RFC 9110 §15.4.5).
pub(super) fn not_modified(call: &Call<'_>, mut response: Response<ReplyBody>) -> Response<ReplyBody> {
    if call.choose_coding(&mut response).is_some() {
        deflate::weaken(response.headers_mut());
    }
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    *response.body_mut() = ReplyBody::empty();
    response.headers_mut().remove(header::CONTENT_TYPE);
    response
}

/// Whether an answer of this status has a body at all (RFC 9110 §15.3.5, §15.3.6, §15.4.5).
pub(super) fn has_body(status: StatusCode) -> bool {
    !matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED)
}

/// The answer to HEAD: the same head as GET's, its length named, and no body (RFC 9110 §9.3.2). A stream that nobody
/// is to read is cancelled.
pub(super) fn without_body(mut response: Response<ReplyBody>) -> Response<ReplyBody> {
    let has_body = has_body(response.status());
    match response.body_mut() {
        ReplyBody::Whole(bytes) if has_body => {
            let length = HeaderValue::from(bytes.len());
            response.headers_mut().insert(header::CONTENT_LENGTH, length);
        }
        ReplyBody::Stream(pump) => pump.leave(),
        ReplyBody::Whole(_)
        | ReplyBody::Deflating(_)
        | ReplyBody::Pass(_)
        | ReplyBody::Session(_)
        | ReplyBody::Tunnel(_) => {}
    }
    response.map(|_| ReplyBody::empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn head_names_the_length_that_get_would_have() {
        for (status, bytes, length) in [
            (StatusCode::OK, "abc", Some("3")),
            (StatusCode::NOT_FOUND, "", Some("0")),
            (StatusCode::NO_CONTENT, "", None),
            (StatusCode::NOT_MODIFIED, "", None),
        ] {
            let mut response = Response::new(ReplyBody::Whole(bytes.into()));
            *response.status_mut() = status;
            let response = without_body(response);
            let named = response.headers().get(header::CONTENT_LENGTH).map(|length| length.to_str().unwrap());
            assert_eq!(named, length, "{status}");
            assert!(response.body().is_end_stream());
        }
    }
}
