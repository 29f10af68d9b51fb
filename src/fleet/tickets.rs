//! What a secret stands for, wherever in the fleet it is shown: once, and for a short time. Redis knows neither: it finds by a hash of
//! the secret what is sealed with it. Knows nothing of what that is.

use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use redis::{Cmd, FromRedisValue};

use super::{Down, Fleet, Name};

impl Fleet {
    /// Keeps what a secret stands for, which nobody can guess and which is kept once.
    ///
    /// # Errors
    /// Redis does not answer; it may have heard all the same.
    pub async fn keep(&self, secret: &[u8], mut value: Vec<u8>, lifetime: Duration) -> Result<(), Down> {
        seal(secret, &mut value).ok_or(Down)?;
        let lifetime = u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX);
        self.ask(redis::cmd("SET").arg(self.place(secret)).arg(value).arg("PX").arg(lifetime.max(1))).await
    }

    /// What a secret stands for; nobody else is told again.
    ///
    /// # Errors
    /// Redis does not answer.
    pub async fn take(&self, secret: &[u8]) -> Result<Option<Vec<u8>>, Down> {
        let sealed: Option<Vec<u8>> = self.ask(redis::cmd("GETDEL").arg(self.place(secret))).await?;
        Ok(sealed.and_then(|sealed| open(secret, sealed)))
    }

    fn place(&self, secret: &[u8]) -> String {
        format!("{}:ticket:{}", self.0.settings.prefix, Name::of([b"place".as_slice(), secret]))
    }

    async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Down> {
        let mut link = self.0.link()?;
        let outcome = command.query_async(&mut link.commands).await;
        self.0.judge(&link, outcome)
    }
}

fn seal(secret: &[u8], value: &mut Vec<u8>) -> Option<()> {
    key(secret)?.seal_in_place_append_tag(nonce(), Aad::empty(), value).ok()
}

/// None for what was not sealed with this secret.
fn open(secret: &[u8], mut sealed: Vec<u8>) -> Option<Vec<u8>> {
    let length = key(secret)?.open_in_place(nonce(), Aad::empty(), &mut sealed).ok()?.len();
    sealed.truncate(length);
    Some(sealed)
}

fn key(secret: &[u8]) -> Option<LessSafeKey> {
    let name = Name::of([b"seal".as_slice(), secret]);
    UnboundKey::new(&AES_256_GCM, name.as_bytes()).ok().map(LessSafeKey::new)
}

/// The same each time: each secret, and so each key, seals once.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; 12])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_is_read_with_its_secret_alone() {
        let mut sealed = b"Bearer a".to_vec();
        seal(b"tgt_a", &mut sealed).unwrap();
        assert!(!sealed.windows(6).any(|part| part == b"Bearer"));
        assert_eq!(open(b"tgt_b", sealed.clone()), None);
        assert_eq!(open(b"tgt_a", sealed.clone()).as_deref(), Some(b"Bearer a".as_slice()));
        sealed[0] ^= 1;
        assert_eq!(open(b"tgt_a", sealed), None);
        assert_eq!(open(b"tgt_a", Vec::new()), None);
    }
}
