//! How long what operators keep lives: `table.exec.state.ttl`, and the hint STATE_TTL, whose names and levels
//! are those that Flink 2.1 shows as `stateTtlHints`.

use std::collections::BTreeMap;

use crate::fixtures::{graph, session};

const TABLES: &str = "
CREATE TABLE A (k INT, v INT) WITH ('connector' = 'test', 'topic' = 'a', 'mode' = 'cdc');
CREATE TABLE B (k INT, v INT) WITH ('connector' = 'test', 'topic' = 'b', 'mode' = 'cdc');
CREATE TABLE C (k INT, v INT) WITH ('connector' = 'test', 'topic' = 'c', 'mode' = 'cdc');
CREATE TABLE E (k INT, v INT, p AS PROCTIME(), ts TIMESTAMP(3), WATERMARK FOR ts AS ts)
  WITH ('connector' = 'test', 'topic' = 'e');
CREATE TABLE U (k INT PRIMARY KEY NOT ENFORCED, v INT)
  WITH ('connector' = 'test', 'topic' = 'u', 'mode' = 'upsert');
CREATE TABLE keyed (k INT PRIMARY KEY NOT ENFORCED, v BIGINT)
  WITH ('connector' = 'test', 'topic' = 'k', 'mode' = 'upsert');
CREATE TABLE two (a BIGINT, b BIGINT) WITH ('connector' = 'test', 'topic' = 's', 'mode' = 'cdc');
CREATE VIEW W AS SELECT k, v FROM A;
";

const DAY: i64 = 86_400_000;
const HOUR: i64 = 3_600_000;
/// What the job says.
const JOB: i64 = 60_000;

/// The lifetimes of a query's operators with state, by their names without their numbers.
fn lifetimes(query: &str) -> BTreeMap<String, Vec<i64>> {
    lifetimes_of(&format!("INSERT INTO two {query}"))
}

fn lifetimes_of(insert: &str) -> BTreeMap<String, Vec<i64>> {
    let script = format!("SET 'table.exec.state.ttl' = '1 min';\n{TABLES}{insert};");
    let graph = graph(&mut session(), &script);
    let nodes = graph.nodes.into_iter().filter(|node| !node.state_ttl.is_empty());
    let named = nodes.map(|node| {
        let (name, number) = node.name.split_once('[').unwrap();
        (format!("{name} {}", number.trim_end_matches(']')), node.state_ttl)
    });
    named.collect()
}

/// The only operator with state.
fn only(query: &str) -> Vec<i64> {
    let all = lifetimes(query);
    assert_eq!(all.len(), 1, "{query}: {all:?}");
    all.into_values().next().unwrap()
}

fn joins(query: &str) -> Vec<Vec<i64>> {
    let all = lifetimes(query).into_iter();
    all.filter(|(name, _)| name.starts_with("Join"))
        .map(|(_, ttl)| ttl)
        .collect()
}

fn refused(query: &str) -> String {
    let script = format!("{TABLES}INSERT INTO two {query};");
    session().execute(&script).unwrap_err().to_string()
}

#[test]
fn a_job_has_one_for_all_that_keeps_state_for_ever() {
    assert_eq!(only("SELECT k, COUNT(*) FROM A GROUP BY k"), [JOB]);
    assert_eq!(only("SELECT DISTINCT k, v FROM A"), [JOB]);
    assert_eq!(only("SELECT k, v FROM U"), [JOB]);
    assert_eq!(only("SELECT A.v, B.v FROM A JOIN B ON A.k = B.k"), [JOB, JOB]);
    assert_eq!(
        only("SELECT k, v FROM A WHERE k IN (SELECT k FROM B)"),
        [JOB, JOB]
    );
    assert_eq!(
        only("SELECT k, SUM(v) OVER (PARTITION BY k ORDER BY p) FROM E"),
        [JOB]
    );
    let ranked =
        "SELECT k, v FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY v) AS n FROM E) WHERE n < 3";
    assert_eq!(only(ranked), [JOB]);
    let held = lifetimes_of("INSERT INTO keyed SELECT k, v FROM A");
    assert_eq!(held.into_values().collect::<Vec<_>>(), [[JOB]]);
    // What time ends, and what keeps nothing.
    for query in [
        "SELECT k, COUNT(*) FROM TABLE(TUMBLE(TABLE E, DESCRIPTOR(ts), INTERVAL '1' HOUR)) GROUP BY k, window_start, window_end",
        "SELECT a.v, b.v FROM E AS a JOIN E AS b ON a.k = b.k AND a.ts BETWEEN b.ts AND b.ts + INTERVAL '1' HOUR",
        "SELECT k, v FROM A WHERE v > 1",
    ] {
        assert_eq!(lifetimes(query), BTreeMap::new(), "{query}");
    }
}

#[test]
fn a_hint_gives_each_side_of_a_join_its_own() {
    let of = |hint: &str, from: &str| joins(&format!("SELECT /*+ STATE_TTL({hint}) */ 1, 2 FROM {from}"));
    let on = "A JOIN B ON A.k = B.k";
    assert_eq!(of("'A' = '1d', 'B' = '2 h'", on), [[DAY, 2 * HOUR]]);
    assert_eq!(of("'A' = '1d'", on), [[DAY, JOB]]);
    assert_eq!(of("'B' = '0 s'", on), [[JOB, 0]]);
    assert_eq!(of("'A' = '1d'", "A, B WHERE A.k = B.k"), [[DAY, JOB]]);
    assert_eq!(of("'A' = '1d'", "A JOIN B USING (k)"), [[DAY, JOB]]);
    assert_eq!(
        of("'x' = '1d', 'y' = '2h'", "A x LEFT JOIN B AS y ON x.k = y.k"),
        [[DAY, 2 * HOUR]]
    );
    assert_eq!(of("'W' = '1d'", "W JOIN B ON W.k = B.k"), [[DAY, JOB]]);
    assert_eq!(of("'A' = '1d', 'A' = '2d'", on), [[2 * DAY, JOB]]);
    assert_eq!(of("'A' = '1d'), STATE_TTL('A' = '2d'", on), [[DAY, JOB]]);
    // Of several joins each has the tables that it reads itself.
    let three = "A JOIN B ON A.k = B.k JOIN C ON B.k = C.k";
    let mut all = of("'A' = '1d', 'B' = '2h', 'C' = '3h'", three);
    all.sort();
    assert_eq!(all, [[JOB, 3 * HOUR], [DAY, 2 * HOUR]]);
    // It is for its own SELECT, and not for what WHERE asks.
    assert_eq!(of("'A' = '1d'", "A WHERE k IN (SELECT k FROM B)"), [[JOB, JOB]]);
    let inner = "(SELECT A.k FROM A JOIN B ON A.k = B.k) s JOIN C ON s.k = C.k";
    let mut all = of("'s' = '1d'", inner);
    all.sort();
    assert_eq!(all, [[JOB, JOB], [DAY, JOB]]);
}

#[test]
fn a_hint_gives_an_aggregation_its_own() {
    let of = |query: &str| only(&format!("SELECT /*+ STATE_TTL('s' = '1d') */ {query}"));
    assert_eq!(of("k, COUNT(*) FROM A AS s GROUP BY k"), [DAY]);
    assert_eq!(
        of("k, COUNT(*) FROM (SELECT * FROM A WHERE v > 1) AS s GROUP BY k"),
        [DAY]
    );
    assert_eq!(of("DISTINCT k, v FROM A AS s"), [DAY]);
    assert_eq!(of("COUNT(*), SUM(v) FROM A s"), [DAY]);
    let joined = "SELECT /*+ STATE_TTL('A' = '1d') */ A.k, COUNT(*) FROM A JOIN B ON A.k = B.k GROUP BY A.k";
    let mut all: Vec<Vec<i64>> = lifetimes(joined).into_values().collect();
    all.sort();
    assert_eq!(all, [vec![JOB], vec![DAY, JOB]]);
    // Another SELECT's is none of this one's.
    let outer =
        "SELECT /*+ STATE_TTL('s' = '1d') */ k, c FROM (SELECT k, COUNT(*) AS c FROM A GROUP BY k) AS s";
    assert_eq!(only(outer), [JOB]);
}

#[test]
fn a_hint_that_says_nothing_is_refused() {
    for (query, said) in [
        (
            "SELECT /*+ STATE_TTL('A' = '1d') */ x.v, y.v FROM A x JOIN B AS y ON x.k = y.k",
            "names 'A', which FROM has not",
        ),
        ("SELECT /*+ STATE_TTL('X' = '1d') */ k, v FROM A x", "names 'X'"),
        (
            "SELECT /*+ STATE_TTL('A' = 'soon') */ k, v FROM A",
            "'soon' is no time to live",
        ),
        (
            "SELECT /*+ STATE_TTL(A) */ k, v FROM A",
            "a hint is not well-formed",
        ),
        (
            "SELECT k, v FROM A /*+ STATE_TTL('A' = '1d') */",
            "stands behind SELECT only",
        ),
    ] {
        let error = refused(query);
        assert!(error.contains(said), "{query}: {error}");
    }
}
