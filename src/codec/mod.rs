//! JSON ⇄ protobuf wire by plans compiled from descriptors; path, query and body binding. Knows nothing of HTTP and I/O.
//!
//! JSON text becomes wire bytes, and wire bytes become JSON text, without a tree or a message object in between.

mod binding;
mod bound;
mod survey;
mod events;
mod patch;
mod form;
mod query;
mod input;
mod input_special;
mod input_any;
mod output;
mod output_map;
mod output_special;
mod gather;
mod message_set;
mod validate;
mod pretty;
mod distinct;
mod plan;
mod names;
mod reader;
mod lengths;
mod unknown;
mod string;
mod protobuf;
mod scalar;
mod text;
mod time;
mod mask;
mod error;
mod steps;

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod input_tests;
#[cfg(test)]
mod output_tests;
#[cfg(test)]
mod binding_tests;
#[cfg(test)]
mod form_tests;
#[cfg(test)]
mod events_tests;
#[cfg(test)]
mod oracle_tests;
#[cfg(test)]
mod steps_tests;

use buffa_descriptor::{DescriptorPool, MessageIndex};

use crate::config::OutputSettings;

pub use binding::{Binding, BindingError, HttpBody};
pub use bound::{Bound, QueryMode};
pub use error::{InputError, OutputError, Place};
pub use form::{Form, Label, Slot};
pub use plan::{PlanId, Special, special};
pub use pretty::write as write_pretty;
pub use query::decode as decode_parameter;
pub use time::{read_span, write_span};
pub use unknown::{LeftOut, Unknown};

use plan::{Plan, Tables};

/// Every message of a descriptor pool, ready to be read and written. Immutable.
pub struct Codec {
    tables: Tables,
}

impl Codec {
    pub fn compile(pool: &DescriptorPool) -> Self {
        Self { tables: plan::compile(pool) }
    }

    /// The plan of a message of the pool that was compiled.
    pub fn plan(&self, message: MessageIndex) -> PlanId {
        let none = PlanId((self.tables.plans.len() - 1) as u32);
        self.tables.by_index.get(&message).copied().unwrap_or(none)
    }

    pub fn plan_by_name(&self, full_name: &str) -> Option<PlanId> {
        self.tables.by_name.get(full_name).copied()
    }

    /// Appends the message that a JSON text stands for. What was appended before an error means nothing.
    ///
    /// # Errors
    /// What is not JSON (RFC 8259) or does not fit the message, with its path and its offset.
    pub fn json_to_wire(&self, plan: PlanId, json: &[u8], out: &mut Vec<u8>) -> Result<(), InputError> {
        input::message(self, self.get(plan), json, 0, out).map(drop)
    }

    /// The same where the message may give names that its type does not have, as `unknown` says.
    ///
    /// # Errors
    /// As [`Codec::json_to_wire`].
    pub fn json_to_wire_with(
        &self,
        plan: PlanId,
        json: &[u8],
        unknown: &mut Unknown,
        out: &mut Vec<u8>,
    ) -> Result<(), InputError> {
        unknown.read(out, |spare, out| input::message(self, self.get(plan), json, spare, out))
    }

    /// Appends a message as JSON. What was appended before an error means nothing.
    ///
    /// # Errors
    /// What is no sound message of that type, or has no JSON form.
    pub fn wire_to_json(
        &self,
        plan: PlanId,
        wire: &[u8],
        options: OutputSettings,
        out: &mut Vec<u8>,
    ) -> Result<(), OutputError> {
        output::write(self, options, out, |output| output.message(self.get(plan), wire, 1))
    }

    /// # Errors
    /// What is no sound message of that type: lengths, tags, UTF-8, depth.
    pub fn validate(&self, plan: PlanId, wire: &[u8]) -> Result<(), OutputError> {
        validate::message(self, self.get(plan), wire, 1)
    }

    /// Appends the JSON of a `google.protobuf.Any`; what is not in the schema, or is not sound, as
    /// `{"@type": …, "value": base64}`.
    pub fn any_to_json(&self, type_url: &str, value: &[u8], out: &mut Vec<u8>) {
        let from = out.len();
        let written = output::write(self, OutputSettings::default(), out, |output| {
            output.any_members(type_url.as_bytes(), value, 1)
        });
        if written.is_err() {
            out.truncate(from);
            out.extend_from_slice(b"{\"@type\":");
            text::write_string(type_url, out);
            out.extend_from_slice(b",\"value\":");
            text::write_base64(value, out);
            out.push(b'}');
        }
    }

    fn get(&self, id: PlanId) -> &Plan {
        // The last plan is the empty one, for an id of another codec.
        let last = self.tables.plans.len() - 1;
        &self.tables.plans[(id.0 as usize).min(last)]
    }

    fn enums(&self) -> &[plan::EnumPlan] {
        &self.tables.enums
    }
}
