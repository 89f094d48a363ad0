//! Counters of a subtask, written by its thread and read by anybody.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

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

#[derive(Debug, Default)]
pub struct OperatorMetrics {
    pub name: String,
    pub records_in: Counter,
    pub records_out: Counter,
}

impl TaskMetrics {
    pub fn new(operators: impl IntoIterator<Item = String>) -> Arc<Self> {
        let operators = operators
            .into_iter()
            .map(|name| OperatorMetrics {
                name,
                ..Default::default()
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
