//! Joins as EXPLAIN shows them.

use millrace_expr::{Expr, Field, RowType};

use super::{format_expr, window_columns};
use crate::join::{IntervalJoin, Join, JoinInput, JoinKey, WindowJoin};

/// `Join(joinType=[InnerJoin], where=[(a = b)], select=[a, b], leftInputSpec=[NoUniqueKey], rightInputSpec=[NoUniqueKey])`
pub(super) fn join(join: &Join, inputs: &[RowType], output: &RowType) -> String {
    let spec = |input: &JoinInput| match input {
        JoinInput::JoinKeyContainsUniqueKey => "JoinKeyContainsUniqueKey",
        JoinInput::HasUniqueKey(_) => "HasUniqueKey",
        JoinInput::NoUniqueKey => "NoUniqueKey",
    };
    format!(
        "Join(joinType=[{}], where=[{}], select=[{}], leftInputSpec=[{}], rightInputSpec=[{}])",
        join.kind.name(),
        condition(&join.keys, join.condition.as_ref(), inputs),
        output.names().join(", "),
        spec(&join.left),
        spec(&join.right)
    )
}

/// `IntervalJoin(joinType=[InnerJoin], windowBounds=[isRowTime=true, leftLowerBound=-5000, ...], ...)`
pub(super) fn interval(join: &IntervalJoin, inputs: &[RowType], output: &RowType) -> String {
    let bounds = &join.bounds;
    format!(
        "IntervalJoin(joinType=[{}], windowBounds=[isRowTime={}, leftLowerBound={}, leftUpperBound={}, \
         leftTimeIndex={}, rightTimeIndex={}], where=[{}], select=[{}])",
        join.kind.name(),
        bounds.is_rowtime,
        bounds.lower,
        bounds.upper,
        bounds.left_time,
        bounds.right_time,
        condition(&join.keys, join.condition.as_ref(), inputs),
        output.names().join(", ")
    )
}

/// `WindowJoin(leftWindow=[TUMBLE(win_start=[s], win_end=[e], size=[5 s])], rightWindow=[...], joinType=[InnerJoin], ...)`
pub(super) fn window(join: &WindowJoin, inputs: &[RowType], output: &RowType) -> String {
    let none = RowType::default();
    let input = |side: usize| inputs.get(side).unwrap_or(&none);
    format!(
        "WindowJoin(leftWindow=[{}], rightWindow=[{}], joinType=[{}], where=[{}], select=[{}])",
        window_columns(&join.left, input(0)),
        window_columns(&join.right, input(1)),
        join.kind.name(),
        condition(&join.keys, join.condition.as_ref(), inputs),
        output.names().join(", ")
    )
}

fn condition(keys: &[JoinKey], more: Option<&Expr>, inputs: &[RowType]) -> String {
    // A name that both inputs have gets a number on the right, as in the output.
    let mut both: Vec<Field> = Vec::new();
    for field in inputs.iter().flat_map(|input| &input.fields) {
        let taken = |name: &str, both: &[Field]| both.iter().any(|f| f.name == name);
        let mut field = field.clone();
        if taken(&field.name, &both) {
            let free = (0..)
                .map(|n| format!("{}{n}", field.name))
                .find(|n| !taken(n, &both));
            field.name = free.unwrap_or(field.name);
        }
        both.push(field);
    }
    let left = inputs.first().map_or(0, |input| input.fields.len());
    let name = |column: usize| both.get(column).map_or("?", |f| f.name.as_str());
    let mut parts: Vec<String> = keys
        .iter()
        .map(|key| {
            let equal = if key.null_safe {
                "IS NOT DISTINCT FROM"
            } else {
                "="
            };
            format!("({} {equal} {})", name(key.left), name(left + key.right))
        })
        .collect();
    let both = RowType::new(both.clone());
    match more {
        Some(Expr::Call { function, args, .. }) if function == "AND" => {
            parts.extend(args.iter().map(|arg| format_expr(arg, &both)));
        }
        _ => parts.extend(more.map(|expr| format_expr(expr, &both))),
    }
    match parts.as_slice() {
        [] => "true".to_owned(),
        [only] => only.clone(),
        _ => format!("({})", parts.join(" AND ")),
    }
}
