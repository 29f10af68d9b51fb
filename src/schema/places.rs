//! Where in its proto file a rule stands. Looks into the set itself, whose source information is not kept: only an error
//! wants to know.

use prost::Message;
use prost_types::FileDescriptorProto;

use super::{Source, raw, rules::HTTP_EXTENSION};
use crate::config::{Location, Place};

impl Source<'_> {
    /// The place of a method's annotation, or of what is nearest to it; the file alone where the set has no source
    /// information; the upstream's name where it has no such method.
    pub(super) fn annotation(&self, service: &str, method: &str) -> Location {
        let file = raw::Fields::of(self.set)
            .filter_map(|field| field.ok()?.value)
            .find(|file| raw::FileHead::parse(file).is_ok_and(|head| head.services.iter().any(|name| name == service)))
            .and_then(|file| FileDescriptorProto::decode(file).ok());
        let Some(file) = file else { return Location { file: self.name.to_owned(), place: Place::default() } };
        let place = place(&file, service, method).unwrap_or_default();
        Location { file: file.name.unwrap_or_default(), place }
    }
}

/// By descriptor.proto's `SourceCodeInfo.Location`: a path of field numbers and indices, and a span from zero.
fn place(file: &FileDescriptorProto, service: &str, method: &str) -> Option<Place> {
    const SERVICE: i32 = 6;
    const METHOD: i32 = 2;
    const OPTIONS: i32 = 4;
    let name = service.rsplit('.').next();
    let service_at = file.service.iter().position(|own| own.name.as_deref() == name)?;
    let method_at = file.service.get(service_at)?.method.iter().position(|own| own.name.as_deref() == Some(method))?;
    let path = [SERVICE, service_at as i32, METHOD, method_at as i32, OPTIONS, HTTP_EXTENSION as i32];
    let info = file.source_code_info.as_ref()?;
    // The option, or a part of it that is set by itself; else the method.
    let option = info.location.iter().find(|location| location.path.starts_with(&path));
    let span = &option.or_else(|| info.location.iter().find(|location| location.path == path[..4]))?.span;
    let one_based = |number: &i32| u64::try_from(*number).ok().map(|number| number + 1);
    Some(Place { line: one_based(span.first()?)?, column: one_based(span.get(1)?)? })
}
