//! The job that is simulated, and what goes in and has to come out: rows of some keys, and each key's running sums.

use std::sync::Arc;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use millrace_cluster::job::Discard;
use millrace_cluster::{JobSpec, Start};
use millrace_connector_api::Registry;
use millrace_connector_kafka::{KafkaConnector, options};
use millrace_core::{Configuration, JobId};
use millrace_sql::{Outcome, Session};

use crate::client::clients::ModelClients;
use crate::kafka::batch::KeyValue;
use crate::kernel::Random;

pub const INPUT: &str = "input";
pub const OUTPUT: &str = "output";
/// Of either topic.
pub const PARTITIONS: usize = 3;
/// Keys of a partition of the input: so the order of a key's rows is known.
const KEYS: u64 = 3;
/// Longer than any simulation: what is aborted because of it would be lost by right.
const TRANSACTION_TIMEOUT: &str = "900000";

/// Connectors whose brokers are the model's.
pub fn registry() -> Registry {
    let mut registry = Registry::default();
    millrace_formats::register(&mut registry);
    let clients = Arc::new(ModelClients);
    registry.add_connector(Arc::new(KafkaConnector::with_clients(
        options::KAFKA,
        registry.clone(),
        clients,
    )));
    registry
}

/// How a job is to run.
pub struct Shape<'a> {
    pub bootstrap: &'a str,
    pub parallelism: usize,
    /// It ends where the input ends when it starts.
    pub is_bounded: bool,
    pub settings: &'a [(String, String)],
}

pub fn plan(shape: &Shape<'_>) -> Result<JobSpec> {
    let mut config = Configuration::default();
    config.set("parallelism.default", shape.parallelism.to_string());
    config.set("pipeline.name", "simulated");
    config.set("table.local-time-zone", "UTC");
    for (key, value) in shape.settings {
        config.set(key.as_str(), value.as_str());
    }
    let registry = registry();
    let bounded = match shape.is_bounded {
        true => "'scan.bounded.mode' = 'latest-offset',",
        false => "",
    };
    let sql = format!(
        "CREATE TABLE rows_in (k BIGINT, n BIGINT, v BIGINT, pt AS PROCTIME()) WITH (
            'connector' = 'kafka', 'topic' = '{INPUT}', 'properties.bootstrap.servers' = '{bootstrap}',
            'scan.startup.mode' = 'earliest-offset', {bounded} 'format' = 'json');
        CREATE TABLE sums (k BIGINT, n BIGINT, total BIGINT) WITH (
            'connector' = 'kafka', 'topic' = '{OUTPUT}', 'properties.bootstrap.servers' = '{bootstrap}',
            'key.format' = 'json', 'key.fields' = 'k', 'value.format' = 'json',
            'properties.transaction.timeout.ms' = '{TRANSACTION_TIMEOUT}',
            'sink.delivery-guarantee' = 'exactly-once', 'sink.transactional-id-prefix' = 'sums');
        INSERT INTO sums SELECT k, n,
            SUM(v) OVER (PARTITION BY k ORDER BY pt ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) FROM rows_in;",
        bootstrap = shape.bootstrap,
    );
    let mut session = Session::new(config, registry.clone());
    let outcomes = session.execute(&sql).context("planning the job")?;
    for outcome in outcomes {
        if let Outcome::Job(job) = outcome {
            let name = job.name.unwrap_or_default();
            return Ok(JobSpec {
                id: JobId::from_name(&name),
                name,
                graph: job.graph,
                config: job.config,
                registry,
                start: Start::Resume,
                discard: Discard::default(),
            });
        }
    }
    bail!("the SQL has no job")
}

/// The rows of a simulation, by partition, and what becomes of them.
pub struct Rows {
    /// Of each key, the values.
    values: Vec<Vec<i64>>,
    random: Random,
}

impl Rows {
    pub fn new(random: Random) -> Rows {
        Rows {
            values: vec![Vec::new(); KEYS as usize * PARTITIONS],
            random,
        }
    }

    /// The next row, and the partition that it is of.
    pub fn next(&mut self) -> (usize, KeyValue) {
        let key = self.random.range(0..self.values.len() as u64);
        let value = self.random.range(0..1000) as i64 - 300;
        let values = &mut self.values[key as usize];
        let record = format!("{{\"k\":{key},\"n\":{},\"v\":{value}}}", values.len());
        values.push(value);
        (key as usize % PARTITIONS, (None, Some(Bytes::from(record))))
    }

    pub fn count(&self) -> usize {
        self.values.iter().map(Vec::len).sum()
    }
}

/// Compares what is shown to readers of committed records with what has to be.
pub struct Checker {
    /// By key, how many rows were seen and their sum.
    seen: Vec<(usize, i64)>,
    total: usize,
}

impl Checker {
    pub fn new() -> Checker {
        Checker {
            seen: vec![(0, 0); KEYS as usize * PARTITIONS],
            total: 0,
        }
    }

    /// How many rows have come out.
    pub fn count(&self) -> usize {
        self.total
    }

    /// A record of the output, in the order of its partition.
    pub fn take(&mut self, rows: &Rows, value: &[u8]) -> Result<()> {
        let text = String::from_utf8_lossy(value);
        let row: serde_json::Value = serde_json::from_slice(value).with_context(|| text.to_string())?;
        let number = |name: &str| row.get(name).and_then(serde_json::Value::as_i64);
        let (Some(key), Some(n), Some(total)) = (number("k"), number("n"), number("total")) else {
            bail!("this is no row of the output: {text}");
        };
        let values = rows
            .values
            .get(key as usize)
            .with_context(|| format!("nobody's key: {text}"))?;
        let (count, sum) = &mut self.seen[key as usize];
        if n as usize != *count {
            let what = if (n as usize) < *count { "repeated" } else { "lost" };
            bail!("{what}: of key {key} row {n} came where row {count} was due: {text}");
        }
        let value = values
            .get(*count)
            .with_context(|| format!("a row that was never put in: {text}"))?;
        *sum += value;
        *count += 1;
        self.total += 1;
        if total != *sum {
            bail!("wrong: the sum of key {key} at row {n} is {sum}: {text}");
        }
        Ok(())
    }
}

impl Default for Checker {
    fn default() -> Self {
        Checker::new()
    }
}
