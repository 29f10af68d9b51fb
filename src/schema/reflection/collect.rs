//! What to ask a server next, and what to make of its answer: the services, the file of each, then what files import.
//! Knows nothing of streams.

use std::collections::{BTreeMap, HashSet, VecDeque};

use thiserror::Error;

use super::{
    Told,
    proto::{
        ErrorResponse, ServerReflectionRequest, ServerReflectionResponse, server_reflection_request::MessageRequest,
        server_reflection_response::MessageResponse,
    },
};
use crate::{
    schema::{
        SET_BYTES_MAX, is_infrastructure,
        raw::{self, FileHead},
    },
    status::Code,
};

/// Most services of one server.
const SERVICES_MAX: usize = 10_000;
/// Most files of one server: an order of magnitude above the largest known API.
const FILES_MAX: usize = 50_000;
/// Longest name that is asked for, in bytes: that of a path on most systems.
const NAME_BYTES_MAX: usize = 4096;

/// The set so far, and what it lacks.
#[derive(Debug, Default)]
pub(super) struct Collector {
    /// By name, so that the same answer makes the same set, whatever the order in which its files came.
    files: BTreeMap<String, Vec<u8>>,
    /// What the set will have at most.
    bytes: usize,
    /// Names of the services that are declared in them.
    declared: HashSet<String>,
    listed: VecDeque<String>,
    imports: VecDeque<String>,
    /// Everything that ever was in `imports`, so that a cycle ends.
    imported: HashSet<String>,
    /// What the server named itself and does not know.
    unknown: Vec<String>,
    asked: Option<Ask>,
    begun: bool,
}

#[derive(Clone, Debug)]
enum Ask {
    Services,
    Symbol(String),
    File(String),
}

/// An answer that is none.
#[derive(Debug, Error, PartialEq, Eq)]
pub(super) enum Fault {
    #[error("asked for {asked}, the server answered {}", got.unwrap_or("nothing"))]
    WrongKind { asked: String, got: Option<&'static str> },
    #[error("asked for {asked}, the server sent other files")]
    NotAsked { asked: String },
    #[error("asked for {asked}, the server sent what is no FileDescriptorProto")]
    Damaged { asked: String },
    #[error("asked for {asked}, the server refused with {code}: {message}")]
    Refused { asked: String, code: &'static str, message: String },
    #[error("the server knows none of the services that it lists")]
    NothingKnown,
    #[error("the server has more than {SERVICES_MAX} services")]
    TooManyServices,
    #[error("the server has more than {FILES_MAX} files")]
    TooManyFiles,
    #[error("the server's files have more than {SET_BYTES_MAX} bytes")]
    TooLarge,
    #[error("the server has a name of more than {NAME_BYTES_MAX} bytes")]
    LongName,
}

impl Collector {
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// The next question; none when all is there.
    pub(super) fn ask(&mut self) -> Option<ServerReflectionRequest> {
        let ask = self.next()?;
        let message_request = Some(match ask.clone() {
            Ask::Services => MessageRequest::ListServices(String::new()),
            Ask::Symbol(name) => MessageRequest::FileContainingSymbol(name),
            Ask::File(name) => MessageRequest::FileByFilename(name),
        });
        self.asked = Some(ask);
        Some(ServerReflectionRequest { host: String::new(), message_request })
    }

    fn next(&mut self) -> Option<Ask> {
        if !self.begun {
            self.begun = true;
            return Some(Ask::Services);
        }
        while let Some(service) = self.listed.pop_front() {
            // Often one file declares several.
            if !self.declared.contains(&service) {
                return Some(Ask::Symbol(service));
            }
        }
        while let Some(file) = self.imports.pop_front() {
            if !self.files.contains_key(&file) {
                return Some(Ask::File(file));
            }
        }
        None
    }

    /// Takes the answer to what was asked last.
    pub(super) fn answer(&mut self, response: ServerReflectionResponse) -> Result<(), Fault> {
        use MessageResponse::*;
        let Some(ask) = self.asked.take() else { return Ok(()) };
        match (&ask, response.message_response) {
            (Ask::Services, Some(ListServicesResponse(list))) => {
                self.list(list.service.into_iter().map(|service| service.name))
            }
            (Ask::Symbol(_) | Ask::File(_), Some(FileDescriptorResponse(files))) => {
                files.file_descriptor_proto.iter().try_for_each(|file| self.add(&ask, file))?;
                self.is_answered(&ask).then_some(()).ok_or_else(|| Fault::NotAsked { asked: ask.describe() })
            }
            (_, Some(ErrorResponse(error))) => self.refused(&ask, &error),
            (_, other) => Err(Fault::WrongKind { asked: ask.describe(), got: other.as_ref().map(kind) }),
        }
    }

    pub(super) fn into_told(self) -> Told {
        let mut set = Vec::with_capacity(self.bytes);
        self.files.values().for_each(|file| raw::push_file(file, &mut set));
        Told { set: set.into(), unknown: self.unknown }
    }

    fn list(&mut self, services: impl ExactSizeIterator<Item = String>) -> Result<(), Fault> {
        if services.len() > SERVICES_MAX {
            return Err(Fault::TooManyServices);
        }
        for service in services.filter(|service| !is_infrastructure(service)) {
            check_name(&service)?;
            self.listed.push_back(service);
        }
        Ok(())
    }

    fn add(&mut self, ask: &Ask, file: &[u8]) -> Result<(), Fault> {
        let head = FileHead::parse(file).map_err(|raw::Damaged| Fault::Damaged { asked: ask.describe() })?;
        if head.name.is_empty() {
            return Err(Fault::Damaged { asked: ask.describe() });
        }
        // Servers send a file again with everything that imports it.
        if self.files.contains_key(&head.name) {
            return Ok(());
        }
        self.bytes += file.len() + raw::FILE_OVERHEAD_MAX;
        if self.bytes > SET_BYTES_MAX {
            return Err(Fault::TooLarge);
        }
        self.declared.extend(head.services);
        self.files.insert(head.name, file.to_vec());
        for import in head.dependencies {
            check_name(&import)?;
            if !self.imported.contains(&import) {
                self.imported.insert(import.clone());
                self.imports.push_back(import);
            }
        }
        if self.files.len() > FILES_MAX || self.imported.len() > FILES_MAX {
            return Err(Fault::TooManyFiles);
        }
        Ok(())
    }

    fn is_answered(&self, ask: &Ask) -> bool {
        match ask {
            Ask::Services => true,
            Ask::Symbol(name) => self.declared.contains(name),
            Ask::File(name) => self.files.contains_key(name),
        }
    }

    /// Servers list services that they cannot describe, and cannot find files that were imported for their options
    /// only. What is really missing is missed when the set is linked.
    fn refused(&mut self, ask: &Ask, error: &ErrorResponse) -> Result<(), Fault> {
        let code = Code::from_number(error.error_code.try_into().unwrap_or(u32::MAX));
        if code == Code::NotFound && !matches!(ask, Ask::Services) {
            self.unknown.push(ask.describe());
            // Without a file nothing was imported: all of these are services.
            let hopeless = self.listed.is_empty() && self.files.is_empty();
            return if hopeless { Err(Fault::NothingKnown) } else { Ok(()) };
        }
        Err(Fault::Refused { asked: ask.describe(), code: code.name(), message: shortened(&error.error_message) })
    }
}

impl Ask {
    fn describe(&self) -> String {
        match self {
            Self::Services => "the list of services".to_owned(),
            Self::Symbol(name) => format!("the file of `{}`", shortened(name)),
            Self::File(name) => format!("the file `{}`", shortened(name)),
        }
    }
}

fn kind(response: &MessageResponse) -> &'static str {
    match response {
        MessageResponse::FileDescriptorResponse(_) => "with files",
        MessageResponse::AllExtensionNumbersResponse(_) => "with extension numbers",
        MessageResponse::ListServicesResponse(_) => "with a list of services",
        MessageResponse::ErrorResponse(_) => "with an error",
    }
}

fn check_name(name: &str) -> Result<(), Fault> {
    if name.len() > NAME_BYTES_MAX { Err(Fault::LongName) } else { Ok(()) }
}

/// For texts: what comes from a server can be long.
fn shortened(text: &str) -> String {
    const CHARS_MAX: usize = 200;
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
