//! Metadata in the heads of Connect: an upstream's in a reply's ("Leading-Metadata", "Prefixed-Trailing-Metadata").

use http::{HeaderMap, HeaderName};

use crate::wire::metadata;

/// How a stream's messages are compressed, and may be: gRPC's names for it, and Connect's.
const ENCODINGS: [(HeaderName, HeaderName); 2] = [
    (metadata::ENCODING, HeaderName::from_static("connect-content-encoding")),
    (metadata::ACCEPT_ENCODING, HeaderName::from_static("connect-accept-encoding")),
];

/// Trailing metadata of a unary reply travels in its head, behind this.
const TRAILER: &str = "trailer-";

/// Initial metadata, as headers of its own.
pub fn lead(metadata: &HeaderMap, headers: &mut HeaderMap) {
    for (name, value) in metadata.iter().filter(|(name, _)| !is_own(name) && !name.as_str().starts_with(TRAILER)) {
        headers.append(name.clone(), value.clone());
    }
}

/// Trailers, as headers behind `trailer-`.
pub fn trail(trailers: &HeaderMap, headers: &mut HeaderMap) {
    for (name, value) in trailers.iter().filter(|(name, _)| !is_own(name)) {
        if let Ok(name) = HeaderName::try_from(format!("{TRAILER}{name}")) {
            headers.append(name, value.clone());
        }
    }
}

/// The head of a stream's reply: initial metadata, and how the messages are compressed.
pub fn stream_head(metadata: &HeaderMap) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(metadata.len() + 4);
    lead(metadata, &mut headers);
    for (grpc, connect) in ENCODINGS {
        rename(metadata, &grpc, &mut headers, &connect);
    }
    headers
}

/// Tells the upstream how a stream's messages are compressed.
pub fn encodings(request: &HeaderMap, metadata: &mut HeaderMap) {
    for (grpc, connect) in ENCODINGS {
        rename(request, &connect, metadata, &grpc);
    }
}

fn rename(from: &HeaderMap, theirs: &HeaderName, to: &mut HeaderMap, ours: &HeaderName) {
    for value in from.get_all(theirs) {
        to.append(ours.clone(), value.clone());
    }
}

/// Names that the protocol, HTTP or the gateway say something of their own with.
pub(in crate::dialect) fn is_own(name: &HeaderName) -> bool {
    let text = name.as_str();
    metadata::is_reserved(name)
        || ["connect-", "content-", "access-control-"].iter().any(|prefix| text.starts_with(prefix))
        || matches!(text, "accept-encoding" | "x-request-id" | "date" | "server")
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn map(list: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in list {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn metadata_becomes_headers_but_for_what_is_the_protocols_own() {
        let head = [
            ("a", "1"),
            ("a", "2"),
            ("k-bin", "AAE"),
            ("trailer-a", "made up"),
            ("connect-timeout-ms", "1"),
            ("content-encoding", "gzip"),
            ("access-control-allow-origin", "*"),
            ("grpc-encoding", "gzip"),
            ("vary", "cookie"),
        ];
        let trailers = [("t", "1"), ("t", "2"), ("a", "3"), ("t-bin", "AA"), ("connect-x", "1"), ("grpc-status", "0")];
        let mut reply = map(&[("vary", "accept")]);
        lead(&map(&head), &mut reply);
        trail(&map(&trailers), &mut reply);
        let expected = map(&[
            ("vary", "accept"),
            ("vary", "cookie"),
            ("a", "1"),
            ("a", "2"),
            ("k-bin", "AAE"),
            ("trailer-t", "1"),
            ("trailer-t", "2"),
            ("trailer-a", "3"),
            ("trailer-t-bin", "AA"),
        ]);
        assert_eq!(reply, expected);
    }

    #[test]
    fn compression_is_told_by_each_protocols_own_name() {
        let connect = map(&[("connect-content-encoding", "gzip"), ("connect-accept-encoding", "gzip, br")]);
        let grpc = map(&[("grpc-encoding", "gzip"), ("grpc-accept-encoding", "gzip, br")]);
        let mut metadata = HeaderMap::new();
        encodings(&connect, &mut metadata);
        assert_eq!(metadata, grpc);
        assert_eq!(stream_head(&grpc), connect);
    }
}
