//! The table against fixtures, against a search that tries every template, and against itself: how many steps it takes.

use std::{collections::HashSet, fmt::Write};

use http::Method;
use proptest::prelude::*;

use super::{template::Segment, *};
use crate::schema::{Schema, Source};

const RULES: &str = include_str!("../../tests/data/route/rules.txt");
const TEMPLATES: &str = include_str!("../../tests/data/route/templates.txt");

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.starts_with('#'))
}

fn verb(text: &str) -> Verb {
    if text == "*" { Verb::Any } else { Verb::Method(Method::from_bytes(text.as_bytes()).unwrap()) }
}

fn table(rules: &[(Verb, &str)]) -> Table {
    let mut builder = TableBuilder::new();
    for (index, (verb, template)) in rules.iter().enumerate() {
        builder.add(verb.clone(), &Template::parse(template).unwrap(), index as u32, &format!("S.M{index}"));
    }
    builder.build().unwrap()
}

fn describe(found: &Found<'_>, names: &[&str]) -> String {
    match found {
        Found::None => "none".to_owned(),
        Found::WrongVerb { allow } => {
            format!("allow {}", allow.iter().map(Method::as_str).collect::<Vec<_>>().join(" "))
        }
        Found::Route { route, captures } => {
            let mut out = names[*route as usize].to_owned();
            if !captures.is_empty() {
                write!(out, " [{}]", captures.join(" ")).unwrap();
            }
            out
        }
    }
}

#[test]
fn templates_are_parsed_or_refused_where_they_are_wrong() {
    for line in lines(TEMPLATES) {
        let (text, expected) = line.split_once(" => ").unwrap();
        let text = text.trim();
        let got = match Template::parse(text) {
            Ok(template) => format!("ok: {}", template.variables().collect::<Vec<_>>().join(" ")),
            Err(error) => {
                let message = error.to_string();
                message.strip_prefix(&format!("the path template `{text}` is not valid ")).unwrap().to_owned()
            }
        };
        assert_eq!(got.trim(), expected.trim(), "{text}");
    }
}

#[test]
fn a_template_is_bounded() {
    let text = "/a".repeat(template::SEGMENTS_MAX);
    assert!(Template::parse(&text).is_ok());
    assert_eq!(Template::parse(&format!("{text}/a")).unwrap_err().fault, TemplateFault::TooLong);
}

#[test]
fn requests_find_their_rules() {
    let body: Vec<_> = lines(RULES).collect();
    let mut requests = 0;
    for block in body.split(|line| line.is_empty()).filter(|block| !block.is_empty()) {
        let dashes = block.iter().position(|line| line.starts_with("---")).unwrap();
        let rules: Vec<Vec<&str>> = block[..dashes].iter().map(|line| line.split_whitespace().collect()).collect();
        let names: Vec<_> = rules.iter().map(|rule| rule[2]).collect();
        let table = table(&rules.iter().map(|rule| (verb(rule[0]), rule[1])).collect::<Vec<_>>());
        for line in &block[dashes + 1..] {
            let (request, expected) = line.split_once("=>").unwrap();
            let (method, path) = request.trim().split_once(' ').unwrap();
            let found = table.find(&Method::from_bytes(method.as_bytes()).unwrap(), path.trim());
            assert_eq!(describe(&found, &names), expected.trim(), "{request}");
            requests += 1;
        }
    }
    assert!(requests > 60);
}

#[test]
fn rules_that_match_the_same_requests_are_refused_by_name() {
    let build = |rules: &[(&str, &str, &str)]| {
        let mut builder = TableBuilder::new();
        for (index, (method, template, selector)) in rules.iter().enumerate() {
            builder.add(verb(method), &Template::parse(template).unwrap(), index as u32, selector);
        }
        builder.build().map(|_| ()).map_err(|error| error.to_string())
    };
    assert_eq!(
        build(&[("GET", "/v1/{a}:x", "p.S.A"), ("GET", "/v1/{b=*}:x", "p.S.B")]),
        Err("`p.S.A` (GET /v1/{a}:x) and `p.S.B` (GET /v1/{b=*}:x) match exactly the same requests".to_owned())
    );
    assert!(build(&[("GET", "/v1/%61/**", "p.S.A"), ("GET", "/v1/{b=a/**}", "p.S.B")]).is_err());
    assert!(build(&[("*", "/v1", "p.S.A"), ("*", "/v1", "p.S.B")]).is_err());
    // The same method, but a request would fill another field.
    assert!(build(&[("GET", "/v1/{a}", "p.S.A"), ("GET", "/v1/{b}", "p.S.A")]).is_err());
    for fine in [
        [("GET", "/v1/{a}", "p.S.A"), ("GET", "/v1/{a=*}", "p.S.A")],
        [("GET", "/v1/{a}", "p.S.A"), ("POST", "/v1/{b}", "p.S.B")],
        [("GET", "/v1/{a}", "p.S.A"), ("*", "/v1/{b}", "p.S.B")],
        [("GET", "/v1/{a}", "p.S.A"), ("GET", "/v1/{b}:x", "p.S.B")],
        [("GET", "/v1/{a}", "p.S.A"), ("GET", "/v1/a", "p.S.B")],
        [("GET", "/v1/{a}", "p.S.A"), ("GET", "/v1/{a=**}", "p.S.B")],
    ] {
        assert_eq!(build(&fine), Ok(()), "{fine:?}");
    }
}

/// Tries every template on its own; of those that match, the one whose segments go first.
fn oracle<'p>(rules: &[(Verb, Template)], method: &Method, path: &'p str) -> Found<'p> {
    let tail = path.rfind('/').unwrap();
    let colon = path[tail..].rfind(':').map(|colon| tail + colon);
    let custom = colon.map(|colon| decode(&path[colon + 1..]));
    if let Some(colon) = colon {
        let matching: Vec<_> = rules
            .iter()
            .enumerate()
            .filter(|(_, (_, template))| template.verb.as_deref() == custom.as_deref())
            .filter(|(_, (_, template))| matches(&template.segments, &path[..colon]))
            .collect();
        if !matching.is_empty() {
            return best(&matching, method, &path[..colon]);
        }
    }
    let shadowed = |template: &Template| {
        custom.is_some()
            && rules
                .iter()
                .any(|(_, other)| other.segments == template.segments && other.verb.as_deref() == custom.as_deref())
    };
    let matching: Vec<_> = rules
        .iter()
        .enumerate()
        .filter(|(_, (_, template))| template.verb.is_none() && !shadowed(template))
        .filter(|(_, (_, template))| matches(&template.segments, path))
        .collect();
    best(&matching, method, path)
}

fn best<'p>(matching: &[(usize, &(Verb, Template))], method: &Method, path: &'p str) -> Found<'p> {
    let rank = |verb: &Verb| match verb {
        Verb::Method(own) if own == method => Some(0),
        Verb::Method(Method::GET) if *method == Method::HEAD => Some(1),
        Verb::Method(_) => None,
        Verb::Any => Some(2),
    };
    let fitting = matching.iter().filter_map(|(index, (verb, template))| {
        let order: Vec<u8> = template
            .segments
            .iter()
            .map(|segment| match segment {
                Segment::Literal(_) => 1,
                Segment::One => 2,
                Segment::Rest => 3,
            })
            .collect();
        Some(((order, rank(verb)?), *index, template))
    });
    if let Some((_, index, template)) = fitting.min_by(|a, b| a.0.cmp(&b.0)) {
        let captures = captures::capture(path, &template.variables, false);
        return Found::Route { route: index as u32, captures };
    }
    let mut allow: Vec<Method> = Vec::new();
    for (_, (verb, _)) in matching {
        let Verb::Method(own) = verb else { continue };
        allow.push(own.clone());
        allow.extend((*own == Method::GET).then_some(Method::HEAD));
    }
    allow.sort_by(|a, b| a.as_str().cmp(b.as_str()));
    allow.dedup();
    if allow.is_empty() { Found::None } else { Found::WrongVerb { allow } }
}

fn matches(template: &[Segment], path: &str) -> bool {
    let path = path.strip_prefix('/').unwrap_or(path);
    let segments: Vec<&str> = if path.is_empty() { Vec::new() } else { path.split('/').collect() };
    let fixed = template.iter().filter(|segment| **segment != Segment::Rest).count();
    let open = template.last() == Some(&Segment::Rest);
    (if open { segments.len() >= fixed } else { segments.len() == fixed })
        && template.iter().zip(&segments).all(|(own, segment)| match own {
            Segment::Literal(text) => decode(segment) == **text,
            Segment::One => !segment.is_empty(),
            Segment::Rest => true,
        })
}

fn decode(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8().unwrap().into_owned()
}

fn any_segment() -> impl Strategy<Value = String> {
    prop_oneof![3 => "[abc]", 2 => Just("*".to_owned()), 1 => Just("%61".to_owned())]
}

fn any_template() -> impl Strategy<Value = String> {
    let segments = prop::collection::vec((any_segment(), any::<bool>()), 0..5);
    (segments, 0..4u8, 0..4u8).prop_map(|(segments, rest, custom)| {
        let mut out = String::new();
        for (index, (segment, variable)) in segments.iter().enumerate() {
            if *variable {
                write!(out, "/{{v{index}={segment}}}").unwrap();
            } else {
                write!(out, "/{segment}").unwrap();
            }
        }
        match rest {
            0 => out.push_str("/**"),
            1 => out.push_str("/{r=**}"),
            _ if out.is_empty() => return "/".to_owned(),
            _ => {}
        }
        match custom {
            0 => out.push_str(":a"),
            1 => out.push_str(":b"),
            _ => {}
        }
        out
    })
}

fn any_path() -> impl Strategy<Value = String> {
    let segment =
        prop_oneof![6 => "[abcd]", 3 => prop::sample::select(vec!["%61", "a%2Fb", "a:b"]).prop_map(str::to_owned)];
    let end = prop::sample::select(vec!["", "", "", "", "/", ":a", ":a", ":b", ":a:b", ":%61"]);
    (prop::collection::vec(segment, 0..6), end).prop_map(|(segments, end)| {
        let path = segments.iter().fold(String::new(), |path, segment| path + "/" + segment) + end;
        if path.starts_with('/') { path } else { format!("/{path}") }
    })
}

fn any_request() -> impl Strategy<Value = (&'static str, String)> {
    (prop::sample::select(vec!["GET", "HEAD", "POST", "PUT"]), any_path())
}

fn any_verb() -> impl Strategy<Value = Verb> {
    prop::sample::select(vec!["GET", "POST", "HEAD", "*"]).prop_map(verb)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_trie_finds_what_trying_every_template_finds(
        rules in prop::collection::vec((any_verb(), any_template()), 1..24),
        requests in prop::collection::vec(any_request(), 1..24),
    ) {
        // Rules that match the same requests are refused; here the first one stays.
        let mut seen = HashSet::new();
        let rules: Vec<(Verb, Template)> = rules
            .into_iter()
            .map(|(verb, text)| (verb, Template::parse(&text).unwrap()))
            .filter(|(verb, template)| {
                seen.insert((verb.clone(), template.segments.clone(), template.verb.clone()))
            })
            .collect();
        let texts: Vec<_> = rules.iter().map(|(verb, template)| (verb.clone(), template.as_str())).collect();
        let table = table(&texts);
        for (method, path) in &requests {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let expected = oracle(&rules, &method, path);
            prop_assert_eq!(table.find(&method, path), expected, "{} {} in {:?}", method, path, texts);
            let mut search = table::Search::new(&table, &method);
            search.find(path);
            // Two readings, each walked at most twice.
            prop_assert!(search.steps() <= 4 * table.nodes.len());
        }
    }

    #[test]
    fn no_path_and_no_template_makes_it_panic(template in "\\PC{0,20}", path in "\\PC{0,30}", method in "[A-Z]{1,5}") {
        let mut builder = TableBuilder::new();
        for (index, text) in [template.as_str(), "/{a}/{b=**}", "/{a}:b", "/**"].iter().enumerate() {
            if let Ok(template) = Template::parse(text) {
                builder.add(Verb::Any, &template, index as u32, &index.to_string());
            }
        }
        if let Ok(table) = builder.build() {
            table.find(&Method::from_bytes(method.as_bytes()).unwrap(), &path);
        }
        let _ = check_path(&path);
    }
}

#[test]
fn branches_that_fail_at_the_end_do_not_multiply_the_steps() {
    // Every segment of the path matches a literal and `*`: 2¹² prefixes, if the rules had them all. They have 13.
    let templates: Vec<String> =
        (0..=12).map(|at| format!("{}{}/end{at}", "/a".repeat(at), "/*".repeat(12 - at))).collect();
    let rules: Vec<_> = templates.iter().map(|text| (Verb::Any, text.as_str())).collect();
    let table = table(&rules);
    let path = format!("{}/nothing", "/a".repeat(12));
    let method = Method::GET;
    let mut search = table::Search::new(&table, &method);
    assert_eq!(search.find(&path), Found::None);
    assert!(search.steps() <= 2 * table.nodes.len(), "{} steps, {} nodes", search.steps(), table.nodes.len());
}

const PATHS: &str = include_str!("../../tests/data/route/paths.txt");
const TEST_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/test.binpb"));

/// From a method's name and the request to `Method variable=value …`, as the test services' rules have it.
#[test]
fn the_test_services_are_reached_by_their_rules() {
    let schema =
        Schema::merge(&[Source { upstream: 0, name: "test", set: TEST_SET, service_config: &Default::default() }])
            .unwrap();
    let mut builder = TableBuilder::new();
    let mut routes = Vec::new();
    for method in schema.methods() {
        for rule in &method.rules {
            let template = Template::parse(&rule.template).unwrap();
            let selector = format!("{}.{}", method.service, method.name);
            builder.add(rule.verb.clone(), &template, routes.len() as u32, &selector);
            routes.push((method.name.as_str(), template));
        }
    }
    let table = builder.build().unwrap();
    for line in lines(PATHS) {
        let (request, expected) = line.split_once(" => ").unwrap();
        let [id, method, path] = request.split_whitespace().collect::<Vec<_>>().try_into().unwrap();
        let got = match check_path(path) {
            Err(error) => format!("refused: {error}"),
            Ok(()) => match table.find(&Method::from_bytes(method.as_bytes()).unwrap(), path) {
                Found::Route { route, captures } => {
                    let (name, template) = &routes[route as usize];
                    let bound = template.variables().zip(captures).map(|(name, value)| format!(" {name}={value}"));
                    bound.fold((*name).to_owned(), |out, bound| out + &bound)
                }
                other => describe(&other, &[]),
            },
        };
        assert_eq!(got, expected, "{id}");
    }
}
