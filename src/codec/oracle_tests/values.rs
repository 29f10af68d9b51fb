//! Random messages of a schema, with the values that matter at the edges.

use prost::Message as _;
use prost_reflect::{
    DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, ReflectMessage as _, Syntax, Value,
};

use super::Choices;

/// Below this level, messages stay empty.
const DEPTH_MAX: usize = 5;

pub(super) fn message(choices: &mut Choices, descriptor: &MessageDescriptor, depth: usize) -> DynamicMessage {
    let mut message = DynamicMessage::new(descriptor.clone());
    if let Some(name) = descriptor.full_name().strip_prefix("google.protobuf.") {
        well_known(choices, name, &mut message, depth);
        return message;
    }
    if depth < DEPTH_MAX {
        for field in descriptor.fields() {
            if choices.below(4) != 0 {
                message.set_field(&field, field_value(choices, &field, depth));
            }
        }
        for extension in descriptor.extensions() {
            if choices.below(4) != 0 {
                message.set_extension(&extension, one_or_list(choices, &extension.kind(), extension.is_list(), depth));
            }
        }
    }
    message
}

fn field_value(choices: &mut Choices, field: &FieldDescriptor, depth: usize) -> Value {
    if field.is_map() {
        let Kind::Message(entry) = field.kind() else { unreachable!() };
        let count = choices.pick(&[0, 1, 2, 12]);
        let entries = (0..count).map(|_| {
            let key = map_key(choices, &entry.map_entry_key_field().kind());
            (key, value(choices, &entry.map_entry_value_field().kind(), depth))
        });
        Value::Map(entries.collect())
    } else {
        one_or_list(choices, &field.kind(), field.is_list(), depth)
    }
}

fn one_or_list(choices: &mut Choices, kind: &Kind, is_list: bool, depth: usize) -> Value {
    if !is_list {
        return value(choices, kind, depth);
    }
    let count = choices.pick(&[0, 1, 2, 7]);
    Value::List((0..count).map(|_| value(choices, kind, depth)).collect())
}

fn value(choices: &mut Choices, kind: &Kind, depth: usize) -> Value {
    match kind {
        Kind::Double => Value::F64(double(choices)),
        Kind::Float => Value::F32(float(choices)),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(int(choices) as i32),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(int(choices)),
        Kind::Uint32 | Kind::Fixed32 => Value::U32(int(choices) as u32),
        Kind::Uint64 | Kind::Fixed64 => Value::U64(int(choices) as u64),
        Kind::Bool => Value::Bool(choices.below(2) == 1),
        Kind::String => Value::String(text(choices)),
        Kind::Bytes => Value::Bytes((0..choices.below(9)).map(|_| choices.bits() as u8).collect()),
        Kind::Enum(descriptor) if descriptor.full_name() == "google.protobuf.NullValue" => Value::EnumNumber(0),
        Kind::Enum(of) => match choices.pick(&[0, 1, -5, i32::MAX, 99, i32::MIN]) {
            // To a closed enum a number that it does not know is an unknown field; the oracle keeps it.
            unknown @ (99 | i32::MIN) if of.parent_file().syntax() == Syntax::Proto2 => {
                Value::EnumNumber(i32::from(unknown == 99))
            }
            number => Value::EnumNumber(number),
        },
        Kind::Message(descriptor) => Value::Message(message(choices, descriptor, depth + 1)),
    }
}

fn map_key(choices: &mut Choices, kind: &Kind) -> MapKey {
    match kind {
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => MapKey::I32(int(choices) as i32),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => MapKey::I64(int(choices)),
        Kind::Uint32 | Kind::Fixed32 => MapKey::U32(int(choices) as u32),
        Kind::Uint64 | Kind::Fixed64 => MapKey::U64(int(choices) as u64),
        Kind::Bool => MapKey::Bool(choices.below(2) == 1),
        _ => MapKey::String(text(choices)),
    }
}

fn int(choices: &mut Choices) -> i64 {
    let near = choices.pick(&[0, 1, -1, 127, 128, 1 << 31, 1 << 53, i64::MIN, i64::MAX, -(1 << 31)]);
    match choices.below(3) {
        0 => near,
        1 => near.wrapping_add(choices.below(3) as i64 - 1),
        _ => choices.bits() as i64,
    }
}

fn double(choices: &mut Choices) -> f64 {
    let value = match choices.below(3) {
        0 => choices.pick(&[0.0, 1.0, -1.5, 0.1, 1e300, 5e-324, f64::MAX, f64::NAN, f64::INFINITY, f64::NEG_INFINITY]),
        1 => int(choices) as f64,
        _ => f64::from_bits(choices.bits()),
    };
    if value == 0.0 { 0.0 } else { value }
}

fn float(choices: &mut Choices) -> f32 {
    let value = match choices.below(2) {
        0 => choices.pick(&[0.0, 1.0, -1.5, 0.1, 1e-45, f32::MAX, f32::NAN, f32::INFINITY, f32::NEG_INFINITY]),
        _ => f32::from_bits(choices.bits() as u32),
    };
    if value == 0.0 { 0.0 } else { value }
}

fn text(choices: &mut Choices) -> String {
    let piece = ["a", "é", "🌊", "\"", "\\", "\n", "\u{1}", "\u{7f}", "\u{2028}", "plain ascii text", "{", "[", ","];
    let length = choices.pick(&[0, 1, 2, 5, 60]);
    (0..length).map(|_| choices.pick(&piece)).collect()
}

fn well_known(choices: &mut Choices, name: &str, message: &mut DynamicMessage, depth: usize) {
    let mut set = |number, value| message.set_field_by_number(number, value);
    match name {
        "Timestamp" => {
            set(1, Value::I64(choices.pick(&[0, 1, -1, 1_700_000_000, -62_135_596_800, 253_402_300_799])));
            set(2, Value::I32(choices.pick(&[0, 1, 120_000_000, 999_999_999, 5_000])));
        }
        "Duration" => {
            let sign = choices.pick(&[1, -1]);
            set(1, Value::I64(i64::from(sign) * choices.pick(&[0, 1, 3600, 315_575_999_999])));
            set(2, Value::I32(sign * choices.pick(&[0, 1, 500_000_000, 999_999_999])));
        }
        "FieldMask" => {
            let paths =
                (0..choices.below(3)).map(|_| Value::String(choices.pick(&["a", "foo_bar", "x.y_z.w1"]).into()));
            set(1, Value::List(paths.collect()));
        }
        "Any" => {
            let pool = message.descriptor().parent_pool().clone();
            let name = choices.pick(&["t.M0", "t.M1", "google.protobuf.Duration", "google.protobuf.Value"]);
            let content = self::message(choices, &pool.get_message_by_name(name).unwrap(), depth + 1);
            message.set_field_by_number(1, Value::String(format!("type.googleapis.com/{name}")));
            message.set_field_by_number(2, Value::Bytes(content.encode_to_vec().into()));
        }
        "Value" => value_of_any_json(choices, message, depth),
        "DoubleValue" => set(1, Value::F64(Some(double(choices)).filter(|value| value.is_finite()).unwrap_or(0.5))),
        "FloatValue" => set(1, Value::F32(Some(float(choices)).filter(|value| value.is_finite()).unwrap_or(0.5))),
        "Struct" | "ListValue" if depth >= DEPTH_MAX => {}
        _ => {
            for field in message.descriptor().fields() {
                let value = field_value(choices, &field, depth);
                message.set_field(&field, value);
            }
        }
    }
}

/// One kind is always set, and a number is one that JSON knows.
fn value_of_any_json(choices: &mut Choices, message: &mut DynamicMessage, depth: usize) {
    let number = 1 + choices.below(if depth < DEPTH_MAX { 6 } else { 4 }) as u32;
    let field = message.descriptor().get_field(number).unwrap();
    let value = match value(choices, &field.kind(), depth) {
        Value::F64(number) if !number.is_finite() => Value::F64(2.5),
        other => other,
    };
    message.set_field(&field, value);
}
