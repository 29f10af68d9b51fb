//! Places in a shared stream, as clients are told them. Knows nothing of what stands there.

use std::fmt;

/// A message's place: the stream that it belongs to, and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// A random number of the stream's own: what is remembered of another one means nothing here.
    pub epoch: u64,
    /// The first message has 1.
    pub offset: u64,
}

/// Where a subscriber begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// With the next message.
    #[default]
    Live,
    /// Behind the last message seen.
    After(Position),
    /// Behind something that nobody remembers.
    Gone,
}

impl Position {
    /// Reads what [`Position`] prints; none for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let (epoch, offset) = text.split_once('-')?;
        let is_epoch = epoch.len() == 16 && epoch.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let is_offset =
            offset.bytes().all(|byte| byte.is_ascii_digit()) && !(offset.len() > 1 && offset.starts_with('0'));
        if !is_epoch || !is_offset {
            return None;
        }
        Some(Self { epoch: u64::from_str_radix(epoch, 16).ok()?, offset: offset.parse().ok()? })
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{}", self.epoch, self.offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_as_it_is_written_and_in_no_other_way() {
        for position in [Position { epoch: 0, offset: 0 }, Position { epoch: u64::MAX, offset: u64::MAX }] {
            assert_eq!(Position::parse(&position.to_string()), Some(position));
        }
        assert_eq!(Position { epoch: 0xab, offset: 7 }.to_string(), "00000000000000ab-7");
        for text in [
            "",
            "-",
            "end",
            "00000000000000ab",
            "00000000000000ab-",
            "00000000000000ab-07",
            "00000000000000ab-+7",
            "00000000000000AB-7",
            "0000000000000ab-7",
            "+0000000000000ab-7",
            "00000000000000ab-18446744073709551616",
            "00000000000000ab-7-",
            "00000000000000ab-٧",
        ] {
            assert_eq!(Position::parse(text), None, "{text:?}");
        }
    }
}
