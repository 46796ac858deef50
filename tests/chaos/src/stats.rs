//! Percentiles.

use std::time::Duration;

/// Returns the smallest value of `sorted` that at least `percent` percent of the values
/// do not exceed (nearest rank: always a measured value).
#[must_use]
pub(crate) fn percentile(sorted: &[Duration], percent: usize) -> Option<Duration> {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_measured_values() {
        let sorted: Vec<Duration> = (1..=200).map(Duration::from_millis).collect();
        assert_eq!(percentile(&sorted, 50), Some(Duration::from_millis(100)));
        assert_eq!(percentile(&sorted, 99), Some(Duration::from_millis(198)));
        assert_eq!(percentile(&sorted, 100), Some(Duration::from_millis(200)));
        assert_eq!(percentile(&sorted[..8], 99), Some(Duration::from_millis(8)), "few values: the largest");
        assert_eq!(percentile(&[], 50), None);
    }
}
