//! Sessions by the clock that they are told, and compressed ones in any cut.

use bytes::Bytes;
use flate2::{Compress, Compression, FlushCompress};
use proptest::prelude::*;

use super::{
    super::{
        CONTROL_BYTES_MAX, Opcode,
        inflate::TAIL,
        reassembly::{
            RSV1,
            testing::{frame, reserved_frame},
        },
    },
    *,
};

const TIMING: Timing = Timing { ping: Duration::from_secs(30), pong_timeout: Duration::from_secs(10) };

fn secs(start: Instant, secs: u64) -> Instant {
    start + Duration::from_secs(secs)
}

fn open() -> (Session, Instant) {
    let now = Instant::now();
    (Session::new(100, None, TIMING, now), now)
}

fn written(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out);
    out
}

#[test]
fn each_ping_is_answered_by_its_pong_in_order() {
    let (mut session, now) = open();
    let mut out = Vec::new();
    session.push(&frame(true, Opcode::Ping, b"a"), now);
    session.push(&frame(true, Opcode::Ping, b"b"), now);
    assert_eq!(session.next_incoming(&mut out), None);
    assert_eq!(out, b"\x8a\x01a\x8a\x01b");
}

#[test]
fn a_peer_that_closes_waits_for_the_answer_and_is_read_no_more() {
    let (mut session, now) = open();
    let mut out = Vec::new();
    session.push(&frame(true, Opcode::Close, b"\x03\xe8bye"), now);
    session.push(&frame(true, Opcode::Text, b"late"), now);
    let close = Close::new(1000, "bye");
    assert_eq!(session.next_incoming(&mut out), Some(Incoming::Close(Some(close.clone()))));
    assert_eq!(session.next_incoming(&mut out), None);
    assert!(session.is_writable() && !session.is_closed() && out.is_empty());
    assert_eq!(session.deadline(), None);
    session.close(Close::echo(Some(&close)).as_ref(), now, &mut out);
    assert_eq!(out, b"\x88\x02\x03\xe8");
    assert!(session.is_closed() && !session.is_writable());
    session.close(Some(&Close::ok()), now, &mut out);
    assert_eq!(out.len(), 4, "only one close frame is sent");
}

#[test]
fn after_our_close_messages_and_pings_are_ignored_until_the_peer_closes() {
    let (mut session, now) = open();
    let mut out = Vec::new();
    session.close(Some(&Close::ok()), now, &mut out);
    assert_eq!(out, b"\x88\x02\x03\xe8");
    session.push(&frame(true, Opcode::Text, b"late"), now);
    session.push(&frame(true, Opcode::Ping, b"late"), now);
    assert_eq!(session.next_incoming(&mut out), None);
    assert!(!session.is_writable() && !session.is_closed());
    session.push(&frame(true, Opcode::Close, b""), now);
    assert_eq!(session.next_incoming(&mut out), Some(Incoming::Close(None)));
    assert!(session.is_closed());
    assert_eq!(out.len(), 4);
}

#[test]
fn a_peer_that_does_not_answer_our_close_is_given_up() {
    let (mut session, now) = open();
    let mut out = Vec::new();
    session.close(Some(&Close::ok()), now, &mut out);
    assert_eq!(session.deadline(), Some(secs(now, 10)));
    session.push(&frame(true, Opcode::Text, b"still talking"), secs(now, 9));
    assert_eq!(session.on_time(secs(now, 10), &mut out), Liveness::Lost);
    assert!(session.is_closed());
}

#[test]
fn a_fault_closes_with_its_code_and_nothing_is_read_after_it() {
    let (mut session, now) = open();
    let mut out = Vec::new();
    session.push(b"\x81\x00", now);
    assert_eq!(session.next_incoming(&mut out), Some(Incoming::Fault(Fault::Unmasked)));
    assert_eq!(out, written(|out| write_close(Some(&Close::new(1002, "a frame is not masked")), out)));
    session.push(&frame(true, Opcode::Text, b"late"), now);
    assert_eq!(session.next_incoming(&mut out), None);
    assert!(session.is_closed());
}

#[test]
fn a_silent_peer_is_pinged_and_then_given_up() {
    let (mut session, now) = open();
    let mut out = Vec::new();
    assert_eq!(session.on_time(secs(now, 29), &mut out), Liveness::Alive);
    assert!(out.is_empty());
    assert_eq!(session.deadline(), Some(secs(now, 30)));
    assert_eq!(session.on_time(secs(now, 30), &mut out), Liveness::Alive);
    assert_eq!(out, b"\x89\x04\0\0\0\x01");
    assert_eq!(session.deadline(), Some(secs(now, 40)));
    assert_eq!(session.on_time(secs(now, 39), &mut out), Liveness::Alive);
    assert_eq!(session.on_time(secs(now, 40), &mut out), Liveness::Lost);
    assert!(session.is_closed());
}

#[test]
fn a_pong_settles_its_own_ping_only() {
    let (mut session, now) = open();
    let mut out = Vec::new();
    assert_eq!(session.on_time(secs(now, 30), &mut out), Liveness::Alive);
    session.push(&frame(true, Opcode::Pong, b"other"), secs(now, 31));
    assert_eq!(session.next_incoming(&mut out), None);
    assert_eq!(session.deadline(), Some(secs(now, 41)), "bytes are a sign of life, the pong is still missing");
    session.push(&frame(true, Opcode::Pong, b"\0\0\0\x01"), secs(now, 32));
    assert_eq!(session.next_incoming(&mut out), None);
    assert_eq!(session.deadline(), Some(secs(now, 60)), "the next ping");
}

#[test]
fn a_peer_in_the_middle_of_a_message_is_not_given_up() {
    let (mut session, now) = open();
    let mut out = Vec::new();
    assert_eq!(session.on_time(secs(now, 30), &mut out), Liveness::Alive);
    let message = frame(true, Opcode::Binary, &[7; 50]);
    session.push(&message[..20], secs(now, 39));
    assert_eq!(session.on_time(secs(now, 40), &mut out), Liveness::Alive);
    session.push(&message[20..], secs(now, 48));
    assert!(matches!(session.next_incoming(&mut out), Some(Incoming::Message(Message { kind: Kind::Binary, .. }))));
    session.postpone(secs(now, 55));
    assert_eq!(session.on_time(secs(now, 64), &mut out), Liveness::Alive);
    assert_eq!(session.on_time(secs(now, 65), &mut out), Liveness::Lost);
}

#[test]
fn without_pings_nothing_is_waited_for() {
    let now = Instant::now();
    let timing = Timing { ping: Duration::ZERO, ..TIMING };
    let session = Session::new(1, None, timing, now);
    assert_eq!(session.deadline(), None);
}

fn compression(context_takeover: bool) -> PermessageDeflate {
    PermessageDeflate {
        server_context_takeover: false,
        client_context_takeover: context_takeover,
        server_max_window_bits: 15,
        client_max_window_bits: None,
    }
}

fn compressed(engine: &mut Compress, plain: &[u8]) -> Vec<u8> {
    let mut coded = Vec::with_capacity(plain.len() + 100);
    engine.compress_vec(plain, &mut coded, FlushCompress::Sync).unwrap();
    coded.strip_suffix(&TAIL).unwrap_or(&[0]).to_vec()
}

fn message(kind: Kind, payload: &[u8]) -> Incoming {
    Incoming::Message(Message { kind, payload: Bytes::copy_from_slice(payload), compressed: false })
}

/// All that comes of a stream that arrives in pieces of these sizes.
fn incoming(mut session: Session, now: Instant, mut stream: &[u8], cuts: &[usize]) -> (Vec<Incoming>, Vec<u8>) {
    let (mut all, mut out) = (Vec::new(), Vec::new());
    for cut in cuts.iter().cycle() {
        let (piece, rest) = stream.split_at((*cut).min(stream.len()));
        session.push(piece, now);
        while let Some(incoming) = session.next_incoming(&mut out) {
            all.push(incoming);
        }
        stream = rest;
        if stream.is_empty() {
            break;
        }
    }
    (all, out)
}

#[test]
fn a_compressed_message_in_fragments_is_inflated_beside_plain_ones() {
    let now = Instant::now();
    let stream = [
        reserved_frame(false, RSV1, Opcode::Text, b"\xf2\x48\xcd"),
        frame(true, Opcode::Ping, b"now"),
        frame(false, Opcode::Continuation, b""),
        frame(true, Opcode::Continuation, b"\xc9\xc9\x07\x00"),
        frame(true, Opcode::Text, b"plain"),
        reserved_frame(true, RSV1, Opcode::Binary, b"\xf2\x00\x11\x00\x00"),
        reserved_frame(true, RSV1, Opcode::Text, b"\x00"),
        reserved_frame(true, RSV1, Opcode::Text, b""),
    ]
    .concat();
    let expected = vec![
        message(Kind::Text, b"Hello"),
        message(Kind::Text, b"plain"),
        message(Kind::Binary, b"Hello"),
        message(Kind::Text, b""),
        message(Kind::Text, b""),
    ];
    let session = Session::new(100, Some(compression(true)), TIMING, now);
    assert_eq!(incoming(session, now, &stream, &[usize::MAX]), (expected, b"\x8a\x03now".to_vec()));
}

#[test]
fn a_compressed_message_that_is_not_what_it_should_be_closes() {
    let now = Instant::now();
    let mut engine = Compress::new(Compression::new(9), false);
    let mut coded = |plain: &[u8]| {
        engine.reset();
        compressed(&mut engine, plain)
    };
    for (opcode, coded, fault, code) in [
        (Opcode::Text, coded(&[b'a'; 101]), Fault::TooLarge { len: 101, max: 100 }, 1009),
        (Opcode::Binary, coded(&[0; 60_000]), Fault::TooLarge { len: 101, max: 100 }, 1009),
        (Opcode::Binary, vec![0; 101], Fault::TooLarge { len: 101, max: 100 }, 1009),
        (Opcode::Text, coded(b"\xce\xba\xff"), Fault::TextNotUtf8, 1007),
        (Opcode::Text, coded(b"\xce"), Fault::TextNotUtf8, 1007),
        (Opcode::Binary, vec![0x06], Fault::NotDeflate, 1007),
        (Opcode::Text, b"\xf2\x00\x11\x00\x00".to_vec(), Fault::NotDeflate, 1007),
    ] {
        let session = Session::new(100, Some(compression(false)), TIMING, now);
        let stream = [reserved_frame(true, RSV1, opcode, &coded), frame(true, Opcode::Text, b"late")].concat();
        let expected = written(|out| write_close(Some(&Close::new(code, fault.to_string())), out));
        assert_eq!(incoming(session, now, &stream, &[7]), (vec![Incoming::Fault(fault)], expected));
    }
}

#[test]
fn nothing_is_compressed_where_that_was_not_agreed_on() {
    let (session, now) = open();
    let stream = reserved_frame(true, RSV1, Opcode::Text, b"\xf2\x48\xcd\xc9\xc9\x07\x00");
    let (all, _) = incoming(session, now, &stream, &[usize::MAX]);
    assert_eq!(all, [Incoming::Fault(Fault::ReservedBits(RSV1))]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Messages, compressed or not, in fragments with pings between them, cut anywhere.
    #[test]
    fn what_a_client_meant_is_what_comes(
        messages in prop::collection::vec((
            prop_oneof![
                prop::collection::vec(prop::sample::select(vec!["{\"text\":", "é", "}", "1"]), 0..900)
                    .prop_map(|words| (Kind::Text, words.concat().into_bytes())),
                prop::collection::vec(any::<u8>(), 0..200).prop_map(|bytes| (Kind::Binary, bytes)),
                (any::<u8>(), 0usize..90_000).prop_map(|(byte, len)| (Kind::Binary, vec![byte; len])),
            ],
            any::<bool>(),
            prop::collection::vec(0usize..100, 0..4),
        ), 1..6),
        cuts in prop::collection::vec(1usize..50, 1..5),
        takes_over in any::<bool>(),
    ) {
        let now = Instant::now();
        let mut engine = Compress::new(Compression::new(6), false);
        let (mut stream, mut expected, mut pongs) = (Vec::new(), Vec::new(), Vec::new());
        for ((kind, plain), is_compressed, fragments) in &messages {
            expected.push(message(*kind, plain));
            if !takes_over {
                engine.reset();
            }
            let coded = if *is_compressed { compressed(&mut engine, plain) } else { plain.clone() };
            let (mut rest, mut opcode, mut reserved) = (&coded[..], kind.opcode(), u8::from(*is_compressed) * RSV1);
            for len in fragments {
                let (fragment, after) = rest.split_at((*len).min(rest.len()));
                stream.extend(reserved_frame(false, reserved, opcode, fragment));
                stream.extend(frame(true, Opcode::Ping, &fragment[..fragment.len().min(CONTROL_BYTES_MAX)]));
                write_pong(fragment, &mut pongs);
                (rest, opcode, reserved) = (after, Opcode::Continuation, 0);
            }
            stream.extend(reserved_frame(true, reserved, opcode, rest));
        }
        let session = || Session::new(100_000, Some(compression(takes_over)), TIMING, now);
        let whole = incoming(session(), now, &stream, &[usize::MAX]);
        prop_assert_eq!(&incoming(session(), now, &stream, &cuts), &whole);
        prop_assert_eq!(whole, (expected, pongs));
    }
}
