//! `tidegate demo`: the gateway in front of services that live in the same process.

use std::{net::SocketAddr, path::PathBuf, thread};

use clap::Args;
use tokio::{net::TcpListener, runtime};

use super::{
    Addresses,
    boot::{self, BootError, say},
};
use crate::{
    config::{
        self, EventStream, MethodMatch, Resume, RouteMatch, RoutePolicy, RouteRule, SchemaSource, Settings, StaticDir,
        StaticFiles,
    },
    demo,
};

#[derive(Debug, Args)]
pub(super) struct Demo {
    #[command(flatten)]
    addresses: Addresses,
    /// A folder to serve instead of the demonstration's own page.
    #[arg(long, value_name = "DIR")]
    page: Option<PathBuf>,
}

impl Demo {
    pub(super) fn run(&self) -> Result<(), BootError> {
        let backend = start_backend()?;
        let files = self.page.clone().map_or_else(|| StaticFiles::Embedded(demo::assets()), StaticFiles::Dir);
        boot::serve(&settings(&self.addresses, backend, files)?, say_what_to_try)
    }
}

/// Serves the demo's services on a port of their own, as ordinary backends do.
fn start_backend() -> Result<SocketAddr, BootError> {
    let fail = |error: std::io::Error| BootError::Run(format!("the demo's backend: {error}"));
    let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(fail)?;
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).map_err(fail)?;
    let address = listener.local_addr().map_err(fail)?;
    let serve = move || {
        if let Err(error) = runtime.block_on(demo::serve(listener, std::future::pending())) {
            tracing::error!("the demo's backend ended: {error}");
        }
    };
    thread::Builder::new().name("demo-backend".to_owned()).spawn(serve).map_err(fail)?;
    Ok(address)
}

fn settings(addresses: &Addresses, backend: SocketAddr, files: StaticFiles) -> Result<Settings, BootError> {
    let mut settings = config::quick(&addresses.quick(vec![format!("http://{backend}")], None))?;
    for upstream in &mut settings.upstreams {
        "demo".clone_into(&mut upstream.name);
        upstream.schema = SchemaSource::Embedded(demo::descriptor_set());
    }
    settings.routes.push(RouteRule {
        matches: RouteMatch {
            methods: Some(MethodMatch::Method("demo.liker.v1.Liker/WatchLikes".to_owned())),
            ..RouteMatch::default()
        },
        policy: RoutePolicy {
            sse: EventStream {
                resume: Some(Resume { event_id: "sequence".to_owned(), request: "after_sequence".to_owned() }),
                ..EventStream::default()
            },
            ..RoutePolicy::default()
        },
    });
    settings.assets = vec![StaticDir { path: "/".to_owned(), files }];
    Ok(settings)
}

fn say_what_to_try(urls: &[String]) {
    let Some(url) = urls.first() else { return };
    say(&format!(
        "
Open {url}/ in two tabs of a browser (it asks once: the certificate was made just now), or try:

  curl -k  {url}/v1/posts
  curl -k  -X POST {url}/v1/posts/1:like
  curl -kN -H 'accept: text/event-stream' {url}/v1/posts:watch
  curl -kN -H 'accept: application/x-ndjson' {url}/v1/posts:watch

Ctrl-C ends it.
"
    ));
}
