//! Envelopes: any cut gives the same messages and the same fault, and the counter counts what the deframer cuts out.

use bytes::Bytes;
use tidegate::wire::{Counter, Deframer, Envelope, EnvelopeError, prefix};

const MAX: usize = 1000;

fn deframe<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Envelope>, Option<EnvelopeError>, bool) {
    let (mut deframer, mut envelopes) = (Deframer::new(MAX), Vec::new());
    for piece in pieces {
        deframer.push(Bytes::copy_from_slice(piece));
        loop {
            match deframer.next_envelope() {
                Ok(Some(envelope)) => envelopes.push(envelope),
                Ok(None) => break,
                Err(error) => return (envelopes, Some(error), false),
            }
        }
    }
    let is_empty = deframer.is_empty();
    (envelopes, None, is_empty)
}

/// What was followed when a message is refused ends between two messages where the counter says so.
fn check_refusal<'a>(pieces: impl Iterator<Item = &'a [u8]>) {
    let (mut counter, mut passed) = (Counter::new(MAX), Vec::new());
    counter.allow(1);
    for piece in pieces {
        if let Err((sound, _)) = counter.push(piece) {
            passed.extend_from_slice(&piece[..sound]);
            let (_, fault, is_empty) = deframe([&passed[..]].into_iter());
            assert_eq!((fault, is_empty), (None, counter.is_between()));
            return;
        }
        passed.extend_from_slice(piece);
    }
}

pub(crate) fn run(data: &[u8]) {
    let Some((stream, pieces)) = super::pieces(data) else { return };
    check_refusal(super::pieces(data).into_iter().flat_map(|(_, pieces)| pieces));
    let whole = deframe([stream].into_iter());
    assert_eq!(deframe(pieces), whole);

    let (envelopes, fault, is_empty) = whole;
    let taken: usize = envelopes.iter().map(|envelope| envelope.payload.len() + 5).sum();
    let mut counter = Counter::new(MAX);
    counter.allow(0xff);
    assert_eq!(counter.push(stream).err(), fault.map(|fault| (taken, fault)));
    if fault.is_none() {
        assert_eq!(counter.is_between(), is_empty);
        // One that ends within counts as begun where its prefix is whole.
        let begun = usize::from(stream.len() - taken >= 5);
        assert_eq!(counter.messages() as usize, envelopes.len() + begun);
    }
    let again = envelopes.iter().flat_map(|envelope| {
        let mut bytes = prefix(envelope.payload.len() as u32).to_vec();
        bytes[0] = envelope.flags;
        [bytes, envelope.payload.to_vec()].concat()
    });
    assert!(stream.starts_with(&again.collect::<Vec<_>>()));
}
