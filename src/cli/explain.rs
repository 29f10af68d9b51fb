//! `tidegate explain`: one request goes through the gateway that would serve it, in front of an upstream that only
//! listens.

use std::{io, process::ExitCode, sync::Arc};

use arc_swap::ArcSwap;
use bytes::Bytes;
use clap::Args;
use http::{HeaderValue, Request, Response, Version, header, request::Parts};
use http_body_util::{BodyExt, Collected, Full};
use serde_json::Value;
use tokio::runtime;

use super::{
    Addresses, Source,
    boot::{self, BootError, say},
    listener::{self, HeardCall},
    routes::{policy_text, upstreams_text},
};
use crate::{
    config::{EndpointUrl, Settings, Upstream},
    dialect::Dialect,
    drain::Drain,
    edge::Peer,
    gateway::{Explained, Gateway, Listed, Process, Snapshot},
    route::Difference,
    telemetry::Telemetry,
    upstream::{Cluster, Pool},
};

#[derive(Debug, Args)]
#[command(after_help = "Exit codes: 0 where the request is served, 1 where it is refused, 2 for a configuration that \
                        cannot be served.")]
pub(super) struct Explain {
    /// The request, such as 'GET https://host/v1/posts?liker=ann'; GET and the host may be left out.
    request: String,
    /// A header, such as 'accept: text/event-stream'; may be given several times.
    #[arg(long, short = 'H', value_name = "NAME: VALUE")]
    header: Vec<String>,
    /// The body; with `-H 'content-type: …'` where it is not JSON.
    #[arg(long, short, value_name = "BODY")]
    data: Option<String>,
    #[command(flatten)]
    source: Source,
}

impl Explain {
    pub(super) fn run(&self) -> Result<ExitCode, BootError> {
        let request = self.request().map_err(BootError::Config)?;
        let settings = self.source.settings(&Addresses::default())?;
        let snapshot = Arc::new(boot::snapshot(&settings)?);
        let (head, body) = request.into_parts();
        let mut text = Text::of(&head, snapshot.dialect(&head));
        let explained = snapshot.explain(&head);
        if let Explained::Route { listed, captures } = &explained {
            text.route(listed, captures);
        }
        let is_served = match explained {
            Explained::Own(what) => {
                text.line("answer", &format!("the gateway's own: {what}"));
                true
            }
            Explained::Route { .. } if snapshot.dialect(&head) == Dialect::WebSocket => {
                text.line("message", "each frame is one");
                true
            }
            explained => {
                let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(BootError::run)?;
                let sent = runtime.block_on(send(&settings, &snapshot, Request::from_parts(head, body)))?;
                match &sent.call {
                    Some(call) => text.call(&snapshot, call),
                    None => text.refusal(&sent.response),
                }
                if let Explained::Nowhere { other_verbs, unmet, near } = &explained {
                    text.nearest(other_verbs, unmet, near);
                }
                sent.call.is_some()
            }
        };
        say(&text.0);
        Ok(if is_served { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    /// The request as an HTTP server would give it.
    fn request(&self) -> Result<Request<Full<Bytes>>, String> {
        let text = self.request.trim();
        let (method, url) = text.split_once(' ').unwrap_or(("GET", text));
        let url = if url.starts_with('/') { format!("https://localhost{url}") } else { url.trim().to_owned() };
        if !url.contains("://") {
            return Err(format!("{text:?} has no URL, such as https://host/path or /path"));
        }
        let mut request = Request::builder().method(method).uri(url).version(Version::HTTP_2);
        for header in &self.header {
            let (name, value) = header.split_once(':').ok_or(format!("-H {header:?} has no colon"))?;
            request = request.header(name.trim(), value.trim());
        }
        let body = Full::new(Bytes::from(self.data.clone().unwrap_or_default()));
        let mut request = request.body(body).map_err(|error| format!("{text:?} is no request: {error}"))?;
        let is_socket = matches!(request.uri().scheme_str(), Some("ws" | "wss"));
        let headers = request.headers_mut();
        if self.data.is_some() && !headers.contains_key(header::CONTENT_TYPE) {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        if is_socket {
            headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            *request.version_mut() = Version::HTTP_11;
        }
        Ok(request)
    }
}

/// What came of a request.
struct Outcome {
    /// The call that reached the upstream whole.
    call: Option<HeardCall>,
    response: Response<Bytes>,
}

/// Lets a gateway serve the request, with every upstream replaced by one that only listens.
async fn send(
    settings: &Settings,
    snapshot: &Arc<Snapshot>,
    request: Request<Full<Bytes>>,
) -> Result<Outcome, BootError> {
    let (address, mut calls) = listener::listen().await.map_err(BootError::run)?;
    let endpoint = EndpointUrl::Http { host: address.ip().to_string(), port: address.port() };
    // One more stands in for the gateway's own services.
    let upstreams = settings.upstreams.iter().chain(settings.upstreams.first());
    let clusters = upstreams.map(|upstream| {
        let listening = Upstream { endpoints: vec![endpoint.clone()], ..upstream.clone() };
        Cluster::new(&listening).map(Pool::new).map_err(BootError::config)
    });
    let pools = clusters.collect::<Result<_, _>>()?;
    let telemetry = Telemetry::to(Box::new(io::sink()), 1, false);
    let current = Arc::new(ArcSwap::new(snapshot.clone()));
    let process = Process::new(&settings.limits, None, Drain::new(), 0);
    let gateway = Gateway::new(current, pools, telemetry.recorder(), process, 0);
    let tls = matches!(request.uri().scheme_str(), Some("https" | "wss"));
    let peer = Arc::new(Peer { tls, ..Peer::unknown() });
    let (head, body) = gateway.serve(peer, request).await.into_parts();
    // A reply that breaks off says no more than its head.
    let body = body.collect().await.map(Collected::to_bytes).unwrap_or_default();
    let call = calls.try_recv().ok().filter(|call| call.is_whole);
    Ok(Outcome { call, response: Response::from_parts(head, body) })
}

/// What is printed: a word, and what it is about, on each line.
struct Text(String);

impl Text {
    fn of(head: &Parts, dialect: Dialect) -> Self {
        let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
        let mut text = Self(format!("{} {target}\n\n", head.method));
        text.line("dialect", dialect.name());
        text
    }

    fn line(&mut self, word: &str, what: &str) {
        self.0.push_str(format!("{word:9} {what}").trim_end());
        self.0.push('\n');
    }

    fn route(&mut self, listed: &Listed, captures: &[(String, String)]) {
        self.line("rule", &format!("{} {}", listed.verbs.join(","), listed.path));
        self.line("method", &format!("{} ({})", listed.method, listed.kind));
        captures.iter().for_each(|(variable, value)| self.line("captured", &format!("{variable} = {value:?}")));
        if !listed.when.is_empty() {
            self.line("when", &listed.when);
        }
        self.line("upstream", &upstreams_text(listed));
        self.line("policy", &policy_text(listed));
    }

    fn nearest(&mut self, other_verbs: &[Listed], unmet: &[Listed], near: &[(Listed, Difference)]) {
        let rule = |listed: &Listed| format!("{} {}  {}", listed.verbs.join(","), listed.path, listed.method);
        for listed in other_verbs {
            self.line("instead", &rule(listed));
        }
        for listed in unmet {
            self.line("only when", &format!("{}  {}", listed.when, listed.method));
        }
        for (listed, difference) in near {
            self.line("near", &rule(listed));
            self.line("", &difference.to_string());
        }
    }

    fn call(&mut self, snapshot: &Snapshot, call: &HeardCall) {
        let sent = call.metadata.iter().filter(|(name, _)| !NOT_TOLD.contains(&name.as_str()));
        for (name, value) in sent {
            self.line("metadata", &format!("{name}: {}", value.to_str().unwrap_or("(bytes)")));
        }
        for message in &call.messages {
            match snapshot.request_json(&call.path, message) {
                Ok(json) => self.line("message", &json),
                Err(_) => self.line("message", &format!("{} bytes that JSON cannot tell", message.len())),
            }
        }
    }

    fn refusal(&mut self, response: &Response<Bytes>) {
        let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
        let body: Value = serde_json::from_slice(response.body()).unwrap_or_default();
        let reason = body["details"].as_array().into_iter().flatten().find_map(|detail| detail["reason"].as_str());
        let message = header("grpc-message").or(body["message"].as_str()).unwrap_or_default();
        let code = match header("grpc-status") {
            Some(code) => format!("grpc-status {code}"),
            None => response.status().to_string(),
        };
        let reason = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
        self.line("answer", &format!("{code}: {message}{reason}"));
    }
}

/// What every call has, or what differs each time.
const NOT_TOLD: [&str; 6] =
    ["te", "content-type", "user-agent", "grpc-timeout", "x-request-id", "grpc-accept-encoding"];
