//! The head of a frame (RFC 6455 §5.2): bytes ↔ [`Header`]. Knows nothing of payloads and messages.

use smallvec::SmallVec;

use super::fault::Fault;

/// Longest payload of a control frame (RFC 6455 §5.5).
pub const CONTROL_BYTES_MAX: usize = 125;

/// Two bytes, eight of length, four of masking key.
const HEADER_BYTES_MAX: usize = 14;

/// In the seven bits of the length: two bytes of length follow, or eight.
const LENGTH_IN_TWO: u8 = 126;
const LENGTH_IN_EIGHT: u8 = 127;

const FIN: u8 = 0x80;
const RESERVED: u8 = 0x70;
const MASK: u8 = 0x80;

/// RFC 6455 §11.8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    Continuation = 0x0,
    Text = 0x1,
    Binary = 0x2,
    Close = 0x8,
    Ping = 0x9,
    Pong = 0xa,
}

impl Opcode {
    /// None for the reserved ones.
    pub fn from_number(number: u8) -> Option<Self> {
        match number {
            0x0 => Some(Self::Continuation),
            0x1 => Some(Self::Text),
            0x2 => Some(Self::Binary),
            0x8 => Some(Self::Close),
            0x9 => Some(Self::Ping),
            0xa => Some(Self::Pong),
            _ => None,
        }
    }

    pub fn is_control(self) -> bool {
        self as u8 >= 0x8
    }
}

/// Everything of a frame but its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The last frame of its message.
    pub fin: bool,
    /// RSV1 to RSV3, the highest first, in the lowest three bits.
    pub reserved: u8,
    pub opcode: Opcode,
    /// The masking key; a server's frames have none.
    pub mask: Option<[u8; 4]>,
    /// Bytes of the payload, below 2⁶³.
    pub len: u64,
}

impl Header {
    /// The header at the front of `bytes` and how many bytes it takes; none where it has not all arrived.
    ///
    /// # Errors
    /// What no peer may send: reserved opcodes, long or fragmented control frames, lengths in another form than the
    /// shortest. Masks and reserved bits are for the caller to judge.
    pub fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, Fault> {
        let [first, second, rest @ ..] = bytes else { return Ok(None) };
        let opcode = Opcode::from_number(first & 0x0f).ok_or(Fault::Opcode(first & 0x0f))?;
        let fin = first & FIN != 0;
        let short = second & !MASK;
        if opcode.is_control() && !fin {
            return Err(Fault::FragmentedControl);
        }
        if opcode.is_control() && usize::from(short) > CONTROL_BYTES_MAX {
            return Err(Fault::LongControl);
        }
        let Some((len, rest)) = parse_len(short, rest)? else { return Ok(None) };
        let (mask, rest) = match (second & MASK != 0, rest.split_first_chunk::<4>()) {
            (false, _) => (None, rest),
            (true, Some((key, rest))) => (Some(*key), rest),
            (true, None) => return Ok(None),
        };
        let header = Self { fin, reserved: (first & RESERVED) >> 4, opcode, mask, len };
        Ok(Some((header, bytes.len() - rest.len())))
    }

    /// The header in its shortest form; the payload follows.
    pub fn to_bytes(&self) -> SmallVec<[u8; HEADER_BYTES_MAX]> {
        debug_assert!(self.len < 1 << 63);
        let fin = if self.fin { FIN } else { 0 };
        let mask = if self.mask.is_some() { MASK } else { 0 };
        let mut out = SmallVec::new();
        out.push(fin | ((self.reserved << 4) & RESERVED) | self.opcode as u8);
        match (u8::try_from(self.len), u16::try_from(self.len)) {
            (Ok(len), _) if len < LENGTH_IN_TWO => out.push(mask | len),
            (_, Ok(len)) => {
                out.push(mask | LENGTH_IN_TWO);
                out.extend_from_slice(&len.to_be_bytes());
            }
            _ => {
                out.push(mask | LENGTH_IN_EIGHT);
                out.extend_from_slice(&self.len.to_be_bytes());
            }
        }
        out.extend_from_slice(self.mask.as_ref().map_or(&[], |key| key.as_slice()));
        out
    }
}

/// The length, and what follows it; it must be in its shortest form, and its highest bit 0 (RFC 6455 §5.2).
fn parse_len(short: u8, rest: &[u8]) -> Result<Option<(u64, &[u8])>, Fault> {
    let (len, rest, shortest) = match short {
        LENGTH_IN_TWO => {
            let Some((len, rest)) = rest.split_first_chunk::<2>() else { return Ok(None) };
            (u64::from(u16::from_be_bytes(*len)), rest, u64::from(LENGTH_IN_TWO))
        }
        LENGTH_IN_EIGHT => {
            let Some((len, rest)) = rest.split_first_chunk::<8>() else { return Ok(None) };
            (u64::from_be_bytes(*len), rest, u64::from(u16::MAX) + 1)
        }
        len => (u64::from(len), rest, 0),
    };
    if len >= 1 << 63 {
        return Err(Fault::HugeLength);
    }
    if len < shortest {
        return Err(Fault::LongLength);
    }
    Ok(Some((len, rest)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn headers_are_read_as_the_rfc_has_them() {
        let header = |opcode, mask, len| Header { fin: true, reserved: 0, opcode, mask, len };
        for (bytes, expected) in [
            (&[0x81, 0x05][..], Ok(Some((header(Opcode::Text, None, 5), 2)))),
            (&[0x81, 0x85, 1, 2, 3, 4], Ok(Some((header(Opcode::Text, Some([1, 2, 3, 4]), 5), 6)))),
            (&[0x82, 0x7e, 0x01, 0x00], Ok(Some((header(Opcode::Binary, None, 256), 4)))),
            (&[0x82, 0x7f, 0, 0, 0, 0, 0, 1, 0, 0, 9], Ok(Some((header(Opcode::Binary, None, 65536), 10)))),
            (&[], Ok(None)),
            (&[0x81], Ok(None)),
            (&[0x81, 0x7e, 1], Ok(None)),
            (&[0x81, 0x7f, 0, 0, 0, 0, 0, 1, 0], Ok(None)),
            (&[0x81, 0x85, 1, 2, 3], Ok(None)),
            (&[0x83, 0x00], Err(Fault::Opcode(0x3))),
            (&[0x8b, 0x00], Err(Fault::Opcode(0xb))),
            (&[0x09, 0x00], Err(Fault::FragmentedControl)),
            (&[0x89, 0x7e], Err(Fault::LongControl)),
            (&[0x81, 0x7e, 0, 125], Err(Fault::LongLength)),
            (&[0x81, 0x7f, 0, 0, 0, 0, 0, 0, 0xff, 0xff], Err(Fault::LongLength)),
            (&[0x81, 0x7f, 0x80, 0, 0, 0, 0, 0, 0, 0], Err(Fault::HugeLength)),
        ] {
            assert_eq!(Header::parse(bytes), expected, "{bytes:x?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            fin in any::<bool>(),
            reserved in 0u8..8,
            opcode in prop::sample::select(vec![Opcode::Continuation, Opcode::Text, Opcode::Binary]),
            mask in any::<Option<[u8; 4]>>(),
            len in prop_oneof![0u64..300, 65_000u64..66_000, 0..(1u64 << 63)],
        ) {
            let header = Header { fin, reserved, opcode, mask, len };
            let out = header.to_bytes();
            prop_assert_eq!(Header::parse(&out), Ok(Some((header, out.len()))));
            for cut in 0..out.len() {
                prop_assert_eq!(Header::parse(&out[..cut]), Ok(None));
            }
        }
    }
}
