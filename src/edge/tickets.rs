//! Tickets: for a short time and one call, each takes the place of a token that a browser cannot put into a header. Knows
//! nothing of who issues them and where they are shown.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use aws_lc_rs::rand;
use http::HeaderValue;
use tokio::time::Instant;

/// What every ticket begins with, so that nothing else is taken for one: neither by the gateway nor by whoever searches logs for secrets.
pub const TICKET: &str = "tgt_";

/// 128 bits that nobody guesses.
type Id = [u8; 16];

/// What a ticket takes of memory beside the token.
const TICKET_BYTES: usize = 128;

/// The tickets of one process. Clones are the same.
#[derive(Clone)]
pub struct Tickets(Arc<Mutex<Store>>);

struct Store {
    tokens: HashMap<Id, HeaderValue>,
    /// All that were issued and are not too old yet, the oldest first; what is no longer in `tokens` was used.
    issued: VecDeque<Issued>,
    /// Of all in `issued`, used or not.
    bytes: usize,
    bytes_max: usize,
}

struct Issued {
    id: Id,
    bytes: usize,
    until: Instant,
}

/// Why no ticket is issued.
#[derive(Debug, PartialEq, Eq)]
pub enum NoTicket {
    /// As many are out as may be.
    Full,
    /// The system has no random numbers.
    NoRandom,
}

impl Tickets {
    /// `bytes_max`: of all tickets that are not too old, in memory.
    pub fn new(bytes_max: usize) -> Self {
        let store = Store { tokens: HashMap::new(), issued: VecDeque::new(), bytes: 0, bytes_max };
        Self(Arc::new(Mutex::new(store)))
    }

    /// A ticket for the value of `authorization`, until then.
    ///
    /// # Errors
    /// There is room for no more, or no way to make one that nobody guesses.
    pub fn issue(&self, mut authorization: HeaderValue, until: Instant) -> Result<String, NoTicket> {
        let mut id = Id::default();
        rand::fill(&mut id).map_err(|_| NoTicket::NoRandom)?;
        let mut store = self.lock();
        store.forget(Instant::now());
        let bytes = TICKET_BYTES + authorization.len();
        if store.bytes + bytes > store.bytes_max {
            return Err(NoTicket::Full);
        }
        store.bytes += bytes;
        store.issued.push_back(Issued { id, bytes, until });
        authorization.set_sensitive(true);
        store.tokens.insert(id, authorization);
        drop(store);
        Ok(format!("{TICKET}{}", base64_simd::URL_SAFE_NO_PAD.encode_to_string(id)))
    }

    /// What a ticket stands for: once, and not when it is too old.
    pub fn redeem(&self, ticket: &str) -> Option<HeaderValue> {
        let id = id(ticket)?;
        let mut store = self.lock();
        store.forget(Instant::now());
        store.tokens.remove(&id)
    }

    fn lock(&self) -> MutexGuard<'_, Store> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether it could be one.
pub fn is_ticket(text: &str) -> bool {
    id(text).is_some()
}

fn id(ticket: &str) -> Option<Id> {
    base64_simd::URL_SAFE_NO_PAD.decode_to_vec(ticket.strip_prefix(TICKET)?).ok()?.try_into().ok()
}

impl Store {
    fn forget(&mut self, now: Instant) {
        while let Some(old) = self.issued.pop_front_if(|oldest| oldest.until <= now) {
            self.bytes -= old.bytes;
            self.tokens.remove(&old.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const LIFETIME: Duration = Duration::from_secs(30);

    fn token(text: &'static str) -> HeaderValue {
        HeaderValue::from_static(text)
    }

    #[tokio::test(start_paused = true)]
    async fn a_ticket_is_good_once_and_for_its_lifetime() {
        let tickets = Tickets::new(1 << 20);
        let issue = |text| tickets.issue(token(text), Instant::now() + LIFETIME).unwrap();
        let (first, second, third) = (issue("Bearer a"), issue("Bearer b"), issue("Bearer c"));
        assert_eq!(first.len(), TICKET.len() + 22);
        assert_eq!(tickets.redeem(&second), Some(token("Bearer b")));
        assert_eq!(tickets.redeem(&second), None, "used");
        tokio::time::advance(LIFETIME - Duration::from_nanos(1)).await;
        let fourth = issue("Bearer d");
        assert!(tickets.redeem(&first).is_some_and(|token| token.is_sensitive()));
        tokio::time::advance(Duration::from_nanos(1)).await;
        assert_eq!(tickets.redeem(&third), None, "too old");
        assert_eq!(tickets.redeem(&fourth), Some(token("Bearer d")));
        for forged in
            ["", "tgt_", "tgt_AAAAAAAAAAAAAAAAAAAAAA", "tgt_!", "Bearer d", &fourth[4..], &format!("{fourth}AAAA")]
        {
            assert_eq!(tickets.redeem(forged), None, "{forged}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn tickets_are_bounded_whether_they_are_used_or_not() {
        let tickets = Tickets::new(10 * (TICKET_BYTES + 8));
        let issue = || tickets.issue(token("Bearer a"), Instant::now() + LIFETIME);
        for _ in 0..10 {
            let ticket = issue().unwrap();
            tickets.redeem(&ticket);
        }
        assert_eq!(issue(), Err(NoTicket::Full));
        tokio::time::advance(LIFETIME).await;
        assert!(issue().is_ok(), "room comes back with time");
        assert_eq!(tickets.lock().issued.len(), 1);
    }
}
