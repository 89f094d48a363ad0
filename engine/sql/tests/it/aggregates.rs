//! GROUP BY: plans, types, and what is refused. What is computed is compared with Flink in
//! millrace/tests/golden.

use insta::assert_snapshot;

use crate::fixtures::{error, plan};

#[test]
fn distinct_and_grouping_sets_in_explain() {
    assert_snapshot!(plan("EXPLAIN SELECT carrier, COUNT(DISTINCT delay), LISTAGG(DISTINCT origin, '; ') FILTER (WHERE delay > 1) FROM flights GROUP BY carrier"), @"");
    assert_snapshot!(plan("EXPLAIN SELECT carrier, origin, COUNT(*), GROUPING_ID(carrier, origin) FROM flights GROUP BY ROLLUP (carrier, origin)"), @"");
    assert_snapshot!(plan("EXPLAIN SELECT n, MAX(carrier) FROM (SELECT carrier, COUNT(*) AS n FROM flights GROUP BY carrier) GROUP BY n"), @"");
}

#[test]
fn variances_are_sums_and_counts() {
    assert_snapshot!(plan("EXPLAIN SELECT STDDEV_POP(delay), VAR_SAMP(delay) FROM flights"), @"");
}

const MINI_BATCH: &str = "SET 'table.exec.mini-batch.enabled' = 'true';
    SET 'table.exec.mini-batch.size' = '1000';
    SET 'table.exec.mini-batch.allow-latency' = '1 s';
    ";

#[test]
fn two_phases_where_states_can_be_added() {
    let query = "EXPLAIN SELECT carrier, COUNT(*), AVG(delay) FROM flights GROUP BY carrier;";
    assert_snapshot!(plan(&format!("{MINI_BATCH}{query}")), @"");
    let one = "SET 'table.optimizer.agg-phase-strategy' = 'ONE_PHASE';";
    assert_snapshot!(plan(&format!("{MINI_BATCH}{one}{query}")), @"");
    let distinct = "EXPLAIN SELECT carrier, COUNT(DISTINCT delay) FROM flights GROUP BY carrier;";
    assert_snapshot!(plan(&format!("{MINI_BATCH}{distinct}")), @"");
    let twice = "EXPLAIN SELECT n, SUM(n) FROM (SELECT carrier, COUNT(*) AS n FROM flights GROUP BY carrier) GROUP BY n;";
    assert_snapshot!(plan(&format!("{MINI_BATCH}{twice}")), @"");
}

#[test]
fn options_of_mini_batches_are_checked() {
    let query = "EXPLAIN SELECT carrier, COUNT(*) FROM flights GROUP BY carrier;";
    let message = error(&format!("SET 'table.exec.mini-batch.enabled' = 'true'; {query}"));
    assert!(message.contains("'table.exec.mini-batch.size'"), "{message}");
    let message = error(&format!(
        "SET 'table.optimizer.agg-phase-strategy' = 'THREE_PHASE'; {query}"
    ));
    assert!(message.contains("TWO_PHASE"), "{message}");
}

/// A query and what its refusal says.
const WRONG: &[(&str, &str)] = &[
    (
        "SELECT APPROX_COUNT_DISTINCT(delay) FROM flights",
        "batch jobs only",
    ),
    ("SELECT COUNT(carrier, delay) FROM flights", "takes one argument"),
    ("SELECT COUNT(DISTINCT *) FROM flights", "takes one argument"),
    ("SELECT SUM(carrier) FROM flights", "SUM"),
    ("SELECT STDDEV_POP(carrier) FROM flights", "takes a number"),
    ("SELECT LISTAGG(delay) FROM flights", "LISTAGG"),
    ("SELECT LISTAGG(carrier, origin) FROM flights", "not computed"),
    (
        "SELECT LISTAGG(carrier, CAST(NULL AS STRING)) FROM flights",
        "not computed",
    ),
    ("SELECT MIN(ARRAY[delay]) FROM flights", "MIN"),
    ("SELECT MIN(NULL) FROM flights", "needs a type"),
    (
        "SELECT FIRST_VALUE(DATE '2026-01-01') FROM flights",
        "FIRST_VALUE",
    ),
    ("SELECT LAST_VALUE('x') FROM flights", "LAST_VALUE"),
    (
        "SELECT FIRST_VALUE(delay) IGNORE NULLS FROM flights",
        "IGNORE NULLS",
    ),
    (
        "SELECT JSON_OBJECTAGG(KEY delay VALUE carrier) FROM flights",
        "of type STRING",
    ),
    ("SELECT JSON_ARRAYAGG(DISTINCT carrier) FROM flights", ""),
    (
        "SELECT JSON_ARRAYAGG(carrier) FILTER (WHERE delay > 1) FROM flights",
        "FILTER",
    ),
    (
        "SELECT carrier, GROUPING(delay) FROM flights GROUP BY carrier",
        "what GROUP BY names",
    ),
    ("SELECT GROUPING(carrier)", "cannot stand here"),
    (
        "SELECT carrier, GROUPING() FROM flights GROUP BY carrier",
        "needs an argument",
    ),
    (
        "SELECT delay FROM flights GROUP BY GROUPING SETS ((carrier), ())",
        "neither grouped by nor aggregated",
    ),
    ("SELECT SUM(delay) FILTER (WHERE delay) FROM flights", "BOOLEAN"),
    ("SELECT SUM0(delay) FROM flights", "SUM0"),
];

#[test]
fn what_flink_refuses() {
    let mut wrong = Vec::new();
    for (query, part) in WRONG {
        let message = error(&format!("EXPLAIN {query}"));
        if !message.contains(part) || !message.contains('^') {
            wrong.push(format!("{query}\n=> {message}\n"));
        }
    }
    assert!(wrong.is_empty(), "{} are not:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn cubes_do_not_grow_without_end() {
    let keys: Vec<String> = (0..14).map(|i| format!("delay + {i}")).collect();
    let message = error(&format!(
        "EXPLAIN SELECT COUNT(*) FROM flights GROUP BY CUBE ({})",
        keys.join(", ")
    ));
    assert!(message.contains("too many grouping sets"), "{message}");
}
