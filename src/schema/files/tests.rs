//! What clients of reflection find, and that they can link it.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use prost::Message;
use prost_reflect::DescriptorPool;
use prost_types::{DescriptorProto, FileDescriptorProto};

use super::*;
use crate::schema::{
    fixtures::{compile, compile_alone},
    raw,
};

const TEST_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/test.binpb"));

fn join(sets: &[(&str, Vec<u8>)]) -> Files {
    Files::join(sets.iter().map(|(name, set)| (*name, set.as_slice()))).unwrap()
}

fn decode(file: &Bytes) -> FileDescriptorProto {
    FileDescriptorProto::decode(file.clone()).unwrap()
}

/// All that a client gets who begins with a symbol and asks for one file after the other, by name.
fn fetch(files: &Files, symbol: &str) -> BTreeMap<String, Bytes> {
    let mut known = BTreeMap::new();
    let mut waiting = vec![files.declaring(symbol).unwrap_or_else(|| panic!("{symbol}"))];
    while let Some(id) = waiting.pop() {
        let bytes = files.with_imports(id, &mut HashSet::new()).swap_remove(0);
        let file = decode(&bytes);
        if known.insert(file.name().to_owned(), bytes).is_none() {
            waiting.extend(file.dependency.iter().map(|name| files.named(name).unwrap_or_else(|| panic!("{name}"))));
        }
    }
    known
}

/// As strict as the strictest client: every type that is named stands in the file itself or in one that it imports, no
/// symbol stands twice, and no file imports itself in the end.
fn link(fetched: &BTreeMap<String, Bytes>) -> DescriptorPool {
    fn declared(scope: &str, messages: &[DescriptorProto], out: &mut BTreeSet<String>) {
        for message in messages {
            let name = format!("{scope}.{}", message.name());
            declared(&name, &message.nested_type, out);
            out.extend(message.enum_type.iter().map(|own| format!("{name}.{}", own.name())));
            assert!(out.insert(name.clone()), "{name} stands twice");
        }
    }
    fn named(messages: &[DescriptorProto], out: &mut BTreeSet<String>) {
        for message in messages {
            let fields = message.field.iter().chain(&message.extension);
            out.extend(fields.flat_map(|field| [field.type_name.clone(), field.extendee.clone()]).flatten());
            named(&message.nested_type, out);
        }
    }
    let all = |file: &FileDescriptorProto| -> BTreeSet<String> {
        let mut out = BTreeSet::new();
        let scope = if file.package().is_empty() { String::new() } else { format!(".{}", file.package()) };
        declared(&scope, &file.message_type, &mut out);
        out.extend(file.enum_type.iter().map(|own| format!("{scope}.{}", own.name())));
        out
    };
    let files: BTreeMap<_, _> = fetched.iter().map(|(name, file)| (name, decode(file))).collect();
    let mut everything = BTreeSet::new();
    for name in files.values().flat_map(all) {
        assert!(everything.insert(name.clone()), "{name} stands twice");
    }
    let mut set = Vec::new();
    fetched.values().for_each(|file| raw::push_file(file, &mut set));
    let pool = DescriptorPool::decode(set.as_slice()).unwrap();
    for file in files.values() {
        let mut visible = all(file);
        visible.extend(file.dependency.iter().flat_map(|import| all(&files[import])));
        let mut wanted = BTreeSet::new();
        named(&file.message_type, &mut wanted);
        let methods = file.service.iter().flat_map(|service| &service.method);
        wanted.extend(methods.flat_map(|method| [method.input_type().to_owned(), method.output_type().to_owned()]));
        let missing: Vec<_> = wanted.difference(&visible).collect();
        assert!(missing.is_empty(), "{} names {missing:?}, imports {:?}", file.name(), file.dependency);
    }
    pool
}

#[test]
fn a_set_of_one_upstream_is_told_as_it_is_but_for_its_comments() {
    let files = join(&[("test", TEST_SET.to_vec())]);
    let original = raw::without_source_info(TEST_SET).unwrap();
    for file in raw::Fields::of(&original).map(|field| field.unwrap().value.unwrap()) {
        let name = raw::name(file).unwrap();
        if name.starts_with("tidegate/") {
            let told = files.with_imports(files.named(name).unwrap(), &mut HashSet::new());
            assert_eq!(told[0], file, "{name}");
        }
    }
}

#[test]
fn options_that_only_a_backend_knows_stay() {
    let files = join(&[("test", TEST_SET.to_vec())]);
    let pool = link(&fetch(&files, "tidegate.test.v1.Rules"));
    let methods: Vec<_> = pool.get_service_by_name("tidegate.test.v1.Rules").unwrap().methods().collect();
    let http = pool.get_extension_by_name("google.api.http").unwrap();
    assert!(methods.iter().any(|method| method.options().has_extension(&http)));
}

#[test]
fn every_kind_of_symbol_leads_to_its_file() {
    const PROTO: &str = r#"syntax = "proto2"; package k;
        message M {
            optional int32 field = 1;
            oneof choice { int32 one = 2; }
            message N { optional int32 deep = 1; enum E { INNER = 0; } }
            extensions 100 to 200;
            extend M { optional int32 within = 101; }
        }
        enum E { OUTER = 0; }
        extend M { optional int32 beside = 100; }
        service S { rpc Call(M) returns (M); }"#;
    let files = join(&[("k", compile(&[("k.proto", PROTO)]))]);
    let id = files.named("k.proto");
    assert!(id.is_some());
    for symbol in [
        "k.M",
        "k.M.field",
        "k.M.choice",
        "k.M.one",
        "k.M.N",
        "k.M.N.deep",
        "k.M.N.E",
        "k.M.N.INNER",
        "k.M.within",
        "k.E",
        "k.OUTER",
        "k.beside",
        "k.S",
        "k.S.Call",
    ] {
        assert_eq!(files.declaring(symbol), id, "{symbol}");
    }
    for symbol in ["", "k", ".k.M", "k.M.", "k.M.other", "k.E.OUTER", "k.M.N.E.INNER", "k.S.Other", "M"] {
        assert_eq!(files.declaring(symbol), None, "{symbol}");
    }
    assert_eq!((files.extending("k.M", 100), files.extending("k.M", 101)), (id, id));
    assert_eq!((files.extending("k.M", 102), files.extending("k.E", 100)), (None, None));
    assert_eq!(files.extension_numbers("k.M"), Some(vec![100, 101]));
    assert_eq!(files.extension_numbers("k.M.N"), Some(vec![]));
    assert_eq!((files.extension_numbers("k.E"), files.extension_numbers("k.X")), (None, None));
}

#[test]
fn a_file_comes_with_what_it_imports_and_nothing_comes_twice_unasked() {
    let set = compile(&[
        ("top.proto", r#"import "left.proto"; import "right.proto"; message T { L l = 1; R r = 2; }"#),
        ("left.proto", r#"import "base.proto"; message L { B b = 1; }"#),
        ("right.proto", r#"import "base.proto"; message R { B b = 1; }"#),
        ("base.proto", "message B {}"),
    ]);
    let files = join(&[("one", set)]);
    let mut sent = HashSet::new();
    let mut ask = |symbol| {
        let told = files.with_imports(files.declaring(symbol).unwrap(), &mut sent);
        told.into_iter().map(|file| FileDescriptorProto::decode(file).unwrap().name().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(ask("L"), ["left.proto", "base.proto"]);
    assert_eq!(ask("T"), ["top.proto", "right.proto"]);
    assert_eq!(ask("B"), ["base.proto"]);
    assert_eq!(ask("T"), ["top.proto"]);
}

#[test]
fn imports_that_are_too_much_for_one_answer_are_left_to_be_asked_for() {
    let fields: String = (1..12_000).map(|n| format!("int64 a_field_with_a_long_name_{n} = {n};")).collect();
    let large = |name: &str| format!("message {name} {{ {fields} }}");
    let set = compile(&[
        ("top.proto", r#"import "a.proto"; import "b.proto"; message T { A a = 1; B b = 2; }"#),
        ("a.proto", &large("A")),
        ("b.proto", &large("B")),
    ]);
    let files = join(&[("one", set)]);
    let mut sent = HashSet::new();
    let told = files.with_imports(files.declaring("T").unwrap(), &mut sent);
    assert_eq!((told.len(), sent.len()), (2, 2));
    // One alone is told whatever its size.
    assert_eq!(files.with_imports(files.declaring("B").unwrap(), &mut sent).len(), 1);
    link(&fetch(&files, "T"));
}

#[test]
fn files_of_several_upstreams_link_together() {
    let old = r#"package c; message M { string a = 1; } message Other { M m = 1; }"#;
    let new = r#"package c; message M { string a = 1; N n = 2; } message N { M m = 1; K k = 2; } enum K { ZERO = 0; }"#;
    let service =
        |name: &str| format!(r#"package {name}; import "c.proto"; service S {{ rpc C(c.M) returns (c.M); }}"#);
    for (title, left, right) in [
        ("another version of a file", vec![("c.proto", old)], vec![("c.proto", new)]),
        ("the new version first", vec![("c.proto", new)], vec![("c.proto", old)]),
        (
            "a type in another file",
            vec![("c.proto", r#"import public "m.proto"; message Z {}"#), ("m.proto", new)],
            vec![("c.proto", old)],
        ),
        (
            "a file that only imports",
            vec![("c.proto", r#"import public "m.proto";"#), ("m.proto", old)],
            vec![("c.proto", new)],
        ),
    ] {
        let (a, b) = (service("a"), service("b"));
        let set = |files: Vec<(&str, &str)>, name, text: &str| {
            compile(&files.iter().map(|(name, text)| (*name, *text)).chain([(name, text)]).collect::<Vec<_>>())
        };
        let files = join(&[("a", set(left, "a.proto", &a)), ("b", set(right, "b.proto", &b))]);
        let mut fetched = fetch(&files, "a.S");
        fetched.extend(fetch(&files, "b.S"));
        fetched.extend(fetch(&files, "c.N"));
        let pool = link(&fetched);
        let message = pool.get_message_by_name("c.M").unwrap();
        assert_eq!(message.fields().len(), 2, "{title}");
        assert!(pool.get_service_by_name("b.S").is_some(), "{title}");
    }
}

#[test]
fn what_was_imported_for_nothing_but_is_not_there_is_not_imported() {
    let set = compile_alone(&[("options.proto", "message O {}")]);
    let alone = compile(&[("m.proto", r#"import "options.proto"; message M {}"#), ("options.proto", "message O {}")]);
    let files = join(&[("one", alone)]);
    let mut file = decode(&fetch(&files, "M")["m.proto"]);
    file.dependency.insert(0, "gone.proto".to_owned());
    file.public_dependency = vec![0, 1];
    let mut set = raw::without_source_info(&set).unwrap();
    raw::push_file(&file.encode_to_vec(), &mut set);
    let file = decode(&fetch(&join(&[("one", set)]), "M")["m.proto"]);
    assert_eq!((file.dependency, file.public_dependency), (vec!["options.proto".to_owned()], vec![0]));
}

#[test]
fn a_oneof_that_one_version_adds_stands_before_what_is_optional_in_another() {
    let old = "package c; message M { optional int32 o = 1; message N { optional int32 o = 1; } }";
    let new = "package c; message M { oneof real { string x = 2; } message N { oneof real { string x = 2; } } }";
    let files = join(&[("a", compile(&[("c.proto", old)])), ("b", compile(&[("c.proto", new)]))]);
    let pool = link(&fetch(&files, "c.M"));
    for name in ["c.M", "c.M.N"] {
        let message = pool.get_message_by_name(name).unwrap();
        let oneofs: Vec<_> = message
            .oneofs()
            .map(|oneof| (oneof.name().to_owned(), oneof.fields().map(|field| field.number()).collect::<Vec<_>>()))
            .collect();
        assert_eq!(oneofs, [("real".to_owned(), vec![2]), ("_o".to_owned(), vec![1])], "{name}");
    }
}

#[test]
fn two_options_of_one_number_are_one() {
    let file = |package: &str| {
        format!(
            r#"syntax = "proto2"; package {package}; import "google/protobuf/descriptor.proto";
            extend google.protobuf.MethodOptions {{ optional string mine = 50001; }} message M {{}}
            service S {{ rpc C(M) returns (M) {{ option (mine) = "x"; }} }}"#
        )
    };
    let files = join(&[("a", compile(&[("a.proto", &file("a"))])), ("b", compile(&[("b.proto", &file("b"))]))]);
    let mut fetched = fetch(&files, "a.S");
    fetched.extend(fetch(&files, "b.S"));
    link(&fetched);
    assert_eq!((files.declaring("a.mine").is_some(), files.declaring("b.mine")), (true, None));
    assert_eq!(
        files.extension_numbers("google.protobuf.MethodOptions").unwrap().iter().filter(|n| **n == 50001).count(),
        1
    );
}
