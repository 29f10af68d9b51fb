//! Lengths that stand before what they are of, and are known only behind it. Knows nothing of messages.
//!
//! A length takes one byte until it is known to need more, and then what it is of has to make room. What is long makes room
//! once, when everything is written: at every level it would be moved as often as it is deep.

use std::cmp::Reverse;

use crate::wire::varint;

use super::{
    protobuf,
    steps::{self, BYTES_PER_STEP},
};

#[derive(Default)]
pub(super) struct Lengths {
    /// Those for which there is no room yet, in the order in which they became known: whatever is behind a place stands at the
    /// end.
    late: Vec<Late>,
    /// Bytes that are still to be put in for them.
    missing: usize,
}

/// A length that waits for its room.
struct Late {
    /// Where its one byte stands.
    at: usize,
    length: usize,
}

/// Where something begins whose length is to come.
#[derive(Clone, Copy)]
pub(super) struct Opened {
    from: usize,
    missing: usize,
}

impl Lengths {
    #[inline]
    pub(super) fn open(&self, out: &mut Vec<u8>) -> Opened {
        Opened { from: protobuf::open(out), missing: self.missing }
    }

    /// Ends what was opened; true where anything was appended since.
    #[inline]
    pub(super) fn close(&mut self, opened: Opened, out: &mut Vec<u8>) -> bool {
        let written = out.len().saturating_sub(opened.from);
        if written <= AT_ONCE_BYTES_MAX && self.missing == opened.missing {
            return protobuf::close(opened.from, out);
        }
        let length = written + self.missing - opened.missing;
        self.missing += size(length) - 1;
        self.late.push(Late { at: opened.from - 1, length });
        true
    }

    /// Takes back what was appended behind a place.
    pub(super) fn rewind(&mut self, to: usize, out: &mut Vec<u8>) {
        self.take(to);
        out.truncate(to);
    }

    /// Puts in the lengths that stand behind a place.
    pub(super) fn settle(&mut self, from: usize, out: &mut Vec<u8>) {
        let mut late = self.take(from);
        if late.is_empty() {
            return;
        }
        steps::count((out.len() - from) / BYTES_PER_STEP);
        late.sort_unstable_by_key(|late| Reverse(late.at));
        let mut read = out.len();
        let mut write = read + late.iter().map(|late| size(late.length) - 1).sum::<usize>();
        out.resize(write, 0);
        let mut length = Vec::with_capacity(10);
        for Late { at, length: value } in late {
            out.copy_within(at + 1..read, write - (read - (at + 1)));
            write -= read - (at + 1);
            length.clear();
            varint::write(value as u64, &mut length);
            out[write - length.len()..write].copy_from_slice(&length);
            write -= length.len();
            read = at;
        }
        debug_assert_eq!(read, write);
    }

    fn take(&mut self, from: usize) -> Vec<Late> {
        let behind = self.late.iter().rev().take_while(|late| late.at >= from).count();
        let late = self.late.split_off(self.late.len() - behind);
        self.missing -= late.iter().map(|late| size(late.length) - 1).sum::<usize>();
        late
    }
}

/// What is no longer than this is moved at once: that costs less than to remember it.
const AT_ONCE_BYTES_MAX: usize = 4096;

/// Bytes of a length's varint.
fn size(length: usize) -> usize {
    (usize::BITS - (length | 1).leading_zeros()).div_ceil(7) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Something that is written with its length: some bytes, and what is nested in them.
    #[derive(Clone, Debug)]
    struct Nested(usize, Vec<Nested>);

    impl Nested {
        fn write(&self, lengths: &mut Lengths, out: &mut Vec<u8>) {
            let opened = lengths.open(out);
            out.extend((0..self.0).map(|n| n as u8));
            self.1.iter().for_each(|nested| nested.write(lengths, out));
            assert_eq!(lengths.close(opened, out), self.0 > 0 || !self.1.is_empty());
        }

        fn encode(&self) -> Vec<u8> {
            let mut inside: Vec<u8> = (0..self.0).map(|n| n as u8).collect();
            self.1.iter().for_each(|nested| inside.extend(nested.encode()));
            let mut out = Vec::new();
            protobuf::put_bytes(&inside, &mut out);
            out
        }
    }

    fn any_nested() -> impl Strategy<Value = Nested> {
        let size = prop_oneof![0..3usize, 120..130usize, 4090..4100usize, 16_300..16_400usize];
        let leaf = size.clone().prop_map(|size| Nested(size, Vec::new()));
        leaf.prop_recursive(8, 30, 4, move |inner| {
            (size.clone(), prop::collection::vec(inner, 0..4)).prop_map(|(size, nested)| Nested(size, nested))
        })
    }

    proptest! {
        #[test]
        fn lengths_stand_where_they_would_if_they_were_known(parts in prop::collection::vec(any_nested(), 1..4)) {
            let (mut lengths, mut out) = (Lengths::default(), b"before".to_vec());
            parts.iter().for_each(|part| part.write(&mut lengths, &mut out));
            lengths.settle(6, &mut out);
            let encoded: Vec<u8> = parts.iter().flat_map(Nested::encode).collect();
            prop_assert!(out.strip_prefix(b"before") == Some(&encoded));
        }

        #[test]
        fn what_is_taken_back_or_settled_early_changes_nothing(
            dropped in any_nested(), early in any_nested(), last in any_nested(),
        ) {
            let (mut lengths, mut out) = (Lengths::default(), Vec::new());
            let opened = lengths.open(&mut out);
            let before = out.len();
            dropped.write(&mut lengths, &mut out);
            lengths.rewind(before, &mut out);
            early.write(&mut lengths, &mut out);
            lengths.settle(before, &mut out);
            last.write(&mut lengths, &mut out);
            lengths.close(opened, &mut out);
            lengths.settle(0, &mut out);
            prop_assert!(out == Nested(0, vec![early, last]).encode());
        }
    }
}
