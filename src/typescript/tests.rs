//! Modules as fixtures: the demo's, which its example page uses, and the tests' own, with every shape that a field has.
//! `web/client/test` lets the compiler judge them.

use std::{env, fs, path::Path};

use super::*;
use crate::schema::Source;

/// Compiles proto files and describes all of their methods.
fn describe(file: &Fixture) -> Result<String, Mixed> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut compiler = protox::Compiler::new([root.join("proto"), root.join("tests/data/typescript")]).unwrap();
    compiler.include_imports(true).include_source_info(true).open_files(file.protos).unwrap();
    let set = compiler.encode_file_descriptor_set();
    let source = Source { upstream: 0, name: "test", set: &set, service_config: &Default::default() };
    let schema = Schema::merge(&[source]).unwrap();
    let resumes: Vec<(&str, Resume)> = file
        .resumes
        .iter()
        .map(|(method, id, request)| (*method, Resume { event_id: (*id).to_owned(), request: (*request).to_owned() }))
        .collect();
    let entries = (0..).map(MethodId).take(schema.methods().len()).map(|method| {
        let name = &schema[method].name;
        let output = if file.usual.contains(&name.as_str()) { OutputSettings::default() } else { file.output };
        let resume = resumes.iter().find(|(of, _)| name == of).map(|(_, resume)| resume);
        Entry { method, output, resume }
    });
    module(&schema, &Comments::read([set.as_slice()]), &entries.collect::<Vec<_>>())
}

#[derive(Default)]
struct Fixture {
    protos: &'static [&'static str],
    path: &'static str,
    output: OutputSettings,
    /// Methods whose replies are written as ever.
    usual: &'static [&'static str],
    /// By method: the field of the reply, and that of the request.
    resumes: &'static [(&'static str, &'static str, &'static str)],
}

#[test]
fn schemas_are_described_as_their_fixtures_say() {
    let numbers =
        OutputSettings { enum_numbers: true, proto_names: true, int64_numbers: true, ..OutputSettings::default() };
    for fixture in [
        Fixture {
            protos: &["demo/liker/v1/liker.proto", "demo/chat/v1/chat.proto"],
            path: "web/client/example/demo.ts",
            // The second has no stream of replies.
            resumes: &[("WatchLikes", "sequence", "after_sequence"), ("Like", "id", "id")],
            ..Fixture::default()
        },
        Fixture {
            protos: &["tidegate/test/v1/echo.proto"],
            path: "tests/data/typescript/echo.ts",
            output: OutputSettings { defaults: true, pretty: true, ..OutputSettings::default() },
            usual: &["Say"],
            resumes: &[("Down", "n", "after")],
        },
        Fixture { protos: &["shapes.proto"], path: "tests/data/typescript/shapes.ts", ..Fixture::default() },
        Fixture {
            protos: &["wide.proto"],
            path: "tests/data/typescript/wide.ts",
            output: numbers,
            resumes: &[("Follow", "at_cursor.pageNumber", "from_cursor.page_number")],
            ..Fixture::default()
        },
    ] {
        let written = describe(&fixture).unwrap();
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(fixture.path);
        if env::var_os("UPDATE").is_some() {
            fs::write(&path, &written).unwrap();
        }
        let expected = fs::read_to_string(&path).unwrap();
        assert!(written == expected, "other than {}; UPDATE=1 writes it anew", path.display());
    }
}

#[test]
fn replies_that_are_written_in_several_ways_are_no_one_module() {
    let protos = &["tidegate/test/v1/echo.proto"];
    let output = OutputSettings { proto_names: true, ..OutputSettings::default() };
    assert!(describe(&Fixture { protos, output, usual: &["Say"], ..Fixture::default() }).is_err());
}
