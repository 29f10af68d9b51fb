//! `multipart/form-data` (RFC 7578): a body as it arrives → its parts' heads and their bytes, however the body was cut.
//! Knows nothing of what the parts mean.

mod head;

use bytes::{Bytes, BytesMut};
use memchr::{memmem, memrchr};

pub use head::{Boundary, PartHead};

use super::decode::DecodeError;

/// What comes next in a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    Part(PartHead),
    /// Bytes of the part, never empty.
    Data(Bytes),
    PartEnd,
}

/// Takes a body as it arrives and gives its events.
#[derive(Debug)]
pub struct Multipart {
    /// CRLF, two hyphens and the boundary.
    delimiter: memmem::Finder<'static>,
    /// What was pushed and not yet told. The body is thought of as beginning behind a line end, so that its first
    /// delimiter is like all others.
    held: Bytes,
    /// Bytes told before `held`, the line end before the body among them.
    told: usize,
    stage: Stage,
    parts: usize,
    ended: bool,
    /// Most bytes of one [`Event::Data`].
    data_bytes_max: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Before the first part: passed over (RFC 2046 §5.1.1).
    Preamble,
    Head,
    /// The empty line between a part's head and its bytes.
    EmptyLine,
    Data,
    /// Behind the last part: passed over too.
    Epilogue,
}

/// What stands at the front of the bytes of a part.
enum Front {
    /// So many bytes of its own.
    Data(usize),
    /// The delimiter before another part, or before nothing.
    Delimiter { last: bool },
    /// More has to arrive.
    Unknown,
}

/// Most parts of one body, and most bytes of one part's head.
const PARTS_MAX: usize = 1000;
const HEAD_BYTES_MAX: usize = 8 << 10;
const LINE_END: &[u8] = b"\r\n";

impl Multipart {
    pub fn new(boundary: Boundary, data_bytes_max: usize) -> Self {
        let delimiter = [LINE_END, b"--", boundary.as_bytes()].concat();
        Self {
            delimiter: memmem::Finder::new(&delimiter).into_owned(),
            held: Bytes::from_static(LINE_END),
            told: 0,
            stage: Stage::Preamble,
            parts: 0,
            ended: false,
            data_bytes_max: data_bytes_max.max(1),
        }
    }

    /// Adds a piece of the body.
    pub fn push(&mut self, piece: Bytes) {
        if self.held.is_empty() {
            self.held = piece;
        } else {
            let mut joined = BytesMut::with_capacity(self.held.len() + piece.len());
            joined.extend_from_slice(&self.held);
            joined.extend_from_slice(&piece);
            self.held = joined.freeze();
        }
    }

    /// No more is to come.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// The next event; none where more has to arrive, or all was told.
    ///
    /// # Errors
    /// What is not a form, and where; a body that ends before its last delimiter.
    pub fn next_event(&mut self) -> Result<Option<Event>, DecodeError> {
        loop {
            if self.stage == Stage::Head {
                return match self.head()? {
                    Some(head) => Ok(Some(Event::Part(head))),
                    None => self.unfinished(),
                };
            }
            if self.stage == Stage::Epilogue {
                self.take(self.held.len());
                return Ok(None);
            }
            match (self.stage, self.front()?) {
                (_, Front::Unknown) => return self.unfinished(),
                (Stage::Data, Front::Data(length)) => {
                    return Ok(Some(Event::Data(self.take(length.min(self.data_bytes_max)))));
                }
                (Stage::EmptyLine, front) => {
                    if let Front::Data(_) = front {
                        self.take(LINE_END.len());
                    }
                    self.stage = Stage::Data;
                }
                (_, Front::Data(length)) => drop(self.take(length)),
                (stage, Front::Delimiter { last }) => {
                    self.take(self.delimiter.needle().len() + 2);
                    self.stage = if last { Stage::Epilogue } else { Stage::Head };
                    if stage == Stage::Data {
                        return Ok(Some(Event::PartEnd));
                    }
                }
            }
        }
    }

    /// Nothing to tell yet.
    fn unfinished(&self) -> Result<Option<Event>, DecodeError> {
        match self.ended {
            true => Err(self.wrong(self.held.len(), "the form breaks off before its last boundary")),
            false => Ok(None),
        }
    }

    fn front(&self) -> Result<Front, DecodeError> {
        let delimiter = self.delimiter.needle();
        match self.delimiter.find(&self.held) {
            Some(0) => match self.held.get(delimiter.len()..delimiter.len() + 2) {
                None => Ok(Front::Unknown),
                Some(LINE_END) => Ok(Front::Delimiter { last: false }),
                Some(b"--") => Ok(Front::Delimiter { last: true }),
                // RFC 2046 lets white space stand here, for the sake of transports that are not HTTP.
                Some(_) => Err(self.wrong(delimiter.len(), "neither a line end nor two hyphens behind the boundary")),
            },
            Some(length) => Ok(Front::Data(length)),
            // A carriage return is the delimiter's first byte and stands nowhere else in it.
            None => Ok(match memrchr(b'\r', &self.held).filter(|at| delimiter.starts_with(&self.held[*at..])) {
                None if self.held.is_empty() => Front::Unknown,
                None => Front::Data(self.held.len()),
                Some(0) => Front::Unknown,
                Some(at) => Front::Data(at),
            }),
        }
    }

    /// The head of a part, where all of it has arrived.
    fn head(&mut self) -> Result<Option<PartHead>, DecodeError> {
        let length = match self.held.starts_with(LINE_END) {
            true => Some(0),
            false => memmem::find(&self.held, b"\r\n\r\n").map(|length| length + 2),
        };
        if length.unwrap_or(self.held.len().saturating_sub(3)) > HEAD_BYTES_MAX {
            return Err(self.wrong(0, "a part's head is longer than 8 KiB"));
        }
        let Some(length) = length else { return Ok(None) };
        if self.parts == PARTS_MAX {
            return Err(self.wrong(0, "a form has at most 1000 parts"));
        }
        self.parts += 1;
        let offset = self.told + length;
        let head = PartHead::parse(&self.held[..length]).map_err(|what| self.wrong(0, what))?;
        // The empty line stays: where nothing stands behind it, it belongs to the delimiter.
        self.take(length);
        self.stage = Stage::EmptyLine;
        Ok(Some(PartHead { offset, ..head }))
    }

    fn take(&mut self, length: usize) -> Bytes {
        self.told += length;
        self.held.split_to(length)
    }

    /// A fault so many bytes behind what was told.
    fn wrong(&self, behind: usize, what: &'static str) -> DecodeError {
        DecodeError::Form { offset: (self.told + behind).saturating_sub(LINE_END.len()), what }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All events, those of one part's bytes joined, of a body cut into pieces of these sizes.
    fn events(body: &[u8], cuts: &[usize]) -> Result<Vec<Event>, DecodeError> {
        let mut parts = Multipart::new(Boundary::new("b").unwrap(), 5);
        let (mut events, mut rest, mut cuts) = (Vec::<Event>::new(), body, cuts.iter().cycle());
        loop {
            let (piece, after) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
            rest = after;
            match piece.is_empty() {
                true => parts.end(),
                false => parts.push(Bytes::copy_from_slice(piece)),
            }
            while let Some(event) = parts.next_event()? {
                match (events.last_mut(), event) {
                    (Some(Event::Data(before)), Event::Data(data)) => {
                        assert!(!data.is_empty() && data.len() <= 5);
                        *before = [before.as_ref(), &data].concat().into();
                    }
                    (_, event) => events.push(event),
                }
            }
            if piece.is_empty() {
                return Ok(events);
            }
        }
    }

    fn named(name: &str) -> PartHead {
        PartHead { name: name.to_owned(), ..PartHead::default() }
    }

    #[test]
    fn parts_are_told_however_the_body_is_cut() {
        let body = b"preamble\r\n--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\none\r\n-\r\r\n--\r\n--b\r\n\
            content-disposition:form-data;name=f;filename=\"x.png\"\r\nContent-Type: image/png\r\nX-Else: 1\r\n\r\n\r\n\
            --b\r\nContent-Disposition: form-data; name=e\r\n\r\n--b--epilogue";
        let whole = events(body, &[body.len()]).unwrap();
        let wanted = [
            Event::Part(PartHead { offset: 59, ..named("a") }),
            Event::Data("one\r\n-\r\r\n--".into()),
            Event::PartEnd,
            Event::Part(PartHead {
                offset: 170,
                filename: Some("x.png".to_owned()),
                content_type: "image/png".to_owned(),
                ..named("f")
            }),
            Event::PartEnd,
            Event::Part(PartHead { offset: 219, ..named("e") }),
            Event::PartEnd,
        ];
        assert_eq!(whole, wanted);
        for size in 1..body.len() {
            assert_eq!(events(body, &[size]).unwrap(), wanted, "{size}");
        }
    }

    #[test]
    fn a_form_without_parts_has_none() {
        for body in ["--b--", "--b--\r\n", "\r\n--b--\r\n"] {
            assert_eq!(events(body.as_bytes(), &[1]), Ok(Vec::new()), "{body:?}");
        }
    }

    #[test]
    fn what_is_no_whole_form_is_refused() {
        let part = "Content-Disposition: form-data; name=\"a\"\r\n\r\nx";
        for (body, rest) in [
            (String::new(), ""),
            ("x".to_owned(), ""),
            ("--b".to_owned(), ""),
            ("--b\r\n".to_owned(), ""),
            (format!("--b\r\n{part}"), ""),
            (format!("--b\r\n{part}\r\n--b"), ""),
            (format!("--b\r\n{part}\r\n--b-"), ""),
            (format!("--b\r\n{part}\r\n--b\r\n"), ""),
            (format!("--b\r\n{part}\n--b--"), ""),
            (format!("--b\r\n{part}\r\n--bc\r\n"), "c\r\n"),
            (format!("--b \r\n{part}"), &*format!(" \r\n{part}")),
            (format!("--b\n{part}"), &*format!("\n{part}")),
        ] {
            let what = match rest {
                "" => "the form breaks off before its last boundary",
                _ => "neither a line end nor two hyphens behind the boundary",
            };
            let wanted = DecodeError::Form { offset: body.len() - rest.len(), what };
            for size in [1, 2, 3, 1000] {
                assert_eq!(events(body.as_bytes(), &[size]), Err(wanted.clone()), "{body:?} by {size}");
            }
        }
    }

    #[test]
    fn heads_and_their_number_are_bounded() {
        let part = "--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nx\r\n";
        let many = format!("{}--b--", part.repeat(PARTS_MAX + 1));
        let long = format!("--b\r\nX: {}\r\n\r\n", "x".repeat(HEAD_BYTES_MAX));
        for (body, offset, what) in [
            (many, PARTS_MAX * part.len() + 5, "a form has at most 1000 parts"),
            (long, 5, "a part's head is longer than 8 KiB"),
        ] {
            for size in [7, body.len()] {
                let refused = events(body.as_bytes(), &[size]);
                assert_eq!(refused, Err(DecodeError::Form { offset, what }), "by {size}");
            }
        }
    }

    proptest! {
        /// Against a writer of forms: what was put in comes out, by any cut.
        #[test]
        fn what_was_written_is_read(
            parts in prop::collection::vec("(\r|\n|-|b|\r\n--|\r\n--a|x){0,12}", 0..5),
            cuts in prop::collection::vec(1usize..20, 1..4),
        ) {
            let mut body = String::new();
            for (place, part) in parts.iter().enumerate() {
                body += &format!("--b\r\nContent-Disposition: form-data; name=p{place}\r\n\r\n{part}\r\n");
            }
            body += "--b--\r\n";
            let readable = parts.iter().all(|part| !format!("\r\n{part}\r\n--").contains("\r\n--b"));
            let read = events(body.as_bytes(), &cuts);
            prop_assert_eq!(&events(body.as_bytes(), &[body.len()]), &read);
            if readable {
                let mut texts = Vec::new();
                for event in read.unwrap() {
                    match event {
                        Event::Part(_) => texts.push(String::new()),
                        Event::Data(data) => *texts.last_mut().unwrap() = String::from_utf8(data.to_vec()).unwrap(),
                        Event::PartEnd => {}
                    }
                }
                prop_assert_eq!(texts, parts);
            }
        }
    }
}
