//! Request bodies: `KIND CUT CUT CUT CUT STREAM`. Any cut gives the same messages and the same fault; what is cut out stood
//! there.

use bytes::Bytes;
use tidegate::dialect::{BodyKind, DecodeError, Piece, RequestDecoder};

const MAX: usize = 1000;

const KINDS: [BodyKind; 8] = [
    BodyKind::JsonValues,
    BodyKind::Lines,
    BodyKind::Records,
    BodyKind::Delimited,
    BodyKind::RawPieces,
    BodyKind::Json,
    BodyKind::Protobuf,
    BodyKind::Raw,
];

pub(crate) fn run(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else { return };
    let Some((stream, pieces)) = super::pieces(data) else { return };
    let kind = KINDS[usize::from(*kind) % KINDS.len()];
    let whole = decode(kind, [stream].into_iter());
    let cut = decode(kind, pieces);
    check(kind, stream, &whole.0);
    check(kind, stream, &cut.0);
    match kind {
        // Raw bytes are cut where they come apart.
        BodyKind::RawPieces => assert_eq!(joined(&whole.0), joined(&cut.0)),
        _ => assert_eq!(whole, cut),
    }
}

fn check(kind: BodyKind, stream: &[u8], pieces: &[Piece]) {
    let mut end = 0;
    for Piece { offset, bytes } in pieces {
        // A message in protobuf stands behind its length.
        let stands = kind == BodyKind::Delimited || stream[*offset..].starts_with(bytes);
        assert!(*offset >= end && bytes.len() <= MAX && stands);
        end = offset + bytes.len();
    }
}

fn decode<'a>(kind: BodyKind, pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Piece>, Option<DecodeError>) {
    let (mut decoder, mut found) = (RequestDecoder::new(kind, MAX), Vec::new());
    for piece in pieces {
        if let Err(error) = decoder.push(Bytes::copy_from_slice(piece)).and_then(|()| take(&mut decoder, &mut found)) {
            return (found, Some(error));
        }
    }
    decoder.end();
    let end = take(&mut decoder, &mut found);
    (found, end.err())
}

fn take(decoder: &mut RequestDecoder, found: &mut Vec<Piece>) -> Result<(), DecodeError> {
    while let Some(piece) = decoder.next_piece()? {
        found.push(piece);
    }
    Ok(())
}

fn joined(pieces: &[Piece]) -> Vec<u8> {
    pieces.iter().flat_map(|piece| &piece.bytes).copied().collect()
}
