//! How the values of a changelog's columns move from one version of a row to the next. A top-N
//! whose rows only ever rise keeps no more than N of them.

use millrace_expr::Expr;
use millrace_expr::aggregate::AggregateFunction;

use crate::plan::{Op, Rel};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Monotonicity {
    Constant,
    Increasing,
    Decreasing,
    None,
}

/// Of each column; none where rows go without being replaced.
pub(crate) fn of(rel: &Rel) -> Option<Vec<Monotonicity>> {
    let constant = || vec![Monotonicity::Constant; rel.output.fields.len()];
    match &rel.op {
        _ if rel.changelog.is_inserts() => Some(constant()),
        Op::Calc { projection, .. } => {
            let below = of(&rel.inputs[0])?;
            let of_expr = |expr: &Expr| match expr {
                Expr::Column { index, .. } => below[*index],
                _ => {
                    let mut constant = true;
                    expr.walk(&mut |e| {
                        if let Expr::Column { index, .. } = e {
                            constant &= below[*index] == Monotonicity::Constant;
                        }
                    });
                    match constant {
                        true => Monotonicity::Constant,
                        false => Monotonicity::None,
                    }
                }
            };
            Some(projection.iter().map(of_expr).collect())
        }
        Op::Aggregate { keys, calls } => {
            let input = &rel.inputs[0];
            if !input.changelog.is_inserts() {
                return None;
            }
            let of_call = |function: AggregateFunction| match function {
                AggregateFunction::Count | AggregateFunction::Max => Monotonicity::Increasing,
                AggregateFunction::Min => Monotonicity::Decreasing,
                _ => Monotonicity::None,
            };
            let keys = keys.iter().map(|_| Monotonicity::Constant);
            Some(keys.chain(calls.iter().map(|c| of_call(c.function))).collect())
        }
        Op::Watermark { .. } => of(&rel.inputs[0]),
        _ => None,
    }
}
