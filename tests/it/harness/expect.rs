//! What a call that goes well looks like, in every dialect.

use serde_json::{Value, json};

use super::{Dialect, End, Gateway, How, Kind, Opening, Via};

/// The connections that can carry a dialect's calls of a kind.
pub fn vias(dialect: Dialect, kind: Kind) -> &'static [Via] {
    match dialect {
        Dialect::ConnectJson | Dialect::ConnectProto if kind == Kind::Bidi => &[Via::H2c, Via::H2Tls],
        Dialect::Json | Dialect::Ndjson | Dialect::JsonSeq | Dialect::Protobuf | Dialect::Sse => &Via::ALL,
        Dialect::GrpcWeb | Dialect::GrpcWebText | Dialect::GrpcWebJson => &Via::ALL,
        Dialect::ConnectJson | Dialect::ConnectProto | Dialect::ConnectGet => &Via::ALL,
        Dialect::WebSocket => &Via::ALL,
        Dialect::Grpc | Dialect::GrpcJson => &[Via::H2c, Via::H2Tls],
    }
}

/// The replies to the requests of `Opening::new`, and to `a` and `b` of a request stream.
pub fn messages(kind: Kind) -> Vec<Value> {
    match kind {
        Kind::Unary => vec![json!({"text": "hello", "n": 7})],
        Kind::ServerStream => {
            vec![json!({"text": "tick"}), json!({"text": "tick", "n": 1}), json!({"text": "tick", "n": 2})]
        }
        Kind::ClientStream => vec![json!({"count": 2, "joined": "a,b"})],
        Kind::Bidi => vec![json!({"text": "a"}), json!({"text": "b"})],
    }
}

/// The end of a call that went well.
pub fn end(opening: &Opening) -> End {
    let how = match opening.dialect {
        Dialect::Json if opening.kind.replies_stream() => How::Array,
        Dialect::Protobuf if opening.kind.replies_stream() => How::Message,
        Dialect::Json | Dialect::Protobuf => How::Http(200),
        Dialect::ConnectJson | Dialect::ConnectProto if opening.kind != Kind::Unary => How::EndStream,
        Dialect::ConnectJson | Dialect::ConnectProto | Dialect::ConnectGet => How::Http(200),
        Dialect::Ndjson | Dialect::JsonSeq => How::Line,
        Dialect::Sse => How::Event(Some("~end".to_owned())),
        Dialect::WebSocket => How::Close(1000),
        Dialect::Grpc | Dialect::GrpcJson | Dialect::GrpcWeb | Dialect::GrpcWebText | Dialect::GrpcWebJson => {
            How::Trailers
        }
    };
    End { how, code: Some(0), message: String::new(), details: Vec::new() }
}

/// Makes a call of every kind that a dialect carries, over every connection that can carry it.
pub async fn every_kind(gateway: &Gateway, dialect: Dialect) {
    for kind in [Kind::Unary, Kind::ServerStream, Kind::ClientStream, Kind::Bidi] {
        if dialect == Dialect::Sse && kind.requests_stream() {
            continue;
        }
        for &via in vias(dialect, kind) {
            let opening = Opening::new(dialect, kind, via);
            let mut call = opening.open(gateway).await;
            if kind.requests_stream() {
                for text in ["a", "b"] {
                    call.send(&json!({"text": text})).await;
                }
                call.half_close().await;
            }
            let (got, ended) = call.rest().await;
            assert_eq!(got, messages(kind), "{call:?}: {ended:?}");
            assert_eq!(ended, end(&opening), "{call:?}");
        }
    }
}
