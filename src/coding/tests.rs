//! Whole streams and cut ones, sound and not, in each coding.

use proptest::prelude::*;

use super::*;

fn text(len: usize) -> Vec<u8> {
    (0..len).map(|at| b"{\"name\": \"value\"}, "[at % 19].wrapping_add((at / 700) as u8 % 3)).collect()
}

fn noise(len: usize) -> Vec<u8> {
    let mut seed = 88_172_645_463_325_252_u64;
    let mut next = || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed as u8
    };
    (0..len).map(|_| next()).collect()
}

fn coded(coding: Coding, plain: &[u8]) -> Vec<u8> {
    deflate(coding, Levels::default(), plain).unwrap()
}

#[test]
fn what_was_deflated_inflates_to_itself() {
    for coding in Coding::ALL {
        for plain in [vec![], vec![7], text(1000), text(300_000), noise(70_000)] {
            let coded = coded(coding, &plain);
            assert!(inflate(coding, &coded, plain.len()).unwrap() == plain, "{coding:?} {}", plain.len());
        }
        assert!(coded(coding, &text(100_000)).len() < 5000, "{coding:?}");
    }
}

#[test]
fn a_bomb_is_refused_as_soon_as_the_limit_is_passed() {
    for coding in Coding::ALL {
        let bomb = coded(coding, &vec![0; 4 << 20]);
        assert_eq!(inflate(coding, &bomb, 1 << 20), Err(InflateError::TooLarge { max: 1 << 20 }), "{coding:?}");
        let mut inflater = Inflater::new(coding, 100);
        let mut plain = Vec::new();
        let outcome = inflater.inflate(&mut &bomb[..], 1 << 30, &mut plain);
        assert_eq!(outcome, Err(InflateError::TooLarge { max: 100 }), "{coding:?}");
        assert!(plain.capacity() < 1024, "{coding:?} took {} bytes", plain.capacity());
    }
}

#[test]
fn the_limit_itself_passes_and_one_byte_more_does_not() {
    for coding in Coding::ALL {
        for plain in [text(1), text(5000), noise(5000)] {
            let coded = coded(coding, &plain);
            assert!(inflate(coding, &coded, plain.len()).is_ok(), "{coding:?}");
            let max = plain.len() - 1;
            assert_eq!(inflate(coding, &coded, max), Err(InflateError::TooLarge { max }), "{coding:?}");
        }
        assert_eq!(inflate(coding, &coded(coding, b""), 0), Ok(vec![]), "{coding:?}");
    }
}

#[test]
fn no_few_bytes_have_a_large_window_held_for_them() {
    // Empty streams (RFC 7932 §9.1, §9.2): windows of 2^16, 2^18, 2^22, 2^23, 2^24 bytes.
    for (first, fits) in [(0x06, true), (0x33, true), (0x3b, true), (0x3d, false), (0x3f, false)] {
        let expected = if fits { Ok(Vec::new()) } else { Err(InflateError::Window(Coding::Brotli)) };
        assert_eq!(inflate(Coding::Brotli, &[first], 10), expected, "{first:#04x}");
    }
}

#[test]
fn what_is_not_whole_and_sound_to_its_last_byte_is_refused() {
    for coding in Coding::ALL {
        let whole = coded(coding, &text(5000));
        for end in 0..whole.len() {
            assert_eq!(
                inflate(coding, &whole[..end], 1 << 20),
                Err(InflateError::Truncated(coding)),
                "{coding:?} cut at {end}"
            );
        }
        let trailing = [&whole[..], b"\0"].concat();
        let outcome = inflate(coding, &trailing, 1 << 20);
        assert!(outcome.is_err_and(|error| !matches!(error, InflateError::TooLarge { .. })), "{coding:?}");
        let outcome = inflate(coding, b"\xf1neither of them", 1 << 20);
        assert_eq!(outcome, Err(InflateError::Corrupt(coding)), "{coding:?}");
    }
    assert_eq!(
        inflate(Coding::Brotli, &[coded(Coding::Brotli, b"a"), vec![0]].concat(), 10),
        Err(InflateError::Trailing(Coding::Brotli))
    );
}

/// RFC 1952 §2.2, RFC 8878 §3.
#[test]
fn members_and_frames_one_after_another_are_one_stream() {
    for coding in [Coding::Gzip, Coding::Zstd] {
        let parts = [&b"first "[..], b"", b"second ", b"third"];
        let stream: Vec<u8> = parts.iter().flat_map(|part| coded(coding, part)).collect();
        assert_eq!(inflate(coding, &stream, 100).unwrap(), b"first second third");
        let members = parts.len() * 10_000;
        let empty = coded(coding, b"").repeat(members);
        assert_eq!(inflate(coding, &empty, 1000), Err(InflateError::TooLarge { max: 1000 }), "{coding:?}");
    }
}

/// Its header says 253 bytes, and there are none: libzstd refuses it only where it gets it whole.
#[test]
fn a_frame_is_judged_the_same_whole_and_cut() {
    let frame = [40, 181, 47, 253, 32, 253, 1, 0, 0];
    assert_eq!(inflate(Coding::Zstd, &frame, 1000), inflate_cut(Coding::Zstd, &frame, &[4], 1000, 1000));
}

#[test]
fn a_flush_makes_all_readable_that_was_pushed() {
    for coding in Coding::ALL {
        let mut deflater = Deflater::stream(coding, Levels::default()).unwrap();
        let mut inflater = Inflater::new(coding, usize::MAX);
        let mut all = Vec::new();
        for message in [&b"one"[..], b"", b"two", &noise(100_000), &text(100_000), b"three"] {
            let mut coded = Vec::new();
            deflater.push(message, &mut coded).unwrap();
            deflater.flush(&mut coded).unwrap();
            let mut plain = Vec::new();
            inflater.inflate(&mut &coded[..], 1 << 20, &mut plain).unwrap();
            assert!(plain == message, "{coding:?}");
            all.extend(coded);
        }
        assert_eq!(inflater.finish(), Err(InflateError::Truncated(coding)));
        let mut coded = Vec::new();
        deflater.finish(&mut coded).unwrap();
        inflater.inflate(&mut &coded[..], 1 << 20, &mut Vec::new()).unwrap();
        assert_eq!(inflater.finish(), Ok(()), "{coding:?}");
    }
}

#[test]
fn names_are_known_however_http_writes_them_and_grpc_as_it_does() {
    for (name, http, grpc) in [
        ("gzip", Some(Coding::Gzip), Some(Coding::Gzip)),
        ("GZip", Some(Coding::Gzip), None),
        ("x-gzip", Some(Coding::Gzip), None),
        ("zstd", Some(Coding::Zstd), Some(Coding::Zstd)),
        ("br", Some(Coding::Brotli), None),
        ("identity", None, None),
        ("deflate", None, None),
        ("", None, None),
    ] {
        assert_eq!((Coding::parse(name), Coding::parse_grpc(name)), (http, grpc), "{name}");
    }
}

/// As it comes out of pieces of these lengths, with room for so much at a time.
fn inflate_cut(coding: Coding, coded: &[u8], cuts: &[usize], room: usize, max: usize) -> Result<Vec<u8>, InflateError> {
    let mut inflater = Inflater::new(coding, max);
    let (mut rest, mut plain, mut turn) = (coded, Vec::new(), 0);
    while !rest.is_empty() {
        let (mut piece, after) = rest.split_at(cuts[turn % cuts.len()].min(rest.len()));
        (rest, turn) = (after, turn + 1);
        loop {
            let before = plain.len();
            inflater.inflate(&mut piece, room, &mut plain)?;
            if plain.len() - before < room {
                break;
            }
        }
        assert!(piece.is_empty());
    }
    inflater.finish()?;
    Ok(plain)
}

proptest! {
    #[test]
    fn any_cut_and_any_room_give_the_same(
        plain in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..400),
            (0usize..9000).prop_map(text),
        ],
        cuts in prop::collection::vec(1usize..300, 1..20),
        room in 1usize..600,
        flaw in prop::option::of((any::<prop::sample::Index>(), 1u8..)),
        max in prop_oneof![Just(1 << 20), 0usize..9000],
    ) {
        for coding in Coding::ALL {
            let mut coded = coded(coding, &plain);
            if let Some((at, bits)) = flaw {
                let at = at.index(coded.len());
                coded[at] ^= bits;
            }
            let whole = inflate(coding, &coded, max);
            let cut = inflate_cut(coding, &coded, &cuts, room, max);
            // Brotli may see a fault before the bytes in front of it come out and pass the limit.
            if !matches!((&cut, &whole), (Err(InflateError::TooLarge { .. }), Err(InflateError::Corrupt(_)))) {
                prop_assert_eq!(&cut, &whole);
            }
            if flaw.is_none() && plain.len() <= max {
                prop_assert_eq!(whole, Ok(plain.clone()));
            }
        }
    }
}
