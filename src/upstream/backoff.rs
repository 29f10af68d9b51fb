//! How long an endpoint that could not be connected is left alone: pure functions of a count and of randomness.

use std::time::Duration;

/// The wait after the first failure, before jitter.
const FIRST: Duration = Duration::from_millis(100);
/// No wait is longer.
const LONGEST: Duration = Duration::from_secs(10);

/// The wait before the next attempt, after `failures` (at least 1) failed in a row: doubled with each, of which half is
/// jitter, so that workers and gateways do not knock at the same moment.
pub fn delay(failures: u32, random: u64) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let whole = FIRST.saturating_mul(1 << doublings).min(LONGEST);
    let half = whole / 2;
    let half_nanos = u64::try_from(half.as_nanos()).unwrap_or(u64::MAX);
    // The upper half of a 128-bit product spreads `random` evenly over the range.
    let jitter = (u128::from(random) * u128::from(half_nanos)) >> 64;
    half + Duration::from_nanos(jitter as u64)
}

/// A small generator of jitter and starting points (splitmix64); not for secrets.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_ten_seconds() {
        let longest: Vec<_> = (1..=9).map(|failures| delay(failures, u64::MAX).as_millis()).collect();
        assert_eq!(longest, [99, 199, 399, 799, 1599, 3199, 6399, 9999, 9999]);
        assert_eq!(delay(u32::MAX, 0), LONGEST / 2);
    }

    #[test]
    fn half_of_a_wait_is_jitter() {
        assert_eq!(delay(1, 0), Duration::from_millis(50));
        assert_eq!(delay(1, 1 << 63), Duration::from_millis(75));
    }

    #[test]
    fn the_same_seed_gives_the_same_waits() {
        let draw = |seed| {
            let mut random = Random::new(seed);
            [delay(3, random.draw()), delay(3, random.draw())]
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        assert_ne!(draw(7)[0], draw(7)[1]);
    }
}
