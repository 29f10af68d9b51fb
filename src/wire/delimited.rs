//! Messages behind their lengths as varints, as protobuf's `writeDelimitedTo` has them.

use bytes::Bytes;
use thiserror::Error;

use super::{pieces::Pieces, varint};

/// A length of more bytes than this is no varint.
const LENGTH_BYTES_MAX: usize = 10;

#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum DelimitedError {
    #[error("a message is larger than the limit of {max} bytes")]
    TooLarge { max: usize },
    #[error("the length of a message is no varint")]
    Length,
    #[error("the body ends within a message")]
    Truncated,
}

/// Cuts a stream of bytes, however it was split, into messages.
///
/// Invariant: holds at most one incomplete message of the limit's size, and what was pushed after it.
#[derive(Debug)]
pub struct Delimited {
    pieces: Pieces,
    /// Bytes of the stream before what is held.
    offset: usize,
    message_bytes_max: usize,
}

impl Delimited {
    pub fn new(message_bytes_max: usize) -> Self {
        Self { pieces: Pieces::default(), offset: 0, message_bytes_max }
    }

    /// Adds a piece of the stream.
    pub fn push(&mut self, piece: Bytes) {
        self.pieces.push(piece);
    }

    /// The next whole message, where it has arrived, and the offset of its length.
    ///
    /// # Errors
    /// A message over the limit, or a length that is none, as soon as the length has arrived.
    pub fn next_message(&mut self) -> Result<Option<(usize, Bytes)>, DelimitedError> {
        let available = self.pieces.available();
        let mut rest = available;
        let Some(len) = varint::read(&mut rest) else {
            if available.len() >= LENGTH_BYTES_MAX {
                return Err(DelimitedError::Length);
            }
            self.pieces.hold(0);
            return Ok(None);
        };
        let prefix = available.len() - rest.len();
        if prefix == LENGTH_BYTES_MAX && available.get(prefix - 1).is_some_and(|last| *last > 1) {
            return Err(DelimitedError::Length);
        }
        let max = self.message_bytes_max;
        let len = usize::try_from(len).ok().filter(|len| *len <= max).ok_or(DelimitedError::TooLarge { max })?;
        if rest.len() < len {
            // No more room than what came: a length costs its sender nothing.
            self.pieces.hold(0);
            return Ok(None);
        }
        let at = self.offset;
        self.offset += prefix + len;
        Ok(Some((at, self.pieces.take(prefix, len))))
    }

    /// The stream has ended.
    ///
    /// # Errors
    /// Within a message.
    pub fn finish(&self) -> Result<(), DelimitedError> {
        if self.pieces.available().is_empty() { Ok(()) } else { Err(DelimitedError::Truncated) }
    }

    /// Where in the stream the next message begins.
    pub fn offset(&self) -> usize {
        self.offset
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAX: usize = 300;

    /// The messages with their offsets, and how the stream ends.
    fn split<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<(usize, Bytes)>, Result<(), DelimitedError>) {
        let (mut delimited, mut messages) = (Delimited::new(MAX), Vec::new());
        for piece in pieces {
            delimited.push(Bytes::copy_from_slice(piece));
            loop {
                match delimited.next_message() {
                    Ok(Some(message)) => messages.push(message),
                    Ok(None) => break,
                    Err(error) => return (messages, Err(error)),
                }
            }
        }
        (messages, delimited.finish())
    }

    proptest! {
        #[test]
        fn what_was_written_is_read_however_it_is_cut(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..MAX), 0..6),
            cut in 1usize..200,
        ) {
            let mut stream = Vec::new();
            for message in &messages {
                varint::write(message.len() as u64, &mut stream);
                stream.extend_from_slice(message);
            }
            let (got, end) = split(stream.chunks(cut));
            prop_assert_eq!(end, Ok(()));
            prop_assert_eq!(got.into_iter().map(|(_, message)| message.to_vec()).collect::<Vec<_>>(), messages);
        }

        #[test]
        fn any_bytes_in_any_cut_give_the_same(
            stream in prop::collection::vec(prop::sample::select(vec![0u8, 1, 2, 3, 0x7f, 0x80, 0x81, 0xff]), 0..40),
            cut in 1usize..10,
        ) {
            prop_assert_eq!(split(stream.chunks(cut)), split(std::iter::once(&*stream)));
        }
    }

    #[test]
    fn a_stream_that_is_not_so_cut_is_refused() {
        let endless = [0xffu8; 10];
        let wide = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02];
        let long_way_to_say_one = [0x81, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00, b'a'];
        let large = DelimitedError::TooLarge { max: MAX };
        for (stream, offsets, end) in [
            (&b""[..], &[][..], Ok(())),
            (&b"\0\0\x01a"[..], &[0, 1, 2], Ok(())),
            (&long_way_to_say_one, &[0], Ok(())),
            (b"\0\x01", &[0], Err(DelimitedError::Truncated)),
            (b"\0\x80", &[0], Err(DelimitedError::Truncated)),
            (b"\0\xad\x02", &[0], Err(large)),
            (&endless, &[], Err(DelimitedError::Length)),
            (&wide, &[], Err(DelimitedError::Length)),
        ] {
            let (messages, ended) = split(stream.chunks(1));
            assert_eq!(messages.iter().map(|(at, _)| *at).collect::<Vec<_>>(), offsets, "{stream:?}");
            assert_eq!(ended, end, "{stream:?}");
        }
    }
}
