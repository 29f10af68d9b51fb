//! Compact JSON → the same with a line per member and two spaces per level. Knows nothing of messages.

/// Appends `compact`, which is sound JSON without white space, spread over lines.
pub fn write(compact: &[u8], out: &mut Vec<u8>) {
    let _ = write_within(compact, usize::MAX, out);
}

/// The same until `out` is longer than `bytes_max`, and then none: what is deep has more white space than text.
pub(super) fn write_within(compact: &[u8], bytes_max: usize, out: &mut Vec<u8>) -> Option<()> {
    let mut depth = 0;
    let mut rest = compact.iter().copied().peekable();
    while let Some(byte) = rest.next() {
        if out.len() > bytes_max {
            return None;
        }
        out.push(byte);
        match byte {
            b'"' => {
                while let Some(byte) = rest.next() {
                    out.push(byte);
                    match byte {
                        b'\\' => out.extend(rest.next()),
                        b'"' => break,
                        _ => {}
                    }
                }
            }
            b'{' | b'[' => match rest.peek() {
                Some(b'}' | b']') => out.extend(rest.next()),
                _ => {
                    depth += 1;
                    line(depth, out);
                }
            },
            b',' => line(depth, out),
            b':' => out.push(b' '),
            _ => {}
        }
        if matches!(rest.peek(), Some(b'}' | b']')) {
            depth = depth.saturating_sub(1);
            line(depth, out);
        }
    }
    Some(())
}

fn line(depth: usize, out: &mut Vec<u8>) {
    out.push(b'\n');
    out.extend(std::iter::repeat_n(b' ', depth * 2));
}

#[cfg(test)]
mod tests {
    #[test]
    fn members_stand_on_lines_of_their_own() {
        for compact in ["{}", "[]", "1", r#"{"a":[1,{"b":"x,{\"]"}],"c":{},"d":[]}"#, "[[[]]]"] {
            let mut out = Vec::new();
            super::write(compact.as_bytes(), &mut out);
            let value: serde_json::Value = serde_json::from_str(compact).unwrap();
            assert_eq!(String::from_utf8(out).unwrap(), serde_json::to_string_pretty(&value).unwrap());
        }
    }
}
