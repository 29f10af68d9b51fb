//! YAML text → a tree whose every key and value knows its line and column, within a budget.
//!
//! Knows nothing of what the keys mean.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, SeqAccess, Visitor},
};
use serde_saphyr::{Error, Location, Options, Spanned};

use super::error::Place;

/// A value and where it stands.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) place: Place,
}

#[derive(Debug)]
pub(super) enum Value {
    Null,
    /// Any single value, as text.
    Scalar(String),
    List(Vec<Node>),
    /// In the file's order.
    Map(Vec<(Key, Node)>),
}

#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: String,
    pub(super) place: Place,
}

/// Reads the text as one YAML document of at most `nodes_max` keys and values, aliases counted as often as they stand
/// for something.
///
/// # Errors
/// The first place where it is not YAML, repeats a key, or is larger than a configuration can be.
pub(super) fn read(text: &str, nodes_max: usize) -> Result<Node, (Place, String)> {
    let root: Spanned<Value> = typed(text, nodes_max)?;
    Ok(root.into())
}

/// Reads the text straight into a type, by the same rules.
///
/// # Errors
/// The first place that does not fit.
pub(super) fn typed<T: for<'de> Deserialize<'de>>(text: &str, nodes_max: usize) -> Result<T, (Place, String)> {
    serde_saphyr::from_str_with_options(text, options(nodes_max)).map_err(|error| {
        let place = error.location().map(Place::from).unwrap_or_default();
        (place, describe(&error))
    })
}

/// Aliases may not multiply a small file into a large tree ("billion laughs").
fn options(nodes_max: usize) -> Options {
    serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_nodes: nodes_max,
            max_events: 4 * nodes_max,
            max_recorded_anchor_events: nodes_max,
            max_aliases: ALIASES_MAX,
            max_anchors: ALIASES_MAX,
            max_merge_keys: ALIASES_MAX,
            max_documents: 2,
            max_depth: DEPTH_MAX,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: nodes_max,
        },
        strict_booleans: true,
        with_snippet: false,
    }
}

fn describe(error: &Error) -> String {
    match error.without_snippet() {
        Error::DuplicateMappingKey { key: Some(key), .. } => format!("the key `{key}` stands here twice"),
        Error::DuplicateMappingKey { key: None, .. } => "a key stands here twice".to_owned(),
        Error::MultipleDocuments { .. } => "a second document begins here; a configuration is one".to_owned(),
        Error::AliasError { error, .. } => describe(error),
        Error::Eof { .. } => "the file is empty".to_owned(),
        Error::Budget { .. } | Error::AliasReplayLimitExceeded { .. } | Error::AliasExpansionLimitExceeded { .. } => {
            "the file is larger, deeper or repeats more by aliases than a configuration may".to_owned()
        }
        // A type's own complaint, about a notation that YAML reads otherwise than we do: `0x10`, `1e3`.
        Error::Message { msg, .. } => format!("the value {msg}"),
        other => {
            // The library ends its text with the place, which stands in front already.
            let text = other.to_string();
            let text = text.split(" at line ").next().unwrap_or_default().trim();
            format!("this is not valid YAML: {}", text.lines().next().unwrap_or_default())
        }
    }
}

impl From<Location> for Place {
    fn from(location: Location) -> Self {
        Self { line: location.line(), column: location.column() }
    }
}

impl From<Spanned<Value>> for Node {
    fn from(spanned: Spanned<Value>) -> Self {
        Self { value: spanned.value, place: spanned.defined.into() }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Tree)
    }
}

struct Tree;

impl<'de> Visitor<'de> for Tree {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Scalar(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Scalar(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Scalar(value.to_string()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Value, E> {
        Ok(Value::Scalar(value.to_string()))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Value, E> {
        Ok(Value::Scalar(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Scalar(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Scalar(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element::<Spanned<Value>>()? {
            list.push(item.into());
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Vec::new();
        while let Some(key) = entries.next_key::<Spanned<String>>()? {
            let key = Key { name: key.value, place: key.referenced.into() };
            map.push((key, entries.next_value::<Spanned<Value>>()?.into()));
        }
        Ok(Value::Map(map))
    }
}

const ALIASES_MAX: usize = 1000;

const DEPTH_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    const NODES_MAX: usize = 50_000;

    #[test]
    fn keys_and_values_know_their_places() {
        let root = read("a:\n  b: [1, x]\n  \"c\": true\n", NODES_MAX).unwrap();
        let Value::Map(top) = root.value else { panic!("{root:?}") };
        let Value::Map(entries) = &top[0].1.value else { panic!("{top:?}") };
        let Value::List(list) = &entries[0].1.value else { panic!("{entries:?}") };
        let places = [entries[0].0.place, list[1].place, entries[1].0.place, entries[1].1.place];
        assert_eq!(places.map(|place| (place.line, place.column)), [(2, 3), (2, 10), (3, 3), (3, 8)]);
    }

    #[test]
    fn an_alias_bomb_is_refused() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..9 {
            let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
            text.push_str(&format!("a{level}: &a{level} [{aliases}]\n"));
        }
        let (_, message) = read(&text, NODES_MAX).unwrap_err();
        assert!(message.contains("repeats more by aliases"), "{message}");
    }

    #[test]
    fn a_tower_of_brackets_is_refused() {
        assert!(read(&"[".repeat(10_000), NODES_MAX).is_err());
        assert!(read(&format!("a: {}{}", "[".repeat(100), "]".repeat(100)), NODES_MAX).is_err());
    }
}
