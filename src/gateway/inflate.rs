//! A request's body in a content coding, as the plain bytes that it stands for (RFC 9110 §8.4).

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body::{Body, Frame, SizeHint};

use super::{BodyError, RequestBody, request::Call};
use crate::{
    coding::{Coding, HTTP_ACCEPTED, IDENTITY, Inflater},
    dialect::Dialect,
    limits::COALESCE_BYTES,
    status::{Code, Reason, Status},
};

/// A request's body without its content coding.
pub(super) enum Decoded<B> {
    Plain(B),
    Coded(Box<Coded<B>>),
}

/// Inflates what arrives, a frame's worth at a time, when it is asked for.
pub(super) struct Coded<B> {
    body: B,
    inflater: Inflater,
    /// Arrived, and not inflated yet.
    piece: Bytes,
    /// More may come of what has arrived.
    full: bool,
    /// Others had their turn since the last frame.
    rested: bool,
    /// Nothing has arrived, and nothing is nothing in every coding.
    is_empty: bool,
}

impl<B: RequestBody> Decoded<B> {
    /// `bytes_max`: of what it inflates to.
    ///
    /// # Errors
    /// 415 (501 in Connect) for a coding that is not known, and for several at once.
    pub(super) fn new(call: &Call<'_>, body: B, bytes_max: usize) -> Result<Self, Status> {
        if !call.dialect.codes_bodies() || body.is_end_stream() {
            return Ok(Self::Plain(body));
        }
        let coding = content_coding(&call.head.headers).map_err(|status| match call.dialect {
            Dialect::Connect => status.with_http(StatusCode::NOT_IMPLEMENTED),
            _ => status,
        })?;
        let Some(coding) = coding else { return Ok(Self::Plain(body)) };
        let inflater = Inflater::new(coding, bytes_max);
        Ok(Self::Coded(Box::new(Coded {
            body,
            inflater,
            piece: Bytes::new(),
            full: false,
            rested: false,
            is_empty: true,
        })))
    }
}

impl<B: RequestBody> Body for Decoded<B> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Plain(body) => Pin::new(body).poll_frame(cx).map_err(Into::into),
            Self::Coded(coded) => coded.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Plain(body) => body.is_end_stream(),
            // Whether it is whole is found out by asking for more.
            Self::Coded(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Plain(body) => body.size_hint(),
            Self::Coded(_) => SizeHint::default(),
        }
    }
}

impl<B: RequestBody> Coded<B> {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            if !self.full {
                match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(data) => {
                            self.is_empty &= data.is_empty();
                            self.piece = data;
                        }
                        Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                    },
                    Some(Err(cause)) => return Poll::Ready(Some(Err(cause.into()))),
                    None if self.is_empty => return Poll::Ready(None),
                    None => return Poll::Ready(self.inflater.finish().err().map(|error| Err(error.into()))),
                }
            } else if !std::mem::replace(&mut self.rested, true) {
                // A few bytes may inflate to very many, and the worker has other calls.
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let plain = self.inflate()?;
            if !plain.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(plain))));
            }
        }
    }

    fn inflate(&mut self) -> Result<Bytes, BodyError> {
        let (mut input, mut plain) = (&*self.piece, Vec::new());
        self.inflater.inflate(&mut input, COALESCE_BYTES, &mut plain)?;
        let taken = self.piece.len() - input.len();
        self.piece.advance(taken);
        (self.full, self.rested) = (plain.len() == COALESCE_BYTES, false);
        Ok(plain.into())
    }
}

/// The coding that the head names.
fn content_coding(headers: &HeaderMap) -> Result<Option<Coding>, Status> {
    let values = headers.get_all(header::CONTENT_ENCODING).iter();
    let names = values.flat_map(|value| value.to_str().unwrap_or("?").split(',')).map(str::trim);
    let mut named = names.filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case(IDENTITY));
    let Some(name) = named.next() else { return Ok(None) };
    if named.next().is_some() {
        return Err(unsupported("must be one alone that is understood"));
    }
    Coding::parse(name).map(Some).ok_or_else(|| unsupported("must be one that is understood"))
}

/// Tells what may be sent instead (RFC 9110 §12.5.3).
fn unsupported(text: &'static str) -> Status {
    Status::client(Code::Unimplemented, format!("header content-encoding: {text}: {HTTP_ACCEPTED}"))
        .with_http(StatusCode::UNSUPPORTED_MEDIA_TYPE)
        .with_header(header::ACCEPT_ENCODING, HeaderValue::from_static(HTTP_ACCEPTED))
        .with_reason(Reason::UnsupportedMediaType)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_coding_that_is_known_is_understood() {
        for (values, expected) in [
            (&[][..], Ok(None)),
            (&["identity"], Ok(None)),
            (&[""], Ok(None)),
            (&["gzip"], Ok(Some(Coding::Gzip))),
            (&["Identity, BR "], Ok(Some(Coding::Brotli))),
            (&["identity", "zstd"], Ok(Some(Coding::Zstd))),
            (&["deflate"], Err("must be one that is understood")),
            (&["gz\u{ff}ip"], Err("must be one that is understood")),
            (&["gzip, br"], Err("must be one alone that is understood")),
            (&["gzip", "gzip"], Err("must be one alone that is understood")),
        ] {
            let value = |text: &&str| (header::CONTENT_ENCODING, HeaderValue::from_bytes(text.as_bytes()).unwrap());
            let read = content_coding(&values.iter().map(value).collect());
            let expected = expected.map_err(|text| format!("header content-encoding: {text}: zstd, br, gzip"));
            assert_eq!(read.map_err(|status| status.message().to_owned()), expected, "{values:?}");
        }
    }

    #[test]
    fn what_is_told_is_what_is_understood() {
        let told: Vec<_> = HTTP_ACCEPTED.split(", ").filter_map(Coding::parse).collect();
        assert_eq!(told, Coding::ALL);
    }
}
