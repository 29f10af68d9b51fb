//! The inside of JSON strings: where they end, which escapes are sound, and what they mean (RFC 8259 §7). Knows nothing of values.

use std::borrow::Cow;

/// The inside of a string as it was written; its escapes are known to be sound.
#[derive(Clone, Copy)]
pub(super) struct Text<'a> {
    pub(super) raw: &'a [u8],
    pub(super) escaped: bool,
}

impl<'a> Text<'a> {
    /// As written, where nothing in it is escaped.
    #[inline]
    pub(super) fn plain(self) -> Option<&'a [u8]> {
        (!self.escaped).then_some(self.raw)
    }

    /// As meant.
    #[inline]
    pub(super) fn decoded(self) -> Cow<'a, [u8]> {
        if self.escaped {
            let mut text = Vec::with_capacity(self.raw.len());
            self.append_to(&mut text);
            Cow::Owned(text)
        } else {
            Cow::Borrowed(self.raw)
        }
    }

    /// Appends the text as meant.
    pub(super) fn append_to(self, out: &mut Vec<u8>) {
        let mut rest = self.raw;
        while let Some(at) = memchr::memchr(b'\\', rest) {
            let (clean, escape) = rest.split_at(at);
            out.extend_from_slice(clean);
            rest = append_escape(escape, out);
        }
        out.extend_from_slice(rest);
    }
}

/// How many bytes from the front stand for themselves: up to a quote, a backslash or a control character.
#[inline]
pub(super) fn plain_length(text: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES << 7;
    let (words, rest) = text.as_chunks::<8>();
    for (index, bytes) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*bytes);
        // The high bit of each byte that is zero, below 0x20, a quote or a backslash; exact for the lowest such byte,
        // since a borrow only runs upwards.
        let control = word.wrapping_sub(ONES * 0x20) & !word;
        let quote = word ^ (ONES * b'"' as u64);
        let slash = word ^ (ONES * b'\\' as u64);
        let found = (control | (quote.wrapping_sub(ONES) & !quote) | (slash.wrapping_sub(ONES) & !slash)) & HIGH;
        if found != 0 {
            return index * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    let special = |byte: &u8| *byte < 0x20 || *byte == b'"' || *byte == b'\\';
    words.len() * 8 + rest.iter().position(special).unwrap_or(rest.len())
}

/// The length of the escape at the front: both halves of a surrogate pair are one (RFC 8259 §7).
pub(super) fn escape_length(text: &[u8]) -> Result<usize, &'static str> {
    match text.get(1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(2),
        Some(b'u') => match hex4(text) {
            None => Err("expected four hexadecimal digits after \\u"),
            Some(0xdc00..=0xdfff) => Err("a low surrogate without the high one before it"),
            Some(0xd800..=0xdbff) => match text.get(6..).and_then(hex4) {
                Some(0xdc00..=0xdfff) => Ok(12),
                _ => Err("a high surrogate without the low one after it"),
            },
            Some(_) => Ok(6),
        },
        _ => Err("an escape that JSON does not know"),
    }
}

/// The four digits of `\uXXXX` at the front.
fn hex4(text: &[u8]) -> Option<u32> {
    let digits = text.strip_prefix(b"\\u")?.get(..4)?;
    digits.iter().try_fold(0, |value, byte| Some(value << 4 | char::from(*byte).to_digit(16)?))
}

/// Appends what the escape at the front stands for; it is known to be sound.
fn append_escape<'a>(text: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    let byte = match text.get(1) {
        Some(b'b') => 0x08,
        Some(b'f') => 0x0c,
        Some(b'n') => b'\n',
        Some(b'r') => b'\r',
        Some(b't') => b'\t',
        Some(b'u') => {
            let high = hex4(text).unwrap_or(0xfffd);
            let (code, length) = match text.get(6..).and_then(hex4) {
                Some(low @ 0xdc00..=0xdfff) if (0xd800..0xdc00).contains(&high) => {
                    (0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00), 12)
                }
                _ => (high, 6),
            };
            let character = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
            out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            return text.get(length..).unwrap_or_default();
        }
        Some(other) => *other,
        None => return &[],
    };
    out.push(byte);
    text.get(2..).unwrap_or_default()
}
