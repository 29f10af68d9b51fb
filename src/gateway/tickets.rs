//! Tickets at the gateway: `POST /-/ticket` gives one for a token, and a URL that bears it is taken for a request with that token.

use bytes::Bytes;
use http::{HeaderValue, Method, Response, Uri, header, request::Parts, uri::PathAndQuery};
use tokio::time::Instant;

use super::{
    Process,
    reply::ReplyBody,
    request::{Call, second_token},
};
use crate::{
    codec, config,
    edge::{NoTicket, TICKET, is_ticket, take_parameter},
    status::{Code, Reason, Status},
};

/// The query parameter that bears a ticket.
const PARAMETER: &str = "ticket";

/// Gives out a ticket for the request's token.
///
/// # Errors
/// UNAUTHENTICATED without one, UNAVAILABLE where as many tickets are out as may be.
pub(super) async fn issue(call: &Call<'_>, settings: &config::Tickets) -> Result<Response<ReplyBody>, Status> {
    let Some(authorization) = call.head.headers.get(header::AUTHORIZATION) else {
        let text = "a ticket takes the place of a token: the request has no header authorization";
        return Err(Status::client(Code::Unauthenticated, text).with_reason(Reason::InvalidHeader));
    };
    let (process, until) = (&call.worker.process, Instant::now() + settings.lifetime);
    let ticket = process.tickets.issue(authorization.clone(), until).map_err(|error| match error {
        NoTicket::Full => Status::gateway(Code::Unavailable, "as many tickets are out as the gateway gives")
            .with_reason(Reason::Overloaded)
            .with_retry_after(settings.lifetime),
        NoTicket::NoRandom => {
            Status::gateway(Code::Internal, "the gateway has no random numbers").with_reason(Reason::Internal)
        }
    })?;
    if let Some(fleet) = &process.fleet
        && fleet.keep(ticket.as_bytes(), authorization.as_bytes().to_vec(), settings.lifetime).await.is_ok()
    {
        // It is any gateway's to redeem, and so not this one's beside.
        process.tickets.redeem(&ticket);
    }
    let mut body = format!("{{\"ticket\":\"{ticket}\",\"expires_in\":").into_bytes();
    codec::write_span(settings.lifetime, &mut body);
    body.push(b'}');
    let mut response = Response::new(ReplyBody::from(Bytes::from(body)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// Whether the URL may bear a ticket.
pub(super) fn is_shown(head: &Parts) -> bool {
    head.method == Method::GET && head.uri.query().is_some_and(|query| query.contains(TICKET))
}

/// Puts a token in the place of the URL's ticket, if it bears one.
///
/// # Errors
/// UNAUTHENTICATED for a ticket that was never issued, was used, or is too old; 400 where there is a token already.
pub(super) async fn redeem(head: &mut Parts, process: &Process) -> Result<(), Status> {
    let (Some(Ok(ticket)), rest) = take_parameter(head.uri.query().unwrap_or_default(), PARAMETER) else {
        return Ok(());
    };
    if !ticket.starts_with(TICKET) {
        return Ok(());
    }
    if head.headers.contains_key(header::AUTHORIZATION) {
        return Err(second_token("the ticket"));
    }
    // Whoever has it, nobody has it any more.
    let of_fleet = match &process.fleet {
        Some(fleet) if is_ticket(&ticket) => fleet.take(ticket.as_bytes()).await.unwrap_or_default(),
        Some(_) | None => None,
    };
    let token = process.tickets.redeem(&ticket).or_else(|| {
        let mut token = HeaderValue::from_maybe_shared(Bytes::from(of_fleet?)).ok()?;
        token.set_sensitive(true);
        Some(token)
    });
    let token = token.ok_or_else(|| {
        Status::client(Code::Unauthenticated, "the ticket is unknown, was used, or is too old: ask for another one")
            .with_reason(Reason::TicketInvalid)
    })?;
    head.headers.insert(header::AUTHORIZATION, token);
    head.uri = with_query(&head.uri, &rest);
    Ok(())
}

/// The same URL with another query.
fn with_query(uri: &Uri, query: &str) -> Uri {
    let mut parts = uri.clone().into_parts();
    let path = uri.path();
    let text = if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") };
    // Never fails: both were parts of one.
    parts.path_and_query = PathAndQuery::try_from(text).ok().or(parts.path_and_query);
    Uri::from_parts(parts).unwrap_or_default()
}
