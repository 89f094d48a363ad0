//! What librdkafka cannot ask, and what shall not be asked through it: Kafka's own Java tools.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::{Kafka, run_tool};
use crate::process::Process;
use crate::records::{self, Isolation, Record};
use crate::wait;

const PATIENCE: Duration = Duration::from_secs(120);

/// One transactional id as its coordinator knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transaction {
    pub transactional_id: String,
    pub coordinator: i32,
    pub producer_id: i64,
    /// Kafka's names: Empty, Ongoing, PrepareCommit, CompleteCommit, CompleteAbort, ...
    pub state: String,
}

impl Transaction {
    /// Whether records may still be undecided.
    pub fn is_open(&self) -> bool {
        matches!(
            self.state.as_str(),
            "Ongoing" | "PrepareCommit" | "PrepareAbort" | "PrepareEpochFence"
        )
    }
}

impl Kafka {
    /// Every transactional id that the cluster's coordinators know. Takes a JVM's start.
    pub fn transactions(&self) -> Result<Vec<Transaction>> {
        let mut command = self.java(128)?;
        command
            .args(self.logging("tools-")?)
            .arg("org.apache.kafka.tools.TransactionsCommand")
            .args(["--bootstrap-server", &self.bootstrap(), "list"]);
        parse(&run_tool(command, &self.brokers[0].folder)?)
    }

    /// All committed records of a topic as Kafka's console consumer reads them, in Java; each
    /// partition in offset order, without timestamps and headers. Keys and values must be lines of
    /// text. Takes a JVM's start.
    pub fn read_by_console(&self, topic: &str) -> Result<Vec<Record>> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let group = format!("console-{}-{number}", std::process::id());
        let folder = &self.brokers[0].folder;
        let log = folder.join(format!("{group}.log"));
        let mut command = self.java(128)?;
        command
            .args(self.logging("tools-")?)
            .arg("org.apache.kafka.tools.consumer.ConsoleConsumer")
            .args(["--bootstrap-server", &self.bootstrap(), "--topic", topic])
            .args(["--isolation-level", "read_committed", "--group", &group]);
        for property in ["auto.offset.reset=earliest", "auto.commit.interval.ms=100"] {
            command.args(["--consumer-property", property]);
        }
        for part in ["partition", "offset", "key", "value"] {
            command.args(["--property", &format!("print.{part}=true")]);
        }
        let mut consumer = Process::start(command, &log)?;
        // It would run for ever: it is done when its position is the end of every partition.
        let client = self.client();
        wait::until(&format!("the console consumer of {topic}"), PATIENCE, || {
            if let Some(status) = consumer.ended()? {
                return Ok(Some(Err(status)));
            }
            let ends = records::end_offsets(&client, topic, Isolation::ReadCommitted)?;
            let read = records::committed_offsets(&client, &group, topic)?;
            Ok((read == ends).then_some(Ok(())))
        })
        .and_then(|ended| match ended {
            Ok(()) => Ok(()),
            Err(status) => bail!("it ended ({status})"),
        })
        .with_context(|| consumer.log_tail())?;
        consumer.stop(PATIENCE)?;
        let records = parse_records(&std::fs::read_to_string(&log)?)?;
        std::fs::remove_file(&log)?;
        Ok(records)
    }
}

/// Lines `Partition:<n>\tOffset:<n>\t<key>\t<value>`, and how many they are.
fn parse_records(text: &str) -> Result<Vec<Record>> {
    let mut records = Vec::new();
    let mut told = None;
    for line in text.lines() {
        if let Some(total) = line.strip_prefix("Processed a total of ") {
            told = total.split(' ').next().and_then(|n| n.parse().ok());
        }
        let Some(rest) = line.strip_prefix("Partition:") else {
            continue;
        };
        let parts: Vec<&str> = rest.splitn(4, '\t').collect();
        let [partition, offset, key, value] = parts[..] else {
            bail!("a line of the console consumer has not four parts: {line}");
        };
        let bytes = |text: &str| (text != "null").then(|| text.as_bytes().to_vec());
        records.push(Record {
            partition: partition.parse().with_context(|| line.to_owned())?,
            offset: offset
                .strip_prefix("Offset:")
                .and_then(|n| n.parse().ok())
                .with_context(|| line.to_owned())?,
            timestamp: None,
            key: bytes(key),
            value: bytes(value),
            headers: Vec::new(),
        });
    }
    ensure!(
        told == Some(records.len()),
        "the console consumer has read {told:?} records and printed {}",
        records.len()
    );
    Ok(records)
}

fn parse(text: &str) -> Result<Vec<Transaction>> {
    let mut rows = text
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.by_ref()
        .find(|row| row.first() == Some(&"TransactionalId"))
        .with_context(|| format!("no table of transactions in:\n{text}"))?;
    let mut transactions = Vec::new();
    for row in rows {
        let [id, coordinator, producer, state] = row[..] else {
            continue;
        };
        transactions.push(Transaction {
            transactional_id: id.to_owned(),
            coordinator: coordinator
                .parse()
                .with_context(|| format!("coordinator of {id}"))?,
            producer_id: producer.parse().with_context(|| format!("producer id of {id}"))?,
            state: state.to_owned(),
        });
    }
    Ok(transactions)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tools_table_is_read() {
        let text = "TransactionalId\tCoordinator\tProducerId\tTransactionState\na-0 \t1 \t17 \tOngoing\nb-1\t2\t18\tCompleteCommit\n";
        let rows = parse(text).unwrap();
        assert_eq!(rows.len(), 2);
        assert!(rows[0].is_open() && rows[0].producer_id == 17);
        assert!(!rows[1].is_open() && rows[1].coordinator == 2);
    }

    #[test]
    fn the_console_consumers_lines_are_records() {
        let text = "Partition:3\tOffset:17\t{\"k\":1}\t{\"a\":\"b\tc\"}\nPartition:0\tOffset:2\tnull\tv\nProcessed a total of 2 messages\n";
        let records = parse_records(text).unwrap();
        assert_eq!((records[0].partition, records[0].offset), (3, 17));
        assert_eq!(records[0].key_text(), "{\"k\":1}");
        assert_eq!(records[0].text(), "{\"a\":\"b\tc\"}");
        assert_eq!(records[1].key, None);
        assert!(
            parse_records("Partition:0\tOffset:2\tk\tv\n").is_err(),
            "no total"
        );
    }

    #[test]
    fn anything_else_is_an_error() {
        assert!(parse("Error: no broker").is_err());
    }
}
