//! Which HTTP a connection speaks: what ALPN agreed on, or what the first bytes say. Knows no requests.

use std::io;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::listener::{ALPN_H2, Opened};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

/// Finds the protocol; bytes read for it are put back. None: the client left without a word.
///
/// Takes as long as the client does: the caller sets the limit. Over TLS without `h2` in ALPN it is HTTP/1.1, whatever
/// comes (RFC 9113 §3.2), and nothing is read.
pub(super) async fn find<T: Unpin>(opened: &mut Opened<T>) -> io::Result<Option<Protocol>> {
    let agreed = opened.alpn.as_deref() == Some(ALPN_H2);
    if opened.tls && !agreed {
        return Ok(Some(Protocol::Http1));
    }
    let (protocol, read) = read_preface(&mut opened.stream).await?;
    if protocol == Protocol::Http1 && agreed {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the connection preface of HTTP/2 is missing"));
    }
    let silent = read.is_empty();
    opened.stream.unread(read);
    Ok((!silent).then_some(protocol))
}

/// Reads until the bytes differ from HTTP/2's preface, or are it.
async fn read_preface(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<(Protocol, Bytes)> {
    let mut buffer = [0; PREFACE.len()];
    let mut filled = 0;
    while let Some(free @ [_, ..]) = buffer.get_mut(filled..) {
        let count = stream.read(free).await?;
        filled += count;
        let read = buffer.get(..filled).unwrap_or_default();
        if count == 0 || !PREFACE.starts_with(read) {
            return Ok((Protocol::Http1, Bytes::copy_from_slice(read)));
        }
    }
    Ok((Protocol::Http2, Bytes::from_static(PREFACE)))
}

/// RFC 9113 §3.4.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_bytes_decide_however_they_are_cut() {
        for (bytes, protocol) in [
            (&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nand more"[..], Protocol::Http2),
            (b"GET / HTTP/1.1\r\n\r\n", Protocol::Http1),
            (b"PUT / HTTP/1.1\r\n\r\n", Protocol::Http1),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\r", Protocol::Http1),
            (b"PRI", Protocol::Http1),
            (b"", Protocol::Http1),
        ] {
            for cut in 0..bytes.len().max(1) {
                let mut io = in_two_pieces(bytes, cut);
                let (found, read) = read_preface(&mut io).await.unwrap();
                assert_eq!(found, protocol, "{bytes:?} cut at {cut}");
                let mut rest = Vec::new();
                io.read_to_end(&mut rest).await.unwrap();
                assert_eq!([&read[..], &rest[..]].concat(), bytes, "nothing is lost");
            }
        }
    }

    /// A reader of two pieces.
    fn in_two_pieces(bytes: &'static [u8], cut: usize) -> impl AsyncRead + Unpin {
        let (first, second) = bytes.split_at(cut.min(bytes.len()));
        first.chain(second)
    }
}
