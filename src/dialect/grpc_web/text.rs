//! `application/grpc-web-text`: a stream in base64, sent in chunks of which each has its own padding
//! (gRPC-Web, "Text-encoded streams"). Knows nothing of what the bytes mean.

use base64_simd::STANDARD;
use bytes::Bytes;
use thiserror::Error;

/// Characters that stand for three bytes, or for less with padding.
const QUANTUM: usize = 4;

/// Not base64 with padding.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum TextError {
    #[error("the body is not base64")]
    Invalid,
    #[error("the body's base64 ends within four characters: padding is missing")]
    Truncated,
}

/// Decodes a stream however it was cut, and wherever it is padded.
#[derive(Debug, Default)]
pub struct TextDecoder {
    held: [u8; QUANTUM],
    held_len: usize,
}

impl TextDecoder {
    /// The bytes that a piece of the stream completes.
    ///
    /// # Errors
    /// What is not base64; the decoder must not be used any more.
    pub fn push(&mut self, mut text: &[u8]) -> Result<Bytes, TextError> {
        let mut out = Vec::with_capacity((self.held_len + text.len()) / QUANTUM * 3);
        if self.held_len > 0 {
            let taken = (QUANTUM - self.held_len).min(text.len());
            self.hold(&text[..taken]);
            text = &text[taken..];
            if self.held_len < QUANTUM {
                return Ok(Bytes::new());
            }
            decode(&self.held, &mut out)?;
            self.held_len = 0;
        }
        let (mut whole, rest) = text.split_at(text.len() - text.len() % QUANTUM);
        while !whole.is_empty() {
            // Padding ends a chunk; what follows is another, decoded by itself.
            let end = memchr::memchr(b'=', whole).map_or(whole.len(), |place| (place / QUANTUM + 1) * QUANTUM);
            decode(&whole[..end], &mut out)?;
            whole = &whole[end..];
        }
        self.hold(rest);
        Ok(out.into())
    }

    /// # Errors
    /// A stream that ends within four characters.
    pub fn end(&self) -> Result<(), TextError> {
        if self.held_len == 0 { Ok(()) } else { Err(TextError::Truncated) }
    }

    fn hold(&mut self, text: &[u8]) {
        self.held[self.held_len..self.held_len + text.len()].copy_from_slice(text);
        self.held_len += text.len();
    }
}

fn decode(text: &[u8], out: &mut Vec<u8>) -> Result<(), TextError> {
    STANDARD.decode_append(text, out).map_err(|_| TextError::Invalid)
}

/// One chunk, with its padding.
pub fn encode(bytes: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(bytes.len().div_ceil(3) * QUANTUM);
    STANDARD.encode_append(bytes, &mut out);
    out.into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A stream pushed in pieces of these sizes.
    fn decoded(text: &[u8], cuts: &[usize]) -> Result<Vec<u8>, TextError> {
        let (mut decoder, mut out, mut rest) = (TextDecoder::default(), Vec::new(), text);
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, after) = rest.split_at((*cut).min(rest.len()));
            out.extend_from_slice(&decoder.push(piece)?);
            rest = after;
        }
        decoder.end()?;
        Ok(out)
    }

    proptest! {
        #[test]
        fn chunks_are_decoded_however_they_are_cut(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..8),
            cuts in prop::collection::vec(1usize..11, 1..8),
        ) {
            let text: Vec<u8> = chunks.iter().flat_map(|chunk| encode(chunk)).collect();
            prop_assert_eq!(decoded(&text, &cuts), Ok(chunks.concat()));
        }

        #[test]
        fn what_is_refused_does_not_depend_on_the_cuts(
            text in "[A-D=*]{0,24}",
            cuts in prop::collection::vec(1usize..11, 1..8),
        ) {
            let whole = decoded(text.as_bytes(), &[text.len().max(1)]);
            prop_assert_eq!(decoded(text.as_bytes(), &cuts), whole);
        }
    }

    #[test]
    fn only_padded_base64_of_the_standard_alphabet_is_taken() {
        for (text, expected) in [
            ("", Ok(&b""[..])),
            ("AAE=", Ok(b"\x00\x01")),
            ("AA==AQ==AgME", Ok(b"\x00\x01\x02\x03\x04")),
            ("AAE", Err(TextError::Truncated)),
            ("AA=", Err(TextError::Truncated)),
            ("A", Err(TextError::Truncated)),
            ("AAEC=", Err(TextError::Truncated)),
            ("AA=A", Err(TextError::Invalid)),
            ("A===", Err(TextError::Invalid)),
            ("====", Err(TextError::Invalid)),
            ("AB==", Err(TextError::Invalid)),
            ("A-_A", Err(TextError::Invalid)),
            ("AAEC\r\n", Err(TextError::Truncated)),
            ("AAEC\r\nAA", Err(TextError::Invalid)),
            (" AAEC", Err(TextError::Invalid)),
        ] {
            assert_eq!(decoded(text.as_bytes(), &[text.len().max(1)]).as_deref(), expected.as_deref(), "{text:?}");
        }
    }
}
