//! Protobuf's wire format: reading fields off the front of a message, and writing values. Knows nothing of plans' names.

use crate::{limits::DEPTH_MAX, wire::varint};

use super::{
    error::OutputError,
    plan::{FIXED32, FIXED64, GROUP_END, GROUP_START, Kind, LENGTH, VARINT},
    steps::{self, BYTES_PER_STEP},
};

/// What is left of a message.
#[derive(Clone, Copy)]
pub(super) struct Wire<'a> {
    rest: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag {
    pub(super) number: u32,
    pub(super) wire_type: u8,
}

/// A value as it stands on the wire.
#[derive(Clone, Copy, Debug)]
pub(super) enum Raw<'a> {
    /// A varint, or the bits of a fixed-width value.
    Bits(u64),
    /// What a length or a pair of group tags encloses.
    Bytes(&'a [u8]),
}

impl<'a> Wire<'a> {
    pub(super) fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Bytes that are left.
    #[cfg(test)]
    pub(super) fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// The next field's tag; none at the end.
    #[inline]
    pub(super) fn tag(&mut self) -> Result<Option<Tag>, OutputError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        steps::count(1);
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).ok().filter(|number| (1..1 << 29).contains(number));
        match number {
            Some(number) => Ok(Some(Tag { number, wire_type: (tag & 7) as u8 })),
            None => Err(OutputError::new("a field number that protobuf does not know")),
        }
    }

    /// Passes `tag` where it stands next.
    #[inline]
    pub(super) fn pass(&mut self, tag: &[u8]) -> bool {
        match self.rest.strip_prefix(tag) {
            Some(rest) => {
                steps::count(1);
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    #[inline]
    pub(super) fn varint(&mut self) -> Result<u64, OutputError> {
        match self.rest {
            [byte @ 0..0x80, rest @ ..] => {
                self.rest = rest;
                Ok(u64::from(*byte))
            }
            [low @ 0x80..=0xff, high @ 0..0x80, rest @ ..] => {
                self.rest = rest;
                Ok(u64::from(low & 0x7f) | u64::from(*high) << 7)
            }
            _ => self.long_varint(),
        }
    }

    /// One that fills more than 64 bits is refused: parsers differ in what they make of it.
    fn long_varint(&mut self) -> Result<u64, OutputError> {
        let before = self.rest;
        let value = varint::read(&mut self.rest);
        let overflows = before.len() - self.rest.len() == 10 && before.get(9).is_some_and(|last| *last > 1);
        value.filter(|_| !overflows).ok_or_else(|| OutputError::new("a varint is cut short or too long"))
    }

    /// The value of a field whose tag was read.
    #[inline]
    pub(super) fn value(&mut self, tag: Tag) -> Result<Raw<'a>, OutputError> {
        match tag.wire_type {
            VARINT => self.varint().map(Raw::Bits),
            LENGTH => self.length_delimited().map(Raw::Bytes),
            FIXED64 => self.fixed().map(|bytes| Raw::Bits(u64::from_le_bytes(bytes))),
            FIXED32 => self.fixed().map(|bytes| Raw::Bits(u32::from_le_bytes(bytes).into())),
            GROUP_START => self.group(tag.number, 1).map(Raw::Bytes),
            GROUP_END => Err(OutputError::new("a group ends that did not begin")),
            _ => Err(OutputError::new("a wire type that protobuf does not know")),
        }
    }

    /// One element of a packed list.
    #[inline]
    pub(super) fn element(&mut self, kind: Kind) -> Result<u64, OutputError> {
        steps::count(1);
        match kind.wire_type() {
            FIXED64 => self.fixed().map(u64::from_le_bytes),
            FIXED32 => self.fixed().map(|bytes| u32::from_le_bytes(bytes).into()),
            _ => self.varint(),
        }
    }

    fn length_delimited(&mut self) -> Result<&'a [u8], OutputError> {
        let length = usize::try_from(self.varint()?).unwrap_or(usize::MAX);
        match self.rest.split_at_checked(length) {
            Some((bytes, rest)) => {
                self.rest = rest;
                Ok(bytes)
            }
            None => Err(OutputError::new("a length beyond the end of the message")),
        }
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], OutputError> {
        match self.rest.split_first_chunk() {
            Some((bytes, rest)) => {
                self.rest = rest;
                Ok(*bytes)
            }
            None => Err(OutputError::new("a fixed-width value is cut short")),
        }
    }

    /// What stands between the start tag that was read and its end tag.
    fn group(&mut self, number: u32, depth: usize) -> Result<&'a [u8], OutputError> {
        if depth > DEPTH_MAX {
            return Err(too_deep());
        }
        let whole = self.rest;
        loop {
            let length = whole.len() - self.rest.len();
            match self.tag()? {
                Some(Tag { number: end, wire_type: GROUP_END }) if end == number => {
                    return Ok(whole.get(..length).unwrap_or_default());
                }
                Some(Tag { number, wire_type: GROUP_START }) => {
                    self.group(number, depth + 1)?;
                }
                Some(tag) => {
                    self.value(tag)?;
                }
                None => return Err(OutputError::new("a group is cut short")),
            }
        }
    }
}

pub(super) fn too_deep() -> OutputError {
    OutputError::new("nested more than 100 levels deep")
}

#[inline]
pub(super) fn put_varint(value: u64, out: &mut Vec<u8>) {
    if value < 0x80 {
        out.push(value as u8);
    } else {
        varint::write(value, out);
    }
}

/// Appends a number, bool or enum, given as [`Raw::Bits`] would hold it.
#[inline]
pub(super) fn put_bits(kind: Kind, bits: u64, out: &mut Vec<u8>) {
    match kind.wire_type() {
        FIXED64 => out.extend_from_slice(&bits.to_le_bytes()),
        FIXED32 => out.extend_from_slice(&(bits as u32).to_le_bytes()),
        _ => put_varint(bits, out),
    }
}

/// Appends bytes with their length.
#[inline]
pub(super) fn put_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    put_varint(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// Begins a value whose length is known later: reserves the one byte that most lengths take.
#[inline]
pub(super) fn open(out: &mut Vec<u8>) -> usize {
    out.push(0);
    out.len()
}

/// Writes the length of what was appended since [`open`]; true where that was anything.
#[inline]
pub(super) fn close(from: usize, out: &mut Vec<u8>) -> bool {
    let length = out.len().saturating_sub(from);
    if length < 0x80 {
        if let Some(place) = out.get_mut(from.wrapping_sub(1)) {
            *place = length as u8;
        }
        return length > 0;
    }
    close_long(from, length, out);
    true
}

fn close_long(from: usize, length: usize, out: &mut Vec<u8>) {
    steps::count(length / BYTES_PER_STEP);
    let end = out.len();
    // The varint goes behind the value first, and tells by its own length how far the value moves.
    varint::write(length as u64, out);
    let mut prefix = [0; 10];
    let size = out.len() - end;
    prefix[..size].copy_from_slice(&out[end..]);
    out.truncate(end + size - 1);
    out.copy_within(from..end, from - 1 + size);
    out[from - 1..from - 1 + size].copy_from_slice(&prefix[..size]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_every_size_are_patched_in() {
        for length in [0, 1, 127, 128, 129, 16_383, 16_384, 3_000_000] {
            let mut out = b"before".to_vec();
            let from = open(&mut out);
            out.extend((0..length).map(|n| n as u8));
            assert_eq!(close(from, &mut out), length > 0);
            let mut wire = Wire::new(out.strip_prefix(b"before").unwrap());
            let bytes = wire.length_delimited().unwrap();
            assert_eq!(bytes, (0..length).map(|n| n as u8).collect::<Vec<_>>(), "{length}");
            assert!(wire.is_empty());
        }
    }

    #[test]
    fn unsound_fields_are_errors() {
        for bytes in [
            &b"\x00\x00"[..],
            b"\x08",
            b"\x08\xff",
            b"\x0a\x02a",
            b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
            b"\x0d\0\0\0",
            b"\x09\0\0\0\0\0\0\0",
            b"\x0b",
            b"\x0c",
            b"\x0b\x14",
            b"\x0e\0",
            b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00",
            b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02",
        ] {
            let mut wire = Wire::new(bytes);
            let read = wire.tag().and_then(|tag| wire.value(tag.unwrap()));
            assert!(read.is_err(), "{bytes:?}");
        }
        let mut nested = Wire::new(&[0x0b; 100_000]);
        let tag = nested.tag().unwrap().unwrap();
        assert!(nested.value(tag).is_err());
    }

    #[test]
    fn a_group_is_what_stands_between_its_tags() {
        let mut wire = Wire::new(b"\x0b\x10\x01\x13\x14\x0c\x10\x02");
        let tag = wire.tag().unwrap().unwrap();
        assert!(matches!(wire.value(tag), Ok(Raw::Bytes(b"\x10\x01\x13\x14"))));
        assert_eq!(wire.tag().unwrap(), Some(Tag { number: 2, wire_type: VARINT }));
    }
}
