//! Upsert keys: columns by which the rows of a changelog are known. Of all rows with the same key the
//! last one counts, and all of them pass through one subtask, in order.

use std::collections::BTreeSet;

use millrace_expr::Expr;

use crate::plan::{Op, Rel};

pub(crate) type KeySet = BTreeSet<usize>;

/// The keys of a plan's rows, by column.
pub(crate) fn of(rel: &Rel) -> Vec<KeySet> {
    match &rel.op {
        Op::Calc { projection, .. } => {
            let below = of(&rel.inputs[0]);
            // A column may be there more than once: the first one is taken.
            let place = |column: usize| {
                projection
                    .iter()
                    .position(|e| matches!(e, Expr::Column { index, .. } if *index == column))
            };
            below
                .iter()
                .filter_map(|key| key.iter().map(|c| place(*c)).collect())
                .collect()
        }
        Op::Watermark { .. } => of(&rel.inputs[0]),
        Op::WindowAggregate(spec) => {
            let start = spec.keys.len() + spec.calls.len();
            vec![(0..spec.keys.len()).chain([start, start + 1]).collect()]
        }
        Op::Aggregate { keys, .. } => vec![(0..keys.len()).collect()],
        Op::Union
        | Op::WindowTable(_)
        | Op::Expand(_)
        | Op::Table { .. }
        | Op::Scan { .. }
        | Op::Values { .. } => Vec::new(),
    }
}
