//! The bench's message as types that are known when the program is compiled: prost for the wire, serde for the canonical
//! JSON, as generators of such code write it.

use std::{collections::HashMap, fmt, marker::PhantomData};

use prost::{Enumeration, Message};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

#[derive(Clone, PartialEq, Message, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Order {
    #[prost(string, tag = "1")]
    #[serde(skip_serializing_if = "is_default")]
    id: String,
    #[prost(string, tag = "2")]
    #[serde(alias = "customer_id", skip_serializing_if = "is_default")]
    customer_id: String,
    #[prost(message, optional, tag = "3")]
    #[serde(with = "timestamp", skip_serializing_if = "Option::is_none")]
    created: Option<prost_types::Timestamp>,
    #[prost(enumeration = "State", tag = "4")]
    #[serde(with = "state", skip_serializing_if = "is_default")]
    state: i32,
    #[prost(message, repeated, tag = "5")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    lines: Vec<Line>,
    #[prost(map = "string, string", tag = "6")]
    #[serde(skip_serializing_if = "HashMap::is_empty")]
    labels: HashMap<String, String>,
    #[prost(int32, repeated, tag = "7")]
    #[serde(deserialize_with = "numbers", skip_serializing_if = "Vec::is_empty")]
    scores: Vec<i32>,
    #[prost(message, optional, tag = "8")]
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<Address>,
    #[prost(string, tag = "9")]
    #[serde(skip_serializing_if = "is_default")]
    note: String,
    #[prost(message, optional, tag = "10")]
    #[serde(with = "timestamp", skip_serializing_if = "Option::is_none")]
    updated: Option<prost_types::Timestamp>,
}

#[derive(Clone, PartialEq, Message, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Line {
    #[prost(string, tag = "1")]
    #[serde(skip_serializing_if = "is_default")]
    sku: String,
    #[prost(string, tag = "2")]
    #[serde(skip_serializing_if = "is_default")]
    title: String,
    #[prost(int32, tag = "3")]
    #[serde(deserialize_with = "number", skip_serializing_if = "is_default")]
    quantity: i32,
    #[prost(double, tag = "4")]
    #[serde(deserialize_with = "number", skip_serializing_if = "is_default")]
    price: f64,
    #[prost(int64, tag = "5")]
    #[serde(serialize_with = "quoted", deserialize_with = "number", skip_serializing_if = "is_default")]
    stock: i64,
    #[prost(bool, tag = "6")]
    #[serde(skip_serializing_if = "is_default")]
    gift: bool,
}

#[derive(Clone, PartialEq, Message, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Address {
    #[prost(string, tag = "1")]
    #[serde(skip_serializing_if = "is_default")]
    street: String,
    #[prost(string, tag = "2")]
    #[serde(skip_serializing_if = "is_default")]
    city: String,
    #[prost(string, tag = "3")]
    #[serde(skip_serializing_if = "is_default")]
    zip: String,
    #[prost(string, tag = "4")]
    #[serde(skip_serializing_if = "is_default")]
    country: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[repr(i32)]
pub(crate) enum State {
    #[serde(rename = "STATE_UNSPECIFIED")]
    Unspecified = 0,
    Open = 1,
    Paid = 2,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// 64-bit integers are strings in JSON.
fn quoted<S: Serializer>(value: &i64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(itoa::Buffer::new().format(*value))
}

/// A number may stand in quotes, and an integer may be written `1.0` or `1e3`.
struct Number<T>(PhantomData<T>);

trait FromNumber: Sized {
    fn from_i64(value: i64) -> Option<Self>;
    fn from_f64(value: f64) -> Option<Self>;
    fn from_text(text: &str) -> Option<Self>;
}

impl FromNumber for f64 {
    fn from_i64(value: i64) -> Option<Self> {
        Some(value as Self)
    }

    fn from_f64(value: f64) -> Option<Self> {
        Some(value)
    }

    fn from_text(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

macro_rules! integer {
    ($type:ty) => {
        impl FromNumber for $type {
            fn from_i64(value: i64) -> Option<Self> {
                value.try_into().ok()
            }

            fn from_f64(value: f64) -> Option<Self> {
                (value.fract() == 0.0 && value.abs() < 9e15).then(|| Self::from_i64(value as i64))?
            }

            fn from_text(text: &str) -> Option<Self> {
                text.parse().ok()
            }
        }
    };
}

integer!(i32);
integer!(i64);

impl<T: FromNumber> de::Visitor<'_> for Number<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number")
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<T, E> {
        T::from_i64(value).ok_or_else(|| E::custom("out of range"))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<T, E> {
        value.try_into().ok().and_then(T::from_i64).ok_or_else(|| E::custom("out of range"))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<T, E> {
        T::from_f64(value).ok_or_else(|| E::custom("no integer"))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        T::from_text(text).ok_or_else(|| E::custom("no number"))
    }
}

fn number<'de, T: FromNumber, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    deserializer.deserialize_any(Number(PhantomData))
}

fn numbers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<i32>, D::Error> {
    #[derive(Deserialize)]
    struct One(#[serde(deserialize_with = "number")] i32);
    Ok(Vec::<One>::deserialize(deserializer)?.into_iter().map(|One(value)| value).collect())
}

mod state {
    use super::{Deserialize, Deserializer, Serialize, Serializer, State};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
    pub(super) fn serialize<S: Serializer>(value: &i32, serializer: S) -> Result<S::Ok, S::Error> {
        match State::try_from(*value) {
            Ok(state) => state.serialize(serializer),
            Err(_) => value.serialize(serializer),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i32, D::Error> {
        State::deserialize(deserializer).map(Into::into)
    }
}

mod timestamp {
    use std::borrow::Cow;

    use prost_types::Timestamp;

    use super::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(value: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => serializer.collect_str(value),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
        let text = Cow::<'_, str>::deserialize(deserializer)?;
        text.parse().map(Some).map_err(Error::custom)
    }
}
