//! Which codings a peer takes (RFC 9110 §12.5.3; gRPC's `grpc-accept-encoding`).

use super::{Coding, IDENTITY};

/// Quality values are thousandths (RFC 9110 §12.4.2).
const QUALITY_MAX: u16 = 1000;

/// What `accept-encoding` says of us, the best first.
pub const HTTP_ACCEPTED: &str = "zstd, br, gzip";

/// What `grpc-accept-encoding` says of us, the best first.
pub const GRPC_ACCEPTED: &str = "zstd,gzip,identity";

/// An `Accept-Encoding`, read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// In the order of [`Coding::ALL`]; none where the coding is not named.
    codings: [Option<u16>; 3],
    identity: Option<u16>,
    /// `*`: whatever is not named.
    others: Option<u16>,
}

impl Accepted {
    /// Reads the header's values. What cannot be read names nothing.
    pub fn parse<'v>(values: impl IntoIterator<Item = &'v str>) -> Self {
        let mut accepted = Self::default();
        for (name, quality) in values.into_iter().flat_map(|value| value.split(',')).filter_map(member) {
            let place = match Coding::parse(name) {
                Some(coding) => &mut accepted.codings[coding as usize],
                None if name.eq_ignore_ascii_case(IDENTITY) => &mut accepted.identity,
                None if name == "*" => &mut accepted.others,
                None => continue,
            };
            *place = Some(quality);
        }
        accepted
    }

    /// The coding to answer in: what the peer prefers, and among equals the first of `offered`. None: as it is.
    pub fn choose(&self, offered: &[Coding]) -> Option<Coding> {
        let best = offered.iter().rev().copied().max_by_key(|coding| self.quality(*coding))?;
        // An unnamed identity is acceptable, but nothing that is asked for.
        let wanted = self.quality(best);
        (wanted > 0 && wanted >= self.identity.unwrap_or(0)).then_some(best)
    }

    /// Whether the peer wants nothing that is not compressed.
    pub fn refuses_identity(&self) -> bool {
        self.identity.or(self.others) == Some(0)
    }

    fn quality(&self, coding: Coding) -> u16 {
        self.codings[coding as usize].or(self.others).unwrap_or(0)
    }
}

/// A coding and its weight.
fn member(member: &str) -> Option<(&str, u16)> {
    let (name, parameter) = member.split_once(';').map_or((member, None), |(name, rest)| (name, Some(rest)));
    let quality = match parameter {
        None => QUALITY_MAX,
        Some(parameter) => {
            let (key, value) = parameter.split_once('=')?;
            key.trim().eq_ignore_ascii_case("q").then(|| thousandths(value.trim()))??
        }
    };
    Some((name.trim(), quality))
}

/// `0`, `0.25`, `1.000`.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let is_digits = fraction.bytes().all(|byte| byte.is_ascii_digit());
    if !is_digits || fraction.len() > 3 || !matches!(whole, "0" | "1") {
        return None;
    }
    let part = format!("{fraction:0<3}").parse::<u16>().ok()?;
    let all = if whole == "1" { QUALITY_MAX } else { 0 } + part;
    (all <= QUALITY_MAX).then_some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peers_wish_comes_first_and_then_ours() {
        use Coding::{Brotli, Gzip, Zstd};
        for (values, chosen, refuses_identity) in [
            (&[][..], None, false),
            (&[""], None, false),
            (&["gzip"], Some(Gzip), false),
            (&["x-gzip"], Some(Gzip), false),
            (&["GZIP ; Q=0.5"], Some(Gzip), false),
            (&["gzip, deflate, br, zstd"], Some(Zstd), false),
            (&["gzip, deflate, br"], Some(Brotli), false),
            (&["gzip", "br"], Some(Brotli), false),
            (&["gzip;q=1.0, br;q=0.999"], Some(Gzip), false),
            (&["zstd;q=0, *"], Some(Brotli), false),
            (&["zstd;q=0, *;q=0.1"], Some(Brotli), false),
            (&["*"], Some(Zstd), false),
            (&["*;q=0"], None, true),
            (&["gzip;q=0"], None, false),
            (&["deflate"], None, false),
            (&["identity"], None, false),
            (&["identity, gzip"], Some(Gzip), false),
            (&["identity;q=1, gzip;q=0.5"], None, false),
            (&["identity;q=0.5, gzip;q=0.5"], Some(Gzip), false),
            (&["identity;q=0"], None, true),
            (&["gzip, identity;q=0"], Some(Gzip), true),
            (&["gzip, *;q=0"], Some(Gzip), true),
            (&["gzip, *;q=0, identity"], Some(Gzip), false),
            (&["br;q=0.001,gzip;q=0.002"], Some(Gzip), false),
            // Not weights: what bears them is not named.
            (&["gzip;q=2"], None, false),
            (&["gzip;q=1.001"], None, false),
            (&["gzip;q=0.0001"], None, false),
            (&["gzip;q=.5"], None, false),
            (&["gzip;q=-1"], None, false),
            (&["gzip;q"], None, false),
            (&["gzip;level=9"], None, false),
            (&["gzip;q=", ",,", ";", "=", "br"], Some(Brotli), false),
        ] {
            let accepted = Accepted::parse(values.iter().copied());
            assert_eq!(accepted.choose(&Coding::ALL), chosen, "{values:?}");
            assert_eq!(accepted.refuses_identity(), refuses_identity, "{values:?}");
        }
    }

    #[test]
    fn only_what_is_offered_is_chosen_in_the_order_of_the_offer() {
        use Coding::{Brotli, Gzip, Zstd};
        let all = Accepted::parse(["gzip, br, zstd"]);
        for (offered, chosen) in
            [(&[][..], None), (&[Gzip], Some(Gzip)), (&[Gzip, Zstd], Some(Gzip)), (&[Brotli, Gzip, Zstd], Some(Brotli))]
        {
            assert_eq!(all.choose(offered), chosen, "{offered:?}");
        }
    }

    #[test]
    fn what_grpc_peers_are_told_is_what_we_know_for_them() {
        let ours: Vec<_> = GRPC_ACCEPTED.split(',').filter_map(Coding::parse_grpc).collect();
        assert_eq!(ours, Coding::ALL.into_iter().filter(|coding| coding.is_grpc()).collect::<Vec<_>>());
    }
}
