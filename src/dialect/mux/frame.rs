//! A client's frames: JSON in a text message, or `tidegate.mux.v1.Frame` in a binary one.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use prost::Message as _;
use serde::Deserialize;
use serde_json::value::RawValue;
use thiserror::Error;

use crate::codec::read_span;

/// `tidegate.mux.v1`.
pub(super) mod proto {
    #![allow(unreachable_pub, reason = "written by a generator")]
    include!(concat!(env!("OUT_DIR"), "/tidegate.mux.v1.rs"));
}

/// What frames, and the messages in them, are written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Json,
    Proto,
}

/// What a client tells in one message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// 0 where nothing is told of a call.
    pub id: u32,
    pub open: Option<Open>,
    /// In the frame's own form.
    pub message: Option<Bytes>,
    pub half_close: bool,
    pub credit: u32,
    pub cancel: bool,
    pub ping: Option<u64>,
    /// A newer bearer token.
    pub token: Option<String>,
}

/// How a call begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Open {
    /// `pkg.Service/Method`.
    pub method: String,
    pub metadata: BTreeMap<String, String>,
    pub timeout: Option<Duration>,
}

/// What the socket is closed for.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum FrameError {
    #[error("a frame is not sound: {0}")]
    Malformed(String),
    #[error("a frame tells of a call and has no id")]
    NoId,
}

impl Frame {
    /// Reads a frame; keys and fields that are not known mean nothing.
    ///
    /// # Errors
    /// What is not JSON, or protobuf, of that shape.
    pub fn parse(form: Form, payload: &Bytes) -> Result<Self, FrameError> {
        let frame = match form {
            Form::Json => json(payload)?,
            Form::Proto => protobuf(payload)?,
        };
        let of_call =
            frame.open.is_some() || frame.message.is_some() || frame.half_close || frame.credit > 0 || frame.cancel;
        if of_call && frame.id == 0 { Err(FrameError::NoId) } else { Ok(frame) }
    }
}

#[derive(Deserialize)]
struct JsonFrame<'a> {
    #[serde(default)]
    id: u32,
    #[serde(borrow)]
    open: Option<&'a RawValue>,
    #[serde(borrow)]
    message: Option<&'a RawValue>,
    #[serde(default)]
    half_close: bool,
    #[serde(default)]
    credit: u32,
    #[serde(default)]
    cancel: bool,
    ping: Option<u64>,
    token: Option<String>,
}

#[derive(Deserialize)]
struct JsonOpen {
    method: String,
    #[serde(default)]
    metadata: BTreeMap<String, String>,
    timeout: Option<String>,
}

fn json(payload: &Bytes) -> Result<Frame, FrameError> {
    let frame: JsonFrame<'_> = object(payload)?;
    let open = frame.open.map(|open| {
        let open: JsonOpen = object(open.get().as_bytes())?;
        let timeout = open.timeout.map(|text| {
            read_span(&text).ok_or_else(|| FrameError::Malformed("a timeout is seconds such as \"1.5s\"".to_owned()))
        });
        Ok(Open { method: open.method, metadata: open.metadata, timeout: timeout.transpose()? })
    });
    Ok(Frame {
        id: frame.id,
        open: open.transpose()?,
        message: frame.message.map(|raw| payload.slice_ref(raw.get().as_bytes())),
        half_close: frame.half_close,
        credit: frame.credit,
        cancel: frame.cancel,
        ping: frame.ping,
        token: frame.token,
    })
}

/// Reads an object; serde would take a list of its members' values for one too.
fn object<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Result<T, FrameError> {
    if json.trim_ascii_start().first() != Some(&b'{') {
        return Err(FrameError::Malformed("an object was expected".to_owned()));
    }
    serde_json::from_slice(json).map_err(|error| FrameError::Malformed(error.to_string()))
}

fn protobuf(payload: &Bytes) -> Result<Frame, FrameError> {
    let frame = proto::Frame::decode(payload.clone()).map_err(|error| FrameError::Malformed(error.to_string()))?;
    let open = frame.open.map(|open| {
        let timeout = open.timeout.map(|timeout| {
            Duration::try_from(timeout)
                .map_err(|_| FrameError::Malformed("a timeout is no positive duration".to_owned()))
        });
        Ok(Open { method: open.method, metadata: open.metadata.into_iter().collect(), timeout: timeout.transpose()? })
    });
    Ok(Frame {
        id: frame.id,
        open: open.transpose()?,
        message: frame.message.map(Into::into),
        half_close: frame.half_close,
        credit: frame.credit,
        cancel: frame.cancel,
        ping: frame.ping,
        token: Some(frame.token).filter(|token| !token.is_empty()),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<Frame, String> {
        Frame::parse(Form::Json, &Bytes::copy_from_slice(text.as_bytes())).map_err(|error| error.to_string())
    }

    #[test]
    fn frames_of_json_are_read() {
        let open = |method: &str, timeout: Option<Duration>| {
            Some(Open { method: method.to_owned(), metadata: BTreeMap::new(), timeout })
        };
        let metadata = [("k".to_owned(), "v".to_owned())].into();
        for (text, expected) in [
            (
                r#"{"id":1,"open":{"method":"p.S/M","metadata":{"k":"v"},"timeout":"5s"}}"#,
                Frame {
                    id: 1,
                    open: Some(Open { metadata, ..open("p.S/M", Some(Duration::from_secs(5))).unwrap_or_default() }),
                    ..Frame::default()
                },
            ),
            (
                r#"{"id":1,"open":{"method":"p.S/M"},"message":{"a" : [1]},"half_close":true}"#,
                Frame {
                    id: 1,
                    open: open("p.S/M", None),
                    message: Some(Bytes::from_static(b"{\"a\" : [1]}")),
                    half_close: true,
                    ..Frame::default()
                },
            ),
            (r#"{"id":7,"credit":9}"#, Frame { id: 7, credit: 9, ..Frame::default() }),
            (r#"{"cancel":true,"id":7}"#, Frame { id: 7, cancel: true, ..Frame::default() }),
            (r#"{"ping":18446744073709551615}"#, Frame { ping: Some(u64::MAX), ..Frame::default() }),
            (r#"{"token":"a.b.c"}"#, Frame { token: Some("a.b.c".to_owned()), ..Frame::default() }),
            // What is not known, and what only a server tells, means nothing.
            (r#"{"id":7,"later":{"x":[{}]},"status":5,"pong":1}"#, Frame { id: 7, ..Frame::default() }),
            ("{}", Frame::default()),
            // No message is none; JSON's null may be one (google.protobuf.Value has it in a message of its own).
            (r#"{"id":7,"message":null}"#, Frame { id: 7, ..Frame::default() }),
        ] {
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_frame_is_refused() {
        for text in [
            "",
            "[]",
            r#"[1,null,{},false,0,true,null,null]"#,
            r#"{"id":1,"open":["p.S/M",{},null]}"#,
            "{",
            "{} {}",
            r#"{"id":-1,"cancel":true}"#,
            r#"{"id":4294967296,"cancel":true}"#,
            r#"{"id":1.5,"cancel":true}"#,
            r#"{"id":"1","cancel":true}"#,
            r#"{"cancel":true}"#,
            r#"{"id":0,"message":{}}"#,
            r#"{"id":1,"id":2,"cancel":true}"#,
            r#"{"id":1,"credit":-5}"#,
            r#"{"id":1,"credit":4294967296}"#,
            r#"{"id":1,"half_close":1}"#,
            r#"{"id":1,"open":{}}"#,
            r#"{"id":1,"open":{"method":"a","timeout":5}}"#,
            r#"{"id":1,"open":{"method":"a","timeout":"5"}}"#,
            r#"{"id":1,"open":{"method":"a","timeout":"-5s"}}"#,
            r#"{"id":1,"open":{"method":"a","timeout":"1.s"}}"#,
            r#"{"id":1,"open":{"method":"a","metadata":{"k":1}}}"#,
            r#"{"id":1,"message":{"a":}}"#,
            r#"{"ping":-1}"#,
            r#"{"token":5}"#,
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
        let deep = format!("{{\"id\":1,\"message\":{}", "[".repeat(100_000));
        assert!(parse(&deep).is_err());
        assert!(Frame::parse(Form::Proto, &Bytes::from_static(b"\x0a")).is_err());
        assert_eq!(Frame::parse(Form::Proto, &Bytes::from_static(b"\x38\x01")), Err(FrameError::NoId));
    }

    #[test]
    fn a_timeout_is_told_to_the_nanosecond() {
        for (text, expected) in [
            ("5s", Some((5, 0))),
            ("0.25s", Some((0, 250_000_000))),
            ("1.000000001s", Some((1, 1))),
            ("315576000000s", Some((315_576_000_000, 0))),
            ("315576000001s", None),
            ("-5s", None),
            ("1.0000000001s", None),
            ("s", None),
            (".5s", None),
            ("+5s", None),
            ("5 s", None),
        ] {
            assert_eq!(read_span(text), expected.map(|(secs, nanos)| Duration::new(secs, nanos)), "{text}");
        }
    }

    proptest! {
        #[test]
        fn both_forms_say_the_same(
            id in 1u32.., method in "[a-z./A-Z]{0,12}", metadata: BTreeMap<String, String>, secs in 0u32..,
            half_close: bool, credit: u32, cancel: bool, ping: Option<u64>, opens: bool, token in "[a-z.]{1,8}",
        ) {
            let timeout = Duration::from_secs(secs.into());
            let open = opens.then(|| Open { method: method.clone(), metadata: metadata.clone(), timeout: Some(timeout) });
            let expected = Frame { id, open, message: None, half_close, credit, cancel, ping, token: Some(token.clone()) };
            let mut json = serde_json::json!({ "id": id, "half_close": half_close, "credit": credit, "cancel": cancel, "token": token });
            if let Some(ping) = ping {
                json["ping"] = ping.into();
            }
            let mut proto = proto::Frame { id, half_close, credit, cancel, ping, token, ..Default::default() };
            if opens {
                json["open"] = serde_json::json!({ "method": method, "metadata": metadata, "timeout": format!("{secs}s") });
                proto.open = Some(proto::Open {
                    method,
                    metadata: metadata.into_iter().collect(),
                    timeout: Some(prost_types::Duration { seconds: secs.into(), nanos: 0 }),
                });
            }
            prop_assert_eq!(parse(&json.to_string()), Ok(expected.clone()));
            prop_assert_eq!(Frame::parse(Form::Proto, &proto.encode_to_vec().into()), Ok(expected));
        }

        #[test]
        fn no_bytes_panic(bytes: Vec<u8>) {
            let bytes = Bytes::from(bytes);
            let _ = (Frame::parse(Form::Json, &bytes), Frame::parse(Form::Proto, &bytes));
        }
    }
}
