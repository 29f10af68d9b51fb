//! `google.protobuf.Timestamp` and `Duration` as text, by hand: formatting through `core::fmt` would cost more than
//! all the rest of a message. Knows nothing of messages.

use std::time::Duration;

use super::text;

/// 0001-01-01T00:00:00Z to 9999-12-31T23:59:59Z, in seconds of the Unix epoch.
const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
/// About 10,000 years; a fraction may come on top, as the conformance tests have it.
const DURATION_SECONDS_MAX: i64 = 315_576_000_000;
const NANOS_MAX: i32 = 999_999_999;

/// Seconds and nanoseconds of an RFC 3339 date and time.
pub(super) fn parse_timestamp(text: &[u8]) -> Option<(i64, i32)> {
    let (date, rest) = text.split_at_checked(19)?;
    let number = |from: usize, to: usize| digits(date.get(from..to)?);
    let mark = |at: usize, byte: u8| (date.get(at) == Some(&byte)).then_some(());
    for (at, byte) in [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')] {
        mark(at, byte)?;
    }
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let in_range = (1..=12).contains(&month) && day >= 1 && day <= days_of(year, month) && hour < 24 && minute < 60;
    if !in_range || second >= 60 {
        return None;
    }
    let (nanos, zone) = fraction(rest)?;
    let local = days_from_civil(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
    let seconds = local - offset(zone)?;
    SECONDS.contains(&seconds).then_some((seconds, nanos))
}

/// Appends a timestamp in quotes; none where it is out of range.
pub(super) fn write_timestamp(seconds: i64, nanos: i32, out: &mut Vec<u8>) -> Option<()> {
    if !SECONDS.contains(&seconds) || !(0..=NANOS_MAX).contains(&nanos) {
        return None;
    }
    let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
    let (year, month, day) = civil_from_days(days);
    let mut text = *b"\"0000-00-00T00:00:00";
    let two = |value: i64| [b'0' + (value / 10 % 10) as u8, b'0' + (value % 10) as u8];
    let parts = [
        (1, year / 100),
        (3, year),
        (6, month),
        (9, day),
        (12, second / 3600),
        (15, second / 60 % 60),
        (18, second % 60),
    ];
    for (at, value) in parts {
        if let Some(place) = text.get_mut(at..at + 2) {
            place.copy_from_slice(&two(value));
        }
    }
    out.extend_from_slice(&text);
    write_fraction(nanos.unsigned_abs(), out);
    out.extend_from_slice(b"Z\"");
    Some(())
}

/// Seconds and nanoseconds, of the same sign, of a text as `1.5s`.
pub(super) fn parse_duration(text: &[u8]) -> Option<(i64, i32)> {
    let text = text.strip_suffix(b"s")?;
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let whole = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (whole, rest) = text.split_at(whole);
    if whole.is_empty() || whole.len() > 12 {
        return None;
    }
    let (nanos, rest) = fraction(rest)?;
    let seconds = digits(whole)?;
    if !rest.is_empty() || seconds > DURATION_SECONDS_MAX {
        return None;
    }
    Some(if negative { (-seconds, -nanos) } else { (seconds, nanos) })
}

/// A duration that is not negative, of a text as `1.5s`.
pub fn read_span(text: &str) -> Option<Duration> {
    let (seconds, nanos) = parse_duration(text.as_bytes())?;
    Some(Duration::new(seconds.try_into().ok()?, nanos.try_into().ok()?))
}

/// Appends a length of time in quotes, to the millisecond; one that no duration can tell as the longest.
pub fn write_span(span: Duration, out: &mut Vec<u8>) {
    let seconds = i64::try_from(span.as_secs()).unwrap_or(i64::MAX).min(DURATION_SECONDS_MAX);
    // Never fails within these bounds.
    let _ = write_duration(seconds, span.subsec_millis().cast_signed() * 1_000_000, out);
}

/// Appends a duration in quotes; none where it is out of range or its parts have different signs.
pub(super) fn write_duration(seconds: i64, nanos: i32, out: &mut Vec<u8>) -> Option<()> {
    let mixed = (seconds < 0 && nanos > 0) || (seconds > 0 && nanos < 0);
    if mixed || seconds.unsigned_abs() > DURATION_SECONDS_MAX.unsigned_abs() || nanos.unsigned_abs() > NANOS_MAX as u32
    {
        return None;
    }
    out.push(b'"');
    if seconds < 0 || nanos < 0 {
        out.push(b'-');
    }
    text::write_integer(seconds.unsigned_abs(), out);
    write_fraction(nanos.unsigned_abs(), out);
    out.extend_from_slice(b"s\"");
    Some(())
}

/// Nanoseconds of a fraction of up to nine digits at the front, if there is one; and what follows.
fn fraction(text: &[u8]) -> Option<(i32, &[u8])> {
    let Some(rest) = text.strip_prefix(b".") else { return Some((0, text)) };
    let length = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if !(1..=9).contains(&length) {
        return None;
    }
    let (fraction, rest) = rest.split_at(length);
    let value = digits(fraction)? * 10i64.pow(9 - length as u32);
    Some((i32::try_from(value).ok()?, rest))
}

/// Appends 0, 3, 6 or 9 digits, as many as are needed (ProtoJSON format, Timestamp and Duration).
fn write_fraction(nanos: u32, out: &mut Vec<u8>) {
    if nanos == 0 {
        return;
    }
    let mut text = *b".000000000";
    let mut rest = nanos;
    for place in text.iter_mut().skip(1).rev() {
        *place = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    let length = match nanos {
        nanos if nanos.is_multiple_of(1_000_000) => 4,
        nanos if nanos.is_multiple_of(1_000) => 7,
        _ => 10,
    };
    out.extend_from_slice(text.get(..length).unwrap_or_default());
}

/// Seconds east of UTC.
fn offset(zone: &[u8]) -> Option<i64> {
    let (sign, hour, minute) = match zone {
        b"Z" => return Some(0),
        [sign, h1, h2, b':', m1, m2] => (sign, digits(&[*h1, *h2])?, digits(&[*m1, *m2])?),
        _ => return None,
    };
    let seconds = (hour < 24 && minute < 60).then_some(hour * 3600 + minute * 60)?;
    match sign {
        b'+' => Some(seconds),
        b'-' => Some(-seconds),
        _ => None,
    }
}

fn digits(text: &[u8]) -> Option<i64> {
    text.iter().try_fold(0, |value, byte| byte.is_ascii_digit().then(|| value * 10 + i64::from(byte - b'0')))
}

fn days_of(year: i64, month: i64) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        _ => 31,
    }
}

/// Days from 1970-01-01 in the Gregorian calendar: years are counted from March, so that the leap day comes last.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn timestamps_read_back(seconds in SECONDS, nanos in 0..=NANOS_MAX, cut in 0u32..9) {
            let nanos = nanos / 10i32.pow(cut) * 10i32.pow(cut);
            let mut out = Vec::new();
            write_timestamp(seconds, nanos, &mut out).unwrap();
            prop_assert_eq!(parse_timestamp(&out[1..out.len() - 1]), Some((seconds, nanos)));
            let other = prost_types::Timestamp { seconds, nanos }.to_string();
            prop_assert_eq!(other.parse::<prost_types::Timestamp>().unwrap().seconds, seconds);
            prop_assert_eq!(&out[1..20], &other.as_bytes()[..19]);
        }

        #[test]
        fn durations_read_back(seconds in -DURATION_SECONDS_MAX + 1..DURATION_SECONDS_MAX, nanos in 0..=NANOS_MAX) {
            let nanos = if seconds < 0 { -nanos } else { nanos };
            let mut out = Vec::new();
            write_duration(seconds, nanos, &mut out).unwrap();
            prop_assert_eq!(parse_duration(&out[1..out.len() - 1]), Some((seconds, nanos)));
        }
    }

    #[test]
    fn timestamps_at_the_edges() {
        for (text, expected) in [
            ("1970-01-01T00:00:00Z", Some((0, 0))),
            ("0001-01-01T00:00:00Z", Some((*SECONDS.start(), 0))),
            ("9999-12-31T23:59:59.999999999Z", Some((*SECONDS.end(), NANOS_MAX))),
            ("2024-02-29T00:00:00+01:00", Some((1_709_161_200, 0))),
            ("1969-12-31T23:59:59.5Z", Some((-1, 500_000_000))),
            ("0001-01-01T00:00:00+00:01", None),
            ("9999-12-31T23:59:59-00:01", None),
            ("0000-01-01T00:00:00Z", None),
            ("2023-02-29T00:00:00Z", None),
            ("2024-13-01T00:00:00Z", None),
            ("2024-01-01T24:00:00Z", None),
            ("2024-01-01T23:59:60Z", None),
            ("2024-01-01t00:00:00Z", None),
            ("2024-01-01T00:00:00z", None),
            ("2024-01-01T00:00:00", None),
            ("2024-01-01 00:00:00Z", None),
            ("2024-01-01T00:00:00.Z", None),
            ("2024-01-01T00:00:00.1234567890Z", None),
            ("2024-01-01T00:00:00+1:00", None),
            ("2024-01-01T00:00:00+24:00", None),
            ("2024-01-01T00:00:00ZZ", None),
            ("+024-01-01T00:00:00Z", None),
        ] {
            assert_eq!(parse_timestamp(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn a_length_of_time_is_written_to_the_millisecond() {
        for (span, text) in [
            (Duration::from_secs(30), r#""30s""#),
            (Duration::from_micros(29_985_999), r#""29.985s""#),
            (Duration::ZERO, r#""0s""#),
            (Duration::MAX, r#""315576000000.999s""#),
        ] {
            let mut out = Vec::new();
            write_span(span, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
    }

    #[test]
    fn durations_at_the_edges() {
        for (text, expected) in [
            ("0s", Some((0, 0))),
            ("-0.5s", Some((0, -500_000_000))),
            ("315576000000s", Some((DURATION_SECONDS_MAX, 0))),
            ("-315576000000s", Some((-DURATION_SECONDS_MAX, 0))),
            ("315576000000.999999999s", Some((DURATION_SECONDS_MAX, NANOS_MAX))),
            ("315576000001s", None),
            ("1", None),
            ("s", None),
            ("1.s", None),
            (".5s", None),
            ("+1s", None),
            ("1 s", None),
            ("1.0000000001s", None),
        ] {
            assert_eq!(parse_duration(text.as_bytes()), expected, "{text}");
        }
        assert_eq!(write_duration(1, -1, &mut Vec::new()), None);
        assert_eq!(write_timestamp(0, -1, &mut Vec::new()), None);
    }
}
