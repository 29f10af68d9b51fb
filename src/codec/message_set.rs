//! The wire form of messages with `message_set_wire_format`: each extension stands in a group, its number beside it. Knows
//! nothing of JSON.

use super::{
    error::OutputError,
    plan::{GROUP_END, GROUP_START, LENGTH, VARINT},
    protobuf::{Raw, Tag, Wire, put_bytes, put_varint},
};

/// `repeated group Item = 1 { required int32 type_id = 2; required bytes message = 3; }`
const ITEM: u32 = 1;
const TYPE_ID: u32 = 2;
const MESSAGE: u32 = 3;

/// The extension that a field of a message set holds; one that stands there as a plain field is one too.
pub(super) fn extension<'w>(tag: Tag, value: Raw<'w>) -> Result<(Tag, Raw<'w>), OutputError> {
    let (Tag { number: ITEM, wire_type: GROUP_START }, Raw::Bytes(item)) = (tag, value) else {
        return Ok((tag, value));
    };
    let mut wire = Wire::new(item);
    let (mut number, mut message) = (None, None);
    while let Some(tag) = wire.tag()? {
        match (tag, wire.value(tag)?) {
            (Tag { number: TYPE_ID, wire_type: VARINT }, Raw::Bits(id)) => number = u32::try_from(id).ok(),
            (Tag { number: MESSAGE, wire_type: LENGTH }, Raw::Bytes(bytes)) => message = Some(bytes),
            _ => {}
        }
    }
    // No field has the number 0: what is not whole is as unknown as any other.
    let number = number.filter(|_| message.is_some()).unwrap_or(0);
    Ok((Tag { number, wire_type: LENGTH }, Raw::Bytes(message.unwrap_or_default())))
}

/// Turns the plain fields that were appended since `from` into the groups of a message set.
pub(super) fn regroup(from: usize, out: &mut Vec<u8>) {
    let fields = out.split_off(from);
    let mut wire = Wire::new(&fields);
    while let Ok(Some(tag)) = wire.tag() {
        let Ok(Raw::Bytes(message)) = wire.value(tag) else { continue };
        out.extend_from_slice(&[tag_byte(ITEM, GROUP_START), tag_byte(TYPE_ID, VARINT)]);
        put_varint(tag.number.into(), out);
        out.push(tag_byte(MESSAGE, LENGTH));
        put_bytes(message, out);
        out.push(tag_byte(ITEM, GROUP_END));
    }
}

const fn tag_byte(number: u32, wire_type: u8) -> u8 {
    (number << 3) as u8 | wire_type
}
