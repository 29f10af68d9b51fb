//! A server's frames, each by itself: the payload of a WebSocket message, or what stands between two line ends.

use std::{collections::HashMap, time::Duration};

use http::HeaderMap;
use prost::Message as _;

use super::{
    frame::{Form, proto},
    session::SessionId,
};
use crate::{
    codec::{Codec, write_span},
    dialect::{
        refusal::{details, error_json, string},
        websocket::Close,
    },
    status::Status,
    wire::{metadata, varint},
};

/// The backend's initial metadata.
pub fn write_head(form: Form, id: u32, metadata: &HeaderMap, out: &mut Vec<u8>) {
    match form {
        Form::Json => {
            begin(id, b"\"head\":{\"metadata\":", out);
            metadata_json(metadata, out);
            out.extend_from_slice(b"}}");
        }
        Form::Proto => {
            let head = proto::Head { metadata: metadata_map(metadata) };
            frame(&proto::Frame { id, head: Some(head), ..Default::default() }, out);
        }
    }
}

/// A reply; `write` appends the message in the frame's form. The bytes that count against the credit.
///
/// # Errors
/// What `write` fails with; nothing is appended then.
pub fn write_message<E>(
    form: Form,
    id: u32,
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<usize, E> {
    let start = out.len();
    match form {
        Form::Json => {
            begin(id, b"\"message\":", out);
            let from = out.len();
            write(out).inspect_err(|_| out.truncate(start))?;
            let length = out.len() - from;
            out.push(b'}');
            Ok(length)
        }
        Form::Proto => {
            let mut message = Vec::new();
            write(&mut message)?;
            // Frame.id and Frame.message, as prost would write them, without another copy.
            out.push(0x08);
            varint::write(id.into(), out);
            out.push(0x22);
            varint::write(message.len() as u64, out);
            out.extend_from_slice(&message);
            Ok(message.len())
        }
    }
}

/// The call's end.
pub fn write_status(
    form: Form,
    id: u32,
    outcome: Result<(), &Status>,
    trailers: &HeaderMap,
    codec: &Codec,
    out: &mut Vec<u8>,
) {
    match form {
        Form::Json => {
            begin(id, b"\"status\":", out);
            match outcome {
                Ok(()) => out.extend_from_slice(b"{\"code\":0,\"message\":\"\",\"details\":[]}"),
                Err(status) => error_json(status, codec, out),
            }
            // Before the brace that closes it.
            out.pop();
            out.extend_from_slice(b",\"trailers\":");
            metadata_json(trailers, out);
            out.extend_from_slice(b"}}");
        }
        Form::Proto => {
            let status = outcome.err();
            let told = proto::Status {
                code: status.map_or(0, |status| status.code().number().into()),
                message: status.map(|status| status.message().to_owned()).unwrap_or_default(),
                details: status.map(details).unwrap_or_default(),
                trailers: metadata_map(trailers),
            };
            frame(&proto::Frame { id, status: Some(told), ..Default::default() }, out);
        }
    }
}

/// Room for so many more bytes of requests.
pub fn write_credit(form: Form, id: u32, bytes: u32, out: &mut Vec<u8>) {
    match form {
        Form::Json => {
            begin(id, b"\"credit\":", out);
            out.extend_from_slice(itoa::Buffer::new().format(bytes).as_bytes());
            out.push(b'}');
        }
        Form::Proto => frame(&proto::Frame { id, credit: bytes, ..Default::default() }, out),
    }
}

pub fn write_pong(form: Form, number: u64, out: &mut Vec<u8>) {
    match form {
        Form::Json => number_json(b"{\"pong\":", number, out),
        Form::Proto => frame(&proto::Frame { pong: Some(number), ..Default::default() }, out),
    }
}

pub fn write_ping(form: Form, number: u64, out: &mut Vec<u8>) {
    match form {
        Form::Json => number_json(b"{\"ping\":", number, out),
        Form::Proto => frame(&proto::Frame { ping: Some(number), ..Default::default() }, out),
    }
}

/// Tells the client of a session the credential that its POSTs are to bear.
pub fn write_session(form: Form, id: &SessionId, out: &mut Vec<u8>) {
    let session = id.secret();
    match form {
        Form::Json => {
            out.extend_from_slice(b"{\"session\":");
            string(&session, out);
            out.push(b'}');
        }
        Form::Proto => frame(&proto::Frame { session, ..Default::default() }, out),
    }
}

/// What a WebSocket's close frame says, where there is none.
pub fn write_close(form: Form, close: &Close, out: &mut Vec<u8>) {
    let (code, reason) = (close.code(), close.reason());
    match form {
        Form::Json => {
            out.extend_from_slice(b"{\"close\":{\"code\":");
            out.extend_from_slice(itoa::Buffer::new().format(code).as_bytes());
            out.extend_from_slice(b",\"reason\":");
            string(reason, out);
            out.extend_from_slice(b"}}");
        }
        Form::Proto => {
            let close = proto::Close { code: code.into(), reason: reason.to_owned() };
            frame(&proto::Frame { close: Some(close), ..Default::default() }, out);
        }
    }
}

/// Asks the client for a newer token: the one that is known is good for so long yet.
pub fn write_renew(form: Form, expires_in: Duration, out: &mut Vec<u8>) {
    match form {
        Form::Json => {
            out.extend_from_slice(b"{\"renew\":{\"expires_in\":");
            write_span(expires_in, out);
            out.extend_from_slice(b"}}");
        }
        Form::Proto => {
            let expires_in = prost_types::Duration::try_from(expires_in).ok();
            frame(&proto::Frame { renew: Some(proto::Renew { expires_in }), ..Default::default() }, out);
        }
    }
}

/// Asks the client to finish what is open and to connect again.
pub fn write_go_away(form: Form, reason: &str, out: &mut Vec<u8>) {
    match form {
        Form::Json => {
            out.extend_from_slice(b"{\"go_away\":{\"reason\":");
            string(reason, out);
            out.extend_from_slice(b"}}");
        }
        Form::Proto => {
            let go_away = proto::GoAway { reason: reason.to_owned() };
            frame(&proto::Frame { go_away: Some(go_away), ..Default::default() }, out);
        }
    }
}

fn number_json(key: &[u8], number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(key);
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    out.push(b'}');
}

fn begin(id: u32, key: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"id\":");
    out.extend_from_slice(itoa::Buffer::new().format(id).as_bytes());
    out.push(b',');
    out.extend_from_slice(key);
}

fn frame(frame: &proto::Frame, out: &mut Vec<u8>) {
    // A vector has room for everything.
    let _ = frame.encode(out);
}

/// What is told of the backend's metadata: all but gRPC's own and HTTP's.
fn told(metadata: &HeaderMap) -> impl Iterator<Item = (&str, String)> {
    let names =
        metadata.keys().filter(|name| !metadata::is_reserved(name) && !matches!(name.as_str(), "date" | "server"));
    names.map(|name| {
        let values = metadata.get_all(name).iter();
        let values: Vec<_> = values.map(|value| String::from_utf8_lossy(value.as_bytes())).collect();
        (name.as_str(), values.join(", "))
    })
}

fn metadata_json(metadata: &HeaderMap, out: &mut Vec<u8>) {
    out.push(b'{');
    for (place, (name, value)) in told(metadata).enumerate() {
        if place > 0 {
            out.push(b',');
        }
        string(name, out);
        out.push(b':');
        string(&value, out);
    }
    out.push(b'}');
}

fn metadata_map(metadata: &HeaderMap) -> HashMap<String, String> {
    told(metadata).map(|(name, value)| (name.to_owned(), value)).collect()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::HeaderValue;

    use super::*;
    use crate::status::Code;

    fn codec() -> Codec {
        let set: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/builtin.binpb"));
        Codec::compile(&buffa_descriptor::DescriptorPool::decode(set).unwrap())
    }

    #[test]
    fn a_servers_frames_say_the_same_in_both_forms() {
        let mut metadata = HeaderMap::new();
        for (name, value) in
            [("k", "a"), ("k", "b"), ("content-type", "application/grpc"), ("date", "x"), ("grpc-encoding", "gzip")]
        {
            metadata.append(name, HeaderValue::from_static(value));
        }
        let told: HashMap<_, _> = [("k".to_owned(), "a, b".to_owned())].into();
        let status = Status::upstream(Code::NotFound, "gone");
        let codec = codec();
        let empty = proto::Frame::default;
        let write_two = |out: &mut Vec<u8>| {
            out.extend_from_slice(b"{}");
            Ok::<_, ()>(())
        };
        type Write<'a> = &'a dyn Fn(Form, &mut Vec<u8>);
        for (write, json, frame) in [
            (
                &(|form, out: &mut Vec<u8>| write_head(form, 1, &metadata, out)) as Write<'_>,
                r#"{"id":1,"head":{"metadata":{"k":"a, b"}}}"#,
                proto::Frame { id: 1, head: Some(proto::Head { metadata: told.clone() }), ..empty() },
            ),
            (
                &|form, out| assert_eq!(write_message(form, 300, out, write_two), Ok(2)),
                r#"{"id":300,"message":{}}"#,
                proto::Frame { id: 300, message: Some(b"{}".to_vec()), ..empty() },
            ),
            (
                &|form, out| write_status(form, 1, Ok(()), &metadata, &codec, out),
                r#"{"id":1,"status":{"code":0,"message":"","details":[],"trailers":{"k":"a, b"}}}"#,
                proto::Frame { id: 1, status: Some(proto::Status { trailers: told, ..Default::default() }), ..empty() },
            ),
            (
                &|form, out| write_status(form, 1, Err(&status), &HeaderMap::new(), &codec, out),
                r#"{"id":1,"status":{"code":5,"message":"gone","details":[],"trailers":{}}}"#,
                proto::Frame {
                    id: 1,
                    status: Some(proto::Status { code: 5, message: "gone".to_owned(), ..Default::default() }),
                    ..empty()
                },
            ),
            (
                &|form, out| write_credit(form, 1, 9, out),
                r#"{"id":1,"credit":9}"#,
                proto::Frame { id: 1, credit: 9, ..empty() },
            ),
            (&|form, out| write_pong(form, 9, out), r#"{"pong":9}"#, proto::Frame { pong: Some(9), ..empty() }),
            (&|form, out| write_ping(form, 9, out), r#"{"ping":9}"#, proto::Frame { ping: Some(9), ..empty() }),
            (
                &|form, out| write_session(form, &SessionId::new([0xff; 16]), out),
                r#"{"session":"_____________________w"}"#,
                proto::Frame { session: "_____________________w".to_owned(), ..empty() },
            ),
            (
                &|form, out| write_close(form, &Close::new(1007, "\"why\""), out),
                r#"{"close":{"code":1007,"reason":"\"why\""}}"#,
                proto::Frame { close: Some(proto::Close { code: 1007, reason: "\"why\"".to_owned() }), ..empty() },
            ),
            (
                &|form, out| write_go_away(form, "why", out),
                r#"{"go_away":{"reason":"why"}}"#,
                proto::Frame { go_away: Some(proto::GoAway { reason: "why".to_owned() }), ..empty() },
            ),
        ] {
            let (mut text, mut binary) = (Vec::new(), Vec::new());
            write(Form::Json, &mut text);
            write(Form::Proto, &mut binary);
            assert_eq!(String::from_utf8(text).unwrap(), json);
            assert_eq!(proto::Frame::decode(Bytes::from(binary)).unwrap(), frame, "{json}");
        }
    }

    #[test]
    fn a_message_that_cannot_be_written_leaves_nothing() {
        let mut out = b"before".to_vec();
        for form in [Form::Json, Form::Proto] {
            assert_eq!(
                write_message(form, 1, &mut out, |out| {
                    out.push(b'x');
                    Err("no")
                }),
                Err("no")
            );
            assert_eq!(out, b"before");
        }
    }
}
