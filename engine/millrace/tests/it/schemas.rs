//! What the keyed state of a planned job is said to be made of, and what becomes of it in another job: by the
//! plans alone, nothing is run.

use std::collections::BTreeMap;

use millrace_cluster::compatibility::{self, Fate};
use millrace_core::Configuration;
use millrace_dataflow::{JobGraph, Operator};
use millrace_runtime::state_schema;
use millrace_sql::{Outcome, Session};
use millrace_state::keyed::KeyedFiles;
use millrace_state::schema::StateSchema;
use millrace_state::{Metadata, OperatorState, StateBlob, SubtaskState};

const TABLES: &str = "
CREATE TABLE orders (
  id INT NOT NULL, k INT, amount INT, note STRING, `at` TIMESTAMP(3), proc AS PROCTIME(),
  WATERMARK FOR `at` AS `at` - INTERVAL '5' SECOND
) WITH ('connector' = 'datagen');
CREATE TABLE payments (
  id INT, paid DECIMAL(10, 2), due TIMESTAMP(3), WATERMARK FOR due AS due - INTERVAL '5' SECOND
) WITH ('connector' = 'datagen');
CREATE TABLE one (a INT, b BIGINT) WITH ('connector' = 'blackhole');
CREATE TABLE two (a INT, b BIGINT) WITH ('connector' = 'blackhole');
CREATE TABLE keyed (a BIGINT, b INT, PRIMARY KEY (a) NOT ENFORCED) WITH ('connector' = 'blackhole');
";

fn planned(script: &str) -> JobGraph {
    let mut session = Session::new(Configuration::default(), millrace_connectors::registry());
    session.execute(TABLES).unwrap_or_else(|e| panic!("{e}"));
    let outcomes = session
        .execute(script)
        .unwrap_or_else(|e| panic!("{script}\n{e}"));
    let mut jobs = outcomes.into_iter().filter_map(|outcome| match outcome {
        Outcome::Job(job) => Some(job),
        _ => None,
    });
    let job = jobs.next().unwrap();
    JobGraph::build(&job.graph, "job", &job.config).unwrap()
}

fn set(statements: &[&str]) -> JobGraph {
    planned(&format!("BEGIN STATEMENT SET; {}; END", statements.join("; ")))
}

fn schemas(graph: &JobGraph) -> BTreeMap<String, StateSchema> {
    state_schema::of_job(graph).unwrap()
}

/// `form | keys | fields | rows` of the operator of a kind.
fn shown(script: &str, kind: &str) -> String {
    let schemas = schemas(&planned(script));
    let mut of_kind = schemas
        .iter()
        .filter(|(uid, _)| uid.starts_with(&format!("{kind}:")));
    let (Some((_, schema)), None) = (of_kind.next(), of_kind.next()) else {
        panic!("not one {kind}: {:?}", schemas.keys());
    };
    let list = |fields: &[millrace_state::schema::StateField]| {
        let all = fields.iter().map(|f| format!("{} {}", f.name, f.data_type));
        all.collect::<Vec<_>>().join(", ")
    };
    format!(
        "{} | {} | {} | {}",
        schema.form,
        list(&schema.keys),
        list(&schema.fields),
        schema.rows
    )
}

#[test]
fn state_is_said_to_be_what_operators_keep() {
    let ranked = |order: &str, n: u32| {
        format!(
            "INSERT INTO one SELECT id, amount FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY k ORDER BY {order})
             AS rn FROM orders) WHERE rn <= {n}"
        )
    };
    let window = |window: &str, query: &str| {
        let table = format!("TABLE({window}(TABLE orders, DESCRIPTOR(`at`), INTERVAL '10' SECOND))");
        format!("INSERT INTO one {}", query.replace("{w}", &table))
    };
    let sums = "SELECT k, SUM(amount) FROM {w} GROUP BY k, window_start, window_end";
    let into = |query: &str| format!("INSERT INTO one {query}");
    for (kind, script, expected) in [
        (
            "group-aggregate",
            into("SELECT k, SUM(amount) FROM orders WHERE id > 1 GROUP BY k"),
            "groups | orders.k INT | SUM(orders.amount).sum INT, SUM(orders.amount).count BIGINT | orders \
             WHERE (orders.id > 1)",
        ),
        (
            "group-aggregate",
            into("SELECT k, COUNT(DISTINCT id) FILTER (WHERE amount > 1) FROM orders GROUP BY k"),
            "groups | orders.k INT | COUNT(DISTINCT orders.id) FILTER (orders.amount > 1).count BIGINT | \
             orders",
        ),
        (
            "window-aggregate",
            window("TUMBLE", sums),
            "slices of TUMBLE(size=[10 s]) | orders.k INT | SUM(orders.amount).sum INT, \
             SUM(orders.amount).count BIGINT | orders",
        ),
        (
            "window-aggregate",
            window("SESSION", sums).replace("orders,", "orders PARTITION BY k,"),
            "sessions of SESSION(gap=[10 s]) | orders.k INT | SUM(orders.amount).sum INT, \
             SUM(orders.amount).count BIGINT | orders",
        ),
        (
            "rank",
            ranked("amount DESC, id", 3),
            "rows of the range to 3, ordered by orders.amount DESC NULLS LAST, orders.id ASC NULLS FIRST | \
             orders.k INT | orders.id INT, orders.k INT, orders.amount INT | orders",
        ),
        (
            "rank",
            ranked("proc", 1),
            "first row by clock | orders.k INT | orders.id INT, orders.k INT, orders.amount INT | orders",
        ),
        (
            "rank",
            ranked("`at` DESC", 1),
            "last row by orders.at | orders.k INT | orders.id INT, orders.k INT, orders.amount INT, \
             orders.at TIMESTAMP(3) | orders",
        ),
        (
            "over",
            into("SELECT id, SUM(amount) OVER (PARTITION BY k ORDER BY proc) FROM orders"),
            "running accumulators | orders.k INT | SUM(orders.amount) INT | orders",
        ),
        (
            "over",
            into(
                "SELECT id, SUM(amount) OVER (PARTITION BY k ORDER BY `at` ROWS BETWEEN 2 PRECEDING AND CURRENT ROW) FROM orders",
            ),
            "accumulators and rows for ROWS BETWEEN 2 PRECEDING AND CURRENT ROW | orders.k INT | orders.id \
             INT, orders.k INT, orders.amount INT, orders.at TIMESTAMP(3), SUM(orders.amount) INT | orders",
        ),
        (
            "join",
            into(
                "SELECT o.id, o.amount FROM orders o LEFT JOIN payments p ON o.id = p.id AND o.amount < p.paid",
            ),
            "LeftOuterJoin, left counted, right counted | orders.id INT | left.orders.id INT, \
             left.orders.amount INT, right.payments.id INT, right.payments.paid DECIMAL(10, 2) | orders and \
             payments",
        ),
        (
            "interval-join",
            into(
                "SELECT o.id, o.amount FROM orders o JOIN payments p ON o.id = p.id
                 AND o.`at` BETWEEN p.due AND p.due + INTERVAL '5' SECOND",
            ),
            "interval InnerJoin | orders.id INT | left.orders.id INT, left.orders.amount INT, left.orders.at \
             TIMESTAMP(3), right.payments.id INT, right.payments.due TIMESTAMP(3) | orders and payments",
        ),
        (
            "sink-materializer",
            "INSERT INTO keyed SELECT SUM(amount), k FROM orders GROUP BY k".to_owned(),
            "rows in order, told apart by (orders.k) | CAST(SUM(orders.amount) AS BIGINT) BIGINT | \
             CAST(SUM(orders.amount) AS BIGINT) BIGINT, orders.k INT | GroupAggregate(groupBy=[orders.k], \
             select=[SUM(orders.amount)]) of orders",
        ),
    ] {
        assert_eq!(shown(&script, kind), expected, "{script}");
    }
}

#[test]
fn two_phases_keep_what_one_keeps_under_the_same_uid() {
    let query = "INSERT INTO one SELECT k, SUM(amount) FROM orders WHERE id > 1 GROUP BY k";
    let bundles = "SET 'table.exec.mini-batch.enabled' = 'true'; SET 'table.exec.mini-batch.size' = '100';
        SET 'table.exec.mini-batch.allow-latency' = '1 s';";
    let one = schemas(&planned(query));
    let two = planned(&format!(
        "{bundles} SET 'table.optimizer.agg-phase-strategy' = 'TWO_PHASE'; {query}"
    ));
    let is_second = |operator: &Operator| matches!(operator, Operator::GlobalGroupAggregate(_));
    assert!(two.operators().any(|(node, _)| is_second(&node.operator)));
    assert_eq!(schemas(&two), one);
}

/// A checkpoint of a job whose sources and keyed operators have something in it.
fn checkpoint(graph: &JobGraph) -> Metadata {
    let schemas = schemas(graph);
    let with_state = |(node, _): &(&millrace_dataflow::Node, _)| {
        node.operator.is_keyed() || matches!(node.operator, Operator::Source(_))
    };
    let operators = graph
        .operators()
        .filter(with_state)
        .map(|(node, _)| OperatorState {
            uid: node.uid.clone(),
            name: node.name.clone(),
            subtasks: vec![match node.operator.is_keyed() {
                true => SubtaskState {
                    keyed: Some(KeyedFiles::default()),
                    ..SubtaskState::default()
                },
                false => SubtaskState {
                    entries: vec![StateBlob::inline(vec![1])],
                    ..SubtaskState::default()
                },
            }],
            schema: schemas.get(&node.uid).cloned(),
        });
    Metadata {
        checkpoint: 1,
        operators: operators.collect(),
        ..Metadata::default()
    }
}

/// What becomes of the state of each operator, by the kind and tables in its uid.
fn fates(metadata: &Metadata, graph: &JobGraph) -> Vec<(String, Fate)> {
    let compared = compatibility::compare(metadata, graph).unwrap();
    let of = |uid: &str| uid.splitn(3, ':').take(2).collect::<Vec<_>>().join(":");
    let mut all: Vec<(String, Fate)> = compared
        .operators
        .iter()
        .filter(|operator| !operator.uid.starts_with("sink:"))
        .map(|operator| (of(&operator.uid), operator.fate.clone()))
        .collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

const SUMS: &str = "INSERT INTO one SELECT k, SUM(amount) FROM orders GROUP BY k";
const JOINED: &str = "INSERT INTO two SELECT o.id, o.amount FROM orders o JOIN payments p ON o.id = p.id AND o.amount < p.paid";

fn named(all: &[(&str, Fate)]) -> Vec<(String, Fate)> {
    all.iter()
        .map(|(name, fate)| ((*name).to_owned(), fate.clone()))
        .collect()
}

#[test]
fn what_stays_comes_and_goes_is_told_apart() {
    let before = checkpoint(&set(&[SUMS, JOINED]));
    let kept = |names: &[&'static str]| names.iter().map(|name| (*name, Fate::Kept)).collect::<Vec<_>>();
    assert_eq!(
        fates(&before, &set(&[JOINED, SUMS])),
        named(&kept(&[
            "group-aggregate:orders",
            "join:orders+payments",
            "source:orders",
            "source:payments"
        ]))
    );
    assert_eq!(
        fates(&before, &set(&[SUMS])),
        named(&[
            ("group-aggregate:orders", Fate::Kept),
            ("join:orders+payments", Fate::Lost),
            ("source:orders", Fate::Kept),
            ("source:payments", Fate::Lost),
        ])
    );
    let alone = checkpoint(&set(&[SUMS]));
    assert_eq!(
        fates(&alone, &set(&[SUMS, JOINED])),
        named(&[
            ("group-aggregate:orders", Fate::Kept),
            ("join:orders+payments", Fate::New),
            ("source:orders", Fate::Kept),
            ("source:payments", Fate::New),
        ])
    );
    let compared = compatibility::compare(&before, &planned(SUMS)).unwrap();
    let error = compared.check(false).unwrap_err().to_string();
    assert!(
        error.contains("does not have") && error.contains("join:orders+payments"),
        "{error}"
    );
    compared.check(true).unwrap();
}

/// The one thing that does not fit.
fn difference(before: &Metadata, after: &JobGraph) -> (String, String) {
    let all = fates(before, after);
    let mut wrong = all.iter().filter_map(|(name, fate)| match fate {
        Fate::Incompatible(difference) => Some((name.clone(), difference.clone())),
        _ => None,
    });
    let (Some(found), None) = (wrong.next(), wrong.next()) else {
        panic!("not one incompatible operator: {all:?}");
    };
    assert!(
        all.iter()
            .all(|(_, fate)| !matches!(fate, Fate::Lost | Fate::New)),
        "a changed operator is neither lost nor new: {all:?}"
    );
    let compared = compatibility::compare(before, after).unwrap();
    for may_lose in [false, true] {
        let error = compared.check(may_lose).unwrap_err().to_string();
        assert!(error.contains(&found.1), "{} in {error}", found.1);
    }
    found
}

#[test]
fn a_changed_operator_is_compared_with_the_one_that_it_was() {
    let most = "INSERT INTO two SELECT k, MAX(amount) FROM orders GROUP BY k";
    let by_id = "INSERT INTO two SELECT id, SUM(amount) FROM orders GROUP BY id";
    // Two are of the same tables: the one with the same keys it was, whatever stands first.
    for statements in [[SUMS, by_id], [by_id, SUMS]] {
        let before = checkpoint(&set(&statements));
        let changed = SUMS.replace("SUM(amount)", "SUM(id)");
        let (name, said) = difference(&before, &set(&[&changed, by_id]));
        assert_eq!(name, "group-aggregate:orders");
        assert!(
            said.contains("SUM(orders.amount)") && said.contains("SUM(orders.id)"),
            "{said}"
        );
        let changed = by_id.replace("SUM(amount)", "COUNT(*)");
        let (_, said) = difference(&before, &set(&[SUMS, &changed]));
        assert!(
            said.contains("SUM(orders.amount)") && said.contains("COUNT(*)"),
            "{said}"
        );
        assert!(!said.contains("keyed by"), "{said}");
    }
    // None has its keys: one of them it was.
    let before = checkpoint(&set(&[SUMS, most]));
    let changed = SUMS.replace("BY k", "BY k, note");
    let (_, said) = difference(&before, &set(&[&changed, most]));
    assert!(said.contains("keyed by (orders.k INT)"), "{said}");
    // What differs in nothing that a schema says.
    let near =
        |seconds: u32| format!("{JOINED} AND o.`at` BETWEEN p.due AND p.due + INTERVAL '{seconds}' SECOND");
    let (name, said) = difference(&checkpoint(&planned(&near(5))), &planned(&near(6)));
    assert_eq!(name, "interval-join:orders+payments");
    assert!(said.contains("another condition, window or range"), "{said}");
}

#[test]
fn state_that_is_not_kept_by_key_any_more_is_incompatible() {
    let mut before = checkpoint(&planned(SUMS));
    let source = before
        .operators
        .iter_mut()
        .find(|o| o.uid == "source:orders")
        .unwrap();
    source.subtasks[0].keyed = Some(KeyedFiles::default());
    let (name, said) = difference(&before, &planned(SUMS));
    assert_eq!(name, "source:orders");
    assert!(said.contains("kept by key"), "{said}");
}

#[test]
fn what_has_nothing_in_the_checkpoint_is_not_lost() {
    let mut before = checkpoint(&set(&[SUMS, JOINED]));
    for operator in &mut before.operators {
        if operator.uid != "source:orders" {
            operator
                .subtasks
                .iter_mut()
                .for_each(|subtask| *subtask = SubtaskState::default());
        }
    }
    assert_eq!(
        fates(&before, &planned(SUMS)),
        named(&[
            ("group-aggregate:orders", Fate::New),
            ("source:orders", Fate::Kept)
        ])
    );
}

#[test]
fn an_unknown_schema_is_no_difference_and_an_unlike_operator_no_match() {
    let mut before = checkpoint(&planned(SUMS));
    before
        .operators
        .iter_mut()
        .for_each(|operator| operator.schema = None);
    assert_eq!(
        fates(&before, &planned(SUMS)),
        named(&[
            ("group-aggregate:orders", Fate::Kept),
            ("source:orders", Fate::Kept)
        ])
    );
    // Of other tables, or another kind: the one is lost, and the other starts empty.
    let before = checkpoint(&planned(SUMS));
    let other = planned(&SUMS.replace(
        "k, SUM(amount) FROM orders GROUP BY k",
        "id, COUNT(*) FROM payments GROUP BY id",
    ));
    assert_eq!(
        fates(&before, &other),
        named(&[
            ("group-aggregate:orders", Fate::Lost),
            ("group-aggregate:payments", Fate::New),
            ("source:orders", Fate::Lost),
            ("source:payments", Fate::New),
        ])
    );
}
