//! Reads serialized descriptors as far as they can be read without decoding them. Knows the wire format and a few field
//! numbers.

use crate::wire::varint;

/// One field of a serialized message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Field<'a> {
    pub(super) number: u32,
    /// The bytes of a length-delimited field; none for the other wire types.
    pub(super) value: Option<&'a [u8]>,
    /// The whole field, with its tag.
    pub(super) whole: &'a [u8],
}

/// The fields of a serialized message, in order; `Err` where it is damaged. Groups are not told apart from damage:
/// descriptors have none of their own.
pub(super) struct Fields<'a>(&'a [u8]);

/// The bytes are not of the wire format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Damaged;

impl<'a> Fields<'a> {
    pub(super) fn of(message: &'a [u8]) -> Self {
        Self(message)
    }

    fn field(&mut self) -> Option<Field<'a>> {
        let start = self.0;
        let tag = varint::read(&mut self.0)?;
        let number = u32::try_from(tag >> 3).ok().filter(|number| *number > 0)?;
        let mut value = None;
        match tag & 7 {
            0 => _ = varint::read(&mut self.0)?,
            1 => self.0 = self.0.get(8..)?,
            2 => {
                let len = usize::try_from(varint::read(&mut self.0)?).ok()?;
                let (bytes, rest) = self.0.split_at_checked(len)?;
                (value, self.0) = (Some(bytes), rest);
            }
            5 => self.0 = self.0.get(4..)?,
            _ => return None,
        }
        let whole = start.get(..start.len() - self.0.len())?;
        Some(Field { number, value, whole })
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, Damaged>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field().ok_or(Damaged);
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

/// What is needed of a `FileDescriptorProto` before it is linked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct FileHead {
    pub(super) name: String,
    pub(super) dependencies: Vec<String>,
    /// Full names.
    pub(super) services: Vec<String>,
}

impl FileHead {
    pub(super) fn parse(file: &[u8]) -> Result<Self, Damaged> {
        let mut head = Self::default();
        let mut package = "";
        for field in Fields::of(file) {
            match field? {
                Field { number: 1, value: Some(name), .. } => head.name = text(name)?.to_owned(),
                Field { number: 2, value: Some(name), .. } => package = text(name)?,
                Field { number: 3, value: Some(name), .. } => head.dependencies.push(text(name)?.to_owned()),
                Field { number: 6, value: Some(service), .. } => head.services.push(name(service)?.to_owned()),
                _ => {}
            }
        }
        if !package.is_empty() {
            head.services.iter_mut().for_each(|service| *service = format!("{package}.{service}"));
        }
        Ok(head)
    }
}

/// Writes a set without `source_code_info`, which is half of many sets and which no gateway needs.
pub(super) fn without_source_info(set: &[u8]) -> Result<Vec<u8>, Damaged> {
    const FILE: u32 = 1;
    const SOURCE_CODE_INFO: u32 = 9;
    let mut out = Vec::with_capacity(set.len());
    let mut kept = Vec::new();
    for field in Fields::of(set) {
        let Field { number: FILE, value: Some(file), .. } = field? else { continue };
        kept.clear();
        for field in Fields::of(file) {
            let field = field?;
            if field.number != SOURCE_CODE_INFO {
                kept.extend_from_slice(field.whole);
            }
        }
        push_file(&kept, &mut out);
    }
    Ok(out)
}

/// Most bytes that a set has for a file beside the file's own.
pub(super) const FILE_OVERHEAD_MAX: usize = 11;

/// Appends a file to a serialized set.
pub(super) fn push_file(file: &[u8], set: &mut Vec<u8>) {
    const FILE_TAG: u8 = 1 << 3 | 2;
    set.push(FILE_TAG);
    varint::write(file.len() as u64, set);
    set.extend_from_slice(file);
}

/// The first field, the name, of a descriptor.
pub(super) fn name(descriptor: &[u8]) -> Result<&str, Damaged> {
    for field in Fields::of(descriptor) {
        if let Field { number: 1, value: Some(name), .. } = field? {
            return text(name);
        }
    }
    Ok("")
}

pub(super) fn text(bytes: &[u8]) -> Result<&str, Damaged> {
    std::str::from_utf8(bytes).map_err(|_| Damaged)
}
