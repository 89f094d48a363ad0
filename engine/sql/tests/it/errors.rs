//! Errors: what is wrong, the line with a caret, what to do.

use insta::assert_snapshot;

use crate::fixtures::error;

#[test]
fn unknown_names_come_with_the_nearest_ones() {
    assert_snapshot!(error("INSERT INTO late\nSELECT carier, delay\nFROM flights"), @"");
    assert_snapshot!(error("INSERT INTO late SELECT Carrier, delay FROM flights"), @"");
    assert_snapshot!(error("INSERT INTO late SELECT f.carrier, delay FROM flights"), @"");
    assert_snapshot!(error("INSERT INTO late SELECT carrier, delay FROM flight"), @"");
    assert_snapshot!(error("INSERT INTO late SELECT plane.tial, delay FROM flights"), @"");
    assert_snapshot!(error("INSERT INTO late SELECT UPER(carrier), delay FROM flights"), @"");
    assert_snapshot!(error("INSERT INTO late (carrier, dealy) SELECT carrier, delay FROM flights"), @"");
    assert_snapshot!(error("CREATE TABLE x (a STRNG)"), @"");
    assert_snapshot!(error("INSERT INTO nowhere.late SELECT carrier, delay FROM flights"), @"");
}

#[test]
fn syntax() {
    assert_snapshot!(error("INSERT INTO late SELECT carrier delay flights FROM x"), @"");
    assert_snapshot!(error("INSERT INTO late SELECT carrier,"), @"");
    assert_snapshot!(error("CREATE TABLE x (a INT"), @"");
    assert_snapshot!(error("CREATE TABLE x (a INT) WITH ('a' 'b')"), @"");
    assert_snapshot!(error("INSERT INTO late SELECT 'AA, delay FROM flights"), @"");
    assert_snapshot!(error("INSERT INTO late SELECT \"AA\", delay FROM flights"), @"");
    assert_snapshot!(error("INSERT INTO late SELECT 'AA' 'x', 1"), @"");
    assert_snapshot!(error("INSERT INTO late SELECT carrier 'x', 1 FROM flights"), @"");
    assert_snapshot!(error("FROBNICATE"), @"");
    assert_snapshot!(error("INSERT INTO late SELECT CASE WHEN CAST(carrier AS FOO) THEN 1 END, delay FROM flights"), @"");
}

#[test]
fn types() {
    assert_snapshot!(error("INSERT INTO late SELECT carrier, delay FROM flights WHERE delay"), @"");
    assert_snapshot!(error("INSERT INTO late SELECT carrier, tags + 1 FROM flights"), @"");
    assert_snapshot!(error("INSERT INTO late SELECT carrier, delay FROM flights UNION ALL SELECT tags, 1 FROM flights"), @"");
    assert_snapshot!(error("INSERT INTO late VALUES ('a', 1), ('b')"), @"");
    assert_snapshot!(error("INSERT INTO late SELECT carrier, carrier.x FROM flights"), @"");
    assert_snapshot!(error("INSERT INTO late SELECT DATE '2013-02-30', 1"), @"");
}

#[test]
fn a_query_that_does_not_fit_its_sink() {
    assert_snapshot!(error("INSERT INTO late SELECT carrier FROM flights"), @"");
    assert_snapshot!(error("INSERT INTO late SELECT delay, carrier FROM flights"), @"");
}

#[test]
fn options_and_connectors() {
    assert_snapshot!(error("CREATE TABLE x (a INT) WITH ('connector' = 'kafak'); INSERT INTO late SELECT 'a', a FROM x"), @"");
    assert_snapshot!(error("CREATE TABLE x (a INT); INSERT INTO late SELECT 'a', a FROM x"), @"");
    assert_snapshot!(error("CREATE TABLE x (a INT) WITH ('connector' = 'test', 'topci' = 'x', 'topic' = 'y'); INSERT INTO late SELECT 'a', a FROM x"), @"");
    assert_snapshot!(error("INSERT INTO late SELECT * FROM late"), @"");
    assert_snapshot!(error("CREATE TABLE x (a INT) WITH ('connector' = 'readonly', 'topic' = 'x'); INSERT INTO x SELECT delay FROM flights"), @"");
    assert_snapshot!(error("CREATE TABLE x (a INT, k BIGINT METADATA FROM 'ofset') WITH ('connector' = 'test', 'topic' = 'x'); INSERT INTO late SELECT 'a', a FROM x"), @"");
    assert_snapshot!(error("CREATE TABLE x (a INT, `offset` BIGINT METADATA) WITH ('connector' = 'test', 'topic' = 'x'); INSERT INTO x SELECT delay, id FROM flights"), @"");
    assert_snapshot!(error("CREATE TABLE x (a INT PRIMARY KEY NOT ENFORCED) WITH ('connector' = 'test', 'topic' = 'x', 'sink.parallelism' = '4'); INSERT INTO x SELECT delay FROM flights"), @"");
}

#[test]
fn hints() {
    assert_snapshot!(error("INSERT INTO late SELECT /*+ FASTER */ carrier, delay FROM flights"), @"");
    assert_snapshot!(error("INSERT INTO late SELECT carrier, delay /*+ OPTIONS('a'='b') */ FROM flights"), @"");
    assert_snapshot!(error("INSERT INTO late SELECT carrier, delay FROM flights /*+ OPTIONS(a=b) */"), @"");
    assert_snapshot!(error("INSERT INTO late SELECT carrier, delay FROM flights /*+ OPTIONS('connector'='x') */"), @"");
}

#[test]
fn settings() {
    assert_snapshot!(error("SET 'table.exec.sink.not-null-enforcer' = 'MAYBE'; INSERT INTO late SELECT carrier, delay FROM flights"), @"");
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
    assert_snapshot!(error, @"");
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
