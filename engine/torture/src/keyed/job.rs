//! The job as SQL.

use std::fmt::Write as _;

use super::input::BOUND;
use crate::job::{Job, table};

/// What the topics of the input are named behind the job's own input.
pub const INPUTS: [&str; 2] = ["-orders", "-payments"];
pub const ORDERS: usize = 0;
pub const PAYMENTS: usize = 1;

pub const OUTPUTS: [&str; 3] = ["-sums", "-sessions", "-pairs"];
pub const SUMS: usize = 0;
pub const SESSIONS: usize = 1;
pub const PAIRS: usize = 2;

pub fn sql(job: &Job) -> String {
    let mut text = format!("SET 'pipeline.name' = '{}';\n", job.name);
    text.push_str("SET 'table.local-time-zone' = 'UTC';\n\n");
    let reach: Vec<(&str, &str)> = job.kafka.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let [orders, payments] = INPUTS.map(|name| format!("{}{name}", job.input));
    let time = format!(
        "`at` BIGINT, ts AS TO_TIMESTAMP_LTZ(`at`, 3), WATERMARK FOR ts AS ts - INTERVAL '{}' SECOND",
        BOUND / 1000
    );
    for (name, topic, columns) in [
        ("orders", &orders, "account INT, region INT, amount BIGINT"),
        ("payments", &payments, "`number` INT, paid BIGINT"),
    ] {
        let mut source = vec![("connector", "kafka"), ("topic", topic.as_str())];
        source.extend(&reach);
        source.extend([
            ("properties.group.id", job.group.as_str()),
            ("scan.startup.mode", "earliest-offset"),
            ("format", "json"),
        ]);
        table(&mut text, name, &format!("id BIGINT, {columns}, {time}"), &source);
    }
    for (name, key, format, columns) in [
        (
            OUTPUTS[SUMS],
            "account",
            "debezium-json",
            "account INT, orders BIGINT, total BIGINT",
        ),
        (
            OUTPUTS[SESSIONS],
            "region",
            "json",
            "region INT, `begin` TIMESTAMP(3), `end` TIMESTAMP(3), orders BIGINT, total BIGINT",
        ),
        (
            OUTPUTS[PAIRS],
            "id",
            "json",
            "how STRING, id BIGINT, `number` INT, amount BIGINT, paid BIGINT",
        ),
    ] {
        let topic = format!("{}{name}", job.output);
        let prefix = format!("{}{name}", job.transactional_id_prefix);
        let mut sink = vec![("connector", "kafka"), ("topic", topic.as_str())];
        sink.extend(&reach);
        sink.extend([
            ("key.format", "json"),
            ("key.fields", key),
            ("value.format", format),
            ("sink.delivery-guarantee", "exactly-once"),
            ("sink.transactional-id-prefix", prefix.as_str()),
        ]);
        sink.extend(job.sink.iter().map(|(k, v)| (k.as_str(), v.as_str())));
        table(&mut text, name.trim_start_matches('-'), columns, &sink);
    }
    let _ = writeln!(
        text,
        "CREATE VIEW real_orders AS SELECT * FROM orders WHERE id >= 0;

BEGIN STATEMENT SET;

INSERT INTO sums SELECT account, COUNT(*), SUM(amount) FROM orders WHERE id >= 0 GROUP BY account;

INSERT INTO sessions
SELECT region, CAST(window_start AS TIMESTAMP(3)), CAST(window_end AS TIMESTAMP(3)), COUNT(*), SUM(amount)
FROM TABLE(SESSION(TABLE real_orders PARTITION BY region, DESCRIPTOR(ts), INTERVAL '2' SECOND))
GROUP BY region, window_start, window_end;

INSERT INTO pairs
SELECT 'interval', o.id, p.`number`, o.amount, p.paid FROM orders o JOIN payments p
  ON o.id = p.id AND p.ts BETWEEN o.ts AND o.ts + INTERVAL '30' SECOND WHERE o.id >= 0
UNION ALL
SELECT 'ever', o.id, p.`number`, o.amount, p.paid FROM
  (SELECT id, amount FROM orders WHERE id >= 0) o JOIN (SELECT id, `number`, paid FROM payments) p ON o.id = p.id;

END;"
    );
    text
}
