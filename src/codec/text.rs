//! JSON text out: strings, base64, numbers. Knows nothing of messages.

/// Appends a string in quotes.
pub(super) fn write_string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    write_escaped(text.as_bytes(), out);
    out.push(b'"');
}

/// Appends the inside of a string; `text` is UTF-8.
pub(super) fn write_escaped(text: &[u8], out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(at) = find_special(rest) {
        let (clean, tail) = rest.split_at(at);
        out.extend_from_slice(clean);
        let Some((byte, tail)) = tail.split_first() else { return };
        write_escape(*byte, out);
        rest = tail;
    }
    out.extend_from_slice(rest);
}

/// True where every byte stands for itself in a JSON string, and all are ASCII.
#[inline]
pub(super) fn is_plain(text: &[u8]) -> bool {
    let (chunks, rest) = text.as_chunks::<16>();
    let odd = |byte: u8| (byte < 0x20) | (byte == b'"') | (byte == b'\\') | (byte >= 0x80);
    // Written without early exits, so that it becomes vector instructions.
    chunks.iter().all(|chunk| !chunk.iter().fold(false, |any, byte| any | odd(*byte)))
        && !rest.iter().fold(false, |any, byte| any | odd(*byte))
}

/// Where the first byte stands that must be escaped (RFC 8259 §7).
fn find_special(text: &[u8]) -> Option<usize> {
    let special = |byte: u8| (byte < 0x20) | (byte == b'"') | (byte == b'\\');
    let (chunks, rest) = text.as_chunks::<16>();
    for (index, chunk) in chunks.iter().enumerate() {
        if chunk.iter().fold(false, |any, byte| any | special(*byte)) {
            return chunk.iter().position(|byte| special(*byte)).map(|at| index * 16 + at);
        }
    }
    rest.iter().position(|byte| special(*byte)).map(|at| chunks.len() * 16 + at)
}

fn write_escape(byte: u8, out: &mut Vec<u8>) {
    let short = match byte {
        b'"' => b'"',
        b'\\' => b'\\',
        0x08 => b'b',
        0x09 => b't',
        0x0a => b'n',
        0x0c => b'f',
        0x0d => b'r',
        _ => {
            const HEX: &[u8; 16] = b"0123456789abcdef";
            let digit = |nibble: u8| HEX[usize::from(nibble & 15)];
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', digit(byte >> 4), digit(byte)]);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

pub(super) fn write_integer(value: impl itoa::Integer, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Appends a 64-bit integer in quotes, or bare where a double holds it exactly and that is wanted.
pub(super) fn write_wide(value: impl itoa::Integer, bare: bool, out: &mut Vec<u8>) {
    if !bare {
        out.push(b'"');
    }
    write_integer(value, out);
    if !bare {
        out.push(b'"');
    }
}

/// Appends the shortest text that reads back as the same number; what is no number as a string.
pub(super) fn write_float<F: zmij::Float + Copy + Into<f64>>(value: F, out: &mut Vec<u8>) {
    let wide: f64 = value.into();
    if wide.is_finite() {
        let mut buffer = zmij::Buffer::new();
        let text = buffer.format_finite(value).as_bytes();
        // "1.0" is written "1", but "-0.0" stays: not every reader keeps the sign of an integer zero.
        let short = if text == b"-0.0" { text } else { text.strip_suffix(b".0").unwrap_or(text) };
        out.extend_from_slice(short);
    } else if wide.is_nan() {
        out.extend_from_slice(b"\"NaN\"");
    } else if wide > 0.0 {
        out.extend_from_slice(b"\"Infinity\"");
    } else {
        out.extend_from_slice(b"\"-Infinity\"");
    }
}

/// Appends bytes as standard base64 with padding, in quotes.
pub(super) fn write_base64(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    base64_simd::STANDARD.encode_append(bytes, out);
    out.push(b'"');
}

/// Appends what base64 of either alphabet stands for, padded or not (RFC 4648 §4, §5); none where it is not base64.
pub(super) fn decode_base64(text: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let padding = text.iter().rev().take_while(|byte| **byte == b'=').count();
    if padding > 2 || (padding > 0 && !text.len().is_multiple_of(4)) {
        return None;
    }
    let digits = text.get(..text.len() - padding)?;
    let url = digits.iter().any(|byte| matches!(byte, b'-' | b'_'));
    let (whole, tail) = digits.split_at(digits.len() - digits.len() % 4);
    let alphabet = if url { base64_simd::URL_SAFE_NO_PAD } else { base64_simd::STANDARD_NO_PAD };
    alphabet.decode_append(whole, out).ok()?;
    // The bits that are left over in the last digit may be anything, as protobuf's own parsers have it.
    let bits = tail.iter().try_fold(0u32, |bits, byte| Some(bits << 6 | sextet(*byte, url)?))?;
    match tail.len() {
        0 => {}
        2 => out.push((bits >> 4) as u8),
        3 => out.extend_from_slice(&[(bits >> 10) as u8, (bits >> 2) as u8]),
        _ => return None,
    }
    Some(())
}

fn sextet(byte: u8, url: bool) -> Option<u32> {
    let value = match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' if !url => 62,
        b'/' if !url => 63,
        b'-' if url => 62,
        b'_' if url => 63,
        _ => return None,
    };
    Some(value.into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn strings_read_back_as_they_were(text in any::<String>()) {
            let mut out = Vec::new();
            write_string(&text, &mut out);
            prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text);
        }

        #[test]
        fn doubles_keep_every_bit(bits in any::<u64>()) {
            let value = f64::from_bits(bits);
            prop_assume!(value.is_finite());
            let mut out = Vec::new();
            write_float(value, &mut out);
            let back: f64 = std::str::from_utf8(&out).unwrap().parse().unwrap();
            prop_assert_eq!(back.to_bits(), bits);
            prop_assert!(serde_json::from_slice::<f64>(&out).is_ok());
        }

        #[test]
        fn plain_means_nothing_to_escape(text in "[ -~\\x00-\\x1fä]{0,40}") {
            let mut out = Vec::new();
            write_escaped(text.as_bytes(), &mut out);
            prop_assert_eq!(is_plain(text.as_bytes()), out == text.as_bytes() && text.is_ascii());
        }
    }

    #[test]
    fn base64_of_either_alphabet_with_or_without_padding() {
        for (text, bytes) in [
            ("", &b""[..]),
            ("aGk=", b"hi"),
            ("aGk", b"hi"),
            ("-_-_", b"\xfb\xff\xbf"),
            ("+/+/", b"\xfb\xff\xbf"),
            ("-_", b"\xfb"),
            ("AQ==", b"\x01"),
            ("AAECAwQFBgcICQoLDA0ODxA", b"\0\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10"),
        ] {
            let mut out = Vec::new();
            assert_eq!(decode_base64(text.as_bytes(), &mut out), Some(()), "{text}");
            assert_eq!(out, bytes, "{text}");
        }
        for text in ["A", "AAAAA", "****", "A===", "AQ=", "=", "====", "+_aa", "-/", "aGk=aGk=", "a Gk", "aGk\n"] {
            assert_eq!(decode_base64(text.as_bytes(), &mut Vec::new()), None, "{text}");
        }
    }
}
