//! Where the calls of a method go: to one upstream, or to several by their weights. Pure: randomness is passed in.

use std::sync::Arc;

use http::{HeaderMap, HeaderName, request::Parts};

use crate::{
    edge::Condition,
    status::{Code, Reason, Status},
};

/// The upstreams that share the calls for which a condition holds.
#[derive(Clone, Debug)]
pub(super) struct Lead {
    /// None: all calls.
    pub(super) condition: Option<Ruled>,
    /// Empty: nobody takes the calls.
    pub(super) shares: Vec<Share>,
    /// By which a request may name one of them.
    pub(super) header: Option<HeaderName>,
}

/// A condition, and the place of its rule in the configuration.
#[derive(Clone, Debug)]
pub(super) struct Ruled {
    pub(super) rule: usize,
    pub(super) condition: Arc<Condition>,
}

/// One upstream's part of the calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) upstream: usize,
    pub(super) name: String,
    pub(super) weight: u32,
}

impl Lead {
    pub(super) fn is_for(&self, head: &Parts) -> bool {
        self.condition.as_ref().is_none_or(|ruled| ruled.condition.holds(head))
    }

    /// The upstream of one call: the one that it names, or one by chance, in proportion to the weights.
    ///
    /// # Errors
    /// 400 for a name that is none of them; UNIMPLEMENTED where those that could take the call have no weight.
    pub(super) fn choose(&self, headers: &HeaderMap, random: impl FnOnce() -> u32) -> Result<usize, Status> {
        if let Some(header) = self.naming(headers) {
            return self.named(headers, header);
        }
        if let [Share { upstream, weight: 1.., .. }] = &*self.shares {
            return Ok(*upstream);
        }
        let total: u64 = self.shares.iter().map(|share| u64::from(share.weight)).sum();
        // Below the total, for the random number is below 2³².
        let mut point = (u64::from(random()) * total) >> 32;
        for share in &self.shares {
            match point.checked_sub(u64::from(share.weight)) {
                Some(beyond) => point = beyond,
                None => return Ok(share.upstream),
            }
        }
        let text = "the upstreams that have this method take no calls that do not name them";
        Err(Status::client(Code::Unimplemented, text).with_reason(Reason::RouteNotFound))
    }

    /// The header by which a request names its upstream, where it does.
    pub(super) fn naming(&self, headers: &HeaderMap) -> Option<&HeaderName> {
        self.header.as_ref().filter(|header| headers.contains_key(*header))
    }

    fn named(&self, headers: &HeaderMap, header: &HeaderName) -> Result<usize, Status> {
        let mut values = headers.get_all(header).iter();
        let (first, second) = (values.next(), values.next());
        let found = self.shares.iter().find(|share| first.is_some_and(|name| name.as_bytes() == share.name.as_bytes()));
        found.filter(|_| second.is_none()).map(|share| share.upstream).ok_or_else(|| {
            let what = "must name one of the upstreams that the route has";
            Status::client(Code::InvalidArgument, format!("header {header}: {what}"))
                .with_reason(Reason::InvalidHeader)
                .with_violation(header.as_str(), what)
        })
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::edge::RequestIds;

    fn lead(weights: &[u32], header: Option<HeaderName>) -> Lead {
        let share =
            |(upstream, weight): (usize, &u32)| Share { upstream, name: format!("u{upstream}"), weight: *weight };
        Lead { condition: None, shares: weights.iter().enumerate().map(share).collect(), header }
    }

    #[test]
    fn each_upstream_has_its_part_of_the_random_numbers() {
        for (weights, random, expected) in [
            (&[90, 10][..], 0, 0),
            // 0.9 · 2³² = 3865470566.4
            (&[90, 10], 3_865_470_566, 0),
            (&[90, 10], 3_865_470_567, 1),
            (&[90, 10], u32::MAX, 1),
            (&[0, 1, 0], 0, 1),
            (&[0, 1, 0], u32::MAX, 1),
            (&[1_000_000, 1_000_000], u32::MAX, 1),
        ] {
            assert_eq!(lead(weights, None).choose(&HeaderMap::new(), || random).unwrap(), expected, "{weights:?}");
        }
    }

    #[test]
    fn many_calls_are_spread_by_weight() {
        let (lead, random) = (lead(&[90, 10, 0], None), RequestIds::new(7));
        let mut counts = [0; 3];
        for _ in 0..10_000 {
            counts[lead.choose(&HeaderMap::new(), || random.random()).unwrap()] += 1;
        }
        assert_eq!(counts.iter().sum::<u32>(), 10_000);
        // Three standard deviations: 3 · √(10000 · 0.9 · 0.1) = 90.
        assert!((910..=1090).contains(&counts[1]) && counts[2] == 0, "{counts:?}");
    }

    #[test]
    fn a_single_upstream_needs_no_chance() {
        let chosen = lead(&[1], None).choose(&HeaderMap::new(), || panic!("nothing is random here"));
        assert_eq!(chosen.unwrap(), 0);
        let refused = lead(&[0], None).choose(&HeaderMap::new(), || 0).unwrap_err();
        assert_eq!((refused.code(), refused.reason()), (Code::Unimplemented, Some(Reason::RouteNotFound)));
    }

    #[test]
    fn a_request_may_name_one_of_the_upstreams() {
        let header = HeaderName::from_static("x-upstream");
        for (values, expected) in [
            (&["u1"][..], Some(1)),
            (&["u0"], Some(0)),
            (&["u2"], None),
            (&["U1"], None),
            (&[""], None),
            (&["u0", "u1"], None),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(&header, HeaderValue::from_static(value));
            }
            let chosen = lead(&[1, 0], Some(header.clone())).choose(&headers, || 0);
            assert_eq!(chosen.as_ref().ok(), expected.as_ref(), "{values:?}");
            if let Err(refused) = chosen {
                assert_eq!((refused.code(), refused.reason()), (Code::InvalidArgument, Some(Reason::InvalidHeader)));
            }
        }
        let mut headers = HeaderMap::new();
        headers.append(&header, HeaderValue::from_static("u1"));
        assert_eq!(lead(&[1, 0], None).choose(&headers, || 0).unwrap(), 0, "no header was agreed on");
    }
}
