//! Query parameters that are the gateway's own, taken out before the rest is bound to the request.

use percent_encoding::percent_decode_str;

/// Takes one parameter out of a query string: its value, percent-decoded, and what is left of the query.
///
/// The value is none where the parameter is absent, and `Some(Err)` where it is there twice or not UTF-8.
pub fn take_parameter(query: &str, name: &str) -> (Option<Result<String, &'static str>>, String) {
    let (mut value, mut rest) = (None, String::with_capacity(query.len()));
    for pair in query.split('&') {
        match pair.split_once('=').unwrap_or((pair, "")) {
            (key, text) if key == name => {
                value = Some(match value {
                    Some(_) => Err("given twice"),
                    None => decode(text),
                });
            }
            _ if pair.is_empty() => {}
            _ => {
                if !rest.is_empty() {
                    rest.push('&');
                }
                rest.push_str(pair);
            }
        }
    }
    (value, rest)
}

fn decode(text: &str) -> Result<String, &'static str> {
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8().map(Into::into).map_err(|_| "not UTF-8 after percent-decoding")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_taken_out() {
        for (query, value, rest) in [
            ("", None, ""),
            ("a=1&b=2", None, "a=1&b=2"),
            ("a=1&message=%7B%22x%22%3A+1%7D&b=2", Some(Ok("{\"x\": 1}")), "a=1&b=2"),
            ("message", Some(Ok("")), ""),
            ("message=1&message=2", Some(Err("given twice")), ""),
            ("message=%ff", Some(Err("not UTF-8 after percent-decoding")), ""),
            ("messages=1", None, "messages=1"),
        ] {
            let (taken, left) = take_parameter(query, "message");
            assert_eq!(taken.as_ref().map(|taken| taken.as_deref().map_err(|what| *what)), value, "{query}");
            assert_eq!(left, rest, "{query}");
        }
    }
}
