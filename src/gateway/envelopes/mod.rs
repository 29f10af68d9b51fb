//! Calls whose client sends and takes envelopes as upstreams do: gRPC, and what differs from it in its framing. In
//! protobuf, their messages pass uncut both ways, counted and held to the limits; in JSON, they are cut and transcoded.

mod down;
mod pass;
mod up;

use std::future::poll_fn;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response};
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};
use tokio::time::Instant;

pub(super) use pass::Pass;

use self::{down::Down, up::Up};
use super::{
    BodyError, RequestBody,
    record::Record,
    reply::{ReplyBody, mark_as_stream},
    request::{Call, Opened},
    sealing::Sealing,
};
use crate::{
    call::{ReplyEvent, Transport},
    dialect::{Framing, Payload},
    status::Status,
    wire::{COMPRESSED, metadata},
};

/// Opens the call and answers as soon as the upstream's head is there.
pub(super) async fn serve<B: RequestBody>(
    call: &Call<'_>,
    mut opened: Box<Opened<'_>>,
    framing: Framing,
    record: &mut Record,
    body: B,
) -> Result<Response<ReplyBody>, Status> {
    let request = &call.head.headers;
    let payload = Payload::of(request, opened.route.has_schema)?;
    opened.head.content_type = payload.upstream_type(framing, request);
    let mut up = Up::new(call, &opened, framing, payload)?;
    if payload == Payload::Json {
        // What is cut is compressed anew, if at all, as it is agreed on with the upstream.
        metadata::remove_encodings(&mut opened.head.metadata);
        Sealing::new(call.snapshot, opened.upstream).announce(&mut opened.head.metadata);
    }
    let down = Down::new(call, &opened, framing, payload);
    let mut body = body.map_err(Into::into).boxed_unsync();
    if up.takes_one() {
        // What is not to be sent on is refused before the upstream hears of it.
        first_piece(call, opened.head.deadline, &mut body, &mut up, record).await?;
    }
    let halves = call.destination(&opened)?.open(opened.head).await?;
    let mut pass = Box::new(Pass::new(framing, call.snapshot.clone(), body, up, halves, down, record.take()));
    let head = match poll_fn(|cx| pass.poll_event(cx)).await {
        ReplyEvent::Head(head) => head,
        // Without a head: trailers alone.
        ReplyEvent::End(Err(status)) => {
            *record = pass.give_up();
            return Err(status);
        }
        event => {
            pass.hold(event);
            HeaderMap::new()
        }
    };
    let mut response = pass.respond(head, request);
    if framing.ends_within() && opened.route.server_streaming {
        mark_as_stream(response.headers_mut());
    }
    Ok(response)
}

/// Reads the first bytes of a call's only message.
async fn first_piece(
    call: &Call<'_>,
    deadline: Option<Instant>,
    body: &mut UnsyncBoxBody<Bytes, BodyError>,
    up: &mut Up,
    record: &mut Record,
) -> Result<(), Status> {
    while !up.is_ready(record)? {
        match call.next_frame(body, deadline).await? {
            Some(frame) => up.push(frame.into_data().unwrap_or_default())?,
            None => return up.end(),
        }
    }
    Ok(())
}

/// The flags that messages may have under a head: compressed, where it says how
/// (gRPC over HTTP/2, "Compressed-Flag").
fn flags(head: &HeaderMap) -> u8 {
    match head.get(metadata::ENCODING).map(HeaderValue::as_bytes) {
        None | Some(b"identity") => 0,
        Some(_) => COMPRESSED,
    }
}
