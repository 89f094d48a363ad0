//! Filters that are known beforehand: what is TRUE is left out, what never is makes the input empty.

use millrace_expr::compile::{Evaluation, Program, Session};
use millrace_expr::{Expr, Scalar};

use super::expressions::{all_of, conjuncts, is_literal_not_true, is_literal_true};
use crate::plan::{Op, Rel};

pub(super) fn apply(rel: Rel) -> Rel {
    let mut rel = rel.map_inputs(&mut apply);
    match &mut rel.op {
        Op::Calc { condition, .. } => {
            if rel.inputs[0].is_empty() {
                return Rel::empty(rel.output);
            }
            let mut kept = Vec::new();
            for conjunct in condition.take().into_iter().flat_map(conjuncts) {
                let conjunct = fold(conjunct);
                if is_literal_not_true(&conjunct) {
                    return Rel::empty(rel.output);
                }
                if !is_literal_true(&conjunct) {
                    kept.push(conjunct);
                }
            }
            *condition = all_of(kept);
        }
        // An empty branch of a union gives nothing; a union keeps one, for it must have an input.
        Op::Union => {
            if rel.inputs.iter().any(|i| !i.is_empty()) {
                rel.inputs.retain(|i| !i.is_empty());
            } else {
                rel.inputs.truncate(1);
            }
        }
        _ => {}
    }
    rel
}

/// A condition of operators over literals alone becomes its value. One that fails stays, to fail
/// at run time and only if there is a row.
fn fold(expr: Expr) -> Expr {
    let mut constant = !matches!(expr, Expr::Literal { .. });
    expr.walk(&mut |e| constant &= is_foldable(e));
    match if constant { evaluate(&expr) } else { None } {
        Some(value) => Expr::literal(value, expr.data_type().clone()),
        None => expr,
    }
}

/// Operators whose value is the same whenever and wherever they are computed. Functions are left
/// to run time: some look at the clock, some at the session's time zone.
fn is_foldable(expr: &Expr) -> bool {
    match expr {
        Expr::Literal { .. } => true,
        Expr::Call { function, .. } => matches!(
            function.as_str(),
            "=" | "<>"
                | "<"
                | "<="
                | ">"
                | ">="
                | "AND"
                | "OR"
                | "NOT"
                | "IS NULL"
                | "IS NOT NULL"
                | "IS TRUE"
                | "IS FALSE"
                | "IS UNKNOWN"
                | "IS NOT TRUE"
                | "IS NOT FALSE"
                | "IS NOT UNKNOWN"
                | "BETWEEN"
                | "IN"
                | "+"
                | "-"
                | "*"
                | "UNARY -"
                | "IS DISTINCT FROM"
                | "IS NOT DISTINCT FROM"
        ),
        Expr::Cast {
            expr: inner,
            data_type,
            ..
        } => data_type.is_numeric() && inner.data_type().is_numeric(),
        Expr::Column { .. } => false,
    }
}

fn evaluate(expr: &Expr) -> Option<Scalar> {
    use arrow::array::{Array, AsArray, RecordBatch, RecordBatchOptions};
    let program = Program::compile(expr, &Session::default()).ok()?;
    let options = RecordBatchOptions::new().with_row_count(Some(1));
    let empty = std::sync::Arc::new(arrow::datatypes::Schema::empty());
    let batch = RecordBatch::try_new_with_options(empty, Vec::new(), &options).ok()?;
    let array = program.evaluate(&batch, &Evaluation { now_millis: 0 }).ok()?;
    let array = array.as_boolean_opt()?;
    match array.len() {
        1 if array.is_null(0) => Some(Scalar::Null),
        1 => Some(Scalar::Boolean(array.value(0))),
        _ => None,
    }
}
