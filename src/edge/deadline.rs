//! How long the client gives a call (PROTOCOLS §3).

use std::time::Duration;

use http::HeaderMap;

use crate::{
    status::{Code, Reason, Status},
    wire::timeout,
};

const GRPC_TIMEOUT: &str = "grpc-timeout";
const CONNECT_TIMEOUT: &str = "connect-timeout-ms";
/// In seconds, as a decimal number.
pub const REQUEST_TIMEOUT: &str = "x-request-timeout";

/// All by which a request may say how long its call may last.
pub const TIMEOUTS: [&str; 3] = [GRPC_TIMEOUT, CONNECT_TIMEOUT, REQUEST_TIMEOUT];

/// The longest `grpc-timeout`: eight digits of hours.
const LONGEST: Duration = Duration::from_secs(99_999_999 * 3600);

/// `grpc-timeout`, `connect-timeout-ms`, or `x-request-timeout` in decimal seconds; none where none was sent.
///
/// # Errors
/// A value that is not a time.
pub fn requested_timeout(headers: &HeaderMap) -> Result<Option<Duration>, Status> {
    // Once over all names is less than to look for each: most requests name none.
    let (mut grpc, mut connect, mut request) = (None, None, None);
    for (name, value) in headers {
        match name.as_str() {
            GRPC_TIMEOUT => grpc = Some(value),
            CONNECT_TIMEOUT => connect = Some(value),
            REQUEST_TIMEOUT => request = Some(value),
            _ => {}
        }
    }
    let (timeout, name, expected) = if let Some(value) = grpc {
        let expected = "expected at most eight digits and one of H, M, S, m, u, n";
        (timeout::parse(value.as_bytes()), GRPC_TIMEOUT, expected)
    } else if let Some(value) = connect {
        let expected = "expected milliseconds of at most ten digits";
        (value.to_str().ok().and_then(millis), CONNECT_TIMEOUT, expected)
    } else if let Some(value) = request {
        let expected = "expected seconds as a decimal number, such as 1.5";
        (value.to_str().ok().and_then(decimal_seconds), REQUEST_TIMEOUT, expected)
    } else {
        return Ok(None);
    };
    timeout.map(Some).ok_or_else(|| invalid(name, expected))
}

/// Connect's "Timeout-Milliseconds".
fn millis(text: &str) -> Option<Duration> {
    let sound = text.len() <= 10 && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| sound).map(Duration::from_millis)
}

fn decimal_seconds(text: &str) -> Option<Duration> {
    let sound = text.len() <= 20 && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let seconds: f64 = if sound { text.parse().ok()? } else { return None };
    // Beyond what `grpc-timeout` can say there is no use, and clocks near their end overflow.
    Duration::try_from_secs_f64(seconds).ok().map(|timeout| timeout.min(LONGEST))
}

fn invalid(name: &'static str, what: &'static str) -> Status {
    Status::client(Code::InvalidArgument, format!("header {name}: {what}"))
        .with_reason(Reason::InvalidHeader)
        .with_violation(name, what)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn timeouts_are_read_or_refused() {
        for (name, value, expected) in [
            ("grpc-timeout", "200m", Some(Duration::from_millis(200))),
            ("grpc-timeout", "123456789m", None),
            ("connect-timeout-ms", "200", Some(Duration::from_millis(200))),
            ("connect-timeout-ms", "9999999999", Some(Duration::from_millis(9_999_999_999))),
            ("connect-timeout-ms", "0", Some(Duration::ZERO)),
            ("connect-timeout-ms", "00000000001", None),
            ("connect-timeout-ms", "", None),
            ("connect-timeout-ms", "-1", None),
            ("connect-timeout-ms", "+1", None),
            ("connect-timeout-ms", "1.5", None),
            ("connect-timeout-ms", "1s", None),
            ("x-request-timeout", "1.5", Some(Duration::from_millis(1500))),
            ("x-request-timeout", "0", Some(Duration::ZERO)),
            ("x-request-timeout", "9223372036854774784", Some(LONGEST)),
            ("x-request-timeout", "-1", None),
            ("x-request-timeout", "1e3", None),
            ("x-request-timeout", ".", None),
            ("x-request-timeout", "inf", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(name, HeaderValue::from_static(value));
            assert_eq!(requested_timeout(&headers).ok(), expected.map(Some), "{name}: {value}");
        }
        assert_eq!(requested_timeout(&HeaderMap::new()).unwrap(), None);
    }
}
