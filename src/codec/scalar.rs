//! Numbers, bools and enums from text, with their ranges; the same for JSON, path and query. Knows nothing of fields.

use super::{
    plan::{EnumPlan, Kind},
    reader::number_length,
};

/// The bits of a number as the wire holds it; the error says what was expected.
#[inline]
pub(super) fn number_bits(kind: Kind, text: &[u8]) -> Result<u64, &'static str> {
    match kind {
        Kind::Int32 => signed(text, i32::MIN.into(), i32::MAX.into()).map(|value| value as u64).ok_or(INT32),
        Kind::Sint32 => {
            signed(text, i32::MIN.into(), i32::MAX.into()).map(|v| u64::from(zigzag(v) as u32)).ok_or(INT32)
        }
        Kind::Sfixed32 => signed(text, i32::MIN.into(), i32::MAX.into()).map(|v| u64::from(v as u32)).ok_or(INT32),
        Kind::Int64 | Kind::Sfixed64 => signed(text, i64::MIN, i64::MAX).map(|value| value as u64).ok_or(INT64),
        Kind::Sint64 => signed(text, i64::MIN, i64::MAX).map(zigzag).ok_or(INT64),
        Kind::Uint32 | Kind::Fixed32 => unsigned(text, u32::MAX.into()).ok_or(UINT32),
        Kind::Uint64 | Kind::Fixed64 => unsigned(text, u64::MAX).ok_or(UINT64),
        Kind::Double => double(text).map(f64::to_bits).ok_or(DOUBLE),
        Kind::Float => float(text).map(|value| u64::from(value.to_bits())).ok_or(FLOAT),
        Kind::Enum { .. } => signed(text, i32::MIN.into(), i32::MAX.into()).map(|value| value as u64).ok_or(INT32),
        _ => Err("another kind of value"),
    }
}

/// The same for a number in quotes, where the names of what is no number are known too.
pub(super) fn quoted_bits(kind: Kind, text: &[u8]) -> Result<u64, &'static str> {
    let special = match text {
        b"NaN" => f64::NAN,
        b"Infinity" => f64::INFINITY,
        b"-Infinity" => f64::NEG_INFINITY,
        _ => return number_bits(kind, text),
    };
    match kind {
        Kind::Double => Ok(special.to_bits()),
        Kind::Float => Ok(u64::from((special as f32).to_bits())),
        _ => number_bits(kind, text),
    }
}

/// A value that a path, a query or a map's key gives as plain text.
pub(super) fn text_bits(kind: Kind, enums: &[EnumPlan], text: &[u8]) -> Result<u64, &'static str> {
    match kind {
        Kind::Bool => match text {
            b"true" => Ok(1),
            b"false" => Ok(0),
            _ => Err("true or false"),
        },
        Kind::Null => match text {
            b"null" | b"NULL_VALUE" => Ok(0),
            _ => Err("null"),
        },
        Kind::Enum { id, closed } => {
            let expected = "the name or the number of an enum value";
            let plan = enums.get(id.0 as usize).ok_or(expected)?;
            if let Some(number) = plan.names.find(text) {
                return Ok(i64::from(number as i32) as u64);
            }
            let bits = number_bits(kind, text).map_err(|_| expected)?;
            if closed && plan.quoted(bits as i32).is_none() { Err(expected) } else { Ok(bits) }
        }
        _ => quoted_bits(kind, text),
    }
}

/// What a number's text should have been.
pub(super) fn expected(kind: Kind) -> &'static str {
    match kind {
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => INT32,
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => INT64,
        Kind::Uint32 | Kind::Fixed32 => UINT32,
        Kind::Uint64 | Kind::Fixed64 => UINT64,
        Kind::Double => DOUBLE,
        Kind::Float => FLOAT,
        Kind::Bool => "true or false",
        Kind::Enum { .. } => "the name or the number of an enum value",
        _ => "another kind of value",
    }
}

const INT32: &str = "a 32-bit integer";
const INT64: &str = "a 64-bit integer";
const UINT32: &str = "a 32-bit unsigned integer";
const UINT64: &str = "a 64-bit unsigned integer";
const DOUBLE: &str = "a number within the range of a double";
const FLOAT: &str = "a number within the range of a float";

#[inline]
fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

#[inline]
fn signed(text: &[u8], min: i64, max: i64) -> Option<i64> {
    let (negative, magnitude) = integer(text)?;
    let value = if negative { 0i64.checked_sub_unsigned(magnitude)? } else { i64::try_from(magnitude).ok()? };
    (min..=max).contains(&value).then_some(value)
}

#[inline]
fn unsigned(text: &[u8], max: u64) -> Option<u64> {
    let (negative, magnitude) = integer(text)?;
    (magnitude <= max && !(negative && magnitude > 0)).then_some(magnitude)
}

/// Sign and magnitude of a JSON number that is a whole number, however it is written.
#[inline]
fn integer(text: &[u8]) -> Option<(bool, u64)> {
    let (negative, digits) = match text.strip_prefix(b"-") {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    // Up to 18 digits cannot overflow.
    let plain = digits.len() <= 18 && digits.iter().all(u8::is_ascii_digit);
    if plain && (digits.len() == 1 || digits.first().is_some_and(|first| *first != b'0')) {
        return Some((negative, digits.iter().fold(0, |value, digit| value * 10 + u64::from(digit - b'0'))));
    }
    if number_length(text) != Some(text.len()) {
        return None;
    }
    exact(digits).map(|magnitude| (negative, magnitude))
}

/// The magnitude of a sound number with a fraction, an exponent or many digits, without rounding.
fn exact(text: &[u8]) -> Option<u64> {
    let (mantissa, exponent) = match text.iter().position(|byte| matches!(byte, b'e' | b'E')) {
        Some(at) => (text.get(..at)?, decimal_exponent(text.get(at + 1..)?)),
        None => (text, 0),
    };
    let (whole, fraction) = match mantissa.iter().position(|byte| *byte == b'.') {
        Some(at) => (mantissa.get(..at)?, mantissa.get(at + 1..)?),
        None => (mantissa, &[][..]),
    };
    let digits = || whole.iter().chain(fraction).map(|byte| byte - b'0');
    let Some((last, _)) = digits().enumerate().filter(|(_, digit)| *digit != 0).last() else { return Some(0) };
    // Zeros to append behind the last digit that is not zero; fewer than none is a fraction.
    let zeros = exponent + whole.len() as i64 - (last as i64 + 1);
    let zeros = u32::try_from(zeros).ok().filter(|zeros| *zeros < 20)?;
    let significant =
        digits().take(last + 1).try_fold(0u64, |value, digit| value.checked_mul(10)?.checked_add(digit.into()))?;
    significant.checked_mul(10u64.checked_pow(zeros)?)
}

/// An exponent; one too long for any number of digits that fits a message stays as far away.
fn decimal_exponent(text: &[u8]) -> i64 {
    const FAR: i64 = 1 << 40;
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] => (false, digits),
        digits => (false, digits),
    };
    let value = digits.iter().fold(0i64, |value, digit| (value * 10 + i64::from(digit - b'0')).min(FAR));
    if negative { -value } else { value }
}

fn double(text: &[u8]) -> Option<f64> {
    sound(text)?.parse().ok().filter(|value: &f64| value.is_finite())
}

fn float(text: &[u8]) -> Option<f32> {
    sound(text)?.parse().ok().filter(|value: &f32| value.is_finite())
}

fn sound(text: &[u8]) -> Option<&str> {
    (number_length(text)? == text.len()).then(|| std::str::from_utf8(text).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_however_they_are_written() {
        for (kind, text, bits) in [
            (Kind::Int32, "0", 0),
            (Kind::Int32, "-0", 0),
            (Kind::Int32, "-1", u64::MAX),
            (Kind::Int32, "1.0", 1),
            (Kind::Int32, "1e5", 100_000),
            (Kind::Int32, "-12.50e1", -125i64 as u64),
            (Kind::Int32, "0e99999999999999999999", 0),
            (Kind::Int32, "0.000000e-5", 0),
            (Kind::Int32, "100000000000000000000000e-23", 1),
            (Kind::Int32, "2147483647", 2_147_483_647),
            (Kind::Int64, "9007199254740993.0", 9_007_199_254_740_993),
            (Kind::Int64, "-9223372036854775808", i64::MIN as u64),
            (Kind::Uint64, "18446744073709551615", u64::MAX),
            (Kind::Uint64, "1.8446744073709551615e19", u64::MAX),
            (Kind::Sint32, "-1", 1),
            (Kind::Sint64, "-9223372036854775808", u64::MAX),
            (Kind::Sfixed32, "-1", 0xffff_ffff),
        ] {
            assert_eq!(number_bits(kind, text.as_bytes()), Ok(bits), "{text}");
        }
    }

    #[test]
    fn what_is_out_of_range_or_no_integer_is_refused() {
        for (kind, text) in [
            (Kind::Int32, "2147483648"),
            (Kind::Int32, "-2147483649"),
            (Kind::Int32, "1.5"),
            (Kind::Int32, "1e-1"),
            (Kind::Int32, "1e99999999999999999999999"),
            (Kind::Int32, "1e-99999999999999999999999"),
            (Kind::Int32, ""),
            (Kind::Int32, " 1"),
            (Kind::Int32, "1 "),
            (Kind::Int32, "+1"),
            (Kind::Int32, "007"),
            (Kind::Int32, "-"),
            (Kind::Int32, "0x1"),
            (Kind::Int32, "NaN"),
            (Kind::Uint32, "-1"),
            (Kind::Uint32, "4294967296"),
            (Kind::Int64, "9223372036854775808"),
            (Kind::Int64, "-9223372036854775809"),
            (Kind::Uint64, "18446744073709551616"),
            (Kind::Uint64, "1e20"),
            (Kind::Double, "1e999"),
            (Kind::Double, "inf"),
            (Kind::Float, "1e39"),
            (Kind::Float, "3.502823e+38"),
        ] {
            assert!(quoted_bits(kind, text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn numbers_that_are_none_have_names_in_quotes_only() {
        assert_eq!(quoted_bits(Kind::Double, b"-Infinity"), Ok(f64::NEG_INFINITY.to_bits()));
        assert_eq!(quoted_bits(Kind::Float, b"Infinity"), Ok(u64::from(f32::INFINITY.to_bits())));
        assert!(number_bits(Kind::Double, b"Infinity").is_err());
    }
}
