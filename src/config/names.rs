//! Addresses, networks, URLs and protobuf names as the file writes them: [`Scalar`]s of the net and of gRPC.
//!
//! Resolves nothing: a host stays a name.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use http::HeaderValue;

use super::{
    settings::{Cidr, EndpointUrl, HostPattern, ValuePattern},
    text::Scalar,
};

impl Scalar for SocketAddr {
    const FORMAT: &'static str = "address";
    const LOOKS: &'static str = "an address and a port, such as `0.0.0.0:8443` or `[::]:8443`";

    fn parse(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| format!("is not {}", Self::LOOKS))
    }

    fn print(&self) -> String {
        self.to_string()
    }
}

impl Scalar for Cidr {
    const FORMAT: &'static str = "network";
    const LOOKS: &'static str = "a network such as `10.0.0.0/8` or `fd00::/8`";

    fn parse(text: &str) -> Result<Self, String> {
        let not = || format!("is not {}", Self::LOOKS);
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let address: IpAddr = address.parse().map_err(|_| not())?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        // An address alone is the network of that one host.
        let prefix = prefix.map_or(Ok(bits), |prefix| prefix.parse::<u8>().map_err(|_| not()))?;
        if prefix > bits {
            return Err(format!("has a prefix of more than {bits} bits"));
        }
        let base = mask(address, prefix);
        // RFC 4632 §3.1: the bits beyond the prefix are zero; others hide a slip.
        if base == address {
            Ok(Self { address, prefix })
        } else {
            Err(format!("has bits beyond its prefix; write `{base}/{prefix}`"))
        }
    }

    fn print(&self) -> String {
        format!("{}/{}", self.address, self.prefix)
    }
}

impl Scalar for EndpointUrl {
    const FORMAT: &'static str = "endpoint";
    const LOOKS: &'static str = "`http://host:port`, `https://host:port` or `unix:/path`";

    fn parse(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = path.strip_prefix("//").filter(|path| path.starts_with('/')).unwrap_or(path);
            return if path.starts_with('/') {
                Ok(Self::Unix(path.into()))
            } else {
                Err("needs an absolute path: `unix:/path`".to_owned())
            };
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(format!("has no scheme; an endpoint is {}", Self::LOOKS));
        };
        if !matches!(scheme, "http" | "https") {
            return Err(format!("has the unknown scheme `{scheme}`; an endpoint is {}", Self::LOOKS));
        }
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        if authority.contains(['/', '?', '#']) {
            return Err(
                "has a path; gRPC methods are the only paths of an endpoint: write the scheme, host and port alone"
                    .to_owned(),
            );
        }
        if authority.contains('@') {
            return Err("has a user name, which no gRPC server would see".to_owned());
        }
        let (host, port) = host_port(authority)?;
        Ok(match scheme {
            "http" => Self::Http { host, port: port.unwrap_or(80) },
            _ => Self::Https { host, port: port.unwrap_or(443) },
        })
    }

    fn print(&self) -> String {
        let show = |scheme: &str, host: &str, port: &u16| {
            if host.contains(':') { format!("{scheme}://[{host}]:{port}") } else { format!("{scheme}://{host}:{port}") }
        };
        match self {
            Self::Http { host, port } => show("http", host, port),
            Self::Https { host, port } => show("https", host, port),
            Self::Unix(path) => format!("unix:{}", path.display()),
        }
    }
}

/// `*`, or the origin of a page as browsers write it (RFC 6454 §6.2).
#[derive(Clone, Debug)]
pub(super) struct PageOrigin(pub(super) String);

impl Scalar for PageOrigin {
    const FORMAT: &'static str = "origin";
    const LOOKS: &'static str = "an origin such as `https://app.example.com`, or `*`";

    fn parse(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self(text.to_owned()));
        }
        let lower = text.to_ascii_lowercase();
        let Some((scheme, authority)) = lower.split_once("://").filter(|(scheme, _)| !scheme.is_empty()) else {
            return Err(format!("is not {}", Self::LOOKS));
        };
        if authority.contains(['/', '?', '#', '@', '*']) {
            return Err("is more than an origin: write scheme, host and port alone, with no `/` after them".to_owned());
        }
        // What a browser never sends would never match.
        match (scheme, host_port(authority)?.1) {
            ("http", Some(port @ 80)) | ("https", Some(port @ 443)) => {
                Err(format!("names the port {port}, which browsers leave out; leave it out too"))
            }
            _ => Ok(Self(lower)),
        }
    }

    fn print(&self) -> String {
        self.0.clone()
    }
}

/// `pkg.Service/Method` or `pkg.Service/*`.
#[derive(Clone, Debug)]
pub(super) struct MethodName(pub(super) String);

impl Scalar for MethodName {
    const FORMAT: &'static str = "method";
    const LOOKS: &'static str = "a method such as `pkg.Service/Method` or `pkg.Service/*`";

    fn parse(text: &str) -> Result<Self, String> {
        match text.split_once('/') {
            Some((service, method)) if full_name(service) && (method == "*" || identifier(method)) => {
                Ok(Self(text.to_owned()))
            }
            Some(("", rest)) if Self::parse(rest).is_ok() => Err(format!("begins with a slash; write `{rest}`")),
            _ => Err(format!("is not {}", Self::LOOKS)),
        }
    }

    fn print(&self) -> String {
        self.0.clone()
    }
}

/// A field of a message, or of one within it: `sequence`, `cursor.position`.
#[derive(Clone, Debug)]
pub(super) struct FieldPath(pub(super) String);

impl Scalar for FieldPath {
    const FORMAT: &'static str = "field path";
    const LOOKS: &'static str = "the path of a field such as `sequence` or `cursor.position`";

    fn parse(text: &str) -> Result<Self, String> {
        if full_name(text) { Ok(Self(text.to_owned())) } else { Err(format!("is not {}", Self::LOOKS)) }
    }

    fn print(&self) -> String {
        self.0.clone()
    }
}

/// The beginning of `pkg.Service`; empty: every service.
#[derive(Clone, Debug)]
pub(super) struct ServicePrefix(pub(super) String);

impl Scalar for ServicePrefix {
    const FORMAT: &'static str = "service";
    const LOOKS: &'static str = "the beginning of a service's full name, such as `pkg.` or `pkg.Service`";

    fn parse(text: &str) -> Result<Self, String> {
        let whole = text.strip_suffix('.').unwrap_or(text);
        if text.is_empty() || full_name(whole) {
            Ok(Self(text.to_owned()))
        } else {
            Err(format!("is not {}", Self::LOOKS))
        }
    }

    fn print(&self) -> String {
        self.0.clone()
    }
}

/// A field name of HTTP (RFC 9110 §5.1), lower case as HTTP/2 has it.
#[derive(Clone, Debug)]
pub(super) struct HeaderField(pub(super) String);

impl Scalar for HeaderField {
    const FORMAT: &'static str = "header";
    const LOOKS: &'static str = "a header name such as `x-tenant`";

    fn parse(text: &str) -> Result<Self, String> {
        let name = http::HeaderName::try_from(text).map_err(|_| format!("is not {}", Self::LOOKS))?;
        Ok(Self(name.as_str().to_owned()))
    }

    fn print(&self) -> String {
        self.0.clone()
    }
}

/// A field value of HTTP (RFC 9110 §5.5), in ASCII.
#[derive(Clone, Debug)]
pub(super) struct FieldValue(pub(super) HeaderValue);

impl Scalar for FieldValue {
    const FORMAT: &'static str = "header-value";
    const LOOKS: &'static str = "the value of a header, in ASCII";

    fn parse(text: &str) -> Result<Self, String> {
        let plain = text.is_ascii() && !text.trim().is_empty();
        let value = plain.then(|| HeaderValue::from_str(text.trim()).ok()).flatten();
        value.map(Self).ok_or_else(|| format!("is not {}", Self::LOOKS))
    }

    fn print(&self) -> String {
        self.0.to_str().unwrap_or_default().to_owned()
    }
}

impl Scalar for HostPattern {
    const FORMAT: &'static str = "host";
    const LOOKS: &'static str = "a host such as `api.example.com`, or `*.example.com`";

    fn parse(text: &str) -> Result<Self, String> {
        if !text.is_ascii() {
            // RFC 5891 §4.4: what travels is the form in ASCII.
            return Err("is not how clients send it: write it in its ASCII form, `xn--…`".to_owned());
        }
        let lower = text.to_ascii_lowercase();
        let below = lower.strip_prefix('*').map(|below| below.strip_prefix('.').ok_or(below));
        let name = match below {
            Some(Ok(name)) => name,
            Some(Err("")) => return Err("is every host: leave `hosts` out".to_owned()),
            Some(Err(_)) => return Err(format!("is not {}", Self::LOOKS)),
            None => &lower,
        };
        match host_port(name) {
            Ok((_, Some(_))) => Err("names a port, which does not count: leave it out".to_owned()),
            Ok((host, None)) if below.is_none() && host.contains(':') => Ok(Self::Exact(lower)),
            Ok((host, None)) if host.contains(':') || host.split('.').any(str::is_empty) => {
                Err(format!("is not {}", Self::LOOKS))
            }
            Ok((host, None)) => Ok(if below.is_some() { Self::Below(format!(".{host}")) } else { Self::Exact(host) }),
            Err(_) => Err(format!("is not {}", Self::LOOKS)),
        }
    }

    fn print(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(host) => f.write_str(host),
            Self::Below(suffix) => write!(f, "*{suffix}"),
        }
    }
}

impl Scalar for ValuePattern {
    const FORMAT: &'static str = "header-pattern";
    const LOOKS: &'static str = "a header's value in ASCII, its beginning with `*` behind it, or `*` for any";

    fn parse(text: &str) -> Result<Self, String> {
        let value = FieldValue::parse(text).map_err(|_| format!("is not {}", Self::LOOKS))?.print();
        Ok(value.strip_suffix('*').map_or_else(|| Self::Exact(value.clone()), |begin| Self::Prefix(begin.to_owned())))
    }

    fn print(&self) -> String {
        self.to_string()
    }
}

impl fmt::Display for ValuePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(value) => f.write_str(value),
            Self::Prefix(begin) => write!(f, "{begin}*"),
        }
    }
}

/// A path of a URL, ending in `/`.
#[derive(Clone, Debug)]
pub(super) struct UrlPath(pub(super) String);

impl Scalar for UrlPath {
    const FORMAT: &'static str = "url-path";
    const LOOKS: &'static str = "a URL path such as `/` or `/app/`";

    fn parse(text: &str) -> Result<Self, String> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
        let dots = text.split('/').any(|segment| matches!(segment, "." | ".."));
        if !text.starts_with('/') || text.contains("//") || dots || !text.bytes().all(plain) {
            return Err(format!("is not {}", Self::LOOKS));
        }
        Ok(Self(if text.ends_with('/') { text.to_owned() } else { format!("{text}/") }))
    }

    fn print(&self) -> String {
        self.0.clone()
    }
}

/// One URL path and nothing below it.
#[derive(Clone, Debug)]
pub(super) struct PlacePath(pub(super) String);

impl Scalar for PlacePath {
    const FORMAT: &'static str = "one-url-path";
    const LOOKS: &'static str = "a URL path such as `/-/mux`";

    fn parse(text: &str) -> Result<Self, String> {
        match UrlPath::parse(text) {
            Ok(_) if !text.ends_with('/') => Ok(Self(text.to_owned())),
            _ => Err(format!("is not {}", Self::LOOKS)),
        }
    }

    fn print(&self) -> String {
        self.0.clone()
    }
}

/// `host`, `host:port`, `[v6]:port`; the host comes back without its brackets.
pub(super) fn host_port(authority: &str) -> Result<(String, Option<u16>), String> {
    let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, tail))
            if host.parse::<std::net::Ipv6Addr>().is_ok() && (tail.is_empty() || tail.starts_with(':')) =>
        {
            (host, tail.strip_prefix(':'))
        }
        _ => authority.rsplit_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
    };
    let bare = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if host.is_empty()
        || !(host.bytes().all(bare) || host.parse::<std::net::Ipv6Addr>().is_ok() && authority.starts_with('['))
    {
        return Err("has no valid host".to_owned());
    }
    let port =
        port.map(|port| port.parse::<u16>().ok().filter(|port| *port != 0).ok_or("has no valid port")).transpose()?;
    Ok((host.to_owned(), port))
}

fn mask(address: IpAddr, prefix: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let keep = u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0);
            IpAddr::V4((u32::from(v4) & keep).into())
        }
        IpAddr::V6(v6) => {
            let keep = u128::MAX.checked_shl(128 - u32::from(prefix.min(128))).unwrap_or(0);
            IpAddr::V6((u128::from(v6) & keep).into())
        }
    }
}

fn full_name(text: &str) -> bool {
    text.split('.').all(identifier)
}

fn identifier(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !text.is_empty()
        && !text.starts_with(|c: char| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show<T: Scalar>(text: &str) -> String {
        T::parse(text).map_or_else(|error| format!("! {error}"), |value| value.print())
    }

    #[test]
    fn endpoints_are_a_scheme_a_host_and_a_port() {
        for (text, expected) in [
            ("http://127.0.0.1:50051", "http://127.0.0.1:50051"),
            ("https://api.example.com", "https://api.example.com:443"),
            ("http://liker", "http://liker:80"),
            ("http://[::1]:50051/", "http://[::1]:50051"),
            ("unix:/run/liker.sock", "unix:/run/liker.sock"),
            ("unix:///run/liker.sock", "unix:/run/liker.sock"),
        ] {
            assert_eq!(show::<EndpointUrl>(text), expected, "{text}");
        }
        for (text, expected) in [
            ("localhost:50051", "has no scheme"),
            ("dns://liker:50051", "has the unknown scheme `dns`"),
            ("http://liker:50051/api", "has a path"),
            ("http://liker:50051?x=1", "has a path"),
            ("http://user@liker:50051", "has a user name"),
            ("http://", "has no valid host"),
            ("http://::1:50051", "has no valid host"),
            ("http://li ker:1", "has no valid host"),
            ("http://liker:0", "has no valid port"),
            ("http://liker:65536", "has no valid port"),
            ("unix:liker.sock", "needs an absolute path"),
        ] {
            assert!(
                show::<EndpointUrl>(text).starts_with(&format!("! {expected}")),
                "{text}: {}",
                show::<EndpointUrl>(text)
            );
        }
    }

    #[test]
    fn a_host_of_ipv6_is_kept_without_brackets() {
        let url = EndpointUrl::parse("https://[2001:db8::1]:8443").unwrap();
        assert_eq!(url, EndpointUrl::Https { host: "2001:db8::1".to_owned(), port: 8443 });
    }

    #[test]
    fn networks_have_no_bits_beyond_their_prefix() {
        for (text, expected) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("::/0", "::/0"),
            ("192.0.2.7", "192.0.2.7/32"),
            ("fd00::/8", "fd00::/8"),
            ("10.0.0.1/8", "! has bits beyond its prefix; write `10.0.0.0/8`"),
            ("10.0.0.0/33", "! has a prefix of more than 32 bits"),
            ("10.0.0/8", "! is not a network such as `10.0.0.0/8` or `fd00::/8`"),
            ("10.0.0.0/", "! is not a network such as `10.0.0.0/8` or `fd00::/8`"),
        ] {
            assert_eq!(show::<Cidr>(text), expected, "{text}");
        }
    }

    #[test]
    fn origins_are_what_browsers_send() {
        for (text, expected) in [
            ("*", "*"),
            ("https://App.example.com", "https://app.example.com"),
            ("http://localhost:5173", "http://localhost:5173"),
            ("http://[::1]:5173", "http://[::1]:5173"),
            ("https://app.example.com:443", "! names the port 443, which browsers leave out; leave it out too"),
        ] {
            assert_eq!(show::<PageOrigin>(text), expected, "{text}");
        }
        for text in ["app.example.com", "null", "https://app.example.com/", "https://*.example.com", "https://", "://x"]
        {
            assert!(show::<PageOrigin>(text).starts_with('!'), "{text}");
        }
    }

    #[test]
    fn hosts_and_values_are_exact_or_by_one_end() {
        for (text, expected) in [
            ("API.example.com", "api.example.com"),
            ("*.Example.com", "*.example.com"),
            ("localhost", "localhost"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("[2001:DB8::1]", "[2001:db8::1]"),
            ("192.0.2.1", "192.0.2.1"),
            ("*", "! is every host: leave `hosts` out"),
            ("api.example.com:443", "! names a port, which does not count: leave it out"),
            ("bücher.example", "! is not how clients send it: write it in its ASCII form, `xn--…`"),
        ] {
            assert_eq!(show::<HostPattern>(text), expected, "{text}");
        }
        for text in
            ["", "*.", "*example.com", "a.*.com", "*.[::1]", "a..b", ".com", "https://a", "a/b", "a b", "2001:db8::1"]
        {
            assert!(show::<HostPattern>(text).starts_with("! is not a host"), "{text}: {}", show::<HostPattern>(text));
        }
        assert_eq!(ValuePattern::parse("acme"), Ok(ValuePattern::Exact("acme".to_owned())));
        assert_eq!(ValuePattern::parse("v2*"), Ok(ValuePattern::Prefix("v2".to_owned())));
        assert_eq!(ValuePattern::parse("*"), Ok(ValuePattern::Prefix(String::new())));
        assert!(show::<ValuePattern>("é").starts_with("! is not a header's value"));
    }

    #[test]
    fn methods_services_headers_and_paths_are_well_formed() {
        assert_eq!(show::<MethodName>("demo.v1.Liker/Watch"), "demo.v1.Liker/Watch");
        assert_eq!(show::<MethodName>("demo.v1.Liker/*"), "demo.v1.Liker/*");
        assert_eq!(show::<MethodName>("/demo.v1.Liker/Watch"), "! begins with a slash; write `demo.v1.Liker/Watch`");
        for text in ["demo.v1.Liker", "demo..Liker/Watch", "demo.v1.Liker/", "1demo.Liker/X", "a/b/c"] {
            assert!(show::<MethodName>(text).starts_with('!'), "{text}");
        }
        assert_eq!(show::<ServicePrefix>("demo."), "demo.");
        assert!(show::<ServicePrefix>("demo/").starts_with('!'));
        assert_eq!(show::<HeaderField>("X-Tenant"), "x-tenant");
        assert!(show::<HeaderField>("x tenant").starts_with('!'));
        assert_eq!(show::<FieldValue>(" private, max-age=60 "), "private, max-age=60");
        for text in ["", " ", "a\nb", "é"] {
            assert!(show::<FieldValue>(text).starts_with('!'), "{text:?}");
        }
        assert_eq!(show::<UrlPath>("/app"), "/app/");
        for text in ["", "app", "//", "/a/../b", "/a b", "/a?b", "/a%20b"] {
            assert!(show::<UrlPath>(text).starts_with('!'), "{text}");
        }
    }
}
