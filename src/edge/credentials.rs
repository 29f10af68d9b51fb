//! The header of a bearer token, and what the token says of itself. Whether it is true is for the upstream to find out: nothing here is verified.

use std::time::{Duration, SystemTime};

use http::HeaderValue;
use serde::Deserialize;

/// When the token expires: the claim `exp` of a JSON Web Token (RFC 7519 §4.1.4). None where it has none, or is no such token.
pub fn expiry(authorization: &HeaderValue) -> Option<SystemTime> {
    let (scheme, token) = authorization.to_str().ok()?.split_once(' ')?;
    let mut parts = token.trim_start_matches(' ').split('.');
    let (Some(_), Some(claims), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return None;
    };
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let claims = base64_simd::URL_SAFE_NO_PAD.decode_to_vec(claims).ok()?;
    let Claims { exp } = serde_json::from_slice(&claims).ok()?;
    // Seconds, and parts of them (RFC 7519 §2). Before the epoch is long ago.
    SystemTime::UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(exp.max(0.0)).ok()?)
}

/// The header `authorization` of a bearer token; none where it is no token (RFC 6750 §2.1). Nothing prints it.
pub fn bearer(token: &str) -> Option<HeaderValue> {
    let is_token = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).ok().filter(|_| is_token)?;
    value.set_sensitive(true);
    Some(value)
}

#[derive(Deserialize)]
struct Claims {
    exp: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_expiry_of_a_json_web_token_is_read_and_nothing_else_has_one() {
        let token = |claims: &str| format!("e30.{}.c2ln", base64_simd::URL_SAFE_NO_PAD.encode_to_string(claims));
        let at = |seconds| Some(SystemTime::UNIX_EPOCH + Duration::from_secs_f64(seconds));
        for (text, expected) in [
            (format!("Bearer {}", token(r#"{"sub":"a","exp":1700000000}"#)), at(1_700_000_000.0)),
            (format!("bearer  {}", token(r#"{"exp":1700000000.5,"aud":["x"]}"#)), at(1_700_000_000.5)),
            (format!("Bearer {}", token(r#"{"exp":-5}"#)), at(0.0)),
            (format!("Bearer {}", token(r#"{"exp":1e300}"#)), None),
            (format!("Bearer {}", token(r#"{"exp":"1700000000"}"#)), None),
            (format!("Bearer {}", token(r#"{"sub":"a"}"#)), None),
            (format!("Bearer {}", token("[]")), None),
            (format!("Bearer {}", token("")), None),
            (format!("Bearer {}.x", token(r#"{"exp":1700000000}"#)), None),
            (format!("Basic {}", token(r#"{"exp":1700000000}"#)), None),
            ("Bearer a.!!!.b".to_owned(), None),
            ("Bearer opaque".to_owned(), None),
            ("Bearer".to_owned(), None),
            (String::new(), None),
        ] {
            assert_eq!(expiry(&HeaderValue::from_str(&text).unwrap()), expected, "{text}");
        }
    }
}
