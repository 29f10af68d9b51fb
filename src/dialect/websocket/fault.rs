//! What a client's frames can be wrong in, and how the connection ends for it (RFC 6455 §7.4.1).

use thiserror::Error;

use super::close::{Close, code};
use crate::status::{Code, Reason, Status};

/// Why a connection is failed (RFC 6455 §7.1.7).
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum Fault {
    #[error("a frame is not masked")]
    Unmasked,
    #[error("a frame's reserved bits are {0:#05b}, and no extension was agreed on for them")]
    ReservedBits(u8),
    #[error("a frame has the reserved opcode {0:#x}")]
    Opcode(u8),
    #[error("a control frame is longer than 125 bytes")]
    LongControl,
    #[error("a control frame is fragmented")]
    FragmentedControl,
    #[error("a frame's length is not in its shortest form")]
    LongLength,
    #[error("a frame's length has its highest bit set")]
    HugeLength,
    #[error("a continuation frame continues no message")]
    NothingToContinue,
    #[error("a message begins within another")]
    MessageWithinMessage,
    #[error("a message of {len} bytes or more is larger than the limit of {max} bytes")]
    TooLarge { len: u64, max: usize },
    #[error("a text message is not UTF-8")]
    TextNotUtf8,
    #[error("a compressed message cannot be inflated")]
    NotDeflate,
    #[error("a close frame's payload of one byte is no status code")]
    CloseCodeCut,
    #[error("a close frame's status code {0} must not be sent")]
    CloseCode(u16),
    #[error("a close frame's reason is not UTF-8")]
    ReasonNotUtf8,
}

impl Fault {
    /// What the client is told in a close frame.
    pub fn to_close(self) -> Close {
        Close::new(self.close_code(), self.to_string())
    }

    /// The failure as the call's end has it; the client is to blame.
    pub fn to_status(self) -> Status {
        match self {
            Self::TooLarge { .. } => {
                Status::client(Code::ResourceExhausted, self.to_string()).with_reason(Reason::MessageTooLarge)
            }
            _ => Status::client(Code::InvalidArgument, self.to_string()).with_reason(Reason::InvalidMessage),
        }
    }

    fn close_code(self) -> u16 {
        match self {
            Self::Unmasked
            | Self::ReservedBits(_)
            | Self::Opcode(_)
            | Self::LongControl
            | Self::FragmentedControl
            | Self::LongLength
            | Self::HugeLength
            | Self::NothingToContinue
            | Self::MessageWithinMessage
            | Self::CloseCodeCut
            | Self::CloseCode(_) => code::PROTOCOL_ERROR,
            Self::TooLarge { .. } => code::TOO_BIG,
            Self::TextNotUtf8 | Self::ReasonNotUtf8 | Self::NotDeflate => code::INVALID_PAYLOAD,
        }
    }
}
