//! Joins the upstreams' sets with what is built in, or says which two do not fit together.

use std::collections::HashMap;

use buffa_descriptor::{
    DescriptorPool, MessageIndex, PoolError, ServiceDescriptor, generated::descriptor::FileDescriptorProto,
};

use super::{
    BUILTIN, InvalidSet, SchemaError, Source,
    combine::{Combined, Overlap, option_types},
    compare::{Reach, differences},
    is_infrastructure, set,
};

/// One pool for all upstreams.
pub(super) struct Merged {
    pub(super) pool: DescriptorPool,
    /// Services, with the index of their source.
    pub(super) services: Vec<(String, usize)>,
}

/// Place of what is built in among the parts: first, so that its definitions are the ones that stay.
const BUILTIN_PART: usize = 0;

pub(super) fn merge(sources: &[Source<'_>]) -> Result<Merged, SchemaError> {
    let parts = Parts::decode(sources)?;
    let combined = Combined::of(parts.all.iter().map(|part| part.files.as_slice()));
    let differing = parts.differing(&combined.overlaps)?;
    let pool = match set::link(combined.files) {
        Ok(pool) => pool,
        Err(error) => return Err(parts.blame(error, differing)),
    };
    parts.refuse_conflicts(&pool, differing)?;
    let services = combined.services.into_iter().filter(|(_, part)| *part != BUILTIN_PART);
    Ok(Merged { pool, services: services.map(|(name, part)| (name, part - 1)).collect() })
}

struct Parts {
    /// What is built in, then the sources in their order.
    all: Vec<Part>,
}

struct Part {
    name: String,
    files: Vec<FileDescriptorProto>,
}

/// Something that two parts define differently.
struct Difference {
    symbol: String,
    first: usize,
    second: usize,
    /// True where only custom options hold it, in both parts.
    only_options: bool,
}

impl Parts {
    fn decode(sources: &[Source<'_>]) -> Result<Self, SchemaError> {
        let builtin = std::iter::once(("(built in)", BUILTIN));
        let mut all = Vec::with_capacity(sources.len() + 1);
        for (name, bytes) in builtin.chain(sources.iter().map(|source| (source.name, source.set))) {
            let invalid = |fault| SchemaError::Invalid { upstream: name.to_owned(), fault };
            let mut files = set::decode(bytes).map_err(invalid)?;
            if !all.is_empty() {
                set::drop_descriptor_proto(&mut files);
            }
            all.push(Part { name: name.to_owned(), files });
        }
        Ok(Self { all })
    }

    /// Of the symbols that came twice, those whose definitions are not the same.
    fn differing(&self, overlaps: &[Overlap]) -> Result<Vec<Difference>, SchemaError> {
        let mut linked = HashMap::new();
        let mut found = Vec::new();
        for overlap in overlaps.iter().filter(|overlap| !is_standard(&overlap.symbol)) {
            let Overlap { symbol, is_service, first, second } = overlap;
            if *is_service {
                return Err(SchemaError::DuplicateService {
                    service: symbol.clone(),
                    first: self.name(*first),
                    second: self.name(*second),
                });
            }
            for part in [first, second] {
                if !linked.contains_key(part) {
                    linked.insert(*part, self.link_alone(*part)?);
                }
            }
            let (Some(a), Some(b)) = (linked.get(first), linked.get(second)) else { continue };
            found.extend(differences(symbol, &a.pool, &b.pool).into_iter().map(|symbol| Difference {
                only_options: a.only_options(&symbol) && b.only_options(&symbol),
                symbol,
                first: *first,
                second: *second,
            }));
        }
        Ok(found)
    }

    /// A part by itself, with what is built in for what it lacks.
    fn link_alone(&self, part: usize) -> Result<Linked, SchemaError> {
        let builtin = self.files(BUILTIN_PART);
        let files = self.files(part);
        let pool = set::link(Combined::of([files, builtin]).files).map_err(|error| SchemaError::Invalid {
            upstream: self.name(part),
            fault: InvalidSet::Link { error, missing: set::missing_imports(files, builtin) },
        })?;
        let option_types = option_types(files).into_iter().filter_map(|name| pool.message_index(name));
        let options = Reach::of(&pool, option_types);
        let calls = Reach::of(&pool, call_types(&pool));
        Ok(Linked { pool, options, calls })
    }

    /// Which part is at fault when all together cannot be linked.
    fn blame(&self, error: PoolError, differing: Vec<Difference>) -> SchemaError {
        if let Some(error) = (0..self.all.len()).find_map(|part| self.link_alone(part).err()) {
            return error;
        }
        if let Some(difference) = differing.into_iter().next() {
            return self.conflict(difference.symbol, difference.first, difference.second);
        }
        let PoolError::DuplicateName(symbol) = &error else { return SchemaError::Unlinked(error) };
        let has = |part: &usize| {
            self.link_alone(*part).is_ok_and(|linked| linked.pool.file_containing_symbol(symbol).is_some())
        };
        let mut owners = (1..self.all.len()).filter(has);
        match (owners.next(), owners.next()) {
            (Some(first), Some(second)) => self.conflict(symbol.clone(), first, second),
            (Some(only), None) => self.conflict(symbol.clone(), BUILTIN_PART, only),
            _ => SchemaError::Unlinked(error),
        }
    }

    /// A type of custom options may differ by version as long as no call carries it.
    fn refuse_conflicts(&self, pool: &DescriptorPool, differing: Vec<Difference>) -> Result<(), SchemaError> {
        if differing.is_empty() {
            return Ok(());
        }
        let calls = Reach::of(pool, call_types(pool));
        match differing.into_iter().find(|found| !found.only_options || calls.contains(pool, &found.symbol)) {
            Some(Difference { symbol, first, second, .. }) => Err(self.conflict(symbol, first, second)),
            None => Ok(()),
        }
    }

    fn conflict(&self, symbol: String, first: usize, second: usize) -> SchemaError {
        SchemaError::Conflict { symbol, first: self.name(first), second: self.name(second) }
    }

    fn files(&self, part: usize) -> &[FileDescriptorProto] {
        self.all.get(part).map_or(&[], |part| &part.files)
    }

    fn name(&self, part: usize) -> String {
        self.all.get(part).map_or_else(String::new, |part| part.name.clone())
    }
}

/// One part that was linked by itself.
struct Linked {
    pool: DescriptorPool,
    options: Reach,
    calls: Reach,
}

impl Linked {
    /// True for what the part does not have at all, too.
    fn only_options(&self, symbol: &str) -> bool {
        let is_type = self.pool.message_index(symbol).is_some() || self.pool.enum_index(symbol).is_some();
        if !is_type {
            return self.pool.extension_by_name(symbol).is_none();
        }
        self.options.contains(&self.pool, symbol) && !self.calls.contains(&self.pool, symbol)
    }
}

fn call_types(pool: &DescriptorPool) -> impl Iterator<Item = MessageIndex> {
    pool.services().iter().flat_map(ServiceDescriptor::methods).flat_map(|method| [method.input(), method.output()])
}

/// Symbols that everyone has a copy of, which differ by version only: the first definition stays, ours before all.
fn is_standard(symbol: &str) -> bool {
    let package = symbol.rsplit_once('.').map_or("", |(package, _)| package);
    matches!(package, "google.protobuf" | "google.api" | "google.rpc") || is_infrastructure(symbol)
}
