//! GROUP BY: plans, types, and what is refused. What is computed is compared with Flink in
//! millrace/tests/golden.

use insta::assert_snapshot;

use crate::fixtures::{error, plan};

#[test]
fn distinct_and_grouping_sets_in_explain() {
    assert_snapshot!(plan("EXPLAIN SELECT carrier, COUNT(DISTINCT delay), LISTAGG(DISTINCT origin, '; ') FILTER (WHERE delay > 1) FROM flights GROUP BY carrier"), @r#"
== Optimized Execution Plan ==
GroupAggregate(groupBy=[carrier], select=[carrier, COUNT(DISTINCT delay) AS EXPR$0, LISTAGG(DISTINCT origin, '; ') FILTER $f3 AS EXPR$1])
+- Exchange(distribution=[hash[carrier]])
   +- Calc(select=[carrier, delay, origin, (delay > 1) AS $f3])
      +- TableSourceScan(table=[[default_catalog, default_database, flights, project=[carrier, origin, delay], metadata=[]]], fields=[carrier, origin, delay])
"#);
    assert_snapshot!(plan("EXPLAIN SELECT carrier, origin, COUNT(*), GROUPING_ID(carrier, origin) FROM flights GROUP BY ROLLUP (carrier, origin)"), @r#"
== Optimized Execution Plan ==
Calc(select=[carrier, origin, EXPR$0 AS EXPR$2, CASE(($e = 0:BIGINT), 0:BIGINT, ($e = 1:BIGINT), 1:BIGINT, 3:BIGINT) AS EXPR$3])
+- GroupAggregate(groupBy=[carrier, origin, $e], select=[carrier, origin, $e, COUNT(*) AS EXPR$0])
   +- Exchange(distribution=[hash[carrier, origin, $e]])
      +- Expand(projects=[{carrier, origin, 0 AS $e}, {carrier, null AS origin, 1 AS $e}, {null AS carrier, null AS origin, 3 AS $e}])
         +- TableSourceScan(table=[[default_catalog, default_database, flights, project=[carrier, origin], metadata=[]]], fields=[carrier, origin])
"#);
    assert_snapshot!(plan("EXPLAIN SELECT n, MAX(carrier) FROM (SELECT carrier, COUNT(*) AS n FROM flights GROUP BY carrier) GROUP BY n"), @r#"
== Optimized Execution Plan ==
GroupAggregate(groupBy=[n], select=[n, MAX_RETRACT(carrier) AS EXPR$0])
+- Exchange(distribution=[hash[n]])
   +- Calc(select=[EXPR$0 AS n, carrier])
      +- GroupAggregate(groupBy=[carrier], select=[carrier, COUNT(*) AS EXPR$0])
         +- Exchange(distribution=[hash[carrier]])
            +- TableSourceScan(table=[[default_catalog, default_database, flights, project=[carrier], metadata=[]]], fields=[carrier])
"#);
}

#[test]
fn variances_are_sums_and_counts() {
    assert_snapshot!(plan("EXPLAIN SELECT STDDEV_POP(delay), VAR_SAMP(delay) FROM flights"), @r#"
== Optimized Execution Plan ==
Calc(select=[CAST(POWER(CAST(((CAST(EXPR$0 AS BIGINT) - (CAST((EXPR$1 * EXPR$1) AS BIGINT) / EXPR$2)) / EXPR$2) AS DOUBLE), CAST(0.5 AS DOUBLE)) AS INT) AS EXPR$0, CAST(((CAST(EXPR$0 AS BIGINT) - (CAST((EXPR$1 * EXPR$1) AS BIGINT) / EXPR$2)) / CASE((EXPR$2 = CAST(1 AS BIGINT)), null:BIGINT, (EXPR$2 - CAST(1 AS BIGINT)))) AS INT) AS EXPR$1])
+- GroupAggregate(select=[SUM($f0) AS EXPR$0, SUM(delay) AS EXPR$1, COUNT(delay) AS EXPR$2])
   +- Exchange(distribution=[single])
      +- Calc(select=[(delay * delay) AS $f0, delay])
         +- TableSourceScan(table=[[default_catalog, default_database, flights, project=[delay], metadata=[]]], fields=[delay])
"#);
}

const MINI_BATCH: &str = "SET 'table.exec.mini-batch.enabled' = 'true';
    SET 'table.exec.mini-batch.size' = '1000';
    SET 'table.exec.mini-batch.allow-latency' = '1 s';
    ";

#[test]
fn two_phases_where_states_can_be_added() {
    let query = "EXPLAIN SELECT carrier, COUNT(*), AVG(delay) FROM flights GROUP BY carrier;";
    assert_snapshot!(plan(&format!("{MINI_BATCH}{query}")), @r#"
== Optimized Execution Plan ==
GlobalGroupAggregate(groupBy=[carrier], select=[carrier, COUNT(count1$0) AS EXPR$0, AVG((sum$1, count$2)) AS EXPR$1])
+- Exchange(distribution=[hash[carrier]])
   +- LocalGroupAggregate(groupBy=[carrier], select=[carrier, COUNT(*) AS count1$0, AVG(delay) AS (sum$1, count$2)])
      +- TableSourceScan(table=[[default_catalog, default_database, flights, project=[carrier, delay], metadata=[]]], fields=[carrier, delay])
"#);
    let one = "SET 'table.optimizer.agg-phase-strategy' = 'ONE_PHASE';";
    assert_snapshot!(plan(&format!("{MINI_BATCH}{one}{query}")), @r#"
== Optimized Execution Plan ==
GroupAggregate(groupBy=[carrier], select=[carrier, COUNT(*) AS EXPR$0, AVG(delay) AS EXPR$1])
+- Exchange(distribution=[hash[carrier]])
   +- TableSourceScan(table=[[default_catalog, default_database, flights, project=[carrier, delay], metadata=[]]], fields=[carrier, delay])
"#);
    let distinct = "EXPLAIN SELECT carrier, COUNT(DISTINCT delay) FROM flights GROUP BY carrier;";
    assert_snapshot!(plan(&format!("{MINI_BATCH}{distinct}")), @r#"
== Optimized Execution Plan ==
GroupAggregate(groupBy=[carrier], select=[carrier, COUNT(DISTINCT delay) AS EXPR$0])
+- Exchange(distribution=[hash[carrier]])
   +- TableSourceScan(table=[[default_catalog, default_database, flights, project=[carrier, delay], metadata=[]]], fields=[carrier, delay])
"#);
    let twice = "EXPLAIN SELECT n, SUM(n) FROM (SELECT carrier, COUNT(*) AS n FROM flights GROUP BY carrier) GROUP BY n;";
    assert_snapshot!(plan(&format!("{MINI_BATCH}{twice}")), @r#"
== Optimized Execution Plan ==
GlobalGroupAggregate(groupBy=[n], select=[n, SUM_RETRACT((sum$1, count$2)) AS EXPR$0])
+- Exchange(distribution=[hash[n]])
   +- LocalGroupAggregate(groupBy=[n], select=[n, COUNT_RETRACT(*) AS count1$0, SUM_RETRACT(n) AS (sum$1, count$2)])
      +- Calc(select=[EXPR$0 AS n])
         +- GlobalGroupAggregate(groupBy=[carrier], select=[carrier, COUNT(count1$0) AS EXPR$0])
            +- Exchange(distribution=[hash[carrier]])
               +- LocalGroupAggregate(groupBy=[carrier], select=[carrier, COUNT(*) AS count1$0])
                  +- TableSourceScan(table=[[default_catalog, default_database, flights, project=[carrier], metadata=[]]], fields=[carrier])
"#);
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
        "APPROX_COUNT_DISTINCT over a stream is not supported, as in Flink",
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
    ("SELECT GROUPING(carrier) FROM flights", "what GROUP BY names"),
    (
        "SELECT delay FROM flights WHERE GROUPING(carrier) = 0",
        "cannot stand here",
    ),
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

/// The calls of the outer of two aggregations.
fn outer(select: &str, inner: &str) -> String {
    let plan = plan(&format!(
        "EXPLAIN SELECT carrier, {select} FROM ({inner}) GROUP BY carrier"
    ));
    let line = plan.lines().find(|line| line.contains("GroupAggregate"));
    let (_, select) = line.unwrap().split_once("select=[carrier, ").unwrap();
    select.split_once("])").unwrap().0.to_owned()
}

#[test]
fn what_only_gets_better_is_not_kept() {
    let inner = "SELECT carrier, origin, COUNT(*) AS n, MIN(delay) AS m, SUM(delay) AS s FROM flights GROUP BY carrier, origin";
    assert_eq!(
        outer("MAX(n), MIN(n), MIN(m), MAX(s)", inner),
        "MAX(n) AS EXPR$0, MIN_RETRACT(n) AS EXPR$1, MIN(m) AS EXPR$2, MAX_RETRACT(s) AS EXPR$3"
    );
    // The MAX of what grows falls when its row counts no more.
    assert_eq!(
        outer("MAX(n) FILTER (WHERE s > 3)", inner),
        "MAX_RETRACT(n) FILTER $f2 AS EXPR$0"
    );
    assert_eq!(
        outer("MAX(n)", &format!("{inner} HAVING COUNT(*) > 2")),
        "MAX(n) AS EXPR$0"
    );
    assert_eq!(
        outer("MAX(n)", &format!("{inner} HAVING SUM(delay) > 2")),
        "MAX_RETRACT(n) AS EXPR$0"
    );
    assert_eq!(
        outer("MAX(n) FILTER (WHERE origin = 'x')", inner),
        "MAX(n) FILTER $f2 AS EXPR$0"
    );
    // Rows that go over to another group go without being replaced.
    let moving = "SELECT MAX(carrier) AS carrier, origin, COUNT(*) AS n FROM flights GROUP BY origin";
    assert_eq!(outer("MAX(n)", moving), "MAX_RETRACT(n) AS EXPR$0");
}
