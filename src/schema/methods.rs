//! The methods that a merged schema exposes.

use buffa_descriptor::{
    MethodDescriptor,
    generated::descriptor::{MethodOptions, method_options::IdempotencyLevel},
};
use http::uri::PathAndQuery;

use super::{
    InvalidSet, Method, Origin, SchemaError, Source, is_infrastructure, merge::Merged, rules, service_config::Unmatched,
};

/// In the order of the sources and of their files. `own`: the upstream that the gateway is to itself.
pub(super) fn collect(merged: &Merged, sources: &[Source<'_>], own: Option<usize>) -> Result<Vec<Method>, SchemaError> {
    let mut methods = Vec::new();
    for service in merged.pool.services() {
        let name = service.full_name();
        for descriptor in service.methods() {
            // What is built in has none.
            let Some(owners) = merged.owners.get(&format!("{name}.{}", descriptor.name())) else { continue };
            let takes = |source: &&Source<'_>| !is_infrastructure(name) || Some(source.upstream) == own;
            let mut owners = owners.iter().filter_map(|source| sources.get(*source)).filter(takes).peekable();
            let Some(first) = owners.peek().copied() else { continue };
            methods.push(method(name, descriptor, first, owners.map(|source| source.upstream).collect())?);
        }
    }
    for source in sources {
        check_selectors(source, &methods)?;
    }
    Ok(methods)
}

/// Every selector of a service configuration must mean something: what is not there may be a slip.
fn check_selectors(source: &Source<'_>, methods: &[Method]) -> Result<(), SchemaError> {
    let names: Vec<String> =
        methods.iter().filter(|method| method.upstreams.contains(&source.upstream)).map(Method::full_name).collect();
    let Some(Unmatched { location, pattern }) = source.service_config.unmatched(names.iter().map(String::as_str))
    else {
        return Ok(());
    };
    let own = methods.iter().filter(|method| method.upstreams.contains(&source.upstream));
    let services = own.map(|method| &method.service);
    let wildcards = services.filter(|_| pattern.ends_with('*')).map(|service| format!("{service}.*"));
    let nearest = names.iter().cloned().chain(wildcards).min_by_key(|name| strsim::osa_distance(name, pattern));
    Err(SchemaError::Selector {
        location: location.clone(),
        upstream: source.name.to_owned(),
        pattern: pattern.to_owned(),
        nearest,
    })
}

fn method(
    service: &str,
    descriptor: &MethodDescriptor,
    source: &Source<'_>,
    upstreams: Vec<usize>,
) -> Result<Method, SchemaError> {
    let none = MethodOptions::default();
    let options = descriptor.options().unwrap_or(&none);
    let name = descriptor.name();
    let full_name = format!("{service}.{name}");
    let mut rules = match source.service_config.rules_of(&full_name) {
        Some(rules) => rules.to_vec(),
        None => rules::of_method(options).map_err(|fault| SchemaError::Rule {
            location: source.annotation(service, name),
            method: full_name.clone(),
            upstream: source.name.to_owned(),
            fault,
        })?,
    };
    rules.iter_mut().for_each(|rule| rule.decodes_slashes = source.service_config.fully_decode());
    Ok(Method {
        // Only too long a name makes no path.
        path: PathAndQuery::try_from(format!("/{service}/{name}")).map_err(|_| SchemaError::Invalid {
            origin: Origin::Upstream(source.name.to_owned()),
            fault: InvalidSet::Name(full_name),
        })?,
        service: service.to_owned(),
        name: name.to_owned(),
        input: descriptor.input(),
        output: descriptor.output(),
        client_streaming: descriptor.is_client_streaming(),
        server_streaming: descriptor.is_server_streaming(),
        no_side_effects: options.idempotency_level == Some(IdempotencyLevel::NO_SIDE_EFFECTS),
        idempotent: matches!(
            options.idempotency_level,
            Some(IdempotencyLevel::NO_SIDE_EFFECTS | IdempotencyLevel::IDEMPOTENT)
        ),
        rules,
        upstreams,
    })
}
