//! Metrics under the names that Flink gives them, as values at one moment.
//!
//! The runtime counts what it sees itself; a connector adds what only it knows (`SourceReader::metrics`,
//! `SinkWriter::metrics`). Whoever shows them (Prometheus, REST) makes its own spelling of the same name.

use std::borrow::Cow;
use std::fmt;

/// One metric of a scope: of a process, a job, a task or an operator.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// Groups below the scope, then the metric's own name, divided by dots: `KafkaSourceReader.topic.partition.currentOffset`.
    pub name: Cow<'static, str>,
    /// The values of those groups that stand for a variable, by the group's name: `topic` and `orders`.
    pub variables: Vec<(Cow<'static, str>, String)>,
    pub kind: Kind,
    pub value: Value,
}

/// Flink's kinds of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Grows only, as long as its subtask lives.
    Counter,
    /// How much something grows a second.
    Meter,
    Gauge,
    Histogram,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Long(i64),
    Double(f64),
    Bool(bool),
    Text(String),
    Histogram(Box<Statistics>),
}

/// What is known of the values that a histogram holds.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Statistics {
    /// Of all values so far, and their sum; the rest is of those that are kept.
    pub count: u64,
    pub sum: f64,
    pub min: f64,
    pub max: f64,
    pub mean: f64,
    pub stddev: f64,
    pub p50: f64,
    pub p75: f64,
    pub p90: f64,
    pub p95: f64,
    pub p98: f64,
    pub p99: f64,
    pub p999: f64,
}

impl Metric {
    pub fn new(name: impl Into<Cow<'static, str>>, kind: Kind, value: impl Into<Value>) -> Self {
        Metric {
            name: name.into(),
            variables: Vec::new(),
            kind,
            value: value.into(),
        }
    }

    pub fn counter(name: impl Into<Cow<'static, str>>, count: u64) -> Self {
        Metric::new(name, Kind::Counter, count)
    }

    pub fn gauge(name: impl Into<Cow<'static, str>>, value: impl Into<Value>) -> Self {
        Metric::new(name, Kind::Gauge, value)
    }

    pub fn meter(name: impl Into<Cow<'static, str>>, per_second: f64) -> Self {
        Metric::new(name, Kind::Meter, per_second)
    }

    /// The same, below the value of a group of its name.
    pub fn with(mut self, group: impl Into<Cow<'static, str>>, value: impl Into<String>) -> Self {
        self.variables.push((group.into(), value.into()));
        self
    }

    /// As REST names it within its scope: the value of a variable follows its group.
    pub fn id(&self) -> String {
        if self.variables.is_empty() {
            return self.name.clone().into_owned();
        }
        let mut id = String::new();
        for part in self.name.split('.') {
            if !id.is_empty() {
                id.push('.');
            }
            id.push_str(part);
            if let Some((_, value)) = self.variables.iter().find(|(group, _)| group == part) {
                id.push('.');
                id.push_str(value);
            }
        }
        id
    }

    /// As REST shows it: a histogram is a metric each for what is known of it.
    pub fn flat(self) -> Vec<Metric> {
        let Value::Histogram(known) = &self.value else {
            return vec![self];
        };
        let parts = [
            ("min", known.min),
            ("max", known.max),
            ("mean", known.mean),
            ("median", known.p50),
            ("stddev", known.stddev),
            ("p75", known.p75),
            ("p90", known.p90),
            ("p95", known.p95),
            ("p98", known.p98),
            ("p99", known.p99),
            ("p999", known.p999),
        ];
        parts
            .iter()
            .map(|(part, value)| Metric {
                name: format!("{}_{part}", self.name).into(),
                variables: self.variables.clone(),
                kind: Kind::Gauge,
                value: Value::Double(*value),
            })
            .collect()
    }
}

impl Value {
    /// As a number; 0 for what is none.
    pub fn number(&self) -> f64 {
        match self {
            Value::Long(value) => *value as f64,
            Value::Double(value) => *value,
            Value::Bool(value) => f64::from(u8::from(*value)),
            Value::Text(_) => 0.0,
            Value::Histogram(known) => known.mean,
        }
    }
}

/// As REST shows it.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Long(value) => write!(f, "{value}"),
            Value::Double(value) => write!(f, "{value:?}"),
            Value::Bool(value) => write!(f, "{value}"),
            Value::Text(value) => f.write_str(value),
            Value::Histogram(known) => write!(f, "{:?}", known.mean),
        }
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Value::Long(value)
    }
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Value::Long(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl From<usize> for Value {
    fn from(value: usize) -> Self {
        Value::from(value as u64)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Value::Double(value)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Value::Bool(value)
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Value::Text(value)
    }
}

impl Statistics {
    /// Of these values, with quantiles as Flink's histograms estimate them: between the two values beside the place
    /// `q * (n + 1)`, by how near it is to each.
    pub fn of(values: &[f64], count: u64, sum: f64) -> Self {
        if values.is_empty() {
            return Statistics {
                count,
                sum,
                ..Statistics::default()
            };
        }
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let n = sorted.len();
        let quantile = |q: f64| {
            let place = q * (n as f64 + 1.0);
            if place < 1.0 {
                return sorted[0];
            }
            if place >= n as f64 {
                return sorted[n - 1];
            }
            let below = place.floor() as usize;
            sorted[below - 1] + (place - place.floor()) * (sorted[below] - sorted[below - 1])
        };
        let mean = sorted.iter().sum::<f64>() / n as f64;
        let squares: f64 = sorted.iter().map(|v| (v - mean).powi(2)).sum();
        Statistics {
            count,
            sum,
            min: sorted[0],
            max: sorted[n - 1],
            mean,
            stddev: match n {
                1 => 0.0,
                _ => (squares / (n as f64 - 1.0)).sqrt(),
            },
            p50: quantile(0.5),
            p75: quantile(0.75),
            p90: quantile(0.9),
            p95: quantile(0.95),
            p98: quantile(0.98),
            p99: quantile(0.99),
            p999: quantile(0.999),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_follows_its_group_in_an_id() {
        let offset = Metric::gauge("KafkaSourceReader.topic.partition.currentOffset", 7_i64)
            .with("topic", "orders")
            .with("partition", "1");
        assert_eq!(
            offset.id(),
            "KafkaSourceReader.topic.orders.partition.1.currentOffset"
        );
        assert_eq!(Metric::counter("numRecordsIn", 7).id(), "numRecordsIn");
    }

    #[test]
    fn quantiles_lie_between_values() {
        let known = Statistics::of(&[4.0, 1.0, 3.0, 2.0], 9, 20.0);
        assert_eq!(
            (known.count, known.sum, known.min, known.max),
            (9, 20.0, 1.0, 4.0)
        );
        assert_eq!(
            (known.mean, known.p50, known.p75, known.p99),
            (2.5, 2.5, 3.75, 4.0)
        );
        assert!((known.stddev - 1.2909944).abs() < 1e-6);
        assert_eq!(Statistics::of(&[], 0, 0.0), Statistics::default());
    }

    #[test]
    fn a_histogram_is_several_metrics_in_rest() {
        let known = Statistics::of(&[1.0, 2.0, 3.0], 3, 6.0);
        let metric = Metric::new(
            "mailboxLatencyMs",
            Kind::Histogram,
            Value::Histogram(known.into()),
        );
        let flat = metric.flat();
        let shown = |name: &str| flat.iter().find(|m| m.name == name).map(|m| m.value.to_string());
        assert_eq!(shown("mailboxLatencyMs_median").as_deref(), Some("2.0"));
        assert_eq!(shown("mailboxLatencyMs_max").as_deref(), Some("3.0"));
        assert_eq!(flat.len(), 11);
    }
}
