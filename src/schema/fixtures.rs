//! Sets for tests, from proto files that are given as text.

use protox::file::{ChainFileResolver, DescriptorSetFileResolver, File, FileResolver, GoogleFileResolver};

use super::BUILTIN;

/// Proto files in memory, by name.
struct Memory(Vec<(String, String)>);

impl FileResolver for Memory {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        let found = self.0.iter().find(|(own, _)| own == name);
        let (_, text) = found.ok_or_else(|| protox::Error::file_not_found(name))?;
        File::from_source(name, text)
    }
}

/// The set of some proto files, of proto3 unless they say otherwise, and of what they import.
pub(crate) fn compile(files: &[(&str, &str)]) -> Vec<u8> {
    let mut compiler = compiler(files);
    compiler.include_imports(true).include_source_info(true);
    compiler.encode_file_descriptor_set()
}

/// The set of these files alone, without comments.
pub(crate) fn compile_alone(files: &[(&str, &str)]) -> Vec<u8> {
    compiler(files).encode_file_descriptor_set()
}

fn compiler(files: &[(&str, &str)]) -> protox::Compiler {
    let with_syntax = |text: &str| {
        if text.trim_start().starts_with("syntax") { text.to_owned() } else { format!("syntax = \"proto3\";{text}") }
    };
    let mut resolver = ChainFileResolver::new();
    resolver.add(Memory(files.iter().map(|(name, text)| ((*name).to_owned(), with_syntax(text))).collect()));
    resolver.add(GoogleFileResolver::new());
    resolver.add(DescriptorSetFileResolver::decode(BUILTIN).unwrap());
    let mut compiler = protox::Compiler::with_file_resolver(resolver);
    compiler.open_files(files.iter().map(|(name, _)| name)).unwrap_or_else(|error| panic!("{error:?}"));
    compiler
}
