//! Merging, rules and loading.

use std::fmt::Write;

use buffa::Message as _;
use buffa_descriptor::generated::descriptor::{
    DescriptorProto, Edition, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet, MethodDescriptorProto,
    ServiceDescriptorProto, field_descriptor_proto::Type,
};
use bytes::Bytes;

use super::{fixtures::compile, *};
use crate::config::{SchemaSource, parse_service};

const TEST_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/test.binpb"));

fn merge_one(set: &[u8]) -> Result<Schema, SchemaError> {
    Schema::merge(&[Source { upstream: 0, name: "one", set, service_config: &Default::default() }])
}

fn describe(result: Result<Schema, SchemaError>, names: &[&str]) -> String {
    let schema = match result {
        Ok(schema) => schema,
        Err(error) => return error.to_string(),
    };
    let mut out = String::new();
    for method in schema.methods() {
        let upstreams: Vec<_> = method.upstreams.iter().map(|upstream| names[*upstream]).collect();
        write!(out, "{} {}", upstreams.join("+"), method.path).unwrap();
        for (is, word) in [
            (method.client_streaming, " stream>"),
            (method.server_streaming, " >stream"),
            (method.no_side_effects, " safe"),
        ] {
            out.push_str(if is { word } else { "" });
        }
        out.push('\n');
    }
    if out.is_empty() { "nothing".to_owned() } else { out.trim_end().to_owned() }
}

/// Tells what comes of the sets of every case of a fixture, by their origins, and holds it against what the fixture says.
fn check_cases(path: &str, tell: impl Fn(&[(&str, Vec<u8>)]) -> String) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/schema").join(path);
    let fixture = std::fs::read_to_string(&path).unwrap();
    let (head, cases) = fixture.split_once("\n=== ").unwrap();
    let mut told = head.to_owned();
    for case in cases.split("\n=== ") {
        let (inputs, _) = case.split_once(">>>\n").unwrap();
        let mut origins: Vec<(&str, Vec<(&str, &str)>)> = Vec::new();
        for input in inputs.split("\n--- ").skip(1) {
            let (head, text) = input.split_once('\n').unwrap();
            let (origin, file) = head.split_once(' ').unwrap();
            if origins.last().is_none_or(|(last, _)| *last != origin) {
                origins.push((origin, Vec::new()));
            }
            origins.last_mut().unwrap().1.push((file, text));
        }
        let sets: Vec<_> = origins.iter().map(|(origin, files)| (*origin, compile(files))).collect();
        let result = tell(&sets);
        write!(told, "\n=== {inputs}>>>\n{}\n", result.trim_end()).unwrap();
    }
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, told).unwrap();
        return;
    }
    for (told, expected) in told.split("\n=== ").zip(fixture.split("\n=== ")) {
        assert_eq!(told.trim_end(), expected.trim_end());
    }
}

#[test]
fn upstreams_are_joined_or_told_apart() {
    check_cases("merge.txt", |sets| {
        let names: Vec<_> = sets.iter().map(|(name, _)| *name).collect();
        let none = ServiceConfig::default();
        let source = |(upstream, (name, set))| Source { upstream, name, set, service_config: &none };
        let sources: Vec<_> = sets.iter().map(|(name, set)| (*name, set.as_slice())).enumerate().map(source).collect();
        describe(Schema::merge(&sources), &names)
    });
}

#[test]
fn endpoints_of_one_upstream_are_joined_or_told_apart() {
    check_cases("union.txt", |sets| {
        let endpoints: Vec<_> = sets.iter().map(|(name, set)| (*name, Bytes::from(set.clone()))).collect();
        let union = match union(&endpoints) {
            Ok(union) => union,
            Err(error) => return error.to_string(),
        };
        let schema = merge_one(&union.set).unwrap();
        let mut out = describe_types(schema.pool());
        for method in schema.methods() {
            let rules: Vec<_> = method.rules.iter().map(|rule| rule.template.as_str()).collect();
            writeln!(out, "{} {}", method.path, rules.join(" ")).unwrap();
        }
        for ((name, _), lacking) in endpoints.iter().zip(union.lacking).filter(|(_, lacking)| !lacking.is_empty()) {
            writeln!(out, "{name} lacks {}", lacking.join(", ")).unwrap();
        }
        out.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
    });
}

#[test]
fn comments_stay_where_files_are_joined() {
    let set = |text: &str| Bytes::from(compile(&[("c.proto", text)]));
    let old = set("package c; /* Old. */ message M { string a = 1; } service S { rpc A(M) returns (M); }");
    let new = set("package c; /* New. */ message M { string a = 1; string b = 2; } /* Added. */ message N { }");
    let joined = union(&[("old", old), ("new", new)]).unwrap().set;
    let files = FileDescriptorSet::decode_from_slice(&joined).unwrap().file;
    let told = |file: &FileDescriptorProto| (file.name.clone().unwrap(), file.source_code_info.location.is_empty());
    let told: Vec<_> = files.iter().map(told).collect();
    // The places of what is left of the second file would not be those that its information names.
    assert_eq!(told, [("c.proto".to_owned(), false), ("c.proto of endpoint `new`".to_owned(), true)]);
}

#[test]
fn what_breaks_is_told_and_what_is_added_is_not() {
    check_cases("changes.txt", |sets| {
        let [old, new] = [&sets[0], &sets[1]].map(|(_, set)| merge_one(set).unwrap());
        changes(&old, &new).join("\n")
    });
}

/// The types of package `c`, one a line.
fn describe_types(pool: &DescriptorPool) -> String {
    let mut out = String::new();
    for message in pool.messages().iter().filter(|message| message.full_name().starts_with("c.")) {
        let oneof = |field: &buffa_descriptor::FieldDescriptor| {
            let oneof = field.oneof_index().map(|index| message.oneofs()[usize::from(index)].name());
            oneof.map_or(String::new(), |name| format!(" of {name}"))
        };
        let fields =
            message.fields().iter().map(|field| format!(" {}={}{}", field.name(), field.number(), oneof(field)));
        writeln!(out, "{} {{{} }}", message.full_name(), fields.collect::<Vec<_>>().join(",")).unwrap();
    }
    for own in pool.enums().iter().filter(|own| own.full_name().starts_with("c.")) {
        let values = own.values().iter().map(|value| format!(" {}={}", value.name(), value.number()));
        writeln!(out, "{} {{{} }}", own.full_name(), values.collect::<Vec<_>>().join(",")).unwrap();
    }
    for extension in pool.extensions() {
        writeln!(out, "{}={}", extension.full_name(), extension.field().number()).unwrap();
    }
    out
}

#[test]
fn rules_are_read_with_their_additional_bindings_in_order() {
    let schema = merge_one(TEST_SET).unwrap();
    let rules = |path: &str| {
        let method = &schema[schema.method(path).unwrap()];
        let describe = |rule: &HttpRule| {
            let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
            format!("{} {} {} {}", rule.verb, rule.template, or_none(&rule.body), or_none(&rule.response_body))
        };
        method.rules.iter().map(describe).collect::<Vec<_>>()
    };
    assert_eq!(
        rules("/tidegate.test.v1.Rules/A1"),
        ["GET /a1/{s} - -", "GET /a1alt/{n.s} - -", "POST /a1 * -", "POST /a1n n -"]
    );
    assert_eq!(rules("/tidegate.test.v1.Rules/C3"), ["REPORT /c3/{s} - -"]);
    assert_eq!(rules("/tidegate.test.v1.RulesExtra/R2"), ["POST /r2 * rs"]);
    assert_eq!(rules("/tidegate.test.v1.Echo/Bare"), [""; 0]);
    assert_eq!(rules("/tidegate.test.v1.Rules/B8"), ["PATCH /b8/{thing.name=things/*} thing -"]);
    let say = &schema[schema.method("/tidegate.test.v1.Echo/Say").unwrap()];
    assert!(say.no_side_effects);
    assert_eq!(schema.pool().message(say.input).full_name(), "tidegate.test.v1.Msg");
    assert_eq!(schema.method("tidegate.test.v1.Echo/Say"), None);
}

#[test]
fn rules_that_are_none_are_refused_with_the_method() {
    let with = |option: &str| {
        compile(&[(
            "a.proto",
            &format!(
                "package a; import \"google/api/annotations.proto\"; message M {{}}
                 service S {{ rpc A(M) returns (M) {{ option (google.api.http) = {{ {option} }}; }} }}"
            ),
        )])
    };
    for (option, expected) in [
        ("custom { kind: 'A B' path: '/a' }", Err("the custom kind `A B` is no HTTP method")),
        ("custom { kind: '' path: '/a' }", Err("the custom kind `` is no HTTP method")),
        (
            "get: '/a' additional_bindings { get: '/b' additional_bindings { get: '/c' } }",
            Err("additional bindings have additional bindings of their own"),
        ),
        ("custom { kind: '*' path: '/a' }", Ok("* /a")),
        ("additional_bindings { put: '/b' }", Ok("PUT /b")),
        ("body: '*'", Ok("")),
    ] {
        let got = merge_one(&with(option)).map(|schema| {
            let rules = &schema.methods()[0].rules;
            rules.iter().map(|rule| format!("{} {}", rule.verb, rule.template)).collect::<Vec<_>>().join(",")
        });
        let expected = expected
            .map(str::to_owned)
            .map_err(|fault| format!("a.proto:2:53: the HTTP rule of `a.S.A` of upstream `one` is not valid: {fault}"));
        assert_eq!(got.map_err(|error| error.to_string()), expected, "{option}");
    }
}

const SHOP: &[(&str, &str)] = &[(
    "shop.proto",
    "package shop; import \"google/api/annotations.proto\"; message M { string name = 1; }
service Shop {
  rpc Get(M) returns (M) { option (google.api.http) = { get: '/v1/{name=items/**}' }; }
  rpc Put(M) returns (M);
}
service Store { rpc Buy(M) returns (M) {
    option (google.api.http).post = '/v1/buy';
    option (google.api.http).body = '*'; } }
",
)];

fn configured(yaml: &str) -> Result<Schema, SchemaError> {
    let service_config = &ServiceConfig::of([parse_service(yaml, "shop.yaml")]).unwrap();
    Schema::merge(&[Source { upstream: 0, name: "shop", set: &compile(SHOP), service_config }])
}

#[test]
fn a_service_configuration_takes_the_place_of_annotations() {
    let rules = |yaml: &str| {
        let schema = configured(yaml).unwrap();
        let rules = schema.methods().iter().flat_map(|method| method.rules.iter().map(move |rule| (method, rule)));
        let text = |(method, rule): (&Method, &HttpRule)| {
            format!("{} {} {}{}", method.name, rule.verb, rule.template, if rule.decodes_slashes { " /" } else { "" })
        };
        rules.map(text).collect::<Vec<_>>()
    };
    assert_eq!(rules("type: google.api.Service"), ["Get GET /v1/{name=items/**}", "Buy POST /v1/buy"]);
    assert_eq!(
        rules(
            "http: { rules: [ { selector: shop.Shop.Put, put: /p, additional_bindings: [ { custom: { kind: '*', path: /q } } ] } ] }"
        ),
        ["Get GET /v1/{name=items/**}", "Put PUT /p", "Put * /q", "Buy POST /v1/buy"]
    );
    assert_eq!(
        rules(
            "http: { rules: [ { selector: shop.*, get: '/x' }, { selector: shop.Store.Buy }, { selector: 'shop.Shop.*', get: /y } ] }"
        ),
        ["Get GET /y", "Put GET /y"]
    );
    assert_eq!(
        rules("http: { fully_decode_reserved_expansion: true, rules: [ { selector: shop.Store.Buy, get: /b } ] }"),
        ["Get GET /v1/{name=items/**} /", "Buy GET /b /"]
    );
}

#[test]
fn a_selector_that_no_method_has_is_refused_with_the_nearest() {
    for (selector, expected) in [
        ("shop.Shop.Gett", "no method that is selected by `shop.Shop.Gett`; did you mean `shop.Shop.Get`?"),
        ("shop.Stor.*", "no method that is selected by `shop.Stor.*`; did you mean `shop.Store.*`?"),
        ("shop.Shop", "no method that is selected by `shop.Shop`; did you mean `shop.Shop.Get`?"),
        ("shop.Shop.Get, Get", "no method that is selected by `Get`; did you mean `shop.Shop.Get`?"),
    ] {
        let error = configured(&format!("http:\n  rules:\n  - selector: {selector}\n    get: /\n")).unwrap_err();
        assert_eq!(error.to_string(), format!("shop.yaml:3:15: upstream `shop` has {expected}"));
    }
}

#[test]
fn rules_are_found_where_they_stand() {
    let set = compile(SHOP);
    let without = raw::without_source_info(&set).unwrap();
    let schema = merge_one(&set).unwrap();
    let places = |set: &[u8]| {
        let sources = [Source { upstream: 0, name: "shop", set, service_config: &ServiceConfig::default() }];
        let all = schema.methods().iter().flat_map(|method| method.rules.iter().map(move |rule| (method, rule)));
        all.map(|(method, rule)| method.locate(rule, &sources).to_string()).collect::<Vec<_>>()
    };
    assert_eq!(places(&set), ["shop.proto:3:28", "shop.proto:7:5"]);
    assert_eq!(places(&without), ["shop.proto", "shop.proto"]);
    assert_eq!(places(b""), ["shop", "shop"]);
}

#[test]
fn sets_that_are_none_are_told_with_the_upstream() {
    let missing = {
        let set = compile(&[
            ("b.proto", "package b; message M {}"),
            ("a.proto", "package a; import \"b.proto\"; message N { b.M m = 1; }"),
        ]);
        let mut set = FileDescriptorSet::decode_from_slice(&set).unwrap();
        set.file.retain(|file| file.name.as_deref() != Some("b.proto"));
        set.encode_to_vec()
    };
    let file = |name: &str, message: &str| FileDescriptorProto {
        name: Some(name.to_owned()),
        message_type: vec![DescriptorProto { name: Some(message.to_owned()), ..Default::default() }],
        ..Default::default()
    };
    let importing = |name: &str, imports: &[&str]| FileDescriptorProto {
        dependency: imports.iter().map(|import| (*import).to_owned()).collect(),
        ..file(name, &format!("M{name}"))
    };
    let set = |file: Vec<FileDescriptorProto>| FileDescriptorSet { file, ..Default::default() }.encode_to_vec();
    for (bytes, expected) in [
        (
            b"syntax = \"proto3\";".to_vec(),
            "it is not a serialized google.protobuf.FileDescriptorSet, or it is damaged",
        ),
        (vec![0x0a, 5, 1], "it is not a serialized google.protobuf.FileDescriptorSet, or it is damaged"),
        (vec![0; SET_BYTES_MAX + 1], "it has 67108865 bytes, more than the limit of 67108864"),
        (set(vec![file("a", "M"), file("a", "N")]), "it has two different files named `a`"),
        (set(vec![file("a", "M"), file("b", "M")]), "duplicate symbol name \"M\""),
        (missing, "unresolved type name \".b.M\" on field a.N.m; imported files are missing in it: `b.proto`"),
        (set(vec![importing("a", &["a"])]), "its files import each other in a circle: a → a"),
        (
            set(vec![
                importing("a", &["b", "c"]),
                importing("b", &["c"]),
                importing("c", &["d"]),
                importing("d", &["b"]),
            ]),
            "its files import each other in a circle: b → c → d → b",
        ),
        (set(vec![file("a", "M /x\n")]), "`M /x\\n` is no name that a proto file can declare"),
    ] {
        let error = merge_one(&bytes).unwrap_err();
        assert_eq!(error.to_string(), format!("the descriptor set of upstream `one` is not valid: {expected}"));
    }
}

#[test]
fn a_chain_of_imports_as_long_as_may_be_is_no_circle() {
    let file = |index: usize| FileDescriptorProto {
        name: Some(index.to_string()),
        dependency: vec![(index + 1).to_string(), (index + 2).to_string()],
        ..Default::default()
    };
    let set = FileDescriptorSet { file: (0..50_000).map(file).collect(), ..Default::default() };
    assert!(merge_one(&set.encode_to_vec()).is_ok());
}

#[test]
fn a_set_without_its_imports_loads_where_they_are_built_in() {
    let set = compile(&[(
        "a.proto",
        "package a; import \"google/protobuf/timestamp.proto\"; import \"google/api/annotations.proto\";
         message M { google.protobuf.Timestamp t = 1; }
         service S { rpc A(M) returns (M) { option (google.api.http) = { get: '/a' }; } }",
    )]);
    let mut set = FileDescriptorSet::decode_from_slice(&set).unwrap();
    set.file.retain(|file| file.name.as_deref() == Some("a.proto"));
    let schema = merge_one(&set.encode_to_vec()).unwrap();
    assert_eq!(schema.methods()[0].rules.len(), 1);
}

#[test]
fn a_repeated_file_and_an_empty_set_are_fine() {
    let twice = [TEST_SET, TEST_SET].concat();
    assert_eq!(merge_one(&twice).unwrap().methods().len(), merge_one(TEST_SET).unwrap().methods().len());
    assert!(merge_one(&[]).unwrap().methods().is_empty());
    assert!(Schema::merge(&[]).unwrap().pool().message_by_name("google.protobuf.Timestamp").is_some());
}

#[test]
fn what_another_compiler_leaves_out_makes_no_difference() {
    // `json_name` and `syntax` are written by some compilers only.
    let set =
        compile(&[("a.proto", "package a; message M { string two_words = 1; repeated int32 n = 2 [packed = true]; }")]);
    let mut bare = FileDescriptorSet::decode_from_slice(&set).unwrap();
    for field in bare.file.iter_mut().flat_map(|file| &mut file.message_type).flat_map(|message| &mut message.field) {
        assert!(field.json_name.take().is_some());
        field.options = Default::default();
    }
    let bare = bare.encode_to_vec();
    assert_ne!(set, bare);
    let none = ServiceConfig::default();
    let source = |upstream, set| Source { upstream, name: "x", set, service_config: &none };
    assert!(Schema::merge(&[source(0, &set), source(1, &bare)]).is_ok());
}

#[test]
fn editions_are_understood() {
    use buffa_descriptor::generated::descriptor::{FeatureSet, FieldOptions, feature_set::FieldPresence};
    let implicit = FieldOptions {
        features: FeatureSet { field_presence: Some(FieldPresence::IMPLICIT), ..Default::default() }.into(),
        ..Default::default()
    };
    let field = |name: &str, number, options: FieldOptions| FieldDescriptorProto {
        name: Some(name.to_owned()),
        number: Some(number),
        r#type: Some(Type::TYPE_STRING),
        options: options.into(),
        ..Default::default()
    };
    let file = FileDescriptorProto {
        name: Some("e.proto".to_owned()),
        syntax: Some("editions".to_owned()),
        edition: Some(Edition::EDITION_2023),
        message_type: vec![DescriptorProto {
            name: Some("M".to_owned()),
            field: vec![field("a", 1, FieldOptions::default()), field("b", 2, implicit)],
            ..Default::default()
        }],
        ..Default::default()
    };
    let schema = merge_one(&FileDescriptorSet { file: vec![file], ..Default::default() }.encode_to_vec()).unwrap();
    let message = schema.pool().message_by_name("M").unwrap();
    assert_ne!(message.field(1).unwrap().presence(), message.field(2).unwrap().presence());
}

#[test]
fn damaged_sets_are_refused_or_loaded_but_never_panic() {
    use proptest::test_runner::{Config, TestRunner};
    let whole = compile(&[
        (
            "b.proto",
            "package b; message M { string a = 1; map<string, M> m = 2; enum E { Z = 0; } oneof o { E e = 3; } }",
        ),
        (
            "a.proto",
            "package a; import \"b.proto\"; import \"google/api/annotations.proto\";
          service S { rpc A(b.M) returns (b.M) {
            option (google.api.http) = { get: '/{a}' additional_bindings { put: '/' } }; } }",
        ),
    ]);
    // Only the two own files, so that most damage hits them.
    let mut set = FileDescriptorSet::decode_from_slice(&whole).unwrap();
    set.file.retain(|file| file.name.as_deref().is_some_and(|name| name.len() == 7));
    let set = set.encode_to_vec();
    let strategy = proptest::collection::vec((0..set.len(), proptest::num::u8::ANY), 1..4);
    let mut runner = TestRunner::new(Config { failure_persistence: None, ..Config::with_cases(300) });
    let result = runner.run(&strategy, |damage| {
        let mut damaged = set.clone();
        for (at, byte) in damage {
            damaged[at] = byte;
        }
        if let Err(error) = merge_one(&damaged) {
            let _ = error.to_string();
        }
        let _ = merge_one(&damaged[..damaged.len() / 2]);
        Ok(())
    });
    result.unwrap();
}

#[test]
fn five_thousand_methods_load() {
    let message = |name: String| DescriptorProto {
        name: Some(name),
        field: (1..20)
            .map(|number| FieldDescriptorProto {
                name: Some(format!("field_{number}")),
                number: Some(number),
                r#type: Some(Type::TYPE_STRING),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    };
    let file = |index: usize| FileDescriptorProto {
        name: Some(format!("f{index}.proto")),
        package: Some(format!("p{index}")),
        syntax: Some("proto3".to_owned()),
        message_type: (0..100).map(|index| message(format!("M{index}"))).collect(),
        service: vec![ServiceDescriptorProto {
            name: Some("S".to_owned()),
            method: (0..50)
                .map(|method| MethodDescriptorProto {
                    name: Some(format!("A{method}")),
                    input_type: Some(format!(".p{index}.M{method}")),
                    output_type: Some(format!(".p{index}.M{}", method + 50)),
                    ..Default::default()
                })
                .collect(),
            ..Default::default()
        }],
        ..Default::default()
    };
    let set = FileDescriptorSet { file: (0..100).map(file).collect(), ..Default::default() }.encode_to_vec();
    let schema = merge_one(&set).unwrap();
    assert_eq!(schema.methods().len(), 5000);
    let last = schema.method("/p99.S/A49").unwrap();
    assert_eq!(schema.pool().message(schema[last].output).full_name(), "p99.M99");
}

#[test]
fn proto_sources_are_compiled_with_what_is_built_in() {
    let dir = tempdir("protos");
    std::fs::create_dir_all(dir.join("x")).unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.join(name), text).unwrap();
    write("x/b.proto", "syntax = \"proto3\"; package b; message M {}");
    write(
        "x/a.proto",
        "syntax = \"proto3\"; package a; import \"x/b.proto\"; import \"google/api/annotations.proto\";
         service S { rpc A(b.M) returns (b.M) { option (google.api.http) = { get: \"/a\" }; } }",
    );
    let source = |file: &str, includes: &[&str]| SchemaSource::Protos {
        files: vec![dir.join(file)],
        includes: includes.iter().map(|include| dir.join(include)).collect(),
    };
    let set = load(&source("x/a.proto", &[""])).unwrap().unwrap();
    assert_eq!(merge_one(&set).unwrap().methods()[0].rules.len(), 1);
    // Without includes, the file's own directory is one.
    assert!(load(&source("x/b.proto", &[])).unwrap().is_some());
    let error = load(&source("x/a.proto", &[])).unwrap_err().to_string();
    assert_eq!(error, "the proto files cannot be compiled: a.proto:1:31: import 'x/b.proto' not found");
    write("bad.proto", "syntax = \"proto3\";\nmessage M { strin a = 1; }\n");
    let error = load(&source("bad.proto", &[])).unwrap_err().to_string();
    assert!(error.starts_with("the proto files cannot be compiled: bad.proto:2:13: "), "{error}");
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn the_files_that_decide_about_a_set_are_known_even_where_it_cannot_be_compiled() {
    let dir = tempdir("traced");
    std::fs::create_dir_all(dir.join("first")).unwrap();
    std::fs::create_dir_all(dir.join("second")).unwrap();
    let import = |name: &str| format!("syntax = \"proto3\"; package a; import \"{name}\"; message N {{ b.M m = 1; }}");
    std::fs::write(dir.join("second/a.proto"), import("b.proto")).unwrap();
    let includes = vec![dir.join("first"), dir.join("second")];
    let source = SchemaSource::Protos { files: vec![dir.join("second/a.proto")], includes };
    let looked_at = |names: &[&str]| {
        let loaded = load_files(&source);
        for name in names {
            assert!(loaded.files.contains(&dir.join(name)), "{name} is not among {:?}", loaded.files);
        }
        loaded.set.is_ok()
    };
    assert!(!looked_at(&["first/a.proto", "second/a.proto", "first/b.proto", "second/b.proto"]));
    std::fs::write(dir.join("second/b.proto"), "syntax = \"proto3\"; package b; message M {}").unwrap();
    assert!(looked_at(&["first/a.proto", "second/a.proto", "first/b.proto", "second/b.proto"]));
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn sets_come_from_files_and_from_the_program_itself() {
    let dir = tempdir("sets");
    let path = dir.join("test.binpb");
    let source = SchemaSource::DescriptorSet(path.clone());
    let error = load(&source).unwrap_err().to_string();
    assert!(error.starts_with(&format!("the descriptor set `{}` cannot be read: ", path.display())), "{error}");
    std::fs::write(&path, TEST_SET).unwrap();
    assert_eq!(load(&source).unwrap().as_deref(), Some(TEST_SET));
    std::fs::write(&path, []).unwrap();
    let error = load(&source).unwrap_err().to_string();
    assert!(error.ends_with("is not valid: it is empty"), "{error}");
    let sparse = std::fs::File::create(&path).unwrap();
    sparse.set_len(100 << 20).unwrap();
    let error = load(&source).unwrap_err().to_string();
    assert!(error.ends_with("it has 104857600 bytes, more than the limit of 67108864"), "{error}");
    assert_eq!(load(&SchemaSource::Embedded(TEST_SET)).unwrap().as_deref(), Some(TEST_SET));
    assert_eq!(load(&SchemaSource::Reflection).unwrap(), None);
    assert_eq!(load(&SchemaSource::None).unwrap(), None);
    std::fs::remove_dir_all(dir).unwrap();
}

fn tempdir(name: &str) -> std::path::PathBuf {
    let dir = std::env::temp_dir().join(format!("tidegate-schema-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    dir
}
