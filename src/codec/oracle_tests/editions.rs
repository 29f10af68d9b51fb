//! A file of proto2 or proto3 as one of edition 2023 that means the same (protobuf's "Feature Settings for Editions": the
//! file has the features that its syntax stands for, and a field those that its own words stood for). Knows nothing of
//! values.

use buffa::Message as _;
use buffa_descriptor::generated::descriptor::{
    DescriptorProto, Edition, FeatureSet, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet,
    feature_set::{EnumType, FieldPresence, MessageEncoding, RepeatedFieldEncoding},
    field_descriptor_proto::Type,
};

/// The same set with its file `t.proto` translated.
pub(super) fn translated(set: &[u8]) -> Vec<u8> {
    let mut set = FileDescriptorSet::decode_from_slice(set).unwrap();
    set.file.iter_mut().filter(|file| file.name.as_deref() == Some("t.proto")).for_each(file);
    set.encode_to_vec()
}

fn file(file: &mut FileDescriptorProto) {
    let features = file.options.get_or_insert_default().features.get_or_insert_default();
    if file.syntax.as_deref() == Some("proto2") {
        features.enum_type = Some(EnumType::CLOSED);
        features.repeated_field_encoding = Some(RepeatedFieldEncoding::EXPANDED);
    } else {
        features.field_presence = Some(FieldPresence::IMPLICIT);
    }
    file.syntax = Some("editions".to_owned());
    file.edition = Some(Edition::EDITION_2023);
    file.message_type.iter_mut().for_each(message);
    file.extension.iter_mut().for_each(field);
}

fn message(message: &mut DescriptorProto) {
    // An edition has no oneofs that stand for presence; they are the last ones.
    let synthetic = message.field.iter().filter(|field| field.proto3_optional == Some(true)).count();
    message.oneof_decl.truncate(message.oneof_decl.len() - synthetic);
    message.field.iter_mut().for_each(field);
    message.nested_type.iter_mut().for_each(self::message);
}

fn field(field: &mut FieldDescriptorProto) {
    let mut features = FeatureSet::default();
    if field.proto3_optional.take() == Some(true) {
        field.oneof_index = None;
        features.field_presence = Some(FieldPresence::EXPLICIT);
    }
    if field.options.get_or_insert_default().packed.take() == Some(true) {
        features.repeated_field_encoding = Some(RepeatedFieldEncoding::PACKED);
    }
    if field.r#type == Some(Type::TYPE_GROUP) {
        field.r#type = Some(Type::TYPE_MESSAGE);
        features.message_encoding = Some(MessageEncoding::DELIMITED);
    }
    if features != FeatureSet::default() {
        *field.options.get_or_insert_default().features.get_or_insert_default() = features;
    }
}
