//! Counters of a subtask, written by its thread and read by anybody.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

#[derive(Debug, Default)]
pub struct TaskMetrics {
    /// Rows that sources of the subtask gave.
    pub source_records: Counter,
    /// Rows that sinks of the subtask took.
    pub sink_records: Counter,
    /// Records that did not parse and were skipped by option.
    pub skipped_records: Counter,
    /// Rows left out because a NOT NULL column of the sink was null.
    pub dropped_records: Counter,
    /// Rows that came after what they belong to was given out.
    pub late_records: Counter,
    /// Records that wait outside; -1 where the source cannot tell.
    pub pending_records: Gauge,
    /// Milliseconds since 1970; `i64::MIN` before the first.
    pub watermark: Gauge,
    pub busy_nanos: Counter,
    pub idle_nanos: Counter,
    pub back_pressured_nanos: Counter,
    /// One a chained operator, in the chain's order.
    pub operators: Vec<OperatorMetrics>,
}

/// What an operator has counted; `named` gives it under Flink's names.
#[derive(Debug, Default)]
pub struct OperatorMetrics {
    pub name: String,
    pub records_in: Counter,
    pub records_out: Counter,
    /// Rows that came after what they belong to was given out.
    pub late_records: Counter,
    late_rate: Rate,
    /// Milliseconds since 1970; `i64::MIN` before the first.
    pub input_watermark: Gauge,
    pub output_watermark: Gauge,
}

impl OperatorMetrics {
    /// The operator's metrics by the names that Flink gives them.
    pub fn named(&self) -> [(&'static str, f64); 6] {
        [
            ("numRecordsIn", self.records_in.get() as f64),
            ("numRecordsOut", self.records_out.get() as f64),
            ("numLateRecordsDropped", self.late_records.get() as f64),
            ("lateRecordsDroppedRate", self.late_rate.per_second()),
            ("currentInputWatermark", self.input_watermark.get() as f64),
            ("currentOutputWatermark", self.output_watermark.get() as f64),
        ]
    }
}

/// How much a counter has grown a second, over the last minute, as Flink's `MeterView` has it.
#[derive(Debug, Default)]
struct Rate(Mutex<VecDeque<(i64, u64)>>);

/// Milliseconds between two looks at a counter, and over how many it is taken.
const LOOK: i64 = 5_000;
const LOOKS: usize = 12;

impl Rate {
    fn sample(&self, now_millis: i64, count: u64) {
        let mut looks = self.0.lock().unwrap_or_else(|e| e.into_inner());
        if looks.back().is_some_and(|(last, _)| now_millis - last < LOOK) {
            return;
        }
        looks.push_back((now_millis, count));
        if looks.len() > LOOKS + 1 {
            looks.pop_front();
        }
    }

    fn per_second(&self) -> f64 {
        let looks = self.0.lock().unwrap_or_else(|e| e.into_inner());
        match (looks.front(), looks.back()) {
            (Some((_, first)), Some((_, last))) => {
                (last - first) as f64 * 1000.0 / (LOOK * LOOKS as i64) as f64
            }
            _ => 0.0,
        }
    }
}

impl TaskMetrics {
    pub fn new(operators: impl IntoIterator<Item = String>) -> Arc<Self> {
        let operators = operators
            .into_iter()
            .map(|name| {
                let metrics = OperatorMetrics {
                    name,
                    ..Default::default()
                };
                metrics.input_watermark.set(i64::MIN);
                metrics.output_watermark.set(i64::MIN);
                metrics
            })
            .collect();
        let metrics = TaskMetrics {
            operators,
            ..Default::default()
        };
        metrics.pending_records.set(-1);
        metrics.watermark.set(i64::MIN);
        Arc::new(metrics)
    }

    /// All that is counted, in one order: for the same subtask's metrics in another process.
    pub fn values(&self) -> Vec<i64> {
        let mut values: Vec<i64> = self
            .counters()
            .iter()
            .map(|counter| counter.get() as i64)
            .collect();
        values.extend(self.gauges().iter().map(|gauge| gauge.get()));
        values
    }

    /// What `values` of the same subtask has given; of another release's what is known.
    pub fn set_values(&self, values: &[i64]) {
        let counters = self.counters();
        for (counter, value) in counters.iter().zip(values) {
            counter.set(*value as u64);
        }
        for (gauge, value) in self.gauges().iter().zip(values.iter().skip(counters.len())) {
            gauge.set(*value);
        }
    }

    fn counters(&self) -> Vec<&Counter> {
        let mut counters = vec![
            &self.source_records,
            &self.sink_records,
            &self.skipped_records,
            &self.dropped_records,
            &self.late_records,
            &self.busy_nanos,
            &self.idle_nanos,
            &self.back_pressured_nanos,
        ];
        for operator in &self.operators {
            counters.extend([
                &operator.records_in,
                &operator.records_out,
                &operator.late_records,
            ]);
        }
        counters
    }

    fn gauges(&self) -> Vec<&Gauge> {
        let mut gauges = vec![&self.pending_records, &self.watermark];
        for operator in &self.operators {
            gauges.extend([&operator.input_watermark, &operator.output_watermark]);
        }
        gauges
    }

    /// Takes the time for what is counted by time.
    pub fn sample(&self, now_millis: i64) {
        for operator in &self.operators {
            operator.late_rate.sample(now_millis, operator.late_records.get());
        }
    }
}

#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub fn set(&self, n: u64) {
        self.0.store(n, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    pub fn set(&self, value: i64) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_that_of_the_last_minute() {
        let rate = Rate::default();
        for look in 0..30 {
            // 10 a second, then none for 30 seconds.
            rate.sample(look * LOOK, 50 * look.min(24) as u64);
        }
        assert_eq!(rate.per_second(), 7.0 * 50.0 / 60.0);
        // A look that comes too soon is none.
        rate.sample(29 * LOOK + 1, 1_000_000);
        assert_eq!(rate.per_second(), 7.0 * 50.0 / 60.0);
    }

    #[test]
    fn values_go_to_another_process() {
        let [here, there] = [(), ()].map(|()| TaskMetrics::new(["a".to_owned(), "b".to_owned()]));
        here.busy_nanos.add(7);
        here.pending_records.set(-1);
        here.operators[1].records_out.add(3);
        here.operators[1].output_watermark.set(-5);
        there.set_values(&here.values());
        assert_eq!(there.values(), here.values());
        assert_eq!(there.operators[1].output_watermark.get(), -5);
        assert_eq!(there.busy_nanos.get(), 7);
    }

    #[test]
    fn operators_have_flinks_names() {
        let metrics = TaskMetrics::new(["window".to_owned()]);
        metrics.operators[0].late_records.add(3);
        metrics.operators[0].input_watermark.set(17);
        let named = metrics.operators[0].named();
        let value = |name: &str| named.iter().find(|(n, _)| *n == name).map(|(_, v)| *v);
        assert_eq!(value("numLateRecordsDropped"), Some(3.0));
        assert_eq!(value("currentInputWatermark"), Some(17.0));
        assert_eq!(value("currentOutputWatermark"), Some(i64::MIN as f64));
    }
}
