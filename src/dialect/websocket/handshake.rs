//! The opening handshake (RFC 6455 §4.2; RFC 8441 §5 over HTTP/2), the choice of subprotocol and extension, and the token that a
//! subprotocol may bear (PROTOCOLS §6). Knows nothing of connections, and leaves `Origin` to the edge.

use aws_lc_rs::digest;
use h2::ext::Protocol;
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version,
    header::{
        CONNECTION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_EXTENSIONS, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL,
        SEC_WEBSOCKET_VERSION, UPGRADE,
    },
    request::Parts,
};

use super::extension::PermessageDeflate;
use crate::{
    config::WebSocketCompression,
    status::{Code, Reason, Status},
};

/// Joined to the key before it is hashed (RFC 6455 §1.3).
const ACCEPT_GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Begins the subprotocol that bears a token.
const BEARER: &str = "bearer.";

/// What the client's messages, and ours, are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subprotocol {
    Json,
    Proto,
    /// Frames of many calls, in JSON.
    Mux,
    /// The same by its longer name.
    MuxJson,
    /// The same in protobuf.
    MuxProto,
}

impl Subprotocol {
    /// Of one call per socket.
    pub const MESSAGES: &[Self] = &[Self::Json, Self::Proto];
    /// Of many calls per socket.
    pub const FRAMES: &[Self] = &[Self::Mux, Self::MuxJson, Self::MuxProto];

    pub fn name(self) -> &'static str {
        match self {
            Self::Json => "tidegate.json",
            Self::Proto => "tidegate.proto",
            Self::Mux => "tidegate.mux",
            Self::MuxJson => "tidegate.mux+json",
            Self::MuxProto => "tidegate.mux+proto",
        }
    }

    fn of_name(name: &str, spoken: &[Self]) -> Option<Self> {
        spoken.iter().copied().find(|subprotocol| subprotocol.name() == name)
    }
}

/// A valid opening handshake, and what it asked for.
#[derive(Clone, Debug)]
pub struct Handshake {
    /// The value of `sec-websocket-accept`; none over HTTP/2.
    accept: Option<HeaderValue>,
    subprotocol: Option<Subprotocol>,
    compression: Option<PermessageDeflate>,
    /// Marked as sensitive, so that nothing prints it.
    authorization: Option<HeaderValue>,
}

/// True for a request that asks for a WebSocket, valid or not: by an upgrade over HTTP/1.1, by extended CONNECT over HTTP/2.
pub fn is_asked_for(head: &Parts) -> bool {
    if head.version < Version::HTTP_2 {
        return head.method == Method::GET && has_token(&head.headers, &UPGRADE, "websocket");
    }
    head.extensions.get().is_some_and(|protocol: &Protocol| protocol.as_str() == "websocket")
}

impl Handshake {
    /// Judges a request's head. `spoken`: the subprotocols of which the client may choose.
    ///
    /// # Errors
    /// The client's fault: HTTP 426 where another version of the protocol is wanted, else 400.
    pub fn of(head: &Parts, spoken: &[Subprotocol]) -> Result<Self, Status> {
        if head.version < Version::HTTP_2 {
            return Self::of_upgrade(head.version, &head.method, &head.headers, spoken);
        }
        // Which protocol is meant, and that it is, stands in the pseudo-headers (RFC 8441 §5).
        if !is_version_13(&head.headers) {
            return Err(refuse("only version 13 of the WebSocket protocol is spoken here")
                .with_header(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13")));
        }
        Self::of_offers(&head.headers, spoken, None)
    }

    fn of_upgrade(
        version: Version,
        method: &Method,
        headers: &HeaderMap,
        spoken: &[Subprotocol],
    ) -> Result<Self, Status> {
        if method != Method::GET || version != Version::HTTP_11 {
            return Err(refuse("a WebSocket is opened with GET over HTTP/1.1"));
        }
        if !has_token(headers, &UPGRADE, "websocket") || !has_token(headers, &CONNECTION, "upgrade") {
            return Err(refuse(
                "a WebSocket is opened with the headers `upgrade: websocket` and `connection: upgrade`",
            ));
        }
        if !is_version_13(headers) {
            return Err(other_version());
        }
        Self::of_offers(headers, spoken, Some(accept_value(sole_key(headers)?)))
    }

    /// Accepts an offer of compression, where there is one that can be kept. One that cannot be is no reason to refuse the
    /// handshake (RFC 7692 §5.1).
    pub fn agree_on_compression(&mut self, headers: &HeaderMap, wanted: WebSocketCompression) {
        self.compression = PermessageDeflate::of_offers(headers, wanted);
    }

    /// What was agreed on; the answer says it.
    pub fn compression(&self) -> Option<PermessageDeflate> {
        self.compression
    }

    /// What the client's messages are, where it said so and is told so.
    pub fn subprotocol(&self) -> Option<Subprotocol> {
        self.subprotocol
    }

    /// The value of `authorization` that the client could not set as a header.
    pub fn authorization(&self) -> Option<&HeaderValue> {
        self.authorization.as_ref()
    }

    /// True where the connection itself becomes the WebSocket, false where a stream of it does.
    pub fn is_upgrade(&self) -> bool {
        self.accept.is_some()
    }

    /// Adds what the answer must say; its status.
    pub fn answer(&self, headers: &mut HeaderMap) -> StatusCode {
        if let Some(accept) = &self.accept {
            headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(SEC_WEBSOCKET_ACCEPT, accept.clone());
        }
        if let Some(subprotocol) = self.subprotocol {
            headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(subprotocol.name()));
        }
        if let Some(compression) = self.compression {
            headers.insert(SEC_WEBSOCKET_EXTENSIONS, compression.to_value());
        }
        if self.is_upgrade() { StatusCode::SWITCHING_PROTOCOLS } else { StatusCode::OK }
    }

    fn of_offers(headers: &HeaderMap, spoken: &[Subprotocol], accept: Option<HeaderValue>) -> Result<Self, Status> {
        let mut handshake = Self { accept, subprotocol: None, compression: None, authorization: None };
        // In the client's order of preference (RFC 6455 §4.1).
        for offer in tokens(headers, &SEC_WEBSOCKET_PROTOCOL) {
            if let Some(token) = offer.strip_prefix(BEARER) {
                if handshake.authorization.is_some() {
                    return Err(refuse("two subprotocols bear a token"));
                }
                handshake.authorization = Some(bearer_value(token)?);
            } else if handshake.subprotocol.is_none() {
                handshake.subprotocol = Subprotocol::of_name(offer, spoken);
            }
        }
        Ok(handshake)
    }
}

fn refuse(text: &'static str) -> Status {
    Status::client(Code::InvalidArgument, text).with_reason(Reason::InvalidHeader)
}

/// 426 names the protocol to upgrade to (RFC 9110 §15.5.22) and the version (RFC 6455 §4.2.2).
fn other_version() -> Status {
    refuse("only version 13 of the WebSocket protocol is spoken here")
        .with_http(StatusCode::UPGRADE_REQUIRED)
        .with_header(CONNECTION, HeaderValue::from_static("upgrade"))
        .with_header(UPGRADE, HeaderValue::from_static("websocket"))
        .with_header(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"))
}

fn is_version_13(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(SEC_WEBSOCKET_VERSION).iter();
    values.next().is_some_and(|value| value.as_bytes().trim_ascii() == b"13") && values.next().is_none()
}

fn sole_key(headers: &HeaderMap) -> Result<&[u8], Status> {
    let mut values = headers.get_all(SEC_WEBSOCKET_KEY).iter().map(|value| value.as_bytes().trim_ascii());
    match (values.next(), values.next()) {
        (Some(key), None) if is_key(key) => Ok(key),
        _ => Err(refuse("`sec-websocket-key` must be there once, 16 bytes in base64")),
    }
}

/// Sixteen bytes in base64 are 22 characters and two of padding. What the last character's spare bits are, matters to
/// nobody: the key is not decoded (RFC 6455 §4.2.1).
fn is_key(key: &[u8]) -> bool {
    let is_digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    key.len() == 24 && key.strip_suffix(b"==").is_some_and(|digits| digits.iter().all(is_digit))
}

/// RFC 6455 §4.2.2, item 5.4.
fn accept_value(key: &[u8]) -> HeaderValue {
    let mut context = digest::Context::new(&digest::SHA1_FOR_LEGACY_USE_ONLY);
    context.update(key);
    context.update(ACCEPT_GUID);
    let text = base64_simd::STANDARD.encode_to_string(context.finish().as_ref());
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static(""))
}

/// `Bearer` and the token (RFC 6750 §2.1), which came in base64url without padding.
fn bearer_value(token: &str) -> Result<HeaderValue, Status> {
    let wrong = || refuse("the subprotocol `bearer.…` must bear a token in base64url without padding");
    let mut value = b"Bearer ".to_vec();
    value.append(&mut base64_simd::URL_SAFE_NO_PAD.decode_to_vec(token).map_err(|_| wrong())?);
    let is_token = value.iter().skip(7).all(u8::is_ascii_graphic) && value.len() > 7;
    let mut value = HeaderValue::from_bytes(&value).ok().filter(|_| is_token).ok_or_else(wrong)?;
    value.set_sensitive(true);
    Ok(value)
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    tokens(headers, name).any(|listed| listed.eq_ignore_ascii_case(token))
}

/// The elements of a list that may stand in several lines (RFC 9110 §5.6.1).
fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|list| list.split(','))
        .map(str::trim)
        .filter(|element| !element.is_empty())
}

#[cfg(test)]
mod tests {
    use http::Request;
    use proptest::prelude::*;

    use super::*;

    /// The example of RFC 6455 §1.3.
    const EXAMPLE: &[(&str, &str)] = &[
        ("upgrade", "websocket"),
        ("connection", "Upgrade"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ("sec-websocket-version", "13"),
    ];

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&str, &str)| (name.parse().unwrap(), HeaderValue::from_str(value).unwrap());
        let mut map = HeaderMap::new();
        for (name, value) in pairs.iter().map(pair) {
            map.append::<HeaderName>(name, value);
        }
        map
    }

    /// The example with one header replaced, or taken away where the value is empty.
    fn changed(name: &str, value: &str) -> HeaderMap {
        let mut map = headers(EXAMPLE);
        let name: HeaderName = name.parse().unwrap();
        map.remove(&name);
        if !value.is_empty() {
            map.insert(name, HeaderValue::from_str(value).unwrap());
        }
        map
    }

    fn judge(headers: &HeaderMap) -> Result<Handshake, Status> {
        Handshake::of_upgrade(Version::HTTP_11, &Method::GET, headers, Subprotocol::MESSAGES)
    }

    fn offering(offers: &[&str]) -> Result<Handshake, Status> {
        let mut map = headers(EXAMPLE);
        for offer in offers {
            map.append(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_str(offer).unwrap());
        }
        judge(&map)
    }

    #[test]
    fn the_example_of_the_rfc_is_answered_as_there() {
        let mut answer = HeaderMap::new();
        judge(&headers(EXAMPLE)).unwrap().answer(&mut answer);
        let expected = [
            ("connection", "upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
        ];
        assert_eq!(answer, headers(&expected));
    }

    #[test]
    fn one_wrong_header_refuses_the_handshake() {
        for (name, value, status) in [
            ("upgrade", "h2c", Err(400)),
            ("upgrade", "", Err(400)),
            ("upgrade", "h2c, WebSocket", Ok(())),
            ("connection", "keep-alive", Err(400)),
            ("connection", "keep-alive, Upgrade", Ok(())),
            ("sec-websocket-version", "8", Err(426)),
            ("sec-websocket-version", "", Err(426)),
            ("sec-websocket-version", "13, 8", Err(426)),
            ("sec-websocket-key", "", Err(400)),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ", Err(400)),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25j", Err(400)),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==AA==", Err(400)),
            ("sec-websocket-key", "dGhlIHNhbXBs?SBub25jZQ==", Err(400)),
        ] {
            let judged = judge(&changed(name, value)).map(drop).map_err(|status| status.http_status().as_u16());
            assert_eq!(judged, status, "{name}: {value}");
        }
    }

    #[test]
    fn the_right_version_is_named_to_a_client_of_another() {
        let status = judge(&changed("sec-websocket-version", "8")).unwrap_err();
        assert_eq!(status.http_status(), StatusCode::UPGRADE_REQUIRED);
        assert_eq!(status.headers()[SEC_WEBSOCKET_VERSION], "13");
        assert_eq!(status.headers()[UPGRADE], "websocket");
    }

    #[test]
    fn only_get_over_http_1_1_upgrades() {
        let example = headers(EXAMPLE);
        assert!(Handshake::of_upgrade(Version::HTTP_11, &Method::POST, &example, Subprotocol::MESSAGES).is_err());
        assert!(Handshake::of_upgrade(Version::HTTP_10, &Method::GET, &example, Subprotocol::MESSAGES).is_err());
    }

    /// A head of HTTP/2.
    fn connect(protocol: Option<&'static str>, headers: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().version(Version::HTTP_2).method(Method::CONNECT).uri("https://a/b");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut head = request.body(()).unwrap().into_parts().0;
        if let Some(protocol) = protocol {
            head.extensions.insert(Protocol::from_static(protocol));
        }
        head
    }

    #[test]
    fn who_asks_for_a_websocket_is_known_by_the_head() {
        let version = ("sec-websocket-version", "13");
        for (head, expected) in [
            (connect(Some("websocket"), &[version]), true),
            (connect(Some("connect-udp"), &[version]), false),
            (connect(None, &[version]), false),
            (connect(None, EXAMPLE), false),
        ] {
            assert_eq!(is_asked_for(&head), expected, "{head:?}");
        }
        for (method, upgrade, expected) in
            [("GET", "websocket", true), ("POST", "websocket", false), ("GET", "h2c", false)]
        {
            let request = Request::builder().method(method).header("upgrade", upgrade).body(()).unwrap();
            assert_eq!(is_asked_for(&request.into_parts().0), expected, "{method} {upgrade}");
        }
    }

    #[test]
    fn over_http_2_there_is_no_key_and_nothing_is_upgraded() {
        let offers = [("sec-websocket-version", "13"), ("sec-websocket-protocol", "tidegate.proto")];
        let handshake = Handshake::of(&connect(Some("websocket"), &offers), Subprotocol::MESSAGES).unwrap();
        let mut answer = HeaderMap::new();
        assert_eq!(handshake.answer(&mut answer), StatusCode::OK);
        assert_eq!(answer, headers(&[("sec-websocket-protocol", "tidegate.proto")]));
        for wrong in [&[][..], &[("sec-websocket-version", "8")]] {
            let status = Handshake::of(&connect(Some("websocket"), wrong), Subprotocol::MESSAGES).unwrap_err();
            assert_eq!(status.http_status(), StatusCode::BAD_REQUEST);
            assert_eq!(status.headers()[SEC_WEBSOCKET_VERSION], "13");
        }
    }

    #[test]
    fn two_keys_are_refused() {
        let mut map = headers(EXAMPLE);
        map.append(SEC_WEBSOCKET_KEY, HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ=="));
        assert!(judge(&map).is_err());
    }

    #[test]
    fn the_first_known_subprotocol_is_chosen() {
        for (offers, expected) in [
            (&[][..], None),
            (&["tidegate.json"], Some(Subprotocol::Json)),
            (&["tidegate.proto, tidegate.json"], Some(Subprotocol::Proto)),
            (&["graphql-ws", " tidegate.json ,tidegate.proto"], Some(Subprotocol::Json)),
            (&["graphql-ws"], None),
            (&["TIDEGATE.JSON"], None),
            (&["bearer.YWJj"], None),
            (&["tidegate.mux", "tidegate.proto"], Some(Subprotocol::Proto)),
        ] {
            let handshake = offering(offers).unwrap();
            assert_eq!(handshake.subprotocol(), expected, "{offers:?}");
            let mut answer = HeaderMap::new();
            handshake.answer(&mut answer);
            let named = answer.get(SEC_WEBSOCKET_PROTOCOL).map(|value| value.to_str().unwrap());
            assert_eq!(named, expected.map(Subprotocol::name), "{offers:?}");
        }
    }

    #[test]
    fn the_answer_names_the_extension_that_was_agreed_on_and_nothing_else_depends_on_it() {
        for (offer, expected) in [
            ("permessage-deflate", Some("permessage-deflate; server_no_context_takeover; client_no_context_takeover")),
            ("permessage-deflate; unknown", None),
            ("=;\"", None),
        ] {
            let map = changed("sec-websocket-extensions", offer);
            let mut handshake = judge(&map).unwrap();
            let mut answer = HeaderMap::new();
            handshake.answer(&mut answer);
            assert!(!answer.contains_key(SEC_WEBSOCKET_EXTENSIONS), "nobody asked for it");
            handshake.agree_on_compression(&map, WebSocketCompression::Message);
            handshake.answer(&mut answer);
            let named = answer.get(SEC_WEBSOCKET_EXTENSIONS).map(|value| value.to_str().unwrap());
            assert_eq!((named, handshake.compression().is_some()), (expected, expected.is_some()), "{offer}");
        }
    }

    #[test]
    fn a_token_is_taken_from_beside_the_subprotocol_and_never_printed() {
        let handshake = offering(&["tidegate.json, bearer.YS5iLmM"]).unwrap();
        assert_eq!(handshake.authorization().unwrap(), "Bearer a.b.c");
        assert_eq!(handshake.subprotocol(), Some(Subprotocol::Json));
        assert!(!format!("{handshake:?}").contains("a.b.c"));
        for offer in ["bearer.", "bearer.YQ==", "bearer.Y+++", "bearer.Cg", "bearer.YSBi", "bearer.YQ, bearer.YQ"] {
            assert_eq!(offering(&[offer]).unwrap_err().code(), Code::InvalidArgument, "{offer}");
        }
    }

    proptest! {
        #[test]
        fn no_head_panics(pairs in prop::collection::vec((0usize..5, prop::collection::vec(32u8..=255, 0..30)), 0..6)) {
            let names = [UPGRADE, CONNECTION, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_VERSION, SEC_WEBSOCKET_PROTOCOL];
            let mut map = HeaderMap::new();
            for (name, value) in &pairs {
                if let Ok(value) = HeaderValue::from_bytes(value) {
                    map.append(&names[*name], value);
                }
            }
            let _ = judge(&map);
        }
    }
}
