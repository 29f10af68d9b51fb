//! Joins the sets of upstreams, or those of one upstream's endpoints, and says which two do not fit together.

use std::{
    cell::LazyCell,
    collections::{HashMap, hash_map::Entry},
};

use buffa::Message as _;
use buffa_descriptor::{
    DescriptorPool, PoolError,
    generated::descriptor::{FileDescriptorProto, FileDescriptorSet},
};
use bytes::Bytes;

use super::{
    BUILTIN, InvalidSet, Origin, SchemaError, Source,
    combine::{self, Combined, Overlap, option_types},
    compare::{self, Difference, Reach, call_types, differences},
    set,
};

/// One pool for all upstreams.
pub(super) struct Merged {
    pub(super) pool: DescriptorPool,
    /// The sources that have each method, in their order, by its full name.
    pub(super) owners: HashMap<String, Vec<usize>>,
}

/// What the endpoints of one upstream have together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Union {
    /// A serialized `google.protobuf.FileDescriptorSet`.
    pub set: Bytes,
    /// What each endpoint does not have of it, in their order, as `field a.M.f` or `method a.S/M`.
    pub lacking: Vec<Vec<String>>,
}

/// Place of what is built in among the parts: first, so that its definitions are the ones that stay.
const BUILTIN_PART: usize = 0;

pub(super) fn merge(sources: &[Source<'_>]) -> Result<Merged, SchemaError> {
    let parts = Parts::of_upstreams(sources.iter().map(|source| (source.name, source.set)))?;
    let combined = Combined::of(parts.all());
    let pool = parts.link(combined.files, &combined.overlaps)?;
    let mut owners: HashMap<String, Vec<usize>> = HashMap::new();
    for (source, part) in parts.0.iter().skip(BUILTIN_PART + 1).enumerate() {
        for method in combine::method_names(&part.files) {
            owners.entry(method).or_default().push(source);
        }
    }
    Ok(Merged { pool, owners })
}

/// The files of some upstreams, by their names, and what is built in, joined as they are for [`merge`].
pub(super) fn files<'a>(
    sets: impl IntoIterator<Item = (&'a str, &'a [u8])>,
) -> Result<Vec<FileDescriptorProto>, SchemaError> {
    Ok(Combined::of(Parts::of_upstreams(sets)?.all()).files)
}

/// Joins the sets of the endpoints of one upstream, by their URLs. What only some of them have is part of the union, as
/// long as nothing means one thing to one endpoint and another to the next.
///
/// # Errors
/// A set that is not valid, or a symbol that two endpoints define differently.
pub fn union(endpoints: &[(&str, Bytes)]) -> Result<Union, SchemaError> {
    let origin = |url: &str| Origin::Endpoint(url.to_owned());
    if let [(url, set), others @ ..] = endpoints
        && others.iter().all(|(_, other)| other == set)
    {
        Parts::decode([(origin(url), &**set)], set::decode)?.alone(BUILTIN_PART + 1)?;
        return Ok(Union { set: set.clone(), lacking: vec![Vec::new(); endpoints.len()] });
    }
    let parts = Parts::decode(endpoints.iter().map(|(url, set)| (origin(url), &**set)), set::decode_whole)?;
    let combined = Combined::of(parts.all());
    let pool = parts.link(combined.files.clone(), &combined.overlaps)?;
    let mut lacking = Vec::with_capacity(endpoints.len());
    for part in BUILTIN_PART + 1..parts.0.len() {
        lacking.push(compare::lacking(&parts.alone(part)?.pool, &pool));
    }
    let files = combined.files.into_iter().zip(combined.parts).filter(|(_, part)| *part != BUILTIN_PART);
    let set = FileDescriptorSet { file: files.map(|(file, _)| file).collect(), ..FileDescriptorSet::default() };
    Ok(Union { set: set.encode_to_vec().into(), lacking })
}

/// What is built in, then those that are to be joined, in their order.
struct Parts(Vec<Part>);

struct Part {
    origin: Origin,
    /// What the origin's own files of a name that is taken get behind theirs.
    label: String,
    files: Vec<FileDescriptorProto>,
}

impl Parts {
    fn of_upstreams<'a>(sets: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Result<Self, SchemaError> {
        Self::decode(sets.into_iter().map(|(name, set)| (Origin::Upstream(name.to_owned()), set)), set::decode)
    }

    fn decode<'a>(
        sets: impl IntoIterator<Item = (Origin, &'a [u8])>,
        decode: fn(&[u8]) -> Result<Vec<FileDescriptorProto>, InvalidSet>,
    ) -> Result<Self, SchemaError> {
        let mut parts = Vec::new();
        for (origin, bytes) in std::iter::once((Origin::BuiltIn, BUILTIN)).chain(sets) {
            let mut files = decode(bytes).map_err(|fault| SchemaError::Invalid { origin: origin.clone(), fault })?;
            if origin != Origin::BuiltIn {
                set::drop_descriptor_proto(&mut files);
            }
            parts.push(Part { label: origin.to_string(), origin, files });
        }
        Ok(Self(parts))
    }

    fn all(&self) -> impl Iterator<Item = (&str, &[FileDescriptorProto])> {
        self.0.iter().map(|part| (part.label.as_str(), part.files.as_slice()))
    }

    /// Links what all parts were combined to, and makes sure that everything of each part still means there what it means
    /// to the part.
    fn link(&self, files: Vec<FileDescriptorProto>, overlaps: &[Overlap]) -> Result<DescriptorPool, SchemaError> {
        let pool = set::link(files).map_err(|error| self.blame(error))?;
        self.check(&pool, overlaps)?;
        Ok(pool)
    }

    fn check(&self, pool: &DescriptorPool, overlaps: &[Overlap]) -> Result<(), SchemaError> {
        let calls = LazyCell::new(|| Reach::of(pool, call_types(pool)));
        let mut alone = HashMap::new();
        for Overlap { symbol, first, second } in overlaps {
            for part in [*first, *second] {
                if let Entry::Vacant(place) = alone.entry(part) {
                    place.insert(self.alone(part)?);
                }
            }
            let (Some(a), Some(b)) = (alone.get(first), alone.get(second)) else { continue };
            // A type of custom options may differ by version as long as no call carries it.
            let matters = |found: &Difference| {
                !(a.only_options(&found.of) && b.only_options(&found.of)) || calls.contains(pool, &found.of)
            };
            if let Some(found) = differences(symbol, &b.pool, pool).into_iter().find(matters) {
                return Err(self.conflict(found, symbol, *first, *second));
            }
        }
        Ok(())
    }

    /// A part by itself, with what is built in for what it lacks.
    fn alone(&self, part: usize) -> Result<Linked, SchemaError> {
        let (builtin, files) = (self.files(BUILTIN_PART), self.files(part));
        let pool =
            set::link(Combined::of([("", files), ("", builtin)]).files).map_err(|error| SchemaError::Invalid {
                origin: self.origin(part),
                fault: InvalidSet::Link { error, missing: set::missing_imports(files, builtin) },
            })?;
        let option_types = option_types(files).into_iter().filter_map(|name| pool.message_index(name));
        let options = Reach::of(&pool, option_types);
        let calls = Reach::of(&pool, call_types(&pool));
        Ok(Linked { pool, options, calls })
    }

    /// Two parts with what is built in, and nothing else.
    fn pair(&self, first: usize, second: usize) -> Result<DescriptorPool, PoolError> {
        let parts = [BUILTIN_PART, first, second];
        set::link(Combined::of(parts.map(|part| ("", self.files(part)))).files)
    }

    /// Which part is at fault, or which two, when all together cannot be linked.
    fn blame(&self, error: PoolError) -> SchemaError {
        let others = || BUILTIN_PART + 1..self.0.len();
        if let Some(error) = others().find_map(|part| self.alone(part).err()) {
            return error;
        }
        for second in others() {
            for first in others().take_while(|first| *first < second) {
                let Err(error) = self.pair(first, second) else { continue };
                let (first, second) = (self.origin(first), self.origin(second));
                return match error {
                    PoolError::DuplicateName(symbol) => SchemaError::Conflict { symbol, first, second },
                    error => SchemaError::Unfit { first, second, error },
                };
            }
        }
        SchemaError::Unlinked(error)
    }

    /// Of several parts that have the symbol, the first that contradicts is told.
    fn conflict(&self, found: Difference, symbol: &str, first: usize, second: usize) -> SchemaError {
        let contradicts = |other: &usize| match (self.pair(*other, second), self.alone(second)) {
            (Ok(both), Ok(own)) => differences(symbol, &own.pool, &both).contains(&found),
            _ => true,
        };
        let first = (first..second).find(contradicts).unwrap_or(first);
        SchemaError::Conflict { symbol: found.symbol, first: self.origin(first), second: self.origin(second) }
    }

    fn files(&self, part: usize) -> &[FileDescriptorProto] {
        self.0.get(part).map_or(&[], |part| &part.files)
    }

    fn origin(&self, part: usize) -> Origin {
        self.0.get(part).map_or(Origin::BuiltIn, |part| part.origin.clone())
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
            return self.pool.extension_by_name(symbol).is_none() && self.pool.service_by_name(symbol).is_none();
        }
        self.options.contains(&self.pool, symbol) && !self.calls.contains(&self.pool, symbol)
    }
}
