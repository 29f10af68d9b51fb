//! WebSocket frames: any cut gives the same events and the same fault; what is read can be written and read as a
//! header; and a session never answers with more than it was sent.

use std::time::Duration;

use tidegate::dialect::websocket::{
    CONTROL_BYTES_MAX, Close, Decoder, Event, Fault, Header, Incoming, Message, Rules, Session, Timing, write_message,
};
use tokio::time::Instant;

const MAX: usize = 1000;

fn decode<'a>(rules: Rules, pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Event>, Option<Fault>) {
    let (mut decoder, mut events) = (Decoder::new(rules), Vec::new());
    for piece in pieces {
        decoder.push(piece);
        loop {
            match decoder.next_event() {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(fault) => return (events, Some(fault)),
            }
        }
    }
    (events, None)
}

fn check_message(message: &Message) {
    assert!(message.payload.len() <= MAX);
    let mut out = Vec::new();
    write_message(message.kind, &message.payload, &mut out);
    let (header, len) = Header::parse(&out).unwrap().unwrap();
    assert!(header.fin && header.mask.is_none() && header.len == message.payload.len() as u64);
    assert_eq!(out[len..], message.payload);
}

fn check_session(stream: &[u8]) {
    let timing = Timing { ping: Duration::from_secs(30), pong_timeout: Duration::from_secs(10) };
    let now = Instant::now();
    let mut session = Session::new(Rules { message_bytes_max: MAX, compression: false }, timing, now);
    let mut out = Vec::new();
    session.push(stream, now);
    while let Some(incoming) = session.next_incoming(&mut out) {
        if let Incoming::Close(peer) = incoming {
            session.close(Close::echo(peer.as_ref()).as_ref(), now, &mut out);
        }
    }
    assert!(out.len() <= stream.len() + CONTROL_BYTES_MAX + 2);
}

pub(crate) fn run(data: &[u8]) {
    let Some((stream, pieces)) = super::pieces(data) else { return };
    let rules = Rules { message_bytes_max: MAX, compression: data[0].is_multiple_of(2) };
    let whole = decode(rules, [stream].into_iter());
    assert_eq!(decode(rules, pieces), whole);
    for event in &whole.0 {
        match event {
            Event::Message(message) => check_message(message),
            Event::Ping(payload) | Event::Pong(payload) => assert!(payload.len() <= CONTROL_BYTES_MAX),
            Event::Close(_) => {}
        }
    }
    check_session(stream);
}
