//! The query parameters of a request message: what `codec` takes from a query, as far as a list can say it.

use buffa_descriptor::{FieldKind, MessageIndex, SingularKind};

use super::{
    behavior::Behavior,
    document::{Parameter, Place},
    schemas::{Field, Form, Schemas, is_deprecated},
};
use crate::{
    codec::{Special, special},
    limits::DEPTH_MAX,
};

/// Most parameters that are listed of one operation, and most fields that are looked at for them.
const PARAMETERS_MAX: usize = 256;
const FIELDS_MAX: usize = 4096;

/// Collects the parameters of one operation.
pub(super) struct QueryParameters<'s, 'a> {
    schemas: &'s mut Schemas<'a>,
    form: Form,
    /// Fields that the path or the body gives, by numbers from the outermost.
    taken: &'s [Vec<u32>],
    within: Vec<MessageIndex>,
    name: Vec<String>,
    numbers: Vec<u32>,
    looked_at: usize,
    found: Vec<Parameter>,
}

impl<'s, 'a> QueryParameters<'s, 'a> {
    pub(super) fn of(
        schemas: &'s mut Schemas<'a>,
        message: MessageIndex,
        form: Form,
        taken: &'s [Vec<u32>],
    ) -> Vec<Parameter> {
        let mut parameters = Self {
            schemas,
            form,
            taken,
            within: Vec::new(),
            name: Vec::new(),
            numbers: Vec::new(),
            looked_at: 0,
            found: Vec::new(),
        };
        parameters.message(message);
        parameters.found
    }

    /// A message within itself would have parameters without end, and none reaches deeper than messages may go.
    fn message(&mut self, index: MessageIndex) {
        if self.within.contains(&index) || self.within.len() + 1 >= DEPTH_MAX {
            return;
        }
        self.within.push(index);
        for field in self.schemas.fields(index) {
            self.looked_at += 1;
            if self.looked_at > FIELDS_MAX || self.found.len() == PARAMETERS_MAX {
                break;
            }
            self.name.push(field.name(self.form.output));
            self.numbers.push(field.descriptor.number());
            if !self.taken.contains(&self.numbers) {
                self.field(index, &field);
            }
            self.name.pop();
            self.numbers.pop();
        }
        self.within.pop();
    }

    fn field(&mut self, message: MessageIndex, field: &Field<'_>) {
        match field.descriptor.kind() {
            FieldKind::Singular(SingularKind::Message(index)) if self.has_fields(index) => self.message(index),
            FieldKind::Singular(kind) if self.is_text(kind) => self.push(message, field, None, None),
            FieldKind::List(kind) if self.is_text(kind) => self.push(message, field, Some("form"), Some(true)),
            // `name[key]=value`
            FieldKind::Map { value, .. } if self.is_text(value) => {
                self.push(message, field, Some("deepObject"), Some(true));
            }
            _ => {}
        }
    }

    fn push(&mut self, message: MessageIndex, field: &Field<'_>, style: Option<&'static str>, explode: Option<bool>) {
        let message = self.schemas.pool.message(message);
        self.found.push(Parameter {
            name: self.name.join("."),
            place: Place::Query,
            description: self.schemas.description(message, field),
            // What is required within a message that may be left out, a request need not give.
            required: self.numbers.len() == 1 && Behavior::of(field.descriptor).required,
            deprecated: is_deprecated(field.descriptor),
            style,
            explode,
            schema: self.schemas.kind(field.descriptor.kind(), self.form),
        });
    }

    fn has_fields(&self, index: MessageIndex) -> bool {
        special(self.schemas.pool.message(index)) == Special::None
    }

    /// Whether plain text can give a value.
    fn is_text(&self, kind: SingularKind) -> bool {
        match kind {
            SingularKind::Scalar(_) => true,
            SingularKind::Enum(index) => {
                self.schemas.pool.enumeration(index).full_name() != "google.protobuf.NullValue"
            }
            SingularKind::Message(index) => matches!(
                special(self.schemas.pool.message(index)),
                Special::Timestamp | Special::Duration | Special::FieldMask | Special::Wrapper
            ),
        }
    }
}
