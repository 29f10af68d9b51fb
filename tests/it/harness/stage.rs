//! A gateway that is watched while something stands still: it must not grow, and its neighbours must go on.

use super::{Gateway, Via};
use crate::backend::Backend;

pub struct Stage {
    pub backend: Backend,
    pub gateway: Gateway,
    growth_bytes_max: u64,
    /// What it stood at when it had served a little.
    rss_bytes: u64,
    sent: u64,
}

impl Stage {
    /// Of a gateway that has served a little.
    pub fn set(backend: Backend, gateway: Gateway, growth_bytes_max: u64) -> Self {
        let (rss_bytes, sent) = (gateway.process.rss_bytes(), backend.messages_sent());
        Self { backend, gateway, growth_bytes_max, rss_bytes, sent }
    }

    /// Messages that left the backend since then.
    pub fn sent(&self) -> u64 {
        self.backend.messages_sent() - self.sent
    }

    #[track_caller]
    pub fn assert_flat(&self, what: &str) {
        let growth = self.gateway.process.rss_bytes().saturating_sub(self.rss_bytes);
        println!("{what}: the gateway grew by {growth} bytes");
        assert!(growth < self.growth_bytes_max, "{what}: the gateway grew by {growth} bytes");
    }

    /// Waits until a count has begun and stands still: two hundred whole calls of a neighbour go by and it is the same.
    pub async fn settle(&self, count: impl Fn() -> u64) -> u64 {
        let mut neighbour = self.gateway.connect(Via::H2Tls).await;
        let mut before = 0;
        loop {
            for _ in 0..200 {
                let answer = neighbour.get("/echo/say/neighbour").await;
                assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, r#"{"text":"neighbour"}"#));
            }
            match count() {
                now if now == before && now > 0 => return now,
                now => before = now,
            }
        }
    }
}
