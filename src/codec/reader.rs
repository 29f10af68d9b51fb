//! A pull reader of JSON text, strictly RFC 8259. Knows nothing of messages.

use crate::limits::DEPTH_MAX;

use super::{
    error::{InputError, plain, shown},
    steps,
    string::{Text, escape_length, plain_length},
};

/// Reads from the front of a text that is known to be UTF-8.
#[derive(Clone)]
pub(super) struct Reader<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// # Errors
    /// What is not UTF-8 (RFC 8259 §8.1).
    pub(super) fn new(text: &'a [u8]) -> Result<Self, InputError> {
        match simdutf8::basic::from_utf8(text) {
            Ok(_) => Ok(Self { text, at: 0 }),
            Err(_) => {
                let at = simdutf8::compat::from_utf8(text).err().map_or(0, |error| error.valid_up_to());
                Err(InputError::body(at, "expected UTF-8"))
            }
        }
    }

    /// The offset of what comes next.
    #[inline]
    pub(super) fn offset(&self) -> usize {
        self.at
    }

    /// Goes to an offset at which a value stands.
    pub(super) fn go_to(&mut self, offset: usize) {
        self.at = offset;
    }

    /// The first byte of what comes next, past white space; 0 at the end.
    #[inline]
    pub(super) fn peek(&mut self) -> u8 {
        loop {
            match self.text.get(self.at) {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.pass(),
                Some(byte) => return *byte,
                None => return 0,
            }
        }
    }

    /// Passes the byte that `peek` showed.
    #[inline]
    pub(super) fn pass(&mut self) {
        self.advance(1);
    }

    #[inline]
    fn advance(&mut self, bytes: usize) {
        steps::count(bytes);
        self.at += bytes;
    }

    /// What stands next is not what should.
    #[cold]
    pub(super) fn unexpected(&mut self, expected: &str) -> InputError {
        let next = self.peek();
        let got = match next {
            0 if self.at >= self.text.len() => "the end".to_owned(),
            b'{' => "an object".to_owned(),
            b'[' => "an array".to_owned(),
            b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n' => {
                let mut probe = self.clone();
                match probe.skip(1) {
                    Ok(()) => {
                        let text = self.text.get(self.at..probe.at).unwrap_or_default();
                        match text.strip_prefix(b"\"").and_then(|text| text.strip_suffix(b"\"")) {
                            Some(inside) => shown(inside),
                            None => plain(text),
                        }
                    }
                    Err(error) => return error,
                }
            }
            _ => shown(self.text.get(self.at..).and_then(first_character).unwrap_or_default()),
        };
        InputError::body(self.at, format!("expected {expected}, got {got}"))
    }

    /// Nothing may follow but white space.
    pub(super) fn end(&mut self) -> Result<(), InputError> {
        self.peek();
        if self.at < self.text.len() { Err(self.unexpected("the end")) } else { Ok(()) }
    }

    #[inline]
    pub(super) fn expect(&mut self, byte: u8, what: &str) -> Result<(), InputError> {
        if self.peek() == byte {
            self.pass();
            Ok(())
        } else {
            Err(self.unexpected(what))
        }
    }

    /// Begins an object; false where it is empty, and then it is passed.
    #[inline]
    pub(super) fn open_object(&mut self, what: &str) -> Result<bool, InputError> {
        self.expect(b'{', what)?;
        if self.peek() == b'}' {
            self.pass();
            return Ok(false);
        }
        Ok(true)
    }

    /// Whether the object that stands next has no members.
    pub(super) fn is_empty_object(&self) -> bool {
        self.clone().open_object("an object") == Ok(false)
    }

    /// The key of a member, and its colon.
    #[inline]
    pub(super) fn key(&mut self) -> Result<Text<'a>, InputError> {
        if self.peek() != b'"' {
            return Err(self.unexpected("a key in double quotes"));
        }
        let key = self.string()?;
        self.expect(b':', "':'")?;
        Ok(key)
    }

    /// After a member or an element: whether another follows.
    #[inline]
    pub(super) fn another(&mut self, close: u8) -> Result<bool, InputError> {
        match self.peek() {
            b',' => {
                self.pass();
                Ok(true)
            }
            byte if byte == close => {
                self.pass();
                Ok(false)
            }
            _ => Err(self.unexpected(if close == b'}' { "',' or '}'" } else { "',' or ']'" })),
        }
    }

    /// Begins an array; false where it is empty, and then it is passed.
    #[inline]
    pub(super) fn open_array(&mut self, what: &str) -> Result<bool, InputError> {
        self.expect(b'[', what)?;
        if self.peek() == b']' {
            self.pass();
            return Ok(false);
        }
        Ok(true)
    }

    /// A literal name, where it stands next.
    #[inline]
    pub(super) fn literal(&mut self, name: &[u8]) -> bool {
        self.peek();
        self.pass_text(name)
    }

    /// Passes exactly these bytes, where they stand next.
    #[inline]
    pub(super) fn pass_text(&mut self, text: &[u8]) -> bool {
        let found = self.text.get(self.at..).is_some_and(|rest| rest.starts_with(text));
        if found {
            self.advance(text.len());
        }
        found
    }

    /// A string, which `peek` has shown to stand next.
    #[inline]
    pub(super) fn string(&mut self) -> Result<Text<'a>, InputError> {
        let from = self.at + 1;
        let mut at = from;
        let mut escaped = false;
        loop {
            at += self.text.get(at..).map_or(0, plain_length);
            match self.text.get(at) {
                Some(b'"') => {
                    self.advance(at + 1 - self.at);
                    return Ok(Text { raw: self.text.get(from..at).unwrap_or_default(), escaped });
                }
                Some(b'\\') => {
                    escaped = true;
                    at += escape_length(self.text.get(at..).unwrap_or_default())
                        .map_err(|text| InputError::body(at, text))?;
                }
                Some(_) => return Err(InputError::body(at, "a control character in a string must be escaped")),
                None => return Err(InputError::body(at, "expected '\"', got the end")),
            }
        }
    }

    /// A number as it was written, of which `peek` has shown the first byte.
    #[inline]
    pub(super) fn number(&mut self) -> Result<&'a [u8], InputError> {
        let rest = self.text.get(self.at..).unwrap_or_default();
        match number_length(rest) {
            Some(length) => {
                self.advance(length);
                Ok(rest.get(..length).unwrap_or_default())
            }
            None => Err(InputError::body(self.at, "a number that JSON does not know (RFC 8259, section 6)")),
        }
    }

    /// Passes any one value; `depth` is that of a container which would stand here.
    pub(super) fn skip(&mut self, depth: usize) -> Result<(), InputError> {
        self.skip_with(depth, &mut |_, _, _| ())
    }

    /// The same, telling of each member that is passed: the offset of its object, its key, the offset of its value.
    pub(super) fn skip_with(
        &mut self,
        depth: usize,
        member: &mut impl FnMut(usize, Text<'a>, usize),
    ) -> Result<(), InputError> {
        match self.peek() {
            b'{' => {
                self.check_depth(depth)?;
                let object = self.at;
                if self.open_object("an object")? {
                    loop {
                        let key = self.key()?;
                        member(object, key, self.at);
                        self.skip_with(depth + 1, member)?;
                        if !self.another(b'}')? {
                            break;
                        }
                    }
                }
            }
            b'[' => {
                self.check_depth(depth)?;
                if self.open_array("an array")? {
                    loop {
                        self.skip_with(depth + 1, member)?;
                        if !self.another(b']')? {
                            break;
                        }
                    }
                }
            }
            b'"' => {
                self.string()?;
            }
            b'-' | b'0'..=b'9' => {
                self.number()?;
            }
            b't' if self.literal(b"true") => {}
            b'f' if self.literal(b"false") => {}
            b'n' if self.literal(b"null") => {}
            _ => {
                let (at, byte) = (self.at, self.text.get(self.at..).and_then(first_character));
                let got = byte.map_or_else(|| "the end".to_owned(), shown);
                return Err(InputError::body(at, format!("expected a JSON value, got {got}")));
            }
        }
        Ok(())
    }

    fn check_depth(&self, depth: usize) -> Result<(), InputError> {
        if depth > SKIP_DEPTH_MAX { Err(InputError::body(self.at, "nested too deep")) } else { Ok(()) }
    }
}

/// Deepest nesting of objects and arrays in what is passed unread: of each level of messages, a list or map round it.
const SKIP_DEPTH_MAX: usize = 2 * DEPTH_MAX;

fn first_character(rest: &[u8]) -> Option<&[u8]> {
    let length = match rest.first()? {
        0..0x80 => 1,
        0x80..0xe0 => 2,
        0xe0..0xf0 => 3,
        _ => 4,
    };
    rest.get(..length)
}

/// The length of the number at the front (RFC 8259 §6).
#[inline]
pub(super) fn number_length(text: &[u8]) -> Option<usize> {
    let digits =
        |from: usize| text.get(from..).map_or(0, |rest| rest.iter().take_while(|b| b.is_ascii_digit()).count());
    let mut at = usize::from(text.first() == Some(&b'-'));
    let whole = digits(at);
    if whole == 0 || (whole > 1 && text.get(at) == Some(&b'0')) {
        return None;
    }
    at += whole;
    if text.get(at) == Some(&b'.') {
        let fraction = digits(at + 1);
        if fraction == 0 {
            return None;
        }
        at += 1 + fraction;
    }
    if matches!(text.get(at), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(text.get(at + 1), Some(b'+' | b'-')));
        let exponent = digits(at + 1 + sign);
        if exponent == 0 {
            return None;
        }
        at += 1 + sign + exponent;
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn accepts(text: &[u8]) -> bool {
        Reader::new(text).and_then(|mut reader| reader.skip(1).and_then(|()| reader.end())).is_ok()
    }

    #[test]
    fn json_is_taken_and_nothing_else() {
        for text in
            ["0", "-0", "1e5", "1E+5", "1.5e-7", "\"\"", " [1, {\"a\" : null}]\r\n", "\"\\ud83c\\udf0a\"", "true"]
        {
            assert!(accepts(text.as_bytes()), "{text}");
        }
        for text in [
            "",
            " ",
            "01",
            "-",
            "+1",
            ".5",
            "1.",
            "1e",
            "0x1",
            "NaN",
            "Infinity",
            "'a'",
            "{a:1}",
            "[1,]",
            "{\"a\":1,}",
            "[,1]",
            "{\"a\"}",
            "{\"a\":}",
            "[1 2]",
            "[1",
            "{",
            "\"",
            "\"\n\"",
            "\"\\x\"",
            "\"\\u12\"",
            "\"\\ud800\"",
            "\"\\udc00\"",
            "\"\\ud800\\u0041\"",
            "tru",
            "nulll",
            "1 2",
            "/**/1",
            "1//",
            "\u{feff}1",
            "{\"a\":1]",
            "\u{a0}1",
        ] {
            assert!(!accepts(text.as_bytes()), "{text}");
        }
        assert!(!accepts(b"\"\xff\""));
    }

    #[test]
    fn depth_is_limited() {
        let nested = |depth: usize| [b"[".repeat(depth), b"]".repeat(depth)].concat();
        assert!(accepts(&nested(200)));
        assert!(!accepts(&nested(201)));
        assert!(!accepts(&nested(1_000_000)));
    }

    proptest! {
        #[test]
        fn the_same_texts_as_serde_json(text in "[\\[\\]{}:,\"0-9eE.+ntrufalse\\\\ -]{0,12}") {
            prop_assert_eq!(accepts(text.as_bytes()), serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok());
        }

        #[test]
        fn strings_mean_what_they_meant(text in any::<String>(), ascii in any::<bool>()) {
            let mut json = serde_json::to_string(&text).unwrap();
            if ascii {
                json = json.encode_utf16().map(|unit| match u8::try_from(unit) {
                    Ok(byte) if byte < 0x80 => char::from(byte).to_string(),
                    _ => format!("\\u{unit:04X}"),
                }).collect();
            }
            let mut reader = Reader::new(json.as_bytes()).unwrap();
            reader.peek();
            prop_assert_eq!(&*reader.string().unwrap().decoded(), text.as_bytes());
        }
    }
}
