//! A client's bytes, however they were cut → messages and control frames (RFC 6455 §5.4, §6.2).
//!
//! Knows what frames must look like; knows nothing of what is answered to them.

use bytes::{Buf, Bytes, BytesMut};

use super::{
    close::Close,
    fault::Fault,
    frame::{CONTROL_BYTES_MAX, Header, Opcode},
    mask,
    utf8::Utf8,
};

/// RSV1 in [`Header::reserved`]: the message is compressed (RFC 7692 §6).
pub(super) const RSV1: u8 = 0b100;

/// What the decoder holds a client to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Longest message in bytes of its frames' payloads, compressed or not; a longer one is refused at the header that
    /// exceeds it.
    pub message_bytes_max: usize,
    /// True where an extension was agreed on that gives RSV1 a meaning.
    pub compression: bool,
}

/// Text or binary: decides what a message is read as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Text,
    Binary,
}

impl Kind {
    pub(super) fn opcode(self) -> Opcode {
        match self {
            Self::Text => Opcode::Text,
            Self::Binary => Opcode::Binary,
        }
    }
}

/// A whole message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub kind: Kind,
    /// Unmasked; UTF-8 where the kind is text, unless compressed.
    pub payload: Bytes,
    /// RSV1 was set: the payload is still compressed, and not yet judged as text.
    pub compressed: bool,
}

/// What a client sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    Message(Message),
    Ping(Bytes),
    Pong(Bytes),
    /// The last event: what follows a close frame is not read (RFC 6455 §1.4).
    Close(Option<Close>),
}

/// Reads a client's frames.
///
/// Invariant: holds at most one message of the limit's size, one control frame, and what was pushed after them.
#[derive(Debug)]
pub struct Decoder {
    rules: Rules,
    /// Begins at a header, or at the payload of `frame`.
    input: BytesMut,
    frame: Option<Frame>,
    message: Option<Partial>,
    end: End,
}

/// A frame whose payload is arriving.
#[derive(Clone, Copy, Debug)]
struct Frame {
    opcode: Opcode,
    fin: bool,
    key: [u8; 4],
    len: usize,
    /// Bytes of the payload that are unmasked and judged.
    done: usize,
}

/// A message whose last frame has not arrived.
#[derive(Debug)]
struct Partial {
    kind: Kind,
    compressed: bool,
    utf8: Utf8,
    /// Payloads of the frames before the present one.
    payload: BytesMut,
}

impl Partial {
    fn is_text(&self) -> bool {
        self.kind == Kind::Text && !self.compressed
    }
}

#[derive(Clone, Copy, Debug)]
enum End {
    NotYet,
    Closed,
    Failed(Fault),
}

impl Decoder {
    pub fn new(rules: Rules) -> Self {
        Self { rules, input: BytesMut::new(), frame: None, message: None, end: End::NotYet }
    }

    /// Adds bytes as they were read.
    pub fn push(&mut self, piece: &[u8]) {
        if matches!(self.end, End::NotYet) {
            self.input.extend_from_slice(piece);
        }
    }

    /// The next event, where all of it has arrived.
    ///
    /// # Errors
    /// What the connection must be failed for; the same again when asked again.
    pub fn next_event(&mut self) -> Result<Option<Event>, Fault> {
        match self.end {
            End::NotYet => {}
            End::Closed => return Ok(None),
            End::Failed(fault) => return Err(fault),
        }
        let event = self.advance();
        match &event {
            Ok(Some(Event::Close(_))) => self.finish(End::Closed),
            Ok(_) => {}
            Err(fault) => self.finish(End::Failed(*fault)),
        }
        event
    }

    /// Nothing is read any more: lets go of the memory.
    fn finish(&mut self, end: End) {
        *self = Self { end, ..Self::new(self.rules) };
    }

    fn advance(&mut self) -> Result<Option<Event>, Fault> {
        loop {
            let Some(mut frame) = self.present_frame()? else { return Ok(None) };
            self.absorb(&mut frame)?;
            if frame.done < frame.len {
                self.frame = Some(frame);
                return Ok(None);
            }
            self.frame = None;
            let payload = self.take(frame.len);
            if let Some(event) = self.end_frame(frame, payload)? {
                return Ok(Some(event));
            }
        }
    }

    /// The front of the input. A connection between messages holds no memory.
    fn take(&mut self, len: usize) -> BytesMut {
        if len == self.input.len() { std::mem::take(&mut self.input) } else { self.input.split_to(len) }
    }

    /// The frame whose payload is at the front of the input; none before a whole header.
    fn present_frame(&mut self) -> Result<Option<Frame>, Fault> {
        if let Some(frame) = self.frame {
            return Ok(Some(frame));
        }
        let Some((header, header_len)) = Header::parse(&self.input)? else { return Ok(None) };
        let frame = self.begin_frame(header)?;
        self.input.advance(header_len);
        Ok(Some(frame))
    }

    /// Judges a header by the rules and by what came before it.
    fn begin_frame(&mut self, header: Header) -> Result<Frame, Fault> {
        let key = header.mask.ok_or(Fault::Unmasked)?; // RFC 6455 §5.1
        // RFC 7692 §6.1: only a message's first frame may have RSV1.
        let begins_message = matches!(header.opcode, Opcode::Text | Opcode::Binary);
        let allowed = if self.rules.compression && begins_message { RSV1 } else { 0 };
        if header.reserved & !allowed != 0 {
            return Err(Fault::ReservedBits(header.reserved));
        }
        let compressed = header.reserved & RSV1 != 0;
        let len = match (header.opcode, &self.message) {
            (Opcode::Close | Opcode::Ping | Opcode::Pong, _) => fit(header.len, 0, CONTROL_BYTES_MAX)?,
            (Opcode::Continuation, Some(message)) => {
                fit(header.len, message.payload.len(), self.rules.message_bytes_max)?
            }
            (Opcode::Continuation, None) => return Err(Fault::NothingToContinue),
            (Opcode::Text | Opcode::Binary, Some(_)) => return Err(Fault::MessageWithinMessage),
            (Opcode::Text, None) => self.begin_message(Kind::Text, compressed, header.len)?,
            (Opcode::Binary, None) => self.begin_message(Kind::Binary, compressed, header.len)?,
        };
        Ok(Frame { opcode: header.opcode, fin: header.fin, key, len, done: 0 })
    }

    fn begin_message(&mut self, kind: Kind, compressed: bool, len: u64) -> Result<usize, Fault> {
        let len = fit(len, 0, self.rules.message_bytes_max)?;
        self.message = Some(Partial { kind, compressed, utf8: Utf8::default(), payload: BytesMut::new() });
        Ok(len)
    }

    /// Unmasks and judges what has arrived of the frame's payload since last time.
    fn absorb(&mut self, frame: &mut Frame) -> Result<(), Fault> {
        let arrived = frame.len.min(self.input.len());
        let piece = &mut self.input[frame.done..arrived];
        mask::apply(frame.key, frame.done, piece);
        frame.done = arrived;
        match &mut self.message {
            Some(message) if message.is_text() && !frame.opcode.is_control() => {
                message.utf8.push(piece).map_err(|_| Fault::TextNotUtf8)
            }
            _ => Ok(()),
        }
    }

    fn end_frame(&mut self, frame: Frame, payload: BytesMut) -> Result<Option<Event>, Fault> {
        match frame.opcode {
            Opcode::Close => Ok(Some(Event::Close(Close::parse(&payload)?))),
            Opcode::Ping => Ok(Some(Event::Ping(payload.freeze()))),
            Opcode::Pong => Ok(Some(Event::Pong(payload.freeze()))),
            Opcode::Continuation | Opcode::Text | Opcode::Binary => self.end_data(frame.fin, payload),
        }
    }

    fn end_data(&mut self, fin: bool, payload: BytesMut) -> Result<Option<Event>, Fault> {
        let Some(mut message) = self.message.take() else { return Err(Fault::NothingToContinue) };
        if !fin {
            message.payload.extend_from_slice(&payload);
            self.message = Some(message);
            return Ok(None);
        }
        if message.is_text() && !message.utf8.is_complete() {
            return Err(Fault::TextNotUtf8);
        }
        let whole = if message.payload.is_empty() {
            payload // A message of one frame is not copied.
        } else {
            message.payload.extend_from_slice(&payload);
            message.payload
        };
        let Partial { kind, compressed, .. } = message;
        Ok(Some(Event::Message(Message { kind, payload: whole.freeze(), compressed })))
    }
}

/// The length of a frame after `before` bytes of its message.
fn fit(len: u64, before: usize, max: usize) -> Result<usize, Fault> {
    let total = len.saturating_add(before as u64);
    match usize::try_from(len) {
        Ok(len) if total <= max as u64 => Ok(len),
        _ => Err(Fault::TooLarge { len: total, max }),
    }
}

#[cfg(test)]
pub(super) mod testing;
#[cfg(test)]
mod tests;
