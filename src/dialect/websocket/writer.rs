//! A server's messages as frames, compressed where that was agreed on and is worth it (RFC 7692 §7.2.1).

use std::cell::RefCell;

use flate2::{Compress, Compression, FlushCompress};

use super::{
    encode::{self, body_of},
    extension::{PermessageDeflate, SERVER_WINDOW_BITS_MIN, WINDOW_BITS_MAX},
    inflate::TAIL,
    reassembly::Kind,
};

/// Least room to write into: more than a flush ends with.
const ROOM_BYTES: usize = 256;

/// How many windows there are.
const WINDOWS: usize = (WINDOW_BITS_MAX - SERVER_WINDOW_BITS_MIN) as usize + 1;

const LEVEL_MAX: u8 = 9;

thread_local! {
    /// The thread's last one of each window, with its level: 371 KiB for the usual one, 1.9 MiB where clients ask for
    /// every window there is. To make one costs more than a small message does.
    static ENGINES: RefCell<[Option<(Compress, u8)>; WINDOWS]> = const { RefCell::new([const { None }; WINDOWS]) };
}

/// Writes the messages of one connection.
pub struct Writer {
    deflater: Option<Deflater>,
    /// Smallest message that is compressed.
    bytes_min: usize,
}

struct Deflater {
    window_bits: u8,
    level: u8,
    context_takeover: bool,
    /// Knows what went before, where contexts are taken over.
    engine: Option<Compress>,
}

impl Writer {
    /// `level`: 1 to 9.
    pub fn new(agreed: Option<PermessageDeflate>, level: u8, bytes_min: usize) -> Self {
        let deflater = agreed.map(|agreed| Deflater {
            window_bits: agreed.server_max_window_bits.clamp(SERVER_WINDOW_BITS_MIN, WINDOW_BITS_MAX),
            level: level.min(LEVEL_MAX),
            context_takeover: agreed.server_context_takeover,
            engine: None,
        });
        Self { deflater, bytes_min }
    }

    /// Appends a whole message in one frame.
    pub fn write_message(&mut self, kind: Kind, payload: &[u8], out: &mut Vec<u8>) {
        match self.compress(payload) {
            Some(coded) => encode::write_compressed(kind, &coded, out),
            None => encode::write_message(kind, payload, out),
        }
    }

    /// Writes the frame of the message that follows `start`, which [`encode::open_frame`] told, up to the end of `out`.
    pub fn finish_frame(&mut self, kind: Kind, out: &mut Vec<u8>, start: usize) {
        match self.compress(body_of(out, start)) {
            Some(coded) => {
                out.truncate(start);
                encode::write_compressed(kind, &coded, out);
            }
            None => encode::finish_frame(kind, out, start),
        }
    }

    /// None: it goes as it is. An empty message has nothing to flush.
    fn compress(&mut self, payload: &[u8]) -> Option<Vec<u8>> {
        let deflater = self.deflater.as_mut()?;
        if payload.is_empty() || payload.len() < self.bytes_min {
            return None;
        }
        deflater.compress(payload)
    }
}

impl Deflater {
    /// None where it does not become smaller, unless later messages may refer to it.
    fn compress(&mut self, plain: &[u8]) -> Option<Vec<u8>> {
        let mut engine = self.take_engine();
        let len_max = if self.context_takeover { usize::MAX } else { plain.len() - 1 };
        let coded = run(&mut engine, plain, len_max);
        // One that failed is left, and the next one begins anew: it refers to nothing then, which is always right.
        if coded.is_some() || !self.context_takeover {
            self.keep_engine(engine);
        }
        coded
    }

    fn take_engine(&mut self) -> Compress {
        if let Some(engine) = self.engine.take() {
            return engine;
        }
        let make = || Compress::new_with_window_bits(Compression::new(self.level.into()), false, self.window_bits);
        if self.context_takeover {
            return make();
        }
        let kept = self.with_place(Option::take).flatten().filter(|(_, level)| *level == self.level);
        kept.map_or_else(make, |(mut engine, _)| {
            engine.reset();
            engine
        })
    }

    fn keep_engine(&mut self, engine: Compress) {
        if self.context_takeover {
            self.engine = Some(engine);
        } else {
            self.with_place(|place| *place = Some((engine, self.level)));
        }
    }

    /// The thread's place for a compressor of this window; none while the thread ends.
    fn with_place<T>(&self, with: impl FnOnce(&mut Option<(Compress, u8)>) -> T) -> Option<T> {
        let place = usize::from(self.window_bits - SERVER_WINDOW_BITS_MIN);
        ENGINES.try_with(|engines| engines.borrow_mut().get_mut(place).map(with)).ok().flatten()
    }
}

/// The whole message without its tail; none where that takes more than `len_max` bytes.
fn run(engine: &mut Compress, mut plain: &[u8], len_max: usize) -> Option<Vec<u8>> {
    let mut coded = Vec::with_capacity(plain.len() / 2 + ROOM_BYTES);
    loop {
        let before = engine.total_in();
        engine.compress_vec(plain, &mut coded, FlushCompress::Sync).ok()?;
        plain = plain.get((engine.total_in() - before) as usize..)?;
        if coded.len() > len_max.saturating_add(TAIL.len()) {
            return None;
        }
        if coded.len() < coded.capacity() {
            break;
        }
        coded.reserve(ROOM_BYTES.max(plain.len() / 2));
    }
    if !plain.is_empty() || !coded.ends_with(&TAIL) {
        return None;
    }
    coded.truncate(coded.len() - TAIL.len());
    (coded.len() <= len_max).then_some(coded)
}

#[cfg(test)]
mod tests;
