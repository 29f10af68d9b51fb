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
    record::Record,
    request::{Call, broken_body, close_envelope},
    snapshot::{Route, Snapshot},
};
use crate::{
    call::{Closed, Requests},
    codec::Bound,
    dialect::{BodyKind, DecodeError, RequestDecoder},
    limits::COALESCE_BYTES,
    status::Status,
    upstream::Upload,
    wire::open_envelope,
};

/// The request stream: the client's body, cut into messages and sent up as the upstream takes them.
pub(super) struct Up {
    body: UnsyncBoxBody<Bytes, BodyError>,
    decoder: RequestDecoder,
    requests: Upload,
    bound: Bound,
    content_type: Option<String>,
    /// The messages come in protobuf.
    binary: bool,
    message_bytes_max: usize,
    body_ended: bool,
}

impl Up {
    pub(super) fn new<B: RequestBody>(
        call: &Call<'_>,
        kind: BodyKind,
        body: B,
        requests: Upload,
        bound: Bound,
    ) -> Self {
        let message_bytes_max = call.snapshot.limits.request_message_bytes_max;
        Self {
            body: body.map_err(Into::into).boxed_unsync(),
            decoder: RequestDecoder::new(kind, message_bytes_max),
            requests,
            bound,
            content_type: (kind == BodyKind::RawPieces).then(|| call.content_type().to_owned()),
            binary: kind == BodyKind::Delimited,
            message_bytes_max,
            body_ended: false,
        }
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
                        self.decoder.push(data).map_err(DecodeError::into_status)?;
                    }
                }
                Some(Err(cause)) => return Poll::Ready(Err(broken_body(cause))),
                None => {
                    self.decoder.end();
                    self.body_ended = true;
                }
            }
        }
    }

    /// The messages that have arrived, joined up to one frame's worth.
    fn batch(&mut self, snapshot: &Snapshot, route: &Route, record: &mut Record) -> Result<Vec<u8>, Status> {
        let mut batch = Vec::new();
        while batch.len() < COALESCE_BYTES {
            let Some(piece) = self.decoder.next_piece().map_err(DecodeError::into_status)? else { break };
            let start = open_envelope(&mut batch);
            match &self.content_type {
                Some(kind) => self.bound.http_body(&snapshot.codec, &route.binding, kind, &piece.bytes, &mut batch),
                None if self.binary => self.bound.protobuf(&snapshot.codec, &route.binding, &piece.bytes, &mut batch),
                None => self.bound.message(&snapshot.codec, &route.binding, Some(&piece.bytes), &mut batch),
            }
            .map_err(|error| error.starting_at(piece.offset).into_status())?;
            close_envelope(&mut batch, start, self.message_bytes_max)?;
            record.left_out(&self.bound.take_left_out());
            record.request_message(piece.bytes.len());
        }
        Ok(batch)
    }
}
