//! `x-request-id`: the word under which a call's log lines, its reply and its upstream find each other.

use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderMap, HeaderName, HeaderValue};

pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Longest id that is taken over from a client, in bytes.
const ID_BYTES_MAX: usize = 128;

/// One call's id: visible ASCII of at most 128 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(HeaderValue);

impl RequestId {
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }

    pub fn header(&self) -> HeaderValue {
        self.0.clone()
    }
}

/// Makes ids that no other worker or process makes: a random prefix and a count.
#[derive(Debug)]
pub struct RequestIds {
    prefix: u64,
    next: AtomicU64,
}

impl RequestIds {
    /// `seed`: random, different for each worker of each process.
    pub fn new(seed: u64) -> Self {
        Self { prefix: seed, next: AtomicU64::new(0) }
    }

    /// The client's id where it sent a sound one, a new one otherwise.
    pub fn of(&self, headers: &HeaderMap) -> RequestId {
        match headers.get(&REQUEST_ID) {
            Some(id) if is_sound(id) => RequestId(id.clone()),
            _ => self.new_id(),
        }
    }

    /// A number that spreads what would otherwise happen all at once; no secret.
    pub fn random(&self) -> u32 {
        // Counted on, for clients and proxies that bring ids of their own.
        let count = self.next.fetch_add(1, Ordering::Relaxed);
        (mix(self.prefix ^ count) >> 32) as u32
    }

    fn new_id(&self) -> RequestId {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let bits = mix(self.prefix.wrapping_add(self.next.fetch_add(1, Ordering::Relaxed)));
        let text: [u8; 16] = std::array::from_fn(|digit| DIGITS[(bits >> (60 - 4 * digit)) as usize & 15]);
        let mut value = HeaderValue::from_bytes(&text).unwrap_or(HeaderValue::from_static("0"));
        // Each is sent once: it would only push what recurs out of HPACK's table (RFC 7541 §7.1.3).
        value.set_sensitive(true);
        RequestId(value)
    }
}

/// The finalizer of SplitMix64 (Steele, Lea, Flood 2014): one to one, so that what differs stays different.
fn mix(mut bits: u64) -> u64 {
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

fn is_sound(id: &HeaderValue) -> bool {
    !id.is_empty() && id.len() <= ID_BYTES_MAX && id.as_bytes().iter().all(u8::is_ascii_graphic)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sound_id_is_kept_and_any_other_replaced() {
        let ids = RequestIds::new(7);
        for (sent, kept) in [("abc-1", true), ("", false), ("a b", false), (&"x".repeat(129), false)] {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::from_str(sent).unwrap());
            assert_eq!(ids.of(&headers).as_str() == sent, kept, "{sent}");
        }
        assert_ne!(ids.of(&HeaderMap::new()), ids.of(&HeaderMap::new()));
        assert_ne!(ids.random(), ids.random());
    }
}
