//! What a reader knows of itself, under the names that Flink's Kafka source has for it.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use millrace_connector_api::Metric;

use super::background::Commits;
use super::partition_reader::Block;
use super::split::Split;

/// What rates are taken over: Kafka's two samples of 30 seconds.
const WINDOW: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub struct Figures {
    records: u64,
    bytes: u64,
    /// Between the timestamp of the newest record and when it was taken from the client, and when its row was there;
    /// in milliseconds.
    fetch_lag: Option<i64>,
    emit_lag: Option<i64>,
    /// Records and bytes at times within the window.
    looks: VecDeque<(Instant, u64, u64)>,
}

impl Figures {
    /// The client has given a block.
    pub fn fetched(&mut self, block: &Block) {
        self.records += block.records() as u64;
        self.bytes += block.bytes() as u64;
        self.fetch_lag = since(block.last_timestamp).or(self.fetch_lag);
    }

    /// Its rows are made.
    pub fn emitted(&mut self, block: &Block) {
        self.emit_lag = since(block.last_timestamp).or(self.emit_lag);
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// `lag` is that of the partition that is most behind, in records; without `commits`, none are made.
    pub fn metrics(&mut self, splits: &[Split], lag: u64, commits: Option<&Commits>) -> Vec<Metric> {
        let (records_rate, bytes_rate) = self.rates(Instant::now());
        let client = "KafkaSourceReader.KafkaConsumer";
        let mut metrics = vec![
            Metric::gauge(format!("{client}.records-lag-max"), lag as f64),
            Metric::gauge(format!("{client}.records-consumed-total"), self.records as f64),
            Metric::gauge(format!("{client}.records-consumed-rate"), records_rate),
            Metric::gauge(format!("{client}.bytes-consumed-total"), self.bytes as f64),
            Metric::gauge(format!("{client}.bytes-consumed-rate"), bytes_rate),
            Metric::gauge(format!("{client}.assigned-partitions"), splits.len() as f64),
        ];
        for (name, lag) in [
            ("currentFetchEventTimeLag", self.fetch_lag),
            ("currentEmitEventTimeLag", self.emit_lag),
        ] {
            metrics.extend(lag.map(|lag| Metric::gauge(name, lag)));
        }
        for split in splits {
            let of_split = |name: &'static str, value: i64| {
                Metric::gauge(name, value)
                    .with("topic", split.topic.as_str())
                    .with("partition", split.partition.to_string())
            };
            metrics.push(of_split(
                "KafkaSourceReader.topic.partition.currentOffset",
                split.next - 1,
            ));
            if let Some(commits) = commits {
                let committed = commits.offset(&split.topic, split.partition).unwrap_or(-1);
                metrics.push(of_split(
                    "KafkaSourceReader.topic.partition.committedOffset",
                    committed,
                ));
            }
        }
        if let Some(commits) = commits {
            for (name, count) in [
                ("KafkaSourceReader.commitsSucceeded", &commits.succeeded),
                ("KafkaSourceReader.commitsFailed", &commits.failed),
            ] {
                metrics.push(Metric::counter(name, count.load(Ordering::Relaxed)));
            }
        }
        metrics
    }

    /// Records and bytes a second.
    fn rates(&mut self, now: Instant) -> (f64, f64) {
        self.looks.push_back((now, self.records, self.bytes));
        while self.looks.front().is_some_and(|(at, ..)| now - *at > WINDOW) {
            self.looks.pop_front();
        }
        match self.looks.front() {
            Some((at, records, bytes)) if *at < now => {
                let seconds = (now - *at).as_secs_f64();
                (
                    (self.records - records) as f64 / seconds,
                    (self.bytes - bytes) as f64 / seconds,
                )
            }
            _ => (0.0, 0.0),
        }
    }
}

/// Milliseconds since a record's timestamp, if it has one.
fn since(timestamp: i64) -> Option<i64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    (timestamp >= 0).then(|| now.as_millis() as i64 - timestamp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_of_the_last_minute() {
        let begin = Instant::now();
        let mut figures = Figures::default();
        for second in 0..=100 {
            figures.records = 10 * second;
            let now = begin + Duration::from_secs(second);
            let (records, bytes) = figures.rates(now);
            assert_eq!(
                (records, bytes),
                if second == 0 { (0.0, 0.0) } else { (10.0, 0.0) }
            );
        }
        assert_eq!(figures.looks.len(), 61);
    }
}
