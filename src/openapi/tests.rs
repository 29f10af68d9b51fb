//! Documents as fixtures (tests/data/openapi has a proto file and the document that it becomes), and what no one file
//! shows.

use std::{env, fmt::Write, fs, path::PathBuf};

use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};
use serde_json::{Value, json};

use super::*;
use crate::{
    codec::write_pretty,
    config::SchemaSource,
    schema::{self, Source},
};

fn folder() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "data", "openapi"].iter().collect()
}

fn merge(set: &[u8]) -> (Schema, Comments) {
    let source = Source { upstream: 0, name: "test", set, service_config: &Default::default() };
    (Schema::merge(&[source]).unwrap(), Comments::read([set]))
}

fn library() -> (Schema, Comments) {
    let files = vec![folder().join("library.proto")];
    merge(&schema::load(&SchemaSource::Protos { files, includes: Vec::new() }).unwrap().unwrap())
}

/// A schema of one proto file.
fn compile(text: &str) -> (Schema, Comments) {
    struct Memory(String);
    impl FileResolver for Memory {
        fn open_file(&self, name: &str) -> Result<File, protox::Error> {
            if name == "test.proto" {
                File::from_source(name, &self.0)
            } else {
                Err(protox::Error::file_not_found(name))
            }
        }
    }
    let mut resolver = ChainFileResolver::new();
    resolver.add(Memory(format!("syntax = \"proto3\";{text}")));
    resolver.add(GoogleFileResolver::new());
    let mut compiler = protox::Compiler::with_file_resolver(resolver);
    compiler.include_imports(true).include_source_info(true).open_file("test.proto").unwrap();
    merge(&compiler.encode_file_descriptor_set())
}

/// Every rule, and the paths of the methods that have none.
fn operations(schema: &Schema, output: OutputSettings) -> Vec<Operation> {
    let mut operations = Vec::new();
    for (method, index) in schema.methods().iter().zip(0..) {
        let rules = (0..method.rules.len()).map(Some);
        let bare = method.rules.is_empty().then_some(None);
        operations.extend(rules.chain(bare).map(|rule| Operation { method: MethodId(index), rule, output }));
    }
    operations
}

fn describe((schema, comments): &(Schema, Comments), output: OutputSettings) -> Vec<u8> {
    document(schema, comments, &operations(schema, output)).unwrap()
}

fn describe_as_value(schema: &(Schema, Comments), output: OutputSettings) -> Value {
    serde_json::from_slice(&describe(schema, output)).unwrap()
}

/// The GET of one message's fields as query parameters, and that message.
fn query_of(messages: &str) -> Vec<String> {
    let rule = "option (http) = { get: \"/q\" };";
    let text = format!("{HTTP} service S {{ rpc M(Request) returns (Request) {{ {rule} }} }} {messages}");
    let document = describe_as_value(&compile(&text), OutputSettings::default());
    let parameters = document["paths"]["/q"]["get"]["parameters"].as_array().cloned().unwrap_or_default();
    parameters.iter().map(|parameter| parameter["name"].as_str().unwrap().to_owned()).collect()
}

/// google/api/http.proto, as far as it is used here.
const HTTP: &str = "import \"google/protobuf/descriptor.proto\";
    message HttpRule { string get = 2; string post = 4; string body = 7; repeated HttpRule additional_bindings = 11; }
    extend google.protobuf.MethodOptions { HttpRule http = 72295728; }";

#[test]
fn a_library_is_described_as_its_fixture_says() {
    let mut pretty = Vec::new();
    write_pretty(&describe(&library(), OutputSettings::default()), &mut pretty);
    pretty.push(b'\n');
    let path = folder().join("library.json");
    if env::var_os("UPDATE").is_some() {
        fs::write(&path, &pretty).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap();
    assert!(String::from_utf8(pretty).unwrap() == expected, "other than {}; UPDATE=1 writes it anew", path.display());
}

#[test]
fn the_same_schema_gives_the_same_bytes() {
    assert_eq!(describe(&library(), OutputSettings::default()), describe(&library(), OutputSettings::default()));
}

#[test]
fn replies_that_are_written_another_way_have_schemas_of_their_own() {
    let output =
        OutputSettings { enum_numbers: true, proto_names: true, int64_numbers: true, defaults: true, pretty: true };
    let document = describe_as_value(&library(), output);
    let schemas = &document["components"]["schemas"];
    let book = &schemas["library.v1.Book-enum_numbers-proto_names-int64_numbers"]["properties"];
    assert_eq!(book["ISBN"], Value::Null);
    assert_eq!(book["isbn"], json!({ "type": ["integer", "string"], "format": "uint64" }));
    assert_eq!(book["bought_at"]["format"], "date-time");
    let language = &schemas["library.v1.Language-enum_numbers-proto_names-int64_numbers"];
    assert_eq!((&language["type"], &language["enum"]), (&json!("integer"), &json!([0, 1, 2])));
    let parameters = &document["paths"]["/v1/shelves/{shelvesId}/books"]["get"]["parameters"];
    assert_eq!(parameters[1]["name"], "page_size");
    assert!(schemas["google.rpc.Status"].is_object(), "errors are written as ever");
}

#[test]
fn a_number_that_enum_values_share_is_told_once() {
    let schema = compile(&format!(
        "{HTTP} message M {{ E e = 1; }} enum E {{ option allow_alias = true; A = 0; B = 1; OLD_A = 0; }}
        service S {{ rpc C(M) returns (M); }}"
    ));
    for (enum_numbers, name, expected) in
        [(false, "E", json!(["A", "B", "OLD_A"])), (true, "E-enum_numbers", json!([0, 1]))]
    {
        let document = describe_as_value(&schema, OutputSettings { enum_numbers, ..OutputSettings::default() });
        assert_eq!(document["components"]["schemas"][name]["enum"], expected);
    }
}

#[test]
fn names_of_operations_are_short_unless_others_have_the_same() {
    let rule =
        |path: &str| format!("option (http) = {{ get: \"{path}\" additional_bindings {{ get: \"{path}/x\" }} }};");
    let (schema, _) = compile(&format!(
        "package p; {HTTP} message M {{}}
        service A {{ rpc B(M) returns (M) {{ {} }} rpc B_2(M) returns (M); rpc C(M) returns (M); }}
        service A_B {{ rpc C(M) returns (M); }}
        service D {{ rpc E(M) returns (M) {{ {} }} }}
        service A_C {{ rpc D(M) returns (M); }}
        service A_C_D {{ rpc F(M) returns (M); }}",
        rule("/a"),
        rule("/d"),
    ));
    let ids = ids::Ids::new(&schema);
    let mut named = String::new();
    for method in schema.methods() {
        for rule in (0..method.rules.len()).map(Some).chain([None]) {
            write!(named, "{} ", ids.id(method, rule)).unwrap();
        }
    }
    assert_eq!(named, "A_B p.A.B.2 A_B_0 p.A.B_2 A_C A_B_C D_E D_E_2 D_E_0 A_C_D A_C_D_F ");
}

#[test]
fn messages_within_themselves_are_listed_once() {
    let names = query_of(
        "message Request { string a = 1; Request b = 2; Other c = 3; } message Other { Request d = 1; int32 e = 2; }",
    );
    assert_eq!(names, ["a", "c.e"]);
}

#[test]
fn the_list_of_parameters_ends_however_deep_messages_go() {
    // Ten times as many parameters with each level.
    let mut messages = String::new();
    for level in 0..30 {
        let name = if level == 0 { "Request".to_owned() } else { format!("L{level}") };
        let fields: String = (1..=10).map(|number| format!("L{} f{number} = {number};", level + 1)).collect();
        write!(messages, "message {name} {{ {fields} }} ").unwrap();
    }
    assert_eq!(query_of(&format!("{messages} message L30 {{ string s = 1; }}")).len(), 256);
    assert_eq!(query_of(&format!("{messages} message L30 {{}}")).len(), 0);
    let chain = |level: usize| format!("message L{level} {{ L{} f = 1; string s{level} = 2; }} ", level + 1);
    let chain: String = (0..200).map(chain).collect();
    let names = query_of(&format!("{chain} message L200 {{}} message Request {{ L0 f = 1; }}"));
    assert_eq!((names.len(), names[0].split('.').count()), (98, 99), "as deep as the codec goes");
}

#[test]
fn an_api_that_is_too_large_is_refused() {
    let mut budget = Budget { left: 10 };
    assert!(budget.write(&"12345").is_ok());
    assert_eq!(budget.write(&"12345").err(), Some(TooLarge));
}

#[test]
fn an_api_is_named_by_its_packages() {
    for (services, expected) in [
        (&["a.v1.S", "a.v1.T"][..], ("a.v1", "v1")),
        (&["a.v1.S", "b.v1.S", "a.v2.S"], ("a.v1, a.v2, b.v1", "unversioned")),
        (&["a.v1beta1.S"], ("a.v1beta1", "v1beta1")),
        (&["a.vendor.S"], ("a.vendor", "unversioned")),
        (&["a.S", "b.S", "c.S", "d.S", "e.S"], ("a, b, c, 2 more", "unversioned")),
        (&["S"], ("API", "unversioned")),
        (&[], ("API", "unversioned")),
    ] {
        let services: BTreeSet<&str> = services.iter().copied().collect();
        assert_eq!((title(&services).as_str(), version(&services).as_str()), expected);
    }
}
