//! The messages of a gRPC stream, inflated where they came compressed (gRPC over HTTP/2, "Message-Encoding").

use bytes::Bytes;
use http::HeaderMap;
use thiserror::Error;

use super::{COMPRESSED, Deframer, Envelope, EnvelopeError, metadata::ENCODING};
use crate::coding::{self, Coding, InflateError};

/// Cuts a stream into messages, and inflates them.
pub struct Messages {
    deframer: Deframer,
    encoding: Encoding,
    message_bytes_max: usize,
}

enum Encoding {
    Identity,
    Known(Coding),
    /// By its name, as far as it can be told.
    Unknown(String),
}

#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum MessageError {
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    #[error("a message is compressed in an encoding that was not offered: {0:?}")]
    Encoding(String),
    #[error("a compressed message cannot be read: {0}")]
    Inflate(#[from] InflateError),
}

/// A message, and as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub plain: Bytes,
    /// None where it came as it is.
    pub coded: Option<Coded>,
}

/// A message in a coding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coded {
    pub coding: Coding,
    pub bytes: Bytes,
}

impl Messages {
    /// `message_bytes_max`: of a message as it comes, and as it was.
    pub fn new(message_bytes_max: usize) -> Self {
        Self { deframer: Deframer::new(message_bytes_max), encoding: Encoding::Identity, message_bytes_max }
    }

    /// Takes from the initial metadata how the messages are compressed.
    pub fn on_head(&mut self, metadata: &HeaderMap) {
        let Some(value) = metadata.get(ENCODING) else { return };
        let name = value.to_str().unwrap_or_default();
        self.encoding = match Coding::parse_grpc(name) {
            Some(coding) => Encoding::Known(coding),
            None if name == coding::IDENTITY => Encoding::Identity,
            None => Encoding::Unknown(name.chars().take(32).collect()),
        };
    }

    /// Adds a piece of the stream.
    pub fn push(&mut self, piece: Bytes) {
        self.deframer.push(piece);
    }

    /// The next whole message, where it has arrived.
    ///
    /// # Errors
    /// One over the limit; one that is compressed as nobody agreed on.
    pub fn next_message(&mut self) -> Result<Option<Bytes>, MessageError> {
        Ok(self.next_as_it_came()?.map(|message| message.plain))
    }

    /// The same, with what it was inflated from.
    ///
    /// # Errors
    /// As [`Messages::next_message`].
    pub fn next_as_it_came(&mut self) -> Result<Option<Message>, MessageError> {
        let Some(Envelope { flags, payload }) = self.deframer.next_envelope()? else { return Ok(None) };
        match (flags, &self.encoding) {
            (0, _) => Ok(Some(Message { plain: payload, coded: None })),
            (COMPRESSED, Encoding::Known(coding)) => {
                let plain = coding::inflate(*coding, &payload, self.message_bytes_max)?.into();
                Ok(Some(Message { plain, coded: Some(Coded { coding: *coding, bytes: payload }) }))
            }
            (COMPRESSED, Encoding::Unknown(name)) => Err(MessageError::Encoding(name.clone())),
            (flags, _) => Err(EnvelopeError::Flags(flags).into()),
        }
    }

    /// To be asked when the stream has ended.
    ///
    /// # Errors
    /// It ended within a message.
    pub fn end(&self) -> Result<(), MessageError> {
        if self.deframer.is_empty() { Ok(()) } else { Err(EnvelopeError::Truncated.into()) }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::coding::{Levels, deflate};

    fn envelope(flags: u8, payload: &[u8]) -> Vec<u8> {
        [&[flags], &(payload.len() as u32).to_be_bytes()[..], payload].concat()
    }

    fn read(encoding: Option<&'static str>, stream: Vec<u8>, max: usize) -> Result<Vec<Bytes>, MessageError> {
        let mut messages = Messages::new(max);
        messages.on_head(&encoding.map(|name| (ENCODING, HeaderValue::from_static(name))).into_iter().collect());
        messages.push(stream.into());
        let read = std::iter::from_fn(|| messages.next_message().transpose()).collect::<Result<_, _>>()?;
        messages.end()?;
        Ok(read)
    }

    #[test]
    fn what_is_flagged_is_inflated_and_nothing_else() {
        for coding in [Coding::Gzip, Coding::Zstd] {
            let plain = b"a message, a message, a message".repeat(10);
            let coded = deflate(coding, Levels::default(), &plain).unwrap();
            let stream = [envelope(1, &coded), envelope(0, b"plain"), envelope(0, b""), envelope(1, &coded)].concat();
            let read = read(Some(coding.name()), stream, 1000).unwrap();
            assert_eq!(read, [&plain[..], b"plain", b"", &plain]);
        }
    }

    #[test]
    fn what_nobody_agreed_on_is_refused() {
        let coded = deflate(Coding::Gzip, Levels::default(), &[0; 5000]).unwrap();
        let flags = |flags| MessageError::from(EnvelopeError::Flags(flags));
        for (encoding, stream, expected) in [
            (None, envelope(1, &coded), flags(1)),
            (Some("identity"), envelope(1, &coded), flags(1)),
            (Some("gzip"), envelope(2, &coded), flags(2)),
            (Some("gzip"), envelope(0x81, &coded), flags(0x81)),
            (Some("br"), envelope(1, &coded), MessageError::Encoding("br".to_owned())),
            (Some("zstd"), envelope(1, &coded), InflateError::Corrupt(Coding::Zstd).into()),
            (Some("gzip"), envelope(1, b""), InflateError::Truncated(Coding::Gzip).into()),
            (Some("gzip"), envelope(1, &coded), InflateError::TooLarge { max: 1000 }.into()),
            (Some("gzip"), envelope(1, &[0; 1001]), EnvelopeError::TooLarge { len: 1001, max: 1000 }.into()),
            (Some("gzip"), vec![1, 0, 0, 0, 1], EnvelopeError::Truncated.into()),
        ] {
            assert_eq!(read(encoding, stream, 1000), Err(expected), "{encoding:?}");
        }
    }
}
