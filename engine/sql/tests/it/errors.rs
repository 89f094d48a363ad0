//! Errors: what is wrong, the line with a caret, what to do.

use insta::assert_snapshot;

use crate::fixtures::error;

#[test]
fn unknown_names_come_with_the_nearest_ones() {
    assert_snapshot!(error("INSERT INTO late\nSELECT carier, delay\nFROM flights"), @r#"
there is no column 'carier'
  line 2, column 8:
  2 | SELECT carier, delay
    |        ^^^^^^
  hint: did you mean 'carrier'?
"#);
    assert_snapshot!(error("INSERT INTO late SELECT Carrier, delay FROM flights"), @r#"
there is no column 'Carrier'
  line 1, column 25:
  1 | INSERT INTO late SELECT Carrier, delay FROM flights
    |                         ^^^^^^^
  hint: did you mean 'carrier'? names are case-sensitive
"#);
    assert_snapshot!(error("INSERT INTO late SELECT f.carrier, delay FROM flights"), @r#"
there is no table, alias or column 'f' here
  line 1, column 25:
  1 | INSERT INTO late SELECT f.carrier, delay FROM flights
    |                         ^^^^^^^^^
"#);
    assert_snapshot!(error("INSERT INTO late SELECT carrier, delay FROM flight"), @r#"
there is no table or view 'flight'
  line 1, column 45:
  1 | INSERT INTO late SELECT carrier, delay FROM flight
    |                                             ^^^^^^
  hint: did you mean 'flights'?
"#);
    assert_snapshot!(error("INSERT INTO late SELECT plane.tial, delay FROM flights"), @r#"
the row has no field 'tial'
  line 1, column 31:
  1 | INSERT INTO late SELECT plane.tial, delay FROM flights
    |                               ^^^^
  hint: did you mean 'tail'?
"#);
    assert_snapshot!(error("INSERT INTO late SELECT UPER(carrier), delay FROM flights"), @r#"
unknown function UPER
  line 1, column 25:
  1 | INSERT INTO late SELECT UPER(carrier), delay FROM flights
    |                         ^^^^^^^^^^^^
  hint: did you mean UPPER?
"#);
    assert_snapshot!(error("INSERT INTO late (carrier, dealy) SELECT carrier, delay FROM flights"), @r#"
the table 'late' has no column 'dealy'
  line 1, column 28:
  1 | INSERT INTO late (carrier, dealy) SELECT carrier, delay FROM flights
    |                            ^^^^^
  hint: did you mean 'delay'?
"#);
    assert_snapshot!(error("CREATE TABLE x (a STRNG)"), @r#"
unknown data type 'STRNG'
  line 1, column 19:
  1 | CREATE TABLE x (a STRNG)
    |                   ^^^^^
  hint: did you mean STRING?
"#);
    assert_snapshot!(error("INSERT INTO nowhere.late SELECT carrier, delay FROM flights"), @r#"
there is no catalog or database 'nowhere'
  line 1, column 13:
  1 | INSERT INTO nowhere.late SELECT carrier, delay FROM flights
    |             ^^^^^^^
  hint: there is one, `default_catalog`.`default_database`: others are not supported yet
"#);
}

#[test]
fn a_view_has_nothing_to_be_like() {
    assert_snapshot!(error("CREATE VIEW v AS SELECT carrier FROM flights; CREATE TABLE x LIKE v"), @r#"
LIKE takes a table, not a view
  line 1, column 67:
  1 | CREATE VIEW v AS SELECT carrier FROM flights; CREATE TABLE x LIKE v
    |                                                                   ^
"#);
}

#[test]
fn syntax() {
    assert_snapshot!(error("INSERT INTO late SELECT carrier delay flights FROM x"), @r#"
expected ';', found 'flights'
  line 1, column 39:
  1 | INSERT INTO late SELECT carrier delay flights FROM x
    |                                       ^^^^^^^
"#);
    assert_snapshot!(error("INSERT INTO late SELECT carrier,"), @r#"
expected an expression, found the end of the script
  line 1, column 33:
  1 | INSERT INTO late SELECT carrier,
    |                                 ^
"#);
    assert_snapshot!(error("CREATE TABLE x (a INT"), @r#"
expected ')', found the end of the script
  line 1, column 22:
  1 | CREATE TABLE x (a INT
    |                      ^
"#);
    assert_snapshot!(error("CREATE TABLE x (a INT) WITH ('a' 'b')"), @r#"
two texts stand side by side on a line
  line 1, column 34:
  1 | CREATE TABLE x (a INT) WITH ('a' 'b')
    |                                  ^^^
  hint: join them by ||, or put the second one on the next line
"#);
    assert_snapshot!(error("INSERT INTO late SELECT 'AA, delay FROM flights"), @r#"
unterminated string literal
  line 1, column 25:
  1 | INSERT INTO late SELECT 'AA, delay FROM flights
    |                         ^
"#);
    assert_snapshot!(error("INSERT INTO late SELECT \"AA\", delay FROM flights"), @r#"
double quotes mean nothing in Flink SQL
  line 1, column 25:
  1 | INSERT INTO late SELECT "AA", delay FROM flights
    |                         ^^^^
  hint: texts stand in 'single quotes', names in `backquotes`
"#);
    assert_snapshot!(error("INSERT INTO late SELECT 'AA' 'x', 1"), @r#"
two texts stand side by side on a line
  line 1, column 30:
  1 | INSERT INTO late SELECT 'AA' 'x', 1
    |                              ^^^
  hint: join them by ||, or put the second one on the next line
"#);
    assert_snapshot!(error("INSERT INTO late SELECT carrier 'x', 1 FROM flights"), @r#"
expected a name, found the text 'x'
  line 1, column 25:
  1 | INSERT INTO late SELECT carrier 'x', 1 FROM flights
    |                         ^^^^^^^
  hint: names stand in `backquotes`
"#);
    assert_snapshot!(error("FROBNICATE"), @r#"
expected a statement, found 'FROBNICATE'
  line 1, column 1:
  1 | FROBNICATE
    | ^^^^^^^^^^
"#);
    assert_snapshot!(error("INSERT INTO late SELECT CASE WHEN CAST(carrier AS FOO) THEN 1 END, delay FROM flights"), @r#"
unknown data type 'FOO'
  line 1, column 51:
  1 | INSERT INTO late SELECT CASE WHEN CAST(carrier AS FOO) THEN 1 END, delay FROM flights
    |                                                   ^^^
"#);
}

#[test]
fn types() {
    assert_snapshot!(error("INSERT INTO late SELECT carrier, delay FROM flights WHERE delay"), @r#"
WHERE takes a condition of type BOOLEAN
  line 1, column 59:
  1 | INSERT INTO late SELECT carrier, delay FROM flights WHERE delay
    |                                                           ^^^^^
  hint: this is of type INT
"#);
    assert_snapshot!(error("INSERT INTO late SELECT carrier, tags + 1 FROM flights"), @r#"
+ does not take arguments of these types
  given: +(ARRAY<STRING>, INT NOT NULL)
  accepted: number + number, interval + interval, date or time + interval, interval + date or time
  line 1, column 34:
  1 | INSERT INTO late SELECT carrier, tags + 1 FROM flights
    |                                  ^^^^^^^^
"#);
    assert_snapshot!(error("INSERT INTO late SELECT carrier, delay FROM flights UNION ALL SELECT tags, 1 FROM flights"), @r#"
column 1 of UNION ALL has types that do not go together: STRING, ARRAY<STRING>
  line 1, column 63:
  1 | INSERT INTO late SELECT carrier, delay FROM flights UNION ALL SELECT tags, 1 FROM flights
    |                                                               ^^^^^^^^^^^^^^^^^^^^^^^^^^^
  hint: CAST them to one type
"#);
    assert_snapshot!(error("INSERT INTO late VALUES ('a', 1), ('b')"), @r#"
the rows of VALUES differ in length
  line 1, column 36:
  1 | INSERT INTO late VALUES ('a', 1), ('b')
    |                                    ^^^
  hint: the first one has 2, this one 1
"#);
    assert_snapshot!(error("INSERT INTO late SELECT carrier, carrier.x FROM flights"), @r#"
a value of type STRING has no fields
  line 1, column 42:
  1 | INSERT INTO late SELECT carrier, carrier.x FROM flights
    |                                          ^
"#);
    assert_snapshot!(error("INSERT INTO late SELECT DATE '2013-02-30', 1"), @r#"
'2013-02-30' is no DATE
  line 1, column 30:
  1 | INSERT INTO late SELECT DATE '2013-02-30', 1
    |                              ^^^^^^^^^^^^
  hint: it is written DATE '2013-01-31'
"#);
}

#[test]
fn what_other_dialects_have() {
    for (query, expected) in [
        ("SELECT carrier::INT, 1 FROM flights", "no such cast"),
        ("SELECT SAFE_CAST(carrier AS INT), 1 FROM flights", "no such cast"),
        ("SELECT carrier ILIKE 'a', 1 FROM flights", "no ILIKE"),
        ("SELECT carrier, delay & 1 FROM flights", "no operator '&'"),
        ("SELECT carrier, delay ^ 1 FROM flights", "no operator '^'"),
        ("SELECT tags[1:2], 1 FROM flights", "no slices"),
        ("SELECT at AT TIME ZONE 'UTC', 1 FROM flights", "no AT TIME ZONE"),
        ("SELECT carrier, 1 FROM flights FOR UPDATE", "no such clause"),
        ("SELECT TOP 3 carrier, 1 FROM flights", ""),
        ("SELECT * EXCEPT (id) FROM flights", ""),
        ("SELECT carrier, ? FROM flights", "no literal"),
        ("SELECT `+`(delay, 1), 1 FROM flights", "unknown function"),
        ("SELECT FIELD(plane, 'tail'), 1 FROM flights", "unknown function"),
        ("SELECT ITEM(tags, 1), 1 FROM flights", "unknown function"),
        (
            "SELECT carrier(delay), 1 FROM flights",
            "is a column, not a function",
        ),
        (
            "SELECT TIMESTAMPADD(FORTNIGHT, 1, at), 1 FROM flights",
            "unit of time",
        ),
        ("SELECT carrier, INTERVAL '5 days' FROM flights", "unit"),
        (
            "SELECT carrier, INTERVAL 5 DAY FROM flights",
            "an interval takes a text",
        ),
        ("SELECT carrier, X'ABC' FROM flights", "hexadecimal"),
        (
            "SELECT carrier, 123456789012345678901234567890123456789 FROM flights",
            "out of range",
        ),
        ("SELECT a.*, 1 FROM flights", "no table or alias 'a'"),
        ("SELECT *", "needs a FROM"),
        (
            "SELECT carrier, delay FROM flights AS f (a, b)",
            "2 names for 9 columns",
        ),
        (
            "SELECT flights.carrier, 1 FROM flights AS f",
            "there is no table, alias or column 'flights'",
        ),
        (
            "WITH a AS (SELECT 1), a AS (SELECT 2) SELECT 'x', 1 FROM a",
            "WITH has 'a' twice",
        ),
        ("SELECT carrier, delay FROM flights CLUSTER BY carrier", ""),
        (
            "SELECT carrier, delay FROM flights LATERAL VIEW explode(x) t AS y",
            "",
        ),
        ("SELECT ARRAY[], 1", "needs an element"),
        ("SELECT CAST(NULL AS NULL), 1", ""),
    ] {
        let found = error(&format!("INSERT INTO late {query}"));
        assert!(
            found.contains(expected) && found.contains('^'),
            "{query}\n{found}"
        );
        assert!(!found.contains("foreign form"), "{query}\n{found}");
    }
}

#[test]
fn a_query_that_does_not_fit_its_sink() {
    assert_snapshot!(error("INSERT INTO late SELECT carrier FROM flights"), @r#"
column types of query result and sink for 'default_catalog.default_database.late' do not match
  cause: different number of columns
  query schema: [carrier: STRING]
  sink schema:  [carrier: STRING, delay: INT]
  line 1, column 18:
  1 | INSERT INTO late SELECT carrier FROM flights
    |                  ^^^^^^^^^^^^^^^^^^^^^^^^^^^
  hint: columns go by position, not by name; CAST what is of another type
"#);
    assert_snapshot!(error("INSERT INTO late SELECT delay, carrier FROM flights"), @r#"
column types of query result and sink for 'default_catalog.default_database.late' do not match
  cause: incompatible types for sink column 'carrier' at position 0
  query schema: [delay: INT, carrier: STRING]
  sink schema:  [carrier: STRING, delay: INT]
  line 1, column 18:
  1 | INSERT INTO late SELECT delay, carrier FROM flights
    |                  ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
  hint: columns go by position, not by name; CAST what is of another type
"#);
}

#[test]
fn options_and_connectors() {
    assert_snapshot!(error("CREATE TABLE x (a INT) WITH ('connector' = 'kafak'); INSERT INTO late SELECT 'a', a FROM x"), @r#"
table 'x' has an unknown connector 'kafak'
  line 1, column 90:
  1 | CREATE TABLE x (a INT) WITH ('connector' = 'kafak'); INSERT INTO late SELECT 'a', a FROM x
    |                                                                                          ^
  hint: connectors are: readonly, test, writeonly
"#);
    assert_snapshot!(error("CREATE TABLE x (a INT); INSERT INTO late SELECT 'a', a FROM x"), @r#"
table 'x' lacks the option 'connector'
  line 1, column 61:
  1 | CREATE TABLE x (a INT); INSERT INTO late SELECT 'a', a FROM x
    |                                                             ^
  hint: add WITH ('connector' = '...')
"#);
    assert_snapshot!(error("CREATE TABLE x (a INT) WITH ('connector' = 'test', 'topci' = 'x', 'topic' = 'y'); INSERT INTO late SELECT 'a', a FROM x"), @r#"
table 'x' has an unknown option 'topci'
  line 1, column 119:
  1 | CREATE TABLE x (a INT) WITH ('connector' = 'test', 'topci' = 'x', 'topic' = 'y'); INSERT INTO late SELECT 'a', a FROM x
    |                                                                                                                       ^
  hint: known here: connector, json.*, mode, scan.parallelism, sink.parallelism, topic
"#);
    assert_snapshot!(error("INSERT INTO late SELECT * FROM late"), @r#"
table 'late' cannot be read: connector 'writeonly' is for writing only
  line 1, column 32:
  1 | INSERT INTO late SELECT * FROM late
    |                                ^^^^
"#);
    assert_snapshot!(error("CREATE TABLE x (a INT) WITH ('connector' = 'readonly', 'topic' = 'x'); INSERT INTO x SELECT delay FROM flights"), @r#"
table 'x' cannot be written: connector 'readonly' is for reading only
  line 1, column 84:
  1 | CREATE TABLE x (a INT) WITH ('connector' = 'readonly', 'topic' = 'x'); INSERT INTO x SELECT delay FROM flights
    |                                                                                    ^
"#);
    assert_snapshot!(error("CREATE TABLE x (a INT, k BIGINT METADATA FROM 'ofset') WITH ('connector' = 'test', 'topic' = 'x'); INSERT INTO late SELECT 'a', a FROM x"), @r#"
the metadata column 'k' of table 'x' has a key that its connector does not know for reading
  key 'ofset'
  line 1, column 136:
  1 | CREATE TABLE x (a INT, k BIGINT METADATA FROM 'ofset') WITH ('connector' = 'test', 'topic' = 'x'); INSERT INTO late SELECT 'a', a FROM x
    |                                                                                                                                        ^
  hint: did you mean 'offset'?
"#);
    assert_snapshot!(error("CREATE TABLE x (a INT, `offset` BIGINT METADATA) WITH ('connector' = 'test', 'topic' = 'x'); INSERT INTO x SELECT delay, id FROM flights"), @r#"
the metadata column 'offset' of table 'x' has a key that its connector does not know for writing
  key 'offset'
  line 1, column 106:
  1 | CREATE TABLE x (a INT, `offset` BIGINT METADATA) WITH ('connector' = 'test', 'topic' = 'x'); INSERT INTO x SELECT delay, id FROM flights
    |                                                                                                          ^
  hint: declare it VIRTUAL to only read it; keys for writing are: timestamp
"#);
}

#[test]
fn hints() {
    assert_snapshot!(error("INSERT INTO late SELECT /*+ FASTER */ carrier, delay FROM flights"), @r#"
there is no hint 'FASTER'
  line 1, column 25:
  1 | INSERT INTO late SELECT /*+ FASTER */ carrier, delay FROM flights
    |                         ^^^^^^^^^^^^^
"#);
    assert_snapshot!(error("INSERT INTO late SELECT carrier, delay /*+ OPTIONS('a'='b') */ FROM flights"), @r#"
the hint OPTIONS stands behind a table's name only
  line 1, column 40:
  1 | INSERT INTO late SELECT carrier, delay /*+ OPTIONS('a'='b') */ FROM flights
    |                                        ^^^^^^^^^^^^^^^^^^^^^^^
"#);
    assert_snapshot!(error("INSERT INTO late SELECT carrier, delay FROM flights /*+ OPTIONS(a=b) */"), @r#"
a hint is not well-formed
  line 1, column 53:
  1 | INSERT INTO late SELECT carrier, delay FROM flights /*+ OPTIONS(a=b) */
    |                                                     ^^^^^^^^^^^^^^^^^^^
  hint: a table's options are overridden by /*+ OPTIONS('key' = 'value', ...) */ behind its name, the time to live of state by /*+ STATE_TTL('table' = '1 d', ...) */ behind SELECT
"#);
    assert_snapshot!(error("INSERT INTO late SELECT carrier, delay FROM flights /*+ OPTIONS('connector'='x') */"), @r#"
a hint cannot change the connector of a table
  line 1, column 53:
  1 | INSERT INTO late SELECT carrier, delay FROM flights /*+ OPTIONS('connector'='x') */
    |                                                     ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
"#);
}

#[test]
fn settings() {
    assert_snapshot!(error("SET 'table.exec.sink.not-null-enforcer' = 'MAYBE'; INSERT INTO late SELECT carrier, delay FROM flights"), @r#"
a configuration value is none of those that there are
  table.exec.sink.not-null-enforcer: 'MAYBE'
  line 1, column 52:
  1 | SET 'table.exec.sink.not-null-enforcer' = 'MAYBE'; INSERT INTO late SELECT carrier, delay FROM flights
    |                                                    ^^^^^^
  hint: it takes ERROR or DROP
"#);
}

#[test]
fn settings_that_would_change_results() {
    for (setting, about) in [
        (
            "'table.exec.emit.early-fire.enabled' = 'true'",
            "before it is over",
        ),
        (
            "'table.exec.emit.allow-lateness' = '1 min'",
            "late rows are dropped",
        ),
        (
            "'table.exec.deduplicate.insert-update-after-sensitive-enabled' = 'false'",
            "first rows",
        ),
    ] {
        let message = error(&format!(
            "SET {setting}; INSERT INTO late SELECT carrier, delay FROM flights"
        ));
        assert!(
            message.contains("is not supported") && message.contains(about),
            "{message}"
        );
    }
}

#[test]
fn windows_that_no_function_is_over() {
    for sql in [
        "SELECT carrier, 1 FROM flights WINDOW w AS (ORDER BY nope)",
        "SELECT carrier, SUM(delay) FROM flights GROUP BY carrier WINDOW w AS (PARTITION BY nope)",
        "SELECT carrier, 1 FROM flights WINDOW w AS other",
    ] {
        let message = error(&format!("INSERT INTO late {sql}"));
        assert!(
            message.contains("there is no column 'nope'") || message.contains("there is no window 'other'"),
            "{message}"
        );
    }
}

#[test]
fn interval_precision() {
    let of = |interval: &str| {
        error(&format!(
            "INSERT INTO late SELECT carrier, 1 FROM flights WHERE CURRENT_TIMESTAMP > LOCALTIMESTAMP - INTERVAL {interval}"
        ))
    };
    let message = of("'100' DAY");
    assert!(
        message.contains("the field 100 of the interval exceeds the precision of DAY(2)"),
        "{message}"
    );
    assert!(message.contains("write DAY(3)"), "{message}");
    assert!(of("'1' DAY(12)").contains("is 1 to 10, not 12"));
}

#[test]
fn a_view_that_broke_is_quoted_from_its_own_text() {
    let mut session = crate::fixtures::with_tables();
    session.execute("CREATE TABLE x (a INT) WITH ('connector' = 'test', 'topic' = 'x');\nCREATE VIEW v AS SELECT\n  a FROM x").unwrap();
    session
        .execute("DROP TABLE x; CREATE TABLE x (b INT) WITH ('connector' = 'test', 'topic' = 'x')")
        .unwrap();
    let error = session
        .execute("INSERT INTO late SELECT 'x', a FROM v")
        .unwrap_err()
        .to_string();
    assert_snapshot!(error, @r#"
there is no column 'a'
  line 3, column 3:
  3 |   a FROM x
    |   ^
  hint: did you mean 'b'?
"#);
}

#[test]
fn nothing_of_a_script_with_an_error_happens() {
    let mut session = crate::fixtures::session();
    assert!(
        session
            .execute("SET 'a.b' = 'c'; CREATE TABLE t (a INT); SELECT")
            .is_err()
    );
    assert_eq!(crate::fixtures::text(&mut session, "SHOW TABLES"), "Empty set");
    assert_eq!(crate::fixtures::text(&mut session, "SET"), "Empty set");
}
