//! The inflater against the RFC's vectors, against what is not DEFLATE, and against a compressor of its own.

use flate2::{Compress, Compression, FlushCompress};
use proptest::prelude::*;

use super::*;

const MESSAGE: PermessageDeflate = PermessageDeflate {
    server_context_takeover: false,
    client_context_takeover: false,
    server_max_window_bits: 15,
    client_max_window_bits: None,
};

const CONNECTION: PermessageDeflate =
    PermessageDeflate { server_context_takeover: true, client_context_takeover: true, ..MESSAGE };

/// What a message's octets stand for, alone.
fn inflate(coded: &[u8]) -> Result<Bytes, Fault> {
    Inflater::new(MESSAGE, 1000).inflate(coded)
}

/// What zlib makes of a message, flushed in one way or another.
fn coded(engine: &mut Compress, plain: &[u8], flush: FlushCompress) -> Vec<u8> {
    let mut coded = Vec::with_capacity(plain.len() + plain.len() / 8 + 500);
    engine.compress_vec(plain, &mut coded, flush).unwrap();
    assert!(coded.len() < coded.capacity());
    coded
}

/// Without the tail, which is there.
fn stripped(mut coded: Vec<u8>) -> Vec<u8> {
    coded.truncate(coded.strip_suffix(&TAIL).unwrap().len());
    coded
}

fn engine() -> Compress {
    Compress::new(Compression::new(6), false)
}

fn zeros(len: usize) -> Vec<u8> {
    stripped(coded(&mut engine(), &vec![0; len], FlushCompress::Sync))
}

#[test]
fn the_examples_of_the_rfc_are_read() {
    for (section, octets, plain) in [
        ("7.2.3.1", &[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00][..], "Hello"),
        ("7.2.3.3", &[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48, 0x65, 0x6c, 0x6c, 0x6f, 0x00], "Hello"),
        ("7.2.3.4", &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00, 0x00], "Hello"),
        ("7.2.3.5", &[0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0xca, 0xc9, 0xc9, 0x07, 0x00], "Hello"),
        ("7.2.3.6", &[0x00], ""),
    ] {
        assert_eq!(inflate(octets).as_deref(), Ok(plain.as_bytes()), "§{section}");
    }
}

/// RFC 7692 §7.2.3.2: the second message refers to the first one.
#[test]
fn a_message_that_refers_to_an_earlier_one_is_read_where_that_was_agreed_on() {
    let (first, second) = ([0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00], [0xf2, 0x00, 0x11, 0x00, 0x00]);
    let mut inflater = Inflater::new(CONNECTION, 1000);
    assert_eq!(inflater.inflate(&first).as_deref(), Ok(&b"Hello"[..]));
    assert_eq!(inflater.inflate(&second).as_deref(), Ok(&b"Hello"[..]));
    let mut inflater = Inflater::new(MESSAGE, 1000);
    assert_eq!(inflater.inflate(&first).as_deref(), Ok(&b"Hello"[..]));
    assert_eq!(inflater.inflate(&second), Err(Fault::NotDeflate));
    assert!(inflater.history.is_empty());
}

#[test]
fn a_message_is_whole_or_refused() {
    for (what, octets, expected) in [
        ("no octet at all", &[][..], Ok("")),
        ("a last block without a flush", &[0xf3, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00], Ok("Hello")),
        ("a last block with the flush", &[0x01], Ok("")),
        ("two streams", &[0xf3, 0x48, 0x05, 0x00, 0xf3, 0x48, 0x05, 0x00], Ok("HeHe")),
        ("the tail, not left out", &[0xf2, 0x48, 0x05, 0x00, 0x00, 0x00, 0xff, 0xff, 0x00], Ok("He")),
        ("the reserved kind of block", &[0x06], Err(Fault::NotDeflate)),
        ("a stored block whose lengths differ", &[0x00, 0x05, 0x00, 0xfa, 0xfe], Err(Fault::NotDeflate)),
        ("a stored block cut short", &[0x00, 0x05, 0x00, 0xfa, 0xff, 0x48], Err(Fault::NotDeflate)),
        ("a stored block that the tail would fill", &[0x00, 0x04, 0x00, 0xfb, 0xff], Err(Fault::NotDeflate)),
        ("a last one that the tail would fill", &[0x01, 0x04, 0x00, 0xfb, 0xff], Err(Fault::NotDeflate)),
        ("a block cut short", &[0xf2, 0x48, 0xcd, 0xc9], Err(Fault::NotDeflate)),
        ("a last block that the tail would end", &[0xf3, 0x48, 0x05], Err(Fault::NotDeflate)),
        ("a reference to what was never there", &[0xf2, 0x00, 0x11, 0x00, 0x00], Err(Fault::NotDeflate)),
    ] {
        assert_eq!(inflate(octets), expected.map(|plain: &str| Bytes::from_static(plain.as_bytes())), "{what}");
    }
}

#[test]
fn the_limit_is_kept_while_inflating() {
    const MAX: usize = 100_000;
    for (len, is_allowed) in [(MAX - 1, true), (MAX, true), (MAX + 1, false), (50_000_000, false)] {
        let bomb = zeros(len);
        let inflated = Inflater::new(MESSAGE, MAX).inflate(&bomb);
        let expected = Err(Fault::TooLarge { len: MAX as u64 + 1, max: MAX });
        assert_eq!(inflated, if is_allowed { Ok(vec![0; len].into()) } else { expected }, "{len}");
        let mut run = Run { engine: Decompress::new(false), history: &[], bytes_max: MAX, plain: Vec::new() };
        assert_eq!(run.message(&bomb).is_ok(), is_allowed);
        assert!(run.plain.capacity() <= MAX + 1 + ROOM_BYTES_MIN, "{} bytes of memory", run.plain.capacity());
    }
    assert_eq!(Inflater::new(MESSAGE, 0).inflate(&zeros(1)), Err(Fault::TooLarge { len: 1, max: 0 }));
    assert_eq!(Inflater::new(MESSAGE, 0).inflate(&[0]).as_deref(), Ok(&b""[..]));
}

/// Each costs the window anew: two octets must not.
#[test]
fn a_message_of_nothing_but_ends_is_refused() {
    assert_eq!(inflate(&END.repeat(STREAMS_MAX)).as_deref(), Ok(&b""[..]));
    assert_eq!(inflate(&END.repeat(1000)), Err(Fault::NotDeflate));
}

#[test]
fn no_more_is_remembered_than_the_client_refers_to() {
    let bits = |bits| PermessageDeflate { client_max_window_bits: bits, ..CONNECTION };
    for (agreed, expected) in [(MESSAGE, 0), (bits(None), 32 << 10), (bits(Some(15)), 32 << 10), (bits(Some(8)), 256)] {
        let mut inflater = Inflater::new(agreed, 1 << 20);
        for len in [1, 100, 20_000, 20_000, 100_000, 3] {
            inflater.inflate(&zeros(len)).unwrap();
            assert!(inflater.history.len() <= expected && inflater.history.capacity() <= expected);
        }
        assert_eq!(inflater.history.len(), expected);
    }
}

/// Pieces of which most appear in other messages too.
fn message() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"{\"text\":\"hello\"}".to_vec()),
        (any::<u8>(), 1usize..70_000).prop_map(|(byte, len)| vec![byte; len]),
        prop::collection::vec(any::<u8>(), 0..300),
        (any::<u64>(), 1usize..40_000).prop_map(|(seed, len)| noise(seed % 5, len)),
    ];
    prop::collection::vec(piece, 0..4).prop_map(|pieces| pieces.concat())
}

/// Bytes that shrink only where they stood before.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed + 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_be_bytes()[0]
    };
    (0..len).map(|_| next()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The oracle is zlib's stream over the whole connection, flushed as RFC 7692 §7.2.1 says, or in one of its other ways.
    #[test]
    fn what_a_client_compresses_is_what_is_read(
        messages in prop::collection::vec((message(), 0u8..4), 1..6),
        takes_over in any::<bool>(),
        level in 0u32..10,
        bits in 9u8..16,
    ) {
        let agreed = PermessageDeflate {
            client_max_window_bits: Some(bits),
            ..if takes_over { CONNECTION } else { MESSAGE }
        };
        let mut inflater = Inflater::new(agreed, 1 << 20);
        let mut engine = Compress::new_with_window_bits(Compression::new(level), false, bits);
        for (plain, how) in &messages {
            if !takes_over {
                engine.reset();
            }
            let message = match how {
                0 if !plain.is_empty() => {
                    let middle = plain.len() / 2;
                    let first = coded(&mut engine, &plain[..middle], FlushCompress::Full);
                    stripped([first, coded(&mut engine, &plain[middle..], FlushCompress::Sync)].concat())
                }
                1 => {
                    let last = coded(&mut engine, plain, FlushCompress::Finish);
                    engine.reset();
                    [&last[..], &[0]].concat()
                }
                // Where nothing came since the last flush, zlib writes nothing at all.
                _ if plain.is_empty() => vec![0],
                _ => stripped(coded(&mut engine, plain, FlushCompress::Sync)),
            };
            prop_assert_eq!(inflater.inflate(&message), Ok(Bytes::from(plain.clone())));
        }
    }

    #[test]
    fn no_octets_panic_and_what_was_refused_does_not_matter_to_the_next(
        octets in prop::collection::vec(any::<u8>(), 0..200),
        first in prop_oneof![Just(None), (0u8..8).prop_map(Some)],
    ) {
        let mut octets = octets;
        if let (Some(first), Some(octet)) = (first, octets.first_mut()) {
            *octet = first;
        }
        let mut inflater = Inflater::new(CONNECTION, 5000);
        let alone = inflater.inflate(&octets);
        prop_assert_eq!(&Inflater::new(MESSAGE, 5000).inflate(&octets), &alone);
        let hello = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
        prop_assert_eq!(inflate(&hello), Ok(Bytes::from_static(b"Hello")));
    }
}
