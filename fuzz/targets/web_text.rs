//! gRPC-Web in base64: any cut gives the bytes, the messages and the fault of decoding four characters after four; and what
//! is decoded can be encoded, in chunks of any size, and read again.

use bytes::Bytes;
use tidegate::{
    dialect::grpc_web::{TextDecoder, TextError, encode},
    wire::{Deframer, Envelope, EnvelopeError},
};

const MAX: usize = 1000;

fn decode<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Bytes>, Result<(), TextError>) {
    let (mut decoder, mut decoded) = (TextDecoder::default(), Vec::new());
    for piece in pieces {
        match decoder.push(piece) {
            Ok(bytes) => decoded.push(bytes),
            Err(fault) => return (decoded, Err(fault)),
        }
    }
    (decoded, decoder.end())
}

fn deframe(pieces: &[Bytes]) -> (Vec<Envelope>, Option<EnvelopeError>) {
    let (mut deframer, mut envelopes) = (Deframer::new(MAX), Vec::new());
    for piece in pieces {
        deframer.push(piece.clone());
        loop {
            match deframer.next_envelope() {
                Ok(Some(envelope)) => envelopes.push(envelope),
                Ok(None) => break,
                Err(error) => return (envelopes, Some(error)),
            }
        }
    }
    (envelopes, None)
}

/// Four characters by the book (RFC 4648 §4); none where they are not three bytes or a padded end.
fn quantum(four: &[u8]) -> Option<Vec<u8>> {
    let value = |character: u8| match character {
        b'A'..=b'Z' => Some(character - b'A'),
        b'a'..=b'z' => Some(character - b'a' + 26),
        b'0'..=b'9' => Some(character - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let len = match four {
        [_, _, b'=', b'='] => 1,
        [_, _, _, b'='] => 2,
        _ => 3,
    };
    let mut bits = 0u32;
    for (place, character) in four.iter().enumerate() {
        bits = bits << 6 | if place <= len { u32::from(value(*character)?) } else { 0 };
    }
    let [_, bytes @ ..] = bits.to_be_bytes();
    // Bits that stand for nothing are zero (§3.5).
    bytes[len..].iter().all(|byte| *byte == 0).then(|| bytes[..len].to_vec())
}

fn by_the_book(text: &[u8]) -> (Vec<u8>, Result<(), TextError>) {
    let (mut bytes, fours) = (Vec::new(), text.chunks_exact(4));
    let rest = fours.remainder();
    for four in fours {
        match quantum(four) {
            Some(three) => bytes.extend(three),
            None => return (bytes, Err(TextError::Invalid)),
        }
    }
    (bytes, if rest.is_empty() { Ok(()) } else { Err(TextError::Truncated) })
}

pub(crate) fn run(data: &[u8]) {
    let Some((text, pieces)) = super::pieces(data) else { return };
    let (expected, ended) = by_the_book(text);
    let (whole, whole_ended) = decode([text].into_iter());
    let (cut, cut_ended) = decode(pieces);
    assert_eq!((whole_ended, cut_ended), (ended, ended));
    // Of a piece that is at fault nothing is given.
    assert!(expected.starts_with(&whole.concat()) && expected.starts_with(&cut.concat()));
    if ended != Err(TextError::Invalid) {
        assert_eq!((whole.concat(), cut.concat()), (expected.clone(), expected.clone()));
        assert_eq!(deframe(&whole), deframe(&cut));
    }
    for size in [1, 2, 3, 7, 1 << 20] {
        let chunks: Vec<_> = expected.chunks(size).map(encode).collect();
        let (decoded, ended) = decode(chunks.iter().map(|chunk| &chunk[..]));
        assert_eq!((decoded.concat(), ended), (expected.clone(), Ok(())));
    }
}
