//! Query parameters that are the gateway's own, taken out before the rest is bound to the request.

use crate::codec::decode_parameter;

/// Takes one parameter out of a query string: its value, percent-decoded, and what is left of the query.
///
/// The value is none where the parameter is absent, and `Some(Err)` where it is there twice or not UTF-8. Its name may be
/// percent-encoded too: to whoever stands in front it is the same parameter.
pub fn take_parameter(query: &str, name: &str) -> (Option<Result<String, &'static str>>, String) {
    let (mut value, mut rest) = (None, String::with_capacity(query.len()));
    for pair in query.split('&') {
        match pair.split_once('=').unwrap_or((pair, "")) {
            (key, text) if decode_parameter(key).is_some_and(|key| key == name) => {
                value = Some(match value {
                    Some(_) => Err("given twice"),
                    None => decode_parameter(text).map(Into::into).ok_or("not percent-encoded UTF-8"),
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
            ("message=%ff", Some(Err("not percent-encoded UTF-8")), ""),
            ("message=%7", Some(Err("not percent-encoded UTF-8")), ""),
            ("a&mess%61ge=1", Some(Ok("1")), "a"),
            ("message=1&%6dessage=2", Some(Err("given twice")), ""),
            ("%zz=1", None, "%zz=1"),
            ("messages=1", None, "messages=1"),
        ] {
            let (taken, left) = take_parameter(query, "message");
            assert_eq!(taken.as_ref().map(|taken| taken.as_deref().map_err(|what| *what)), value, "{query}");
            assert_eq!(left, rest, "{query}");
        }
    }
}
