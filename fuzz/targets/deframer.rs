//! Envelopes: any cut gives the same messages and the same fault, and the counter counts what the deframer cuts out.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
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

fuzz_target!(|data: &[u8]| {
    let Some((stream, pieces)) = tidegate_fuzz::pieces(data) else { return };
    let whole = deframe([stream].into_iter());
    assert_eq!(deframe(pieces), whole);

    let (envelopes, fault, is_empty) = whole;
    let mut counter = Counter::new(MAX);
    let counted = counter.push(stream);
    assert_eq!(counted.err(), fault);
    if fault.is_none() {
        assert_eq!(counter.is_between(), is_empty);
        assert_eq!(counter.messages() as usize - envelopes.len(), usize::from(begun(&envelopes, stream)));
    }
    let again = envelopes.iter().flat_map(|envelope| {
        let mut bytes = prefix(envelope.payload.len() as u32).to_vec();
        bytes[0] = envelope.flags;
        [bytes, envelope.payload.to_vec()].concat()
    });
    assert!(stream.starts_with(&again.collect::<Vec<_>>()));
});

/// True where the stream ends within a message whose prefix is whole: that one counts as begun.
fn begun(envelopes: &[Envelope], stream: &[u8]) -> bool {
    let whole: usize = envelopes.iter().map(|envelope| envelope.payload.len() + 5).sum();
    stream.len() - whole >= 5
}
