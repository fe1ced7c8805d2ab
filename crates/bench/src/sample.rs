//! Durations and what one says of them: medians and percentiles.

use std::time::Duration;

/// Measured durations, in order.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sample {
    sorted: Vec<Duration>,
}

impl Sample {
    pub(crate) fn new(mut values: Vec<Duration>) -> Self {
        values.sort_unstable();
        Self { sorted: values }
    }

    pub(crate) fn len(&self) -> usize {
        self.sorted.len()
    }

    /// The smallest value that `percent` of all values do not exceed; nothing of nothing.
    pub(crate) fn percentile(&self, percent: f64) -> Option<Duration> {
        let rank = (percent / 100.0 * self.sorted.len() as f64).ceil().max(1.0) as usize;
        self.sorted.get(rank.min(self.sorted.len()).checked_sub(1)?).copied()
    }

    pub(crate) fn median(&self) -> Option<Duration> {
        self.percentile(50.0)
    }

    pub(crate) fn max(&self) -> Option<Duration> {
        self.sorted.last().copied()
    }
}

impl FromIterator<Duration> for Sample {
    fn from_iter<I: IntoIterator<Item = Duration>>(values: I) -> Self {
        Self::new(values.into_iter().collect())
    }
}

/// A total shared among `count` operations.
pub(crate) fn each(total: Duration, count: usize) -> Option<Duration> {
    (count > 0).then(|| total.div_f64(count as f64))
}

/// The median of plain numbers, such as ratios of pairs.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len().checked_sub(1)? / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn milliseconds(values: impl IntoIterator<Item = u64>) -> Sample {
        values.into_iter().map(Duration::from_millis).collect()
    }

    #[test]
    fn percentiles_are_measured_values_by_nearest_rank() {
        let sample = milliseconds((1..=100).rev());
        assert_eq!(sample.median(), Some(Duration::from_millis(50)));
        assert_eq!(sample.percentile(99.0), Some(Duration::from_millis(99)));
        assert_eq!(sample.percentile(100.0), Some(Duration::from_millis(100)));
        assert_eq!(sample.percentile(0.0), Some(Duration::from_millis(1)));
        assert_eq!(milliseconds([7, 3, 5]).median(), Some(Duration::from_millis(5)));
        assert_eq!(milliseconds([4]).percentile(99.0), Some(Duration::from_millis(4)));
    }

    #[test]
    fn nothing_has_no_median() {
        assert_eq!(Sample::default().median(), None);
        assert_eq!(median(Vec::new()), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(each(Duration::from_secs(1), 0), None);
        assert_eq!(each(Duration::from_secs(1), 4), Some(Duration::from_millis(250)));
    }
}
