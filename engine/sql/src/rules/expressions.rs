//! What the rules ask of expressions.

use std::collections::BTreeSet;

use millrace_expr::{DataType, Expr, Scalar, TypeKind, function};

/// Adds the columns that an expression reads.
pub(super) fn add_columns(expr: &Expr, columns: &mut BTreeSet<usize>) {
    expr.walk(&mut |e| {
        if let Expr::Column { index, .. } = e {
            columns.insert(*index);
        }
    });
}

/// The columns that an expression reads.
pub(super) fn reads(expr: &Expr) -> BTreeSet<usize> {
    let mut columns = BTreeSet::new();
    add_columns(expr, &mut columns);
    columns
}

/// Whether evaluating it twice for a row gives the same twice. What follows the clock does not.
pub(super) fn is_deterministic(expr: &Expr) -> bool {
    let mut result = true;
    expr.walk(&mut |e| {
        if let Expr::Call { function, .. } = e {
            result &= function::is_deterministic(function);
        }
    });
    result
}

/// How many nodes its tree has.
pub(super) fn size(expr: &Expr) -> usize {
    let mut count = 0;
    expr.walk(&mut |_| count += 1);
    count
}

/// How many levels its tree has.
pub(super) fn depth(expr: &Expr) -> usize {
    // Without recursion: this is asked of trees that may be too deep for it.
    let mut deepest = 0;
    let mut stack = vec![(expr, 1)];
    while let Some((expr, level)) = stack.pop() {
        deepest = deepest.max(level);
        match expr {
            Expr::Call { args, .. } => stack.extend(args.iter().map(|a| (a, level + 1))),
            Expr::Cast { expr, .. } => stack.push((expr, level + 1)),
            Expr::Column { .. } | Expr::Literal { .. } => {}
        }
    }
    deepest
}

/// The parts that must all be true, in order. A chain of ANDs leans to either side.
pub(super) fn conjuncts(expr: Expr) -> Vec<Expr> {
    let mut parts = Vec::new();
    let mut stack = vec![expr];
    while let Some(expr) = stack.pop() {
        match expr {
            Expr::Call { function, args, .. } if function == "AND" => stack.extend(args.into_iter().rev()),
            other => parts.push(other),
        }
    }
    parts
}

/// One `AND` of all parts, which looks at none behind a false one. However many they are, the
/// tree is no deeper than the deepest of them.
pub(crate) fn all_of(parts: Vec<Expr>) -> Option<Expr> {
    if parts.len() < 2 {
        return parts.into_iter().next();
    }
    let nullable = parts.iter().any(|p| p.data_type().nullable);
    Some(Expr::Call {
        function: "AND".to_owned(),
        args: parts,
        data_type: DataType {
            kind: TypeKind::Boolean,
            nullable,
        },
    })
}

/// Moves every column to where `position` says it is.
pub(super) fn remap(expr: &Expr, position: &impl Fn(usize) -> usize) -> Expr {
    expr.map_columns(&|index, data_type| Expr::column(position(index), data_type.clone()))
}

pub(super) fn is_literal_true(expr: &Expr) -> bool {
    matches!(
        expr,
        Expr::Literal {
            value: Scalar::Boolean(true),
            ..
        }
    )
}

/// FALSE and NULL: a filter lets nothing through.
pub(super) fn is_literal_not_true(expr: &Expr) -> bool {
    matches!(
        expr,
        Expr::Literal {
            value: Scalar::Boolean(false) | Scalar::Null,
            ..
        }
    )
}

/// The comparison that says the same with its sides changed.
pub(super) fn mirrored(operator: &str) -> &str {
    match operator {
        "<" => ">",
        "<=" => ">=",
        ">" => "<",
        ">=" => "<=",
        other => other,
    }
}
