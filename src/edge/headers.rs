//! Which headers become metadata, and which metadata becomes headers (PROTOCOLS §3).

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::{Client, RequestId, request_id::REQUEST_ID};
use crate::{
    status::{Code, Reason, Status},
    wire::metadata,
};

/// Marks the copy of a call that another upstream serves.
pub const MIRROR: HeaderName = HeaderName::from_static("x-tidegate-mirror");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_HTTP_CODE: HeaderName = HeaderName::from_static("x-http-code");
/// Metadata that a browser names explicitly.
const METADATA_PREFIX: &str = "grpc-metadata-";

/// One route's lists on top of the contract's own.
#[derive(Clone, Debug, Default)]
pub struct HeaderRules {
    request: Vec<HeaderName>,
    response: Vec<HeaderName>,
}

impl HeaderRules {
    /// Names that are not header names are left out, and so are those that no list can let pass: the protocols' own
    /// (PROTOCOLS §3: hop-by-hop never), and what the gateway itself says of the caller.
    pub fn new(request: &[String], response: &[String]) -> Self {
        let names = |list: &[String]| -> Vec<HeaderName> {
            let names = list.iter().filter_map(|name| HeaderName::from_bytes(name.as_bytes()).ok());
            names.filter(|name| !metadata::is_reserved(name)).collect()
        };
        let mut request = names(request);
        request.retain(|name| !is_forwarded(name));
        Self { request, response: names(response) }
    }

    /// The metadata of a call that came in as plain HTTP.
    ///
    /// # Errors
    /// A name that no metadata can have, a value of other bytes than ASCII, a `-bin` value that is not base64, credentials
    /// that are given twice.
    pub fn request(&self, headers: &HeaderMap, client: &Client<'_>, id: &RequestId) -> Result<HeaderMap, Status> {
        let mut metadata = HeaderMap::with_capacity(8);
        for (name, value) in headers {
            if self.passes(name) {
                append(name, name, value, &mut metadata)?;
            } else if let Some(bare) = name.as_str().strip_prefix(METADATA_PREFIX) {
                let Some(bare) = metadata::name(bare) else {
                    return Err(invalid(name, "not a name that metadata can have after its prefix"));
                };
                // What has a name of its own here comes by that name alone: whoever stands in front and checks or sets
                // `authorization` knows nothing of a second way in.
                if !metadata::is_reserved(&bare) && !is_forwarded(&bare) && !self.passes(&bare) {
                    append(name, &bare, value, &mut metadata)?;
                }
            }
        }
        complete(headers, client, id, metadata)
    }

    /// Whether the route lists a request header.
    pub fn lets_in(&self, name: &HeaderName) -> bool {
        self.request.contains(name)
    }

    fn passes(&self, name: &HeaderName) -> bool {
        passes_by_default(name) || self.lets_in(name)
    }

    /// The metadata of a call by a generated client that may be in a browser: everything but the protocols' own, and what
    /// the HTTP request says of itself.
    ///
    /// # Errors
    /// A value of other bytes than ASCII, a `-bin` value that is not base64, credentials that are given twice.
    pub fn browser_request(
        &self,
        headers: &HeaderMap,
        client: &Client<'_>,
        id: &RequestId,
    ) -> Result<HeaderMap, Status> {
        let mut metadata = HeaderMap::with_capacity(headers.len() + 4);
        for (name, value) in headers {
            if !metadata::is_reserved(name) && !is_forwarded(name) && !is_of_http(name) {
                append(name, name, value, &mut metadata)?;
            }
        }
        for name in hop_by_hop(headers) {
            metadata.remove(name);
        }
        complete(headers, client, id, metadata)
    }

    /// The metadata of a call that came in as gRPC: everything that is not the protocol's own.
    ///
    /// # Errors
    /// A value of other bytes than ASCII, a `-bin` value that is not base64 (gRPC over HTTP/2, "Custom-Metadata"): backends
    /// that remember headers for a connection let others' calls fail by it too.
    pub fn grpc_request(&self, headers: &HeaderMap, client: &Client<'_>, id: &RequestId) -> Result<HeaderMap, Status> {
        let mut metadata = HeaderMap::with_capacity(headers.len() + 4);
        for (name, value) in headers {
            if !metadata::is_reserved(name) && !is_forwarded(name) || metadata::is_encoding(name) {
                check(name, value)?;
                // Compressed messages pass through untouched, and so must what says how they are compressed.
                metadata.append(name.clone(), value.clone());
            }
        }
        forward(headers, client, id, &mut metadata);
        Ok(metadata)
    }

    /// The headers of a plain HTTP reply: what the allow-lists let through of the upstream's metadata.
    pub fn response(&self, metadata: &HeaderMap, reply: &mut HeaderMap) {
        for (name, value) in metadata {
            let listed = matches!(*name, header::SET_COOKIE | header::LOCATION | header::ETAG | header::CACHE_CONTROL);
            // An answer has one of each, and the first has precedence.
            let again = matches!(*name, header::LOCATION | header::ETAG) && reply.contains_key(name);
            if (listed || self.response.contains(name)) && !again {
                reply.append(name.clone(), value.clone());
            }
        }
    }
}

/// The HTTP status that the upstream asks for with `x-http-code`; none where it asks for none, or for a senseless one.
pub fn response_status(metadata: &HeaderMap) -> Option<StatusCode> {
    let code = metadata.get(X_HTTP_CODE)?.to_str().ok()?.parse::<u16>().ok()?;
    StatusCode::from_u16(code).ok().filter(|status| (200..=599).contains(&status.as_u16()))
}

fn passes_by_default(name: &HeaderName) -> bool {
    matches!(*name, header::AUTHORIZATION | header::COOKIE | header::ACCEPT_LANGUAGE)
        || matches!(name.as_str(), "traceparent" | "tracestate" | "baggage")
}

/// What a browser, a library in it or a proxy says of the HTTP request that a call is made by.
fn is_of_http(name: &HeaderName) -> bool {
    let name = name.as_str();
    ["sec-", "content-", "connect-", "if-", "access-control-"].iter().any(|prefix| name.starts_with(prefix))
        || matches!(name, "accept" | "accept-charset" | "accept-encoding" | "cache-control" | "dnt" | "expect")
        || matches!(name, "origin" | "pragma" | "priority" | "range" | "referer" | "via")
        || matches!(name, "x-grpc-web" | "x-user-agent" | "x-request-timeout")
}

/// What `Connection` names (RFC 9110 §7.6.1).
fn hop_by_hop(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let lists = headers.get_all(header::CONNECTION).iter().filter_map(|list| list.to_str().ok());
    lists.flat_map(|list| list.split(',')).map(str::trim)
}

/// What the gateway itself says of the caller, and RFC 7239's name for the same.
fn is_forwarded(name: &HeaderName) -> bool {
    name.as_str().starts_with("x-forwarded-") || *name == REQUEST_ID || *name == MIRROR || *name == header::FORWARDED
}

/// Adds what the gateway says, and makes sure that what was sent can be read in one way only.
fn complete(
    headers: &HeaderMap,
    client: &Client<'_>,
    id: &RequestId,
    mut metadata: HeaderMap,
) -> Result<HeaderMap, Status> {
    if metadata.get_all(header::AUTHORIZATION).iter().nth(1).is_some() {
        // Whoever checks them in front may have taken the other.
        return Err(invalid(&header::AUTHORIZATION, "must be there once"));
    }
    join_cookies(&mut metadata);
    forward(headers, client, id, &mut metadata);
    Ok(metadata)
}

/// Tells the upstream who called: a trusted proxy's word with the peer added, or only what we saw ourselves.
fn forward(headers: &HeaderMap, client: &Client<'_>, id: &RequestId, metadata: &mut HeaderMap) {
    metadata.insert(REQUEST_ID, id.header());
    if let Some(peer) = client.peer_text {
        metadata.insert(FORWARDED_FOR, peer.clone());
    }
    metadata.insert(FORWARDED_PROTO, HeaderValue::from_static(if client.secure { "https" } else { "http" }));
    if let Ok(host) = HeaderValue::from_str(client.authority) {
        metadata.insert(FORWARDED_HOST, host);
    }
    if client.trusted_peer {
        forward_trusted(headers, client, metadata);
    }
}

/// What a trusted proxy says replaces what we saw, but for the list of addresses, which the proxy's own ends.
fn forward_trusted(headers: &HeaderMap, client: &Client<'_>, metadata: &mut HeaderMap) {
    // What is not ASCII no proxy says of its own.
    let said = |name: &HeaderName| headers.get_all(name).into_iter().filter(|value| value.as_bytes().is_ascii());
    for name in headers.keys().filter(|name| name.as_str().starts_with("x-forwarded-")) {
        metadata.remove(name);
        for value in said(name) {
            metadata.append(name.clone(), value.clone());
        }
    }
    let earlier = said(&FORWARDED_FOR).map(HeaderValue::as_bytes);
    let list: Vec<_> = earlier.chain(client.peer_text.map(HeaderValue::as_bytes)).collect();
    if let Ok(value) = HeaderValue::from_bytes(&list.join(&b", "[..])) {
        metadata.insert(FORWARDED_FOR, value);
    }
}

/// Browsers cut their cookies into several lines on HTTP/2; whoever reads metadata expects one (RFC 9113 §8.2.3).
fn join_cookies(metadata: &mut HeaderMap) {
    let mut crumbs = metadata.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes);
    let (Some(first), Some(second)) = (crumbs.next(), crumbs.next()) else { return };
    let mut joined = [first, second].join(&b"; "[..]);
    for crumb in crumbs {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(crumb);
    }
    if let Ok(cookie) = HeaderValue::from_bytes(&joined) {
        metadata.insert(header::COOKIE, cookie);
    }
}

/// A cookie without those that are not ASCII: any script on the domain may have set one, and must not break every call.
fn ascii_crumbs(cookie: &HeaderValue) -> Option<HeaderValue> {
    let crumbs = cookie.as_bytes().split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let kept: Vec<_> = crumbs.filter(|crumb| crumb.is_ascii()).collect();
    HeaderValue::from_bytes(&kept.join(&b"; "[..])).ok().filter(|cookie| !cookie.is_empty())
}

/// Appends what a header says as metadata of a name; of a `-bin` name each of its values, written in the one way that
/// every peer reads (gRPC over HTTP/2, "Binary-Header": values may be joined by commas, and padded).
fn append(sent: &HeaderName, name: &HeaderName, value: &HeaderValue, metadata: &mut HeaderMap) -> Result<(), Status> {
    if *name == header::COOKIE && !value.as_bytes().is_ascii() {
        metadata.extend(ascii_crumbs(value).map(|cookie| (name.clone(), cookie)));
        return Ok(());
    }
    if !name.as_str().ends_with("-bin") {
        check_ascii(sent, value)?;
        metadata.append(name.clone(), value.clone());
        return Ok(());
    }
    for text in value.as_bytes().split(|byte| *byte == b',') {
        let bytes = metadata::decode_binary(text.trim_ascii()).ok_or_else(|| invalid(sent, "expected base64"))?;
        metadata.append(name.clone(), metadata::encode_binary(&bytes));
    }
    Ok(())
}

/// What a gRPC client says passes as it came, where it is metadata at all.
fn check(name: &HeaderName, value: &HeaderValue) -> Result<(), Status> {
    check_ascii(name, value)?;
    let mut values = value.as_bytes().split(|byte| *byte == b',');
    if name.as_str().ends_with("-bin") && !values.all(|text| metadata::decode_binary(text.trim_ascii()).is_some()) {
        return Err(invalid(name, "expected base64"));
    }
    Ok(())
}

/// No backend has to take anything else as metadata, and some end the connection over it.
fn check_ascii(name: &HeaderName, value: &HeaderValue) -> Result<(), Status> {
    if value.as_bytes().is_ascii() {
        Ok(())
    } else {
        Err(invalid(name, "expected ASCII; other bytes go by a name in -bin"))
    }
}

fn invalid(name: &HeaderName, what: &'static str) -> Status {
    Status::client(Code::InvalidArgument, format!("header {name}: {what}"))
        .with_reason(Reason::InvalidHeader)
        .with_violation(name.as_str(), what)
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;
    use crate::edge::RequestIds;

    static PEER: HeaderValue = HeaderValue::from_static("127.0.0.1");
    static CLIENT: Client<'_> = Client {
        address: Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
        secure: true,
        trusted_peer: false,
        authority: "gate.example",
        peer_text: Some(&PEER),
    };

    fn metadata(
        rules: &HeaderRules,
        client: &Client<'_>,
        sent: &[(&'static str, &'static str)],
    ) -> Result<String, Status> {
        let headers =
            sent.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect();
        let passed = rules.request(&headers, client, &RequestIds::new(1).of(&HeaderMap::new()))?;
        let mut lines: Vec<_> = passed
            .iter()
            .filter(|(name, _)| **name != REQUEST_ID)
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        lines.sort();
        Ok(lines.join("\n"))
    }

    #[test]
    fn only_listed_headers_become_metadata() {
        let rules = HeaderRules::new(&["x-tenant".to_owned()], &[]);
        let sent = [
            ("authorization", "Bearer x"),
            ("cookie", "a=b"),
            ("x-tenant", "t1"),
            ("x-other", "no"),
            ("connection", "close"),
            ("grpc-metadata-color", "red"),
            ("grpc-metadata-grpc-status", "0"),
            ("grpc-metadata-x-forwarded-for", "6.6.6.6"),
            ("grpc-metadata-te", "no"),
            ("grpc-metadata-authorization", "Bearer of another"),
            ("grpc-metadata-x-tenant", "t2"),
            ("x-forwarded-for", "9.9.9.9"),
            ("x-forwarded-custom", "made up"),
            ("x-tidegate-mirror", "1"),
            ("grpc-metadata-x-tidegate-mirror", "1"),
        ];
        let expected = "authorization: Bearer x\ncolor: red\ncookie: a=b\nx-forwarded-for: 127.0.0.1\n\
                        x-forwarded-host: gate.example\nx-forwarded-proto: https\nx-tenant: t1";
        assert_eq!(metadata(&rules, &CLIENT, &sent).unwrap(), expected);
    }

    #[test]
    fn a_trusted_proxy_is_believed() {
        let client = Client { trusted_peer: true, ..CLIENT };
        let sent = [("x-forwarded-for", "9.9.9.9"), ("x-forwarded-proto", "http"), ("x-forwarded-host", "www.example")];
        let expected = "x-forwarded-for: 9.9.9.9, 127.0.0.1\nx-forwarded-host: www.example\nx-forwarded-proto: http";
        assert_eq!(metadata(&HeaderRules::default(), &client, &sent).unwrap(), expected);
    }

    #[test]
    fn what_a_trusted_proxy_passes_on_that_is_not_ascii_goes_no_further() {
        let mut headers = HeaderMap::new();
        for name in [FORWARDED_FOR, FORWARDED_HOST] {
            headers.append(name.clone(), HeaderValue::from_bytes(b"\xff").unwrap());
            headers.append(name, HeaderValue::from_static("9.9.9.9"));
        }
        let client = Client { trusted_peer: true, ..CLIENT };
        let id = RequestIds::new(1).of(&HeaderMap::new());
        let metadata = HeaderRules::default().request(&headers, &client, &id).unwrap();
        let values = |name| metadata.get_all(name).iter().collect::<Vec<_>>();
        assert_eq!(values(FORWARDED_FOR), ["9.9.9.9, 127.0.0.1"]);
        assert_eq!(values(FORWARDED_HOST), ["9.9.9.9"]);
    }

    #[test]
    fn no_list_lets_the_protocols_own_names_pass() {
        let own = [
            "host",
            "te",
            "connection",
            "grpc-timeout",
            "content-type",
            "x-forwarded-proto",
            "x-request-id",
            "x-tidegate-mirror",
        ];
        let rules = HeaderRules::new(&own.map(str::to_owned), &own.map(str::to_owned));
        let sent = own.map(|name| (name, "made up"));
        let expected = "x-forwarded-for: 127.0.0.1\nx-forwarded-host: gate.example\nx-forwarded-proto: https";
        assert_eq!(metadata(&rules, &CLIENT, &sent).unwrap(), expected);
    }

    #[test]
    fn crumbs_of_a_cookie_are_joined() {
        let mut headers = HeaderMap::new();
        for crumb in ["a=1", "b=2", "c=3"] {
            headers.append(header::COOKIE, HeaderValue::from_static(crumb));
        }
        let id = RequestIds::new(1).of(&HeaderMap::new());
        let metadata = HeaderRules::default().request(&headers, &CLIENT, &id).unwrap();
        let cookies: Vec<_> = metadata.get_all(header::COOKIE).iter().collect();
        assert_eq!(cookies, ["a=1; b=2; c=3"]);
    }

    #[test]
    fn a_value_that_is_not_ascii_is_refused_but_for_cookies_which_go_without_it() {
        let rules = HeaderRules::new(&["x-tenant".to_owned()], &[]);
        let id = RequestIds::new(1).of(&HeaderMap::new());
        let both =
            |headers: &HeaderMap| [rules.request(headers, &CLIENT, &id), rules.browser_request(headers, &CLIENT, &id)];
        for name in ["grpc-metadata-x", "x-tenant", "authorization", "baggage"] {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_bytes(b"\xff").unwrap());
            let [plain, browser] = both(&headers).map(|refused| refused.map_err(|status| status.message().to_owned()));
            let expected = format!("header {name}: expected ASCII; other bytes go by a name in -bin");
            assert_eq!(plain.unwrap_err(), expected);
            // Reserved there, and so never metadata.
            if !name.starts_with("grpc-") {
                assert_eq!(browser.unwrap_err(), expected);
            }
        }
        for (lines, expected) in [
            (&[&b"a=\xff"[..]][..], None),
            (&[b"a=1", b"b=\xff", b"c=3"], Some("a=1; c=3")),
            (&[b"a=1; b=\xc3\xa4;c=3"], Some("a=1; c=3")),
        ] {
            let values = lines.iter().map(|line| HeaderValue::from_bytes(line).unwrap());
            let headers: HeaderMap = values.map(|value| (header::COOKIE, value)).collect();
            for passed in both(&headers) {
                let passed = passed.unwrap();
                let cookies: Vec<_> = passed.get_all(header::COOKIE).iter().collect();
                assert_eq!(cookies, expected.into_iter().collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn what_connection_names_is_no_metadata_of_a_browser() {
        let mut headers = HeaderMap::new();
        for (name, value) in [("x-hop", "1"), ("x-kept", "2"), ("x-last", "3"), ("x-last", "4")] {
            headers.append(name, HeaderValue::from_static(value));
        }
        for list in ["close, , X-Hop,", "not a name, x-last"] {
            headers.append(header::CONNECTION, HeaderValue::from_static(list));
        }
        let id = RequestIds::new(1).of(&HeaderMap::new());
        let metadata = HeaderRules::default().browser_request(&headers, &CLIENT, &id).unwrap();
        let passed: Vec<_> = ["x-hop", "x-kept", "x-last"].into_iter().filter(|x| metadata.contains_key(*x)).collect();
        assert_eq!(passed, ["x-kept"]);
    }

    #[test]
    fn a_binary_value_is_passed_as_every_peer_reads_it() {
        for (value, expected) in
            [("AAE=", "k-bin: AAE"), ("AAE", "k-bin: AAE"), ("AA==, AQ", "k-bin: AA\nk-bin: AQ"), ("", "k-bin: ")]
        {
            let passed = metadata(&HeaderRules::default(), &CLIENT, &[("grpc-metadata-k-bin", value)]).unwrap();
            assert!(passed.starts_with(&format!("{expected}\nx-")), "{value}: {passed}");
        }
    }

    #[test]
    fn a_grpc_clients_binary_values_are_base64_too() {
        let request = |value: &'static str| {
            let sent = HeaderMap::from_iter([(HeaderName::from_static("k-bin"), HeaderValue::from_static(value))]);
            HeaderRules::default().grpc_request(&sent, &CLIENT, &RequestIds::new(1).of(&HeaderMap::new()))
        };
        assert_eq!(request("AA==, AQ").unwrap()["k-bin"], "AA==, AQ");
        assert_eq!(request("*").unwrap_err().message(), "header k-bin: expected base64");
    }

    #[test]
    fn metadata_that_none_could_be_is_refused() {
        for (name, value, expected) in [
            ("grpc-metadata-k-bin", "*", "header grpc-metadata-k-bin: expected base64"),
            ("grpc-metadata-k-bin", "AAE=====", "header grpc-metadata-k-bin: expected base64"),
            ("grpc-metadata-k-bin", "AB", "header grpc-metadata-k-bin: expected base64"),
            ("grpc-metadata-k-bin", "AAE=\u{9}AAE=", "header grpc-metadata-k-bin: expected base64"),
            ("grpc-metadata-a!b", "", "header grpc-metadata-a!b: not a name that metadata can have after its prefix"),
            ("grpc-metadata-", "", "header grpc-metadata-: not a name that metadata can have after its prefix"),
        ] {
            let refused = metadata(&HeaderRules::default(), &CLIENT, &[(name, value)]).unwrap_err();
            assert_eq!(refused.message(), expected, "{value}");
        }
        let mut headers = HeaderMap::new();
        for _ in 0..2 {
            headers.append(header::AUTHORIZATION, HeaderValue::from_static("Bearer a"));
        }
        let id = RequestIds::new(1).of(&HeaderMap::new());
        let refused = HeaderRules::default().request(&headers, &CLIENT, &id).unwrap_err();
        assert_eq!(refused.message(), "header authorization: must be there once");
    }

    #[test]
    fn an_upstream_may_choose_a_sensible_status() {
        for (code, expected) in [("201", Some(201)), ("302", Some(302)), ("99", None), ("101", None), ("x", None)] {
            let mut metadata = HeaderMap::new();
            metadata.insert(X_HTTP_CODE, HeaderValue::from_static(code));
            assert_eq!(response_status(&metadata).map(|status| status.as_u16()), expected, "{code}");
        }
    }
}
