//! Plain bytes to compressed ones.

use std::cell::Cell;

use brotli::enc::{
    StandardAlloc,
    encode::{BrotliEncoderOperation, BrotliEncoderParameter, BrotliEncoderStateStruct},
};
use flate2::{Compress, Compression, FlushCompress, Status};
use thiserror::Error;
use zstd::stream::raw::{CParameter, Encoder, InBuffer, Operation, OutBuffer};

use super::{Coding, GZIP_WINDOW_BITS};

/// How much work each coding does for how much less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Levels {
    /// 1 to 9.
    pub gzip: u8,
    /// 0 to 11.
    pub brotli: u8,
    /// 1 to 19.
    pub zstd: u8,
}

impl Default for Levels {
    fn default() -> Self {
        Self { gzip: 4, brotli: 4, zstd: 3 }
    }
}

#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("{} could not compress", .0.name())]
pub struct DeflateError(Coding);

/// How far back a stream's compressor looks, as a power of two: most of its memory, for as long as the stream lasts.
const STREAM_WINDOW_BITS: u8 = 15;

/// Beyond these a stream's tables are several times larger, and save next to nothing of small messages.
const STREAM_ZSTD_LEVEL_MAX: u8 = 1;
const STREAM_BROTLI_QUALITY_MAX: u8 = 3;

/// The window of what is whole, where it is as long.
const WHOLE_WINDOW_BITS: u8 = 18;

/// Least room to write into: more than a flush ends with.
const ROOM_BYTES: usize = 256;

/// Compresses one stream.
pub struct Deflater {
    coding: Coding,
    engine: Engine,
}

enum Engine {
    /// And its level.
    Gzip(Compress, u8),
    Zstd(Encoder<'static>),
    Brotli(Box<BrotliEncoderStateStruct<StandardAlloc>>),
    /// Only while it is dropped.
    Gone,
}

/// How far what was pushed has to get.
#[derive(Clone, Copy)]
enum Until {
    Taken,
    Readable,
    End,
}

impl Deflater {
    /// For a stream: it may last, so it holds little.
    ///
    /// # Errors
    /// No memory.
    pub fn stream(coding: Coding, levels: Levels) -> Result<Self, DeflateError> {
        let levels = Levels {
            gzip: levels.gzip,
            brotli: levels.brotli.min(STREAM_BROTLI_QUALITY_MAX),
            zstd: levels.zstd.min(STREAM_ZSTD_LEVEL_MAX),
        };
        Self::new(coding, levels, STREAM_WINDOW_BITS, None)
    }

    /// For `len` bytes, all of them at hand.
    ///
    /// # Errors
    /// No memory.
    pub fn whole(coding: Coding, levels: Levels, len: usize) -> Result<Self, DeflateError> {
        let bits = usize::BITS - len.leading_zeros();
        Self::new(coding, levels, (bits as u8).clamp(10, WHOLE_WINDOW_BITS), Some(len))
    }

    fn new(coding: Coding, levels: Levels, window_bits: u8, len: Option<usize>) -> Result<Self, DeflateError> {
        let engine = match coding {
            Coding::Gzip => Engine::gzip(levels.gzip),
            Coding::Zstd => Engine::zstd(levels.zstd.into(), window_bits, len).ok_or(DeflateError(coding))?,
            Coding::Brotli => Engine::brotli(levels.brotli.into(), window_bits, len),
        };
        Ok(Self { coding, engine })
    }

    /// Takes `plain`, and appends to `coded` what comes of it so far.
    ///
    /// # Errors
    /// No memory.
    pub fn push(&mut self, plain: &[u8], coded: &mut Vec<u8>) -> Result<(), DeflateError> {
        self.run(plain, Until::Taken, coded)
    }

    /// Appends the rest of what was pushed, so that the peer can read all of it.
    ///
    /// # Errors
    /// No memory.
    pub fn flush(&mut self, coded: &mut Vec<u8>) -> Result<(), DeflateError> {
        self.run(&[], Until::Readable, coded)
    }

    /// Appends the end. Nothing is to be pushed after it.
    ///
    /// # Errors
    /// No memory.
    pub fn finish(&mut self, coded: &mut Vec<u8>) -> Result<(), DeflateError> {
        self.run(&[], Until::End, coded)
    }

    fn run(&mut self, plain: &[u8], until: Until, coded: &mut Vec<u8>) -> Result<(), DeflateError> {
        let done = match &mut self.engine {
            Engine::Gzip(gzip, _) => run_gzip(gzip, plain, until, coded),
            Engine::Zstd(zstd) => run_zstd(zstd, plain, until, coded),
            Engine::Brotli(brotli) => run_brotli(brotli, plain, until, coded),
            Engine::Gone => None,
        };
        done.ok_or(DeflateError(self.coding))
    }
}

thread_local! {
    /// The thread's last ones: their tables cost more to make than a small body does to compress.
    static GZIP: Cell<Option<(Compress, u8)>> = const { Cell::new(None) };
    static ZSTD: Cell<Option<Encoder<'static>>> = const { Cell::new(None) };
}

impl Drop for Deflater {
    fn drop(&mut self) {
        // Either fails only while the thread ends.
        let _ = match std::mem::replace(&mut self.engine, Engine::Gone) {
            Engine::Gzip(gzip, level) => GZIP.try_with(|kept| kept.set(Some((gzip, level)))),
            Engine::Zstd(zstd) => ZSTD.try_with(|kept| kept.set(Some(zstd))),
            Engine::Brotli(_) | Engine::Gone => Ok(()),
        };
    }
}

impl Engine {
    fn gzip(level: u8) -> Self {
        let gzip = match GZIP.take().filter(|kept| kept.1 == level) {
            Some((mut gzip, _)) => {
                gzip.reset();
                gzip
            }
            None => Compress::new_gzip(Compression::new(level.into()), GZIP_WINDOW_BITS),
        };
        Self::Gzip(gzip, level)
    }

    fn zstd(level: i32, window_bits: u8, len: Option<usize>) -> Option<Self> {
        let mut encoder = match ZSTD.take() {
            Some(encoder) => encoder,
            None => Encoder::new(level).ok()?,
        };
        encoder.reinit().ok()?;
        encoder.set_parameter(CParameter::CompressionLevel(level)).ok()?;
        // Where the length is known, tables and window fit themselves to it.
        encoder.set_parameter(CParameter::WindowLog(if len.is_some() { 0 } else { window_bits.into() })).ok()?;
        encoder.set_pledged_src_size(len.map(|len| len as u64)).ok()?;
        Some(Self::Zstd(encoder))
    }

    fn brotli(quality: u32, window_bits: u8, len: Option<usize>) -> Self {
        let mut state = Box::new(BrotliEncoderStateStruct::new(StandardAlloc::default()));
        state.set_parameter(BrotliEncoderParameter::BROTLI_PARAM_QUALITY, quality);
        state.set_parameter(BrotliEncoderParameter::BROTLI_PARAM_LGWIN, window_bits.into());
        if let Some(len) = len.and_then(|len| u32::try_from(len).ok()) {
            state.set_parameter(BrotliEncoderParameter::BROTLI_PARAM_SIZE_HINT, len);
        }
        Self::Brotli(state)
    }
}

/// None: it failed, as the others below.
fn run_gzip(gzip: &mut Compress, mut plain: &[u8], until: Until, coded: &mut Vec<u8>) -> Option<()> {
    let flush = match until {
        Until::Taken => FlushCompress::None,
        Until::Readable => FlushCompress::Sync,
        Until::End => FlushCompress::Finish,
    };
    loop {
        coded.reserve(ROOM_BYTES.max(plain.len() / 2));
        let before = gzip.total_in();
        let status = gzip.compress_vec(plain, coded, flush).ok()?;
        plain = &plain[(gzip.total_in() - before) as usize..];
        let has_room = coded.len() < coded.capacity();
        match until {
            Until::End if status == Status::StreamEnd => return Some(()),
            Until::End if has_room => return None,
            Until::Taken | Until::Readable if has_room => return plain.is_empty().then_some(()),
            _ => {}
        }
    }
}

fn run_zstd(zstd: &mut Encoder<'_>, plain: &[u8], until: Until, coded: &mut Vec<u8>) -> Option<()> {
    let mut input = InBuffer::around(plain);
    loop {
        coded.reserve(ROOM_BYTES.max((plain.len() - input.pos()) / 2));
        let at = coded.len();
        let mut output = OutBuffer::around_pos(coded, at);
        let more = match until {
            Until::Taken => {
                zstd.run(&mut input, &mut output).ok()?;
                input.pos() < plain.len()
            }
            Until::Readable => zstd.flush(&mut output).ok()? > 0,
            Until::End => zstd.finish(&mut output, false).ok()? > 0,
        };
        if !more {
            return Some(());
        }
    }
}

fn run_brotli(
    state: &mut BrotliEncoderStateStruct<StandardAlloc>,
    plain: &[u8],
    until: Until,
    coded: &mut Vec<u8>,
) -> Option<()> {
    let operation = match until {
        Until::Taken => BrotliEncoderOperation::BROTLI_OPERATION_PROCESS,
        Until::Readable => BrotliEncoderOperation::BROTLI_OPERATION_FLUSH,
        Until::End => BrotliEncoderOperation::BROTLI_OPERATION_FINISH,
    };
    let (mut available_in, mut at) = (plain.len(), 0);
    loop {
        // Into its own buffer, to be taken from there.
        let (mut available_out, mut out_at) = (0, 0);
        let is_sound = state.compress_stream(
            operation,
            &mut available_in,
            plain,
            &mut at,
            &mut available_out,
            &mut [],
            &mut out_at,
            &mut None,
            &mut |_, _, _, _| (),
        );
        if !is_sound {
            return None;
        }
        while state.has_more_output() {
            // In: all of it; out: how much that is.
            let mut len = 0;
            let output = state.take_output(&mut len);
            coded.extend_from_slice(&output[..len]);
        }
        let done = match until {
            Until::Taken | Until::Readable => available_in == 0,
            Until::End => state.is_finished(),
        };
        if done {
            return Some(());
        }
    }
}
