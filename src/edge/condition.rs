//! What a route asks of a request beyond its method: the host, and headers.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue, request::Parts};

use super::client::authority;
use crate::config::{HostPattern, RouteMatch, ValuePattern};

/// What a request's head must say for a route to be meant.
#[derive(Debug)]
pub struct Condition {
    /// Empty: any.
    hosts: Vec<HostPattern>,
    headers: Vec<(HeaderName, ValuePattern)>,
}

impl Condition {
    /// None where the method alone decides.
    pub fn of(matches: &RouteMatch) -> Option<Self> {
        let header = |(name, value): &(String, ValuePattern)| {
            Some((HeaderName::from_bytes(name.as_bytes()).ok()?, value.clone()))
        };
        let headers: Vec<_> = matches.headers.iter().filter_map(header).collect();
        let hosts = matches.hosts.clone();
        (!hosts.is_empty() || !headers.is_empty()).then_some(Self { hosts, headers })
    }

    pub fn holds(&self, head: &Parts) -> bool {
        self.host_fits(head) && self.headers.iter().all(|(name, wanted)| has(&head.headers, name, wanted))
    }

    fn host_fits(&self, head: &Parts) -> bool {
        if self.hosts.is_empty() {
            return true;
        }
        let host = host(authority(head));
        self.hosts.iter().any(|pattern| match pattern {
            HostPattern::Exact(name) => host.eq_ignore_ascii_case(name),
            HostPattern::Below(suffix) => {
                let begin = host.len().saturating_sub(suffix.len());
                begin > 0 && host.get(begin..).is_some_and(|end| end.eq_ignore_ascii_case(suffix))
            }
        })
    }
}

/// As `host=*.example.com x-tenant=acme`.
impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts: Vec<String> = self.hosts.iter().map(HostPattern::to_string).collect();
        let host = (!hosts.is_empty()).then(|| format!("host={}", hosts.join(",")));
        let headers = self.headers.iter().map(|(name, value)| format!("{name}={value}"));
        f.write_str(&host.into_iter().chain(headers).collect::<Vec<_>>().join(" "))
    }
}

/// The host of an authority: without its port (RFC 3986 §3.2), and without the dot that ends a name of the DNS.
fn host(authority: &str) -> &str {
    let host = match authority.rsplit_once(':') {
        // Within brackets, colons are part of an address.
        Some((host, port)) if !port.ends_with(']') => host,
        _ => authority,
    };
    host.strip_suffix('.').unwrap_or(host)
}

fn has(headers: &HeaderMap, name: &HeaderName, wanted: &ValuePattern) -> bool {
    headers.get_all(name).iter().map(HeaderValue::as_bytes).any(|value| match wanted {
        ValuePattern::Exact(exact) => value == exact.as_bytes(),
        ValuePattern::Prefix(begin) => value.starts_with(begin.as_bytes()),
    })
}

#[cfg(test)]
mod tests {
    use http::{Request, header};

    use super::*;

    fn condition(hosts: Vec<HostPattern>, headers: &[(&str, ValuePattern)]) -> Option<Condition> {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        Condition::of(&RouteMatch { methods: None, hosts, headers })
    }

    #[test]
    fn a_host_is_what_the_request_asks_for_whatever_the_port() {
        let exact = |host: &str| HostPattern::Exact(host.to_owned());
        let below = |suffix: &str| HostPattern::Below(suffix.to_owned());
        for (pattern, uri, host, expected) in [
            (exact("api.example.com"), "/", "api.example.com", true),
            (exact("api.example.com"), "/", "API.Example.com:8443", true),
            (exact("api.example.com"), "/", "api.example.com.:80", true),
            (exact("api.example.com"), "/", "api.example.com.evil.net", false),
            (exact("api.example.com"), "/", "xapi.example.com", false),
            (exact("api.example.com"), "/", "", false),
            // What stands in the request line counts (RFC 9112 §3.2.2), and `:authority` (RFC 9113 §8.3.1).
            (exact("api.example.com"), "https://api.example.com:1/", "other", true),
            (exact("api.example.com"), "https://other/", "api.example.com", false),
            (below(".example.com"), "/", "a.example.com", true),
            (below(".example.com"), "/", "a.b.EXAMPLE.com:1", true),
            (below(".example.com"), "/", "example.com", false),
            (below(".example.com"), "/", ".example.com", false),
            (below(".example.com"), "/", "a.example.com.net", false),
            (exact("[2001:db8::1]"), "/", "[2001:DB8::1]:8443", true),
            (exact("[2001:db8::1]"), "/", "[2001:db8::1]", true),
        ] {
            let request = Request::builder().uri(uri).header(header::HOST, host).body(()).unwrap();
            let held = condition(vec![pattern.clone()], &[]).unwrap().holds(&request.into_parts().0);
            assert_eq!(held, expected, "{pattern:?} {uri} {host}");
        }
    }

    #[test]
    fn every_header_must_have_one_value_that_fits() {
        let exact = |value: &str| ValuePattern::Exact(value.to_owned());
        let prefix = |begin: &str| ValuePattern::Prefix(begin.to_owned());
        for (wanted, sent, expected) in [
            (&[("x-tenant", exact("acme"))][..], &[("x-tenant", "acme")][..], true),
            (&[("x-tenant", exact("acme"))], &[("x-tenant", "ACME")], false),
            (&[("x-tenant", exact("acme"))], &[("x-tenant", "other"), ("x-tenant", "acme")], true),
            (&[("x-tenant", exact("acme"))], &[], false),
            (&[("x-version", prefix("v2"))], &[("x-version", "v2.1")], true),
            (&[("x-version", prefix("v2"))], &[("x-version", "v1")], false),
            (&[("x-debug", prefix(""))], &[("x-debug", "")], true),
            (&[("x-debug", prefix(""))], &[("x-other", "1")], false),
            (&[("x-tenant", exact("acme")), ("x-debug", prefix(""))], &[("x-tenant", "acme")], false),
        ] {
            let mut request = Request::builder();
            for (name, value) in sent {
                request = request.header(*name, *value);
            }
            let held = condition(Vec::new(), wanted).unwrap().holds(&request.body(()).unwrap().into_parts().0);
            assert_eq!(held, expected, "{wanted:?} {sent:?}");
        }
    }

    #[test]
    fn a_method_alone_is_no_condition() {
        assert!(condition(Vec::new(), &[]).is_none());
    }
}
