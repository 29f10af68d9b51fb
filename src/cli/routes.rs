//! `tidegate routes`: every path that is served, as a table or as JSON.

use clap::Args;
use serde_json::{Map, Value, json};

use super::{
    Addresses, Source,
    boot::{self, BootError, say},
};
use crate::{
    config::Settings,
    gateway::{Listed, OPENAPI_PATH},
};

#[derive(Debug, Args)]
pub(super) struct Routes {
    #[command(flatten)]
    source: Source,
    /// As a JSON array, for programs.
    #[arg(long)]
    json: bool,
}

impl Routes {
    pub(super) fn run(&self) -> Result<(), BootError> {
        let settings = self.source.settings(&Addresses::default())?;
        let mut routes = boot::snapshot(&settings)?.list();
        routes.extend(own(&settings));
        routes.sort_by(|a, b| (&a.path, &a.verbs).cmp(&(&b.path, &b.verbs)));
        say(&if self.json { as_json(&routes) } else { as_table(&routes) });
        Ok(())
    }
}

/// What the gateway answers by itself.
fn own(settings: &Settings) -> Vec<Listed> {
    let own = |verbs: &[&str], path: String, kind: &'static str| Listed {
        verbs: verbs.iter().copied().map(str::to_owned).collect(),
        path,
        method: String::new(),
        kind,
        dialects: Vec::new(),
        when: String::new(),
        upstreams: Vec::new(),
        policy: Vec::new(),
    };
    let assets = settings.assets.iter().map(|dir| own(&["GET"], format!("{}**", dir.path), "static files"));
    let document = settings.openapi.then(|| own(&["GET"], OPENAPI_PATH.to_owned(), "OpenAPI document"));
    let services = [
        (settings.services.health, "grpc.health.v1.Health", "health"),
        (settings.services.reflection, "grpc.reflection.v1.ServerReflection", "reflection"),
        (settings.services.reflection, "grpc.reflection.v1alpha.ServerReflection", "reflection"),
    ];
    let services = services.into_iter().filter(|(is_served, ..)| *is_served);
    assets.chain(document).chain(services.map(|(_, name, kind)| own(&["POST"], format!("/{name}/*"), kind))).collect()
}

fn as_json(routes: &[Listed]) -> String {
    let route = |route: &Listed| {
        let policy: Map<String, Value> =
            route.policy.iter().map(|(key, value)| ((*key).to_owned(), value.as_str().into())).collect();
        let upstreams: Map<String, Value> =
            route.upstreams.iter().map(|(name, weight)| (name.clone(), (*weight).into())).collect();
        json!({
            "verbs": route.verbs,
            "path": route.path,
            "method": route.method,
            "kind": route.kind,
            "dialects": route.dialects,
            "when": route.when,
            "upstreams": upstreams,
            "policy": policy,
        })
    };
    let routes: Vec<Value> = routes.iter().map(route).collect();
    format!("{:#}\n", Value::from(routes))
}

fn as_table(routes: &[Listed]) -> String {
    let mut rows =
        vec![["VERB", "PATH", "METHOD", "KIND", "DIALECTS", "WHEN", "UPSTREAM", "POLICY"].map(str::to_owned)];
    rows.extend(routes.iter().map(|route| {
        [
            route.verbs.join(","),
            route.path.clone(),
            route.method.clone(),
            route.kind.to_owned(),
            route.dialects.join(","),
            route.when.clone(),
            upstreams_text(route),
            policy_text(route),
        ]
    }));
    let mut table = String::new();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: [usize; 8] = std::array::from_fn(width);
    for row in &rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        let line = cells.collect::<Vec<_>>().join("  ");
        table.push_str(line.trim_end());
        table.push('\n');
    }
    table
}

/// The names, with their weights where there are several.
pub(super) fn upstreams_text(route: &Listed) -> String {
    if let [(name, _)] = &route.upstreams[..] {
        return name.clone();
    }
    let shares: Vec<String> = route.upstreams.iter().map(|(name, weight)| format!("{name}:{weight}")).collect();
    shares.join(",")
}

/// `key=value`, with blanks between.
pub(super) fn policy_text(route: &Listed) -> String {
    let pairs: Vec<String> = route.policy.iter().map(|(key, value)| format!("{key}={value}")).collect();
    pairs.join(" ")
}
