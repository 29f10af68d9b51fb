//! Path templates and the table of rules: lines of `VERB TEMPLATE`, an empty line, lines of `VERB PATH`. A template that is
//! written again from its parts is the same; rules are ambiguous where they match the same requests, and otherwise a request
//! finds what trying every rule finds.

use http::Method;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use tidegate::route::{Found, Segment, TableBuilder, Template, Variable, Verb, check_path};

const RULES_MAX: usize = 32;
const REQUESTS_MAX: usize = 32;

type Rule = (Verb, Template);

pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (rules, requests) = text.split_once("\n\n").unwrap_or((text, ""));
    let mut all: Vec<Rule> = Vec::new();
    for (verb, template) in rules.lines().filter_map(|line| line.split_once(' ')).take(RULES_MAX) {
        match (verb_of(verb), Template::parse(template)) {
            (Some(verb), Ok(parsed)) => {
                check_print(&parsed);
                all.push((verb, parsed));
            }
            (_, Err(error)) => assert!(error.at <= template.len() && error.template == template),
            _ => {}
        }
    }
    let mut distinct: Vec<Rule> = Vec::new();
    for rule in &all {
        if !distinct.iter().any(|other| same_requests(other, rule)) {
            distinct.push(rule.clone());
        }
    }
    assert_eq!(table(&all).build().is_err(), distinct.len() < all.len());
    let table = table(&distinct).build().expect("what was ambiguous is gone");
    for (verb, path) in requests.lines().filter_map(|line| line.split_once(' ')).take(REQUESTS_MAX) {
        if let (Ok(verb), Ok(())) = (Method::from_bytes(verb.as_bytes()), check_path(path)) {
            assert_eq!(table.find(&verb, path), by_trying(&distinct, &verb, path), "{verb} {path}");
        }
    }
}

fn verb_of(text: &str) -> Option<Verb> {
    if text == "*" { Some(Verb::Any) } else { Method::from_bytes(text.as_bytes()).ok().map(Verb::Method) }
}

fn table(rules: &[Rule]) -> TableBuilder {
    let mut builder = TableBuilder::new();
    for ((verb, template), route) in rules.iter().zip(0..) {
        builder.add(verb.clone(), template, route, &route.to_string());
    }
    builder
}

fn same_requests((verb, template): &Rule, (other_verb, other): &Rule) -> bool {
    verb == other_verb && template.segments() == other.segments() && template.custom_verb() == other.custom_verb()
}

fn check_print(template: &Template) {
    let printed = print(template);
    let again = Template::parse(&printed).unwrap_or_else(|error| panic!("{}: {error}", template.as_str()));
    assert_eq!(again.segments(), template.segments());
    assert_eq!(again.captured(), template.captured());
    assert_eq!(again.custom_verb(), template.custom_verb());
    assert_eq!(print(&again), printed);
}

fn print(template: &Template) -> String {
    const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
    let mut out = String::new();
    for (index, segment) in template.segments().iter().enumerate() {
        out.push('/');
        let at = |edge: fn(&Variable) -> usize| template.captured().iter().find(move |own| edge(own) == index);
        if let Some(variable) = at(|variable| variable.segments().start) {
            out += &format!("{{{}=", variable.field_path);
        }
        match segment {
            Segment::Literal(text) => out.extend(utf8_percent_encode(text, ENCODED)),
            Segment::One => out.push('*'),
            Segment::Rest => out += "**",
        }
        if at(|variable| variable.segments().end - 1).is_some() {
            out.push('}');
        }
    }
    if let Some(verb) = template.custom_verb() {
        out.push(':');
        out.extend(utf8_percent_encode(verb, ENCODED));
    }
    if out.is_empty() { "/".to_owned() } else { out }
}

/// A custom verb that some rule has is never data; where the path has none, what follows its last colon is.
fn by_trying<'p>(rules: &[Rule], method: &Method, path: &'p str) -> Found<'p> {
    let last = path.rfind('/').unwrap_or(0);
    let colon = path[last..].rfind(':').map(|at| last + at);
    let custom = colon.map(|colon| decoded(&path[colon + 1..]));
    let fits = |index: &usize, custom: Option<&str>, path: &str| {
        let (_, template) = &rules[*index];
        template.custom_verb() == custom && matches(template.segments(), path)
    };
    if let Some(colon) = colon {
        let head = &path[..colon];
        let fitting: Vec<_> = (0..rules.len()).filter(|index| fits(index, custom.as_deref(), head)).collect();
        if !fitting.is_empty() {
            return best(rules, &fitting, method, head);
        }
    }
    let taken = |index: &usize| {
        custom.is_some()
            && rules.iter().any(|(_, other)| {
                other.segments() == rules[*index].1.segments() && other.custom_verb() == custom.as_deref()
            })
    };
    let fitting: Vec<_> = (0..rules.len()).filter(|index| fits(index, None, path) && !taken(index)).collect();
    best(rules, &fitting, method, path)
}

/// A literal before `*` before `**`, from the front; then the verb itself, GET for HEAD, any.
fn best<'p>(rules: &[Rule], fitting: &[usize], method: &Method, path: &'p str) -> Found<'p> {
    let rank = |index: &usize| {
        let (verb, template) = &rules[*index];
        let verb = match verb {
            Verb::Method(own) if own == method => 0,
            Verb::Method(Method::GET) if *method == Method::HEAD => 1,
            Verb::Method(_) => return None,
            Verb::Any => 2,
        };
        let order = |segment: &Segment| match segment {
            Segment::Literal(_) => 1,
            Segment::One => 2,
            Segment::Rest => 3,
        };
        Some((template.segments().iter().map(order).collect::<Vec<_>>(), verb, *index))
    };
    if let Some((_, _, index)) = fitting.iter().filter_map(rank).min() {
        let template = &rules[index].1;
        let captures = template.captured().iter().map(|variable| captured(variable, path).into()).collect();
        return Found::Route { route: index as u32, captures };
    }
    let mut allow: Vec<Method> = Vec::new();
    for index in fitting {
        if let Verb::Method(own) = &rules[*index].0 {
            allow.push(own.clone());
            allow.extend((*own == Method::GET).then_some(Method::HEAD));
        }
    }
    allow.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    allow.dedup();
    if allow.is_empty() { Found::None } else { Found::WrongVerb { allow } }
}

fn matches(template: &[Segment], path: &str) -> bool {
    let segments = segments(path);
    let fixed = template.iter().filter(|segment| **segment != Segment::Rest).count();
    let open = fixed < template.len();
    (segments.len() == fixed || open && segments.len() > fixed)
        && template.iter().zip(&segments).all(|(own, segment)| match own {
            Segment::Literal(text) => decoded(segment) == **text,
            Segment::One => !segment.is_empty(),
            Segment::Rest => true,
        })
}

fn segments(path: &str) -> Vec<&str> {
    match path.strip_prefix('/').unwrap_or(path) {
        "" => Vec::new(),
        path => path.split('/').collect(),
    }
}

/// Of several segments `%2F` stays, since it could not be told from the slashes between them.
fn captured(variable: &Variable, path: &str) -> String {
    let segments = segments(path);
    let end = if variable.rest { segments.len() } else { variable.segments().end };
    let value = segments.get(variable.first..end).unwrap_or_default().join("/");
    if variable.singles == 1 && !variable.rest {
        return decoded(&value);
    }
    decoded(&value.replace("%2F", "%252F").replace("%2f", "%252f"))
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8().expect("the path was checked").into_owned()
}
