//! What is written against an inflater of zlib's, over many messages.

use flate2::{Decompress, FlushDecompress};
use proptest::prelude::*;

use super::{super::frame::Header, *};

fn agreed(context_takeover: bool, bits: u8) -> PermessageDeflate {
    PermessageDeflate {
        server_context_takeover: context_takeover,
        client_context_takeover: false,
        server_max_window_bits: bits,
        client_max_window_bits: None,
    }
}

/// Both ways of writing; they come to the same.
fn write(writers: &mut [Writer; 2], kind: Kind, payload: &[u8]) -> (bool, Vec<u8>) {
    let mut out = b"before".to_vec();
    writers[0].write_message(kind, payload, &mut out);
    let mut in_place = b"before".to_vec();
    let start = encode::open_frame(&mut in_place);
    in_place.extend_from_slice(payload);
    writers[1].finish_frame(kind, &mut in_place, start);
    assert_eq!(out, in_place);
    let frame = out.strip_prefix(b"before").unwrap();
    let (header, len) = Header::parse(frame).unwrap().unwrap();
    assert!(header.fin && header.mask.is_none() && header.opcode == kind.opcode() && header.reserved & 0b011 == 0);
    assert_eq!(header.len, (frame.len() - len) as u64);
    (header.reserved != 0, frame[len..].to_vec())
}

fn writers(agreed: Option<PermessageDeflate>, level: u8, bytes_min: usize) -> [Writer; 2] {
    [Writer::new(agreed, level, bytes_min), Writer::new(agreed, level, bytes_min)]
}

/// What an inflater makes of a message, whose tail it gets.
fn read(engine: &mut Decompress, coded: &[u8]) -> Vec<u8> {
    let whole = [coded, &TAIL].concat();
    let mut plain = Vec::with_capacity(1 << 20);
    engine.decompress_vec(&whole, &mut plain, FlushDecompress::Sync).unwrap();
    plain
}

/// Bytes that shrink only where they stood before.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 1u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    };
    (0..len).map(|_| next()).collect()
}

#[test]
fn the_example_of_the_rfc_is_written_as_there() {
    // RFC 7692 §7.2.3.2: longer than what it stands for at first, which is nothing against it where contexts are kept.
    let mut writers = writers(Some(agreed(true, 15)), 6, 1);
    assert_eq!(write(&mut writers, Kind::Text, b"Hello"), (true, b"\xf2\x48\xcd\xc9\xc9\x07\x00".to_vec()));
    assert_eq!(write(&mut writers, Kind::Text, b"Hello"), (true, b"\xf2\x00\x11\x00\x00".to_vec()));
}

#[test]
fn only_what_is_large_enough_and_becomes_smaller_is_compressed() {
    let noise = noise(5000);
    for (what, agreed, bytes_min, payload, expected) in [
        ("nothing agreed on", None, 0, vec![b'a'; 5000], false),
        ("large", Some(agreed(false, 15)), 100, vec![b'a'; 100], true),
        ("small", Some(agreed(false, 15)), 100, vec![b'a'; 99], false),
        ("empty", Some(agreed(false, 15)), 0, vec![], false),
        ("empty, with contexts", Some(agreed(true, 15)), 0, vec![], false),
        ("does not become smaller", Some(agreed(false, 15)), 0, noise.clone(), false),
        ("nor does this", Some(agreed(false, 15)), 0, b"Hello".to_vec(), false),
        ("does not either, but may be referred to", Some(agreed(true, 15)), 0, noise, true),
    ] {
        let (is_compressed, written) = write(&mut writers(agreed, 4, bytes_min), Kind::Binary, &payload);
        assert_eq!(is_compressed, expected, "{what}");
        if !is_compressed {
            assert_eq!(written, payload, "{what}");
        }
    }
}

/// zlib's inflater reads any window; that ours was kept shows in what is not found again.
#[test]
fn nothing_is_referred_to_beyond_the_agreed_window() {
    let twice = noise(3000).repeat(2);
    for (bits, is_found) in [(9, false), (10, false), (11, false), (12, true), (15, true)] {
        for level in 1..=9 {
            let (is_compressed, _) = write(&mut writers(Some(agreed(false, bits)), level, 0), Kind::Binary, &twice);
            assert_eq!(is_compressed, is_found, "{bits} bits, level {level}");
        }
    }
}

#[test]
fn an_idle_connection_holds_no_compressor_unless_contexts_are_taken_over() {
    for takes_over in [false, true] {
        let mut writers = writers(Some(agreed(takes_over, 15)), 4, 0);
        write(&mut writers, Kind::Text, &[b'a'; 1000]);
        for writer in &writers {
            assert_eq!(writer.deflater.as_ref().unwrap().engine.is_some(), takes_over);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Several connections of one thread, whose messages come one after the other.
    #[test]
    fn what_is_written_is_what_a_client_reads(
        connections in prop::collection::vec((any::<bool>(), 9u8..16, 1u8..10), 1..4),
        messages in prop::collection::vec((
            0usize..4,
            prop_oneof![
                prop::collection::vec(any::<u8>(), 0..400),
                prop::collection::vec(prop::sample::select(vec!["{\"text\":", "hello", "}", "1"]), 0..9000)
                    .prop_map(|words| words.concat().into_bytes()),
                (any::<u8>(), 0usize..100_000).prop_map(|(byte, len)| vec![byte; len]),
            ],
            any::<bool>(),
        ), 1..12),
        bytes_min in 0usize..300,
    ) {
        let mut peers: Vec<_> = connections
            .iter()
            .map(|&(takes_over, bits, level)| {
                (takes_over, writers(Some(agreed(takes_over, bits)), level, bytes_min), Decompress::new(false))
            })
            .collect();
        for (peer, payload, is_text) in &messages {
            let at = peer % peers.len();
            let (takes_over, writers, engine) = &mut peers[at];
            let kind = if *is_text { Kind::Text } else { Kind::Binary };
            let (is_compressed, written) = write(writers, kind, payload);
            if !*takes_over {
                engine.reset(false);
            }
            prop_assert!(is_compressed || !*takes_over || payload.len() < bytes_min.max(1));
            prop_assert!(!is_compressed || *takes_over || written.len() < payload.len());
            let plain = if is_compressed { read(engine, &written) } else { written };
            prop_assert_eq!(&plain, payload);
        }
    }
}
