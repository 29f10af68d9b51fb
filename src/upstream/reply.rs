//! The way down of one stream: a response's head, data and trailers as [`ReplyEvent`]s. Knows nothing of deadlines.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use h2::{RecvStream, client::ResponseFuture};

use super::failure;
use crate::call::ReplyEvent;

/// Taken bytes are told to the peer in portions: h2 opens a window in halves anyway, and each telling costs a lock.
const RELEASE_BYTES: usize = 32 << 10;

/// An HTTP/2 response as it arrives. Dropped before its end, it resets the stream once the request's half is gone too.
pub(super) struct Reply {
    stage: Stage,
    /// Bytes handed out by which the window was not yet opened again.
    taken: usize,
    unprocessed: bool,
}

enum Stage {
    Head(ResponseFuture),
    Data(RecvStream),
    Trailers(RecvStream),
    End,
}

impl Reply {
    pub(super) fn new(response: ResponseFuture) -> Self {
        Self { stage: Stage::Head(response), taken: 0, unprocessed: false }
    }

    /// True where it failed before the peer had processed anything of the request.
    pub(super) fn is_unprocessed(&self) -> bool {
        self.unprocessed
    }

    pub(super) fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<ReplyEvent> {
        loop {
            let event = match &mut self.stage {
                Stage::Head(response) => {
                    let head = ready!(Pin::new(response).poll(cx));
                    self.on_head(head)
                }
                Stage::Data(body) => {
                    let data = ready!(body.poll_data(cx));
                    self.on_data(data)
                }
                Stage::Trailers(body) => {
                    let trailers = ready!(body.poll_trailers(cx));
                    Some(self.on_trailers(trailers))
                }
                Stage::End => Some(ReplyEvent::End(Err(failure::protocol(
                    crate::status::Code::Internal,
                    "the upstream's answer has already ended",
                )))),
            };
            if let Some(event) = event {
                if matches!(event, ReplyEvent::End(_)) {
                    self.stage = Stage::End;
                }
                return Poll::Ready(event);
            }
        }
    }

    fn on_head(&mut self, head: Result<http::Response<RecvStream>, h2::Error>) -> Option<ReplyEvent> {
        let response = match head {
            Ok(response) => response,
            Err(error) => {
                self.unprocessed = failure::is_unprocessed(&error);
                return Some(ReplyEvent::End(Err(failure::stream(error))));
            }
        };
        let (mut parts, body) = response.into_parts();
        if let Some(end) = failure::early_end(parts.status, &mut parts.headers, body.is_end_stream()) {
            return Some(ReplyEvent::End(end));
        }
        failure::strip_reserved(&mut parts.headers);
        self.stage = Stage::Data(body);
        Some(ReplyEvent::Head(parts.headers))
    }

    /// None: nothing to hand out yet, and something else to poll.
    fn on_data(&mut self, data: Option<Result<bytes::Bytes, h2::Error>>) -> Option<ReplyEvent> {
        match data {
            Some(Ok(piece)) if piece.is_empty() => None,
            Some(Ok(piece)) => {
                self.release(piece.len());
                Some(ReplyEvent::Data(piece))
            }
            Some(Err(error)) => Some(ReplyEvent::End(Err(failure::stream(error)))),
            None => {
                if let Stage::Data(body) = std::mem::replace(&mut self.stage, Stage::End) {
                    self.stage = Stage::Trailers(body);
                }
                None
            }
        }
    }

    fn on_trailers(&mut self, trailers: Result<Option<http::HeaderMap>, h2::Error>) -> ReplyEvent {
        ReplyEvent::End(match trailers {
            Ok(trailers) => failure::end(trailers.unwrap_or_default()),
            Err(error) => Err(failure::stream(error)),
        })
    }

    fn release(&mut self, len: usize) {
        self.taken += len;
        if let (true, Stage::Data(body)) = (self.taken >= RELEASE_BYTES, &mut self.stage) {
            // Fails only for a stream that is over, whose window h2 gives back by itself.
            let _ = body.flow_control().release_capacity(self.taken);
            self.taken = 0;
        }
    }
}
