//! Query strings: `RULE QUERY`. A refusal names a parameter that is there; what is bound is what the same value gives in JSON,
//! all parameters together are what each gives by itself, joined; and nothing becomes much longer than it was.

use percent_encoding::percent_decode_str;
use serde_json::{Value, json};
use tidegate::{
    codec::{Binding, InputError, Place, QueryMode},
    config::OutputSettings,
};

use super::CODEC;

/// The variables of a rule, their values, and its body.
const RULES: [(&[&str], &[&str], Option<&str>); 4] = [
    (&[], &[], None),
    (&["s", "n.i", "opt_b"], &["a/b", "7", "true"], None),
    (&["on.child.s"], &["x"], Some("n")),
    (&["os"], &[""], Some("n.child")),
];

pub(crate) fn run(data: &[u8]) {
    let Some((rule, query)) = data.split_first() else { return };
    let Ok(query) = std::str::from_utf8(query) else { return };
    let (variables, captures, body) = RULES[usize::from(*rule) % RULES.len()];
    let bind = |query: &str| bound(variables, captures, body, query);
    let parameters: Vec<_> = query.split('&').filter(|pair| !pair.is_empty()).collect();
    let whole = match bind(query) {
        Ok(whole) => whole,
        Err(error) => return check_error(&error, &parameters),
    };
    let from_path = bind("").expect("the captures fit");
    assert!(whole.len() - from_path.len() <= 4 * query.len(), "{} bytes of {} bytes", whole.len(), query.len());
    let mut joined = from_path.clone();
    for parameter in parameters {
        let alone = bound(&[], &[], None, parameter).expect("a parameter that is taken with others is taken alone");
        check_value(parameter, &alone);
        joined.extend(alone);
    }
    assert_eq!(written(&whole), written(&joined));
}

fn bound(variables: &[&str], captures: &[&str], body: Option<&str>, query: &str) -> Result<Vec<u8>, InputError> {
    let (codec, plan) = &*CODEC;
    let binding = Binding::compile(codec, *plan, *plan, variables, body, None).expect("the rule fits");
    let mut bound = binding.bind(codec, captures, Some(query), QueryMode::Strict)?;
    let mut wire = Vec::new();
    bound.message(codec, &binding, None, &mut wire).expect("what is bound is a message");
    codec.validate(*plan, &wire).expect("the message is sound");
    // A message that has all of it already gets nothing from the same URL, where the URL only fills what is missing.
    let filling = Binding::compile(codec, *plan, *plan, variables, Some("*"), None).expect("the rule fits");
    let (mut filled, bound) = (Vec::new(), filling.bind(codec, captures, Some(query), QueryMode::Fill)?);
    bound.protobuf(codec, &filling, &wire, &mut filled).expect("nothing contradicts itself");
    assert_eq!(written(&filled), written(&wire));
    Ok(wire)
}

fn check_error(error: &InputError, parameters: &[&str]) {
    let Place::Query { parameter } = error.place() else { panic!("{error} is not about the query") };
    assert!(!error.text().is_empty());
    let named = |pair: &&str| {
        let name = pair.split_once('=').map_or(*pair, |(name, _)| name);
        shown(name) == *parameter || decoded(name).is_some_and(|name| shown(&name) == *parameter)
    };
    assert!(parameters.iter().any(named), "{error}");
}

/// As errors show what a client wrote.
fn shown(name: &str) -> String {
    let mut short: String = name.chars().take(40).collect();
    if short.len() < name.len() {
        short.push('…');
    }
    let quoted = format!("{short:?}");
    if short.is_empty() { quoted } else { quoted[1..quoted.len() - 1].to_owned() }
}

/// One parameter gives what its value gives as JSON: as a string or as it stands, and in a list where the field is one.
fn check_value(parameter: &str, wire: &[u8]) {
    let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
    let (Some(name), Some(value)) = (decoded(name), decoded(value)) else { panic!("{parameter} is not sound") };
    let (path, key) = match name.strip_suffix(']').and_then(|name| name.split_once('[')) {
        Some((path, key)) => (path, Some(key)),
        None => (&*name, None),
    };
    let Some(wanted) = written(wire) else {
        assert!(path.ends_with("mask"), "{parameter} has no form in JSON");
        return;
    };
    // In a query a mask's paths may stand in snake_case.
    let values = [Some(json!(value)), serde_json::from_str(&value).ok(), Some(json!(camel(&value)))];
    let found = values.into_iter().flatten().flat_map(|value| [json!([value]), value]).any(|value| {
        let leaf = key.map_or(value.clone(), |key| json!({ key: value }));
        let message = path.rsplit('.').fold(leaf, |inner, name| json!({ name: inner }));
        read(&message).is_some_and(|wire| written(&wire).as_ref() == Some(&wanted))
    });
    assert!(found, "{parameter} gives {wanted}");
}

fn camel(path: &str) -> String {
    let mut after_underscore = false;
    let mut letter = |letter: char| {
        let upper = std::mem::replace(&mut after_underscore, letter == '_');
        (letter != '_').then(|| if upper { letter.to_ascii_uppercase() } else { letter })
    };
    path.chars().filter_map(&mut letter).collect()
}

fn read(json: &Value) -> Option<Vec<u8>> {
    let (codec, plan) = &*CODEC;
    let mut wire = Vec::new();
    codec.json_to_wire(*plan, json.to_string().as_bytes(), &mut wire).ok()?;
    Some(wire)
}

/// The message in JSON; none where it has a mask that has no form in it.
fn written(wire: &[u8]) -> Option<String> {
    let (codec, plan) = &*CODEC;
    let mut json = Vec::new();
    codec.wire_to_json(*plan, wire, OutputSettings::default(), &mut json).ok()?;
    Some(String::from_utf8(json).expect("JSON is UTF-8"))
}

/// None for what is not percent-encoded UTF-8.
fn decoded(text: &str) -> Option<String> {
    let spaced = text.replace('+', " ");
    let is_escape =
        |rest: &str| rest.get(..2).is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let text = percent_decode_str(&spaced).decode_utf8().ok()?;
    spaced.split('%').skip(1).all(is_escape).then(|| text.into_owned())
}
