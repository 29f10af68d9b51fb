//! Compressed bytes to plain ones, as they arrive.

use std::cell::Cell;

use brotli::{BrotliDecompressStream, BrotliResult, BrotliState, enc::StandardAlloc};
use flate2::{Decompress, FlushDecompress, Status};
use zstd::stream::raw::{Decoder, InBuffer, Operation, OutBuffer};
use zstd::zstd_safe::DParameter;

use super::{Coding, GZIP_WINDOW_BITS, InflateError};

/// Largest window of zstd, as a power of two: what every recipient of it over HTTP has to have, and none needs to
/// exceed (RFC 9659 §3).
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

/// Largest window of brotli, as a power of two: what its encoders use unless they are told otherwise. RFC 7932 has four
/// times as much, which a few bytes can ask for.
const BROTLI_WINDOW_BITS_MAX: u8 = 22;

/// Inflates one stream, as much at a time as is asked for.
///
/// Invariant: holds its coding's window and less than one block of input; what was inflated is with the caller.
pub struct Inflater {
    coding: Coding,
    engine: Engine,
    stage: Stage,
    bytes_max: usize,
    /// Plain bytes that may still come.
    left: usize,
    /// Compressed bytes that may still come: what says nothing must end too.
    coded_left: usize,
}

enum Engine {
    Gzip(Decompress),
    Zstd(Decoder<'static>),
    Brotli(Box<BrotliState<StandardAlloc, StandardAlloc, StandardAlloc>>),
    /// No memory: nothing can be inflated.
    Missing,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Begin,
    Within,
    /// After the end of a gzip member, a zstd frame, a brotli stream.
    Ended,
}

/// What one step came to.
struct Step {
    read: usize,
    written: usize,
    came_to: CameTo,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum CameTo {
    /// Of the input, or of the room.
    EndOfEither,
    /// Of a member, a frame, a stream.
    End,
    /// What cannot be read.
    Fault,
}

impl Inflater {
    /// `bytes_max`: of everything that the stream inflates to.
    pub fn new(coding: Coding, bytes_max: usize) -> Self {
        // What cannot be compressed grows by a little.
        let coded_left = bytes_max.saturating_add(bytes_max / 16).saturating_add(1024);
        Self { coding, engine: Engine::new(coding), stage: Stage::Begin, bytes_max, left: bytes_max, coded_left }
    }

    /// Takes from the front of `input`, and appends at most `room` bytes to `plain`. Where it appends fewer, all of
    /// `input` was taken, and there is nothing more to be had of it.
    ///
    /// # Errors
    /// No more can come of a stream that was refused.
    pub fn inflate(&mut self, input: &mut &[u8], room: usize, plain: &mut Vec<u8>) -> Result<(), InflateError> {
        let (begin, end) = (plain.len(), plain.len() + room);
        // One more byte than may come, to see that it does.
        plain.resize(begin + room.min(self.left.saturating_add(1)), 0);
        let mut at = begin;
        let outcome = self.fill(input, plain, &mut at);
        debug_assert!(at <= end);
        plain.truncate(at);
        outcome
    }

    /// To be asked when all input was given.
    ///
    /// # Errors
    /// The stream is not whole.
    pub fn finish(&self) -> Result<(), InflateError> {
        if self.stage == Stage::Ended { Ok(()) } else { Err(InflateError::Truncated(self.coding)) }
    }

    fn fill(&mut self, input: &mut &[u8], plain: &mut [u8], at: &mut usize) -> Result<(), InflateError> {
        while *at < plain.len() {
            // No more than may come: where a fault stands behind the limit, it is the limit that is told of.
            let mut offered = &input[..input.len().min(self.coded_left)];
            if self.stage != Stage::Within {
                if input.is_empty() {
                    break;
                }
                self.begin(input[0])?;
                // libzstd reads a frame that it has whole in another way, and refuses other ones.
                offered = &offered[..offered.len().min(1)];
            }
            let space = plain.len() - *at;
            let Step { read, written, came_to } = self.engine.step(offered, &mut plain[*at..]);
            *input = &input[read..];
            *at += written;
            self.coded_left -= read;
            self.left = self.left.checked_sub(written).ok_or(self.too_large())?;
            match came_to {
                CameTo::End => self.stage = Stage::Ended,
                CameTo::Fault => return Err(InflateError::Corrupt(self.coding)),
                CameTo::EndOfEither if written == space => {}
                CameTo::EndOfEither if input.is_empty() => break,
                CameTo::EndOfEither if self.coded_left == 0 => return Err(self.too_large()),
                CameTo::EndOfEither if read + written == 0 => return Err(InflateError::Corrupt(self.coding)),
                CameTo::EndOfEither => {}
            }
        }
        Ok(())
    }

    fn too_large(&self) -> InflateError {
        InflateError::TooLarge { max: self.bytes_max }
    }

    /// The first bytes, or more of them after an end: another member (RFC 1952 §2.2), another frame (RFC 8878 §3);
    /// brotli has one stream.
    fn begin(&mut self, first: u8) -> Result<(), InflateError> {
        if self.coding == Coding::Brotli && brotli_window_bits(first) > BROTLI_WINDOW_BITS_MAX {
            return Err(InflateError::Window(self.coding));
        }
        if self.stage == Stage::Ended && !self.engine.restart() {
            return Err(InflateError::Trailing(self.coding));
        }
        self.stage = Stage::Within;
        Ok(())
    }
}

/// The window that the first byte of a stream asks for, where it is one of the large ones (RFC 7932 §9.1).
fn brotli_window_bits(first: u8) -> u8 {
    match (first & 1, first >> 1 & 7) {
        (1, more @ 1..) => 17 + more,
        _ => 17,
    }
}

thread_local! {
    /// The thread's last one: it costs more to make than most messages do to inflate.
    static ZSTD: Cell<Option<Decoder<'static>>> = const { Cell::new(None) };
}

impl Drop for Inflater {
    fn drop(&mut self) {
        if let Engine::Zstd(decoder) = std::mem::replace(&mut self.engine, Engine::Missing) {
            // Fails only while the thread ends.
            let _ = ZSTD.try_with(|kept| kept.set(Some(decoder)));
        }
    }
}

impl Engine {
    fn new(coding: Coding) -> Self {
        match coding {
            Coding::Gzip => Self::Gzip(Decompress::new_gzip(GZIP_WINDOW_BITS)),
            Coding::Zstd => Self::zstd().unwrap_or(Self::Missing),
            // Strict: without the windows of up to 1 GiB that RFC 7932 does not have.
            Coding::Brotli => Self::Brotli(Box::new(BrotliState::new_strict(
                StandardAlloc::default(),
                StandardAlloc::default(),
                StandardAlloc::default(),
            ))),
        }
    }

    fn zstd() -> Option<Self> {
        if let Some(mut decoder) = ZSTD.take()
            && decoder.reinit().is_ok()
        {
            return Some(Self::Zstd(decoder));
        }
        let mut decoder = Decoder::new().ok()?;
        decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG_MAX)).ok()?;
        Some(Self::Zstd(decoder))
    }

    /// Makes ready for what may follow an end; false where nothing may.
    fn restart(&mut self) -> bool {
        match self {
            Self::Gzip(gzip) => gzip.reset(true),
            Self::Zstd(zstd) => return zstd.reinit().is_ok(),
            Self::Brotli(_) | Self::Missing => return false,
        }
        true
    }

    fn step(&mut self, input: &[u8], plain: &mut [u8]) -> Step {
        match self {
            Self::Gzip(gzip) => {
                let (read, written) = (gzip.total_in(), gzip.total_out());
                let came_to = match gzip.decompress(input, plain, FlushDecompress::None) {
                    Ok(Status::StreamEnd) => CameTo::End,
                    Ok(Status::Ok | Status::BufError) => CameTo::EndOfEither,
                    Err(_) => CameTo::Fault,
                };
                let (read, written) = (gzip.total_in() - read, gzip.total_out() - written);
                Step { read: read as usize, written: written as usize, came_to }
            }
            Self::Zstd(zstd) => {
                let (mut input, mut output) = (InBuffer::around(input), OutBuffer::around(plain));
                let came_to = match zstd.run(&mut input, &mut output) {
                    Ok(0) => CameTo::End,
                    Ok(_) => CameTo::EndOfEither,
                    Err(_) => CameTo::Fault,
                };
                Step { read: input.pos(), written: output.pos(), came_to }
            }
            Self::Brotli(state) => {
                let (mut available_in, mut read) = (input.len(), 0);
                let (mut available_out, mut written, mut total) = (plain.len(), 0, 0);
                let result = BrotliDecompressStream(
                    &mut available_in,
                    &mut read,
                    input,
                    &mut available_out,
                    &mut written,
                    plain,
                    &mut total,
                    state,
                );
                let came_to = match result {
                    BrotliResult::ResultSuccess => CameTo::End,
                    BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => CameTo::EndOfEither,
                    BrotliResult::ResultFailure => CameTo::Fault,
                };
                Step { read, written, came_to }
            }
            Self::Missing => Step { read: 0, written: 0, came_to: CameTo::Fault },
        }
    }
}
