//! The request stream of a call over plain HTTP: the client's body, cut into messages and sent up as the upstream takes
//! them.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::Body;
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};

use super::{
    BodyError, RequestBody,
    destination::Upload,
    record::Record,
    request::{Call, broken_body},
    sealing::Sealing,
    snapshot::{Route, Snapshot},
};
use crate::{
    call::{Closed, Requests},
    codec::{Binding, Bound, Codec},
    dialect::{BodyKind, DecodeError, FormError, FormReader, RequestDecoder},
    limits::COALESCE_BYTES,
    status::Status,
    wire::open_envelope,
};

/// The request stream: the client's body, cut into messages and sent up as the upstream takes them.
pub(super) struct Up {
    body: UnsyncBoxBody<Bytes, BodyError>,
    source: Source,
    requests: Upload,
    bound: Bound,
    sealing: Sealing,
    body_ended: bool,
}

/// What makes messages of the body.
enum Source {
    Values(RequestDecoder),
    /// Messages in protobuf.
    Binary(RequestDecoder),
    /// Raw bytes, and the content type that goes with the first of them.
    Raw(RequestDecoder, String),
    Form(Box<FormReader>),
}

impl Up {
    pub(super) fn new<B: RequestBody>(
        call: &Call<'_>,
        kind: BodyKind,
        body: B,
        requests: Upload,
        bound: Bound,
        sealing: Sealing,
    ) -> Self {
        let message_bytes_max = call.snapshot.limits.request_message_bytes_max;
        let source = match kind {
            BodyKind::Multipart(boundary) => Source::Form(Box::new(FormReader::new(boundary, true, message_bytes_max))),
            BodyKind::RawPieces => {
                Source::Raw(RequestDecoder::new(kind, message_bytes_max), call.content_type().to_owned())
            }
            BodyKind::Delimited => Source::Binary(RequestDecoder::new(kind, message_bytes_max)),
            kind => Source::Values(RequestDecoder::new(kind, message_bytes_max)),
        };
        let body = body.map_err(Into::into).boxed_unsync();
        Self { body, source, requests, bound, sealing, body_ended: false }
    }

    /// Moves what can be moved; ready when the request stream is over.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        snapshot: &Snapshot,
        route: &Route,
        record: &mut Record,
    ) -> Poll<Result<(), Status>> {
        loop {
            if ready!(self.requests.poll_ready(cx)) == Err(Closed) {
                return Poll::Ready(Ok(()));
            }
            let batch = self.batch(snapshot, route, record)?;
            if !batch.is_empty() {
                self.requests.send(batch.into());
                continue;
            }
            if self.body_ended {
                self.requests.finish();
                return Poll::Ready(Ok(()));
            }
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.source.push(data)?;
                    }
                }
                Some(Err(cause)) => return Poll::Ready(Err(broken_body(cause))),
                None => {
                    self.source.end();
                    self.body_ended = true;
                }
            }
        }
    }

    /// The messages that have arrived, joined up to one frame's worth.
    fn batch(&mut self, snapshot: &Snapshot, route: &Route, record: &mut Record) -> Result<Vec<u8>, Status> {
        let mut batch = Vec::new();
        while batch.len() < COALESCE_BYTES {
            let start = open_envelope(&mut batch);
            let given = self.source.next_message(&snapshot.codec, &route.binding, &mut self.bound, &mut batch);
            record.left_out(&self.bound.take_left_out());
            if !given? {
                batch.truncate(start);
                break;
            }
            record.request_message(self.sealing.close(&mut batch, start)?);
        }
        Ok(batch)
    }
}

impl Source {
    fn push(&mut self, piece: Bytes) -> Result<(), Status> {
        match self {
            Self::Values(decoder) | Self::Binary(decoder) | Self::Raw(decoder, _) => {
                decoder.push(piece).map_err(DecodeError::into_status)
            }
            Self::Form(reader) => {
                reader.push(piece);
                Ok(())
            }
        }
    }

    fn end(&mut self) {
        match self {
            Self::Values(decoder) | Self::Binary(decoder) | Self::Raw(decoder, _) => decoder.end(),
            Self::Form(reader) => reader.end(),
        }
    }

    /// Appends the next message; false where more has to arrive, or all was given.
    fn next_message(
        &mut self,
        codec: &Codec,
        binding: &Binding,
        bound: &mut Bound,
        out: &mut Vec<u8>,
    ) -> Result<bool, Status> {
        let decoder = match self {
            Self::Form(reader) => {
                return reader.next_message(codec, binding, bound, out).map_err(FormError::into_status);
            }
            Self::Values(decoder) | Self::Binary(decoder) | Self::Raw(decoder, _) => decoder,
        };
        let Some(piece) = decoder.next_piece().map_err(DecodeError::into_status)? else { return Ok(false) };
        match self {
            Self::Raw(_, content_type) => {
                bound.http_body(codec, binding, &std::mem::take(content_type), &piece.bytes, out)
            }
            Self::Binary(_) => bound.protobuf(codec, binding, &piece.bytes, out),
            Self::Values(_) | Self::Form(_) => bound.message(codec, binding, Some(&piece.bytes), out),
        }
        .map_err(|error| error.starting_at(piece.offset).into_status())?;
        Ok(true)
    }
}
