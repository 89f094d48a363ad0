//! CREATE TABLE, LIKE, views.

use insta::assert_snapshot;

use crate::fixtures::{error, session, text};

const BASE: &str = "
CREATE TABLE base (
  id BIGINT NOT NULL COMMENT 'the key',
  name STRING,
  at TIMESTAMP(3),
  upper_name AS UPPER(name),
  written TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL,
  WATERMARK FOR at AS at - INTERVAL '5' SECOND,
  CONSTRAINT pk PRIMARY KEY (id) NOT ENFORCED
) COMMENT 'all of it'
PARTITIONED BY (name)
WITH ('connector' = 'test', 'topic' = 'it''s', 'properties.password' = 'hidden');
";

fn show(script: &str, table: &str) -> String {
    let mut session = session();
    session.execute(BASE).unwrap_or_else(|e| panic!("{e}"));
    session
        .execute(script)
        .unwrap_or_else(|e| panic!("{script}\n{e}"));
    text(&mut session, &format!("SHOW CREATE TABLE {table}"))
}

#[test]
fn what_is_created_is_shown() {
    assert_snapshot!(show("", "base"), @r#"
CREATE TABLE `default_catalog`.`default_database`.`base` (
  `id` BIGINT NOT NULL COMMENT 'the key',
  `name` STRING,
  `at` TIMESTAMP(3),
  `upper_name` AS UPPER(name),
  `written` TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL,
  WATERMARK FOR `at` AS at - INTERVAL '5' SECOND,
  PRIMARY KEY (`id`) NOT ENFORCED
) COMMENT 'all of it'
PARTITIONED BY (`name`)
WITH (
  'connector' = 'test',
  'properties.password' = '******',
  'topic' = 'it''s'
)
"#);
    let mut session = session();
    session.execute(BASE).unwrap_or_else(|e| panic!("{e}"));
    assert_snapshot!(text(&mut session, "DESCRIBE base"), @r#"
+------------+------------------------+-------+---------+-----------------------------------+--------------------------+---------+
|       name |                   type |  null |     key |                            extras |                watermark | comment |
+------------+------------------------+-------+---------+-----------------------------------+--------------------------+---------+
|         id |                 BIGINT | FALSE | PRI(id) |                                   |                          | the key |
|       name |                 STRING |  TRUE |         |                                   |                          |         |
|         at | TIMESTAMP(3) *ROWTIME* |  TRUE |         |                                   | at - INTERVAL '5' SECOND |         |
| upper_name |                 STRING |  TRUE |         |                    AS UPPER(name) |                          |         |
|    written |       TIMESTAMP_LTZ(3) |  TRUE |         | METADATA FROM 'timestamp' VIRTUAL |                          |         |
+------------+------------------------+-------+---------+-----------------------------------+--------------------------+---------+
"#);
}

#[test]
fn time_attributes_are_shown_where_views_pass_them_on() {
    let mut session = session();
    assert_snapshot!(text(&mut session, "
        CREATE TABLE t (a INT, ts TIMESTAMP(3), p AS PROCTIME(), WATERMARK FOR ts AS ts)
          WITH ('connector' = 'test', 'topic' = 't');
        CREATE VIEW v AS SELECT ts AS t1, p, CAST(ts AS STRING) AS s FROM (SELECT * FROM t WHERE a > 1);
        DESCRIBE v"), @r#"
+------+-----------------------------+-------+-----+--------+-----------+
| name |                        type |  null | key | extras | watermark |
+------+-----------------------------+-------+-----+--------+-----------+
|   t1 |      TIMESTAMP(3) *ROWTIME* |  TRUE |     |        |           |
|    p | TIMESTAMP_LTZ(3) *PROCTIME* | FALSE |     |        |           |
|    s |                      STRING |  TRUE |     |        |           |
+------+-----------------------------+-------+-----+--------+-----------+
"#);
}

#[test]
fn what_is_shown_creates_the_same() {
    let shown = show("", "base");
    let mut other = session();
    other.execute(&shown).unwrap_or_else(|e| panic!("{shown}\n{e}"));
    let again = text(&mut other, "SHOW CREATE TABLE base");
    assert_eq!(again, shown);
}

#[test]
fn like_takes_all_by_default() {
    assert_snapshot!(show("CREATE TABLE x (more INT) WITH ('topic' = 'other') LIKE base", "x"), @r#"
CREATE TABLE `default_catalog`.`default_database`.`x` (
  `id` BIGINT NOT NULL COMMENT 'the key',
  `name` STRING,
  `at` TIMESTAMP(3),
  `upper_name` AS UPPER(name),
  `written` TIMESTAMP_LTZ(3) METADATA FROM 'timestamp' VIRTUAL,
  `more` INT,
  WATERMARK FOR `at` AS at - INTERVAL '5' SECOND,
  PRIMARY KEY (`id`) NOT ENFORCED
)
PARTITIONED BY (`name`)
WITH (
  'connector' = 'test',
  'properties.password' = '******',
  'topic' = 'other'
)
"#);
}

#[test]
fn like_leaves_out_and_overwrites() {
    assert_snapshot!(show("
        CREATE TABLE x (
          upper_name AS LOWER(name),
          WATERMARK FOR at AS at
        ) WITH ('connector' = 'writeonly', 'topic' = 'other')
        LIKE base (EXCLUDING ALL OVERWRITING GENERATED OVERWRITING WATERMARKS)", "x"), @r#"
CREATE TABLE `default_catalog`.`default_database`.`x` (
  `id` BIGINT NOT NULL COMMENT 'the key',
  `name` STRING,
  `at` TIMESTAMP(3),
  `upper_name` AS LOWER(name),
  WATERMARK FOR `at` AS at
)
WITH (
  'connector' = 'writeonly',
  'topic' = 'other'
)
"#);
}

#[test]
fn like_refuses_what_is_there_twice() {
    for (create, expected) in [
        (
            "CREATE TABLE x (name INT) LIKE base",
            "'base' has a column 'name' already",
        ),
        (
            "CREATE TABLE x (upper_name AS 1) LIKE base",
            "'base' has a column 'upper_name' already",
        ),
        (
            "CREATE TABLE x (WATERMARK FOR at AS at) LIKE base",
            "'base' has a watermark already",
        ),
        (
            "CREATE TABLE x (PRIMARY KEY (name) NOT ENFORCED) LIKE base",
            "'base' has a PRIMARY KEY already",
        ),
        (
            "CREATE TABLE x (y INT) PARTITIONED BY (y) LIKE base",
            "'base' is partitioned already",
        ),
        (
            "CREATE TABLE x (y INT) WITH ('topic' = 'z') LIKE base (INCLUDING OPTIONS)",
            "'base' has the option 'topic' already",
        ),
        (
            "CREATE TABLE x (y INT) LIKE base (INCLUDING OPTIONS EXCLUDING OPTIONS)",
            "a feature of LIKE is named twice",
        ),
        (
            "CREATE TABLE x (y INT) LIKE base (OVERWRITING CONSTRAINTS)",
            "can be overwritten",
        ),
        (
            "CREATE TABLE x (y INT) LIKE nobody",
            "there is no table or view 'nobody'",
        ),
    ] {
        let found = error(&format!("{BASE};{create}"));
        assert!(found.contains(expected), "{create}\n{found}");
    }
}

#[test]
fn mistakes_in_a_declaration() {
    for (create, expected) in [
        (
            "CREATE TABLE x (a INT, a STRING)",
            "the column 'a' is declared twice",
        ),
        ("CREATE TABLE x ()", "expected"),
        ("CREATE TABLE x", "has no columns"),
        ("CREATE TABLE x (a INT, b AS c + 1)", "there is no column 'c'"),
        (
            "CREATE TABLE x (a INT, b AS a + 1, c AS b + 1)",
            "there is no column 'b'",
        ),
        (
            "CREATE TABLE x (a INT, WATERMARK FOR a AS a)",
            "must be a TIMESTAMP",
        ),
        (
            "CREATE TABLE x (a TIMESTAMP(6), WATERMARK FOR a AS a)",
            "precision 3 at most",
        ),
        (
            "CREATE TABLE x (a TIMESTAMP(3), WATERMARK FOR a AS 1)",
            "must be of its column's type",
        ),
        (
            "CREATE TABLE x (a TIMESTAMP(3), WATERMARK FOR a AS a, WATERMARK FOR a AS a)",
            "one watermark at most",
        ),
        (
            "CREATE TABLE x (a TIMESTAMP(3), WATERMARK FOR b AS a)",
            "there is no column 'b'",
        ),
        (
            "CREATE TABLE x (a INT, PRIMARY KEY (a))",
            "must be declared NOT ENFORCED",
        ),
        (
            "CREATE TABLE x (a INT, PRIMARY KEY (a) ENFORCED)",
            "must be declared NOT ENFORCED",
        ),
        (
            "CREATE TABLE x (a INT, b AS 1, PRIMARY KEY (b) NOT ENFORCED)",
            "physical columns only",
        ),
        (
            "CREATE TABLE x (a INT, PRIMARY KEY (b) NOT ENFORCED)",
            "there is no column 'b'",
        ),
        (
            "CREATE TABLE x (a INT PRIMARY KEY NOT ENFORCED, b INT PRIMARY KEY NOT ENFORCED)",
            "one PRIMARY KEY at most",
        ),
        (
            "CREATE TABLE x (a INT) PARTITIONED BY (b)",
            "there is no column 'b'",
        ),
        (
            "CREATE TABLE x (a INT) WITH ('k' = '1', 'k' = '2')",
            "given twice",
        ),
        (
            "CREATE TABLE x (a INT DEFAULT 1)",
            "a column of Flink has no DEFAULT",
        ),
        ("CREATE TABLE x (a NULL)", "cannot be of type NULL"),
        (
            "CREATE TABLE x (b AS NULL)",
            "the type of this column is not known",
        ),
        ("CREATE TABLE flights (a INT)", "exists already"),
        (
            "CREATE VIEW v AS SELECT carrier, carrier FROM flights",
            "the column 'carrier' twice",
        ),
        (
            "CREATE VIEW v (a) AS SELECT carrier, delay FROM flights",
            "1 names for 2 columns",
        ),
        ("CREATE VIEW v AS SELECT NULL AS x FROM flights", "is not known"),
        ("DROP TABLE nobody", "there is no table or view 'nobody'"),
        ("DROP VIEW flights", "'flights' is no view"),
        ("CREATE TEMPORARY TABLE x (a INT); DROP TABLE x", "is temporary"),
        (
            "INSERT INTO late SELECT carrier, delay FROM flights; CREATE VIEW v AS SELECT 1 AS a; INSERT INTO v SELECT 1",
            "a view cannot be written to",
        ),
    ] {
        let found = error(create);
        assert!(found.contains(expected), "{create}\n{found}");
        assert!(found.contains('^'), "{create}\n{found}");
    }
}

#[test]
fn what_is_temporary_hides_what_is_not() {
    let mut session = session();
    session
        .execute(
            "CREATE TABLE x (a INT); CREATE TEMPORARY TABLE x (b INT); CREATE TABLE IF NOT EXISTS x (c INT)",
        )
        .unwrap_or_else(|e| panic!("{e}"));
    assert!(text(&mut session, "DESCRIBE x").contains(" b |"));
    session
        .execute("DROP TEMPORARY TABLE x")
        .unwrap_or_else(|e| panic!("{e}"));
    assert!(text(&mut session, "DESC x").contains(" a |"));
    session
        .execute("DROP TABLE x; DROP TABLE IF EXISTS x")
        .unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(text(&mut session, "SHOW TABLES"), "Empty set");
}
