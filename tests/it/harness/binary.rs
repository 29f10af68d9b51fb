//! Messages in protobuf that tests write and read as JSON, one alone or each behind its length.

use prost::Message;
use prost_reflect::{DynamicMessage, MessageDescriptor};
use serde_json::Value;

use super::http::{Broken, Download};
use crate::proto::POOL;

fn descriptor(name: &str) -> MessageDescriptor {
    let name = format!("tidegate.test.v1.{name}");
    POOL.get_message_by_name(&name).unwrap_or_else(|| panic!("no message {name}"))
}

/// A message of `tidegate.test.v1`.
pub fn encode(name: &str, message: &Value) -> Vec<u8> {
    DynamicMessage::deserialize(descriptor(name), message).expect("the message's JSON").encode_to_vec()
}

pub fn decode(name: &str, message: &[u8]) -> Value {
    let message = DynamicMessage::decode(descriptor(name), message).unwrap_or_else(|error| panic!("{name}: {error}"));
    serde_json::to_value(&message).expect("JSON can hold it")
}

/// A message behind its length.
pub fn delimited(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    prost::encoding::encode_varint(message.len() as u64, &mut out);
    out.extend_from_slice(message);
    out
}

/// Reads delimited messages.
pub struct Reader {
    download: Download,
    held: Vec<u8>,
    name: &'static str,
}

impl Reader {
    pub fn new(download: Download, name: &'static str) -> Self {
        Self { download, held: Vec::new(), name }
    }

    /// The next message; none at a proper end of the body.
    pub async fn next(&mut self) -> Option<Result<Value, Broken>> {
        loop {
            if let Some(message) = self.take() {
                return Some(Ok(message));
            }
            match self.download.piece().await {
                Some(Ok(piece)) => self.held.extend_from_slice(&piece),
                Some(Err(broken)) => return Some(Err(broken)),
                None => {
                    assert!(self.held.is_empty(), "half a message at the end: {:?}", self.held);
                    return None;
                }
            }
        }
    }

    fn take(&mut self) -> Option<Value> {
        let mut rest = self.held.as_slice();
        let len = usize::try_from(prost::encoding::decode_varint(&mut rest).ok()?).expect("a sane length");
        let message = decode(self.name, rest.get(..len)?);
        self.held.drain(..self.held.len() - rest.len() + len);
        Some(message)
    }
}
