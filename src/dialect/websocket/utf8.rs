//! UTF-8 that arrives in pieces, judged as early as it can be (RFC 6455 §8.1). Knows nothing of frames.

use simdutf8::compat::from_utf8;

/// Follows a text, whose pieces may be cut within a character.
///
/// Invariant: `tail[..tail_len]` is the beginning of a character, at most three bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Utf8 {
    tail: [u8; 4],
    tail_len: usize,
}

/// No continuation can make the text valid.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Invalid;

impl Utf8 {
    /// Follows the next piece.
    pub(super) fn push(&mut self, mut piece: &[u8]) -> Result<(), Invalid> {
        while self.tail_len > 0 {
            let Some((byte, rest)) = piece.split_first() else { return Ok(()) };
            piece = rest;
            self.extend_tail(*byte)?;
        }
        match from_utf8(piece) {
            Ok(_) => Ok(()),
            Err(error) if error.error_len().is_some() => Err(Invalid),
            Err(error) => piece[error.valid_up_to()..].iter().try_for_each(|byte| self.extend_tail(*byte)),
        }
    }

    /// True where the text may end: between two characters.
    pub(super) fn is_complete(self) -> bool {
        self.tail_len == 0
    }

    fn extend_tail(&mut self, byte: u8) -> Result<(), Invalid> {
        debug_assert!(self.tail_len < self.tail.len());
        self.tail[self.tail_len] = byte;
        self.tail_len += 1;
        match from_utf8(&self.tail[..self.tail_len]) {
            Ok(_) => self.tail_len = 0,
            Err(error) if error.error_len().is_some() => return Err(Invalid),
            Err(_) => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_text_is_refused_at_the_first_byte_that_cannot_be() {
        for (bytes, expected) in [
            (&b"plain"[..], Ok(true)),
            (b"\xce\xba\xe1\xbd\xb9", Ok(true)),
            (b"\xe1\xbd", Ok(false)),
            (b"\xf0\x9f\x98", Ok(false)),
            (b"\xc0", Err(Invalid)),         // an overlong form
            (b"\xe0\x80", Err(Invalid)),     // an overlong form, known at its second byte
            (b"\xed\xa0", Err(Invalid)),     // a surrogate
            (b"\xf4\x90", Err(Invalid)),     // beyond U+10FFFF
            (b"\xe1\xbd\x41", Err(Invalid)), // a character cut short
            (b"\x80", Err(Invalid)),
        ] {
            let mut utf8 = Utf8::default();
            assert_eq!(utf8.push(bytes).map(|()| utf8.is_complete()), expected, "{bytes:x?}");
        }
    }

    proptest! {
        #[test]
        fn any_cut_is_judged_as_the_whole_is(
            text in prop_oneof![any::<String>().prop_map(String::into_bytes), prop::collection::vec(any::<u8>(), 0..12)],
            cuts in prop::collection::vec(1usize..9, 1..9),
        ) {
            let (mut utf8, mut rest, mut valid) = (Utf8::default(), text.as_slice(), true);
            for cut in cuts.iter().cycle() {
                let (piece, after) = rest.split_at((*cut).min(rest.len()));
                valid = valid && utf8.push(piece).is_ok();
                rest = after;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(valid && utf8.is_complete(), std::str::from_utf8(&text).is_ok());
        }
    }
}
