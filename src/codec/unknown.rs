//! What becomes of the names in a request that its message's type does not have. Knows nothing of where they stand.

use crate::config::UnknownFields;

use super::error::InputError;

/// One call's way with fields, parameters and names of enum values that its message's type does not have.
///
/// Left out is the whole member, parameter, element or map entry, and what stands in it is read as JSON and no further: there
/// two members may have one key.
#[derive(Debug, Default)]
pub struct Unknown {
    mode: UnknownFields,
    /// How many more are looked for to be named, however many messages the call has.
    looks: usize,
    left_out: LeftOut,
}

/// What was left out where that is observed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeftOut {
    pub count: u64,
    /// Where the first of them stood, each place once.
    pub paths: Vec<String>,
}

impl Unknown {
    pub fn new(mode: UnknownFields) -> Self {
        Self { mode, looks: PATHS_MAX, left_out: LeftOut::default() }
    }

    /// What was left out since this was asked last.
    pub fn take_left_out(&mut self) -> LeftOut {
        std::mem::take(&mut self.left_out)
    }

    /// Reads a text by `read`, which is told how many unknown names it may leave out before it has to refuse one, and
    /// says how many it left out.
    pub(super) fn read(
        &mut self,
        out: &mut Vec<u8>,
        read: impl Fn(usize, &mut Vec<u8>) -> Result<usize, InputError>,
    ) -> Result<(), InputError> {
        let count = match self.mode {
            UnknownFields::Reject => read(0, out)?,
            UnknownFields::Observe | UnknownFields::Ignore => read(usize::MAX, out)?,
        };
        if count > 0 && self.mode == UnknownFields::Observe {
            self.left_out.count += count as u64;
            let mut scratch = Vec::new();
            for before in 0..count.min(self.looks) {
                // Reading does not keep track of where it is: only a refusal finds out, on its way back.
                scratch.clear();
                if let Err(refusal) = read(before, &mut scratch) {
                    self.name(&refusal);
                }
            }
        }
        Ok(())
    }

    /// Whether what is refused is an unknown name, which is left out instead.
    pub(super) fn forgives(&mut self, refusal: &InputError) -> bool {
        let forgiven = refusal.is_unknown() && self.mode != UnknownFields::Reject;
        if forgiven && self.mode == UnknownFields::Observe {
            self.left_out.count += 1;
            if self.looks > 0 {
                self.name(refusal);
            }
        }
        forgiven
    }

    fn name(&mut self, refusal: &InputError) {
        self.looks -= 1;
        self.left_out.name(refusal.place().name());
    }
}

impl LeftOut {
    /// Adds what was left out later in the same call.
    pub fn extend(&mut self, later: &Self) {
        self.count += later.count;
        later.paths.iter().for_each(|path| self.name(path));
    }

    fn name(&mut self, path: &str) {
        if self.paths.len() < PATHS_MAX && self.paths.iter().all(|named| named != path) {
            self.paths.push(path.to_owned());
        }
    }
}

/// Most names that are told of one call.
const PATHS_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::{
        Binding, QueryMode,
        fixtures::{ALL, CODEC},
    };

    const THING: &str = "tidegate.test.v1.UpdateThing";

    /// The message in JSON, and what was left out of it.
    fn read(mode: UnknownFields, json: &str) -> Result<(String, LeftOut), InputError> {
        let (mut unknown, mut wire) = (Unknown::new(mode), Vec::new());
        CODEC.json_to_wire_with(CODEC.id(ALL), json.as_bytes(), &mut unknown, &mut wire)?;
        Ok((CODEC.json(ALL, &wire).unwrap(), unknown.take_left_out()))
    }

    fn left_out(count: u64, paths: &[&str]) -> LeftOut {
        LeftOut { count, paths: paths.iter().map(ToString::to_string).collect() }
    }

    #[test]
    fn an_unknown_name_is_refused_left_out_and_named_or_just_left_out() {
        for (json, kept, paths) in [
            (r#"{"nope":1}"#, "{}", &["nope"][..]),
            (r#"{"nope":{"a":[1,"]",{}]},"s":"a"}"#, r#"{"s":"a"}"#, &["nope"]),
            (r#"{"s":"a","nope":1,"i32":7}"#, r#"{"i32":7,"s":"a"}"#, &["nope"]),
            (
                r#"{"n":{"child":{"no":1,"s":"a","NO":2}}}"#,
                r#"{"n":{"child":{"s":"a"}}}"#,
                &["n.child.no", "n.child.NO"],
            ),
            (r#"{"S":"a","snakecasefield":"b"}"#, "{}", &["S", "snakecasefield"]),
            (r#"{"rn":[{"no":1},{"s":"a"},{"no":2}]}"#, r#"{"rn":[{},{"s":"a"},{}]}"#, &["rn[0].no", "rn[2].no"]),
            (r#"{"mi":{"1":{"no":1}}}"#, r#"{"mi":{"1":{}}}"#, &["mi[\"1\"].no"]),
            (
                r#"{"any":{"no":1,"@type":"type.googleapis.com/tidegate.test.v1.Nested","s":"a"}}"#,
                r#"{"any":{"@type":"type.googleapis.com/tidegate.test.v1.Nested","s":"a"}}"#,
                &["any.no"],
            ),
            (
                r#"{"any":{"@type":"type.googleapis.com/google.protobuf.Duration","value":"1s","no":1}}"#,
                r#"{"any":{"@type":"type.googleapis.com/google.protobuf.Duration","value":"1s"}}"#,
                &["any.no"],
            ),
            (r#"{"empty":{"no":1},"raw":{"no":1}}"#, r#"{"empty":{},"raw":{}}"#, &["empty.no", "raw.no"]),
            // names of enum values
            (r#"{"c":"PURPLE","s":"a"}"#, r#"{"s":"a"}"#, &["c"]),
            (r#"{"rc":["RED","PURPLE","GREEN","red"]}"#, r#"{"rc":["RED","GREEN"]}"#, &["rc[1]", "rc[3]"]),
            (r#"{"rc":["PURPLE"]}"#, "{}", &["rc[0]"]),
            (r#"{"n":{"color":"PURPLE","i":1}}"#, r#"{"n":{"i":1}}"#, &["n.color"]),
        ] {
            let refusal = read(UnknownFields::Reject, json).unwrap_err();
            assert_eq!((refusal.place().name(), refusal.is_unknown()), (paths[0], true), "{json}");
            let observed = read(UnknownFields::Observe, json).unwrap();
            assert_eq!(observed, (kept.to_owned(), left_out(paths.len() as u64, paths)), "{json}");
            assert_eq!(read(UnknownFields::Ignore, json), Ok((kept.to_owned(), LeftOut::default())), "{json}");
        }
    }

    #[test]
    fn an_enum_value_that_is_left_out_takes_its_map_entry_along() {
        let codec = crate::codec::fixtures::codec_of(
            r#"syntax = "proto3"; package t; enum E { ZERO = 0; ONE = 1; }
               message M { map<string, E> m = 1; oneof o { E e = 2; string s = 3; } repeated E r = 4 [packed = false]; }"#,
        );
        let (mut unknown, mut wire) = (Unknown::new(UnknownFields::Observe), Vec::new());
        let json = br#"{"m":{"a":"ONE","b":"TWO","c":"ZERO"},"e":"TWO","s":"x","r":["TWO","ONE"]}"#;
        codec.json_to_wire_with(codec.id("t.M"), json, &mut unknown, &mut wire).unwrap();
        assert_eq!(codec.json("t.M", &wire).unwrap(), r#"{"m":{"a":"ONE","c":"ZERO"},"s":"x","r":["ONE"]}"#);
        assert_eq!(unknown.take_left_out(), left_out(3, &["m[\"b\"]", "e", "r[0]"]));
    }

    fn nested(depth: usize) -> String {
        format!(r#"{{"no":{}{}}}"#, "[".repeat(depth), "]".repeat(depth))
    }

    #[test]
    fn everything_else_is_as_strict_as_ever() {
        for json in [
            r#"{"no":}"#,
            r#"{"no":1,}"#,
            r#"{"no":01}"#,
            r#"{"no":'a'}"#,
            r#"{"no":"\ud800"}"#,
            r#"{"no":NaN}"#,
            "{\"no\":\"a\nb\"}",
            r#"{"no":1} x"#,
            r#"{"s":1}"#,
            r#"{"s":"a","no":1,"s":"a"}"#,
            r#"{"c":"PURPLE","c":"RED"}"#,
            r#"{"c":1.5}"#,
            r#"{"c":true}"#,
            r#"{"os":"a","no":1,"oi":1}"#,
            r#"{"ms":{"a":"","a":""}}"#,
            r#"{"any":{"@type":"type.googleapis.com/no.Such"}}"#,
            r#"{"any":{"no":1}}"#,
            r#"{"any":{"@type":"type.googleapis.com/google.protobuf.Duration","no":1}}"#,
            r#"{"s.x":1,"s":{"x":1}}"#,
            &nested(200),
        ] {
            for mode in [UnknownFields::Observe, UnknownFields::Ignore] {
                assert!(read(mode, json).is_err(), "{json}");
            }
        }
        assert!(read(UnknownFields::Ignore, &nested(199)).is_ok());
        let refusal = read(UnknownFields::Ignore, r#"{"n":{"no":[1,]}}"#).unwrap_err();
        assert_eq!(refusal.to_string(), r#"body: n.no (byte 14): expected a JSON value, got "]""#);
    }

    #[test]
    fn an_any_of_nothing_needs_no_value() {
        let json = r#"{"any":{"@type":"type.googleapis.com/google.protobuf.Empty","no":1}}"#;
        assert_eq!(read(UnknownFields::Reject, json).unwrap_err().place().name(), "any.no");
        assert_eq!(read(UnknownFields::Observe, json).unwrap().1, left_out(1, &["any.no"]));
    }

    #[test]
    fn what_is_not_read_may_say_one_thing_twice() {
        let json = r#"{"no":{"a":1,"a":2},"no":3}"#;
        assert_eq!(read(UnknownFields::Observe, json).unwrap(), ("{}".to_owned(), left_out(2, &["no"])));
    }

    #[test]
    fn a_call_names_some_and_counts_all() {
        let binding = Binding::compile(&CODEC, CODEC.id(ALL), CODEC.id(ALL), &[], Some("*"), None).unwrap();
        let binding = binding.with_unknown_fields(UnknownFields::Observe);
        let mut bound = binding.bind(&CODEC, &[], Some("a=1&B"), QueryMode::Fill).unwrap();
        let mut all = bound.take_left_out();
        assert_eq!(all, left_out(2, &["a", "B"]));
        for round in 0..10 {
            let json = format!(r#"{{"x{round}":1,"y":1}}"#);
            bound.message(&CODEC, &binding, Some(json.as_bytes()), &mut Vec::new()).unwrap();
            all.extend(&bound.take_left_out());
        }
        assert_eq!(all, left_out(22, &["a", "B", "x0", "y", "x1", "x2"]));
    }

    #[test]
    fn parameters_are_left_out_by_the_same_rule() {
        let bind = |body: Option<&str>, mode, query: &str| {
            let binding = Binding::compile(&CODEC, CODEC.id(ALL), CODEC.id(ALL), &["s"], body, None).unwrap();
            let binding = binding.with_unknown_fields(mode);
            let mut bound = binding.bind(&CODEC, &["x"], Some(query), QueryMode::Strict)?;
            let mut wire = Vec::new();
            bound.message(&CODEC, &binding, None, &mut wire)?;
            Ok::<_, InputError>((CODEC.json(ALL, &wire).unwrap(), bound.take_left_out()))
        };
        for (body, query, kept, paths) in [
            (None, "nope=1&i32=7&n.nope.x=2", r#"{"i32":7,"s":"x"}"#, &["nope", "n.nope.x"][..]),
            (None, "nope&nope=2&S=a", r#"{"s":"x"}"#, &["nope", "S"]),
            (None, "no[a]=1", r#"{"s":"x"}"#, &["no[a]"]),
            (None, "c=PURPLE&rc=RED&rc=PURPLE", r#"{"s":"x","rc":["RED"]}"#, &["c", "rc"]),
            (Some("*"), "utm_source=a", r#"{"s":"x"}"#, &["utm_source"]),
            (Some("n"), "n.nope=a", r#"{"s":"x"}"#, &["n.nope"]),
        ] {
            assert!(bind(body, UnknownFields::Reject, query).is_err(), "{query}");
            let (json, left_out) = bind(body, UnknownFields::Observe, query).unwrap();
            assert_eq!((&*json, left_out.paths), (kept, paths.iter().map(ToString::to_string).collect()), "{query}");
            assert_eq!(bind(body, UnknownFields::Ignore, query), Ok((kept.to_owned(), LeftOut::default())), "{query}");
        }
        for (body, query) in [
            (None, "s=y"),
            (None, "i32=1&no=1&i32=1"),
            (None, "c=PURPLE&c=RED"),
            (None, "c=1.5"),
            (None, "no=%"),
            (None, "%ff=1"),
            (None, "s.x=1"),
            (None, "n=1"),
            (None, "ms=1"),
            (Some("*"), "i32=1"),
            (Some("n"), "n.i=1"),
        ] {
            assert!(bind(body, UnknownFields::Ignore, query).is_err(), "{query}");
        }
    }

    #[test]
    fn an_update_mask_never_names_what_was_left_out() {
        let binding = Binding::compile(&CODEC, CODEC.id(THING), CODEC.id(ALL), &[], Some("thing"), None).unwrap();
        let binding = binding.with_update_mask(&CODEC).with_unknown_fields(UnknownFields::Ignore);
        let mut bound = binding.bind(&CODEC, &[], None, QueryMode::Strict).unwrap();
        let json = br#"{"title":"a","no":1,"detail":{"i":1,"no":[{}],"color":"PURPLE","child":{"no":1}}}"#;
        let mut wire = Vec::new();
        bound.message(&CODEC, &binding, Some(json), &mut wire).unwrap();
        let kept = r#"{"thing":{"title":"a","detail":{"i":1,"child":{}}},"updateMask":"title,detail.i"}"#;
        assert_eq!(CODEC.json(THING, &wire).unwrap(), kept);
    }
}
