//! The `http` of a gRPC service configuration: a `google.api.Service` in YAML, in the JSON mapping's names.
//!
//! Knows nothing of methods and templates: selectors and paths are text here.

use std::path::Path;

use serde_json::{Value as Json, json};

use super::{
    check::Findings,
    error::{ConfigErrors, Location, Place},
    read_text,
    tree::{self, Node, Value},
};

/// `google.api.Http`, as one file has it.
#[derive(Debug, Default)]
pub struct ServiceHttp {
    pub rules: Vec<ServiceRule>,
    pub fully_decode_reserved_expansion: Option<bool>,
}

/// A `google.api.HttpRule` of a service configuration.
#[derive(Debug)]
pub struct ServiceRule {
    /// Where its selector stands.
    pub location: Location,
    pub selector: String,
    /// The rule itself, then its `additional_bindings`.
    pub bindings: Vec<ServiceBinding>,
}

/// A pattern with what it binds.
#[derive(Debug)]
pub struct ServiceBinding {
    /// Where the pattern stands.
    pub location: Location,
    /// The HTTP method, a custom one as it is written, and the path; none: the rule binds no path.
    pub pattern: Option<(String, String)>,
    /// Empty: none.
    pub body: String,
    /// Empty: none.
    pub response_body: String,
}

/// Reads a service configuration. What it says of anything but HTTP is passed over.
///
/// # Errors
/// Every fault that was found, each with its place.
pub fn load_service(path: &Path) -> Result<ServiceHttp, ConfigErrors> {
    parse_service(&read_text(path, FILE_BYTES_MAX)?, &path.display().to_string())
}

/// Reads a service configuration; `file` is what faults are told of.
///
/// # Errors
/// Every fault that was found, each with its place.
pub fn parse_service(text: &str, file: &str) -> Result<ServiceHttp, ConfigErrors> {
    let one = |place, message: &str| ConfigErrors::one(file, place, message);
    let root = tree::read(text, NODES_MAX).map_err(|(place, message)| one(place, &message))?;
    let mut http = None;
    let Value::Map(entries) = root.value else { return Err(one(root.place, NOT_A_SERVICE)) };
    if !entries.iter().any(|(key, _)| matches!(&*key.name, "type" | "http")) {
        return Err(one(Place::default(), NOT_A_SERVICE));
    }
    for (key, node) in entries {
        match &*key.name {
            "type" if !matches!(&node.value, Value::Scalar(name) if name == "google.api.Service") => {
                return Err(one(node.place, NOT_A_SERVICE));
            }
            "http" => http = Some(node),
            _ => {}
        }
    }
    let Some(mut http) = http else { return Ok(ServiceHttp::default()) };
    snake_keys(&mut http);
    let mut findings = Findings::new(file);
    findings.check(&schema(), &http, "http");
    let http = Reader { file, findings: &mut findings }.http(&http);
    if findings.errors.is_empty() {
        return Ok(http);
    }
    findings.errors.sort_by_key(|error| error.place);
    Err(ConfigErrors(findings.errors))
}

/// The JSON mapping takes every name in lowerCamelCase too. One that is given in both casings stays, to be refused.
fn snake_keys(node: &mut Node) {
    match &mut node.value {
        Value::Map(entries) => {
            for at in 0..entries.len() {
                let name = snake(&entries[at].0.name);
                if !entries.iter().any(|(key, _)| key.name == name) {
                    entries[at].0.name = name;
                }
                snake_keys(&mut entries[at].1);
            }
        }
        Value::List(items) => items.iter_mut().for_each(snake_keys),
        Value::Null | Value::Scalar(_) => {}
    }
}

fn snake(name: &str) -> String {
    name.chars().fold(String::new(), |mut snake, letter| {
        if letter.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
        snake
    })
}

/// `google.api.Http` in the keys that [`Findings`] reads.
fn schema() -> Json {
    let text = || json!({ "type": "string" });
    let custom = json!({
        "type": "object",
        "properties": { "kind": text(), "path": text() },
        "required": ["kind", "path"],
    });
    let binding = json!({ "type": "object", "properties": {
        "get": text(), "put": text(), "post": text(), "delete": text(), "patch": text(), "custom": custom,
        "body": text(), "response_body": text(),
    }});
    let mut rule = binding.clone();
    rule["properties"]["selector"] = text();
    rule["properties"]["additional_bindings"] = json!({ "type": "array", "items": binding });
    rule["required"] = json!(["selector"]);
    json!({ "type": "object", "properties": {
        "rules": { "type": "array", "items": rule },
        "fully_decode_reserved_expansion": { "type": "boolean" },
    }})
}

/// Reads what is checked already; what is not as it should be was found then.
struct Reader<'a, 'f> {
    file: &'a str,
    findings: &'a mut Findings<'f>,
}

impl Reader<'_, '_> {
    fn http(&mut self, node: &Node) -> ServiceHttp {
        let rules = list(node, "rules").iter().enumerate();
        ServiceHttp {
            rules: rules.map(|(index, node)| self.rule(node, &format!("http.rules[{index}]"))).collect(),
            fully_decode_reserved_expansion: scalar(node, "fully_decode_reserved_expansion").map(|text| text == "true"),
        }
    }

    fn rule(&mut self, node: &Node, key: &str) -> ServiceRule {
        let mut bindings = vec![self.binding(node, key)];
        for (index, node) in list(node, "additional_bindings").iter().enumerate() {
            bindings.push(self.binding(node, &format!("{key}.additional_bindings[{index}]")));
        }
        ServiceRule {
            location: self.location(entry(node, "selector").map_or(node.place, |selector| selector.place)),
            selector: text(node, "selector"),
            bindings,
        }
    }

    fn binding(&mut self, node: &Node, key: &str) -> ServiceBinding {
        let given: Vec<(&str, &Node)> = PATTERNS.iter().filter_map(|name| Some((*name, entry(node, name)?))).collect();
        if let [_, (second, _), ..] = given.as_slice() {
            self.findings.fault(&format!("{key}.{second}"), "a second pattern; others go into `additional_bindings`");
        }
        let place = given.first().map_or(node.place, |(_, pattern)| pattern.place);
        let pattern = given.first().map(|(name, pattern)| match &pattern.value {
            Value::Map(_) => (text(pattern, "kind"), text(pattern, "path")),
            _ => (name.to_ascii_uppercase(), text(node, name)),
        });
        ServiceBinding {
            location: self.location(place),
            pattern,
            body: text(node, "body"),
            response_body: text(node, "response_body"),
        }
    }

    fn location(&self, place: Place) -> Location {
        Location { file: self.file.to_owned(), place }
    }
}

fn entry<'n>(node: &'n Node, name: &str) -> Option<&'n Node> {
    let Value::Map(entries) = &node.value else { return None };
    entries.iter().find(|(key, _)| key.name == name).map(|(_, node)| node)
}

fn list<'n>(node: &'n Node, name: &str) -> &'n [Node] {
    match entry(node, name).map(|node| &node.value) {
        Some(Value::List(items)) => items,
        _ => &[],
    }
}

fn scalar<'n>(node: &'n Node, name: &str) -> Option<&'n str> {
    match &entry(node, name)?.value {
        Value::Scalar(text) => Some(text),
        _ => None,
    }
}

fn text(node: &Node, name: &str) -> String {
    scalar(node, name).unwrap_or_default().to_owned()
}

/// The members of the oneof `pattern`.
const PATTERNS: [&str; 6] = ["get", "put", "post", "delete", "patch", "custom"];

const NOT_A_SERVICE: &str = "this is no gRPC service configuration (`type: google.api.Service`, `http: …`)";

const FILE_BYTES_MAX: usize = 8 << 20;

/// Keys and values of one file: the rules of the largest APIs are a tenth of that.
const NODES_MAX: usize = 500_000;

#[cfg(test)]
mod tests {
    use std::{env, fs};

    use super::*;
    use crate::config::SEPARATOR;

    /// tests/data/service_config: a file, a line `----------`, and its rules or what is wrong with it.
    /// `UPDATE=1 cargo test --lib config::` writes the second halves anew.
    #[test]
    fn files_are_read_as_their_fixtures_say() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/service_config");
        let mut stale = Vec::new();
        for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            let fixture = fs::read_to_string(&path).unwrap();
            let (input, expected) = fixture.split_once(SEPARATOR).unwrap_or((&fixture, ""));
            let found = match parse_service(input, "service.yaml") {
                Ok(http) => describe(&http),
                Err(errors) => format!("{errors}\n"),
            };
            if found != expected && env::var_os("UPDATE").is_some() {
                fs::write(path, format!("{input}{SEPARATOR}{found}")).unwrap();
            } else if found != expected {
                stale.push(format!("{}:\n{found}", path.display()));
            }
        }
        assert!(stale.is_empty(), "other than in the fixtures:\n\n{}", stale.join("\n"));
    }

    fn describe(http: &ServiceHttp) -> String {
        let mut text = String::new();
        if let Some(full) = http.fully_decode_reserved_expansion {
            text += &format!("fully_decode_reserved_expansion: {full}\n");
        }
        for rule in &http.rules {
            text += &format!("{}: {}\n", rule.location, rule.selector);
            for ServiceBinding { location, pattern, body, response_body } in &rule.bindings {
                let (kind, path) = pattern.as_ref().map_or(("no", "pattern"), |(kind, path)| (kind, path));
                text += &format!("    {location}: {kind} {path} body={body:?} response_body={response_body:?}\n");
            }
        }
        text
    }

    #[test]
    fn a_file_may_have_more_keys_than_a_configuration() {
        let rule = "- { selector: a.B.C, get: /x, additional_bindings: [ { get: /y } ] }\n  ";
        let text = format!("http:\n rules:\n  {}", rule.repeat(6000));
        assert!(tree::read(&text, 50_000).is_err());
        assert_eq!(parse_service(&text, "f").unwrap().rules.len(), 6000);
    }
}
