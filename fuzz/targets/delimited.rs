//! Delimited messages: any cut gives the same messages and the same fault, and what was cut out is what stood there.

use bytes::Bytes;
use tidegate::wire::{Delimited, DelimitedError};

const MAX: usize = 1000;

fn split<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<(usize, Bytes)>, Result<(), DelimitedError>, usize) {
    let (mut delimited, mut messages) = (Delimited::new(MAX), Vec::new());
    for piece in pieces {
        delimited.push(Bytes::copy_from_slice(piece));
        loop {
            match delimited.next_message() {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(error) => return (messages, Err(error), delimited.offset()),
            }
        }
    }
    let end = delimited.finish();
    (messages, end, delimited.offset())
}

pub(crate) fn run(data: &[u8]) {
    let Some((stream, pieces)) = super::pieces(data) else { return };
    let whole = split([stream].into_iter());
    assert_eq!(split(pieces), whole);

    let (messages, end, offset) = whole;
    assert!(offset <= stream.len());
    assert!(end.is_err() || offset == stream.len());
    let ends = messages.iter().skip(1).map(|(at, _)| *at).chain([offset]);
    for ((at, message), end) in messages.iter().zip(ends) {
        assert!(message.len() <= MAX);
        assert!(stream[*at..end].ends_with(message));
    }
}
