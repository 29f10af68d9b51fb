//! HTTP rules that stand beside the schema, in a gRPC service configuration. Knows nothing of how a template is matched.

use std::{
    collections::{HashMap, HashSet},
    path::PathBuf,
};

use super::{HttpRule, rules};
use crate::config::{ConfigError, ConfigErrors, Location, ServiceHttp, ServiceRule, load_service};

/// The rules of one upstream's service configuration; they take the place of annotations.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ServiceConfig {
    rules: Vec<Rule>,
    /// The last rule that selects a method by its name, and the last of each wildcard: indices of `rules`.
    by_name: HashMap<String, usize>,
    by_prefix: HashMap<String, usize>,
    fully_decode: bool,
}

#[derive(Debug, PartialEq, Eq)]
struct Rule {
    location: Location,
    patterns: Vec<String>,
    bindings: Vec<HttpRule>,
}

/// A pattern of a selector that no method has.
pub(super) struct Unmatched<'c> {
    pub(super) location: &'c Location,
    pub(super) pattern: &'c str,
}

impl ServiceConfig {
    /// Reads the files in order, as if they were one; no files: no rules.
    ///
    /// # Errors
    /// Every fault that was found, with file, line and column.
    pub fn load(files: &[PathBuf]) -> Result<Self, ConfigErrors> {
        Self::of(files.iter().map(|file| load_service(file)))
    }

    pub(crate) fn of(files: impl IntoIterator<Item = Result<ServiceHttp, ConfigErrors>>) -> Result<Self, ConfigErrors> {
        let mut config = Self::default();
        let mut errors = Vec::new();
        for file in files {
            match file {
                Ok(http) => config.add(http, &mut errors),
                Err(faults) => errors.extend(faults.0),
            }
        }
        if errors.is_empty() { Ok(config) } else { Err(ConfigErrors(errors)) }
    }

    fn add(&mut self, http: ServiceHttp, errors: &mut Vec<ConfigError>) {
        self.fully_decode = http.fully_decode_reserved_expansion.unwrap_or(self.fully_decode);
        for rule in http.rules {
            match Rule::new(rule) {
                Ok(rule) => {
                    for pattern in &rule.patterns {
                        match prefix_of(pattern) {
                            Some(prefix) => self.by_prefix.insert(prefix.to_owned(), self.rules.len()),
                            None => self.by_name.insert(pattern.clone(), self.rules.len()),
                        };
                    }
                    self.rules.push(rule);
                }
                Err(error) => errors.push(error),
            }
        }
    }

    /// The rules of a method, by its full name; none where nothing selects it. The last rule wins (google.api.Http).
    pub(super) fn rules_of(&self, method: &str) -> Option<&[HttpRule]> {
        let wildcards = prefixes(method).filter_map(|prefix| self.by_prefix.get(prefix));
        let last = self.by_name.get(method).into_iter().chain(wildcards).max()?;
        self.rules.get(*last).map(|rule| &*rule.bindings)
    }

    /// `google.api.Http.fully_decode_reserved_expansion`.
    pub(super) fn fully_decode(&self) -> bool {
        self.fully_decode
    }

    /// The first pattern that none of these methods has.
    pub(super) fn unmatched<'m>(&self, methods: impl Iterator<Item = &'m str>) -> Option<Unmatched<'_>> {
        let mut known = HashSet::new();
        for method in methods {
            known.insert(method);
            known.extend(prefixes(method));
        }
        let is_known = |pattern: &&String| known.contains(prefix_of(pattern).unwrap_or(pattern));
        self.rules.iter().find_map(|rule| {
            let pattern = rule.patterns.iter().find(|pattern| !is_known(pattern))?;
            Some(Unmatched { location: &rule.location, pattern })
        })
    }
}

impl Rule {
    fn new(rule: ServiceRule) -> Result<Self, ConfigError> {
        let fault = |location: Location, message| ConfigError {
            file: location.file,
            place: location.place,
            key: String::new(),
            message,
        };
        // `google.api.DocumentationRule.selector` has the syntax.
        let patterns: Vec<_> = rule.selector.split(',').map(|pattern| pattern.trim().to_owned()).collect();
        if let Some(wrong) = patterns.iter().find(|pattern| !is_pattern(pattern)) {
            let what = "is neither a method's full name nor one with `*` for its last parts";
            return Err(fault(rule.location, format!("the selector {wrong:?} {what}")));
        }
        let mut bindings = Vec::with_capacity(rule.bindings.len());
        for binding in rule.bindings {
            let location = binding.location.clone();
            bindings.extend(rules::of_service_config(binding).map_err(|error| fault(location, error.to_string()))?);
        }
        Ok(Self { location: rule.location, patterns, bindings })
    }
}

fn is_pattern(text: &str) -> bool {
    let name = text.strip_suffix(".*").unwrap_or(text);
    text == "*" || name.split('.').all(|part| !part.is_empty() && !part.contains(['*', ' ', '/']))
}

/// What stands before the `*`, with its dot.
fn prefix_of(pattern: &str) -> Option<&str> {
    pattern.strip_suffix('*')
}

/// What may stand before the `*` of a wildcard that matches this name.
fn prefixes(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('.').filter_map(|(dot, _)| name.get(..=dot)).chain([""])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse_service;

    fn config(yaml: &str) -> Result<ServiceConfig, ConfigErrors> {
        ServiceConfig::of([parse_service(yaml, "s.yaml")])
    }

    #[test]
    fn the_last_rule_that_selects_a_method_wins() {
        let config = config(
            "http: { rules: [ { selector: '*', get: /0 }, { selector: a.B.C, get: /1 }, { selector: a.B.*, get: /2 },
               { selector: 'a.B.D, a.E.*', get: /3, additional_bindings: [ { get: /4 } ] }, { selector: a.B.F } ] }",
        )
        .unwrap();
        for (method, templates) in [
            ("a.B.C", &["/2"][..]),
            ("a.B.D", &["/3", "/4"]),
            ("a.E.C", &["/3", "/4"]),
            ("a.E.F.C", &["/3", "/4"]),
            ("a.EE.C", &["/0"]),
            ("C", &["/0"]),
            ("a.B.F", &[]),
        ] {
            let rules = config.rules_of(method).unwrap();
            assert_eq!(rules.iter().map(|rule| &*rule.template).collect::<Vec<_>>(), templates, "{method}");
        }
        assert!(ServiceConfig::default().rules_of("a.B.C").is_none());
    }

    #[test]
    fn selectors_and_kinds_that_cannot_be_are_refused_where_they_stand() {
        for (rule, error) in [
            ("selector: a.b*, get: /", "s.yaml:1:30: the selector \"a.b*\" is neither a method's"),
            ("selector: a.*.c, get: /", "s.yaml:1:30: the selector \"a.*.c\" is neither a method's"),
            ("selector: '', get: /", "s.yaml:1:30: the selector \"\" is neither a method's"),
            ("selector: 'a.B,', get: /", "s.yaml:1:30: the selector \"\" is neither a method's"),
            ("selector: a.B/C, get: /", "s.yaml:1:30: the selector \"a.B/C\" is neither a method's"),
            ("selector: a.B, custom: { kind: '', path: / }", "s.yaml:1:43: the custom kind `` is no HTTP method"),
            ("selector: a.B, custom: { kind: a b, path: / }", "s.yaml:1:43: the custom kind `a b` is no HTTP method"),
        ] {
            let errors = config(&format!("http: {{ rules: [ {{ {rule} }} ] }}")).unwrap_err().to_string();
            assert!(errors.starts_with(error), "{errors}");
        }
    }

    #[test]
    fn several_files_are_read_as_one() {
        let of = |files: &[&str]| ServiceConfig::of(files.iter().map(|yaml| parse_service(yaml, "s.yaml")));
        let first = "http: { fully_decode_reserved_expansion: true, rules: [ { selector: a.B, get: /1 } ] }";
        let config = of(&[first, "http: { rules: [ { selector: a.B, get: /2 } ] }"]).unwrap();
        assert_eq!(config.rules_of("a.B").unwrap()[0].template, "/2");
        assert!(config.fully_decode());
        assert!(!of(&[first, "http: { fully_decode_reserved_expansion: false }"]).unwrap().fully_decode());
        assert_eq!(of(&["http: x", first, "http: { rule: x }"]).unwrap_err().0.len(), 2);
    }

    #[test]
    fn a_selector_without_a_method_is_found() {
        let config = config("http: { rules: [ { selector: 'a.B.*,*,a.B.C' }, { selector: 'a.B.C,a.C.*' } ] }").unwrap();
        let unmatched = |methods: &[&'static str]| config.unmatched(methods.iter().copied()).map(|found| found.pattern);
        assert_eq!(unmatched(&["a.B.C", "a.C.D"]), None);
        assert_eq!(unmatched(&["a.B.C", "a.CC.D"]), Some("a.C.*"));
        assert_eq!(unmatched(&["a.B.D", "a.C.D"]), Some("a.B.C"));
        assert_eq!(unmatched(&[]), Some("a.B.*"));
    }
}
