//! Names of operations: short, unique, and the same whichever part of the API is described.

use std::collections::HashMap;

use crate::schema::{Method, Schema};

/// Short names that stand for several operations of a schema.
pub(super) struct Ids(HashMap<String, usize>);

impl Ids {
    pub(super) fn new(schema: &Schema) -> Self {
        let mut counts = HashMap::new();
        for method in schema.methods() {
            let rules = (0..method.rules.len()).map(Some);
            for rule in rules.chain([None]) {
                *counts.entry(short(method, rule)).or_default() += 1;
            }
        }
        Self(counts)
    }

    /// `Service_Method`, or the whole name where others would have the same.
    pub(super) fn id(&self, method: &Method, rule: Option<usize>) -> String {
        let short = short(method, rule);
        if self.0.get(&short) == Some(&1) {
            return short;
        }
        // No name begins with a digit and none ends in a dot, so this one is nobody else's.
        let suffix = suffix(method, rule).map(|suffix| format!(".{suffix}")).unwrap_or_default();
        format!("{}{suffix}", method.full_name())
    }
}

fn short(method: &Method, rule: Option<usize>) -> String {
    let service = method.service.rsplit('.').next().unwrap_or_default();
    let suffix = suffix(method, rule).map(|suffix| format!("_{suffix}")).unwrap_or_default();
    format!("{service}_{}{suffix}", method.name)
}

/// What tells the operations of one method apart: the first rule's has none, nor has that of a method without rules.
fn suffix(method: &Method, rule: Option<usize>) -> Option<usize> {
    match rule {
        None if method.rules.is_empty() => None,
        None => Some(0),
        Some(0) => None,
        Some(place) => Some(place + 1),
    }
}
