//! Which calls share a stream with others, and what they have in common: the head of the upstream's call, made of what is
//! in the key alone. Nothing that one client sends beside that reaches a stream that another reads.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::{
    destination::Shared,
    mirror::Direct,
    request::{Call, Opened},
    snapshot::Snapshot,
};
use crate::{
    call::CallHead,
    config::{self, SlowReader},
    edge::REQUEST_ID,
    share::{Caller, Own, ReadingOn, Resume, Sharing},
    wire::{self, metadata},
};

impl Call<'_> {
    /// None where the upstream waits for whoever reads the call.
    pub(super) fn reading_on(&self, opened: &Opened<'_>) -> Option<ReadingOn> {
        let slow_reader = opened.route.policy.settings.slow_reader.filter(|policy| *policy != SlowReader::Block)?;
        opened.route.server_streaming.then(|| ReadingOn {
            hub: self.worker.process.hub.clone(),
            caller: Caller { path: opened.head.path.clone(), client: self.client.address },
            connection: self.peer.budget.clone(),
            slow_reader,
            reply_bytes_max: self.snapshot.limits.reply_message_bytes_max,
            recorder: self.worker.recorder.clone(),
        })
    }

    /// None where the call has an upstream stream of its own.
    pub(super) fn shared(&self, opened: &Opened<'_>) -> Option<Shared> {
        let route = opened.route;
        let settings = route.policy.settings.share.clone().filter(|_| route.is_shared())?;
        let resume = route.binding.resumes().then(|| resume(self.snapshot.clone(), route.index));
        let (process, recorder) = (self.worker.process.clone(), self.worker.recorder.clone());
        let (client, snapshot) = (self.client.address, self.snapshot.clone());
        let (upstream, start, limits) = (opened.upstream, opened.start, self.snapshot.limits.clone());
        let slow_reader = route.policy.settings.slow_reader.unwrap_or(SlowReader::Disconnect);
        Some(Arc::new(move |head: CallHead, transport: Direct| {
            let encodings = encodings(&head.metadata);
            Sharing {
                hub: process.hub.clone(),
                transport,
                own: Own { client, start, deadline: head.deadline, encodings, first: request_id(&head.metadata) },
                head: common(head, &settings),
                settings: settings.clone(),
                slow_reader,
                upstream: snapshot.upstream_name(upstream).to_owned(),
                resume: resume.clone(),
                recorder: recorder.clone(),
                drain: process.drain.clone(),
                request_bytes_max: limits.request_message_bytes_max,
                reply_bytes_max: limits.reply_message_bytes_max,
            }
        }))
    }
}

/// What of a call's head is the same for all that share its stream.
fn common(head: CallHead, settings: &config::Share) -> CallHead {
    let is_common = |name: &HeaderName| {
        let is_credential = matches!(*name, header::AUTHORIZATION | header::COOKIE);
        is_credential && !settings.public || settings.key.iter().any(|key| name == key.as_str())
    };
    let mut metadata = HeaderMap::new();
    for (name, value) in head.metadata.iter().filter(|(name, _)| is_common(name)) {
        metadata.append(name.clone(), value.clone());
    }
    // What is shared has a schema, and then no client has messages of another type.
    let content_type = HeaderValue::from_static("application/grpc");
    CallHead { path: head.path, content_type, metadata, deadline: None }
}

/// By which the access record of the first call is found.
fn request_id(head: &HeaderMap) -> HeaderMap {
    head.get(REQUEST_ID).map(|id| (REQUEST_ID, id.clone())).into_iter().collect()
}

/// How a call's own request may be compressed.
fn encodings(head: &HeaderMap) -> HeaderMap {
    head.iter()
        .filter(|(name, _)| metadata::is_encoding(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// Makes the request that goes on after a message.
fn resume(snapshot: Arc<Snapshot>, route: u32) -> Resume {
    Arc::new(move |request, message| {
        let route = snapshot.route(route)?;
        let message = route.binding.request_after(&snapshot.codec, request, message)?;
        let mut envelope = Vec::with_capacity(wire::PREFIX_BYTES + message.len());
        let start = wire::open_envelope(&mut envelope);
        envelope.extend_from_slice(&message);
        wire::close_envelope(&mut envelope, start).ok()?;
        Some(Bytes::from(envelope))
    })
}
