//! The schema of the gRPC services that the gateway has of its own. Knows nothing of how they are served.

use bytes::Bytes;

use crate::config::Services;

/// The upstream that the gateway is to itself, by name.
pub const OWN_UPSTREAM: &str = "tidegate";

const HEALTH: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/health.binpb"));
const REFLECTION: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/reflection.binpb"));

/// A serialized `google.protobuf.FileDescriptorSet`; empty where there is none of them.
pub fn own_set(services: Services) -> Bytes {
    // Two sets behind one another are one (encoding.html, "Last One Wins": repeated fields are joined).
    let sets = [(services.health, HEALTH), (services.reflection, REFLECTION)];
    sets.into_iter().filter(|(wanted, _)| *wanted).flat_map(|(_, set)| set).copied().collect()
}
