//! What operators with keyed state are named by from one version of a job to the next, and what their columns
//! and rows are said to come from.

use std::collections::BTreeSet;

use millrace_dataflow::lineage::Lineage;
use millrace_dataflow::{Graph, Operator};

use crate::fixtures::{graph, session};

const TABLES: &str = "
CREATE TABLE orders (
  id INT, k INT, amount INT, note STRING, `at` TIMESTAMP(3), proc AS PROCTIME(),
  WATERMARK FOR `at` AS `at` - INTERVAL '5' SECOND
) WITH ('connector' = 'test', 'topic' = 'orders');
CREATE TABLE payments (
  id INT, paid INT, due TIMESTAMP(3), WATERMARK FOR due AS due - INTERVAL '5' SECOND
) WITH ('connector' = 'test', 'topic' = 'payments');
CREATE TABLE changes (
  id INT, k INT, amount INT, PRIMARY KEY (id) NOT ENFORCED
) WITH ('connector' = 'test', 'topic' = 'changes', 'mode' = 'upsert');
CREATE TABLE one (a INT, b INT) WITH ('connector' = 'writeonly', 'topic' = 'one', 'mode' = 'cdc');
CREATE TABLE two (a INT, b INT) WITH ('connector' = 'writeonly', 'topic' = 'two', 'mode' = 'cdc');
CREATE TABLE upserted (a INT, b INT, PRIMARY KEY (a) NOT ENFORCED)
  WITH ('connector' = 'writeonly', 'topic' = 'upserted', 'mode' = 'upsert');
CREATE TABLE keyed (a INT, b INT, PRIMARY KEY (a) NOT ENFORCED)
  WITH ('connector' = 'writeonly', 'topic' = 'keyed', 'mode' = 'cdc');
";

fn planned(script: &str) -> Graph {
    let mut session = session();
    session.execute(TABLES).unwrap_or_else(|e| panic!("{e}"));
    graph(&mut session, script)
}

fn set(statements: &[&str]) -> Graph {
    planned(&format!("BEGIN STATEMENT SET; {}; END", statements.join("; ")))
}

/// Those of the operators with keyed state, in the order of the plan.
fn keyed(graph: &Graph) -> Vec<String> {
    let keyed = graph.nodes.iter().filter(|node| node.operator.is_keyed());
    keyed.map(|node| node.uid.clone()).collect()
}

/// Of the one operator that a query has with keyed state.
fn uid(query: &str) -> String {
    let mut uids = keyed(&planned(&format!("INSERT INTO one {query}")));
    assert_eq!(uids.len(), 1, "{query}: {uids:?}");
    uids.remove(0)
}

const SUMS: &str = "SELECT k, SUM(amount) FROM orders GROUP BY k";

fn windows(window: &str, query: &str) -> String {
    query.replace(
        "{w}",
        &format!("TABLE({window}(TABLE orders, DESCRIPTOR(`at`), INTERVAL '10' SECOND))"),
    )
}

#[test]
fn a_uid_says_what_its_operator_is_and_whose_rows_it_keeps() {
    let ranked = "SELECT id, amount FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY {by}) AS rn FROM {w}) WHERE rn <= 1";
    let by = |by: &str, from: &str| ranked.replace("{by}", by).replace("{w}", from);
    let joined = "SELECT o.id, p.paid FROM orders o JOIN payments p ON o.id = p.id";
    for (begin, query) in [
        ("group-aggregate:orders:", SUMS.to_owned()),
        (
            "window-aggregate:orders:",
            windows(
                "TUMBLE",
                "SELECT k, SUM(amount) FROM {w} GROUP BY k, window_start, window_end",
            ),
        ),
        (
            "window-rank:orders:",
            windows(
                "TUMBLE",
                &by("window_start, window_end, k ORDER BY amount", "{w}"),
            ),
        ),
        ("rank:orders:", by("k ORDER BY amount", "orders")),
        ("rank:orders:", by("k ORDER BY proc", "orders")),
        (
            "over:orders:",
            "SELECT id, CAST(SUM(amount) OVER (PARTITION BY k ORDER BY `at`) AS INT) FROM orders".to_owned(),
        ),
        ("join:orders+payments:", joined.to_owned()),
        (
            "interval-join:orders+payments:",
            format!("{joined} AND o.`at` BETWEEN p.due AND p.due + INTERVAL '5' SECOND"),
        ),
        (
            "changelog-normalize:changes:",
            "SELECT id, amount FROM changes".to_owned(),
        ),
    ] {
        let uid = uid(&query);
        let rest = uid
            .strip_prefix(begin)
            .unwrap_or_else(|| panic!("{begin} of {uid}"));
        assert!(
            rest.len() == 8 && rest.bytes().all(|b| b.is_ascii_hexdigit()),
            "{uid}"
        );
    }
    // What is kept for a sink is the sink's.
    let query = "INSERT INTO keyed SELECT b, a FROM (SELECT k AS a, SUM(amount) AS b FROM orders GROUP BY k)";
    let uids = keyed(&planned(query));
    assert!(
        uids.iter().any(|uid| uid.starts_with("sink-materializer:keyed:")),
        "{uids:?}"
    );
}

/// State of a release is found by the next one: these change with a reason only.
#[test]
fn uids_stay_what_they_are() {
    assert_eq!(uid(SUMS), "group-aggregate:orders:f9005b00");
}

#[test]
fn names_that_a_query_chooses_and_what_stands_beside_it_change_no_uid() {
    let uid = uid(SUMS);
    for same in [
        "SELECT g, s FROM (SELECT o.k AS g, SUM(o.amount) AS s FROM orders AS o GROUP BY o.k) AS x",
        "SELECT g, s FROM (SELECT g, SUM(n) AS s FROM (SELECT amount AS n, note, k AS g FROM orders) GROUP BY g)",
        "WITH w AS (SELECT * FROM orders) SELECT k, SUM(amount) + 1 FROM w GROUP BY k",
        "SELECT k, SUM(amount) FROM orders GROUP BY k HAVING SUM(amount) > 3",
    ] {
        assert_eq!(self::uid(same), uid, "{same}");
    }
    // Another sink, statements before and behind it, a view of the same rows.
    let other = "INSERT INTO two SELECT k, MAX(amount) FROM orders GROUP BY k";
    let pairs =
        "INSERT INTO two SELECT o.id, p.paid FROM orders o JOIN payments p ON o.id = p.id WHERE note <> ''";
    for (statements, sink) in [
        ([pairs, "INSERT INTO one {q}", other], "one"),
        ([other, "INSERT INTO two {q}", pairs], "two"),
        (["INSERT INTO one {q}", pairs, other], "one"),
    ] {
        let statements = statements.map(|s| s.replace("{q}", SUMS));
        let graph = set(&statements.each_ref().map(String::as_str));
        assert!(keyed(&graph).contains(&uid), "{sink}: {:?}", keyed(&graph));
    }
    let graph = planned(&format!(
        "CREATE VIEW seen AS SELECT note, amount, k FROM orders; INSERT INTO one {}",
        SUMS.replace("orders", "seen")
    ));
    assert_eq!(keyed(&graph), [uid]);
}

/// A statement more of what another one has shares that one's operators, or has its own under the same uid with
/// something behind it, so that state finds both.
#[test]
fn a_statement_more_that_is_like_another_keeps_the_uid_or_extends_it() {
    let ranked = |columns: &str, order: &str| {
        format!(
            "SELECT {columns} FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY {order}) AS rn FROM orders)
             WHERE rn <= 1"
        )
    };
    let sessions = |columns: &str| {
        format!(
            "SELECT {columns} FROM TABLE(SESSION(TABLE orders PARTITION BY k, DESCRIPTOR(`at`), INTERVAL '10' SECOND))"
        )
    };
    let tumbled = |columns: &str, by: &str| {
        windows(
            "TUMBLE",
            &format!("SELECT {columns} FROM {{w}} GROUP BY {by}, window_start, window_end"),
        )
    };
    let joined = |columns: &str| format!("SELECT {columns} FROM orders o JOIN payments p ON o.id = p.id");
    let over = |columns: &str| {
        format!("SELECT {columns}, SUM(amount) OVER (PARTITION BY k ORDER BY `at`) FROM orders")
    };
    for (first, more) in [
        (SUMS.to_owned(), "SELECT s + 1, g FROM (SELECT g, SUM(n) AS s FROM (SELECT amount AS n, note, k AS g FROM orders) GROUP BY g)".to_owned()),
        (SUMS.to_owned(), "SELECT SUM(amount), k FROM orders GROUP BY k".to_owned()),
        (SUMS.to_owned(), format!("{SUMS} HAVING SUM(amount) > 1")),
        (SUMS.to_owned(), SUMS.replace("orders", "(SELECT amount, id, k FROM orders)")),
        (tumbled("k, SUM(amount)", "k"), tumbled("SUM(s), g", "g").replace("SUM(s)", "SUM(amount)").replace("g", "k")),
        (ranked("k, id", "proc"), ranked("id, amount", "proc")),
        (ranked("k, id", "amount"), ranked("amount, id", "amount")),
        (sessions("k, id"), sessions("amount, id")),
        (joined("o.id, p.paid"), joined("o.k, p.paid")),
        (joined("o.id, p.paid"), joined("p.paid, o.id")),
        (over("id"), over("k")),
    ] {
        for into in ["two", "upserted"] {
        let first = format!("INSERT INTO one {first}");
        let more = format!("INSERT INTO {into} {more}");
        let alone = keyed(&set(&[&first]));
        for statements in [[&first, &more], [&more, &first]] {
            let both = keyed(&set(&statements.map(String::as_str)));
            let is_kept = |uid: &String| {
                    let mut twins = both.iter().filter(|other| other.starts_with(&format!("{uid}:")));
                    both.contains(uid) || twins.next().is_some()
                };
                assert!(
                    alone.iter().all(is_kept),
                    "{first}\nand {more}\n{alone:?} in {both:?}"
                );
        }
        }
    }
}

#[test]
fn what_is_kept_changes_the_uid() {
    let ranked = |order: &str, n: u32| {
        format!(
            "SELECT id, amount FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY {order}) AS rn
             FROM orders) WHERE rn <= {n}"
        )
    };
    let window = |window: &str, by: &str| {
        windows(
            window,
            &format!("SELECT 1, SUM(amount) FROM {{w}} GROUP BY {by}window_start, window_end"),
        )
    };
    let over = |frame: &str| {
        format!("SELECT id, COALESCE(SUM(amount) OVER (PARTITION BY k ORDER BY `at` {frame}), 0) FROM orders")
    };
    let joined = |kind: &str, more: &str| {
        format!("SELECT o.id, p.paid FROM orders o {kind} JOIN payments p ON o.id = p.id AND {more}")
    };
    let near = |seconds: u32| {
        joined(
            "",
            &format!("o.`at` BETWEEN p.due AND p.due + INTERVAL '{seconds}' SECOND"),
        )
    };
    // Words of columns that are put together must not hide which is which.
    let united = |a: u32, b: u32, c: &str, d: &str| {
        format!(
            "SELECT t, SUM(n) FROM (SELECT {a} AS t, {c} AS n FROM payments UNION ALL SELECT {b}, {d} FROM payments)
             GROUP BY t"
        )
    };
    let selves = |b: &str, c: &str| {
        format!(
            "SELECT {b}.k, MAX({c}.k) FROM orders a JOIN orders b ON a.id = b.id JOIN orders c ON a.id = c.id
             GROUP BY {b}.k"
        )
    };
    let twice = |a: &str, b: &str| {
        format!(
            "SELECT k, SUM({a}) - MAX({b}) FROM (SELECT k, w1, SUM(amount) OVER (PARTITION BY id ORDER BY `at`) AS w2
             FROM (SELECT *, SUM(amount) OVER (PARTITION BY k ORDER BY `at`) AS w1 FROM orders)) GROUP BY k"
        )
    };
    let lists = |how: &str| {
        let (before, after) = if how == "DISTINCT" { (how, "") } else { ("", how) };
        format!("SELECT k, CARDINALITY(ARRAY_AGG({before} amount{after})) FROM orders GROUP BY k")
    };
    for different in [
        vec![
            SUMS.to_owned(),
            SUMS.replace("SUM", "MIN"),
            SUMS.replace("SUM(amount)", "SUM(DISTINCT amount)"),
            SUMS.replace("SUM(amount)", "SUM(id)"),
            SUMS.replace("SUM(amount)", "SUM(amount) FILTER (WHERE id > 1)"),
            SUMS.replace("SUM(amount)", "SUM(amount + 1)"),
            SUMS.replace("BY k", "BY k, note"),
            SUMS.replace("GROUP", "WHERE id > 1 GROUP"),
            SUMS.replace("GROUP", "WHERE id > 2 GROUP"),
            SUMS.replace("orders", "changes"),
            SUMS.replace(
                "orders",
                "(SELECT * FROM orders UNION ALL SELECT * FROM orders WHERE id > 1)",
            ),
        ],
        vec![
            window("TUMBLE", ""),
            window("TUMBLE", "k, "),
            window("SESSION", ""),
            window("HOP", "").replace("))", ", INTERVAL '20' SECOND))"),
            window("HOP", "").replace("))", ", INTERVAL '30' SECOND))"),
            window("CUMULATE", "").replace("))", ", INTERVAL '20' SECOND))"),
        ],
        vec![
            ranked("amount", 2),
            ranked("amount", 3),
            ranked("amount DESC", 2),
            ranked("amount DESC NULLS FIRST", 2),
            ranked("amount, id", 2),
            ranked("proc", 1),
            ranked("proc DESC", 1),
            ranked("`at`", 1),
        ],
        vec![
            over("ROWS BETWEEN 2 PRECEDING AND CURRENT ROW"),
            over("ROWS BETWEEN 3 PRECEDING AND CURRENT ROW"),
            over("ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW"),
            over("RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW"),
        ],
        vec![united(1, 2, "id", "paid"), united(2, 1, "id", "paid")],
        vec![selves("b", "c"), selves("c", "b")],
        vec![twice("w1", "w2"), twice("w2", "w1")],
        vec![lists(""), lists(" IGNORE NULLS"), lists("DISTINCT")],
        vec![
            joined("", "o.k > 1"),
            joined("", "o.k > 2"),
            joined("LEFT", "o.k > 2"),
            joined("", "o.k = p.paid"),
            near(5),
            near(6),
        ],
    ] {
        let queries = different.iter();
        let uids: BTreeSet<String> = queries
            .flat_map(|query| {
                let uids = keyed(&planned(&format!("INSERT INTO one {query}")));
                // Where a query has several, the one that it is about is the last.
                uids.into_iter().next_back()
            })
            .collect();
        assert_eq!(uids.len(), different.len(), "{different:?}\n{uids:?}");
    }
}

/// Such are not put together, for each call of RAND is another one.
#[test]
fn operators_that_are_equal_to_the_last_word_go_by_their_sinks_then_by_number() {
    const RANDOM: &str = "SELECT k, COUNT(*) FROM orders WHERE RAND() < 0.5 GROUP BY k";
    let into = |sink: &str| {
        format!(
            "INSERT INTO {sink} SELECT k, CAST(c AS INT) FROM ({}) AS t (k, c)",
            RANDOM
        )
    };
    let (one, two) = (into("one"), into("two"));
    let alone = keyed(&set(&[&one]));
    let both = keyed(&set(&[&one, &two]));
    let reversed = keyed(&set(&[&two, &one]));
    assert_eq!(both.len(), 2, "{both:?}");
    assert!(
        both.iter().all(|uid| uid.starts_with(&format!("{}:", alone[0]))),
        "{both:?}"
    );
    assert_eq!(
        both.iter().rev().collect::<Vec<_>>(),
        reversed.iter().collect::<Vec<_>>()
    );
    // Into the same sink nothing tells them apart but their number.
    let twice = keyed(&set(&[&one, &one]));
    let numbered = twice[1].strip_suffix(":2");
    assert_eq!(numbered, Some(twice[0].as_str()), "{twice:?}");
}

/// What comes into the sink of a query: its columns, its rows, its tables.
fn lineage(query: &str) -> (String, String, String) {
    let graph = planned(&format!("INSERT INTO one {query}"));
    let lineage = Lineage::new(&graph.nodes);
    let sink = graph
        .nodes
        .iter()
        .find(|node| matches!(node.operator, Operator::Sink(_)));
    let input = sink.unwrap().inputs[0].from;
    (
        lineage.columns(input).join(", "),
        lineage.rows(input).to_owned(),
        lineage.tables(input).join(", "),
    )
}

#[test]
fn columns_and_rows_are_said_by_what_they_come_from() {
    let ranked = "SELECT k, id FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY amount DESC) AS rn FROM orders) \
                  WHERE rn <= 2";
    // Of the rows where they begin.
    for (query, columns, rows, tables) in [
        (
            "SELECT x.a, x.b + 1 FROM (SELECT id AS a, k AS b FROM orders) AS x",
            "orders.id, (orders.k + 1)",
            "orders",
            "orders",
        ),
        (
            "SELECT id, k FROM orders WHERE amount > 10 AND note = 'a'",
            "orders.id, orders.k",
            "orders WHERE ((orders.amount > 10) AND (orders.note = 'a'))",
            "orders",
        ),
        (
            SUMS,
            "orders.k, SUM(orders.amount)",
            "GroupAggregate(groupBy=[orders.k], select=[SUM(orders.amount)]) of orders",
            "orders",
        ),
        (
            "SELECT k, CARDINALITY(ARRAY_AGG(DISTINCT id) FILTER (WHERE amount > 1)) FROM orders GROUP BY k",
            "orders.k, CARDINALITY(ARRAY_AGG(DISTINCT orders.id) FILTER (orders.amount > 1))",
            "GroupAggregate(groupBy=[orders.k], select=[ARRAY_AGG(DISTINCT orders.id) FILTER (orders.amount > 1)]) of orders",
            "orders",
        ),
        (
            "SELECT o.id, p.id FROM orders o LEFT JOIN payments p ON o.id = p.id",
            "orders.id, payments.id",
            "Join(joinType=[LeftOuterJoin], where=[(orders.id = payments.id)], select=[orders.id, payments.id], ",
            "orders, payments",
        ),
        (
            "SELECT a.id, b.id FROM orders a JOIN orders b ON a.id = b.k",
            "orders.id, right orders.id",
            "Join(joinType=[InnerJoin], where=[(orders.id = orders.k)], select=[orders.id, right orders.id, orders.k], ",
            "orders",
        ),
        (
            "SELECT id, k FROM orders UNION ALL SELECT paid, id FROM payments",
            "orders.id or payments.paid, orders.k or payments.id",
            "(orders with orders.id, orders.k and payments with payments.paid, payments.id)",
            "orders, payments",
        ),
        (
            "SELECT paid, id FROM payments UNION ALL SELECT id, k FROM orders",
            "orders.id or payments.paid, orders.k or payments.id",
            "(orders with orders.id, orders.k and payments with payments.paid, payments.id)",
            "orders, payments",
        ),
        (
            "VALUES (1, 2)",
            "VALUES.0, VALUES.1",
            "Values(tuples=[[{ 1, 2 }]], ",
            "",
        ),
        (
            "SELECT id, k FROM orders /*+ OPTIONS('json.x' = 'y') */",
            "orders.id, orders.k",
            "orders:b1582f9f",
            "orders",
        ),
        (
            "SELECT id, amount FROM orders WHERE id NOT IN (SELECT id FROM payments WHERE id IS NOT NULL)",
            "orders.id, orders.amount",
            "Join(joinType=[LeftAntiJoin], where=[(orders.id IS NULL OR (payments.id IS NULL OR ",
            "orders, payments",
        ),
        (
            ranked,
            "orders.k, orders.id",
            "Rank(strategy=[AppendFastStrategy], rankType=[ROW_NUMBER], rankRange=[rankStart=1, rankEnd=2], \
             partitionBy=[orders.k], orderBy=[orders.amount DESC], select=[orders.id, orders.k, orders.amount]) with o... ",
            "orders",
        ),
        (
            "SELECT id, LAG(amount, 2) OVER (PARTITION BY k ORDER BY `at`) FROM orders",
            "orders.id, LAG(orders.amount, 2) OVER",
            "OverAggregate(partitionBy=[orders.k], orderBy=[orders.at ASC], window=[ RANG BETWEEN UNBOUNDED PRECEDING ",
            "orders",
        ),
    ] {
        let said = lineage(query);
        assert_eq!((said.0.as_str(), said.2.as_str()), (columns, tables), "{query}");
        assert!(said.1.starts_with(rows), "{query}: {}", said.1);
    }
}
