//! The `warning` header, which tells a client of a call that passed that not all it gave did (RFC 7234 §5.5; RFC 9111
//! §5.5 has given the header up for caches alone).

use http::HeaderValue;

use crate::codec::LeftOut;

/// Names what was left out of a request; none where nothing was.
pub fn warning(left_out: &LeftOut) -> Option<HeaderValue> {
    let (first, rest) = left_out.paths.split_first()?;
    // 299: a warning that outlives the response.
    let mut text = String::from("299 tidegate \"unknown fields: ");
    append_quoted(first, &mut text);
    let mut named = 1;
    for path in rest {
        text.push_str(", ");
        append_quoted(path, &mut text);
        named += 1;
    }
    if left_out.count > named {
        text.push_str(&format!(" ({} in all)", left_out.count));
    }
    text.push('"');
    HeaderValue::try_from(text).ok()
}

/// The inside of a quoted string (RFC 9110 §5.6.4), in ASCII whatever the text holds, and of bounded length.
fn append_quoted(text: &str, quoted: &mut String) {
    for character in text.chars().take(CHARACTERS_MAX) {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            ' '..='~' => quoted.push(character),
            _ => quoted.push('?'),
        }
    }
    if text.chars().nth(CHARACTERS_MAX).is_some() {
        quoted.push_str("...");
    }
}

/// Most characters of one name: eight of them stay below a kilobyte.
const CHARACTERS_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    fn told(count: u64, paths: &[&str]) -> Option<String> {
        let left_out = LeftOut { count, paths: paths.iter().map(ToString::to_string).collect() };
        warning(&left_out).map(|value| value.to_str().expect("ASCII").to_owned())
    }

    #[test]
    fn what_was_left_out_is_named() {
        assert_eq!(told(0, &[]), None);
        assert_eq!(told(2, &["a.b", "c"]).unwrap(), r#"299 tidegate "unknown fields: a.b, c""#);
        assert_eq!(told(9, &["a"]).unwrap(), r#"299 tidegate "unknown fields: a (9 in all)""#);
    }

    #[test]
    fn no_name_breaks_the_header() {
        let wild = "m[\"k\"].\\u{7f}é\r\nset-cookie: a";
        assert_eq!(told(1, &[wild]).unwrap(), r#"299 tidegate "unknown fields: m[\"k\"].\\u{7f}???set-cookie: a""#);
        let long = "é".repeat(1000);
        assert!(told(8, &[&*long; 8]).unwrap().len() < 1024);
    }
}
