//! A token bucket (pure: the time is an argument).

use std::time::Instant;

/// So many in a second, and a burst of so many at once.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    per_second: f64,
    burst: f64,
    tokens: f64,
    at: Instant,
}

impl Pace {
    /// Full at first; 0 in a second is no limit.
    #[must_use]
    pub fn new(per_second: f64, burst: f64, now: Instant) -> Pace {
        Pace { per_second, burst: burst.max(1.0), tokens: burst.max(1.0), at: now }
    }

    fn fill(&mut self, now: Instant) {
        let since = now.saturating_duration_since(self.at).as_secs_f64();
        self.tokens = (self.tokens + since * self.per_second).min(self.burst);
        self.at = now;
    }

    /// Takes up to so many; how many there were.
    pub fn take(&mut self, most: usize, now: Instant) -> usize {
        if self.per_second <= 0.0 {
            return most;
        }
        self.fill(now);
        let mut taken = 0;
        while taken < most && self.tokens >= 1.0 {
            self.tokens -= 1.0;
            taken += 1;
        }
        taken
    }

    /// Whether there is one, which is not taken.
    pub fn has_one(&mut self, now: Instant) -> bool {
        self.fill(now);
        self.per_second <= 0.0 || self.tokens >= 1.0
    }

    /// How many seconds until there is one, rounded up.
    #[must_use]
    pub fn wait(&self) -> u64 {
        let missing = (1.0 - self.tokens).max(0.0) / self.per_second.max(f64::MIN_POSITIVE);
        // Sixty requests a minute are one in a second: never more than an hour.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 1 and 3600")]
        let seconds = missing.ceil().clamp(1.0, 3600.0) as u64;
        seconds
    }

    /// Whether it is as full as it can be: then it need not be remembered.
    #[must_use]
    pub fn is_full(&self, now: Instant) -> bool {
        let mut later = *self;
        later.fill(now);
        later.tokens >= later.burst
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_burst_and_then_so_many_in_a_second() {
        let start = Instant::now();
        let mut pace = Pace::new(10.0, 5.0, start);
        assert_eq!(pace.take(100, start), 5);
        assert_eq!((pace.take(1, start), pace.wait()), (0, 1));
        assert_eq!(pace.take(100, start + Duration::from_millis(300)), 3);
        assert!(!pace.is_full(start + Duration::from_millis(700)));
        assert!(pace.is_full(start + Duration::from_millis(801)));
        assert_eq!(Pace::new(0.0, 0.0, start).take(7, start), 7);
        let mut slow = Pace::new(1.0 / 60.0, 1.0, start);
        assert_eq!((slow.take(2, start), slow.wait()), (1, 60));
    }
}
