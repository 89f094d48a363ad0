//! SHOW, SET, USE and what a session remembers.

use insta::assert_snapshot;

use crate::fixtures::{text, with_tables};

#[test]
fn show() {
    let mut session = with_tables();
    session
        .execute("CREATE VIEW delays (`who`, `how late`) COMMENT 'c' AS SELECT carrier, delay FROM flights")
        .unwrap_or_else(|e| panic!("{e}"));
    assert_snapshot!(text(&mut session, "SHOW TABLES"), @r#"
+------------+
| table name |
+------------+
|     delays |
|    flights |
|       late |
+------------+
"#);
    assert_snapshot!(text(&mut session, "SHOW TABLES LIKE 'l%'"), @r#"
+------------+
| table name |
+------------+
|       late |
+------------+
"#);
    assert_snapshot!(text(&mut session, "SHOW VIEWS IN default_database NOT LIKE 'x'"), @r#"
+-----------+
| view name |
+-----------+
|    delays |
+-----------+
"#);
    assert_snapshot!(text(&mut session, "SHOW CREATE VIEW delays"), @r#"
CREATE VIEW `default_catalog`.`default_database`.`delays` (`who`, `how late`) COMMENT 'c'
AS SELECT carrier, delay FROM flights
"#);
    assert_snapshot!(text(&mut session, "SHOW COLUMNS FROM delays"), @r#"
+----------+--------+------+-----+--------+-----------+
|     name |   type | null | key | extras | watermark |
+----------+--------+------+-----+--------+-----------+
|      who | STRING | TRUE |     |        |           |
| how late |    INT | TRUE |     |        |           |
+----------+--------+------+-----+--------+-----------+
"#);
    assert_snapshot!(text(&mut session, "SHOW CURRENT DATABASE"), @r#"
+-----------------------+
| current database name |
+-----------------------+
|      default_database |
+-----------------------+
"#);
    assert!(text(&mut session, "SHOW FUNCTIONS LIKE 'UPP%'").contains("UPPER"));
    session
        .execute("USE CATALOG default_catalog; USE default_catalog.default_database")
        .unwrap_or_else(|e| panic!("{e}"));
}

#[test]
fn set_and_reset() {
    let mut session = with_tables();
    session
        .execute("SET 'a' = 'b'; SET old.style = 10 s; RESET 'a'")
        .unwrap_or_else(|e| panic!("{e}"));
    assert_snapshot!(text(&mut session, "SET"), @r#"
+-----------+-------+
|       key | value |
+-----------+-------+
| old.style |  10 s |
+-----------+-------+
"#);
    session.execute("RESET").unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(text(&mut session, "SET"), "Empty set");
}

#[test]
fn set_shows_no_secret() {
    let mut session = with_tables();
    let shown = text(
        &mut session,
        "SET 's3.secret-key' = 'geheim'; SET 's3.endpoint' = 'http://s3'; SET;",
    );
    assert!(!shown.contains("geheim"), "{shown}");
    assert!(shown.contains("******") && shown.contains("http://s3"), "{shown}");
}
