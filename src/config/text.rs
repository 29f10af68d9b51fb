//! Values that the file writes as one word: each type says how it is read, written and described, once.
//!
//! Knows nothing of keys or of where in the file a value stands.

use std::{borrow::Cow, path::PathBuf, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::settings::Timeout;

/// A type that has one textual form.
pub(super) trait Scalar: Sized {
    /// `format` in the JSON Schema; how the checker finds [`Scalar::parse`] again.
    const FORMAT: &'static str;
    /// The JSON types that the schema lets editors accept.
    const TYPES: &'static [&'static str] = &["string"];
    /// What such a value looks like, for messages and docs: "a duration such as `30s`".
    const LOOKS: &'static str;

    /// Reads the text; the error says what is wrong with it, without repeating it.
    fn parse(text: &str) -> Result<Self, String>;

    fn print(&self) -> String;
}

/// Makes a [`Scalar`] a value of the file.
#[derive(Clone, Debug)]
pub(super) struct Text<T>(pub(super) T);

impl<T: Scalar> Serialize for Text<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = self.0.print();
        match text.parse::<u64>() {
            Ok(number) if T::TYPES.contains(&"integer") => serializer.serialize_u64(number),
            _ => match text.parse::<f64>() {
                Ok(number) if T::TYPES.contains(&"number") => serializer.serialize_f64(number),
                _ => serializer.serialize_str(&text),
            },
        }
    }
}

impl<'de, T: Scalar> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        T::parse(&text).map(Self).map_err(D::Error::custom)
    }
}

impl<T: Scalar> JsonSchema for Text<T> {
    fn schema_name() -> Cow<'static, str> {
        T::FORMAT.into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        match T::TYPES {
            [only] => json_schema!({ "type": only, "format": T::FORMAT }),
            several => json_schema!({ "type": several, "format": T::FORMAT }),
        }
    }
}

/// A duration above zero.
#[derive(Clone, Copy, Debug)]
pub(super) struct Period(pub(super) Duration);

/// A duration that may be zero.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span(pub(super) Duration);

/// A number of bytes above zero.
#[derive(Clone, Copy, Debug)]
pub(super) struct Size(pub(super) usize);

/// A whole number above zero.
#[derive(Clone, Copy, Debug)]
pub(super) struct Count(pub(super) usize);

/// A share of calls; zero: none.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weight(pub(super) u32);

/// A share in millionths, above zero.
#[derive(Clone, Copy, Debug)]
pub(super) struct Percent(pub(super) u32);

impl Percent {
    pub(super) const ALL: Self = Self(100 * PERCENT);
}

impl Scalar for Span {
    const FORMAT: &'static str = "duration-or-zero";
    const LOOKS: &'static str = "a duration such as `100ms`, `30s`, `1m30s` or `0s`";

    fn parse(text: &str) -> Result<Self, String> {
        duration(text).map(Self).ok_or_else(|| format!("is not {}", Self::LOOKS)).and_then(|span| {
            if span.0 > DURATION_MAX { Err("is longer than a year (8760h)".to_owned()) } else { Ok(span) }
        })
    }

    fn print(&self) -> String {
        let mut rest = self.0.as_millis();
        let mut text = String::new();
        for (unit, millis) in UNITS {
            if rest >= *millis {
                text.push_str(&format!("{}{unit}", rest / millis));
                rest %= millis;
            }
        }
        if text.is_empty() { "0s".to_owned() } else { text }
    }
}

impl Scalar for Period {
    const FORMAT: &'static str = "duration";
    const LOOKS: &'static str = "a duration such as `100ms`, `30s` or `1m30s`";

    fn parse(text: &str) -> Result<Self, String> {
        match Span::parse(text) {
            Ok(Span(Duration::ZERO)) => Err("must be longer than zero".to_owned()),
            Ok(Span(duration)) => Ok(Self(duration)),
            Err(error) => Err(error.replace(Span::LOOKS, Self::LOOKS)),
        }
    }

    fn print(&self) -> String {
        Span(self.0).print()
    }
}

impl Scalar for Timeout {
    const FORMAT: &'static str = "duration-or-none";
    const LOOKS: &'static str = "a duration such as `30s`, or `none`";

    fn parse(text: &str) -> Result<Self, String> {
        if text == "none" {
            return Ok(Self::None);
        }
        let period = Period::parse(text).map_err(|error| error.replace(Period::LOOKS, Self::LOOKS))?;
        Ok(Self::After(period.0))
    }

    fn print(&self) -> String {
        match self {
            Self::After(duration) => Span(*duration).print(),
            // A default is not written at all.
            Self::None | Self::Default => "none".to_owned(),
        }
    }
}

impl Scalar for Size {
    const FORMAT: &'static str = "size";
    const TYPES: &'static [&'static str] = &["string", "integer"];
    const LOOKS: &'static str = "a size such as `64KiB`, `4MiB` or `1000` (bytes)";

    fn parse(text: &str) -> Result<Self, String> {
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = text.get(digits.len()..).unwrap_or_default();
        let shift = SIZES.iter().find(|(name, _)| *name == unit).map(|(_, shift)| *shift);
        let (Some(shift), Some(number)) = (shift, number(digits)) else {
            return Err(format!("is not {}", Self::LOOKS));
        };
        match number.checked_mul(1 << shift).and_then(|bytes| usize::try_from(bytes).ok()) {
            Some(0) => Err("must be larger than zero".to_owned()),
            // The length of a gRPC message has 32 bits, and a program of 32 bits has half of that to give.
            Some(bytes) if bytes <= SIZE_MAX => Ok(Self(bytes)),
            _ => Err("is larger than 1GiB".to_owned()),
        }
    }

    fn print(&self) -> String {
        let unit = SIZES.iter().find(|(_, shift)| self.0 != 0 && self.0.is_multiple_of(1 << shift));
        unit.map_or_else(|| self.0.to_string(), |(name, shift)| format!("{}{name}", self.0 >> shift))
    }
}

impl Scalar for Count {
    const FORMAT: &'static str = "count";
    const TYPES: &'static [&'static str] = &["integer"];
    const LOOKS: &'static str = "a whole number";

    fn parse(text: &str) -> Result<Self, String> {
        match number(text).map(usize::try_from) {
            Some(Ok(0)) => Err("must be at least 1".to_owned()),
            Some(Ok(count)) if count <= COUNT_MAX => Ok(Self(count)),
            Some(_) => Err(format!("is more than {COUNT_MAX}")),
            None => Err(format!("is not {}", Self::LOOKS)),
        }
    }

    fn print(&self) -> String {
        self.0.to_string()
    }
}

impl Scalar for Weight {
    const FORMAT: &'static str = "weight";
    const TYPES: &'static [&'static str] = &["integer"];
    const LOOKS: &'static str = "a whole number from 0 to 1000000";

    fn parse(text: &str) -> Result<Self, String> {
        let weight = number(text).and_then(|number| u32::try_from(number).ok()).filter(|weight| *weight <= WEIGHT_MAX);
        weight.map(Self).ok_or_else(|| format!("is not {}", Self::LOOKS))
    }

    fn print(&self) -> String {
        self.0.to_string()
    }
}

impl Scalar for Percent {
    const FORMAT: &'static str = "percent";
    const TYPES: &'static [&'static str] = &["integer", "number"];
    const LOOKS: &'static str = "a number above 0 and up to 100, such as `5` or `0.5`";

    fn parse(text: &str) -> Result<Self, String> {
        let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
        let part = (1..=4).contains(&part.len()).then(|| number(&format!("{part:0<4}"))).flatten();
        let millionths = number(whole).zip(part).and_then(|(whole, part)| {
            let whole = u32::try_from(whole).ok()?.checked_mul(PERCENT)?;
            whole.checked_add(u32::try_from(part).ok()?)
        });
        let in_range = |share: &u32| (1..=Self::ALL.0).contains(share);
        millionths.filter(in_range).map(Self).ok_or_else(|| format!("is not {}", Self::LOOKS))
    }

    fn print(&self) -> String {
        let text = format!("{}.{:04}", self.0 / PERCENT, self.0 % PERCENT);
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}

impl Scalar for PathBuf {
    const FORMAT: &'static str = "file";
    const LOOKS: &'static str = "a path in the file system";

    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() || text.contains('\0') { Err(format!("is not {}", Self::LOOKS)) } else { Ok(text.into()) }
    }

    fn print(&self) -> String {
        self.display().to_string()
    }
}

/// `1m30s`: whole numbers, each with a unit, the largest unit first.
fn duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut total: u64 = 0;
    for (unit, millis) in UNITS {
        let digits = rest.trim_start_matches(|c: char| c.is_ascii_digit());
        let (amount, tail) = rest.split_at_checked(rest.len() - digits.len())?;
        // `5ms` must not be taken for five minutes: the unit ends where the next number begins.
        let Some(tail) = tail.strip_prefix(unit).filter(|tail| !tail.starts_with(|c: char| !c.is_ascii_digit())) else {
            continue;
        };
        total = total.checked_add(number(amount)?.checked_mul(u64::try_from(*millis).ok()?)?)?;
        rest = tail;
    }
    (rest.is_empty() && !text.is_empty()).then(|| Duration::from_millis(total))
}

/// Digits only: `+1` and `1_000` are not numbers here.
fn number(digits: &str) -> Option<u64> {
    if digits.bytes().all(|byte| byte.is_ascii_digit()) { digits.parse().ok() } else { None }
}

/// Milliseconds of each unit, the largest first.
const UNITS: &[(&str, u128)] = &[("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];

/// Powers of two of each unit, the largest first.
const SIZES: &[(&str, u32)] = &[("GiB", 30), ("MiB", 20), ("KiB", 10), ("", 0)];

/// A year: anything longer is a slip, and sums of times stay far from overflow.
const DURATION_MAX: Duration = Duration::from_secs(8760 * 3600);

/// 1 GiB.
const SIZE_MAX: usize = 1 << 30;

/// Sums of weights stay far from overflow.
const WEIGHT_MAX: u32 = 1_000_000;

/// One percent in millionths.
const PERCENT: u32 = 10_000;

/// More than one machine holds of anything that is counted here.
const COUNT_MAX: usize = 100_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn show<T: Scalar>(text: &str) -> String {
        T::parse(text).map_or_else(|error| format!("! {error}"), |value| value.print())
    }

    #[test]
    fn durations_are_read_and_written_in_the_largest_units() {
        for (text, expected) in [
            ("30s", "30s"),
            ("90s", "1m30s"),
            ("1m30s", "1m30s"),
            ("1500ms", "1s500ms"),
            ("5ms", "5ms"),
            ("1h", "1h"),
            ("2h1s", "2h1s"),
        ] {
            assert_eq!(show::<Period>(text), expected, "{text}");
        }
        assert_eq!(show::<Span>("0s"), "0s");
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "30", "s", "1s1m", "-1s", "1.5s", "30 s", "1sec", "+1s", "1s ", "ms", "99999999999999999999s"]
        {
            assert!(show::<Period>(text).starts_with("! is not a duration"), "{text}: {}", show::<Period>(text));
        }
        assert_eq!(show::<Period>("0ms"), "! must be longer than zero");
        assert_eq!(show::<Period>("8761h"), "! is longer than a year (8760h)");
        assert_eq!(show::<Timeout>("never"), "! is not a duration such as `30s`, or `none`");
    }

    #[test]
    fn sizes_are_read_and_written_in_the_largest_unit_that_fits() {
        for (text, expected) in [("1000", "1000"), ("4096", "4KiB"), ("4MiB", "4MiB"), ("1GiB", "1GiB"), ("1", "1")] {
            assert_eq!(show::<Size>(text), expected, "{text}");
        }
        for text in ["", "KiB", "4MB", "4 MiB", "1.5MiB", "-1", "4mib"] {
            assert!(show::<Size>(text).starts_with("! is not a size"), "{text}");
        }
        assert_eq!(show::<Size>("0"), "! must be larger than zero");
        assert_eq!(show::<Size>("2GiB"), "! is larger than 1GiB");
        assert_eq!(show::<Size>("18446744073709551615GiB"), "! is larger than 1GiB");
    }

    #[test]
    fn shares_are_weights_or_percents() {
        for (text, expected) in [("0", "0"), ("90", "90"), ("1000000", "1000000")] {
            assert_eq!(show::<Weight>(text), expected, "{text}");
        }
        for text in ["", "-1", "1000001", "1.5", "18446744073709551616"] {
            assert!(show::<Weight>(text).starts_with("! is not a whole number from 0"), "{text}");
        }
        for (text, expected) in [("5", "5"), ("100", "100"), ("0.5", "0.5"), ("0.0001", "0.0001"), ("12.50", "12.5")] {
            assert_eq!(show::<Percent>(text), expected, "{text}");
        }
        for text in ["", "0", "0.0", "100.1", "101", "-1", "5%", ".5", "5.", "0.00001", "1e1", "4294967295"] {
            assert!(
                show::<Percent>(text).starts_with("! is not a number above 0"),
                "{text}: {}",
                show::<Percent>(text)
            );
        }
    }

    #[test]
    fn counts_are_whole_and_above_zero() {
        assert_eq!(show::<Count>("16"), "16");
        assert_eq!(show::<Count>("0"), "! must be at least 1");
        assert_eq!(show::<Count>("four"), "! is not a whole number");
        assert_eq!(show::<Count>("100000001"), "! is more than 100000000");
    }
}
