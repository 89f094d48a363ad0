//! A Calc over a Calc is one Calc: no batch between them, and the lower one's expressions are
//! computed for the rows only that pass both filters.
//!
//! Not where it would compute something twice that may differ (RAND, the clock), nor where
//! expressions would grow out of proportion by being repeated.

use millrace_expr::Expr;

use super::expressions::{all_of, conjuncts, depth, is_deterministic, size};
use crate::plan::{Op, Rel};

/// How many nodes more than before a merged Calc may have. A factor would not do: what doubles
/// at each level grows without end.
const GROWTH: usize = 100;

/// How deep the expressions of a merged Calc may be, where each is at most as deep as the binder
/// lets it. Expressions are walked by recursion, on the threads of tasks too.
const DEPTH: usize = 400;

pub(crate) fn apply(rel: Rel) -> Rel {
    let mut rel = rel.map_inputs(&mut apply);
    let Op::Calc {
        condition,
        projection,
    } = &rel.op
    else {
        return rel;
    };
    let lower = &mut rel.inputs[0];
    let Op::Calc {
        condition: lower_condition,
        projection: lower_projection,
    } = &lower.op
    else {
        return rel;
    };
    if let Some((condition, projection)) = merge(condition, projection, lower_condition, lower_projection) {
        rel.inputs = std::mem::take(&mut lower.inputs);
        rel.op = Op::Calc {
            condition,
            projection,
        };
    }
    rel
}

fn merge(
    upper_condition: &Option<Expr>,
    upper: &[Expr],
    lower_condition: &Option<Expr>,
    lower: &[Expr],
) -> Option<(Option<Expr>, Vec<Expr>)> {
    let mut reads = vec![0usize; lower.len()];
    for expr in upper.iter().chain(upper_condition) {
        expr.walk(&mut |e| {
            if let Expr::Column { index, .. } = e {
                reads[*index] += 1;
            }
        });
    }
    let differs_if_repeated = |(expr, reads): (&Expr, &usize)| *reads > 1 && !is_deterministic(expr);
    if lower.iter().zip(&reads).any(differs_if_repeated) {
        return None;
    }
    let total =
        |exprs: &[Expr], condition: &Option<Expr>| exprs.iter().chain(condition).map(size).sum::<usize>();
    let before = total(upper, upper_condition) + total(lower, lower_condition);
    let added: usize = lower
        .iter()
        .zip(&reads)
        .map(|(e, n)| size(e).saturating_mul(*n))
        .fold(0, usize::saturating_add);
    if added > before + GROWTH {
        return None;
    }
    let deepest = |exprs: &[Expr], condition: &Option<Expr>| {
        let all = exprs.iter().chain(condition);
        all.map(depth).max().unwrap_or_default()
    };
    if deepest(upper, upper_condition) + deepest(lower, &None) > DEPTH {
        return None;
    }
    let inline = |expr: &Expr| expr.map_columns(&|i, _| lower[i].clone());
    let conditions = [lower_condition.clone(), upper_condition.as_ref().map(inline)];
    let condition = all_of(conditions.into_iter().flatten().flat_map(conjuncts).collect());
    Some((condition, upper.iter().map(inline).collect()))
}
