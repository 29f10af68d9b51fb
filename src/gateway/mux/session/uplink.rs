//! The way up of a session: each POST brings frames, one POST at a time.

use std::future::poll_fn;

use http::{Response, StatusCode};
use tokio::time::timeout_at;

use crate::{
    dialect::{DecodeError, RequestDecoder, mux::PostHead},
    gateway::{RequestBody, inflate::Decoded, record::Record, reply::ReplyBody, request::Call},
    status::{Code, Reason, Status},
};

/// Answers a POST when its session has taken all of its frames. None of them is taken before the last one has arrived: what breaks
/// off may come again.
///
/// # Errors
/// What is refused before the body is read (a page of a foreign origin, the head, an unknown session, a number out of order), a body that does
/// not come or is too large, frames that are none, and a session that does not read.
pub(in crate::gateway::mux) async fn take<B: RequestBody>(
    call: &Call<'_>,
    record: &mut Record,
    body: B,
) -> Result<Response<ReplyBody>, Status> {
    let limits = &call.snapshot.limits;
    call.snapshot.cors.refuse_cross_site(&call.head.headers, call.origin)?;
    let head = PostHead::of(&call.head.headers)?;
    let mailbox = call.worker.process.sessions.find(&head.session)?;
    head.check_form(mailbox.form())?;
    let post = mailbox.begin(head.sequence)?;
    let deadline = call.started.checked_add(limits.unary_timeout);
    let mut frames = None;
    if !post.is_taken() {
        let body = Decoded::new(call, body, limits.request_message_bytes_max)?;
        let whole = call.read_whole(body, deadline).await?;
        record.request_message(whole.len());
        let mut decoder = RequestDecoder::new(head.body, limits.request_message_bytes_max);
        decoder.push(whole).map_err(DecodeError::into_status)?;
        decoder.end();
        frames = Some(decoder);
    }
    let delivered = poll_fn(|cx| post.poll_deliver(cx, &mut frames));
    match deadline {
        Some(deadline) => timeout_at(deadline, delivered).await.unwrap_or_else(|_| Err(unread()))?,
        None => delivered.await?,
    }
    let mut response = Response::new(ReplyBody::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    Ok(record.take().answered(response))
}

fn unread() -> Status {
    Status::client(Code::DeadlineExceeded, "the session takes no frames: what it has to tell is not read")
        .with_reason(Reason::DeadlineExceeded)
}
