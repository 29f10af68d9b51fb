//! Which pages may call: CORS (WHATWG Fetch §3.2), and the origin check of requests that CORS does not cover
//! (RFC 6455 §10.2).

use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header, request::Parts};

use super::Client;
use crate::{
    config,
    status::{Code, Reason, Status},
};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The allowed origins, ready to be compared.
#[derive(Clone, Debug)]
pub struct Cors {
    origins: Vec<HeaderValue>,
    any: bool,
    credentials: bool,
    max_age: Option<HeaderValue>,
}

/// What a request's `Origin` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OriginCheck {
    /// Not sent: not a browser's cross-origin request.
    Absent,
    /// The gateway's own.
    Same,
    /// Configured.
    Allowed,
    Foreign,
}

impl Cors {
    pub fn new(settings: &config::Cors) -> Self {
        Self {
            origins: settings.origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok()).collect(),
            any: settings.origins.iter().any(|origin| origin == "*"),
            credentials: settings.credentials,
            max_age: settings.max_age.map(|age| HeaderValue::from(age.as_secs())),
        }
    }

    pub fn check(&self, headers: &HeaderMap, client: &Client<'_>) -> OriginCheck {
        let mut origins = headers.get_all(header::ORIGIN).iter();
        match origins.next() {
            None => OriginCheck::Absent,
            // No browser sends two, and which of them others go by is not known.
            Some(_) if origins.next().is_some() => OriginCheck::Foreign,
            Some(origin) if is_own(origin.as_bytes(), client) => OriginCheck::Same,
            Some(origin) if self.any || self.origins.contains(origin) => OriginCheck::Allowed,
            Some(_) => OriginCheck::Foreign,
        }
    }

    /// For requests that a link, a picture or a script on another site could make with the user's cookies and that
    /// CORS does not stop: a WebSocket, and a GET that makes a call.
    ///
    /// # Errors
    /// 403 for a foreign origin, or for a cross-site request that names none.
    pub fn refuse_cross_site(&self, headers: &HeaderMap, check: OriginCheck) -> Result<(), Status> {
        let site = headers.get(SEC_FETCH_SITE).map(HeaderValue::as_bytes);
        let foreign = match check {
            OriginCheck::Foreign => true,
            OriginCheck::Absent => matches!(site, Some(b"cross-site" | b"same-site")),
            OriginCheck::Same | OriginCheck::Allowed => false,
        };
        if !foreign {
            return Ok(());
        }
        Err(Status::client(Code::PermissionDenied, "pages of this origin may not call here")
            .with_reason(Reason::OriginForbidden))
    }

    /// The answer to a preflight (WHATWG Fetch §4.8), to be decorated as every reply is; none where the request is not one.
    pub fn preflight(&self, head: &Parts, check: OriginCheck) -> Option<Response<()>> {
        if head.method != Method::OPTIONS || check == OriginCheck::Absent {
            return None;
        }
        let method = head.headers.get(header::ACCESS_CONTROL_REQUEST_METHOD)?;
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let headers = response.headers_mut();
        if matches!(check, OriginCheck::Allowed | OriginCheck::Same) {
            headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, method.clone());
            if let Some(names) = head.headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
                headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
            }
            if let Some(age) = &self.max_age {
                headers.insert(header::ACCESS_CONTROL_MAX_AGE, age.clone());
            }
        }
        Some(response)
    }

    /// Lets an allowed page read the reply.
    pub fn decorate(&self, request: &HeaderMap, check: OriginCheck, reply: &mut HeaderMap) {
        // A reply that a cache keeps for one page must not serve another's request, even where this one names no origin.
        if check != OriginCheck::Absent || !self.origins.is_empty() {
            reply.append(header::VARY, HeaderValue::from_static("origin"));
        }
        if check != OriginCheck::Allowed {
            return;
        }
        let Some(origin) = request.get(header::ORIGIN) else { return };
        let allowed = if self.any && !self.credentials { HeaderValue::from_static("*") } else { origin.clone() };
        reply.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, allowed);
        if self.credentials {
            reply.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
        }
        let exposed = exposed(reply);
        reply.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    }
}

/// The headers of a reply that a page may read, by their names: a `*` means nothing where credentials are sent
/// (WHATWG Fetch §3.3.7).
fn exposed(reply: &HeaderMap) -> HeaderValue {
    const ALWAYS: &str =
        "x-request-id, retry-after, etag, location, warning, grpc-status, grpc-message, grpc-status-details-bin";
    let others = reply.keys().map(HeaderName::as_str).filter(|name| !is_told_anyway(name));
    let more: String = others
        .filter(|name| !ALWAYS.split(", ").any(|one| one == *name))
        .fold(String::new(), |names, name| names + ", " + name);
    if more.is_empty() {
        return HeaderValue::from_static(ALWAYS);
    }
    HeaderValue::from_str(&format!("{ALWAYS}{more}")).unwrap_or(HeaderValue::from_static(ALWAYS))
}

/// What a page may read in any case ("CORS-safelisted response-header name"), and what no page is to.
fn is_told_anyway(name: &str) -> bool {
    const SAFE: [&str; 7] =
        ["cache-control", "content-language", "content-length", "content-type", "expires", "last-modified", "pragma"];
    SAFE.contains(&name)
        || matches!(name, "set-cookie" | "vary" | "x-accel-buffering")
        || name.starts_with("access-control-")
}

/// Whether a browser sends such a request to another site without asking first (WHATWG Fetch §2.2.2, "CORS-safelisted
/// request-header"): a form, or a body that says nothing of itself.
pub fn is_unasked(head: &Parts) -> bool {
    let Some(kind) = head.headers.get(header::CONTENT_TYPE) else { return true };
    let kind = kind.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    matches!(kind.as_str(), "text/plain" | "multipart/form-data" | "application/x-www-form-urlencoded")
}

/// Whether an origin (`scheme://host[:port]`) is where the request went; a default port may be left out on either side.
fn is_own(origin: &[u8], client: &Client<'_>) -> bool {
    let (scheme, port): (&[u8], &[u8]) = if client.secure { (b"https://", b":443") } else { (b"http://", b":80") };
    let bare = |host| <[u8]>::strip_suffix(host, port).unwrap_or(host);
    let Some(host) = origin.strip_prefix(scheme) else { return false };
    !host.is_empty() && bare(host).eq_ignore_ascii_case(bare(client.authority.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(authority: &str, secure: bool) -> Client<'_> {
        Client { address: None, secure, trusted_peer: false, authority, peer_text: None }
    }

    fn headers(list: &[(HeaderName, &'static str)]) -> HeaderMap {
        list.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    fn cors(origins: &[&str], credentials: bool) -> Cors {
        let origins = origins.iter().map(ToString::to_string).collect();
        Cors::new(&config::Cors { origins, credentials, max_age: None })
    }

    #[test]
    fn origins_are_told_apart() {
        let cors = cors(&["https://app.example.com"], true);
        for (origin, authority, secure, expected) in [
            ("https://app.example.com", "api.example.com", true, OriginCheck::Allowed),
            ("https://api.example.com", "api.example.com", true, OriginCheck::Same),
            ("https://api.example.com:443", "api.example.com", true, OriginCheck::Same),
            ("https://API.example.com", "api.example.com:443", true, OriginCheck::Same),
            ("https://localhost:8443", "localhost:8443", true, OriginCheck::Same),
            ("http://localhost:8443", "localhost:8443", true, OriginCheck::Foreign),
            ("https://localhost:8444", "localhost:8443", true, OriginCheck::Foreign),
            ("https://evil.example", "api.example.com", true, OriginCheck::Foreign),
            ("https://app.example.com.evil.example", "api.example.com", true, OriginCheck::Foreign),
            ("null", "api.example.com", true, OriginCheck::Foreign),
            ("https://", "", true, OriginCheck::Foreign),
        ] {
            let headers = headers(&[(header::ORIGIN, origin)]);
            assert_eq!(cors.check(&headers, &client(authority, secure)), expected, "{origin} at {authority}");
        }
        assert_eq!(cors.check(&HeaderMap::new(), &client("a", true)), OriginCheck::Absent);
        let mut two = headers(&[(header::ORIGIN, "https://app.example.com")]);
        two.append(header::ORIGIN, HeaderValue::from_static("https://evil.example"));
        assert_eq!(cors.check(&two, &client("api.example.com", true)), OriginCheck::Foreign);
    }

    #[test]
    fn a_cross_site_request_is_refused_even_without_an_origin() {
        let cors = cors(&[], false);
        for (site, check, refused) in [
            ("cross-site", OriginCheck::Absent, true),
            ("same-site", OriginCheck::Absent, true),
            ("same-origin", OriginCheck::Absent, false),
            ("none", OriginCheck::Absent, false),
            ("cross-site", OriginCheck::Allowed, false),
            ("same-origin", OriginCheck::Foreign, true),
        ] {
            let headers = headers(&[(SEC_FETCH_SITE, site)]);
            assert_eq!(cors.refuse_cross_site(&headers, check).is_err(), refused, "{site} {check:?}");
        }
    }

    #[test]
    fn what_a_form_can_send_is_sent_unasked() {
        for (kind, unasked) in [
            (None, true),
            (Some("text/plain; charset=utf-8"), true),
            (Some("Multipart/Form-Data; boundary=x"), true),
            (Some("application/json"), false),
            (Some("image/png"), false),
        ] {
            let mut request = http::Request::builder().method("POST");
            if let Some(kind) = kind {
                request = request.header(header::CONTENT_TYPE, kind);
            }
            assert_eq!(is_unasked(&request.body(()).unwrap().into_parts().0), unasked, "{kind:?}");
        }
    }

    #[test]
    fn a_page_may_read_what_the_reply_bears() {
        let request = headers(&[(header::ORIGIN, "https://app.example.com")]);
        let mut reply = headers(&[
            (header::CONTENT_TYPE, "application/grpc-web"),
            (header::SET_COOKIE, "a=b"),
            (header::ETAG, "\"e\""),
            (HeaderName::from_static("x-own-bin"), "AAE"),
            (HeaderName::from_static("x-other"), ""),
        ]);
        reply.append("x-other", HeaderValue::from_static("again"));
        for credentials in [true, false] {
            cors(&["https://app.example.com"], credentials).decorate(&request, OriginCheck::Allowed, &mut reply);
            assert_eq!(
                reply[header::ACCESS_CONTROL_EXPOSE_HEADERS],
                "x-request-id, retry-after, etag, location, warning, grpc-status, grpc-message, \
                 grpc-status-details-bin, x-own-bin, x-other"
            );
        }
    }

    #[test]
    fn any_origin_gets_a_star_and_never_credentials() {
        let cors = cors(&["*"], false);
        let request = headers(&[(header::ORIGIN, "https://x.example")]);
        let mut reply = HeaderMap::new();
        cors.decorate(&request, OriginCheck::Allowed, &mut reply);
        assert_eq!(reply[header::ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        assert!(!reply.contains_key(header::ACCESS_CONTROL_ALLOW_CREDENTIALS));
    }
}
