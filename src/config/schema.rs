//! The JSON Schema of the file, and docs/config.md, from the types of [`super::raw`].

use std::fmt::Write;

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value as Json};

use super::{
    check::{SCALARS, words_of},
    raw::RawConfig,
};

/// The schema as editors take it (JSON Schema 2020-12).
pub fn json_schema() -> String {
    let mut text = serde_json::to_string_pretty(&schema()).unwrap_or_default();
    text.push('\n');
    text
}

/// The reference of every key, for people.
pub fn markdown() -> String {
    let mut text = INTRODUCTION.to_owned();
    section(&schema(), "", &mut text);
    text.push_str("\n## Forms of values\n\n| name | what it looks like |\n|---|---|\n");
    for form in SCALARS {
        let _ = writeln!(text, "| {} | {} |", form.format, form.looks);
    }
    text
}

/// Without `$ref`, and without `null`: an optional key is left out, not empty.
pub(super) fn schema() -> Json {
    let settings = SchemaSettings::draft2020_12().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<RawConfig>().to_value();
    without_null(&mut schema);
    schema
}

fn without_null(json: &mut Json) {
    match json {
        Json::Object(map) => {
            map.retain(|key, value| !(key == "default" && value.is_null()));
            if let Some(Json::Array(types)) = map.get_mut("type") {
                types.retain(|name| name != "null");
                if let [only] = types.as_slice() {
                    let only = only.clone();
                    map.insert("type".to_owned(), only);
                }
            }
            if let Some(Json::Array(choices)) = map.remove("anyOf") {
                let some = choices.into_iter().find(|choice| choice["type"] != "null");
                for (key, value) in some.as_ref().and_then(Json::as_object).into_iter().flatten() {
                    map.entry(key.clone()).or_insert_with(|| value.clone());
                }
            }
            map.values_mut().for_each(without_null);
        }
        Json::Array(list) => list.iter_mut().for_each(without_null),
        _ => {}
    }
}

/// A table of the keys of one map, then the maps below it.
fn section(schema: &Json, path: &str, text: &mut String) {
    let none = Map::new();
    let keys = schema["properties"].as_object().unwrap_or(&none);
    let required =
        |name: &str| schema["required"].as_array().is_some_and(|names| names.iter().any(|known| known == name));
    if path.is_empty() {
        text.push_str("\n## The file\n");
    } else {
        let _ = write!(text, "\n## `{path}`\n");
    }
    text.push_str("\n| key | value | default | meaning |\n|---|---|---|---|\n");
    // What must be there comes first.
    let (first, rest): (Vec<_>, Vec<_>) = keys.iter().partition(|(name, _)| required(name));
    for (name, key) in first.iter().chain(&rest) {
        let default = match &key["default"] {
            _ if required(name) => "(required)".to_owned(),
            Json::Null | Json::Object(_) => String::new(),
            value => format!("`{}`", value.as_str().map_or_else(|| value.to_string(), str::to_owned)),
        };
        let _ = writeln!(text, "| `{name}` | {} | {default} | {} |", looks(key), meaning(key));
    }
    for (name, key) in first.iter().chain(&rest) {
        let path = if path.is_empty() { (*name).clone() } else { format!("{path}.{name}") };
        below(key, &path, text);
    }
}

/// The sections of the maps that a key's value holds.
fn below(key: &Json, path: &str, text: &mut String) {
    if key["properties"].is_object() {
        section(key, path, text);
    } else if key["items"].is_object() {
        below(&key["items"], &format!("{path}[]"), text);
    } else if key["additionalProperties"].is_object() {
        below(&key["additionalProperties"], &format!("{path}.NAME"), text);
    }
    for choice in key["oneOf"].as_array().into_iter().flatten() {
        for (name, form) in choice["properties"].as_object().into_iter().flatten() {
            below(form, &format!("{path}.{name}"), text);
        }
    }
}

/// What the value looks like, in a few words.
fn looks(key: &Json) -> String {
    if let Some(choices) = key["oneOf"].as_array() {
        let words = choices.iter().flat_map(words_of).map(|word| format!("`{word}`"));
        let forms = choices.iter().filter_map(|choice| choice["properties"].as_object()).flatten();
        let forms = forms.map(|(name, form)| format!("`{name}:` {}", looks(form)));
        return words.chain(forms).collect::<Vec<_>>().join(", or ");
    }
    if let Some(form) = key["format"].as_str() {
        return form.to_owned();
    }
    match key["type"].as_str() {
        Some("array") => format!("list of {}s", looks(&key["items"])),
        Some("object") if key["additionalProperties"]["format"].is_string() => {
            format!("map of names to {}s", looks(&key["additionalProperties"]))
        }
        Some("object") if key["additionalProperties"].is_object() => "map of names".to_owned(),
        Some("object") => "map".to_owned(),
        Some("boolean") => "`true`, `false`".to_owned(),
        _ => "text".to_owned(),
    }
}

/// The comment of the key, and of each of its choices.
fn meaning(key: &Json) -> String {
    let mut text = line(key);
    for choice in key["oneOf"].as_array().into_iter().flatten() {
        let name =
            words_of(choice).next().or_else(|| choice["properties"].as_object()?.keys().next().map(String::as_str));
        if let Some(name) = name {
            let _ = write!(text, "<br>`{name}`: {}", line(choice));
        }
    }
    text
}

fn line(key: &Json) -> String {
    key["description"].as_str().unwrap_or_default().replace('\n', " ").replace('|', "\\|")
}

const INTRODUCTION: &str = "\
# Configuration

This page is generated from the program: `UPDATE=1 cargo test --lib config::` writes it, and the JSON Schema beside it
(`config.schema.json`), which editors take for completion:
`# yaml-language-server: $schema=config.schema.json` as the first line of the file.

The file is YAML 1.2. Unknown keys and keys that stand twice are refused; every fault is told with file, line, column
and key, all at once. `tidegate check FILE` tells them without starting anything, and prints the configuration with
every default filled in. Paths of files are relative to the directory in which the process was started.
";

#[cfg(test)]
mod tests {
    use super::*;

    /// `UPDATE=1 cargo test --lib config::` writes the files anew.
    #[test]
    fn the_docs_are_those_of_the_types() {
        for (file, text) in [("docs/config.schema.json", json_schema()), ("docs/config.md", markdown())] {
            let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file);
            if std::env::var_os("UPDATE").is_some() {
                std::fs::write(&path, &text).unwrap();
            }
            let found = std::fs::read_to_string(&path).unwrap_or_default();
            assert!(found == text, "{file} is stale: run `UPDATE=1 cargo test --lib config::`");
        }
    }

    #[test]
    fn every_key_is_explained() {
        fn keys(schema: &Json, path: &str) {
            for (name, key) in schema["properties"].as_object().into_iter().flatten() {
                let path = format!("{path}.{name}");
                assert!(key["description"].is_string(), "{path}");
                keys(key, &path);
            }
            for inner in ["items", "additionalProperties"].into_iter().filter_map(|inner| schema.get(inner)) {
                keys(inner, path);
            }
            for choice in schema["oneOf"].as_array().into_iter().flatten() {
                assert!(choice["description"].is_string(), "{path}: {choice}");
                for (name, form) in choice["properties"].as_object().into_iter().flatten() {
                    keys(form, &format!("{path}.{name}"));
                }
            }
        }
        keys(&schema(), "");
    }

    #[test]
    fn nothing_may_be_null() {
        assert!(!json_schema().contains("null"));
    }
}
