//! Figures of many values, as Flink takes them.

use millrace_rest_types::checkpoints::StatsSummary;
use millrace_rest_types::metrics::AggregatedMetric;
use millrace_rest_types::number::Double;
use millrace_rest_types::vertices::Distribution;

use crate::parameters::Aggregation;

/// Values in ascending order. Negative ones, which stand for what is not known, are none.
#[derive(Debug, Clone, Default)]
pub struct Values(Vec<i64>);

impl FromIterator<i64> for Values {
    fn from_iter<I: IntoIterator<Item = i64>>(values: I) -> Self {
        let mut values: Vec<i64> = values.into_iter().filter(|value| *value >= 0).collect();
        values.sort_unstable();
        Values(values)
    }
}

impl Values {
    fn min(&self) -> i64 {
        self.0.first().copied().unwrap_or(0)
    }

    fn max(&self) -> i64 {
        self.0.last().copied().unwrap_or(0)
    }

    fn sum(&self) -> i64 {
        self.0.iter().fold(0, |sum, value| sum.saturating_add(*value))
    }

    fn avg(&self) -> i64 {
        self.sum() / self.0.len().max(1) as i64
    }

    /// Between the values beside the place p * (n + 1), as Apache Commons Math has it; not a number of none.
    fn quantile(&self, p: f64) -> f64 {
        let place = p * (self.0.len() as f64 + 1.0);
        let below = place.floor();
        match (self.0.first(), self.0.last()) {
            (Some(first), _) if below < 1.0 => *first as f64,
            (_, Some(last)) if below >= self.0.len() as f64 => *last as f64,
            (None, None) => f64::NAN,
            _ => {
                let (low, high) = (self.0[below as usize - 1] as f64, self.0[below as usize] as f64);
                low + (place - below) * (high - low)
            }
        }
    }

    /// With quantiles.
    pub fn summary(&self) -> StatsSummary {
        self.with_quantiles(|p| self.quantile(p))
    }

    /// As Flink tells of the subtasks of one checkpoint.
    pub fn summary_without_quantiles(&self) -> StatsSummary {
        self.with_quantiles(|_| f64::NAN)
    }

    fn with_quantiles(&self, quantile: impl Fn(f64) -> f64) -> StatsSummary {
        let [p50, p90, p95, p99, p999] = [0.5, 0.9, 0.95, 0.99, 0.999].map(|p| Double(quantile(p)));
        StatsSummary {
            min: self.min(),
            max: self.max(),
            avg: self.avg(),
            p50,
            p90,
            p95,
            p99,
            p999,
        }
    }

    pub fn distribution(&self) -> Distribution {
        let [p25, median, p75, p95] = [0.25, 0.5, 0.75, 0.95].map(|p| self.quantile(p) as i64);
        Distribution {
            min: self.min(),
            max: self.max(),
            avg: self.avg(),
            sum: self.sum(),
            median,
            p25,
            p75,
            p95,
        }
    }
}

/// What Flink has no figure for any more.
pub fn nothing() -> StatsSummary {
    Values::default().with_quantiles(|_| 0.0)
}

/// What is asked for of a metric's values; all where nothing is.
pub fn aggregated(id: &str, values: &[f64], wanted: &[Aggregation]) -> AggregatedMetric {
    let told = |what: Aggregation, value: f64| {
        let is_wanted = wanted.is_empty() || wanted.contains(&what);
        is_wanted.then_some(Double(value))
    };
    let sum: f64 = values.iter().sum();
    let avg = sum / values.len() as f64;
    AggregatedMetric {
        id: id.to_owned(),
        min: told(Aggregation::Min, values.iter().copied().fold(f64::NAN, f64::min)),
        max: told(Aggregation::Max, values.iter().copied().fold(f64::NAN, f64::max)),
        avg: told(Aggregation::Avg, avg),
        sum: told(Aggregation::Sum, sum),
        skew: told(Aggregation::Skew, skew(values, avg)),
    }
}

/// The mean distance from the average in percent of the average, at most 100.
fn skew(values: &[f64], avg: f64) -> f64 {
    if values.len() < 2 || avg == 0.0 {
        return 0.0;
    }
    let distance: f64 = values.iter().map(|value| (value - avg).abs()).sum();
    (distance / values.len() as f64 / avg * 100.0).min(100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Flink's own figures of these values.
    #[test]
    fn quantiles_are_flinks() {
        let values: Values = [41, 45, 47, 49, 49, 59, 60, 61, 63, 64, 67, 92, 106, 167]
            .into_iter()
            .collect();
        let summary = values.summary();
        assert_eq!((summary.min, summary.max, summary.avg), (41, 167, 69));
        assert_eq!(
            [summary.p50, summary.p90, summary.p95].map(|d| d.0),
            [60.5, 136.5, 167.0]
        );
        let two: Values = [333, 315, -1].into_iter().collect();
        let expected = Distribution {
            min: 315,
            max: 333,
            avg: 324,
            sum: 648,
            median: 324,
            p25: 315,
            p75: 333,
            p95: 333,
        };
        assert_eq!(two.distribution(), expected);
        let one: Values = [7].into_iter().collect();
        assert_eq!(one.summary().p999, Double(7.0));
    }

    #[test]
    fn of_nothing_there_are_no_quantiles() {
        let none = Values::default().summary();
        assert!(none.p50.0.is_nan() && none.avg == 0);
        assert_eq!(nothing().p50, Double(0.0));
        assert_eq!(Values::default().distribution(), Distribution::default());
    }

    /// Flink's own figures of these values.
    #[test]
    fn skew_is_flinks() {
        let skew = |values: &[f64]| aggregated("x", values, &[]).skew.unwrap().0;
        assert_eq!(skew(&[5.0]), 0.0);
        assert_eq!(skew(&[1.0, 3.0]), 50.0);
        assert_eq!(skew(&[0.0, 0.0, 0.0, 0.0, 10.0]), 100.0);
        assert_eq!(skew(&[1.0, 2.0, 3.0, 4.0]), 40.0);
        assert_eq!(skew(&[-1.0, 1.0]), 0.0);
    }

    #[test]
    fn only_what_is_asked_for_is_told() {
        let told = aggregated("x", &[1.0, 2.0], &[Aggregation::Sum]);
        assert_eq!((told.sum, told.max), (Some(Double(3.0)), None));
    }
}
