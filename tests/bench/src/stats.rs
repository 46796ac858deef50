//! Statistics over rounds.

use std::fmt;

/// Samples of one figure, ascending; at least one.
#[derive(Debug, Clone)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    /// Sorts `samples`; `None` if there are none.
    pub(crate) fn new(samples: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut samples: Vec<f64> = samples.into_iter().collect();
        samples.sort_by(f64::total_cmp);
        (!samples.is_empty()).then_some(Self(samples))
    }

    /// The middle one, or the mean of the two in the middle.
    pub(crate) fn median(&self) -> f64 {
        let middle = self.0.len() / 2;
        if self.0.len() % 2 == 1 { self.0[middle] } else { f64::midpoint(self.0[middle - 1], self.0[middle]) }
    }

    /// The smallest.
    pub(crate) fn min(&self) -> f64 {
        self.0[0]
    }

    /// The largest.
    pub(crate) fn max(&self) -> f64 {
        self.0[self.0.len() - 1]
    }

    /// The smallest sample that at least `share` of all samples do not exceed.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        let enough = |index: &usize| float(*index as u64 + 1) >= share * float(self.0.len() as u64);
        let index = (0..self.0.len()).find(enough).unwrap_or(self.0.len() - 1);
        self.0[index]
    }

    /// Number of samples.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }
}

impl fmt::Display for Samples {
    /// The spread: smallest, quartiles and largest.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (low, high) = (self.quantile(0.25), self.quantile(0.75));
        write!(f, "{:.3} [{low:.3} {high:.3}] {:.3} of {}", self.min(), self.max(), self.count())
    }
}

/// A count as a number to calculate ratios with.
#[expect(clippy::cast_precision_loss, reason = "counts here are far below 2^52")]
pub(crate) fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_quantiles() {
        assert!(Samples::new([]).is_none());
        let odd = Samples::new([3.0, 1.0, 2.0]).unwrap();
        assert_eq!(format!("{} {odd}", odd.median()), "2 1.000 [1.000 3.000] 3.000 of 3");
        let even = Samples::new([4.0, 1.0, 3.0, 2.0]).unwrap();
        assert_eq!(format!("{} {even}", even.median()), "2.5 1.000 [1.000 3.000] 4.000 of 4");
    }
}
