//! How a stream is found in Redis: by a hash of what its calls have in common, which tells nobody what that is. Knows nothing of
//! what the parts are.

use std::fmt;

use aws_lc_rs::digest::{Context, SHA256};

/// Hashed first: what is named in another way has another name.
const VERSION: &[u8] = b"tidegate 1";

/// The same for the same parts in every process, and for no others.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Name([u8; 32]);

impl Name {
    pub fn of<'p>(parts: impl IntoIterator<Item = &'p [u8]>) -> Self {
        let mut hash = Context::new(&SHA256);
        for part in [VERSION].into_iter().chain(parts) {
            // With their lengths, so that no two lists read the same.
            hash.update(&(part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let mut name = [0; 32];
        name.copy_from_slice(hash.finish().as_ref());
        Self(name)
    }
}

impl Name {
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_that_of_its_parts_alone_and_tells_none_of_them() {
        let name = |parts: &[&str]| Name::of(parts.iter().map(|part| part.as_bytes())).to_string();
        let secret = name(&["liker", "Bearer secret"]);
        assert_eq!(secret, name(&["liker", "Bearer secret"]));
        // Other gateways of the fleet may be of another version: this must not change by chance.
        assert_eq!(name(&["a", "b"]), "9891df63cf50ef8dd78df57fc3eef368e333ac61506a51ab9ed67de0ba20b8b2");
        for other in
            [&["likerBearer secret"][..], &["liker", "", "Bearer secret"], &["liker", "Bearer secre", "t"], &[]]
        {
            assert_ne!(secret, name(other));
        }
    }
}
