//! Upsert keys: columns by which the rows of a changelog are known. Of all rows with the same key the
//! last one counts, and all of them pass through one subtask, in order.

use std::collections::BTreeSet;

use millrace_expr::Expr;

use crate::plan::{Op, Rel, ScanColumn};

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
        Op::Watermark { .. } | Op::DropUpdateBefore => of(&rel.inputs[0]),
        Op::ChangelogNormalize { keys, .. } => vec![keys.iter().copied().collect()],
        // Its PRIMARY KEY, if all of it is read.
        Op::Scan { table, columns } => {
            let place = |name: &String| {
                let physical = table.spec.columns.iter().position(|c| c.name == *name)?;
                columns.iter().position(|c| *c == ScanColumn::Physical(physical))
            };
            let key: Option<KeySet> = table.spec.primary_key.iter().map(place).collect();
            key.filter(|key| !key.is_empty()).into_iter().collect()
        }
        Op::Aggregate { keys, .. } => vec![(0..keys.len()).collect()],
        Op::Union | Op::WindowTable(_) | Op::Table { .. } | Op::Values { .. } => Vec::new(),
    }
}
