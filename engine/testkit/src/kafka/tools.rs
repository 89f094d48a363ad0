//! What librdkafka cannot ask: the state of transactions, from Kafka's own Java tool.

use anyhow::{Context, Result};

use super::{Kafka, run_tool};

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
            .arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=error")
            .arg("org.apache.kafka.tools.TransactionsCommand")
            .args(["--bootstrap-server", &self.bootstrap(), "list"]);
        parse(&run_tool(command, &self.brokers[0].folder)?)
    }
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
    fn anything_else_is_an_error() {
        assert!(parse("Error: no broker").is_err());
    }
}
