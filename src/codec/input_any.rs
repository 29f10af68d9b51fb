//! JSON text → `google.protobuf.Any`, whose `@type` may stand behind what it describes. Knows nothing of where the text came
//! from.

use std::collections::HashMap;

use super::{
    error::{InputError, plain},
    input::{Input, mismatch},
    plan::{Plan, Special},
    protobuf::put_bytes,
    reader::Reader,
    string::Text,
};

/// Where the `@type` of objects stands in which it is not the first member.
///
/// One look ahead finds those of everything that is nested in an object too: a look per object would pass what is innermost as
/// often as it is deep.
#[derive(Default)]
pub(super) struct LateTypes {
    /// Up to here everything was looked at.
    end: usize,
    /// From the offset of an object to that of the value of its first `@type`.
    places: HashMap<usize, usize>,
}

impl<'j> Input<'_, 'j> {
    pub(super) fn any(&mut self, depth: usize) -> Result<(), InputError> {
        self.reader.peek();
        let offset = self.reader.offset();
        let Some(url) = self.find_type(depth)? else {
            // Without a type there is nothing that other members could belong to.
            return if self.reader.open_object("an object")? {
                Err(InputError::body(offset, "expected a member \"@type\""))
            } else {
                Ok(())
            };
        };
        let url = url.decoded();
        let name = url.iter().rposition(|byte| *byte == b'/').and_then(|slash| url.get(slash + 1..));
        let plan = name
            .and_then(|name| std::str::from_utf8(name).ok())
            .and_then(|name| self.codec.plan_by_name(name))
            .map(|id| self.codec.get(id));
        let Some(plan) = plan else {
            return Err(mismatch(offset, "the URL of a type in the schema", &url).within("@type"));
        };
        self.out.push(1 << 3 | 2);
        put_bytes(&url, self.out);
        let before = self.out.len();
        self.out.push(2 << 3 | 2);
        let opened = self.lengths.open(self.out);
        match plan.special {
            Special::None if &*plan.name != EMPTY => self.object(plan, depth, true)?,
            Special::MessageSet => self.message_set(plan, depth, true)?,
            _ => self.any_value(plan, offset, depth)?,
        }
        if !self.lengths.close(opened, self.out) {
            self.out.truncate(before);
        }
        Ok(())
    }

    /// The `@type` of the object that stands next, which stays there.
    fn find_type(&mut self, depth: usize) -> Result<Option<Text<'j>>, InputError> {
        let object = self.reader.offset();
        let mut ahead = self.reader.clone();
        if !ahead.open_object("an object")? {
            return Ok(None);
        }
        if *ahead.key()?.decoded() != *TYPE {
            if object >= self.late_types.end {
                self.late_types.look_ahead(self.reader.clone(), depth)?;
            }
            match self.late_types.places.get(&object) {
                Some(place) => ahead.go_to(*place),
                None => return Ok(None),
            }
        }
        if ahead.peek() != b'"' {
            return Err(ahead.unexpected("a type URL").within("@type"));
        }
        ahead.string().map(Some)
    }

    /// The `value` of a message with a JSON form of its own.
    fn any_value(&mut self, plan: &Plan, offset: usize, depth: usize) -> Result<(), InputError> {
        let (mut typed, mut given) = (false, false);
        self.reader.open_object("an object")?;
        loop {
            self.reader.peek();
            let at = self.reader.offset();
            let key = self.reader.key()?.decoded();
            match &*key {
                TYPE => self.pass_type(&mut typed, at, depth)?,
                b"value" if given => return Err(given_twice(at).within("value")),
                b"value" => {
                    given = true;
                    self.message(plan, depth + 1).map_err(|error| error.within("value"))?;
                }
                other if self.leave_out() => {
                    self.reader.skip(depth + 1).map_err(|error| error.within(&plain(other)))?;
                }
                other => {
                    let text = "expected no members but \"@type\" and \"value\"";
                    return Err(InputError::body(at, text).within(&plain(other)).of_unknown());
                }
            }
            if !self.reader.another(b'}')? {
                break;
            }
        }
        // Of Empty there is nothing to be given.
        let optional = plan.special == Special::None;
        if given || optional { Ok(()) } else { Err(InputError::body(offset, "expected a member \"value\"")) }
    }

    /// Passes the value of an `@type`, which was read before; `typed` tells whether one has been passed.
    pub(super) fn pass_type(&mut self, typed: &mut bool, offset: usize, depth: usize) -> Result<(), InputError> {
        if std::mem::replace(typed, true) {
            return Err(given_twice(offset).within("@type"));
        }
        self.reader.skip(depth)
    }
}

impl LateTypes {
    /// Looks through the object that stands next.
    fn look_ahead(&mut self, mut reader: Reader<'_>, depth: usize) -> Result<(), InputError> {
        reader.skip_with(depth.saturating_sub(1), &mut |object, key, value| {
            if *key.decoded() == *TYPE {
                self.places.entry(object).or_insert(value);
            }
        })?;
        self.end = reader.offset();
        Ok(())
    }
}

pub(super) const TYPE: &[u8] = b"@type";
const EMPTY: &str = "google.protobuf.Empty";

#[cold]
fn given_twice(offset: usize) -> InputError {
    InputError::body(offset, "the member is given twice")
}
