//! What Apache Flink 2.1.1 computes, through real SQL: the golden files of millrace-expr, and those
//! of this folder with what only SQL's own syntax says. A line is an expression, its type, its value.

use millrace_dataflow::Operator;
use millrace_expr::Expr;

use crate::columns::check;
use crate::fixtures::{graph, session};

/// An expression as it is planned over no columns, or why it is refused.
fn planned(sql: &str) -> Result<Expr, String> {
    let mut session = session();
    // A view keeps what an expression is; a sink would cast it.
    let script = format!(
        "CREATE VIEW v (x) AS SELECT {sql}
         ; CREATE TABLE o (x BOOLEAN) WITH ('connector' = 'test', 'topic' = 'o');"
    );
    session.execute(&script).map_err(|e| e.to_string())?;
    let graph = graph(&mut session, "INSERT INTO o SELECT x IS NULL FROM v");
    let mut calcs = graph.nodes.iter().filter_map(|n| match &n.operator {
        Operator::Calc { projection, .. } => projection.first(),
        _ => None,
    });
    match calcs.next_back() {
        Some(Expr::Call { args, .. }) => Ok(args[0].clone()),
        other => Err(format!("the plan has {other:?}")),
    }
}

#[test]
fn flink_in_utc() {
    check(
        include_str!("../../../expr/tests/it/flink-utc.tsv"),
        "UTC",
        planned,
    );
}

#[test]
fn flink_in_new_york() {
    check(
        include_str!("../../../expr/tests/it/flink-new-york.tsv"),
        "America/New_York",
        planned,
    );
}

#[test]
fn flink_with_sqls_own_syntax() {
    check(include_str!("flink-sql.tsv"), "UTC", planned);
}
