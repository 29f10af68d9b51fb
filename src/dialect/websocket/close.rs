//! How a WebSocket ends: status codes, reasons, and the table from a call's end to both (PROTOCOLS §6).

use std::borrow::Cow;

use super::{fault::Fault, frame::CONTROL_BYTES_MAX};
use crate::status::{Reason, Status};

/// Longest reason, in bytes of UTF-8: what a control frame holds beside the status code.
const REASON_BYTES_MAX: usize = CONTROL_BYTES_MAX - 2;

/// Status codes (RFC 6455 §7.4.1, and IANA's WebSocket Close Code Number Registry).
pub mod code {
    pub const NORMAL: u16 = 1000;
    pub const PROTOCOL_ERROR: u16 = 1002;
    pub const UNSUPPORTED_DATA: u16 = 1003;
    pub const INVALID_PAYLOAD: u16 = 1007;
    pub const TOO_BIG: u16 = 1009;
    pub const SERVICE_RESTART: u16 = 1012;
}

/// What a close frame says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    code: u16,
    reason: Cow<'static, str>,
}

impl Close {
    /// The reason is cut to what a close frame holds, between two characters.
    pub fn new(code: u16, reason: impl Into<Cow<'static, str>>) -> Self {
        debug_assert!(may_be_sent(code), "{code} must not be sent");
        let mut reason = reason.into();
        if reason.len() > REASON_BYTES_MAX {
            let end = reason.floor_char_boundary(REASON_BYTES_MAX);
            reason.to_mut().truncate(end);
        }
        Self { code, reason }
    }

    /// The end of a call that ended well.
    pub fn ok() -> Self {
        Self::new(code::NORMAL, "")
    }

    /// The end of a call that failed: the gRPC code, except where WebSocket has a code of its own for it.
    pub fn of_status(status: &Status) -> Self {
        let code = match status.reason() {
            Some(Reason::Draining) => code::SERVICE_RESTART,
            Some(Reason::MessageTooLarge) => code::TOO_BIG,
            Some(Reason::InvalidJson | Reason::InvalidMessage) => code::INVALID_PAYLOAD,
            Some(Reason::UnsupportedMediaType) => code::UNSUPPORTED_DATA,
            _ => status.code().close_code(),
        };
        Self::new(code, status.to_string())
    }

    /// The answer to a peer's close frame: its code without its reason, and no code where it gave none (RFC 6455 §5.5.1).
    pub fn echo(peer: Option<&Self>) -> Option<Self> {
        peer.map(|close| Self { code: close.code, reason: Cow::Borrowed("") })
    }

    /// What a close frame's payload says; none where it is empty (RFC 6455 §5.5.1).
    ///
    /// # Errors
    /// Half a code, a code that must not be sent, a reason that is not UTF-8.
    pub fn parse(payload: &[u8]) -> Result<Option<Self>, Fault> {
        let Some((code, reason)) = payload.split_first_chunk::<2>() else {
            return if payload.is_empty() { Ok(None) } else { Err(Fault::CloseCodeCut) };
        };
        let code = u16::from_be_bytes(*code);
        if !may_be_sent(code) {
            return Err(Fault::CloseCode(code));
        }
        let reason = simdutf8::basic::from_utf8(reason).map_err(|_| Fault::ReasonNotUtf8)?;
        Ok(Some(Self { code, reason: reason.to_owned().into() }))
    }

    pub fn code(&self) -> u16 {
        self.code
    }

    pub fn reason(&self) -> &str {
        &self.reason
    }
}

/// Codes that may stand in a close frame: assigned and not only for local use, or of the ranges for libraries and
/// applications (RFC 6455 §7.4.2; 1012 to 1014 are IANA's later ones).
fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::Code;

    #[test]
    fn a_close_frame_is_judged_by_code_and_reason() {
        let close = |code: u16, reason: &'static str| Ok(Some(Close { code, reason: reason.into() }));
        for (payload, expected) in [
            (&b""[..], Ok(None)),
            (b"\x03\xe8", close(1000, "")),
            (b"\x03\xe8bye", close(1000, "bye")),
            (b"\x03\xf6", close(1014, "")),
            (b"\x0b\xb8", close(3000, "")),
            (b"\x13\x87", close(4999, "")),
            (b"\x03", Err(Fault::CloseCodeCut)),
            (b"\x00\x00", Err(Fault::CloseCode(0))),
            (b"\x03\xe7", Err(Fault::CloseCode(999))),
            (b"\x03\xec", Err(Fault::CloseCode(1004))),
            (b"\x03\xed", Err(Fault::CloseCode(1005))),
            (b"\x03\xee", Err(Fault::CloseCode(1006))),
            (b"\x03\xf7", Err(Fault::CloseCode(1015))),
            (b"\x07\xd0", Err(Fault::CloseCode(2000))),
            (b"\x13\x88", Err(Fault::CloseCode(5000))),
            (b"\x03\xe8\xff", Err(Fault::ReasonNotUtf8)),
        ] {
            assert_eq!(Close::parse(payload), expected, "{payload:x?}");
        }
    }

    #[test]
    fn a_reason_is_cut_between_two_characters() {
        // 122 bytes, then a character of two: the whole would take 124.
        let long = format!("{}é!", "x".repeat(122));
        assert_eq!(Close::new(1000, long).reason(), "x".repeat(122));
        let fits = format!("{}é", "x".repeat(121));
        assert_eq!(Close::new(1000, fits.clone()).reason(), fits);
    }

    #[test]
    fn a_failure_closes_with_its_code_and_name() {
        let client = |code, reason: Option<Reason>| {
            let status = Status::client(code, "why");
            reason.map_or(Status::client(code, "why"), |reason| status.with_reason(reason))
        };
        for (status, code, reason) in [
            (client(Code::NotFound, None), 4005, "NOT_FOUND: why"),
            (client(Code::Unauthenticated, None), 4016, "UNAUTHENTICATED: why"),
            (client(Code::InvalidArgument, Some(Reason::InvalidPath)), 4003, "INVALID_ARGUMENT: why"),
            (client(Code::InvalidArgument, Some(Reason::InvalidJson)), 1007, "INVALID_ARGUMENT: why"),
            (client(Code::InvalidArgument, Some(Reason::InvalidMessage)), 1007, "INVALID_ARGUMENT: why"),
            (client(Code::InvalidArgument, Some(Reason::UnsupportedMediaType)), 1003, "INVALID_ARGUMENT: why"),
            (client(Code::ResourceExhausted, Some(Reason::MessageTooLarge)), 1009, "RESOURCE_EXHAUSTED: why"),
            (client(Code::ResourceExhausted, Some(Reason::Overloaded)), 4008, "RESOURCE_EXHAUSTED: why"),
            (client(Code::Unavailable, Some(Reason::Draining)), 1012, "UNAVAILABLE: why"),
        ] {
            let close = Close::of_status(&status);
            assert_eq!((close.code(), close.reason()), (code, reason));
        }
    }

    #[test]
    fn an_echo_bears_the_code_only() {
        let peer = Close::new(4001, "secret");
        assert_eq!(Close::echo(Some(&peer)), Some(Close::new(4001, "")));
        assert_eq!(Close::echo(None), None);
    }
}
