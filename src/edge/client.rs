//! Who is calling: the peer, or whom a trusted proxy says it speaks for.

use std::net::IpAddr;

use http::{HeaderMap, HeaderName, HeaderValue, header, request::Parts};

use super::Peer;
use crate::config::Cidr;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// The caller of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client<'p> {
    /// None on sockets that have no address.
    pub address: Option<IpAddr>,
    /// Whether it used TLS, as far as we can know.
    pub secure: bool,
    /// Whether the peer's `x-forwarded-*` headers are believed.
    pub trusted_peer: bool,
    /// The authority that it asked for.
    pub authority: &'p str,
    /// The peer's own address, as text.
    pub peer_text: Option<&'p HeaderValue>,
}

impl<'p> Client<'p> {
    pub fn of(head: &'p Parts, peer: &'p Peer) -> Self {
        let address = peer.remote.map(|remote| remote.ip().to_canonical());
        let trusted_peer = address.is_some_and(|address| is_within(address, &peer.trusted_proxies));
        let peer_text = peer.remote_text.as_ref();
        let client = Self { address, secure: peer.tls, trusted_peer, authority: authority(head), peer_text };
        if !trusted_peer {
            return client;
        }
        let proto = head.headers.get(&FORWARDED_PROTO).map(HeaderValue::as_bytes);
        Self {
            address: forwarded_for(&head.headers, &peer.trusted_proxies).or(address),
            secure: proto.map_or(peer.tls, |proto| proto.eq_ignore_ascii_case(b"https")),
            ..client
        }
    }
}

/// What the request asks for by name, with its port; empty where it says nothing.
pub(super) fn authority(head: &Parts) -> &str {
    let authority = head.uri.authority().map(http::uri::Authority::as_str);
    authority.or_else(|| head.headers.get(header::HOST).and_then(|host| host.to_str().ok())).unwrap_or_default()
}

/// The last address that no trusted proxy has: everything before it may be made up.
fn forwarded_for(headers: &HeaderMap, trusted: &[Cidr]) -> Option<IpAddr> {
    let values: Vec<_> = headers.get_all(&FORWARDED_FOR).iter().collect();
    let entries = values.iter().rev().flat_map(|value| value.as_bytes().rsplit(|byte| *byte == b','));
    let mut last = None;
    for address in entries.map_while(parse) {
        last = Some(address);
        if !is_within(address, trusted) {
            break;
        }
    }
    last
}

fn parse(entry: &[u8]) -> Option<IpAddr> {
    let address: IpAddr = str::from_utf8(entry).ok()?.trim().parse().ok()?;
    Some(address.to_canonical())
}

fn is_within(address: IpAddr, networks: &[Cidr]) -> bool {
    networks.iter().any(|network| match (address, network.address) {
        (IpAddr::V4(address), IpAddr::V4(base)) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(network.prefix.min(32))).unwrap_or(0);
            u32::from(address) & mask == u32::from(base) & mask
        }
        (IpAddr::V6(address), IpAddr::V6(base)) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(network.prefix.min(128))).unwrap_or(0);
            u128::from(address) & mask == u128::from(base) & mask
        }
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(list: &[(&str, u8)]) -> Vec<Cidr> {
        list.iter().map(|(address, prefix)| Cidr { address: address.parse().unwrap(), prefix: *prefix }).collect()
    }

    #[test]
    fn networks_hold_their_addresses() {
        for (address, network, prefix, expected) in [
            ("10.1.2.3", "10.0.0.0", 8, true),
            ("11.1.2.3", "10.0.0.0", 8, false),
            ("1.2.3.4", "0.0.0.0", 0, true),
            ("1.2.3.4", "1.2.3.4", 32, true),
            ("1.2.3.5", "1.2.3.4", 32, false),
            ("::1", "::", 0, true),
            ("fd00::1", "fd00::", 8, true),
            ("fe00::1", "fd00::", 8, false),
            ("1.2.3.4", "::", 0, false),
        ] {
            let networks = networks(&[(network, prefix)]);
            assert_eq!(is_within(address.parse().unwrap(), &networks), expected, "{address} in {network}/{prefix}");
        }
    }

    #[test]
    fn only_what_trusted_proxies_added_is_believed() {
        let trusted = networks(&[("10.0.0.0", 8)]);
        for (values, expected) in [
            (&["1.1.1.1, 2.2.2.2, 10.0.0.1"][..], Some("2.2.2.2")),
            (&["1.1.1.1", "10.0.0.2"], Some("1.1.1.1")),
            (&["nonsense, 10.0.0.1"], Some("10.0.0.1")),
            (&["6.6.6.6", "\u{e4}, 2.2.2.2"], Some("2.2.2.2")),
            (&["1.1.1.1, ::ffff:10.0.0.1"], Some("1.1.1.1")),
            (&["nonsense"], None),
            (&[], None),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(FORWARDED_FOR, value.parse().unwrap());
            }
            assert_eq!(forwarded_for(&headers, &trusted), expected.map(|text| text.parse().unwrap()), "{values:?}");
        }
    }
}
