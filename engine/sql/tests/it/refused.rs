//! Valid Flink SQL that is not built is refused by its name and place, never misread.

use crate::fixtures::with_tables;

/// A statement and what its refusal must name.
const REFUSED: &[(&str, &str)] = &[
    // Statements.
    ("CREATE FUNCTION f AS 'com.example.F'", "CREATE FUNCTION"),
    (
        "CREATE TEMPORARY FUNCTION f AS 'com.example.F'",
        "CREATE TEMPORARY FUNCTION",
    ),
    (
        "CREATE TEMPORARY SYSTEM FUNCTION f AS 'com.example.F'",
        "CREATE TEMPORARY SYSTEM FUNCTION",
    ),
    ("CREATE CATALOG c WITH ('type' = 'jdbc')", "CREATE CATALOG"),
    ("CREATE DATABASE d", "CREATE DATABASE"),
    (
        "CREATE MATERIALIZED TABLE m FRESHNESS = INTERVAL '1' MINUTE AS SELECT 1",
        "CREATE MATERIALIZED TABLE",
    ),
    ("CREATE MODEL m WITH ('provider' = 'x')", "CREATE MODEL"),
    ("CREATE OR REPLACE TABLE x (a INT)", "CREATE OR REPLACE TABLE"),
    (
        "CREATE TABLE x WITH ('connector' = 'test') AS SELECT 1",
        "CREATE TABLE ... AS",
    ),
    (
        "CREATE TABLE x (a INT) DISTRIBUTED BY HASH(a) INTO 4 BUCKETS",
        "DISTRIBUTED BY",
    ),
    ("CREATE TABLE x (a INT, UNIQUE (a) NOT ENFORCED)", "UNIQUE"),
    (
        "CREATE TABLE x (a RAW('java.lang.String', 'AA=='))",
        "the type RAW",
    ),
    ("CREATE TABLE x (a VARIANT)", "the type VARIANT"),
    ("CREATE TABLE x (a TIMESTAMP(3) WITH TIME ZONE)", "WITH TIME ZONE"),
    ("CREATE TABLE x (a `my`)", "user-defined type"),
    (
        "CREATE TABLE x (r ROW<t TIMESTAMP(3)>, WATERMARK FOR r.t AS r.t)",
        "a watermark for a field",
    ),
    (
        "CREATE TABLE x (t TIMESTAMP(3), WATERMARK FOR t AS SOURCE_WATERMARK())",
        "SOURCE_WATERMARK",
    ),
    ("DROP FUNCTION f", "DROP FUNCTION"),
    ("DROP CATALOG c", "DROP CATALOG"),
    ("DROP DATABASE d", "DROP DATABASE"),
    ("ALTER TABLE flights RENAME TO f", "ALTER TABLE"),
    ("ALTER TABLE flights ADD (x INT)", "ALTER TABLE"),
    ("ALTER VIEW v RENAME TO w", "ALTER VIEW"),
    ("ALTER DATABASE d SET ('a' = 'b')", "ALTER DATABASE"),
    ("ALTER FUNCTION f AS 'x'", "ALTER FUNCTION"),
    ("UPDATE late SET delay = 1", "UPDATE"),
    ("DELETE FROM late WHERE delay = 1", "DELETE"),
    ("TRUNCATE TABLE late", "TRUNCATE TABLE"),
    ("ANALYZE TABLE flights COMPUTE STATISTICS", "ANALYZE TABLE"),
    ("CALL system.compact('x')", "CALL"),
    ("LOAD MODULE hive", "LOAD MODULE"),
    ("UNLOAD MODULE hive", "UNLOAD MODULE"),
    ("USE MODULES core", "USE MODULES"),
    ("SHOW MODULES", "SHOW MODULES"),
    ("SHOW JARS", "SHOW JARS"),
    ("SHOW JOBS", "SHOW JOBS"),
    ("SHOW PARTITIONS flights", "SHOW PARTITIONS"),
    ("SHOW PROCEDURES", "SHOW PROCEDURES"),
    ("ADD JAR '/x.jar'", "ADD JAR"),
    ("REMOVE JAR '/x.jar'", "REMOVE JAR"),
    ("STOP JOB 'abc'", "STOP JOB"),
    ("DESCRIBE JOB 'abc'", "DESCRIBE JOB"),
    (
        "COMPILE PLAN 'x.json' FOR INSERT INTO late SELECT carrier, delay FROM flights",
        "COMPILE PLAN",
    ),
    ("EXECUTE PLAN 'x.json'", "EXECUTE PLAN"),
    (
        "COMPILE AND EXECUTE PLAN 'x.json' FOR INSERT INTO late SELECT 'a', 1",
        "COMPILE AND EXECUTE PLAN",
    ),
    (
        "INSERT OVERWRITE late SELECT carrier, delay FROM flights",
        "INSERT OVERWRITE",
    ),
    (
        "INSERT INTO late PARTITION (carrier = 'AA') SELECT delay FROM flights",
        "PARTITION",
    ),
    (
        "EXPLAIN ESTIMATED_COST INSERT INTO late SELECT carrier, delay FROM flights",
        "EXPLAIN ESTIMATED_COST",
    ),
    (
        "EXPLAIN PLAN_ADVICE INSERT INTO late SELECT carrier, delay FROM flights",
        "EXPLAIN PLAN_ADVICE",
    ),
    ("SELECT * FROM flights", "a query that is not part of an INSERT"),
    ("SET 'table.sql-dialect' = 'hive'", "'table.sql-dialect'"),
    (
        "SET 'execution.runtime-mode' = 'batch'",
        "'execution.runtime-mode'",
    ),
    (
        "SET 'table.column-expansion-strategy' = 'EXCLUDE_ALIASED_VIRTUAL_METADATA_COLUMNS'",
        "'table.column-expansion-strategy'",
    ),
    (
        "SET 'table.exec.sink.type-length-enforcer' = 'TRIM_PAD'",
        "'table.exec.sink.type-length-enforcer'",
    ),
    // Clauses.
    (
        "INSERT INTO late SELECT carrier, delay FROM flights ORDER BY delay",
        "ORDER BY",
    ),
    (
        "INSERT INTO late SELECT carrier, delay FROM flights LIMIT 3",
        "LIMIT",
    ),
    (
        "INSERT INTO late SELECT carrier, delay FROM flights OFFSET 3",
        "OFFSET",
    ),
    (
        "INSERT INTO late SELECT carrier, delay FROM flights FETCH FIRST 3 ROWS ONLY",
        "FETCH",
    ),
    (
        "INSERT INTO late SELECT carrier, delay FROM flights INTERSECT SELECT 'a', 1",
        "INTERSECT",
    ),
    (
        "INSERT INTO late SELECT carrier, delay FROM flights EXCEPT SELECT 'a', 1",
        "EXCEPT",
    ),
    (
        "INSERT INTO late SELECT t, 1 FROM flights CROSS JOIN UNNEST(tags) AS x (t)",
        "UNNEST",
    ),
    (
        "INSERT INTO late SELECT t, 1 FROM flights, LATERAL TABLE(f(carrier)) AS x (t)",
        "LATERAL",
    ),
    (
        "INSERT INTO late SELECT a.carrier, 1 FROM flights a JOIN flights FOR SYSTEM_TIME AS OF a.at AS b ON a.id = b.id",
        "FOR SYSTEM_TIME",
    ),
    (
        "INSERT INTO late SELECT carrier, 1 FROM TABLE(my_function(1))",
        "MY_FUNCTION",
    ),
    (
        "INSERT INTO late SELECT carrier, SUM(delay) OVER (ORDER BY delay) FROM flights",
        "OVER with ORDER BY of a column that is no time attribute",
    ),
    (
        "INSERT INTO late SELECT carrier, delay FROM flights WHERE delay > 1 OR id IN (SELECT id FROM flights)",
        "IN with a subquery",
    ),
    (
        "INSERT INTO late SELECT carrier, delay FROM flights WHERE delay > 1 OR EXISTS (SELECT 1 FROM flights)",
        "EXISTS",
    ),
    (
        "INSERT INTO late SELECT * FROM flights MATCH_RECOGNIZE (ORDER BY at MEASURES A.id AS x PATTERN (A) DEFINE A AS TRUE)",
        "MATCH_RECOGNIZE",
    ),
    (
        "INSERT INTO late SELECT carrier, (SELECT 1) FROM flights",
        "scalar subquery",
    ),
    (
        "INSERT INTO late SELECT carrier, delay FROM flights WHERE id > ALL (SELECT id FROM flights)",
        "ALL",
    ),
    (
        "INSERT INTO late SELECT carrier, delay FROM flights TABLESAMPLE (10)",
        "TABLESAMPLE",
    ),
    (
        "INSERT INTO late WITH RECURSIVE x AS (SELECT 1) SELECT 'a', 1 FROM x",
        "WITH RECURSIVE",
    ),
    (
        "INSERT INTO late SELECT carrier, delay FROM flights WHERE delay BETWEEN SYMMETRIC 1 AND 2",
        "BETWEEN SYMMETRIC",
    ),
    (
        "INSERT INTO late SELECT JSON_VALUE(carrier, '$.a[?(@.b > 1)]'), delay FROM flights",
        "a filter in a JSON path",
    ),
    (
        "INSERT INTO late SELECT PARSE_JSON(carrier), delay FROM flights",
        "PARSE_JSON",
    ),
    (
        "INSERT INTO late SELECT REGEXP_REPLACE(carrier, 'a*+', ''), delay FROM flights",
        "the regular expression",
    ),
    (
        "EXPLAIN CREATE TABLE t WITH ('connector' = 'test') AS SELECT carrier FROM flights",
        "EXPLAIN CREATE TABLE ... AS",
    ),
    (
        "INSERT INTO late SELECT carrier, 1 FROM my_ptf(TABLE flights)",
        "the table function MY_PTF",
    ),
    (
        "INSERT INTO late SELECT my.f(carrier), delay FROM flights",
        "user-defined function",
    ),
    (
        "INSERT INTO late SELECT carrier, CURRENT_WATERMARK(at) FROM flights",
        "CURRENT_WATERMARK",
    ),
    (
        "INSERT INTO late SELECT PERCENTILE(delay, 0.5), 1 FROM flights",
        "PERCENTILE",
    ),
    (
        "INSERT INTO late SELECT ARRAY_AGG(delay ORDER BY delay), 1 FROM flights",
        "ORDER BY in ARRAY_AGG",
    ),
    ("INSERT INTO late SELECT U&'d!0061t' UESCAPE '!', 1", "UESCAPE"),
    // Hints.
    (
        "INSERT INTO late SELECT /*+ BROADCAST(flights) */ carrier, delay FROM flights",
        "the hint BROADCAST",
    ),
];

#[test]
fn by_name_and_place() {
    assert!(REFUSED.len() >= 60);
    let mut wrong = Vec::new();
    for (statement, name) in REFUSED {
        let message = match with_tables().execute(statement) {
            Ok(_) => "not refused".to_owned(),
            Err(e) => e.to_string(),
        };
        let first = message.lines().next().unwrap_or_default();
        let placed = message.contains(" | ") && message.contains('^');
        if !first.contains(name) || !first.contains("is not supported yet") || !placed {
            wrong.push(format!("{statement}\n=> {message}\n"));
        }
    }
    assert!(wrong.is_empty(), "{} are not:\n{}", wrong.len(), wrong.join("\n"));
}
