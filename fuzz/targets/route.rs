//! Paths and templates: `TEMPLATE PATH`. A template is its own text, and no path that was let pass breaks the search;
//! what it finds has a value for each variable.
#![no_main]

use http::Method;
use libfuzzer_sys::fuzz_target;
use tidegate::route::{Found, TableBuilder, Template, Verb, check_path};

fuzz_target!(|data: &str| {
    let (template, path) = data.split_once(' ').unwrap_or((data, "/"));
    let passes = check_path(path).is_ok();
    let Ok(template) = Template::parse(template) else { return };
    let again = Template::parse(template.as_str()).expect("a template is its own text");
    assert!(again.variables().eq(template.variables()));
    let mut builder = TableBuilder::new();
    builder.add(Verb::Method(Method::GET), &template, 7, "fuzz");
    let table = builder.build().expect("one rule is not ambiguous");
    if !passes {
        return;
    }
    match table.find(&Method::GET, path) {
        Found::Route { route, captures } => {
            assert_eq!((route, captures.len()), (7, template.variables().count()));
            assert!(matches!(table.find(&Method::POST, path), Found::WrongVerb { .. }));
        }
        Found::WrongVerb { .. } => panic!("the verb is the rule's"),
        Found::None => assert_eq!(table.find(&Method::POST, path), Found::None),
    }
});
