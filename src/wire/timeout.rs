//! `grpc-timeout` (gRPC over HTTP/2, "Timeout"): at most eight digits and a unit.

use std::time::Duration;

use http::HeaderValue;

/// The duration of a `grpc-timeout` value; none where it is not one.
pub fn parse(value: &[u8]) -> Option<Duration> {
    let (unit, digits) = value.split_last()?;
    if digits.is_empty() || digits.len() > 8 {
        return None;
    }
    let amount = digits
        .iter()
        .try_fold(0u64, |sum, digit| digit.is_ascii_digit().then(|| sum * 10 + u64::from(digit - b'0')))?;
    match unit {
        b'H' => Some(Duration::from_secs(amount * 3600)),
        b'M' => Some(Duration::from_secs(amount * 60)),
        b'S' => Some(Duration::from_secs(amount)),
        b'm' => Some(Duration::from_millis(amount)),
        b'u' => Some(Duration::from_micros(amount)),
        b'n' => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

/// The duration in the finest unit whose amount has at most eight digits, cut to three significant ones: never longer than
/// it is, and less than 1% shorter. What is left of equal timeouts is then mostly the same value, which HPACK has in
/// its table.
pub fn format(timeout: Duration) -> HeaderValue {
    const AMOUNT_MAX: u128 = 99_999_999;
    let units = [
        (timeout.as_nanos(), b'n'),
        (timeout.as_micros(), b'u'),
        (timeout.as_millis(), b'm'),
        (u128::from(timeout.as_secs()), b'S'),
        (u128::from(timeout.as_secs() / 60), b'M'),
        (u128::from(timeout.as_secs() / 3600), b'H'),
    ];
    let (amount, unit) = units.into_iter().find(|(amount, _)| *amount <= AMOUNT_MAX).unwrap_or((AMOUNT_MAX, b'H'));
    let amount = amount as u64;
    let amount = amount - amount % 10u64.pow(amount.checked_ilog10().unwrap_or(0).saturating_sub(2));
    let mut text = [0u8; 9];
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(amount).as_bytes();
    text[..digits.len()].copy_from_slice(digits);
    text[digits.len()] = unit;
    HeaderValue::from_bytes(&text[..=digits.len()]).unwrap_or(HeaderValue::from_static("0n"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_are_read_by_their_unit() {
        for (value, expected) in [
            ("1H", Some(Duration::from_secs(3600))),
            ("2M", Some(Duration::from_secs(120))),
            ("3S", Some(Duration::from_secs(3))),
            ("4m", Some(Duration::from_millis(4))),
            ("5u", Some(Duration::from_micros(5))),
            ("6n", Some(Duration::from_nanos(6))),
            ("99999999S", Some(Duration::from_secs(99_999_999))),
            ("100000000S", None),
            ("S", None),
            ("", None),
            ("5", None),
            ("-5S", None),
            ("5 S", None),
            ("5s", None),
        ] {
            assert_eq!(parse(value.as_bytes()), expected, "{value:?}");
        }
    }

    #[test]
    fn what_is_left_a_moment_later_is_told_alike() {
        for (asked, told) in [("30", "29900000u"), ("1", "999000u"), ("0.25", "249000u"), ("7200", "7190000m")] {
            let asked = Duration::from_secs_f64(asked.parse().unwrap());
            for moment in [20, 400] {
                assert_eq!(format(asked - Duration::from_micros(moment)), told);
            }
        }
        assert_eq!(format(Duration::ZERO), "0n");
        assert_eq!(format(Duration::from_millis(1500)), "1500000u");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_and_never_longer(nanos in any::<u64>()) {
            let timeout = Duration::from_nanos(nanos);
            let read = parse(format(timeout).as_bytes()).unwrap();
            prop_assert!(read <= timeout);
            prop_assert!(timeout - read <= timeout / 100);
        }
    }
}
