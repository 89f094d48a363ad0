//! Functions before OVER: what is refused and what to write instead, and how their plans look.

use insta::assert_snapshot;

use crate::fixtures::{error, text, with_tables};

const TABLE: &str = "CREATE TABLE E (id BIGINT NOT NULL, k STRING, c VARCHAR(3), v INT, d DOUBLE, ts TIMESTAMP(3), p AS PROCTIME(),
    WATERMARK FOR ts AS ts) WITH ('connector' = 'test', 'topic' = 'e');";
const BY_TIME: &str = "OVER (PARTITION BY k ORDER BY ts)";

#[test]
fn what_is_refused_says_what_to_write() {
    for (call, said, hint) in [
        (
            "LAG(v, 1, 9999999999)",
            "the default of LAG has the type of its value, INT",
            "CAST(... AS INT)",
        ),
        (
            "LAG(id, 1, 0)",
            "the type of its value, BIGINT",
            "CAST(... AS BIGINT)",
        ),
        (
            "LAG(d, 1, 0)",
            "the type of its value, DOUBLE",
            "CAST(... AS DOUBLE)",
        ),
        (
            "LAG(v, 1, 'none')",
            "the type of its value, INT",
            "CAST(... AS INT)",
        ),
        (
            "LAG(c, 1, 'none')",
            "the type of its value, VARCHAR(3)",
            "CAST(... AS VARCHAR(3))",
        ),
        ("LAG(v, 1, NULL)", "NULL is no default of LAG", "leave it out"),
        ("LAG(v, v)", "LAG by an expression", ""),
        (
            "LAG(v, 1, 0, 0)",
            "LAG takes a value, how many rows back, and a default",
            "",
        ),
        ("LAG(DISTINCT v)", "LAG takes no DISTINCT", "leave the word out"),
        (
            "LAG(v) IGNORE NULLS",
            "IGNORE NULLS and RESPECT NULLS in LAG",
            "leave rows with NULL out",
        ),
        (
            "FIRST_VALUE(v) IGNORE NULLS",
            "FIRST_VALUE takes no IGNORE NULLS",
            "",
        ),
        ("RANK(v)", "RANK takes no argument", ""),
        ("COUNT(DISTINCT v, d)", "COUNT takes one argument", ""),
        (
            "JSON_ARRAYAGG(v)",
            "there is no JSON_ARRAYAGG before OVER in Flink SQL",
            "ARRAY_AGG",
        ),
        ("STDDEV_POP(k)", "STDDEV_POP takes a number", "STRING"),
        (
            "SUM(v) FILTER (WHERE v > 1)",
            "Flink SQL has no FILTER before OVER",
            "CASE WHEN",
        ),
        (
            "PERCENT_RANK()",
            "PERCENT_RANK over a stream is not supported",
            "ROW_NUMBER",
        ),
        ("LEAD(v)", "LEAD over a stream is not supported", "LAG"),
    ] {
        let error = error(&format!("{TABLE} EXPLAIN SELECT {call} {BY_TIME} FROM E"));
        assert!(error.contains(said), "{call}: {error}");
        assert!(error.contains(hint), "{call}: {error}");
    }
}

#[test]
fn ranks_go_by_time_and_have_no_frame() {
    for (over, said, hint) in [
        (
            "RANK() OVER (PARTITION BY k ORDER BY v)",
            "RANK and DENSE_RANK by what is no time attribute",
            "ROW_NUMBER with a condition on it",
        ),
        ("DENSE_RANK() OVER (PARTITION BY k)", "need ORDER BY", ""),
        (
            "RANK() OVER (PARTITION BY k ORDER BY ts ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)",
            "RANK takes no ROWS or RANGE",
            "",
        ),
        (
            "DENSE_RANK() OVER (ORDER BY ts DESC)",
            "in ascending mode only",
            "leave DESC out",
        ),
    ] {
        let error = error(&format!("{TABLE} EXPLAIN SELECT {over} FROM E"));
        assert!(error.contains(said), "{over}: {error}");
        assert!(error.contains(hint), "{over}: {error}");
    }
}

#[test]
fn windows_go_back() {
    let of = |frame: &str| {
        format!("{TABLE} EXPLAIN SELECT SUM(v) OVER (PARTITION BY k ORDER BY ts {frame}) FROM E")
    };
    for bound in ["INTERVAL '-5' SECOND", "INTERVAL -'5' SECOND"] {
        let error = error(&of(&format!("RANGE BETWEEN {bound} PRECEDING AND CURRENT ROW")));
        assert!(
            error.contains("RANGE takes how far back a window goes"),
            "{error}"
        );
        assert!(error.contains("without the minus sign"), "{error}");
    }
    error(&of("ROWS BETWEEN -5 PRECEDING AND CURRENT ROW"));
}

#[test]
fn distinct_by_the_clock_has_no_time_to_live() {
    let query =
        "INSERT INTO late SELECT k, CAST(COUNT(DISTINCT v) OVER (PARTITION BY k ORDER BY p) AS INT) FROM E";
    let error = error(&format!("{TABLE} SET 'table.exec.state.ttl' = '1 h'; {query}"));
    assert!(
        error.contains("'table.exec.state.ttl' for COUNT(DISTINCT) in OVER by processing time"),
        "{error}"
    );
}

#[test]
fn calls_are_explained_as_they_are_written() {
    let calls = "COUNT(DISTINCT v) OVER w, MIN(DISTINCT v) OVER w, LAG(k, 2, 'no') OVER w, LISTAGG(k, '-') OVER w, RANK() OVER w";
    let query = format!("{TABLE} EXPLAIN SELECT {calls} FROM E WINDOW w AS (PARTITION BY k ORDER BY ts)");
    assert_snapshot!(text(&mut with_tables(), &query), @r#"
== Optimized Execution Plan ==
Calc(select=[w0$o0 AS EXPR$0, w0$o1 AS EXPR$1, w0$o2 AS EXPR$2, w0$o3 AS EXPR$3, w0$o4 AS EXPR$4])
+- OverAggregate(partitionBy=[k], orderBy=[ts ASC], window=[ RANG BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW], select=[k, v, ts, $f7, COUNT(DISTINCT v) AS w0$o0, MIN(v) AS w0$o1, LAG(k, 2, $f7) AS w0$o2, LISTAGG(k, '-') AS w0$o3, RANK(*) AS w0$o4])
   +- Exchange(distribution=[hash[k]])
      +- Calc(select=[k, v, ts, CAST('no' AS STRING) AS $f7])
         +- WatermarkAssigner(rowtime=[ts], watermark=[ts])
            +- TableSourceScan(table=[[default_catalog, default_database, E, project=[k, v, ts], metadata=[]]], fields=[k, v, ts])
"#);
}
