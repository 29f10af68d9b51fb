//! One message there, one back: the status is still free when the reply is known.

use http::{Response, StatusCode, header};

use super::{
    RequestBody,
    record::Record,
    reply::{self, ReplyBody},
    request::{Call, Opened},
    snapshot::Route,
    stream::new_encoder,
};
use crate::{
    call::{Transport, UnaryReply},
    codec::OutputError,
    dialect::{self, Dialect, ReplyEncoder, VARY, connect},
    edge::response_status,
    status::Status,
};

pub(super) async fn serve<B: RequestBody>(
    call: &Call<'_>,
    opened: Box<Opened<'_>>,
    record: &mut Record,
    body: B,
) -> Result<Response<ReplyBody>, Status> {
    let mut bound = opened.bind(call)?;
    let envelope = call.request_envelope(&opened, &mut bound, body, record).await?;
    let destination = call.destination(&opened)?;
    let reply = destination.unary(opened.head, envelope, call.snapshot.limits.reply_message_bytes_max).await?;
    whole(call, opened.route, &reply, record)
}

/// The reply of a call that answers with one message.
pub(super) fn whole(
    call: &Call<'_>,
    route: &Route,
    upstream: &UnaryReply,
    record: &mut Record,
) -> Result<Response<ReplyBody>, Status> {
    let codec = &call.snapshot.codec;
    record.reply_message(upstream.message.len());
    let mut encoder = new_encoder(call, route);
    let mut body = Vec::with_capacity(upstream.message.len() * 2 + 64);
    encoder.begin(call.worker.retry(&call.snapshot.limits), &mut body);
    encoder.message(codec, &route.binding, &upstream.message, &mut body).map_err(OutputError::into_status)?;
    let _ = encoder.end(Ok(()), codec, &mut body);
    let content_type = match encoder.content_type() {
        Some(content_type) => content_type,
        None => ReplyEncoder::raw_content_type(&route.binding, &upstream.message).map_err(OutputError::into_status)?,
    };

    // In Connect, success is 200.
    let asked = || response_status(&upstream.head).or_else(|| response_status(&upstream.trailers));
    let is_connect = call.dialect == Dialect::Connect;
    let status = if is_connect { StatusCode::OK } else { asked().unwrap_or_default() };
    let has_body = reply::has_body(status);
    let mut response = Response::new(if has_body { ReplyBody::Whole(body.into()) } else { ReplyBody::empty() });
    *response.status_mut() = status;
    let headers = response.headers_mut();
    if has_body {
        headers.insert(header::CONTENT_TYPE, content_type);
    }
    headers.insert(header::VARY, VARY);
    if is_connect {
        connect::lead(&upstream.head, headers);
        connect::trail(&upstream.trailers, headers);
    } else {
        route.policy.headers.response(&upstream.head, headers);
        route.policy.headers.response(&upstream.trailers, headers);
    }
    record.warn(headers);
    if encoder.is_stream() {
        reply::mark_as_stream(headers);
    } else if status == StatusCode::OK && dialect::is_safe(&call.head.method) {
        response = reply::let_keep(call, route.policy.settings.cache_control.as_ref(), response);
    }
    if let Some(coded) = &upstream.coded {
        call.reuse(&mut response, &upstream.message, coded);
    }
    record.http_status(response.status());
    record.finish(Ok(()));
    Ok(response)
}
