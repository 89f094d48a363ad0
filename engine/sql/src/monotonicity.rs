//! How updates change a column: Flink's `FlinkRelMdModifiedMonotonicity`. The MAX of what only ever grows
//! needs no values that were taken back.

use std::collections::BTreeSet;

use millrace_expr::Expr;
use millrace_expr::aggregate::{AggregateCall, AggregateFunction};

use crate::plan::{Op, Rel};

/// What an update of a row does to one of its columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Monotonicity {
    Constant,
    Increasing,
    Decreasing,
    None,
}

use Monotonicity::{Constant, Decreasing, Increasing};

/// Of each column; none at all where rows may be deleted.
pub(crate) fn of(rel: &Rel) -> Option<Vec<Monotonicity>> {
    let constants = || Some(vec![Constant; rel.output.fields.len()]);
    if rel.changelog.is_inserts() {
        return constants();
    }
    match &rel.op {
        Op::Calc {
            condition,
            projection,
        } => {
            let input = of(&rel.inputs[0])?;
            if input.iter().all(|column| *column == Constant) {
                return constants();
            }
            if condition.as_ref().is_some_and(|c| takes_back(c, &input)) {
                return Some(vec![Monotonicity::None; projection.len()]);
            }
            Some(projection.iter().map(|expr| of_expr(expr, &input)).collect())
        }
        Op::Aggregate { keys, calls, .. } => of_aggregate(&rel.inputs[0], keys, calls),
        Op::Union => {
            let inputs: Option<Vec<_>> = rel.inputs.iter().map(of).collect();
            let inputs = inputs?;
            let first = inputs.first()?;
            match inputs.iter().all(|input| input == first) {
                true => Some(first.clone()),
                false => Some(vec![Monotonicity::None; first.len()]),
            }
        }
        Op::Watermark { .. } => of(&rel.inputs[0]),
        _ => None,
    }
}

fn of_aggregate(rel: &Rel, keys: &[usize], calls: &[AggregateCall]) -> Option<Vec<Monotonicity>> {
    let input = of(rel)?;
    if keys.iter().any(|key| input[*key] != Constant) {
        return None;
    }
    let updated = input.iter().any(|column| *column != Constant);
    // Where what is counted may stop to count, nothing is sure. Flink does not look at that, and is wrong
    // there.
    let stays = |column: Option<usize>| {
        column.is_none_or(|column| input[column] == Constant || is_of_constants(rel, column))
    };
    let of_call = |call: &AggregateCall| {
        let own = match call.function {
            _ if !stays(call.filter) => Monotonicity::None,
            AggregateFunction::Count if stays(call.arg) => return Increasing,
            AggregateFunction::Max => Increasing,
            AggregateFunction::Min => Decreasing,
            _ => Monotonicity::None,
        };
        match call.arg {
            Some(arg) if updated && input[arg] != own => Monotonicity::None,
            _ => own,
        }
    };
    let of_keys = keys.iter().map(|_| Constant);
    Some(of_keys.chain(calls.iter().map(of_call)).collect())
}

/// Of what is computed from a row that is updated, Flink knows nothing.
fn of_expr(expr: &Expr, input: &[Monotonicity]) -> Monotonicity {
    match expr {
        Expr::Column { index, .. } => input[*index],
        Expr::Cast { expr, .. } => of_expr(expr, input),
        Expr::Literal { .. } | Expr::Call { .. } => Monotonicity::None,
    }
}

/// Whether a column is computed from what no update changes.
fn is_of_constants(rel: &Rel, column: usize) -> bool {
    match &rel.op {
        Op::Calc { projection, .. } => {
            of(&rel.inputs[0]).is_some_and(|input| !reads_updated(&projection[column], &input))
        }
        _ => false,
    }
}

fn reads_updated(expr: &Expr, input: &[Monotonicity]) -> bool {
    let mut columns = BTreeSet::new();
    expr.walk(&mut |e| {
        if let Expr::Column { index, .. } = e {
            columns.insert(*index);
        }
    });
    columns.into_iter().any(|column| input[column] != Constant)
}

/// Whether a row that has passed a condition may no longer pass it after an update.
fn takes_back(condition: &Expr, input: &[Monotonicity]) -> bool {
    if !reads_updated(condition, input) {
        return false;
    }
    let Expr::Call { function, args, .. } = condition else {
        return true;
    };
    let against_constant = |good: Monotonicity| match args.as_slice() {
        [left, right] => of_expr(left, input) != good || reads_updated(right, input),
        _ => true,
    };
    match function.as_str() {
        "AND" | "OR" => args.iter().any(|arg| takes_back(arg, input)),
        ">" | ">=" => against_constant(Increasing),
        "<" | "<=" => against_constant(Decreasing),
        _ => true,
    }
}

/// The calls of an aggregation over a plan whose kinds of rows are known: a MAX of what grows and a MIN
/// of what falls do not look at what is taken back.
pub(crate) fn without_retractions(
    input: &Rel,
    keys: &[usize],
    calls: &[AggregateCall],
) -> Vec<AggregateCall> {
    let columns = match input.changelog.is_inserts() {
        true => None,
        false => of_aggregate(input, keys, calls),
    };
    let result = |i: usize| columns.as_ref().map(|columns| columns[keys.len() + i]);
    let kept = calls.iter().enumerate().map(|(i, call)| AggregateCall {
        ignores_retractions: match call.function {
            AggregateFunction::Max => result(i) == Some(Increasing),
            AggregateFunction::Min => result(i) == Some(Decreasing),
            _ => false,
        },
        ..call.clone()
    });
    kept.collect()
}
