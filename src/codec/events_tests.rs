//! Ids and names of events, and where a stream goes on.

use std::sync::LazyLock;

use proptest::prelude::*;

use super::{Binding, Codec, QueryMode, fixtures::codec_of};
use crate::config::{EventStream, Resume};

static FEED: LazyLock<Codec> = LazyLock::new(|| {
    codec_of(
        r#"
        syntax = "proto3";
        package t;
        enum Color { RED = 0; BLUE = 1; }
        message Cursor { int64 at = 1; bytes token = 2; sint32 delta = 3; oneof where { string page = 4; Cursor deeper = 5; } }
        message Feed {
          uint64 sequence = 1; string id = 2; Color color = 3; optional int32 maybe = 4; Cursor cursor = 5; double d = 6;
          repeated int32 many = 7; bool flag = 8; map<string, string> map = 9;
          oneof kind { string liked = 10; int32 number_of_likes = 11; Cursor moved = 12; }
        }
        message Ask { int64 after = 1; Cursor cursor = 2; string text = 3; Color color = 4; bytes token = 5; int32 n = 6; }
        "#,
    )
});

fn events(event_id: &str, request: &str, event: Option<&str>) -> Result<Binding, String> {
    let resume = (!event_id.is_empty()).then(|| Resume { event_id: event_id.to_owned(), request: request.to_owned() });
    let settings = EventStream { resume, event: event.map(str::to_owned), query_event_id: false };
    let (ask, feed) = (FEED.id("t.Ask"), FEED.id("t.Feed"));
    let binding = Binding::compile(&FEED, ask, feed, &["n"], None, None).unwrap();
    binding.with_events(&FEED, &settings).map_err(|error| error.to_string())
}

fn text(write: impl FnOnce(&mut Vec<u8>) -> Result<(), super::OutputError>) -> Result<String, String> {
    let mut out = b"before".to_vec();
    write(&mut out).map_err(|error| error.to_string())?;
    Ok(String::from_utf8(out.split_off(6)).unwrap())
}

#[test]
fn an_event_has_the_id_that_a_field_gives() {
    for (path, json, expected) in [
        ("sequence", r#"{"sequence":"18446744073709551615"}"#, "18446744073709551615"),
        ("sequence", "{}", "0"),
        ("id", r#"{"id":"a b"}"#, "a b"),
        ("id", "{}", ""),
        ("color", r#"{"color":"BLUE"}"#, "BLUE"),
        ("color", "{}", "RED"),
        ("color", r#"{"color":7}"#, "7"),
        ("maybe", r#"{"maybe":0}"#, "0"),
        ("maybe", "{}", ""),
        ("cursor.at", r#"{"cursor":{"at":"-5"}}"#, "-5"),
        ("cursor.at", r#"{"cursor":{}}"#, "0"),
        ("cursor.at", "{}", ""),
        ("cursor.token", r#"{"cursor":{"token":"/+8="}}"#, "/+8="),
        ("cursor.delta", r#"{"cursor":{"delta":-3}}"#, "-3"),
        ("cursor.deeper.deeper.at", r#"{"cursor":{"deeper":{"deeper":{"at":"9"}}}}"#, "9"),
        ("cursor.deeper.deeper.at", r#"{"cursor":{"deeper":{}}}"#, ""),
        ("cursor.page", r#"{"cursor":{"page":"p"}}"#, "p"),
        ("liked", r#"{"numberOfLikes":1}"#, ""),
    ] {
        let binding = events(path, "after", None).unwrap();
        let wire = FEED.wire("t.Feed", json).unwrap();
        assert_eq!(text(|out| binding.event_id(&FEED, &wire, out)).as_deref(), Ok(expected), "{path} of {json}");
    }
}

#[test]
fn a_field_that_is_given_in_parts_counts_as_protobuf_merges_it() {
    for (path, wire, expected) in [
        ("sequence", &b"\x08\x01\x08\x02"[..], "2"),
        // cursor: { at: 1 }, then { delta: 1 }; at is still there.
        ("cursor.at", b"\x2a\x02\x08\x01\x2a\x02\x18\x02", "1"),
        // cursor: { page: "p" }, then { deeper: {} }: the oneof's other member took its place.
        ("cursor.page", b"\x2a\x03\x22\x01p\x2a\x02\x2a\x00", ""),
        ("cursor.deeper.at", b"\x2a\x04\x2a\x02\x08\x07\x2a\x03\x22\x01p", ""),
        ("cursor.deeper.at", b"\x2a\x04\x2a\x02\x08\x07\x2a\x03\x22\x01p\x2a\x02\x2a\x00", "0"),
        // Another wire type is another field.
        ("sequence", b"\x08\x01\x0a\x00", "1"),
    ] {
        let binding = events(path, "after", None).unwrap();
        assert_eq!(text(|out| binding.event_id(&FEED, wire, out)).as_deref(), Ok(expected), "{path} of {wire:?}");
    }
    let binding = events("id", "text", None).unwrap();
    assert!(text(|out| binding.event_id(&FEED, b"\x12\x01\xff", out)).is_err());
    assert!(text(|out| binding.event_id(&FEED, b"\x12\x09", out)).is_err());
}

#[test]
fn an_event_has_the_name_of_a_field_or_of_what_is_set_of_a_oneof() {
    for (path, json, expected) in [
        ("kind", r#"{"liked":""}"#, "liked"),
        ("kind", r#"{"numberOfLikes":1}"#, "numberOfLikes"),
        ("kind", "{}", ""),
        ("cursor.where", r#"{"cursor":{"page":"x"}}"#, "page"),
        ("cursor.where", "{}", ""),
        ("color", r#"{"color":"BLUE"}"#, "BLUE"),
        ("id", r#"{"id":"x"}"#, "x"),
    ] {
        let binding = events("", "", Some(path)).unwrap();
        let wire = FEED.wire("t.Feed", json).unwrap();
        assert_eq!(text(|out| binding.event_name(&FEED, &wire, out)).as_deref(), Ok(expected), "{path} of {json}");
        assert_eq!(text(|out| binding.event_id(&FEED, &wire, out)).as_deref(), Ok(""), "no id");
    }
    // liked, then number_of_likes.
    let binding = events("", "", Some("kind")).unwrap();
    assert_eq!(text(|out| binding.event_name(&FEED, b"\x52\x00\x58\x01", out)).as_deref(), Ok("numberOfLikes"));
}

#[test]
fn a_route_that_does_not_fit_its_messages_is_refused() {
    let kinds = "only an integer, a string, bytes or an enum can stand here";
    for (event_id, request, event, error) in [
        ("nope", "after", None, "event_id nope: t.Feed has no such field".to_owned()),
        ("d", "after", None, format!("event_id d: {kinds}")),
        ("flag", "after", None, format!("event_id flag: {kinds}")),
        ("many", "after", None, format!("event_id many: {kinds}")),
        ("map", "after", None, format!("event_id map: {kinds}")),
        ("cursor", "after", None, format!("event_id cursor: {kinds}")),
        ("kind", "after", None, "event_id kind: t.Feed has no such field".to_owned()),
        ("sequence", "nope", None, "request nope: t.Ask has no such field".to_owned()),
        ("sequence", "n", None, "request n: the field is bound by the path".to_owned()),
        ("sequence", "cursor", None, format!("request cursor: {kinds}")),
        ("", "", Some("d"), format!("event d: {kinds}")),
        ("", "", Some("nope"), "event nope: t.Feed has no such field".to_owned()),
    ] {
        assert_eq!(events(event_id, request, event).unwrap_err(), error);
    }
}

#[test]
fn the_last_id_has_the_last_word_in_the_request() {
    let ask = |request: &str, query: Option<&str>, id: &str| {
        let binding = events("sequence", request, None).unwrap();
        assert!(binding.resumes());
        let mut bound = binding.bind(&FEED, &["1"], query, QueryMode::Strict).unwrap();
        bound.resume(&FEED, &binding, id).map_err(|error| error.to_string())?;
        let mut out = Vec::new();
        bound.message(&FEED, &binding, None, &mut out).map_err(|error| error.to_string())?;
        Ok::<_, String>(FEED.json("t.Ask", &out).unwrap())
    };
    for (request, query, id, expected) in [
        ("after", None, "41", r#"{"after":"41","n":1}"#),
        ("after", Some("after=7"), "41", r#"{"after":"41","n":1}"#),
        ("after", Some("text=x"), "-3", r#"{"after":"-3","text":"x","n":1}"#),
        ("cursor.page", Some("cursor.at=5"), "p", r#"{"cursor":{"at":"5","page":"p"},"n":1}"#),
        ("text", None, "a b", r#"{"text":"a b","n":1}"#),
        ("color", None, "BLUE", r#"{"color":"BLUE","n":1}"#),
        ("token", None, "/+8=", r#"{"token":"/+8=","n":1}"#),
    ] {
        assert_eq!(ask(request, query, id).as_deref(), Ok(expected), "{request} {query:?} {id}");
    }
    for (request, id, error) in [
        ("after", "x", "last-event-id: expected a 64-bit integer, got \"x\""),
        ("after", "9223372036854775808", "last-event-id: "),
        ("color", "GREEN", "last-event-id: "),
        ("token", "?", "last-event-id: "),
    ] {
        let refused = ask(request, None, id).unwrap_err();
        assert!(refused.starts_with(error), "{refused}");
    }
}

proptest! {
    #[test]
    fn what_an_event_is_called_by_leads_back_to_it(at in any::<i64>(), token: Vec<u8>, page in "[^\0-\x1f]{0,20}") {
        for (event_id, request, json) in [
            ("cursor.at", "after", format!(r#"{{"cursor":{{"at":"{at}"}}}}"#)),
            ("cursor.token", "token", format!(r#"{{"cursor":{{"token":"{}"}}}}"#, base64_simd::STANDARD.encode_to_string(&token))),
            ("cursor.page", "text", serde_json::json!({ "cursor": { "page": page } }).to_string()),
        ] {
            let binding = events(event_id, request, None).unwrap();
            let wire = FEED.wire("t.Feed", &json).unwrap();
            let id = text(|out| binding.event_id(&FEED, &wire, out)).unwrap();
            let mut bound = binding.bind(&FEED, &["1"], None, QueryMode::Strict).unwrap();
            bound.resume(&FEED, &binding, &id).unwrap();
            let mut out = Vec::new();
            bound.message(&FEED, &binding, None, &mut out).unwrap();
            let back: serde_json::Value = serde_json::from_str(&FEED.json("t.Ask", &out).unwrap()).unwrap();
            let (name, given) = match request {
                "after" => ("after", serde_json::json!(at.to_string())),
                "token" => ("token", serde_json::json!(base64_simd::STANDARD.encode_to_string(&token))),
                _ => ("text", serde_json::json!(page)),
            };
            let is_default = given == "" || given == "0";
            prop_assert!(back[name] == given || (is_default && back[name].is_null()), "{} {}", back, given);
        }
    }

    #[test]
    fn no_bytes_panic(wire: Vec<u8>) {
        for (event_id, event) in [("cursor.deeper.page", Some("cursor.where")), ("sequence", Some("kind"))] {
            let binding = events(event_id, "after", event).unwrap();
            let _ = text(|out| binding.event_id(&FEED, &wire, out).and_then(|()| { out.truncate(6); binding.event_name(&FEED, &wire, out) }));
        }
    }
}
