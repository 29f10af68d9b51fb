//! WebSocket frames: any cut gives the same events and the same fault, compressed or not; what is read can be written,
//! compressed, and read again; a session never answers with more than it was sent; and what is answered to an offer of
//! compression is an offer that is answered with itself.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, header::SEC_WEBSOCKET_EXTENSIONS};
use tidegate::{
    config::WebSocketCompression,
    dialect::websocket::{
        CONTROL_BYTES_MAX, Close, Decoder, Event, Fault, Header, Incoming, Kind, Message, PermessageDeflate, Rules,
        Session, Timing, Writer,
    },
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

fn open(agreed: Option<PermessageDeflate>, now: Instant) -> Session {
    let timing = Timing { ping: Duration::from_secs(30), pong_timeout: Duration::from_secs(10) };
    Session::new(MAX, agreed, timing, now)
}

/// What comes of a stream, and what is answered.
fn converse<'a>(agreed: Option<PermessageDeflate>, pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Incoming>, Vec<u8>) {
    let now = Instant::now();
    let (mut session, mut all, mut out) = (open(agreed, now), Vec::new(), Vec::new());
    for piece in pieces {
        session.push(piece, now);
        while let Some(incoming) = session.next_incoming(&mut out) {
            if let Incoming::Close(peer) = &incoming {
                session.close(Close::echo(peer.as_ref()).as_ref(), now, &mut out);
            }
            all.push(incoming);
        }
    }
    (all, out)
}

/// Messages that were read are written as a server does, and read as if a client had: masked with zeros.
fn check_messages(agreed: Option<PermessageDeflate>, messages: &[&Message]) {
    let now = Instant::now();
    let (mut writer, mut session) = (Writer::new(agreed, 1, 1), open(agreed, now));
    for message in messages {
        assert!(message.payload.len() <= MAX && !message.compressed);
        assert!(message.kind == Kind::Binary || std::str::from_utf8(&message.payload).is_ok());
        let mut out = Vec::new();
        writer.write_message(message.kind, &message.payload, &mut out);
        let (header, len) = Header::parse(&out).unwrap().unwrap();
        assert!(header.fin && header.mask.is_none() && header.len == (out.len() - len) as u64);
        if header.len <= MAX as u64 {
            let masked = Header { mask: Some([0; 4]), ..header };
            session.push(&[&masked.to_bytes(), &out[len..]].concat(), now);
            assert_eq!(session.next_incoming(&mut Vec::new()), Some(Incoming::Message((*message).clone())));
        } else {
            // What shrinks by nothing grows by a little, where later messages may refer to it.
            assert!(agreed.is_some_and(|agreed| agreed.server_context_takeover));
            break;
        }
    }
}

/// The lines of an input as those of `sec-websocket-extensions`.
fn check_offers(data: &[u8]) {
    let offers = |lines: &mut dyn Iterator<Item = HeaderValue>| {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(SEC_WEBSOCKET_EXTENSIONS, line);
        }
        headers
    };
    let headers = offers(&mut data.split(|byte| *byte == b'\n').filter_map(|line| HeaderValue::from_bytes(line).ok()));
    assert_eq!(PermessageDeflate::of_offers(&headers, WebSocketCompression::None), None);
    for wanted in [WebSocketCompression::Message, WebSocketCompression::Connection] {
        let Some(agreed) = PermessageDeflate::of_offers(&headers, wanted) else { continue };
        assert!((9..=15).contains(&agreed.server_max_window_bits));
        let answer = offers(&mut [agreed.to_value()].into_iter());
        assert_eq!(PermessageDeflate::of_offers(&answer, wanted), Some(agreed));
    }
}

pub(crate) fn run(data: &[u8]) {
    check_offers(data);
    let Some((stream, pieces)) = super::pieces(data) else { return };
    let rules = Rules { message_bytes_max: MAX, compression: data[0].is_multiple_of(2) };
    let pieces: Vec<_> = pieces.collect();
    let whole = decode(rules, [stream].into_iter());
    assert_eq!(decode(rules, pieces.iter().copied()), whole);
    for event in &whole.0 {
        match event {
            Event::Message(message) => assert!(message.payload.len() <= MAX),
            Event::Ping(payload) | Event::Pong(payload) => assert!(payload.len() <= CONTROL_BYTES_MAX),
            Event::Close(_) => {}
        }
    }
    let takes_over = data[1].is_multiple_of(2);
    let agreed = rules.compression.then_some(PermessageDeflate {
        server_context_takeover: takes_over,
        client_context_takeover: takes_over,
        server_max_window_bits: 9 + data[2] % 7,
        client_max_window_bits: None,
    });
    let (all, out) = converse(agreed, [stream].into_iter());
    assert_eq!(converse(agreed, pieces.into_iter()), (all.clone(), out.clone()));
    assert!(out.len() <= stream.len() + CONTROL_BYTES_MAX + 2);
    let messages = all.iter().filter_map(|incoming| match incoming {
        Incoming::Message(message) => Some(message),
        Incoming::Close(_) | Incoming::Fault(_) => None,
    });
    check_messages(agreed, &messages.collect::<Vec<_>>());
}
