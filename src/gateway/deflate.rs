//! Replies in a content coding, where the client takes one and it is worth it (RFC 9110 §8.4, §12.5.3).

use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body::Frame;

use super::{
    reply::{Broken, ReplyBody},
    request::Call,
};
use crate::{
    coding::{Accepted, Coding, DeflateError, Deflater, deflate},
    dialect::media_type,
    wire::Coded,
};

/// A larger body is compressed piece by piece as it is taken, so that no other call waits long for the worker.
const AT_ONCE_BYTES_MAX: usize = 128 << 10;

/// Taken of it at a time.
const PIECE_BYTES: usize = 32 << 10;

/// The choice went by this header too.
const VARY: HeaderValue = HeaderValue::from_static("accept-encoding");

/// A large body while it is compressed.
pub struct Deflating {
    plain: Bytes,
    /// None after the end.
    deflater: Option<Deflater>,
    /// Others had their turn since the last piece.
    rested: bool,
}

impl Deflating {
    /// The next piece, when others had their turn; none after the last.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, DeflateError>>> {
        if !std::mem::replace(&mut self.rested, true) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.rested = false;
        Poll::Ready(self.next())
    }

    fn next(&mut self) -> Option<Result<Bytes, DeflateError>> {
        self.deflater.as_ref()?;
        let mut coded = Vec::new();
        // The first pieces may vanish into the compressor's window.
        while coded.is_empty() {
            let Some(deflater) = &mut self.deflater else { break };
            let piece = self.plain.split_to(PIECE_BYTES.min(self.plain.len()));
            let mut done = deflater.push(&piece, &mut coded);
            if self.plain.is_empty() {
                done = done.and_then(|()| deflater.finish(&mut coded));
                self.deflater = None;
            }
            if let Err(error) = done {
                return Some(Err(error));
            }
        }
        Some(Ok(coded.into()))
    }
}

impl Call<'_> {
    /// Compresses a whole reply where it should be.
    pub(super) fn deflate(&self, mut response: Response<ReplyBody>) -> Response<ReplyBody> {
        let Some(coding) = self.choose_coding(&mut response) else { return response };
        let ReplyBody::Whole(plain) = response.body() else { return response };
        let levels = self.snapshot.compression.levels;
        let body = if plain.len() <= AT_ONCE_BYTES_MAX {
            deflate(coding, levels, plain).map(|coded| ReplyBody::Whole(coded.into()))
        } else {
            let deflater = Deflater::whole(coding, levels, plain.len());
            let deflating = |deflater| Deflating { plain: plain.clone(), deflater: Some(deflater), rested: true };
            deflater.map(|deflater| ReplyBody::Deflating(Box::new(deflating(deflater))))
        };
        // Without memory to compress in it goes as it is.
        if let Ok(body) = body {
            *response.body_mut() = body;
            mark(coding, response.headers_mut());
        }
        response
    }

    /// Sends what the upstream has compressed already, where the reply is that message and the client takes its coding.
    pub(super) fn reuse(&self, response: &mut Response<ReplyBody>, message: &Bytes, coded: &Coded) {
        let is_message = matches!(response.body(), ReplyBody::Whole(body) if body == message);
        let algorithms = &self.snapshot.compression.algorithms;
        if !is_message || !algorithms.contains(&coded.coding) || self.choose_coding(response).is_none() {
            return;
        }
        // Among those that the client weighs alike, what is there already comes first.
        let offered = [&[coded.coding], &algorithms[..]].concat();
        if self.accepted().choose(&offered) == Some(coded.coding) {
            *response.body_mut() = ReplyBody::Whole(coded.bytes.clone());
            mark(coded.coding, response.headers_mut());
        }
    }

    /// The compressor of a stream, where that is wanted and the client takes it; the head then says so.
    pub(super) fn deflate_stream(&self, is_wanted: bool, headers: &mut HeaderMap) -> Option<Deflater> {
        let compression = &self.snapshot.compression;
        if !is_wanted || compression.algorithms.is_empty() || !is_worth_it(headers) {
            return None;
        }
        headers.append(header::VARY, VARY);
        let coding = self.accepted().choose(&compression.algorithms)?;
        let deflater = Deflater::stream(coding, compression.levels).ok()?;
        mark(coding, headers);
        Some(deflater)
    }

    /// The coding that a whole reply is to be sent in. Where that depends on the client, the head says so.
    pub(super) fn choose_coding(&self, response: &mut Response<ReplyBody>) -> Option<Coding> {
        let compression = &self.snapshot.compression;
        let ReplyBody::Whole(bytes) = response.body() else { return None };
        if bytes.is_empty() || compression.algorithms.is_empty() || !self.dialect.codes_bodies() {
            return None;
        }
        let accepted = self.accepted();
        let is_large = bytes.len() >= compression.bytes_min || accepted.refuses_identity();
        if !is_large || response.status() == StatusCode::PARTIAL_CONTENT || !is_worth_it(response.headers()) {
            return None;
        }
        // A file whose coding was chosen already has said so.
        if !response.headers().get_all(header::VARY).iter().any(|value| value == VARY) {
            response.headers_mut().append(header::VARY, VARY);
        }
        accepted.choose(&compression.algorithms)
    }

    fn accepted(&self) -> Accepted {
        let values = self.head.headers.get_all(header::ACCEPT_ENCODING);
        Accepted::parse(values.iter().filter_map(|value| value.to_str().ok()))
    }
}

/// A piece of a stream, so that the client can read all of it.
pub(super) fn piece(deflater: Option<&mut Deflater>, plain: Bytes) -> Result<Bytes, Broken> {
    let Some(deflater) = deflater else { return Ok(plain) };
    let mut coded = Vec::new();
    deflater.push(&plain, &mut coded).and_then(|()| deflater.flush(&mut coded)).map_err(|_| Broken)?;
    Ok(coded.into())
}

/// The last bytes of a compressed stream.
pub(super) fn end(mut deflater: Deflater) -> Result<Frame<Bytes>, Broken> {
    let mut coded = Vec::new();
    deflater.finish(&mut coded).map_err(|_| Broken)?;
    Ok(Frame::data(coded.into()))
}

/// What two codings of one representation share is a weak tag (RFC 9110 §8.8.1, §8.8.3.3).
pub(super) fn weaken(headers: &mut HeaderMap) {
    let Some(tag) = headers.get_mut(header::ETAG).filter(|tag| !tag.as_bytes().starts_with(b"W/")) else { return };
    if let Ok(weak) = HeaderValue::from_bytes(&[b"W/", tag.as_bytes()].concat()) {
        *tag = weak;
    }
}

pub(super) fn mark(coding: Coding, headers: &mut HeaderMap) {
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
    headers.remove(header::CONTENT_LENGTH);
    weaken(headers);
}

/// Whether a body with this head shrinks, and may be changed on the way (RFC 9111 §5.2.2.6).
fn is_worth_it(headers: &HeaderMap) -> bool {
    let is_fixed = headers.contains_key(header::CONTENT_ENCODING)
        || headers.contains_key(header::CONTENT_RANGE)
        || headers.get_all(header::CACHE_CONTROL).iter().any(forbids_transforms);
    !is_fixed && media_type(headers, &header::CONTENT_TYPE).is_some_and(shrinks)
}

fn forbids_transforms(value: &HeaderValue) -> bool {
    let mut directives = value.as_bytes().split(|byte| *byte == b',');
    directives.any(|directive| directive.trim_ascii().eq_ignore_ascii_case(b"no-transform"))
}

/// Texts and messages; pictures, archives and what is unknown are compressed already or not to be known.
fn shrinks(media_type: &str) -> bool {
    let name = media_type.to_ascii_lowercase();
    let Some((kind, subtype)) = name.split_once('/') else { return false };
    match kind {
        "text" => true,
        "application" if subtype.starts_with("grpc") || subtype.starts_with("connect+") => false,
        "application" | "image" => {
            let known = [
                "json",
                "x-ndjson",
                "jsonl",
                "json-seq",
                "x-protobuf",
                "protobuf",
                "proto",
                "javascript",
                "xml",
                "wasm",
                "yaml",
            ];
            known.contains(&subtype) || subtype.ends_with("+json") || subtype.ends_with("+xml")
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_messages_are_worth_it_and_what_must_not_change_is_not() {
        for (content_type, other, worth_it) in [
            ("application/json", None, true),
            ("application/problem+json", None, true),
            ("Text/HTML; charset=utf-8", None, true),
            ("text/event-stream", None, true),
            ("image/svg+xml", None, true),
            ("application/x-protobuf", None, true),
            ("image/png", None, false),
            ("application/zip", None, false),
            ("application/octet-stream", None, false),
            ("application/grpc-web+json", None, false),
            ("application/grpc+json", None, false),
            ("application/connect+json", None, false),
            ("json", None, false),
            ("application/json", Some((header::CONTENT_ENCODING, "gzip")), false),
            ("application/json", Some((header::CONTENT_RANGE, "bytes 0-1/2")), false),
            ("application/json", Some((header::CACHE_CONTROL, "no-store")), true),
            ("application/json", Some((header::CACHE_CONTROL, "private,  No-Transform")), false),
        ] {
            let mut headers: HeaderMap =
                [(header::CONTENT_TYPE, HeaderValue::from_static(content_type))].into_iter().collect();
            headers.extend(other.clone().map(|(name, value)| (name, HeaderValue::from_static(value))));
            assert_eq!(is_worth_it(&headers), worth_it, "{content_type} {other:?}");
        }
    }

    #[test]
    fn a_tag_is_weakened_once() {
        for (tag, weak) in [("\"a\"", "W/\"a\""), ("W/\"a\"", "W/\"a\"")] {
            let mut headers: HeaderMap = [(header::ETAG, HeaderValue::from_static(tag))].into_iter().collect();
            weaken(&mut headers);
            assert_eq!(headers[header::ETAG], weak);
        }
    }
}
