//! Compiles `proto/` without `protoc`: descriptor sets for the schema, and prost and tonic code for our own messages.

use std::{env, error::Error, fs, io, path::PathBuf};

use tonic_prost_build::{Builder, Config, FileDescriptorSet};

/// Always in the schema: error details and HttpBody (the well-known types come with the compiler).
const BUILTIN: &[&str] = &[
    "google/api/annotations.proto",
    "google/api/httpbody.proto",
    "google/protobuf/any.proto",
    "google/protobuf/duration.proto",
    "google/protobuf/empty.proto",
    "google/protobuf/field_mask.proto",
    "google/protobuf/struct.proto",
    "google/protobuf/timestamp.proto",
    "google/protobuf/wrappers.proto",
    "google/rpc/error_details.proto",
    "google/rpc/status.proto",
];

/// The services of the integration tests' backends.
const TEST: &[&str] = &["tidegate/test/v1/echo.proto", "tidegate/test/v1/files.proto", "tidegate/test/v1/rules.proto"];

/// The demo's services, and the error details that they answer with.
const DEMO: &[&str] = &[
    "demo/liker/v1/liker.proto",
    "demo/chat/v1/chat.proto",
    "google/rpc/error_details.proto",
    "google/rpc/status.proto",
];

/// The gateway's own services.
const HEALTH: &[&str] = &["grpc/health/v1/health.proto"];
const REFLECTION: &[&str] = &["grpc/reflection/v1/reflection.proto", "grpc/reflection/v1alpha/reflection.proto"];

/// Frames of many calls on one WebSocket.
const MUX: &[&str] = &["tidegate/mux/v1/mux.proto"];

/// Where the messages of `grpc.reflection.v1` are. Those of v1alpha are the same on the wire, and are not made again.
const REFLECTION_MESSAGES: &str = "crate::schema::reflection::proto";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let out = PathBuf::from(env::var("OUT_DIR")?);
    for (name, files) in [
        ("builtin", BUILTIN),
        ("test", TEST),
        ("demo", DEMO),
        ("health", HEALTH),
        ("reflection", REFLECTION),
        ("mux", MUX),
    ] {
        let mut compiler = protox::Compiler::new(["proto"])?;
        compiler.include_imports(true).include_source_info(true).open_files(files)?;
        // The raw bytes keep the extensions (`google.api.http`) that the generator's own types drop.
        fs::write(out.join(format!("{name}.binpb")), compiler.encode_file_descriptor_set())?;
        // The demo's code has a folder of its own: both sets generate `google.api`.
        let code = if name == "demo" { out.join("demo") } else { out.clone() };
        fs::create_dir_all(&code)?;
        let builder = tonic_prost_build::configure().out_dir(code);
        let builder = match name {
            "builtin" => continue,
            "health" => builder.build_client(false),
            "reflection" => builder.build_client(false).extern_path(".grpc.reflection.v1alpha", REFLECTION_MESSAGES),
            _ => builder,
        };
        generate(builder, compiler.file_descriptor_set())?;
    }
    Ok(())
}

/// Without the protos' comments on messages: as documentation, their indented examples would be taken for Rust and run
/// as tests.
fn generate(builder: Builder, set: FileDescriptorSet) -> io::Result<()> {
    let mut config = Config::new();
    config.disable_comments(["."]);
    builder.compile_fds_with_config(set, config)
}
