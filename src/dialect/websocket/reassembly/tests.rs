//! The decoder against tables, against itself with other cuts, and against another implementation.

use std::io::Cursor;

use proptest::prelude::*;
use tokio_tungstenite::tungstenite::protocol::frame::{FrameSocket, coding::OpCode};

use super::{super::encode, testing::frame, *};

const RULES: Rules = Rules { message_bytes_max: 100, compression: false };

/// Everything that comes of a stream, and the fault that ends it.
fn decode(rules: Rules, stream: &[u8], cuts: &[usize]) -> (Vec<Event>, Option<Fault>) {
    let mut decoder = Decoder::new(rules);
    let (mut events, mut rest) = (Vec::new(), stream);
    for cut in cuts.iter().cycle() {
        let (piece, after) = rest.split_at((*cut).min(rest.len()));
        decoder.push(piece);
        rest = after;
        loop {
            match decoder.next_event() {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(fault) => {
                    assert_eq!(decoder.next_event(), Err(fault), "a fault stays");
                    return (events, Some(fault));
                }
            }
        }
        if rest.is_empty() {
            break;
        }
    }
    (events, None)
}

fn decode_whole(stream: &[u8]) -> (Vec<Event>, Option<Fault>) {
    decode(RULES, stream, &[usize::MAX])
}

fn text(payload: &str) -> Event {
    let payload = Bytes::copy_from_slice(payload.as_bytes());
    Event::Message(Message { kind: Kind::Text, payload, compressed: false })
}

fn binary(payload: &[u8]) -> Event {
    Event::Message(Message { kind: Kind::Binary, payload: Bytes::copy_from_slice(payload), compressed: false })
}

/// A client's frame with a first byte of our choice: masked with zeros, so that the payload stands as it is.
fn raw(first: u8, payload: &[u8]) -> Vec<u8> {
    let len = u8::try_from(payload.len()).unwrap();
    [&[first, 0x80 | len, 0, 0, 0, 0], payload].concat()
}

#[test]
fn fragments_become_one_message_with_control_frames_between() {
    let stream = [
        frame(false, Opcode::Text, "κόσ".as_bytes()),
        frame(true, Opcode::Ping, b"now"),
        frame(false, Opcode::Continuation, b""),
        frame(true, Opcode::Pong, b""),
        frame(true, Opcode::Continuation, "με".as_bytes()),
        frame(true, Opcode::Binary, b"\xff\x00"),
        frame(true, Opcode::Text, b""),
    ]
    .concat();
    let expected = vec![
        Event::Ping(Bytes::from_static(b"now")),
        Event::Pong(Bytes::new()),
        text("κόσμε"),
        binary(b"\xff\x00"),
        text(""),
    ];
    assert_eq!(decode_whole(&stream), (expected, None));
}

#[test]
fn nothing_is_read_after_a_close_frame() {
    let stream = [frame(true, Opcode::Close, b"\x03\xe8"), frame(true, Opcode::Text, b"late"), vec![0xff; 9]].concat();
    assert_eq!(decode_whole(&stream), (vec![Event::Close(Some(Close::new(1000, "")))], None));
}

#[test]
fn each_breach_is_told_apart() {
    let cases = [
        ("an unmasked frame", b"\x81\x02hi".to_vec(), Fault::Unmasked),
        ("RSV1 without an extension", raw(0xc1, b"hi"), Fault::ReservedBits(0b100)),
        ("RSV3", raw(0x91, b"hi"), Fault::ReservedBits(0b001)),
        ("a reserved opcode", raw(0x83, b""), Fault::Opcode(3)),
        ("a reserved control opcode", raw(0x8f, b""), Fault::Opcode(15)),
        ("a fragmented ping", raw(0x09, b"hi"), Fault::FragmentedControl),
        ("a continuation of nothing", raw(0x80, b"hi"), Fault::NothingToContinue),
        (
            "a message within a message",
            [frame(false, Opcode::Text, b"a"), frame(true, Opcode::Text, b"b")].concat(),
            Fault::MessageWithinMessage,
        ),
        ("half a close code", frame(true, Opcode::Close, b"\x03"), Fault::CloseCodeCut),
        ("a close code for local use", frame(true, Opcode::Close, b"\x03\xed"), Fault::CloseCode(1005)),
        ("a close reason that is not UTF-8", frame(true, Opcode::Close, b"\x03\xe8\xff"), Fault::ReasonNotUtf8),
        ("a text that ends within a character", frame(true, Opcode::Text, b"\xce"), Fault::TextNotUtf8),
        (
            "a text of fragments that ends within a character",
            [frame(false, Opcode::Text, b"a"), frame(true, Opcode::Continuation, b"\xce")].concat(),
            Fault::TextNotUtf8,
        ),
    ];
    for (what, stream, fault) in cases {
        assert_eq!(decode_whole(&stream), (vec![], Some(fault)), "{what}");
    }
}

#[test]
fn a_text_is_refused_before_its_frame_has_arrived() {
    let whole = frame(true, Opcode::Text, b"abc\xff_________");
    let (head, _) = whole.split_at(2 + 4 + 4);
    assert_eq!(decode_whole(head), (vec![], Some(Fault::TextNotUtf8)));
}

#[test]
fn a_message_over_the_limit_is_refused_at_the_header_that_exceeds_it() {
    let fits = frame(true, Opcode::Binary, &[7; 100]);
    assert_eq!(decode_whole(&fits), (vec![binary(&[7; 100])], None));
    let over = frame(true, Opcode::Binary, &[7; 101]);
    assert_eq!(decode_whole(&over[..6]), (vec![], Some(Fault::TooLarge { len: 101, max: 100 })));
    let sum = [frame(false, Opcode::Text, &[b'a'; 60]), frame(true, Opcode::Continuation, &[b'a'; 41])].concat();
    assert_eq!(decode_whole(&sum[..6 + 60 + 6]), (vec![], Some(Fault::TooLarge { len: 101, max: 100 })));
    let huge = b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0";
    assert_eq!(decode_whole(huge), (vec![], Some(Fault::TooLarge { len: (1 << 63) - 1, max: 100 })));
}

#[test]
fn a_ping_may_be_longer_than_the_limit_of_messages() {
    let rules = Rules { message_bytes_max: 3, ..RULES };
    let ping = frame(true, Opcode::Ping, &[1; 125]);
    assert_eq!(decode(rules, &ping, &[9]), (vec![Event::Ping(Bytes::from(vec![1; 125]))], None));
    let text = frame(true, Opcode::Text, b"four");
    assert_eq!(decode(rules, &text, &[9]), (vec![], Some(Fault::TooLarge { len: 4, max: 3 })));
}

#[test]
fn with_compression_rsv1_marks_the_first_frame_only() {
    let rules = Rules { compression: true, ..RULES };
    let stream = [raw(0x41, b"\xff"), raw(0x80, b"\xfe")].concat();
    let message = Message { kind: Kind::Text, payload: Bytes::from_static(b"\xff\xfe"), compressed: true };
    assert_eq!(decode(rules, &stream, &[1]), (vec![Event::Message(message)], None));
    let stream = [raw(0x41, b"a"), raw(0xc0, b"b")].concat();
    assert_eq!(decode(rules, &stream, &[1]), (vec![], Some(Fault::ReservedBits(0b100))));
    assert_eq!(decode(rules, &raw(0xc9, b""), &[1]), (vec![], Some(Fault::ReservedBits(0b100))));
    assert_eq!(decode(rules, &raw(0x81, b"\xff"), &[1]), (vec![], Some(Fault::TextNotUtf8)));
}

/// What a well-behaved client sends: events, and the frames they are cut into.
fn conversation() -> impl Strategy<Value = (Vec<Event>, Vec<u8>)> {
    let data = prop_oneof![
        any::<String>().prop_map(|it| (Kind::Text, it.into_bytes())),
        prop::collection::vec(any::<u8>(), 0..300).prop_map(|it| (Kind::Binary, it)),
    ];
    let control = prop::option::of((any::<bool>(), prop::collection::vec(any::<u8>(), 0..=125)));
    let message = (data, prop::collection::vec((0usize..40, control), 0..5));
    prop::collection::vec(message, 0..6).prop_map(|messages| {
        let (mut events, mut stream) = (Vec::new(), Vec::new());
        for ((kind, payload), fragments) in messages {
            let (mut rest, mut opcode) = (payload.as_slice(), kind.opcode());
            for (len, control) in fragments {
                let (fragment, after) = rest.split_at(len.min(rest.len()));
                stream.append(&mut frame(false, opcode, fragment));
                (rest, opcode) = (after, Opcode::Continuation);
                if let Some((is_ping, payload)) = control {
                    let opcode = if is_ping { Opcode::Ping } else { Opcode::Pong };
                    stream.append(&mut frame(true, opcode, &payload));
                    events.push(if is_ping { Event::Ping(payload.into()) } else { Event::Pong(payload.into()) });
                }
            }
            stream.append(&mut frame(true, opcode, rest));
            events.push(Event::Message(Message { kind, payload: payload.into(), compressed: false }));
        }
        (events, stream)
    })
}

proptest! {
    #[test]
    fn any_fragmentation_and_any_cut_gives_the_messages(
        (events, stream) in conversation(),
        cuts in prop::collection::vec(1usize..40, 1..20),
    ) {
        let rules = Rules { message_bytes_max: 1 << 20, compression: false };
        prop_assert_eq!(decode(rules, &stream, &cuts), (events, None));
    }

    #[test]
    fn any_bytes_give_the_same_whatever_the_cut_and_never_panic(
        stream in prop::collection::vec(prop_oneof![any::<u8>(), Just(0x80), Just(0x81), Just(0x01), Just(0x82)], 0..200),
        cuts in prop::collection::vec(1usize..9, 1..9),
        compression in any::<bool>(),
    ) {
        let rules = Rules { compression, ..RULES };
        prop_assert_eq!(decode(rules, &stream, &[usize::MAX]), decode(rules, &stream, &cuts));
    }

    #[test]
    fn another_implementation_reads_what_is_written(
        is_text in any::<bool>(),
        payload in prop_oneof![0usize..300, 65_500usize..65_600].prop_flat_map(|len| "[a-z]".prop_map(move |it| it.repeat(len))),
        control in prop::collection::vec(any::<u8>(), 0..=125),
    ) {
        let kind = if is_text { Kind::Text } else { Kind::Binary };
        let mut out = Vec::new();
        encode::write_message(kind, payload.as_bytes(), &mut out);
        encode::write_ping(&control, &mut out);
        encode::write_close(Some(&Close::new(4005, payload.clone())), &mut out);
        let mut socket = FrameSocket::new(Cursor::new(out));
        let mut read = || socket.read(None).unwrap().unwrap();
        let message = read();
        prop_assert_eq!(message.header().opcode, OpCode::from(kind.opcode() as u8));
        prop_assert!(message.header().is_final && message.header().mask.is_none());
        prop_assert_eq!(message.payload(), payload.as_bytes());
        let ping = read();
        prop_assert_eq!(ping.payload(), control.as_slice());
        let close = read();
        let expected = [&4005u16.to_be_bytes(), &payload.as_bytes()[..payload.len().min(123)]].concat();
        prop_assert_eq!(close.payload(), expected.as_slice());
    }

    #[test]
    fn what_another_implementation_writes_is_read(payload in any::<String>(), key in any::<[u8; 4]>()) {
        use tokio_tungstenite::tungstenite::protocol::frame::{Frame as Theirs, coding::Data};
        let mut stream = Vec::new();
        let mut theirs = Theirs::message(payload.clone().into_bytes(), OpCode::Data(Data::Text), true);
        theirs.header_mut().mask = Some(key);
        theirs.format(&mut stream).unwrap();
        let rules = Rules { message_bytes_max: 1 << 20, compression: false };
        prop_assert_eq!(decode(rules, &stream, &[3]), (vec![text(&payload)], None));
    }
}
