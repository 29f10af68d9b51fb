//! Compression: gzip (RFC 1952), zstd (RFC 8878) and brotli (RFC 7932), whole or as a stream, and who takes which of
//! them. Bytes in, bytes out; knows nothing of heads, bodies and envelopes.

mod accepted;
mod deflate;
mod inflate;

use thiserror::Error;

pub use accepted::{Accepted, GRPC_ACCEPTED, HTTP_ACCEPTED};
pub use deflate::{DeflateError, Deflater, Levels};
pub use inflate::Inflater;

/// gRPC's and HTTP's name for what is not compressed at all.
pub const IDENTITY: &str = "identity";

/// gzip's only window, as a power of two (RFC 1951 §2).
const GZIP_WINDOW_BITS: u8 = 15;

/// A way to compress bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Coding {
    Zstd,
    Brotli,
    Gzip,
}

impl Coding {
    pub const ALL: [Self; 3] = [Self::Zstd, Self::Brotli, Self::Gzip];

    /// As `content-encoding` and `grpc-encoding` have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }

    /// The coding of an HTTP name (RFC 9110 §8.4.1).
    pub fn parse(name: &str) -> Option<Self> {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        Self::ALL.into_iter().find(|coding| is(coding.name())).or(is("x-gzip").then_some(Self::Gzip))
    }

    /// The coding of gRPC's name for it (gRPC "Compression"): of ours, gzip and zstd.
    pub fn parse_grpc(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|coding| coding.is_grpc() && coding.name() == name)
    }

    /// Whether gRPC's libraries know it.
    pub fn is_grpc(self) -> bool {
        matches!(self, Self::Zstd | Self::Gzip)
    }
}

/// What compressed bytes can be refused for.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum InflateError {
    #[error("it inflates to more than {max} bytes")]
    TooLarge { max: usize },
    #[error("it is not sound {}", .0.name())]
    Corrupt(Coding),
    #[error("it is no {}, or asks for a larger window than is held for a caller", .0.name())]
    Window(Coding),
    #[error("bytes follow the end of its {}", .0.name())]
    Trailing(Coding),
    #[error("its {} ends early", .0.name())]
    Truncated(Coding),
}

/// The bytes that `coded` stands for.
///
/// # Errors
/// More than `bytes_max` of them, found out as soon as that many are inflated; anything that is not `coding` from its
/// first byte to its last.
pub fn inflate(coding: Coding, coded: &[u8], bytes_max: usize) -> Result<Vec<u8>, InflateError> {
    let mut inflater = Inflater::new(coding, bytes_max);
    let (mut rest, mut plain) = (coded, Vec::new());
    // Most of what is sent shrinks to a quarter or so.
    let mut room = (coded.len() * 4).clamp(256, 64 << 10);
    loop {
        let len = plain.len();
        inflater.inflate(&mut rest, room, &mut plain)?;
        if plain.len() - len < room {
            break;
        }
        room = plain.len();
    }
    inflater.finish()?;
    Ok(plain)
}

/// The compressed form of `plain`.
///
/// # Errors
/// No memory.
pub fn deflate(coding: Coding, levels: Levels, plain: &[u8]) -> Result<Vec<u8>, DeflateError> {
    let mut coded = Vec::with_capacity(plain.len() / 2 + 64);
    let mut deflater = Deflater::whole(coding, levels, plain.len())?;
    deflater.push(plain, &mut coded)?;
    deflater.finish(&mut coded)?;
    Ok(coded)
}

#[cfg(test)]
mod tests;
