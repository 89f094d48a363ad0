//! What a sink's subtask knows of itself, under the names that Flink's Kafka sink has for it. Its producers count together.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use millrace_connector_api::Metric;

#[derive(Debug)]
pub struct Figures {
    /// How long the newest record that is known to be acknowledged took, in milliseconds; -1 before the first.
    send_millis: AtomicI64,
    /// Records that were not delivered. Each fails the subtask.
    failed: AtomicU64,
}

impl Default for Figures {
    fn default() -> Self {
        Figures {
            send_millis: AtomicI64::new(-1),
            failed: AtomicU64::new(0),
        }
    }
}

/// Transactions that checkpoints have held, as Flink's committer counts them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Committables {
    pub total: u64,
    pub committed: u64,
    pub pending: usize,
}

impl Figures {
    /// A record was acknowledged so long after it was handed over.
    pub fn sent(&self, within: Duration) {
        self.send_millis
            .store(within.as_millis() as i64, Ordering::Relaxed);
    }

    pub fn failed(&self, records: u64) {
        self.failed.fetch_add(records, Ordering::Relaxed);
    }

    pub fn metrics(&self, committables: Option<Committables>) -> Vec<Metric> {
        let failed = self.failed.load(Ordering::Relaxed);
        let mut metrics = vec![
            Metric::counter("numRecordsOutErrors", failed),
            Metric::counter("numRecordsSendErrors", failed),
        ];
        let send = self.send_millis.load(Ordering::Relaxed);
        if send >= 0 {
            metrics.push(Metric::gauge("currentSendTime", send));
        }
        if let Some(known) = committables {
            metrics.push(Metric::counter("totalCommittables", known.total));
            metrics.push(Metric::counter("successfulCommittables", known.committed));
            metrics.push(Metric::gauge("pendingCommittables", known.pending));
        }
        metrics
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_send_time_is_shown_once_there_is_one() {
        let figures = Figures::default();
        let shown = |figures: &Figures| figures.metrics(None).iter().any(|m| m.name == "currentSendTime");
        assert!(!shown(&figures));
        figures.sent(Duration::from_micros(300));
        assert!(shown(&figures));
    }
}
