//! The update mask of a partial update, where the client gives none: the paths that its JSON body gives. Knows nothing of
//! how the body itself is read.

use super::{
    Codec,
    binding::{Path, Step, Variable},
    bound::message_of,
    error::{InputError, shown},
    plan::{Field, Kind, Plan, PlanId, Shape, Special},
    protobuf::{close, open, put_bytes},
    reader::Reader,
    string::Text,
};

/// How the mask of a rule is filled.
#[derive(Clone, Debug)]
pub(super) struct UpdateMask {
    /// The FieldMask.
    pub(super) field: Step,
    /// The message that the body stands for.
    message: PlanId,
    /// The way to it from the resource, which is a field of the request: what the mask's paths begin with.
    prefix: Box<str>,
    /// The paths that the URL gives: they say which resource it is, not what becomes of it.
    bound: Box<[Box<str>]>,
}

impl UpdateMask {
    /// None where the request has no FieldMask `update_mask`, or the body is no message with fields of its own.
    pub(super) fn new(codec: &Codec, input: PlanId, body: &Path, variables: &[Variable]) -> Option<Self> {
        let plan = codec.get(input);
        let field = Step { plan: input, place: plan.by_name(b"update_mask", 0)? };
        let message = message_of(codec, body.last()?)?;
        let specials = (codec.get(message_of(codec, &field)?).special, codec.get(message).special);
        if specials != (Special::FieldMask, Special::None) {
            return None;
        }
        let text = |path: &[Step]| {
            let names = path.iter().map(|step| &*step.field(codec).proto_name);
            names.collect::<Vec<_>>().join(".").into_boxed_str()
        };
        let inside = variables.iter().filter(|variable| variable.path.starts_with(body));
        Some(Self {
            field,
            message,
            prefix: text(body.get(1..)?),
            bound: inside.filter_map(|variable| Some(text(variable.path.get(1..)?))).collect(),
        })
    }

    /// Appends the mask that the members of a JSON object stand for; the object is known to be sound. One without
    /// members is an empty mask: no mask at all may mean everything.
    pub(super) fn append(&self, codec: &Codec, json: &[u8], out: &mut Vec<u8>) -> Result<(), InputError> {
        let mut reader = Reader::new(json)?;
        if reader.peek() != b'{' {
            return Ok(());
        }
        out.extend_from_slice(self.field.field(codec).tag());
        let from = open(out);
        let mut path = self.prefix.as_bytes().to_vec();
        self.members(codec, codec.get(self.message), &mut reader, &mut path, from + MASK_BYTES_MAX, out)?;
        close(from, out);
        Ok(())
    }

    /// The same of paths below the message that the body stands for.
    pub(super) fn append_paths(&self, codec: &Codec, paths: &[&[Step]], out: &mut Vec<u8>) {
        out.extend_from_slice(self.field.field(codec).tag());
        let from = open(out);
        for path in paths {
            let prefix = Some(&*self.prefix).filter(|prefix| !prefix.is_empty());
            let names: Vec<&str> =
                prefix.into_iter().chain(path.iter().map(|step| &*step.field(codec).proto_name)).collect();
            self.append_path(names.join(".").as_bytes(), out);
        }
        close(from, out);
    }

    /// One path, unless the URL gives it.
    fn append_path(&self, path: &[u8], out: &mut Vec<u8>) {
        if !self.bound.iter().any(|bound| bound.as_bytes() == path) {
            out.push(1 << 3 | 2);
            put_bytes(path, out);
        }
    }

    /// Up to `end` and one more.
    fn members(
        &self,
        codec: &Codec,
        plan: &Plan,
        reader: &mut Reader<'_>,
        path: &mut Vec<u8>,
        end: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), InputError> {
        if !reader.open_object("an object")? {
            return Ok(());
        }
        let length = path.len();
        loop {
            let key = reader.key()?.decoded();
            // What was left out of the message has no place in its mask: there it would clear a field.
            let field = plan.by_name(&key, 0).and_then(|place| plan.fields.get(place));
            let field = field.filter(|field| !names_nothing(codec, field, reader));
            if field.is_some_and(|field| field.proto_name.starts_with('[')) {
                return Err(InputError::message(shown(&key), "no update mask can name an extension: give one"));
            }
            if length > 0 {
                path.push(b'.');
            }
            path.extend_from_slice(field.map_or(&[], |field| field.proto_name.as_bytes()));
            let inner = field.and_then(|field| match (field.shape, field.kind) {
                (Shape::Single { .. }, Kind::Message(id) | Kind::Group(id)) => Some(codec.get(id)),
                _ => None,
            });
            let inner = inner.filter(|plan| plan.special == Special::None);
            match inner.filter(|_| reader.peek() == b'{' && !reader.is_empty_object()) {
                Some(plan) => self.members(codec, plan, reader, path, end, out)?,
                None => {
                    if field.is_some() {
                        self.append_path(path, out);
                    }
                    if out.len() > end {
                        let text = "the body gives more than the update mask that is made of it can hold: give one";
                        return Err(InputError::message("", text));
                    }
                    reader.skip(1)?;
                }
            }
            path.truncate(length);
            if !reader.another(b'}')? {
                return Ok(());
            }
        }
    }
}

/// Longest mask, in bytes: a path names every message that it leads through, so what is deep is many times as long in a mask as in
/// its body.
const MASK_BYTES_MAX: usize = 1 << 20;

/// Whether the value that stands next is the name of an enum value that is unknown, and was left out.
pub(super) fn names_nothing(codec: &Codec, field: &Field, reader: &mut Reader<'_>) -> bool {
    let (Shape::Single { .. }, Kind::Enum { id, .. }, b'"') = (field.shape, field.kind, reader.peek()) else {
        return false;
    };
    let name = reader.clone().string().map(Text::decoded).unwrap_or_default();
    codec.enums().get(id.0 as usize).is_some_and(|plan| plan.names.find(&name).is_none())
}

#[cfg(test)]
mod tests {
    use crate::codec::{Binding, Codec, QueryMode, fixtures::codec_of};

    const THINGS: &str = r#"syntax = "proto2"; package p; import "google/protobuf/field_mask.proto";
        import "google/protobuf/struct.proto"; import "google/protobuf/any.proto";
        import "google/protobuf/timestamp.proto"; import "google/protobuf/wrappers.proto"; import "google/protobuf/empty.proto";
        message Update { optional Thing thing = 1; optional google.protobuf.FieldMask update_mask = 2; optional bool dry = 3; }
        message Thing {
          optional string name = 1; optional string display_name = 2; optional int32 odd = 3 [json_name = "even"];
          optional Detail detail = 4; repeated string tags = 5; repeated Detail details = 6; map<string, string> labels = 7;
          map<string, Detail> parts = 8; optional google.protobuf.Struct st = 9; optional google.protobuf.Value val = 10;
          optional google.protobuf.Any any = 11; optional google.protobuf.Timestamp ts = 12;
          optional google.protobuf.StringValue w = 13; oneof choice { string a = 14; Detail b = 15; }
          optional group Old = 16 { optional int32 x = 1; } repeated google.protobuf.Any anys = 17;
          optional google.protobuf.Empty empty = 18; optional google.protobuf.Struct some_struct = 19; extensions 100 to 200;
        }
        message Detail { optional string id = 1; optional string some_text = 2; optional Detail inner = 3; }
        extend Thing { optional int32 ext = 100; optional Detail more = 101; }"#;

    fn mask(codec: &Codec, variables: &[&str], body: &str, query: &str, json: &str) -> Result<String, String> {
        let id = codec.id("p.Update");
        let binding = Binding::compile(codec, id, id, variables, Some(body), None).unwrap().with_update_mask(codec);
        let captures = ["t/1", "d/1"];
        let mut bound = binding.bind(codec, &captures[..variables.len()], Some(query), QueryMode::Strict).unwrap();
        let mut wire = Vec::new();
        bound.message(codec, &binding, Some(json.as_bytes()), &mut wire).map_err(|error| error.to_string())?;
        let json: serde_json::Value = serde_json::from_str(&codec.json("p.Update", &wire).unwrap()).unwrap();
        Ok(json["updateMask"].as_str().unwrap_or("none").to_owned())
    }

    /// Each of these was once wrong in a gateway that fills masks.
    #[test]
    fn a_mask_names_what_the_body_gives_and_nothing_more() {
        let codec = codec_of(THINGS);
        for (json, wanted) in [
            (r#"{"displayName":"x","tags":[]}"#, "displayName,tags"),
            (r#"{"display_name":"x"}"#, "displayName"),
            // By the field's own name, whatever its name in JSON.
            (r#"{"even":1}"#, "odd"),
            (r#"{"odd":1}"#, "odd"),
            (
                r#"{"detail":{"someText":"x","inner":{"inner":{"someText":"y","id":"z"}}}}"#,
                "detail.someText,detail.inner.inner.someText,detail.inner.inner.id",
            ),
            // What is empty or null is to become so.
            (r#"{"detail":{},"tags":null,"displayName":null,"odd":0}"#, "detail,tags,displayName,odd"),
            (r#"{"detail":null}"#, "detail"),
            (r#"{"detail":{"inner":{}, "id":null}}"#, "detail.inner,detail.id"),
            // Lists and maps are replaced whole: a mask has no words for what is in them.
            (r#"{"details":[{"id":"x"}],"labels":{"a":"b","c":"d"},"parts":{"x":{"id":"y"}}}"#, "details,labels,parts"),
            (r#"{"labels":{}}"#, "labels"),
            // So is what has a JSON form of its own.
            (r#"{"st":{"a":{"b":1}},"val":{"c":[1]},"ts":"2024-01-02T03:04:05Z","w":"x"}"#, "st,val,ts,w"),
            (r#"{"any":{"@type":"t/p.Detail","id":"x"},"anys":[{"@type":"t/p.Detail"}]}"#, "any,anys"),
            (r#"{"st":null,"val":null,"w":null,"ts":null}"#, "st,val,w,ts"),
            (r#"{"empty":{},"someStruct":{"name":"x"}}"#, "empty,someStruct"),
            (r#"{"a":"x"}"#, "a"),
            (r#"{"b":{"someText":"x"}}"#, "b.someText"),
            (r#"{"old":{"x":1}}"#, "old.x"),
            ("{}", ""),
            ("null", "none"),
        ] {
            assert_eq!(mask(&codec, &[], "thing", "", json).as_deref(), Ok(wanted), "{json}");
        }
        for json in [r#"{"[p.ext]":1}"#, r#"{"[p.ext]":null}"#, r#"{"[p.more]":{"id":"x"}}"#] {
            let error = mask(&codec, &[], "thing", "", json).unwrap_err();
            assert!(error.ends_with(": no update mask can name an extension: give one"), "{error}");
        }
    }

    #[test]
    fn what_the_path_names_is_not_updated() {
        let codec = codec_of(THINGS);
        for (json, wanted) in [
            (r#"{"name":"t/1","displayName":"x"}"#, "displayName"),
            (r#"{"name":null,"detail":{"id":"d/1"}}"#, ""),
            (r#"{"detail":{"id":"d/1","someText":"x"}}"#, "detail.someText"),
            (r#"{"detail":{}}"#, "detail"),
        ] {
            let variables = ["thing.name", "thing.detail.id"];
            assert_eq!(mask(&codec, &variables, "thing", "", json).as_deref(), Ok(wanted), "{json}");
        }
    }

    #[test]
    fn a_part_of_the_resource_is_named_from_the_resource_on() {
        let codec = codec_of(THINGS);
        for (json, wanted) in [
            (r#"{"someText":"x"}"#, "detail.inner.someText"),
            (r#"{"id":"d/1"}"#, ""),
            (r#"{"inner":{"id":"d/1"}}"#, "detail.inner.inner.id"),
        ] {
            let variables = ["thing.name", "thing.detail.inner.id"];
            assert_eq!(mask(&codec, &variables, "thing.detail.inner", "", json).as_deref(), Ok(wanted), "{json}");
        }
    }

    #[test]
    fn a_mask_that_is_given_stays_as_it_is() {
        let codec = codec_of(THINGS);
        for (query, wanted) in [
            ("update_mask=display_name,tags", "displayName,tags"),
            ("updateMask=displayName", "displayName"),
            ("updateMask=nowhere", "nowhere"),
            ("updateMask=", ""),
            ("dry=true", "odd"),
        ] {
            assert_eq!(mask(&codec, &[], "thing", query, r#"{"odd":1}"#).as_deref(), Ok(wanted), "{query}");
        }
    }

    #[test]
    fn only_a_body_that_is_a_message_fills_a_mask() {
        let codec = codec_of(THINGS);
        for (body, json) in [
            ("*", r#"{"thing":{"odd":1}}"#),
            ("thing.tags", r#"["x"]"#),
            ("thing.labels", r#"{"a":"b"}"#),
            ("thing.st", r#"{"a":"b"}"#),
            ("thing.odd", "1"),
        ] {
            assert_eq!(mask(&codec, &[], body, "", json).as_deref(), Ok("none"), "{body}");
        }
        assert_eq!(mask(&codec, &[], "*", "", r#"{"thing":{"odd":1},"updateMask":"tags"}"#).as_deref(), Ok("tags"));
    }
}
