//! Aggregations over rows that are unique in the columns they are grouped by: which ones go, as Flink's do.

use crate::fixtures::plan;

const TABLES: &str = "
    CREATE TABLE o (id INT, customer STRING, amount INT, n INT, PRIMARY KEY (id) NOT ENFORCED)
      WITH ('connector' = 'test', 'topic' = 'x', 'mode' = 'cdc');
    CREATE TABLE d (id INT, name STRING, PRIMARY KEY (id) NOT ENFORCED)
      WITH ('connector' = 'test', 'topic' = 'x', 'mode' = 'cdc');
    CREATE TABLE named (id INT, name STRING, PRIMARY KEY (name) NOT ENFORCED)
      WITH ('connector' = 'test', 'topic' = 'x', 'mode' = 'cdc');
    CREATE TABLE newest (id INT, name STRING, PRIMARY KEY (id) NOT ENFORCED)
      WITH ('connector' = 'test', 'topic' = 'x', 'mode' = 'upsert');
    CREATE TABLE two (id INT, n INT, note STRING, amount INT, PRIMARY KEY (id, n) NOT ENFORCED)
      WITH ('connector' = 'test', 'topic' = 'x', 'mode' = 'cdc');
    CREATE TABLE timed (id INT, amount INT, ts TIMESTAMP(3), PRIMARY KEY (id) NOT ENFORCED, WATERMARK FOR ts AS ts)
      WITH ('connector' = 'test', 'topic' = 'x', 'mode' = 'cdc');
    CREATE TABLE a (user_id STRING, item STRING, grade INT NOT NULL, amount INT, price INT, p AS PROCTIME())
      WITH ('connector' = 'test', 'topic' = 'x');";

/// How many aggregations are left.
fn left(query: &str) -> usize {
    plan(&format!("{TABLES} EXPLAIN {query}"))
        .matches("GroupAggregate(")
        .count()
}

#[track_caller]
fn check(expected: usize, queries: &[&str]) {
    for query in queries {
        assert_eq!(
            left(query),
            expected,
            "{}",
            plan(&format!("{TABLES} EXPLAIN {query}"))
        );
    }
}

#[test]
fn a_row_of_a_key_is_its_own_group() {
    check(
        0,
        &[
            "SELECT id, MAX(amount) FROM o GROUP BY id",
            // A filter over all columns puts no value in their place.
            "SELECT id, MAX(name) FROM d WHERE id = 3 GROUP BY id",
            "SELECT id, MAX(name) FROM newest WHERE id = 3 GROUP BY id",
            "SELECT id, customer, SUM(amount) FROM o WHERE customer = 'ann' GROUP BY id, customer",
            "SELECT i, MAX(amount) FROM (SELECT id AS i, amount FROM o WHERE amount > 3) GROUP BY i",
            "SELECT id, n, MAX(amount) FROM two GROUP BY id, n",
            "SELECT id, MAX(amount) FROM o GROUP BY GROUPING SETS ((id), (id, customer))",
        ],
    );
    check(
        1,
        &[
            "SELECT id, COUNT(amount) FROM o GROUP BY id",
            "SELECT i, MAX(amount) FROM (SELECT id + 1 AS i, amount FROM o) GROUP BY i",
            "SELECT id, MAX(amount) FROM (SELECT * FROM o UNION ALL SELECT * FROM o) GROUP BY id",
            // What is behind a watermark has no key to Flink.
            "SELECT id, MAX(amount) FROM timed GROUP BY id",
        ],
    );
}

#[test]
fn a_top_n_is_as_unique_as_what_it_is_taken_of() {
    check(
        1,
        &[
            "SELECT user_id, MAX(amount) FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY user_id ORDER BY p DESC) AS rn \
             FROM a) WHERE rn = 1 GROUP BY user_id",
            "SELECT user_id, MAX(amount) FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY user_id ORDER BY price DESC) AS \
             rn FROM a) WHERE rn = 1 GROUP BY user_id",
            "SELECT DISTINCT user_id FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY user_id ORDER BY p DESC) AS rn FROM \
             a) WHERE rn = 1",
            "SELECT user_id, rn, MAX(amount) FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY user_id ORDER BY price) AS \
             rn FROM a) WHERE rn <= 2 GROUP BY user_id, rn",
        ],
    );
    check(
        0,
        &[
            "SELECT id, rn, MAX(amount) FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY customer ORDER BY amount) AS rn \
           FROM o) WHERE rn <= 2 GROUP BY id, rn",
        ],
    );
}

#[test]
fn rows_of_a_join_are_unique_by_both_sides_or_by_one_that_finds_one_row() {
    check(
        0,
        &[
            "SELECT o.id, d.id, MAX(amount) FROM o JOIN d ON customer = name GROUP BY o.id, d.id",
            "SELECT o.id, d.id, MAX(amount) FROM o FULL JOIN d ON o.id = d.id GROUP BY o.id, d.id",
            "SELECT o.id, MAX(amount) FROM o JOIN named ON customer = name GROUP BY o.id",
            "SELECT o.id, MAX(named.id) FROM o LEFT JOIN named ON customer = name GROUP BY o.id",
            "SELECT o.id, MAX(amount) FROM o WHERE customer IN (SELECT name FROM d) GROUP BY o.id",
            "SELECT o.id, MAX(amount) FROM o WHERE NOT EXISTS (SELECT 1 FROM d WHERE name = customer) GROUP BY o.id",
        ],
    );
    check(
        1,
        &[
            "SELECT o.id, d.name, MAX(amount) FROM o JOIN d ON o.id = d.id GROUP BY o.id, d.name",
            "SELECT o.id, MAX(amount) FROM o JOIN d ON customer = name GROUP BY o.id",
            "SELECT o.id, MAX(amount) FROM o RIGHT JOIN d ON o.id = d.id GROUP BY o.id",
            "SELECT d.id, MAX(amount) FROM o LEFT JOIN d ON o.id = d.id GROUP BY d.id",
            "SELECT o.id, MAX(amount) FROM o LEFT JOIN named ON customer = name WHERE customer = 'ann' GROUP BY o.id",
        ],
    );
    // One row, whatever the condition is: the aggregation that is left is that one.
    check(
        1,
        &["SELECT o.id, MAX(amount) FROM o JOIN (SELECT MAX(id) AS m FROM d) ON o.id < m GROUP BY o.id"],
    );
}

#[test]
fn nothing_is_grouped_by_a_constant() {
    check(
        1,
        &[
            "SELECT id, MAX(amount) FROM o WHERE id = 3 GROUP BY id",
            "SELECT id, MAX(amount) FROM o WHERE id IN (1 + 2) GROUP BY id",
            "SELECT id, customer, MAX(amount) FROM o WHERE id = 3 GROUP BY id, customer",
            "SELECT id, n, MAX(amount) FROM two WHERE n = 3 GROUP BY id, n",
            "SELECT o.id, MAX(amount) FROM o JOIN d ON o.id = d.id WHERE d.id = 3 GROUP BY o.id",
        ],
    );
    check(
        1,
        &[
            "SELECT user_id, SUM(c) FROM (SELECT user_id, grade, COUNT(*) AS c FROM a GROUP BY user_id, grade) \
             WHERE grade = 3 GROUP BY user_id",
            "SELECT user_id, grade, SUM(c) FROM (SELECT user_id, grade, COUNT(*) AS c FROM a GROUP BY user_id, grade) \
             WHERE grade = 3 GROUP BY user_id, grade",
            "SELECT item, SUM(c) FROM (SELECT user_id, item, COUNT(*) AS c FROM a WHERE user_id IS NULL \
             GROUP BY user_id, item) GROUP BY item",
        ],
    );
    // A value that has to be cast to a type with NULL is no constant to Flink.
    check(
        2,
        &[
            "SELECT user_id, SUM(c) FROM (SELECT user_id, item, COUNT(*) AS c FROM a GROUP BY user_id, item) \
             WHERE item = 'pen' GROUP BY user_id",
            "SELECT user_id, SUM(c) FROM (SELECT user_id, grade, COUNT(*) AS c FROM a GROUP BY user_id, grade) \
             WHERE grade > 3 GROUP BY user_id",
            // What is computed is filtered before that, and no column has one value then.
            "SELECT user_id, SUM(c) FROM (SELECT user_id, grade + 1 AS g, COUNT(*) AS c FROM a GROUP BY user_id, \
             grade + 1) WHERE g = 3 GROUP BY user_id",
        ],
    );
}
