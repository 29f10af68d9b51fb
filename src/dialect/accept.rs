//! Content negotiation by `Accept` (RFC 9110 §12.5.1).

use std::borrow::Cow;

use http::{HeaderMap, header::ACCEPT};

use super::Dialect;
use crate::config::OutputSettings;

/// The dialect that the client prefers among those that answer plain requests; JSON where it names none of them.
pub(super) fn dialect(headers: &HeaderMap) -> Dialect {
    best(headers, dialect_of).map_or(Dialect::Json, |(dialect, _)| dialect)
}

fn dialect_of(range: &str) -> Option<Dialect> {
    match range {
        "text/event-stream" => Some(Dialect::Sse),
        "application/x-ndjson" | "application/jsonl" => Some(Dialect::Ndjson),
        "application/json" | "application/problem+json" | "application/*" | "*/*" => Some(Dialect::Json),
        _ => None,
    }
}

/// How the reply is to be written: the route's way, but for what the parameters of the preferred media range say
/// (PROTOCOLS §2). What is not understood is passed over, as a media range's parameters are.
pub fn output_settings(headers: &HeaderMap, route: OutputSettings) -> OutputSettings {
    if headers.get_all(ACCEPT).iter().all(|value| !value.as_bytes().contains(&b';')) {
        return route;
    }
    let Some((_, parameters)) = best(headers, dialect_of) else { return route };
    let mut settings = route;
    for (name, value) in parameters.split(';').filter_map(|parameter| parameter.trim().split_once('=')) {
        match (name, value) {
            ("defaults", "true" | "false") => settings.defaults = value == "true",
            ("pretty", "true" | "false") => settings.pretty = value == "true",
            ("enums", "number" | "name") => settings.enum_numbers = value == "number",
            ("names", "proto" | "json") => settings.proto_names = value == "proto",
            ("int64", "number" | "string") => settings.int64_numbers = value == "number",
            _ => {}
        }
    }
    settings
}

/// Whether RFC 9457 is what the client wants errors in.
pub(super) fn wants_problem(headers: &HeaderMap) -> bool {
    best(headers, |range| match range {
        "application/problem+json" => Some(true),
        "application/json" | "application/*" | "*/*" => Some(false),
        _ => None,
    })
    .is_some_and(|(wants, _)| wants)
}

/// The choice of the highest quality, the first of equals, with its parameters; `choose` says what a media range stands
/// for.
fn best<T>(headers: &HeaderMap, choose: impl Fn(&str) -> Option<T>) -> Option<(T, &str)> {
    let mut best: Option<(u16, T, &str)> = None;
    for value in headers.get_all(ACCEPT) {
        for range in value.to_str().unwrap_or_default().split(',') {
            let (name, parameters) = range.split_once(';').unwrap_or((range, ""));
            let name = name.trim();
            let upper = name.bytes().any(|byte| byte.is_ascii_uppercase());
            let name = if upper { Cow::Owned(name.to_ascii_lowercase()) } else { Cow::Borrowed(name) };
            let Some(choice) = choose(&name) else { continue };
            let quality = parameters.split(';').find_map(|part| part.trim().strip_prefix("q=")).map_or(1000, quality);
            if quality > 0 && best.as_ref().is_none_or(|(highest, ..)| quality > *highest) {
                best = Some((quality, choice, parameters));
            }
        }
    }
    best.map(|(_, choice, parameters)| (choice, parameters))
}

/// Thousandths of a qvalue (RFC 9110 §12.4.2); what is not one counts as 1.
fn quality(text: &str) -> u16 {
    match text.split_once('.') {
        None if text == "0" => 0,
        Some(("0", digits)) if digits.len() <= 3 => {
            let thousandths = digits.parse::<u16>().unwrap_or(0);
            thousandths * [1000, 100, 10, 1][digits.len().min(3)]
        }
        _ => 1000,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn parameters_of_the_preferred_range_say_how_to_write() {
        let default = OutputSettings::default();
        for (accept, expected) in [
            ("application/json", default),
            ("application/json; defaults=true;pretty=true", OutputSettings { defaults: true, pretty: true, ..default }),
            (
                "application/json;enums=number; int64=number",
                OutputSettings { enum_numbers: true, int64_numbers: true, ..default },
            ),
            ("text/event-stream; names=proto", OutputSettings { proto_names: true, ..default }),
            ("*/*; names=proto; q=0.1, application/json", default),
            ("application/json; defaults=maybe; charset=utf-8", default),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, HeaderValue::from_static(accept));
            assert_eq!(output_settings(&headers, default), expected, "{accept}");
        }
    }

    #[test]
    fn the_preferred_dialect_is_chosen() {
        for (accept, expected) in [
            ("", Dialect::Json),
            ("*/*", Dialect::Json),
            ("text/html, */*;q=0.8", Dialect::Json),
            ("text/event-stream", Dialect::Sse),
            ("Text/Event-Stream; charset=utf-8", Dialect::Sse),
            ("application/x-ndjson", Dialect::Ndjson),
            ("application/jsonl", Dialect::Ndjson),
            ("application/json, text/event-stream", Dialect::Json),
            ("application/json;q=0.5, text/event-stream", Dialect::Sse),
            ("application/json;q=0.5, text/event-stream;q=0.25", Dialect::Json),
            ("text/event-stream;q=0", Dialect::Json),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, HeaderValue::from_static(accept));
            assert_eq!(dialect(&headers), expected, "{accept}");
        }
    }
}
