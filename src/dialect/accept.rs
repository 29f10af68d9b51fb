//! Content negotiation by `Accept` (RFC 9110 §12.5.1).

use std::borrow::Cow;

use http::{
    HeaderMap, HeaderValue,
    header::{ACCEPT, CONTENT_TYPE},
};

use super::{Dialect, media_type};
use crate::config::OutputSettings;

/// What the choice of a representation goes by (RFC 9110 §12.5.5).
pub const VARY: HeaderValue = HeaderValue::from_static("accept, content-type");

/// `application/protobuf` is the registered name; what is in use is mostly the other.
pub(super) const PROTOBUF: [&str; 2] = ["application/x-protobuf", "application/protobuf"];
pub(super) const NDJSON: [&str; 2] = ["application/x-ndjson", "application/jsonl"];

/// The dialect that the client prefers among those that answer plain requests. Where it has no preference: protobuf to
/// who sends protobuf, and JSON to everybody else.
pub(super) fn dialect(headers: &HeaderMap) -> Dialect {
    let preferred = best(headers, dialect_of).and_then(|(dialect, _)| dialect);
    preferred.unwrap_or_else(|| if sends_protobuf(headers) { Dialect::Protobuf } else { Dialect::Json })
}

/// The dialect that a media range stands for; `Some(None)` is any.
fn dialect_of(range: &str) -> Option<Option<Dialect>> {
    match range {
        "text/event-stream" => Some(Some(Dialect::Sse)),
        "application/json-seq" => Some(Some(Dialect::JsonSeq)),
        "application/json" | "application/problem+json" => Some(Some(Dialect::Json)),
        "application/*" | "*/*" => Some(None),
        range if NDJSON.contains(&range) => Some(Some(Dialect::Ndjson)),
        range if is_protobuf(range) => Some(Some(Dialect::Protobuf)),
        _ => None,
    }
}

/// Whether the request's body is a message, or messages, in protobuf.
pub fn sends_protobuf(headers: &HeaderMap) -> bool {
    media_type(headers, &CONTENT_TYPE).is_some_and(|kind| is_protobuf(&lower_case(kind)))
}

/// By a media type in lower case.
pub(super) fn is_protobuf(kind: &str) -> bool {
    PROTOBUF.contains(&kind)
}

/// The media type of a dialect's replies, by the name that the client has for it.
pub(super) fn media_type_of(dialect: Dialect, headers: &HeaderMap) -> &'static str {
    let names = match dialect {
        Dialect::Ndjson => NDJSON,
        Dialect::Protobuf => PROTOBUF,
        Dialect::JsonSeq => return "application/json-seq",
        Dialect::Sse => return "text/event-stream",
        Dialect::Json | Dialect::WebSocket | Dialect::Mux | Dialect::Connect | Dialect::Grpc | Dialect::GrpcWeb => {
            return "application/json";
        }
    };
    let named = |kind: &str| names.into_iter().find(|name| *name == kind);
    let accepted = best(headers, named).map(|(name, _)| name);
    let sent = || media_type(headers, &CONTENT_TYPE).and_then(|kind| named(&lower_case(kind)));
    accepted.or_else(sent).unwrap_or(names[0])
}

/// How the reply is to be written: the route's way, but for what the parameters of the preferred media range say
/// (PROTOCOLS §2). What is not understood is passed over, as a media range's parameters are.
pub fn output_settings(headers: &HeaderMap, route: OutputSettings) -> OutputSettings {
    if headers.get_all(ACCEPT).iter().all(|value| !value.as_bytes().contains(&b';')) {
        return route;
    }
    let Some((_, parameters)) = best(headers, dialect_of) else { return route };
    let mut settings = route;
    for (name, value) in parameters_of(parameters) {
        match (&*lower_case(name), value) {
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

/// What the client prefers among what `choose` knows.
pub(super) fn preferred<T>(headers: &HeaderMap, choose: impl Fn(&str) -> Option<T>) -> Option<T> {
    best(headers, choose).map(|(choice, _)| choice)
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
        for range in split_unquoted(value.to_str().unwrap_or_default(), ',') {
            let (name, parameters) = range.split_once(';').unwrap_or((range, ""));
            let Some(choice) = choose(&lower_case(name.trim())) else { continue };
            let quality = parameters_of(parameters)
                .find_map(|(name, value)| name.eq_ignore_ascii_case("q").then(|| quality(value)))
                .unwrap_or(1000);
            if quality > 0 && best.as_ref().is_none_or(|(highest, ..)| quality > *highest) {
                best = Some((quality, choice, parameters));
            }
        }
    }
    best.map(|(_, choice, parameters)| (choice, parameters))
}

fn lower_case(name: &str) -> Cow<'_, str> {
    let upper = name.bytes().any(|byte| byte.is_ascii_uppercase());
    if upper { Cow::Owned(name.to_ascii_lowercase()) } else { Cow::Borrowed(name) }
}

/// Names and values; a quoted value is the same as a bare one (RFC 9110 §5.6.6).
fn parameters_of(parameters: &str) -> impl Iterator<Item = (&str, &str)> {
    split_unquoted(parameters, ';')
        .filter_map(|parameter| parameter.trim().split_once('='))
        .map(|(name, value)| (name, value.trim_matches('"')))
}

/// The parts between separators that stand outside of quoted strings (RFC 9110 §5.6.4).
fn split_unquoted(text: &str, separator: char) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(move |character| {
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ => return character == separator && !quoted,
        }
        false
    })
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
            ("application/json; Pretty=\"true\"; x=\"a,b;names=proto\"", OutputSettings { pretty: true, ..default }),
            ("application/json-seq; enums=number", OutputSettings { enum_numbers: true, ..default }),
            ("application/x-ndjson;q=0.5;names=proto, text/html", OutputSettings { proto_names: true, ..default }),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, HeaderValue::from_static(accept));
            assert_eq!(output_settings(&headers, default), expected, "{accept}");
        }
    }

    fn accepting(accept: &'static str, sent: &'static str) -> HeaderMap {
        let values = [(ACCEPT, accept), (CONTENT_TYPE, sent)].into_iter().filter(|(_, value)| !value.is_empty());
        values.map(|(name, value)| (name, HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn who_sends_protobuf_and_prefers_nothing_else_gets_protobuf() {
        for (accept, sent, expected) in [
            ("", "application/x-protobuf", Dialect::Protobuf),
            ("", "Application/Protobuf; messageType=a.B", Dialect::Protobuf),
            ("*/*", "application/x-protobuf", Dialect::Protobuf),
            ("text/html, */*;q=0.1", "application/x-protobuf", Dialect::Protobuf),
            ("application/json", "application/x-protobuf", Dialect::Json),
            ("application/json, */*", "application/x-protobuf", Dialect::Json),
            ("text/event-stream", "application/x-protobuf", Dialect::Sse),
            ("application/x-protobuf", "application/json", Dialect::Protobuf),
            ("application/protobuf", "", Dialect::Protobuf),
            ("application/x-protobuf; messageType=\"a.B, c\"", "", Dialect::Protobuf),
            ("application/x-protobuf;Q=0.1, application/json", "", Dialect::Json),
            ("*/*", "application/json", Dialect::Json),
        ] {
            assert_eq!(dialect(&accepting(accept, sent)), expected, "{accept} {sent}");
        }
    }

    #[test]
    fn a_media_type_of_two_names_goes_by_the_clients() {
        for (dialect, accept, sent, expected) in [
            (Dialect::Protobuf, "application/protobuf", "application/x-protobuf", "application/protobuf"),
            (Dialect::Protobuf, "application/x-protobuf, application/protobuf", "", "application/x-protobuf"),
            (Dialect::Protobuf, "application/x-protobuf;q=0.5, Application/Protobuf", "", "application/protobuf"),
            (Dialect::Protobuf, "*/*", "application/protobuf", "application/protobuf"),
            (Dialect::Ndjson, "application/jsonl", "", "application/jsonl"),
            (Dialect::Ndjson, "application/x-ndjson", "", "application/x-ndjson"),
            (Dialect::Json, "application/problem+json", "", "application/json"),
        ] {
            assert_eq!(media_type_of(dialect, &accepting(accept, sent)), expected, "{accept} {sent}");
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
            ("application/json-seq", Dialect::JsonSeq),
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
