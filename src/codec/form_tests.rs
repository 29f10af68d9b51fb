//! What forms make of a request.

use super::{
    Binding, Bound, Form, InputError, Label, LeftOut, QueryMode, Slot,
    fixtures::{ALL, CODEC, oracle_json},
};
use crate::{config::UnknownFields, status::Reason};

const PHOTO: &str = "tidegate.test.v1.Photo";
const CHUNK: &str = "tidegate.test.v1.Chunk";
const UPDATE: &str = "tidegate.test.v1.UpdatePhoto";

/// A rule: its message, its variables with their captures, its body, and the query of one call.
struct Rule<'a>(&'a str, &'a [(&'a str, &'a str)], &'a str, &'a str);

impl Rule<'_> {
    fn binding(&self) -> Binding {
        let names: Vec<_> = self.1.iter().map(|(name, _)| *name).collect();
        let input = CODEC.id(self.0);
        let binding = Binding::compile(&CODEC, input, input, &names, Some(self.2), None).unwrap();
        if self.0 == UPDATE { binding.with_update_mask(&CODEC) } else { binding }
    }

    fn message(
        &self,
        fill: impl FnOnce(&Binding, &mut Bound, &mut Form) -> Result<(), InputError>,
    ) -> Result<String, InputError> {
        let binding = self.binding();
        let captures: Vec<_> = self.1.iter().map(|(_, value)| *value).collect();
        let mut bound = binding.bind(&CODEC, &captures, Some(self.3), QueryMode::Strict)?;
        let mut form = Form::default();
        fill(&binding, &mut bound, &mut form)?;
        let mut out = b"before".to_vec();
        bound.form(&CODEC, &binding, form, &mut out)?;
        Ok(oracle_json(self.0, out.strip_prefix(b"before").unwrap()).to_string())
    }

    fn urlencoded(&self, body: &str) -> Result<String, String> {
        let read = |binding: &Binding, bound: &mut Bound, form: &mut Form| {
            *form = Form::urlencoded(&CODEC, binding, bound, body.as_bytes())?;
            Ok(())
        };
        self.message(read).map_err(|error| error.to_string())
    }
}

#[test]
fn a_form_is_bound_as_a_query_would_be() {
    let all = Rule(ALL, &[], "*", "");
    let path = Rule(ALL, &[("s", "x")], "*", "");
    let nested = Rule(ALL, &[("s", "x")], "n", "i32=7");
    for (rule, body, wanted) in [
        (&all, "", r#"{}"#),
        (&all, "&&s=a+b%2B&", r#"{"s":"a b+"}"#),
        (&all, "s", r#"{}"#),
        (&all, "optS", r#"{"optS":""}"#),
        (&all, "s=a=b", r#"{"s":"a=b"}"#),
        (&all, "i32=-1&n.child.s=x&n.i=2&d=NaN", r#"{"d":"NaN","i32":-1,"n":{"child":{"s":"x"},"i":2}}"#),
        (&all, "ri=1&rs=b&ri=2&rs=a", r#"{"ri":[1,2],"rs":["b","a"]}"#),
        (&all, "ms[k]=v&ms[%C3%A4]=w&c=RED", r#"{"c":"RED","ms":{"k":"v","ä":"w"}}"#),
        (&all, "by=aGk&ts=2024-01-02T03:04:05Z&wI32=3", r#"{"by":"aGk=","ts":"2024-01-02T03:04:05Z","wI32":3}"#),
        (&all, "_charset_=UTF-8&s=a", r#"{"s":"a"}"#),
        (&path, "i32=1", r#"{"i32":1,"s":"x"}"#),
        (&path, "s=x", r#"{"s":"x"}"#),
        (&nested, "s=y&child.i=3", r#"{"i32":7,"n":{"child":{"i":3},"s":"y"},"s":"x"}"#),
    ] {
        assert_eq!(rule.urlencoded(body).as_deref(), Ok(wanted), "{body}");
    }
    for (rule, body, wanted) in [
        (&all, "i32=1&nope=2", "form field nope (byte 6): tidegate.test.v1.All has no such field"),
        (&all, "i32=1&i32=1", "form field i32 (byte 6): given twice"),
        (&all, "os=1&oi=2", "form field oi (byte 5): another member of the oneof choice is given too"),
        (&all, "ms[k]=1&ms[k]=2", "form field ms[k] (byte 8): given twice"),
        (&all, "ms=1", "form field ms (byte 0): ms is a map"),
        (&all, "n=1", "form field n (byte 0): "),
        (&all, "i32=x", "form field i32 (byte 0): expected"),
        (&all, "a=1&%zz=1", "form field a (byte 0): tidegate.test.v1.All has no such field"),
        (&all, "s=%zz", "form field s (byte 0): not percent-encoded UTF-8"),
        (&all, "s=%ff", "form field s (byte 0): not percent-encoded UTF-8"),
        (&all, "s=%e", "form field s (byte 0): not percent-encoded UTF-8"),
        (&all, "_charset_=latin1", "form field _charset_ (byte 0): only UTF-8"),
        (&path, "s=y", "message: s: the body gives another value than the path"),
        (&nested, "i32=1", "form field i32 (byte 0): tidegate.test.v1.Nested has no such field"),
    ] {
        let refused = rule.urlencoded(body).unwrap_err();
        assert!(refused.starts_with(wanted), "{body}: {refused}");
    }
    let binding = all.binding();
    let mut bound = binding.bind(&CODEC, &[], None, QueryMode::Strict).unwrap();
    let error = Form::urlencoded(&CODEC, &binding, &mut bound, b"s=\xff").unwrap_err();
    assert_eq!(error.to_string(), "body: (byte 2): a form's text is percent-encoded UTF-8");
    let json = all.urlencoded("{\"s\":\"a\"}").unwrap_err();
    assert!(json.ends_with("like JSON, which needs content-type: application/json"), "{json}");
    let error = Form::urlencoded(&CODEC, &binding, &mut bound, b"i32=x").unwrap_err().into_status();
    assert_eq!(error.reason(), Some(Reason::InvalidForm));
}

#[test]
fn fields_that_the_message_does_not_have_may_be_left_out() {
    let binding = Rule(ALL, &[], "*", "").binding().with_unknown_fields(UnknownFields::Observe);
    let mut bound = binding.bind(&CODEC, &[], None, QueryMode::Strict).unwrap();
    let form = Form::urlencoded(&CODEC, &binding, &mut bound, b"s=a&nope=1&c=PURPLE").unwrap();
    let mut out = Vec::new();
    bound.form(&CODEC, &binding, form, &mut out).unwrap();
    assert_eq!(oracle_json(ALL, &out).to_string(), r#"{"s":"a"}"#);
    assert_eq!(bound.take_left_out(), LeftOut { count: 2, paths: vec!["nope".to_owned(), "c".to_owned()] });
    let mut form = Form::default();
    form.json(&CODEC, &binding, &mut bound, "n", br#"{"i":1,"no":2}"#).unwrap();
    form.json(&CODEC, &binding, &mut bound, "no", b"{}").unwrap();
    assert_eq!(bound.take_left_out(), LeftOut { count: 2, paths: vec!["n.no".to_owned(), "no".to_owned()] });
}

#[test]
fn what_was_left_out_of_a_form_is_not_in_its_mask() {
    let binding = Rule(UPDATE, &[], "photo", "").binding().with_unknown_fields(UnknownFields::Ignore);
    for (fields, parts, wanted) in [
        ("nope=1", vec![], ""),
        ("title=a&detail.color=PURPLE", vec![("detail.i", "1")], "title,detail.i"),
        ("", vec![("detail.color", r#""PURPLE""#)], ""),
    ] {
        let mut bound = binding.bind(&CODEC, &[], None, QueryMode::Strict).unwrap();
        let mut form = Form::urlencoded(&CODEC, &binding, &mut bound, fields.as_bytes()).unwrap();
        for (name, json) in parts {
            form.json(&CODEC, &binding, &mut bound, name, json.as_bytes()).unwrap();
        }
        let mut out = Vec::new();
        bound.form(&CODEC, &binding, form, &mut out).unwrap();
        let message: serde_json::Value = serde_json::from_str(&CODEC.json(UPDATE, &out).unwrap()).unwrap();
        assert_eq!(message["updateMask"], wanted, "{message}");
    }
}

#[test]
fn a_form_has_so_many_fields_and_no_more() {
    let all = Rule(ALL, &[], "*", "");
    assert!(all.urlencoded(&"ri=1&".repeat(1000)).is_ok());
    let refused = all.urlencoded(&"ri=1&".repeat(1001)).unwrap_err();
    assert_eq!(refused, "form field ri (byte 5000): a form has at most 1000 fields");
    let binding = all.binding().with_unknown_fields(UnknownFields::Ignore);
    let mut bound = binding.bind(&CODEC, &[], None, QueryMode::Strict).unwrap();
    let left_out = "rc=PURPLE&".repeat(1001);
    let refused = Form::urlencoded(&CODEC, &binding, &mut bound, left_out.as_bytes()).unwrap_err();
    assert!(refused.to_string().ends_with("a form has at most 1000 fields"), "{refused}");
}

#[test]
fn what_has_no_fields_takes_no_form() {
    for (input, body, takes) in [
        (ALL, "*", true),
        (ALL, "n", true),
        (ALL, "raw", true),
        (ALL, "s", false),
        (ALL, "rn", false),
        (ALL, "ms", false),
        (ALL, "st", false),
        (ALL, "ts", false),
        (ALL, "any", false),
        (PHOTO, "more", false),
        ("google.protobuf.Struct", "*", false),
        ("google.protobuf.Empty", "*", true),
        ("google.api.HttpBody", "*", true),
    ] {
        assert_eq!(Rule(input, &[], body, "").binding().takes_form(&CODEC), takes, "{input} {body}");
    }
}

#[test]
fn the_mask_of_a_partial_update_names_what_the_form_gives() {
    for (query, body, wanted) in [
        ("", "detail.s=x&tags=1&tags=2&title=", Some("title,tags,detail.s")),
        ("update_mask=title", "tags=1", Some("title")),
        ("", "", None),
    ] {
        let message = Rule(UPDATE, &[("photo.album", "a")], "photo", query).urlencoded(body).unwrap();
        let message: serde_json::Value = serde_json::from_str(&message).unwrap();
        assert_eq!(message.get("updateMask").and_then(serde_json::Value::as_str), wanted, "{body}");
    }
}

#[test]
fn parts_in_json_give_fields_of_any_kind() {
    let rule = Rule(PHOTO, &[("album", "a")], "*", "");
    let json = |parts: &[(&str, &str)]| {
        rule.message(|binding, bound, form| {
            parts.iter().try_for_each(|(name, json)| match *name {
                "title" => form.field(&CODEC, binding, bound, name, json),
                name if name.ends_with(".s") => form.field(&CODEC, binding, bound, name, json),
                name => form.json(&CODEC, binding, bound, name, json.as_bytes()),
            })
        })
        .map_err(|error| error.to_string())
    };
    assert_eq!(
        json(&[("detail", r#"{"child":{"i":1}}"#), ("tags", r#"["x","y"]"#), ("title", "t")]).as_deref(),
        Ok(r#"{"album":"a","detail":{"child":{"i":1}},"tags":["x","y"],"title":"t"}"#)
    );
    for (parts, wanted) in [
        (&[("detail", "{}"), ("detail", "{}")][..], "form field detail (byte 0): given twice"),
        (&[("detail", "{}"), ("detail.s", "x")], "form field detail.s (byte 0): given twice"),
        (&[("detail.s", "x"), ("detail", "{}")], "form field detail (byte 0): given twice"),
        (&[("detail", r#"{"i":"x"}"#)], "body: detail.i (byte 5): expected"),
        (&[("detail", "{")], "body: detail"),
        (&[("album", "\"b\"")], "message: album: the body gives another value than the path"),
        (&[("nope", "{}")], "form field nope (byte 0): tidegate.test.v1.Photo has no such field"),
    ] {
        let refused = json(parts).unwrap_err();
        assert!(refused.starts_with(wanted), "{parts:?}: {refused}");
    }
}

const LABEL: Label<'_> = Label { content_type: "image/png", name: "image", filename: "x.png" };

#[test]
fn a_file_goes_where_its_part_says_with_its_name_and_type() {
    let names = r#"{"@type":"type.googleapis.com/google.protobuf.Struct","value":{"filename":"x.png","name":"image"}}"#;
    let image = format!(r#"{{"contentType":"image/png","data":"aGk=","extensions":[{names}]}}"#);
    for (rule, part, wanted) in [
        (Rule(PHOTO, &[], "*", ""), "image", format!(r#"{{"filename":"x.png","image":{image}}}"#)),
        (Rule(PHOTO, &[], "*", ""), "more", format!(r#"{{"filename":"x.png","more":[{image}]}}"#)),
        (Rule(PHOTO, &[], "image", ""), "image", format!(r#"{{"filename":"x.png","image":{image}}}"#)),
        (
            Rule(PHOTO, &[("filename", "mine")], "image", "title=t"),
            "image",
            format!(r#"{{"filename":"mine","image":{image},"title":"t"}}"#),
        ),
        (Rule("google.api.HttpBody", &[], "*", ""), "any", image.clone()),
        (Rule(CHUNK, &[], "*", ""), "data", r#"{"data":"aGk="}"#.to_owned()),
        (
            Rule("tidegate.test.v1.Blob", &[], "*", ""),
            "data",
            r#"{"contentType":"image/png","data":"aGk=","filename":"x.png"}"#.to_owned(),
        ),
        (Rule(UPDATE, &[], "*", ""), "photo.image", format!(r#"{{"photo":{{"filename":"x.png","image":{image}}}}}"#)),
    ] {
        let binding = rule.binding();
        let slot = Slot::named(&CODEC, &binding, part).unwrap();
        let captures: Vec<_> = rule.1.iter().map(|(_, value)| *value).collect();
        let bound = binding.bind(&CODEC, &captures, Some(rule.3), QueryMode::Strict).unwrap();
        let mut out = Vec::new();
        bound.file(&CODEC, &binding, &slot, &LABEL, b"hi", &mut out).unwrap();
        let got: serde_json::Value = oracle_json(rule.0, &out);
        assert_eq!(got, serde_json::from_str::<serde_json::Value>(&wanted).unwrap(), "{} {part}", rule.0);
        // A whole form says the same in its one message.
        let whole = rule.message(|_, _, form| form.file(&CODEC, &bound, &slot, &LABEL, b"hi")).unwrap();
        assert_eq!(serde_json::from_str::<serde_json::Value>(&whole).unwrap(), got);
    }
    for (rule, part) in [
        (Rule(PHOTO, &[], "*", ""), "title"),
        (Rule(PHOTO, &[], "*", ""), "detail"),
        (Rule(PHOTO, &[], "*", ""), "nope"),
        (Rule(PHOTO, &[], "image", ""), "more"),
        (Rule(ALL, &[], "*", ""), "ms"),
    ] {
        assert!(Slot::named(&CODEC, &rule.binding(), part).is_none(), "{part}");
    }
}

#[test]
fn a_field_is_given_by_one_part_of_a_form() {
    let fill = |parts: &'static [(&'static str, &'static str)]| {
        move |binding: &Binding, bound: &mut Bound, form: &mut Form| {
            parts.iter().try_for_each(|(name, value)| match *value {
                "file" => {
                    let slot = Slot::named(&CODEC, binding, name).unwrap();
                    form.file(&CODEC, bound, &slot, &Label { name, ..LABEL }, b"hi")
                }
                value => form.field(&CODEC, binding, bound, name, value),
            })
        }
    };
    for (body, parts, wanted) in [
        ("*", &[("image", "file"), ("image", "file")][..], "image"),
        ("*", &[("image", "file"), ("image.content_type", "a/b")], "image.content_type"),
        ("*", &[("image.content_type", "a/b"), ("image", "file")], "image"),
        ("image", &[("image", "file"), ("image", "file")], "image"),
        ("image", &[("image.data", "aGk")], "image.data"),
    ] {
        let refused = Rule(PHOTO, &[], body, "").message(fill(parts)).unwrap_err().to_string();
        assert!(refused.starts_with(&format!("form field {wanted} (byte 0): ")), "{parts:?}: {refused}");
    }
    let rule = Rule("google.api.HttpBody", &[], "*", "");
    assert!(rule.message(fill(&[("a", "file"), ("b", "file")])).is_err());
    assert!(rule.message(fill(&[("content_type", "a/b")])).is_err());
    let oneof = Rule(CHUNK, &[], "*", "").message(fill(&[("info.s", "x"), ("data", "file")]));
    assert!(oneof.unwrap_err().to_string().contains("oneof part"));
    let list =
        Rule(PHOTO, &[], "*", "").message(fill(&[("more", "file"), ("more", "file"), ("filename", "f")])).unwrap();
    assert!(list.contains(r#""filename":"f""#) && list.matches("image/png").count() == 2, "{list}");
}
