//! `multipart/form-data`: any cut gives the same parts and the same fault, no bytes come from nowhere, and what a form
//! makes of a message is the same however it arrives.

use std::sync::LazyLock;

use bytes::Bytes;
use tidegate::{
    codec::{Binding, QueryMode},
    dialect::{
        DecodeError, FormReader,
        multipart::{Boundary, Event, Multipart},
    },
};

use super::CODEC;

const MAX: usize = 1000;

static BINDING: LazyLock<Binding> = LazyLock::new(|| {
    let (codec, all) = &*CODEC;
    Binding::compile(codec, *all, *all, &["s"], Some("*"), None).expect("the rule fits")
});

/// The parts, the bytes of each joined.
fn parts<'a>(boundary: Boundary, pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Event>, Option<DecodeError>) {
    let (mut parts, mut events) = (Multipart::new(boundary, MAX), Vec::<Event>::new());
    for piece in pieces.map(Some).chain([None]) {
        match piece {
            Some(piece) => parts.push(Bytes::copy_from_slice(piece)),
            None => parts.end(),
        }
        loop {
            match (events.last_mut(), parts.next_event()) {
                (_, Err(error)) => return (events, Some(error)),
                (_, Ok(None)) => break,
                (Some(Event::Data(before)), Ok(Some(Event::Data(data)))) => {
                    assert!(!data.is_empty() && data.len() <= MAX);
                    *before = [before.as_ref(), &data].concat().into();
                }
                (_, Ok(Some(event))) => events.push(event),
            }
        }
    }
    (events, None)
}

/// The message of a method that takes one.
fn message<'a>(boundary: Boundary, pieces: impl Iterator<Item = &'a [u8]>) -> Result<Vec<u8>, String> {
    let codec = &CODEC.0;
    let mut bound = BINDING.bind(codec, &["x"], None, QueryMode::Strict).expect("a capture");
    let (mut reader, mut out) = (FormReader::new(boundary, false, MAX), Vec::new());
    for piece in pieces.map(Some).chain([None]) {
        match piece {
            Some(piece) => reader.push(Bytes::copy_from_slice(piece)),
            None => reader.end(),
        }
        let given = reader.next_message(codec, &BINDING, &mut bound, &mut out);
        assert!(given.map_err(|error| error.to_string())? == piece.is_none());
    }
    Ok(out)
}

pub(crate) fn run(data: &[u8]) {
    let boundary = Boundary::new("b").expect("a boundary");
    let Some((stream, pieces)) = super::pieces(data) else { return };
    let pieces: Vec<_> = pieces.collect();
    let whole = parts(boundary, [stream].into_iter());
    assert_eq!(parts(boundary, pieces.iter().copied()), whole);
    assert_eq!(message(boundary, pieces.into_iter()), message(boundary, [stream].into_iter()));

    let bytes = whole.0.iter().map(|event| if let Event::Data(data) = event { data.len() } else { 0 }).sum::<usize>();
    assert!(bytes <= stream.len());
}
