//! Compressed bytes: any cut and any room give the same, the limit holds, no call is without effect, and what was inflated
//! can be deflated again.

use tidegate::coding::{Coding, InflateError, Inflater, Levels, deflate, inflate};

const MAX: usize = 20_000;

fn inflate_cut<'a>(
    coding: Coding,
    pieces: impl Iterator<Item = &'a [u8]>,
    room: usize,
) -> Result<Vec<u8>, InflateError> {
    let (mut inflater, mut plain) = (Inflater::new(coding, MAX), Vec::new());
    for mut piece in pieces {
        loop {
            let before = plain.len();
            inflater.inflate(&mut piece, room, &mut plain)?;
            assert!(plain.len() <= MAX);
            if plain.len() - before < room {
                break;
            }
        }
        assert!(piece.is_empty(), "{} bytes were left", piece.len());
    }
    inflater.finish()?;
    Ok(plain)
}

pub(crate) fn run(data: &[u8]) {
    let Some((choice, data)) = data.split_first() else { return };
    let (coding, room) = (Coding::ALL[usize::from(choice % 3)], 1 + usize::from(choice / 3) * 8);
    let Some((stream, pieces)) = super::pieces(data) else { return };
    let whole = inflate(coding, stream, MAX);
    let cut = inflate_cut(coding, pieces, room);
    // Brotli may see a fault before the bytes in front of it come out and pass the limit.
    if !matches!((&cut, &whole), (Err(InflateError::TooLarge { .. }), Err(InflateError::Corrupt(_)))) {
        assert_eq!(cut, whole);
    }
    if let Ok(plain) = whole {
        let again = deflate(coding, Levels { gzip: 1, brotli: 1, zstd: 1 }, &plain).expect("there is memory");
        assert_eq!(inflate(coding, &again, MAX), Ok(plain));
    }
}
