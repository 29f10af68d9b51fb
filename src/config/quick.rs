//! A gateway without a file: settings from a few words of the command line.

use std::{net::SocketAddr, path::PathBuf};

use super::{ConfigError, ConfigErrors, Place, cpus, raw, settings::*, text::Scalar};
use crate::limits::Limits;

/// What `tidegate serve` is told without a file.
#[derive(Clone, Debug, Default)]
pub struct Quick {
    /// URLs, each an upstream of its own.
    pub upstreams: Vec<String>,
    /// Schema of all upstreams; none: reflection.
    pub descriptor_set: Option<PathBuf>,
    /// Listener with TLS and a development certificate.
    pub listen: Option<SocketAddr>,
    /// Listener without TLS.
    pub listen_plain: Option<SocketAddr>,
    pub admin: Option<SocketAddr>,
    pub workers: Option<usize>,
}

/// Settings for what the command line says; an upstream is named by its host and port.
///
/// # Errors
/// Every URL that is no endpoint or stands twice; no URL at all; zero workers; one address twice.
pub fn quick(quick: &Quick) -> Result<Settings, ConfigErrors> {
    let mut faults = Vec::new();
    let mut upstreams: Vec<Upstream> = Vec::new();
    for url in &quick.upstreams {
        match EndpointUrl::parse(url) {
            Ok(endpoint) if upstreams.iter().any(|upstream| upstream.endpoints.contains(&endpoint)) => {
                faults.push(("--upstream", format!("{url:?} stands there twice")));
            }
            Ok(endpoint) => upstreams.push(upstream(endpoint, quick)),
            Err(error) => faults.push(("--upstream", format!("{url:?} {error}"))),
        }
    }
    if quick.upstreams.is_empty() {
        faults.push(("--upstream", "is missing: name at least one backend".to_owned()));
    }
    if quick.workers == Some(0) {
        faults.push(("--workers", "must be at least 1".to_owned()));
    }
    let admin = quick.admin.unwrap_or(ADMIN);
    let listeners = listeners(quick);
    let mut addresses: Vec<_> = listeners.iter().map(|listener| listener.address).chain([admin]).collect();
    addresses.retain(|address| address.port() != 0);
    addresses.sort();
    for pair in addresses.windows(2) {
        if let [first, second] = pair
            && first == second
        {
            faults.push(("--listen", format!("{first} is used twice")));
        }
    }
    if !faults.is_empty() {
        return Err(ConfigErrors(faults.into_iter().map(error).collect()));
    }
    Ok(Settings {
        listeners,
        admin: Some(admin),
        workers: quick.workers.unwrap_or_else(cpus),
        upstreams,
        routes: Vec::new(),
        cors: Cors::default(),
        assets: Vec::new(),
        redis: None,
        limits: Limits::default(),
        compression: Compression::default(),
        openapi: true,
        mux: Some(Mux::default()),
        tickets: Some(Tickets::default()),
        services: Services::default(),
        access_log: true,
    })
}

fn listeners(quick: &Quick) -> Vec<Listener> {
    let listener = |address, tls| Listener { address, tls, trusted_proxies: Vec::new() };
    let secure = quick.listen.or(quick.listen_plain.is_none().then_some(LISTEN));
    let secure = secure.map(|address| listener(address, Some(ServerTls::Development)));
    secure.into_iter().chain(quick.listen_plain.map(|address| listener(address, None))).collect()
}

fn upstream(endpoint: EndpointUrl, quick: &Quick) -> Upstream {
    let name = match &endpoint {
        EndpointUrl::Http { host, port } | EndpointUrl::Https { host, port } => format!("{host}_{port}"),
        EndpointUrl::Unix(path) => path.display().to_string(),
    };
    // The same letters as names in a file have.
    let name = name.replace(|c: char| !(c.is_ascii_alphanumeric() || "-_.".contains(c)), "_");
    Upstream {
        name,
        endpoints: vec![endpoint],
        schema: quick.descriptor_set.clone().map_or(SchemaSource::Reflection, SchemaSource::DescriptorSet),
        service_config: Vec::new(),
        schema_poll: raw::schema_poll().0.0,
        balance: Balance::default(),
        tls: UpstreamTls::default(),
        connect_timeout: raw::connect_timeout().0.0,
        keepalive: raw::keepalive().0.0,
        keepalive_timeout: raw::keepalive_timeout().0.0,
        connections_max: raw::connections_max().0.0,
        compression: None,
    }
}

fn error((key, message): (&str, String)) -> ConfigError {
    ConfigError { file: "command line".to_owned(), place: Place::default(), key: key.to_owned(), message }
}

const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8443);
const ADMIN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9901);

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(urls: &[&str]) -> Quick {
        Quick { upstreams: urls.iter().map(|&url| url.to_owned()).collect(), ..Quick::default() }
    }

    #[test]
    fn one_url_is_enough() {
        let settings = quick(&urls(&["http://127.0.0.1:50051", "https://[::1]:443", "unix:/run/a.sock"])).unwrap();
        assert_eq!(settings.listeners.len(), 1);
        assert_eq!((settings.listeners[0].address, settings.admin), (LISTEN, Some(ADMIN)));
        assert_eq!(settings.listeners[0].tls, Some(ServerTls::Development));
        let names: Vec<_> = settings.upstreams.iter().map(|upstream| upstream.name.as_str()).collect();
        assert_eq!(names, ["127.0.0.1_50051", "__1_443", "_run_a.sock"]);
        assert!(settings.upstreams.iter().all(|upstream| upstream.schema == SchemaSource::Reflection));
    }

    #[test]
    fn a_plain_listener_alone_leaves_tls_out() {
        let plain: SocketAddr = "127.0.0.1:8080".parse().unwrap();
        let settings = quick(&Quick { listen_plain: Some(plain), ..urls(&["http://a"]) }).unwrap();
        assert_eq!(settings.listeners, [Listener { address: plain, tls: None, trusted_proxies: Vec::new() }]);
        let both = quick(&Quick { listen_plain: Some(plain), listen: Some(LISTEN), ..urls(&["http://a"]) }).unwrap();
        assert_eq!(both.listeners.len(), 2);
    }

    #[test]
    fn every_fault_of_the_command_line_is_told() {
        let words = Quick { workers: Some(0), listen: Some(ADMIN), ..urls(&["a:1", "http://b", "http://b:80"]) };
        let text = quick(&words).unwrap_err().to_string();
        let expected = "\
command line: --upstream: \"a:1\" has no scheme; an endpoint is `http://host:port`, `https://host:port` or `unix:/path`
command line: --upstream: \"http://b:80\" stands there twice
command line: --workers: must be at least 1
command line: --listen: 127.0.0.1:9901 is used twice";
        assert_eq!(text, expected);
        assert!(quick(&Quick::default()).is_err());
    }

    #[test]
    fn the_defaults_are_those_of_a_file() {
        let settings = quick(&Quick { workers: Some(2), ..urls(&["http://a:1"]) }).unwrap();
        let text = "
listeners: [{ address: 127.0.0.1:8443, tls: development }]
admin: { address: 127.0.0.1:9901 }
workers: 2
upstreams: { a_1: { endpoints: [ http://a:1 ] } }
";
        assert_eq!(super::super::parse(text, "f"), Ok(settings));
    }
}
