//! Request messages → envelopes: held to the limit, and compressed where the upstream has it so (gRPC over HTTP/2,
//! "Message-Encoding").

use http::{HeaderMap, HeaderValue};

use super::snapshot::Snapshot;
use crate::{
    coding::{Coding, GRPC_ACCEPTED, Levels, deflate},
    dialect::DecodeError,
    status::Status,
    wire::{
        self, COMPRESSED, PREFIX_BYTES,
        metadata::{ACCEPT_ENCODING, ENCODING},
    },
};

/// How the messages of a call that the gateway makes itself go up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sealing {
    message_bytes_max: usize,
    coding: Option<Coding>,
    /// Smallest message that is compressed.
    bytes_min: usize,
    levels: Levels,
}

impl Sealing {
    pub(super) fn new(snapshot: &Snapshot, upstream: usize) -> Self {
        Self {
            message_bytes_max: snapshot.limits.request_message_bytes_max,
            coding: snapshot.message_coding(upstream),
            bytes_min: snapshot.compression.bytes_min,
            levels: snapshot.compression.levels,
        }
    }

    /// Tells the upstream how messages are compressed, and how its own may be.
    pub(super) fn announce(&self, metadata: &mut HeaderMap) {
        if let Some(coding) = self.coding {
            metadata.insert(ENCODING, HeaderValue::from_static(coding.name()));
            metadata.insert(ACCEPT_ENCODING, HeaderValue::from_static(GRPC_ACCEPTED));
        }
    }

    /// Finishes the envelope that begins at `start`; the length of its message as it was.
    ///
    /// # Errors
    /// 413 for a message over the limit: JSON may be shorter than what it stands for.
    pub(super) fn close(&self, envelope: &mut Vec<u8>, start: usize) -> Result<usize, Status> {
        let message = start + PREFIX_BYTES;
        let len = envelope.len() - message;
        let too_large = || DecodeError::TooLarge { max: self.message_bytes_max }.into_status();
        if len > self.message_bytes_max {
            return Err(too_large());
        }
        let coding = self.coding.filter(|_| len >= self.bytes_min);
        let coded = coding.and_then(|coding| deflate(coding, self.levels, &envelope[message..]).ok());
        if let Some(coded) = coded.filter(|coded| coded.len() < len) {
            envelope.truncate(message);
            envelope.extend_from_slice(&coded);
            wire::close_envelope(envelope, start).map_err(|_| too_large())?;
            envelope[start] = COMPRESSED;
        } else {
            wire::close_envelope(envelope, start).map_err(|_| too_large())?;
        }
        Ok(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(coding: Option<Coding>, message: &[u8]) -> Result<(usize, Vec<u8>), Status> {
        let sealing = Sealing { message_bytes_max: 5000, coding, bytes_min: 100, levels: Levels::default() };
        let mut envelopes = b"before".to_vec();
        let start = wire::open_envelope(&mut envelopes);
        envelopes.extend_from_slice(message);
        Ok((sealing.close(&mut envelopes, start)?, envelopes.split_off(start)))
    }

    #[test]
    fn a_message_is_compressed_where_it_is_large_and_shrinks() {
        let noise: Vec<u8> = (0..200u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        for (coding, message, flag) in [
            (None, &[b'a'; 4000][..], 0),
            (Some(Coding::Gzip), &[b'a'; 4000], COMPRESSED),
            (Some(Coding::Zstd), &[b'a'; 100], COMPRESSED),
            (Some(Coding::Zstd), &[b'a'; 99], 0),
            (Some(Coding::Gzip), b"", 0),
            (Some(Coding::Gzip), &noise, 0),
        ] {
            let (len, envelope) = close(coding, message).unwrap();
            assert_eq!((len, envelope[0]), (message.len(), flag), "{coding:?}");
            let mut messages = wire::Messages::new(5000);
            let encoding = coding.map_or("identity", Coding::name);
            messages.on_head(&HeaderMap::from_iter([(ENCODING, HeaderValue::from_static(encoding))]));
            messages.push(envelope.into());
            assert_eq!(messages.next_message().unwrap().unwrap(), message);
        }
    }

    #[test]
    fn the_limit_holds_for_what_a_message_is_and_not_for_what_it_shrinks_to() {
        for coding in [None, Some(Coding::Gzip)] {
            assert!(close(coding, &[0; 5000]).is_ok());
            assert_eq!(close(coding, &[0; 5001]).unwrap_err().http_status(), 413);
        }
    }
}
