//! A bucket of tokens: how many are there at once, and how fast they come back.

use jiff::Timestamp;

/// A bucket; how big it is and how fast it fills is said with every use, since many buckets share that.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    tokens: f64,
    at: Timestamp,
}

/// What the buckets of one purpose have in common.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// How many tokens come back in a second.
    pub per_second: f64,
    /// How many a bucket holds.
    pub burst: f64,
}

impl Bucket {
    /// A full one.
    pub fn full(rate: Rate, now: Timestamp) -> Self {
        Self { tokens: rate.burst, at: now }
    }

    /// Takes a token if there is one. A clock that goes back adds nothing.
    pub fn take(&mut self, rate: Rate, now: Timestamp) -> bool {
        let waited = now.duration_since(self.at).as_secs_f64().max(0.0);
        self.tokens = (self.tokens + waited * rate.per_second).min(rate.burst);
        self.at = now;
        let enough = self.tokens >= 1.0;
        if enough {
            self.tokens -= 1.0;
        }
        enough
    }

    /// When somebody last asked for a token.
    pub fn last_used(&self) -> Timestamp {
        self.at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_comes_back_with_time_and_never_more_than_fits() {
        let rate = Rate { per_second: 0.5, burst: 2.0 };
        let at = |second| Timestamp::from_second(second).unwrap();
        let mut bucket = Bucket::full(rate, at(100));
        let taken: Vec<bool> = [100, 100, 100, 101, 102, 102, 1000, 1000, 1000, 990]
            .map(|second| bucket.take(rate, at(second)))
            .into();
        assert_eq!(taken, [true, true, false, false, true, false, true, true, false, false]);
    }
}
