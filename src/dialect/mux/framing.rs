//! Frames one after another in the body of an HTTP answer: as lines, as events, or each behind its length.

use std::convert::Infallible;

use http::{HeaderMap, HeaderValue, header::ACCEPT};

use super::{
    frame::Form,
    reply::{write_close, write_ping},
};
use crate::{
    dialect::{
        accept::{self, NDJSON, PROTOBUF},
        sse::{self, Retry},
        websocket::{Close, code},
    },
    wire::varint,
};

/// What keeps a session's frames apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// One JSON object a line.
    Lines,
    /// Server-Sent Events, each with a JSON object.
    Events,
    /// `tidegate.mux.v1.Frame`s, each behind its length.
    Delimited,
}

impl Framing {
    /// What the client prefers, and the name that it has for it; none where it takes nothing of this.
    pub fn accepted(headers: &HeaderMap) -> Option<(Self, HeaderValue)> {
        let named = |names: [&'static str; 2], range: &str| names.into_iter().find(|name| *name == range);
        let choose = |range: &str| match range {
            "text/event-stream" => Some((Self::Events, "text/event-stream")),
            "*/*" | "application/*" => Some((Self::Lines, NDJSON[0])),
            range => named(NDJSON, range)
                .map(|name| (Self::Lines, name))
                .or_else(|| named(PROTOBUF, range).map(|name| (Self::Delimited, name))),
        };
        let chosen = match headers.contains_key(ACCEPT) {
            true => accept::preferred(headers, choose),
            false => Some((Self::Lines, NDJSON[0])),
        };
        chosen.map(|(framing, name)| (framing, HeaderValue::from_static(name)))
    }

    pub fn form(self) -> Form {
        match self {
            Self::Lines | Self::Events => Form::Json,
            Self::Delimited => Form::Proto,
        }
    }

    /// What stands before the first frame; `retry`: when a browser comes back whose stream was cut.
    pub fn begin(self, retry: Retry, out: &mut Vec<u8>) {
        if self == Self::Events {
            retry.write(out);
        }
    }

    /// Appends a frame, whose payload `write` appends.
    ///
    /// # Errors
    /// What `write` fails with; nothing is appended then.
    pub fn frame<T, E>(self, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>) -> Result<T, E>) -> Result<T, E> {
        let start = out.len();
        if self == Self::Events {
            out.extend_from_slice(sse::BEFORE);
        }
        let written = write(out).inspect_err(|_| out.truncate(start))?;
        match self {
            Self::Lines => out.push(b'\n'),
            Self::Events => out.extend_from_slice(sse::AFTER),
            Self::Delimited => {
                let mut prefix = Vec::new();
                varint::write((out.len() - start) as u64, &mut prefix);
                out.splice(start..start, prefix);
            }
        }
        Ok(written)
    }

    /// Appends the last frame. A browser that would open another session comes back from it only where that makes sense: where
    /// the gateway restarts.
    pub fn close(self, close: &Close, out: &mut Vec<u8>) {
        if self == Self::Events && close.code() != code::SERVICE_RESTART {
            sse::write_id(sse::END_ID, out);
        }
        self.tell(out, |out| write_close(self.form(), close, out));
    }

    /// Appends what breaks a silence; `number`: of this one.
    pub fn heartbeat(self, number: u64, out: &mut Vec<u8>) {
        if self == Self::Events {
            return out.extend_from_slice(sse::HEARTBEAT);
        }
        self.tell(out, |out| write_ping(self.form(), number, out));
    }

    /// Appends a frame that can always be written.
    fn tell(self, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
        let Ok(()) = self.frame(out, |out| {
            write(out);
            Ok::<_, Infallible>(())
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_client_gets_what_it_prefers_by_its_own_name() {
        for (accept, expected) in [
            (None, Some((Framing::Lines, "application/x-ndjson"))),
            (Some("*/*"), Some((Framing::Lines, "application/x-ndjson"))),
            (Some("text/html, */*;q=0.1"), Some((Framing::Lines, "application/x-ndjson"))),
            (Some("application/jsonl"), Some((Framing::Lines, "application/jsonl"))),
            (Some("Text/Event-Stream"), Some((Framing::Events, "text/event-stream"))),
            (Some("application/x-protobuf"), Some((Framing::Delimited, "application/x-protobuf"))),
            (Some("application/protobuf, */*;q=0.5"), Some((Framing::Delimited, "application/protobuf"))),
            (Some("text/event-stream;q=0.5, application/x-ndjson"), Some((Framing::Lines, "application/x-ndjson"))),
            (Some("application/json"), None),
            (Some("text/html"), None),
            (Some(""), None),
            (Some("text/event-stream;q=0"), None),
        ] {
            let headers = accept.map(|accept| (ACCEPT, HeaderValue::from_static(accept))).into_iter().collect();
            let expected = expected.map(|(framing, name)| (framing, HeaderValue::from_static(name)));
            assert_eq!(Framing::accepted(&headers), expected, "{accept:?}");
        }
    }

    #[test]
    fn frames_are_kept_apart_and_what_cannot_be_written_leaves_nothing() {
        let retry = Retry::jittered(Duration::from_secs(2), 0);
        for (framing, expected) in [
            (Framing::Lines, "{}\n{\"ping\":1}\n{\"close\":{\"code\":1007,\"reason\":\"x\"}}\n"),
            (
                Framing::Events,
                "retry: 2000\n\ndata: {}\n\n:\n\nid: ~end\ndata: {\"close\":{\"code\":1007,\"reason\":\"x\"}}\n\n",
            ),
            (Framing::Delimited, "\u{2}{}\u{2}\u{48}\u{1}\u{8}\u{6a}\u{6}\u{8}\u{ef}\u{7}\u{12}\u{1}x"),
        ] {
            let mut out = Vec::new();
            framing.begin(retry, &mut out);
            let wrote = framing.frame(&mut out, |out| {
                out.extend_from_slice(b"{}");
                Ok::<_, ()>(7)
            });
            assert_eq!(wrote, Ok(7));
            let failed = framing.frame(&mut out, |out| {
                out.push(b'{');
                Err::<(), _>("no")
            });
            assert_eq!(failed, Err("no"));
            framing.heartbeat(1, &mut out);
            framing.close(&Close::new(code::INVALID_PAYLOAD, "x"), &mut out);
            let expected: Vec<u8> = expected.chars().map(|byte| u8::try_from(byte).unwrap()).collect();
            assert_eq!(out, expected, "{framing:?}");
        }
        let mut out = Vec::new();
        Framing::Events.close(&Close::new(code::SERVICE_RESTART, ""), &mut out);
        assert_eq!(out, b"data: {\"close\":{\"code\":1012,\"reason\":\"\"}}\n\n", "a browser comes back");
    }

    #[test]
    fn a_long_frame_has_its_length_in_front() {
        let mut out = b"\x01a".to_vec();
        Framing::Delimited.tell(&mut out, |out| out.extend_from_slice(&[b'x'; 300]));
        assert!(out.starts_with(b"\x01a\xac\x02xx") && out.len() == 304);
    }
}
