//! What the rules ask of expressions.

use std::collections::BTreeSet;

use millrace_expr::{Expr, Scalar, function};

/// Adds the columns that an expression reads.
pub(super) fn add_columns(expr: &Expr, columns: &mut BTreeSet<usize>) {
    expr.walk(&mut |e| {
        if let Expr::Column { index, .. } = e {
            columns.insert(*index);
        }
    });
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
