//! JSON over plain HTTP: a reply stream is an array, and so may a request stream be (PROTOCOLS §4).

use bytes::{Buf, BytesMut};

use super::{decode::DecodeError, ndjson::RECORD_SEPARATOR};

/// Writes `[m1,m2,…]`, each element as it comes.
#[derive(Debug, Default)]
pub(super) struct ArrayWriter {
    begun: bool,
}

impl ArrayWriter {
    /// What stands before the next element.
    pub(super) fn before_element(&mut self, out: &mut Vec<u8>) {
        out.push(if self.begun { b',' } else { b'[' });
        self.begun = true;
    }

    /// Ends a whole array.
    pub(super) fn end(&mut self, out: &mut Vec<u8>) {
        if !self.begun {
            out.push(b'[');
        }
        out.push(b']');
    }
}

/// Cuts a request body into JSON values: the elements of one top-level array, values one after another, or the records of
/// a JSON text sequence.
///
/// It only finds where a value ends (strings and brackets); whether it is JSON is for the codec to say.
#[derive(Debug)]
pub(super) struct ValueSplitter {
    held: BytesMut,
    /// Bytes of `held` already looked at.
    scanned: usize,
    shape: Shape,
    expect: Expect,
    depth: usize,
    in_string: bool,
    escaped: bool,
    /// Invariant: true exactly while `held` begins within a value.
    in_value: bool,
    /// Bytes of the body before `held`.
    offset: usize,
    value_bytes_max: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Unknown,
    Array,
    Sequence,
    Records,
}

/// What may come next inside the array, or between records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expect {
    ElementOrEnd,
    Element,
    CommaOrEnd,
    Separator,
    Nothing,
}

impl ValueSplitter {
    pub(super) fn new(value_bytes_max: usize) -> Self {
        Self {
            held: BytesMut::new(),
            scanned: 0,
            shape: Shape::Unknown,
            expect: Expect::ElementOrEnd,
            depth: 0,
            in_string: false,
            escaped: false,
            in_value: false,
            offset: 0,
            value_bytes_max,
        }
    }

    /// A JSON text sequence: a record separator stands before each value (RFC 7464).
    pub(super) fn records(value_bytes_max: usize) -> Self {
        Self { shape: Shape::Records, expect: Expect::Separator, ..Self::new(value_bytes_max) }
    }

    pub(super) fn push(&mut self, piece: &[u8]) {
        self.held.extend_from_slice(piece);
    }

    /// The next whole value and its offset in the body.
    pub(super) fn next_value(&mut self) -> Result<Option<(usize, BytesMut)>, DecodeError> {
        if !self.in_value && !self.begin_value()? {
            return Ok(None);
        }
        let end = self.find_end();
        // What is too large is that before anything else, however the body is cut.
        if end.as_ref().ok().copied().flatten().unwrap_or(self.scanned) > self.value_bytes_max {
            return Err(DecodeError::TooLarge { max: self.value_bytes_max });
        }
        Ok(end?.map(|end| self.take(end)))
    }

    /// The body has ended: the last value of a sequence may be a bare number.
    pub(super) fn finish(&mut self) -> Result<Option<(usize, BytesMut)>, DecodeError> {
        if self.in_value {
            let bare = self.depth == 0 && !self.in_string && self.shape == Shape::Sequence;
            return if bare {
                Ok(Some(self.take(self.held.len())))
            } else {
                Err(self.unexpected("the body ends within a value"))
            };
        }
        match self.shape {
            Shape::Array if self.expect != Expect::Nothing => {
                Err(self.unexpected("the body ends before the array does"))
            }
            _ => Ok(None),
        }
    }

    /// Skips to the first byte of a value; false where it has not arrived.
    fn begin_value(&mut self) -> Result<bool, DecodeError> {
        loop {
            let blank = self.held.iter().take_while(|byte| is_space(**byte)).count();
            self.skip(blank);
            let Some(&byte) = self.held.first() else { return Ok(false) };
            match (self.shape, byte, self.expect) {
                (Shape::Unknown, b'[', _) => {
                    self.shape = Shape::Array;
                    self.skip(1);
                }
                (Shape::Unknown, ..) => self.shape = Shape::Sequence,
                (Shape::Sequence, ..) => break,
                (Shape::Records, RECORD_SEPARATOR, _) => {
                    self.expect = Expect::Element;
                    self.skip(1);
                }
                (Shape::Records, _, Expect::Element) => {
                    self.expect = Expect::Separator;
                    break;
                }
                (Shape::Records, ..) => return Err(self.unexpected("expected a record separator (0x1E)")),
                (Shape::Array, b']', Expect::ElementOrEnd | Expect::CommaOrEnd) => {
                    self.expect = Expect::Nothing;
                    self.skip(1);
                }
                (Shape::Array, b',', Expect::CommaOrEnd) => {
                    self.expect = Expect::Element;
                    self.skip(1);
                }
                (Shape::Array, b',' | b']', _) => return Err(self.unexpected("expected an element of the array")),
                (Shape::Array, _, Expect::CommaOrEnd) => return Err(self.unexpected("expected \",\" or \"]\"")),
                (Shape::Array, _, Expect::Nothing | Expect::Separator) => {
                    return Err(self.unexpected("unexpected text after the array"));
                }
                (Shape::Array, _, Expect::ElementOrEnd | Expect::Element) => {
                    self.expect = Expect::CommaOrEnd;
                    break;
                }
            }
        }
        (self.in_value, self.scanned, self.depth) = (true, 0, 0);
        Ok(true)
    }

    /// Where the value that `held` begins with ends.
    fn find_end(&mut self) -> Result<Option<usize>, DecodeError> {
        while let Some(&byte) = self.held.get(self.scanned) {
            if byte == RECORD_SEPARATOR && self.shape == Shape::Records {
                // Whoever wrote it was cut off; even a number may go on (RFC 7464 §2.4).
                return Err(self.unexpected("the value is cut short"));
            }
            if self.in_string {
                match byte {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => self.escaped = true,
                    b'"' => self.in_string = false,
                    _ => {}
                }
                self.scanned += 1;
                if !self.in_string && self.depth == 0 {
                    return Ok(Some(self.scanned));
                }
                continue;
            }
            match byte {
                b'"' => self.in_string = true,
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' if self.depth > 0 => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        return Ok(Some(self.scanned + 1));
                    }
                }
                // A number or a word ends before what cannot belong to it.
                b',' | b']' | b'}' if self.depth == 0 && self.scanned > 0 => return Ok(Some(self.scanned)),
                _ if self.depth == 0 && is_space(byte) => return Ok(Some(self.scanned)),
                _ => {}
            }
            self.scanned += 1;
        }
        Ok(None)
    }

    fn take(&mut self, end: usize) -> (usize, BytesMut) {
        let at = self.offset;
        self.offset += end;
        (self.scanned, self.in_value) = (0, false);
        (at, self.held.split_to(end))
    }

    fn skip(&mut self, bytes: usize) {
        self.held.advance(bytes);
        self.offset += bytes;
    }

    fn unexpected(&self, what: &'static str) -> DecodeError {
        DecodeError::Framing { offset: self.offset, what }
    }
}

fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn split(body: &[u8], cut: usize) -> Result<Vec<String>, DecodeError> {
        split_by(ValueSplitter::new(64), body, cut)
    }

    fn split_by(mut splitter: ValueSplitter, body: &[u8], cut: usize) -> Result<Vec<String>, DecodeError> {
        let mut values = Vec::new();
        let mut keep = |value: Option<(usize, BytesMut)>| match value {
            Some((_, value)) => {
                values.push(String::from_utf8(value.to_vec()).unwrap());
                true
            }
            None => false,
        };
        for piece in body.chunks(cut) {
            splitter.push(piece);
            while keep(splitter.next_value()?) {}
        }
        keep(splitter.finish()?);
        Ok(values)
    }

    #[test]
    fn bodies_are_cut_where_values_end() {
        let cases: &[(&str, Result<&[&str], &str>)] = &[
            ("", Ok(&[])),
            (" \n", Ok(&[])),
            ("[]", Ok(&[])),
            ("[ {\"a\":1} , {\"b\":[2,\"]\"]} ]\n", Ok(&["{\"a\":1}", "{\"b\":[2,\"]\"]}"])),
            ("[1,2 ,3]", Ok(&["1", "2", "3"])),
            ("[\"a,b\",\"\\\"]\"]", Ok(&["\"a,b\"", "\"\\\"]\""])),
            ("{}\n{\"x\":\"}\"}\n", Ok(&["{}", "{\"x\":\"}\"}"])),
            ("{}{}", Ok(&["{}", "{}"])),
            ("1 2", Ok(&["1", "2"])),
            ("[[1],[2]]", Ok(&["[1]", "[2]"])),
            ("[,]", Err("expected an element of the array")),
            ("[1,]", Err("expected an element of the array")),
            ("[1 2]", Err("expected \",\" or \"]\"")),
            ("[1] 2", Err("unexpected text after the array")),
            ("[1", Err("the body ends within a value")),
            ("[{},", Err("the body ends before the array does")),
            ("{\"a\":", Err("the body ends within a value")),
            ("\"abc", Err("the body ends within a value")),
        ];
        check(cases, ValueSplitter::new);
    }

    fn check(cases: &[(&str, Result<&[&str], &str>)], splitter: fn(usize) -> ValueSplitter) {
        for (body, expected) in cases {
            for cut in 1..=body.len().max(1) {
                match (split_by(splitter(64), body.as_bytes(), cut), expected) {
                    (Ok(values), Ok(expected)) => assert_eq!(values, *expected, "{body} cut at {cut}"),
                    (Err(DecodeError::Framing { what, .. }), Err(expected)) => {
                        assert_eq!(what, *expected, "{body} cut at {cut}");
                    }
                    (got, _) => panic!("{body} cut at {cut}: {got:?}"),
                }
            }
        }
    }

    #[test]
    fn records_are_cut_where_values_end() {
        let cases: &[(&str, Result<&[&str], &str>)] = &[
            ("", Ok(&[])),
            ("\n", Ok(&[])),
            ("\x1e", Ok(&[])),
            ("\x1e{}\n\x1e{\n\"a\": [1]\n}\n", Ok(&["{}", "{\n\"a\": [1]\n}"])),
            ("\x1e{}\x1e\x1e \x1e[1,2]", Ok(&["{}", "[1,2]"])),
            ("\x1e1\n\x1e\"\\u001e\"", Ok(&["1", "\"\\u001e\""])),
            ("{}", Err("expected a record separator (0x1E)")),
            ("\x1e{}\n{}", Err("expected a record separator (0x1E)")),
            ("\x1e{\"a\":\x1e{}\n", Err("the value is cut short")),
            ("\x1e\"a\x1e{}\n", Err("the value is cut short")),
            ("\x1e12\x1e3\n", Err("the value is cut short")),
            ("\x1e12", Err("the body ends within a value")),
            ("\x1e{\"a\"", Err("the body ends within a value")),
        ];
        check(cases, ValueSplitter::records);
    }

    #[test]
    fn a_value_over_the_limit_is_refused_before_its_end() {
        let body = format!("[\"{}", "x".repeat(100));
        assert_eq!(split(body.as_bytes(), 10), Err(DecodeError::TooLarge { max: 64 }));
    }

    #[test]
    fn a_value_over_the_limit_is_that_first_however_it_is_cut() {
        let body = format!("\x1e{}\x1e", "1".repeat(65));
        for cut in [1, 10, body.len()] {
            let split = split_by(ValueSplitter::records(64), body.as_bytes(), cut);
            assert_eq!(split, Err(DecodeError::TooLarge { max: 64 }), "{cut}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_cut_give_the_same(body in prop::collection::vec(prop::sample::select(b"[]{},\"\\ \n1a".to_vec()), 0..40), cut in 1usize..10) {
            prop_assert_eq!(format!("{:?}", split(&body, cut)), format!("{:?}", split(&body, 1)));
        }

        #[test]
        fn any_bytes_as_records_in_any_cut_give_the_same(body in prop::collection::vec(prop::sample::select(b"\x1e\x1e[]{},\"\\ \n1a".to_vec()), 0..40), cut in 1usize..10) {
            let of = |cut| format!("{:?}", split_by(ValueSplitter::records(64), &body, cut));
            prop_assert_eq!(of(cut), of(1));
        }
    }
}
