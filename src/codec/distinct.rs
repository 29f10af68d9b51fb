//! Which keys were seen: a few by comparing, many by a hash that no client can foresee. Knows nothing of maps.

use std::{borrow::Cow, collections::HashMap, hash::Hash};

use smallvec::SmallVec;

/// The key of a map's entry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key<'a> {
    /// As the wire holds it.
    Bits(u64),
    Text(Cow<'a, [u8]>),
}

/// Keys in the order in which they were seen first.
pub(super) struct Distinct<K> {
    few: SmallVec<[K; FEW]>,
    many: HashMap<K, usize>,
}

const FEW: usize = 8;

impl<K: Eq + Hash> Distinct<K> {
    pub(super) fn new() -> Self {
        Self { few: SmallVec::new(), many: HashMap::new() }
    }

    /// The place of an equal key that was seen before; none for a new one, which takes the next place.
    pub(super) fn insert(&mut self, key: K) -> Option<usize> {
        if self.many.is_empty() {
            if let Some(place) = self.few.iter().position(|seen| *seen == key) {
                return Some(place);
            }
            if self.few.len() < FEW {
                self.few.push(key);
                return None;
            }
            self.many.extend(self.few.drain(..).zip(0..));
        }
        let next = self.many.len();
        match self.many.entry(key) {
            std::collections::hash_map::Entry::Occupied(seen) => Some(*seen.get()),
            std::collections::hash_map::Entry::Vacant(place) => {
                place.insert(next);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_new_once() {
        let mut seen = Distinct::new();
        for key in 0..50 {
            assert_eq!(seen.insert(key), None);
            assert_eq!(seen.insert(key), Some(key));
            assert_eq!(seen.insert(0), Some(0));
        }
    }
}
