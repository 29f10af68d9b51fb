//! From a name to what it stands for: by length first, then by comparing. Faster than a hash for the names of one message.

/// An immutable table of names.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// Sorted by length, then by bytes.
    entries: Box<[(Box<[u8]>, u32)]>,
    /// Where the names of each length begin; one more at the end.
    starts: Box<[u32]>,
}

impl Names {
    /// Of two equal names the first stays.
    pub(super) fn new(mut entries: Vec<(Box<[u8]>, u32)>) -> Self {
        entries.sort_by(|(a, _), (b, _)| a.len().cmp(&b.len()).then_with(|| a.cmp(b)));
        entries.dedup_by(|later, first| later.0 == first.0);
        let longest = entries.last().map_or(0, |(name, _)| name.len());
        let mut starts = Vec::with_capacity(longest + 2);
        for length in 0..longest + 2 {
            starts.push(entries.partition_point(|(name, _)| name.len() < length) as u32);
        }
        Self { entries: entries.into(), starts: starts.into() }
    }

    pub(super) fn find(&self, name: &[u8]) -> Option<u32> {
        let from = *self.starts.get(name.len())? as usize;
        let to = *self.starts.get(name.len() + 1)? as usize;
        let same_length = self.entries.get(from..to)?;
        if same_length.len() <= LINEAR_MAX {
            return same_length.iter().find(|(candidate, _)| **candidate == *name).map(|(_, value)| *value);
        }
        let at = same_length.binary_search_by(|(candidate, _)| (**candidate).cmp(name)).ok()?;
        same_length.get(at).map(|(_, value)| *value)
    }
}

/// Up to so many names of one length are compared one by one.
const LINEAR_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_and_no_other() {
        let names: Vec<String> =
            (0..40).map(|n| format!("n{n}")).chain(["", "a", "long_name"].map(String::from)).collect();
        let table = Names::new(names.iter().zip(0..).map(|(name, n)| (name.as_bytes().into(), n)).collect());
        for (name, n) in names.iter().zip(0..) {
            assert_eq!(table.find(name.as_bytes()), Some(n), "{name}");
        }
        for other in ["b", "n40", "long_nam", "long_names", "aaaaaaaaaaaaaaaaaaaaaaaa"] {
            assert_eq!(table.find(other.as_bytes()), None, "{other}");
        }
        assert_eq!(Names::default().find(b""), None);
    }
}
