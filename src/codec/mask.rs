//! `google.protobuf.FieldMask`: paths in lowerCamelCase outside, in snake_case inside. Knows nothing of messages.

/// Appends one path in snake_case; none where the text is no path. `snake` lets snake_case in too, as in a query.
pub(super) fn append_snake(path: &[u8], snake: bool, out: &mut Vec<u8>) -> Option<()> {
    for byte in path {
        match byte {
            b'A'..=b'Z' => out.extend_from_slice(&[b'_', byte.to_ascii_lowercase()]),
            b'_' if snake => out.push(b'_'),
            b'a'..=b'z' | b'0'..=b'9' | b'.' => out.push(*byte),
            _ => return None,
        }
    }
    has_sound_segments(path).then_some(())
}

/// Appends one path in lowerCamelCase; none where it would not read back as the same path.
pub(super) fn append_camel(path: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let mut underscore = false;
    for byte in path {
        match byte {
            b'a'..=b'z' if underscore => out.push(byte.to_ascii_uppercase()),
            b'_' if !underscore => {}
            b'a'..=b'z' | b'0'..=b'9' | b'.' if !underscore => out.push(*byte),
            _ => return None,
        }
        underscore = *byte == b'_';
    }
    (!underscore && has_sound_segments(path)).then_some(())
}

/// No segment is empty, and there is one.
fn has_sound_segments(path: &[u8]) -> bool {
    path.split(|byte| *byte == b'.').all(|segment| !segment.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_change_their_casing() {
        for (camel, snake) in [("a", "a"), ("fooBar", "foo_bar"), ("a.bC.d", "a.b_c.d"), ("foo1", "foo1")] {
            let mut out = Vec::new();
            assert_eq!(append_snake(camel.as_bytes(), false, &mut out), Some(()));
            assert_eq!(out, snake.as_bytes());
            out.clear();
            assert_eq!(append_camel(snake.as_bytes(), &mut out), Some(()));
            assert_eq!(out, camel.as_bytes());
        }
    }

    #[test]
    fn what_would_not_read_back_is_refused() {
        for path in ["foo_", "foo__bar", "fooBar", "foo_3_bar", "foo_3", "", "a..b", ".a"] {
            assert_eq!(append_camel(path.as_bytes(), &mut Vec::new()), None, "{path}");
        }
        for path in ["foo_bar", "", "a..b", "a b", ".a"] {
            assert_eq!(append_snake(path.as_bytes(), false, &mut Vec::new()), None, "{path}");
        }
        assert_eq!(append_snake(b"foo_bar", true, &mut Vec::new()), Some(()));
    }
}
