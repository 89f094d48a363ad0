//! Whether a join is one of rows of the same window: its condition says that both bounds are equal, and
//! both sides have the same windows of event time.

use millrace_core::{Error, Result};
use millrace_dataflow::{Window, WindowColumns};
use millrace_expr::Expr;

use super::expressions::conjuncts;
use crate::plan::{Join, Op, Rel};

/// How both sides say their windows, if a condition over both makes them the same.
pub(crate) fn windows(left: &Rel, right: &Rel, condition: Option<&Expr>) -> Option<[WindowColumns; 2]> {
    let (columns, is_proctime) = same_windows(left, right, condition)?;
    (!is_proctime).then_some(columns)
}

/// The same, and whether they are windows by the clock.
fn same_windows(left: &Rel, right: &Rel, condition: Option<&Expr>) -> Option<([WindowColumns; 2], bool)> {
    let of_left = left.output.fields.len();
    let mut pairs: Vec<(usize, usize)> = Vec::new();
    for part in conjuncts(condition?.clone()) {
        let Expr::Call { function, args, .. } = &part else {
            continue;
        };
        if let ("=", [Expr::Column { index: a, .. }, Expr::Column { index: b, .. }]) =
            (function.as_str(), args.as_slice())
        {
            let (l, r) = (*a.min(b), *a.max(b));
            if l < of_left && r >= of_left {
                pairs.push((l, r - of_left));
            }
        }
    }
    let columns: Vec<usize> = pairs.iter().map(|(l, _)| *l).collect();
    let (of_start_and_end, property) = left.window_columns(&columns)?;
    let partner = |column: usize| pairs.iter().filter(move |(l, _)| *l == column).map(|(_, r)| *r);
    let others: Vec<usize> = [of_start_and_end.start, of_start_and_end.end]
        .into_iter()
        .flat_map(partner)
        .collect();
    let (of_right, right_property) = right.window_columns(&others)?;
    // Start meets start, and end meets end.
    let meets = |l: usize, r: usize| pairs.contains(&(l, r));
    let is_same = property.window == right_property.window
        && property.is_proctime == right_property.is_proctime
        && property.time == right_property.time
        && meets(of_start_and_end.start, of_right.start)
        && meets(of_start_and_end.end, of_right.end);
    let has_sessions = match property.window {
        Window::Session { .. } => {
            let of = |rel: &Rel| rel.session_columns().map(|columns| columns.len());
            of(left).is_some() && of(left) == of(right)
        }
        _ => true,
    };
    (is_same && has_sessions).then_some(([of_start_and_end, of_right], property.is_proctime))
}

/// Refuses what Flink does: windows by the clock that are joined.
pub(super) fn check(rel: &Rel) -> Result<()> {
    if let Op::Join(Join {
        condition, window, ..
    }) = &rel.op
        && window.is_none()
        && same_windows(&rel.inputs[0], &rel.inputs[1], condition.as_ref()).is_some()
    {
        return Err(
            Error::user("windows by the clock are not joined: Flink refuses it too")
                .with_hint("lay the windows over a time with a WATERMARK"),
        );
    }
    rel.inputs.iter().try_for_each(check)
}
