//! How a measure is spread.

use std::fmt;

/// Measures in milliseconds.
#[derive(Debug, Clone, Default)]
pub struct Spread(Vec<f64>);

impl Spread {
    pub fn of(measures: impl IntoIterator<Item = f64>) -> Self {
        let mut measures: Vec<_> = measures.into_iter().collect();
        measures.sort_by(f64::total_cmp);
        Self(measures)
    }

    /// Several taken as one.
    pub fn all(spreads: &[Self]) -> Self {
        Self::of(spreads.iter().flat_map(|spread| spread.0.iter().copied()))
    }

    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// The least measure that so many hundredths of all do not exceed; 0 if there are none.
    pub fn percentile(&self, hundredths: usize) -> f64 {
        let place = (self.0.len() * hundredths).div_ceil(100).max(1) - 1;
        self.0.get(place).copied().unwrap_or(0.0)
    }

    pub fn max(&self) -> f64 {
        self.0.last().copied().unwrap_or(0.0)
    }
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (p50, p99) = (self.percentile(50), self.percentile(99));
        let (count, max) = (self.count(), self.max());
        write!(f, "p50 {p50:.1} ms, p99 {p99:.1} ms, max {max:.1} ms of {count}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_one_of_the_measures() {
        let spread = Spread::of((1..=200).rev().map(f64::from));

        assert_eq!([50, 99, 100].map(|of| spread.percentile(of)), [100.0, 198.0, 200.0]);
        assert_eq!(spread.max(), 200.0);
        assert_eq!(Spread::default().percentile(99), 0.0);
    }
}
