//! What a call that goes well looks like, and one that fails, in every dialect.

use serde_json::{Value, json};
use tidegate::status::Code;

use super::{Call, Dialect, End, Gateway, How, Kind, Opening, Via, http::Broken};

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

/// The end tells this code as the dialect does; `begun` where the reply's head went out before.
#[track_caller]
pub fn failed(call: &Call, end: &End, opening: &Opening, code: u32, begun: bool) {
    let number = Code::from_number(code);
    let how = match opening.dialect {
        Dialect::WebSocket => How::Close(number.close_code()),
        Dialect::Grpc | Dialect::GrpcJson | Dialect::GrpcWeb | Dialect::GrpcWebText | Dialect::GrpcWebJson => {
            How::Trailers
        }
        Dialect::ConnectJson | Dialect::ConnectProto if opening.kind != Kind::Unary => How::EndStream,
        _ if !begun => How::Http(number.http_status().as_u16()),
        Dialect::Json | Dialect::Protobuf | Dialect::ConnectJson | Dialect::ConnectProto | Dialect::ConnectGet => {
            // No last chunk, or RST_STREAM: broken for certain, and no code to tell.
            assert!(
                matches!(&end.how, How::Cut(Broken::Reset(_)) if opening.via.is_h2())
                    || matches!(&end.how, How::Cut(Broken::Connection(_)) if !opening.via.is_h2()),
                "{call:?}: {end:?}"
            );
            return;
        }
        Dialect::Ndjson | Dialect::JsonSeq => How::Line,
        // A reconnect makes sense only when the upstream was not there.
        Dialect::Sse if code == 14 => How::Event(None),
        Dialect::Sse => How::Event(Some("~end".to_owned())),
    };
    assert_eq!((&end.how, end.code), (&how, Some(code)), "{call:?}: {end:?}");
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
